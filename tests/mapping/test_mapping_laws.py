"""Laws of the mapping, on generated rows."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline_capi.mapping import map_rows
from offline_capi.mapping.numerals import read_integers, read_numbers
from offline_capi.mapping.times import TimeRule, read_instants
from offline_capi.model import MappedRows, SourceRows, Window
from tests.mapping.mapped import mapping

wall = dt.datetime.fromisoformat

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu")

EVERYTHING = mapping(
    client={"column": "b", "map": {"a": "acme", "B": "brand"}, "default": "other"},
    window={"column": "t", "timezone": "America/New_York"},
    event={
        "name": {"coalesce": ["b", "c"]},
        "id": "{a}-{b:integer}-{t:date}",
        "time": {"column": "t", "format": ["iso", "%d.%m.%Y", "%m/%d/%Y %I:%M %p"]},
        "action_source": {"column": "c"},
        "source_url": "c",
        "opt_out": "b",
    },
    user_data={
        "em": ["a", {"column": "b", "hashed": True}],
        "ph": {"column": "c", "country": "a"},
        "db": {"column": "t", "type": "date"},
        "external_id": {"column": "b", "type": "integer"},
        "ge": {"column": "c", "map": {"f": "f", "F": "F"}},
    },
    custom_data={
        "value": {"column": "b", "decimal": ","},
        "currency": {"column": "c", "map": {"dollar": "USD"}},
        "predicted_ltv": {"coalesce": ["b", "c"], "default": 1},
        "num_items": "b",
        "content_ids": ["a", "c"],
        "contents": {"json_column": "j"},
        "properties": {
            "moment": {"column": "b", "type": "timestamp"},
            "flag": {"column": "c", "type": "boolean"},
            "text": "c",
        },
    },
    consent={"column": "c", "equals": [True, 1, "ja"]},
)
BUILT = mapping(custom_data={"contents": {"id": "id", "quantity": "email", "item_price": "at", "title": "id"}})

numerals = st.from_regex(r"\A[+-]?\d{0,4}([.,' ]\d{1,4}){0,3}([eE][+-]?\d{1,2})?\Z", fullmatch=True)
times = st.one_of(
    st.datetimes(wall("1900-01-01"), wall("2036-01-01")).map(str),
    st.from_regex(r"\A2026-[01]\d-[0-3]\d([T ][0-2]\d:[0-6]\d(:[0-6]\d([.,]\d+)?)?)?( ?(Z|z|UTC|[+-]\d\d:?\d\d))?\Z"),
    st.integers(0, 10**17).map(str),
)
words = st.sampled_from(["a", "B", "yes", "No", "1", "0", "dollar", "", " ", "JA"])
items = st.sampled_from(['[{"id":1,"quantity":2}]', "[]", "[{}]", "{", '["a"]'])
anything = st.one_of(st.none(), words, numerals, times, items, st.text(max_size=12))
rows_of_anything = st.lists(st.tuples(anything, anything, anything, anything, anything), min_size=1, max_size=12)


def batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    return pa.record_batch(
        [pa.array(column, pa.string()) for column in zip(*rows, strict=True)], ["a", "b", "c", "t", "j"]
    )


def plainly(mapped: MappedRows) -> list[tuple[Any, ...]]:
    """Every row of a result as plain values, its faults included."""
    columns = [mapped.row, mapped.client, *mapped.event.values(), *mapped.custom.values(), mapped.suppressed]
    columns += [part.values for parts in mapped.identity.values() for part in parts]
    columns += [part.country for parts in mapped.identity.values() for part in parts if part.country is not None]
    faults: list[tuple[str, ...]] = [()] * len(mapped)
    for fault in mapped.faults:
        marked = zip(faults, fault.where.to_pylist(), strict=True)
        faults = [(*known, f"{fault.reason} {fault.field}") if bad else known for known, bad in marked]
    return list(zip(*(column.to_pylist() for column in columns), faults, strict=True))


@QUICK
@given(rows_of_anything, st.data())
def test_what_a_row_becomes_does_not_depend_on_its_batch(rows, data):
    """P11: whatever the chunk size and the encoding, the row is the same."""
    whole = batch(rows)
    encoding = data.draw(st.sampled_from(["string", "large_string", "string_view", "dictionary"]))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows)))) | {0, len(rows)})

    together = plainly(map_rows(SourceRows(whole, "x", 1), EVERYTHING))
    apart = [
        row
        for start, end in pairwise(cuts)
        for row in plainly(
            map_rows(SourceRows(encoded(whole.slice(start, end - start), encoding), "x", 1 + start), EVERYTHING)
        )
    ]

    assert apart == together


def encoded(rows: pa.RecordBatch, encoding: str) -> pa.RecordBatch:
    kinds = {"large_string": pa.large_string(), "string_view": pa.string_view(), "string": pa.string()}
    columns = [
        column.dictionary_encode() if encoding == "dictionary" else column.cast(kinds[encoding])
        for column in rows.columns
    ]
    return pa.record_batch(columns, rows.schema.names)


@QUICK
@given(rows_of_anything)
def test_every_row_is_mapped_or_counted_outside(rows):
    """P1, this stage's part. Random text in any column never raises."""
    day = Window.of_day(dt.date(2026, 3, 8), "America/New_York")

    mapped = map_rows(SourceRows(batch(rows), "x", 7), EVERYTHING, day)

    assert len(mapped) + mapped.outside == len(rows)
    assert set(mapped.row.to_pylist()) <= set(range(7, 7 + len(rows)))
    columns = [mapped.client, *mapped.event.values(), *mapped.custom.values(), mapped.suppressed]
    assert {len(column) for column in columns} == {len(mapped)}


@QUICK
@given(st.lists(st.tuples(anything, anything, anything), min_size=1, max_size=8))
def test_contents_from_columns_are_json_or_nothing(rows):
    columns = {
        name: pa.array(values, pa.string())
        for name, values in zip(("id", "email", "at"), zip(*rows, strict=True), strict=True)
    }

    contents = map_rows(SourceRows(pa.record_batch(columns), "x", 1), BUILT).custom["contents"].to_pylist()

    for text in contents:
        assert text is None or set(json.loads(text)[0]) >= {"id"}


def slow_number(text: str, decimal: str) -> float | None:
    """The rule of ``numerals``, said once more in another way: list the readings, take the only or the declared one."""
    other = "," if decimal == "." else "."
    sign, body = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    readings = {mark: reading(body, mark) for mark in (decimal, other)}
    chosen = readings[decimal]
    if chosen is None and foreign_mark_is_certain(body, other):
        chosen = readings[other]
    if chosen is None:
        return None
    value = float(sign + chosen)
    return value if math.isfinite(value) else None


def reading(body: str, mark: str) -> str | None:
    group = "," if mark == "." else "."
    m, g = re.escape(mark), re.escape(group)
    if re.fullmatch(rf"(\d+({m}\d*)?|{m}\d+)([eE][+-]?\d+)?", body, re.ASCII):
        return body.replace(mark, ".")
    for separator in (g, "[ '\u2019\u00a0\u202f\u2009]"):
        if re.fullmatch(rf"[1-9]\d{{0,2}}({separator}\d{{3}})+({m}\d*)?", body, re.ASCII):
            return re.sub(separator, "", body).replace(mark, ".")
    return None


def foreign_mark_is_certain(body: str, other: str) -> bool:
    """One or two digits after it, a lone zero before it, or groups that the declared mark makes several times."""
    before, mark, after = body.partition(other)
    if not mark:
        return len(re.findall(r"[.,]", body)) > 1
    return after.isdigit() and (before == "0" or (len(after) in (1, 2) and before != ""))


@settings(QUICK, max_examples=250)
@given(st.lists(numerals, min_size=1, max_size=10), st.sampled_from([".", ","]))
def test_numbers_agree_with_a_slow_reference(texts, decimal):
    texts = [text for text in texts if text.strip() == text and text] or ["1"]

    assert read_numbers(pa.array(texts), decimal).to_pylist() == [slow_number(text, decimal) for text in texts]


@QUICK
@given(st.lists(st.integers(-(2**70), 2**70), min_size=1), st.sampled_from(["{}", "{}.0", "{}.", "{:,}", "{:+}"]))
def test_integers_are_exact_in_every_spelling(numbers, form):
    expected = [number if -(2**63) <= number < 2**63 else None for number in numbers]

    assert read_integers(pa.array([form.format(number) for number in numbers]), ".").to_pylist() == expected


@QUICK
@given(
    st.lists(
        st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9), min_size=1
    )
)
def test_decimals_become_the_nearest_float(values):
    assert read_numbers(pa.array(values, pa.decimal128(20, 4)), ".").to_pylist() == [float(Decimal(v)) for v in values]


walls = st.datetimes(wall("1971-01-01"), wall("2036-12-31"))
# Half of the time near a change of the clocks.
CHANGES = (
    "2026-03-08",
    "2026-11-01",
    "2026-03-29",
    "2026-10-25",
    "2026-04-05",
    "2026-10-04",
    "2018-11-04",
    "2018-02-18",
)
changes = st.sampled_from([wall(day) for day in CHANGES])
near = st.builds(lambda day, minute: day + dt.timedelta(minutes=minute), changes, st.integers(-60, 300))


@settings(QUICK, max_examples=250)
@given(st.lists(walls | near, min_size=1, max_size=8), st.sampled_from(ZONES))
def test_naive_times_are_placed_as_zoneinfo_places_them(times, zone):
    placed = read_instants(pa.array([str(time) for time in times]), TimeRule(zone=zone)).cast(pa.int64()).to_pylist()

    assert placed == [math.floor(time.replace(tzinfo=ZoneInfo(zone), fold=0).timestamp()) for time in times]
    assert read_instants(pa.array(times), TimeRule(zone=zone)).cast(pa.int64()).to_pylist() == placed


@QUICK
@given(
    st.lists(walls, min_size=1, max_size=8),
    st.integers(-12 * 60, 14 * 60),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_offsets_are_kept(times, minutes, precision):
    aware = [time.replace(tzinfo=dt.timezone(dt.timedelta(minutes=minutes))) for time in times]

    read = read_instants(pa.array([time.isoformat(timespec=precision) for time in aware]), TimeRule(zone="Asia/Tokyo"))

    assert read.cast(pa.int64()).to_pylist() == [math.floor(time.timestamp()) for time in aware]


@QUICK
@given(times)
def test_iso_texts_that_python_refuses_are_refused_or_of_our_documented_spellings(text):
    """Nothing is read that is no date at all: Python agrees once our extra spellings are undone."""
    read = read_instants(pa.array([text]), TimeRule())[0].as_py()
    usual = re.sub(r" ?UTC$|z$", "Z", text.replace(",", ".")).replace(" +", "+").replace(" -", "-").replace(" Z", "Z")

    if read is not None and not text.isdigit():
        expected = dt.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", usual))
        aware = expected if expected.tzinfo else expected.replace(tzinfo=dt.UTC)
        assert read == aware.replace(microsecond=0)
