"""Meta's error codes as data: scope, our action, meaning, what the user should do.

From meta-capi.md section 6, whose source keys stand in the last column. Codes decide, not the text of a message (parts
of it are localised) and never the HTTP status alone (throttling arrives as 400 too). The one exception is code 100,
which Meta also gives for faults of access, without a subcode that says so: see ``find_access_fault``.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

__all__ = ["Action", "Entry", "Scope", "explain", "find_access_fault", "find_entry", "parse_code"]


class Scope(StrEnum):
    """What is at fault, or has to wait."""

    EVENT = "event"
    REQUEST = "request"
    TOKEN = "token"  # noqa: S105  what is at fault, no secret
    CLIENT = "client"
    APP = "app"


class Action(StrEnum):
    """What we do about an answer."""

    RETRY = "retry"
    WAIT = "wait"
    ISOLATE = "isolate"
    STOP = "stop"


class Entry(NamedTuple):
    """One row of the table; a subcode of ``None`` stands for any that has no row of its own."""

    code: int
    subcode: int | None
    scope: Scope
    action: Action
    means: str
    do: str
    source: str


_R, _W, _I, _S = Action.RETRY, Action.WAIT, Action.ISOLATE, Action.STOP
_EVENT, _REQUEST, _TOKEN, _CLIENT, _APP = Scope.EVENT, Scope.REQUEST, Scope.TOKEN, Scope.CLIENT, Scope.APP
_RENEW = "renew the client's token (offline-capi clients list shows where it comes from) and run again"
_GRANT = "give the system user the pixel with UPLOAD, or the app the permission, and run again"
_FIX = "fix the row's field; offline-capi rejects shows which rows"
_NOTHING = "nothing: it is retried automatically"

#: Source keys spelled out for users, who do not have our list of them.
_SOURCES = {
    "D:best-practices": "Meta's Conversions API documentation, Best Practices",
    "D:dataset-quality-api": "Meta's Conversions API documentation, Dataset Quality API",
    "MAPI": "Meta's Marketing API documentation, Rate Limiting",
    "MAPI:overview/rate-limiting": "Meta's Marketing API documentation, Rate Limiting",
    "MAPI errors": "Meta's Marketing API documentation, Error Codes",
    "Graph": "Meta's Graph API documentation, Handle Errors",
    "Graph errors": "Meta's Graph API documentation, Handle Errors",
    "Ads Pixel events reference": "Meta's Graph API reference, Ads Pixel, events",
    "RS": "rudderlabs/rudder-transformer",
    "L": "a live answer of Graph v26.0, September 2026",
    "CRM": "a CRM's live answers, August 2026",
    "JAVA421": "facebook/facebook-java-business-sdk#421",
    "NODE258": "facebook/facebook-nodejs-business-sdk#258",
    "third party": "third parties, not Meta's documentation",
}

ERROR_TABLE: tuple[Entry, ...] = (
    Entry(1, None, _REQUEST, _R, "an unknown error at Meta", _NOTHING, "Graph errors; RS"),
    Entry(2, None, _REQUEST, _R, "Meta's service is down", _NOTHING, "Graph errors; RS"),
    Entry(3, None, _CLIENT, _S, "the app lacks a capability", _GRANT, "Graph errors"),
    Entry(4, None, _APP, _W, "the app has reached its rate limit", _NOTHING, "MAPI:overview/rate-limiting"),
    Entry(10, None, _CLIENT, _S, "permission denied", _GRANT, "Graph errors"),
    Entry(17, None, _CLIENT, _W, "the user or account has reached its rate limit", _NOTHING, "MAPI"),
    Entry(32, None, _CLIENT, _W, "the page has reached its rate limit", _NOTHING, "Graph errors"),
    Entry(100, None, _EVENT, _I, "an invalid parameter", _FIX, "Ads Pixel events reference"),
    Entry(100, 33, _CLIENT, _S, "the pixel does not exist, or the token may not use it", _GRANT, "RS; Graph"),
    Entry(100, 34, _REQUEST, _S, "a parameter of another endpoint", "report this to us", "third party"),
    Entry(100, 38, _REQUEST, _S, "a parameter of another endpoint", "report this to us", "third party"),
    Entry(100, 2044055, _CLIENT, _S, "the dataset does not exist", "look at pixel_id", "D:dataset-quality-api"),
    Entry(100, 2804003, _EVENT, _I, "the event is too old", "run more often", "L; CRM; RS"),
    Entry(100, 2804004, _EVENT, _I, "the event lies in the future", "look at the source's time zone", "third party"),
    Entry(100, 2804008, _EVENT, _I, "an entry of contents has no id", _FIX, "third party"),
    Entry(100, 2804009, _EVENT, _I, "a Purchase without value", _FIX, "third party"),
    Entry(100, 2804010, _EVENT, _I, "a Purchase without currency", _FIX, "third party"),
    Entry(100, 2804016, _EVENT, _I, "customer data that is not hashed", "report this to us", "JAVA421"),
    Entry(100, 2804019, _EVENT, _I, "a missing, unknown or wrongly typed field", _FIX, "NODE258"),
    Entry(100, 2804023, _EVENT, _I, "a value without currency", _FIX, "third party"),
    Entry(100, 2804036, _EVENT, _I, "an invalid lead_id", _FIX, "third party"),
    Entry(100, 2804043, _EVENT, _I, "app data with a bad extinfo", _FIX, "third party"),
    Entry(100, 2804050, _EVENT, _I, "too little customer information", _FIX, "D:best-practices"),
    Entry(
        100,
        2804001,
        _EVENT,
        _I,
        "a click id in the wrong shape",
        "fix the row's fbc (fb.1.<milliseconds>.<fbclid>, its case kept); offline-capi rejects shows which rows",
        "Adsmurai facebook-conversions-api-client#6",
    ),
    *(
        Entry(100, subcode, _EVENT, _I, "an invalid parameter; which one is not documented", _FIX, "RS; third party")
        for subcode in (2804007, 2804014, 2804017, 2804048)
    ),
    Entry(100, 2804030, _EVENT, _I, "a choice about limited data use is missing", _FIX, "offline-uploader issue #26"),
    Entry(100, 2804063, _EVENT, _I, "a message without its channel", _FIX, "third party"),
    Entry(100, 2804066, _EVENT, _I, "an event name that messaging does not know", _FIX, "third party"),
    Entry(100, 2804069, _EVENT, _I, "a message without page_id or WhatsApp account", _FIX, "third party"),
    Entry(100, 2804079, _EVENT, _I, "a message without ig_account_id", _FIX, "third party"),
    Entry(100, 2804087, _EVENT, _I, "an invalid ctwa_clid", _FIX, "third party"),
    *(
        Entry(100, subcode, _EVENT, _I, "a missing page or WhatsApp account, or another dataset's", _FIX, "third party")
        for subcode in (2804116, 2804117, 2804118, 2804132)
    ),
    Entry(102, None, _TOKEN, _S, "the session has ended", _RENEW, "Graph errors"),
    Entry(
        104, None, _CLIENT, _S, "the request carried no token", "look at the client's token reference", "third party"
    ),
    Entry(105, None, _REQUEST, _S, "too many parameters", "report this to us", "RS"),
    Entry(190, None, _TOKEN, _S, "the token is invalid", _RENEW, "Ads Pixel events reference"),
    Entry(190, 458, _TOKEN, _S, "the client removed the app", "let the client authorise again", "Graph errors"),
    Entry(190, 459, _TOKEN, _S, "the user has to log in at Facebook first", "ask the user to log in", "Graph errors"),
    Entry(190, 460, _TOKEN, _S, "the password was changed", "let the client authorise again", "Graph errors; RS"),
    Entry(190, 463, _TOKEN, _S, "the token has expired", _RENEW, "Graph errors"),
    Entry(190, 464, _TOKEN, _S, "the user is not confirmed", "ask the user to confirm", "Graph errors"),
    Entry(190, 467, _TOKEN, _S, "the token was logged out", _RENEW, "Graph errors"),
    Entry(190, 490, _TOKEN, _S, "the user has to pass a check at Facebook", "ask the user to log in", "Graph errors"),
    Entry(190, 492, _TOKEN, _S, "the session has no role for the page", _RENEW, "Graph errors"),
    Entry(200, None, _CLIENT, _S, "a permission is missing", _GRANT, "Ads Pixel events reference; Graph errors"),
    Entry(294, None, _CLIENT, _S, "ads_management is missing", _GRANT, "MAPI errors"),
    Entry(341, None, _APP, _W, "the app has reached a temporary limit", _NOTHING, "Graph errors"),
    Entry(
        368, None, _CLIENT, _S, "blocked for a breach of policy", "look at the account's notices", "Graph errors; RS"
    ),
    Entry(506, None, _REQUEST, _S, "a duplicate post", "report this to us", "Graph errors"),
    Entry(613, None, _CLIENT, _W, "calls exceed the account's rate", _NOTHING, "MAPI"),
    Entry(803, None, _CLIENT, _S, "the pixel id is unknown", "look at pixel_id in clients.yml", "Graph errors"),
    Entry(2500, None, _CLIENT, _S, "the query is malformed, often for lack of a token", _RENEW, "Graph errors"),
    Entry(2635, None, _APP, _S, "the Graph version is retired", "raise graph_version in clients.yml", "third party"),
    Entry(2859015, None, _CLIENT, _W, "temporarily blocked", _NOTHING, "third party"),
    Entry(5000, None, _REQUEST, _R, "an unknown error at Meta", _NOTHING, "RS"),
    Entry(21009, None, _REQUEST, _R, "an unknown error at Meta", _NOTHING, "RS"),
    Entry(2044055, None, _CLIENT, _S, "the dataset does not exist", "look at pixel_id", "D:dataset-quality-api"),
    *(
        Entry(code, None, _CLIENT, _W, "the account has reached its business-use-case limit", _NOTHING, "MAPI")
        for code in (80000, 80001, 80002, 80003, 80004, 80014)
    ),
)

#: What an unknown code means: a fault of the request that isolation may pin on an event (meta-capi.md 6.3, last line).
_UNKNOWN = Entry(
    0, None, _EVENT, _I, "a code we do not know", "look the code up in Meta's documentation", "not in our table"
)
_NEGATIVE = Entry(-1, None, _REQUEST, _R, "an internal error at Meta", _NOTHING, "third party")
_TRANSIENT = Entry(0, None, _REQUEST, _R, "an error that Meta calls transient", _NOTHING, "Graph errors")
_BY_CODE = {(entry.code, entry.subcode): entry for entry in ERROR_TABLE}

_PROOF = Entry(
    100,
    None,
    _CLIENT,
    _S,
    "appsecret_proof is missing or wrong",
    "give the client's app_secret in clients.yml and run again",
    "several code bases",
)
_NO_ACCESS = Entry(
    100,
    None,
    _CLIENT,
    _S,
    "a permission is missing, or there is no such pixel for this token",
    _GRANT,
    "facebook-java-business-sdk#357; php-graph-sdk#1233",
)

#: Subcodes that need no row of their own, and the code under which they come (meta-capi.md 6.2).
_SUBCODES = {
    **dict.fromkeys((1504022, 1504039), 4),
    **dict.fromkeys((2446079, 1885172), 17),
    **dict.fromkeys((1487742, 5044001), 613),
    99: 1,
    1404078: 368,
    1815356: 100,
}

#: Wording of Meta's ``message`` (English whatever the locale) about access or a missing object.
_ACCESS_WORDING = re.compile(
    r"permission|privilege|\baccess(?:ing|_token)?\b|authori[sz]|\bnot allowed\b|\bforbidden\b|reviewable feature"
    r"|(?:does|do|did) ?(?:not|n.t) exist|non-?exist|(?:cannot|can ?not|can.t|could not) be (?:loaded|found|accessed)"
    r"|\bnot found\b|\bno such\b|\bunsupported (?:get|post|delete)? ?request|\bunknown (?:object|pixel|dataset|alias)"
    r"|\binvalid (?:object|pixel|dataset)",
    re.IGNORECASE,
)
#: A text that names a part of an event is about that event, whatever else it says.
_EVENT_WORDING = re.compile(r"\b(?:user_data|custom_data|app_data|event_\w+|action_source)\b|\bdata\[", re.IGNORECASE)
#: Subcodes of events; an unknown one of them is an event's fault as well (meta-capi.md 6.3).
_EVENT_SUBCODES = range(2804000, 2805000)


def find_access_fault(code: int | None, subcode: int | None, text: str) -> Entry | None:
    """The access problem that ``text`` names where code 100 has no subcode of its own; ``None`` where it names none.

    These look like an invalid event and are not: splitting the request would reject every event of the client.
    """
    if code != 100 or subcode in _EVENT_SUBCODES or (subcode and (code, subcode) in _BY_CODE):
        return None
    if "appsecret_proof" in text:
        return _PROOF
    return _NO_ACCESS if _ACCESS_WORDING.search(text) and not _EVENT_WORDING.search(text) else None


def find_entry(code: int, subcode: int | None, *, transient: bool = False) -> Entry:
    """The row of a code; ``transient`` makes an unknown code one to retry, and never overrides a known one."""
    found = _BY_CODE.get((code, subcode)) or _BY_CODE.get((code, None))
    if found is None and 200 <= code <= 299:
        found = _BY_CODE[200, None]
    if found is None and 80000 <= code <= 80099:
        found = _BY_CODE[80004, None]  # the family grows: 80005 and others are throttles too
    if found is None and code < 0:
        found = _NEGATIVE
    return found or (_TRANSIENT if transient else _UNKNOWN)._replace(code=code, subcode=subcode)


def explain(code: int, subcode: int | None = None, text: str = "") -> Entry:
    """The row for a code, with its source spelled out; ``text`` is the error's own, where there is one."""
    found = find_access_fault(code, subcode, text) or find_entry(code, subcode)
    source = "; ".join(_SOURCES.get(one, one) for one in found.source.split("; "))
    return found._replace(code=code, subcode=subcode, source=source)


def parse_code(text: str) -> tuple[int, int | None] | None:
    """A code in any spelling that a report, a log or Meta's answer has; ``None`` where it is none.

    ``100/2804003``, ``100 2804003``, ``code 100/2804003``, ``#100``, and a subcode alone where only one code has it.
    """
    match = re.fullmatch(
        r"\(?(?:meta answered |code[ :=]*|(?:error_)?subcode[ :=]*)?\(?#?(-?\d{1,18})\)?"
        r"(?:[\s/,:.\-]+(?:\(?(?:error_)?subcode[ :=]*)?#?(\d{1,18})\)?)?\)?",
        text.strip(),
        re.IGNORECASE,
    )
    if match is None:
        return None
    code, subcode = int(match[1]), int(match[2]) if match[2] else None
    if subcode is None and (code, None) not in _BY_CODE:
        whose = next(
            (entry.code for entry in ERROR_TABLE if entry.subcode == code), 100 if code in _EVENT_SUBCODES else None
        )
        whose = whose or _SUBCODES.get(code)
        return (code, None) if whose is None else (whose, code)
    return code, subcode or None
