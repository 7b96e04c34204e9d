"""Preparing with two worker processes beside none: rows in, events looked up in a ledger, nothing sent.

One process uses 1.0 to 1.3 cores already, and its reader some more. ``python -m tests.benchmarks.processes``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.model import Window
from offline_capi.pipeline import open_services, plan_upload
from offline_capi.runtime.process import block_imports, set_up_process
from tests.benchmarks.__main__ import UPLOADS, make_rows, measured, misses_aim, say, summarise
from tests.benchmarks.night import NIGHT, NOW, processor_seconds
from tests.support.golden import environment

ROWS = 1_000_000
#: How many times as fast two processes prepare as one does (issue 21).
MIN_RATIO = 1.6
ROUNDS = 2


def prepare(upload: str, home: Path, processes: int) -> dict[str, float]:
    """Seconds to prepare the rows with so many workers; with one, this process does it all."""
    environ = environment(home)
    os.environ.update(environ)
    deployment = load_config(Path("dags"), environ=environ)
    one = deployment.uploads[upload]
    one = one.model_copy(update={"engine": one.engine.model_copy(update={"processes": processes})})
    with open_services(deployment, EnvironmentSecrets(environ), clock=lambda: NOW) as services:
        started, processor = time.perf_counter(), processor_seconds()
        report = plan_upload(one, Window.of_day(NIGHT, one.window.timezone), services)
        seconds = time.perf_counter() - started
    return {"rows": report.tally.read, "seconds": seconds, "processor_seconds": processor_seconds() - processor}


def main() -> None:
    home, missed = make_rows(ROWS), False
    for upload in UPLOADS:
        runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for processes, taken in runs.items():
                taken.append(measured("processes", upload, str(home), str(processes)))
        say(f"{upload}, {ROWS:,} rows prepared, least of {ROUNDS}")
        for processes, taken in runs.items():
            least = min(taken, key=lambda one: one["seconds"])
            say(
                f"  {processes} process{'es' if processes > 1 else ''}: {least['seconds']:5.2f} s,"
                f" {least['processor_seconds']:5.2f} s of processor time,"
                f" {max(one['process_mib'] for one in taken):4.0f} MiB a process,"
                f" {max(one['peak_mib'] for one in taken):4.0f} in all"
            )
        one, two = (min(run["seconds"] for run in taken) for taken in runs.values())
        spread = max(summarise([run["seconds"] for run in taken])[1] for taken in runs.values())
        say(f"  {one / two:.2f} times as fast (aim: {MIN_RATIO}; spread of this run: {spread:.0%})")
        missed |= misses_aim(one / two, MIN_RATIO, spread)
    sys.exit(missed)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        set_up_process()
        block_imports("pandas")
        print(json.dumps(prepare(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201  read by main
    else:
        main()
