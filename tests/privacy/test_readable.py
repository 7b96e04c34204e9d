"""Values of a person in records that should hold none: what is written over, and what is not theirs."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from offline_capi.privacy.readable import ReadableForms

FORMS = ReadableForms.of(
    {"external_id": [" Customer-7 ", ""]},
    {"em": ["jane.doe@example.com"], "ph": ["16505551212", "4951234567", "34612345678"]},
)


@pytest.mark.parametrize(
    "text",
    [
        "of Jane.Doe@Example.com, twice",
        "+1 (650) 555-1212",
        "001 650 555 1212",
        "0650 555 1212",
        "6505551212",
        "x6505551212y",
        "+49 (0)51234567",
        "051234567",
        "495 123 4567",
        "(495)1234567",
        "612345678",  # nine digits are enough
    ],
)
def test_an_address_or_a_number_is_seen_in_every_spelling(text: str) -> None:
    assert FORMS.is_in(text)
    assert FORMS.find_in(pa.array([None, "nothing", text])).to_pylist() == [False, False, True]


@pytest.mark.parametrize("text", ["", "doe@example.com", "51234567", "16505551213", "20261120", "Customer-7"])
def test_what_is_somebody_elses_or_too_short_to_be_told_is_not_seen(text: str) -> None:
    """A national number of eight digits is any number without its leading zero."""
    assert not FORMS.is_in(text)
    assert FORMS.find_in(pa.array([text])).to_pylist() == [False]


@pytest.mark.parametrize(
    ("document", "fresh"),
    [
        ({"clients": ["Customer-7", "acme"]}, {"clients": ["(erased)", "acme"]}),
        ({"fates": [["deferred", "Customer-7", None]]}, {"fates": [["deferred", "(erased)", None]]}),
        ({"tally": {"fates": [["deferred", "Customer-7"]]}}, {"tally": {"fates": [["deferred", "(erased)"]]}}),
        ([["2026-11-20", "unknown_client", "Customer-7", 1]], [["2026-11-20", "unknown_client", "(erased)", 1]]),
        ([["2026-11-20", "unknown_client", None, 1]], None),
        ({"upload": "Customer-7"}, None),
        ({"note": "nothing"}, None),
        (
            {"a": ["6505551212", "jane.doe@example.com"], "jane.doe@example.com": 1},
            {"a": ["(erased)", "(2. erased)"], "(2. erased)": 1},
        ),
    ],
)  # fmt: skip
def test_a_document_is_written_over_where_it_holds_a_value_of_the_person(document: Any, fresh: Any) -> None:
    assert FORMS.overwrite(document, clients=["acme"]) == fresh


def test_an_id_that_is_the_name_of_a_configured_client_stays() -> None:
    assert FORMS.overwrite({"clients": ["Customer-7"]}, clients=["Customer-7"]) is None
