"""``--log-format json``: standard error is one JSON object a line, whatever is written there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from offline_capi.sandbox import SandboxServer
from tests.onboarding.beginner import CANARY, KNOWN, Beginner, sales
from tests.support.night import yesterday
from tests.support.sandbox_server import Sandbox

JSON = ("--log-format", "json")


@pytest.fixture(scope="module")
def beginner(tmp_path_factory: pytest.TempPathFactory, sandbox_server: SandboxServer) -> Beginner:
    """A project with an upload ``sales`` of yesterday."""
    Sandbox(sandbox_server).reset()
    home = tmp_path_factory.mktemp("log")
    found = Beginner(home, {"OFFLINE_CAPI_GRAPH_URL": sandbox_server.url, "ACME_TOKEN": "any"})
    file = found.csv(f"sales_{yesterday('UTC')}.csv", sales())
    found.init(file, *KNOWN, "--yes", "--name", "sales")
    return found


def read_records(err: str) -> list[dict[str, Any]]:
    """The records; every line is one, and has what each must have."""
    records = [json.loads(line) for line in err.splitlines()]
    for record in records:
        assert {"timestamp", "level", "event"} <= {*record}
        assert record["level"] in ("info", "warning", "error")
        age = datetime.now(UTC) - datetime.fromisoformat(record["timestamp"])
        assert timedelta(0) <= age < timedelta(minutes=10)
    return records


def test_a_run_ends_with_a_record_of_its_counts_and_standard_output_stays_the_report(beginner: Beginner) -> None:
    said = beginner.run(*JSON, "upload", "sales", "--json")

    records = read_records(said.err)
    report = json.loads(said.out)
    assert records[0]["event"].startswith("! new ledger: ")
    ended = records[-1]
    assert (ended["event"], ended["level"]) == ("run ended", "info" if report["status"] == "complete" else "warning")
    assert {name: ended[name] for name in ("run", "upload", "status", "problems")} == {
        name: report[name] for name in ("run", "upload", "status", "problems")
    }
    assert ended["read"] == 60
    assert sum(ended["rows"].values()) == 60
    assert CANARY not in said.err


def test_an_error_is_one_record_with_its_kind_and_problems(beginner: Beginner) -> None:
    unknown = beginner.run("upload", "no_such", env={"OFFLINE_CAPI_LOG_FORMAT": "json"})
    (beginner.home / "faulty" / "uploads").mkdir(parents=True)
    (beginner.home / "faulty" / "clients.yml").write_text("clients: {acme: {pixel_id: 1}}\n", encoding="utf-8")
    faulty = beginner.run(*JSON, "check", "--config", "faulty")

    (record,) = read_records(unknown.err)
    assert (record["level"], record["error"]) == ("error", "UsageError")
    assert record["event"].startswith('no upload "no_such"')
    (record,) = read_records(faulty.err)
    assert record["error"] == "ConfigError"
    assert any(problem["path"] == "clients.acme.token" for problem in record["problems"])
    assert (unknown.code, faulty.code) == (beginner.run("upload", "no_such").code, 2)


def test_what_others_write_becomes_records_too(beginner: Beginner) -> None:
    """A usage error with its frame, a warning of Python, a line without an end, an escape sequence."""
    usage = beginner.run(*JSON, "upload", "--no-such-option")
    program = (
        "import sys, warnings\n"
        "from offline_capi.runtime.json_log import start_json_log\n"
        "start_json_log()\n"
        "warnings.warn('careful')\n"
        "print('a\\x1b[31mb', file=sys.stderr)\n"
        "sys.stderr.write('no end')\n"
    )
    others = beginner.shell(["python", "-c", program])

    assert usage.code == 2
    assert any("No such option" in record["event"] for record in read_records(usage.err))
    events = [record["event"] for record in read_records(others.err)]
    assert any(event.endswith("UserWarning: careful") for event in events)
    assert events[-2:] == ["a\x1b[31mb", "no end"]
    assert "\x1b" not in others.err


def test_text_is_the_default(beginner: Beginner) -> None:
    assert beginner.run("upload", "no_such").err.startswith('UsageError: no upload "no_such"')
