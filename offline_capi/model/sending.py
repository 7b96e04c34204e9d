"""From built events to what Meta answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING

from offline_capi.model.batch import EventBatch
from offline_capi.model.fates import Fate, Reason
from offline_capi.model.rows import DroppedValues, ExpectationCount, NotedValues

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pyarrow as pa

__all__ = ["BuiltEvents", "Outcome", "Request", "UnsentRows"]


@dataclass(frozen=True, slots=True)
class UnsentRows:
    """Rows that did not become events, with the reason and without personal data; staged as Parquet.

    Columns of ``table`` (``events.UNSENT_SCHEMA``): ``origin``, ``row``, ``client``, ``event_id`` (null where the
    row has none), ``day`` (date32 or null), ``fate``, ``reason``, ``field``; ``earlier_origin`` and ``earlier_row``
    name the row that a duplicate repeats, null for every other reason.
    """

    table: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.table.num_rows)


@dataclass(frozen=True, slots=True)
class BuiltEvents:
    """What a batch of rows became. ``rows == len(events) + len(unsent) + sum(suppressed.values())``.

    ``outside`` counts rows of the source that were left to other runs, ``filtered`` those that are not meant;
    ``expected`` is what the checks of ``expect`` count.
    ``suppressed`` counts by (client, day). ``warnings`` counts events that Meta accepts but that will match or measure
    badly, by a short code. ``carried``, aligned with the events, says which carry a usable value of each mapped key of
    user_data. ``rows_of`` counts the rows by client, of those that are configured.

    ``store_keys``, of each event in the order of the source, identifies store events: see ``events.keys.store_keys``.
    ``copies`` are the events once more, for further pixels of their clients. ``copied`` counts them by recipient, those
    included that are among the unsent rows: to a pixel that two clients share, an event of one may be that of another.
    """

    rows: int
    events: EventBatch
    unsent: UnsentRows
    suppressed: Mapping[tuple[str | None, date | None], int] = field(default_factory=dict)
    dropped: tuple[DroppedValues, ...] = ()
    warnings: Mapping[str, int] = field(default_factory=dict)
    outside: int = 0
    carried: Mapping[str, pa.BooleanArray] = field(default_factory=dict)
    rows_of: Mapping[str, int] = field(default_factory=dict)
    copies: EventBatch | None = None
    copied: Mapping[str, int] = field(default_factory=dict)
    noted: tuple[NotedValues, ...] = ()
    profiles: tuple[str, ...] = ()
    store_keys: pa.RecordBatch | None = None
    filtered: int = 0
    expected: tuple[ExpectationCount, ...] = ()

    @property
    def outgoing(self) -> tuple[EventBatch, ...]:
        """Everything that is to be sent."""
        return (self.events,) if self.copies is None else (self.events, self.copies)


@dataclass(frozen=True, slots=True)
class Request:
    """Events of one client for one pixel, at most 1,000, that go out in one POST. ``id`` is unique in the ledger.

    ``digest`` is that of the events, where somebody has begun to compute it.
    """

    id: str
    client: str
    pixel: str
    events: EventBatch
    digest: Future[bytes] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.events)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What Meta answered to one request, as far as we know it: all its events share ``fate``.

    ``code`` and ``subcode`` are Meta's, where it gave any; ``explanation`` is our text, never Meta's (it is
    localised and may quote the payload). ``notices`` are for the report, for every fate.
    """

    request: Request
    fate: Fate
    answered_at: datetime
    tries: int = 1
    code: int | None = None
    subcode: int | None = None
    trace_id: str | None = None
    reason: Reason | None = None
    explanation: str = ""
    notices: tuple[str, ...] = ()
