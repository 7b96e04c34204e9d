"""The nouns: what travels through the pipeline, in the order in which it changes.

``SourceRows`` (as the source gave them) → ``MappedRows`` (our field names, **readable**) → ``HashedRows`` (identity as
digests) → ``EventBatch`` (payload bytes, staged and sent) → ``Request`` → ``Outcome``. Readable and hashed rows are
different types, so that forgetting to hash does not type-check.

All are frozen and wrap Arrow data; none holds a row as a Python object. ``Tally`` counts their fates. Nothing
here imports anything heavy: Arrow appears in annotations, and is loaded by what works on it.
"""

from __future__ import annotations

from offline_capi.model.batch import KEY_BYTES, EventBatch, EventPart, get_bytes, list_keys
from offline_capi.model.days import (
    DAY_REASONS,
    Calendar,
    DayReason,
    DayState,
    Debt,
    PastRun,
    UploadDay,
    judge_day,
    list_debts,
)
from offline_capi.model.fates import FATE_TEXTS, FORMER_FATES, REASONS, WARNING_TEXTS, Fate, Reason, ReasonText
from offline_capi.model.rows import (
    LIST_SEPARATOR,
    DroppedValues,
    ExpectationCount,
    HashedRows,
    IdentityColumn,
    MappedRows,
    NotedValues,
    RowFault,
    RowPlacement,
    SourceRows,
    WantedRows,
)
from offline_capi.model.sending import BuiltEvents, Outcome, Request, UnsentRows
from offline_capi.model.spool import MAX_IN_MEMORY_PARTS, Spool, SpooledEvents, join_event_parts
from offline_capi.model.table_states import SourceMark, TableChanges, TableRead, TableState
from offline_capi.model.tally import (
    TRAFFIC,
    AbsentFile,
    Count,
    GateFinding,
    ReadBack,
    SentEvents,
    Tally,
    ValueCell,
    read_sent_events,
)
from offline_capi.model.window import Window, convert_to_zone, find_yesterday, format_utc, start_of_day

__all__ = [
    "DAY_REASONS",
    "FATE_TEXTS",
    "FORMER_FATES",
    "KEY_BYTES",
    "LIST_SEPARATOR",
    "MAX_IN_MEMORY_PARTS",
    "REASONS",
    "TRAFFIC",
    "WARNING_TEXTS",
    "AbsentFile",
    "BuiltEvents",
    "Calendar",
    "Count",
    "DayReason",
    "DayState",
    "Debt",
    "DroppedValues",
    "EventBatch",
    "EventPart",
    "ExpectationCount",
    "Fate",
    "GateFinding",
    "HashedRows",
    "IdentityColumn",
    "MappedRows",
    "NotedValues",
    "Outcome",
    "PastRun",
    "ReadBack",
    "Reason",
    "ReasonText",
    "Request",
    "RowFault",
    "RowPlacement",
    "SentEvents",
    "SourceMark",
    "SourceRows",
    "Spool",
    "SpooledEvents",
    "TableChanges",
    "TableRead",
    "TableState",
    "Tally",
    "UnsentRows",
    "UploadDay",
    "ValueCell",
    "WantedRows",
    "Window",
    "convert_to_zone",
    "find_yesterday",
    "format_utc",
    "get_bytes",
    "join_event_parts",
    "judge_day",
    "list_debts",
    "list_keys",
    "read_sent_events",
    "start_of_day",
]
