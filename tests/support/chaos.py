"""A chaos night: many clients, one ledger, faults of every layer by seed, and books that balance all the same.

``python -m tests.support.chaos --seed 1 --clients 50 --events 1000000`` lays a source out, and sends it with the real
command, in rounds amid trouble: at Meta, at the clients' access, in the source, at the ledger; the command is killed
now and then, or runs twice at once. Then all is mended, and the command runs to its end. At the end every row has the
one fate that it was made for, and every good event counted exactly once, at its own pixel. A seed makes a night, as far
as chance goes; how far a process has come when it is killed is the machine's.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import csv

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.model import Fate
from offline_capi.pipeline import find_report, open_services
from offline_capi.report import RunReport
from offline_capi.sandbox import SandboxServer, SandboxSpec
from offline_capi.sandbox.faults import TELLS
from tests.delivery.commands import Commands
from tests.support.sandbox_server import Sandbox

COMMAND = ("upload", "sales", "--since", "2000-01-01", "--until", "2100-01-01")
PARTS = 20
#: Runs that all may be settled in, once everything is mended.
HEALTHY = 3
#: Strike requests at random. What a pause of theirs may cost stays small, or a night would be spent waiting.
PASSING: dict[str, dict[str, Any]] = {
    **{
        kind: {} for kind in ("unavailable", "unknown_error", "store_then_fail", "fail_then_store", "html", "malformed")
    },
    **{kind: {} for kind in ("cut_before_body", "cut_before_store", "cut_after_store", "cut_amid_answer")},
    **{kind: {"usage": 0, "times": 20} for kind in ("app_throttled", "user_throttled", "account_throttled")},
    "too_many_requests": {"retry_after": 0.5, "times": 10},
    "usage": {"usage": 80, "times": 3},
    "slow": {"delay": 0.3},
    "drip": {"drip": 0.001},
}
#: Strike a client's requests, all of them: nothing more of it is sent in this round.
STOPPING = ("expired_token", "no_permission", "no_object", "no_proof", "account_throttled")
#: What ends a round for everybody.
ENDING = ("old_version", "app_throttled")

UPLOAD = """
client: {column: client}
source: {path: "${CHAOS_HOME}/sales/part-*.csv"}
window: {column: sold_at, timezone: UTC}
event: {name: Purchase, id: "{sale}", action_source: physical_store}
user_data: {em: email}
custom_data: {value: {column: amount, type: number}, currency: EUR, order_id: sale}
consent: {column: consent, equals: "yes"}
delivery: {max_tries: 3, max_wait: 5s, timeout: 10s}
limits: {max_invalid: 100%}
"""


class Lot(NamedTuple):
    """Rows of one making: how many of a thousand, and the fate and reason in which they end."""

    share: float
    fate: Fate
    reason: str | None


#: Rows that are not good, by what is wrong with them. A bad one is refused by Meta, and nothing else is wrong with it.
LOTS = {
    "bad": Lot(0.3, Fate.REJECTED_BY_META, "100/2804019"),
    "without identity": Lot(3, Fate.INVALID, "no_identifier"),
    "too old": Lot(3, Fate.EXPIRED, "too_old"),
    "of the future": Lot(3, Fate.INVALID, "future"),
    "repeated": Lot(3, Fate.INVALID, "duplicate_event_id"),
    "without consent": Lot(3, Fate.SUPPRESSED, None),
    "of a paused client": Lot(2, Fate.DEFERRED, "paused_client"),
    "of nobody": Lot(2, Fate.DEFERRED, "unknown_client"),
}
MALFORMED = Lot(0, Fate.INVALID, "malformed_row")


# ---------------------------------------------------------------------------------------------- the source


@dataclass(frozen=True)
class Sales:
    """The rows: number by number, with what is wrong with each (0: nothing)."""

    clients: int
    wrong: Any

    @classmethod
    def drawn(cls, chance: random.Random, events: int, clients: int) -> Sales:
        shares = np.array([lot.share / 1000 for lot in LOTS.values()])
        draw = np.random.default_rng(chance.randrange(2**32)).random(events)
        wrong = np.searchsorted(np.cumsum(shares), draw, side="right") + 1
        wrong[wrong > len(LOTS)] = 0
        wrong[: 2 * clients] = np.repeat([0, 1], clients)  # every client has a row to be repeated, and a bad one
        return cls(clients, wrong)

    def of(self, lot: str) -> Any:
        """Numbers of the rows of a lot."""
        return np.flatnonzero(self.wrong == 1 + list(LOTS).index(lot))

    @cached_property
    def good(self) -> Any:
        return np.flatnonzero(self.wrong == 0)

    def client_of(self, number: int) -> str:
        return client_name(number % self.clients)

    def id_of(self, number: int) -> str:
        return f"{self.client_of(number)}-{number}"

    def table(self) -> pa.Table:
        numbers, now = np.arange(len(self.wrong)), datetime.now(UTC)
        clients = np.array([client_name(number) for number in range(self.clients)])[numbers % self.clients]
        own = np.char.add(np.char.add(clients, "-"), numbers.astype(str))
        repeated = self.of("repeated")
        own[repeated] = own[repeated % self.clients]
        columns = {
            "client": self._but(clients, {"of a paused client": "paused", "of nobody": "nobody"}),
            "sale": own,
            "sold_at": self._but(
                np.full(len(numbers), _moment(now - timedelta(hours=2))),
                {"too old": _moment(now - timedelta(days=80)), "of the future": _moment(now + timedelta(days=2))},
            ),
            "email": self._but(np.char.add(numbers.astype(str), "@example.com"), {"without identity": ""}),
            "amount": np.full(len(numbers), "12.5"),
            "consent": self._but(np.full(len(numbers), "yes"), {"without consent": "no"}),
        }
        return pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})

    def _but(self, values: Any, changed: dict[str, str]) -> Any:
        texts = values.astype(object)
        for lot, text in changed.items():
            texts[self.of(lot)] = text
        return texts


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def client_name(number: int) -> str:
    return f"c{number:03}"


def pixel_of(client: str) -> str:
    return str(10**14 + int(client[1:]))


def token_of(client: str) -> str:
    return f"EAAchaos{client}"


# ---------------------------------------------------------------------------------------------- the night


@dataclass
class Round:
    """What one round was like."""

    trouble: list[str]
    hits: Counter[str] = field(default_factory=Counter)
    codes: list[int] = field(default_factory=list)
    seconds: float = 0.0
    requests: int = 0


@dataclass
class Chaos:
    """A night in a folder of its own. ``say`` hears what happens."""

    home: Path
    sandbox: Sandbox
    seed: int
    clients: int
    events: int
    rounds: int = 10
    say: Callable[[str], None] = print
    chance: random.Random = field(init=False)
    sales: Sales = field(init=False)
    peak: dict[str, float] = field(default_factory=lambda: {"upload": 0.0, "sandbox": 0.0})

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.sales = Sales.drawn(self.chance, self.events, self.clients)
        self.names = [client_name(number) for number in range(self.clients)]
        self.env = {
            "CHAOS_HOME": str(self.home),
            "OFFLINE_CAPI_GRAPH_URL": self.sandbox.url,
            "OFFLINE_CAPI_LEDGER": f"sqlite:///{self.home}/ledger.db?timeout=2",
            "OFFLINE_CAPI_STAGE": str(self.home / "stage"),
            **{f"TOKEN_{name}": token_of(name) for name in self.names},
        }

    # ------------------------------------------------------------------------------------------ laying out

    def lay_out(self) -> None:
        (self.home / "dags" / "uploads").mkdir(parents=True)
        (self.home / "to come").mkdir()
        (self.home / "sales").mkdir()
        (self.home / "dags" / "uploads" / "sales.yml").write_text(UPLOAD, encoding="utf-8")
        lines = [
            f'  {name}: {{pixel_id: "{pixel_of(name)}", token: {{env: TOKEN_{name}}}, country: DE}}'
            for name in self.names
        ]
        lines.append(f'  paused: {{pixel_id: "{pixel_of("c999")}", token: {{env: TOKEN_c999}}, active: false}}')
        (self.home / "dags" / "clients.yml").write_text("clients:\n" + "\n".join(lines) + "\n", encoding="utf-8")
        table, size = self.sales.table(), -(-self.events // PARTS)
        for part in range(PARTS):
            path = self.home / "to come" / f"part-{part:02}.csv"
            csv.write_csv(table.slice(part * size, size), path)
            with path.open("a", encoding="utf-8") as file:
                file.write("one,line,that,is,not,split,as,it,should\n")
        for name in self.names:
            self.sandbox.grant(token_of(name), [pixel_of(name)])
        self.refuse_bad()

    def refuse_bad(self) -> None:
        ids = [self.sales.id_of(number) for number in self.sales.of("bad").tolist()]
        self.sandbox.refuse(*ids, tell=self.chance.choice(list(TELLS)))

    # ------------------------------------------------------------------------------------------ the rounds

    def run(self) -> list[Round]:
        """All rounds amid trouble, and then, all being mended, the command to its end."""
        self.lay_out()
        first, second = Commands(self.home, self.env), Commands(self.home, self.env)
        rounds = [self.troubled(number, [first, second]) for number in range(1, self.rounds + 1)]
        for _ in range(HEALTHY):
            rounds.append(self.one_round(["nothing"], [first], deaths=[None]))
            if not self.unsettled():
                break
        return rounds

    def unsettled(self) -> dict[str, int]:
        """Rows of the last run that another one would settle, by reason: a busy machine may hold some, too."""
        waiting = self.report()[0].tally.count_reasons(Fate.DEFERRED, Fate.UNCONFIRMED)
        made = {lot.reason for lot in LOTS.values()}
        return {reason: rows for (reason, _), rows in waiting.items() if reason not in made}

    def parts_come(self, last: int) -> None:
        for part in sorted((self.home / "to come").iterdir())[: last - len([*(self.home / "sales").iterdir()])]:
            part.rename(self.home / "sales" / part.name)

    def troubled(self, number: int, lanes: Sequence[Commands]) -> Round:
        """A round for which some more parts of the source have come."""
        chance, trouble = self.chance, []
        self.parts_come(PARTS * number // self.rounds)
        with ExitStack() as mended:
            mended.callback(self.mend)
            for make in (self.at_meta, self.of_access, self.of_source, self.of_ledger):
                trouble += make(mended)
            running = lanes[: chance.choice([1, 1, 2])]
            deaths = [self.when(0.1) if chance.random() < 0.4 else None for _ in running]
            trouble += ["twice at once"] * (len(running) > 1) + ["killed"] * sum(death is not None for death in deaths)
            return self.one_round(trouble, running, deaths)

    def one_round(self, trouble: list[str], lanes: Sequence[Commands], deaths: Sequence[float | None]) -> Round:
        done, started, before = Round(trouble), time.monotonic(), self.requests
        pids = [lane.start(*COMMAND) for lane in lanes]
        with self.watched(pids), ExitStack() as timers:
            for pid, death in zip(pids, deaths, strict=True):
                if death is not None:
                    timer = Timer(death, partial(_kill, pid))
                    timer.start()
                    timers.callback(timer.cancel)
            done.codes = [lane.ended() for lane in lanes]
        done.seconds, done.requests = time.monotonic() - started, self.requests - before
        done.hits = Counter({fault["fault"]["kind"]: fault["hits"] for fault in self.sandbox.faults if fault["hits"]})
        self.say(
            f"  {done.seconds:6.1f} s  {done.requests:>6,} requests  exit {done.codes}  {', '.join(trouble)}\n"
            f"            struck: {', '.join(f'{kind} {hits}' for kind, hits in done.hits.most_common()) or 'nothing'}"
        )
        return done

    def when(self, least: float) -> float:
        """Seconds in which a command is somewhere within its work."""
        return least + self.chance.random() * (1 + self.events / 40_000)

    @property
    def requests(self) -> int:
        return sum(own["requests"] for own in self.sandbox.totals.values())

    # ------------------------------------------------------------------------------------------ trouble

    def at_meta(self, _: ExitStack) -> list[str]:
        kinds = self.chance.sample(list(PASSING), self.chance.randint(3, 6))
        for kind in kinds:
            self.sandbox.fault(kind, **{"share": 0.05, "seed": self.chance.randint(0, 999), **PASSING[kind]})
        if self.chance.random() < 0.3:
            self.sandbox.fault("short_answer", event_share=20 / self.events, seed=self.chance.randint(0, 999))
        if self.chance.random() < 0.2:
            last = self.requests + self.chance.randint(2, 2 + self.events // 2000)
            self.sandbox.fault(self.chance.choice(ENDING), first_request=last, retry_after=3600)
            kinds.append("an end for everybody")
        self.sandbox.bad_event = self.chance.choice(["reject_all", "keep_valid"])
        return [f"{len(kinds)} kinds of faults"]

    def of_access(self, _: ExitStack) -> list[str]:
        revoked, stopped = (self.chance.sample(self.names, self.chance.randint(0, self.clients // 8)) for _ in "ab")
        for name in revoked:
            self.sandbox.revoke(token_of(name))
        for name in stopped:
            self.sandbox.fault(self.chance.choice(STOPPING), pixel=pixel_of(name), retry_after=3600)
        return [f"{len(revoked)} tokens revoked, {len(stopped)} clients stopped"] if revoked or stopped else []

    def of_source(self, mended: ExitStack) -> list[str]:
        """A part that breaks off amid a quoted value."""
        if self.chance.random() > 0.2:
            return []
        path = self.chance.choice(sorted((self.home / "sales").iterdir()))
        whole = path.read_bytes()
        mended.callback(path.write_bytes, whole)
        path.write_bytes(whole[: whole.index(b',"', len(whole) // 2) + 4])
        return ["a torn part of the source"]

    def of_ledger(self, mended: ExitStack) -> list[str]:
        """Another connection holds the ledger for longer than the command waits."""
        if self.chance.random() > 0.3:
            return []
        over = Event()
        holder = Thread(target=_hold, args=(self.home / "ledger.db", self.when(0.5), over))
        holder.start()
        mended.callback(holder.join)
        mended.callback(over.set)
        return ["the ledger held by another"]

    def mend(self) -> None:
        self.sandbox.heal()
        self.refuse_bad()
        for name in self.names:
            self.sandbox.grant(token_of(name), [pixel_of(name)])

    # ------------------------------------------------------------------------------------------ memory

    @contextmanager
    def watched(self, pids: Sequence[int]) -> Iterator[None]:
        done = Event()
        watcher = Thread(target=self._watch, args=(pids, done))
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _watch(self, pids: Sequence[int], done: Event) -> None:
        sandbox = self.sandbox.server.pid
        while not done.wait(0.1):
            self.peak["upload"] = max(self.peak["upload"], *map(_peak_mib, pids))
            self.peak["sandbox"] = max(self.peak["sandbox"], _peak_mib(sandbox))

    # ------------------------------------------------------------------------------------------ the end

    def report(self) -> tuple[RunReport, dict[str, tuple[str, str]]]:
        """The last run's report, and fate and reason of its events that did not arrive, by event id."""
        deployment = load_config(self.home / "dags", environ=self.env)
        with open_services(deployment, EnvironmentSecrets(self.env)) as services:
            report = find_report("last", services)
            table = services.stage.read_undelivered(report.run_id)
        columns = ("event_id", "fate", "reason")
        rows = zip(*(table[name].to_pylist() for name in columns), strict=True) if table is not None else ()
        return report, {event_id: (fate, reason) for event_id, fate, reason in rows}

    def verdict(self) -> list[str]:
        """Everything that is not as it has to be: nothing."""
        report, undelivered = self.report()
        return [*self._of_books(report), *self._of_events(undelivered)]

    def _of_books(self, report: RunReport) -> Iterator[str]:
        tally = report.tally
        if not tally.complete or tally.read != self.events + PARTS:
            yield f"{tally.read:,} rows read, {tally.accounted:,} have a fate, {self.events + PARTS:,} are there"
        for name, lot, rows in (
            *((making, lot, len(self.sales.of(making))) for making, lot in LOTS.items()),
            ("torn", MALFORMED, PARTS),
        ):
            booked = sum(n for (reason, _), n in tally.count_reasons(lot.fate).items() if reason == (lot.reason or ""))
            if booked != rows:
                yield f"rows {name}: {booked:,} booked as {lot.fate} {lot.reason}, {rows:,} were made"
        yield from (f"{rows:,} events wait: {reason}" for reason, rows in self.unsettled().items())

    def _of_events(self, undelivered: dict[str, tuple[str, str]]) -> Iterator[str]:
        """A good event counted once, or was refused by name; no other ever counted."""
        counted = np.zeros(self.events, int)
        for pixel, _, event_id, times, _ in self.sandbox.server.tallied():
            client, _, number = str(event_id).partition("-")
            counted[int(number)] += times
            if pixel != pixel_of(client):
                yield f"{event_id} reached pixel {pixel}"
        missing = self.sales.good[counted[self.sales.good] == 0].tolist()
        lost = [
            number for number in missing if undelivered.get(self.sales.id_of(number), ("",))[0] != Fate.REJECTED_BY_META
        ]
        wrong = np.flatnonzero((self.sales.wrong > 0) & (counted > 0))
        for name, which in (("lost", lost), ("counted twice", np.flatnonzero(counted > 1)), ("let through", wrong)):
            if len(which):
                yield f"{len(which):,} events were {name}, such as {self.sales.id_of(int(which[0]))}"


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended
        return


def _hold(path: Path, after: float, over: Event) -> None:
    if over.wait(after) or not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as ledger:
        ledger.execute("BEGIN IMMEDIATE")
        over.wait(4)
        ledger.execute("ROLLBACK")


def _peak_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def main() -> int:
    options = argparse.ArgumentParser(prog="make chaos")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--clients", type=int, default=50)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=10)
    chosen = options.parse_args()
    spec = SandboxSpec(keep_bodies=False)
    with tempfile.TemporaryDirectory() as folder, SandboxServer(spec) as server:
        chaos = Chaos(Path(folder), Sandbox(server), **vars(chosen), say=partial(print, flush=True))
        chaos.say(f"{chosen.events:,} rows of {chosen.clients} clients, {chosen.rounds} rounds, seed {chosen.seed}")
        started = time.monotonic()
        rounds = chaos.run()
        wrong = chaos.verdict()
        tell(chaos, rounds, wrong, time.monotonic() - started)
    return 1 if wrong else 0


def tell(chaos: Chaos, rounds: Sequence[Round], wrong: Sequence[str], seconds: float) -> None:
    report, _ = chaos.report()
    hits = sum((done.hits for done in rounds), Counter())
    codes = Counter(code for done in rounds for code in done.codes)
    lines = {
        "time": f"{seconds:.0f} s in {len(rounds)} rounds, {sum(done.requests for done in rounds):,} requests",
        "peak memory": ", ".join(f"{who} {mib:.0f} MiB" for who, mib in chaos.peak.items()),
        "ends of the command": ", ".join(f"{codes[code]} x {code}" for code in sorted(codes)),
        "faults that struck": ", ".join(f"{kind} {times:,}" for kind, times in hits.most_common()),
        "the last run's books": report.balance,
        "verdict": "; ".join(wrong) or "every row has its fate, every good event counted once",
    }
    for name, text in lines.items():
        chaos.say(f"{name:<22}{text}")


if __name__ == "__main__":
    sys.exit(main())
