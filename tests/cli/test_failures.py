"""Runs that fail, stop or cannot send: each keeps why, and what is printed agrees with what happened."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from tests.onboarding.beginner import KNOWN, Beginner, own_environment, sales
from tests.support.night import Night, yesterday
from tests.support.sandbox_server import TOKEN, Sandbox

UPLOAD = "credit_approvals"


@pytest.fixture
def beginner(tmp_path: Path) -> Beginner:
    return Beginner(tmp_path)


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    return Night(tmp_path, sandbox).fill()


def test_a_failed_run_keeps_its_error(night: Night) -> None:
    """`status`, `report` and `rejects` print it, also of the last run, and in JSON."""
    night.edit("sql/extract/credit_approvals.sql", ("FROM ", "FROM no_such_"))
    failed = night.run("upload", UPLOAD)
    run = night.run("status", "--json").json["runs"][0]

    assert failed.code == 1
    assert (run["status"], run["report"]["status"]) == ("failed", "failed")
    assert "no_such_" in run["report"]["problems"][0]
    for command in (("status", run["run"]), ("report", run["run"]), ("report", "last"), ("rejects", run["run"])):
        assert "no_such_" in " ".join(night.run(*command).out.split()), command


def test_a_configuration_that_cannot_be_used_is_a_failed_run(night: Night) -> None:
    """A night that cron starts has nobody who reads what it prints: `status` and the report have it."""
    night.run("upload", UPLOAD)
    night.edit("dags/uploads/credit_approvals.yml", ("client:", "clientt:"))

    failed = night.run("upload", UPLOAD)
    run = night.run("status", "--json").json["runs"][0]
    page = night.home / "failed.html"
    night.run("report", run["run"], "--html", str(page))

    assert failed.code == 2
    assert (run["upload"], run["status"]) == (UPLOAD, "failed")
    for said in (" ".join(night.run("report", "last").out.split()), page.read_text(encoding="utf-8")):
        assert "credit_approvals.yml" in said
        assert "clientt" in said


@pytest.mark.parametrize(("scheduled", "runs"), [((), []), (("--scheduled",), ["failed"])])
def test_a_first_try_that_cannot_be_loaded_leaves_no_run_behind(night: Night, scheduled, runs: list[str]) -> None:
    night.edit("dags/uploads/credit_approvals.yml", ("client:", "clientt:"))

    assert night.run("upload", UPLOAD, *scheduled).code == 2
    assert [run["status"] for run in night.run("status", "--json").json["runs"]] == runs


@pytest.mark.parametrize("cause", ["missing token", "stopped client"])
def test_a_plan_defers_what_the_upload_will_defer(night: Night, cause: str) -> None:
    env = {"ACME_BANK_TOKEN": ""} if cause == "missing token" else {}
    if cause == "stopped client":
        night.sandbox.revoke(SAMPLE_TOKENS["ACME_BANK_TOKEN"])
        assert night.run("clients", "health").code == 1

    plan = night.run("plan", UPLOAD, "--json", env=env).json
    sent = night.run("upload", UPLOAD, "--json", env=env).json

    assert plan["rows"]["sent"] == 0
    assert plan["rows"]["deferred"] == sent["rows"]["deferred"] > 0
    assert plan["reasons"] == sent["reasons"]
    causes = [[line[:40] for line in said["notices"] if line.startswith("acme_bank")] for said in (plan, sent)]
    assert causes[0] == causes[1] != []


def test_one_broken_upload_stops_neither_others_nor_a_look_at_what_has_been(
    beginner: Beginner, sandbox: Sandbox
) -> None:
    """As in Airflow, where each upload is a DAG of its own; ``check`` without a name is about all of them."""
    beginner.env = {"OFFLINE_CAPI_GRAPH_URL": sandbox.url, "ACME_TOKEN": TOKEN}
    good = beginner.init(beginner.csv(f"sales_{yesterday('UTC')}.csv", sales(5)), *KNOWN, "--yes")
    open_todo = beginner.init(beginner.csv("later.csv", [{**row, "currency": ""} for row in sales(5)]), *KNOWN, "--yes")
    night = ("--since", yesterday("UTC").isoformat())

    sent = beginner.call("upload", "sales", *night)
    looks = {
        command: beginner.call(*command.split())
        for command in ("status", "status --days sales", "report", "rejects", "log", "clients list", "check sales")
    }
    refused = {command: beginner.call(*command.split()) for command in ("check", "check later", "upload later")}
    clients = beginner.home / "dags/clients.yml"
    clients.write_text(clients.read_text(encoding="utf-8").replace("platform:", "platform:\n  ledgers: x"))
    other_ledger = beginner.call("status")

    assert (good.code, open_todo.code, sent.code) == (0, 2, 0), sent.err
    assert "5 read = 5 sent" in sent.out
    assert {command: said.err for command, said in looks.items() if said.code} == {}
    assert {command: said.code for command, said in refused.items()} == dict.fromkeys(refused, 2)
    assert all("later.yml" in said.err for said in refused.values())
    assert (other_ledger.code, "clients.yml" in other_ledger.err) == (2, True), "it may name another ledger"


def test_ctrl_c_says_what_was_sent_and_that_repeating_is_safe(night: Night) -> None:
    night.sandbox.fault("slow", delay=6)
    command = [sys.executable, "-m", "offline_capi", "upload", UPLOAD]
    upload = subprocess.Popen(
        command, cwd=night.home, env={**own_environment(), **night.env}, stderr=subprocess.PIPE, text=True
    )
    while not night.sandbox.requests and upload.poll() is None:
        time.sleep(0.1)
    upload.send_signal(signal.SIGINT)
    _, err = upload.communicate(timeout=60)

    assert upload.returncode == 130
    assert "0 events were sent" in err
    assert "again is safe" in err
    assert night.run("status", "--json").json["runs"][0]["status"] == "failed"


def test_what_a_narrow_terminal_shows_fits_it_and_hangs_under_its_beginning(tmp_path: Path) -> None:
    """Of a command that fails, of one that warns, and of one whose lines begin with a sign."""
    width = 60
    beginner = Beginner(tmp_path, {"FORCE_COLOR": "1", "COLUMNS": str(width), "ACME_TOKEN": "any"})
    beginner.csv(f"sales_{yesterday('UTC')}.csv", sales(20))
    written = beginner.run("init", f"sales_{yesterday('UTC')}.csv", *KNOWN, "--yes")
    said = [
        written,
        beginner.run("upload", "sales", "--since", "2026-11-23", "--until", "2026-11-22"),
        beginner.run("trace", "nobody-has-this-event-id"),
        beginner.run("clients", "list"),
    ]
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for one in said for line in (one.out + one.err).splitlines()]

    assert [line for line in lines if len(line.rstrip()) > width] == []
    assert [one.code for one in said] == [0, 2, 1, 0]
    rehearsal = written.out.partition("The rehearsal\n")[2].splitlines()
    assert re.sub(r"\x1b\[[0-9;]*m", "", rehearsal[0]).endswith(" \\")  # goes on as a shell reads it
    trace = [line for line in said[2].out.splitlines() if line.strip()]
    assert [line for line in trace if not line.startswith(("event", "  ", "\x1b[2m  "))] == []
