"""Which events carry which key: what the report's key coverage is counted from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.guards.duplicates import SeenKeys
from offline_capi.model import BuiltEvents, HashedRows, Tally
from offline_capi.report import Books
from tests.events.conftest import DIGEST

Rows = Callable[..., HashedRows]
Build = Callable[..., BuiltEvents]


def booked(*batches: BuiltEvents) -> Tally:
    books = Books()
    for built in batches:
        books.enter_built(built)
    return books.tally


def test_keys_are_counted_among_the_events_that_could_be_sent(rows_of: Rows, build: Build) -> None:
    """Not among rows that were invalid, without consent, too large, or a repeat of another row of the run."""
    long = "x" * 4000
    rows = rows_of(
        {"event_id": ["a", "b", "b", "c", None, "d"]},
        {"em": [[DIGEST, None, None, DIGEST, DIGEST, DIGEST]], "external_id": [["1", "2", "2", "3", "4", None]]},
        {"note": ["", "", "", long, "", ""]},
        suppressed=[False, False, False, False, False, True],
    )

    tally = booked(SeenKeys().reject_repeats(build(rows, max_bytes=4000)))

    assert (tally.sendable, tally.keys) == (2, {"em": 1, "external_id": 2})


def test_keys_of_an_event_that_is_too_large_are_not_those_of_the_next_one(rows_of: Rows, build: Build) -> None:
    rows = rows_of({"event_id": ["c", "a"]}, {"em": [[DIGEST, None]]}, {"note": ["x" * 4000, ""]})

    assert booked(build(rows, max_bytes=4000)).keys == {"em": 0}


def test_several_columns_of_a_key_count_once(rows_of: Rows, build: Build) -> None:
    rows = rows_of(identity={"em": [[DIGEST, None, None], [DIGEST, DIGEST, None]], "external_id": [["1", "2", "3"]]})

    assert booked(build(rows)).keys == {"em": 2, "external_id": 3}


def test_a_mapped_key_that_no_event_carries_is_counted_as_none(rows_of: Rows, build: Build) -> None:
    """Of all keys it is the one to be seen: also after parts of a run were added up and stored."""
    one = booked(build(rows_of(identity={"em": [[DIGEST]], "ph": [[None]]})))

    both = Tally.from_json((one + one).to_json())

    assert (both.sendable, both.keys) == (2, {"em": 2, "ph": 0})


maybe = st.sampled_from([DIGEST, None])


@given(people=st.lists(st.tuples(maybe, maybe, maybe), min_size=1, max_size=20))
def test_what_is_counted_is_what_the_bodies_say(
    people: Sequence[tuple[str | None, ...]], rows_of: Rows, build: Build, bodies: Callable[..., Any]
) -> None:
    em, more_em, ph = ([row[column] for row in people] for column in range(3))
    built = build(rows_of(identity={"em": [em, more_em], "ph": [ph], "external_id": [["1"] * len(people)]}))

    counted = booked(built).keys

    users = [body["user_data"] for body in bodies(built)]
    assert counted == {key: sum(key in user for user in users) for key in ("em", "ph", "external_id")}
    assert {carried.type for carried in built.carried.values()} == {pa.bool_()}
