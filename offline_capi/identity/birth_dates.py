"""Dates of birth → YYYYMMDD, never guessing which of two numbers is the day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time
from functools import cache

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity import placeholders
from offline_capi.identity.text import (
    as_strings,
    find_matches,
    fold_digits,
    is_one_of,
    lower_text,
    make_frame,
    strip_zero_fraction,
)
from offline_capi.identity.verdict import Cause, Readable, Usable
from offline_capi.runtime.automaton import Rewriter, compile_expressions, make_rewriter

__all__ = ["FIRST_YEAR", "normalize_birth_date", "recognise_birth_dates"]

FIRST_YEAR = 1900  # D:parameters/customer-information-parameters, db and doby: 1900 to now

_CLOCK = r"(?:[t ]+[0-9]{1,2}:[0-9]{2}.*)?"  # where a date was exported as a timestamp
# A date at midnight that was exported with an offset is that date; at any other time it is an instant of some zone.
_INSTANT = (
    r"^(?P<day>[0-9]{4}-[0-9]{1,2}-[0-9]{1,2})[t ]+(?P<h>[0-9]{1,2}):(?P<m>[0-9]{2})(?::[0-9]{2}(?:[.,][0-9]+)?)?"
    r" ?(?P<z>z|utc|gmt|[+-][0-9]{2}:?(?:[0-9]{2})?)$"
)
_TWO_DIGITS = r"(?P<mm>[0-9]{2})(?P<dd>[0-9]{2})"
_YEAR_FIRST = rf"^(?P<y>[0-9]{{4}})(?:[-/. ](?P<m>[0-9]{{1,2}})[-/. ](?P<d>[0-9]{{1,2}})|{_TWO_DIGITS}){_CLOCK}$"
_YEAR_LAST = rf"^(?P<a>[0-9]{{1,2}})[-/. ]+(?P<b>[0-9]{{1,2}})[-/. ]+(?P<y>[0-9]{{4}}){_CLOCK}$"


def normalize_birth_date(readable: Readable) -> Usable:
    """Declared formats first; ISO and YYYYMMDD always.

    Without a declared format, day and month in front of the year are taken only where one reading is possible.
    """
    text = strip_zero_fraction(fold_digits(lower_text(readable.text)))
    usable = Usable(text).refuse(Cause.PLACEHOLDER, is_one_of(text, placeholders.TEXTS))
    usable = _shift_to_zone(usable, readable.zone)
    if not readable.formats:
        usable = usable.refuse(Cause.AMBIGUOUS_DATE, _is_ambiguous(usable.text))
    dates = _parse_dates(usable.text, readable.formats, readable.today, readable.zone)
    usable = usable.become(as_strings(dates.dt.strftime("%Y%m%d")), Cause.NOT_A_DATE)
    usable = usable.refuse(Cause.PLACEHOLDER, is_one_of(usable.text, placeholders.DATES))
    in_range = ((dates >= date(FIRST_YEAR, 1, 1)) & (dates <= readable.today)).to_arrow()
    return usable.keep(Cause.OUT_OF_RANGE, in_range)


def recognise_birth_dates(readable: Readable) -> pa.StringArray | None:
    """``YYYY-MM-DD`` in earlier years, null where ``normalize_birth_date`` has to decide; ``None``: everywhere, since
    another format is declared first, which might read such a date otherwise."""
    if readable.formats and readable.formats[0] != _ISO:
        return None
    return _load_rewriter(min(readable.today.year, LAST_YEAR)).rewrite(readable.text)


_ISO = "%Y-%m-%d"
LAST_YEAR = 2100  # an automaton has all years before the one that it is
_MONTHS_AND_DAYS = (
    r"(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31"  # without leap days
)


@cache
def _load_rewriter(this_year: int) -> Rewriter:
    years = "|".join(map(str, range(FIRST_YEAR, this_year)))
    nobodys = "|".join(f"{one[:4]}-{one[4:6]}-{one[6:]}" for one in sorted(placeholders.DATES))
    automaton = compile_expressions({"date": f"(?:{years})-(?:{_MONTHS_AND_DAYS})", "nobody's": nobodys})
    return make_rewriter(automaton, {"date"}, {byte: byte for byte in b"0123456789"})


def _shift_to_zone(usable: Usable, zone: str | None) -> Usable:
    """Instants other than midnight as the day that they are in ``zone``, as Arrow's instants are; without a zone they
    are refused: 22:00 UTC is the next day in half of the world."""
    instant = pc.fill_null(find_matches(usable.text, _INSTANT), False)
    if not pc.any(instant).as_py():
        return usable
    parts = make_frame(text=usable.text.filter(instant))["text"].str.extract_groups(_INSTANT).struct.unnest()
    clock = parts.select(pl.concat_str("day", pl.lit(" "), pl.col("h").str.zfill(2), pl.lit(":"), "m")).to_series()
    naive = clock.str.to_datetime("%Y-%m-%d %H:%M", strict=False, time_unit="us")
    offset = parts["z"].str.extract_groups(r"^([+-])([0-9]{2}):?([0-9]{2})?$").struct.unnest()
    minutes = offset.select(
        (pl.col("2").cast(pl.Int64) * 60 + pl.col("3").fill_null("0").cast(pl.Int64))
        * pl.when(pl.col("1") == "-").then(-1).otherwise(1)
    ).to_series().fill_null(0)  # fmt: skip
    utc = (naive - pl.select(pl.duration(minutes=pl.lit(minutes))).to_series()).dt.replace_time_zone("UTC")
    at_midnight = (naive.dt.time() == time(0)).fill_null(value=False)
    days = utc.dt.convert_time_zone(zone or "UTC").dt.strftime("%Y-%m-%d")
    written = naive.dt.strftime("%Y-%m-%d")
    text = pc.replace_with_mask(usable.text, instant, as_strings(written.zip_with(at_midnight, days)))
    usable = replace(usable, text=text)
    if zone is not None:
        return usable
    return usable.refuse(Cause.NO_ZONE, pc.replace_with_mask(instant, instant, pc.invert(at_midnight.to_arrow())))


def _parse_dates(text: pa.Array, formats: tuple[str, ...], today: date, zone: str | None) -> pl.Series:
    series = make_frame(text=text)["text"]
    readings = [_parse_declared(series, form, today, zone) for form in formats]
    readings.append(_parse_year_first(series))
    if not formats:
        readings.append(_parse_year_last(series))
    return pl.select(pl.coalesce(*[pl.lit(reading) for reading in readings])).to_series()


def _parse_declared(text: pl.Series, form: str, today: date, zone: str | None) -> pl.Series:
    """strptime; a two-digit year never lies in the future, and an instant is read in ``zone``."""
    moments = text.str.to_datetime(form, strict=False, time_unit="us") if _has_clock(form) else None
    if moments is not None and ("%z" in form or (form.endswith(("Z", "z")) and not form.endswith(("%Z", "%z")))):
        moments = moments if "%z" in form else moments.dt.replace_time_zone("UTC")
        moments = moments.dt.convert_time_zone(zone or "UTC")
    dates = text.str.to_date(form, strict=False) if moments is None else moments.dt.date()
    if "%y" not in form:
        return dates
    return pl.select(pl.when(dates > today).then(dates.dt.offset_by("-100y")).otherwise(dates)).to_series()


def _has_clock(form: str) -> bool:
    return any(part in form for part in ("%H", "%I", "%M", "%S", "%T"))


def _parse_year_first(text: pl.Series) -> pl.Series:
    parts = text.str.extract_groups(_YEAR_FIRST).struct.unnest()
    day = pl.coalesce("d", "dd").str.zfill(2)
    month = pl.coalesce("m", "mm").str.zfill(2)
    return _parse_calendar(parts.select(pl.concat_str("y", month, day)).to_series())


def _parse_year_last(text: pl.Series) -> pl.Series:
    """``16/2/1997`` and ``2/16/1997``: the number above 12 is the day."""
    parts = text.str.extract_groups(_YEAR_LAST).struct.unnest()
    first_is_day = pl.col("a").cast(pl.Int32) > 12
    month = pl.when(first_is_day).then("b").otherwise("a").str.zfill(2)
    day = pl.when(first_is_day).then("a").otherwise("b").str.zfill(2)
    return _parse_calendar(parts.select(pl.concat_str("y", month, day)).to_series())


def _parse_calendar(text: pl.Series) -> pl.Series:
    return text.str.to_date("%Y%m%d", strict=False)


def _is_ambiguous(text: pa.Array) -> pa.BooleanArray:
    """Two numbers that could both be the month, and that are not the same."""
    shaped = find_matches(text, _YEAR_LAST)
    if not pc.any(shaped).as_py():
        return shaped
    parts = make_frame(text=text)["text"].str.extract_groups(_YEAR_LAST).struct.unnest()
    a, b = (parts[name].cast(pl.Int32) for name in "ab")
    return ((a <= 12) & (b <= 12) & (a != b)).to_arrow()
