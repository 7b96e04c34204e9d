"""The sandbox as tests see it: one server a session, reset before each test, spoken to over HTTP.

``sandbox`` in a test is a ``Sandbox``: ask what arrived, tell it to misbehave, set its clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from offline_capi.sandbox import GrantSpec, SandboxServer, SandboxSpec

PIXEL = "1234567890"
OTHER_PIXEL = "9876543210"
TOKEN = "EAAtesttokenforthefirstclient"
OTHER_TOKEN = "EAAtesttokenforthesecondclient"
SECRET_TOKEN = "EAAtesttokenwithappsecret"
APP_SECRET = "app-secret-of-the-sandbox"

SPEC = SandboxSpec(
    grants=[
        GrantSpec(TOKEN, [PIXEL]),
        GrantSpec(OTHER_TOKEN, [OTHER_PIXEL]),
        GrantSpec(SECRET_TOKEN, [PIXEL, OTHER_PIXEL], APP_SECRET),
    ]
)


class Sandbox:
    """What a test may ask and instruct. Numbers of events are Meta's: what counts, not what came."""

    def __init__(self, server: SandboxServer) -> None:
        self._server = server

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def server(self) -> SandboxServer:
        return self._server

    def reset(self) -> None:
        self._server.tell("POST", "reset")

    # ------------------------------------------------------------------------------------------ what arrived

    @property
    def accepted_ids(self) -> list[str | None]:
        """Event ids that counted at least once, in order of first receipt."""
        return [event_id for _, _, event_id, _, _ in self._server.tally()]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The first body of each event that counted, in order of first receipt."""
        return [event["body"] for event in self._server.get("events", limit=1_000_000)]

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request, in order of arrival; see ``RequestRecord`` for what is known of one."""
        return self._server.get("requests", limit=1_000_000)

    def requests_to(self, pixel: str) -> list[dict[str, Any]]:
        return self._server.get("requests", limit=1_000_000, pixel=pixel)

    def ids_of(self, pixel: str) -> list[str | None]:
        """Event ids that counted for one pixel."""
        return [event_id for _, _, event_id, _, _ in self._server.tally(pixel)]

    def count_of(self, event_id: str, event_name: str | None = None, pixel: str | None = None) -> int:
        """How often this event counted."""
        return self._server.get("count", event_id=event_id, event_name=event_name, pixel=pixel)["times"]

    def arrivals_of(self, event_id: str) -> int:
        """How often this event was stored or recognised as a duplicate."""
        return self._server.get("count", event_id=event_id)["arrivals"]

    def tally(self, pixel: str | None = None) -> list[tuple[str, str, str | None, int, int]]:
        """Every event as (pixel, event_name, event_id, times it counted, times it came)."""
        return self._server.tally(pixel)

    @property
    def totals(self) -> dict[str, dict[str, int]]:
        """Per pixel: requests, refused_requests, cut_requests, bytes, events, stored, counted, duplicates."""
        return self._server.get("totals")

    # ------------------------------------------------------------------------------------------ misbehaviour

    def fault(self, kind: str, **more: Any) -> None:
        """Post a ``Fault``; sets become lists."""
        plain = {key: sorted(value) if isinstance(value, (set, frozenset)) else value for key, value in more.items()}
        self._server.tell("POST", "faults", {"kind": kind, **plain})

    def refuse(self, *event_ids: str, event_id: str | None = None, **more: Any) -> None:
        """Refuse these events for good; ``tell="nothing"`` hides which, ``code`` and ``subcode`` change the reason."""
        self.fault("refuse_events", event_ids=[*event_ids, *([event_id] if event_id else [])], **more)

    def fail_next(self, status: int = 503, times: int = 1, **more: Any) -> None:
        """Answer the next requests with this status; more of ``Fault`` may be given."""
        self.fault("unavailable", status=status, times=times, **more)

    def cut_next(self, times: int = 1, *, stored: bool = False) -> None:
        """Close the next connections before the answer, with or without having stored the events."""
        self.fault("cut_after_store" if stored else "cut_before_store", times=times)

    @property
    def faults(self) -> list[dict[str, Any]]:
        return self._server.get("faults")

    def heal(self) -> None:
        """No more faults."""
        self._server.tell("DELETE", "faults")

    @property
    def bad_event(self) -> str:
        return str(self._server.get("view")["bad_event"])

    @bad_event.setter
    def bad_event(self, what: str) -> None:
        """``reject_all`` or ``keep_valid``."""
        self._server.tell("PUT", "settings", {"bad_event": what})

    def limit(self, **limits: float | None) -> None:
        """Meter calls from now on: ``pixel_calls`` and ``app_calls`` in a window of ``seconds``."""
        self._server.tell("PUT", "limits", limits)

    def tell(self, **how: Any) -> None:
        """How Meta tells of its counts: late, with gaps, not at all; see ``sandbox.read_back.Telling``."""
        self._server.tell("PUT", "telling", how)

    def forward_retired_versions(self) -> None:
        """Answer a retired version as a newer one, instead of refusing it."""
        self._server.tell("PUT", "settings", {"forward": True})

    # ------------------------------------------------------------------------------------------ time and access

    @property
    def clock(self) -> float:
        return float(self._server.get("clock")["now"])

    @clock.setter
    def clock(self, now: float | None) -> None:
        """Stop the clock at this Unix time; ``None`` lets it go."""
        self._server.tell("PUT", "clock", {"now": now})

    def advance(self, seconds: float) -> None:
        self._server.tell("PUT", "clock", {"advance": seconds})

    def grant(self, token: str, pixels: Sequence[str], app_secret: str | None = None) -> None:
        self._server.tell("PUT", "access", {"token": token, "pixels": list(pixels), "app_secret": app_secret})

    def revoke(self, token: str, code: int = 190, subcode: int | None = 460) -> None:
        self._server.tell("PUT", "access", {"token": token, "revoked": [code, subcode]})
