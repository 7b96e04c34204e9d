"""What came back for one POST, read leniently, and what it asks of us."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from offline_capi.meta.graph.error_table import Action, Entry, access_fault, entry_for
from offline_capi.meta.graph.messages import readable_messages
from offline_capi.meta.versions import upgrade_notice

__all__ = ["Answer", "Verdict", "date_of", "judge_answer", "read_answer"]

#: How an answer names the event at fault, backslashes left out: a JSON path (NODE258), a field of a form, a path in
#: steps as ``blame_field_specs`` has them (meta-capi.md 6.1), or its number (offline-uploader issue #26).
_QUOTE = r"(?:['\"]|u0027|u0022)?"
_CULPRIT = re.compile(
    rf"\$\[{_QUOTE}data{_QUOTE}\]\[(\d+)\]|\bdata\[(\d+)\]"
    rf"|\bdata\", ?{_QUOTE}(\d+)\b|\bevent_index{_QUOTE}: ?{_QUOTE}(\d+)"
)
#: Statuses without a Graph error that ask for something of their own; 413 is a proxy's word, and a half may pass it.
_BY_STATUS = {408: Action.RETRY, 413: Action.ISOLATE, 425: Action.RETRY, 429: Action.WAIT}
#: Numbers in headers beyond this are no percentages and no seconds.
_SANE = 1e9


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, without anything that could quote the payload.

    ``received`` is ``events_received`` of a success. ``culprit`` is the index of the event that an error names.
    ``access_fault`` is the fault of access that its text names where its code does not. ``wait`` is how many seconds
    Meta asks to wait; ``usage`` and ``app_usage`` are the highest per cent of the client's and of the app's allowance
    in its headers. ``readable`` is False where the body is neither JSON nor empty. ``notices`` are for the report: that
    Meta took another version of its API than ours, and the ``messages`` of a success, without any value of a row.
    ``date`` is Meta's clock when it answered, in Unix seconds.
    """

    status: int
    received: int | None = None
    code: int | None = None
    subcode: int | None = None
    transient: bool = False
    access_fault: Entry | None = None
    culprit: int | None = None
    trace_id: str | None = None
    wait: float | None = None
    usage: float = 0.0
    app_usage: float = 0.0
    readable: bool = True
    notices: tuple[str, ...] = ()
    date: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about an answer. ``stored`` is False where nothing can have been stored."""

    accepted: bool
    action: Action | None
    entry: Entry | None
    stored: bool


def read_answer(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: Callable[[], float] = time.time,
    sent: Sequence[bytes | memoryview] = (),
) -> Answer:
    """Read an answer: missing keys, HTML, broken JSON and doubly encoded details are all met in the field.

    ``sent`` is the body of the request, so that no text of the answer can repeat a value of it.
    """
    named = {name.lower(): text for name, text in headers.items()}
    data, readable = _json(body), _is_json(body)
    error = data.get("error")
    found = Answer(
        status,
        received=_int(data.get("events_received")),
        trace_id=_trace(data),
        readable=readable,
        notices=tuple(filter(None, (upgrade_notice(named), *readable_messages(data.get("messages"), sent)))),
        date=date_of(named),
    )
    found = _with_error(found, error) if isinstance(error, dict) else found
    usage = _usage(named, throttled=_is_throttle(found))
    waits = [seconds for seconds in (usage.wait, _retry_after(named, now)) if seconds]
    return replace(found, wait=max(waits, default=None), usage=usage.client, app_usage=usage.app)


def _with_error(answer: Answer, error: Mapping[str, Any]) -> Answer:
    texts = " ".join(str(error.get(key, "")) for key in ("message", "error_user_title", "error_user_msg"))
    code, subcode = _int(error.get("code")), _int(error.get("error_subcode")) or None  # 0 is Meta's way to say none
    culprit = _culprit(texts, error.get("error_data"))
    return replace(
        answer,
        received=None,
        code=code,
        subcode=subcode,
        transient=error.get("is_transient") is True,
        access_fault=access_fault(code, subcode, texts) if culprit is None else None,
        culprit=culprit,
        trace_id=_trace(error) or answer.trace_id,
    )


def judge_answer(answer: Answer, sent: int) -> Verdict:
    """Accepted, or what to do: codes decide, then the count, then the status."""
    if answer.code is not None:
        entry = answer.access_fault or _entry(answer)
        return Verdict(False, entry.action, entry, stored=entry.action in (Action.RETRY, Action.ISOLATE))
    if 200 <= answer.status < 300 and answer.received is not None:
        accepted = answer.received >= sent
        return Verdict(accepted, None if accepted else Action.ISOLATE, None, stored=True)
    action = _action_of_status(answer)
    return Verdict(False, action, None, stored=action is Action.RETRY)


def _action_of_status(answer: Answer) -> Action:
    """Where Meta's own words are missing, it was not Meta that spoke: that passes, unless we were sent elsewhere."""
    own = _BY_STATUS.get(answer.status)
    if own is not None:
        return own
    elsewhere = 300 <= answer.status < 400
    passes = answer.status < 300 or answer.status >= 500 or not answer.readable
    return Action.RETRY if passes and not elsewhere else Action.STOP


def _entry(answer: Answer) -> Entry:
    return entry_for(answer.code or 0, answer.subcode, transient=answer.transient or answer.status >= 500)


def _is_throttle(answer: Answer) -> bool:
    return answer.status == 429 or (answer.code is not None and _entry(answer).action is Action.WAIT)


# ---------------------------------------------------------------------------------------------- lenient reading


def _json(body: bytes) -> dict[str, Any]:
    data = _parsed(body)
    return data if isinstance(data, dict) else {}


def _is_json(body: bytes) -> bool:
    return not body.strip() or _parsed(body) is not None


def _parsed(body: bytes) -> Any:
    """Parsed JSON; ``None`` where it is none, or nested so deeply that it cannot be an answer."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _int(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return int(value) if re.fullmatch(r"-?\d{1,18}", str(value)) else None


def _trace(data: Mapping[str, Any]) -> str | None:
    """Meta's support id; kept only where it looks like one, since it is shown in reports."""
    trace = data.get("fbtrace_id")
    return trace if isinstance(trace, str) and re.fullmatch(r"[\w-]{1,60}", trace) else None


def _culprit(texts: str, details: object) -> int | None:
    """The index of the event that the message or ``error_data`` names.

    Details come as an object, as a string of JSON, or encoded twice: without the backslashes they all read alike.
    """
    told = details if isinstance(details, str) else json.dumps(details)
    match = _CULPRIT.search(texts.replace("\\", "")) or _CULPRIT.search(told.replace("\\", ""))
    return int(match[match.lastindex or 0]) if match else None


def _retry_after(headers: Mapping[str, str], now: Callable[[], float]) -> float | None:
    """Seconds, or a date: that one is counted from the answer's own date, whose clock need not be ours (RFC 9110)."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    until, told_at = _http_date(text), _http_date(headers.get("date", ""))
    return max(0.0, until - (now() if told_at is None else told_at)) if until is not None else None


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def date_of(headers: Mapping[str, str]) -> float | None:
    """When Meta answered, by its own clock; a cache adds how long it has kept the answer (RFC 9111, 5.1)."""
    date, age = _http_date(headers.get("date", "")), headers.get("age", "0").strip()
    return date if date is None or not re.fullmatch(r"\d{1,9}", age) else date + int(age)


REGAIN, RESET = "estimated_time_to_regain_access", "reset_time_duration"
#: Per cent used of an allowance from which the time told beside it is waited for. The reset time comes with every
#: answer and only says when counting begins anew: it matters where P8 pauses. The other is told to who is deferred up.
WAIT_FROM_PERCENT = {REGAIN: 75, RESET: 90}  # MAPI:overview/rate-limiting
_SECONDS = {REGAIN: 60.0, RESET: 1.0}  # told in minutes; in seconds
_PERCENTS = frozenset({"call_count", "total_time", "total_cputime", "acc_id_util_pct", "app_id_util_pct"})


class _Usage(NamedTuple):
    client: float
    app: float
    wait: float


def _usage(headers: Mapping[str, str], *, throttled: bool) -> _Usage:
    """Per cent used, and the longest wait in seconds (MAPI:overview/rate-limiting); names are matched loosely.

    ``X-App-Usage`` speaks of the app's allowance, which all clients share. A wait counts by the use that stands beside
    it, except with a throttle (``throttled``) that no allowance explains: then the time to regain access is believed.
    """
    found = {
        name: _allowances(_json(text.encode())) for name, text in headers.items() if re.search("usage|throttle", name)
    }
    app = [_percent(one) for name, some in found.items() if "app-usage" in name for one in some]
    client = [_percent(one) for name, some in found.items() if "app-usage" not in name for one in some]
    allowances = [one for some in found.values() for one in some]
    waits = [_wait(one, throttled=throttled) for one in allowances]
    if throttled and not any(waits):
        waits = [one.get(REGAIN, 0.0) * _SECONDS[REGAIN] for one in allowances]
    return _Usage(max(client, default=0.0), max(app, default=0.0), max(waits, default=0.0))


def _allowances(data: object, depth: int = 8) -> list[dict[str, float]]:
    """The numbers of each object in nested JSON, as deep as Meta nests them."""
    if not isinstance(data, (dict, list)) or not depth:
        return []
    pairs = list(data.items()) if isinstance(data, dict) else [("", value) for value in data]
    own = {key: float(value) for key, value in pairs if _is_number(value)}
    return ([own] if own else []) + [one for _, value in pairs for one in _allowances(value, depth - 1)]


def _percent(allowance: Mapping[str, float]) -> float:
    return max((number for key, number in allowance.items() if key in _PERCENTS), default=0.0)


def _wait(allowance: Mapping[str, float], *, throttled: bool) -> float:
    """Seconds. Where no use stands beside them, the time to regain access is one, and a reset time with a throttle."""
    if not _PERCENTS.isdisjoint(allowance):
        waits = [key for key, least in WAIT_FROM_PERCENT.items() if _percent(allowance) >= least]
    else:
        waits = [REGAIN, RESET] if throttled else [REGAIN]
    return max(allowance.get(key, 0.0) * _SECONDS[key] for key in waits) if waits else 0.0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _SANE
