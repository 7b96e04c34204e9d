"""How quotes stand: the compiled module says what numpy says, and what one finds byte by byte."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.sources.files import quotes
from offline_capi.sources.files.quotes import Dialect, RowBlocks

#: Around what is looked at together: 64 bytes. Separators and quotes are met often, next to each other too.
PIECES = st.lists(
    st.sampled_from([b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b'\\"', b"x" * 61, b'"x\ny"', b"\0", b"\xff"])
)
BLOCKS = st.tuples(PIECES, st.integers(0, 70)).map(lambda one: b"x" * one[1] + b"".join(one[0]))


def look_at(data: bytes, delimiter: bytes, *, has_escapes: bool, final: bool) -> tuple[object, ...]:
    blocks = RowBlocks(Dialect(delimiter, "standard", has_escapes), 3, lambda: 0, lambda: True, lambda _: 0)
    look = blocks._scan(data, final=final)
    return look._replace(lines=look.lines and tuple(part.tolist() for part in look.lines))


@given(BLOCKS.filter(len), st.sampled_from([b",", b";", b"\0", b"\xff"]), st.booleans(), st.booleans())
def test_the_module_finds_what_numpy_finds(data: bytes, delimiter: bytes, has_escapes: bool, final: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quotes, "_quotes", None)
        by_numpy = look_at(data, delimiter, has_escapes=has_escapes, final=final)

    by_module = look_at(data, delimiter, has_escapes=has_escapes, final=final)

    is_standard, is_open, last_quote, lines = by_numpy
    assert by_module[:2] == (is_standard, is_open)
    if b'"' in data:
        assert by_module[2] == last_quote
    if is_standard:  # of other blocks nobody asks where their lines end
        assert by_module[3] == lines


@given(BLOCKS)
def test_the_module_finds_what_one_finds_byte_by_byte(data: bytes) -> None:
    if quotes._quotes is None:
        return
    feeds = [at for at, byte in enumerate(data) if byte == ord("\n")]
    ends, is_inside = np.empty(len(feeds), np.int32), np.empty(len(feeds), np.uint8)

    is_standard, is_open, has_lone_return, inside = quotes._quotes.scan(data, ord(","), ends, is_inside)

    around = b"," + data + b","
    standard, opened = True, False
    for at, byte in enumerate(data, 1):
        if byte == ord('"'):
            neighbour = around[at + 1] if opened else around[at - 1]
            standard &= neighbour in b',\n\r"'
            opened = not opened
    assert (bool(is_standard), bool(is_open)) == (standard, opened)
    assert bool(has_lone_return) is (data.count(b"\r") != data.count(b"\r\n"))
    assert ends.tolist() == feeds
    assert is_inside.tolist() == [data[:at].count(b'"') % 2 for at in feeds]
    assert inside == is_inside.sum()


def test_buffers_that_do_not_fit_are_refused() -> None:
    if quotes._quotes is None:
        return
    data = b'a\n"b\n"\n'
    for ends, flags in ((3, 2), (2, 3), (0, 0)):
        with pytest.raises(ValueError, match="too short"):
            quotes._quotes.scan(data, ord(","), np.empty(ends, np.int32), np.empty(flags, np.uint8))
    assert quotes._quotes.scan(data, ord(","), np.empty(3, np.int32), np.empty(3, np.uint8)) == (1, 0, 0, 1)
    assert quotes._quotes.scan(b"", ord(","), np.empty(0, np.int32), np.empty(0, np.uint8)) == (1, 0, 0, 0)
