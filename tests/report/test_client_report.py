"""The report for one client, to be given to that client: its own numbers, and nothing of others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from offline_capi.config.upload import LossLimits
from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.errors import BalanceError, UsageError
from offline_capi.model import Count, Fate, Reason, Tally
from tests.report.test_run_report import DAY, report_of
from tests.support.night import Night
from tests.support.sales import OUTLET, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

SECOND = "1300000000000009"


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """The outlet has two pixels and most fates; the shop's token is revoked; somebody else is unknown."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.edit("dags/clients.yml", (f'dataset_id: "{OUTLET}"', f'dataset_id: ["{OUTLET}", "{SECOND}"]'))
    night.edit(
        "dags/uploads/sales.yml",
        ("{column: brand, map: {Shop: corner_shop, Outlet: nordic_outlet}}", "{column: brand}"),
    )
    sandbox.grant(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"], [OUTLET, SECOND])
    sandbox.revoke(SAMPLE_TOKENS["CORNER_SHOP_TOKEN"])
    sandbox.refuse("o-1", pixel=SECOND)
    rows = [
        *(sale(f"s-{n}", "corner_shop") for n in range(8)),
        *(sale(f"o-{n}", "nordic_outlet") for n in range(6)),
        sale("o-none", "nordic_outlet", consent="no"),
        sale("o-bad", "nordic_outlet", currency="kroner"),
        sale("o-3", "nordic_outlet"),
        sale("x-1", "nordic_outlets"),
    ]
    write(night, rows)
    return night


BALANCE = "9 read + 6 copies for further pixels = 11 sent + 2 invalid + 1 suppressed + 1 rejected by Meta"


def test_p01_the_books_of_one_client_balance_by_themselves(night: Night, sandbox: Sandbox) -> None:
    run = night.send("sales").run_id

    found = night.run("report", run, "--client", "nordic_outlet", "--json").json

    assert found["balance"] == BALANCE
    assert found["problems"] == ["1 rejected by Meta"]
    assert found["clients"].keys() == {"nordic_outlet", f"nordic_outlet@{SECOND}"}
    assert {reason["reason"] for reason in found["reasons"]} >= {"bad_currency", "duplicate_event_id"}
    assert found["tally"]["requests"] == len(sandbox.requests_to(OUTLET)) + len(sandbox.requests_to(SECOND))


def test_p18_nothing_of_others_is_in_it_in_any_form(night: Night) -> None:
    run, page = night.send("sales").run_id, night.home / "page.html"

    told = [
        night.run("report", run, "--client", "nordic_outlet").out,
        night.run("report", run, "--client", "nordic_outlet", "--json").out,
        night.run("report", run, "--client", "nordic_outlet", "--html", str(page)).out,
        page.read_text(encoding="utf-8"),
    ]
    whole = night.run("report", run).out

    assert all(BALANCE[:40] in text for text in (told[0], told[1], told[3]))
    assert all(word in whole for word in ("corner_shop", "nordic_outlets", "18 read"))
    others = ("corner_shop", "nordic_outlets", "18 read", "8 deferred", "ROW", "TOKEN", str(night.home), "token")
    assert [word for text in told for word in others if word in text] == []


def test_a_client_whose_rows_all_wait_for_it_has_no_complete_report() -> None:
    """For the run, one paused client of many is within the limit."""
    fates = Counter({Count(Fate.SENT, "acme", DAY): 990, Count(Fate.DEFERRED, "bank", DAY, Reason.PAUSED_CLIENT): 10})
    report = report_of(Tally(read=1000, fates=fates, read_of=Counter(acme=990, bank=10)), LossLimits(max_invalid=0.02))

    acme, bank = report.of_client("acme"), report.of_client("bank")

    assert [(one.status, one.problems) for one in (report, acme, bank)] == [
        ("complete", ()),
        ("complete", ()),
        ("partial", ("10 deferred",)),
    ]


def test_a_client_of_whom_nothing_was_read_has_no_report(night: Night) -> None:
    run = night.send("sales").run_id

    known, unknown = (night.run("report", run, "--client", name) for name in ("acme_bank", "somebody_else"))

    assert (known.code, unknown.code) == (2, 2)
    assert 'read no row of a configured client "acme_bank"' in known.err
    assert 'read no row of a configured client "somebody_else"' in unknown.err


def test_p01_books_of_a_client_that_do_not_balance_are_an_error_even_where_those_of_the_run_do() -> None:
    """One row of a client was booked for another."""
    fates = Counter({Count(Fate.SENT, "acme", DAY): 3, Count(Fate.DEFERRED, "bank", DAY, Reason.THROTTLED): 1})
    report = report_of(Tally(read=4, fates=fates, read_of=Counter(acme=2, bank=2)))

    with pytest.raises(BalanceError, match="2 rows were read but 3 have a fate"):
        report.of_client("acme")
    with pytest.raises(UsageError):
        report.of_client("shop")


def test_the_list_of_clients_says_when_events_of_each_were_last_accepted(night: Night) -> None:
    before = night.run("clients", "list", "--json").json["clients"]
    night.send("sales")

    after = {one["client"]: one["last_accepted_at"] for one in night.run("clients", "list", "--json").json["clients"]}

    assert {one["last_accepted_at"] for one in before} == {None}
    assert {client for client, at in after.items() if at} == {"nordic_outlet", f"nordic_outlet@{SECOND}"}
    assert "last accepted" in night.run("clients", "list").out
