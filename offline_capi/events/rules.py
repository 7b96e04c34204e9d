"""What may not go out, as tables: one row a rule, the first that holds decides.

A row's fate is decided in this order, and by the first that applies:

1. *suppressed*: consent is missing; nothing else about the row is looked at or kept
2. *rejected* for a fault that an earlier stage found, in the order in which they were found
3. *held*: its client is unknown or paused
4. *expired*: older than Meta takes
5. *rejected* by a rule of Meta's: time, name, id, source, identity, money, values, size

Warnings are for events that Meta accepts and that will match or measure badly; they are counted and sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.events.facts import Facts, Mask, mask_of
from offline_capi.events.payload import JSON_CUSTOM, text
from offline_capi.events.standard import (
    ACTION_SOURCES,
    PURCHASE,
    STANDARD_EVENTS,
    TOO_LITTLE,
    WEBSITE,
    currencies,
)
from offline_capi.model import Fate, Reason

__all__ = ["RULES", "TOO_LARGE", "WARNINGS", "Rule", "Warn", "faults", "value_rules"]

Asks = Callable[[Facts], Mask]


class Rule(NamedTuple):
    """Rows at which ``applies`` is true get ``fate``; ``source`` says who set the rule."""

    reason: Reason
    field: str
    fate: Fate
    applies: Asks
    source: str


class Warn(NamedTuple):
    code: str
    applies: Asks
    source: str


# ---------------------------------------------------------------------------------------------- the questions


def _empty(name: str, facts: Facts) -> Mask:
    column = facts.event(name)
    blank = pc.or_(pc.equal(column, ""), pc.utf8_is_space(column))
    return mask_of(pc.or_kleene(column.is_null(), blank))


def _unknown_client(facts: Facts) -> Mask:
    return mask_of(facts.pixel.is_null())


def _too_old(facts: Facts) -> Mask:
    return facts.age > facts.oldest_age


def _in_future(facts: Facts) -> Mask:
    return -facts.age > facts.limits.skew.total_seconds()


def _timeless(facts: Facts) -> Mask:
    return mask_of(facts.event_time.is_null())


def _unknown_source(facts: Facts) -> Mask:
    return mask_of(pc.invert(pc.is_in(facts.event("action_source"), value_set=pa.array(ACTION_SOURCES))))


def _unreadable_flag(facts: Facts) -> Mask:
    flag = facts.event("opt_out")
    return mask_of(pc.and_(flag.is_valid(), pc.invert(pc.is_in(flag, value_set=pa.array(["true", "false"])))))


def _no_identifier(facts: Facts) -> Mask:
    return ~facts.has_any(set(facts.rows.identity))


def _too_little(facts: Facts) -> Mask:
    keys = set(facts.rows.identity)
    lacking = [~facts.has_any(keys - weak) for weak in TOO_LITTLE]
    return reduce(np.logical_or, lacking)


def _purchase(facts: Facts) -> Any:
    return pc.equal(facts.event("event_name"), PURCHASE)


def _worthless_purchase(facts: Facts) -> Mask:
    return mask_of(pc.and_(_purchase(facts), facts.custom("value").is_null()))


def _value_without_currency(facts: Facts) -> Mask:
    return mask_of(pc.and_(facts.custom("value").is_valid(), facts.custom("currency").is_null()))


def _bad_currency(facts: Facts) -> Mask:
    currency = facts.custom("currency")
    listed = pc.is_in(currency, value_set=pa.array(sorted(currencies())))
    return mask_of(pc.and_(currency.is_valid(), pc.invert(listed)))


def _negative_purchase(facts: Facts) -> Mask:
    return mask_of(pc.and_kleene(_purchase(facts), pc.less(facts.value, 0)))


def _wrong_case(facts: Facts) -> Mask:
    names = facts.event("event_name").dictionary_encode()
    standard = {name.lower(): name for name in STANDARD_EVENTS}
    wrong = [standard.get(name.lower(), name) != name for name in names.dictionary.to_pylist()]
    return mask_of(pa.array(wrong, pa.bool_()).take(names.indices))


def _website_without(column: Callable[[Facts], Mask], facts: Facts) -> Mask:
    website = mask_of(pc.equal(facts.event("action_source"), WEBSITE))
    return website & ~column(facts) if website.any() else website


def _has_url(facts: Facts) -> Mask:
    return mask_of(facts.event("event_source_url").is_valid())


def _has_agent(facts: Facts) -> Mask:
    return facts.has_any({"client_user_agent"} & set(facts.rows.identity))


# ---------------------------------------------------------------------------------------------- the tables

_REJECTED, _HELD, _EXPIRED = Fate.REJECTED, Fate.HELD, Fate.EXPIRED
_EVENT_PAGE = "D:parameters/server-event"

RULES: tuple[Rule, ...] = (
    Rule(Reason.UNKNOWN_CLIENT, "client", _HELD, _unknown_client, "ours: no pixel and no token to send with"),
    Rule(Reason.PAUSED_CLIENT, "client", _HELD, lambda facts: facts.paused, "clients.yml: active"),
    Rule(Reason.TOO_OLD, "event.time", _EXPIRED, _too_old, f"{_EVENT_PAGE}; D:offline-events; 100/2804003"),
    Rule(Reason.MISSING_TIME, "event.time", _REJECTED, _timeless, _EVENT_PAGE),
    Rule(Reason.FUTURE, "event.time", _REJECTED, _in_future, "100/2804004; RS PR #3376"),
    Rule(Reason.MISSING_VALUE, "event.name", _REJECTED, partial(_empty, "event_name"), _EVENT_PAGE),
    Rule(Reason.MISSING_EVENT_ID, "event.id", _REJECTED, partial(_empty, "event_id"), "ours: promise P2"),
    Rule(Reason.MISSING_VALUE, "event.action_source", _REJECTED, partial(_empty, "action_source"), _EVENT_PAGE),
    Rule(Reason.UNKNOWN_VALUE, "event.action_source", _REJECTED, _unknown_source, "SDK action_source.py"),
    Rule(Reason.UNREADABLE_VALUE, "event.opt_out", _REJECTED, _unreadable_flag, _EVENT_PAGE),
    Rule(Reason.NO_IDENTIFIER, "user_data", _REJECTED, _no_identifier, _EVENT_PAGE),
    Rule(Reason.TOO_LITTLE_DATA, "user_data", _REJECTED, _too_little, "D:best-practices; 100/2804050"),
    Rule(
        Reason.PURCHASE_WITHOUT_VALUE, "custom_data.value", _REJECTED, _worthless_purchase, "D:parameters/custom-data"
    ),
    Rule(Reason.VALUE_WITHOUT_CURRENCY, "custom_data.currency", _REJECTED, _value_without_currency, "100/2804023"),
    Rule(Reason.BAD_CURRENCY, "custom_data.currency", _REJECTED, _bad_currency, "D:parameters/custom-data"),
)

TOO_LARGE = Rule(Reason.TOO_LARGE, "event", _REJECTED, Facts.none, "ours: limits of a request; decided on the bytes")

WARNINGS: tuple[Warn, ...] = (
    Warn("event_name_case", _wrong_case, "pixel reference: another case is a custom event, silently"),
    Warn("negative_purchase", _negative_purchase, "meta-capi.md 3.2: no negative value is documented"),
    Warn("website_without_url", partial(_website_without, _has_url), "D:parameters; not enforced (R)"),
    Warn("website_without_user_agent", partial(_website_without, _has_agent), "D:parameters; accepted live (L B3)"),
)


def faults(facts: Facts) -> Iterator[Rule]:
    """What earlier stages found, as rules."""
    for fault in facts.rows.faults:
        yield Rule(fault.reason, fault.field, Fate.REJECTED, partial(_at, fault.where), "the upload")


def _at(where: Any, _: Facts) -> Mask:
    return mask_of(where)


# ---------------------------------------------------------------------------------------------- values that JSON needs


def _not_finite(column: Any, _: Facts) -> Mask:
    return mask_of(pc.invert(pc.is_finite(column)))


def _not_an_array(column: Any, _: Facts) -> Mask:
    bracketed = pc.and_(pc.starts_with(text(column), "["), pc.ends_with(text(column), "]"))
    return mask_of(pc.invert(bracketed))


def _not_a_number(column: Any, facts: Facts) -> Mask:
    return mask_of(pc.and_(column.is_valid(), facts.value.is_null()))


def value_rules(facts: Facts) -> Iterator[Rule]:
    """One rule for each custom_data column whose values might not be sendable, by its type."""
    for name, column in facts.rows.custom.items():
        asks = _question_of(name, column)
        if asks is not None:
            field = f"custom_data.{name}"
            yield Rule(Reason.UNREADABLE_VALUE, field, Fate.REJECTED, partial(asks, column), "RFC 8259")


def _question_of(name: str, column: Any) -> Callable[[Any, Facts], Mask] | None:
    if pa.types.is_floating(column.type):
        return _not_finite
    if name in JSON_CUSTOM:
        return _not_an_array
    return _not_a_number if name == "value" and not pa.types.is_integer(column.type) else None
