"""Send conversions that happened offline to Meta's Conversions API, nightly and in bulk.

The flow, one room a stage (read ``offline_capi/pipeline/run.py`` next)::

    YAML ─► plan ─► read ─► map ─► normalise + hash ─► build events ─► look up in the ledger ─► cut ─► send ─► report

Readable identity lives between *read* and *hash*, in memory, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offline_capi.runtime.lazy_names import import_on_demand

__all__ = ["__version__", "hash_frame"]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from offline_capi.identity import hash_frame

#: A DAG file that imports this package must not load pandas.
__getattr__ = import_on_demand(__name__, {"hash_frame": "identity"})
