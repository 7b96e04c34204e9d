"""What a batch of events says of itself without asking Arrow is what Arrow would say."""

from __future__ import annotations

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

    assert bytes(events.bytes_of("body")) == "".join(left).encode()
    assert events.body_bytes == (pc.sum(pc.binary_length(events.table.column("body"))).as_py() or 0)
    assert events.keys == events.table.column("key").to_pylist()
    for text in ("", "a", "ü", "physical_store"):
        assert events.all_have("client", text) == all(one == text for one in left)
