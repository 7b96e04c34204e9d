"""Rows that an upload does not mean: left out, counted under their own heading, and never a reason for red."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.night import yesterday
from tests.support.sandbox_server import Sandbox
from tests.support.shop import Shop, further_line, order

DAY = yesterday("America/New_York")


@pytest.fixture
def shop(tmp_path: Path, sandbox: Sandbox) -> Shop:
    return Shop(tmp_path, sandbox)


def test_further_lines_of_an_order_are_no_rejects(shop: Shop):
    shop.orders(order(DAY, "#1"), further_line(DAY, "#1"), order(DAY, "#2"))
    plain = shop.run("plan", "orders", "--json").json
    shop.upload(filter={"column": "Status", "is": "filled"})

    planned, done = shop.run("plan", "orders", "--json").json, shop.run("upload", "orders")
    again = shop.run("upload", "orders", "--json").json

    assert (plain["status"], plain["rows"]["invalid"]) == ("partial", 1)
    assert (planned["rows"]["read"], planned["rows"]["sent"], planned["rows"]["filtered"]) == (2, 2, 1)
    assert (done.code, "1 row left out by filter, not counted as read" in done.out) == (0, True)
    assert sorted(shop.sandbox.accepted_ids) == ["shop-#1", "shop-#2"]
    assert (again["status"], again["rows"]["already_sent"], again["rows"]["filtered"]) == ("complete", 2, 1)


def test_first_of_keeps_one_row_an_order_also_where_its_lines_are_apart(shop: Shop):
    shop.orders(order(DAY, "#1"), order(DAY, "#2"), order(DAY, "#1", total="3"))
    shop.upload(filter=[{"first_of": "Name"}])

    done = shop.run("upload", "orders", "--json")

    assert (done.code, done.json["rows"]["sent"], done.json["rows"]["filtered"]) == (0, 2, 1)


def test_p14_a_night_of_which_everything_was_filtered_is_complete_after_busy_days(shop: Shop):
    """An export without rows would be red here: this one has rows, and none is meant."""
    days = [DAY - timedelta(days=n) for n in (4, 3, 2, 1)]
    shop.orders(*(order(day, f"#{day.day}") for day in days), order(DAY, "#d", "draft"))
    shop.upload(filter={"Status": "paid"}, gates={"volume": "off"})
    busy = [shop.run("upload", "orders", "--since", str(day), "--json", "--no-settle") for day in days]

    quiet = shop.run("upload", "orders", "--json")

    assert [one.code for one in busy] == [0] * 4
    assert (quiet.code, quiet.json["status"]) == (0, "complete")
    assert (quiet.json["rows"]["read"], quiet.json["rows"]["filtered"], quiet.json["notices"]) == (0, 1, [])


def test_the_report_of_a_filtered_night_is_kept_with_its_count(shop: Shop):
    shop.orders(order(DAY, "#1"), order(DAY, "#2", "draft"))
    shop.upload(filter={"Status": "paid"})
    shop.run("upload", "orders")

    page = shop.run("report", "last", "--html", "report.html")

    assert shop.run("report", "last", "--json").json["rows"]["filtered"] == 1
    assert (page.code, "1 row left out by filter" in (shop.home / "report.html").read_text("utf-8")) == (0, True)


def test_rows_staged_in_tasks_are_counted_like_those_of_one_process(shop: Shop):
    from offline_capi.model import Window
    from offline_capi.pipeline import begin_run, reconcile, send_staged, stage_upload

    shop.orders(order(DAY, "#1"), order(DAY, "#2", "draft"))
    shop.upload(filter={"Status": "paid"})
    window = Window.of_day(DAY, "America/New_York")
    with shop.services() as services:
        one = services.deployment.uploads["orders"]
        run = begin_run(one, window, services)
        for unit in stage_upload(one, window, services, run):
            send_staged(unit, one, services)
        report = reconcile(run, one, services)

    assert (report.status, report.tally.read, report.tally.filtered) == ("complete", 1, 1)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"column": "Statos", "equals": "paid"}, 'filter.column  column "Statos" is not in the source'),
        ({"column": "Status", "equal": "paid"}, 'filter.equal  is not a key here; did you mean "equals"?'),
        ({"column": "Status", "is": "emty"}, 'filter.is  "emty" is unknown; did you mean "empty"?'),
        ({"column": "Status"}, "does not say what the column has to be"),
        ({"column": "Total", "above": "many"}, "is neither a number nor a date"),
        ({"column": "Total", "above": 1, "below": "2026-11-20"}, "compares with a number and with a time"),
        ({"column": "Name", "matches": "(?!x)"}, "looks ahead or behind, which RE2 does not know"),
        ({"column": "Name", "matches": "[a"}, "the pattern is none of RE2's: missing ]"),
        ({"first_of": "Name", "column": "Status"}, "needs either column, or first_of"),
    ],
)
def test_check_finds_what_a_filter_cannot_mean(shop: Shop, condition: dict[str, object], said: str):
    shop.orders(order(DAY, "#1"))
    shop.upload(filter=condition)

    found = shop.run("check", "--connect")

    assert (found.code, said in found.err) == (2, True), found.err
    assert re.search(r"dags/uploads/orders\.yml:(18|19|2\d)  filter", found.err)
