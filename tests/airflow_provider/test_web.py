"""Pages in Airflow's UI: runs and the report behind each, clients, key coverage over time, unconfirmed requests."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from itertools import count
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest

from offline_capi.airflow_provider.ui.plugin import OfflineCapiPlugin
from offline_capi.clients import UNTESTED_HINT, StatusBook, connection
from offline_capi.clients.status import AccessFault
from offline_capi.clients.token_facts import TokenFacts
from offline_capi.config import Secret
from offline_capi.config.upload import LossLimits
from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.ledger import Ledger
from offline_capi.model import REASONS, Count, Fate, Outcome, Reason, Request, Tally, Window, list_debts
from offline_capi.report import make_report
from offline_capi.runtime.secret import fingerprint
from tests.airflow_provider.browser import choose_and_go_back, find_accessibility_faults, find_browser, look_at
from tests.airflow_provider.conftest import SampleNight
from tests.delivery.sending import batch, names

ROOT = "/offline_capi"
RUNS = f"{ROOT}/runs"
PAGES = (RUNS, f"{ROOT}/clients", f"{ROOT}/coverage", f"{ROOT}/days", f"{ROOT}/unconfirmed")
DAG = "offline_capi__store_purchases"


class History:
    """A ledger with runs of the past, on the database of the test."""

    def __init__(self, night: SampleNight, ledger_url: str) -> None:
        self.night, self.url, self.runs = night, ledger_url, count()
        self.environment = {**night.environment, "OFFLINE_CAPI_LEDGER": ledger_url}

    def run(self, upload: str, day: date, *, zone: str = "America/New_York", **books: object) -> str:
        """A run over a day that sent 1,000 events, unless its books say otherwise."""
        sent = Counter({Count(Fate.SENT, "acme_bank", day): 1000})
        tally = replace(Tally(read=1000, fates=sent, sendable=1000), **books)  # type: ignore[arg-type]
        moment = datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + timedelta(days=1, minutes=next(self.runs))
        window = Window.of_day(day, zone)
        with Ledger(self.url) as ledger:
            run_id = ledger.runs.begin(upload, window, trigger="scheduled", now=moment, covered_since=window.since)
            report = make_report(
                run_id=run_id,
                upload=upload,
                window=window,
                trigger="scheduled",
                started_at=moment,
                ended_at=moment,
                tally=tally,
                limits=LossLimits(),
            )
            debts = list_debts(tally, by_event_day=True)
            ledger.runs.finish(run_id, status=report.status.value, report=report.to_json(), now=moment, debts=debts)
        return run_id

    def post(self, upload: str, client: str, events: int, fate: Fate, *, ago: timedelta = timedelta()) -> str:
        """A request of a run that closed no books."""
        at = datetime.now(UTC) - ago
        with Ledger(self.url, clock=at.timestamp) as ledger:
            run_id = ledger.runs.begin(upload, Window.of_day(at.date(), "UTC"), trigger="scheduled", now=at)
            pixel = self.night.pixel(client)
            some = batch(names(f"{run_id}-{client}", events), client=client, pixel=pixel, at=at.timestamp())
            claim = ledger.journal.claim(run_id, Request("", client, pixel, some))
            ledger.journal.record([Outcome(claim.request, fate, at)])
        return run_id

    def page(self, path: str, user: str = "admin") -> str:
        ((status, text),) = self.night.airflow.pages(self.environment, path, user=user)
        assert status == 200, text
        return text


@pytest.fixture
def today() -> date:
    """One for the whole test, however long it takes."""
    return datetime.now(UTC).date()


@pytest.fixture(params=["sqlite", "postgresql"])
def history(request: pytest.FixtureRequest, night: SampleNight) -> History:
    url = night.environment["OFFLINE_CAPI_LEDGER"]
    return History(night, url if request.param == "sqlite" else request.getfixturevalue("postgres_db"))


@pytest.fixture
def local(night: SampleNight) -> History:
    """Where the database makes no difference."""
    return History(night, night.environment["OFFLINE_CAPI_LEDGER"])


# ---------------------------------------------------------------------------------------------- runs


def test_the_last_runs_and_the_report_of_each_are_shown_to_whoever_may_see_the_dag(night: SampleNight):
    night.sandbox.revoke("sandbox-token-of-nordic-outlet")
    done = night.run("store_purchases")
    (report,) = night.reports()

    tab = f"{ROOT}/dags/{DAG}/runs/{quote(done.run_id)}"
    runs, own, by_airflow = night.airflow.pages(night.environment, RUNS, f"{RUNS}/{report.run_id}", tab)

    assert (runs[0], own[0], by_airflow[0]) == (200, 200, 200)
    assert report.balance in runs[1]
    assert f'href="runs/{report.run_id}"' in runs[1]
    assert report.balance in own[1]
    assert "nordic_outlet" in own[1]
    assert own[1] == by_airflow[1]


def test_the_report_of_a_night_says_why_rows_were_not_sent_and_which_keys_the_others_carry(night: SampleNight):
    night.run("store_purchases")
    (report,) = night.reports()

    ((_, answer),) = night.airflow.pages(night.environment, f"{RUNS}/{report.run_id}")

    page = unescape(answer)
    assert report.reasons()
    plain = re.sub("</?code>", "", page)  # what can be pasted is set as code
    assert all(
        f">{line.what}</td>" in plain and f">{line.fix.replace('`', '')}</td>" in plain for line in report.reasons()
    )
    told = sum(line.rows for line in report.reasons())
    assert told + report.tally.count(Fate.SENT) + report.tally.count(Fate.SUPPRESSED) == report.tally.read
    assert {line.key: 0 < line.share <= 1 for line in report.key_lines()}.keys() >= {"em", "ph"}
    assert all(f"<code>{line.key}</code>" in page for line in report.key_lines())


def test_a_run_that_is_unknown_or_not_planned_yet_has_a_page_that_says_so(night: SampleNight):
    unknown, early, empty = night.airflow.pages(
        night.environment, f"{RUNS}/20200101T000000-0000", f"{ROOT}/dags/{DAG}/runs/manual__never", RUNS
    )

    assert (unknown[0], early[0], empty[0]) == (404, 200, 200)
    assert "the ledger has no such run" in unknown[1]
    assert "has opened a run in the ledger yet" in early[1]
    assert all(page[1].startswith("<!doctype html>") for page in (unknown, early))
    assert "No run yet" in empty[1]


def test_b8_a_dry_run_has_its_plan_in_the_tab_and_in_the_list(night: SampleNight):
    done = night.run("store_purchases", dry_run=True)

    tab, listed = night.airflow.pages(night.environment, f"{ROOT}/dags/{DAG}/runs/{quote(done.run_id)}", RUNS)

    assert tab[0] == 200
    assert done.xcoms["plan"]["balance"] in tab[1]
    assert "Nothing was sent: the figures say what a run would do now" in tab[1]
    assert ">dry run</span>" in listed[1]
    assert night.run_states() == []


def test_the_filter_of_runs_goes_by_what_the_list_shows(night: SampleNight):
    """A dry run has the status that its run would have, and is no run that ended so."""
    planned = night.run("store_purchases", dry_run=True)
    done = night.run("store_purchases")

    chosen = ("status=complete", "status=dry+run", "status=dry+run&upload=credit_approvals", "status=partial")
    _, *pages = night.airflow.pages(night.environment, RUNS, *(f"{RUNS}?{one}" for one in chosen))
    complete, dry, *others = (page for _, page in pages)

    assert re.findall(r'class="status [^"]*">([^<]*)<', complete) == ["complete"]
    assert re.findall(r'class="status [^"]*">([^<]*)<', dry) == ["dry run"]
    assert [quote(one.run_id, safe="") in page for one, page in ((done, complete), (planned, dry))] == [True, True]
    assert ["No run is like this" in page for page in others] == [True, True]


def test_b8_a_test_has_its_report_in_the_tab(night: SampleNight):
    done = night.run("store_purchases", test_event_code="TEST12345")

    ((status, page),) = night.airflow.pages(night.environment, f"{ROOT}/dags/{DAG}/runs/{quote(done.run_id)}")

    assert status == 200
    assert "sent with a test event code" in page


def test_b9_a_run_that_failed_in_plan_is_listed_with_its_error_and_leads_back_to_airflow(night: SampleNight):
    done = night.run("store_purchases", limit=1)

    tab, listed, filtered, none = night.airflow.pages(
        night.environment,
        f"{ROOT}/dags/{DAG}/runs/{quote(done.run_id)}",
        RUNS,
        f"{RUNS}?status=failed&upload=store_purchases",
        f"{RUNS}?status=complete",
    )

    assert done.state == "failed"
    assert tab[0] == 200
    assert "more than the 1 that the form allows" in tab[1]
    assert "more than the 1 that the form allows" in listed[1]
    assert "more than the 1 that the form allows" in filtered[1]
    assert f'href="../dags/{DAG}/runs/{quote(done.run_id)}"' in listed[1]
    assert "No run is like this" in none[1]


@contextmanager
def a_broken_upload(night: SampleNight) -> Iterator[str]:
    """The name of an upload with a configuration error, which is there for a while."""
    uploads = night.airflow.home.parent / "dags" / "uploads"
    good = (uploads / "store_purchases.yml").read_text(encoding="utf-8")
    broken = uploads / "broken_purchases.yml"
    broken.write_text(good.replace("timezone: Europe/Berlin", "timezone: Europe/Berlim"), encoding="utf-8")
    try:
        yield broken.stem
    finally:
        broken.unlink()


def test_b8_a_configuration_error_is_listed_with_its_problems(night: SampleNight):
    with a_broken_upload(night) as broken:
        done = night.run(broken)
        tab, listed = night.airflow.pages(
            night.environment, f"{ROOT}/dags/offline_capi__broken_purchases/runs/{quote(done.run_id)}", RUNS
        )

    assert done.state == "failed"
    assert "Europe/Berlim" in tab[1]
    assert 'class="status failed"' in tab[1]
    assert "broken_purchases" in listed[1]
    assert "ConfigError" in listed[1]


def test_b9_a_failure_of_the_source_keeps_its_error_through_prepare_and_reconcile(night: SampleNight):
    shutil.rmtree(night.home / "store_purchases")
    (night.home / "store_purchases").write_text("no folder")

    done = night.run("store_purchases", kind="scheduled", retries=0)

    tab = f"{ROOT}/dags/{DAG}/runs/{quote(done.run_id)}"
    (status, page), (_, listed) = night.airflow.pages(night.environment, tab, RUNS)
    assert done.state == "failed"
    assert status == 200
    assert "no file for" in unescape(listed)
    assert 'class="status failed"' in page or 'class="status partial"' in page
    assert 'class="problem' in page


def test_b6_the_tab_says_the_true_cause_of_a_deferral_and_the_clients_page_agrees(night: SampleNight):
    night.sandbox.revoke(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"])
    done = night.run("store_purchases", retries=0)

    tab, clients = night.airflow.pages(
        night.environment, f"{ROOT}/dags/{DAG}/runs/{quote(done.run_id)}", f"{ROOT}/clients"
    )

    page = unescape(tab[1])
    assert REASONS[Reason.CLIENT_STOPPED].what in page
    assert REASONS[Reason.NOT_SENT].what not in page
    assert page.index("code 190") < page.index("Not sent, and what to do")
    (row,) = (row for row in clients[1].split("<tr>") if ">nordic_outlet<" in row)
    assert "stopped" in row
    assert "code 190" in unescape(row)


def test_the_navigation_leads_to_the_runs_and_the_clients(local: History):
    entries = [view["href"] for view in OfflineCapiPlugin.external_views if view["destination"] == "nav"]

    assert entries == [RUNS, f"{ROOT}/clients"]
    assert all("<nav" in local.page(entry) for entry in entries)


# ---------------------------------------------------------------------------------------------- who sees what


def test_nobody_sees_a_page_without_a_login(night: SampleNight):
    paths = (*PAGES, f"{RUNS}/x", f"{ROOT}/dags/{DAG}/runs/x")

    assert {status for status, _ in night.airflow.pages(night.environment, *paths, user=None)} == {401}


def test_whoever_may_see_one_dag_sees_nothing_of_the_others(local: History, today: date):
    """Neither their runs nor their clients, their keys, or what of theirs is unconfirmed."""
    hidden = local.run("credit_approvals", today - timedelta(days=1), keys={"em": 1})
    local.run("store_purchases", today - timedelta(days=1), keys={"em": 1})
    local.post("credit_approvals", "acme_bank", 1, Fate.UNCONFIRMED)
    local.post("store_purchases", "corner_shop", 1, Fate.UNCONFIRMED)
    user = "viewer of store_purchases"

    shown = [local.page(path, user) for path in PAGES]

    assert all("store_purchases" in page for page in (shown[0], shown[2], shown[3], shown[4]))
    assert "corner_shop" in shown[1]
    assert not any(word in page for page in shown for word in ("credit_approvals", "acme_bank", hidden))
    assert local.night.airflow.pages(local.environment, f"{RUNS}/{hidden}", user=user)[0][0] == 403
    assert "credit_approvals" not in local.page(f"{ROOT}/coverage?upload=credit_approvals", user)


def test_whoever_may_see_no_dag_sees_empty_pages(local: History):
    local.post("credit_approvals", "acme_bank", 1, Fate.UNCONFIRMED)

    shown = [local.page(path, "viewer of nothing") for path in PAGES]

    assert not any(word in page for page in shown for word in ("credit_approvals", "acme_bank"))
    assert "No client" in shown[1]


# ---------------------------------------------------------------------------------------------- clients


def test_p09_clients_stand_as_the_last_look_found_them_and_no_token_is_shown(history: History):
    token = SAMPLE_TOKENS["ACME_BANK_TOKEN"]
    book, ends = StatusBook(str(history.night.home / "stage")), datetime.now(UTC) + timedelta(days=9, hours=12)
    facts = TokenFacts("system_user", "1", valid=True, expires_at=ends.timestamp())
    since = "2026-11-20T03:00:00+00:00"
    fault = AccessFault("run: refused", "the token was revoked", stops=True, since=since)
    tested = connection.ConnectionTestResult("probe", history.night.pixel("acme_bank"), since, "good", "")
    known = replace(book.read("acme_bank"), fingerprint=fingerprint(Secret(token)), tested=tested, token=facts)
    book.write(replace(known, faults=(fault,)))
    history.post("store_purchases", "corner_shop", 3, Fate.SENT)

    page = history.page(f"{ROOT}/clients")

    acme, corner = page.split("<tr>")[2:4]
    wanted = (
        "stopped",
        "2026-11-20 03:00 UTC",
        "none",
        "system_user",
        ">9<",
        "ads_management",
        "the token was revoked",
    )
    assert [word for word in wanted if word not in acme] == []
    assert "untested" in corner
    assert UNTESTED_HINT in unescape(page)
    assert f"{datetime.now(UTC):%Y-%m-%d}" in corner
    assert not any(secret in page for secret in SAMPLE_TOKENS.values())


def test_p18_the_report_for_a_client_is_linked_and_counts_what_its_reader_may_see(local: History, today: date):
    day = today - timedelta(days=1)
    for upload, rows in {"store_purchases": 7, "credit_approvals": 9}.items():
        sent = Counter({Count(Fate.SENT, "corner_shop", day): rows})
        local.run(upload, day, read=rows, fates=sent, read_of=Counter(corner_shop=rows), sendable=rows)
    page, viewer = f"{ROOT}/clients/corner_shop", "viewer of store_purchases"

    paths = (f"{ROOT}/clients", page, f"{ROOT}/clients/acme_bank", f"{page}?month=May")
    (_, clients), (_, seen), hidden, wrong = local.night.airflow.pages(local.environment, *paths, user=viewer)

    assert 'href="clients/corner_shop"' in clients
    assert "7 of 7 records were delivered" in seen
    assert "store_purchases" not in seen
    assert "16 of 16 records were delivered" in local.page(page)
    assert (hidden[0], wrong[0]) == (404, 400)
    assert "is no month" in wrong[1]


# ---------------------------------------------------------------------------------------------- key coverage


def test_the_share_of_each_key_is_plotted_by_night(history: History, today: date):
    """A key that nobody carries any more is at 0%, one that was not mapped is not there; a gap is not drawn over."""
    for ago, keys in {6: {"em": 900}, 5: {"em": 850, "ph": 500}, 2: {"em": 800, "ph": 400}, 1: {"em": 0}}.items():
        history.run("store_purchases", today - timedelta(days=ago), keys=keys)

    page = history.page(f"{ROOT}/coverage?upload=store_purchases")

    em, ph = page.split("<figure>")[1:]
    assert (em.count("<circle"), em.count("<polyline")) == (4, 2)
    assert (ph.count("<circle"), ph.count("<polyline")) == (2, 2)
    assert "<b>0.0%</b>" in em
    assert "<b>40.0%</b>" in ph
    table = page.split("<table>")[1]
    assert [cell in table for cell in ("90.0%", "85.0%", "80.0%", "0.0%")] == [True] * 4
    assert table.count("not mapped") == 2
    assert table.index("0.0%") < table.index("90.0%")


def test_of_several_runs_of_a_night_the_last_counts_and_a_run_of_some_clients_does_not(local: History, today: date):
    yesterday = today - timedelta(days=1)
    for share, narrowed in ((100, False), (700, False), (5, True)):
        local.run("store_purchases", yesterday, keys={"em": share}, narrowed=narrowed)

    page = local.page(f"{ROOT}/coverage?upload=store_purchases")

    assert "70.0%" in page
    assert page.count("<circle") == 1


def test_a_night_from_before_keys_were_counted_is_no_night_without_keys(local: History, today: date):
    local.run("store_purchases", today - timedelta(days=1), sendable=0)

    assert "No day of these with sendable events" in local.page(f"{ROOT}/coverage")


# ---------------------------------------------------------------------------------------------- unconfirmed


def test_requests_in_doubt_say_what_happens_next(history: History):
    old = history.post("credit_approvals", "acme_bank", 1200, Fate.UNCONFIRMED, ago=timedelta(days=3))
    fresh = history.post("store_purchases", "corner_shop", 3, Fate.UNCONFIRMED, ago=timedelta(hours=1))
    history.post("credit_approvals", "acme_bank", 5, Fate.SENT)

    page = history.page(f"{ROOT}/unconfirmed")

    assert "1,203 events in 2 requests" in page
    first, second = page.split("<tr>")[2:]
    assert "settles them, until" in first
    assert f'href="runs/{fresh}"' in first
    assert "not sent again: since" in second
    assert f'href="runs/{old}"' in second
    assert history.night.pixel("acme_bank") in second


def test_nothing_in_doubt_is_said_in_a_word(local: History):
    assert "<p>None.</p>" in local.page(f"{ROOT}/unconfirmed")


# ---------------------------------------------------------------------------------------------- days


def test_p20_the_calendar_shows_what_is_owed_for_each_day_and_why(history: History):
    today = datetime.now(ZoneInfo("Europe/Berlin")).date()
    night = Counter({Count(Fate.DEFERRED, "corner_shop", today - timedelta(days=3), "client_stopped"): 64})
    for ago, books in {4: {}, 3: {"fates": night, "read": 64, "sendable": 64}, 2: {}}.items():
        history.run("store_purchases", today - timedelta(days=ago), zone="Europe/Berlin", **books)

    page = unescape(history.page(f"{ROOT}/days?upload=store_purchases"))

    states = re.findall(r'title="(\d{4}-\d\d-\d\d): (\w+)', page)
    wanted = {4: "complete", 3: "open", 2: "complete", 1: "open"}
    assert {day: state for day, state in states if state != "no"} == {
        (today - timedelta(days=ago)).isoformat(): state for ago, state in wanted.items()
    }
    assert "a token or permission was refused (client stopped): 64 rows" in page
    assert "no run covered it" in page
    assert f"no run of store_purchases before {today - timedelta(days=4)} is known" in page


# ---------------------------------------------------------------------------------------------- in a browser


@pytest.fixture
def browser() -> None:
    if find_browser() is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no browser here: apt-get install chromium")


@pytest.mark.usefixtures("browser")
def test_going_back_shows_the_filter_that_the_runs_were_chosen_by(local: History, today: date, tmp_path: Path):
    local.run("store_purchases", today - timedelta(days=1))

    assert choose_and_go_back(local.page(RUNS), tmp_path, field="status", value="failed") == ""


@pytest.fixture
def shown(local: History, today: date, browser: None) -> dict[str, str]:
    """Every page with something on it."""
    for ago in range(1, 30):
        keys = {"em": 900 + ago, "ph": 700 - 9 * ago, "external_id": 1000, "client_user_agent": 31 * ago}
        run_id = local.run("store_purchases", today - timedelta(days=ago), keys=keys)
    local.post("store_purchases", "corner_shop", 3, Fate.UNCONFIRMED)
    local.post("store_purchases", "nordic_outlet", 3, Fate.SENT)
    book = StatusBook(str(local.night.home / "stage"))
    words = f"Meta answered 190/460: {'the token was revoked. ' * 5}"
    since = f"{today}T03:00:00+00:00"
    fault = AccessFault("run: refused", words, stops=True, since=since)
    tested = connection.ConnectionTestResult("probe", local.night.pixel("nordic_outlet"), since, "good", "")
    book.write(replace(book.read("nordic_outlet"), faults=(fault,), tested=tested))
    pages = {path.rpartition("/")[2]: local.page(path) for path in PAGES}
    return {**pages, "report": local.page(f"{RUNS}/{run_id}")}


# A desk and a telephone, less the 64 points of Airflow's own navigation.
@pytest.mark.parametrize("width", [1280 - 64, 390 - 64])
@pytest.mark.parametrize(("theme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 29, 43)")])
def test_every_page_follows_the_theme_of_airflow_and_fits(
    shown: dict[str, str], tmp_path: Path, theme: str, paper: str, width: int
):
    """Nothing is loaded from another place than the page itself."""
    seen = look_at(shown, tmp_path, theme=theme, width=width)

    assert {name: page["paper"] for name, page in seen.items()} == dict.fromkeys(shown, paper)
    assert {name: page["ink"] for name, page in seen.items() if page["ink"] == paper} == {}
    assert [name for name, page in seen.items() if page["too_wide"]] == []
    assert {name: page["cut"] for name, page in seen.items() if page["cut"]} == {}
    assert [name for name, page in seen.items() if page["loaded"]] == []
    assert {name: len(page["plots"]) for name, page in seen.items() if page["plots"]} == {"coverage": 4}
    assert min(seen["coverage"]["plots"]) > 200
    assert seen["coverage"]["outside"] == []


def test_axe_finds_nothing_serious_on_any_page(shown: dict[str, str], night: SampleNight, tmp_path: Path):
    """Also on pages of a configuration error, of runs that failed, of a dry and a partial run, and of none."""
    night.sandbox.revoke(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"])
    done = {
        "failed": night.run("store_purchases", limit=1),
        "planned": night.run("store_purchases", dry_run=True),
        "partial": night.run("store_purchases", retries=0),
    }
    paths = [f"{ROOT}/dags/{DAG}/runs/{quote(one.run_id)}" for one in done.values()]
    with a_broken_upload(night) as broken:
        done["misconfigured"] = night.run(broken)
        paths.append(f"{ROOT}/dags/offline_capi__{broken}/runs/{quote(done['misconfigured'].run_id)}")
    *tabs, missing, runs, clients = night.airflow.pages(
        night.environment, *paths, f"{RUNS}/20200101T000000-0000", RUNS, f"{ROOT}/clients"
    )
    failures = {name: page for name, (_, page) in zip(done, tabs, strict=True)}
    failures |= {"missing": missing[1], "failed_runs": runs[1], "stopped_clients": clients[1]}
    assert "Europe/Berlim" in failures["misconfigured"]

    for theme in ("light", "dark"):
        found = find_accessibility_faults({**shown, **failures}, tmp_path, theme=theme)

        assert {name: faults for name, faults in found.items() if faults} == {}
    if keep := os.environ.get("OFFLINE_CAPI_TEST_PAGES"):
        shutil.copytree(tmp_path, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("profile"))
