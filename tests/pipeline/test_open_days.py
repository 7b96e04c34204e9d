"""What one night owes, a later night settles: days are complete, open (and why) or closed (and told once)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.errors import SourceError
from offline_capi.ledger import RunRecord
from offline_capi.model import DayState, Debt, Fate, Reason, UploadDay, Window
from offline_capi.pipeline import replay_run, run_upload
from offline_capi.pipeline.open_days import (
    describe_due_days,
    find_max_age,
    is_nightly,
    read_calendar,
)
from offline_capi.pipeline.settle import NightlyResult, SettlementResult
from offline_capi.report import Status
from tests.support.nights import NAME, UPLOAD, Nights
from tests.support.sandbox_server import Sandbox

FIRST = datetime.now(UTC).date() - timedelta(days=40)
TOKEN = SAMPLE_TOKENS["CORNER_SHOP_TOKEN"]
PIXEL = "1200000000000002"
UNDATED = UPLOAD.replace("sales_{date}.csv", "*.csv")


@pytest.fixture
def nights(tmp_path: Path, sandbox: Sandbox) -> Nights:
    return Nights(tmp_path, sandbox, FIRST)


def balances(done: NightlyResult | SettlementResult) -> list[str]:
    """Those of the earlier days first."""
    if isinstance(done, SettlementResult):
        return [report.balance for report in done.reports]
    return [*balances(done.settled), done.report.balance]


# ---------------------------------------------------------------------------------------------- what is taken up


def test_p20_events_held_for_a_refused_token_go_out_on_the_next_night(nights: Nights) -> None:
    nights.write(0, nights.sell(0, "a", "b", "c"))
    nights.write(1, nights.sell(1, "d"))
    nights.sandbox.revoke(TOKEN)
    first = nights.run(0)
    nights.sandbox.grant(TOKEN, [PIXEL])
    said: list[str] = []

    second = nights.run(1, announce=said.append)

    assert (first.report.status, first.report.balance) == (Status.PARTIAL, "3 read = 3 deferred")
    assert said == [f"also {FIRST}, open: a token or permission was refused (client stopped) (3 rows)"]
    assert (balances(second), second.complete) == (["3 read = 3 sent", "1 read = 1 sent"], True)
    assert nights.states() == "complete complete"
    assert nights.counted == dict.fromkeys("abcd", 1)


def test_p20_an_answer_that_was_lost_is_settled_on_the_next_night_under_the_same_ids(nights: Nights) -> None:
    nights.write(0, nights.sell(0, "a", "b"))
    nights.write(1, nights.sell(1, "c"))
    nights.sandbox.cut_next(stored=True)
    first = nights.run(0)

    second = nights.run(1)

    assert (first.report.balance, nights.sandbox.arrivals_of("a")) == ("2 read = 2 unconfirmed", 2)
    assert (balances(second), second.complete) == (["2 read = 2 sent", "1 read = 1 sent"], True)
    assert nights.counted == dict.fromkeys("abc", 1)


def test_p20_an_answer_lost_longer_ago_than_metas_window_is_told_once_and_never_sent_again(nights: Nights) -> None:
    """Three nights without any run: a repeat could count twice then."""
    nights.write(0, nights.sell(0, "a", "b"))
    for number in range(1, 5):
        nights.write(number, nights.sell(number, f"n{number}"))
    nights.sandbox.cut_next(stored=True)
    nights.run(0)

    late = nights.run(3)
    after = nights.run(4)

    settled = late.settled.reports[0]
    assert settled.tally.count_reasons(Fate.UNCONFIRMED) == {(Reason.UNSETTLED, ""): 2}
    assert (settled.status, late.complete, after.complete) == (Status.PARTIAL, False, True)
    assert balances(after) == ["1 read = 1 sent"]
    assert nights.states() == "complete complete complete complete complete"
    assert nights.counted == dict.fromkeys(("a", "b", "n1", "n2", "n3", "n4"), 1)


def test_p20_days_of_an_outage_are_taken_up_oldest_first(nights: Nights) -> None:
    for number in range(4):
        nights.write(number, nights.sell(number, f"s{number}"))
    nights.run(0)
    said: list[str] = []

    night = nights.run(3, announce=said.append)

    assert said == [f"also {nights.day(1)} and {nights.day(2)}, open: no run covered it"]
    assert [report.window.since.date() for report in night.settled.reports] == [nights.day(1), nights.day(2)]
    assert (balances(night), nights.states()) == (["1 read = 1 sent"] * 3, "complete complete complete complete")


def test_p20_a_killed_run_leaves_its_day_open(nights: Nights) -> None:
    nights.write(0, nights.sell(0, "a"))
    nights.write(1, nights.sell(1, "b"))
    nights.move_to(nights.at(1))
    with nights.services() as services:  # what a process leaves that dies before its first request
        window = Window.of_day(nights.day(0), nights.zone.key)
        services.ledger.runs.begin(NAME, window, trigger="scheduled", now=nights.moment, covered_since=window.since)
    just_now = nights.days()[nights.day(0)]
    night = nights.run(1)

    assert (just_now.state, list(just_now.reasons), just_now.is_due(["corner_shop"])) == (
        DayState.OPEN,
        ["running"],
        False,
    )
    assert (balances(night), nights.states()) == (["1 read = 1 sent", "1 read = 1 sent"], "complete complete")


def test_p20_what_is_above_a_clients_limit_goes_out_on_later_nights_oldest_first(nights: Nights) -> None:
    nights.night.edit("dags/clients.yml", ("    country: GB\n", "    country: GB\n    limits: {events_per_run: 3}\n"))
    nights.write(0, nights.sell(0, *"abcde"))
    nights.write(1, nights.sell(1, *"fg"))
    nights.write(2, nights.sell(2, "h"))
    first = nights.run(0)

    second = nights.run(1)
    third = nights.run(2)

    assert first.report.balance == "5 read = 3 sent + 2 deferred"
    assert balances(second) == ["5 read = 2 sent + 3 already sent", "2 read = 1 sent + 1 deferred"]
    assert balances(third) == ["2 read = 1 sent + 1 already sent", "1 read = 1 sent"]
    assert (nights.states(), nights.counted) == ("complete complete complete", dict.fromkeys("abcdefgh", 1))


def test_p20_a_day_that_a_gate_stopped_keeps_no_other_day_from_it(nights: Nights) -> None:
    nights.night.write("dags/uploads/sales.yml", UPLOAD + "gates: {invalid: {max: 10%, action: stop}}\n")
    bad = nights.sell(0, "x", amount="much")
    nights.write(0, [*nights.sell(0, "a"), *bad])
    nights.write(1, nights.sell(1, "b"))
    first = nights.run(0)
    second = nights.run(1)
    nights.write(0, nights.sell(0, "a", "x"))

    mended = nights.settle()

    assert first.report.balance == "2 read = 1 invalid + 1 deferred"
    assert (balances(second), nights.counted["b"]) == (["2 read = 1 invalid + 1 deferred", "1 read = 1 sent"], 1)
    assert (balances(mended), nights.states()) == (["2 read = 2 sent"], "complete complete")


def test_p20_settle_can_force_the_gate_that_stopped_a_day(nights: Nights) -> None:
    nights.night.write("dags/uploads/sales.yml", UPLOAD + "gates: {invalid: {max: 10%, action: stop}}\n")
    nights.write(0, [*nights.sell(0, "a"), *nights.sell(0, "x", amount="much")])
    nights.run(0)

    stopped, forced = nights.settle(), nights.settle(force_gates=True)

    assert (balances(stopped), balances(forced)) == (
        ["2 read = 1 invalid + 1 deferred"],
        ["2 read = 1 sent + 1 invalid"],
    )
    assert nights.states() == "complete"


def test_p20_a_day_whose_source_fails_keeps_no_other_day_from_its_turn(nights: Nights) -> None:
    for number in range(3):
        nights.write(number, nights.sell(number, f"s{number}"))
    nights.run(0)
    nights.night.write(f"sales/sales_{nights.day(1)}.csv", "")

    night = nights.run(2)

    assert balances(night) == ["1 read = 1 sent"]
    assert [(day, type(error)) for day, error in night.settled.failures.items()] == [(nights.day(1), SourceError)]
    assert (night.complete, nights.states()) == (False, "complete open complete")


def test_p20_a_settling_run_that_fails_keeps_what_is_known_of_its_day(nights: Nights) -> None:
    nights.write(0, nights.sell(0, "a", "b"))
    nights.sandbox.revoke(TOKEN)
    nights.run(0)
    nights.night.write(f"sales/sales_{nights.day(0)}.csv", "")

    nights.settle()

    assert nights.days()[nights.day(0)].reasons == {"client_stopped": 2, "run_failed": 0}


# ---------------------------------------------------------------------------------------------- what settles no day


def test_p20_neither_a_replay_nor_a_test_code_nor_a_run_of_some_clients_settles_a_day(nights: Nights) -> None:
    rows = [*nights.sell(0, "a"), *nights.sell(0, "o", brand="Outlet"), *nights.sell(0, "x", amount="much")]
    nights.write(0, rows)
    nights.sandbox.revoke(TOKEN)
    first = nights.run(0)
    nights.sandbox.grant(TOKEN, [PIXEL])
    nights.move_to(nights.at(1, 9))

    with nights.services() as services:
        replay_run(first.report.run_id, services)
    after_replay = nights.states()
    nights.upload(0, test_event_code="TEST1")
    after_test = nights.states()
    nights.upload(0, clients=["nordic_outlet"])
    after_some = nights.states()
    nights.upload(0)

    assert (after_replay, after_test, after_some, nights.states()) == ("open", "open", "open", "complete")


def test_p20_what_a_run_of_some_clients_leaves_in_doubt_opens_its_day(nights: Nights) -> None:
    nights.write(0, nights.sell(0, "a"))
    nights.run(0)
    nights.write(0, nights.sell(0, "a", "late"))
    nights.sandbox.cut_next(stored=True)
    nights.upload(0, clients=["corner_shop"])
    before = nights.states()

    settled = nights.settle()

    assert (before, balances(settled)) == ("open", ["2 read = 1 sent + 1 already sent"])
    assert (nights.states(), nights.counted) == ("complete", {"a": 1, "late": 1})


def test_p15_a_backfill_of_older_days_starts_no_nights(nights: Nights) -> None:
    """Days between an old backfill and the first night are not owed, nor is a backfill that failed."""
    for number in range(5):
        nights.write(number, nights.sell(number, f"s{number}"))
    nights.move_to(nights.at(5))
    nights.upload(1)
    nights.night.write(f"sales/sales_{nights.day(2)}.csv", "")
    with pytest.raises(SourceError):
        nights.upload(2)

    night = nights.run(4)

    assert (balances(night), nights.counted) == (["1 read = 1 sent"], {"s1": 1, "s4": 1})


def test_p20_a_first_run_over_some_hours_does_not_make_the_rest_of_that_day_due(nights: Nights) -> None:
    """An hourly upload that begins at 23:00 owes nothing of the hours before."""
    nights.move_to(nights.at(1, 0))
    nights.write(0, nights.sell(0, "noon"))
    with nights.services() as services:
        hour = Window(nights.at(0, 23), nights.at(1, 0))
        run_upload(services.deployment.uploads[NAME], hour, services)

    assert nights.states() == "complete"


# ---------------------------------------------------------------------------------------------- what ends


def test_p20_a_day_too_old_for_meta_is_told_once(nights: Nights) -> None:
    nights.night.edit("dags/clients.yml", ("    country: GB\n", "    country: GB\n    active: false\n"))
    nights.write(0, nights.sell(0, "a", "b"))
    for number in range(1, 11):
        nights.write(number, nights.sell(number, f"o{number}", brand="Outlet"))
    nights.night.edit("dags/uploads/sales.yml", ("max_invalid: 0%", "max_invalid: 100%"))
    nights.run(0)

    problems = {number: nights.run(number).report.problems for number in range(1, 11)}

    told = {number: lines for number, lines in problems.items() if lines}
    assert told == {7: (f"{FIRST} became too old for Meta with something owed (a client is paused: 2 rows)",)}
    assert nights.states().split() == ["closed", *["complete"] * 10]


def test_p20_a_day_that_settle_finds_too_old_for_meta_is_told_once(nights: Nights) -> None:
    nights.night.edit("dags/uploads/sales.yml", ("client: {column: brand", "max_age: 36h\nclient: {column: brand"))
    nights.write(0, nights.sell(0, "a", "b", sold_at=nights.at(0, 23).isoformat()))
    nights.write(1, nights.sell(1, "o1", brand="Outlet"))
    nights.write(2, nights.sell(2, "o2", brand="Outlet"))
    nights.sandbox.revoke(TOKEN)
    nights.run(0)
    nights.run(1)
    nights.move_to(nights.at(2, 13))

    told = [[(day.day, day.reasons) for day in nights.settle().closed] for _ in range(2)]

    assert told == [[(FIRST, {"client_stopped": 2})], []]
    assert (nights.run(2).report.problems, nights.states()) == ((), "closed complete complete")


def test_p15_a_first_run_over_days_too_old_for_meta_owes_nothing_of_them(tmp_path: Path, sandbox: Sandbox) -> None:
    """The run reads them itself, and what came too late has its own fate."""
    nights = Nights(tmp_path, sandbox, FIRST, UNDATED)
    nights.write(0, [*nights.sell(0, "late"), *nights.sell(20, "good")])
    nights.night.edit("dags/uploads/sales.yml", ("max_invalid: 0%", "max_expired: 100%"))
    nights.move_to(nights.at(21))
    window = Window(Window.of_day(FIRST, nights.zone.key).since, Window.of_day(nights.day(20), nights.zone.key).until)

    with nights.services() as services:
        report = run_upload(services.deployment.uploads[NAME], window, services)

    assert (report.balance, report.problems, report.status) == ("2 read = 1 sent + 1 expired", (), Status.COMPLETE)
    assert set(nights.states().split()) == {"complete"}


def test_p20_a_row_that_was_owed_and_left_the_source_is_told(nights: Nights) -> None:
    nights.write(0, nights.sell(0, "a", "gone"))
    nights.write(1, nights.sell(1, "b"))
    nights.sandbox.revoke(TOKEN)
    nights.run(0)
    nights.sandbox.grant(TOKEN, [PIXEL])
    nights.write(0, nights.sell(0, "a"))

    night = nights.run(1)
    nights.write(2, nights.sell(2, "c"))
    after = nights.run(2)

    assert night.settled.reports[0].problems == (
        "1 deferred of earlier runs not in the source any more: they are not sent",
    )
    assert (night.complete, after.complete, nights.states()) == (False, True, "complete complete complete")


#: The time of the event stands in another column than the window that its row is read in.
BOUGHT_BEFORE = UNDATED.replace("time: sold_at", "time: bought_at")


@pytest.mark.parametrize(
    ("upload", "told"), [(UNDATED, ["1 deferred", "1 deferred"]), (BOUGHT_BEFORE, ["", "2 deferred"])]
)
def test_p20_what_left_the_source_is_told_by_the_run_that_reads_all_of_where_it_may_be(
    tmp_path: Path, sandbox: Sandbox, upload: str, told: list[str]
) -> None:
    """A run over one of two days tells of that day, where each event stays in its day; no later run tells it again."""
    nights = Nights(tmp_path, sandbox, FIRST, upload)
    rows = [nights.sell(day, *names) for day, names in ((0, ("a", "gone-0")), (1, ("b", "c", "d", "gone-1")))]
    for row in (row for some in rows for row in some):
        row["bought_at"] = nights.at(0, 9).isoformat()
    both = Window(Window.of_day(FIRST, nights.zone.key).since, Window.of_day(nights.day(1), nights.zone.key).until)
    nights.write(0, [*rows[0], *rows[1]])
    nights.sandbox.revoke(TOKEN)
    nights.move_to(nights.at(2))
    with nights.services() as services:
        first = run_upload(services.deployment.uploads[NAME], both, services)
    nights.sandbox.grant(TOKEN, [PIXEL])
    nights.write(0, [rows[0][0], *rows[1][:3]])

    one_day = nights.upload(0)
    with nights.services() as services:
        rest = run_upload(services.deployment.uploads[NAME], both, services)

    assert first.balance == "6 read = 6 deferred"
    lines = [" ".join(report.problems) for report in (one_day, rest)]
    assert [line.partition(" of earlier runs not in the source")[0] for line in lines] == told


def test_p20_what_left_the_source_is_told_where_a_run_covers_some_hours(tmp_path: Path, sandbox: Sandbox) -> None:
    """No whole day lies in them, so that the events are looked for by the hours that the earlier run covered."""
    nights = Nights(tmp_path, sandbox, FIRST, UNDATED)
    nights.write(0, nights.sell(0, "a", "gone"))
    nights.sandbox.revoke(TOKEN)
    nights.move_to(nights.at(0, 15))

    def run(first: int, end: int) -> tuple[str, tuple[str, ...]]:
        with nights.services() as services:
            window = Window(nights.at(0, first), nights.at(0, end))
            report = run_upload(services.deployment.uploads[NAME], window, services)
        return report.balance, report.problems

    before = run(10, 14)
    nights.sandbox.grant(TOKEN, [PIXEL])
    nights.write(0, nights.sell(0, "a"))

    assert before[0] == "2 read = 2 deferred"
    assert run(11, 13) == ("1 read = 1 sent", ())
    assert run(10, 14) == (
        "1 read = 1 already sent",
        ("1 deferred of earlier runs not in the source any more: they are not sent",),
    )
    assert run(10, 14) == ("1 read = 1 already sent", ())


def test_a_client_that_is_not_configured_opens_its_day_without_reading_it_again(nights: Nights) -> None:
    """Each night would read the day again for nothing; once the client is there, its rows go out."""
    nights.night.edit("dags/uploads/sales.yml", ("max_invalid: 0%", "max_invalid: 100%"))
    nights.night.edit("dags/clients.yml", ("    country: GB\n", "    country: GB\n    active: false\n"))
    nights.write(0, [*nights.sell(0, "a"), *nights.sell(0, "o", brand="Outlet")])
    for number in (1, 2):
        nights.write(number, nights.sell(number, f"o{number}", brand="Outlet"))
    nights.run(0)
    waiting = nights.run(1)
    state = nights.states()
    nights.night.edit("dags/clients.yml", ("    active: false\n", ""))

    after = nights.run(2)

    assert (balances(waiting), waiting.complete, state) == (["1 read = 1 sent"], True, "open complete")
    assert balances(after) == ["2 read = 1 sent + 1 already sent", "1 read = 1 sent"]
    assert (nights.states(), nights.counted["a"]) == ("complete complete complete", 1)


# ---------------------------------------------------------------------------------------------- known losses


def test_p20_a_row_rejected_before_makes_no_later_night_red_and_goes_out_when_mended(nights: Nights) -> None:
    nights.night.edit("dags/uploads/sales.yml", ("timezone: Europe/Berlin}", "timezone: Europe/Berlin, lookback: 2d}"))
    nights.write(0, [*nights.sell(0, "a"), *nights.sell(0, "x", amount="much")])
    for number in (1, 2, 3):
        nights.write(number, nights.sell(number, f"s{number}"))
    first = nights.run(0)
    second = nights.run(1)
    nights.write(0, nights.sell(0, "a", "x"))

    third = nights.run(2)

    assert (first.complete, first.report.balance) == (False, "2 read = 1 sent + 1 invalid")
    assert (second.complete, second.report.balance) == (True, "3 read = 1 sent + 1 already sent + 1 invalid")
    assert second.report.known_lines() == [
        f"1 invalid known since {nights.day(1)}: told then, and they make no later run red"
    ]
    assert (third.report.balance, third.report.known_lines()) == ("4 read = 2 sent + 2 already sent", [])


def test_a_row_rejected_for_another_reason_than_before_is_told_anew(nights: Nights) -> None:
    nights.night.edit("dags/uploads/sales.yml", ("timezone: Europe/Berlin}", "timezone: Europe/Berlin, lookback: 1d}"))
    nights.write(0, nights.sell(0, "x", amount="much"))
    nights.write(1, nights.sell(1, "b"))
    nights.run(0)
    nights.write(0, nights.sell(0, "x", currency="Talers"))

    second = nights.run(1)

    assert (second.complete, second.report.known_lines()) == (False, [])


def test_p14_a_red_run_that_is_repeated_stays_red(nights: Nights) -> None:
    """A second run of the same window is no later night."""
    nights.write(0, [*nights.sell(0, "a"), *nights.sell(0, "x", amount="much")])

    first, again = nights.run(0), nights.run(0)

    assert (first.complete, again.complete) == (False, False)


def test_p20_an_event_that_meta_refused_makes_no_later_night_red(nights: Nights) -> None:
    nights.night.edit("dags/uploads/sales.yml", ("timezone: Europe/Berlin}", "timezone: Europe/Berlin, lookback: 1d}"))
    nights.write(0, nights.sell(0, "a", "bad"))
    nights.write(1, nights.sell(1, "b"))
    nights.sandbox.refuse("bad")
    first = nights.run(0)

    second = nights.run(1)

    assert (first.report.tally.count(Fate.REJECTED_BY_META), first.complete) == (1, False)
    assert (second.report.tally.count(Fate.REJECTED_BY_META), second.complete) == (1, True)
    assert nights.states() == "complete complete"


# ---------------------------------------------------------------------------------------------- an upload's days


@pytest.mark.parametrize(
    ("old", "new", "stay"),
    [
        ("*.csv", "sales_{date}.csv", False),
        ("time: sold_at, ", "", True),
        ("time: sold_at", "time: sold_at", True),
        ("time: sold_at", "time: bought_at", False),
        ("time: sold_at", 'time: {constant: "2026-11-20T12:00:00+01:00"}', False),
        ("time: sold_at", "time: {column: sold_at, timezone: Europe/Berlin}", True),
        ("time: sold_at", "time: {column: sold_at, timezone: America/New_York}", False),
    ],
)
def test_events_stay_in_their_day_where_their_time_is_what_the_window_compares(
    tmp_path: Path, sandbox: Sandbox, old: str, new: str, stay: bool
) -> None:
    nights = Nights(tmp_path, sandbox, FIRST, UNDATED.replace(old, new))

    with nights.services() as services:
        assert services.deployment.uploads[NAME].keeps_events_in_their_day is stay


IN_A_STORE = ("system_generated", "physical_store")
CLIENTS = "client: {column: brand, map: {Shop: corner_shop, Outlet: nordic_outlet}}"
ANYWHERE = ("system_generated", "{column: place}")


@pytest.mark.parametrize(
    ("edits", "days"),
    [
        ([], 7),
        ([("client: {column: brand", "max_age: 3d\nclient: {column: brand")], 3),
        ([("client: {column: brand", "max_age: 30d\nclient: {column: brand"), IN_A_STORE], 30),
        ([IN_A_STORE], 62),
        ([ANYWHERE], 62),
        ([IN_A_STORE, (CLIENTS, "client: acme_bank")], 20),
        ([IN_A_STORE, (CLIENTS, "client: corner_shop")], 9),
    ],
)  # fmt: skip
def test_a_day_closes_when_the_oldest_event_that_may_still_be_sent_is_too_old(
    tmp_path: Path, sandbox: Sandbox, edits: list[tuple[str, str]], days: int
) -> None:
    """The platform's margin is taken off; of several clients the one counts that takes the oldest."""
    upload = UPLOAD
    for old, new in edits:
        assert old in upload
        upload = upload.replace(old, new)
    nights = Nights(tmp_path, sandbox, FIRST, upload)
    limits = [("country: GB", "9d"), ("country: US", "20d")]
    nights.night.edit(
        "dags/clients.yml",
        *((line, f"{line}\n    physical_store_max_age: {age}") for line, age in limits),
        ("  graph_version", "  age_margin: 2h\n  graph_version"),
    )

    with nights.services() as services:
        age = find_max_age(services.deployment.uploads[NAME], services.deployment)

    assert age == timedelta(days=days, hours=-2)


def test_days_are_named_one_by_one_or_by_their_ends() -> None:
    def day(number: int, *debts: Debt) -> UploadDay:
        return UploadDay(date(2026, 11, number), DayState.OPEN, debts)

    def described(*days: UploadDay) -> list[str]:
        return describe_due_days(days)

    never, deferred = Debt(None, "never_ran", None, 0), Debt(None, "throttled", None, 1)
    assert described() == []
    assert described(day(1, never)) == ["also 2026-11-01, open: no run covered it"]
    assert described(day(1, deferred)) == ["also 2026-11-01, open: Meta asked to wait (1 row)"]
    assert described(day(1, deferred), day(2, never), day(3, deferred), day(4, deferred._replace(rows=1_997))) == [
        "also 2026-11-01, 2026-11-03 and 2026-11-04, open: Meta asked to wait (1,999 rows)",
        "also 2026-11-02, open: no run covered it",
    ]
    eight = ", ".join(f"2026-11-0{number}" for number in range(1, 8))
    assert described(*(day(number, never) for number in range(1, 9))) == [
        f"also {eight} and 2026-11-08, open: no run covered it"
    ]
    assert described(*(day(number, never) for number in range(1, 10))) == [
        "also 9 days from 2026-11-01 to 2026-11-09, open: no run covered it"
    ]


@pytest.mark.parametrize(
    ("trigger", "until", "nightly"),
    [
        ("scheduled", 20, True),
        ("manual", 20, True),
        ("settle", 19, False),
        ("backfill", 19, False),
        ("replay", 20, False),
        ("test", 20, False),
        ("plan", 20, False),
    ],
)
def test_a_night_is_a_run_of_all_rows_of_the_last_day_that_is_over(trigger: str, until: int, nightly: bool) -> None:
    """Begun on the 21st at 03:00."""
    window = Window.of_day(date(2026, 11, until), "Europe/Berlin")
    began = datetime(2026, 11, 21, 2, tzinfo=UTC)

    assert is_nightly(RunRecord("r", NAME, window, trigger, began, None, "complete", None)) is nightly


def test_a_calendar_shows_thirty_days_up_to_yesterday_or_to_the_end_that_is_asked_for(nights: Nights) -> None:
    nights.write(0, nights.sell(0, "a"))
    nights.run(0)
    nights.move_to(nights.at(35))

    def shown(**ends: date) -> tuple[date, date, date | None, list[date]]:
        with nights.services() as services:
            upload = services.deployment.uploads[NAME]
            found = read_calendar(upload, services.deployment, services.ledger, nights.moment, **ends)
        return found.first, found.last, found.first_known, [day.day for day in found.days]

    def days(first: int, last: int) -> list[date]:
        return [nights.day(number) for number in range(first, last + 1)]

    assert shown() == (nights.day(5), nights.day(34), FIRST, days(5, 34))
    assert shown(first=nights.day(-2), end=nights.day(2)) == (nights.day(-2), nights.day(1), FIRST, days(0, 1))
    assert shown(end=nights.day(99)) == (nights.day(5), nights.day(34), FIRST, days(5, 34))
    assert list(nights.days()) == days(28, 34)
