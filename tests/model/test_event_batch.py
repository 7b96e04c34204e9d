"""What a batch of events says of itself without asking Arrow is what Arrow would say."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.model import EventBatch

TEXTS = st.lists(st.sampled_from(["", "a", "aa", "ü", "physical_store"]), max_size=12)


def batch(texts: list[str], start: int) -> EventBatch:
    """Part of a larger batch, as requests are."""
    table = pa.RecordBatch.from_pydict(
        {
            "client": pa.array(texts, pa.string()),
            "body": pa.array([text.encode() for text in texts], pa.binary()),
            "key": pa.array([f"{i:016}".encode() for i in range(len(texts))], pa.binary(16)),
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
        assert events.has_only("client", text) == all(one == text for one in left)


@given(st.lists(st.tuples(st.sampled_from(["acme", "bank", "ü"]), st.sampled_from(["1", "2"])), max_size=12))
def test_events_apart_are_the_same_events_in_the_order_in_which_their_keys_come(keys: list[tuple[str, str]]):
    """Each part has one key, all of its events, and those in their own order."""
    table = {"client": [client for client, _ in keys], "pixel": [pixel for _, pixel in keys], "at": [*range(len(keys))]}
    table["body"] = [b"{}" * (at % 3) for at in range(len(keys))]
    names = {"client": pa.string(), "pixel": pa.string(), "at": pa.int64(), "body": pa.binary()}

    parts = list(EventBatch(pa.RecordBatch.from_pydict(table, schema=pa.schema(names))).partition_by("client", "pixel"))

    assert [key for key, _ in parts] == list(dict.fromkeys(keys))
    for key, part in parts:
        own = part.events.table
        assert own.column("at").to_pylist() == [at for at, one in enumerate(keys) if one == key]
        assert set(zip(*(own.column(name).to_pylist() for name in ("client", "pixel")), strict=True)) == {key}
        assert (part.rows, part.body_bytes) == (len(own), sum(map(len, own.column("body").to_pylist())))


def test_events_on_disk_are_the_same_and_leave_no_file(tmp_path: Path):
    events = batch(["a", "ü"] * 500, 0)
    with temporary_files_in(tmp_path):
        kept = events.on_disk()

    assert kept.table.equals(events.table)
    assert events.slice(3, 4).copy().table.equals(events.slice(3, 4).table)
    assert list(tmp_path.iterdir()) == []


def test_events_stay_in_memory_where_there_is_no_disk(tmp_path: Path):
    events = batch(["a"], 0)
    with temporary_files_in(tmp_path / "missing"):
        assert events.on_disk() is events


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
