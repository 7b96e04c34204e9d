"""Numbers as people write them."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from offline_capi.mapping.numerals import read_integers, read_numbers

REFUSED = None


@pytest.mark.parametrize(
    ("text", "with_point", "with_comma"),
    [
        ("12", 12.0, 12.0),
        ("+5", 5.0, 5.0),
        ("-0.5", -0.5, -0.5),
        ("5.", 5.0, REFUSED),
        ("1e3", 1000.0, 1000.0),
        ("1.5E+03", 1500.0, REFUSED),
        # Open to two readings: the declared mark decides.
        ("1,234", 1234.0, 1.234),
        ("1.234", 1.234, 1234.0),
        ("-1.234", -1.234, -1234.0),
        # Open to one reading only.
        ("12,50", 12.5, 12.5),
        ("12.50", 12.5, 12.5),
        ("0,125", 0.125, 0.125),
        ("0.125", 0.125, 0.125),
        ("1,234.56", 1234.56, 1234.56),
        ("1.234,56", 1234.56, 1234.56),
        ("1,234,567", 1234567.0, 1234567.0),
        ("1.234.567", 1234567.0, 1234567.0),
        ("1 234 567,8", 1234567.8, 1234567.8),
        ("1\u00a0234.5", 1234.5, 1234.5),
        ("1'234.50", 1234.5, 1234.5),
        # Refused rather than guessed.
        ("$5", REFUSED, REFUSED),
        ("5 €", REFUSED, REFUSED),
        ("5%", REFUSED, REFUSED),
        ("(5)", REFUSED, REFUSED),
        ("5-", REFUSED, REFUSED),
        ("1,23,456", REFUSED, REFUSED),
        ("1,234.567,8", REFUSED, REFUSED),
        ("1_000", REFUSED, REFUSED),
        ("0x10", REFUSED, REFUSED),
        ("１２", REFUSED, REFUSED),
        ("nan", REFUSED, REFUSED),
        ("-Infinity", REFUSED, REFUSED),
        ("1e999", REFUSED, REFUSED),
        ("twelve", REFUSED, REFUSED),
    ],
)
def test_the_decimal_mark_decides_only_what_the_digits_leave_open(text, with_point, with_comma):
    assert read_numbers(pa.array([text]), ".").to_pylist() == [with_point]
    assert read_numbers(pa.array([text]), ",").to_pylist() == [with_comma]


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("1234567.0", 1234567),
        ("1234567.", 1234567),
        ("-3", -3),
        ("007", 7),
        ("1,234,567", 1234567),
        ("9007199254740993", 9007199254740993),
        ("9007199254740993.00", 9007199254740993),
        ("9223372036854775807", 9223372036854775807),
        ("9223372036854775808", REFUSED),
        ("1.5", REFUSED),
        ("1.23457E+11", REFUSED),
        ("", REFUSED),
    ],
)
def test_integers_are_exact_and_never_rebuilt_from_an_exponent(text, whole):
    assert read_integers(pa.array([text]), ".").to_pylist() == [whole]


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        (pa.array([1.0, 1.5, float("nan"), float("inf")]), [1, None, None, None]),
        (pa.array([2.0**53 - 1, 2.0**53]), [2**53 - 1, None]),
        (pa.array([2**64 - 1, 3], pa.uint64()), [None, 3]),
        (pa.array([Decimal("2.00"), Decimal("2.50")]), [2, None]),
        (pa.array([Decimal(2**53 + 1)]), [2**53 + 1]),
    ],
)
def test_typed_columns_hold_an_integer_or_none(values, whole):
    assert read_integers(values, ".").to_pylist() == whole


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (pa.array([Decimal("9.99")]), [9.99]),
        (pa.array([9.99], pa.float32()), [9.99]),
        (pa.array([7], pa.int32()), [7.0]),
        (pa.array([1.5, float("nan"), float("inf")]), [1.5, None, None]),
    ],
)
def test_typed_columns_become_the_nearest_float(values, numbers):
    assert read_numbers(values, ",").to_pylist() == numbers
