"""Source times as UTC seconds, by declaration and never by the clock.

What is read, and how:

- text: with ``format``, those strptime formats in turn and nothing else (``iso`` names ISO 8601 among them); with
  ``unit``, a number of that unit; otherwise ISO 8601, or digits by the rule below;
- numbers: by ``unit``; without one only where no other unit is possible (``BANDS``), refused between the bands;
- Arrow timestamps and dates as they are; a date is its midnight.

A value with an offset keeps it, and so does one whose format names the offset (``%SZ``, ``%S UTC``). A naive value
stands in the declared zone: where the clocks go back it means the earlier of the two instants, where they go forward a
time that never was is read with the offset before the change, so 02:30 becomes 03:30 (RFC 5545 section 3.3.5, and what
Python's ``zoneinfo`` does with ``fold=0``). The zone rules come with polars and not from the machine. Fractions of
seconds are floored.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.config.formats import ISO_FORMAT, find_format_problem, find_named_offset
from offline_capi.mapping.numerals import read_numbers
from offline_capi.mapping.text import UnfitSettingError, UnfitTypeError, as_text, is_text

__all__ = ["BANDS", "INSTANT_TYPE", "ISO", "TimeRule", "read_dates", "read_instants"]

INSTANT_TYPE = pa.timestamp("s", "UTC")
ISO = ISO_FORMAT
UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}

# Each unit from 2001-09-09 to 2286-11-20: ten, thirteen and sixteen digits. No number is in two bands.
BANDS: tuple[tuple[float, float, int], ...] = tuple((1e9 * per, 1e10 * per, per) for per in UNITS_PER_SECOND.values())

_QUARTER_S = 900
_EARLIEST = -30_610_224_000  # the year 1000: "26" under %Y is a mistake, not antiquity
_YEAR_3000 = 32_503_680_000  # the first second that _DATE does not know

_DATE = (
    r"(?:[12]\d{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|02-(?:0[1-9]|1\d|2[0-8]))|(?:[12]\d(?:0[48]|[2468][048]|[13579][26])|(?:1[26]|2[048])00)-02-29)"
)
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?"
_OFFSET = r"(?:Z|z|UTC|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)"
_NAIVE = rf"^{_DATE}(?:[T ]{_CLOCK})?$"
_ZONED = rf"^{_DATE}[T ]{_CLOCK} ?{_OFFSET}$"
_ODD_ZONED = r"[.,z U]\S*$"
_ZONED_PARTS = r"^(\S{10})[T ]([\d:]+)(?:[.,]\d+)? ?(?:(Z)|z|UTC|([+-][\d:]+))$"


class TimeRule(NamedTuple):
    """What an upload declares about a time: its formats, the unit of its numbers, the zone of its naive values."""

    formats: tuple[str, ...] = ()
    unit: str | None = None
    zone: str = "UTC"


def read_instants(values: pa.Array, rule: TimeRule) -> pa.TimestampArray:
    """Instants in whole UTC seconds, null where ``values`` cannot be read for certain."""
    for fits, read in _READERS:
        if fits(values.type):
            return read(values, rule)
    raise UnfitTypeError(f"{values.type} is no time")


def read_dates(values: pa.Array, rule: TimeRule) -> pa.Date32Array:
    """Calendar days, null where unreadable: the day as it is written, or, of an Arrow instant, its day in the zone."""
    if is_text(values):
        return _read_written_days(values, rule)
    if kinds.is_date(values.type):
        return pc.cast(values, pa.date32())
    if kinds.is_timestamp(values.type) and not values.type.tz:
        return _convert_to_days(values.view(pa.timestamp(values.type.unit, "UTC")), "UTC")
    return _convert_to_days(read_instants(values, rule), rule.zone)


def _convert_to_days(instants: pa.TimestampArray, zone: str) -> pa.Date32Array:
    return _as_series(instants).dt.convert_time_zone(zone).dt.date().to_arrow()


def _read_written_days(text: pa.StringArray, rule: TimeRule) -> pa.Date32Array:
    if rule.formats:
        zone = rule.zone if any("%z" in form or find_named_offset(form) is not None for form in rule.formats) else "UTC"
        return _convert_to_days(read_instants(text, rule._replace(zone=zone)), zone)
    dated = pc.or_(pc.match_substring_regex(text, _NAIVE), pc.match_substring_regex(text, _ZONED))
    days = pc.utf8_slice_codeunits(pc.if_else(dated, text, pa.scalar(None, pa.string())), 0, len("2026-11-20"))
    return pc.cast(days, pa.date32())


# ---------------------------------------------------------------------------------------------- by Arrow type


def _read_timestamps(values: pa.TimestampArray, rule: TimeRule) -> pa.TimestampArray:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[values.type.unit]
    seconds = (_as_series(values.view(pa.int64())) // per_second).to_arrow()
    return _make_instants(seconds) if values.type.tz else _localise(pc.cast(seconds, pa.timestamp("s")), rule.zone)


def _read_dates(values: pa.Array, rule: TimeRule) -> pa.TimestampArray:
    return _localise(pc.cast(pc.cast(values, pa.date32()), pa.timestamp("s")), rule.zone)


def _read_numbers(values: pa.Array, rule: TimeRule) -> pa.TimestampArray:
    """Numbers of the declared unit; with declared formats, the text of the numbers (``20261120``)."""
    if rule.formats:
        return _read_text(as_text(values), rule)
    numbers = _as_series(values if kinds.is_integer(values.type) else read_numbers(as_text(values), "."))
    return _make_instants(
        (_scale_by_unit(numbers, UNITS_PER_SECOND[rule.unit]) if rule.unit else _scale_by_band(numbers)).to_arrow()
    )


def _read_text(text: pa.StringArray, rule: TimeRule) -> pa.TimestampArray:
    if rule.formats:
        return _try_readers(text, [_make_reader(form) for form in rule.formats], rule)
    if (plain := _parse_plain_digits(text, rule)) is not None:
        return plain
    return _try_readers(text, [_read_digits] if rule.unit else [_read_iso, _read_digits], rule)


def _try_readers(text: pa.StringArray, readers: list[Callable[..., pa.Array]], rule: TimeRule) -> pa.TimestampArray:
    """Each reader sees what those before it could not read."""
    found = readers[0](text, rule)
    for read in readers[1:]:
        if found.null_count == text.null_count:
            break
        left = pc.and_(text.is_valid(), found.is_null())
        found = pc.replace_with_mask(found, left, read(text.filter(left), rule))
    return found


_READERS: tuple[tuple[Callable[[pa.DataType], Any], Callable[..., pa.TimestampArray]], ...] = (
    (kinds.is_timestamp, _read_timestamps),
    (kinds.is_date, _read_dates),
    (kinds.is_integer, _read_numbers),
    (kinds.is_floating, _read_numbers),
    (kinds.is_decimal, _read_numbers),
    (kinds.is_string, _read_text),
)


# ---------------------------------------------------------------------------------------------- numbers


def _read_digits(text: pa.StringArray, rule: TimeRule) -> pa.TimestampArray:
    bare = pc.match_substring_regex(text, r"^-?\d+(?:\.\d+)?$")
    digits = read_numbers(pc.if_else(bare, text, pa.scalar(None, pa.string())), ".")
    return _read_numbers(digits, TimeRule(unit=rule.unit))


def _parse_plain_digits(text: pa.StringArray, rule: TimeRule) -> pa.TimestampArray | None:
    """Where all are whole numbers of one of ``BANDS``, as exports write them; else ``None``."""
    lengths = set(pc.min_max(pc.binary_length(text)).as_py().values())
    for low, high, per_second in BANDS:
        meant = UNITS_PER_SECOND.get(rule.unit or "", per_second) == per_second
        if meant and lengths == {len(str(int(low)))} and pc.all(pc.ascii_is_decimal(text)).as_py():
            numbers = pc.cast(text, pa.int64())
            ends = pc.min_max(numbers).as_py()
            return _make_instants(pc.divide(numbers, per_second)) if low <= ends["min"] and ends["max"] < high else None
    return None


def _scale_by_unit(numbers: pl.Series, per_second: int) -> pl.Series:
    """Floored, null beyond the years that a time can have."""
    seconds = numbers // per_second
    wide = seconds.abs() <= timedelta(days=365_250).total_seconds()
    return seconds.zip_with(wide.fill_null(False), seconds.clear(len(seconds))).cast(pl.Int64, strict=False)


def _scale_by_band(numbers: pl.Series) -> pl.Series:
    found = pl.repeat(None, len(numbers), dtype=pl.Int64, eager=True)
    for low, high, per_second in BANDS:
        inside = ((numbers >= low) & (numbers < high)).fill_null(False)
        found = _scale_by_unit(numbers, per_second).zip_with(inside, found)
    return found


# ---------------------------------------------------------------------------------------------- text


def _read_iso(text: pa.StringArray, rule: TimeRule) -> pa.TimestampArray:
    """ISO 8601 dates and times, with or without offset; a blank instead of the T, a comma for the point, ``UTC``."""
    plain = _parse_plain(text)
    if plain is not None:
        return _localise(plain, rule.zone)
    naive = pc.match_substring_regex(text, _NAIVE)
    found = _localise(_parse_naive(pc.if_else(naive, text, pa.scalar(None, pa.string()))), rule.zone)
    if found.null_count == text.null_count:
        return found
    zoned = pc.match_substring_regex(text, _ZONED)
    return pc.coalesce(found, _parse_zoned(pc.if_else(zoned, text, pa.scalar(None, pa.string()))))


def _parse_plain(text: pa.StringArray) -> pa.TimestampArray | None:
    """Where all are ``2026-11-20 10:00:00``, which Arrow's own parser reads in a fifth of the time; else ``None``."""
    lengths = pc.min_max(pc.binary_length(text)).as_py()
    if set(lengths.values()) != {len("2026-11-20 10:00:00")}:
        return None
    try:
        parsed = pc.cast(text, pa.timestamp("s"))
    except pa.ArrowInvalid:
        return None
    seconds = pc.min_max(parsed.view(pa.int64())).as_py()
    return parsed if seconds["min"] >= _EARLIEST and seconds["max"] < _YEAR_3000 else None


def _parse_naive(text: pa.StringArray) -> pa.TimestampArray:
    return pc.cast(pc.utf8_slice_codeunits(text, 0, len("2026-11-20T10:00:00")), pa.timestamp("s"))


def _parse_zoned(text: pa.StringArray) -> pa.TimestampArray:
    return pc.cast(
        _tidy_offsets(text) if pc.any(pc.match_substring_regex(text, _ODD_ZONED)).as_py() else text, INSTANT_TYPE
    )


def _tidy_offsets(text: pa.StringArray) -> pa.StringArray:
    """Offsets the way Arrow reads them: no fraction, no blank before, ``Z`` for ``UTC`` and ``z``."""
    bare = pc.replace_substring_regex(text, _ZONED_PARTS, r"\1T\2\3\4")
    return pc.replace_substring_regex(bare, r"^(.{10}T[\d:]+)$", r"\1Z")


def _make_reader(form: str) -> Callable[..., pa.TimestampArray]:
    if form == ISO:
        return _read_iso
    pattern = _build_pattern(form)
    return lambda text, rule: _parse_format(text, form, pattern, rule.zone)


def _build_pattern(form: str) -> str:
    """The same format for polars; ``UnfitSettingError`` where it cannot name one moment."""
    if problem := find_format_problem(form):
        raise UnfitSettingError(problem)
    return form.replace(".%f", "%.f").replace("%T", "%H:%M:%S")


def _parse_format(text: pa.StringArray, form: str, pattern: str, zone: str) -> pa.TimestampArray:
    has_offset, offset = "%z" in pattern, find_named_offset(form)
    series = _as_series(pc.replace_substring_regex(text, "[Zz]$", "+00:00") if has_offset else text)
    try:
        parsed = series.str.to_datetime(pattern, time_unit="us", strict=False)
    except pl.exceptions.ComputeError:
        raise UnfitSettingError(f'"{form}" is not a time format that can be read') from None
    seconds = _as_series(parsed.to_physical().to_arrow()) // UNITS_PER_SECOND["us"]
    sane = seconds.zip_with((seconds >= _EARLIEST).fill_null(False), seconds.clear(len(seconds)))
    if has_offset:
        return _make_instants(sane.to_arrow())
    if offset is not None:
        return _make_instants((sane - int(offset.total_seconds())).to_arrow())
    return _localise(pc.cast(sane.to_arrow(), pa.timestamp("s")), zone)


# ---------------------------------------------------------------------------------------------- zones


def _localise(wall: pa.TimestampArray, zone: str) -> pa.TimestampArray:
    """Wall time in ``zone`` as instants: looked up for each quarter of an hour that occurs, where these are few.

    The rules of a zone change between two of them. Where one has an odd offset, as before standard time, or the clocks
    go forward within it, each time is looked up.
    """
    if zone == "UTC":
        return _make_instants(wall)
    seconds = pc.fill_null(wall.view(pa.int64()), 0).to_numpy()
    quarters = pa.array(seconds // _QUARTER_S).dictionary_encode()
    starts = quarters.dictionary.to_numpy() * _QUARTER_S
    if 2 * len(starts) < len(seconds):
        ends = np.concatenate([starts, starts + (_QUARTER_S - 1)])
        found = _localise_each(pa.array(ends).view(pa.timestamp("s")), zone).view(pa.int64())
        first, last = np.split(found.to_numpy(zero_copy_only=False), 2)
        if not found.null_count and (last - first == _QUARTER_S - 1).all():
            moved = seconds + (first - starts)[quarters.indices.to_numpy()]
            return _make_instants(pa.array(moved, mask=wall.is_null().to_numpy(zero_copy_only=False)))
    return _localise_each(wall, zone)


def _localise_each(wall: pa.TimestampArray, zone: str) -> pa.TimestampArray:
    local = _as_series(wall)
    found = _convert_from_zone(local, zone)
    if found.null_count() > local.null_count():
        # A skipped time has the offset of the day before; no gap in the zone rules is longer than a day.
        found = found.fill_null(_convert_from_zone(local - timedelta(days=1), zone) + timedelta(days=1))
    return _make_instants((found.dt.epoch("s")).to_arrow())


def _convert_from_zone(local: pl.Series, zone: str) -> pl.Series:
    placed = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return placed.dt.convert_time_zone("UTC")


def _make_instants(seconds: pa.Array) -> pa.TimestampArray:
    return pc.cast(pc.cast(seconds, pa.int64()), INSTANT_TYPE)


def _as_series(values: pa.Array) -> pl.Series:
    return pl.Series(pl.from_arrow(values))
