"""The bytes of one request: bodies that are JSON already, joined, and the envelope around them."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from offline_capi.errors import UsageError
from offline_capi.model import EventBatch
from offline_capi.runtime.join import join_texts

__all__ = ["Body", "Envelope", "check_test_event_code", "make_payload"]

#: The bytes of a request in parts, one after the other.
Body = tuple[bytes | memoryview, ...]


@dataclass(frozen=True, slots=True)
class Envelope:
    """Request-level fields next to ``data`` (D:parameters/main-body; D:using-the-api)."""

    partner_agent: str | None = None
    appsecret_proof: str | None = None
    test_event_code: str | None = None
    upload_tag: str | None = None


def make_payload(events: EventBatch, envelope: Envelope) -> Body:
    """``{"data":[…],"partner_agent":"…"}``, in one part: each part would be a call of the system on its way out.

    The same events give the same bytes.
    """
    fields = {name: value for name, value in asdict(envelope).items() if value}
    envelope_json = json.dumps(fields, separators=(",", ":"))[1:]
    after = b"]}" if envelope_json == "}" else f"],{envelope_json}".encode()
    return (join_texts(events.table.column("body"), b'{"data":[', b",", after),)


def check_test_event_code(test_event_code: str | None, trigger: str) -> None:
    """Raise ``UsageError`` for a test event code on a run that nobody started by hand.

    Meta shows such events in its Test Events tab and counts them all the same (D:using-the-api): in a scheduled run
    the code turns real conversions into tests that nobody notices.
    """
    if test_event_code is None:
        return
    if trigger != "manual":
        raise UsageError(
            f"a test event code never rides on a {trigger} run: its events count at Meta, and the ledger does not know "
            "them. Nothing was sent. Remove it, or start the run by hand: upload UPLOAD --test-event-code CODE"
        )
    if not re.fullmatch(r"[A-Za-z0-9_]{1,40}", test_event_code):
        raise UsageError("the test event code is not one: letters and digits, such as TEST12345, from Events Manager")
