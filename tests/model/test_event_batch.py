"""What a batch of events says of itself without asking Arrow is what Arrow would say."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.model import EventBatch, Spool, SpooledEvents

TEXTS = st.lists(st.sampled_from(["", "a", "aa", "ü", "physical_store"]), max_size=12)


def batch(texts: list[str], start: int) -> EventBatch:
    """Part of a larger batch, as requests are."""
    table = pa.RecordBatch.from_pydict(
        {
            "client": pa.array(texts, pa.string()),
            "key": pa.array([f"{i:016}".encode() for i in range(len(texts))], pa.binary(16)),
            "body": pa.array([text.encode() for text in texts], pa.binary()),
        }
    )
    return EventBatch(table).slice(start, len(texts))


@given(TEXTS, st.integers(0, 4))
def test_bytes_keys_and_equal_columns(texts: list[str], start: int):
    events = batch(texts, min(start, len(texts)))
    left = texts[start:] if start < len(texts) else []

    assert bytes(events.get_bytes("body")) == "".join(left).encode()
    assert events.body_bytes == (pc.sum(pc.binary_length(events.table.column("body"))).as_py() or 0)
    assert events.keys == events.table.column("key").to_pylist()
    for text in ("", "a", "ü", "physical_store"):
        assert (events.find_common("client") == text) == (bool(left) and all(one == text for one in left))


@given(TEXTS, st.integers(0, 12), st.integers(0, 12), st.integers(0, 12))
def test_what_is_worked_out_for_a_batch_holds_for_its_slices(texts: list[str], start: int, more: int, length: int):
    """A slice of a slice too; and it is worked out once."""
    calls: list[int] = []

    def number(events: EventBatch) -> list[int]:
        calls.append(len(events))
        return list(range(len(events)))

    whole = batch(texts, 0)
    part = whole.slice(min(start, len(texts)), len(texts))
    part = part.slice(min(more, len(part)), min(length, len(part) - min(more, len(part))))

    assert part.derive(number) == list(range(len(texts)))[start:][more:][:length]
    assert whole.derive(number) == list(range(len(texts)))
    assert calls == [len(texts)]
    left = texts[start:][more:][:length]
    assert part.find_common("client") == (left[0] if len({*left}) == 1 else None)


def test_a_slice_is_pickled_without_the_batch_that_it_was_cut_from():
    whole = batch(["a"] * 1000, 0)
    part = whole.slice(2, 3)
    part.derive(lambda events: [object()] * len(events))  # could not be pickled

    copied = pickle.loads(pickle.dumps(part))

    assert copied.table.equals(part.table)
    assert copied.slice(1, 1).derive(lambda events: ["x"] * len(events)) == ["x"]


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(0, 8))
def test_no_event_is_older_than_the_earliest(times: list[int], start: int):
    whole = EventBatch(pa.RecordBatch.from_pydict({"event_time": pa.array(times, pa.int64())}))
    part = whole.slice(min(start, len(times)), len(times))

    assert whole.find_earliest() == min(times, default=None)
    assert all(time >= (part.find_earliest() or 0) for time in times[start:])


@given(st.lists(st.tuples(st.sampled_from(["acme", "bank", "ü"]), st.sampled_from(["1", "2"])), max_size=12))
def test_events_apart_are_the_same_events_in_the_order_in_which_their_keys_come(keys: list[tuple[str, str]]):
    """Each part has one key, all of its events, and those in their own order."""
    table = {"client": [client for client, _ in keys], "pixel": [pixel for _, pixel in keys], "at": [*range(len(keys))]}
    table["body"] = [b"{}" * (at % 3) for at in range(len(keys))]
    names = {"client": pa.string(), "pixel": pa.string(), "at": pa.int64(), "body": pa.binary()}

    events = EventBatch(pa.RecordBatch.from_pydict(table, schema=pa.schema(names)))
    parts = list(events.partition_by("client", "pixel"))

    assert [key for key, _ in parts] == list(dict.fromkeys(keys))
    for key, part in parts:
        own = part.events.table
        assert own.column("at").to_pylist() == [at for at, one in enumerate(keys) if one == key]
        assert set(zip(*(own.column(name).to_pylist() for name in ("client", "pixel")), strict=True)) == {key}
        assert (part.rows, part.body_bytes) == (len(own), sum(map(len, own.column("body").to_pylist())))
    together = len(list(groupby(keys))) == len(set(keys))
    assert all((part.batch is events) == together for _, part in parts)  # not copied where they stand together already

    order = events.find_order_by("client")
    clients = [client for client, _ in keys]
    in_order = sorted(range(len(keys)), key=lambda at: clients.index(clients[at]))
    assert (list(range(len(keys))) if order is None else order.tolist()) == in_order
    assert (order is None) == (in_order == list(range(len(keys))))


def test_events_in_the_spool_are_the_same_and_leave_no_file(tmp_path: Path):
    with temporary_files_in(tmp_path):
        spool = Spool()
        spool.put(batch(["before"], 0))
        for events in (batch(["a", "ü"] * 500, 0), batch(["a", "", "ü"], 1), batch([], 0), batch(["b"], 0).slice(1, 0)):
            kept = spool.put(events)

            assert isinstance(kept, SpooledEvents)
            assert (len(kept), kept.body_bytes) == (len(events), events.body_bytes)
            whole = kept.slice(0, len(kept)).table
            assert whole.to_pydict() == events.table.to_pydict()
            assert whole.schema.types == events.table.schema.types
            start = min(1, len(events))
            assert kept.slice(start, 1).table.to_pydict() == events.slice(start, 1).table.to_pydict()
            whole.validate(full=True)

        assert list(tmp_path.iterdir()) == []


def test_space_of_the_spool_is_free_when_its_events_have_been_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("offline_capi.model.spool.MAX_FILE_BYTES", 3)
    with temporary_files_in(tmp_path):
        spool = Spool()
        first, second, third = (spool.put(batch(["ab", "c"], 0)) for _ in range(3))
        assert isinstance(first, SpooledEvents)
        assert isinstance(second, SpooledEvents)
        number, other = first.file.fileno(), second.file.fileno()
        assert number != other  # the first file was full
        del first, second

        for closed in (number, other):
            with pytest.raises(OSError, match="descriptor"):
                os.fstat(closed)
        assert third.slice(0, 2).table.column("body").to_pylist() == [b"ab", b"c"]


def test_a_file_that_ends_too_early_is_no_event(tmp_path: Path):
    with temporary_files_in(tmp_path):
        kept = Spool().put(batch(["abc", "d"], 0))
        assert isinstance(kept, SpooledEvents)
        os.ftruncate(kept.file.fileno(), 2)

        with pytest.raises(OSError, match="2 bytes too early"):
            kept.slice(0, 2)


def test_events_stay_in_memory_where_there_is_no_disk(tmp_path: Path):
    events = batch(["a"], 0)
    with temporary_files_in(tmp_path / "missing"):
        assert Spool().put(events) is events


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
