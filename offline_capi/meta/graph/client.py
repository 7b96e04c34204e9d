"""Calls of the Graph API beside a run's events: access, connection tests, what Meta tells of events that it got.

Every call is a POST whose fields stand in the body; what Meta calls a GET or a DELETE says so in the field ``method``,
as Graph allows for clients that know POST only. A token to be inspected or revoked is thus never part of a URL, which
proxies log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlencode

from offline_capi.errors import TemporaryError
from offline_capi.meta.versions import Family, upgrade_notice
from offline_capi.runtime.http import HttpAnswer, HttpClient, HttpRequest
from offline_capi.runtime.secret import Secret, appsecret_proof, fingerprint, sendable

__all__ = ["Credentials", "Graph", "GraphAnswer"]

#: The last part of a path → the family of its endpoint; all others are about access.
_FAMILIES: Mapping[str, Family] = {
    "events": "events",
    "stats": "read_back",
    "da_checks": "read_back",
    "dataset_quality": "read_back",
    "offline_event_uploads": "read_back",
}
#: More pages than any answer of ours has; a list without an end must not hold up a night.
MOST_PAGES = 100


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
    """One answer. ``data`` may hold a token that Meta made for us: it is never shown.

    ``version`` is the one that the answer says it was made by; ``upgraded`` that Meta says it took another than ours.
    """

    status: int
    data: Mapping[str, Any] = field(repr=False)
    code: int | None = None
    subcode: int | None = None
    trace_id: str | None = None
    tier: str | None = None
    version: str | None = None
    upgraded: bool = False

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300 and self.code is None and bool(self.data)

    @property
    def error_text(self) -> str:
        """What Meta says of an error: to be matched, and never shown."""
        error = _object_of(self.data.get("error"))
        return " ".join(str(error.get(key, "")) for key in ("message", "error_user_title", "error_user_msg"))

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """The entries of an answer that is a list."""
        entries = self.data.get("data")
        return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []

    @property
    def after(self) -> str | None:
        """Where the next page of a list begins; its own ``next`` is a URL that holds the token, and never followed."""
        paging = _object_of(self.data.get("paging"))
        after = _object_of(paging.get("cursors")).get("after")
        return after if "next" in paging and isinstance(after, str) else None


class Graph:
    """Calls to ``{graph_url}/{version}/…`` over kept-alive connections; safe to share between threads.

    ``versions`` has the version for each family of endpoints. ``notices`` are what Meta told of versions in headers.
    """

    def __init__(
        self, graph_url: str, versions: Mapping[Family, str], *, timeout: float = 30.0, connections: int = 8
    ) -> None:
        self._versions = versions
        self._notices: dict[str, None] = {}  # in order, each once
        self._http = HttpClient(graph_url, timeout=timeout, connections=connections)

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
        family: Family | None = None,
        **fields: Any,
    ) -> GraphAnswer:
        """Ask or tell Meta something. Raises ``TemporaryError`` where no answer came.

        The path says by which version, unless ``family`` does.
        """
        version = self._versions[family or _FAMILIES.get(path.rpartition("/")[2], "management")]
        request = _request(f"{version}/{path}", who, {**fields, "method": None if method == "post" else method})
        try:
            answer = self._http.post(request)
        except TemporaryError as error:
            raise TemporaryError(f"{error}; repeating is safe") from None
        if notice := upgrade_notice(answer.headers):
            self._notices[notice] = None
        return _read(answer)

    def pages(self, path: str, who: Credentials | None, **fields: Any) -> Iterator[GraphAnswer]:
        """The answers to a question whose answer is a list, page by page; one that is no success is the last.

        Raises ``TemporaryError`` where there seems to be no end: a part of a list must not pass for all of it.
        """
        after: str | None = None
        for _ in range(MOST_PAGES):
            answer = self.call(path, who, after=after, **fields)
            yield answer
            after = answer.after if answer.ok else None
            if after is None:
                return
        raise TemporaryError(f"{path} has more than {MOST_PAGES} pages; what was read of it is not used")

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(self._notices)


def _request(path: str, who: Credentials | None, fields: Mapping[str, Any]) -> HttpRequest:
    """Secrets are opened here alone, where nothing is sent: no traceback of a failed call can show a variable."""
    form = {name: _text(value) for name, value in fields.items() if value is not None}
    proof = who.proof() if who else {}
    headers = {"Content-Type": "application/x-www-form-urlencoded"} | ({"Authorization": who.header()} if who else {})
    return HttpRequest(path, headers, (urlencode(form | proof).encode(),))


def _text(value: Any) -> str:
    return value.reveal() if isinstance(value, Secret) else value if isinstance(value, str) else json.dumps(value)


def _read(answer: HttpAnswer) -> GraphAnswer:
    data = _object(answer.body)
    error = _object_of(data.get("error"))
    return GraphAnswer(
        answer.status,
        data,
        code=_int(error.get("code")),
        subcode=_int(error.get("error_subcode")),
        trace_id=_trace(error.get("fbtrace_id") or data.get("fbtrace_id")),
        tier=_tier(answer.headers),
        version=_version(answer.headers),
        upgraded=upgrade_notice(answer.headers) is not None,
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return _object_of(data)


def _object_of(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


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


def _version(headers: Mapping[str, str]) -> str | None:
    """The version that answered: not in Meta's pages, and in every answer that third parties have logged (B)."""
    told = headers.get("facebook-api-version", "")
    return told if re.fullmatch(r"v\d{1,3}\.\d", told) else None
