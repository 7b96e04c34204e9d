"""What came back for one POST, read leniently, and what it asks of us."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offline_capi.delivery.table import APPSECRET_PROOF, Action, Entry, entry_for

__all__ = ["Answer", "Verdict", "judge_answer", "read_answer"]

_PATH = re.compile(r"\$\[['\"]?data['\"]?\]\[(\d+)\]|\bdata\[(\d+)\]")
#: HTTP answers without a readable Graph error that pass by themselves (D:support; RS).
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Usage in per cent from which we slow down and from which we pause (meta-capi.md 5.5).
USAGE_PAUSE = 90


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, without anything that could quote the payload.

    ``received`` is ``events_received`` of a success. ``culprit`` is the index of the event that an error names.
    ``wait`` is how many seconds Meta asks to wait, ``usage`` the highest usage in per cent that its headers tell.
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about an answer. ``stored`` is False where nothing can have been stored."""

    accepted: bool
    action: Action | None
    entry: Entry | None
    stored: bool


def read_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """Read an answer: missing keys, HTML, broken JSON and doubly encoded details are all met in the field."""
    data = _json(body)
    error = data.get("error") if isinstance(data.get("error"), dict) else None
    usage, wait = _usage(headers)
    told = _seconds(headers.get("retry-after"))
    waits = [seconds for seconds in (wait, told) if seconds is not None]
    longest = max(waits, default=None)
    if error is None:
        return Answer(
            status, received=_int(data.get("events_received")), trace_id=_trace(data), wait=longest, usage=usage
        )
    texts = " ".join(str(error.get(key, "")) for key in ("message", "error_user_msg"))
    return Answer(
        status,
        code=_int(error.get("code")),
        subcode=_int(error.get("error_subcode")),
        transient=error.get("is_transient") is True,
        proof_fault="appsecret_proof" in texts,
        culprit=_culprit(texts, error.get("error_data")),
        trace_id=_trace(error) or _trace(data),
        wait=longest,
        usage=usage,
    )


def judge_answer(answer: Answer, sent: int) -> Verdict:
    """Accepted, or what to do: codes decide, then the status."""
    if answer.code is not None:
        entry = APPSECRET_PROOF if answer.code == 100 and answer.proof_fault else _entry(answer)
        return Verdict(False, entry.action, entry, stored=entry.action in (Action.RETRY, Action.ISOLATE))
    if 200 <= answer.status < 300 and answer.received == sent:
        return Verdict(True, None, None, stored=True)
    if 200 <= answer.status < 300 and answer.received is not None:
        return Verdict(False, Action.ISOLATE, None, stored=True)
    if answer.status in _PASSING_STATUS or answer.status < 300:
        action = Action.WAIT if answer.status == 429 else Action.RETRY
        return Verdict(False, action, None, stored=answer.status != 429)
    return Verdict(False, Action.STOP, None, stored=False)


def _entry(answer: Answer) -> Entry:
    return entry_for(answer.code or 0, answer.subcode, transient=answer.transient or answer.status >= 500)


# ---------------------------------------------------------------------------------------------- lenient reading


def _json(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _int(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return int(value) if re.fullmatch(r"-?\d{1,18}", str(value)) else None


def _trace(data: Mapping[str, Any]) -> str | None:
    """Meta's support id; kept only where it looks like one, since it is shown in reports."""
    trace = data.get("fbtrace_id")
    return trace if isinstance(trace, str) and re.fullmatch(r"[\w-]{1,60}", trace) else None


def _culprit(texts: str, details: object) -> int | None:
    """The index of the event that the message or ``error_data`` names (NODE258; offline-uploader issue #26)."""
    match = _PATH.search(texts) or _PATH.search(
        json.dumps(details) if isinstance(details, (dict, list)) else str(details)
    )
    return int(match[1] or match[2]) if match else None


def _seconds(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d+(\.\d+)?", text.strip()) else None


def _usage(headers: Mapping[str, str]) -> tuple[float, float | None]:
    """The highest usage in per cent, and the longest announced wait in seconds (MAPI:overview/rate-limiting)."""
    percents, waits = [0.0], []
    for name, text in headers.items():
        if re.search(r"usage|throttle", name, re.IGNORECASE):
            for key, value in _numbers(_json(text.encode())):
                if key in _PERCENTS:
                    percents.append(value)
                if key in _WAITS and value > 0:
                    waits.append(value * _WAITS[key])
    return max(percents), max(waits) if waits else None


_PERCENTS = frozenset({"call_count", "total_time", "total_cputime", "acc_id_util_pct", "app_id_util_pct"})
_WAITS = {"estimated_time_to_regain_access": 60.0, "reset_time_duration": 1.0}  # minutes; seconds


def _numbers(data: object) -> list[tuple[str, float]]:
    """Every number in nested JSON, with its key."""
    if isinstance(data, dict):
        own = [(k, float(v)) for k, v in data.items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
        return own + [pair for value in data.values() for pair in _numbers(value)]
    if isinstance(data, list):
        return [pair for value in data for pair in _numbers(value)]
    return []
