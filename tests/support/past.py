"""A ledger with runs of the past, written as runs write them: for tests of what is told of a month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from offline_capi.cli.shell import environment_secrets
from offline_capi.config import load_config
from offline_capi.config.upload import LossLimits
from offline_capi.ledger import Ledger
from offline_capi.model import Count, Fate, SentEvents, Tally, ValueCell, Window
from offline_capi.operations.client_report import make_client_report
from offline_capi.pipeline import Services
from offline_capi.report import make_report
from offline_capi.report.client_report import ClientReport

ZONE = "Europe/Berlin"
#: When reports of these tests are made.
NOW = datetime(2026, 11, 29, 7, tzinfo=UTC)
CLIENTS = """
clients:
  nordic_outlet: {pixel_id: "1300000000000003", token: {env: NORDIC_TOKEN}, timezone: Europe/Berlin}
  corner_shop: {pixel_id: "1300000000000004", token: {env: CORNER_TOKEN}, timezone: Europe/Berlin}
"""
UPLOAD = """
client: {column: brand, map: {Shop: corner_shop, Outlet: nordic_outlet}}
source: {path: "landing/corner_shop_and_nordic_outlet_*.csv"}
window: {column: sold_at, timezone: Europe/Berlin}
event: {name: Purchase, id: "{sale}", time: sold_at, action_source: physical_store}
user_data: {em: email, ph: phone}
custom_data: {value: {column: amount, type: number}, currency: currency}
"""
PIXELS = {"nordic_outlet": "1300000000000003", "corner_shop": "1300000000000004"}


@dataclass(slots=True)
class Past:
    """A project in ``home`` whose ledger is filled by hand."""

    home: Path
    numbers: Any = field(default_factory=count)

    def __post_init__(self) -> None:
        for name, text in {"clients.yml": CLIENTS, "uploads/sales.yml": UPLOAD}.items():
            path = self.home / "dags" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    @property
    def url(self) -> str:
        return f"sqlite:///{self.home / 'offline_capi.db'}"

    @property
    def environment(self) -> dict[str, str]:
        return {"OFFLINE_CAPI_LEDGER": self.url, "OFFLINE_CAPI_STAGE": str(self.home / "stage")}

    def run(
        self,
        tally: Tally,
        day: date,
        *,
        upload: str = "sales",
        trigger: str = "scheduled",
        days: int = 1,
        after: timedelta = timedelta(),
    ) -> str:
        """A run over ``days`` that end with ``day``, at three in the morning after it and ``after``."""
        window = Window(Window.of_day(day - timedelta(days=days - 1), ZONE).since, Window.of_day(day, ZONE).until)
        moment = window.until + timedelta(hours=3, seconds=next(self.numbers)) + after
        whole = not (tally.narrowed or trigger in ("replay", "test", "plan"))
        with Ledger(self.url) as ledger:
            run_id = ledger.runs.begin(
                upload,
                window,
                trigger=trigger,
                now=moment.astimezone(UTC),
                covered_since=window.since if whole else None,
            )
            report = make_report(
                run_id=run_id, upload=upload, window=window, trigger=trigger,
                started_at=moment, ended_at=moment, tally=tally, limits=LossLimits(max_invalid=1, max_suppressed=1),
            )  # fmt: skip
            ledger.runs.finish(run_id, status=report.status.value, report=report.to_json(), now=moment.astimezone(UTC))
        return run_id

    @contextmanager
    def services(self, now: datetime = NOW) -> Iterator[Services]:
        deployment = load_config(self.home / "dags", environ=self.environment)
        with Ledger(self.url) as ledger:
            yield Services(deployment, environment_secrets(), ledger, lambda: now)

    def report(self, client: str = "nordic_outlet", *, now: datetime = NOW, **options: Any) -> ClientReport:
        with self.services(now) as services:
            return make_client_report(client, services, **options)


def books(
    day: date,
    sent: int = 0,
    *,
    client: str = "nordic_outlet",
    name: str = "Purchase",
    values: Mapping[str, float] | None = None,
    keys: Mapping[str, int] | None = None,
    pixel: str | None = None,
    **unsent: int | Mapping[str, int],
) -> Tally:
    """The books of a run for one client and day; ``invalid=3``, or ``invalid={"bad_currency": 3}``."""
    fates = Counter({Count(Fate.SENT, client, day): sent} if sent else {})
    for fate, reasons in unsent.items():
        for reason, rows in reasons.items() if isinstance(reasons, Mapping) else [(None, reasons)]:
            fates[Count(Fate(fate), client, day, reason)] += rows
    worth = values or {}
    rest = sent - len(worth)
    cells = {ValueCell(client, name, currency, day): (1, amount) for currency, amount in worth.items()}
    if rest > 0:
        cells[ValueCell(client, name, "", day)] = (rest, 0.0)
    read = fates.total()
    noon = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=12)
    return Tally(
        read=read,
        fates=fates,
        read_of=Counter({client: read}),
        sendable=sent,
        sendable_of=Counter({client: sent}),
        keys=dict(keys or {}),
        keys_of={(client, key): n for key, n in (keys or {}).items()},
        sent_events=Counter({SentEvents(client, pixel or PIXELS[client], name, day): sent} if sent else {}),
        sent_value={(client, currency): amount for currency, amount in worth.items()},
        sent_cells=cells,
        newest_sent={client: int(noon.timestamp())} if sent else {},
    )
