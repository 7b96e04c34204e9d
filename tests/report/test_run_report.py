"""The report: its numbers balance, and it says what is wrong and what to do."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from offline_capi.config.upload import LossLimits, Upload
from offline_capi.errors import BalanceError, PartialLossError
from offline_capi.model import REASONS, AbsentFile, Count, Fate, GateFinding, Reason, Tally, Window
from offline_capi.report import (
    RunReport,
    Status,
    days_to_judge,
    judge,
    make_report,
    print_days,
    print_report,
    render_html,
)

DAY = date(2026, 11, 23)


def tally_of(read: int | None = None, **rows: int) -> Tally:
    """A tally with so many rows of each fate; ``read`` is their sum unless given."""
    fates = Counter(
        {Count(Fate(fate), "acme", DAY, "too_old" if fate == "expired" else None): n for fate, n in rows.items()}
    )
    return Tally(read=sum(rows.values()) if read is None else read, fates=fates)


def report_of(tally: Tally, limits: LossLimits | None = None) -> RunReport:
    moment = datetime(2026, 11, 24, 3, tzinfo=UTC)
    return make_report(
        run_id="r1",
        upload="credit_approvals",
        window=Window.of_day(DAY, "America/New_York"),
        trigger="manual",
        started_at=moment,
        ended_at=moment,
        tally=tally,
        limits=limits or LossLimits(),
    )


def test_the_balance_names_every_fate_that_has_rows():
    report = report_of(tally_of(sent=240, already_sent=8, suppressed=2))

    assert report.balance == "250 read = 240 sent + 8 already sent + 2 suppressed"
    assert report.status is Status.COMPLETE


def test_p01_books_that_do_not_balance_are_an_error_and_name_both_numbers():
    with pytest.raises(BalanceError, match="10 rows were read but 9 have a fate"):
        report_of(tally_of(read=10, sent=9))


@pytest.mark.parametrize("fate", ["rejected_by_meta", "unconfirmed", "deferred"])
def test_p14_one_row_refused_in_doubt_or_held_makes_the_run_partial(fate):
    report = report_of(tally_of(sent=999_999, **{fate: 1}))

    assert report.status is Status.PARTIAL
    with pytest.raises(PartialLossError, match=f"1 {Fate(fate).words}"):
        report.raise_for_loss()


@pytest.mark.parametrize(("invalid", "status"), [(2, Status.COMPLETE), (3, Status.PARTIAL)])
def test_p14_rejected_rows_count_against_the_limit_of_the_upload(invalid, status):
    assert judge(tally_of(sent=100 - invalid, invalid=invalid), LossLimits(max_invalid=0.02))[0] is status


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_CLIENT, Reason.PAUSED_CLIENT])
@pytest.mark.parametrize(
    ("deferred", "problems"), [(1, ()), (2, ("1 invalid and 2 deferred (3.0%; limits.max_invalid is 2.0%)",))]
)
def test_p14_rows_held_for_their_client_count_against_the_limit_of_rejected_ones(reason, deferred, problems):
    """One client of many that is paused does not fail every night of the others."""
    tally = tally_of(sent=99 - deferred, invalid=1)
    tally += Tally(read=deferred, fates=Counter({Count(Fate.DEFERRED, "acme", DAY, reason, "client"): deferred}))

    assert judge(tally, LossLimits(max_invalid=0.02))[1] == problems


def test_an_empty_window_is_a_complete_run():
    assert judge(Tally(), LossLimits()) == (Status.COMPLETE, ())


def test_a_report_survives_the_ledger():
    report = report_of(tally_of(sent=3, expired=2, deferred=1))

    assert RunReport.from_json(report.to_json()) == report


def test_every_reason_has_words_for_the_reader():
    assert set(REASONS) == set(Reason)


@given(st.lists(st.tuples(st.sampled_from(list(Fate)), st.sampled_from(["a", "b", None]), st.integers(1, 9))))
def test_tallies_add_up_in_any_grouping(entries):
    """Parts of a run may be added in any order: the books are the same."""
    parts = [Tally(read=n, fates=Counter({Count(fate, client, None): n})) for fate, client, n in entries]

    total = Tally.total(parts)

    assert total.read == total.accounted == sum(n for _, _, n in entries)
    assert Tally.total(reversed(parts)).fates == total.fates
    assert Tally.from_json(total.to_json()).fates == total.fates


def test_the_text_says_why_rows_were_not_sent_and_what_to_do():
    console = Console(file=io.StringIO(), width=160)

    print_report(report_of(tally_of(sent=3, expired=2), LossLimits(max_expired=0.1)), console)

    text = console.file.getvalue()
    assert "5 read = 3 sent + 2 expired" in text
    assert "older than Meta accepts" in text
    assert "backfill inside Meta's window" in text
    assert "limits.max_expired is 10.0%" in text


@pytest.mark.parametrize("name", ["[/b]", "[red]shop[/red]", ":smile:"])
def test_the_text_shows_what_stood_in_the_client_column_as_it_is(name: str):
    """Whatever it is: a row may name anything as its client."""
    fates = Counter({Count(Fate.DEFERRED, name, DAY, "unknown_client"): 1, Count(Fate.SENT, "acme", DAY): 2})
    console = Console(file=io.StringIO(), width=160)

    print_report(report_of(Tally(read=3, fates=fates)), console)

    assert f"\n  {name} " in console.file.getvalue()


@pytest.mark.parametrize(("days", "lines"), [(1, []), (2, ["day sent", "2026-11-23 1", "2026-11-24 2"])])
def test_of_several_days_each_is_told_by_itself(days: int, lines: list[str]):
    fates = Counter({Count(Fate.SENT, "acme", DAY + timedelta(days=day)): day + 1 for day in range(days)})
    console = Console(file=io.StringIO(), width=160)

    print_days(report_of(Tally(read=fates.total(), fates=fates)), console)

    assert [" ".join(line.split()) for line in console.file.getvalue().splitlines() if line.strip()] == lines


def test_the_page_escapes_what_it_shows():
    tally = tally_of(sent=1)
    tally.notices.append("<script>alert(1)</script>")

    page = render_html(report_of(tally))

    assert "<script>" not in page
    assert "&lt;script&gt;" in page


STOPPED = GateFinding("volume", "stop", 2, 10, "volume: 2 rows read, usual are <10>")


@pytest.mark.parametrize(("planned", "verb"), [(False, "Nothing was sent."), (True, "Nothing would be sent.")])
def test_p14_a_gate_that_stopped_a_run_is_told_with_the_way_through(planned, verb):
    """A run without a row to hold is partial too."""
    tally = Tally(gates=(GateFinding("invalid", "warn", 0.2, None, "invalid: 20%"), STOPPED))

    report = replace(report_of(tally), planned=planned)

    assert (report.status, report.problems) == (Status.PARTIAL, ("gate volume stopped the run",))
    assert report.gate_lines()[:2] == ["gate (stop) volume: 2 rows read, usual are <10>", "gate (warn) invalid: 20%"]
    assert report.gate_lines()[2].startswith(verb)
    assert "--force-gates" in report.gate_lines()[2]
    assert "usual are &lt;10&gt;" in render_html(report)
    assert RunReport.from_json(report.to_json()) == report


def test_books_from_before_there_were_gates_can_still_be_read():
    stored = Tally(read=1).to_json()
    for name in ("value", "narrowed", "gates", "sendable", "keys"):
        del stored[name]

    assert Tally.from_json(stored) == Tally(read=1)


def test_the_report_says_what_the_events_can_be_matched_by():
    report = report_of(replace(tally_of(sent=990, already_sent=10), sendable=1000, keys={"em": 962, "ph": 0}))
    console = Console(file=io.StringIO(), width=120)

    print_report(report, console)

    assert "keys of 1,000 sendable events: em 96.2%, ph 0.0%" in console.file.getvalue()
    assert '<td class="num">962</td><td class="num">96.2%</td>' in render_html(report)
    assert report.to_json()["keys"] == [
        {"key": "em", "events": 962, "share": 0.962},
        {"key": "ph", "events": 0, "share": 0.0},
    ]
    assert RunReport.from_json(report.to_json()) == report


def test_nothing_is_said_of_keys_where_no_event_could_be_sent():
    report = report_of(replace(tally_of(suppressed=3), keys={"em": 0}))
    console = Console(file=io.StringIO(), width=120)

    print_report(report, console)

    assert report.key_lines() == []
    assert "keys" not in console.file.getvalue()


def test_a_report_can_bring_something_for_its_head():
    assert "<script>follow()</script>\n</head>" in render_html(
        report_of(tally_of(sent=1)), head="<script>follow()</script>"
    )


def test_a_warning_says_what_it_means_and_what_to_do():
    report = report_of(replace(tally_of(sent=4), warnings=Counter(website_without_url=3, of_an_older_version=1)))
    console = Console(file=io.StringIO(), width=120)

    print_report(report, console)

    text = console.file.getvalue()
    assert "a website event without its address" in text
    assert "→ map event.source_url" in text
    assert "of an older version" in text
    assert "map event.source_url" in render_html(report)


def counted(*cells: tuple[str, date, int]) -> Tally:
    """Books of rows by fate and day."""
    fates = Counter({Count(Fate(fate), "acme", day): rows for fate, day, rows in cells})
    return Tally(read=fates.total(), fates=fates)


BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)
#: At which the day before begins in New York.
MIDNIGHT = datetime(2026, 11, 22, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tally", "limits", "problem"),
    [
        # The look-back's rows were sent before: they would hide that none of the night's went out.
        (counted(("already_sent", BEFORE, 9), ("suppressed", DAY, 4)), {}, "2026-11-23: none of the 4 rows read"),
        (counted(("sent", AFTER, 9), ("expired", DAY, 1)), {}, "2026-11-23: none of the 1 row read"),
        (counted(("sent", AFTER, 9), ("expired", DAY, 1)), {"max_expired": 1.0}, ""),
        (counted(("sent", DAY, 1), ("suppressed", DAY, 4)), {}, ""),
        (counted(("already_sent", DAY, 1), ("suppressed", DAY, 4)), {}, ""),
        (counted(("sent", DAY, 9), ("suppressed", BEFORE, 4), ("expired", AFTER, 1)), {}, ""),
        (counted(("sent", BEFORE, 9)), {}, ""),
    ],
)
def test_p21_a_day_of_which_nothing_was_delivered_is_not_hidden_by_others(
    tally: Tally, limits: dict[str, float], problem: str
) -> None:
    status, problems = judge(tally, LossLimits(**limits), days=[DAY])

    assert (status, bool(problems)) == (Status.PARTIAL if problem else Status.COMPLETE, bool(problem))
    assert "".join(problems).startswith(problem.replace("the 1 row read", "the 1 row read was"))


@pytest.mark.parametrize(
    ("upload", "window", "days"),
    [
        ({}, Window.of_day(DAY, "America/New_York"), []),
        ({"lookback": "2d"}, Window.of_day(DAY, "America/New_York"), [DAY]),
        ({}, Window(MIDNIGHT, MIDNIGHT + timedelta(hours=48)), [BEFORE, DAY]),
        ({}, Window(MIDNIGHT, MIDNIGHT + timedelta(hours=49)), [BEFORE, DAY, AFTER]),
        ({"lookback": "2d", "time": "other"}, Window.of_day(DAY, "America/New_York"), []),
        ({"lookback": "2d", "time": "at"}, Window.of_day(DAY, "America/New_York"), [DAY]),
    ],
)  # fmt: skip
def test_p21_days_are_judged_where_rows_are_placed_by_the_time_of_their_event(
    upload: dict[str, str], window: Window, days: list[date]
) -> None:
    lookback = {"lookback": upload["lookback"]} if "lookback" in upload else {}
    time = {"time": upload["time"]} if "time" in upload else {}
    settings = {
        "client": "acme", "source": {"path": "x.csv"},
        "window": {"column": "at", "timezone": "America/New_York", **lookback},
        "event": {"name": "Lead", "id": "order", "action_source": "other", **time}, "user_data": {"em": "email"},
    }  # fmt: skip

    judged = Upload.model_validate(settings)
    assert days_to_judge(judged, window) == days
    # Those that Meta had closed when the run began are left to the limits: midnight of DAY is its first moment.
    accepted = MIDNIGHT + timedelta(hours=24)
    assert days_to_judge(judged, window, oldest=accepted) == [day for day in days if day != BEFORE]


def test_p21_a_report_keeps_what_was_absent_and_its_ledger():
    absent = (AbsentFile(DAY, "x.csv"), AbsentFile(None, "y.csv", optional=True))
    report = replace(report_of(Tally(absent=absent)), ledger="sqlite:////a.db", new_ledger=True)

    told = report.to_json()

    assert RunReport.from_json(told) == report
    assert told["missing"] == [{"day": "2026-11-23", "pattern": "x.csv", "optional": False}]
    assert told["notices"] == ["no file for the window (y.csv)", told["notices"][1]]
    assert "sqlite:////a.db is new" in told["notices"][1]
    assert (Tally(absent=absent[:1]) + Tally(absent=absent[1:])).absent == absent


def test_a_report_of_an_earlier_version_is_read():
    told = report_of(tally_of(sent=1)).to_json()
    for name in ("ledger", "new_ledger", "missing", "notices"):
        del told[name]
    del told["tally"]["absent"]

    assert RunReport.from_json(told) == report_of(tally_of(sent=1))


def test_many_missing_files_are_counted():
    absent = tuple(AbsentFile(DAY + timedelta(days=n), f"{n}.csv") for n in range(8))

    (problem,) = judge(Tally(absent=absent), LossLimits())[1]

    assert ("2026-11-27 (4.csv) and 3 more; " in problem, "5.csv" in problem) == (True, False)


def test_the_clients_own_report_names_no_ledger_and_no_file():
    tally = tally_of(suppressed=3)
    tally.read_of["acme"] = 3
    tally.absent = (AbsentFile(DAY, "x.csv"),)

    own = replace(report_of(tally), ledger="sqlite:////a.db", new_ledger=True).of_client("acme")

    assert (own.status, own.ledger, own.notices(), own.to_json()["missing"]) == (Status.COMPLETE, "", [], [])


# ---------------------------------------------------------------------------------------------- how it looks


def print_at(width: int, report: RunReport) -> list[str]:
    paper = io.StringIO()
    print_report(report, Console(file=paper, width=width, force_terminal=True, no_color=True))
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in paper.getvalue().splitlines()]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_end_between_words_and_hang_under_their_beginning(width: int):
    """A key is not parted from its share, and the rest of a line is further to the right than the next line."""
    keys = dict.fromkeys(("em", "ph", "fn", "ln", "db", "ge", "ct", "st", "zp", "country", "external_id"), 100)
    report = report_of(replace(tally_of(sent=100, suppressed=7), sendable=100, keys=keys, notices=["x " * 80]))

    lines = print_at(width, report)

    assert max(map(len, lines)) <= width
    at = next(number for number, line in enumerate(lines) if "keys of" in line)
    listed = " ".join(line.strip() for line in lines[at:] if "100.0%" in line)
    assert [f"{key} 100.0%" in listed for key in keys] == [True] * len(keys)
    assert not any(line.strip()[:1].isdigit() for line in lines[at:])
    first = next(number for number, line in enumerate(lines) if line.startswith("  x x"))
    assert lines[first + 1].startswith("    x")


def test_suppressed_rows_are_explained_where_there_are_some():
    assert "consent column does not say yes" in " ".join(print_at(120, report_of(tally_of(sent=1, suppressed=2))))
    assert "consent" not in " ".join(print_at(120, report_of(tally_of(sent=1))))


def test_a_gate_that_only_warns_stands_below_what_stopped_the_run():
    warned = GateFinding("volume", "warn", 2.0, 10.0, "2 rows read, usual are 10")
    page = render_html(report_of(replace(tally_of(sent=2, deferred=3), gates=(warned,), notices=["acme: code 190"])))

    assert page.index("code 190") < page.index("Not complete: 3 deferred") < page.index("usual are 10")


def test_a_plan_does_not_say_that_meta_accepted_something():
    plan = replace(report_of(tally_of(sent=2)), planned=True)

    assert "Meta accepted" not in render_html(plan)
    assert "A run now would send it." in render_html(plan)


def test_a_command_of_an_advice_is_set_as_code_and_nothing_else_is_markup():
    fates = Counter({Count(Fate.DEFERRED, "acme", DAY, Reason.CLIENT_STOPPED.value): 1})
    page = render_html(report_of(Tally(read=1, fates=fates, notices=["`<b>`"])))

    assert "<code>offline-capi clients list</code>" in page
    assert "`offline-capi" not in page
    assert "<b>" not in page
