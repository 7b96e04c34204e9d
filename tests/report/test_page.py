"""The page of a report: what somebody reads first, what every fate means, and how it looks on paper."""

from __future__ import annotations

import os
import re
import zlib
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest

from offline_capi.errors import ConfigError, Problem, SourceError
from offline_capi.model import FATE_TEXTS, Count, Fate, Reason, Tally
from offline_capi.report import RunReport, make_failure_report, render_html
from tests.airflow_provider.browser import find_accessibility_faults, find_browser, print_page
from tests.report.test_run_report import DAY, report_of, tally_of


def test_undelivered_events_come_before_rows_that_became_none_and_many_before_few():
    fates = {
        Count(Fate.INVALID, "acme", DAY, Reason.BAD_CURRENCY): 90,
        Count(Fate.INVALID, "acme", DAY, Reason.MISSING_TIME): 1,
        Count(Fate.DEFERRED, "acme", DAY, Reason.CLIENT_STOPPED): 64,
        Count(Fate.REJECTED_BY_META, "acme", DAY, "100/2804019"): 2,
        Count(Fate.EXPIRED, "acme", DAY, Reason.TOO_OLD): 7,
    }

    reasons = report_of(Tally(read=164, fates=Counter(fates))).reasons()

    assert [line.rows for line in reasons] == [64, 2, 90, 7, 1]


def test_what_stopped_stands_above_what_it_caused():
    tally = tally_of(sent=1, deferred=64)
    tally.notices.append("acme: Meta refused the token")

    page = render_html(report_of(tally))

    assert (
        page.index("acme: Meta refused the token") < page.index("Meta accepted the event") < page.index(">64 deferred<")
    )


def test_every_fate_is_explained_where_it_is_used():
    page = unescape(render_html(report_of(tally_of(**{fate.value: 1 for fate in Fate}))))

    assert FATE_TEXTS.keys() == set(Fate)
    assert all(text in page for text in FATE_TEXTS.values())


def test_money_and_freshness_are_said_and_kept():
    report = report_of(tally_of(sent=3))
    newest = report.ended_at - timedelta(hours=9)
    worth = {("acme", "EUR"): 3448.77, ("other", "EUR"): 1.0, ("acme", "USD"): 12.0}
    report = replace(
        report, tally=replace(report.tally, sent_value=worth, newest_sent={"acme": int(newest.timestamp())})
    )

    assert report.value_line() == "EUR 3,449.77 and USD 12.00 sent"
    assert report.freshness_line().endswith("9 hours before the run ended")
    assert report.value_line() in render_html(report)
    assert (report.to_json()["value_sent"], report.to_json()["newest_sent"]) == (
        {"EUR": 3449.77, "USD": 12.0},
        newest.isoformat(),
    )
    assert RunReport.from_json(report.to_json()) == report


def test_the_report_of_one_client_has_its_money_and_keys_and_no_table_of_clients():
    tally = Tally(
        read=5,
        fates=Counter({Count(Fate.SENT, "acme", DAY): 3, Count(Fate.SENT, "other", DAY): 2}),
        sendable=5,
        keys={"em": 4},
        read_of=Counter(acme=3, other=2),
        sent_value={("acme", "EUR"): 10.0, ("other", "EUR"): 99.0},
        sendable_of=Counter(acme=3, other=2),
        keys_of={("acme", "em"): 3, ("other", "em"): 1},
    )

    report = report_of(tally).of_client("acme")
    page = render_html(report)

    assert report.client == "acme"
    assert report.value_line() == "EUR 10.00 sent"
    assert [(line.key, line.events, line.meaning) for line in report.key_lines()] == [("em", 3, "email")]
    assert "By client" not in page
    assert "By client" in render_html(report_of(tally))
    assert "other" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_a_failed_run_has_a_page_with_its_error():
    done = report_of(tally_of(sent=1))
    report = make_failure_report(
        SourceError('no column "amout"\nNothing was sent.'),
        run_id="r1", upload="sales", window=done.window, trigger="manual",
        started_at=done.started_at, ended_at=done.ended_at,
    )  # fmt: skip

    page = unescape(render_html(report))

    assert 'SourceError: no column "amout"\nNothing was sent.' in page
    assert "0 read" not in page
    assert RunReport.from_json(report.to_json()) == report


def test_axe_finds_nothing_serious(tmp_path: Path):
    """On what ``report --html`` writes: a run with every fate, a dry run, and one that a configuration error ended."""
    in_browser()
    full = report_of(tally_of(**{fate.value: 1 for fate in Fate}))
    wrong = Problem("dags/uploads/sales.yml", 17, "window.timezone", '"Europe/Berlim" is not an IANA time zone')
    failed = make_failure_report(
        ConfigError("1 problem in dags/uploads/sales.yml", [wrong]),
        run_id="r1", upload="sales", window=full.window, trigger="manual",
        started_at=full.started_at, ended_at=full.ended_at,
    )  # fmt: skip
    pages = {"full": full, "planned": replace(full, planned=True), "misconfigured": failed}
    rendered = {name: render_html(one) for name, one in pages.items()}
    assert "sales.yml:17  window.timezone" in rendered["misconfigured"]

    for theme in ("light", "dark"):
        assert find_accessibility_faults(rendered, tmp_path, theme=theme) == {name: [] for name in pages}


def in_browser() -> None:
    if find_browser() is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no browser here: apt-get install chromium")


def test_a_printed_page_keeps_its_colours(tmp_path: Path):
    in_browser()
    page = tmp_path / "page.html"
    page.write_text(render_html(report_of(tally_of(sent=9, deferred=1))), encoding="utf-8")

    streams = re.findall(rb"stream\r?\n(.*?)endstream", print_page(page, tmp_path), re.DOTALL)
    colours = re.findall(rb"((?:[\d.]+ ){3})rg", b"".join(map(_inflate, streams)))

    fills = {tuple(round(float(part) * 255) for part in colour.split()) for colour in colours}
    assert {(0x2D, 0xA4, 0x4E), (0x82, 0x50, 0xDF)} <= fills, "the bar: sent, deferred"


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error:
        return b""
