"""Markup in every text that reaches a page of ours in Airflow: a browser shows it, and nothing of it is executed.

A text that became an element would make the browser ask for ``/hit``, and so would one that became a script.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from offline_capi.clients import StatusBook, connection
from offline_capi.clients.status import AccessFault
from offline_capi.clients.token_facts import TokenFacts
from offline_capi.ledger import Ledger
from offline_capi.model import AbsentFile, Count, Fate, GateFinding
from offline_capi.report import RunReport, render_html
from tests.airflow_provider.browser import find_browser, requested
from tests.airflow_provider.conftest import SampleNight
from tests.airflow_provider.test_web import PAGES, RUNS, History

UPLOAD = "store_purchases"


def hostile(place: str, kind: str = "all") -> str:
    """Markup that asks for ``/hit/PLACE`` wherever it becomes an element, ends a script, or leaves an attribute."""
    element = f"<img src=/hit/{place} onerror=\"fetch('/hit/{place}-error')\">"
    if kind == "element":
        return element
    ends = f"""{place}'"></script></style></textarea></title><script>fetch("/hit/{place}-script")</script>"""
    return f"""{ends}{element}<svg onload="fetch('/hit/{place}-svg')">' onmouseover=x x="{{{{7*7}}}}javascript:x"""


@pytest.fixture
def history(night: SampleNight) -> History:
    if find_browser() is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no browser here: apt-get install chromium")
    return History(night, night.environment["OFFLINE_CAPI_LEDGER"])


def hostile_books(day: date) -> dict[str, Any]:
    """Books whose every text is markup."""
    fates = {
        Count(fate, hostile(f"client-{fate}"), day, hostile(f"reason-{fate}"), hostile(f"field-{fate}")): 9
        for fate in Fate
    }
    findings = [
        GateFinding(hostile("gate"), action, 1, 2, hostile(f"sentence-{action}"), hostile("gate-client"))
        for action in ("warn", "stop")
    ]
    return {
        "read": 9 * len(fates),
        "sendable": 900,
        "fates": Counter(fates),
        "dropped": Counter({(hostile("dropped-key"), hostile("dropped-column"), hostile("dropped-cause")): 3}),
        "warnings": Counter({hostile("warning"): 4}),
        "notices": [hostile("notice")],
        "gates": tuple(findings),
        "keys": {"em": 700, hostile("key"): 300},
        "read_of": Counter({hostile("read-of"): 9}),
        "known": Counter({(Fate.INVALID.value, hostile("known"), hostile("known-field"), "2026-11-01"): 1}),
        "absent": (AbsentFile(day, hostile("absent")), AbsentFile(None, hostile("optional"), optional=True)),
        "noted": Counter({(hostile("noted-key"), hostile("noted-column"), "came_hashed"): 2}),
        "profiles": (hostile("profile"),),
        "value": {hostile("currency"): 5.0},
        "closed": {day.isoformat(): hostile("closed")},
    }


def fill(history: History) -> str:
    """Runs, a client's status and a request unconfirmed, with markup wherever a text can stand; returns a run."""
    day = datetime.now(UTC).date() - timedelta(days=2)
    run_id = history.run(UPLOAD, day, zone="Europe/Berlin", **hostile_books(day))
    history.run(UPLOAD, day + timedelta(days=1), keys={"em": 1, hostile("key"): 9})
    history.post(UPLOAD, "corner_shop", 3, Fate.UNCONFIRMED)
    since = "2026-11-20T03:00:00+00:00"
    book = StatusBook(str(history.night.home / "stage"))
    tested = connection.ConnectionTestResult(
        "probe", history.night.pixel("corner_shop"), since, "good", hostile("tested")
    )
    facts = TokenFacts(hostile("token-kind"), hostile("token-app"), valid=True)
    fault = AccessFault(hostile("fault"), hostile("fault-text"), stops=True, since=since)
    known = replace(book.read("corner_shop"), fingerprint=hostile("fingerprint"), tested=tested, token=facts)
    book.write(replace(known, faults=(fault,)))
    return run_id


def test_p23_markup_in_texts_of_the_ledger_is_shown_and_not_executed(history: History, tmp_path: Path) -> None:
    """Of rows, tenants and Meta: clients, reasons, gates, notices, files, keys, faults of access."""
    run_id = fill(history)
    asked = quote(hostile("asked"), safe="")
    paths = [*PAGES, f"{RUNS}/{run_id}", f"/offline_capi/coverage?upload={asked}", f"/offline_capi/days?after={asked}"]
    paths += [f"/offline_capi/coverage?after={asked}", f"{RUNS}/{asked}", f"/offline_capi/dags/{asked}/runs/{asked}"]
    answers = history.night.airflow.pages(history.environment, *paths)
    pages = {f"page{number}": text for number, (_, text) in enumerate(answers)}

    hits = [path for path in requested(pages, tmp_path) if "/hit" in path]

    assert hits == []
    shown = "".join(pages.values())
    wanted = ("client-", "reason-", "sentence-stop", "notice", "absent", "fault-text", "token-kind", "warning", "key")
    assert [place for place in wanted if f"hit/{place}" not in shown] == []


def test_p23_nor_is_markup_in_the_name_of_an_upload(history: History, tmp_path: Path) -> None:
    """Airflow refuses such a name for a DAG, so that it is put into the pages' own templates."""
    from offline_capi.airflow_provider.ui import web

    run_id, now = fill(history), datetime.now(UTC)
    name, more = {"upload": hostile("upload")}, {"status": hostile("status"), "trigger": hostile("trigger")}
    with Ledger(history.url) as ledger:
        runs = [replace(run, **name, **more) for run in ledger.runs.list_newest(9)]
        open_requests = [replace(one, **name, client=hostile("doubt")) for one in ledger.journal.find_unconfirmed(now)]
        report = RunReport.from_json(ledger.runs.get(run_id).report or {})
    filters = {"uploads": [hostile("upload")], "upload": hostile("upload"), "statuses": [], "status": "", "last": 9}
    pages = {
        "runs": web._render_page("runs", hostile("title"), runs=runs, links={}, **filters),
        "unconfirmed": web._render_page("unconfirmed", "Unconfirmed", requests=open_requests, now=now),
        "message": web._render_page("message", hostile("title"), lines=[hostile("upload")]),
        "coverage": web._render_page(
            "coverage", "Keys", uploads=[(*name.values(), [], [])], frame=None, nights=30, more="x"
        ),
        "report": render_html(replace(report, **name, ledger=hostile("ledger"), environment=hostile("environment"))),
    }

    assert [path for path in requested(pages, tmp_path) if "/hit" in path] == []
    assert all("hit/upload" in page for page in pages.values())


@pytest.mark.parametrize("kind", ["element", "all"])
def test_the_browser_asks_where_markup_is_executed(history: History, tmp_path: Path, kind: str) -> None:
    """The same page, its escapes undone: the test above can fail."""
    page = f"<!doctype html><title>t</title><body><table><tr><td>{hostile('here', kind)}</td></tr></table></body>"

    hits = {path for path in requested({"page": page}, tmp_path) if "/hit" in path}

    wanted = {"/hit/here", "/hit/here-error"} | ({"/hit/here-script", "/hit/here-svg"} if kind == "all" else set())
    assert wanted <= hits
