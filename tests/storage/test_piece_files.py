"""Files of pieces: whatever the recipients and however they were cut, keys come in order and events by recipient."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.events import EVENT_SCHEMA
from offline_capi.model import EventBatch
from offline_capi.storage.piece_files import (
    PREPARATION,
    PieceFile,
    PieceManifest,
    read_piece_events,
    read_piece_keys,
    split_by_recipient,
)

RECIPIENTS = [f"client{number:02}" for number in range(30)] + ["client03@9"]
NOTE = f"{PREPARATION}carried em"


def _events(recipients: Sequence[str], first_row: int = 1) -> pa.RecordBatch:
    fixed = {
        "origin": "a.csv",
        "pixel": "1234567890",
        "event_name": "Lead",
        "event_time": 1,
        "day": date(2026, 11, 23),
        "action_source": "chat",
        "body": b"{}",
    }
    rows = [
        {
            **fixed,
            "row": first_row + at,
            "event_id": str(at),
            "client": name,
            "key": (first_row + at).to_bytes(16, "big"),
        }
        for at, name in enumerate(recipients)
    ]
    batch = pa.RecordBatch.from_pylist(rows, EVENT_SCHEMA)
    return batch.append_column(NOTE, pa.array([True] * len(rows), pa.bool_()))


def _write(recipients: Sequence[str], stretch: int) -> bytes:
    """One row group a recipient and stretch, as ``prepare_piece`` writes them."""
    buffer = BytesIO()
    with pq.ParquetWriter(buffer, _events([]).schema) as writer:
        for start in range(0, len(recipients), stretch):
            for group in split_by_recipient(_events(recipients[start : start + stretch], start + 1)):
                writer.write_batch(group)
    return buffer.getvalue()


@given(
    st.lists(st.sampled_from(RECIPIENTS), min_size=1, max_size=60),
    st.integers(1, 25),
    st.sets(st.integers(1, 60), max_size=20),
    st.integers(1, 9),
)
def test_keys_come_in_the_order_of_the_source_and_events_by_recipient_without_repeats(
    recipients: list[str], stretch: int, again: set[int], batch_rows: int
) -> None:
    content = _write(recipients, stretch)
    repeats = {
        name: [row for row in again if row <= len(recipients) and recipients[row - 1] == name] for name in RECIPIENTS
    }
    one = PieceFile("x.parquet", {name: recipients.count(name) for name in set(recipients)}, repeats)

    keys = list(read_piece_keys(BytesIO(content)))
    everything = [row for batch in read_piece_events(BytesIO(content), one, None, batch_rows) for row in _rows(batch)]

    assert [row for batch in keys for row in batch["row"].to_pylist()] == list(range(1, len(recipients) + 1))
    assert all("body" not in batch.schema.names and NOTE in batch.schema.names for batch in keys)
    assert sorted(everything) == [row for row in range(1, len(recipients) + 1) if row not in again]
    for name in RECIPIENTS:
        theirs = [row for batch in read_piece_events(BytesIO(content), one, name, batch_rows) for row in _rows(batch)]
        assert theirs == [row for row, owner in enumerate(recipients, 1) if owner == name and row not in again]
    counted = PieceManifest((one,)).count_events()
    assert PieceManifest.from_json(PieceManifest((one,)).to_json()).count_events() == counted
    assert sum(counted.values()) == len(everything)


def _rows(events: EventBatch) -> list[int]:
    assert events.table.schema.names == EVENT_SCHEMA.names
    rows: list[int] = events.table["row"].to_pylist()
    return rows


def test_stretches_are_read_one_at_a_time() -> None:
    keys = list(read_piece_keys(BytesIO(_write(["client01", "client02"] * 50, 20))))

    assert [batch.num_rows for batch in keys] == [20] * 5


def test_keys_of_another_type_are_restored_in_the_stage_and_refused_elsewhere() -> None:
    """An engine that writes Parquet itself makes binaries of keys; read as they lie, their bytes would be offsets."""
    events = _events(["client01"] * 3)
    at = events.schema.get_field_index("key")
    binary = events.set_column(at, "key", events["key"].cast(pa.binary()))
    buffer = BytesIO()
    pq.write_table(pa.Table.from_batches([binary]), buffer)

    (batch,) = read_piece_events(BytesIO(buffer.getvalue()), PieceFile("x", {"client01": 3}), "client01", 10)

    assert batch.keys == [number.to_bytes(16, "big") for number in (1, 2, 3)]
    with pytest.raises(TypeError, match="the column of keys is of type binary"):
        EventBatch(binary).key_bytes  # noqa: B018
