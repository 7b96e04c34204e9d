"""The index of events against a dictionary: whatever is claimed, merged, purged or forgotten, by whichever process."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa

from offline_capi.errors import LedgerError
from offline_capi.ledger import Ledger
from offline_capi.ledger.connection import make_engine, open_transaction
from offline_capi.ledger.index import EventIndex
from offline_capi.ledger.index.filter import KeyFilter, Probe, argsort_keys, split_keys
from offline_capi.ledger.index.segments import (
    BLOCK_ENTRIES,
    FAN_SEGMENTS,
    SMALLEST_SIZE_ENTRIES,
    Entries,
    Segment,
    count_due,
    load_segments,
    read_merged,
    write_segment,
)
from offline_capi.ledger.schema.tables import request, segment, segment_block
from offline_capi.model import list_keys

#: Of the blocks of a segment, those with entries; behind them stand the pieces of its filter.
OF_ENTRIES = segment_block.c.id % 2**24 < 2**23


@pytest.fixture
def connection(ledger_url: str) -> Iterator[sa.Connection]:
    Ledger(ledger_url).close()
    with make_engine(ledger_url).connect() as connection, open_transaction(connection, writes=True):
        yield connection


class Model:
    """What the index should know, and two processes that know it."""

    def __init__(self, connection: sa.Connection, seed: int) -> None:
        self.connection, self.random, self.time = connection, random.Random(seed), 0
        self.owners: dict[bytes, int] = {}
        self.processes = EventIndex(), EventIndex()
        pool = self.random.randbytes(16 * 3000)
        alike = [bytes(8) + number.to_bytes(8, "big") for number in range(300)]  # no digests, but keys all the same
        zeros = [number.to_bytes(4, "big") + bytes(12) for number in range(300)]
        self.pool = [*list_keys(pool), *alike, *zeros]

    def some(self, most: int) -> list[bytes]:
        return self.random.sample(self.pool, self.random.randint(1, most))

    def claim(self) -> None:
        self.time += 1
        keys = self.some(400)
        row = {"id": self.time, "run_id": "r", "sender_id": 0, "client": "c", "pixel": "1", "state": "accepted",
               "offline": False, "events": len(keys), "digest": bytes(32), "posted_at": 1.0,
               "waiting_keys": b"".join(keys)}  # fmt: skip
        self.connection.execute(sa.insert(request).values(row))
        self.owners |= dict.fromkeys(keys, self.time)

    def merge(self) -> None:
        self.random.choice(self.processes).merge(self.connection)

    def forget(self) -> None:
        keys = self.some(30)
        self.random.choice(self.processes).forget(self.connection, keys)
        for key in keys:
            self.owners.pop(key, None)

    def purge(self) -> None:
        ids = range(1, self.random.randint(1, self.time // 2 + 1))  # by age, as it is done
        self.random.choice(self.processes).purge(self.connection, ids)
        self.connection.execute(sa.delete(request).where(request.c.id.in_(ids)))
        self.owners = {key: owner for key, owner in self.owners.items() if owner not in ids}

    def look(self) -> None:
        one = self.random.choice(self.processes)
        one.refresh(self.connection)
        asked = [*self.some(2000), self.random.randbytes(16)]
        found = one.find(self.connection, b"".join(asked))
        ids = self.random.sample(range(1, self.time + 2), self.time // 2 + 1)
        count = Counter(owner for owner in self.owners.values() if owner in ids)

        assert {asked[place]: owner for place, owner in found.items()} == {
            key: self.owners[key] for key in asked if key in self.owners
        }
        assert one.count_events(self.connection, ids) == count


@pytest.mark.parametrize("seed", range(8))
def test_p02_the_index_knows_what_a_dictionary_would_know(connection: sa.Connection, seed: int) -> None:
    model = Model(connection, seed)
    chances = [model.claim] * 6 + [model.merge] * 2 + [model.look] * 4 + [model.forget, model.purge]

    for step in [model.random.choice(chances) for _ in range(120)]:
        step()
    model.look()


def test_an_index_of_many_segments_keeps_few_and_full_blocks(connection: sa.Connection) -> None:
    """Twenty merges of a thousand keys leave one to three segments, and each block but the last is full."""
    index, rng = EventIndex(), np.random.default_rng(1)
    keys = [rng.bytes(16_000) for _ in range(20)]
    for number, some in enumerate(keys):
        model_row = {"id": number + 1, "run_id": "r", "sender_id": 0, "client": "c", "pixel": "1", "state": "accepted",
                     "offline": False, "events": 1000, "digest": bytes(32), "posted_at": 1.0,
                     "waiting_keys": some}  # fmt: skip
        connection.execute(sa.insert(request).values(model_row))
        index.merge(connection)

    sizes = list(connection.scalars(sa.select(segment.c["keys"]).order_by(segment.c.newest)))
    blocks = [
        len(deferred) // 16 for deferred in connection.scalars(sa.select(segment_block.c["keys"]).where(OF_ENTRIES))
    ]
    found = index.find(connection, b"".join(keys))

    assert (sum(sizes), len(sizes) < FAN_SEGMENTS) == (20_000, True)
    assert (sum(blocks), max(blocks)) == (20_000, BLOCK_ENTRIES)
    assert sum(size < BLOCK_ENTRIES for size in blocks) <= len(sizes)
    assert [found[place] for place in range(0, 20_000, 1000)] == list(range(1, 21))


@pytest.mark.parametrize("gone", [OF_ENTRIES, ~OF_ENTRIES, sa.true()], ids=["entries", "filter", "all"])
def test_a_block_that_is_gone_is_told_and_not_taken_for_events_never_sent(
    connection: sa.Connection, gone: sa.ColumnElement[bool]
) -> None:
    model = Model(connection, 1)
    model.claim()
    model.merge()
    connection.execute(sa.delete(segment_block).where(gone))

    def look_up() -> None:
        index = EventIndex()
        index.refresh(connection)
        index.find(connection, next(iter(model.owners)))

    with pytest.raises(LedgerError, match=r"damaged.*backup"):
        look_up()


def of_random_keys(connection: sa.Connection, number: int) -> Segment:
    keys = np.sort(np.frombuffer(np.random.default_rng(2).bytes(16 * number), "S16"))
    return write_segment(connection, [Entries(keys, np.arange(1, number + 1))], number)


@pytest.mark.parametrize("place", ["first", "last", "middle", "everywhere"])
@pytest.mark.parametrize("newer", [True, False])
def test_p02_a_few_keys_are_merged_with_many(connection: sa.Connection, place: str, newer: bool) -> None:
    """Most of the ranges that are merged hold none of the few."""
    begins = {"first": [0] * 5, "last": [255] * 5, "middle": [127] * 5, "everywhere": [0, 60, 120, 180, 255]}[place]
    few = Entries(split_keys(b"".join(bytes([begin, place]) + b"few-keys-of-16" for place, begin in enumerate(begins))),
                  np.full(5, 999_999))  # fmt: skip
    small, large = write_segment(connection, [few], 5), of_random_keys(connection, 262_144)
    assert small is not None

    both = [large, small] if newer else [small, large]
    parts = list(read_merged(connection, both))

    keys, owners = np.concatenate([part.keys for part in parts]), np.concatenate([part.owners for part in parts])
    assert len(parts) == 16
    assert (keys[1:] > keys[:-1]).all()
    assert len(keys) == 262_144 + 5
    assert keys[owners == 999_999].tolist() == few.keys.tolist()
    assert set(owners.tolist()) == {*range(1, 262_145), 999_999}


def test_a_segment_is_written_as_in_every_version(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ledgers are kept for years: another size of a block or a piece, or other marks, and none of them is read.

    The largest number that a segment may get leaves room for all of its blocks in 63 bits.
    """
    monkeypatch.setattr("offline_capi.ledger.index.segments.secrets.randbits", lambda bits: 2**bits - 1)
    keys = split_keys(np.random.default_rng(1).bytes(16 * 70_000))
    entries = Entries(keys[argsort_keys(keys)], np.arange(1, 70_001))

    made = write_segment(connection, [entries.select(slice(0, 321)), entries.select(slice(321, None))], len(keys))

    assert made is not None
    rows = connection.execute(sa.select(segment_block).order_by(segment_block.c.id)).mappings().all()
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['id'] - made.id * 2**24} ".encode() + bytes(row["keys"]) + bytes(row["owners"]))
    assert (made.id, made.keys, made.oldest, made.newest) == (2**39 - 1, 70_000, 1, 70_000)
    assert (len(rows), digest.hexdigest()[:16]) == (222, "1031c907d1f24a2f")


def test_a_filter_of_many_pieces_is_read_as_it_was_written(connection: sa.Connection) -> None:
    made = of_random_keys(connection, 100_000)

    (read,) = load_segments(connection, [made.id])

    assert connection.scalar(sa.select(sa.func.count()).where(~OF_ENTRIES)) == 4
    assert np.array_equal(read.filter.words, made.filter.words)


@pytest.mark.parametrize("place", range(4))
def test_one_piece_of_a_filter_that_is_gone_is_told(connection: sa.Connection, place: int) -> None:
    made = of_random_keys(connection, 100_000)
    connection.execute(sa.delete(segment_block).where(segment_block.c.id % 2**24 == 2**23 + place))

    with pytest.raises(LedgerError, match=r"1 blocks are missing"):
        load_segments(connection, [made.id])


def test_a_filter_that_an_earlier_version_wrote_is_read_from_its_row(connection: sa.Connection) -> None:
    made = of_random_keys(connection, 1_000)
    connection.execute(sa.update(segment).values(filter=made.filter.words.tobytes()))
    connection.execute(sa.delete(segment_block).where(~OF_ENTRIES))

    (read,) = load_segments(connection, [made.id])

    assert np.array_equal(read.filter.words, made.filter.words)


@pytest.mark.parametrize(
    ("sizes", "merged"),
    [
        ([], 0),
        ([10, 10, 10], 0),
        ([10, 10, 10, 10], 4),
        ([SMALLEST_SIZE_ENTRIES, 10, 10, 10], 0),
        ([SMALLEST_SIZE_ENTRIES] * 3 + [10], 0),
        ([SMALLEST_SIZE_ENTRIES] * 4, 4),
        ([SMALLEST_SIZE_ENTRIES] * 4 + [10] * 2, 6),
        ([SMALLEST_SIZE_ENTRIES * FAN_SEGMENTS] * 4, 4),
        ([SMALLEST_SIZE_ENTRIES * FAN_SEGMENTS] * 3 + [SMALLEST_SIZE_ENTRIES] * 3 + [10] * 3, 0),
        ([SMALLEST_SIZE_ENTRIES * FAN_SEGMENTS**2] * 9, 0),
    ],
)
def test_segments_of_a_size_are_merged_and_the_largest_never(sizes: list[int], merged: int) -> None:
    assert count_due(sizes) == merged


def test_a_filter_finds_all_keys_that_it_holds_and_few_others() -> None:
    rng = np.random.default_rng(3)
    deferred, others = (split_keys(rng.bytes(16 * 100_000)) for _ in range(2))
    one = KeyFilter.for_keys(len(deferred))
    one.add(deferred)

    assert len(one.may_hold(Probe.of(deferred))) == len(deferred)
    assert len(one.may_hold(Probe.of(others))) < 0.005 * len(others)


def test_keys_are_ordered_as_their_bytes_are() -> None:
    rng = random.Random(4)
    keys = [bytes(rng.choices((0, 1, 255), k=16)) for _ in range(500)]

    assert split_keys(b"".join(keys))[argsort_keys(split_keys(b"".join(keys)))].tolist() == [
        key.rstrip(b"\0") for key in sorted(keys)
    ]


def test_more_blocks_than_one_statement_names_are_looked_up(connection: sa.Connection) -> None:
    """One key of every third block of a segment, and beside each one that is not there."""
    count = 3 * BLOCK_ENTRIES * 5_000
    keys = np.zeros((count, 2), ">u8")
    keys[:, 0] = np.arange(count, dtype=np.uint64) << np.uint64(40)
    entries = Entries(split_keys(keys.tobytes()), np.arange(1, count + 1))
    made = write_segment(connection, [entries], count)
    asked = entries.keys[:: 3 * BLOCK_ENTRIES]
    others = keys[:: 3 * BLOCK_ENTRIES] + np.array([0, 1], np.uint64)
    both = np.concatenate([asked, split_keys(others.astype(">u8").tobytes())])

    places, owners = made.find(connection, both, Probe.of(both))

    assert places.tolist() == list(range(5_000))
    assert owners.tolist() == list(range(1, count + 1, 3 * BLOCK_ENTRIES))


def test_a_segment_is_written_without_holding_its_entries(connection: sa.Connection) -> None:
    """Forty parts of a megabyte and a half each: what is deferred at once are a few of them, and two bytes an entry."""
    keys = [np.frombuffer(number.to_bytes(4, "big") * 4, "S16").repeat(65_536) for number in range(40)]
    parts = (Entries(some.copy(), np.full(65_536, 1)) for some in keys)
    tracemalloc.start()
    try:
        write_segment(connection, parts, 40 * 65_536)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 24 * 2**20
