"""What a run works with: the context that every stage is given."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import InitVar, dataclass, field
from datetime import timedelta
from zoneinfo import ZoneInfo

from offline_capi.config.run_texts import fill_in
from offline_capi.config.upload import Upload
from offline_capi.delivery import Rates
from offline_capi.guards.drift import DriftWatch
from offline_capi.guards.quotas import Quotas
from offline_capi.model import TableChanges, Tally, WantedRows, Window
from offline_capi.pipeline.joining import JoinedPieces
from offline_capi.pipeline.open_days import EarlierRuns, find_covered_window
from offline_capi.pipeline.pieces import MapPieces
from offline_capi.pipeline.recipe import Recipe
from offline_capi.pipeline.services import Services
from offline_capi.report import Books

__all__ = ["OnProgress", "RunContext", "ignore_progress"]

OnProgress = Callable[[Tally], None]


def ignore_progress(_: Tally) -> None:
    """For callers that show none."""


@dataclass(slots=True)
class RunContext:
    """One run: what it is about, how its rows become events, and its open books. Every stage is given it.

    ``clients`` and ``only`` narrow a run to some clients, or to the rows of a replay. ``force_gates`` lets a run pass
    that a gate would stop. ``quotas`` is what is left of each client's limit; runs of one call may share it.
    ``run_id`` stays empty for a plan, which the ledger does not record. ``map_pieces`` is the engine, where it is not
    the upload's own; ``stages.prepare_run`` sets what follows it. ``pieces`` are there where the engine maps pieces,
    ``changes`` where the run reads rows that came late into a table besides its window.
    """

    upload: Upload
    window: Window
    services: Services
    trigger: str = "manual"
    clients: Collection[str] = ()
    only: WantedRows | None = None
    test_event_code: str | None = None
    force_gates: bool = False
    shared_quotas: InitVar[Quotas | None] = None
    on_progress: OnProgress = ignore_progress
    run_id: str = ""
    map_pieces: MapPieces | None = None
    quotas: Quotas = field(init=False)
    recipe: Recipe = field(init=False)
    books: Books = field(init=False)
    drift: DriftWatch = field(init=False)
    past: EarlierRuns = field(init=False)
    pieces: JoinedPieces | None = field(default=None, init=False)
    changes: TableChanges | None = field(default=None, init=False)

    def __post_init__(self, shared_quotas: Quotas | None) -> None:
        self.quotas = shared_quotas or Quotas(self.services.deployment.recipients)

    @property
    def tally(self) -> Tally:
        return self.books.tally

    @property
    def is_narrowed(self) -> bool:
        """Whether it is about some clients or some rows only. Such a run settles no day and is no measure for gates."""
        return bool(self.clients) or self.only is not None

    @property
    def covered(self) -> Window | None:
        """What it reads for all clients, the look-back included; ``None`` if it settles no day."""
        return find_covered_window(self.upload, self.window, self.trigger, narrowed=self.is_narrowed)

    @property
    def retry_reserve(self) -> timedelta:
        """How long a request may still be on its way after it was cut: all its tries, and its last timeout."""
        return self.upload.delivery.max_wait + self.upload.delivery.timeout

    @property
    def rates(self) -> Rates:
        """How many requests may leave per second, by recipient and in all."""
        deployment = self.services.deployment
        limits = {name: client.limits.requests_per_second for name, client in deployment.recipients.items()}
        return Rates({name: rate for name, rate in limits.items() if rate}, deployment.platform.requests_per_second)

    def fill_upload_tag(self, client: str) -> str | None:
        """The ``upload_tag`` of a client's requests. It changes no event key: events do not carry it."""
        template, zone = self.upload.delivery.upload_tag, ZoneInfo(self.upload.window.timezone)
        if not template:
            return None
        ends = {"since": self.window.since.astimezone(zone), "until": self.window.until.astimezone(zone)}
        names = {
            "upload": self.upload.name,
            "run": self.run_id,
            "environment": self.services.deployment.environment,
            "client": client,
        }
        return fill_in(template, names, ends)
