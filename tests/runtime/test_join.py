"""Pieces of rows joined: compiled or by Arrow, the bytes are those of Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.runtime import join
from offline_capi.runtime.join import (
    Framed,
    join_columns,
    join_pieces,
    join_texts,
    remove_bytes,
    take_texts,
    write_integers,
)

ROWS = 12
#: Around what the compiled module copies at once: 32 bytes of a literal, 64 of a value.
TEXTS = st.one_of(st.none(), st.text(max_size=70), st.integers(31, 65).map("x".__mul__))
LITERALS = st.one_of(st.text(max_size=5), st.integers(31, 34).map("y".__mul__))
COLUMNS = st.tuples(LITERALS, st.lists(TEXTS, min_size=ROWS, max_size=ROWS), LITERALS)


@given(
    pieces=st.lists(st.one_of(LITERALS, COLUMNS), max_size=6),
    first=COLUMNS,
    start=st.integers(0, ROWS),
    rows=st.integers(0, ROWS),
    chosen=st.sets(st.integers(0, ROWS - 1)),
)
def test_the_rows_are_what_python_joins(
    pieces: list[str | tuple[str, list[str | None], str]],
    first: tuple[str, list[str | None], str],
    start: int,
    rows: int,
    chosen: set[int],
) -> None:
    every, stop = [first, *pieces], min(start + rows, ROWS)
    given_ = [
        one if isinstance(one, str) else Framed(one[0], pa.array(one[1], pa.string()).slice(start, rows), one[2])
        for one in every
    ]

    def join_row(row: int) -> bytes:
        parts = (
            one if isinstance(one, str) else "" if one[1][row] is None else f"{one[0]}{one[1][row]}{one[2]}"
            for one in every
        )
        return "".join(parts).encode()

    for way in {join._join, None}:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(join, "_join", way)
            joined = join_pieces(given_, stop - start)
            joined.validate(full=True)
            assert joined.to_pylist() == [join_row(row) for row in range(start, stop)]
            some = [row for row in sorted(chosen) if row < stop - start]
            of_these = join_pieces(given_, stop - start, np.array(some, np.int32))
            of_these.validate(full=True)
            assert of_these.to_pylist() == [join_row(start + row) for row in some]
            bare = [one if isinstance(one, str) else one.column for one in given_]
            columns = join_columns(*bare)
            columns.validate(full=True)
            assert columns.equals(pc.binary_join_element_wise(*bare, ""))


@given(
    values=st.lists(st.binary(max_size=70), max_size=ROWS),
    around=st.tuples(st.binary(max_size=40), st.binary(max_size=2), st.binary(max_size=40)),
    start=st.integers(0, ROWS),
    data=st.data(),
)
def test_values_joined_and_taken_are_what_python_makes_of_them(
    values: list[bytes], around: tuple[bytes, bytes, bytes], start: int, data: st.DataObject
) -> None:
    column, left = pa.array(values, pa.binary()).slice(min(start, len(values))), values[start:]
    places = data.draw(st.lists(st.integers(0, len(left) - 1), max_size=2 * ROWS) if left else st.just([]))
    before, between, after = around
    for way in {join._join, None}:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(join, "_join", way)
            assert bytes(join_texts(column, before, between, after)) == before + between.join(left) + after
            taken = take_texts(column, np.array(places, np.int64))
            taken.validate(full=True)
            assert taken.to_pylist() == [left[place] for place in places]


@given(
    values=st.lists(st.one_of(st.none(), st.text(max_size=9), st.text("+-() 09é", max_size=9)), max_size=ROWS),
    unwanted=st.sets(st.sampled_from(b" ()+-09\x00\x7f"), min_size=1).map(bytes),
    start=st.integers(0, ROWS),
    rows=st.integers(0, ROWS),
)
def test_bytes_that_are_removed_are_those_of_python(
    values: list[str | None], unwanted: bytes, start: int, rows: int
) -> None:
    column = pa.array(values, pa.string()).slice(start, rows)
    for way in {join._join, None}:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(join, "_join", way)
            left = remove_bytes(column, unwanted)
            left.validate(full=True)
            assert left.to_pylist() == [
                one and one.translate(dict.fromkeys(unwanted)) for one in values[start : start + rows]
            ]


@given(
    st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-12, 12)), max_size=ROWS),
    st.integers(0, 3),
)
def test_integers_are_written_as_python_writes_them(values: list[int | None], start: int) -> None:
    column = pa.array(values, pa.int64()).slice(start)
    for way in {join._join, None}:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(join, "_join", way)
            written = write_integers(column)
            written.validate(full=True)
            assert written.to_pylist() == [None if one is None else str(one) for one in values[start:]]


@pytest.mark.parametrize("places", [[-1], [2], [0, 1, 2**40]])
def test_a_place_outside_of_the_column_is_refused(places: list[int]) -> None:
    for way in {join._join, None}:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(join, "_join", way)
            with pytest.raises(IndexError):
                take_texts(pa.array([b"a", b"b"]), np.array(places, np.int64))


def test_buffers_that_do_not_fit_are_refused() -> None:
    if join._join is None:
        return
    _, offsets, data = pa.array(["abc", "d"]).buffers()
    good = (b"<", b">", offsets, data, b"", 0, 2)
    assert join._join.join((good,), 2, b"", bytearray(12), out := bytearray(40)) == 8
    assert out[:8] == b"<abc><d>"
    assert join._join.join((good,), 1, np.array([1], np.int32), bytearray(8), out) == 3
    assert out[:3] == b"<d>"

    none, second = b"", np.array([1], np.int32)
    for piece, rows, chosen, ends, room in (
        (good, 3, none, 16, 80),  # more rows than the column has
        ((*good[:6], 3), 2, none, 12, 80),  # more rows than offsets
        ((b"<", b">", offsets, b"ab", b"", 0, 2), 2, none, 12, 40),  # offsets beyond the data
        ((b"<", b">", offsets, data, b"", -1, 2), 2, none, 12, 40),
        (good, 2, none, 12, 39),
        (good, 2, none, 11, 40),
        (good, -1, none, 12, 40),
        ((b"x" * 2**20, b"", b"", b"", b"", 0, 0), 2**20, none, 12, 40),  # of literals alone
        (good, 1, second, 8, 34),
        (good, 2, second, 12, 40),  # fewer positions than rows
        (good, 1, np.array([2], np.int32), 8, 40),
        (good, 1, np.array([-1], np.int32), 8, 40),
    ):
        with pytest.raises(ValueError, match=r"shorter|outside|too short"):
            join._join.join((piece,), rows, chosen, bytearray(ends), bytearray(room))

    for ends, room in ((8, 40), (12, 39)):
        with pytest.raises(ValueError, match="too short"):
            join._join.write_integers(np.array([1, -2]), bytearray(ends), bytearray(room))

    column, kept = (offsets, data, b"", 0, 2), bytes(97) + bytes([1]) * 159
    ends, out = bytearray(12), bytearray(4)
    assert join._join.keep_bytes(*column, kept, ends, out) == len(b"abcd")
    assert (out, list(memoryview(ends).cast("i"))) == (b"abcd", [0, 3, 4])
    for some, table, ends_bytes, room in (
        (column, kept[1:], 12, 4),
        (column, kept, 11, 4),
        (column, kept, 12, 3),
        ((offsets, data, b"", 1, 2), kept, 12, 4),
    ):
        with pytest.raises(ValueError, match=r"shorter|too short"):
            join._join.keep_bytes(*some, table, bytearray(ends_bytes), bytearray(room))


def test_pieces_are_read_into_their_places_and_nowhere_else(tmp_path: Path) -> None:
    if join._join is None:
        return
    (tmp_path / "one").write_bytes(b"0123456789")
    with (tmp_path / "one").open("rb") as file:
        number, out = file.fileno(), bytearray(6)

        def read(*pieces: tuple[int, int, int, int]) -> int:
            read: int = join._join.read_pieces(np.array(pieces, np.int64), out)
            return read

        assert read((number, 7, 2, 4), (number, 1, 3, 0), (number, 0, 0, 6)) == len(b"78") + len(b"123")
        assert out == b"123\x0078"
        assert read((number, 9, 3, 0)) == len(b"9")  # as much as there is
        assert join._join.read_pieces(b"", out) == 0
        for start, size, place in ((0, 7, 0), (0, 1, 6), (0, 1, -1), (0, -1, 0), (0, 2**62, 5), (0, 1, 2**62)):
            with pytest.raises(ValueError, match="outside"):
                read((number, start, size, place))
        with pytest.raises(OSError, match="Invalid argument"):
            read((number, -1, 1, 0))
    with pytest.raises(OSError, match="descriptor"):
        read((number, 0, 1, 0))
    assert out == b"923\x0078"
