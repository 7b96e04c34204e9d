"""The audit log: who erased, forced a gate, replayed, authorised or deleted what was old, and when.

An entry never holds personal data: of an erased person it says which kinds of identifiers were given and what was
found, never a value nor a digest of one, for a digest of an e-mail address finds its person again.
"""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from offline_capi.ledger.database import Database
from offline_capi.ledger.schema.tables import audit

__all__ = ["AuditAction", "AuditEntry", "get_current_user", "list_audit_entries", "record_audit"]

_MAX_WHO_CHARS, _MAX_SUBJECT_CHARS = 200, 200


class AuditAction(StrEnum):
    """What is worth an entry."""

    ERASE = "erase"
    FORCE_GATES = "force_gates"
    REPLAY = "replay"
    RESEND = "resend"
    AUTHORIZE = "authorize"
    PURGE = "purge"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """``who`` did ``action`` to ``subject`` (an upload, a client, "a person"); ``detail`` is figures and settings."""

    at: datetime
    who: str
    action: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "who": self.who,
            "action": self.action,
            "subject": self.subject,
            "detail": dict(self.detail),
            "run": self.run_id,
        }


def get_current_user() -> str:
    """``user@host`` of this process, as the operating system names them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        import os

        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def record_audit(
    database: Database,
    action: AuditAction,
    subject: str,
    *,
    now: datetime,
    who: str | None = None,
    detail: Mapping[str, Any] | None = None,
    run_id: str | None = None,
) -> None:
    """Add an entry; ``who`` defaults to the user of this process."""
    row = {
        "at": now.timestamp(),
        "who": (who or get_current_user())[:_MAX_WHO_CHARS],
        "action": action.value,
        "subject": subject[:_MAX_SUBJECT_CHARS],
        "detail": json.dumps(dict(detail or {}), ensure_ascii=False, sort_keys=True),
        "run_id": run_id,
    }
    with database.begin_write() as connection:
        connection.execute(sa.insert(audit), row)


def list_audit_entries(
    database: Database, *, since: datetime | None = None, action: AuditAction | None = None, limit: int | None = None
) -> list[AuditEntry]:
    """The entries from ``since`` on, newest first."""
    chosen = sa.select(audit).order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit)
    if since is not None:
        chosen = chosen.where(audit.c.at >= since.timestamp())
    if action is not None:
        chosen = chosen.where(audit.c.action == action.value)
    return [
        AuditEntry(
            datetime.fromtimestamp(row.at, UTC), row.who, row.action, row.subject, json.loads(row.detail), row.run_id
        )
        for row in database.read(chosen)
    ]
