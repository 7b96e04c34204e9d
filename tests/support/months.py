"""Months of nights with faults between them: what P20 promises, and P1, P2 and P3 over many nights in a row.

``simulate(seed, nights, ...)`` lives through a month of an upload with three clients: days without any run, tokens that
are revoked for some nights, answers that are lost, Meta out of reach, files that come late, rows that are wrong and
mended later, runs that are killed, a change of clocks. Then everything is healed, and nights go on until the last day
is too old for Meta. What has to be true then is in ``check_month``.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.errors import OfflineCapiError
from offline_capi.model import Reason
from offline_capi.sandbox import SandboxServer
from tests.support.night import PIXELS
from tests.support.nights import UPLOAD, Nights
from tests.support.sandbox_server import SPEC, Sandbox

#: Nights of the simulation after the last faulty one: all days are then too old for the upload, which takes four days.
HEALTHY_NIGHTS = 6
#: 25 October 2026, when clocks go back in Berlin, is the fifth day, and 29 March 2026, when they go forward.
FIRST_DAYS = (date(2026, 10, 20), date(2026, 3, 24))
MONTH = UPLOAD.replace(
    "{Shop: corner_shop, Outlet: nordic_outlet}", "{Shop: corner_shop, Outlet: nordic_outlet, Bank: acme_bank}"
).replace("delivery:", "max_age: 4d\ngates: {volume: {action: off}, rows: {action: off}}\ndelivery:")
BRANDS = {"Shop": "CORNER_SHOP_TOKEN", "Outlet": "NORDIC_OUTLET_TOKEN", "Bank": "ACME_BANK_TOKEN"}
#: Faults of one night, and how much of its requests they meet.
FAULTS = ("unavailable", "cut_before_store", "cut_after_store", "cut_amid_answer", "store_then_fail", "short_answer")


@dataclass
class Sale:
    """A row as it will be at the end, and the night from which on it is there in that form."""

    name: str
    day: int
    brand: str
    wrong_until: int = 0  # nights until it is mended; -1: never


@dataclass
class Month:
    """What a month was made of, and what its runs told."""

    seed: int
    nights: int
    sales: list[Sale] = field(default_factory=list)
    #: Day -> night on which its file comes; a day of which it is missing never gets one.
    file_comes: dict[int, int] = field(default_factory=dict)
    #: Losses told for the first time, by event id: fate and reason.
    told: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    #: Days whose final loss was told.
    closed: Counter[str] = field(default_factory=Counter)
    red_nights: int = 0


def simulate(home: Path, sandbox: Sandbox, seed: int, *, nights: int, rows: int) -> tuple[Month, Nights]:
    """Live through ``nights`` nights of at most ``rows`` rows a day, and the healthy ones after them."""
    chance = random.Random(seed)
    project = Nights(home, sandbox, chance.choice(FIRST_DAYS), upload=MONTH)
    month = Month(seed, nights)
    for day in range(nights):
        month.file_comes[day] = day + chance.choice((0, 0, 0, 0, 0, 1, 2, 9))
        for number in range(chance.randint(1, rows)):
            wrong = chance.choice((0, 0, 0, 0, 0, 0, 2, 4, -1))
            month.sales.append(Sale(f"s{seed}x{day}x{number}", day, chance.choice(list(BRANDS)), wrong))
    outage = 0
    for night in range(nights + HEALTHY_NIGHTS):
        _lay_files(project, month, night)
        healthy = night >= nights
        if not healthy:
            outage = outage - 1 if outage else chance.choice((0, 0, 0, 0, 0, 0, 1, 2, 4)) if night else 0
            if outage:
                continue
        with _trouble(project, chance, healthy=healthy):
            _run(project, month, night, chance, healthy=healthy)
    _collect(project, month)
    return month, project


def _lay_files(project: Nights, month: Month, night: int) -> None:
    """The files as they are on this night: those that have come, with the rows that are still wrong."""
    for day in range(min(night + 1, month.nights)):
        if month.file_comes[day] > night:
            continue
        rows = []
        for sale in (one for one in month.sales if one.day == day):
            wrong = sale.wrong_until == -1 or night < day + sale.wrong_until
            rows += project.sell(day, sale.name, brand=sale.brand, **({"amount": "much"} if wrong else {}))
        project.write(day, rows)
    for day in range(month.nights, night + 1):  # the days after the month sell nothing
        project.write(day, project.sell(day, f"n{month.seed}x{day}"))


@contextmanager
def _trouble(project: Nights, chance: random.Random, *, healthy: bool) -> Iterator[None]:
    """The faults of one night; tokens that were revoked may stay so for the next ones."""
    sandbox = project.sandbox
    sandbox.heal()
    for token in BRANDS.values():
        if healthy or chance.random() < 0.6:
            sandbox.grant(SAMPLE_TOKENS[token], [PIXELS[token]])
        if not healthy and chance.random() < 0.12:
            sandbox.revoke(SAMPLE_TOKENS[token])
    for kind in chance.sample(FAULTS, 0 if healthy else chance.choice((0, 0, 1, 2))):
        share = {"event_share": 0.2} if kind == "short_answer" else {"share": chance.choice((0.3, 1.0))}
        sandbox.fault(kind, seed=chance.randint(0, 99), **share)
    yield


def _run(project: Nights, month: Month, night: int, chance: random.Random, *, healthy: bool) -> None:
    """One night; now and then the process dies while it reads or sends, and sometimes `settle` runs at noon."""
    dies = not healthy and chance.random() < 0.1
    deaths_at = chance.randint(1, 6)
    entries = 0

    def die(_: object) -> None:
        nonlocal entries
        entries += 1
        if dies and entries == deaths_at:
            raise KeyboardInterrupt

    try:
        outcome = project.run(night, on_progress=die)
        month.red_nights += not outcome.complete
    except KeyboardInterrupt:
        month.red_nights += 1
    except OfflineCapiError:
        month.red_nights += 1
    if chance.random() < 0.3:
        project.move_to(project.at(night + 1, 12))
        settled = project.settle()
        month.closed.update(day.day.isoformat() for day in settled.closed)


def _collect(project: Nights, month: Month) -> None:
    """What the runs of the month told of for the first time."""
    with project.services() as services:
        for run in services.ledger.runs.list_newest(1_000):
            if run.report:
                month.closed.update(list(run.report["tally"].get("closed", {})))
            table, _ = services.stage.read_unsent(run.id)
            rows = table.to_pylist()
            for row in rows:
                final = row["fate"] in ("invalid", "expired", "rejected_by_meta") or row["reason"] == Reason.UNSETTLED
                if final and row.get("known_since") is None and row["event_id"]:
                    month.told.setdefault(row["event_id"], []).append((row["fate"], row["reason"]))


def check_month(project: Nights, month: Month) -> list[str]:
    """What is wrong with the end of a month: nothing, if every row was sent once or told once."""
    faults, counted = [], project.counted
    for sale in month.sales:
        times = counted.get(sale.name, 0)
        told = month.told.get(sale.name, [])
        closed = month.closed[project.day(sale.day).isoformat()]
        where = f"seed {month.seed}, {sale}: "
        if times > 1:
            faults.append(f"{where}counted {times} times")
        if times == 0 and not told and not closed:
            faults.append(f"{where}neither sent nor told")
        if len(told) != len(set(told)):
            faults.append(f"{where}told twice: {told}")
        if closed > 1:
            faults.append(f"{where}its day was told as closed {closed} times")
    return faults


def main() -> None:
    """``make month``: the large form. Prints each month with its figures, and fails when a promise was broken."""
    options = argparse.ArgumentParser(prog="make month")
    options.add_argument("--months", type=int, default=10)
    options.add_argument("--first-seed", type=int, default=1_000)
    options.add_argument("--nights", type=int, default=30)
    options.add_argument("--rows", type=int, default=20, help="rows of a day at most")
    chosen, say = options.parse_args(), partial(print, flush=True)
    faults: list[str] = []
    with SandboxServer(SPEC) as server:
        for seed in range(chosen.first_seed, chosen.first_seed + chosen.months):
            sandbox = Sandbox(server)
            sandbox.reset()
            with TemporaryDirectory() as home:
                month, project = simulate(Path(home), sandbox, seed, nights=chosen.nights, rows=chosen.rows)
                found, counted = check_month(project, month), sum(project.counted.values())
            faults += found
            told = f"{len(month.told)} told, {len(month.closed)} days closed, {month.red_nights} red nights"
            say(f"seed {seed}: {len(month.sales)} rows, {counted} events counted, {told}, {len(found)} faults")
    say("\n".join(faults) or "every row was sent once or told once")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
