"""How a ledger grows: size on disk and time of a claim, from empty on, each as a ratio to the start.

``python -m tests.benchmarks.ledger --keys 10000000`` fills a SQLite ledger, and a PostgreSQL one where its binaries
are, with requests of 1,000 random keys: look up, claim, record, as an upload does. A claim's time is the mean of a
step: now and then one puts all waiting keys into the index, and that is paid for as well. ``--filled 100000000`` puts
so many keys into the index first, a million at once, which takes minutes instead of an hour.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from offline_capi.ledger import Ledger
from offline_capi.ledger.schema.tables import request
from offline_capi.model import EventBatch, Fate, Outcome, Request
from tests.benchmarks.__main__ import bench_folder, say
from tests.delivery.sending import ACME, WINDOW, batch, names
from tests.support.postgres import find_binaries, running_server
from tests.support.sandbox_server import PIXEL

A_REQUEST = 1000
A_MILLION = A_REQUEST * 1000
A_LOOK = 8  # requests looked up at once, as ``pipeline.EVENT_ROWS`` has them
STEPS = 10


@dataclass(frozen=True)
class Figures:
    """At one size: milliseconds for 1,000 events, and bytes on disk for one."""

    keys: int
    look_up: float
    claim: float
    bytes_a_key: float


def grow(ledger: Ledger, keys: int) -> Iterator[tuple[int, float, float]]:
    """Fill it; after each step the size and the milliseconds of a look-up (median) and a claim (mean) of 1,000."""
    run, template = ledger.runs.begin("benchmark", WINDOW, trigger="manual", now=datetime.now(UTC)), some_events()
    step = max(1, keys // (STEPS * A_LOOK * A_REQUEST))
    for done in range(STEPS):
        looks, claims = [], []
        for number in range(step):
            events = with_keys(template, done * step + number)
            looks.append(timed(lambda: ledger.journal.look_up(events, run_id=run, now=datetime.now(UTC))) / A_LOOK)  # noqa: B023
            claims += [timed(lambda: send(ledger, run, part)) for part in parts(events)]  # noqa: B023
        size = (done + 1) * step * A_LOOK * A_REQUEST
        yield size, 1000 * statistics.median(looks), 1000 * statistics.fmean(claims)
    ledger.runs.finish(run, status="ok", report=None, now=datetime.now(UTC))


def fill(ledger: Ledger, keys: int) -> None:
    """Put ``keys`` random keys into the index, a million at a time."""
    rng = np.random.default_rng(7)
    for million in range(-(-keys // A_MILLION)):
        blob = rng.bytes(16 * A_MILLION)
        rows = [old_request(million * A_REQUEST + n, blob[n * 16_000 : (n + 1) * 16_000]) for n in range(A_REQUEST)]
        with ledger.begin_write() as connection:
            connection.execute(sa.insert(request), rows)
            ledger.journal._index.merge(connection)


def old_request(number: int, keys: bytes) -> dict[str, object]:
    return {
        "id": number + 1,
        "run_id": "old",
        "sender_id": 0,
        "client": ACME,
        "pixel": PIXEL,
        "state": "accepted",
        "offline": False,
        "events": A_REQUEST,
        "digest": hashlib.sha256(keys).digest(),
        "posted_at": 1.0,
        "waiting_keys": keys,
    }


def send(ledger: Ledger, run: str, events: EventBatch) -> None:
    request = ledger.journal.claim(run, Request("", ACME, PIXEL, events)).request
    ledger.journal.record([Outcome(request, Fate.SENT, datetime.now(UTC))])


def some_events() -> EventBatch:
    return batch(names("e", A_LOOK * A_REQUEST))


def with_keys(events: EventBatch, number: int) -> EventBatch:
    """The same events under other keys, as random as digests are."""
    seed = int.from_bytes(hashlib.sha256(number.to_bytes(8, "big")).digest()[:8], "big")
    keys = np.random.default_rng(seed).bytes(16 * len(events))
    place = events.table.schema.get_field_index("key")
    column = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(events), [None, pa.py_buffer(keys)])
    return EventBatch(events.table.set_column(place, events.table.schema.field(place), column))


def parts(events: EventBatch) -> list[EventBatch]:
    return [events.slice(start, A_REQUEST) for start in range(0, len(events), A_REQUEST)]


def timed(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


# ---------------------------------------------------------------------------------------------- databases


@contextmanager
def sqlite() -> Iterator[tuple[str, Path | None]]:
    with tempfile.TemporaryDirectory(dir=bench_folder()) as folder:
        yield f"sqlite:///{folder}/ledger.db", Path(folder)


@contextmanager
def postgresql() -> Iterator[tuple[str, Path | None]]:
    binaries = find_binaries()
    if binaries is None:
        raise LookupError
    with running_server(binaries) as url:
        yield url, None


def size_of(url: str, folder: Path | None) -> int:
    """Bytes on disk: SQLite's file with its log, or what PostgreSQL says of the database."""
    if folder is not None:
        return sum(path.stat().st_size for path in folder.iterdir())
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar() or 0)


def measure(name: str, keys: int, seconds: float, filled: int) -> None:
    first = None
    with ExitStack() as stack:
        try:
            url, folder = stack.enter_context({"SQLite": sqlite, "PostgreSQL": postgresql}[name]())
        except LookupError:
            say(f"{name}: no binaries here")
            return
        with Ledger(url) as ledger:
            empty, started = size_of(url, folder), time.monotonic()
            fill(ledger, filled)
        ledger = stack.enter_context(Ledger(url))  # which finds the keys there, as an upload does
        say(f"{name}: {filled:,} keys filled in, {(time.monotonic() - started):.0f} s")
        give_up_at = time.monotonic() + seconds
        say(f"{name}: milliseconds for 1,000 keys (and as a ratio to the first step), bytes on disk a key")
        for more, look_up, claim in grow(ledger, keys):
            size = filled + more
            figures = Figures(size, look_up, claim, (size_of(url, folder) - empty) / size)
            first = first or figures
            say(line(figures, first))
            if time.monotonic() > give_up_at:
                say(f"  stopped after {seconds:g} s")
                return


def line(now: Figures, first: Figures) -> str:
    return (
        f"  {now.keys:>12,} keys   look-up {now.look_up:7.2f} ({now.look_up / first.look_up:4.1f}x)"
        f"   claim and record {now.claim:7.2f} ({now.claim / first.claim:4.1f}x)   {now.bytes_a_key:6.1f} bytes"
    )


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks.ledger")
    options.add_argument("--keys", type=int, default=400_000, help="10000000 for a ledger of a year")
    options.add_argument("--filled", type=int, default=0, help="keys in the index before the first step")
    options.add_argument("--seconds", type=float, default=300, help="stop growing after so long")
    options.add_argument("--only", choices=["SQLite", "PostgreSQL"])
    chosen = options.parse_args()
    for name in ("SQLite", "PostgreSQL"):
        if chosen.only in (None, name):
            measure(name, chosen.keys, chosen.seconds, chosen.filled)


if __name__ == "__main__":
    main()
