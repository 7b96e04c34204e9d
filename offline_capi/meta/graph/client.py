"""The only client of the Graph API: events, access, connection tests, reading back.

Every call is a POST with its fields in the body. What Meta calls a GET or a DELETE is named in the field ``method``,
as Graph allows for clients that only speak POST: a token to be inspected or revoked is thus never part of a URL, which
proxies log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal
from urllib.parse import urlencode

from offline_capi.errors import TemporaryError
from offline_capi.meta.graph.response import Response, parse_response
from offline_capi.meta.versions import Family, upgrade_notice
from offline_capi.runtime.http import HttpClient, HttpRequest
from offline_capi.runtime.secret import Secret, appsecret_proof, fingerprint, sendable

__all__ = ["Credentials", "GraphClient"]

#: Last part of a path → the family of its endpoint; all others are about access.
_FAMILIES: Mapping[str, Family] = {
    "events": "events",
    "stats": "read_back",
    "da_checks": "read_back",
    "dataset_quality": "read_back",
    "offline_event_uploads": "read_back",
}
#: More pages than any list of ours has; a list without an end must not hold up a run.
MAX_PAGES = 100


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, and the secret of its app where that is ours: then every call carries the proof."""

    token: Secret
    app_secret: Secret | None = None

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.token)

    @property
    def authorization(self) -> str:
        """The header's value."""
        return f"Bearer {sendable(self.token).reveal()}"

    @property
    def proof(self) -> dict[str, str]:
        """The field that accompanies the token where the app secret is ours."""
        return {"appsecret_proof": appsecret_proof(self.token, self.app_secret)} if self.app_secret else {}


class GraphClient:
    """Calls to ``{graph_url}/{version}/…`` over kept-alive connections; safe to share between threads.

    ``versions`` has the version for each family of endpoints. ``notices`` are Meta's warnings about versions.
    """

    def __init__(
        self, graph_url: str, versions: Mapping[Family, str], *, timeout_s: float = 30.0, connections: int = 8
    ) -> None:
        self._versions = versions
        self._notices: dict[str, None] = {}  # in order, each once
        self._http = HttpClient(graph_url, timeout=timeout_s, connections=connections)

    def __enter__(self) -> GraphClient:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._http.close()

    def post_events(self, pixel: str, token: Secret, body: Sequence[bytes | memoryview]) -> Response:
        """Send one request with events. Raises ``NotSentError`` or ``AnswerLostError`` without a response."""
        headers = {"Authorization": f"Bearer {token.reveal()}", "Content-Type": "application/json"}
        request = HttpRequest(f"{self._versions['events']}/{pixel}/events", headers, body)
        return parse_response(*self._http.post(request), sent=body)

    def call(
        self,
        path: str,
        credentials: Credentials | None,
        *,
        method: Literal["get", "post", "delete"] = "get",
        family: Family | None = None,
        **fields: Any,
    ) -> Response:
        """Make any other call, once: only requests with events are tried again (``delivery.retry``).

        Raises ``TemporaryError`` without a response.

        The path decides the version, unless ``family`` does.
        """
        version = self._versions[family or _FAMILIES.get(path.rpartition("/")[2], "management")]
        all_fields = {**fields, "method": None if method == "post" else method}
        request = _make_form_request(f"{version}/{path}", credentials, all_fields)
        try:
            answer = self._http.post(request)
        except TemporaryError as error:
            raise TemporaryError(f"{error}; repeating is safe") from None
        if notice := upgrade_notice(answer.headers):
            self._notices[notice] = None
        return parse_response(*answer, keep_data=True)

    def list_pages(self, path: str, credentials: Credentials | None, **fields: Any) -> Iterator[Response]:
        """The pages of a list, in order; one that is no success is the last.

        Raises ``TemporaryError`` where there seems to be no end: a part of a list must not pass for all of it.
        """
        after: str | None = None
        for _ in range(MAX_PAGES):
            page = self.call(path, credentials, after=after, **fields)
            yield page
            after = page.after if page.ok else None
            if after is None:
                return
        raise TemporaryError(f"{path} has more than {MAX_PAGES} pages; what was read of it is not used")

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(self._notices)


def _make_form_request(path: str, credentials: Credentials | None, fields: Mapping[str, Any]) -> HttpRequest:
    """Secrets are revealed only here, where nothing is sent: no traceback of a failed call can show a variable."""
    form = {
        name: value.reveal() if isinstance(value, Secret) else value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
        if value is not None
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if credentials:
        form |= credentials.proof
        headers["Authorization"] = credentials.authorization
    return HttpRequest(path, headers, (urlencode(form).encode(),))
