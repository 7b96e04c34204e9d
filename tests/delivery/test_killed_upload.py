"""The command line, killed in the middle of an upload, and run again (P3)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.night import PIXELS, ROOT, Night
from tests.sandbox_server import Sandbox

ROWS = 60
UPLOAD = """
client: corner_shop
source: {path: "sales.csv"}
window: {column: sold_at, timezone: UTC, lookback: 3d}
event: {name: Purchase, id: "sale-{number}", action_source: physical_store}
user_data: {em: email}
custom_data: {value: {column: value, type: number}, currency: EUR}
delivery: {max_events: 2, concurrency: 2}
"""


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    night = Night(tmp_path, sandbox)
    night.write("dags/uploads/sales.yml", UPLOAD)
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 3600))
    rows = [f"{number},{moment},person{number}@example.com,9.5\n" for number in range(ROWS)]
    night.write("sales.csv", "".join(["number,sold_at,email,value\n", *rows]))
    return night


def test_p03_an_upload_killed_again_and_again_ends_with_every_row_counted_once(night: Night, sandbox: Sandbox) -> None:
    arguments = ["upload", "sales", "--since", "2000-01-01", "--until", "2100-01-01"]
    sandbox.fault("slow", delay=0.1)
    for _ in range(3):
        came = len(sandbox.requests)
        with start(night, *arguments) as upload:
            while len(sandbox.requests) < came + 4 and upload.poll() is None:
                time.sleep(0.02)
            upload.kill()
    killed = len(sandbox.ids_of(PIXELS["CORNER_SHOP_TOKEN"]))
    sandbox.heal()

    said = night.run(*arguments)

    assert 0 < killed < ROWS
    assert said.code == 0, said.out + said.err
    assert sorted(sandbox.ids_of(PIXELS["CORNER_SHOP_TOKEN"])) == sorted(f"sale-{number}" for number in range(ROWS))
    assert set(night.counted.values()) == {1}


def start(night: Night, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "offline_capi", *arguments],
        cwd=night.home,
        env={**os.environ, **night.env, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
