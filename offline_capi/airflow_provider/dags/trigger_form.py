"""What Airflow asks whoever triggers or backfills an upload by hand."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from offline_capi.config import Deployment, Upload

__all__ = ["build_trigger_form"]

_DAY = {"type": ["null", "string"], "format": "date", "section": "Window"}
_WHAT, _CARE = "What to do", "Once, and with care"
# "null" because Airflow marks what may not be empty as required, even where it has a default.
_SWITCH = {"type": ["boolean", "null"]}


def build_trigger_form(deployment: Deployment, upload: Upload) -> dict[str, Param]:
    """The form; left as it is, it is what a scheduled run has."""
    zone = upload.window.timezone
    return {
        "since": _make_field(
            None, "Since", f"First day, in {zone}. Empty: the day of the partition key, see Advanced Options.", **_DAY
        ),
        "until": _make_field(None, "Until", "First day **not** included. Empty: one day.", **_DAY),
        "clients": _make_field(
            [],
            "Clients",
            "Only rows of these clients. Empty: all.",
            type=["array", "null"],
            examples=_list_clients(deployment, upload),
            section=_WHAT,
        ),
        "dry_run": _make_field(
            False,
            "Dry run",
            "Show in the plan task's log what would go; send and record nothing.",
            **_SWITCH,
            section=_WHAT,
        ),
        "limit": _make_field(
            None,
            "At most",
            "Stop before anything is sent if the plan shows more events than this. Empty: no limit.",
            type=["null", "integer"],
            minimum=1,
            section=_WHAT,
        ),
        "resend": _make_field(
            False,
            "Send refused events again",
            "Also those that look as they did when Meta refused them. Events without an answer go again anyway, for as "
            "long as Meta recognises a repeat; later they never do.",
            **_SWITCH,
            section=_CARE,
        ),
        "force_gates": _make_field(
            False,
            "Pass the gates",
            "Send although a gate (volume, value, invalid rows, drift, …) would stop this run.",
            **_SWITCH,
            section=_CARE,
        ),
        "test_event_code": _make_field(
            None,
            "Test event code",
            "From Events Manager, such as `TEST12345`. Everything goes out with it, **counts at Meta** and is "
            "not remembered. Only for runs triggered by hand.",
            type=["null", "string"],
            section=_CARE,
        ),
    }


def _make_field(default: Any, title: str, description: str, **schema: Any) -> Param:
    return Param(default, title=title, description_md=description, **schema)


def _list_clients(deployment: Deployment, upload: Upload) -> list[str]:
    """The upload's one client, or all where a column tells them apart."""
    constant = upload.client.constant
    return sorted(deployment.clients) if constant is None else [str(constant)]
