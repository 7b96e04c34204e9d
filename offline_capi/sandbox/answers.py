"""What a Graph API answers, as data: the error table, the error object, the success object.

Codes and subcodes come from meta-capi.md section 6; the texts are in our own words, since Meta's are localised and no
client may read them. The shapes were seen live: a stale event has a subcode and ``is_transient``, a broken token has
neither (L).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["ERRORS", "GraphError", "Refusal", "Reply", "accepted", "answered", "refused"]


class GraphError(NamedTuple):
    """One row of the table of errors: how the HTTP answer and its error object look."""

    status: int
    code: int
    subcode: int | None
    title: str
    type: str = "OAuthException"
    is_transient: bool | None = False


_PARAMETER = "Server Side Api Parameter Error"

ERRORS: Mapping[str, GraphError] = {
    # the request (meta-capi.md 6.2)
    "no_token": GraphError(400, 104, None, "An access token is required", is_transient=None),
    "bad_token": GraphError(401, 190, None, "Invalid OAuth access token", is_transient=None),
    "revoked_token": GraphError(401, 190, 460, "The session is no longer valid"),
    "no_proof": GraphError(
        400, 100, None, "API calls require an appsecret_proof argument", "GraphMethodException", None
    ),
    "bad_proof": GraphError(400, 100, None, "Invalid appsecret_proof provided", "GraphMethodException", None),
    "no_object": GraphError(400, 100, 33, "Unsupported post request", "GraphMethodException"),
    "no_permission": GraphError(403, 200, None, "Permissions error"),
    "not_allowed": GraphError(403, 10, None, "Application does not have permission for this action"),
    "no_dataset": GraphError(400, 100, 2044055, "Dataset does not exist"),
    "old_version": GraphError(400, 2635, None, "This version of the API is retired"),
    "unknown_version": GraphError(400, 2500, None, "Unknown path components"),
    "bad_request": GraphError(400, 100, None, "Invalid parameter"),
    # the events (meta-capi.md 6.3)
    "parameter": GraphError(400, 100, 2804019, _PARAMETER),
    "too_old": GraphError(400, 100, 2804003, "Event Timestamp Too Old"),
    "future": GraphError(400, 100, 2804004, "Event Timestamp In The Future"),
    "content_without_id": GraphError(400, 100, 2804008, "Missing Content ID"),
    "no_value": GraphError(400, 100, 2804009, "Missing Value For Purchase Event"),
    "no_currency": GraphError(400, 100, 2804010, "Missing Or Invalid Currency For Purchase Event"),
    "not_hashed": GraphError(400, 100, 2804016, "Customer Parameter Not Hashed"),
    "value_without_currency": GraphError(400, 100, 2804023, "Missing Or Invalid Currency"),
    "lead_id": GraphError(400, 100, 2804036, "Invalid Lead ID"),
    "extinfo": GraphError(400, 100, 2804043, "Invalid Extended Device Information"),
    "too_little_data": GraphError(400, 100, 2804050, "Not Enough Customer Information"),
    "no_channel": GraphError(400, 100, 2804063, "Missing Messaging Channel"),
    "messaging_event": GraphError(400, 100, 2804066, "Event Not Supported For Messaging"),
}


class Refusal(Exception):  # noqa: N818 - not a fault of ours: the answer "no", on its way out
    """The request is answered with a row of the error table."""

    def __init__(self, error: str | GraphError, detail: str = "") -> None:
        self.error = ERRORS[error] if isinstance(error, str) else error
        self.detail = detail
        super().__init__(self.error.title)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP answer before it is put on the wire; ``code`` and ``subcode`` repeat the body, for the record."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=UTF-8"
    code: int | None = None
    subcode: int | None = None
    trace_id: str = ""
    events_received: int | None = None


def _trace_id() -> str:
    return "A" + secrets.token_urlsafe(16)


def _encode(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def accepted(events_received: int, messages: Sequence[str] = (), headers: Mapping[str, str] | None = None) -> Reply:
    """The success object (meta-capi.md 5.3). The official SDK fails where ``messages`` is missing (PY709)."""
    trace_id = _trace_id()
    body = {"events_received": events_received, "messages": list(messages), "fbtrace_id": trace_id}
    return Reply(200, _encode(body), headers or {}, trace_id=trace_id, events_received=events_received)


def answered(body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
    """An object of any other edge."""
    return Reply(200, _encode(body), headers)


def refused(
    error: GraphError, detail: str = "", headers: Mapping[str, str] | None = None, *, error_data: object = None
) -> Reply:
    """The error object (meta-capi.md 6.1); absent parts are left out as Meta leaves them out, not sent as null."""
    trace_id = _trace_id()
    parts = {
        "message": f"(#{error.code}) {detail or error.title}",
        "type": error.type,
        "code": error.code,
        "error_subcode": error.subcode,
        "is_transient": error.is_transient,
        "error_user_title": error.title if error.subcode else None,
        "error_user_msg": (detail or error.title) if error.subcode else None,
        "error_data": error_data,
        "fbtrace_id": trace_id,
    }
    body = {"error": {key: value for key, value in parts.items() if value is not None}}
    return Reply(error.status, _encode(body), headers or {}, code=error.code, subcode=error.subcode, trace_id=trace_id)
