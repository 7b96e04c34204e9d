"""The same rows with drt-core, the nearest open peer: its own destination for Meta, two keys, a counting sink.

It is Apache-2.0, and no dependency of ours: where this Python has none, it is installed into ``.bench/drt``. Ours reads
a CSV, has its ledger on and hashes by its own rules; theirs gets the rows as dictionaries, in one piece, without a rate
limit. Processor time is compared. ``python -m tests.benchmarks.drt --rows 200000``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from tests.benchmarks.__main__ import bench_folder, measured, misses_aim, say
from tests.benchmarks.sink import Sink

PEER = "drt-core==1.2.1"
#: How many times the processor time a row theirs takes at least.
AIM = 8.0
#: Theirs is timed before ours and after it, with so many rows.
PEER_ROWS = 100_000
CLIENTS = 'clients: {shop: {pixel_id: "1234567890", token: {env: TOKEN}, country: DE}}\n'
UPLOAD = """
client: shop
source: {path: "${HOME_OF_ROWS}/sales.csv"}
window: {column: sold_at, timezone: UTC}
event: {name: Purchase, id: "{sale}", action_source: physical_store}
user_data: {em: email, ph: phone}
custom_data: {value: {column: amount, type: number}, currency: EUR}
"""


def lay_out(home: Path, rows: int) -> None:
    """A configuration with one upload, and its rows; those of the peer are the first of them."""
    (home / "dags" / "uploads").mkdir(parents=True)
    (home / "dags" / "clients.yml").write_text(CLIENTS, encoding="utf-8")
    (home / "dags" / "uploads" / "sales.yml").write_text(UPLOAD, encoding="utf-8")
    numbers = np.arange(rows).astype(str)
    columns = {
        "sale": np.char.add("S-", numbers),
        "sold_at": np.full(rows, int(time.time()) - 3600).astype(str),
        "email": np.char.add(np.char.add("Erika.", numbers), "@Example.com"),
        "phone": np.char.add("+4930", (np.arange(rows) + 20_000_000).astype(str)),
        "amount": np.full(rows, "12.5"),
    }
    every = pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})
    for name, table in (("sales", every), ("peer", every.slice(0, PEER_ROWS))):
        csv.write_csv(table, home / f"{name}.csv")


def find_peer() -> str:
    """A Python that has the peer; ``SystemExit`` says why there is none."""
    if find_spec("drt") is not None:
        return sys.executable
    folder = bench_folder() / "drt"
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        say(f"installing {PEER} into {folder} ...")
        venv.create(folder, with_pip=True, clear=True)
        done = subprocess.run([python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", PEER], check=False)
        if done.returncode:
            raise SystemExit(f"{PEER} could not be installed: it is not compared")
        (folder / "made").touch()
    return str(python)


def ask_peer(python: str, home: Path, url: str) -> dict[str, Any]:
    script = Path(__file__).with_name("drt_peer.py")
    done = subprocess.run([python, "-I", script, home / "peer.csv", url], stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks.drt")
    options.add_argument("--rows", type=int, default=1_000_000)
    chosen = options.parse_args()
    python = find_peer()
    with tempfile.TemporaryDirectory(dir=bench_folder()) as folder, Sink() as sink:
        home = Path(folder).absolute()
        lay_out(home, chosen.rows)
        before = ask_peer(python, home, sink.url)
        ours = measured("clients", "night", str(home), "sales", sink.url)
        after = ask_peer(python, home, sink.url)
    if ours["sent"] != chosen.rows or {before["sent"], after["sent"]} != {min(chosen.rows, PEER_ROWS)}:
        raise SystemExit(f"not all rows were sent: ours {ours['sent']:,}, theirs {before['sent']:,}, {after['sent']:,}")
    times = [one["cpu"] / one["sent"] for one in (before, after)]
    theirs, own = sum(times) / 2, ours["cpu"] / ours["sent"]
    spread = abs(times[0] - times[1]) / theirs
    say(f"{chosen.rows:,} rows with two keys, processor time")
    say(f"  {PEER:<18}{1e6 * theirs:6.2f} µs a row, without reading and without a ledger")
    say(f"  {'ours':<18}{1e6 * own:6.2f} µs a row, CSV and ledger included ({ours['seconds']:.1f} s)")
    say(f"  ratio             {theirs / own:6.1f} times (aim: {AIM:g}; spread of this run: {spread:.0%})")
    if misses_aim(theirs / own, AIM, spread):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
