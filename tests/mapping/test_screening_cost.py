"""The screens take time in proportion to the length of a text, whatever it is made of.

Python's ``re`` backtracks, so that a text could be made on which a pattern takes quadratic time. A text of four times
the length is searched in the same run: in proportion it takes four times as long, quadratic would be sixteen.
"""

from __future__ import annotations

import time

import pyarrow as pa
import pytest

from offline_capi.mapping.screening import Searched, find_unsendable

#: Lets a text past the first look, by RE2, to the patterns of Python.
TAIL = " jane@example.com, +1 650 253 0000, 4111 1111 1111 1111, 078-05-1120, tel:030123456"
SHORT, TIMES = 12_500, 4
#: Between the two, with room for what a busy machine adds.
MOST = 9
UNITS = [
    "a", "1", "@", "a@", "a@a.", "a@a", "-", ".", "a.", "a-.", "+1", "+", "+1 ", "(", "(1", "1-", "1 ", "4111 ", "4",
    "650-", "(650) ", "tel:", "tel:1", "?phone=1", "&", "%40", "a%40a.", "0", "00", "078-05-", " ", "\n", "é", "😀",
]  # fmt: skip


def seconds(text: str, searched: Searched) -> float:
    """CPU time of this thread, the least of three."""
    texts = pa.array([text])
    found = []
    for _ in range(3):
        before = time.thread_time()
        find_unsendable(texts, searched)
        found.append(time.thread_time() - before)
    return min(found)


@pytest.mark.parametrize("searched", list(Searched), ids=str)
@pytest.mark.parametrize("unit", UNITS)
def test_a_text_of_four_times_the_length_takes_no_more_than_in_proportion(unit: str, searched: Searched) -> None:
    short, long = ((unit * (size // len(unit) + 1))[:size] + TAIL for size in (SHORT, SHORT * TIMES))
    least = 0.002  # below it, the clock says more of the machine than of the pattern

    assert seconds(long, searched) < MOST * max(seconds(short, searched), least / TIMES)
