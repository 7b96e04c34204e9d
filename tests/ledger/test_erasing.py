"""Events are taken out of the ledger, on each database, and out of SQLite's file to the last byte."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from offline_capi.config.client import Client
from offline_capi.ledger import Ledger, find_purge_date
from offline_capi.ledger.queries import LONGEST_EVENT_AGE, PURGE_MARGIN
from offline_capi.ledger.schema.tables import request, segment, segment_block
from offline_capi.model import Fate
from tests.delivery.sending import batch, names
from tests.ledger.test_ledger import START, Desk


@pytest.fixture
def desk(ledger_url: str) -> Desk:
    return Desk(ledger_url)


@pytest.mark.parametrize("merge", [True, False])
def test_p17_a_forgotten_event_is_one_that_was_never_sent(desk: Desk, merge: bool) -> None:
    """Whether its key stands in the index or still waits in its request; others stay known."""
    events = batch(names("e", 20))
    desk.post(events, Fate.SENT)
    if merge:
        desk.merge()

    forgotten = desk.ledger.journal.forget(events.slice(3, 2).table.column("key").to_pylist())
    again = desk.ledger.journal.forget(events.slice(3, 2).table.column("key").to_pylist())

    fates = desk.next_night().fates(events)
    assert (forgotten, again) == (2, 0)
    assert {name for name, fate in fates.items() if fate is None} == {"e-3", "e-4"}


def test_p17_no_column_of_any_table_holds_a_forgotten_key(desk: Desk) -> None:
    """The digest of a request that held one event alone is a fingerprint of that event: it goes too."""
    crowd, alone = batch(names("crowd", 30)), batch(["alone"], at=0)
    desk.post(crowd, Fate.SENT)
    desk.post(alone, Fate.REJECTED_BY_META)
    digest = _digests_of_one(desk.url)
    keys = [alone.table.column("key")[0].as_py(), crowd.table.column("key")[7].as_py()]

    desk.ledger.journal.forget(keys)
    desk.ledger.close()

    held = _all_bytes(desk.url)
    assert len(digest) == 1
    assert not [key for key in (*keys, *digest) if any(key in value for value in held)]
    assert any(crowd.table.column("key")[8].as_py() in value for value in held)


def _digests_of_one(url: str) -> list[bytes]:
    with sa.create_engine(_driver(url)).connect() as connection:
        found = connection.scalars(sa.select(request.c.digest).where(request.c.events == 1))
        return [bytes(digest) for digest in found]


def _all_bytes(url: str) -> list[bytes]:
    with sa.create_engine(_driver(url)).connect() as connection:
        rows = [row for table in (segment, segment_block, request) for row in connection.execute(sa.select(table))]
    return [bytes(value) for row in rows for value in row if isinstance(value, (bytes, memoryview))]


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def test_p17_no_page_of_sqlite_keeps_a_forgotten_key(tmp_path: Path) -> None:
    """Merging moved keys from page to page and freed blobs that held them; the log had them all as well."""
    desk = Desk(f"sqlite:///{tmp_path / 'ledger.db'}")
    events = [batch(names(f"b{i}", 3000)) for i in range(3)]
    for some in events:
        desk.post(some, Fate.SENT)
        desk.merge()
    keys = [key for some in events for key in some.slice(0, 50).table.column("key").to_pylist()]
    before = _seen(tmp_path, keys)

    desk.ledger.journal.forget(keys)
    without = _seen(tmp_path, keys)
    scrubbed = desk.ledger.journal.scrub()

    assert before == len(keys)
    assert without > 0  # deleting alone leaves bytes behind
    assert (scrubbed, _seen(tmp_path, keys)) == (True, 0)
    assert set(desk.next_night().fates(events[0].slice(50, 2950)).values()) == {Fate.ALREADY_SENT}


def _seen(folder: Path, keys: list[bytes]) -> int:
    data = b"".join(path.read_bytes() for path in folder.glob("ledger.db*"))
    return sum(key in data for key in keys)


def test_a_process_that_reads_keeps_the_file_from_being_scrubbed_and_that_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    desk = Desk(url)
    desk.post(batch(names("e", 10)), Fate.SENT)
    reader = sqlite3.connect(tmp_path / "ledger.db")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM request").fetchall()
    desk.ledger.close()

    with Ledger(url, busy_seconds=0.1) as ledger:
        during = ledger.journal.scrub()
        reader.close()
        after = ledger.journal.scrub()

    assert (during, after) == (False, True)


def test_p16_refused_events_are_set_free_and_sent_ones_are_not(desk: Desk) -> None:
    sent, refused = batch(names("sent", 3)), batch(["refused"], at=0)
    desk.post(sent, Fate.SENT)
    desk.post(refused, Fate.REJECTED_BY_META)
    keys = [*sent.table.column("key").to_pylist(), *refused.table.column("key").to_pylist()]

    freed = desk.ledger.journal.forget(keys, rejected=True)

    night = desk.next_night()
    assert freed == 1
    assert set(night.fates(sent).values()) == {Fate.ALREADY_SENT}
    assert night.fates(refused) == {"refused": None}


# ---------------------------------------------------------------------------------------------- purge


def test_a_purge_forgets_no_event_that_could_still_be_sent(desk: Desk) -> None:
    """An event cannot be posted before it happened: each is posted at that very moment here, the worst there is."""
    ages = (80, 71, 69, 63, 62, 61, 40, 7, 1, 0)
    for age in ages:
        desk.now = START - timedelta(days=age)
        desk.post(batch([f"days-{age}"], at=age), Fate.SENT)
    desk.now = START

    forgotten = desk.ledger.journal.purge(find_purge_date(START))

    fates = desk.next_night(hours=0).fates(batch([f"days-{age}" for age in ages], at=1))
    known = {age for age in ages if fates[f"days-{age}"] is not None}
    assert forgotten == 2
    assert {age for age in ages if age <= LONGEST_EVENT_AGE.days} <= known
    assert known == {age for age in ages if age <= (LONGEST_EVENT_AGE + PURGE_MARGIN).days}


def test_a_client_with_a_longer_window_keeps_the_memory_longer() -> None:
    client = Client.model_validate({"pixel_id": "12345", "token": {"env": "T"}, "physical_store_max_age": "90d"})

    assert find_purge_date(START, [client]) == START - timedelta(days=90) - PURGE_MARGIN
    assert find_purge_date(START) == START - LONGEST_EVENT_AGE - PURGE_MARGIN
