"""The trigger form of an upload: one open section, in the order of use."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from offline_capi.config import Deployment, Upload

__all__ = ["build_trigger_form", "list_possible_clients"]

_DAY = {"type": ["null", "string"], "format": "date"}
# "null" because Airflow marks what may not be empty as required, even where it has a default.
_SWITCH = {"type": ["boolean", "null"]}


def build_trigger_form(deployment: Deployment, upload: Upload) -> dict[str, Param]:
    """The form; left as it is, a run by hand covers yesterday, as a scheduled run does."""
    zone = upload.window.timezone
    return {
        "since": _make_field(
            None, "Since", f"First day, in {zone}. Empty: yesterday, or the partition key of Advanced Options.", **_DAY
        ),
        "until": _make_field(None, "Until", "First day **not** included. Empty: one day.", **_DAY),
        "dry_run": _make_field(
            False, "Dry run", "Show in the Conversions tab and in the log what would go; send nothing.", **_SWITCH
        ),
        "clients": _make_field(
            [],
            "Clients",
            "Only rows of these clients. Empty: all.",
            type=["array", "null"],
            examples=list_possible_clients(deployment, upload),
        ),
        "limit": _make_field(
            None,
            "At most",
            "Stop before anything is sent if the plan shows more events than this. Empty: no limit.",
            type=["null", "integer"],
            minimum=1,
        ),
        "resend": _make_field(
            False,
            "Send rejected events again",
            "For this run only: also those that are unchanged since Meta rejected them. Events without an answer are "
            "repeated anyway, for as long as Meta counts a repeat once; later they never are.",
            **_SWITCH,
        ),
        "force_gates": _make_field(
            False,
            "Pass the gates",
            "For this run only: send although a gate (volume, value, invalid rows, drift, …) would stop it.",
            **_SWITCH,
        ),
        "test_event_code": _make_field(
            None,
            "Test event code",
            "From Events Manager, such as `TEST12345`. Everything is sent with it, **counts at Meta** and is sent once "
            "more by the next real run.",
            type=["null", "string"],
        ),
    }


def _make_field(default: Any, title: str, description: str, **schema: Any) -> Param:
    return Param(default, title=title, description_md=description, **schema)


def list_possible_clients(deployment: Deployment, upload: Upload) -> list[str]:
    """The clients that rows of the upload can be of: its one client, those of its map, or all of clients.yml."""
    spec = upload.client
    if spec.constant is not None:
        return [str(spec.constant)]
    if spec.map:
        named = {*map(str, spec.map.values()), *([] if spec.default is None else [str(spec.default)])}
        return sorted(named & {*deployment.clients})
    return sorted(deployment.clients)
