"""Amounts, clocks, other hosts, and databases that do not do what they should."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from offline_capi.errors import LedgerBusyError, LedgerError
from offline_capi.ledger import Claim, Ledger, ddl
from offline_capi.ledger.connection import PAGE_BYTES, make_engine, open_transaction
from offline_capi.ledger.index.recent import MERGE_AT_REQUESTS
from offline_capi.ledger.leases import LEASE_S, Process
from offline_capi.ledger.prepared import IDS_PER_STATEMENT, split_ids
from offline_capi.ledger.schema import VERSION_TABLE
from offline_capi.ledger.schema.tables import metadata, request, sender
from offline_capi.model import EventBatch, Fate, Outcome, Reason, list_keys
from tests.delivery.sending import batch, ids_of, names
from tests.ledger.test_ledger import START, Desk, InTheMiddleError


@pytest.fixture
def desk(ledger_url: str) -> Desk:
    return Desk(ledger_url)


def _sql(url: str, statement: str) -> None:
    with make_engine(url).connect() as connection, open_transaction(connection, writes=True):
        connection.execute(sa.text(statement))


# ---------------------------------------------------------------------------------------------- amounts


def test_more_keys_than_one_statement_takes_are_looked_up(desk: Desk) -> None:
    """Sent ones stand before, at and behind the limit of a statement, as it was once."""
    many = batch(names("e", 65_536 + 500))
    sent = [0, 65_535, 65_536, 66_035]
    for place in sent:
        desk.post(many.slice(place, 1), Fate.SENT)
    desk.merge()

    known = desk.next_night().ledger.journal.look_up(many, run_id=None, now=desk.now)

    assert [(fate, ids_of(events)) for fate, _, events in known.decided] == [
        (Fate.ALREADY_SENT, [f"e-{place}" for place in sent])
    ]
    assert len(known.fresh) == 65_536 + 496


#: Requests of one event each: more than two statements name, fewer than are merged.
MANY = 2 * IDS_PER_STATEMENT + 1
assert MANY < MERGE_AT_REQUESTS


def claim_each(desk: Desk, events: EventBatch) -> list[Claim]:
    """A request for each event, all claimed in one transaction."""
    with desk.ledger.journal.claim_together():
        return [desk.claim(events.slice(place, 1)) for place in range(len(events))]


def post_each(desk: Desk, events: EventBatch, fate: Fate) -> None:
    desk.ledger.journal.record([Outcome(claim.request, fate, desk.now) for claim in claim_each(desk, events)])
    desk.ledger.journal.flush()


def test_p02_events_of_more_requests_than_one_statement_names_are_known(desk: Desk) -> None:
    events = batch(names("e", MANY), at=0)
    post_each(desk, events, Fate.SENT)

    assert Counter(desk.next_night().fates(events).values()) == {Fate.ALREADY_SENT: MANY}


def test_p15_more_requests_of_another_process_than_one_statement_names_are_seen(desk: Desk) -> None:
    """Their keys wait outside the index; those of the first were read before the others came."""
    events, other = batch(names("e", MANY + 1)), Desk(desk.url)
    desk.claim(events.slice(MANY, 1))
    assert other.fates(events.slice(MANY, 1)) == {f"e-{MANY}": Fate.DEFERRED}

    claim_each(desk, events.slice(0, MANY))

    assert Counter(other.fates(events).values()) == {Fate.DEFERRED: MANY + 1}


def test_p16_refused_events_of_more_requests_than_one_statement_names_are_forgotten(desk: Desk) -> None:
    events = batch(names("e", MANY + 1), at=0)
    post_each(desk, events.slice(0, MANY), Fate.REJECTED_BY_META)
    desk.post(events.slice(MANY, 1), Fate.SENT)

    assert desk.ledger.journal.forget(list_keys(events.key_bytes), rejected=True) == MANY
    assert Counter(desk.next_night().fates(events).values()) == {None: MANY, Fate.ALREADY_SENT: 1}


def test_p17_digests_of_more_requests_than_one_statement_names_are_removed(desk: Desk) -> None:
    events = batch(names("e", MANY), at=0)
    post_each(desk, events, Fate.SENT)

    assert desk.ledger.journal.forget(list_keys(events.key_bytes)) == MANY
    desk.ledger.close()

    with make_engine(desk.url).connect() as connection:
        assert {bytes(digest) for digest in connection.scalars(sa.select(request.c.digest))} == {bytes(32)}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6, 7])
def test_parts_of_ids_joined_are_the_ids(count: int) -> None:
    ids = list(range(count, 0, -1))

    parts = list(split_ids(ids, 3))

    assert [one for part in parts for one in part] == sorted(ids)
    assert [len(part) for part in parts[:-1]] == [3] * (len(parts) - 1)
    assert all(0 < len(part) <= 3 for part in parts)


def test_of_claims_in_one_transaction_all_are_there_or_none(desk: Desk) -> None:
    """Nothing of the first ones is left in memory either, such as the sender whose row went with them."""

    def claim_in_vain() -> None:
        with desk.ledger.journal.claim_together():
            desk.claim(batch(["e-1"]))
            desk.claim(batch(["e-2"]))
            raise InTheMiddleError

    with pytest.raises(InTheMiddleError):
        claim_in_vain()
    with desk.ledger.journal.claim_together():
        desk.claim(batch(["e-3"]))
        desk.claim(batch(["e-4"]))

    assert Desk(desk.url).fates(batch(names("e", 5))) == {
        "e-0": None, "e-1": None, "e-2": None, "e-3": Fate.DEFERRED, "e-4": Fate.DEFERRED
    }  # fmt: skip


@pytest.mark.parametrize("fate", [Fate.UNCONFIRMED, Fate.DEFERRED])
def test_p18_a_request_is_taken_apart_while_another_run_writes(desk: Desk, fate: Fate) -> None:
    """Its parts are still its own; what another run took in between is not."""
    whole = desk.claim(batch(names("e", 4)))
    Desk(desk.url).claim(batch(["x", "y"]))
    desk.record(whole, fate)

    part = desk.claim(batch(["e-0", "e-1", "x"]), replaces=whole.request.id)
    rest = desk.claim(batch(["e-2", "e-3"]), replaces=whole.request.id)
    desk.record(part, Fate.SENT)
    desk.record(rest, Fate.DEFERRED)

    assert (ids_of(part.request.events), ids_of(part.lost)) == (["e-0", "e-1"], ["x"])
    assert (ids_of(rest.request.events), ids_of(rest.lost)) == (["e-2", "e-3"], [])
    assert desk.next_night(hours=49).fates(batch(names("e", 4))) == {
        "e-0": Fate.ALREADY_SENT, "e-1": Fate.ALREADY_SENT, "e-2": Fate.UNCONFIRMED, "e-3": Fate.UNCONFIRMED
    }  # fmt: skip


def test_no_events_are_no_trouble(desk: Desk) -> None:
    nothing = batch([])

    assert len(desk.ledger.journal.look_up(nothing, run_id=None, now=desk.now).fresh) == 0
    assert len(desk.claim(nothing).request) == 0
    assert desk.ledger.journal.purge(desk.now) == 0


def test_an_event_that_stands_twice_in_a_request_is_known_once(desk: Desk) -> None:
    desk.post(batch(["e-1", "e-2", "e-1"]), Fate.SENT)
    desk.merge()

    night = desk.next_night()

    assert night.fates(batch(["e-1", "e-2"])) == dict.fromkeys(["e-1", "e-2"], Fate.ALREADY_SENT)
    assert night.ledger.journal.purge(night.now + timedelta(days=1)) == 2


def test_requests_made_in_the_same_instant_have_ids_of_their_own(desk: Desk) -> None:
    ids = [desk.claim(batch([event_id])).request.id for event_id in names("e", 50)]

    assert len(set(ids)) == 50
    assert ids == sorted(ids, key=int)


# ---------------------------------------------------------------------------------------------- clocks and hosts


def test_p15_a_run_whose_clock_is_an_hour_slow_is_met_all_the_same(desk: Desk) -> None:
    """Ids tell who came later, not clocks."""
    slow = Desk(desk.url, START - timedelta(hours=1))
    slow.claim(batch(["e-0"]))
    late = Desk(desk.url, START)
    assert late.fates(batch(names("e", 3))) == {"e-0": Fate.DEFERRED, "e-1": None, "e-2": None}

    slow.claim(batch(["e-1"]))
    claimed = late.claim(batch(["e-1", "e-2"]))

    assert (ids_of(claimed.request.events), ids_of(claimed.lost)) == (["e-2"], ["e-1"])


@pytest.mark.parametrize("alive", [True, False])
def test_p03_a_run_on_another_host_holds_its_events_as_long_as_it_says_that_it_lives(desk: Desk, alive: bool) -> None:
    """One request may take longer than a lease."""
    desk.claim(batch(["e-1"]))
    _sql(desk.url, "UPDATE sender SET host = 'elsewhere'")
    for _ in range(4):
        desk.now += timedelta(seconds=LEASE_S / 2)
        if alive:
            desk.ledger.journal.keep_alive()

    here = Desk(desk.url, desk.now)

    assert here.fates(batch(["e-1"])) == {"e-1": Fate.DEFERRED if alive else None}


def test_a_lease_holds_for_two_minutes_and_is_renewed_when_a_third_of_it_is_over(desk: Desk) -> None:
    desk.claim(batch(["e-1"]))
    until = []

    for seconds in (0, 40, 41, 42):
        desk.now = START + timedelta(seconds=seconds)
        desk.ledger.journal.keep_alive()
        ((moment,),) = desk.ledger.read(sa.select(sender.c.lease_until))
        until.append(moment - START.timestamp())

    assert until == [120, 120, 161, 161]


def test_outcomes_do_not_wait_for_a_request_that_takes_minutes(desk: Desk) -> None:
    claimed = desk.claim(batch(["e-1"]))
    desk.ledger.journal.record([Outcome(claimed.request, Fate.SENT, desk.now)])

    before = Desk(desk.url).fates(batch(["e-1"]))
    desk.ledger.journal.keep_alive()

    assert (before, Desk(desk.url).fates(batch(["e-1"]))) == ({"e-1": Fate.DEFERRED}, {"e-1": Fate.ALREADY_SENT})


def test_an_outcome_waits_for_the_next_claim_for_a_second(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    started, passed = time.monotonic(), 0.0
    monkeypatch.setattr("offline_capi.ledger.journal.time.monotonic", lambda: started + passed)
    claims = [desk.claim(batch([name])) for name in names("e", 2)]

    desk.ledger.journal.record([Outcome(claims[0].request, Fate.SENT, desk.now)])
    early = Desk(desk.url).fates(batch(["e-0"]))
    passed = 1.1
    desk.ledger.journal.record([Outcome(claims[1].request, Fate.SENT, desk.now)])

    assert early == {"e-0": Fate.DEFERRED}
    assert Desk(desk.url).fates(batch(names("e", 2))) == dict.fromkeys(names("e", 2), Fate.ALREADY_SENT)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_process_that_nobody_has_buried_is_dead() -> None:
    """A container without an init collects no exit codes."""
    with subprocess.Popen(["sleep", "60"]) as child:
        started = Path(f"/proc/{child.pid}/stat").read_text().split()[21]
        process = Process(Process.current().host, child.pid, started)
        lives = process.is_alive(0.1, 1e12)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert (lives, process.is_alive(1e12, 1.0)) == (True, False)


OTHER_KERNEL = "0c3e9d1a-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    "host",
    [
        f"{socket.gethostname()} {OTHER_KERNEL} pid:[4026531836]",
        Process.current().host.replace("pid:[", "pid:[1"),
        socket.gethostname(),
        "",
    ],
    ids=["another machine of this name", "another container of this name", "an earlier version", "no name"],
)
@pytest.mark.parametrize("pid", [os.getpid(), 2**22 + 1], ids=["a number that lives here", "a number that is free"])
def test_p15_of_a_process_that_another_kernel_counts_the_lease_decides(desk: Desk, host: str, pid: int) -> None:
    """Machines and containers may share a name; each has processes of its own with the same numbers."""
    desk.claim(batch(["e-1"]))
    _sql(desk.url, f"UPDATE sender SET host = '{host}', pid = {pid}")

    while_it_holds = Desk(desk.url, desk.now + timedelta(seconds=LEASE_S - 1)).fates(batch(["e-1"]))
    when_it_is_over = Desk(desk.url, desk.now + timedelta(seconds=LEASE_S + 1)).fates(batch(["e-1"]))

    assert (while_it_holds, when_it_is_over) == ({"e-1": Fate.DEFERRED}, {"e-1": None})


@pytest.mark.parametrize(
    ("pid", "started", "alive"),
    [(os.getpid(), Process.current().started, True), (os.getpid(), "1", False), (2**22 + 1, "1", False)],
    ids=["lives", "a later one of its number", "gone"],
)
def test_p03_of_its_own_processes_a_kernel_knows_whatever_the_lease_says(
    desk: Desk, pid: int, started: str, alive: bool
) -> None:
    """2**22 is the highest number that Linux gives a process."""
    desk.claim(batch(["e-1"]))
    _sql(desk.url, f"UPDATE sender SET pid = {pid}, pid_started = '{started}'")

    fates = [Desk(desk.url, desk.now + timedelta(seconds=after)).fates(batch(["e-1"])) for after in (1, LEASE_S + 1)]

    assert fates == [{"e-1": Fate.DEFERRED if alive else None}] * 2


def test_what_a_process_is_known_by_fits_into_its_columns() -> None:
    """The longest name of a host has 64 letters, the largest number of a namespace 10."""
    own = Process.current()

    assert len(own.host) - len(socket.gethostname()) + 64 <= 120
    assert own.host.endswith(Path("/proc/self/ns/pid").readlink().name)
    assert Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() in own.host


def test_p03_what_a_closed_ledger_left_unanswered_is_free_though_its_process_lives_on(desk: Desk) -> None:
    """A notebook after Ctrl-C: the next run settles what the interrupted one left."""
    desk.claim(batch(["e-1"]))

    night = desk.next_night(hours=0)

    assert night.fates(batch(["e-1"])) == {"e-1": None}
    assert night.ledger.read(sa.select(sender.c.lease_until)) == [(0.0,)]  # as in every version


def test_p03_a_doubt_that_arose_after_the_look_up_is_remembered_by_the_claim(desk: Desk) -> None:
    """Meta counts from the first receipt, whichever run it came from."""
    night = Desk(desk.url, START + timedelta(hours=40))
    assert night.fates(batch(["e-1"])) == {"e-1": None}
    desk.post(batch(["e-1"]), Fate.UNCONFIRMED)

    night.post(batch(["e-1"]), Fate.UNCONFIRMED)

    assert night.next_night(hours=40).fates(batch(["e-1"])) == {"e-1": Fate.UNCONFIRMED}


def test_a_refusal_without_a_code_has_a_reason(desk: Desk) -> None:
    desk.post(batch(["e-1"], at=0), Fate.REJECTED_BY_META)

    ((_, reason, _),) = (
        desk.next_night().ledger.journal.look_up(batch(["e-1"], at=0), run_id=None, now=desk.now).decided
    )

    assert reason is Reason.NOT_COUNTED


def test_a_mixed_request_has_the_shorter_of_the_two_windows(desk: Desk) -> None:
    mixed = [batch(["e-1"], action_source="physical_store"), batch(["e-2"])]
    desk.post(_joined(mixed), Fate.UNCONFIRMED)

    fates = desk.next_night(hours=49).fates(_joined(mixed))

    assert fates == {"e-1": Fate.UNCONFIRMED, "e-2": Fate.UNCONFIRMED}


def _joined(batches: list[EventBatch]) -> EventBatch:
    return EventBatch(pa.concat_batches([one.table for one in batches]))


# ---------------------------------------------------------------------------------------------- purge


def test_a_request_of_the_very_moment_is_kept(desk: Desk) -> None:
    desk.post(batch(["e-1"]), Fate.SENT)

    assert desk.ledger.journal.count_before(desk.now) == desk.ledger.journal.purge(desk.now) == 0
    assert desk.ledger.journal.count_before(desk.now + timedelta(microseconds=1)) == 1
    assert desk.ledger.journal.purge(desk.now + timedelta(microseconds=1)) == 1


def test_senders_are_forgotten_with_their_last_request(desk: Desk) -> None:
    desk.post(batch(["e-1"]), Fate.SENT)
    night = desk.next_night(hours=24 * 80)
    night.post(batch(["e-2"]), Fate.SENT)

    night.ledger.journal.purge(night.now - timedelta(days=70))

    engine = make_engine(desk.url)
    with engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT run_id FROM sender")).all() == [night.run]


# ---------------------------------------------------------------------------------------------- databases


def test_an_outcome_that_could_not_be_written_is_written_when_the_ledger_is_free_again(ledger_url: str) -> None:
    desk = Desk(ledger_url)
    desk.ledger.close()
    desk.ledger = Ledger(ledger_url, clock=lambda: START.timestamp(), busy_seconds=0.1)
    claimed = desk.claim(batch(["e-1"]))
    desk.ledger.journal.record([Outcome(claimed.request, Fate.SENT, START)])
    held = make_engine(ledger_url).connect()
    with held as holder, open_transaction(holder, writes=True), pytest.raises(LedgerBusyError):
        desk.ledger.journal.flush()

    assert desk.next_night().fates(batch(["e-1"])) == {"e-1": Fate.ALREADY_SENT}


def test_a_postgresql_ledger_made_from_the_sql_for_dbas_can_be_used(postgres_db: str) -> None:
    with make_engine(postgres_db).connect() as connection:
        connection.exec_driver_sql(ddl())
        connection.commit()
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        differences = compare_metadata(context, metadata)

    desk = Desk(postgres_db)
    desk.post(batch(["e-1"]), Fate.SENT)

    assert differences == []
    assert desk.next_night().fates(batch(["e-1"])) == {"e-1": Fate.ALREADY_SENT}


def test_a_ledger_that_may_only_be_read_can_be_read_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Desk(f"sqlite:///{path}").next_night().ledger.close()

    with Ledger(f"sqlite:///file:{path}?mode=ro&uri=true") as ledger:
        assert len(ledger.runs.list_newest(5)) == 2
        with pytest.raises(LedgerError, match="readonly"):
            ledger.runs.begin("upload", ledger.runs.list_newest(1)[0].window, trigger="manual", now=START)

    assert not Path("file:").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(LedgerError, match="file/ledger"):
        Ledger(f"sqlite:///{tmp_path / 'file' / 'ledger' / 'ledger.db'}")


def test_p09_a_login_that_fails_is_told_without_its_password(postgres_db: str) -> None:
    url = sa.make_url(postgres_db).set(password="sesame")

    with pytest.raises(LedgerError, match="password authentication failed") as failed:
        Ledger(url.render_as_string(hide_password=False))

    assert "sesame" not in str(failed.value)
    assert failed.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://127.0.0.1:1/ledger?user=someone&password=sesame&connect_timeout=2",
        "postgresql://someone:sesame@127.0.0.1:sesame/ledger",
        "postgresql://someone:open/sesame@127.0.0.1:1/ledger",
    ],
)
def test_p09_a_password_in_an_odd_place_is_not_told_either(url: str) -> None:
    with pytest.raises(LedgerError) as failed:
        Ledger(url)

    assert "sesame" not in str(failed.value)


@pytest.mark.parametrize(("seconds", "waits_ms"), [(1.5, 1500), (None, 60_000)])
def test_a_sqlite_ledger_syncs_each_commit_and_is_read_beside_a_writer(
    tmp_path: Path, seconds: float | None, waits_ms: int
) -> None:
    names = ("journal_mode", "synchronous", "cache_size", "busy_timeout", "page_size")

    with make_engine(f"sqlite:///{tmp_path / 'ledger.db'}", busy_seconds=seconds).connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert found == ["wal", 2, -16_384, waits_ms, 16_384]


@pytest.mark.parametrize("pages", [4096, None])
def test_a_new_sqlite_ledger_has_large_pages_and_an_old_one_keeps_its_own(tmp_path: Path, pages: int | None) -> None:
    file = tmp_path / "ledger.db"
    if pages:
        with closing(sqlite3.connect(file)) as old:
            old.executescript(f"PRAGMA page_size={pages}; CREATE TABLE other (x)")
    with Ledger(f"sqlite:///{file}") as ledger:
        assert ledger.runs.list_newest(1) == []

    with closing(sqlite3.connect(file)) as plain:
        assert plain.execute("PRAGMA page_size").fetchone() == (pages or PAGE_BYTES,)


def test_a_new_ledger_is_opened_without_alembic(ledger_url: str) -> None:
    code = f"import sys; from offline_capi.ledger import Ledger; Ledger({ledger_url!r}).close(); print(*sys.modules)"

    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "sqlalchemy" in finished.stdout.split()
    assert "alembic" not in finished.stdout.split()
