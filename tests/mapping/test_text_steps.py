"""Text steps change a value before it is mapped, typed or compared; what they cannot do is never silent."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from offline_capi.config.fields import FieldSpec
from offline_capi.config.patterns import find_pattern_problem, name_group
from tests.mapping.mapped import custom, faults, mapped, source


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        ("trim", "  x y ", "x y"),
        ({"trim": "#*"}, "#*12*", "12"),
        ("lower", "ÄbC", "äbc"),
        ("upper", "äbC", "ÄBC"),
        ({"replace": {"-": "", "(0)": ""}}, "+49-(0)30", "+4930"),
        ({"replace": {".": "x"}}, "a.b", "axb"),
        ({"extract": "([0-9]+)"}, "Order 17, line 3", "17"),
        ({"extract": "[0-9]+"}, "Order 17", "17"),
        ({"extract": r"(?:Order|Bestellung) (\d+)"}, "Bestellung 17", "17"),
        ({"extract": r"\((\d+)\)"}, "a (5) b", "5"),
        ({"extract": r"[(](?P<number>\d+)"}, "a (5) b", "5"),
        ({"split": {"by": "|", "part": 1}}, "a|b|c", "a"),
        ({"split": {"by": "|", "part": -1}}, "a|b|c", "c"),
        ({"split": {"by": ", ", "part": 2}}, "Voss, Mara", "Mara"),
        ({"pad": {"width": 5}}, "2134", "02134"),
        ({"pad": {"width": 5}}, "021345", "021345"),
        ({"pad": {"width": 4, "with": "x", "side": "right"}}, "ab", "abxx"),
    ],
)
def test_a_step_changes_a_text(step, before, after):
    assert custom(source(x=[before, None]), "p", {"column": "x", "text": [step]}) == [after, None]


def test_steps_are_done_in_order_and_before_map_type_and_default():
    rows = source(x=["Total: 1.234,50 EUR", "free", None])
    steps = [{"extract": r"([\d.,]+|free)"}, {"replace": {"free": "0"}}]

    assert custom(rows, "p", {"column": "x", "text": steps, "type": "number", "decimal": ",", "default": 7}) == [
        1234.5,
        0,
        7,
    ]
    assert custom(source(x=["NEW-1"]), "p", {"column": "x", "text": ["lower"], "map": {"new-1": "n"}}) == ["n"]


def test_a_text_of_which_nothing_is_left_is_empty():
    assert custom(source(x=["-- "]), "p", {"column": "x", "text": [{"replace": {"-": ""}}], "default": "d"}) == ["d"]


@pytest.mark.parametrize("step", [{"extract": "([0-9]+)"}, {"split": {"by": "|", "part": 2}}])
def test_what_a_step_does_not_fit_is_unreadable_and_counted(step):
    rows = source(x=["abc", None])

    required = mapped(rows, event={"name": "Lead", "id": {"column": "x", "text": [step]}, "action_source": "other"})
    optional = mapped(rows, custom_data={"properties": {"p": {"column": "x", "text": [step]}}})
    person = mapped(rows, user_data={"external_id": {"column": "x", "text": [step]}})

    assert ("unreadable_value", "event.id", [1]) in faults(required)
    assert faults(optional) == []
    assert [(d.key, d.cause, d.count) for d in optional.dropped] == [("custom_data.properties.p", "unreadable", 1)]
    assert [(d.key, d.cause, d.count) for d in person.dropped] == [("external_id", "unreadable", 1)]


def test_a_typed_number_keeps_its_point_where_the_text_has_commas():
    spec = {"column": "x", "text": [{"replace": {"EUR": ""}}], "type": "number", "decimal": ","}

    assert custom(source(x=["12,50EUR"]), "p", spec) == [12.5]
    assert custom(source(x=pa.array([12.5])), "p", spec) == [12.5]


def test_a_step_cannot_hide_that_an_id_lost_its_digits():
    done = mapped(
        source(id=["1.18E+15"]),
        event={"name": "Lead", "id": {"column": "id", "text": [{"extract": r"(\d+)"}]}, "action_source": "other"},
    )

    assert ("damaged_id", "event.id", [1]) in faults(done)


def test_steps_speak_to_templates_coalesce_and_identity():
    rows = source(a=[" 1 ", None], b=["X", "Y"])

    assert custom(rows, "p", {"template": "{a}/{b}", "text": ["lower"]}) == ["1/x", None]
    assert custom(rows, "p", {"coalesce": ["a", "b"], "text": ["lower"]}) == ["1", "y"]
    people = mapped(
        source(x=["Voss, Mara"]), user_data={"fn": {"column": "x", "text": [{"split": {"by": ",", "part": 2}}]}}
    )
    assert people.identity["fn"][0].values.to_pylist() == ["Mara"]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("trimm", '"trimm" is no step by itself; did you mean "trim"?'),
        ({"extract": "(?=x)y"}, "looks ahead or behind, which RE2 does not know"),
        ({"extract": r"(a)\1"}, "refers back to a group"),
        ({"extract": "(a)(b)"}, "has several groups"),
        ({"extract": "a" * 501}, "is longer than 500 characters"),
        ({"split": {"by": "|", "part": 0}}, "counts from 1"),
        ({"trim": True, "lower": True}, "needs exactly one of"),
    ],
)
def test_a_step_that_cannot_be_is_refused_in_words(step, said):
    with pytest.raises(ValidationError) as refused:
        FieldSpec.model_validate({"column": "x", "text": [step]})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("a", "(?P<g>a)"),
        ("a(b)c", "a(?P<g>b)c"),
        (r"\((b)\)", r"\((?P<g>b)\)"),
        ("[(](b)", "[(](?P<g>b)"),
        ("[^)(]+(b)", "[^)(]+(?P<g>b)"),
        ("[]()](b)", "[]()](?P<g>b)"),
        ("(?:a)(?i:b)(c)", "(?:a)(?i:b)(?P<g>c)"),
        (r"\Q(\E(a)", r"\Q(\E(?P<g>a)"),
    ],
)
def test_the_group_of_a_pattern_is_found_as_re2_reads_it(pattern, named):
    assert (find_pattern_problem(pattern, one_group=True), name_group(pattern, "g")) == (None, named)
