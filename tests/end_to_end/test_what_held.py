"""Attacks of the security review that found nothing, kept as tests (issue 17)."""

from __future__ import annotations

import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.night import ROOT, Night
from tests.support.sales import sale, sales_night, write
from tests.support.sandbox_server import Sandbox

HOSTILE = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(2)>"
ATTRIBUTE = "\" onmouseover=alert(3) x='"


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    return sales_night(tmp_path, sandbox)


def test_nothing_of_rows_or_files_is_markup_in_a_report(night: Night) -> None:
    texts = [HOSTILE, IMAGE, ATTRIBUTE, f"</td>{HOSTILE}", "'-alert(4)-' {{7*7}}"]
    rows = [sale(f"{text} {number}", amount="no number" * (number % 2)) for number, text in enumerate(texts)]
    write(night, [*rows, *(sale(f"o-{number}", brand=text, currency=text) for number, text in enumerate(texts))])
    name = f"{IMAGE} {ATTRIBUTE}.csv"
    (night.home / "sales/sales.csv").rename(night.home / "sales" / name)
    night.sandbox.refuse(f"{IMAGE} 1")

    night.run("upload", "sales")
    said = night.run("report", "last", "--html", "report.html", "--json")
    rejects = night.run("rejects", "last", "--json", "--limit", "99")

    page = (night.home / "report.html").read_text(encoding="utf-8")
    assert [mark for mark in ("<script>alert", "<img src=x", "onmouseover=alert(3) x='\"") if mark in page] == []
    assert re.findall(r"<[^>]*\bon(?:error|mouseover)\s*=", page) == []
    assert said.json["tally"]["read"] == len(texts) * 2
    assert HOSTILE in json.dumps(rejects.json)


def test_no_argument_of_any_process_is_a_secret_during_an_upload(night: Night) -> None:
    """``/proc/*/cmdline``, which everybody on the machine may read, as often as it can be read while a night runs."""
    write(night, [sale(f"o-{number}") for number in range(3_000)])
    night.env["OFFLINE_CAPI_CONN_SHOP"] = f"sqlite:///{night.home / 'shop-s3cr3tcanary.db'}"
    with (night.home / "sales/sales.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    with sqlite3.connect(night.home / "shop-s3cr3tcanary.db") as database:
        database.execute(f"CREATE TABLE sales ({', '.join(header)})")
        database.executemany(f"INSERT INTO sales VALUES ({', '.join('?' * len(header))})", rows)
    night.edit(
        "dags/uploads/sales.yml",
        (
            '{path: "${OFFLINE_CAPI_DATA}/sales/*.csv"}',
            '{connection: shop, sql: "SELECT * FROM sales WHERE :since < :until"}',
        ),
    )
    secrets = {value for name, value in night.env.items() if "TOKEN" in name or name.startswith("OFFLINE_CAPI_CONN_")}
    secrets |= {"s3cr3tcanary", "example.com"}
    process = subprocess.Popen(
        [sys.executable, "-m", "offline_capi", "upload", "sales"],
        cwd=night.home,
        env={**os.environ, **night.env, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    seen: set[str] = set()
    while process.poll() is None:
        seen |= {_arguments(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    out, err = process.communicate()

    assert "3,000 sent" in out, out + err
    assert len(secrets) > 4
    assert any("offline_capi.sources.subprocess_reader" in arguments for arguments in seen)
    own = [arguments for arguments in seen if "offline_capi" in arguments]
    assert [arguments for arguments in own if any(secret in arguments for secret in secrets)] == []


def _arguments(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended
        return ""
