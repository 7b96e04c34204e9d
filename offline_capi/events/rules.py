"""What may not go out, as tables: one row a rule, the first that holds decides.

A row's fate is decided in this order, and by the first that applies:

1. *suppressed*: consent is missing; nothing else about the row is read or kept
2. *invalid* for a fault that an earlier stage found, in the order in which they were found
3. *deferred*: its client is unknown or paused
4. *expired*: older than Meta takes
5. *invalid* by a rule of Meta's: time, name, id, source, identity, money, values, size

Warnings are for events that Meta accepts and that will match or measure badly; they are counted and sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from offline_capi.events.facts import Facts, Mask, flag_values, mask_of
from offline_capi.events.payload import JSON_BRACKETS, as_text
from offline_capi.events.standard import (
    ACTION_SOURCES,
    APP,
    APPEND_ATTRIBUTION,
    APPEND_VALUE,
    CRM,
    MESSAGING,
    PURCHASE,
    STANDARD_EVENTS,
    SYSTEM,
    WEAK_KEY_SETS,
    WEBSITE,
    list_currencies,
    list_events_requiring,
)
from offline_capi.meta.catalogue import WORDS
from offline_capi.meta.limits import MAX_ATTRIBUTION_AGE
from offline_capi.meta.standard_events import near_standard_name
from offline_capi.model import Fate, Reason
from offline_capi.runtime.column_bytes import BLANK_STARTS, count_empty, encode_distinct, where_begins
from offline_capi.runtime.currency_words import find_currency_code

__all__ = ["RULES", "TOO_LARGE", "WARNINGS", "Rule", "Warn", "list_fault_rules", "list_value_rules", "name_values"]

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
    column = facts.get_event(name)
    absent = mask_of(column.is_null())
    if where_begins(column, BLANK_STARTS) is None and not count_empty(column):
        return absent
    blank = pc.or_(pc.equal(column, ""), pc.utf8_is_space(column))
    return absent | mask_of(blank)


def _has_unknown_client(facts: Facts) -> Mask:
    return mask_of(facts.pixel.is_null())


def _is_too_old(facts: Facts) -> Mask:
    return facts.age > facts.oldest_age


def _is_in_future(facts: Facts) -> Mask:
    return -facts.age > facts.limits.skew.total_seconds()


def _has_no_time(facts: Facts) -> Mask:
    return mask_of(facts.event_time.is_null())


def _has_unknown_source(facts: Facts) -> Mask:
    return mask_of(pc.invert(pc.is_in(facts.get_event("action_source"), value_set=pa.array(ACTION_SOURCES))))


def _has_unreadable_flag(facts: Facts) -> Mask:
    flag = facts.get_event("opt_out")
    return mask_of(pc.and_(flag.is_valid(), pc.invert(pc.is_in(flag, value_set=pa.array(["true", "false"])))))


def _has_no_identifier(facts: Facts) -> Mask:
    return ~facts.has_any(set(facts.rows.identity))


def _has_too_little(facts: Facts) -> Mask:
    keys = set(facts.rows.identity)
    lacking = [~facts.has_any(keys - weak) for weak in WEAK_KEY_SETS]
    return reduce(np.logical_or, lacking)


def _lacks(parameter: str, facts: Facts) -> Mask:
    """A standard event without what it needs."""
    needing = facts.match_names(frozenset(list_events_requiring(parameter)).__contains__)
    return needing & ~facts.has(parameter)


def _has_value_without_currency(facts: Facts) -> Mask:
    return (facts.has("value") & ~facts.has("currency")) | _lacks("currency", facts)


def _has_bad_currency(facts: Facts) -> Mask:
    return flag_values(encode_distinct(facts.get_custom("currency")), lambda code: code not in list_currencies())


def _is_negative_purchase(facts: Facts) -> Mask:
    return facts.match_names(PURCHASE.__eq__) & mask_of(pc.less(facts.value, 0))


def _is_respelled(facts: Facts) -> Mask:
    return facts.mask_none() if facts.respelled is None else facts.respelled


#: So many different names are no names of events: a wrong column, whose values are not worth comparing.
MAX_NAMES_COMPARED = 1_000


def _is_nearly_standard(facts: Facts) -> Mask:
    if facts.exact_names or facts.different_names > MAX_NAMES_COMPARED:
        return facts.mask_none()
    return facts.match_names(lambda name: near_standard_name(name) is not None)


def _is_from_without(action_source: str, parameter: str, facts: Facts) -> Mask:
    """Events from there that lack the parameter, of the event, custom_data or user_data."""
    there = facts.is_from(action_source)
    return there & ~_has(parameter, facts) if there.any() else there


def _has(parameter: str, facts: Facts) -> Mask:
    return facts.has_any({parameter}) if parameter in facts.rows.identity else facts.has(parameter)


def _is_strictly_without(parameter: str, facts: Facts) -> Mask:
    return _is_from_without(WEBSITE, parameter, facts) if facts.strict_website else facts.mask_none()


def _has_no_address(facts: Facts) -> Mask:
    if "event_source_url" not in facts.rows.event:
        return facts.mask_none()
    return mask_of(pc.invert(pc.match_substring_regex(facts.get_event("event_source_url"), "^https?://.")))


def _has_no_device(facts: Facts) -> Mask:
    app = facts.is_from(APP)
    return app & ~mask_of(pc.match_substring(facts.get_event("app_data"), '"extinfo":')) if app.any() else app


def _is_unknown_to_messaging(facts: Facts) -> Mask:
    spoken = {name for name, event in STANDARD_EVENTS.items() if event.messaging}
    return facts.is_from(MESSAGING) & ~facts.match_names(spoken.__contains__)


def _has_bad_store_code(facts: Facts) -> Mask:
    if "store_data" not in facts.rows.custom:
        return facts.mask_none()
    store = facts.get_custom("store_data")
    good = pc.match_substring_regex(store, r'"store_code":"[0-9A-Za-z]{1,64}"')
    return mask_of(pc.and_not(pc.match_substring(store, '"store_code":'), good))


def _has_amount_without_currency(facts: Facts) -> Mask:
    return (facts.has("predicted_ltv") | facts.has("net_revenue")) & ~facts.has("currency")


def _is_crm(facts: Facts) -> Mask:
    return facts.has("event_source") & mask_of(pc.equal(as_text(facts.get_custom("event_source")), CRM))


def _is_crm_of_another_source(facts: Facts) -> Mask:
    return _is_crm(facts) & ~facts.is_from(SYSTEM)


def _is_crm_without_name(facts: Facts) -> Mask:
    return _is_crm(facts) & ~facts.has("lead_event_source")


def _has_original_on_conversion(facts: Facts) -> Mask:
    return facts.has("original_event_data") & ~facts.has("attribution_data") & ~facts.match_names(APPEND_VALUE.__eq__)


def _is_before_original(facts: Facts) -> Mask:
    if "original_event_data" not in facts.rows.event:
        return facts.mask_none()
    times = pc.extract_regex(facts.get_event("original_event_data"), r'"event_time":(?P<time>-?\d+)')
    earlier = mask_of(pc.less_equal(facts.event_time, pc.struct_field(times, "time").cast(pa.int64())))
    return earlier & ~facts.match_names(APPEND_ATTRIBUTION.__eq__)


def _read_number(name: str, key: str, facts: Facts) -> NDArray[np.float64]:
    """The number that an object of the event holds under ``key``, NaN where it holds none."""
    found = pc.extract_regex(facts.get_event(name), f'"{key}":(?P<number>-?[0-9][0-9.eE+-]*)')
    numbers: NDArray[np.float64] = pc.struct_field(found, "number").cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers


def _restrict_to_attribution(asks: Callable[[Facts], Mask]) -> Asks:
    """``asks`` of the events that append an attribution, of which there are none in most batches."""

    def ask_those(facts: Facts) -> Mask:
        there = facts.match_names(APPEND_ATTRIBUTION.__eq__)
        return there & asks(facts) if there.any() else there

    return ask_those


def _is_unattributed(facts: Facts) -> Mask:
    numbers = (np.isnan(_read_number("attribution_data", key, facts)) for key in _ATTRIBUTION_NUMBERS)
    ad = mask_of(pc.match_substring(facts.get_event("attribution_data"), '"ad_id":"'))
    return reduce(np.logical_or, numbers) | ~ad


def _is_attributed_too_late(facts: Facts) -> Mask:
    age = facts.limits.now.timestamp() - _read_number("original_event_data", "event_time", facts)
    return age > MAX_ATTRIBUTION_AGE.total_seconds() - facts.limits.margin.total_seconds()


def _is_touched_after(facts: Facts) -> Mask:
    touched = _read_number("attribution_data", "touchpoint_ts", facts)
    return touched >= _read_number("original_event_data", "event_time", facts)


def _has_bad_share(facts: Facts) -> Mask:
    share = _read_number("attribution_data", "attribution_share", facts)
    return (share < 0) | (share > 1)


def _has_other_share(facts: Facts) -> Mask:
    """By more than rounding to cents, and a thousandth of the value, explains."""
    value: NDArray[np.float64] = facts.value.cast(pa.float64()).to_numpy(zero_copy_only=False)
    share, part = (_read_number("attribution_data", f"attribution_{what}", facts) for what in ("share", "value"))
    return np.abs(share * value - part) > 0.01 + 0.001 * np.abs(value)


def _is_limited_without_ip(facts: Facts) -> Mask:
    """Where Meta has to derive the location itself."""
    if "data_processing_options_state" not in facts.rows.event:
        return facts.mask_none()
    nowhere = mask_of(pc.equal(facts.rows.event["data_processing_options_state"], 0))
    return nowhere & ~_has("client_ip_address", facts)


def _has_ids_without_type(facts: Facts) -> Mask:
    return (facts.has("content_ids") | facts.has("contents")) & ~facts.has("content_type")


# ---------------------------------------------------------------------------------------------- the tables

_INVALID, _DEFERRED, _EXPIRED = Fate.INVALID, Fate.DEFERRED, Fate.EXPIRED
_EVENT_PAGE = "D:parameters/server-event"
_ATTRIBUTION_PAGE = "D:guides/append-attribution"
_ATTRIBUTION_NUMBERS = ("touchpoint_ts", "attribution_share", "attribution_value")  # required in addition to ad_id
_LTV_PAGE = "D:guides/predicted-lifetime-value"

RULES: tuple[Rule, ...] = (
    Rule(Reason.UNKNOWN_CLIENT, "client", _DEFERRED, _has_unknown_client, "ours: no pixel and no token to send with"),
    Rule(Reason.PAUSED_CLIENT, "client", _DEFERRED, lambda facts: facts.paused, "clients.yml: active"),
    Rule(Reason.TOO_OLD, "event.time", _EXPIRED, _is_too_old, f"{_EVENT_PAGE}; D:offline-events; 100/2804003"),
    Rule(
        Reason.TOO_OLD,
        "event.original_event.time",
        _EXPIRED,
        _restrict_to_attribution(_is_attributed_too_late),
        _ATTRIBUTION_PAGE,
    ),
    Rule(Reason.MISSING_TIME, "event.time", _INVALID, _has_no_time, _EVENT_PAGE),
    Rule(Reason.FUTURE, "event.time", _INVALID, _is_in_future, "100/2804004; RS PR #3376"),
    Rule(Reason.MISSING_VALUE, "event.name", _INVALID, partial(_empty, "event_name"), _EVENT_PAGE),
    Rule(Reason.MISSING_EVENT_ID, "event.id", _INVALID, partial(_empty, "event_id"), "ours: promise P2"),
    Rule(Reason.MISSING_VALUE, "event.action_source", _INVALID, partial(_empty, "action_source"), _EVENT_PAGE),
    Rule(Reason.UNKNOWN_VALUE, "event.action_source", _INVALID, _has_unknown_source, "SDK action_source.py"),
    Rule(Reason.UNREADABLE_VALUE, "event.opt_out", _INVALID, _has_unreadable_flag, _EVENT_PAGE),
    Rule(Reason.NO_IDENTIFIER, "user_data", _INVALID, _has_no_identifier, _EVENT_PAGE),
    Rule(Reason.TOO_LITTLE_DATA, "user_data", _INVALID, _has_too_little, "D:best-practices; 100/2804050"),
    Rule(Reason.PURCHASE_WITHOUT_VALUE, "custom_data.value", _INVALID, partial(_lacks, "value"), "100/2804009"),
    Rule(Reason.VALUE_WITHOUT_CURRENCY, "custom_data.currency", _INVALID, _has_value_without_currency, "100/2804023"),
    Rule(Reason.BAD_CURRENCY, "custom_data.currency", _INVALID, _has_bad_currency, "D:parameters/custom-data"),
    Rule(Reason.MISSING_VALUE, "custom_data.predicted_ltv", _INVALID, partial(_lacks, "predicted_ltv"), _LTV_PAGE),
    Rule(Reason.MISSING_VALUE, "event.original_event", _INVALID, partial(_lacks, "original_event_data"), _LTV_PAGE),
    Rule(
        Reason.MISSING_VALUE,
        "event.attribution_data",
        _INVALID,
        partial(_lacks, "attribution_data"),
        _ATTRIBUTION_PAGE,
    ),
    Rule(
        Reason.MISSING_VALUE,
        "event.attribution_data",
        _INVALID,
        _restrict_to_attribution(_is_unattributed),
        _ATTRIBUTION_PAGE,
    ),
    Rule(
        Reason.TOUCHPOINT_TOO_LATE,
        "event.attribution_data.touchpoint_ts",
        _INVALID,
        _restrict_to_attribution(_is_touched_after),
        _ATTRIBUTION_PAGE,
    ),
    Rule(
        Reason.BAD_SHARE,
        "event.attribution_data.attribution_share",
        _INVALID,
        _restrict_to_attribution(_has_bad_share),
        _ATTRIBUTION_PAGE,
    ),
    Rule(
        Reason.MISSING_VALUE,
        "event.source_url",
        _INVALID,
        partial(_is_strictly_without, "event_source_url"),
        "D:parameters; the upload: event.strict_website",
    ),
    Rule(
        Reason.MISSING_VALUE,
        "user_data.client_user_agent",
        _INVALID,
        partial(_is_strictly_without, "client_user_agent"),
        "D:parameters; the upload: event.strict_website",
    ),
    Rule(Reason.UNREADABLE_VALUE, "event.source_url", _INVALID, _has_no_address, _EVENT_PAGE),
    Rule(Reason.UNREADABLE_VALUE, "custom_data.store_data", _INVALID, _has_bad_store_code, "D:offline-events"),
    Rule(Reason.MISSING_VALUE, "event.app_data", _INVALID, _has_no_device, "D:parameters/app-data; 100/2804043"),
    Rule(
        Reason.MISSING_VALUE,
        "event.messaging_channel",
        _INVALID,
        partial(_is_from_without, MESSAGING, "messaging_channel"),
        "D:business-messaging; 100/2804063",
    ),
    Rule(Reason.UNKNOWN_VALUE, "event.name", _INVALID, _is_unknown_to_messaging, "D:business-messaging; 100/2804066"),
)

TOO_LARGE = Rule(
    Reason.TOO_LARGE, "event", _INVALID, Facts.mask_none, "ours: limits of a request; decided on the bytes"
)

WARNINGS: tuple[Warn, ...] = (
    Warn("event_name_case", _is_respelled, "pixel reference: another case is a custom event, silently"),
    Warn(
        "event_name_near", _is_nearly_standard, "meta-capi.md 3.2: what is no standard name is a custom event, silently"
    ),
    Warn("negative_purchase", _is_negative_purchase, "meta-capi.md 3.2: no negative value is documented"),
    Warn(
        "website_without_url", partial(_is_from_without, WEBSITE, "event_source_url"), "D:parameters; not enforced (R)"
    ),
    Warn(
        "website_without_user_agent",
        partial(_is_from_without, WEBSITE, "client_user_agent"),
        "D:parameters; accepted live (L B3)",
    ),
    Warn(
        "amount_without_currency", _has_amount_without_currency, "D:guides/predicted-lifetime-value, value-optimization"
    ),
    Warn("contents_without_type", _has_ids_without_type, "D:parameters/custom-data: every item with that id matches"),
    Warn("crm_not_system_generated", _is_crm_of_another_source, "D:conversion-leads-integration"),
    Warn("crm_without_name", _is_crm_without_name, "D:conversion-leads-integration: lead_event_source"),
    Warn("original_event_of_conversion", _has_original_on_conversion, f"{_LTV_PAGE}: never on the conversion itself"),
    Warn("not_after_original_event", _is_before_original, f"{_LTV_PAGE}: later than the original's"),
    Warn(
        "attribution_value_differs", _restrict_to_attribution(_has_other_share), f"{_ATTRIBUTION_PAGE}: share x value"
    ),
    Warn("limited_data_use_without_ip", _is_limited_without_ip, "MAPI:overview/data-processing-options"),
)


def list_fault_rules(facts: Facts) -> Iterator[Rule]:
    """What earlier stages found, as rules."""
    for fault in facts.rows.faults:
        yield Rule(fault.reason, fault.field, Fate.INVALID, partial(_mark_rows, fault.where), "the upload")


def _mark_rows(where: Any, _: Facts) -> Mask:
    return mask_of(where)


def name_values(rule: Rule, facts: Facts) -> Iterator[Rule]:
    """The rule; before that of currencies, one for each value that is the name or sign of a currency.

    Any other text is not named: a wrong column may hold anything.
    """
    if rule.reason is Reason.BAD_CURRENCY:
        currency = facts.get_custom("currency")
        found = pc.unique(currency.filter(pa.array(rule.applies(facts)))).drop_null().to_pylist()
        for word in (word for word in found if find_currency_code(word) is not None):
            where = pc.fill_null(pc.equal(currency, word), False)
            yield Rule(
                rule.reason, f'{rule.field} with "{word.strip()}"', rule.fate, partial(_mark_rows, where), rule.source
            )
    yield rule


# ---------------------------------------------------------------------------------------------- values that JSON needs


def _is_not_finite(column: Any, _: Facts) -> Mask:
    return mask_of(pc.invert(pc.is_finite(column)))


def _is_none_of(words: tuple[str, ...], column: Any, _: Facts) -> Mask:
    return mask_of(pc.and_not(column.is_valid(), pc.is_in(as_text(column), value_set=pa.array(words))))


def _is_not_in(brackets: str, column: Any, _: Facts) -> Mask:
    bracketed = pc.and_(pc.starts_with(as_text(column), brackets[0]), pc.ends_with(as_text(column), brackets[1]))
    return mask_of(pc.invert(bracketed))


def _is_not_a_number(column: Any, facts: Facts) -> Mask:
    return mask_of(pc.and_(column.is_valid(), facts.value.is_null()))


def list_value_rules(facts: Facts) -> Iterator[Rule]:
    """One rule for each column whose values might not be sendable, by its type or by the values that Meta accepts."""
    for section, columns in (("event", facts.rows.event), ("custom_data", facts.rows.custom)):
        for name in (word for word in WORDS if word in columns):
            unknown = partial(_is_none_of, WORDS[name], columns[name])
            yield Rule(Reason.UNKNOWN_VALUE, f"{section}.{name}", Fate.INVALID, unknown, _EVENT_PAGE)
    for name, column in facts.rows.custom.items():
        asks = _choose_question(name, column)
        if asks is not None:
            field = f"custom_data.{name}"
            reason = Reason.NOT_FINITE if asks is _is_not_finite else Reason.UNREADABLE_VALUE
            yield Rule(reason, field, Fate.INVALID, partial(asks, column), "RFC 8259")


def _choose_question(name: str, column: Any) -> Callable[[Any, Facts], Mask] | None:
    if pa.types.is_floating(column.type):
        return _is_not_finite
    if name == "value" and not pa.types.is_integer(column.type):
        return _is_not_a_number
    return partial(_is_not_in, JSON_BRACKETS[name]) if name in JSON_BRACKETS else None
