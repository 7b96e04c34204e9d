"""Columns that identify people: found by ``audit``, with the settings to read birth dates and phone numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from offline_capi.audit.names import find_key
from offline_capi.audit.suggestions import KEY_PATTERNS, Suggestion, Unmapped
from offline_capi.config import USER_DATA_KEYS, Upload
from offline_capi.events.standard import WEAK_KEY_SETS
from offline_capi.identity import normalize
from offline_capi.onboarding.lines import MIN_READABLE_SHARE, Answers, Confidence, Line, describe_share, refer_to_column
from offline_capi.onboarding.sample import Column, Sample, describe_gaps
from offline_capi.onboarding.times import list_day_formats

__all__ = ["is_too_little", "propose_people"]

SECTION = "user_data"
#: A person may have several of these; of every other key a second column belongs to another person.
_KEYS_IN_SEVERAL_COLUMNS = frozenset({"em", "ph"})
#: Keys whose shape proves that they are a person's; an IP address may be a server's.
_KEYS_CLEAR_BY_SHAPE = frozenset({"em", "ph", "client_user_agent", "fbc", "fbp"})
_KEYS_OF_ONE_PERSON = frozenset({"em", "ph", "external_id"})
_MIN_ROWS_TO_REPEAT = 20


def propose_people(sample: Sample, answers: Answers, taken: frozenset[str]) -> list[Line]:
    """A line for every column that looks like a key of ``user_data``, in Meta's order of keys."""
    countries = _list_countries(sample, answers)
    columns = [column for name, column in sample.columns.items() if name not in taken and column.filled]
    suggested = _suggest_keys(sample, countries)
    lines = [_propose_line(column, suggested.get(column.name), sample, answers) for column in columns]
    lines += [line for column in columns for line in _propose_full_name(column) if column.name not in answers.keys]
    order = list(USER_DATA_KEYS)

    def _rank(line: Line) -> tuple[int, bool]:  # a column that the user named counts before one that was found
        return order.index(line.key), line.columns[0] not in answers.keys

    return list(_keep_one_per_key(sorted(filter(None, lines), key=_rank), answers))


_FULL_NAME = re.compile(r"(?i)^(?:(?:full|customer|client|contact|buyer|guest)[\W_]*)?name$")
#: Who a row is about, without the word name: a company stands there as well.
_PERSON = re.compile(r"(?i)^(?:customer|client|contact|buyer|guest|patient|member|attendee|kunde|kundin|gast|cliente)$")
_LAST_FIRST = r"^[^,\d@]+,[^,\d@]+$"
_FIRST_LAST = r"^[^,\s\d@]+(?: [^,\s\d@]+){1,3}$"


def _propose_full_name(column: Column) -> Iterator[Line]:
    """First and last name out of one column; nothing where the values are not written in one way."""
    is_named = _FULL_NAME.match(column.name) is not None
    if not is_named and not _PERSON.match(column.name):
        return
    for pattern, by, first, last, how in (
        (_LAST_FIRST, ",", 2, 1, "last name, first name"),
        (_FIRST_LAST, " ", 1, -1, "first name last name"),
    ):
        fitting = column.count_matching(pattern)
        if fitting >= MIN_READABLE_SHARE * column.filled:
            because = f"{describe_share(fitting, column.filled)} are written as {how}{describe_gaps(column)}"
            for key, part in (("fn", first), ("ln", last)):
                node = {"column": column.name, "text": [{"split": {"by": by, "part": part}}, "trim"]}
                sure = is_named or by == ","
                yield _build_line(column, key, node, because, Confidence.TAKEN if sure else Confidence.UNSURE)
            return


def is_too_little(keys: Sequence[str]) -> bool:
    """Whether Meta refuses events with no more customer data than these keys."""
    return any(set(keys) <= few for few in WEAK_KEY_SETS)


def _suggest_keys(sample: Sample, countries: Sequence[str]) -> dict[str, Suggestion]:
    nothing_mapped: Any = {"user_data": {}}
    unmapped = Unmapped(Upload.model_construct(**nothing_mapped), countries)
    unmapped.observe(sample.batch)
    return {one.column: one for one in unmapped.list_suggestions()}


def _list_countries(sample: Sample, answers: Answers) -> list[str]:
    """In which national numbers may be written: the user's answer, else the most frequent of a column."""
    codes = _read_country_codes(_find_country_column(sample))
    frequent = sorted(pc.value_counts(codes).to_pylist(), key=lambda entry: -entry["counts"])
    return [answers.country] if answers.country else [str(entry["values"]) for entry in frequent[:5]]


def _find_country_column(sample: Sample) -> Column | None:
    named = (column for column in sample.columns.values() if column.filled and _find_key(column) == "country")
    return next(
        (column for column in named if len(_read_country_codes(column)) >= MIN_READABLE_SHARE * column.filled), None
    )


def _read_country_codes(column: Column | None) -> pa.StringArray:
    return pa.array([], pa.string()) if column is None else normalize("country", column.given).drop_null()


def _find_key(column: Column) -> str | None:
    named = find_key(column.name)
    return None if named is None or named.hashed else named.key


# ---------------------------------------------------------------------------------------------- one column


def _propose_line(column: Column, suggestion: Suggestion | None, sample: Sample, answers: Answers) -> Line | None:
    if column.name in answers.keys:
        return _propose_as_answered(column, answers.keys[column.name], sample, answers)
    node = column.name if suggestion is None else yaml.safe_load(f"{{{suggestion.line}}}")[suggestion.key]
    key = suggestion.key if suggestion else _find_key(column)
    if key in _READERS and isinstance(node, str):
        return _READERS[key](column, sample, answers)
    if suggestion is not None:
        return _propose_as_suggested(column, suggestion, node)
    return _propose_misfit(column, key, sample, answers) if key else None


def _propose_as_answered(column: Column, key: str, sample: Sample, answers: Answers) -> Line:
    if key in _READERS:
        return _READERS[key](column, sample, answers).mark(Confidence.TAKEN)
    because = f"{answers.explain_source(column.name)}; {_describe_usable(key, column)}"
    return _build_line(column, key, column.name, because, Confidence.TAKEN)


def _propose_as_suggested(column: Column, found: Suggestion, node: Any) -> Line:
    fitting = round(found.fits * column.filled)
    looks = f"{'look like' if found.key in KEY_PATTERNS else 'are usable as'} {USER_DATA_KEYS[found.key].plural}"
    if isinstance(node, dict) and node.get("hashed"):
        looks = "are SHA-256 digests"
    because = f"{describe_share(fitting, column.filled)} {looks}{describe_gaps(column)}"
    repeated = found.key in _KEYS_OF_ONE_PERSON and column.distinct == 1 and column.filled >= _MIN_ROWS_TO_REPEAT
    if repeated:
        because = f"one value in all {column.filled:,} rows: no person's own"
    clear = found.fits >= MIN_READABLE_SHARE and (found.by == "name" or found.key in _KEYS_CLEAR_BY_SHAPE)
    return _build_line(
        column, found.key, node, because, Confidence.TAKEN if clear and not repeated else Confidence.UNSURE
    )


def _propose_misfit(column: Column, key: str, sample: Sample, answers: Answers) -> Line:
    country = next(iter(_list_countries(sample, answers)), None) if key == "st" else None
    because = f"named so, but only {_describe_usable(key, column, country=country)}"
    if key == "fbc" and "fbclid" in column.name.lower():
        because = (
            "the click's id without its time: with a column of the click in milliseconds, write "
            f'"fb.1.{{CLICK_MS:integer}}.{{{column.name}}}"'
        )
    return _build_line(column, key, column.name, because, Confidence.UNSURE)


def _build_line(column: Column, key: str, node: object, because: str, confidence: Confidence) -> Line:
    return Line(
        SECTION, key, refer_to_column(node) if isinstance(node, str) else node, because, confidence, (column.name,)
    )


def _describe_usable(key: str, column: Column, **how: Any) -> str:
    return (
        f"{describe_share(_count_usable(key, column, **how), column.filled)} are usable as {USER_DATA_KEYS[key].plural}"
    )


def _count_usable(key: str, column: Column, **how: Any) -> int:
    found = normalize(key, column.given, **how)
    return len(found) - int(found.null_count)


# ---------------------------------------------------------------------------------------------- births and phones


def _propose_birth_date(column: Column, _: Sample, __: Answers) -> Line:
    """With the one format that reads the most values; where two read equally many, the user decides."""
    plain = _count_usable("db", column)
    by_format = {form: _count_usable("db", column, formats=(form,)) for form in list_day_formats()}
    best = sorted(by_format, key=lambda form: -by_format[form])[:2]
    readable, second = (by_format[form] for form in best)
    if plain >= readable:
        said = f"{describe_share(plain, column.filled)} are dates of birth"
        return _build_line(column, "db", column.name, said, _rate_readable(plain, column))
    node = {"column": column.name, "format": best[0]}
    if readable == second:
        said = f"{describe_share(readable, column.filled)} could be {best[0]} or {best[1]}: write the one that it is"
        return _build_line(column, "db", node, said, Confidence.UNSURE)
    said = f"{describe_share(readable, column.filled)} are dates of birth as {best[0]}{describe_gaps(column)}"
    return _build_line(column, "db", node, said, _rate_readable(readable, column))


def _rate_readable(readable: int, column: Column) -> Confidence:
    return Confidence.TAKEN if readable >= MIN_READABLE_SHARE * column.filled else Confidence.UNSURE


def _propose_phone(column: Column, sample: Sample, answers: Answers) -> Line:
    """In the country of their row, else in the client's."""
    beside = _find_country_column(sample)
    whole, at_home = _count_usable("ph", column), 0
    if answers.country:
        at_home = _count_usable("ph", column, country=answers.country)
    if beside is not None:
        countries = pc.fill_null(beside.text, answers.country) if answers.country else beside.text
        in_row = normalize("ph", column.text, country=countries)
        usable = len(in_row) - in_row.null_count
        if usable > max(whole, at_home):
            node = {"column": column.name, "country": beside.name}
            return _build_phone_line(column, node, usable, f", read with {beside.name}")
    if at_home > whole:
        return _build_phone_line(column, column.name, at_home, f" of {answers.country}")
    missing = (
        ""
        if whole >= MIN_READABLE_SHARE * column.filled or answers.country
        else "; the others need a country: --country"
    )
    return _build_phone_line(column, column.name, whole, missing)


def _build_phone_line(column: Column, node: object, usable: int, words: str) -> Line:
    because = f"{describe_share(usable, column.filled)} are phone numbers{words}{describe_gaps(column)}"
    return _build_line(column, "ph", node, because, _rate_readable(usable, column))


_READERS = {"db": _propose_birth_date, "ph": _propose_phone}


# ---------------------------------------------------------------------------------------------- together


def _keep_one_per_key(lines: Sequence[Line], answers: Answers) -> Iterator[Line]:
    """Keep the first column of a key that a person has once, and comment out the others. A state needs an address."""
    address = {line.key for line in lines if line.confidence is Confidence.TAKEN} & {"ct", "zp", "country"}
    seen: set[str] = set()
    for line in lines:
        told = line.columns[0] in answers.keys
        second = line.key in seen and line.key not in _KEYS_IN_SEVERAL_COLUMNS
        alone = line.key == "st" and not address
        if line.confidence is Confidence.TAKEN and not told and (second or alone):
            line = line.mark(Confidence.UNSURE)
        if line.confidence is Confidence.TAKEN:
            seen.add(line.key)
        yield line
