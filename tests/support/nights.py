"""Several nights in a row: an upload whose rows a test writes day by day, and a clock that it moves.

``Nights`` sets the clock of the services and of the sandbox together. Each night runs at 03:00 of the day after, in the
zone of the upload, as a scheduler would start it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.model import UploadDay, Window
from offline_capi.pipeline import Services, open_services, run_upload
from offline_capi.pipeline.open_days import list_days, read_calendar
from offline_capi.pipeline.settle import NightlyResult as NightOutcome
from offline_capi.pipeline.settle import SettlementResult, run_nightly, settle_upload
from offline_capi.report import RunReport
from tests.support.night import Night
from tests.support.sales import Row, write
from tests.support.sandbox_server import Sandbox

UPLOAD = """
client: {column: brand, map: {Shop: corner_shop, Outlet: nordic_outlet}}
source: {path: "${OFFLINE_CAPI_DATA}/sales/sales_{date}.csv"}
window: {column: sold_at, timezone: Europe/Berlin}
event: {name: Purchase, id: "{sale}", time: sold_at, action_source: system_generated}
user_data: {em: email}
custom_data: {value: {column: amount, type: number}, currency: currency}
limits: {max_invalid: 0%}
delivery: {max_tries: 1, max_events: 7, concurrency: 2}
"""
NAME = "sales"


class Nights:
    """A project whose upload ``sales`` reads one file a day."""

    def __init__(self, home: Path, sandbox: Sandbox, first: date, upload: str = UPLOAD) -> None:
        self.night = Night(home, sandbox)
        self.night.env["OFFLINE_CAPI_DATA"] = str(home)
        self.night.write("dags/uploads/sales.yml", upload)
        self.sandbox, self.first = sandbox, first
        self.zone = ZoneInfo("Europe/Berlin")
        self.moment = self.at(1)

    # ------------------------------------------------------------------------------------------ days and rows

    def day(self, number: int) -> date:
        """The calendar day ``number`` days after the first."""
        return self.first + timedelta(days=number)

    def at(self, number: int, hour: int = 3) -> datetime:
        return datetime.combine(self.day(number), time(hour), self.zone)

    def sell(self, number: int, *names: str, brand: str = "Shop", **other: str) -> list[Row]:
        """Rows of a day, at its noon."""
        return [
            {
                "sale": name,
                "brand": brand,
                "sold_at": self.at(number, 12).isoformat(),
                "email": f"buyer.{name}@example.com",
                "amount": "12.50",
                "currency": "EUR",
            }
            | other
            for name in names
        ]

    def write(self, number: int, rows: Sequence[Row]) -> None:
        """The file of a day, written anew."""
        write(self.night, rows, f"sales_{self.day(number)}.csv")

    def remove(self, number: int) -> None:
        (self.night.home / "sales" / f"sales_{self.day(number)}.csv").unlink()

    # ------------------------------------------------------------------------------------------ runs

    def now(self) -> datetime:
        """A millisecond later each time it is asked, so that runs begin one after the other."""
        self.moment += timedelta(milliseconds=1)
        return self.moment

    def move_to(self, moment: datetime) -> None:
        """It is this moment now, here and at Meta."""
        self.moment = moment
        self.sandbox.clock = moment.timestamp()

    @contextmanager
    def services(self) -> Iterator[Services]:
        deployment = load_config(self.night.home / "dags", environ=self.night.env)
        with open_services(deployment, EnvironmentSecrets(self.night.env), clock=self.now) as services:
            yield services

    def run(self, number: int, **options: Any) -> NightOutcome:
        """The night over day ``number``, at 03:00 of the day after."""
        self.move_to(self.at(number + 1))
        with self.services() as services:
            upload = services.deployment.uploads[NAME]
            window = Window.of_day(self.day(number), self.zone.key)
            return run_nightly(upload, window, services, trigger="scheduled", **options)

    def upload(self, number: int, **options: Any) -> RunReport:
        """Day ``number`` alone, now."""
        with self.services() as services:
            upload = services.deployment.uploads[NAME]
            return run_upload(upload, Window.of_day(self.day(number), self.zone.key), services, **options)

    def settle(self, **options: Any) -> SettlementResult:
        with self.services() as services:
            return settle_upload(services.deployment.uploads[NAME], services, **options)

    def days(self) -> dict[date, UploadDay]:
        """The days that Meta may still take, by date."""
        with self.services() as services:
            upload = services.deployment.uploads[NAME]
            return {day.day: day for day in list_days(upload, services.deployment, services.ledger, self.moment)}

    def states(self) -> str:
        """``complete open open``: the days since the first, as many as are over."""
        with self.services() as services:
            upload = services.deployment.uploads[NAME]
            calendar = read_calendar(upload, services.deployment, services.ledger, self.moment, first=self.first)
            return " ".join(day.state.value for day in calendar.days)

    @property
    def counted(self) -> dict[str, int]:
        """How often each event counted at Meta, by event id."""
        return {key.rsplit("/", 1)[1]: times for key, times in self.night.counted.items()}
