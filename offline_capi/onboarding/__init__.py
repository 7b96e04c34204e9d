"""From a table or a file without a description to a configuration that a user reviews.

``inspect_file``, ``inspect_table`` and their like read some rows; ``propose`` says which column would become which
field, each with the evidence and how sure it is; ``write_up`` turns that into the files of a deployment. Nothing is
guessed: what the rows do not show is left as a TODO that ``check`` reports. Only counts and the names of columns leave
this room, never a value.
"""

from __future__ import annotations

from offline_capi.onboarding.dbt import inspect_dbt
from offline_capi.onboarding.files import inspect_file, rebase_source
from offline_capi.onboarding.folder import ProjectState, read_project, save, select_missing
from offline_capi.onboarding.lakehouse import inspect_delta, inspect_iceberg
from offline_capi.onboarding.lines import Answers, Confidence, Line
from offline_capi.onboarding.origins import Origin
from offline_capi.onboarding.proposal import Proposal, propose
from offline_capi.onboarding.tables import inspect_query, inspect_table
from offline_capi.onboarding.writing import write_up

__all__ = [
    "Answers",
    "Confidence",
    "Line",
    "Origin",
    "ProjectState",
    "Proposal",
    "inspect_dbt",
    "inspect_delta",
    "inspect_file",
    "inspect_iceberg",
    "inspect_query",
    "inspect_table",
    "propose",
    "read_project",
    "rebase_source",
    "save",
    "select_missing",
    "write_up",
]
