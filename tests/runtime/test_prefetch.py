"""Reading ahead changes when batches are read, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.errors import SourceError
from offline_capi.runtime.prefetch import prefetch_batches


@given(st.lists(st.integers()), st.integers(0, 3))
def test_the_batches_and_their_order_are_the_same(batches: list[int], depth: int):
    assert list(prefetch_batches(iter(batches), depth=depth)) == batches


def test_an_error_comes_after_the_batches_before_it():
    def failing() -> Iterator[int]:
        yield 1
        raise SourceError("the file ends in the middle of a row")

    ahead = prefetch_batches(failing())

    assert next(ahead) == 1
    with pytest.raises(SourceError, match="middle of a row"):
        next(ahead)


def test_a_consumer_that_stops_early_leaves_no_thread_and_closes_the_source():
    closed_by: list[str] = []

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed_by.append(threading.current_thread().name)

    ahead = prefetch_batches(endless())
    next(ahead)

    ahead.close()

    assert closed_by == ["prefetch"]
    assert "prefetch" not in {thread.name for thread in threading.enumerate()}


def test_the_next_batch_is_read_while_the_last_one_is_worked_on():
    second_was_read = threading.Event()

    def two() -> Iterator[int]:
        yield 1
        second_was_read.set()
        yield 2

    ahead = prefetch_batches(two())
    next(ahead)

    assert second_was_read.wait(timeout=10)
    assert list(ahead) == [2]


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_no_more_batches_are_read_than_may_wait(depth: int):
    begun: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            begun.append(len(begun))
            yield begun[-1]

    ahead = prefetch_batches(endless(), depth=depth)
    for taken in range(1, 4):
        next(ahead)
        deadline = time.monotonic() + 10
        while len(begun) < taken + depth + 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert len(begun) == taken + depth + 1
    ahead.close()


LEFT_OPEN = """
from offline_capi.runtime.prefetch import prefetch_batches

def fail():
    ahead = prefetch_batches(iter(range(10)))
    next(ahead)
    try:
        raise ValueError
    except ValueError as error:
        kept = error  # stands in a frame of its own traceback

fail()
print("ended")
"""


def test_a_process_ends_also_if_an_error_kept_the_reading_open():
    """A bug in a stage leaves a cycle of error and frames, which the interpreter takes apart when threads are gone."""
    done = subprocess.run([sys.executable, "-c", LEFT_OPEN], capture_output=True, text=True, timeout=60, check=True)

    assert (done.stdout, done.stderr) == ("ended\n", "")
