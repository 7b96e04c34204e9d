"""From a POST to its fields: every request form that was seen working (meta-capi.md 1.1).

``data`` may be a JSON array, or text that holds one, and its entries may again be text: the official SDK sends a form
field that holds a list of JSON strings. The token may stand in the query, the body or the ``Authorization`` header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import Request

from offline_capi.sandbox.answers import Refusal
from offline_capi.sandbox.rules import MAX_EVENTS

__all__ = ["Incoming", "bearer_token", "read_incoming"]

MAX_BYTES = 64 * 1024 * 1024  # Meta publishes none; this one only protects the machine that plays Meta


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it was understood. ``fields`` holds everything beside the events, the credentials apart."""

    events: list[Any]
    token: str | None
    proof: str | None
    fields: Mapping[str, Any]
    form: str


def bearer_token(headers: Headers) -> str | None:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


async def read_incoming(request: Request) -> Incoming:
    """Read the whole request; raises the refusal of a body that cannot be understood."""
    form = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    fields = dict(request.query_params) | await _body_fields(request, form)
    token, proof = fields.pop("access_token", None), fields.pop("appsecret_proof", None)
    events = _events(fields.pop("data", None))
    return Incoming(events, _text(token) or bearer_token(request.headers), _text(proof), fields, form)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


async def _body_fields(request: Request, form: str) -> dict[str, Any]:
    if form == "multipart/form-data":
        parts = await request.form(max_part_size=MAX_BYTES)
        return {key: value for key, value in parts.items() if isinstance(value, str)}
    body = await request.body()
    return _json_fields(body) if form == "application/json" else _urlencoded_fields(body)


def _json_fields(body: bytes) -> dict[str, Any]:
    fields = _parse(body)
    if not isinstance(fields, dict):
        raise Refusal("bad_request", "The body must be a JSON object")
    return fields


def _urlencoded_fields(body: bytes) -> dict[str, Any]:
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError as error:
        raise Refusal("bad_request", "The body is not a form in UTF-8") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _parse(text: str | bytes) -> Any:
    """JSON as the standard has it: NaN and Infinity, which Python would take, are refused."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal("bad_request", "The body or the parameter data is not valid JSON") from error


def _events(data: Any) -> list[Any]:
    events = _parse(data) if isinstance(data, str) else data
    if not isinstance(events, list) or not events:
        raise Refusal("bad_request", "The parameter data is required and must be a non-empty array")
    if len(events) > MAX_EVENTS:
        raise Refusal("bad_request", f"The parameter data holds more than {MAX_EVENTS} events")
    return [_parse(event) if isinstance(event, str) else event for event in events]
