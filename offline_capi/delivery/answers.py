"""What came back for one POST, read leniently, and what it asks of us."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from offline_capi.config.graph_versions import upgrade_notice
from offline_capi.delivery.table import APPSECRET_PROOF, Action, Entry, entry_for

__all__ = ["Answer", "Verdict", "judge_answer", "read_answer"]

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
    ``wait`` is how many seconds Meta asks to wait; ``usage`` and ``app_usage`` are the highest per cent of the client's
    and of the app's allowance that its headers tell. ``readable`` is False where the body is neither JSON nor empty.
    ``notice`` says that Meta took another version of its API than ours.
    """

    status: int
    received: int | None = None
    code: int | None = None
    subcode: int | None = None
    transient: bool = False
    proof_fault: bool = False
    culprit: int | None = None
    trace_id: str | None = None
    wait: float | None = None
    usage: float = 0.0
    app_usage: float = 0.0
    readable: bool = True
    notice: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about an answer. ``stored`` is False where nothing can have been stored."""

    accepted: bool
    action: Action | None
    entry: Entry | None
    stored: bool


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, now: Callable[[], float] = time.time
) -> Answer:
    """Read an answer: missing keys, HTML, broken JSON and doubly encoded details are all met in the field."""
    named = {name.lower(): text for name, text in headers.items()}
    data, readable = _json(body), _is_json(body)
    usage = _usage(named)
    waits = [seconds for seconds in (usage.wait, _retry_after(named, now)) if seconds]
    found = Answer(
        status,
        received=_int(data.get("events_received")),
        trace_id=_trace(data),
        wait=max(waits, default=None),
        usage=usage.client,
        app_usage=usage.app,
        readable=readable,
        notice=upgrade_notice(named),
    )
    error = data.get("error")
    return _with_error(found, error) if isinstance(error, dict) else found


def _with_error(answer: Answer, error: Mapping[str, Any]) -> Answer:
    texts = " ".join(str(error.get(key, "")) for key in ("message", "error_user_msg"))
    return replace(
        answer,
        received=None,
        code=_int(error.get("code")),
        subcode=_int(error.get("error_subcode")),
        transient=error.get("is_transient") is True,
        proof_fault="appsecret_proof" in texts,
        culprit=_culprit(texts, error.get("error_data")),
        trace_id=_trace(error) or answer.trace_id,
    )


def judge_answer(answer: Answer, sent: int) -> Verdict:
    """Accepted, or what to do: codes decide, then the count, then the status."""
    if answer.code is not None:
        entry = APPSECRET_PROOF if answer.code == 100 and answer.proof_fault else _entry(answer)
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


class _Usage(NamedTuple):
    client: float
    app: float
    wait: float


def _usage(headers: Mapping[str, str]) -> _Usage:
    """Per cent used, and the longest wait told, in seconds (MAPI:overview/rate-limiting); names are matched loosely.

    ``X-App-Usage`` speaks of the app's allowance, which all clients share.
    """
    told = {name: _numbers(_json(text.encode())) for name, text in headers.items() if re.search("usage|throttle", name)}
    app = [n for name, numbers in told.items() if "app-usage" in name for key, n in numbers if key in _PERCENTS]
    client = [n for name, numbers in told.items() if "app-usage" not in name for key, n in numbers if key in _PERCENTS]
    waits = [n * _WAITS[key] for numbers in told.values() for key, n in numbers if key in _WAITS]
    return _Usage(max(client, default=0.0), max(app, default=0.0), max(waits, default=0.0))


_PERCENTS = frozenset({"call_count", "total_time", "total_cputime", "acc_id_util_pct", "app_id_util_pct"})
_WAITS = {"estimated_time_to_regain_access": 60.0, "reset_time_duration": 1.0}  # minutes; seconds


def _numbers(data: object, depth: int = 8) -> list[tuple[str, float]]:
    """Every number in nested JSON with its key, as deep as Meta nests them."""
    if not isinstance(data, (dict, list)) or not depth:
        return []
    pairs = list(data.items()) if isinstance(data, dict) else [("", value) for value in data]
    own = [(key, float(value)) for key, value in pairs if _is_number(value)]
    return own + [pair for _, value in pairs for pair in _numbers(value, depth - 1)]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _SANE
