"""The report for a client: every record once, over any number of runs, and nothing of other clients."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.errors import UsageError
from offline_capi.ledger import Ledger, save_read_back
from offline_capi.model import Count, Fate, ReadBack, Reason, SentEvents, ValueCell
from offline_capi.operations.quality import load_quality
from offline_capi.pipeline import find_report
from offline_capi.report import Quality
from offline_capi.report.client_page import render_client_page
from offline_capi.report.client_report import ClientReport
from offline_capi.report.client_words import MATCH_KEYS, REASON_WORDS, describe_issue
from tests.support.night import Night
from tests.support.past import NOW, PIXELS, Past, books
from tests.support.sales import OUTLET, SHOP, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

DAY = date(2026, 11, 20)
NEXT = DAY + timedelta(days=1)
SECOND = "1300000000000009"


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


def told(report: ClientReport) -> dict[str, int]:
    """All figures of the balance."""
    return {"sent": report.sent} | {fate.value: n for fate, n in report.not_sent.items()}


def agree(report: ClientReport) -> bool:
    """Whether every part of the report has the same sums."""
    unsent = sum(report.not_sent.values())
    by_day = sum(line.sent for line in report.days), sum(line.not_sent for line in report.days) + report.undated
    by_event, by_issue = (
        sum(line.sent for line in report.events),
        sum(line.rows for line in report.issues if not line.pixel),
    )
    return by_day == (report.sent, unsent) and (by_event, by_issue) == (report.sent, unsent)


# ---------------------------------------------------------------------------------------------- a real night


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """Two clients in one upload: the outlet has two pixels and most fates, the shop's token is revoked."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.edit("dags/clients.yml", (f'dataset_id: "{OUTLET}"', f'dataset_id: ["{OUTLET}", "{SECOND}"]'))
    night.edit("dags/uploads/sales.yml", ("delivery: {", "delivery: {upload_tag: '{upload}-of-corner_shop', "))
    sandbox.grant(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"], [OUTLET, SECOND])
    sandbox.revoke(SAMPLE_TOKENS["CORNER_SHOP_TOKEN"])
    sandbox.refuse("o-1", pixel=SECOND)
    rows = [
        *(sale(f"s-{n}", "Shop", amount="7777.77") for n in range(8)),
        *(sale(f"o-{n}", "Outlet") for n in range(6)),
        sale("o-sek", "Outlet", currency="SEK", amount="99"),
        sale("o-none", "Outlet", consent="no"),
        sale("o-bad", "Outlet", currency="kroner"),
        sale("o-3", "Outlet"),
    ]
    write(night, rows, "corner_shop_export.csv")
    return night


def test_p01_p18_the_page_has_what_the_ledger_has_and_nothing_of_others_in_any_form(night: Night) -> None:
    run, html = night.send("sales"), night.home / "page.html"
    write(night, [sale(f"o-{n}", "Outlet") for n in range(6)], "corner_shop_export.csv")
    night.send("sales")  # sends nothing twice, and reads fewer rows
    own = run.of_client("nordic_outlet").tally

    said = night.run("report", "--client", "nordic_outlet", "--for", "client", "--json", "--html", str(html))
    found, page = said.json, html.read_text(encoding="utf-8")
    text = night.run("report", "--client", "nordic_outlet", "--for", "client").out

    assert (found["sent"], found["by_event"][0]["sent"]) == (own.count(Fate.SENT) - 6, 7)
    assert found["worth"] == [{"currency": "EUR", "amount": 75.0}, {"currency": "SEK", "amount": 99.0}]
    assert [(one["pixel"], one["sent"], one["not_sent"]) for one in found["pixels"]] == [(OUTLET, 7, 0), (SECOND, 6, 1)]
    assert "7 delivered" in text
    others = (
        "corner_shop",
        "Corner",
        SHOP,
        "7777",
        "62,222",
        "sales-of",
        "o-1",
        "@example.com",
        str(night.home),
        ".csv",
    )
    leaked = [word for told in (said.out, page, text) for word in (*others, *SAMPLE_TOKENS.values()) if word in told]
    assert leaked == []


def test_p01_the_fates_of_one_night_are_those_of_its_run(night: Night) -> None:
    own = night.send("sales").of_client("nordic_outlet").tally

    with night.services() as services:
        from offline_capi.operations.client_report import make_client_report

        report, other = (make_client_report(name, services) for name in ("nordic_outlet", "corner_shop"))

    first = Counter({count: n for count, n in own.fates.items() if count.client == "nordic_outlet"})
    of_run = Counter({count.fate.value: 0 for count in first})
    for count, n in first.items():
        of_run[count.fate.value] += n
    assert told(report) == dict(of_run) == {"sent": 7, "invalid": 2, "suppressed": 1}
    assert report.records == own.read
    assert [(line.pixel, line.rows) for line in report.issues if line.pixel] == [(SECOND, 1)]
    assert told(other) == {"sent": 0, "deferred": 8}
    assert all(map(agree, (report, other)))


# ---------------------------------------------------------------------------------------------- many runs


def test_a_row_that_is_read_again_counts_as_the_last_run_found_it(past: Past) -> None:
    past.run(books(DAY, 10, values={"EUR": 5.0}, invalid={"bad_currency": 3}, deferred={"client_stopped": 6}), DAY)
    past.run(books(DAY, 6, values={"EUR": 2.5}, already_sent=10, invalid={"bad_currency": 2}), DAY)

    report = past.report()

    assert told(report) == {"sent": 16, "invalid": 2}
    assert report.value == {"EUR": 7.5}
    assert agree(report)


def test_a_look_back_counts_no_row_twice_and_a_missed_day_is_no_zero(past: Past) -> None:
    before = books(DAY, 4, invalid={"missing_value": 1}) + books(NEXT, 5, invalid={"missing_value": 2})
    past.run(before, NEXT, days=2)
    again = books(NEXT, already_sent=5, invalid={"missing_value": 2}) + books(NEXT + timedelta(days=1), 7)
    past.run(again, NEXT + timedelta(days=1), days=2)

    report = past.report()

    assert told(report) == {"sent": 16, "invalid": 3}
    assert [line.day for line in report.days if line.covered] == [DAY, NEXT, NEXT + timedelta(days=1)]
    assert agree(report)
    assert report.missed_days == [NOW.date() - timedelta(days=ago) for ago in range(6, 0, -1)]
    assert report.known_since == DAY


def test_a_replay_takes_off_what_it_corrected(past: Past) -> None:
    past.run(books(DAY, 1, invalid={"bad_currency": 5}, deferred={"gate_closed": 2}), DAY)
    past.run(books(DAY, 4, invalid={"bad_currency": 1}), DAY, trigger="replay", after=timedelta(hours=3))

    report = past.report()

    assert told(report) == {"sent": 5, "invalid": 1, "deferred": 2}
    assert agree(report)


@pytest.mark.parametrize("trigger", ["test", "plan"])
def test_tests_plans_and_failed_runs_change_nothing(past: Past, trigger: str) -> None:
    past.run(books(DAY, 3, invalid={"missing_time": 1}), DAY)
    past.run(books(DAY, 3), DAY, trigger=trigger)
    with Ledger(past.url) as ledger:
        failed = ledger.runs.begin("sales", ledger.runs.get_newest().window, trigger="manual", now=NOW)
        ledger.runs.finish(failed, status="failed", report=None, now=NOW)

    assert told(past.report()) == {"sent": 3, "invalid": 1}


def test_a_run_for_another_client_says_nothing_of_this_one(past: Past) -> None:
    past.run(books(DAY, 3, suppressed=2), DAY)
    past.run(replace(books(DAY, 9, client="corner_shop"), narrowed=True), DAY)
    past.run(replace(books(NEXT, 9, client="corner_shop"), narrowed=True), NEXT)

    report = past.report()

    assert told(report) == {"sent": 3, "suppressed": 2}
    assert NEXT in report.missed_days


def test_what_waited_until_meta_takes_it_no_more_is_lost(past: Past) -> None:
    past.run(books(DAY, deferred={"client_stopped": 4}), DAY)

    waiting, lost = past.report(), past.report(now=datetime(2027, 1, 22, tzinfo=UTC), month="2026-11")

    assert [(line.rows, line.lost, line.who) for line in waiting.issues] == [(4, False, "you")]
    assert [(line.rows, line.lost, line.who) for line in lost.issues] == [(4, True, "we")]


def test_two_currencies_are_never_added_and_refunds_are_below_zero(past: Past) -> None:
    past.run(books(DAY, 2, values={"EUR": 10.0, "USD": 3.0}) + books(DAY, 1, name="Refund", values={"EUR": -4.0}), DAY)

    report = past.report()
    page = render_client_page(report)

    assert report.value == {"EUR": 6.0, "USD": 3.0}
    assert {line.event_name: dict(line.value) for line in report.events} == {
        "Purchase": {"EUR": 10.0, "USD": 3.0},
        "Refund": {"EUR": -4.0},
    }
    assert all(words in page for words in ("Value by day in EUR", "Value by day in USD", "20 Nov: 6.00 EUR"))


def test_a_month_has_its_own_days_only(past: Past) -> None:
    past.run(books(date(2026, 10, 31), 5), date(2026, 10, 31))
    past.run(books(date(2026, 11, 1), 7), date(2026, 11, 1))

    october, november = past.report(month="2026-10"), past.report(month="2026-11")

    assert (october.sent, november.sent) == (5, 7)
    assert (len(october.days), november.period.last) == (31, date(2026, 11, 28))
    assert october.known_since == date(2026, 10, 31)


@pytest.mark.parametrize(
    ("client", "month", "words"),
    [
        ("nordic_outlets", None, 'no client "nordic_outlets"'),
        ("nordic_outlet", "November", "is no month: write it as 2026-11"),
        ("nordic_outlet", "2026-12", "no day of it is over yet"),
    ],
)
def test_what_cannot_be_reported_is_one_sentence(past: Past, client: str, month: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        past.report(client, month=month)


def test_a_client_without_any_event_has_a_page_that_says_so(past: Past) -> None:
    past.run(books(DAY, 5, client="corner_shop"), DAY)

    report = past.report()
    page = render_client_page(report)

    assert (report.records, report.keys, report.issues) == (0, (), ())
    assert "No sale or other event of these days reached us" in page
    assert not any(word in page for word in ("<svg", "5 delivered", "corner"))


def test_only_the_uploads_that_may_be_seen_are_counted(past: Past) -> None:
    past.run(books(DAY, 5), DAY)
    past.run(books(DAY, 7), DAY, upload="leads")

    assert (past.report().sent, past.report(uploads={"sales"}).sent) == (12, 5)


def test_books_from_before_values_were_kept_by_event_still_count(past: Past) -> None:
    past.run(replace(books(DAY, 5, values={"EUR": 9.0}), sent_cells={}), DAY)

    report = past.report()

    assert (report.sent, report.value) == (5, {"EUR": 9.0})
    assert agree(report)


def test_events_that_came_late_are_told(past: Past) -> None:
    past.run(books(DAY, 8), DAY)
    past.run(books(NEXT, 2), NEXT, after=timedelta(days=3))

    fresh = past.report().freshness

    assert (fresh.sent, fresh.next_day, fresh.share) == (10, 8, 0.8)


# ---------------------------------------------------------------------------------------------- Meta's figures


def read_back(past: Past, kind: str, figures: dict[str, object], client: str = "nordic_outlet") -> None:
    with Ledger(past.url) as ledger:
        save_read_back(ledger, [ReadBack(client, PIXELS[client], kind, DAY, figures, NOW)], now=NOW)


@pytest.mark.parametrize(
    ("received", "words"), [(100, "The two agree."), (97, "apart from a few"), (50, "50 fewer"), (150, "50 more")]
)
def test_what_meta_counts_stands_beside_what_was_sent(past: Past, received: int, words: str) -> None:
    past.run(books(DAY, 100), DAY)
    read_back(past, "received", {"Purchase": received})

    (count,) = past.report().meta.counts

    assert (count.event_name, count.sent, count.received) == ("Purchase", 100, received)
    assert words in count.words


def test_scores_checks_and_meta_s_estimate_of_a_key_are_told(past: Past) -> None:
    past.run(books(DAY, 100, keys={"em": 40, "fbc": 7}), DAY)
    read_back(past, "web", {"Purchase": {"score": 5.1, "keys": {"em": 40.0}, "gains": {"em": 12.5}}})
    read_back(
        past, "checks", {"k": {"title": "Prices differ", "result": "failed", "action_uri": "https://meta.example"}}
    )

    report = past.report()
    page = render_client_page(report)

    assert [(score.score, score.aim) for score in report.meta.scores] == [(5.1, 6.0)]
    assert {line.key: (line.events, line.gain) for line in report.keys if line.events} == {
        "em": (40, 12.5),
        "fbc": (7, None),
    }
    assert all(
        words in page for words in ("Prices differ", "up to 12.5 %", "5.1 of 10", "Only 40 % of the events carry")
    )
    assert "meta.example" not in page


@pytest.mark.parametrize("how", ["runs", "settings"])
def test_p18_figures_of_a_pixel_that_another_client_fills_as_well_are_withheld(past: Past, how: str) -> None:
    past.run(books(DAY, 100), DAY)
    if how == "runs":
        past.run(books(DAY, 900, client="corner_shop", pixel=PIXELS["nordic_outlet"]), DAY, upload="other")
    else:
        clients = past.home / "dags" / "clients.yml"
        text = clients.read_text(encoding="utf-8").replace(PIXELS["corner_shop"], PIXELS["nordic_outlet"])
        shared = "timezone: Europe/Berlin, shares_pixel_with: [corner_shop, nordic_outlet]}"
        clients.write_text(text.replace("timezone: Europe/Berlin}", shared), encoding="utf-8")
    read_back(past, "received", {"Purchase": 1000})
    read_back(past, "web", {"Purchase": {"score": 5.1, "keys": {}, "gains": {"em": 12.5}}})

    report = past.report()

    assert (report.meta.counts, report.meta.scores, [line.gain for line in report.keys if line.gain]) == ((), (), [])
    assert "also receives events that are not of this report" in render_client_page(report)


def test_p18_nor_are_they_in_the_report_of_a_run_that_is_given_to_a_client(past: Past) -> None:
    run_id = past.run(books(DAY, 100), DAY)
    read_back(past, "received", {"Purchase": 100})
    with past.services() as services:
        own = find_report(run_id, services).of_client("nordic_outlet")
        before = load_quality(own, services, client="nordic_outlet")
    past.run(books(DAY, 900, client="corner_shop", pixel=PIXELS["nordic_outlet"]), DAY, upload="other")
    with past.services() as services:
        after = load_quality(own, services, client="nordic_outlet")

    assert [line.received for line in before.lines] == [100]
    assert after == Quality()


def test_meta_that_was_never_asked_is_said_to_be_so(past: Past) -> None:
    past.run(books(DAY, 1), DAY)

    assert "have not been read" in past.report().meta.why_not


# ---------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize("reason", [*Reason, "100/2804019", "190/460", "", "no such reason"])
def test_every_reason_has_words_that_a_marketer_reads(reason: str) -> None:
    words = describe_issue(Fate.INVALID, reason)

    assert set(Reason) == set(REASON_WORDS)
    assert words.who in ("you", "we", "nobody")
    assert words.what.endswith(".")
    assert words.remedy.endswith(".")
    ours = ("_", "clients.yml", "offline-capi", "YAML", "upload", "mapping", "--", "replay", "null", "ledger", "token:")
    assert [word for word in ours if word in f"{words.what} {words.remedy}"] == []


def test_every_match_key_says_where_its_effect_is_written() -> None:
    assert all(words.how and words.effect and words.sources for words in MATCH_KEYS.values())


def test_cells_of_what_was_sent_travel_and_add_up(past: Past) -> None:
    one, other = books(DAY, 2, values={"EUR": 1.5}), books(DAY, 1, values={"EUR": 2.0})

    both = one + other

    assert both.sent_cells[ValueCell("nordic_outlet", "Purchase", "EUR", DAY)] == (2, 3.5)
    assert type(both).from_json(both.to_json()) == both
    assert both.select_client("corner_shop").sent_cells == {}
    assert both.sent_events == {SentEvents("nordic_outlet", PIXELS["nordic_outlet"], "Purchase", DAY): 3}
    assert both.fates[Count(Fate.SENT, "nordic_outlet", DAY)] == 3
