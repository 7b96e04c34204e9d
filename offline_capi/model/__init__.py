"""The nouns: what travels through the pipeline, in the order in which it changes.

``SourceRows`` (as the source gave them) → ``MappedRows`` (our field names, **readable**) → ``HashedRows`` (identity as
digests) → ``EventBatch`` (payload bytes, staged and sent) → ``Request`` → ``Outcome``. Readable and hashed rows are
different types, so that forgetting to hash does not type-check.

All are frozen and wrap Arrow data; none holds a row as a Python object. ``Tally`` counts what became of them. Nothing
here imports anything heavy: Arrow appears in annotations, and is loaded by what works on it.
"""

from __future__ import annotations

from offline_capi.model.batch import FEW_PARTS, KEY_BYTES, EventBatch, EventPart, bytes_of, keys_in
from offline_capi.model.days import (
    DAY_REASONS,
    Calendar,
    DayReason,
    DayState,
    Debt,
    PastRun,
    UploadDay,
    debts_of,
    judge_day,
)
from offline_capi.model.fates import FATE_TEXTS, FORMER_FATES, REASONS, WARNING_TEXTS, Fate, Reason, ReasonText
from offline_capi.model.rows import (
    LIST_MARK,
    DroppedValues,
    Fault,
    HashedRows,
    IdentityColumn,
    MappedRows,
    NotedValues,
    SourceRows,
    WantedRows,
)
from offline_capi.model.sending import BuiltEvents, Outcome, Rejections, Request
from offline_capi.model.tally import (
    TRAFFIC,
    AbsentFile,
    Count,
    GateFinding,
    ReadBack,
    SentEvents,
    Tally,
    sent_events,
)
from offline_capi.model.window import Window, in_utc, in_zone, start_of_day, yesterday

__all__ = [
    "DAY_REASONS",
    "FATE_TEXTS",
    "FEW_PARTS",
    "FORMER_FATES",
    "KEY_BYTES",
    "LIST_MARK",
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
    "Fate",
    "Fault",
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
    "Rejections",
    "Request",
    "SentEvents",
    "SourceRows",
    "Tally",
    "UploadDay",
    "WantedRows",
    "Window",
    "bytes_of",
    "debts_of",
    "in_utc",
    "in_zone",
    "judge_day",
    "keys_in",
    "sent_events",
    "start_of_day",
    "yesterday",
]
