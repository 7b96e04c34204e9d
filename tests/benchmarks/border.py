"""What the border for words costs: the time in its functions, and whole runs beside such as have an open border.

Rows of many clients are sent to a counting sink in one process, with an empty ledger each time; one row in fifty names
a client that nobody knows, in 40 spellings. Every run of the one kind has functions in the border's place that let all
through; compared is CPU time of the pairs, which alternate in their order. Pairs cannot tell 1 % from the noise of two
cores, so one more run has a clock around each function of the border. Fails where either costs more than ``AIM``, the
pairs by more than the spread of this run as well. ``python -m tests.benchmarks.border --pairs 8``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from offline_capi.runtime import border
from offline_capi.runtime.process import block_imports, set_up_process
from offline_capi.sandbox import SandboxServer, SandboxSpec
from tests.benchmarks.__main__ import measured, misses_aim, say
from tests.benchmarks.clients import UPLOAD, keep_clients, night, sales

#: The share of a run's CPU time that the border may cost.
AIM = 0.01
CLIENTS, STRANGERS, STRANGE_SHARE = 100, 40, 50


class _Everything:
    """In place of ``NearMisses``: every name is known."""

    def named(self, name: str | None) -> str | None:
        return name

    kept = named


#: What stands in place of each function of the border; ``outside_map`` stays, for its mark decides whose a row is.
IDENTITY: dict[str, Callable[..., Any]] = {
    "visible": lambda text, **_: text,
    "shown": lambda text, *_: text,
    "without_userinfo": lambda url: url,
    "is_name": lambda _: True,
    "names_among": list,
    "column_names": lambda names, *_, **__: [*names],
    "list_columns": lambda names, *_, **__: ", ".join(names),
    "words_of_database": lambda message, *_: message,
    "near_misses": lambda _: _Everything(),
}


class Watch:
    """CPU time in functions, those that they call included; once where one watched function calls another."""

    def __init__(self) -> None:
        self.calls, self.nanoseconds, self._thread = 0, 0, threading.local()

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def timed(*args: Any, **named: Any) -> Any:
            if getattr(self._thread, "inside", False):
                return function(*args, **named)
            self._thread.inside, start = True, time.thread_time_ns()
            try:
                return function(*args, **named)
            finally:
                self.calls, self.nanoseconds = self.calls + 1, self.nanoseconds + time.thread_time_ns() - start
                self._thread.inside = False

        return timed


@contextmanager
def watched_border() -> Iterator[Watch]:
    """While this lasts, the time that is spent in functions of the border is counted."""
    watch, near = Watch(), border.NearMisses
    own = {name: getattr(near, name) for name in ("named", "kept")}
    for name, method in own.items():
        setattr(near, name, watch.around(method))
    try:
        with border_replaced({getattr(border, name): watch.around(getattr(border, name)) for name in IDENTITY}):
            yield watch
    finally:
        for name, method in own.items():
            setattr(near, name, method)


@contextmanager
def border_replaced(own: dict[Callable[..., Any], Callable[..., Any]]) -> Iterator[None]:
    """While this lasts, every module of the package has the functions of ``own`` for those of the border."""
    modules = [module for name, module in sys.modules.items() if name.startswith("offline_capi")]
    found = [
        (module, name, value)
        for module in modules
        for name, value in [*vars(module).items()]
        if callable(value) and getattr(value, "__module__", "") == border.__name__ and value in own
    ]
    for module, name, value in found:
        setattr(module, name, own[value])
    try:
        yield
    finally:
        for module, name, value in found:
            setattr(module, name, value)


def lay_out(home: Path, rows: int) -> None:
    """A table of clients, and an upload from a CSV file whose header and clients have to pass the border."""
    (home / "dags" / "uploads").mkdir(parents=True)
    (home / "dags" / "clients.yml").write_text("clients: {connection: crm, sql: SELECT 1}\n", encoding="utf-8")
    keep_clients(home, CLIENTS)
    text = UPLOAD.replace("NAME.parquet", "sales.csv") + "limits: {max_invalid: 100%}\n"
    (home / "dags" / "uploads" / "sales.yml").write_text(text, encoding="utf-8")
    table = sales(np.random.default_rng(1).permutation(rows) % CLIENTS)
    names = table["client"].to_pylist()
    names[::STRANGE_SHARE] = [f"stranger {number % STRANGERS}" for number in range(len(names[::STRANGE_SHARE]))]
    csv.write_csv(table.set_column(0, "client", pa.array(names)), home / "sales.csv")


def pairs(home: Path, url: str, count: int) -> Iterator[dict[str, float]]:
    """CPU seconds of ``count`` pairs of runs: with the border, and with one that is open."""
    opened = {getattr(border, name): function for name, function in IDENTITY.items()}
    night(home, "sales", url)  # modules, tables of countries and phone plans are loaded once
    for number in range(count):
        done: dict[str, dict[str, Any]] = {}
        for kind in ("real", "open") if number % 2 else ("open", "real"):
            with nullcontext() if kind == "real" else border_replaced(opened):
                done[kind] = night(home, "sales", url)
        if done["real"]["sent"] != done["open"]["sent"]:
            raise SystemExit("the runs are not the same: one sent more than the other")
        yield {kind: figures["cpu"] for kind, figures in done.items()}


def watched_run(home: Path, url: str) -> dict[str, float]:
    """One run, the time of its border, and how often something came to it."""
    with watched_border() as watch:
        figures = night(home, "sales", url)
    return {"cpu": figures["cpu"], "border": watch.nanoseconds / 1e9, "calls": watch.calls}


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks.border")
    options.add_argument("--rows", type=int, default=200_000)
    options.add_argument("--pairs", type=int, default=8)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, SandboxServer(SandboxSpec(sink=True)) as sandbox:
        lay_out(Path(folder), chosen.rows)
        found = measured("border", "pairs", folder, sandbox.url, str(chosen.pairs))
    done, watched = found["pairs"], found["watched"]
    share = watched["border"] / watched["cpu"]
    ratios = [pair["real"] / pair["open"] for pair in done]
    ratio, (low, _, high) = median(ratios), quantiles(ratios, n=4)
    spread = (high - low) / 2
    say(
        f"{chosen.rows:,} rows of {CLIENTS} clients, one in {STRANGE_SHARE} of a stranger; {chosen.pairs} pairs of runs"
    )
    for kind, what in (("real", "with the border"), ("open", "with an open one")):
        say(f"  {what:<18}{median(pair[kind] for pair in done):7.2f} s of CPU")
    say(f"  ratio             {ratio:7.4f} (aim: at most {1 + AIM:g}; spread of this run: {spread:.2%})")
    calls = f"{watched['calls']:,.0f} calls, {watched['border'] * 1e3:.1f} ms of {watched['cpu']:.2f} s"
    say(f"  in its functions  {share:7.3%} (aim: at most {AIM:.0%}; {calls})")
    return int(misses_aim(1 / ratio, 1 / (1 + AIM), spread) or share > AIM)


if __name__ == "__main__":
    if sys.argv[1:2] == ["pairs"]:
        set_up_process()
        block_imports("pandas")
        home, url = Path(sys.argv[2]), sys.argv[3]
        done = {"pairs": [*pairs(home, url, int(sys.argv[4]))], "watched": watched_run(home, url)}
        print(json.dumps(done))  # noqa: T201  read by the parent
    else:
        sys.exit(main())
