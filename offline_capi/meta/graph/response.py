"""A response of the Graph API, parsed leniently, and its classification. The only parser of Meta's responses."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from offline_capi.meta.graph.error_table import Action, Entry, find_access_fault, find_entry
from offline_capi.meta.graph.messages import mask_messages
from offline_capi.meta.versions import upgrade_notice

__all__ = ["Classification", "Response", "classify_response", "parse_date", "parse_response"]

#: How a response names the event at fault, backslashes left out: a JSON path (NODE258), a field of a form, a path in
#: steps as ``blame_field_specs`` has them (meta-capi.md 6.1), or its number (offline-uploader issue #26).
_QUOTE = r"(?:['\"]|u0027|u0022)?"
_CULPRIT = re.compile(
    rf"\$\[{_QUOTE}data{_QUOTE}\]\[(\d+)\]|\bdata\[(\d+)\]"
    rf"|\bdata\", ?{_QUOTE}(\d+)\b|\bevent_index{_QUOTE}: ?{_QUOTE}(\d+)"
)
#: Statuses without a Graph error that call for an action of their own; 413 comes from a proxy that half may pass.
_BY_STATUS = {408: Action.RETRY, 413: Action.ISOLATE, 425: Action.RETRY, 429: Action.WAIT}
#: Larger numbers in headers are neither percentages nor seconds.
_MAX_HEADER_NUMBER = 1e9


@dataclass(frozen=True, slots=True)
class Response:
    """One response. Nothing that is printed of it can quote the request.

    ``events_received`` is Meta's count in a success. ``culprit`` is the index of the event that an error names.
    ``access_fault`` is the access problem that the error's text names where its code does not. ``wait_s`` is how long
    Meta asks to wait; ``client_usage`` and ``app_usage`` are the highest percentages of the client's and the app's
    rate limit in the headers. ``readable`` is False where the body is neither JSON nor empty. ``notices`` are for the
    report: another version than ours was served, and the ``messages`` of a success without any value of a row.
    ``date`` is Meta's clock in Unix seconds.

    ``data`` is the parsed body, empty for responses to events. It may hold a token that Meta made for us: never shown.
    ``version`` is the version that served the call, ``upgraded`` whether Meta says that it is another than ours;
    ``tier`` is the access tier.
    """

    status: int
    events_received: int | None = None
    code: int | None = None
    subcode: int | None = None
    transient: bool = False
    access_fault: Entry | None = None
    culprit: int | None = None
    trace_id: str | None = None
    wait_s: float | None = None
    client_usage: float = 0.0
    app_usage: float = 0.0
    readable: bool = True
    notices: tuple[str, ...] = ()
    date: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    version: str | None = None
    upgraded: bool = False
    tier: str | None = None

    @property
    def ok(self) -> bool:
        """A success with a body; only for responses that keep their ``data``."""
        return 200 <= self.status < 300 and self.code is None and bool(self.data)

    @property
    def error_text(self) -> str:
        """Meta's text of an error: to be matched, and never shown."""
        return _join_error_text(_as_object(self.data.get("error")))

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """The entries of a response that is a list."""
        entries = self.data.get("data")
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    @property
    def after(self) -> str | None:
        """The cursor of the next page of a list; its own ``next`` is a URL that holds the token, and never followed."""
        paging = _as_object(self.data.get("paging"))
        after = _as_object(paging.get("cursors")).get("after")
        return after if "next" in paging and isinstance(after, str) else None


@dataclass(frozen=True, slots=True)
class Classification:
    """What a response means: accepted, or what to do. ``maybe_stored`` is False where nothing can have been stored."""

    accepted: bool
    action: Action | None
    entry: Entry | None
    maybe_stored: bool


def parse_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: Callable[[], float] = time.time,
    sent: Sequence[bytes | memoryview] = (),
    keep_data: bool = False,
) -> Response:
    """Parse a response. Missing keys, HTML, broken JSON and doubly encoded details have all been seen in the field.

    ``sent`` is the body of the request, so that no text of the response can repeat a value of it. ``keep_data`` is for
    calls whose response is wanted, and not for those that sent events.
    """
    named = {name.lower(): text for name, text in headers.items()}
    parsed = _parse_json(body)
    data = _as_object(parsed)
    upgrade = upgrade_notice(named)
    response = Response(
        status,
        events_received=_parse_int(data.get("events_received")),
        trace_id=_parse_trace(data),
        readable=parsed is not None or not body.strip(),
        notices=tuple(filter(None, (upgrade, *mask_messages(data.get("messages"), sent)))),
        date=parse_date(named),
        data=data if keep_data else {},
        version=_parse_version(named),
        upgraded=upgrade is not None,
    )
    error = data.get("error")
    response = _add_error(response, error) if isinstance(error, dict) else response
    usage = _parse_usage(named, throttled=_is_throttle(response))
    waits = [seconds for seconds in (usage.wait_s, _parse_retry_after(named, now)) if seconds]
    return replace(
        response,
        wait_s=max(waits, default=None),
        client_usage=usage.client,
        app_usage=usage.app,
        tier=_parse_tier(named),
    )


def _add_error(response: Response, error: Mapping[str, Any]) -> Response:
    texts = _join_error_text(error)
    code, subcode = (
        _parse_int(error.get("code")),
        _parse_int(error.get("error_subcode")) or None,
    )  # 0 is Meta's way to say none
    culprit = _find_culprit(texts, error.get("error_data"))
    return replace(
        response,
        events_received=None,
        code=code,
        subcode=subcode,
        transient=error.get("is_transient") is True,
        access_fault=find_access_fault(code, subcode, texts) if culprit is None else None,
        culprit=culprit,
        trace_id=_parse_trace(error) or response.trace_id,
    )


def classify_response(response: Response, events_sent: int) -> Classification:
    """Accepted, or what to do: the code decides, then the count of events, then the status."""
    if response.code is not None:
        entry = response.access_fault or _find_entry(response)
        return Classification(False, entry.action, entry, entry.action in (Action.RETRY, Action.ISOLATE))
    if 200 <= response.status < 300 and response.events_received is not None:
        accepted = response.events_received >= events_sent
        return Classification(accepted, None if accepted else Action.ISOLATE, None, maybe_stored=True)
    action = _classify_status(response)
    return Classification(False, action, None, maybe_stored=action is Action.RETRY)


def _classify_status(response: Response) -> Action:
    """Without a Graph error it was not Meta that answered: transient, but for redirects and refusals in JSON."""
    own = _BY_STATUS.get(response.status)
    if own is not None:
        return own
    final = 300 <= response.status < (500 if response.readable else 400)
    return Action.STOP if final else Action.RETRY


def _find_entry(response: Response) -> Entry:
    return find_entry(response.code or 0, response.subcode, transient=response.transient or response.status >= 500)


def _is_throttle(response: Response) -> bool:
    return response.status == 429 or (response.code is not None and _find_entry(response).action is Action.WAIT)


# ---------------------------------------------------------------------------------------------- lenient reading


def _parse_json(body: bytes | str) -> Any:
    """Parsed JSON; ``None`` where it is none, or nested so deeply that it cannot be a response."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _as_object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _join_error_text(error: Mapping[str, Any]) -> str:
    return " ".join(str(error.get(key, "")) for key in ("message", "error_user_title", "error_user_msg"))


def _parse_int(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return int(value) if re.fullmatch(r"-?\d{1,18}", str(value)) else None


def _parse_trace(data: Mapping[str, Any]) -> str | None:
    """Meta's support id; kept only where it looks like one, since it is shown in reports."""
    trace = data.get("fbtrace_id")
    return trace if isinstance(trace, str) and re.fullmatch(r"[\w-]{1,60}", trace) else None


def _find_culprit(texts: str, details: object) -> int | None:
    """The index of the event that the message or ``error_data`` names.

    Details come as an object, as a string of JSON, or encoded twice: without the backslashes they all read alike.
    """
    detail_text = details if isinstance(details, str) else json.dumps(details)
    match = _CULPRIT.search(texts.replace("\\", "")) or _CULPRIT.search(detail_text.replace("\\", ""))
    return int(match[match.lastindex or 0]) if match else None


def _parse_retry_after(headers: Mapping[str, str], now: Callable[[], float]) -> float | None:
    """Seconds from now. A date is counted from the response's own date, whose clock need not be ours (RFC 9110)."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    until, answered_at = _parse_http_date(text), _parse_http_date(headers.get("date", ""))
    return max(0.0, until - (now() if answered_at is None else answered_at)) if until is not None else None


def _parse_http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def parse_date(headers: Mapping[str, str]) -> float | None:
    """Meta's clock when it answered, in Unix seconds; a cache adds the age of its copy (RFC 9111, 5.1)."""
    date, age = _parse_http_date(headers.get("date", "")), headers.get("age", "0").strip()
    return date if date is None or not re.fullmatch(r"\d{1,9}", age) else date + int(age)


REGAIN, RESET = "estimated_time_to_regain_access", "reset_time_duration"
#: Percentage of a rate limit from which the time that comes with it is waited for. The reset time comes with every
#: response and only says when counting begins anew: it matters where P8 pauses. The other comes with a throttle.
WAIT_FROM_PERCENT = {REGAIN: 75, RESET: 90}  # MAPI:overview/rate-limiting
_SECONDS_PER_UNIT = {REGAIN: 60.0, RESET: 1.0}  # Meta gives minutes; seconds
_PERCENTS = frozenset({"call_count", "total_time", "total_cputime", "acc_id_util_pct", "app_id_util_pct"})


class _Usage(NamedTuple):
    client: float
    app: float
    wait_s: float


def _parse_usage(headers: Mapping[str, str], *, throttled: bool) -> _Usage:
    """Percentages used and the longest wait (MAPI:overview/rate-limiting); header names are matched loosely.

    ``X-App-Usage`` is about the app's limit, which all clients share. A wait counts by the usage in the same object,
    except with a throttle (``throttled``) that no usage explains: then the time to regain access is believed.
    """
    found = {
        name: _find_allowances(_parse_json(text)) for name, text in headers.items() if re.search("usage|throttle", name)
    }
    app = [_find_max_percent(one) for name, some in found.items() if "app-usage" in name for one in some]
    client = [_find_max_percent(one) for name, some in found.items() if "app-usage" not in name for one in some]
    allowances = [one for some in found.values() for one in some]
    waits = [_wait_s(one, throttled=throttled) for one in allowances]
    if throttled and not any(waits):
        waits = [one.get(REGAIN, 0.0) * _SECONDS_PER_UNIT[REGAIN] for one in allowances]
    return _Usage(max(client, default=0.0), max(app, default=0.0), max(waits, default=0.0))


def _find_allowances(data: object, depth: int = 8) -> list[dict[str, float]]:
    """The numbers of each object in nested JSON, down to ``depth``."""
    if not isinstance(data, (dict, list)) or not depth:
        return []
    pairs = list(data.items()) if isinstance(data, dict) else [("", value) for value in data]
    own = {key: float(value) for key, value in pairs if _is_number(value)}
    return ([own] if own else []) + [one for _, value in pairs for one in _find_allowances(value, depth - 1)]


def _find_max_percent(allowance: Mapping[str, float]) -> float:
    return max((number for key, number in allowance.items() if key in _PERCENTS), default=0.0)


def _wait_s(allowance: Mapping[str, float], *, throttled: bool) -> float:
    """Seconds. Without a usage in the object, the time to regain access counts; with a throttle the reset time too."""
    if not _PERCENTS.isdisjoint(allowance):
        waits = [key for key, least in WAIT_FROM_PERCENT.items() if _find_max_percent(allowance) >= least]
    else:
        waits = [REGAIN, RESET] if throttled else [REGAIN]
    return max(allowance.get(key, 0.0) * _SECONDS_PER_UNIT[key] for key in waits) if waits else 0.0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MAX_HEADER_NUMBER


def _parse_tier(headers: Mapping[str, str]) -> str | None:
    """The access tier, which usage headers hold (MAPI:overview/rate-limiting)."""
    usage = " ".join(text for name, text in headers.items() if "usage" in name)
    found = re.search(r'"ads_api_access_tier"\s*:\s*"(\w{1,40})"', usage)
    return found[1] if found else None


def _parse_version(headers: Mapping[str, str]) -> str | None:
    """The version that served the call: not in Meta's pages, but in every response that third parties logged (B)."""
    version = headers.get("facebook-api-version", "")
    return version if re.fullmatch(r"v\d{1,3}\.\d", version) else None
