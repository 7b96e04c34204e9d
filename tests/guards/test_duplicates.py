"""The same event twice in one run."""

from __future__ import annotations

import signal
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from offline_capi.events import EVENT_SCHEMA, UNSENT_SCHEMA, make_event_key
from offline_capi.guards import key_set
from offline_capi.guards.duplicates import SeenKeys
from offline_capi.guards.key_set import KeySet
from offline_capi.model import BuiltEvents, EventBatch, HashedRows, UnsentRows


@pytest.fixture(params=["compiled", "numpy"], scope="module", autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each way in turn; where there is no compiler, both are one."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(key_set, "_keys", None)
        yield request.param


def _events(keys: Sequence[bytes], first_row: int = 1, origin: str = "a.csv") -> EventBatch:
    fixed = {
        "origin": origin,
        "client": "acme",
        "pixel": "1234567890",
        "event_name": "Lead",
        "event_time": 1,
        "day": date(2026, 11, 23),
        "action_source": "chat",
        "body": b"{}",
    }
    rows = [{**fixed, "row": first_row + place, "event_id": key.hex(), "key": key} for place, key in enumerate(keys)]
    return EventBatch(pa.RecordBatch.from_pylist(rows, EVENT_SCHEMA))


def _many(words: NDArray[np.uint64], first_row: int) -> EventBatch:
    """Events by the two halves of their keys, without a Python object each."""
    template, number = _events([bytes(16)]).table, len(words)
    columns = {name: pa.repeat(template[name][0], number) for name in template.schema.names}
    columns["key"] = pa.FixedSizeBinaryArray.from_buffers(
        template["key"].type, number, [None, pa.py_buffer(words.astype(">u8").tobytes())]
    )
    columns["row"] = pa.array(np.arange(first_row, first_row + number))
    return EventBatch(pa.RecordBatch.from_arrays(list(columns.values()), schema=template.schema))


def _key(number: int) -> bytes:
    """Sixteen bytes; numbers 1,000 apart share their first eight, as only a forged or unlucky digest would."""
    return (number % 1000 * 0x0123456789ABCDEF % 2**64).to_bytes(8, "big") + (number // 1000).to_bytes(8, "big")


def test_the_first_row_goes_on_and_later_ones_name_it(
    rows_of: Callable[..., HashedRows], build: Callable[..., BuiltEvents]
) -> None:
    built = build(rows_of({"event_id": ["a", "b", "a", "a"]}, first_row=10))

    first, again = SeenKeys().split(built.events)

    assert first.table["row"].to_pylist() == [10, 11]
    assert again.table.schema == UNSENT_SCHEMA
    assert again.table.select(
        ["row", "event_id", "fate", "reason", "field", "earlier_origin", "earlier_row"]
    ).to_pylist() == [
        {
            "row": row,
            "event_id": "a",
            "fate": "invalid",
            "reason": "duplicate_event_id",
            "field": "event.id",
            "earlier_origin": "rows.csv",
            "earlier_row": 10,
        }
        for row in (12, 13)
    ]


def test_a_duplicate_in_a_later_batch_names_row_and_origin_of_the_first() -> None:
    seen = SeenKeys()

    seen.split(_events([_key(1), _key(2)], 7, "a.csv"))
    first, again = seen.split(_events([_key(3), _key(2)], 1, "b.csv"))

    assert first.table["row"].to_pylist() == [1]
    assert again.table.select(["origin", "row", "earlier_origin", "earlier_row"]).to_pylist() == [
        {"origin": "b.csv", "row": 2, "earlier_origin": "a.csv", "earlier_row": 8}
    ]


def test_the_same_id_is_another_event_at_another_pixel_or_under_another_name(
    rows_of: Callable[..., HashedRows], build: Callable[..., BuiltEvents]
) -> None:
    rows = rows_of({"event_id": ["a"] * 3, "event_name": ["Own", "Own", "Lead"]}, client=["acme", "beta", "acme"])

    first, again = SeenKeys().split(build(rows).events)

    assert (len(first), len(again)) == (3, 0)


def test_keys_that_share_half_their_bytes_are_told_apart() -> None:
    seen = SeenKeys()
    keys = [_key(5), _key(1005), _key(2005), _key(3005)]

    seen.split(_events(keys[:2]))
    first, again = seen.split(_events([keys[1], keys[2], keys[0], keys[3], keys[2]]))

    assert first.table["key"].to_pylist() == [keys[2], keys[3]]
    assert again.table["earlier_row"].to_pylist() == [2, 1, 2]


@pytest.mark.parametrize("in_memory", [0, 1, 3, 4096])
@given(batches=st.lists(st.lists(st.integers(0, 3999), max_size=40), max_size=12))
def test_splitting_is_what_a_dictionary_would_do(in_memory: int, batches: list[list[int]]) -> None:
    seen, memory, row = SeenKeys(in_memory), {}, 1
    for numbers in batches:
        places = list(enumerate(numbers, start=row))
        expected = [(place, memory[number]) for place, number in places if memory.setdefault(number, place) != place]

        first, again = seen.split(_events([_key(number) for number in numbers], row))

        repeated = {place for place, _ in expected}
        assert first.table["row"].to_pylist() == [place for place, _ in places if place not in repeated]
        assert (
            list(zip(again.table["row"].to_pylist(), again.table["earlier_row"].to_pylist(), strict=True)) == expected
        )
        row += len(numbers)
    assert len(seen) == len(memory)


#: First halves at the borders of shards, of buckets and of what a fence sees, and many that look alike to it.
_BORDERS = [
    *(border + step & 2**64 - 1 for border in (0, 2**61, 2**62, 2**63, 3 * 2**62) for step in (-1, 0, 1)),
    *range(2**40, 2**40 + 10),
]


@pytest.mark.parametrize("in_memory", [0, 5])
@given(st.lists(st.lists(st.tuples(st.sampled_from(_BORDERS), st.integers(0, 2)), max_size=30), max_size=8))
def test_keys_that_no_fence_tells_apart_are_told_apart(in_memory: int, batches: list[list[tuple[int, int]]]) -> None:
    seen, known = SeenKeys(in_memory), set[tuple[int, int]]()
    for pairs in batches:
        fresh = list(dict.fromkeys(pair for pair in pairs if pair not in known))
        keys = [high.to_bytes(8, "big") + low.to_bytes(8, "big") for high, low in pairs]

        first, again = seen.split(_events(keys))

        assert first.table["key"].to_pylist() == [keys[pairs.index(pair)] for pair in fresh]
        assert len(again) == len(pairs) - len(fresh)
        known |= set(fresh)


@pytest.mark.parametrize("bits", [64, 46])
def test_hundreds_of_thousands_of_keys_even_if_they_crowd_together(bits: int) -> None:
    """Merged some at a time; of 46 bits, all of them stand in one bucket."""
    chance = np.random.default_rng(3)
    words = chance.integers(0, 2**bits - 1, (300_000, 2), np.uint64, endpoint=True)
    words[-50_000:] = words[:50_000]
    seen, fresh = SeenKeys(max_in_memory_keys=1_000), 0
    for start in range(0, len(words), 50_000):
        first, again = seen.split(_many(words[start : start + 50_000], start))
        fresh += len(first)

    distinct = len(np.unique(words, axis=0))
    assert (len(seen), fresh) == (distinct, distinct)
    assert again.table["earlier_row"].to_pylist()[-1] == 49_999


@pytest.mark.parametrize("batch", [31_000, 2_000_000])
def test_a_million_keys_take_three_bytes_each_and_a_bounded_rest(batch: int) -> None:
    words, keys = np.random.default_rng(5).integers(0, 2**64 - 1, (2, 1_000_000), np.uint64), KeySet()

    repeats = [keys.find_repeats(*words[:, start : start + batch]).any() for start in range(0, len(words[0]), batch)]

    assert (len(keys), any(repeats)) == (1_000_000, False)
    assert keys.nbytes < 3 * 1_000_000 + 8 * 2**20
    assert keys.find_repeats(words[0, ::-1][:40_000].copy(), words[1, ::-1][:40_000].copy()).all()
    assert keys.find_repeats(words[0, :40_000], words[1, :40_000]).all()
    assert len(keys) == 1_000_000


@pytest.mark.parametrize("batch", [500, 5000])
def test_memory_is_less_than_three_bytes_an_event_and_a_bounded_rest(batch: int) -> None:
    seen = SeenKeys(max_in_memory_keys=50)

    for start in range(0, 20_000, batch):
        seen.split(_events([make_event_key("1", "Lead", str(i)) for i in range(start, start + batch)], start))

    assert len(seen) == 20_000
    assert 20_000 * 2 <= seen.nbytes < 20_000 * 2.6 + 4 * 2 * 50 * 24


_KILLED = """
import os, sys
from pathlib import Path
from offline_capi.guards import key_set
from offline_capi.guards.duplicates import SeenKeys
from offline_capi.guards.key_set import KeySet
from tests.guards.test_duplicates import _events, _key
seen = SeenKeys(max_in_memory_keys=0, folder=Path(sys.argv[1]))
seen.split(_events([_key(1), _key(2)]))
assert seen.nbytes < 2 * 24, "the keys are to be in files"
os.kill(os.getpid(), 9)
"""


def test_nothing_stays_on_disk_even_of_a_process_that_is_killed(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED, tmp_path], cwd=Path(__file__).parents[2], check=False)

    assert (killed.returncode, list(tmp_path.iterdir())) == (-signal.SIGKILL, [])


def test_a_file_is_closed_when_its_keys_were_merged_into_another(tmp_path: Path) -> None:
    """Both of the merged ones, at once: not when Python happens to collect them."""
    seen = SeenKeys(max_in_memory_keys=0, folder=tmp_path)

    with warnings.catch_warnings(record=True) as unclosed:
        warnings.simplefilter("always", ResourceWarning)
        for number in range(20):
            seen.split(_events([_key(number)], number))

    assert (len(seen), unclosed) == (20, [])


def test_an_empty_batch_is_nothing() -> None:
    first, again = SeenKeys().split(_events([]))

    assert (len(first), len(again)) == (0, 0)


# ---------------------------------------------------------------------------------------------- shared pixels

#: Of a row: the number of its own event's key, and of those of its copies for further pixels.
ROWS_WITH_COPIES = st.lists(st.tuples(st.integers(1, 4), st.lists(st.integers(1, 6), max_size=2)), max_size=9)


def _with_copies(rows: Sequence[tuple[int, Sequence[int]]], first_row: int) -> BuiltEvents:
    """Copies stand after all events, by place: so does a batch have them."""
    own = _events([_key(number) for number, _ in rows], first_row)
    places = [[(at, copies[place]) for at, (_, copies) in enumerate(rows) if len(copies) > place] for place in (0, 1)]
    copied = [
        {**event, "client": f"acme@{place}", "key": _key(number)}
        for place, of_place in enumerate(places)
        for at, number in of_place
        for event in own.table.slice(at, 1).to_pylist()
    ]
    return BuiltEvents(
        rows=len(rows),
        events=own,
        unsent=UnsentRows(pa.RecordBatch.from_pylist([], UNSENT_SCHEMA)),
        copies=EventBatch(pa.RecordBatch.from_pylist(copied, EVENT_SCHEMA)) if copied else None,
        copied=Counter(event["client"] for event in copied),
    )


def _settle(rows: Sequence[tuple[int, Sequence[int]]], size: int) -> tuple[list[object], ...]:
    seen = SeenKeys()
    parts = [seen.reject_repeats(_with_copies(rows[at : at + size], at + 1)) for at in range(0, len(rows), size)]
    batches = [one.table for part in parts for one in part.outgoing]
    goes = [tuple(row.values()) for one in batches for row in one.select(["row", "client", "key"]).to_pylist()]
    rejected = [tuple(row.values()) for part in parts for row in part.unsent.table.to_pylist()]
    copied: Counter[str] = Counter()
    for part in parts:
        copied.update(part.copied)
    return sorted(goes), sorted(rejected, key=str), sorted((+copied).items())


@given(ROWS_WITH_COPIES)
def test_p11_who_is_the_duplicate_on_a_shared_pixel_does_not_depend_on_the_batch(
    rows: list[tuple[int, list[int]]],
) -> None:
    one_by_one = _settle(rows, 1)

    assert _settle(rows, 3) == _settle(rows, 100) == one_by_one
    assert len({key for *_, key in one_by_one[0]}) == len(one_by_one[0])


@given(st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["acme", "bank"])), max_size=12), st.booleans())
def test_events_of_a_client_together_are_the_same_events(rows: list[tuple[int, str]], copied: bool) -> None:
    """Who repeats whom, what is carried and what tells store events apart is as in the order of the source."""
    built = _with_copies([(number, [number + 1] if copied else []) for number, _ in rows], 1)
    clients = pa.array([client for _, client in rows], pa.string())
    table = built.events.table.set_column(EVENT_SCHEMA.get_field_index("client"), "client", clients).cast(EVENT_SCHEMA)
    own = [{"high": number, "low": 1, "ordered": False} for number, _ in rows]
    built = replace(
        built,
        events=EventBatch(table),
        carried={"em": pa.array([number % 2 == 0 for number, _ in rows], pa.bool_())},
        store_keys=pa.RecordBatch.from_pylist(
            own, pa.schema({"high": pa.uint64(), "low": pa.uint64(), "ordered": pa.bool_()})
        ),
    )

    plain, together = SeenKeys().reject_repeats(built), SeenKeys().reject_repeats(built, by_client=True)

    names, rows_left = (together.events.table.column(name).to_pylist() for name in ("client", "row"))
    came = [client for client, _ in groupby(client for _, client in rows)]
    apart = len(came) > len(set(came))  # put in the order of their names then
    ordered = sorted(plain.events.table.to_pylist(), key=lambda event: event["client"] if apart else "")
    assert together.events.table.to_pylist() == ordered
    assert len(list(groupby(names))) == len(set(names))
    assert together.carried["em"].to_pylist() == [rows[row - 1][0] % 2 == 0 for row in rows_left]
    assert together.unsent.table.equals(plain.unsent.table)
    assert (together.copies, together.copied) == (plain.copies, plain.copied)
    assert together.store_keys is not None
    assert together.store_keys.equals(plain.store_keys)


def test_on_a_shared_pixel_the_earlier_row_goes_and_a_repeated_row_is_rejected_once() -> None:
    """Row 1 goes to pixel 5 as a copy before row 2 has it as its own; rows 3 and 4 are one row twice."""
    goes, rejected, copied = _settle([(1, [5]), (5, [6]), (2, [3]), (2, [3])], 10)

    assert [(row, client) for row, client, _ in goes] == [
        (1, "acme"), (1, "acme@0"), (2, "acme@0"), (3, "acme"), (3, "acme@0"),
    ]  # fmt: skip
    assert [(row[1], row[2], row[-1]) for row in rejected] == [(2, "acme", 1), (4, "acme", 3)]
    assert copied == [("acme@0", 3)]
