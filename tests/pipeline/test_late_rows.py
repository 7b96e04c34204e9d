"""Nights over a table in a data lake that are told what was added: late rows go out once, and nothing is skipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.table import Table as IcebergTable

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.ledger import load_mark
from offline_capi.model import DayState, Fate, SourceMark, Window
from offline_capi.pipeline import plan_upload, replay_run
from offline_capi.pipeline.settle import NightlyResult
from offline_capi.pipeline.tasks import begin_run, reconcile, send_staged, stage_upload
from offline_capi.report import RunReport, Status
from tests.support.lakehouse import CATALOG, compact_iceberg, make_catalog
from tests.support.nights import NAME, UPLOAD, Nights
from tests.support.sandbox_server import Sandbox

FIRST = datetime.now(UTC).date() - timedelta(days=40)
TOKEN, PIXEL = SAMPLE_TOKENS["CORNER_SHOP_TOKEN"], "1200000000000002"
SOURCES = {
    "delta": 'delta: "${OFFLINE_CAPI_DATA}/sales"',
    "iceberg": f"iceberg: {{catalog: {CATALOG}, table: shop.sales}}",
}
SCHEMA = pa.schema([("sold_at", pa.timestamp("us", "UTC"))]
                   + [(name, pa.string()) for name in ("sale", "brand", "email", "amount", "currency")])  # fmt: skip


class Lake(Nights):
    """Nights whose rows lie in a table; each night is told what was added since the last complete one."""

    def __init__(self, home: Path, sandbox: Sandbox, kind: str) -> None:
        text = UPLOAD.replace('path: "${OFFLINE_CAPI_DATA}/sales/sales_{date}.csv"', SOURCES[kind])
        super().__init__(home, sandbox, FIRST, text.replace('"}\n', '", incremental: snapshot}\n', 1))
        self.night.edit("dags/uploads/sales.yml", ("shop.sales}}", "shop.sales}, incremental: snapshot}")) if (
            kind == "iceberg"
        ) else None
        catalog = f'{{lake: {{type: sql, uri: "sqlite:///{home}/catalog.db"}}}}'
        self.night.edit("dags/clients.yml", ("platform:\n", f"platform:\n  iceberg_catalogs: {catalog}\n"))
        self.home, self.kind = home, kind
        if kind == "iceberg":
            make_catalog(home).create_namespace("shop")
            make_catalog(home).create_table("shop.sales", schema=SCHEMA)

    @property
    def delta(self) -> DeltaTable:
        return DeltaTable(self.home / "sales")

    @property
    def iceberg(self) -> IcebergTable:
        return make_catalog(self.home).load_table("shop.sales")

    def add(self, *sales: tuple[int, str], **other: str) -> None:
        """One commit with a row for each day and name."""
        rows = [row for number, name in sales for row in self.sell(number, name, **other)]
        columns = {name: [row[name] for row in rows] for name in SCHEMA.names}
        columns["sold_at"] = [datetime.fromisoformat(at) for at in columns["sold_at"]]
        table = pa.table(columns, schema=SCHEMA)
        if self.kind == "delta":
            write_deltalake(self.home / "sales", table, mode="append")
        else:
            self.iceberg.append(table)

    def compact(self) -> None:
        """All files become one, and no row changes."""
        if self.kind == "delta":
            self.delta.optimize.compact()
        else:
            compact_iceberg(self.iceberg)

    def delete(self, name: str) -> None:
        table: Any = self.delta if self.kind == "delta" else self.iceberg
        table.delete(f"sale = '{name}'")

    @property
    def mark(self) -> SourceMark:
        with self.services() as services:
            found = load_mark(services.ledger, NAME)
        assert found is not None
        return found

    @property
    def newest(self) -> int:
        if self.kind == "delta":
            return self.delta.version()
        found = self.iceberg.current_snapshot()
        return found.snapshot_id if found else -1

    def plan(self, number: int) -> RunReport:
        self.move_to(self.at(number + 1))
        with self.services() as services:
            upload = services.deployment.uploads[NAME]
            return plan_upload(upload, Window.of_day(self.day(number), self.zone.key), services)


@pytest.fixture(params=["delta", "iceberg"])
def lake(request: pytest.FixtureRequest, tmp_path: Path, sandbox: Sandbox) -> Lake:
    return Lake(tmp_path, sandbox, request.param)


def revoke(lake: Lake) -> None:
    lake.sandbox.revoke(TOKEN)


def grant(lake: Lake) -> None:
    lake.sandbox.grant(TOKEN, [PIXEL])


def balance(night: NightlyResult) -> str:
    return night.report.balance


def test_late_rows_go_out_with_the_next_night_and_nothing_is_read_twice(lake: Lake) -> None:
    """However old their day is; the first night reads its window alone, and rows of a day that is not over wait."""
    lake.add((-3, "old"), (0, "a"))
    first = lake.run(0)
    lake.add((1, "b"), (-2, "late"), (0, "later"), (2, "early"))
    planned = lake.plan(1)
    second = lake.run(1)
    lake.add((2, "c"))
    third = lake.run(2)
    fourth = lake.run(3)

    assert (balance(first), planned.balance) == ("1 read = 1 sent", "3 read = 3 sent")
    assert [balance(one) for one in (second, third)] == ["3 read = 3 sent", "2 read = 2 sent"]
    assert (second.report.tally.late_rows, third.report.tally.late_rows) == (2, 0)
    assert (
        planned.table_line()
        == second.report.table_line()
        == (
            f"table read at {lake.mark.complete.kind} {second.report.table_read.until.number}, "  # type: ignore[union-attr]
            f"with 1 file added since {first.report.table_read.until}: 2 late rows"  # type: ignore[union-attr]
        )
    )
    assert fourth.report.table_line().endswith(f"no file with rows was added since {lake.mark.complete}")
    assert lake.mark.complete.number == lake.mark.seen.number == lake.newest
    assert all(one.complete for one in (first, second, third))
    assert lake.counted == dict.fromkeys(("a", "b", "late", "later", "early", "c"), 1)
    assert RunReport.from_json(second.report.to_json()).table_line() == second.report.table_line()
    said = " ".join(lake.night.run("status").out.split())
    assert f"3 read = 3 sent {second.report.table_line().partition(':')[0]}" in said


def test_the_mark_waits_for_a_night_that_owes_nothing_and_a_compaction_between_loses_nothing(lake: Lake) -> None:
    lake.add((0, "a"))
    lake.run(0)
    start = lake.mark
    revoke(lake)
    lake.add((1, "b"), (-1, "late"))
    red = lake.run(1)
    after_red = lake.mark
    open_days = {day.day: day.state for day in lake.days().values()}
    lake.compact()
    lake.add((2, "c"), (0, "later"))
    grant(lake)
    green = lake.run(2)
    lake.add((3, "d"))
    lake.run(3)
    lake.compact()
    lake.add((4, "e"))
    quiet = lake.run(4)

    assert (red.report.status, balance(red)) == (Status.PARTIAL, "2 read = 2 deferred")
    assert after_red.complete == start.complete
    assert after_red.seen.number == red.report.table_read.until.number  # type: ignore[union-attr]
    assert open_days == {lake.day(-1): DayState.OPEN, lake.day(0): DayState.COMPLETE, lake.day(1): DayState.OPEN}
    assert [one.balance for one in green.settled.reports] == ["1 read = 1 sent", "1 read = 1 sent"]
    assert (green.complete, green.report.tally.count(Fate.SENT)) == (True, 2)
    (told,) = green.report.notices()
    assert "put files together and changed no row; files added since the last complete run were among them" in told
    assert lake.mark.complete.number == lake.newest
    (told,) = quiet.report.notices()[:1]
    assert told.endswith("put files together and changed no row; what it wrote is not read again")
    assert quiet.report.tally.late_rows == 0
    assert {day.state for day in lake.days().values()} == {DayState.COMPLETE}
    assert lake.counted == dict.fromkeys(("a", "b", "c", "d", "e", "late", "later"), 1)


def test_rewritten_history_is_told_and_rows_that_were_sent_are_left_out(lake: Lake) -> None:
    """The file that a deletion writes holds rows of weeks: those too old for Meta were told before."""
    lake.add((0, "a"), (-30, "ancient"), (-1, "before"))
    lake.run(0)
    lake.delete("a")
    lake.add((1, "b"))
    second = lake.run(1)

    assert second.complete
    assert balance(second) == "2 read = 2 sent"
    assert second.report.tally.count(Fate.EXPIRED) == 0
    (told,) = second.report.notices()
    assert "changed or deleted rows; the files it wrote are read from" in told
    assert lake.mark.complete.number == lake.newest
    assert lake.counted == {"a": 1, "before": 1, "b": 1}


def set_back(lake: Lake, number: int) -> None:
    if lake.kind == "delta":
        lake.delta.restore(number)
    else:
        lake.iceberg.manage_snapshots().rollback_to_snapshot(number).commit()


def test_a_table_set_back_to_an_earlier_state_is_told_and_read_again(lake: Lake) -> None:
    """Rows that the state of today has and no run has sent go out; those that were sent do not go twice."""
    lake.add((0, "a"), (-1, "before"))
    lake.run(0)
    earlier = lake.newest
    lake.add((1, "b"))
    lake.run(1)
    set_back(lake, earlier)
    lake.add((2, "c"), (-1, "late"))
    third = lake.run(2)

    assert third.complete
    assert third.report.tally.count(Fate.SENT) == (2 if lake.kind == "delta" else 3)  # Delta's names what came back
    told = " ".join(third.report.notices())
    assert ("restored the table to an earlier state" if lake.kind == "delta" else "was set back to an earlier") in told
    assert lake.mark.complete.number == lake.newest
    assert {name: n for name, n in lake.counted.items() if n != 1} == {}
    assert {"a", "b", "c", "late"} <= {*lake.counted}


def clean_log(lake: Lake) -> None:
    """What the retention of a log, or the expiry of snapshots, leaves."""
    if lake.kind == "delta":
        lake.delta.create_checkpoint()
        for commit in sorted((lake.home / "sales" / "_delta_log").glob("*.json"))[:-1]:
            commit.unlink()
    else:
        table = lake.iceberg
        newest = table.current_snapshot()
        assert newest is not None
        ids = [one.snapshot_id for one in table.snapshots() if one.snapshot_id != newest.snapshot_id]
        table.maintenance.expire_snapshots().by_ids(ids).commit()


def make_anew(lake: Lake) -> None:
    """Another table under the same name, with all rows of the old one."""
    if lake.kind == "delta":
        rows = lake.delta.to_pyarrow_table()
        shutil.rmtree(lake.home / "sales")
        write_deltalake(lake.home / "sales", rows)
    else:
        rows = lake.iceberg.scan().to_arrow()
        make_catalog(lake.home).drop_table("shop.sales")
        make_catalog(lake.home).create_table("shop.sales", schema=SCHEMA).append(rows)


def write_log_anew(lake: Lake) -> None:
    """A copy of an older table was put back, and other commits got the numbers of those that were read."""
    log = lake.home / "sales" / "_delta_log"
    commits = sorted(log.glob("*.json"))
    for commit in commits[1:]:
        commit.unlink()
    for number in range(len(commits)):
        lake.add((0, f"anew{number}"))


def put_older_copy_back(lake: Lake) -> None:
    for commit in sorted((lake.home / "sales" / "_delta_log").glob("*.json"))[1:]:
        commit.unlink()


GONE: list[tuple[str, Callable[[Lake], None], str]] = [
    ("delta", clean_log, "its log no longer says what version"),
    ("iceberg", clean_log, "snapshots were expired"),
    ("delta", make_anew, "it is another table than the one that was read last"),
    ("iceberg", make_anew, "it is another table than the one that was read last"),
    ("delta", write_log_anew, "is not the one that was read: its log was written anew"),
    ("delta", put_older_copy_back, "it was restored from an older copy"),
]


@pytest.mark.parametrize(("kind", "happens", "told"), GONE, ids=[f"{kind} {do.__name__}" for kind, do, _ in GONE])
def test_where_the_way_from_the_mark_is_gone_the_table_is_read_again_as_far_back_as_meta_takes(
    tmp_path: Path, sandbox: Sandbox, kind: str, happens: Callable[[Lake], None], told: str
) -> None:
    """One sentence says so; late rows are among it, nothing counts twice, no volume gate takes it for a day."""
    lake = Lake(tmp_path, sandbox, kind)
    lake.night.edit(
        "dags/uploads/sales.yml", ("limits:", "gates: {days: 3, volume: {action: stop, max: 150%}}\nlimits:")
    )
    lake.add((-20, "ancient"), (0, "a"), (0, "a2"))
    lake.run(0)
    for number in (1, 2, 3):
        lake.add((number, f"n{number}"), (number, f"m{number}"))
        assert lake.run(number).complete
    if happens in (clean_log, make_anew):
        lake.add((1, "late"), (4, "d"))
        lake.add((4, "e"))
    happens(lake)
    if happens not in (clean_log, make_anew):
        lake.add((4, "d"), (4, "e"), (1, "late"))

    night = lake.run(4)
    lake.add((5, "f"), (5, "g"))
    after = lake.run(5)

    assert any(told in notice for notice in night.report.notices())
    assert night.report.table_line().partition(":")[0].endswith("and again as far back as Meta takes events")
    assert (night.report.gates, night.complete) == ((), True)
    assert (lake.mark.complete.number, after.report.tally.late_rows) == (lake.newest, 0)
    assert all(times == 1 for times in lake.counted.values())
    assert "ancient" not in lake.counted
    assert {"a", "n1", "late", "d", "e", "f"} <= {*lake.counted}


def moves(lake: Lake, do: Callable[[], object]) -> bool:
    before = lake.mark
    do()
    return lake.mark != before


def test_only_a_night_of_all_clients_moves_the_mark(lake: Lake) -> None:
    """Neither a plan, a test event code, some clients, a backfill, a replay nor an older day that is settled."""
    lake.add((0, "a"))
    lake.run(0)
    lake.run(1)
    lake.add((2, "b"), (-1, "late"))
    lake.add((2, "bad"), (-1, "late_bad"), amount="none")
    lake.move_to(lake.at(3))

    stays = {
        "plan": lambda: lake.plan(2),
        "test": lambda: lake.upload(2, test_event_code="TEST1"),
        "clients": lambda: lake.upload(2, clients=["corner_shop"]),
        "backfill": lambda: lake.upload(0, trigger="backfill"),
        "settle": lambda: lake.upload(1, trigger="settle"),
    }
    assert {name: moves(lake, do) for name, do in stays.items()} == dict.fromkeys(stays, False)

    red = lake.run(2)
    assert (balance(red), red.report.status) == ("4 read = 2 already sent + 2 invalid", Status.PARTIAL)
    known = lake.run(3)
    assert (known.complete, known.report.known_lines()) == (
        True,
        [f"2 invalid known since {lake.day(3)}: told then, and they make no later run red"],
    )
    assert lake.mark.complete.number == lake.newest
    lake.night.edit("dags/uploads/sales.yml", ("column: amount, type: number", "constant: 5, type: number"))

    def replayed() -> None:
        with lake.services() as services:
            assert replay_run(red.report.run_id, services).balance == "2 read = 2 sent"

    assert not moves(lake, replayed)
    assert {*lake.counted} == {"a", "b", "late", "bad", "late_bad"}


def test_late_rows_too_old_for_meta_are_told_once(lake: Lake) -> None:
    lake.add((0, "a"))
    lake.run(0)
    lake.add((-9, "too_old"), (1, "b"))
    lake.add((-8, "too_old_too"), (1, "c"))
    second = lake.run(1)
    lake.add((2, "d"))
    third = lake.run(2)

    assert balance(second) == "4 read = 2 sent + 2 expired"
    assert (third.complete, balance(third)) == (True, "1 read = 1 sent")


def test_late_rows_that_are_owed_open_their_day_and_one_that_left_the_table_is_told(lake: Lake) -> None:
    """Rows of a paused client wait for it, those of a refused token for the next night; both with their day."""
    lake.add((0, "a"))
    lake.run(0)
    lake.night.edit("dags/clients.yml", ("    country: NO ", "    active: false\n    country: NO "))
    revoke(lake)
    lake.add((-1, "kept"), (-1, "gone"), (1, "b"))
    lake.add((-2, "paused"), brand="Outlet")
    lake.run(1)
    causes = {day: one.reasons for day, one in lake.days().items()}
    lake.delete("gone")
    grant(lake)
    lake.add((2, "x"))
    second = lake.run(2)
    paused = lake.mark
    lake.night.edit("dags/clients.yml", ("    active: false\n", ""))
    lake.add((3, "c"))
    third = lake.run(3)
    lake.add((4, "d"))
    last = lake.run(4)

    assert causes == {
        lake.day(-2): {"paused_client": 1},
        lake.day(-1): {"client_stopped": 2},
        lake.day(0): {},
        lake.day(1): {"client_stopped": 1},
    }
    assert {one.window.since.date(): dict(one.tally.vanished) for one in second.settled.reports} == {
        lake.day(-1): {"deferred": 1},
        lake.day(1): {},
    }
    assert paused.complete.number != lake.newest
    assert [one.balance for one in third.settled.reports] == ["1 read = 1 sent"]
    assert lake.counted == dict.fromkeys(("a", "b", "x", "c", "d", "kept", "paused"), 1)
    assert {day.state for day in lake.days().values()} == {DayState.COMPLETE}
    assert last.complete
    assert lake.mark.complete.number == lake.newest


@pytest.mark.parametrize("lake", ["delta"], indirect=True)
def test_a_night_in_tasks_reads_late_rows_once_and_moves_the_mark_where_its_books_are_closed(lake: Lake) -> None:
    """As Airflow cuts it; the first task is repeated, while the table goes on."""
    lake.add((0, "a"))
    lake.run(0)
    lake.add((1, "b"), (-1, "late"))
    lake.move_to(lake.at(2))
    with lake.services() as services:
        upload, window = services.deployment.uploads[NAME], Window.of_day(lake.day(1), lake.zone.key)
        run_id = begin_run(upload, window, services, trigger="asset_triggered")
        stage_upload(upload, window, services, run_id)
        lake.add((-2, "later"))
        units = stage_upload(upload, window, services, run_id)
        before = load_mark(services.ledger, NAME)
        for unit in units:
            send_staged(unit, upload, services)
        lake.add((-2, "after"))
        report = reconcile(run_id, upload, services)
        again = reconcile(run_id, upload, services)

    assert (report.balance, report.status) == ("3 read = 3 sent", Status.COMPLETE)
    assert (report.tally.late_rows, again.table_line()) == (2, report.table_line())
    assert before is not None
    assert before.complete.number == 0
    assert (lake.mark.complete.number, lake.newest) == (2, 3)
    lake.add((2, "c"))
    assert lake.run(2).complete
    assert lake.counted == dict.fromkeys(("a", "b", "late", "later", "after", "c"), 1)


def test_of_two_nights_at_once_the_second_moves_nothing(lake: Lake) -> None:
    """What it read is read again, which is harmless; the other way round it would be lost."""
    from offline_capi.ledger import advance_mark
    from offline_capi.model import TableRead

    lake.add((0, "a"))
    lake.run(0)
    before = lake.mark
    lake.add((1, "b"))
    night = lake.run(1)
    stale = TableRead(before, before.complete)

    with lake.services() as services:
        advance_mark(services.ledger, NAME, stale, complete=True, run_id="x", now=lake.now())

    assert lake.mark.complete == night.report.table_read.until  # type: ignore[union-attr]
    assert days_of(lake) == [FIRST, FIRST + timedelta(days=1)]


def days_of(lake: Lake) -> Sequence[date]:
    return [*lake.days()]
