"""The ledger: what was sent, in SQL. Intent is written before each POST and the outcome after it.

``Ledger(url)`` opens it; ``schema`` has its tables, ``index`` knows which request had each event.
"""

from __future__ import annotations

from offline_capi.ledger.audit import AuditAction, AuditEntry, audit_entries, record_audit
from offline_capi.ledger.days import calendar_of, keep_as_told, past_runs
from offline_capi.ledger.event_states import LookupResult
from offline_capi.ledger.journal import Claim, Journal
from offline_capi.ledger.ledger import Ledger
from offline_capi.ledger.queries import UnconfirmedRequest, forget_before, last_accepted, traffic_of
from offline_capi.ledger.read_back import SentByRun, keep_read_back, read_back_of, sent_by_runs
from offline_capi.ledger.rehearsal import Rehearsal
from offline_capi.ledger.runs import FailedRequest, RunRecord
from offline_capi.ledger.schema import ddl
from offline_capi.ledger.shapes import ColumnShapes, keep_shapes, shapes_of

__all__ = [
    "AuditAction",
    "AuditEntry",
    "Claim",
    "ColumnShapes",
    "FailedRequest",
    "Journal",
    "Ledger",
    "LookupResult",
    "Rehearsal",
    "RunRecord",
    "SentByRun",
    "UnconfirmedRequest",
    "audit_entries",
    "calendar_of",
    "ddl",
    "forget_before",
    "keep_as_told",
    "keep_read_back",
    "keep_shapes",
    "last_accepted",
    "past_runs",
    "read_back_of",
    "record_audit",
    "sent_by_runs",
    "shapes_of",
    "traffic_of",
]
