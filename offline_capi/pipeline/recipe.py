"""How one batch of rows becomes events: a function of the batch and of a recipe, and of nothing else.

A recipe can be pickled and holds neither environment nor secret, so that a batch may be prepared in any process. What
depends on the whole run (repeats, quotas, gates) is in ``stages``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from offline_capi.config import Deployment
from offline_capi.config.client import Client
from offline_capi.config.upload import Upload
from offline_capi.events import build_events
from offline_capi.identity import HashCache, hash_identity
from offline_capi.mapping import FirstRows, LookupTable, map_rows, select_clients, select_wanted
from offline_capi.model import BuiltEvents, HashedRows, MappedRows, SourceRows, WantedRows, Window

__all__ = [
    "BATCH_ROWS",
    "BATCH_ROWS_OF_LONG_RUN",
    "BATCH_ROWS_OF_RUN",
    "EVENT_ROWS",
    "EVENT_ROWS_OF_LONG_RUN",
    "EVENT_ROWS_OF_RUN",
    "ROWS_OF_LONG_RUN",
    "Recipe",
    "select_by_row",
]

#: Rows read, mapped and hashed at once: large enough that the fixed cost of a batch does not matter.
BATCH_ROWS = 32_768
#: Events built, staged and looked up at once: small enough that their bodies take little memory.
EVENT_ROWS = 8_192
#: Both in the process of the run itself, which has 600 MiB: a batch costs as many calls whatever its size, some twenty
#: milliseconds of the interpreter that all threads share.
BATCH_ROWS_OF_RUN = 57_344
EVENT_ROWS_OF_RUN = BATCH_ROWS_OF_RUN // 2
#: The same where less memory is left: from ``ROWS_OF_LONG_RUN`` on, since a run remembers the keys of all its events
#: (10 MiB a million); events in worker processes too.
BATCH_ROWS_OF_LONG_RUN = BATCH_ROWS_OF_RUN // 2
EVENT_ROWS_OF_LONG_RUN = BATCH_ROWS_OF_RUN // 4
ROWS_OF_LONG_RUN = 2_000_000

Observe = Callable[[SourceRows, MappedRows], None]


def select_by_row(upload: Upload, window: Window) -> Window | None:
    """The window by which rows are selected; ``None`` if the query, or the date in a path, has selected them."""
    return None if upload.source.selects_rows_itself else window.extend_back(upload.window.lookback)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an upload's rows become events.

    ``window`` selects rows, see ``select_by_row``. ``clients`` are all that are configured; ``only_clients`` and
    ``only_rows`` narrow a run: other rows are left out as if they had not been read. ``frequent`` are values too common
    to be a person's, by client, key and SHA-256. ``until`` is the end of the run's window, by which ``expect`` judges
    what is fresh. ``lookups`` are the upload's tables, **readable**. ``today`` is where birth dates end, if not by the
    clock.
    """

    upload: Upload
    window: Window | None
    clients: Mapping[str, Client]
    default_profile: str
    age_margin: timedelta
    clock_skew: timedelta
    only_clients: Collection[str] = ()
    only_rows: WantedRows | None = None
    frequent: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    until: datetime | None = None
    lookups: Mapping[str, LookupTable] = field(default_factory=dict, repr=False)
    today: date | None = None

    @classmethod
    def of_upload(cls, upload: Upload, window: Window | None, deployment: Deployment, **narrowed: Any) -> Recipe:
        """The recipe of an upload as it is configured, without look-up tables unless given; no window: all rows."""
        platform = deployment.platform
        return cls(
            upload,
            select_by_row(upload, window) if window else None,
            deployment.clients,
            platform.profile,
            platform.age_margin,
            platform.clock_skew,
            until=window.until if window else None,
            **narrowed,
        )

    @property
    def identity_settings(self) -> dict[str, Any]:
        """How identity is normalised and hashed, as ``identity.hash_identity`` takes it."""
        return {
            "clients": self.clients,
            "profile": self.upload.profile,
            "default_profile": self.default_profile,
            "junk": self.upload.junk,
            "today": self.today,
        }

    def map_batch(self, rows: SourceRows, firsts: FirstRows | None = None) -> MappedRows:
        """All rows that are meant, readable. ``firsts``: what ``first_of`` and ``unique`` saw in earlier batches."""
        return map_rows(
            rows, self.upload, rows.window or self.window, lookups=self.lookups, firsts=firsts, until=self.until
        )

    def hash_batch(
        self,
        rows: SourceRows,
        *,
        firsts: FirstRows | None = None,
        cache: HashCache | None = None,
        observe: Observe | None = None,
    ) -> HashedRows:
        """The rows that the run is about, mapped and hashed; nothing readable of them outlives this call.

        ``cache`` keeps hashes of repeating values between batches, ``observe`` is shown the batch as it was read and
        mapped.
        """
        mapped = self.map_batch(rows, firsts)
        if observe is not None:
            observe(rows, mapped)
        mapped = select_wanted(select_clients(mapped, self.only_clients), self.only_rows)
        return hash_identity(mapped, **self.identity_settings, junk_of=self.frequent, cache=cache)

    def build_batch(self, rows: HashedRows, now: datetime) -> BuiltEvents:
        """The events of hashed rows, checked by Meta's rules as of ``now``; invalid and suppressed rows beside them."""
        upload = self.upload
        return build_events(
            rows,
            clients=self.clients,
            zone=upload.window.timezone,
            now=now,
            max_age=upload.max_age,
            max_bytes=upload.delivery.max_bytes,
            margin=self.age_margin,
            skew=self.clock_skew,
            exact_names=upload.event.name.exact,
            strict_website=upload.event.strict_website,
        )

    def prepare_batch(
        self,
        rows: SourceRows,
        now: datetime,
        *,
        firsts: FirstRows | None = None,
        cache: HashCache | None = None,
        observe: Observe | None = None,
        event_rows: int = EVENT_ROWS,
    ) -> Iterator[BuiltEvents]:
        """A batch as it was read, to events and counts, ``event_rows`` rows at a time."""
        for part in self.hash_batch(rows, firsts=firsts, cache=cache, observe=observe).split(event_rows):
            yield self.build_batch(part, now)
