"""CSV as exports really write it."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_capi.errors import SourceError, SourceSchemaError
from offline_capi.model import Reason, SourceRows
from tests.sources.reading import batches, columns_of, files, rows


@pytest.fixture
def file(tmp_path):
    def write(content: bytes | str, name: str = "f.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


def test_every_value_is_the_text_that_was_written(file):
    path = file("zip,id,n,d,yes\n01234,1234567.0,1e5,2026-11-23,true\n")

    assert rows(files(path)) == [{"zip": "01234", "id": "1234567.0", "n": "1e5", "d": "2026-11-23", "yes": "true"}]
    assert columns_of(files(path)) == [(name, "string") for name in ("zip", "id", "n", "d", "yes")]


def test_an_unquoted_null_value_is_null_and_a_quoted_one_is_text(file):
    path = file('a,b,c,d\n,"",NULL,"NULL"\n')

    assert rows(files(path)) == [{"a": None, "b": "", "c": None, "d": "NULL"}]


def test_null_values_are_those_declared(file):
    path = file("a,b\n-,NULL\n")

    assert rows(files(path, null_values=["-"])) == [{"a": None, "b": "NULL"}]


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")],
)
def test_a_byte_order_mark_is_recognised_and_removed(file, encoding, mark):
    path = file(mark + "näme,b\nمريم,😀\n".encode(encoding))

    assert rows(files(path)) == [{"näme": "مريم", "b": "😀"}]


def test_encodings_are_tried_in_order_file_by_file(tmp_path):
    (tmp_path / "1.csv").write_bytes("a\nMüller\n".encode())
    (tmp_path / "2.csv").write_bytes("a\nMüller\n".encode("latin-1"))
    (tmp_path / "3.csv").write_bytes(gzip.compress("a\nMüller\n".encode("latin-1")))
    (tmp_path / "3.csv").rename(tmp_path / "3.csv.gz")

    assert [row["a"] for row in rows(files(tmp_path, encoding=["utf-8", "latin-1"]))] == ["Müller"] * 3


def test_the_whole_file_decides_its_encoding_not_its_beginning(file):
    path = file(b"a\n" + b"plain\n" * 3_000_000 + "Müller\n".encode("latin-1"))

    last = batches(files(path, encoding=["utf-8", "latin-1"]))[-1]

    assert last.batch.column("a")[-1].as_py() == "Müller"


@pytest.mark.parametrize("encoding", [("utf-8",), ("ascii", "utf-8"), ("cp1252",)])
def test_a_file_in_no_declared_encoding_is_an_error_that_shows_nothing_of_it(file, encoding):
    path = file(b"a,b\nsecret\x81,1\n")

    with pytest.raises(SourceError, match=r"file f\.csv: it is not written in") as raised:
        rows(files(path, encoding=encoding))

    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_an_unknown_encoding_is_named(file):
    with pytest.raises(SourceError, match='"utf-9" is unknown'):
        rows(files(file("a\n1\n"), encoding="utf-9"))


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstd), (".bz2", bz2.compress), ("", bytes)]
)
def test_compression_is_known_by_name_and_files_may_be_joined(file, suffix, compress):
    path = file(compress(b"a,b\n1,2\n") + compress(b"3,4\n"), f"f.csv{suffix}")

    assert [row["a"] for row in rows(files(path))] == ["1", "3"]


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstd)])
def test_a_compressed_file_that_was_cut_short_is_an_error_not_a_shorter_day(file, suffix, compress):
    whole = compress(b"a,b\n" + b"".join(b"%d,2\n" % n for n in range(50_000)))
    path = file(whole[: len(whole) // 2], f"f.csv{suffix}")

    with pytest.raises(SourceError, match="ends in the middle"):
        rows(files(path))


def test_a_file_that_is_not_compressed_as_its_name_says(file):
    with pytest.raises(SourceError, match="not compressed as its name says"):
        rows(files(file("a,b\n1,2\n", "f.csv.gz")))


def test_values_may_hold_line_breaks_delimiters_and_quotes_between_quotes(file):
    path = file('a;b\r\n"line 1\r\nline 2";"x;""y"""\r\n')

    assert rows(files(path, delimiter=";")) == [{"a": "line 1\r\nline 2", "b": 'x;"y"'}]


def test_blanks_around_column_names_do_not_belong_to_them(file):
    assert rows(files(file("a , b\n1,2\n"))) == [{"a": "1", "b": "2"}]


def test_a_malformed_line_is_a_row_of_nulls_with_a_fault_in_its_place(file):
    path = file("a,b\n1,1\n2\n3,3\n4,4,4\n5,5\n6,,\n")

    (part,) = batches(files(path))

    assert part.batch.column("a").to_pylist() == ["1", None, "3", None, "5", None]
    assert [(fault.reason, fault.where.to_pylist()) for fault in part.faults] == [
        (Reason.MALFORMED_ROW, [False, True, False, True, False, True])
    ]


def marks(part: SourceRows) -> list[bool]:
    return part.faults[0].where.to_pylist() if part.faults else [False] * len(part)


@given(
    st.lists(st.sampled_from(["ok", "short", "long"]), max_size=60),
    st.sampled_from([1, 3, 7, 65_536]),
)
@settings(max_examples=60, deadline=None)
def test_every_line_is_one_row_wherever_it_is_malformed(tmp_path_factory, kinds, batch_rows):
    """Rows counted by us and lines in the file agree, and so do their numbers, whatever the size of a batch."""
    lines = {"ok": "{n},x", "short": "{n}", "long": "{n},x,y"}
    path = tmp_path_factory.mktemp("csv") / "f.csv"
    path.write_text("a,b\n" + "".join(lines[kind].format(n=n) + "\n" for n, kind in enumerate(kinds, 1)))

    found = batches(files(path), batch_rows=batch_rows)

    values = [value for part in found for value in part.batch.column("a").to_pylist()]
    assert values == [str(n) if kind == "ok" else None for n, kind in enumerate(kinds, 1)]
    assert [row for part in found for row in range(part.first_row, part.first_row + len(part))] == [
        *range(1, len(kinds) + 1)
    ]
    faulty = [flag for part in found for flag in marks(part)]
    assert faulty == [kind != "ok" for kind in kinds]


def test_malformed_lines_keep_their_place_across_blocks_of_a_large_file(file):
    """Over several blocks, with malformed lines at the first, the last and every 100,000th row."""
    bad = {1, 400_000, *range(50_000, 400_000, 100_000)}
    path = file("a,b\n" + "".join(f"{n}\n" if n in bad else f"{n},{'x' * 50}\n" for n in range(1, 400_001)))

    found = batches(files(path))

    values = pa.chunked_array([part.batch.column("a") for part in found]).to_pylist()
    assert values == [None if n in bad else str(n) for n in range(1, 400_001)]
    assert [part.first_row for part in found][:2] == [1, 65_537]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('a,b\n1,2\n3,"4\n5,6\n7,8\n', 2),
        ('a,b\n1,2\n"3,4\n5,6\n7,8\n', 2),
        ('a,b\n1,2\n3,"4\n5,"6"\n7,8\n', 2),
        ('a,b\n"3,4\n5,6\n7,8\n', 1),
    ],
    ids=["in the last column", "in the first column", "closed by a later quote", "in the first row"],
)
def test_a_quote_that_is_never_closed_is_an_error_not_a_lost_rest(file, content, line):
    told = f"in or after line {line} below the header a quote is opened and not closed"
    with pytest.raises(SourceError, match=told) as raised:
        rows(files(file(content)))

    assert "5,6" not in str(raised.value)


def test_inches_are_not_open_quotes(file):
    path = file('a,b\n7" pipe,1\n2,"two\nlines"\n')

    assert [row["b"] for row in rows(files(file(path.read_bytes().replace(b'7"', b'7 " 8"'))))] == ["1", "two\nlines"]


def test_files_may_differ_in_the_order_of_columns_and_have_more(tmp_path):
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("c,b,a\n0,2,1\n")

    found = batches(files(tmp_path), columns=["b", "a"])

    assert [part.batch.schema.names for part in found] == [["b", "a"]] * 2
    assert [part.batch.to_pylist() for part in found] == [[{"b": "2", "a": "1"}]] * 2


def test_a_missing_column_is_named_with_its_file_and_the_nearest_name(tmp_path):
    (tmp_path / "1.csv").write_text("email_address,b\n1,2\n")

    with pytest.raises(SourceSchemaError) as raised:
        batches(files(tmp_path), columns=["email_adress", "b"])

    assert str(raised.value) == (
        "file 1.csv: columns that the upload names are missing:\n"
        '  "email_adress"; did you mean "email_address"?\n'
        "It has: email_address, b.\n"
        "Correct the names in the upload, or the source. Nothing was sent from it; repeating is safe."
    )


def test_a_column_that_is_there_twice_is_refused(file):
    with pytest.raises(SourceSchemaError, match='"a" is there more than once'):
        rows(files(file("a,b,a\n1,2,3\n")), columns=["a"])


def test_p09_a_name_that_is_there_twice_may_be_a_persons_where_nobody_knows_a_column(file):
    """A hook may look at any column, so that none is known. Was: the name, a value where there is no header."""
    with pytest.raises(SourceSchemaError, match="the column that stands in 1, 3 is there more than once"):
        rows(files(file("Jane,b,Jane\n1,2,3\n")))


def test_a_file_with_a_header_alone_has_no_rows(file):
    assert batches(files(file("a,b\n"))) == []


def test_a_file_without_even_a_header_is_an_error(file):
    with pytest.raises(SourceError, match="empty, without even a header"):
        batches(files(file("")))


def test_batches_are_bounded_and_numbered(file):
    path = file("a\n" + "x\n" * 25)

    found = batches(files(path), batch_rows=10)

    assert [(part.first_row, len(part)) for part in found] == [(1, 10), (11, 10), (21, 5)]


def test_a_file_that_may_not_be_read_is_an_error(tmp_path):
    (tmp_path / "a.csv").mkdir()

    assert batches(files(tmp_path / "*.csv")) == []
