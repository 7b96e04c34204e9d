"""Open days on the command line: the night says what it takes up, `settle` does only that, `status --days` shows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from tests.support.night import yesterday
from tests.support.nights import Nights
from tests.support.sandbox_server import Sandbox

PIXEL = "1200000000000002"


@pytest.fixture
def nights(tmp_path: Path, sandbox: Sandbox) -> Nights:
    """Day 1 was yesterday, day 0 the day before."""
    return Nights(tmp_path, sandbox, yesterday("Europe/Berlin") - timedelta(days=1))


def test_p20_a_run_over_yesterday_takes_up_the_day_before_and_says_so_first(nights: Nights) -> None:
    nights.write(0, nights.sell(0, "a", "b"))
    nights.write(1, nights.sell(1, "c"))
    nights.sandbox.revoke(SAMPLE_TOKENS["CORNER_SHOP_TOKEN"])
    red = nights.night.run("upload", "sales", "--since", str(nights.day(0)))
    calendar = nights.night.run("status", "sales", "--days", "--json").json["uploads"][0]
    nights.sandbox.grant(SAMPLE_TOKENS["CORNER_SHOP_TOKEN"], [PIXEL])

    green = nights.night.run("upload", "sales", "--json")

    assert (red.code, green.code) == (1, 0)
    assert green.err.startswith(f"also {nights.day(0)}, open: a token or permission was refused")
    assert (green.json["balance"], [day["balance"] for day in green.json["settled"]]) == (
        "1 read = 1 sent",
        ["2 read = 2 sent"],
    )
    assert [(day["day"], day["state"], day["reasons"]) for day in calendar["days"][:1]] == [
        (str(nights.day(0)), "open", {"client_stopped": 2})
    ]
    assert nights.counted == {"a": 1, "b": 1, "c": 1}


def test_a_backfill_of_an_older_day_takes_up_nothing_else_and_no_settle_says_so_too(nights: Nights) -> None:
    for number in (0, 1):
        nights.write(number, nights.sell(number, f"s{number}"))
    nights.sandbox.revoke(SAMPLE_TOKENS["CORNER_SHOP_TOKEN"])
    nights.night.run("upload", "sales", "--since", str(nights.day(0)))
    nights.sandbox.grant(SAMPLE_TOKENS["CORNER_SHOP_TOKEN"], [PIXEL])

    alone = nights.night.run("upload", "sales", "--no-settle")
    settled = nights.night.run("settle", "sales")
    again = nights.night.run("settle", "sales")

    assert (alone.code, "also" in alone.err) == (0, False)
    assert (settled.code, "1 read = 1 sent" in settled.out) == (0, True)
    assert (again.code, again.out.strip()) == (0, "✓ sales: nothing is open that another run could settle now")


def test_the_calendar_says_what_it_does_not_know(nights: Nights) -> None:
    never = nights.night.run("status", "sales", "--days")
    nights.write(1, nights.sell(1, "a"))
    nights.night.run("upload", "sales")

    since = datetime.now(UTC).date() - timedelta(days=10)
    asked = nights.night.run("status", "sales", "--days", "--since", str(since))

    assert (never.code, "no run of sales is known yet" in never.out) == (0, True)
    assert f"no run of sales before {nights.day(1)} is known" in asked.out
    assert "✓" in asked.out
    assert max(map(len, asked.out.splitlines())) <= 80


def test_a_wrong_upload_of_the_calendar_is_a_problem_of_usage(nights: Nights) -> None:
    wrong = nights.night.run("status", "sale", "--days")

    assert (wrong.code, 'did you mean "sales"' in wrong.err) == (2, True)
