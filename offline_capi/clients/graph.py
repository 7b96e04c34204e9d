"""Calls of the Graph API about access: who may send where. Events of a run go another way, see ``delivery``.

Every call is a POST whose fields stand in the body; what Meta calls a GET or a DELETE says so in the field ``method``,
as Graph allows for clients that know POST only. A token to be inspected or revoked is thus never part of a URL, which
httpx logs at INFO and proxies log too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from types import TracebackType
from typing import Any, Literal

import httpx

from offline_capi.config import Secret
from offline_capi.config.secret import appsecret_proof, fingerprint, sendable
from offline_capi.errors import TemporaryError

__all__ = ["Credentials", "Graph", "GraphAnswer"]

CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, and the secret of its app where that is ours: then every call carries the proof."""

    token: Secret
    app_secret: Secret | None = None

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.token)

    def header(self) -> str:
        """For ``Authorization``."""
        return f"Bearer {sendable(self.token).reveal()}"

    def proof(self) -> dict[str, str]:
        """The field that goes beside the token where the app secret is ours."""
        return {"appsecret_proof": appsecret_proof(self.token, self.app_secret)} if self.app_secret else {}


@dataclass(frozen=True, slots=True)
class GraphAnswer:
    """One answer. ``data`` may hold a token that Meta made for us: it is never shown."""

    status: int
    data: Mapping[str, Any] = field(repr=False)
    code: int | None = None
    subcode: int | None = None
    proof_fault: bool = False
    trace_id: str | None = None
    tier: str | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300 and self.code is None and bool(self.data)

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """The entries of an answer that is a list."""
        entries = self.data.get("data")
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


class Graph:
    """Calls to ``{graph_url}/{version}/…`` over kept-alive connections; safe to share between threads."""

    def __init__(self, graph_url: str, version: str, *, timeout: float = 30.0, connections: int = 8) -> None:
        self._base = f"{graph_url.rstrip('/')}/{version}"
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"User-Agent": f"offline_capi/{installed_version('offline-capi')}"},
            follow_redirects=False,
        )

    def __enter__(self) -> Graph:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._http.close()

    def call(
        self,
        path: str,
        who: Credentials | None,
        *,
        method: Literal["get", "post", "delete"] = "get",
        **fields: Any,
    ) -> GraphAnswer:
        """Ask or tell Meta something. Raises ``TemporaryError`` where no answer came."""
        request = self._request(path, who, {**fields, "method": None if method == "post" else method})
        try:
            answer = self._http.send(request)
        except httpx.RequestError as error:
            raise TemporaryError(f"no answer from {self._base} ({type(error).__name__}); repeating is safe") from None
        return _read(answer)

    def _request(self, path: str, who: Credentials | None, fields: Mapping[str, Any]) -> httpx.Request:
        """Secrets are opened here alone, where nothing is sent: no traceback of a failed call can show a variable."""
        form = {name: _text(value) for name, value in fields.items() if value is not None}
        headers = {"Authorization": who.header()} if who else {}
        proof = who.proof() if who else {}
        return self._http.build_request("POST", f"{self._base}/{path}", data=form | proof, headers=headers)


def _text(value: Any) -> str:
    return value.reveal() if isinstance(value, Secret) else value if isinstance(value, str) else json.dumps(value)


def _read(answer: httpx.Response) -> GraphAnswer:
    data = _object(answer.content)
    error = data.get("error")
    error = error if isinstance(error, dict) else {}
    return GraphAnswer(
        answer.status_code,
        data,
        code=_int(error.get("code")),
        subcode=_int(error.get("error_subcode")),
        proof_fault="appsecret_proof" in str(error.get("message", "")),
        trace_id=_trace(error.get("fbtrace_id") or data.get("fbtrace_id")),
        tier=_tier(answer.headers),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _trace(value: object) -> str | None:
    """Meta's support id; kept only where it looks like one, since it is shown."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w-]{1,60}", value) else None


def _tier(headers: Mapping[str, str]) -> str | None:
    """The access tier, which usage headers tell (MAPI:overview/rate-limiting)."""
    told = " ".join(text for name, text in headers.items() if "usage" in name.lower())
    found = re.search(r'"ads_api_access_tier"\s*:\s*"(\w{1,40})"', told)
    return found[1] if found else None
