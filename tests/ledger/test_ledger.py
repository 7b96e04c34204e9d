"""What the ledger remembers, and what it makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from offline_capi.errors import LedgerBusyError, LedgerError, UsageError
from offline_capi.ledger import Claim, Ledger, RunRecord, ddl
from offline_capi.ledger.connection import make_engine, open_transaction
from offline_capi.ledger.index import EventIndex
from offline_capi.ledger.index.recent import MERGE_AT_REQUESTS
from offline_capi.ledger.runs import FailedRequest
from offline_capi.ledger.schema.tables import request
from offline_capi.model import EventBatch, Fate, Outcome, Reason, Request, Tally, Window, list_keys
from tests.delivery.sending import WINDOW, batch, ids_of, names
from tests.support.sandbox_server import PIXEL

START = datetime(2026, 11, 24, 3, tzinfo=UTC)


class InTheMiddleError(Exception):
    """Something that goes wrong between a beginning and an end."""


@dataclass
class Desk:
    """One process's ledger with a clock that only the test moves."""

    url: str
    now: datetime = START

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.url, clock=lambda: self.now.timestamp())
        self.run = self.ledger.runs.begin("upload", WINDOW, trigger="manual", now=self.now)

    def claim(self, events: EventBatch, *, replaces: str | None = None) -> Claim:
        return self.ledger.journal.claim(self.run, Request("", "acme", PIXEL, events), replaces=replaces)

    def record(self, claim: Claim, fate: Fate, **more: object) -> None:
        self.ledger.journal.record([Outcome(claim.request, fate, self.now, **more)])  # type: ignore[arg-type]
        self.ledger.journal.flush()

    def post(self, events: EventBatch, fate: Fate) -> Claim:
        claim = self.claim(events)
        self.record(claim, fate)
        return claim

    def fates(self, events: EventBatch, *, run: str | None = None) -> dict[str, Fate | None]:
        """The settled fate of each event, ``None`` where it may be sent."""
        known = self.ledger.journal.look_up(events, run_id=run or self.run, now=self.now)
        fates: dict[str, Fate | None] = dict.fromkeys(ids_of(known.fresh))
        for fate, _, settled in known.decided:
            fates |= dict.fromkeys(ids_of(settled), fate)
        return fates

    def merge(self) -> None:
        """Put waiting keys into the index: purging does, here of nothing."""
        self.ledger.journal.purge(datetime.fromtimestamp(0, tz=UTC))

    def next_night(self, *, hours: float = 24) -> Desk:
        """The same ledger opened again later, by a new run."""
        self.ledger.close()
        return Desk(self.url, self.now + timedelta(hours=hours))


@pytest.fixture
def desk(ledger_url: str) -> Desk:
    return Desk(ledger_url)


def test_events_never_claimed_are_fresh(desk: Desk) -> None:
    assert desk.fates(batch(names("e", 3))) == {"e-0": None, "e-1": None, "e-2": None}


@pytest.mark.parametrize(
    ("fate", "later"),
    [
        (Fate.SENT, Fate.ALREADY_SENT),
        (Fate.REJECTED_BY_META, Fate.REJECTED_BY_META),
        (Fate.DEFERRED, None),
        (Fate.UNCONFIRMED, None),
    ],
)
def test_the_next_night_knows_what_became_of_an_event(desk: Desk, fate: Fate, later: Fate | None) -> None:
    desk.post(batch(["e-1"], at=0), fate)

    assert desk.next_night().fates(batch(["e-1"], at=0)) == {"e-1": later}


def test_p02_what_was_sent_is_known_whether_merged_into_the_index_or_not(desk: Desk) -> None:
    desk.post(batch(names("e", 2000)), Fate.SENT)
    unmerged = desk.fates(batch(names("e", 2000)), run="another")
    desk.merge()

    merged = desk.next_night().fates(batch(names("e", 2000)))

    assert set(unmerged.values()) == set(merged.values()) == {Fate.ALREADY_SENT}


def test_p02_a_look_up_sees_the_index_as_it_was_while_another_process_rewrites_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between learning which segments there are and reading them: those are gone by then."""
    events = batch(names("e", 2000))
    desk.post(events, Fate.SENT)
    desk.merge()
    reader, other, look = Desk(desk.url), Desk(desk.url), EventIndex.find
    forgotten: list[str] = []

    def find(index: EventIndex, connection: sa.Connection, keys: bytes) -> dict[int, int]:
        if not forgotten:
            forgotten.append("e-7")
            other.ledger.journal.forget(list_keys(batch(["e-7"]).key_bytes))
        return look(index, connection, keys)

    monkeypatch.setattr(EventIndex, "find", find)
    fates = reader.fates(events)

    assert {fate for name, fate in fates.items() if name not in forgotten} == {Fate.ALREADY_SENT}
    assert reader.fates(batch(forgotten)) == {"e-7": None}


@pytest.mark.parametrize("merge", [True, False])
def test_the_newest_of_two_requests_with_an_event_says_what_became_of_it(desk: Desk, merge: bool) -> None:
    """Both wait for the index, beside others whose keys sort before and after."""
    events = batch(names("e", 50))
    desk.post(events, Fate.DEFERRED)
    desk.post(events.slice(10, 30), Fate.SENT)
    if merge:
        desk.merge()

    fates = desk.next_night().fates(events)

    assert [name for name, fate in fates.items() if fate is Fate.ALREADY_SENT] == names("e", 40)[10:]
    assert sum(fate is None for fate in fates.values()) == 20


def test_keys_of_many_small_requests_do_not_wait_for_the_index_for_ever(desk: Desk) -> None:
    for number in range(MERGE_AT_REQUESTS + 1):
        desk.post(batch([f"e-{number}"], at=0), Fate.SENT)

    with make_engine(desk.url).connect() as connection:
        waiting = connection.scalar(sa.select(sa.func.count()).where(request.c.waiting_keys.is_not(None)))
    assert waiting == 1
    assert desk.next_night().fates(batch(["e-0", f"e-{MERGE_AT_REQUESTS}"], at=0)) == dict.fromkeys(
        ["e-0", f"e-{MERGE_AT_REQUESTS}"], Fate.ALREADY_SENT
    )


def test_p16_a_refused_event_is_free_once_its_row_has_changed(desk: Desk) -> None:
    desk.post(batch(["e-1"], at=0), Fate.REJECTED_BY_META)

    night = desk.next_night()

    assert night.fates(batch(["e-1"], at=0)) == {"e-1": Fate.REJECTED_BY_META}
    assert night.fates(batch(["e-1"], at=0, note="mended")) == {"e-1": None}


@pytest.mark.parametrize(
    ("source", "hours", "later"),
    [
        ("system_generated", 47.9, None),
        ("system_generated", 48.1, Fate.UNCONFIRMED),
        ("physical_store", 48.1, None),
        ("physical_store", 7 * 24 - 0.1, None),
        ("physical_store", 7 * 24 + 0.1, Fate.UNCONFIRMED),
    ],
)
def test_p03_an_event_in_doubt_goes_again_only_while_meta_drops_repeats(
    desk: Desk, source: str, hours: float, later: Fate | None
) -> None:
    """48 h (D:deduplicate-pixel-and-server-events), 7 days for the offline key (D:offline-events)."""
    events = batch(["e-1"], action_source=source)
    desk.post(events, Fate.UNCONFIRMED)

    assert desk.next_night(hours=hours).fates(events) == {"e-1": later}


def test_p03_meta_counts_from_the_first_receipt_however_often_an_event_was_repeated(desk: Desk) -> None:
    desk.post(batch(["e-1"]), Fate.UNCONFIRMED)
    second = desk.next_night(hours=40)
    second.fates(batch(["e-1"]))
    second.post(batch(["e-1"]), Fate.UNCONFIRMED)

    assert second.next_night(hours=40).fates(batch(["e-1"])) == {"e-1": Fate.UNCONFIRMED}


def test_p03_a_repeat_that_never_left_does_not_free_an_event_in_doubt(desk: Desk) -> None:
    """The first request may be stored at Meta, whatever became of the second."""
    desk.post(batch(["e-1"]), Fate.UNCONFIRMED)
    second = desk.next_night(hours=40)
    second.fates(batch(["e-1"]))
    second.post(batch(["e-1"]), Fate.DEFERRED)

    assert second.next_night(hours=40).fates(batch(["e-1"])) == {"e-1": Fate.UNCONFIRMED}


def test_p03_parts_of_a_refused_request_that_never_left_stay_in_doubt(desk: Desk) -> None:
    """Meta may have kept the valid events of a refused request (meta-capi.md 5.2)."""
    whole = desk.claim(batch(names("e", 4)))
    desk.record(whole, Fate.UNCONFIRMED)
    half = desk.claim(batch(names("e", 2)), replaces=whole.request.id)
    desk.record(half, Fate.DEFERRED)

    assert desk.next_night(hours=49).fates(batch(names("e", 4))) == dict.fromkeys(names("e", 4), Fate.UNCONFIRMED)


def test_a_living_run_holds_what_it_claimed(desk: Desk) -> None:
    desk.claim(batch(names("e", 2)))
    other = Desk(desk.url)

    deferred = other.ledger.journal.look_up(batch(names("e", 3)), run_id=other.run, now=other.now)

    assert ids_of(deferred.fresh) == ["e-2"]
    assert [(fate, reason) for fate, reason, _ in deferred.decided] == [(Fate.DEFERRED, Reason.OTHER_RUN)]


def test_a_living_run_holds_nothing_from_itself(desk: Desk) -> None:
    """Its own request on the wire is none of another run: what it is a part of may go again."""
    desk.claim(batch(names("e", 2)))

    assert desk.fates(batch(names("e", 3))) == dict.fromkeys(names("e", 3))


def test_p15_two_runs_that_both_saw_an_event_fresh_claim_it_once(desk: Desk) -> None:
    other = Desk(desk.url)
    assert other.fates(batch(names("e", 5))) == desk.fates(batch(names("e", 5)))

    first = desk.claim(batch(names("e", 3)))
    second = other.claim(batch(names("e", 5)))

    assert ids_of(first.request.events) == names("e", 3)
    assert ids_of(second.request.events) == ["e-3", "e-4"]
    assert ids_of(second.lost) == names("e", 3)


def test_a_run_can_be_looked_up_with_its_parts(desk: Desk) -> None:
    desk.ledger.runs.save_part(desk.run, "send acme", Tally(read=3))
    desk.ledger.runs.save_part(desk.run, "send acme", Tally(read=5))
    desk.ledger.runs.finish(desk.run, status="ok", report={"balance": "5 = 5"}, now=desk.now)

    record = desk.ledger.runs.get(desk.run)

    assert (record.status, record.window, record.balance) == ("ok", WINDOW, "5 = 5")
    assert desk.ledger.runs.load_parts(desk.run)["send acme"].read == 5
    assert [run.id for run in desk.ledger.runs.list_newest(5)] == [desk.run]


def test_a_run_that_ends_in_an_error_is_marked_as_failed(desk: Desk) -> None:
    seen: list[RunRecord] = []
    started, ended = desk.now, desk.now + timedelta(minutes=5)

    def fail() -> None:
        with desk.ledger.runs.track("other", WINDOW, trigger="replay", now=lambda: desk.now) as run:
            seen.append(run)
            desk.now = ended
            raise InTheMiddleError

    with pytest.raises(InTheMiddleError):
        fail()

    (run,) = seen
    assert (run.status, run.started_at, run.ended_at) == ("running", started, None)
    assert desk.ledger.runs.get(run.id) == replace(run, status="failed", ended_at=ended)
    assert desk.ledger.runs.get(desk.run).status == "running"


def test_runs_of_the_same_second_have_one_order(desk: Desk) -> None:
    """By their ids, so that a page and the next agree."""
    ids = [desk.ledger.runs.begin("upload", WINDOW, trigger="manual", now=desk.now) for _ in range(9)]
    for run_id in ids:
        desk.ledger.runs.finish(run_id, status="complete", report={"balance": ""}, now=desk.now)
    later = desk.ledger.runs.begin("upload", WINDOW, trigger="manual", now=desk.now + timedelta(seconds=1))

    assert [run.id for run in desk.ledger.runs.list_newest(99)] == [later, *sorted([desk.run, *ids], reverse=True)]
    assert [run.id for run in desk.ledger.runs.list_newest(3)] == [later, *sorted([desk.run, *ids], reverse=True)[:2]]
    assert [run.id for run in desk.ledger.runs.list_reported("upload", 99)] == sorted(ids, reverse=True)


def test_runs_are_listed_by_upload_status_and_kind(desk: Desk) -> None:
    runs, at = desk.ledger.runs, [START + timedelta(minutes=minutes) for minutes in range(9)]

    def run(upload: str, trigger: str, minute: int, status: str, report: dict[str, str] | None = BALANCED) -> str:
        run_id = runs.begin(upload, WINDOW, trigger=trigger, now=at[minute])
        if status != "running":
            runs.finish(run_id, status=status, report=report, now=at[minute + 1])
        return run_id

    def ids(found: Iterable[RunRecord]) -> list[str]:
        return [one.id for one in found]

    plan, test = run("sales", "plan", 1, "complete"), run("sales", "test", 2, "complete")
    good, failed = run("sales", "scheduled", 3, "complete"), run("sales", "scheduled", 4, "failed")
    bare, leads = run("sales", "replay", 5, "partial", None), run("leads", "manual", 6, "partial")
    under_way = run("leads", "manual", 7, "running")
    newest = [under_way, leads, bare, failed, good, test]

    assert ids(runs.list_newest(99)) == [*newest, desk.run]
    assert ids(runs.list_newest(99, plans="with")) == [*newest, plan, desk.run]
    assert ids(runs.list_newest(99, plans="only")) == [plan]
    assert ids(runs.list_newest(99, uploads={"sales"})) == [bare, failed, good, test]
    assert ids(runs.list_newest(99, uploads=set())) == []
    assert ids(runs.list_newest(99, status="partial")) == [leads, bare]
    assert ids(runs.list_past()) == [desk.run, good, failed, bare, leads, under_way]
    assert {one.report for one in runs.list_past()} == {None}
    assert ids(runs.list_reported("sales", 9)) == [good, test]
    assert ids(runs.iterate_closed(START)) == ids(runs.iterate_closed(at[3])) == [good, leads]
    assert ids(runs.iterate_closed(at[4])) == ids(runs.iterate_closed(START, {"leads"})) == [leads]
    assert [runs.find_first_start(names) for names in (None, {"sales"}, {"none"})] == [START, at[3], None]
    assert {*ids(runs.list_unfinished())} == {desk.run, under_way}
    assert runs.list_uploads() == ["leads", "sales", "upload"]


BALANCED = {"balance": "3 = 3"}


def test_a_run_that_an_error_ends_has_the_report_of_its_failure_and_one_that_is_interrupted_none(desk: Desk) -> None:
    def fail(error: BaseException) -> RunRecord:
        with (
            pytest.raises(type(error)),
            desk.ledger.runs.track(
                "other",
                WINDOW,
                trigger="manual",
                now=lambda: desk.now,
                covered_since=WINDOW.since - timedelta(days=2),
                report_failure=lambda run, why: {"balance": f"{run.upload} {why}"},
            ) as run,
        ):
            raise error
        return desk.ledger.runs.get(run.id)

    failed, interrupted = fail(InTheMiddleError("broke")), fail(KeyboardInterrupt())

    assert (failed.status, failed.report, failed.balance) == ("failed", {"balance": "other broke"}, "other broke")
    assert (interrupted.status, interrupted.report, interrupted.balance) == ("failed", None, "")
    assert failed.covered == Window(WINDOW.since - timedelta(days=2), WINDOW.until)
    assert desk.ledger.runs.get(desk.run).covered is None
    assert failed.to_json() == {
        "run": failed.id,
        "upload": "other",
        "window": WINDOW.to_json(),
        "trigger": "manual",
        "started_at": START.isoformat(),
        "ended_at": START.isoformat(),
        "status": "failed",
        "report": {"balance": "other broke"},
    }
    assert desk.ledger.runs.get(desk.run).to_json()["ended_at"] is None


@pytest.mark.parametrize(
    ("problems", "shown"),
    [
        (["a  b\n c", "more"], "a b c"),
        (["x" * 300], "x" * 300),
        (["x" * 301], "x" * 299 + "…"),
        ([], ""),
    ],
)
def test_the_first_problem_of_a_run_is_one_line(desk: Desk, problems: list[str], shown: str) -> None:
    run = desk.ledger.runs.get(desk.run)

    assert replace(run, report={"problems": problems}).problem == shown
    assert run.problem == ""


def test_the_newest_run_is_the_last_and_a_ledger_without_any_says_so(ledger_url: str) -> None:
    with Ledger(ledger_url) as ledger:
        with pytest.raises(UsageError, match="the ledger has no run yet"):
            ledger.runs.get("last")
        ids = [ledger.runs.begin("a", WINDOW, trigger="manual", now=START + timedelta(hours=n)) for n in range(2)]

        assert ledger.runs.get("last").id == ids[1]


def test_requests_that_were_not_accepted_are_listed_with_all_that_meta_said(desk: Desk) -> None:
    """The first ones of a run and a client that left at all."""
    said = {"code": 100, "subcode": 2804019, "trace_id": "Abc"}
    desk.post(batch(["sent"]), Fate.SENT)
    refused, lost = desk.claim(batch(["e-1"])), desk.claim(batch(["e-2", "e-3"]))
    desk.record(refused, Fate.REJECTED_BY_META, tries=2, **said)
    desk.record(lost, Fate.UNCONFIRMED, tries=6)
    desk.record(desk.claim(batch(["e-4"])), Fate.DEFERRED, tries=0)

    found = desk.ledger.runs.list_failed_requests(desk.run, "acme", 9)

    assert found == [
        FailedRequest(int(refused.request.id), PIXEL, "rejected", 1, 2, *said.values()),  # type: ignore[arg-type]
        FailedRequest(int(lost.request.id), PIXEL, "unconfirmed", 2, 6, None, None, None),
    ]
    assert desk.ledger.runs.list_failed_requests(desk.run, "acme", 1) == found[:1]
    assert (
        desk.ledger.runs.list_failed_requests(desk.run, "beta", 9)
        == desk.ledger.runs.list_failed_requests("r", "acme", 9)
        == []
    )


def test_an_unknown_run_is_said_so(desk: Desk) -> None:
    with pytest.raises(UsageError, match="no run"):
        desk.ledger.runs.get("nonsense")


def test_old_events_are_forgotten_and_young_ones_kept(desk: Desk) -> None:
    desk.post(batch(names("old", 3)), Fate.SENT)
    night = desk.next_night(hours=24 * 80)
    night.post(batch(names("new", 2)), Fate.SENT)

    foreseen = night.ledger.journal.count_before(night.now - timedelta(days=70))
    forgotten = night.ledger.journal.purge(night.now - timedelta(days=70))

    assert (foreseen, forgotten) == (3, 3)
    assert night.fates(batch(["old-0", "new-0"]), run="another") == {"old-0": None, "new-0": Fate.ALREADY_SENT}


def test_an_event_sent_again_late_is_not_forgotten_with_its_first_request(desk: Desk) -> None:
    desk.post(batch(["e-1"]), Fate.DEFERRED)
    night = desk.next_night(hours=24 * 80)
    night.post(batch(["e-1"]), Fate.SENT)

    night.ledger.journal.purge(night.now - timedelta(days=70))

    assert night.next_night().fates(batch(["e-1"])) == {"e-1": Fate.ALREADY_SENT}


# ---------------------------------------------------------------------------------------------- bad input


def test_a_newer_ledger_is_refused_and_left_alone(desk: Desk) -> None:
    desk.ledger.close()
    engine = sa.create_engine(desk.url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE offline_capi_version SET version_num = '9999'"))

    with pytest.raises(LedgerError, match="newer"):
        Ledger(desk.url)

    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM offline_capi_version")).scalar() == "9999"
    engine.dispose()


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_text("not a database at all, but long enough to look at" * 10)

    with pytest.raises(LedgerError, match=r"ledger\.db"):
        Ledger(f"sqlite:///{path}")


def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(LedgerError, match=r"127\.0\.0\.1") as failed:
        Ledger("postgresql://someone:sesame@127.0.0.1:1/ledger?connect_timeout=2")

    assert "sesame" not in str(failed.value)


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/db", "postgresql+nodriver://host/db"])
def test_a_url_that_cannot_be_used_says_how_one_looks(url: str) -> None:
    with pytest.raises(LedgerError, match="sqlite:///"):
        Ledger(url)


def test_a_ledger_that_another_process_holds_is_busy_and_can_still_be_read(ledger_url: str) -> None:
    Ledger(ledger_url).close()
    holder = make_engine(ledger_url).connect()
    with open_transaction(holder, writes=True), Ledger(ledger_url, busy_seconds=0.1) as ledger:
        assert ledger.runs.list_newest(1) == []

        with pytest.raises(LedgerBusyError, match="run again"):
            ledger.runs.begin("upload", WINDOW, trigger="manual", now=START)
    holder.close()


def test_the_sql_for_dbas_is_what_a_ledger_is_made_of() -> None:
    assert "CREATE TABLE segment" in ddl()
    assert Path("sql/ledger/schema.sql").read_text(encoding="utf-8") == ddl()


# ---------------------------------------------------------------------------------------------- what events were worth


def _worth(ids: list[str], values: list[float | None], currency: str | None = "EUR") -> EventBatch:
    table = batch(ids).table
    columns = dict(zip(table.schema.names, table.columns, strict=True))
    columns |= {"value": pa.array(values, pa.float64()), "currency": pa.array([currency] * len(ids), pa.string())}
    return EventBatch(pa.RecordBatch.from_pydict(columns, schema=table.schema))


@pytest.mark.parametrize("merge", [True, False])
def test_events_that_are_worth_something_else_than_when_they_were_sent_are_counted(desk: Desk, merge: bool) -> None:
    """Also one whose value came or went; an equal value is never taken for another, whatever it is."""
    ids = names("e", 1500)
    before: list[float | None] = [i / 100 for i in range(1498)] + [None, 0.0]
    after = [*before[:3], 99.5, *before[4:1498], 0.0, None]
    for start in (0, 1000):
        desk.post(_worth(ids[start : start + 1000], before[start : start + 1000]), Fate.SENT)
    if merge:
        desk.merge()

    night = desk.next_night()

    def changed(events: EventBatch) -> int:
        return night.ledger.journal.look_up(events, run_id=night.run, now=night.now).changed

    assert changed(_worth(ids, before)) == 0
    assert changed(_worth([*reversed(ids)], [*reversed(before)])) == 0
    assert changed(_worth(ids, after)) == 3
    assert changed(_worth(ids[:4], before[:4], "USD")) == 4
    assert changed(_worth(names("new", 4), before[:4])) == 0


def test_what_was_not_sent_has_not_changed_and_a_repeat_has_its_own_worth(desk: Desk) -> None:
    """Refused events are judged by their bodies; one that goes again is worth what it was the last time."""
    desk.post(_worth(["refused"], [1.0]), Fate.REJECTED_BY_META)
    desk.post(_worth(["again"], [1.0]), Fate.UNCONFIRMED)
    night = desk.next_night(hours=1)
    night.post(_worth(["again"], [2.0]), Fate.SENT)

    later = night.next_night(hours=1)
    known = later.ledger.journal.look_up(_worth(["refused", "again"], [5.0, 2.0]), run_id=later.run, now=later.now)

    assert known.changed == 0


def test_a_request_of_an_older_version_or_with_an_erased_event_says_nothing_of_values(desk: Desk) -> None:
    ids = names("e", 3)
    desk.post(_worth(ids, [1.0, 2.0, 3.0]), Fate.SENT)
    desk.ledger.journal.forget(_worth(ids[:1], [1.0]).keys)

    night = desk.next_night()
    known = night.ledger.journal.look_up(_worth(ids[1:], [5.0, 5.0]), run_id=night.run, now=night.now)

    assert (known.changed, len(known.decided)) == (0, 1)
    assert night.ledger.read(sa.select(request.c.value_marks)) == [(None,)]
