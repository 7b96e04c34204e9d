"""The ledger: what was sent, in SQL. Intent is written before each POST and the outcome after it.

``Ledger(url)`` opens it; ``tables.py`` has its tables, ``bulk.py`` the statements that take many keys at once.
"""

from __future__ import annotations

from offline_capi.ledger.history import forget_before
from offline_capi.ledger.rehearsal import Rehearsal
from offline_capi.ledger.schema import ddl
from offline_capi.ledger.store import Claim, Known, Ledger, RunRecord

__all__ = ["Claim", "Known", "Ledger", "Rehearsal", "RunRecord", "ddl", "forget_before"]
