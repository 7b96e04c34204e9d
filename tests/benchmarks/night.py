"""One whole night of one upload, in a process of its own: rows in, events counted by a sink, ledger on.

``python -m tests.benchmarks.night UPLOAD HOME URL`` prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.events import build_events
from offline_capi.guards.duplicates import SeenKeys
from offline_capi.identity import HashCache, hash_identity
from offline_capi.mapping import map_rows
from offline_capi.model import Fate, Window
from offline_capi.pipeline import BATCH_ROWS_OF_RUN, EVENT_ROWS_OF_RUN, open_services, read_rows, run_upload
from offline_capi.report import Books
from offline_capi.runtime.process import block_imports, set_up_process
from tests.support.golden import environment

NIGHT = date(2026, 11, 23)
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)

T = TypeVar("T")


def night(upload: str, home: Path, url: str) -> dict[str, Any]:
    """Send the night's rows to ``url``; an empty ledger each time."""
    for left in home.glob("ledger.db*"):
        left.unlink()
    environ = environment(home) | {"OFFLINE_CAPI_GRAPH_URL": url}
    os.environ.update(environ)
    deployment = load_config(Path("dags"), environ=environ)
    one = deployment.uploads[upload]
    window = Window.of_day(NIGHT, one.window.timezone)
    opened = open_services(deployment, EnvironmentSecrets(environ), clock=lambda: NOW)
    with opened as services:
        started, processor = time.perf_counter(), processor_seconds()
        report = run_upload(one, window, services)
        seconds = time.perf_counter() - started
    return {
        "rows": report.tally.read,
        "sent": report.tally.count(Fate.SENT),
        "requests": report.tally.requests,
        "seconds": seconds,
        "processor_seconds": processor_seconds() - processor,
    }


def processor_seconds() -> float:
    """Of this process, and of those that it started and that have ended."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def stages(upload: str, home: Path) -> dict[str, Any]:
    """Seconds and processor seconds of each stage alone, one after the other, nothing overlapping."""
    environ = environment(home)
    os.environ.update(environ)
    deployment = load_config(Path("dags"), environ=environ)
    one = deployment.uploads[upload]
    window, zone = Window.of_day(NIGHT, one.window.timezone), one.window.timezone
    clients, spent, rows, books = deployment.clients, Spent(), 0, Books()
    seen, cache = SeenKeys(), HashCache()
    with open_services(deployment, EnvironmentSecrets(environ), clock=lambda: NOW) as services:
        for batch in spent.each("read", read_rows(one, window, services, prefetch=False, batch_rows=BATCH_ROWS_OF_RUN)):
            rows += len(batch)
            mapped = spent.on("map", map_rows, batch, one)
            hashed = spent.on("hash", hash_identity, mapped, clients=clients, cache=cache)
            for part in hashed.split(EVENT_ROWS_OF_RUN):
                built = spent.on("build", build_events, part, clients=clients, zone=zone, now=NOW)
                spent.on("look for repeats", seen.split, built.events)
                books.enter_built(built)
    return {"rows": rows, "seconds": spent.seconds, "processor_seconds": spent.processor_seconds}


class Spent:
    """Seconds, and those of the processor, by step."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.processor_seconds: Counter[str] = Counter()

    def on(self, step: str, work: Any, *args: Any, **kwargs: Any) -> Any:
        started, processor = time.perf_counter(), processor_seconds()
        result = work(*args, **kwargs)
        self.seconds[step] += time.perf_counter() - started
        self.processor_seconds[step] += processor_seconds() - processor
        return result

    def each(self, step: str, items: Iterator[T]) -> Iterator[T]:
        end = object()
        while (item := self.on(step, next, items, end)) is not end:
            yield item


if __name__ == "__main__":
    set_up_process()  # its environment came from the parent, which set it before Arrow and polars were imported here
    block_imports("pandas")  # as the command line where no upload has a transform hook
    what, upload, home = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    done = stages(upload, home) if what == "stages" else night(upload, home, sys.argv[4])
    print(json.dumps(done))  # noqa: T201  read by the benchmark
