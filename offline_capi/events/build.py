"""From hashed rows to events: decide each row's fate, then put together the bytes of those that go out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.config.client import Client
from offline_capi.errors import BalanceError
from offline_capi.events.facts import AgeLimits, Facts, Mask, compute_local_days, mask_of
from offline_capi.events.keys import make_event_keys, store_keys
from offline_capi.events.payload import as_text, build_bodies
from offline_capi.events.policies import apply_policies
from offline_capi.events.rules import RULES, TOO_LARGE, WARNINGS, Rule, list_fault_rules, list_value_rules, name_values
from offline_capi.events.schema import EVENT_SCHEMA, UNSENT_SCHEMA
from offline_capi.events.standard import AGE_MARGIN, CLOCK_SKEW
from offline_capi.meta.limits import ENVELOPE_BYTES, MAX_REQUEST_BYTES
from offline_capi.meta.standard_events import standard_spelling
from offline_capi.model import BuiltEvents, EventBatch, HashedRows, UnsentRows
from offline_capi.runtime.column_bytes import encode_distinct

__all__ = ["build_events"]


def build_events(
    rows: HashedRows,
    *,
    clients: Mapping[str, Client],
    zone: str,
    now: datetime,
    max_age: timedelta | None = None,
    max_bytes: int = MAX_REQUEST_BYTES,
    margin: timedelta = AGE_MARGIN,
    skew: timedelta = CLOCK_SKEW,
    exact_names: bool = False,
    strict_website: bool = False,
) -> BuiltEvents:
    """Turn each row into an event, a rejection or a count of suppressed rows: exactly one of them.

    ``zone`` is the zone of ``day``; ``now`` is aware; ``max_bytes`` is the limit of a request, and an event must fit
    into one alone. A standard event's name in another case becomes the standard event, unless ``exact_names``;
    ``strict_website`` rejects website events of which Meta's pages want more. What a client does not let out is left
    out before any rule runs. The same row gives the same bytes and the same key in any batch. The order
    of ``rules.py`` decides where several things are wrong. A batch must stay below 2 GiB of JSON: about a million
    events.
    """
    rows, respelled = _canonicalise(rows), None
    if not exact_names:
        rows, respelled = _standardise_names(rows)
    limits = AgeLimits(now, max_age, margin, skew)
    facts = Facts(apply_policies(rows, clients), clients, limits, exact_names, strict_website, respelled)
    day = compute_local_days(facts.event_time, zone)
    verdicts = _judge(facts)
    going = _select_rows(verdicts.going, facts.rows)
    chosen = np.flatnonzero(verdicts.going).astype(np.int32)
    pixels = encode_distinct(_select(verdicts.going, facts.pixel))
    events = _assemble(going, facts, day, pixels, verdicts.going, chosen)
    too_large = mask_of(pc.greater(pc.binary_length(events["body"]), max_bytes - ENVELOPE_BYTES))
    of_stores = store_keys(going, pixels, facts.rows.identity, chosen)
    sent = np.zeros(len(rows), bool)
    sent[chosen] = ~too_large
    verdicts.add_among_going(TOO_LARGE, too_large)
    return _require_balance(
        BuiltEvents(
            rows=len(rows),
            events=EventBatch(_select(~too_large, events)),
            unsent=_make_unsent(facts, day, verdicts),
            suppressed=_count_suppressed(facts, day),
            dropped=facts.rows.dropped,
            noted=facts.rows.noted,
            profiles=facts.rows.profiles if rows.identity else (),
            outside=rows.outside,
            filtered=rows.filtered,
            expected=rows.expected,
            warnings=_count_warnings(facts, verdicts.going),
            rows_of=facts.rows_of,
            carried={
                key: _select(sent, _find_carried(deferred)) for key, deferred in facts.rows.identity.items() if deferred
            },
            store_keys=None if of_stores is None else _select(~too_large, of_stores),
        )
    )


def _require_balance(built: BuiltEvents) -> BuiltEvents:
    suppressed = sum(built.suppressed.values())
    if len(built.events) + len(built.unsent) + suppressed != built.rows:
        raise BalanceError(
            f"{built.rows} rows became {len(built.events)} events, {len(built.unsent)} unsent rows and "
            f"{suppressed} suppressed rows. Nothing of them was sent; please report this."
        )
    return built


# ---------------------------------------------------------------------------------------------- one form for all


def _canonicalise(rows: HashedRows) -> HashedRows:
    """The same rows with one string layout, and the currency in upper case, as ISO 4217 writes it."""
    custom = {name: _unify_layout(column) for name, column in rows.custom.items()}
    if "currency" in custom:
        custom["currency"] = _apply_to_distinct(pc.ascii_upper, as_text(custom["currency"]))
    event = {name: _unify_layout(column) for name, column in rows.event.items()}
    times = {"event_time": rows.event["event_time"].cast(pa.int64())} if "event_time" in event else {}
    return replace(rows, event=event | times, custom=custom)


def _standardise_names(rows: HashedRows) -> tuple[HashedRows, Mask | None]:
    """Standard events in Meta's spelling, and where that is another one than the row's."""
    given = rows.event.get("event_name")
    if given is None:
        return rows, None
    spelled = _apply_to_distinct(lambda names: pa.array(map(standard_spelling, names.to_pylist()), pa.string()), given)
    respelled = mask_of(pc.not_equal(spelled, given))
    return (replace(rows, event={**rows.event, "event_name": spelled}), respelled) if respelled.any() else (rows, None)


def _unify_layout(column: Any) -> Any:
    """Numbers and flags as they are, all else as strings of the one layout that Arrow's kernels share."""
    keeps = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)
    return column if keeps else as_text(column)


def _apply_to_distinct(change: Callable[[Any], Any], column: Any) -> Any:
    """``change`` worked out once for each distinct value."""
    encoded = encode_distinct(column)
    return change(encoded.dictionary).take(encoded.indices)


# ---------------------------------------------------------------------------------------------- verdicts


@dataclass(slots=True)
class _Verdicts:
    """For each row the first rule that applies to it; a row without one goes out, unless it is suppressed."""

    suppressed: Mask
    codes: NDArray[np.int16]
    rules: list[Rule] = field(default_factory=list)

    @property
    def going(self) -> Mask:
        return (self.codes < 0) & ~self.suppressed

    @property
    def stopped(self) -> Mask:
        return (self.codes >= 0) & ~self.suppressed

    def add(self, rule: Rule, where: Mask) -> None:
        if where.any():
            self.codes[where & (self.codes < 0)] = len(self.rules)
            self.rules.append(rule)

    def add_among_going(self, rule: Rule, where: Mask) -> None:
        """Like ``add``, with ``where`` aligned with the rows that still go out."""
        rows = self.going
        rows[rows] = where
        self.add(rule, rows)


def _judge(facts: Facts) -> _Verdicts:
    rows = len(facts.rows)
    verdicts = _Verdicts(facts.suppressed, np.full(rows, -1, np.int16))
    for rule in (*list_fault_rules(facts), *RULES, *list_value_rules(facts)):
        for one in name_values(rule, facts):
            verdicts.add(one, one.applies(facts))
    return verdicts


# ---------------------------------------------------------------------------------------------- what goes out


def _assemble(
    rows: HashedRows, facts: Facts, day: Any, pixels: pa.DictionaryArray, going: Mask, chosen: NDArray[np.int32]
) -> Any:
    """The rows that go out as events, under ``EVENT_SCHEMA``: those of the facts at ``going``, or at ``chosen``."""
    days, value = (_select(going, column) for column in (day, facts.value))
    events = {
        "origin": pa.repeat(pa.scalar(rows.origin, pa.string()), len(rows)),
        "row": rows.row,
        "client": as_text(rows.client),
        "pixel": pixels.dictionary_decode(),
        **{name: _get_column(rows.event, name, len(rows)) for name in ("event_name", "event_id", "action_source")},
        "event_time": _get_column(rows.event, "event_time", len(rows)),
        "day": days,
        "value": value,
        "currency": _get_column(rows.custom, "currency", len(rows)),
    }
    events["key"] = make_event_keys(pixels, events["event_name"], events["event_id"])
    events["body"] = build_bodies(facts.rows, chosen if len(chosen) < len(going) else None)
    return _make_batch(events, EVENT_SCHEMA)


def _find_carried(columns: Sequence[Any]) -> Any:
    """True where one of the columns of a key has a value."""
    return reduce(pc.or_, [column.is_valid() for column in columns])


def _get_column(columns: Mapping[str, Any], name: str, rows: int) -> Any:
    column = columns.get(name)
    return pa.nulls(rows, pa.string()) if column is None else column


def _make_batch(columns: Mapping[str, Any], schema: Any) -> Any:
    return pa.RecordBatch.from_arrays([columns[f.name].cast(f.type) for f in schema], schema=schema)


def _select(mask: Mask, columns: Any) -> Any:
    return columns if mask.all() else columns.filter(pa.array(mask))


#: Of what more than bodies is made.
_EVENT_KEPT = ("event_name", "event_id", "event_time", "action_source")
_CUSTOM_KEPT = ("currency", "item_number", "order_id")


def _select_rows(mask: Mask, rows: HashedRows) -> HashedRows:
    """The rows at which ``mask`` is true, without the columns of which only bodies are made, from all rows.

    Faults and suppressed rows are behind us then.
    """
    going = None if mask.all() else pa.array(mask)  # once for all columns

    def select(column: Any) -> Any:
        return column if going is None else column.filter(going)

    return replace(
        rows,
        row=select(rows.row),
        client=select(rows.client),
        event={name: select(rows.event[name]) for name in _EVENT_KEPT if name in rows.event},
        identity={},
        custom={name: select(rows.custom[name]) for name in _CUSTOM_KEPT if name in rows.custom},
        suppressed=select(rows.suppressed),
        faults=(),
    )


def _count_warnings(facts: Facts, going: Mask) -> dict[str, int]:
    counts = {warning.code: int((warning.applies(facts) & going).sum()) for warning in WARNINGS}
    return {code: count for code, count in counts.items() if count}


# ---------------------------------------------------------------------------------------------- what does not


def _make_unsent(facts: Facts, day: Any, verdicts: _Verdicts) -> UnsentRows:
    if not verdicts.stopped.any():
        return UnsentRows(pa.RecordBatch.from_pylist([], UNSENT_SCHEMA))
    chosen = pa.array(verdicts.stopped)
    codes = pa.array(verdicts.codes[verdicts.stopped])
    columns = {
        "row": facts.rows.row.filter(chosen),
        "client": facts.client_named.filter(chosen),
        "event_id": facts.get_event("event_id").filter(chosen),
        "day": day.filter(chosen),
        "fate": _take_names((rule.fate for rule in verdicts.rules), codes),
        "reason": _take_names((rule.reason for rule in verdicts.rules), codes),
        "field": _take_names((rule.field for rule in verdicts.rules), codes),
        "origin": pa.repeat(pa.scalar(facts.rows.origin, pa.string()), len(codes)),
        "earlier_origin": pa.nulls(len(codes)),
        "earlier_row": pa.nulls(len(codes)),
    }
    return UnsentRows(_make_batch(columns, UNSENT_SCHEMA))


def _take_names(words: Iterable[str], codes: Any) -> Any:
    return pa.array([str(word) for word in words], pa.string()).take(codes)


def _count_suppressed(facts: Facts, day: Any) -> dict[tuple[str | None, date | None], int]:
    if not facts.suppressed.any():
        return {}
    columns = {"client": facts.client_named, "day": day}
    table = pa.table(columns).filter(pa.array(facts.suppressed))
    counted = table.group_by(["client", "day"], use_threads=False).aggregate([([], "count_all")])
    return {(group["client"], group["day"]): group["count_all"] for group in counted.to_pylist()}
