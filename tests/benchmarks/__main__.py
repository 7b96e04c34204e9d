"""``make bench``: speed and memory, each beside the official SDK in the same run.

Machines are noisy, so a figure is only worth its ratio: the SDK runs before and after ours, on the same rows, to the
same counting sink. ``python -m tests.benchmarks --rows 100000`` is the quick form.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from offline_capi.runtime.process import ALLOCATOR_SETTINGS, set_up_process
from tests.benchmarks.data import scale
from tests.benchmarks.memory import Memory
from tests.benchmarks.night import NIGHT
from tests.benchmarks.sink import Sink

UPLOADS = ("credit_approvals", "store_purchases")
MAX_MIB = 600
#: How many times as fast as the SDK's loop a whole run is, its ledger on, and one of so many rows (issue 21).
MIN_RATIO, LONG_RUN_ROWS, MIN_RATIO_OF_LONG_RUN = 20, 10_000_000, 18
#: Runs of an upload, each between two of the SDK: a machine's speed changes by some percent within a minute.
RUNS = 2
#: What is measured beside whole nights, a module each, with what it is held against.
PARTS = {
    "reading": "a query as Arrow beside the same through SQLAlchemy",
    "identity": "normalising and hashing beside the SDK",
    "payload": "building beside the SDK",
    "rows": "mapped rows to payload bytes beside the SDK, on one core and on both",
    "processes": "preparing with two processes beside one",
    "drt": "a whole run beside drt-core's destination on the same rows",
    "wire": "a run beside what the wire allows",
    "delivery": "sending with the ledger beside sending without",
    "clients": "many clients beside one",
    "sandbox": "judging a request beside reading it",
    "ledger": "a claim as the ledger grows, beside its start",
    "border": "a run beside the same run whose border lets everything through",
}


def main() -> None:
    options = argparse.ArgumentParser(prog="make bench")
    options.add_argument("--rows", type=int, default=1_000_000, help="rows of each upload")
    options.add_argument("--sdk-rows", type=int, default=20_000, help="rows that the SDK sends, before and after")
    options.add_argument("--only", choices=["night", *PARTS], help="one part")
    chosen = options.parse_args()
    set_up_process()  # for the processes that measure, as the command line does
    missed: list[str] = []
    if chosen.only in (None, "night"):
        missed += nights(chosen.rows, chosen.sdk_rows)
    for part, what in PARTS.items():
        if chosen.only in (None, part):
            say(f"\n{part}: {what}")
            done = subprocess.run([sys.executable, "-m", f"tests.benchmarks.{part}"], check=False)
            missed += [part] * bool(done.returncode)
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


def nights(rows: int, sdk_rows: int) -> list[str]:
    """Both uploads' nights; returns what broke its bound."""
    home = make_rows(rows)
    with Sink() as sink:
        return [missed for upload in UPLOADS for missed in one_night(upload, home, sink.url, sdk_rows)]


def make_rows(rows: int) -> Path:
    """The folder with so many rows of each upload, which are made once."""
    home = bench_folder() / str(rows)
    if not (home / "made").exists():
        say(f"making {rows:,} rows of each upload in {home} ...")
        scale(home, rows, NIGHT)
        (home / "made").touch()
    return home


def misses_aim(ratio: float, aim: float, spread: float) -> bool:
    """Whether a ratio is below its aim by more than the run's own ``spread``, a share: machines are noisy."""
    return ratio < aim * (1 - spread)


def one_night(upload: str, home: Path, url: str, sdk_rows: int) -> list[str]:
    """Print the figures of one upload; returns which aim or bound it missed."""
    sdk, ours = ("sdk", upload, str(home), url, str(sdk_rows)), ("night", "night", upload, str(home), url)
    theirs, runs = [measured(*sdk)], []
    for _ in range(RUNS):
        runs.append(measured(*ours))
        theirs.append(measured(*sdk))
    alone = measured("night", "stages", upload, str(home))
    rows = runs[0]["rows"]
    sdk_micro, sdk_spread = summarise([1e6 * one["seconds"] / one["sent"] for one in theirs])
    micro, own_spread = summarise([1e6 * one["seconds"] / rows for one in runs])
    say(f"\n{upload}: {rows:,} rows, {runs[0]['sent']:,} sent, mean of {RUNS} runs, between {len(theirs)} of the SDK")
    say(f"  {'':<18}{'rows/s':>12}   µs a row   processor seconds a million rows")
    for step, seconds in alone["seconds"].items():
        say_rate(step, alone["rows"], seconds, alone["processor_seconds"][step])
    cost = sum(one["processor_seconds"] for one in runs) / RUNS
    say_rate("end to end", rows, micro * rows / 1e6, cost)
    say_rate("official SDK", rows, sdk_micro * rows / 1e6, None)
    ratio, aim = sdk_micro / micro, MIN_RATIO if rows < LONG_RUN_ROWS else MIN_RATIO_OF_LONG_RUN
    spread, peak_mib = max(sdk_spread, own_spread), max(one["peak_mib"] for one in runs)
    say(f"  ratio to the SDK  {ratio:12.1f} times (aim: {aim}; spread of this run: {spread:.0%})")
    say(f"  peak memory       {peak_mib:12.0f} MiB (bound: {MAX_MIB})")
    say(f"  of steps alone    {alone['peak_mib']:12.0f} MiB: rows to payload bytes, without the ledger")
    missed = []
    if misses_aim(ratio, aim, spread):
        missed.append(f"{upload}: {ratio:.1f} times the SDK, aim {aim}")
    if peak_mib > MAX_MIB:
        missed.append(f"{upload}: {peak_mib:.0f} MiB, bound {MAX_MIB}")
    return missed


def summarise(figures: Sequence[float]) -> tuple[float, float]:
    """Their mean, and how far they lie apart as a share of it."""
    mean = sum(figures) / len(figures)
    return mean, (max(figures) - min(figures)) / mean


def say_rate(what: str, rows: int, seconds: float, processor_seconds: float | None) -> None:
    cost = "" if processor_seconds is None else f"{1e6 * processor_seconds / rows:11.2f}"
    say(f"  {what:<18}{rows / seconds:>12,.0f}   {1e6 * seconds / rows:8.2f}   {cost}".rstrip())


def measured(module: str, *arguments: str) -> dict[str, Any]:
    """What a benchmark process prints; a process each, so that memory and caches are its own.

    It imports Arrow before it can set itself up as the command line does, so it finds those settings there already.
    """
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments]
    environment = {**ALLOCATOR_SETTINGS, **os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode: nobody compiles it
    with (
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process,
        Memory(process.pid) as memory,
    ):
        told, _ = process.communicate()
    if process.returncode:
        raise SystemExit(process.returncode)
    figures: dict[str, Any] = json.loads(told.splitlines()[-1])
    return {**figures, "peak_mib": memory.peak_mib, "process_mib": memory.process_mib}


def bench_folder() -> Path:
    """Where benchmarks keep their files: on the disk of the checkout, and outside of what git sees."""
    folder = Path(".bench")
    folder.mkdir(exist_ok=True)
    return folder


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
