"""Groups of events are those that Python would count, for a batch and for each part of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.model import EventBatch
from offline_capi.report import event_groups
from offline_capi.report.event_groups import EventGroup, count_groups, find_newest, tell_clients_apart

DAY = 86_400
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["acme", "bank"]),
        st.sampled_from(["1", "22"]),
        st.sampled_from(["Purchase", "Lead", "Ü"]),
        st.sampled_from([None, 0.0, 1.25, 4.5]),
        st.sampled_from([None, "EUR", "USD"]),
        st.integers(20_000 * DAY - 2, 20_002 * DAY),
        st.integers(-1, 0),
    ),
    max_size=30,
)


def make_batch(events: list[tuple[Any, ...]]) -> EventBatch:
    columns = [[*column] for column in zip(*events, strict=True)] or [[] for _ in range(7)]
    client, pixel, name, value, currency, time, shift = columns
    return EventBatch(
        pa.RecordBatch.from_pydict(
            {
                "client": pa.array(client, pa.string()),
                "pixel": pa.array(pixel, pa.string()),
                "event_name": pa.array(name, pa.string()),
                "event_time": pa.array(time, pa.int64()),
                "day": pa.array([at // DAY + more for at, more in zip(time, shift, strict=True)], pa.int32()).cast(
                    pa.date32()
                ),
                "value": pa.array(value, pa.float64()),
                "currency": pa.array(currency, pa.string()),
            }
        )
    )


def count_in_python(events: list[tuple[Any, ...]]) -> dict[EventGroup, tuple[int, float]]:
    counts, worth = Counter[EventGroup](), defaultdict[EventGroup, float](float)
    for client, pixel, name, value, currency, time, shift in events:
        day = date(1970, 1, 1) + timedelta(days=time // DAY)
        used = currency if currency is not None and value is not None else ""
        group = EventGroup(client, pixel, name, used, day + timedelta(days=shift), day)
        counts[group] += 1
        worth[group] += value if used else 0.0
    return {group: (rows, worth[group]) for group, rows in counts.items()}


@given(EVENTS, st.integers(0, 30), st.integers(0, 30), st.booleans())
def test_groups_are_those_that_python_counts(events: list[tuple[Any, ...]], start: int, length: int, wide: bool):
    with pytest.MonkeyPatch.context() as patch:
        if wide:  # as where there are more combinations than a table of them may have
            patch.setattr(event_groups, "MAX_WIDTH", 0)
        whole = make_batch(events)
        part = whole.slice(min(start, len(events)), max(0, min(length, len(events) - start)))

        for batch, own in ((whole, events), (part, events[start:][:length])):
            found = {group: (rows, amount) for group, rows, amount in count_groups(batch)}
            assert found == count_in_python(own)
            clients, codes = tell_clients_apart(batch)
            assert [clients[code] for code in codes.tolist()] == [client for client, *_ in own]
            times = {client: [time for whose, *_, time, _ in own if whose == client] for client, *_ in own}
            assert find_newest(batch) == {client: max(its) for client, its in times.items()}
