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
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.errors import ConfigError
from offline_capi.events.standard import CUSTOM_DATA_KEYS
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import HashedRows
from offline_capi.runtime.column_bytes import bytes_of, compute_once_each, count_empty, needs_escape
from offline_capi.runtime.join import Framed, join_columns, join_pieces, write_integers

__all__ = ["JSON_BRACKETS", "as_text", "build_bodies"]

# ---------------------------------------------------------------------------------------------- values


def as_text(array: Any) -> Any:
    """The values as an Arrow string array, from any string layout or type."""
    if array.type == pa.string():
        return array
    if pa.types.is_floating(array.type):  # amounts repeat, and writing one takes as long as looking ten up
        return compute_once_each(array, lambda numbers: numbers.cast(pa.string()))
    if array.type == pa.int64():
        return write_integers(array)
    return array.cast(pa.string())


_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    **{chr(code): json.dumps(chr(code))[1:-1] for code in range(0x20)},
}


def _escape(array: Any) -> Any:
    strings = as_text(array)
    if not needs_escape(strings):
        return strings
    raw = bytes_of(strings)[1].tobytes()
    marks = [mark for mark in _ESCAPES if mark.encode() in raw]
    return reduce(lambda done, mark: pc.replace_substring(done, mark, _ESCAPES[mark]), marks, strings)


def _encode_integer(array: Any) -> Any:
    strings = as_text(array)
    quoted = join_columns('"', _escape(strings), '"')
    return pc.if_else(pc.match_substring_regex(strings, r"^(0|[1-9][0-9]*)$"), strings, quoted)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a column becomes JSON values: literal, text of the values, literal."""

    opening: str
    json: Callable[[Any], Any]
    closing: str


_TEXT_KIND = _Kind('"', _escape, '"')
_DIGEST_KIND = _Kind('"', as_text, '"')  # hex digits, which JSON never escapes: nine columns of them need no search
_INTEGER_KIND = _Kind("", _encode_integer, "")
_RAW_KIND = _Kind("", as_text, "")  # numbers, booleans, and strings that hold JSON already
_ARRAY_KIND = _Kind("[", as_text, "]")


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

    def frame(self, before: str = "", after: str = "") -> Framed:
        """The member with what stands around it, nothing where the row has no value."""
        return Framed(before + self.opening, self.kind.json(self.column), self.kind.closing + after)

    def wrap(self, before: str, after: str) -> Any:
        """Literals around the values, null where the row has none."""
        return join_columns(before, self.kind.json(self.column), after)


def _join_around_certain(members: Sequence[_Member], sure: int) -> list[Framed]:
    """Members joined by commas: around one that no row lacks, every other one brings its own comma."""
    before = [member.frame(after=",") for member in members[:sure]]
    return [*before, members[sure].frame(), *(member.frame(before=",") for member in members[sure + 1 :])]


def _join_uncertain(members: Sequence[_Member]) -> tuple[str, Any, str]:
    """Members joined by commas where each may be absent: what begins them, the join ("" where all are), what ends them.

    Each begins with a quote, and most end alike: what they share stands in the separator and costs nothing a member.
    """
    shared = members[0].kind.closing if len({member.kind.closing for member in members}) == 1 else ""
    parts = [member.wrap(member.opening[1:], member.kind.closing.removesuffix(shared)) for member in members]
    return '"', _join_present(parts, f'{shared},"'), shared


def _join_present(parts: Sequence[Any], separator: str) -> Any:
    """What each row has of the parts, with the separator in between; "" where a row has nothing."""
    present = reduce(pc.or_, [part.is_valid() for part in parts])
    # A join that skips nulls leaves a row of nothing but nulls out of its result altogether (pyarrow 26).
    first = parts[0] if pc.all(present).as_py() else pc.if_else(present, parts[0], "")
    return pc.binary_join_element_wise(first, *parts[1:], separator, null_handling="skip")


# ---------------------------------------------------------------------------------------------- event level

# D:parameters/server-event; meta-capi.md section 1.3.
_EVENT_KINDS: Mapping[str, _Kind] = {
    "event_name": _TEXT_KIND,
    "event_time": _RAW_KIND,
    "event_id": _TEXT_KIND,
    "action_source": _TEXT_KIND,
    "event_source_url": _TEXT_KIND,
    "referrer_url": _TEXT_KIND,
    "opt_out": _RAW_KIND,
    "messaging_channel": _TEXT_KIND,
    "customer_segmentation": _TEXT_KIND,
    "data_processing_options": _RAW_KIND,
    "data_processing_options_country": _RAW_KIND,
    "data_processing_options_state": _RAW_KIND,
    "original_event_data": _RAW_KIND,
    "app_data": _RAW_KIND,
    "attribution_data": _RAW_KIND,
    "advanced_measurement_table": _TEXT_KIND,
}


def build_bodies(rows: HashedRows, chosen: NDArray[np.int32] | None = None) -> Any:
    """The JSON of each row's event, as an Arrow array of UTF-8 bytes, or of the ``chosen`` rows' alone.

    Each row has an event name. What is left out is never copied: a digest takes 64 bytes, and a row has nine.
    """
    _refuse_unknown("event", rows.event, _EVENT_KINDS)
    _refuse_unknown("user_data", rows.identity, USER_DATA_KEYS)
    if not len(rows):
        return pa.array([], pa.binary())
    event = [_Member(name, kind, rows.event[name]) for name, kind in _EVENT_KINDS.items() if name in rows.event]
    pieces = ["{", *_join_around_certain(event, 0), *_nest("user_data", _list_user_data(rows))]
    return join_pieces([*pieces, *_nest("custom_data", _list_custom_data(rows.custom)), "}"], len(rows), chosen)


def _nest(name: str, members: Sequence[_Member]) -> list[str | Framed]:
    """An object as a later member of the event, left out where it would be empty."""
    opening = f',"{name}":{{'
    sure = next((index for index, member in enumerate(members) if member.certain), None)
    if sure is not None:
        return [opening, *_join_around_certain(members, sure), "}"]
    return _nest_if_any(opening, *_join_uncertain(members)) if members else []


def _nest_if_any(opening: str, begin: str, joined: Any, end: str) -> list[str | Framed]:
    some = pc.if_else(pc.not_equal(joined, ""), joined, None) if count_empty(joined) else joined
    return [Framed(opening + begin, some, end + "}")]


def _refuse_unknown(section: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Meta refuses unknown keys inside an event, and dropping them in silence would lose data (NODE258)."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigError(f"{section}: Meta knows no parameter {', '.join(unknown)} there; remove it from the mapping")


# ---------------------------------------------------------------------------------------------- user_data


def _list_user_data(rows: HashedRows) -> list[_Member]:
    held = rows.identity
    return [
        _make_identity_member(key, held[key], rows.columns.get(key, len(held[key])))
        for key in USER_DATA_KEYS
        if held.get(key)
    ]


def _make_identity_member(key: str, columns: Sequence[Any], of_yaml: int) -> _Member:
    strings = [as_text(column) for column in columns]
    facts = USER_DATA_KEYS[key]
    text_kind = _DIGEST_KIND if facts.hashing == "always" else _TEXT_KIND
    if facts.several and len(strings) > 1:
        values = _quote_list(strings, text_kind)
        if of_yaml > 1:
            return _Member(key, _ARRAY_KIND, values)
        more = reduce(pc.or_, [column.is_valid() for column in strings[1:]])
        return _Member(key, _RAW_KIND, pc.if_else(more, join_columns("[", values, "]"), values))
    kind = _INTEGER_KIND if facts.is_integer else text_kind
    return _Member(key, kind, pc.coalesce(*strings) if len(strings) > 1 else strings[0])


def _quote_list(columns: Sequence[Any], kind: _Kind) -> Any:
    """The values of several columns as JSON strings joined by commas, each value once; null where all are null."""
    distinct = [reduce(_drop_equal, columns[:index], column) for index, column in enumerate(columns)]
    quoted = [join_columns(kind.opening, kind.json(column), kind.closing) for column in distinct]
    joined = _join_present(quoted, ",")
    return pc.if_else(pc.equal(joined, ""), None, joined)


def _drop_equal(column: Any, earlier: Any) -> Any:
    return pc.if_else(pc.fill_null(pc.equal(column, earlier), False), None, column)


# ---------------------------------------------------------------------------------------------- custom_data

# These hold JSON that goes in as it stands, with its brackets; the others go by their type.
JSON_BRACKETS = {"content_ids": "[]", "contents": "[]", "store_data": "{}"}


def _list_custom_data(custom: Mapping[str, Any]) -> list[_Member]:
    properties = sorted(set(custom) - set(CUSTOM_DATA_KEYS))
    names = [name for name in CUSTOM_DATA_KEYS if name in custom] + properties
    return [
        _Member(
            name,
            _TEXT_KIND if custom[name].type == pa.string() and name not in JSON_BRACKETS else _RAW_KIND,
            custom[name],
        )
        for name in names
    ]
