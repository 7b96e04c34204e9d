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

from offline_capi.model import EventBatch, EventPart, Spool, SpooledEvents, join_event_parts

TEXTS = st.lists(st.sampled_from(["", "a", "aa", "ü", "physical_store"]), max_size=12)


def batch(texts: list[str], start: int) -> EventBatch:
    """Part of a larger batch, as requests are. Where texts are short, all events have the same currency, or none."""
    lengths = [len(text) for text in texts]
    table = pa.RecordBatch.from_pydict(
        {
            "client": pa.array(texts, pa.string()),
            "currency": pa.array([("EUR", None, "USD", "JPY")[length % 4] for length in lengths], pa.string()),
            "value": pa.array([float(length) or None for length in lengths]),
            "event_id": pa.array([f"id {text}" for text in texts], pa.string()),
            "key": pa.array([f"{i:016}".encode() for i in range(len(texts))], pa.binary(16)),
            "body": pa.array([text.encode() for text in texts], pa.binary()),
        },
        schema=pa.schema(
            [
                *(("client", pa.string()), ("currency", pa.string()), ("value", pa.float64())),
                *(("event_id", pa.string()), ("key", pa.binary(16)), pa.field("body", pa.binary(), nullable=False)),
            ]
        ),
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
def test_events_apart_are_the_same_events_in_the_order_of_their_keys(keys: list[tuple[str, str]]):
    """Each part has one key, all of its events, and those in their own order; where they stand together, as they do."""
    table = {"client": [client for client, _ in keys], "pixel": [pixel for _, pixel in keys], "at": [*range(len(keys))]}
    table["body"] = [b"{}" * (at % 3) for at in range(len(keys))]
    names = {"client": pa.string(), "pixel": pa.string(), "at": pa.int64(), "body": pa.binary()}

    events = EventBatch(pa.RecordBatch.from_pydict(table, schema=pa.schema(names)))
    parts = list(events.partition_by("client", "pixel"))

    together = len(list(groupby(keys))) == len(set(keys))
    assert [key for key, _ in parts] == (list(dict.fromkeys(keys)) if together else sorted(set(keys)))
    for key, part in parts:
        own = part.events.table
        assert own.column("at").to_pylist() == [at for at, one in enumerate(keys) if one == key]
        assert set(zip(*(own.column(name).to_pylist() for name in ("client", "pixel")), strict=True)) == {key}
        assert (part.rows, part.body_bytes) == (len(own), sum(map(len, own.column("body").to_pylist())))
    assert all((part.batch is events) == together for _, part in parts)  # not copied where they stand together already

    order = events.find_order_by("client")
    clients = [client for client, _ in keys]
    apart = len(list(groupby(clients))) > len(set(clients))
    assert (None if order is None else order.tolist()) == (
        sorted(range(len(keys)), key=lambda at: clients[at]) if apart else None
    )


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


@pytest.mark.parametrize("kernel", ["on", "off"])
@given(
    data=st.data(),
    stored=st.lists(st.lists(st.text(max_size=3), min_size=1, max_size=6), min_size=1, max_size=3),
    on_disk=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_parts_joined_are_their_events_one_after_the_other(
    kernel: str, data: st.DataObject, stored: list[list[str]], on_disk: list[bool]
):
    """Whatever stands together in a file is read in one go, and each event comes to its place."""
    spool, parts, texts = Spool(), list[EventPart](), list[list[str]]()
    for own, spooled in zip(stored, on_disk, strict=False):
        whole = batch(own, 0)
        cuts = sorted(data.draw(st.sets(st.integers(1, len(own) - 1), max_size=4))) if len(own) > 1 else []
        cut = [
            EventPart(whole, start, stop - start, whole.slice(start, stop - start).body_bytes)
            for start, stop in zip([0, *cuts], [*cuts, len(own)], strict=True)
        ]
        parts += spool.put_parts(cut) if spooled else cut
        texts += [own[part.start : part.start + part.rows] for part in cut]
    chosen = data.draw(st.permutations(range(len(parts))))[: data.draw(st.integers(1, len(parts)))]

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OFFLINE_CAPI_KERNEL", kernel)
        joined = join_event_parts([parts[at] for at in chosen])

    joined.table.validate(full=True)
    wanted = batch([text for at in chosen for text in texts[at]], 0).table
    assert joined.table.schema == wanted.schema
    assert joined.table.drop_columns(["key"]).to_pydict() == wanted.drop_columns(["key"]).to_pydict()


@pytest.mark.parametrize("kernel", ["on", "off"])
def test_more_parts_stand_together_than_one_system_call_reads_into(monkeypatch: pytest.MonkeyPatch, kernel: str):
    monkeypatch.setenv("OFFLINE_CAPI_KERNEL", kernel)
    texts = [f"{number:04}" for number in range(1100)]
    whole = batch(texts, 0)
    parts = Spool().put_parts([EventPart(whole, at, 1, 4) for at in range(len(texts))])

    assert join_event_parts(parts).table.column("body").to_pylist() == [text.encode() for text in texts]


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


@pytest.mark.parametrize("kernel", ["on", "off"])
def test_a_file_that_ends_too_early_is_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str):
    monkeypatch.setenv("OFFLINE_CAPI_KERNEL", kernel)
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
