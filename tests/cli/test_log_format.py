"""``--log-format json``: what a command says on standard error is one JSON object a line, for whoever collects logs."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from offline_capi.runtime.console import Console
from tests.support.night import _own_environment
from tests.support.past import Past


def say(past: Past, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "offline_capi", *words],
        cwd=past.home,
        env={**_own_environment(), **past.environment, **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_messages_and_errors_are_objects_and_standard_output_is_as_ever(tmp_path: Path) -> None:
    past = Past(tmp_path)

    done = say(
        past, "--log-format", "json", "report", "--client", "corner_shop", "--for", "client", "--html", "page.html"
    )
    failed = say(past, "report", "no-such-run", OFFLINE_CAPI_LOG_FORMAT="json")

    (line,), (fault,) = ([json.loads(one) for one in said.stderr.splitlines()] for said in (done, failed))
    assert (done.returncode, done.stdout, line["level"], line["message"]) == (0, "", "info", "written: page.html")
    assert datetime.fromisoformat(line["time"]).tzinfo is not None
    assert (failed.returncode, fault["level"], fault["error"]) == (2, "error", "UsageError")
    assert 'the ledger has no run "no-such-run"' in fault["message"]


@pytest.mark.parametrize(("style", "level"), [("", "info"), ("yellow", "warning"), ("red", "error")])
def test_a_text_of_several_lines_is_one_line_of_the_log(
    capsys: pytest.CaptureFixture[str], style: str, level: str
) -> None:
    console = Console(stderr=True)
    console.logs_json = True

    console.print("[bold]one[/]\n\x1b[2Jtwo", style=style)

    (line,) = capsys.readouterr().err.splitlines()
    assert (json.loads(line)["message"], json.loads(line)["level"]) == ("one\n\\x1b[2Jtwo", level)
    assert not console.is_terminal
