"""The ledger: what was sent, in SQL. The intent is written before each POST and the outcome after it.

``Ledger(url)`` opens it: a ``Database`` with ``runs``, the ``journal`` of requests and the ``pace``. Below them,
``index`` finds the request that had each event last, ``leases`` says which processes live, ``schema`` has the tables.
"""

from __future__ import annotations

from offline_capi.ledger.audit import AuditAction, AuditEntry, list_audit_entries, record_audit
from offline_capi.ledger.days import build_calendar, list_past_runs, record_announced_losses
from offline_capi.ledger.event_states import LookupResult
from offline_capi.ledger.journal import Claim, Journal
from offline_capi.ledger.ledger import Ledger
from offline_capi.ledger.marks import advance_mark, begin_mark, load_mark
from offline_capi.ledger.queries import UnconfirmedRequest, count_traffic, find_last_accepted, find_purge_date
from offline_capi.ledger.read_back import SentByRun, list_sent_by_runs, load_read_back, save_read_back
from offline_capi.ledger.rehearsal import Rehearsal
from offline_capi.ledger.runs import FailedRequest, RunRecord
from offline_capi.ledger.schema import ddl
from offline_capi.ledger.shapes import ColumnShapes, load_shapes, save_shapes

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
    "advance_mark",
    "begin_mark",
    "build_calendar",
    "count_traffic",
    "ddl",
    "find_last_accepted",
    "find_purge_date",
    "list_audit_entries",
    "list_past_runs",
    "list_sent_by_runs",
    "load_mark",
    "load_read_back",
    "load_shapes",
    "record_announced_losses",
    "record_audit",
    "save_read_back",
    "save_shapes",
]
