"""From a table or a file nobody has described yet to a configuration that a person reviews.

``files.look_at_file`` and ``tables.look_at_table`` read some rows; ``propose`` says which column would become which
field, each with the evidence and how sure it is; ``write_up`` makes of that the files of a deployment. Nothing is
guessed: what the rows do not show is left as a TODO that ``check`` reports. Only counts and the names of columns leave
this room, never a value.
"""

from __future__ import annotations

from offline_capi.onboarding.files import look_at_file, seen_from
from offline_capi.onboarding.folder import Known, known_in, missing_only, save
from offline_capi.onboarding.lines import Answers, Line, Standing
from offline_capi.onboarding.origins import Origin
from offline_capi.onboarding.proposal import Proposal, propose
from offline_capi.onboarding.tables import look_at_query, look_at_table
from offline_capi.onboarding.writing import write_up

__all__ = [
    "Answers",
    "Known",
    "Line",
    "Origin",
    "Proposal",
    "Standing",
    "known_in",
    "look_at_file",
    "look_at_query",
    "look_at_table",
    "missing_only",
    "propose",
    "save",
    "seen_from",
    "write_up",
]
