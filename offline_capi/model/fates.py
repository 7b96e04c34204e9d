"""What becomes of a row, why, and what its owner does about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

__all__ = ["FATE_TEXTS", "FORMER_FATES", "REASONS", "WARNING_TEXTS", "Fate", "Reason", "ReasonText"]


class Fate(StrEnum):
    """The result for a row. Every row read ends in exactly one."""

    SENT = "sent"
    ALREADY_SENT = "already_sent"
    EXPIRED = "expired"
    INVALID = "invalid"
    SUPPRESSED = "suppressed"
    REJECTED_BY_META = "rejected_by_meta"
    UNCONFIRMED = "unconfirmed"
    DEFERRED = "deferred"

    @property
    def words(self) -> str:
        """``already sent``, ``rejected by Meta``."""
        return self.value.replace("_", " ").replace("meta", "Meta")

    @classmethod
    def _missing_(cls, value: object) -> Fate | None:
        """Reports, staged files and ledgers written before 2026-11-29 use the former names."""
        return FORMER_FATES.get(value) if isinstance(value, str) else None


#: The names that fates had until 2026-11-29, when ours and Meta's verdicts got names that cannot be confused.
FORMER_FATES: Mapping[str, Fate] = {
    "rejected": Fate.INVALID,
    "refused": Fate.REJECTED_BY_META,
    "in_doubt": Fate.UNCONFIRMED,
    "held": Fate.DEFERRED,
}


#: What each fate means, for somebody who reads a report for the first time.
FATE_TEXTS: Mapping[Fate, str] = {
    Fate.SENT: "Meta accepted the event in this run.",
    Fate.ALREADY_SENT: "An earlier run sent the event; Meta has it, and it is not sent again.",
    Fate.EXPIRED: "The event is older than Meta accepts; it is not sent.",
    Fate.INVALID: "The row cannot become an event; once the source or the mapping is corrected, it can be sent.",
    Fate.SUPPRESSED: "The row's consent column does not say yes. Left out on purpose, never sent, and no error.",
    Fate.REJECTED_BY_META: "Meta refused the event; it is not sent again unchanged.",
    Fate.UNCONFIRMED: "The event left and no answer came. A later run repeats it under the same id, counted once.",
    Fate.DEFERRED: "The event is good and waits. A later run sends it, as long as Meta accepts its age.",
}


class Reason(StrEnum):
    """Why a row could not become an event, or why it waits."""

    MALFORMED_ROW = "malformed_row"
    MALFORMED_JSON = "malformed_json"
    UNREADABLE_TIME = "unreadable_time"
    UNREADABLE_WINDOW = "unreadable_window"
    MISSING_TIME = "missing_time"
    FUTURE = "future"
    TOO_OLD = "too_old"
    MISSING_VALUE = "missing_value"
    UNREADABLE_VALUE = "unreadable_value"
    MONEY_SIGN = "money_sign"
    NEGATIVE_VALUE = "negative_value"
    NOT_FINITE = "not_finite"
    TOUCHPOINT_TOO_LATE = "touchpoint_too_late"
    BAD_SHARE = "bad_share"
    OTHER_CURRENCY = "other_currency"
    DAMAGED_ID = "damaged_id"
    UNKNOWN_VALUE = "unknown_value"
    NO_IDENTIFIER = "no_identifier"
    TOO_LITTLE_DATA = "too_little_data"
    MISSING_EVENT_ID = "missing_event_id"
    DUPLICATE_EVENT_ID = "duplicate_event_id"
    PURCHASE_WITHOUT_VALUE = "purchase_without_value"
    VALUE_WITHOUT_CURRENCY = "value_without_currency"
    BAD_CURRENCY = "bad_currency"
    FORBIDDEN_DATA = "forbidden_data"
    TOO_LARGE = "too_large"
    UNKNOWN_CLIENT = "unknown_client"
    PAUSED_CLIENT = "paused_client"
    CLIENT_STOPPED = "client_stopped"
    LOST_ANSWER = "lost_answer"
    UNSETTLED = "unsettled"
    UNREACHABLE = "unreachable"
    THROTTLED = "throttled"
    OTHER_RUN = "other_run"
    NOT_SENT = "not_sent"
    NOT_COUNTED = "not_counted"
    GATE_CLOSED = "gate_closed"
    OVER_LIMIT = "over_limit"
    WRONG_CLOCK = "wrong_clock"


class ReasonText(NamedTuple):
    """One sentence each: what is wrong with the row, and what its owner does about it."""

    what: str
    fix: str


REASONS: Mapping[Reason, ReasonText] = {
    Reason.MALFORMED_ROW: ReasonText(
        "the line cannot be split into the file's columns",
        "correct the file: a delimiter that is not quoted, or a quote that is not doubled, is the usual cause"
        ' (for quotes written as \\" set source.escape)',
    ),
    Reason.MALFORMED_JSON: ReasonText(
        "the line is no JSON object",
        "correct what writes the file: one object in braces a line, or one array of objects",
    ),
    Reason.UNREADABLE_TIME: ReasonText(
        "the event time cannot be read", "declare format, unit or timezone under event.time, or correct the source"
    ),
    Reason.UNREADABLE_WINDOW: ReasonText(
        "the row's time is empty or cannot be read, so that it cannot be assigned to a day",
        "declare format, unit or timezone under window, or correct the source",
    ),
    Reason.MISSING_TIME: ReasonText(
        "the event time is empty", "fill it in the source; it is never taken from the clock"
    ),
    Reason.FUTURE: ReasonText(
        "the event time lies in the future", "check the time zone of the source: naive values are the usual cause"
    ),
    Reason.TOO_OLD: ReasonText("older than Meta accepts", "run more often, or backfill inside Meta's window"),
    Reason.MISSING_VALUE: ReasonText("a required field is empty", "fill it in the source or give a default"),
    Reason.UNREADABLE_VALUE: ReasonText(
        "a value cannot be read as what the field holds", "correct the source, or declare type, decimal or format"
    ),
    Reason.MONEY_SIGN: ReasonText(
        "a number is written with the sign or code of a currency, in brackets or with a trailing minus",
        "declare type: money for the field, which reads them",
    ),
    Reason.NEGATIVE_VALUE: ReasonText(
        "a value is below zero, which Meta's own tools refuse: no event takes money back",
        "leave refunds out of the source, or wait until a sale is final (docs/how-to/refunds-and-corrections.md); "
        "allow_negative: true in the field sends it all the same",
    ),
    Reason.NOT_FINITE: ReasonText(
        "a number is NaN or infinite, which JSON cannot hold", "write null or a number where the source computes it"
    ),
    Reason.TOUCHPOINT_TOO_LATE: ReasonText(
        "the touchpoint is not before the original event",
        "take touchpoint_ts from the click or view that led to the event",
    ),
    Reason.BAD_SHARE: ReasonText(
        "an attribution share is not between 0 and 1", "write the shares of one order so that they sum to 1"
    ),
    Reason.OTHER_CURRENCY: ReasonText(
        "the currency sign of the number differs from the event's currency",
        "map custom_data.currency from the source, or correct the source",
    ),
    Reason.DAMAGED_ID: ReasonText(
        "a spreadsheet has written an id with an exponent, such as 1.18E+15: its other digits are gone",
        "export again with the column as text",
    ),
    Reason.UNKNOWN_VALUE: ReasonText(
        "a value is not in the declared map", "add the value to the map, as the source writes it, or give a default"
    ),
    Reason.NO_IDENTIFIER: ReasonText(
        "no usable identifier of a person",
        "map one more of em, ph, external_id, …, and check the report's dropped values: the mapped ones are empty or"
        " unusable here",
    ),
    Reason.TOO_LITTLE_DATA: ReasonText(
        "too little customer data for Meta to accept", "map an e-mail address, a phone number or an id as well"
    ),
    Reason.MISSING_EVENT_ID: ReasonText("a part of the event id is empty", "use business keys that are never null"),
    Reason.DUPLICATE_EVENT_ID: ReasonText(
        "an earlier row of this run has the same event id", "add the column that distinguishes the two rows to event.id"
    ),
    Reason.PURCHASE_WITHOUT_VALUE: ReasonText(
        "a Purchase needs a value and a currency, and the value is empty",
        "fill the column in the source (NaN, NULL and the other entries of source.null_values count as empty); "
        "if no column is mapped, map custom_data.value",
    ),
    Reason.VALUE_WITHOUT_CURRENCY: ReasonText(
        "a value needs a currency", "fill the column, or map custom_data.currency"
    ),
    Reason.BAD_CURRENCY: ReasonText(
        "the currency is not an ISO 4217 code",
        "give custom_data.currency a map from the source's words to codes: map: {Euro: EUR}; codes stay as they are",
    ),
    Reason.FORBIDDEN_DATA: ReasonText("a field holds data that must never be sent", "remove it from the mapping"),
    Reason.TOO_LARGE: ReasonText("the event alone exceeds the request's byte limit", "shorten contents or properties"),
    Reason.UNKNOWN_CLIENT: ReasonText(
        "the client is not configured, or not in the upload's map",
        "add it to clients.yml or to the map, and replay; `offline-capi rejects` has the rows (what they name is shown"
        " only where it is a known client misspelt)",
    ),
    Reason.PAUSED_CLIENT: ReasonText(
        "the client is paused, or has no pixel in this environment",
        "set active: true in clients.yml, or name it under the environment, and run again",
    ),
    Reason.CLIENT_STOPPED: ReasonText(
        "Meta refused the client's token or pixel, or there is no token to send with",
        "the cause stands at the top of the report and in `offline-capi clients list`; renew the token or permission, "
        "then run again",
    ),
    Reason.LOST_ANSWER: ReasonText(
        "sent, but no answer says whether it arrived", "run again within Meta's window: the same ids count once"
    ),
    Reason.UNSETTLED: ReasonText(
        "sent without an answer, and too long ago for Meta to count a repeat once",
        "search for the event in Meta's Events Manager; it is not sent again, because it could count twice",
    ),
    Reason.UNREACHABLE: ReasonText("the endpoint could not be reached", "check the network and graph_url; run again"),
    Reason.THROTTLED: ReasonText("Meta asked us to wait longer than the run may", "run again later"),
    Reason.OTHER_RUN: ReasonText("another run is sending this event", "nothing; see that run's report"),
    Reason.NOT_COUNTED: ReasonText(
        "taken without an error, and not counted as received", "check the event in Meta's Events Manager"
    ),
    Reason.GATE_CLOSED: ReasonText(
        "a gate, or a column that drifted, stopped the run before its first request",
        "check the gates in the report; if they are right, upload once more with --force-gates",
    ),
    Reason.OVER_LIMIT: ReasonText(
        "the client's limit of events a run is reached", "run again: the next ones go, as many as limits.events_per_run"
    ),
    Reason.WRONG_CLOCK: ReasonText(
        "this machine's clock is not Meta's, by which the age of events is judged", "set the clock (NTP) and run again"
    ),
    Reason.NOT_SENT: ReasonText("the task that sends it did not get to it", "clear that task, or run again"),
}


#: What the codes of ``BuiltEvents.warnings`` mean: the events are sent, and count or match badly.
WARNING_TEXTS: Mapping[str, ReasonText] = {
    "event_name_case": ReasonText(
        "a standard event's name in another case, sent as the standard event",
        "write it as Meta does, such as Purchase; for a custom event of that name set exact: true in event.name",
    ),
    "event_name_near": ReasonText(
        "a name that is nearly a standard event's is a custom event to Meta",
        "write it as Meta does, or map it; if it is a name of your own, set exact: true in event.name",
    ),
    "store_event_of_same_person": ReasonText(
        "a store event that Meta counts as one with an earlier one of this run: the same person, second and name, "
        "and no order id",
        "map custom_data.order_id",
    ),
    "store_event_of_same_order": ReasonText(
        "a store event that Meta counts as one with an earlier one of this run: the same order, second and name",
        "map custom_data.item_number, or send one event an order",
    ),
    "attribution_value_differs": ReasonText(
        "attribution_value is not attribution_share x value", "compute it from the two"
    ),
    "negative_purchase": ReasonText("a Purchase below zero", "send refunds under a name of your own"),
    "website_without_url": ReasonText("a website event without its address", "map event.source_url"),
    "website_without_user_agent": ReasonText("a website event without its browser", "map user_data.client_user_agent"),
    "amount_without_currency": ReasonText(
        "predicted_ltv or net_revenue without a currency", "map custom_data.currency"
    ),
    "contents_without_type": ReasonText(
        "contents without content_type match every item of that id", "set custom_data.content_type"
    ),
    "crm_not_system_generated": ReasonText(
        "the stage of a lead from another source", "set event.action_source to system_generated"
    ),
    "crm_without_name": ReasonText("the stage of a lead without the CRM's name", "set custom_data.lead_event_source"),
    "original_event_of_conversion": ReasonText(
        "a conversion that points at an earlier event", "keep event.original_event for AppendValue"
    ),
    "not_after_original_event": ReasonText(
        "an added value that is not later than its event", "take the time at which the value became known"
    ),
    "limited_data_use_without_ip": ReasonText(
        "limited data use, and nothing by which Meta can derive the location",
        "give the state, or map user_data.client_ip_address",
    ),
}
