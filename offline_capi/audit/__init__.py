"""Questions about people's own data, answered with counts: nothing here shows, keeps or sends a value.

- ``coverage``: which keys are mapped, filled and usable, what is lost and why, what could be mapped as well, and which
  values belong to nobody because they stand in too many people's rows.
- ``diff_profiles``: how many values would hash differently under another profile.
- ``check_external_ids``: whether the server's ids equal those of the browser pixel, and which policy would make them.

All read an upload's own rows of a window, as a run would, and record nothing.
"""

from __future__ import annotations

from offline_capi.audit.conformance import Conformance, Miss, run_conformance
from offline_capi.audit.coverage import ColumnCoverage, Coverage, measure_coverage
from offline_capi.audit.external_ids import (
    ExternalIdCheck,
    Found,
    check_external_ids,
    describe_policy,
    list_uploads_with_ids,
)
from offline_capi.audit.pixel import read_browser_ids
from offline_capi.audit.profiles import ColumnDiff, ProfileDiff, diff_profiles
from offline_capi.audit.suggestions import Suggestion
from offline_capi.guards.frequent_values import JUNK_KEYS, FrequentValue

__all__ = [
    "JUNK_KEYS",
    "ColumnCoverage",
    "ColumnDiff",
    "Conformance",
    "Coverage",
    "ExternalIdCheck",
    "Found",
    "FrequentValue",
    "Miss",
    "ProfileDiff",
    "Suggestion",
    "check_external_ids",
    "describe_policy",
    "diff_profiles",
    "list_uploads_with_ids",
    "measure_coverage",
    "read_browser_ids",
    "run_conformance",
]
