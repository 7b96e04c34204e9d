"""What a client reads: every fate, reason and match key in the words of a marketer.

"We" is whoever sends the report, "you" the client. No name of a column, a file, a setting or a code of ours is in it.
What is said of the effect of a match key stands in meta-capi.md, with its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from offline_capi.meta.graph.error_table import Scope, explain, parse_code
from offline_capi.model import Fate, Reason
from offline_capi.report.quality import LEAST_EVENTS, LEAST_SHARE

__all__ = [
    "FATE_WORDS",
    "MATCH_KEYS",
    "REASON_WORDS",
    "WAITED_TOO_LONG",
    "KeyWords",
    "Words",
    "describe_issue",
    "describe_meta_count",
]


class Words(NamedTuple):
    """What happened, what to do, and who does it: ``you``, ``we`` or ``nobody``."""

    what: str
    remedy: str
    who: str


class KeyWords(NamedTuple):
    """A match key by its plain name: how more events come to carry it, and what Meta says of the effect."""

    name: str
    how: str
    effect: str
    sources: tuple[str, ...]


#: A line for each fate, in the order in which a client wants them; what was sent is told apart.
FATE_WORDS: Mapping[Fate, str] = {
    Fate.SENT: "delivered: Meta accepted them",
    Fate.ALREADY_SENT: "delivered before",
    Fate.DEFERRED: "waiting: not sent yet, and not lost",
    Fate.UNCONFIRMED: "sent, but Meta's confirmation is missing",
    Fate.REJECTED_BY_META: "refused by Meta",
    Fate.INVALID: "incomplete or faulty, so that no event could be made of them",
    Fate.EXPIRED: "older than Meta accepts",
    Fate.SUPPRESSED: "left out on purpose, mostly because there is no consent",
}

_FILL = "Please fill it in where the sale is recorded."
_WE_SEND = "Nothing. We send them with the next run."

REASON_WORDS: Mapping[Reason, Words] = {
    Reason.MALFORMED_ROW: Words(
        "The line of the file is damaged and cannot be read.", "Please export the data again.", "you"
    ),
    Reason.MALFORMED_JSON: Words(
        "The line of the file is damaged and cannot be read.", "Please export the data again.", "you"
    ),
    Reason.UNREADABLE_TIME: Words(
        "The date and time of the sale cannot be read.",
        "Please write all dates in one form, such as 2026-11-23 14:05, or tell us about the new form.",
        "you",
    ),
    Reason.UNREADABLE_WINDOW: Words(
        "The date of the record is empty or cannot be read, so it belongs to no day.",
        "Please fill it in, in one form for all records, such as 2026-11-23 14:05.",
        "you",
    ),
    Reason.MISSING_TIME: Words("The date and time of the sale are missing.", _FILL, "you"),
    Reason.FUTURE: Words(
        "The date lies in the future.",
        "Please check the clock and the time zone of the system that records the sales, and tell us which zone it is.",
        "you",
    ),
    Reason.TOO_OLD: Words(
        "The event was older than Meta accepts when we received it: 7 days, or 62 days for sales in a shop.",
        "Please provide the data every day. These events cannot be sent any more.",
        "you",
    ),
    Reason.MISSING_VALUE: Words("A detail that the event needs is missing.", _FILL, "you"),
    Reason.UNREADABLE_VALUE: Words(
        "A number or date cannot be read.",
        "Please correct it where the sale is recorded, or tell us how it is written.",
        "you",
    ),
    Reason.MONEY_SIGN: Words(
        "An amount is written with a currency sign, in brackets or with a minus behind it.",
        "Nothing for you: we adapt how amounts are read, and send these records again.",
        "we",
    ),
    Reason.NEGATIVE_VALUE: Words(
        "The amount is below zero: a refund or a correction. Meta has no way to take money back.",
        "Nothing. Refunds are left out. Where sales are often cancelled, we can send each one once it is final.",
        "nobody",
    ),
    Reason.NOT_FINITE: Words("The amount is not a number.", "Please correct it where the sale is recorded.", "you"),
    Reason.TOUCHPOINT_TOO_LATE: Words(
        "The ad contact is later than the sale that it should have led to.",
        "Please check from which moment the ad contact is taken.",
        "you",
    ),
    Reason.BAD_SHARE: Words(
        "The share of an ad in the sale is not between 0 and 100 %.", "Please check the attribution export.", "you"
    ),
    Reason.OTHER_CURRENCY: Words(
        "The amount is written in another currency than the record says.",
        "Please correct the currency where the sale is recorded.",
        "you",
    ),
    Reason.DAMAGED_ID: Words(
        "A spreadsheet has rounded a long number, such as 1.18E+15: its last digits are gone.",
        "Please export the data again with that column as text.",
        "you",
    ),
    Reason.UNKNOWN_VALUE: Words(
        "A word in the record is new to us, such as a new kind of sale.",
        "Please tell us what it means; we add it and send these records again.",
        "you",
    ),
    Reason.NO_IDENTIFIER: Words(
        "Nothing in the record says whose sale it was, so Meta could match it to nobody.",
        "Please collect an email address, a phone number or a customer number with each sale.",
        "you",
    ),
    Reason.TOO_LITTLE_DATA: Words(
        "The customer details are too few for Meta, for example only a town or only a first name.",
        "Please collect an email address, a phone number or a customer number with each sale.",
        "you",
    ),
    Reason.MISSING_EVENT_ID: Words(
        "The number of the order or application is missing, so a repeat could not be recognised.", _FILL, "you"
    ),
    Reason.DUPLICATE_EVENT_ID: Words(
        "The record has the same number as another one; only the first was sent.",
        "Nothing if it is the same sale twice. If these are different sales, please tell us what tells them apart.",
        "you",
    ),
    Reason.PURCHASE_WITHOUT_VALUE: Words(
        "The purchase has no amount, and Meta takes no purchase without one.", _FILL, "you"
    ),
    Reason.VALUE_WITHOUT_CURRENCY: Words("The amount has no currency.", _FILL, "you"),
    Reason.BAD_CURRENCY: Words(
        "The currency is not written as a known code.",
        "Please write codes such as EUR or USD, or tell us which currency your word stands for.",
        "you",
    ),
    Reason.FORBIDDEN_DATA: Words(
        "The record holds details that may not be sent to Meta.",
        "We take these details out and send the records again.",
        "we",
    ),
    Reason.TOO_LARGE: Words(
        "The record is too long for Meta, for example an order with very many items.",
        "We shorten such records and send them again.",
        "we",
    ),
    Reason.UNKNOWN_CLIENT: Words(
        "The record could not be assigned to an account.", "We assign it and send it again.", "we"
    ),
    Reason.PAUSED_CLIENT: Words(
        "Sending is paused for your account.",
        "Tell us when it should go on. Events wait, as long as Meta accepts their age.",
        "you",
    ),
    Reason.CLIENT_STOPPED: Words(
        "Meta refuses our access to your pixel, so the events wait.",
        "Please renew our access: in Meta's Events Manager, open the pixel and check the permissions and the access "
        "token that you gave us. We send what waits as soon as it works again.",
        "you",
    ),
    Reason.LOST_ANSWER: Words(
        "The events left, but no answer of Meta came back, so we do not know whether they arrived.",
        "Nothing. We repeat them under the same number; Meta counts each once.",
        "nobody",
    ),
    Reason.UNSETTLED: Words(
        "The events left, no answer of Meta came back, and too much time has passed to repeat them without the danger "
        "that they count twice.",
        "If the difference matters, look for these days in Meta's Events Manager. They are not repeated.",
        "nobody",
    ),
    Reason.UNREACHABLE: Words("Meta could not be reached.", _WE_SEND, "we"),
    Reason.THROTTLED: Words("Meta asked us to slow down.", _WE_SEND, "we"),
    Reason.OTHER_RUN: Words("They were being sent by another run at that moment.", _WE_SEND, "nobody"),
    Reason.NOT_SENT: Words("The run ended before it got to them.", _WE_SEND, "we"),
    Reason.NOT_COUNTED: Words(
        "Meta took them without an error, and did not count them as received.",
        "We look for them in Meta's Events Manager.",
        "we",
    ),
    Reason.GATE_CLOSED: Words(
        "The day looked unusual, for example far fewer sales than usual. It waits until somebody has looked.",
        "We check it with you, and send the events if the data is right.",
        "we",
    ),
    Reason.OVER_LIMIT: Words("There were more events than are agreed for one run.", _WE_SEND, "we"),
    Reason.WRONG_CLOCK: Words(
        "The clock of the sending machine was wrong, so the age of events could not be judged.", _WE_SEND, "we"
    ),
}

WAITED_TOO_LONG = Words(
    "They waited until they were older than Meta accepts.",
    "They cannot be sent any more. What they waited for should be settled, so that no more are lost.",
    "we",
)

_NO_CONSENT = Words(
    "The customer has not agreed that the data is used for advertising, or the record must not be sent.",
    "Nothing. This is on purpose. If the number looks too high, please check how consent is recorded.",
    "nobody",
)

#: The same of Meta's refusals, by what is at fault.
_META_WORDS: Mapping[Scope, Words] = {
    Scope.EVENT: Words("Meta refused the event", "We look into it, and send it again once it is corrected.", "we"),
    Scope.TOKEN: REASON_WORDS[Reason.CLIENT_STOPPED],
}


def describe_issue(fate: Fate, reason: str, *, lost: bool = False) -> Words:
    """What a client reads of records with this fate and reason of the books."""
    if lost:
        return WAITED_TOO_LONG
    if fate is Fate.SUPPRESSED:
        return _NO_CONSENT
    try:
        return REASON_WORDS[Reason(reason)]
    except ValueError:
        return _describe_refusal(reason)


def _describe_refusal(reason: str) -> Words:
    """Meta's own code, as its meaning; the code stands behind it for those who ask Meta's support."""
    numbers = parse_code(reason) if reason else None
    if numbers is None:
        return Words("They were not delivered, and no cause was recorded.", "We look into it.", "we")
    entry = explain(*numbers)
    if entry.scope is Scope.TOKEN:
        return _META_WORDS[Scope.TOKEN]
    words = _META_WORDS[Scope.EVENT]
    return words._replace(what=f"{words.what}: {entry.means} (Meta's code {reason}).")


def describe_meta_count(sent: int, received: int, fresh: int) -> str:
    """What a difference between our number and Meta's means; ``fresh`` of ``sent`` may not be visible yet."""
    missing = sent - received
    if abs(missing) < max(LEAST_EVENTS, LEAST_SHARE * sent):
        return "The two agree." if missing == 0 else "The two agree, apart from a few."
    if missing < 0:
        return f"Meta counts {-missing:,} more: another system seems to send these events as well."
    if fresh >= missing:
        return f"Meta counts {missing:,} fewer, and was asked minutes after they were sent: it may not show them yet."
    return (
        f"Meta counts {missing:,} fewer. Sales that your website's pixel reported before count once. If that does not "
        "explain it, look at the pixel's Diagnostics in Meta's Events Manager."
    )


# ---------------------------------------------------------------------------------------------- match keys

_PAGE = "Meta, Conversions API: Customer Information Parameters"
_BEST = "Meta, Conversions API: Best Practices"
_CLICK = "Meta, Conversions API: fbp and fbc Parameters"
_ENOUGH = "Enough by itself: an event with it is never refused for too few customer details."
_HELPS = "Helps beside an email address, a phone number or a name. Alone it is refused by Meta as too little."

#: Those first that say most; a key that is not here is shown by the name that the catalogue has.
MATCH_KEYS: Mapping[str, KeyWords] = {
    "em": KeyWords(
        "Email address",
        "Ask for it at the till, in the order form and for the receipt; check the spelling when it is typed.",
        _ENOUGH,
        (_BEST,),
    ),
    "ph": KeyWords(
        "Phone number",
        "Record it with the country code in front, such as +49. A number without it matches nobody.",
        _ENOUGH,
        (_BEST, _PAGE),
    ),
    "external_id": KeyWords(
        "Customer number",
        "Provide your own number of the customer, and the very same one on your website.",
        f"{_ENOUGH} It joins sales in the shop with visits to the website, if both use the same number.",
        (_BEST, "Meta, Conversions API: External ID"),
    ),
    "fn": KeyWords(
        "First name",
        "Provide it in a column of its own, apart from the last name.",
        "Together with the last name enough for Meta; alone it is refused as too little.",
        (_BEST,),
    ),
    "ln": KeyWords(
        "Last name",
        "Provide it in a column of its own, apart from the first name.",
        "Together with the first name enough for Meta; alone it is refused as too little.",
        (_BEST,),
    ),
    "zp": KeyWords("Postal code", "Export it as text, so that leading zeros stay.", _HELPS, (_BEST,)),
    "ct": KeyWords("Town", "Provide it in a column of its own.", _HELPS, (_BEST,)),
    "st": KeyWords("State or region", "In the USA as the code of two letters, such as CA.", _HELPS, (_BEST,)),
    "country": KeyWords(
        "Country",
        "Record it with every sale, even if all customers are from one country; then we can add it for you.",
        f"{_HELPS} Meta asks for it always.",
        (_BEST, _PAGE),
    ),
    "db": KeyWords("Date of birth", "Provide it as year, month, day, such as 1990-02-28.", _HELPS, (_BEST,)),
    "ge": KeyWords("Gender", "Provide it as female or male, where you have it.", _HELPS, (_BEST,)),
    "fbc": KeyWords(
        "Click on the ad",
        "Keep the click id (fbclid) that Meta adds to the address of your website, letter by letter, with the order.",
        "Names the very click that led to the sale. Valid for 90 days.",
        (_CLICK,),
    ),
    "fbp": KeyWords(
        "Browser id",
        "Keep the id of the pixel's cookie (_fbp) with the order.",
        "Names the browser in which your website was visited.",
        (_CLICK,),
    ),
    "lead_id": KeyWords(
        "Lead number of Meta",
        "Keep the number of 15 to 17 digits that Meta gives each lead, as text and unrounded.",
        "The best detail for leads that began in a form of Meta.",
        ("Meta, Conversions API: Conversion Leads Integration",),
    ),
}
