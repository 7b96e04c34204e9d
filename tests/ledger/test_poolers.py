"""A ledger behind a pooler that gives each transaction another session: pgbouncer in transaction mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from offline_capi.errors import LedgerBusyError, LedgerError
from offline_capi.ledger import Ledger
from offline_capi.ledger.connection import ADVISORY_LOCK_ID
from offline_capi.model import Fate, Outcome, keys_in
from tests.delivery.sending import WINDOW, batch, ids_of, names
from tests.ledger.test_ledger import START, Desk
from tests.ledger.test_processes import go, heard, process
from tests.support.pgbouncer import SESSIONS


def of_schema(url: str, schema: str) -> str:
    return sa.make_url(url).update_query_dict({"schema": schema}).render_as_string(hide_password=False)


@contextmanager
def plain(url: str) -> Iterator[sa.Connection]:
    """A connection without anything of the ledger's."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={"prepare_threshold": None})
    with engine.connect() as connection:
        yield connection


@pytest.mark.parametrize("schema", [None, "capi"])
def test_nights_behind_a_pooler_remember_each_other(pooled_db: str, schema: str | None) -> None:
    """Each night is a connection of its own, as each process's is: what one prepares, the next would find there."""
    url = of_schema(pooled_db, schema) if schema else pooled_db
    events, desk = batch(names("e", 500), at=0), Desk(url)
    for _ in range(SESSIONS + 2):
        with desk.ledger.journal.claim_together():
            claims = [desk.claim(events.slice(start, 1)) for start in range(20)]
        desk.ledger.journal.record([Outcome(claim.request, Fate.DEFERRED, desk.now) for claim in claims])
        assert set(desk.fates(events).values()) == {None}
        desk.merge()
        desk = desk.next_night()
    desk.post(events, Fate.SENT)
    desk.merge()

    night = desk.next_night()

    assert set(night.fates(events).values()) == {Fate.ALREADY_SENT}
    assert night.ledger.journal.forget(keys_in(events.key_bytes)[:100]) == 100
    assert Counter(night.fates(events).values()) == {None: 100, Fate.ALREADY_SENT: 400}
    assert night.ledger.journal.purge(night.now) == 400
    assert [run.upload for run in night.ledger.runs.list_newest(9)] == ["upload"] * (SESSIONS + 4)


def test_more_processes_than_sessions_claim_every_event_once(pooled_db: str) -> None:
    with ExitStack() as stack:
        many = [stack.enter_context(process(pooled_db, "claim", 600)) for _ in range(SESSIONS + 1)]
        for one in many:
            go(one)

        claimed = Counter(event_id for one in many for event_id in heard(one))

    assert claimed == Counter(names("e", 600))


def test_whoever_waits_for_too_long_is_told_so_and_the_next_waits_as_long_as_it_wants(pooled_db: str) -> None:
    """How long one waits must not stay in the session that another gets."""
    Ledger(pooled_db).close()
    with plain(pooled_db) as holder:
        holder.execute(sa.text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK_ID})"))
        with Ledger(pooled_db, busy_seconds=0.1) as ledger, pytest.raises(LedgerBusyError):
            ledger.runs.begin("upload", WINDOW, trigger="manual", now=START)
        holder.rollback()

    with plain(pooled_db) as one, plain(pooled_db) as other:  # all sessions that there are
        waits = {connection.scalar(sa.text("SHOW lock_timeout")) for connection in (one, other)}
    assert waits == {"0"}


def test_the_schema_of_one_ledger_is_not_left_to_the_next_in_its_session(pooled_db: str) -> None:
    ledgers = [Desk(of_schema(pooled_db, name)) for name in ("one", "two")]
    events = [batch([f"{name}-1"]) for name in ("one", "two")]
    for _ in range(3):
        for desk, own in zip(ledgers, events, strict=True):
            desk.post(own, Fate.SENT)

    found = [[desk.fates(other, run="another") for other in events] for desk in ledgers]

    assert [[list(fates.values()) for fates in of_one] for of_one in found] == [
        [[Fate.ALREADY_SENT], [None]],
        [[None], [Fate.ALREADY_SENT]],
    ]
    with plain(pooled_db) as connection:
        paths = {connection.scalar(sa.text("SHOW search_path"))}
    assert paths == {'"$user", public'}


def test_options_that_a_pooler_does_not_take_are_told_with_what_to_write_instead(pooled_db: str) -> None:
    url = sa.make_url(pooled_db).update_query_dict({"options": "-csearch_path=capi"})

    with pytest.raises(LedgerError, match=r"\?schema=NAME instead"):
        Ledger(url.render_as_string(hide_password=False))


def test_p03_what_a_killed_run_claimed_behind_a_pooler_can_be_sent_again_at_once(pooled_db: str) -> None:
    events = batch(names("e", 100))
    with process(pooled_db, "claim", 100) as other:
        go(other)
        assert len(heard(other)) == 100
        with Ledger(pooled_db) as ledger:
            other.kill()
            other.wait()
            free = ledger.journal.look_up(events, run_id=None, now=datetime.now(UTC)).fresh

    assert sorted(ids_of(free)) == sorted(names("e", 100))
