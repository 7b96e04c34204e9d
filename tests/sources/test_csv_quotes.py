"""Quotes that open or close in the wrong place: never fewer rows, and never another row's value, without a word."""

from __future__ import annotations

import csv
import io
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_capi.errors import OfflineCapiError, SourceError
from offline_capi.sources.files.quotes import Dialect, RowBlocks, UnclosedQuoteError
from tests.sources.reading import batches, files


def read(path, **options):
    """Good rows as tuples in their places, ``None`` for malformed ones."""
    found = []
    for part in batches(files(path, **options)):
        bad = part.faults[0].where.to_pylist() if part.faults else [False] * len(part)
        found += [None if flag else tuple(row.values()) for row, flag in zip(part.batch.to_pylist(), bad, strict=True)]
    return found


def orders(count=1000, **notes):
    """``count`` rows of five columns, ``note`` in the middle as it stands in the file."""
    lines = [
        f"{n},2026-11-27 10:00:00,{notes.get(f'row_{n}', 'plain')},u{n}@post.example.org,{n}"
        for n in range(1, count + 1)
    ]
    return "id,at,note,email,total\n" + "\n".join(lines) + "\n"


def told(path, **options):
    """What a run can rely on: the rows that came through, or the refusal."""
    try:
        return read(path, **options)
    except SourceError:
        return []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('"Monitor 27', 'Shelf 19"'),
        ('"Monitor 27', '"Shelf 19'),
        ('"Monitor 27', '19" screen'),
        ('"Monitor, 27', 'Shelf 19"'),
        ('"', '"'),
    ],
)
@pytest.mark.parametrize(("one", "other"), [(100, 900), (100, 101), (100, 102), (1, 1000), (999, 1000)])
def test_two_stray_quotes_swallow_no_rows(tmp_path, first, second, one, other):
    path = tmp_path / "f.csv"
    path.write_text(orders(**{f"row_{one}": first, f"row_{other}": second}))

    found = told(path)

    assert len(found) in (0, 1000)
    assert all(row[0] == str(n) and row[4] == str(n) for n, row in enumerate(found, 1) if row)
    assert [n for n, row in enumerate(found, 1) if not row] == (list(range(one, other + 1)) if found else [])


@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_addresses_and_notes_with_line_breaks_are_values(tmp_path, at, ending):
    texts = ["12 Main St\nApt 4, Springfield\nIL 62704", 'he said "ring twice",\n\nthen left', "plain", "\n", "a\nb"]
    rows = [[f"{n}{column}" for column in "abcde"] for n in range(200)]
    for n, row in enumerate(rows):
        row[at] = texts[n % len(texts)].replace("\n", ending)
    path = tmp_path / "f.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator=ending).writerows([["k1", "k2", "k3", "k4", "k5"], *rows])

    assert read(path) == [tuple(row) for row in rows]


def test_text_after_a_closing_quote_costs_its_line(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text('a,b,c\n1,"x",1\n2,"27" screen",2\n3,"y"z,3\n4,"a ""b"" c",4\n')

    assert read(path) == [("1", "x", "1"), None, None, ("4", 'a "b" c', "4")]


def test_inches_in_a_file_that_quotes_nothing_are_characters(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text('a,b\n27" screen,1\n27",2\n3,5\'2"\n')

    assert read(path) == [('27" screen', "1"), ('27"', "2"), ("3", "5'2\"")]


def test_inches_in_a_file_that_quotes_other_values_need_a_word(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text('a,b\n27" screen,1\n"Tee, blue",2\n')

    with pytest.raises(
        SourceError, match=r"(?s)line 1 below the header a value that is not quoted.*source\.quoting to loose"
    ):
        read(path)
    assert read(path, quoting="loose") == [('27" screen', "1"), ("Tee, blue", "2")]
    path.write_text('a,b\n27" screen,1\n"x,2\n')
    assert read(path, quoting="none") == [('27" screen', "1"), ('"x', "2")]


def test_a_value_may_hold_lines_that_look_like_rows_where_the_upload_says_so(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text('a,b\n1,"x\n2,3\ny"\n4,5\n')

    assert read(path) == [None, None, None, ("4", "5")]
    assert read(path, quoting="loose") == [("1", "x\n2,3\ny"), ("4", "5")]


def test_escapes_are_read_where_declared(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text('a,b,c\n1,"text with \\" a quote, and more",\\N\n2,"back\\\\slash","two\nlines"\n3,"\\N",\\N\n')

    assert read(path, escape="backslash") == [
        ("1", 'text with " a quote, and more', None),
        ("2", "back\\slash", "two\nlines"),
        ("3", "N", None),
    ]


@pytest.mark.parametrize("shift", range(4))
def test_line_breaks_inside_quotes_are_whole_wherever_a_block_ends(tmp_path, shift):
    """apache/arrow#51368: a carriage return that is the last byte of a block lost its line feed."""
    row = '%d,"one\r\ntwo",x\r\n'
    size = (1 << 20) - len("a,b,c\r\n") - len('1,"one') - 1 - shift
    filler = "7,plain,y\r\n"
    lines = filler * (size // len(filler))
    path = tmp_path / "f.csv"
    path.write_bytes(("a,b,c\r\n" + lines + "8," + "z" * (size % len(filler)) + ",y\r\n" + row % 1 * 3).encode())

    assert [row[1] for row in read(path)[-3:]] == ["one\r\ntwo"] * 3


# ---------------------------------------------------------------------------------------------- laws

TEXTS = st.text(st.sampled_from("ab1 ,\"\n\r';é"), max_size=8)
TABLES = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.lists(TEXTS, min_size=width, max_size=width), min_size=1, max_size=8)
)


def written(table, **manner):
    """The writer leaves a lone carriage return unquoted where lines end otherwise, and cannot read it back itself."""
    if manner["lineterminator"] == "\n":
        table[:] = [[value.replace("\r", "\r\n") for value in row] for row in table]
    sink = io.StringIO()
    csv.writer(sink, **manner).writerows([[f"column{n}" for n in range(len(table[0]))], *table])
    return sink.getvalue().encode()


MANNERS = st.fixed_dictionaries(
    {
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
        "lineterminator": st.sampled_from(["\n", "\r\n"]),
    }
)


@given(TABLES, MANNERS)
@settings(max_examples=150, deadline=None)
def test_every_row_of_any_csv_is_read_or_counted(tmp_path_factory, table, manner):
    """Rows that are read are right; what cannot be told apart is counted, line for line, or refused."""
    path = tmp_path_factory.mktemp("csv") / "f.csv"
    path.write_bytes(written(table, **manner))

    found = told(path)

    kept = [tuple(value or "" for value in row) for row in found if row]
    expected = [tuple(row) for row in table]
    assert is_subsequence(kept, expected)
    assert not found or len(found) >= len([row for row in table if any(row)])


@given(TABLES, MANNERS, st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_byte_costs_its_own_row_or_is_told(tmp_path_factory, table, manner, data):
    """Of the rows that are read at most one is none of the file's; no row is missing without a word."""
    whole = bytearray(written(table, **manner))
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.sampled_from(b'",\n\rxb1'))
    damage = data.draw(st.sampled_from(["replaced", "inserted", "lost"]))
    whole[at : at + (damage != "inserted")] = b"" if damage == "lost" else bytes([byte])
    path = tmp_path_factory.mktemp("csv") / "f.csv"
    path.write_bytes(bytes(whole))

    try:
        found = read(path)
    except OfflineCapiError:
        return

    kept = [tuple(value or "" for value in row) for row in found if row]
    strangers = [row for row in kept if row not in [tuple(row) for row in table]]
    assert len(strangers) <= 1, found


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(any(row == other for other in rest) for row in part)


# ---------------------------------------------------------------------------------------------- blocks in bits

_BITS = [b'"', b'"', b",", b"\n", b"\r\n", b"a", b'","', b'"\n"', b'"\r\n"', b'""', b'"a","b"\n"', b'a"\na",']


class _LineByLine(RowBlocks):
    """Takes every block for one that breaks the rules somewhere, and so reads it value by value."""

    def _is_standard(self, *_: object) -> bool:
        return False


def _cut(kind: type[RowBlocks], data: bytes, sizes: int) -> bytes | None:
    """What is cut from chunks of ``sizes`` bytes; ``None`` where rows cannot be told apart."""
    chunks = (data[at : at + sizes] for at in range(0, len(data), sizes))
    blocks = kind(
        Dialect(b",", "standard", has_escapes=False),
        2,
        count_quotes=lambda: 0,
        quotes_values=lambda: True,
        count_lines=lambda _: 0,
    )
    try:
        return b"".join(blocks.cut(chunks))
    except UnclosedQuoteError:
        return None


@settings(max_examples=400, deadline=None)
@given(bits=st.lists(st.sampled_from(_BITS), max_size=30), size=st.sampled_from([7, 64, 1000]))
def test_a_block_is_cut_by_its_bits_as_value_by_value(bits: list[bytes], size: int) -> None:
    data = b'"' + b"".join(bits) + b'"\n'

    assert _cut(RowBlocks, data, size) == _cut(_LineByLine, data, size)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.lists(st.text("ab,;. ", max_size=5), min_size=2, max_size=2), min_size=1, max_size=30),
    end=st.sampled_from(["\n", "\r\n"]),
    at=st.integers(0, 10_000),
    stray=st.sampled_from([b'"', b"\n", b"\r", b",", b'","', b""]),
)
def test_a_damaged_byte_is_seen_in_a_block_s_bits_as_value_by_value(
    rows: list[list[str]], end: str, at: int, stray: bytes
) -> None:
    data = "".join(",".join(f'"{value}"' for value in row) + end for row in rows).encode()
    at %= len(data)
    data = data[:at] + stray + data[at + 1 :]

    assert _cut(RowBlocks, data, 64) == _cut(_LineByLine, data, 64)


class _InBitsAlone(RowBlocks):
    """Refuses to read value by value, which takes fifty times as long."""

    def _line_by_line(self, data: bytes, *, final: bool) -> tuple[bytes, int]:
        raise AssertionError((data, final))


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.lists(st.text('ab,"\n', max_size=40), min_size=2, max_size=2), min_size=1, max_size=30),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_the_csv_module_writes_is_not_read_value_by_value(
    rows: list[list[str]], end: str, quoting: Literal[0, 1]
) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=quoting, lineterminator=end).writerows(rows)

    assert _cut(_InBitsAlone, written.getvalue().encode(), 100) is not None


def test_two_backslashes_before_a_quote_escape_nothing_also_in_a_value_that_is_not_quoted() -> None:
    """Of a value over several lines, whose quotes were counted in two ways once."""
    rows = RowBlocks(Dialect(b",", "loose", has_escapes=True), 2, lambda: 0, lambda: True, lambda _: 0)
    data = b'\\\\"\\\r' + b"b" * 60 + b'\r\\"'

    assert b"".join(rows.cut(iter([data]))) == b'x\nx\n\\"'
