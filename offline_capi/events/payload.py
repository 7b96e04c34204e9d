"""The JSON of events, put together column by column: no row becomes a Python object.

The bytes of a row depend on the row and on the upload's mapping alone, never on its neighbours (promise P11):

- Members stand in the order of the tables below; custom properties follow the standard ones, by name.
- A field without a value is left out, and so is a ``custom_data`` without members.
- A user_data key that one column feeds is a string, and an array where its cell holds several values. Where several
  columns feed a list key it is an array of what they hold, each value once, in the order of the YAML. Meta takes both
  forms (D:customer-information-parameters).
- ``lead_id`` and ``fb_login_id`` are JSON integers where they are written as one.
- Numbers are JSON numbers, shortest form that reads back equal, whole ones without a fraction (``50``). A column of
  strings stays strings, ``value`` included (``"50"``).
- Nothing is escaped that JSON does not require: UTF-8 goes out as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.errors import ConfigError
from offline_capi.events.standard import CUSTOM_DATA
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import HashedRows, bytes_of

__all__ = ["JSON_CUSTOM", "bodies", "text"]

# ---------------------------------------------------------------------------------------------- values


def text(array: Any) -> Any:
    """The values as an Arrow string array, whatever string layout or type they came in."""
    return array if array.type == pa.string() else array.cast(pa.string())


_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    **{chr(code): json.dumps(chr(code))[1:-1] for code in range(0x20)},
}


def _escaped(array: Any) -> Any:
    strings = text(array)
    return reduce(lambda done, mark: pc.replace_substring(done, mark, _ESCAPES[mark]), _marks(strings), strings)


def _marks(strings: Any) -> list[str]:
    """The characters in need of an escape that the column holds: looked for in its bytes, seldom any."""
    raw = bytes(bytes_of(strings))
    if not raw or (_least(raw) >= 0x20 and b'"' not in raw and b"\\" not in raw):
        return []
    return [mark for mark in _ESCAPES if mark.encode() in raw]


def _least(raw: bytes) -> int:
    return int(np.frombuffer(raw, np.uint8).min())


def _integer(array: Any) -> Any:
    strings = text(array)
    quoted = pc.binary_join_element_wise('"', _escaped(strings), '"', "")
    return pc.if_else(pc.match_substring_regex(strings, r"^(0|[1-9][0-9]*)$"), strings, quoted)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a column becomes JSON values: literal, text of the values, literal."""

    opening: str
    json: Callable[[Any], Any]
    closing: str


_TEXT = _Kind('"', _escaped, '"')
_INTEGER = _Kind("", _integer, "")
_AS_IS = _Kind("", text, "")  # numbers, booleans, and strings that hold JSON already
_ARRAY = _Kind("[", text, "]")


def _kind_of(array: Any) -> _Kind:
    return _TEXT if array.type == pa.string() else _AS_IS


# ---------------------------------------------------------------------------------------------- objects


class _Member(NamedTuple):
    """``"name":value`` for each row that has a value."""

    name: str
    kind: _Kind
    column: Any

    @property
    def certain(self) -> bool:
        return bool(self.column.null_count == 0)

    @property
    def opening(self) -> str:
        return f"{json.dumps(self.name, ensure_ascii=False)}:{self.kind.opening}"

    def between(self, before: str, after: str) -> Any:
        """Literals around the values, null where the row has none."""
        ends = [after] if after else []
        return pc.binary_join_element_wise(before, self.kind.json(self.column), *ends, "")


def _around_certain(members: Sequence[_Member], sure: int) -> list[Any]:
    """Members joined by commas: around one that no row lacks, every other one brings its own comma."""
    before = [member.between(member.opening, member.kind.closing + ",") for member in members[:sure]]
    after = [piece for member in members[sure + 1 :] for piece in _following(member)]
    return [*before, *_parts(members[sure]), *after]


def _parts(member: _Member, before: str = "") -> list[Any]:
    return [before + member.opening, member.kind.json(member.column), member.kind.closing]


def _following(member: _Member) -> list[Any]:
    if member.certain:
        return _parts(member, before=",")
    return [member.between("," + member.opening, member.kind.closing)]


def _among_uncertain(members: Sequence[_Member]) -> tuple[str, Any, str]:
    """Members joined by commas where each may be absent: what begins them, the join ("" where all are), what ends them.

    Each begins with a quote, and most end alike: what they share stands in the separator and costs nothing a member.
    """
    shared = members[0].kind.closing if len({member.kind.closing for member in members}) == 1 else ""
    parts = [member.between(member.opening[1:], member.kind.closing.removesuffix(shared)) for member in members]
    return '"', _joined(parts, f'{shared},"'), shared


def _joined(parts: Sequence[Any], separator: str) -> Any:
    """What each row has of the parts, with the separator in between; "" where a row has nothing."""
    present = reduce(pc.or_, [part.is_valid() for part in parts])
    # A join that skips nulls leaves a row of nothing but nulls out of its result altogether (pyarrow 26).
    first = parts[0] if pc.all(present).as_py() else pc.if_else(present, parts[0], "")
    return pc.binary_join_element_wise(first, *parts[1:], separator, null_handling="skip")


def _concatenated(pieces: Iterable[Any]) -> Any:
    """Columns and literals, one after the other; a null is nothing. Neighbouring literals become one."""
    runs = groupby(pieces, key=lambda piece: isinstance(piece, str))
    merged = [piece for literal, run in runs for piece in (["".join(run)] if literal else run)]
    return pc.binary_join_element_wise(*merged, "", null_handling="replace", null_replacement="")


# ---------------------------------------------------------------------------------------------- event level

# D:parameters/server-event; meta-capi.md section 1.3.
_EVENT: Mapping[str, _Kind] = {
    "event_name": _TEXT,
    "event_time": _AS_IS,
    "event_id": _TEXT,
    "action_source": _TEXT,
    "event_source_url": _TEXT,
    "referrer_url": _TEXT,
    "opt_out": _AS_IS,
    "messaging_channel": _TEXT,
    "customer_segmentation": _TEXT,
    "data_processing_options": _AS_IS,
    "data_processing_options_country": _AS_IS,
    "data_processing_options_state": _AS_IS,
    "original_event_data": _AS_IS,
    "app_data": _AS_IS,
    "attribution_data": _AS_IS,
    "advanced_measurement_table": _TEXT,
}


def bodies(rows: HashedRows) -> Any:
    """The JSON of each row's event, as an Arrow array of UTF-8 bytes. Each row has an event name."""
    _refuse_unknown("event", rows.event, _EVENT)
    _refuse_unknown("user_data", rows.identity, USER_DATA_KEYS)
    if not len(rows):
        return pa.array([], pa.binary())
    event = [_Member(name, kind, rows.event[name]) for name, kind in _EVENT.items() if name in rows.event]
    pieces = ["{", *_around_certain(event, 0), *_nested("user_data", _user_data(rows))]
    return _concatenated([*pieces, *_nested("custom_data", _custom_data(rows.custom)), "}"]).cast(pa.binary())


def _nested(name: str, members: Sequence[_Member]) -> list[Any]:
    """An object as a later member of the event, left out where it would be empty."""
    opening = f',"{name}":{{'
    sure = next((place for place, member in enumerate(members) if member.certain), None)
    if sure is not None:
        return [opening, *_around_certain(members, sure), "}"]
    return _nested_or_nothing(opening, *_among_uncertain(members)) if members else []


def _nested_or_nothing(opening: str, begin: str, joined: Any, end: str) -> list[Any]:
    present = pc.not_equal(joined, "")
    if pc.all(present).as_py():
        return [opening, begin, joined, end, "}"]
    return [pc.binary_join_element_wise(opening + begin, pc.if_else(present, joined, None), end + "}", "")]


def _refuse_unknown(place: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Meta refuses unknown keys inside an event, and dropping them in silence would lose data (NODE258)."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigError(f"{place}: Meta knows no parameter {', '.join(unknown)} there; remove it from the mapping")


# ---------------------------------------------------------------------------------------------- user_data


def _user_data(rows: HashedRows) -> list[_Member]:
    held = rows.identity
    return [_identity(key, held[key], rows.columns.get(key, len(held[key]))) for key in USER_DATA_KEYS if held.get(key)]


def _identity(key: str, columns: Sequence[Any], of_yaml: int) -> _Member:
    strings = [text(column) for column in columns]
    if USER_DATA_KEYS[key].several and len(strings) > 1:
        values = _quoted_list(strings)
        if of_yaml > 1:
            return _Member(key, _ARRAY, values)
        more = reduce(pc.or_, [column.is_valid() for column in strings[1:]])
        return _Member(key, _AS_IS, pc.if_else(more, pc.binary_join_element_wise("[", values, "]", ""), values))
    kind = _INTEGER if USER_DATA_KEYS[key].is_integer else _TEXT
    return _Member(key, kind, pc.coalesce(*strings))


def _quoted_list(columns: Sequence[Any]) -> Any:
    """The values of several columns as JSON strings joined by commas, each value once; null where all are null."""
    distinct = [reduce(_unless_equal, columns[:place], column) for place, column in enumerate(columns)]
    quoted = [pc.binary_join_element_wise('"', _escaped(column), '"', "") for column in distinct]
    joined = _joined(quoted, ",")
    return pc.if_else(pc.equal(joined, ""), None, joined)


def _unless_equal(column: Any, earlier: Any) -> Any:
    return pc.if_else(pc.fill_null(pc.equal(column, earlier), False), None, column)


# ---------------------------------------------------------------------------------------------- custom_data

# These hold JSON that goes in as it stands, with its brackets; the others go by their type.
JSON_CUSTOM = {"content_ids": "[]", "contents": "[]", "store_data": "{}"}


def _custom_data(custom: Mapping[str, Any]) -> list[_Member]:
    properties = sorted(set(custom) - set(CUSTOM_DATA))
    names = [name for name in CUSTOM_DATA if name in custom] + properties
    return [_Member(name, _AS_IS if name in JSON_CUSTOM else _kind_of(custom[name]), custom[name]) for name in names]
