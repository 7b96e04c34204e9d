"""Gates: a night unlike the nights before it is noticed before its first request."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from offline_capi.config.upload import Gates
from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.guards.quality_gates import can_stop, force_findings, judge_gates, list_trailing_days
from offline_capi.model import AbsentFile, Count, Fate, GateFinding, Reason, Tally, Window
from offline_capi.pipeline import begin_run, reconcile, send_staged, stage_upload
from tests.mapping.mapped import mapping
from tests.support.night import PIXELS, Night, yesterday
from tests.support.sales import SHOP, ZONE, noon, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

MONDAY = date(2026, 11, 23)
TONIGHT = Window.of_day(MONDAY, ZONE)
TWO_DAYS = Window(TONIGHT.since - timedelta(days=2), TONIGHT.since)


def books(read: int = 100, value: float = 1000.0, **rows: int) -> Tally:
    """So many rows read; those of a fate are named, ``duplicate`` are invalid ones; the rest was sent."""
    duplicates = rows.pop("duplicate", 0)
    fates = Counter({Count(Fate(fate), "corner_shop", MONDAY): n for fate, n in rows.items()})
    fates[Count(Fate.INVALID, "corner_shop", MONDAY, Reason.DUPLICATE_EVENT_ID, "event_id")] = duplicates
    return Tally(read=read, fates=fates, value={"EUR": value})


def report(days_ago: int, tally: Tally | None = None, **other: Any) -> dict[str, Any]:
    """A stored report of a run ``days_ago`` before tonight."""
    window = Window.of_day(MONDAY - timedelta(days=days_ago), ZONE)
    plain = {"window": window.to_json(), "trigger": "scheduled", "tally": (tally or books()).to_json()}
    return {**plain, **other}


def found(gates: dict[str, Any], tally: Tally, reports: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What gates find, by name and action."""
    settings = Gates.model_validate(gates)
    days = list_trailing_days(reports, TONIGHT, settings.days)
    return [(finding.gate, finding.action) for finding in judge_gates(settings, tally, TONIGHT, days)]


GATES = Gates()
LAST_WEEK = [report(days_ago) for days_ago in range(1, 8)]


@pytest.mark.parametrize(
    ("gates", "tally", "expected"),
    [
        ({}, books(), []),
        ({}, books(read=50, value=500), []),
        ({}, books(read=49), [("volume", "warn")]),
        ({}, books(read=300), []),
        ({}, books(read=301), [("volume", "warn")]),
        ({"volume": "stop"}, books(read=49), [("volume", "stop")]),
        ({"volume": "off"}, books(read=1), []),
        ({"volume": {"min": "10%", "max": "1000%"}}, books(read=11), []),
        ({"value": "stop"}, books(value=10), [("value EUR", "stop")]),
        ({}, books(invalid=10), []),
        ({}, books(invalid=11), [("invalid", "warn")]),
        ({"invalid": {"max": "1%", "action": "stop"}}, books(invalid=2), [("invalid", "stop")]),
        ({"expired": "stop"}, books(expired=20), [("expired", "stop")]),
        ({}, books(suppressed=90), []),
        ({}, books(suppressed=91), [("suppressed", "warn")]),
        ({"suppressed": {"action": "stop", "max": "20%"}}, books(suppressed=21), [("suppressed", "stop")]),
        ({"invalid": "off", "duplicate": "stop"}, books(duplicate=11), [("duplicate", "stop")]),
        ({"invalid": "off", "duplicate": "stop"}, books(invalid=11), []),
        ({}, books(already_sent=100), []),
    ],
)
def test_a_gate_finds_what_its_limits_say(gates: dict[str, Any], tally: Tally, expected: list[tuple[str, str]]) -> None:
    assert found(gates, tally, LAST_WEEK) == expected


def by_client(*, strangers: int = 0, **rows: int) -> Tally:
    """Rows of each client, each worth one euro; ``strangers`` name no client that is known."""
    tally = books(read=sum(rows.values()) + strangers, value=sum(rows.values()))
    tally.read_of = Counter(rows)
    tally.value_of = {(name, "EUR"): float(n) for name, n in rows.items() if n}
    return tally


def of_clients(
    gates: dict[str, Any], tonight: Tally, days: list[dict[str, Any]], *active: str
) -> list[tuple[str, Any]]:
    """What gates find, by name and client."""
    settings = Gates.model_validate(gates)
    past = list_trailing_days(days, TONIGHT, settings.days)
    findings = judge_gates(settings, tonight, TONIGHT, past, active or None)
    return [(finding.gate, finding.client) for finding in findings]


def week(*, deferred: str = "", strangers: int = 0, **rows: int) -> list[dict[str, Any]]:
    """Seven days with these rows; ``deferred`` is the client that a gate deferred on each."""
    tally = by_client(strangers=strangers, **rows)
    tally.gates = (GateFinding("volume", "stop", 1, 2, "", deferred),) if deferred else ()
    return [report(ago, tally) for ago in range(1, 8)]


def empty_nights(count: int) -> list[dict[str, Any]]:
    return [report(ago, Tally()) for ago in range(1, count + 1)]


VOLUME = {"volume": "stop", "value": "off", "rows": "off"}
VALUE = {"volume": "off", "value": "stop", "rows": "off"}


@pytest.mark.parametrize(("gates", "name"), [(VOLUME, "volume"), (VALUE, "value EUR")])
@pytest.mark.parametrize(
    ("tonight", "deferred"),
    [
        ({"acme": 1000, "beta": 500}, []),
        # The upload passes, and one client has a tenth.
        ({"acme": 1000, "beta": 50}, ["beta"]),
        ({"acme": 100, "beta": 5000}, ["acme", "beta"]),
        # The upload does not pass, and without the client it does.
        ({"acme": 100, "beta": 500}, ["acme"]),
        ({"acme": 9000, "beta": 500}, ["acme"]),
        # One that was never there before has far more than all others; a few rows of one are nothing.
        ({"acme": 1000, "beta": 500, "gamma": 9000}, ["gamma"]),
        ({"acme": 1000, "beta": 500, "gamma": 9}, []),
    ],
)
def test_p17_a_trailing_gate_holds_the_clients_that_are_beyond_it_and_no_others(
    gates: dict[str, Any], name: str, tonight: dict[str, int], deferred: list[str]
) -> None:
    assert of_clients(gates, by_client(**tonight), week(acme=1000, beta=500)) == [(name, client) for client in deferred]


@pytest.mark.parametrize(
    ("tonight", "deferred"),
    [
        # Nobody is judged by a few rows while the upload passes, and each is where it does not.
        ({"acme": 1000, "tiny": 1}, []),
        ({"acme": 1000, "tiny": 9000}, ["tiny"]),
        ({"acme": 0, "tiny": 1}, ["acme", "tiny"]),
    ],
)
def test_p17_a_client_with_few_rows_is_judged_when_the_upload_is_beyond_the_gate(
    tonight: dict[str, int], deferred: list[str]
) -> None:
    assert of_clients(VOLUME, by_client(**tonight), week(acme=1000, tiny=50)) == [("volume", name) for name in deferred]


@pytest.mark.parametrize(("usual", "deferred"), [(99, []), (100, [("volume", "beta")])])
def test_p17_a_hundred_rows_are_enough_to_judge_a_client(usual: int, deferred: list[tuple[str, str]]) -> None:
    assert of_clients(VOLUME, by_client(acme=1000, beta=10), week(acme=1000, beta=usual)) == deferred


def test_p17_a_client_of_three_days_is_not_new() -> None:
    past = week(acme=1000, tiny=50)[:3]

    assert of_clients(VOLUME, by_client(acme=1000, tiny=9000), past) == [("volume", "tiny")]


def test_an_upload_is_held_where_its_clients_do_not_explain_it() -> None:
    """Rows that name no client at all; and the clients' own rows, each a little too few."""
    past = week(acme=1000, beta=500, strangers=100)

    assert of_clients(VOLUME, by_client(acme=1000, beta=500, strangers=9000), past) == [("volume", None)]
    assert of_clients(VOLUME, by_client(acme=1000, beta=50, strangers=9000), past) == [("volume", None)]


def test_a_volume_of_the_upload_names_the_client_that_moved_it_most() -> None:
    settings = Gates.model_validate({"volume": "stop"})
    days = list_trailing_days(week(acme=1000, beta=500), TONIGHT, settings.days)

    (finding,) = judge_gates(settings, by_client(acme=1200, beta=600, strangers=9000), TONIGHT, days)

    assert finding.sentence.endswith("; most of it by acme: 1,200 rows, usual are 1,000")


def test_a_value_of_the_upload_names_nobody_by_rows() -> None:
    settings, tonight = Gates.model_validate(VALUE), by_client(acme=1200, beta=600)
    days = list_trailing_days(week(acme=1000, beta=500), TONIGHT, settings.days)
    tonight.value["EUR"] += 9000  # of rows that name no client

    (finding,) = judge_gates(settings, tonight, TONIGHT, days)

    assert (finding.gate, finding.client) == ("value EUR", None)
    assert finding.sentence.endswith("gates.value allows 50% to 300%")


def test_of_one_client_it_names_nobody() -> None:
    settings = Gates.model_validate(VOLUME)
    days = list_trailing_days(week(acme=100), TONIGHT, settings.days)

    (finding,) = judge_gates(settings, by_client(acme=900), TONIGHT, days)

    assert finding.client is None
    assert "most of it" not in finding.sentence


def test_p17_a_client_is_told_with_its_own_figures() -> None:
    days = list_trailing_days(week(acme=1000, beta=500)[:3], TONIGHT, 28)

    (finding,) = judge_gates(Gates.model_validate(VOLUME), by_client(acme=1000, beta=50), TONIGHT, days)

    assert (finding.figure, finding.usual) == (50, 500)
    assert finding.sentence == (
        "volume: 50 rows read of beta, usual are 500 (median of Sun 22 Nov 500, Sat 21 Nov 500, Fri 20 Nov 500); "
        "gates.volume allows 50% to 300%"
    )


@pytest.mark.parametrize(
    ("gates", "past", "active", "expected"),
    [
        ({}, week(acme=1000, beta=500), (), [("rows", "beta")]),
        ({}, week(acme=1000, beta=100), (), [("rows", "beta")]),
        ({}, week(acme=1000, beta=99), (), []),
        ({"volume": "stop"}, week(acme=1000, beta=500), (), [("volume", "beta"), ("value EUR", "beta")]),
        ({"rows": "off", "value": "off"}, week(acme=1000, beta=500), (), [("volume", "beta")]),
        # It is not configured any more, or paused.
        ({}, week(acme=1000, beta=500), ("acme",), []),
        # Too short a time, too many days without a row.
        ({}, [*week(acme=1000, beta=500)[:2], *week(acme=1000)[2:]], (), []),
        ({}, [*week(acme=1000, beta=500)[:5], *week(acme=1000)[5:]], (), [("rows", "beta")]),
        ({"volume": "off", "value": "off"}, [*week(acme=1000)[:2], *week(acme=1000, beta=500)[2:]], (), []),
        # Nights without any row were nights without one of beta's.
        ({"volume": "off", "value": "off"}, [*empty_nights(3), *week(acme=1000, beta=500)[3:]], (), []),
        # Days that were not counted by client say nothing of any.
        ({}, [report(ago, books(read=1500, value=1000)) for ago in range(1, 8)], (), []),
    ],
    ids=[
        "no row", "enough", "few", "volume stops", "rows off", "gone", "two days", "began", "quiet", "empty",
        "old reports",
    ],
)  # fmt: skip
def test_p17_a_client_without_rows_is_noticed_beside_the_others(
    gates: dict[str, Any], past: list[dict[str, Any]], active: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    assert of_clients(gates, by_client(acme=1000), past, *active) == expected


def test_p17_a_client_without_rows_is_told_by_name() -> None:
    days = list_trailing_days(week(acme=1000, beta=500)[:3], TONIGHT, 28)

    (finding,) = judge_gates(Gates(), by_client(acme=1000), TONIGHT, days)

    assert finding.sentence.startswith(
        "rows: no row of beta was read, usual are 500 (median of Sun 22 Nov 500, Sat 21 Nov 500, Fri 20 Nov 500); "
    )


def test_p17_a_client_that_is_new_has_no_usual_figure() -> None:
    days = list_trailing_days(week(acme=1000, beta=500), TONIGHT, 28)

    (finding,) = judge_gates(Gates.model_validate(VOLUME), by_client(acme=1000, beta=500, gamma=9000), TONIGHT, days)

    assert (finding.figure, finding.usual, finding.client) == (9000, 0, "gamma")


def test_p17_where_the_upload_is_held_a_client_without_rows_is_not_told_as_well() -> None:
    past = week(acme=1000, beta=500, strangers=100)

    assert of_clients({"volume": "stop", "value": "off"}, by_client(acme=1000, strangers=9000), past) == [
        ("volume", None)
    ]


def test_p17_a_client_without_rows_has_none_of_what_is_usual() -> None:
    days = list_trailing_days(week(acme=1000, beta=500), TONIGHT, 28)

    rows = judge_gates(Gates(), by_client(acme=1000), TONIGHT, days)
    volume = judge_gates(Gates.model_validate(VOLUME), by_client(acme=1000), TONIGHT, days)

    assert [(one.gate, one.figure, one.usual) for one in (*rows, *volume)] == [("rows", 0, 500), ("volume", 0, 500)]


def test_p17_a_held_clients_days_are_not_what_is_usual_for_it_and_count_for_the_others() -> None:
    good, deferred = week(acme=1000, beta=500)[3:], week(acme=1000, beta=50, deferred="beta")[:3]
    past = [*deferred, *good]

    assert of_clients(VOLUME, by_client(acme=1000, beta=50), past) == [("volume", "beta")]
    assert of_clients(VOLUME, by_client(acme=1000, beta=500), past) == []
    # All seven days are acme's: without them nothing could be said of it.
    assert of_clients(VOLUME, by_client(acme=100, beta=500), week(acme=1000, beta=500, deferred="beta")) == [
        ("volume", "acme")
    ]


def test_a_client_that_was_let_pass_without_rows_on_its_weekday_may_be_empty_on_it_again() -> None:
    let_pass = by_client(acme=1000)
    let_pass.gates = (GateFinding("rows", "forced", 0, 500, "", "beta"),)
    past = [*week(acme=1000, beta=500)[:6], report(7, let_pass)]

    gates = {"volume": "off", "value": "off"}
    assert of_clients(gates, by_client(acme=1000), past[:6]) == [("rows", "beta")]
    assert of_clients(gates, by_client(acme=1000), past) == []


@pytest.mark.parametrize(
    "reports",
    [
        LAST_WEEK[:2],
        [report(days_ago) for days_ago in range(29, 40)],
        [report(1)] * 9,
        [report(days_ago, trigger="test") for days_ago in range(1, 8)],
        [report(days_ago, trigger="replay") for days_ago in range(1, 8)],
        [report(days_ago, Tally(read=100, narrowed=True)) for days_ago in range(1, 8)],
        [report(days_ago, Tally(read=1, gates=(GateFinding("volume", "stop", 1, 9, ""),))) for days_ago in range(1, 8)],
        [report(-days_ago) for days_ago in range(1, 8)],
        [report(days_ago, window=TWO_DAYS.to_json()) for days_ago in range(1, 8)],
        [*LAST_WEEK[:2], report(0)],
        [*LAST_WEEK[:2], report(29)],
    ],
    ids=[
        "two days", "too long ago", "one day", "tests", "replays", "one client", "stopped", "later", "longer",
        "tonight", "29 days ago",
    ],
)  # fmt: skip
def test_what_is_no_night_of_its_own_says_nothing_of_what_is_usual(reports: list[dict[str, Any]]) -> None:
    # Twice the figures of a usual day: a mutant once took 1 for what is usual where nothing is.
    assert found({"volume": "stop", "value": "stop"}, books(read=500, value=5000), reports) == []
    assert found({"volume": "stop", "value": "stop"}, books(read=0, value=0), reports) == []


def test_yesterday_and_the_day_four_weeks_ago_say_what_is_usual() -> None:
    days = [report(days_ago) for days_ago in (1, 2, 28)]

    assert found({"volume": "stop", "value": "off"}, books(read=9000), days) == [("volume", "stop")]


@pytest.mark.parametrize(
    ("gates", "tally", "reports", "expected"),
    [
        ({}, books(read=0, value=1000), LAST_WEEK, [("rows", "stop")]),
        ({}, books(read=1, value=1000), LAST_WEEK, [("volume", "warn")]),
        ({"rows": "warn"}, books(read=0), LAST_WEEK, [("rows", "warn")]),
        ({"rows": "off"}, books(read=0), LAST_WEEK, [("volume", "warn")]),
        ({"volume": "stop"}, books(read=0), LAST_WEEK, [("volume", "stop")]),
        ({}, books(read=0), LAST_WEEK[:2], []),
        ({"volume": "off"}, Tally(filtered=5), LAST_WEEK, [("value EUR", "warn")]),
        ({}, Tally(absent=(AbsentFile(MONDAY, "x.csv"),)), LAST_WEEK, [("volume", "warn"), ("value EUR", "warn")]),
    ],
    ids=["no row", "one row", "warns", "off", "volume stops", "two days only", "all filtered", "a file is absent"],
)  # fmt: skip
def test_a_night_without_rows_is_told_apart_from_a_small_one(
    gates: dict[str, Any], tally: Tally, reports: list[dict[str, Any]], expected: list[tuple[str, str]]
) -> None:
    assert found(gates, tally, reports) == expected


def test_a_night_without_rows_is_told_with_what_is_usual() -> None:
    (finding,) = judge_gates(GATES, books(read=0), TONIGHT, list_trailing_days(LAST_WEEK, TONIGHT, GATES.days))

    assert finding.sentence.startswith("rows: no row was read, usual are 100 (median of ")
    assert (finding.gate, finding.client, finding.figure, finding.usual) == ("rows", None, 0, 100)


def empty(days_ago: int, action: str | None = None) -> dict[str, Any]:
    """The report of a day without rows, on which the rows gate found something if ``action`` says so."""
    findings = (GateFinding("rows", action, 0, 9, ""),) if action else ()
    return report(days_ago, Tally(gates=findings))


@pytest.mark.parametrize(
    ("reports", "stops"),
    [
        ([report(days_ago) for days_ago in range(1, 28)], True),
        # Closed on Mondays, since four weeks, since three, since one; and on one Monday of four, by an outage.
        ([empty(ago) if ago % 7 == 0 else report(ago) for ago in range(1, 29)], False),
        ([empty(ago) if ago % 7 == 0 else report(ago) for ago in range(1, 22)], False),
        ([*LAST_WEEK[:6], empty(7, "forced")], False),
        ([*LAST_WEEK[:6], empty(7, "warn")], False),
        ([empty(ago) if ago == 7 else report(ago) for ago in range(1, 29)], True),
        # An empty day that nobody has looked at, or that a gate stopped, excuses no other.
        ([*LAST_WEEK[:6], empty(7)], True),
        ([*LAST_WEEK[:6], empty(7, "stop")], True),
        ([*LAST_WEEK[:6], report(7, Tally(absent=(AbsentFile(MONDAY, "x"),)))], True),
        # Half of the rows are left out by a filter, or all of them: such a day is none without rows.
        ([report(ago, Tally(read=5, filtered=5)) for ago in range(1, 8)], True),
        ([report(ago, Tally(filtered=5)) for ago in range(1, 8)], True),
        # Few sales: one empty day in four is usual, two are more than that.
        ([empty(1), *(report(ago, books(read=2)) for ago in (2, 3, 4))], True),
        ([empty(1), empty(2), *(report(ago, books(read=2)) for ago in (3, 4, 5))], False),
    ],
)
def test_a_quiet_day_is_known_by_the_days_before_it(reports: list[dict[str, Any]], stops: bool) -> None:
    gates = {"volume": "off", "value": "off"}

    assert found(gates, books(read=0), reports) == ([("rows", "stop")] if stops else [])


def test_an_optional_file_that_was_absent_makes_a_quiet_day_and_a_missing_one_none() -> None:
    quiet, missing = (Tally(absent=(AbsentFile(MONDAY, "x", optional=flag),)) for flag in (True, False))

    kept = [list_trailing_days([report(1, tally)], TONIGHT, 28) for tally in (quiet, missing)]

    assert [len(days) for days in kept] == [1, 0]


def test_a_weekday_is_compared_with_its_like() -> None:
    """Mondays are weak here: a weak Monday is usual, a strong one is not."""
    weeks = [report(days_ago, books(read=10 if days_ago % 7 == 0 else 100)) for days_ago in range(1, 29)]

    assert found({"value": "off"}, books(read=10), weeks) == []
    assert found({"value": "off"}, books(read=100), weeks) == [("volume", "warn")]


def test_books_of_one_client_are_not_compared_with_whole_days() -> None:
    narrowed = books(read=3, value=3, invalid=2)
    narrowed.narrowed = True

    assert found({}, narrowed, LAST_WEEK) == [("invalid", "warn")]


def test_a_finding_names_the_figure_and_the_days_it_is_compared_with() -> None:
    days = list_trailing_days(LAST_WEEK[:3], TONIGHT, 28)

    (finding,) = judge_gates(Gates(), books(read=4), TONIGHT, days)

    assert finding.sentence == (
        "volume: 4 rows read, usual are 100 (median of Sun 22 Nov 100, Sat 21 Nov 100, Fri 20 Nov 100); "
        "gates.volume allows 50% to 300%"
    )
    assert [one.action for one in force_findings([finding, GateFinding("value", "stop", 1, 2, "")])] == [
        "warn",
        "forced",
    ]


def test_a_client_is_not_compared_with_days_of_which_its_figure_is_not_known() -> None:
    """Books of a day without its value in the currency: 5 instead of 500 says nothing."""
    days = [report(ago, by_client(acme=1000, beta=500)) for ago in range(2, 8)]
    unknown = by_client(acme=1000, beta=500)
    unknown.value_of.pop(("beta", "EUR"))
    tonight = by_client(acme=1000, beta=500)
    tonight.value_of["beta", "EUR"], tonight.value["EUR"] = 5.0, 1005.0

    assert of_clients(VALUE, tonight, [*days, report(1, by_client(acme=1000, beta=500))]) == [("value EUR", "beta")]
    assert of_clients(VALUE, tonight, [*days, report(1, unknown)]) == []


def test_the_sentence_of_a_gate_names_whose_rows_changed_most_and_nobody_of_a_whole_upload() -> None:
    """Each client passes; the rows of nobody that is known are gone."""
    settings = Gates.model_validate({"volume": "warn", "value": "off", "rows": "off", "suppressed": {"max": "1%"}})
    days = list_trailing_days(week(acme=1000, beta=200, strangers=3000), TONIGHT, settings.days)
    tonight = by_client(acme=990, beta=110)
    tonight.fates[Count(Fate.SUPPRESSED, "acme", MONDAY)] = 110

    rate, volume = judge_gates(settings, tonight, TONIGHT, days)

    assert rate.sentence == "suppressed: 10.0% of the rows (110 of 1,100); gates.suppressed allows 1.0%"
    assert volume.sentence.endswith("; most of it by beta: 110 rows, usual are 200")


def test_only_a_gate_that_stops_costs_a_second_reading() -> None:
    warns, stops = mapping(expect=[{"unique": "id"}, {"unique": "at", "action": "stop"}]).expect

    assert not can_stop(Gates(), [warns])
    assert can_stop(Gates.model_validate({"expired": "stop"}))
    assert can_stop(Gates.model_validate({"suppressed": "stop"}))
    assert can_stop(Gates(), [warns, stops])


# ---------------------------------------------------------------------------------------------- whole nights


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """Three days with ten sales each are behind us; tonight has two, and the upload stops for that."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    days = [yesterday(ZONE) - timedelta(days=ago) for ago in (3, 2, 1)]
    write(night, [sale(f"{day}-{i}", sold_at=noon(day)) for day in days for i in range(10)])
    for day in days:
        night.send("sales", day)
    write(night, [sale("few-1"), sale("few-2")])
    night.edit("dags/uploads/sales.yml", ("limits:", "gates: {volume: stop, value: off}\nlimits:"))
    return night


def test_p14_a_stopped_run_sends_nothing_and_says_why(night: Night) -> None:
    """Every event is deferred; the report has the gate, its figures and the way through; exit code 1."""
    before = len(night.sandbox.requests)

    planned = night.run("plan", "sales")
    said = night.run("upload", "sales")
    data = night.run("report", "last", "--json").json

    assert (said.code, len(night.sandbox.requests)) == (1, before)
    assert "gate volume stopped the run" in said.out
    assert "volume: 2 rows read, usual are 10 (median of" in said.out
    assert "--force-gates" in said.out
    assert "Nothing would be sent" in planned.out
    assert (data["rows"]["deferred"], data["rows"]["read"], data["status"]) == (2, 2, "partial")
    assert [(one["reason"], one["rows"]) for one in data["reasons"]] == [("gate_closed", 2)]
    assert [(gate["gate"], gate["figure"], gate["usual"]) for gate in data["gates"]] == [("volume", 2, 10)]


def test_a_stopped_run_is_let_pass_once(night: Night) -> None:
    forced_run = night.run("upload", "sales", "--force-gates", "--json")
    again = night.run("upload", "sales")

    assert (forced_run.code, forced_run.json["rows"]["sent"]) == (0, 2)
    assert [gate["action"] for gate in forced_run.json["gates"]] == ["forced"]
    assert again.code == 1


def test_an_empty_night_is_stopped_although_it_has_nothing_to_hold(night: Night) -> None:
    write(night, [sale("old", sold_at=noon(yesterday(ZONE) - timedelta(days=9)))])

    said = night.run("upload", "sales", "--json")

    assert (said.code, said.json["rows"]["read"]) == (1, 0)
    assert said.json["problems"] == ["gate volume stopped the run"]


def test_a_gate_that_warns_holds_nothing_up(night: Night) -> None:
    night.edit("dags/uploads/sales.yml", ("volume: stop", "volume: warn"))

    said = night.run("upload", "sales")

    assert said.code == 0
    assert "gate (warn) volume: 2 rows read" in said.out


def test_a_stopped_night_does_not_become_what_is_usual(night: Night) -> None:
    for _ in range(4):
        night.send("sales")

    assert night.send("sales").gates[0].usual == 10


def test_a_staged_night_is_stopped_between_its_first_task_and_the_second(night: Night) -> None:
    """The rows are staged, none is given to a task that sends, and the books are closed with all of them deferred."""
    with night.services() as services:
        upload, window = services.deployment.uploads["sales"], Window.of_day(yesterday(ZONE), ZONE)
        run = begin_run(upload, window, services)
        units = stage_upload(upload, window, services, run)
        stopped = reconcile(run, upload, services)
        run = begin_run(upload, window, services)
        let_pass = [
            send_staged(u, upload, services) for u in stage_upload(upload, window, services, run, force_gates=True)
        ]
        passed = reconcile(run, upload, services)

    assert (units, stopped.tally.count(Fate.DEFERRED), stopped.status) == ([], 2, "partial")
    assert sum(tally.count(Fate.SENT) for tally in let_pass) == 2
    assert (passed.status, [gate.action for gate in passed.gates]) == ("complete", ["forced"])


# ---------------------------------------------------------------------------------------------- several clients


def books_of(**clients: tuple[int, int]) -> Tally:
    """Rows read and invalid of each client."""
    fates = Counter({Count(Fate.INVALID, name, MONDAY): bad for name, (_, bad) in clients.items()})
    read = Counter({name: rows for name, (rows, _) in clients.items()})
    return Tally(read=sum(read.values()), fates=fates, read_of=read)


NOBODYS = Count(Fate.INVALID, None, MONDAY)


@pytest.mark.parametrize(
    ("action", "tally", "expected"),
    [
        ("stop", books_of(acme=(50, 0), beta=(200, 200)), [("stop", "beta")]),
        ("stop", books_of(acme=(50, 6), beta=(200, 200)), [("stop", "acme"), ("stop", "beta")]),
        ("stop", books_of(acme=(100, 10), beta=(200, 200)), [("stop", "beta")]),
        ("stop", books_of(acme=(100, 11), beta=(9900, 0)), [("stop", "acme")]),
        ("stop", books_of(acme=(99, 98), beta=(9900, 0)), []),
        # Rows of nobody that is known are the upload's.
        (
            "stop",
            replace(books_of(acme=(50, 0), beta=(50, 0)), read=150, fates=Counter({NOBODYS: 50})),
            [("stop", None)],
        ),
        # One client's good rows do not hide what became of another's.
        ("stop", books_of(acme=(100, 90), beta=(9900, 0)), [("stop", "acme")]),
        # A few bad rows of a small client say nothing while the run is as usual.
        ("stop", books_of(acme=(5, 2), beta=(9900, 0)), []),
        ("stop", books_of(acme=(100, 90)), [("stop", None)]),
        ("warn", books_of(acme=(50, 0), beta=(200, 200)), [("warn", None)]),
    ],
)
def test_p17_a_rate_gate_holds_the_clients_that_are_beyond_it_and_no_others(
    action: str, tally: Tally, expected: list[tuple[str, str | None]]
) -> None:
    gates = Gates.model_validate({"invalid": {"action": action}})

    assert [(one.action, one.client) for one in judge_gates(gates, tally, TONIGHT, [])] == expected


@pytest.fixture
def shared(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A shop with 20 good sales, and an outlet with 5 good ones and 50 that cannot be read."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.edit("dags/uploads/sales.yml", ("limits:", "gates: {invalid: stop}\nlimits:"))
    rows = [sale(f"shop-{n}") for n in range(20)]
    rows += [sale(f"outlet-{n}", "Outlet", **({} if n < 5 else {"amount": "much"})) for n in range(55)]
    write(night, rows)
    return night


def test_p17_bad_rows_of_one_client_hold_no_other_clients_events(shared: Night) -> None:
    """Was: the outlet's bad rows held the shop's good ones."""
    said = shared.run("upload", "sales")
    data = shared.run("report", "last", "--json").json

    assert (said.code, data["rows"]["sent"], data["rows"]["deferred"], data["rows"]["invalid"]) == (1, 20, 5, 50)
    assert shared.sandbox.totals.keys() == {SHOP}
    assert "gate invalid stopped nordic_outlet" in said.out
    assert "Nothing was sent of nordic_outlet." in said.out


def test_p17_a_staged_night_holds_the_one_client_too(shared: Night) -> None:
    with shared.services() as services:
        upload, window = services.deployment.uploads["sales"], Window.of_day(yesterday(ZONE), ZONE)
        run = begin_run(upload, window, services)
        units = stage_upload(upload, window, services, run)
        for unit in units:
            send_staged(unit, upload, services)
        report = reconcile(run, upload, services)

    assert [unit.client for unit in units] == ["corner_shop"]
    assert (report.tally.count(Fate.SENT), report.tally.count(Fate.DEFERRED)) == (20, 5)
    assert report.tally.count_reasons(Fate.DEFERRED) == {(Reason.GATE_CLOSED, ""): 5}


@pytest.fixture
def two_shops(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """Three days with 120 sales of each of two shops; tonight the outlet has a tenth of them."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.edit("dags/uploads/sales.yml", ("max_events: 7", "max_events: 500"))
    days = [yesterday(ZONE) - timedelta(days=ago) for ago in (3, 2, 1)]
    sales = {"Shop": 120, "Outlet": 120}
    write(
        night,
        [sale(f"{d}-{b}-{n}", b, sold_at=noon(d)) for d in days for b, rows in sales.items() for n in range(rows)],
    )
    for day in days:
        night.send("sales", day)
    write(night, [sale(f"new-{b}-{n}", b) for b, rows in {"Shop": 120, "Outlet": 12}.items() for n in range(rows)])
    night.edit("dags/uploads/sales.yml", ("limits:", "gates: {volume: stop, value: off}\nlimits:"))
    night.sandbox.reset()
    for variable, pixel in PIXELS.items():
        night.sandbox.grant(SAMPLE_TOKENS[variable], [pixel])
    return night


def test_p17_a_client_whose_volume_falls_is_held_and_the_others_go(two_shops: Night) -> None:
    """The upload as a whole has 55% of what is usual, and passed: the outlet's export of a tenth went out."""
    said = two_shops.run("upload", "sales")
    data = two_shops.run("report", "last", "--json").json
    forced_run = two_shops.run("upload", "sales", "--force-gates", "--json").json

    assert (said.code, data["rows"]["sent"], data["rows"]["deferred"], data["status"]) == (1, 120, 12, "partial")
    assert data["problems"] == ["gate volume stopped nordic_outlet", "12 deferred"]
    assert "volume: 12 rows read of nordic_outlet, usual are 120" in said.out
    assert "Nothing was sent of nordic_outlet." in said.out
    assert (forced_run["rows"]["sent"], forced_run["rows"]["already_sent"]) == (12, 120)


def test_p17_a_client_without_rows_makes_the_run_partial(two_shops: Night) -> None:
    two_shops.edit("dags/uploads/sales.yml", ("gates: {volume: stop, value: off}\n", ""))
    write(two_shops, [sale(f"new-{n}") for n in range(120)])

    said = two_shops.run("upload", "sales", "--json")

    assert (said.code, said.json["rows"]["sent"]) == (1, 120)
    assert said.json["problems"] == ["gate rows stopped nordic_outlet"]


def test_p17_a_staged_night_holds_the_client_whose_volume_falls(two_shops: Night) -> None:
    with two_shops.services() as services:
        upload, window = services.deployment.uploads["sales"], Window.of_day(yesterday(ZONE), ZONE)
        run = begin_run(upload, window, services)
        units = stage_upload(upload, window, services, run)

    assert [unit.client for unit in units] == ["corner_shop"]
