"""The command line, as a user calls it: in a process of its own, in a project folder."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from offline_capi import __version__
from offline_capi.model import Fate
from tests.delivery.sending import batch
from tests.ledger.test_ledger import Desk
from tests.support.night import Night
from tests.support.sandbox_server import PIXEL, Sandbox

UPLOADS = ["credit_approvals", "store_purchases"]
ESCAPE = "\x1b"


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    return Night(tmp_path, sandbox).fill()


def test_check_names_what_it_checked(night: Night) -> None:
    plain, connected = night.run("check"), night.run("check", "--connect", "--json")

    assert (plain.code, plain.err) == (0, "")
    assert all(name in plain.out for name in UPLOADS)
    assert "no problems" in plain.out
    assert (connected.code, connected.err) == (0, "")
    policies = connected.json["external_ids"]
    assert {client: words.partition(",")[0] for client, words in policies.items()} == {
        "acme_bank": "raw",
        "corner_shop": "hashed",
        "nordic_outlet": "hashed",
    }
    assert connected.json == {
        "version": 1,
        "external_ids": policies,
        "uploads": UPLOADS,
        "clients": ["acme_bank", "corner_shop", "nordic_outlet"],
        "connected": True,
        "problems": [],
        "warnings": [],
    }


@pytest.mark.parametrize("upload", UPLOADS)
def test_p15_a_plan_equals_the_upload_that_follows_to_the_row(night: Night, upload: str) -> None:
    """And a second upload sends nothing: every row that was sent is now already sent."""
    plan = night.run("plan", upload, "--json").json
    before = night.sandbox.requests
    first = night.run("upload", upload, "--json").json
    second = night.run("upload", upload, "--json").json

    assert (before, plan["planned"], first["planned"]) == ([], True, False)
    assert [plan[part] for part in ("rows", "reasons", "clients", "days")] == [
        first[part] for part in ("rows", "reasons", "clients", "days")
    ]
    assert first["rows"]["sent"] == len(night.counted) > 0
    assert second["rows"]["sent"] == 0
    assert second["rows"]["already_sent"] == first["rows"]["sent"]
    assert set(night.counted.values()) == {1}
    assert second["balance"].startswith(f"{second['rows']['read']} read = {first['rows']['sent']} already sent")
    assert night.run("report", "last", "--json").json == second


def test_one_evening_told_in_plain_lines(night: Night) -> None:
    """Without a terminal nothing is coloured, and a second upload says that nothing was left to send."""
    first, second = night.run("upload", UPLOADS[0]), night.run("upload", UPLOADS[0])
    status, report = night.run("status"), night.run("report", "last")
    runs = night.run("status", "--json").json["runs"]
    page = night.run("report", "--html", "report.html")

    said = [first, second, status, report, page]
    assert [(one.code, ESCAPE in one.out + one.err) for one in said] == [(0, False)] * 5
    assert " sent" in first.out
    assert "already sent" in second.out
    assert not re.search(r"= [\d,]+ sent", second.out)
    assert status.out.count("credit_approvals") == 2
    assert all(run["status"] == "complete" and run["upload"] == UPLOADS[0] for run in runs)
    assert sorted(report.out.split()) == sorted(second.out.split())
    assert (page.out, page.err.strip()) == ("", "written: report.html")
    assert "credit_approvals" in (night.home / "report.html").read_text(encoding="utf-8")


def test_what_is_in_doubt_is_listed_with_what_happens_next(night: Night) -> None:
    """Of all runs, or of the one that is named."""
    nothing = night.run("status", "--unconfirmed")
    desk = Desk(night.env["OFFLINE_CAPI_LEDGER"], datetime.now(UTC))
    desk.post(batch(["e-1", "e-2"]), Fate.UNCONFIRMED)
    later = desk.next_night(hours=0)

    told, listed = night.run("status", "--unconfirmed"), night.run("status", "--unconfirmed", "--json").json["requests"]
    of_the_other = night.run("status", "--unconfirmed", later.run, "--json")

    assert nothing.out.strip() == "nothing is unconfirmed"
    assert f"{desk.run}  upload  acme  pixel {PIXEL}  2 events  since " in told.out
    assert "the next run that reads these rows sends them again" in told.out
    assert [(one["run"], one["pixel"], one["events"]) for one in listed] == [(desk.run, PIXEL, 2)]
    assert (of_the_other.code, of_the_other.json["requests"]) == (0, [])


def test_preview_shows_events_as_they_go_out(night: Night) -> None:
    shown = night.run("preview", UPLOADS[1], "--limit", "2", "--json")
    night.run("upload", UPLOADS[1])

    assert (shown.code, len(shown.json["events"]), shown.err) == (0, 2, "")
    assert all(event in night.sandbox.events for event in shown.json["events"])
    assert night.run("preview", UPLOADS[1], "--limit", "2").json == shown.json["events"]


def test_a_run_can_be_narrowed_to_clients(night: Night) -> None:
    """The rows of the others are left out as if they had not been read; a later run sends them."""
    only = night.run("upload", UPLOADS[1], "--client", "corner_shop", "--json").json
    pixels = set(night.sandbox.totals)
    rest = night.run("upload", UPLOADS[1], "--json").json

    assert set(only["clients"]) == {"corner_shop"}
    assert pixels == {"1200000000000002"}
    assert rest["rows"]["already_sent"] == only["rows"]["sent"] > 0
    assert rest["rows"]["sent"] > 0
    assert set(night.counted.values()) == {1}


def test_a_client_that_nobody_knows_is_a_mistake_and_not_an_empty_run(night: Night) -> None:
    said = night.run("upload", UPLOADS[1], "--client", "corner_shpo")

    assert (said.code, said.out) == (2, "")
    assert 'did you mean "corner_shop"?' in said.err


@pytest.mark.parametrize("which", ["upload", "clients"])
def test_schemas_are_those_that_editors_load(night: Night, which: str) -> None:
    said = night.run("schema", which)

    assert said.json == json.loads(Path(f"dags/schema/{which}.schema.json").read_text(encoding="utf-8"))


def test_ddl_is_the_sql_in_the_repository(night: Night) -> None:
    assert Path("sql/ledger/schema.sql").read_text(encoding="utf-8").strip() in night.run("ddl").out


def test_clients_are_listed_with_the_standing_of_their_tokens(night: Night) -> None:
    plain = night.run("clients", "list", env={"ACME_BANK_TOKEN": ""})
    data = night.run("clients", "list", "--json")

    assert plain.code == data.code == 0
    assert "ACME_BANK_TOKEN" in plain.out
    assert [client["client"] for client in data.json["clients"]] == ["acme_bank", "corner_shop", "nordic_outlet"]
    assert "sandbox-token" not in plain.out + plain.err + data.out + data.err


def test_version(night: Night) -> None:
    assert night.run("version").out.splitlines()[0] == __version__


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["no-such-command"], "no-such-command"),
        (["upload"], "Missing argument"),
        (["schema", "uplaod"], "uplaod"),
        (["preview", "credit_approvals", "--limit", "0"], "--limit"),
        (["status", "no-such-run"], "no-such-run"),
        (["report", "last"], "no run yet"),
    ],
)
def test_what_cannot_be_carried_out_ends_with_two(night: Night, arguments: list[str], word: str) -> None:
    said = night.run(*arguments)

    assert (said.code, said.out) == (2, "")
    assert word in said.err
    assert "Traceback" not in said.err


def test_a_terminal_gets_colours(night: Night) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "offline_capi", "check"],
        cwd=night.home,
        env={**os.environ, **night.env, "TERM": "xterm-256color", "PYTHONPATH": str(Path.cwd())},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)

    assert done.returncode == 0
    assert "no problems" in re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert ESCAPE in shown
