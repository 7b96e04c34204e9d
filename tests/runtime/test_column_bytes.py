"""What is found in a column's bytes is what a look at each value finds, also across windows, nulls and slices."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offline_capi.identity.meta import META
from offline_capi.identity.verdict import Cause, Readable
from offline_capi.mapping.ids import find_damaged, strip_zero_fraction
from offline_capi.mapping.text import keep_verbatim, trim_text
from offline_capi.runtime.column_bytes import (
    SAMPLE_ROWS,
    WINDOW_BYTES,
    compute_once_each,
    count_empty,
    find_parts,
    holds,
    needs_trim,
    where_begins,
    where_ends,
    where_not_ascii,
    where_only,
)

#: Every character that Arrow or Python takes for white space, and some that look alike.
BLANKS = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2009\u2028\u2029\u202f\u205f\u3000\u200b\u00e9\u20ac"
TEXTS = st.lists(st.none() | st.text(alphabet=f"ab0.=+{BLANKS}", max_size=6), max_size=12)


def sliced(values: list[str | None]) -> pa.Array:
    """The values as a slice of a longer column, as batches are."""
    return pa.array(["é= ", *values, "+é"], pa.string()).slice(1, len(values))


@given(TEXTS)
def test_marks_are_found_where_they_stand(values: list[str | None]) -> None:
    column = sliced(values)
    there = [value for value in values if value]

    assert find_parts(column, "=", "a0", "é") == {mark for mark in ("=", "a0", "é") if mark in "".join(there)}
    assert holds(column, "=", "+") == any("=" in value or "+" in value for value in there)
    assert count_empty(column) == len(values) - len(there)


@given(TEXTS)
def test_no_value_is_missed_by_its_first_or_last_byte(values: list[str | None]) -> None:
    column = sliced(values)
    begins, ends, odd = where_begins(column, b"=+"), where_ends(column, b"=+"), where_not_ascii(column)

    for row, value in enumerate(values):
        assert not (value or "").startswith(("=", "+")) or (begins is not None and begins[row].as_py())
        assert not (value or "").endswith(("=", "+")) or (ends is not None and ends[row].as_py())
        assert (odd is not None and odd[row].as_py()) == (value is not None and not value.isascii())


@given(TEXTS)
def test_blank_values_are_null_and_all_others_as_they_are(values: list[str | None]) -> None:
    """Nulls and empty values take another path than columns without, and both say the same."""
    # U+001C to U+001F: white space for Python and for Arrow; U+200B for neither.
    filled = [value if value is not None and value.strip() else None for value in values]

    assert keep_verbatim(sliced(values)).to_pylist() == filled
    assert trim_text(sliced(values)).to_pylist() == [value and value.strip() for value in filled]


@pytest.mark.parametrize("at", range(-3, 3))
def test_a_mark_across_two_windows_is_found(at: int) -> None:
    column = pa.array(["x" * (WINDOW_BYTES + at), "ab", "x" * 100])

    assert holds(column, "ab")
    assert find_parts(column, "ab", "ba", "b") == {"ab", "b"}


@pytest.mark.parametrize("at", [0, WINDOW_BYTES - 1, WINDOW_BYTES, 3 * WINDOW_BYTES])
def test_a_letter_beyond_ascii_is_found_in_every_window(at: int) -> None:
    column = pa.array(["x" * at, "é", None, "x"])

    assert where_not_ascii(column) == pa.array([False, True, False, False])


def test_what_is_not_changed_is_not_copied() -> None:
    column = pa.array(["=a", "b"])

    assert where_only(column, pa.array([True, False]), lambda few: few) is column


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("3.0", "3"),
        ("-12.000", "-12"),
        ("212.555.0100", "212.555.0100"),
        ("3.01", "3.01"),
        ("0.0", "0"),
        ("3.05", "3.05"),
    ],
)
def test_a_whole_number_has_no_fraction_among_others(written: str, read: str) -> None:
    assert strip_zero_fraction(pa.array(["x", written, None])).to_pylist() == ["x", read, None]


def test_digits_are_gone_with_either_letter_of_an_exponent() -> None:
    column = pa.array(["1.18E+15", "1,2e+10", "+15E", "e+12", None])

    assert find_damaged(column) == pa.array([True, True, False, False, False])
    assert find_damaged(pa.array(["+1650", "4+5"])) is None


def test_a_test_lead_behind_a_blank_is_one_whatever_its_neighbours() -> None:
    """Before, the blank hid it unless another value of the batch began with a bracket."""
    lead = " <test lead: dummy data for email>"

    for neighbours in ([], ["<x>"], ["#REF!"]):
        text = pa.array([lead, *neighbours])
        usable = META["em"](Readable(text, pa.nulls(len(text), pa.string())))
        assert usable.cause is not None
        assert usable.cause[0].as_py() == Cause.TEST_LEAD.value


@example(["a", "Za"], 1)
@given(st.lists(st.none() | st.text(alphabet=f"aZ{BLANKS}", max_size=3), max_size=9), st.integers(0, 3))
def test_a_column_that_needs_no_trim_is_the_same_when_trimmed(values: list[str | None], start: int) -> None:
    """Cast from a slice of another layout too: pyarrow's ascii_lower would lose bytes of it."""
    for layout in (pa.string(), pa.large_string()):
        text = pa.array(values, layout).slice(min(start, len(values))).cast(pa.string())
        if not needs_trim(text):
            assert pc.utf8_trim_whitespace(text).equals(text)
            assert pc.ascii_lower(text).to_pylist() == [value and value.replace("Z", "z") for value in values[start:]]


@pytest.mark.parametrize(("different", "computed"), [(3, 4), (SAMPLE_ROWS, 2 * SAMPLE_ROWS)])
def test_what_repeats_is_computed_once_each_and_stands_where_it_stood(different: int, computed: int) -> None:
    """Also what does not repeat behind a sample that does, and what is null."""
    numbers = [f"{number % different}" for number in range(2 * SAMPLE_ROWS - 2)]
    column = sliced([*numbers, "alone", None])
    seen: list[int] = []

    def double(texts: pa.Array) -> pa.Array:
        seen.append(len(texts))
        return pc.binary_join_element_wise(texts, texts, "")

    doubled = compute_once_each(column, double)

    assert doubled.to_pylist() == [*(2 * number for number in numbers), "alonealone", None]
    assert seen == [computed]
    assert compute_once_each(column.slice(0, 0), double).to_pylist() == []
