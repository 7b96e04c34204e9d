"""A CSV in pieces is the CSV as a whole: each value, row number and fault, and each error; however it is written."""

from __future__ import annotations

import gzip
import pickle
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offline_capi.config.source import FileSource
from offline_capi.errors import SourceError, SourceSchemaError
from offline_capi.model import SourceRows
from offline_capi.sources import FilePart
from offline_capi.sources.files import csv as csv_files
from offline_capi.sources.files import join_parts, read_part
from tests.sources.reading import WINDOW, batches, files, open_at

NAMES = ["a", "b", "c"]
#: Values as they stand in a file; ``|`` stands for the delimiter and a line feed for the file's line end.
VALUES = ["x", "", "NULL", "-", "é€", "long " * 12, '"q"', '"two\nlines"', '"d""q"', '"p|q"', '""']
ODD_VALUES = ['5"', '"open', 'a "b" c', '"x"y', '\\"', "\\N", '"\\""', '"1|2|3\n4|5|6"', '"\n\n"', "l" * 130]
ODD_LINES = ["", "a|b|c", "one", "1|2|3|4", "\nTotal", "\nT\nU", "x|y|z|", '"a"|"b"|"c"', "sep=|"]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some hundred bytes are read in several blocks, and cut behind any of them."""
    for name, size in {
        "MIN_CUT_BYTES": 0,
        "HEAD_BYTES": 120,
        "BLOCK_BYTES": 64,
        "MAX_FOOTER_BYTES": 24,
        "MAX_ROW_BYTES": 180,
    }.items():
        monkeypatch.setattr(csv_files, name, size)


def list_rows(batches: list[SourceRows]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for one in batches:
        faults = [[fault.reason for fault in one.faults if fault.where[at].as_py()] for at in range(len(one))]
        whole = [(one.origin, one.width)] * len(one)
        rows += zip(whole, one.row_numbers.to_pylist(), one.batch.to_pylist(), faults, strict=True)
    return rows


def cut(source: FileSource, rows: int, columns: list[str] | None = None) -> list[FilePart]:
    parts = open_at(source).cut(WINDOW, rows, columns=columns)
    assert parts is not None
    return list(pickle.loads(pickle.dumps(parts)))


def read_pieces(source: FileSource, rows: int, columns: list[str] | None = None, joined: int = 0) -> list[SourceRows]:
    parts = join_parts(cut(source, rows, columns), joined)
    return [one for part in parts for one in read_part(part, source, columns, 7)]


def read_or_refuse(read: Any) -> list[tuple[Any, ...]] | str:
    try:
        return list_rows(read())
    except (SourceError, SourceSchemaError) as error:
        return str(error)


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, dict[str, Any], list[str] | None]:
    """A file, the settings to read it, and which columns."""
    values = VALUES + draw(st.lists(st.sampled_from(ODD_VALUES), max_size=1))  # several would be refused
    line = st.lists(st.sampled_from(values), min_size=3, max_size=3).map("|".join)
    odd = draw(st.lists(st.sampled_from(ODD_LINES), max_size=2))
    lines = draw(st.lists(line | st.sampled_from(odd) if odd else line, max_size=40))
    delimiter, end = draw(st.sampled_from([",", ";", "\t"])), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    preamble = draw(st.sampled_from([[], ["Export of"], ["Export of", "yesterday"]]))
    text = "\n".join([*preamble, "|".join(NAMES), *lines]) + draw(st.sampled_from(["", "\n", "\nTotal\n", "\n\nTotal"]))
    encoding, mark = draw(
        st.sampled_from([("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("cp1252", b""), ("utf-16-le", b"\xff\xfe")])
    )
    settings = {
        "delimiter": delimiter,
        "encoding": draw(st.sampled_from([["utf-8", "latin-1"], [encoding]])),
        "quoting": draw(st.sampled_from(["standard", "loose", "none"])),
        "escape": draw(st.sampled_from([None, "backslash"])),
        "header_row": len(preamble) + 1 if preamble else None,
        "footer_rows": draw(st.integers(0, 2)),
        "trailing_delimiter": draw(st.booleans()),
        "null_values": draw(st.sampled_from([["", "NULL"], ["-"]])),
    }
    data = text.replace("|", delimiter).replace("\n", end).encode(encoding)
    return mark + data, settings, draw(st.sampled_from([None, ["c", "a"]]))


#: By the quotes of the last block, whether two lines are rows: where it begins is not for the cut to say.
INCHES = (
    "a,b,c\r\n" + "x,x,x\r\na,b,c\r\n" * 2 + "a,b,c\r\n" * 2 + "x,x,NULL\r\n" * 2 + "x,NULL,NULL\r\n" + "a,b,c\r\n" * 2
    + f'x,x,x\r\nx,{"long " * 12},5"\r\nNULL,NULL,NULL\r\nx,x,x\r\n\r\nTotal'
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(file=written(), rows=st.integers(1, 12), joined=st.sampled_from([0, 0, 15, 1000]))
@example(file=(INCHES.encode(), {"quoting": "none"}, None), rows=2, joined=0)
@example(file=(INCHES.encode(), {"quoting": "none"}, None), rows=1, joined=10)
def test_p25_pieces_of_a_csv_are_its_rows_whatever_it_looks_like(
    tmp_path_factory: pytest.TempPathFactory,
    file: tuple[bytes, dict[str, Any], list[str] | None],
    rows: int,
    joined: int,
) -> None:
    """Also where neighbours are put together again."""
    data, options, columns = file
    path = tmp_path_factory.mktemp("csv") / "f.csv"
    path.write_bytes(data)
    source = files(path, **options)

    whole = read_or_refuse(lambda: batches(source, columns=columns))

    assert read_or_refuse(lambda: read_pieces(source, rows, columns, joined)) == whole


def test_what_the_first_rows_and_the_last_lines_of_a_file_are_judged_by_is_not_asked_of_other_pieces(
    tmp_path: Path,
) -> None:
    """Rows that all end in a delimiter, and lines behind a blank one: refused and left out at the file's two ends."""
    path = tmp_path / "f.csv"
    middle = "1,2,3,\n" * 60 + "\nT\n" * 60
    path.write_text("a,b,c\n" + "1,2,3\n" * 60 + middle + "4,5,6\n" * 30)

    pieces = read_pieces(files(path), 20)

    assert list_rows(pieces) == list_rows(batches(files(path)))
    assert sum(map(len, pieces)) == 210


def test_a_file_in_object_storage_is_cut_and_its_pieces_are_read_from_there() -> None:
    path = f"/{uuid.uuid4().hex}/f.csv"
    fsspec.filesystem("memory").pipe_file(path, b"a,b,c\n" + b'1,"2,2",3\n' * 100)
    source = files(f"memory:/{path}")

    parts = cut(source, 20)

    assert len(parts) > 3
    assert [part.first_row for part in parts[1:]] == [part.first_row + (part.rows or 0) for part in parts[:-1]]
    assert list_rows(read_pieces(source, 20)) == list_rows(batches(source))


def test_a_file_that_is_small_or_cannot_be_cut_is_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a,b,c\n" + "1,2,ü\n" * 100
    contents = {
        "small.csv": text.encode(),
        "utf-16.csv": text.encode("utf-16"),
        "shift_jis.csv": text.replace("ü", "\u30bd").encode("shift_jis"),
        "packed.csv.gz": gzip.compress(text.encode()),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = {name: cut(files(tmp_path / name, encoding=["utf-8", "shift_jis"]), 20) for name in contents}
    monkeypatch.undo()  # the bound as it is
    found["small"] = cut(files(tmp_path / "small.csv"), 20)

    assert len(found.pop("small.csv")) > 3
    assert [[(part.rows, part.span) for part in parts] for parts in found.values()] == [[(None, None)]] * 4


@pytest.mark.parametrize("name", ["f.csv", "f.parquet"])
def test_parts_are_joined_where_their_rows_follow_each_other_and_are_few_enough(tmp_path: Path, name: str) -> None:
    rows = pa.table({"a": [str(number) for number in range(200)]})
    pq.write_table(rows, tmp_path / "f.parquet", row_group_size=10)
    (tmp_path / "f.csv").write_text("\n".join(["a", *rows["a"].to_pylist()]))
    first, second, *_, last = parts = cut(files(tmp_path / name), 10)

    joined = list(join_parts([first, second, last], 1_000))
    all_joined = list(join_parts(parts, 100))
    read = [
        row["a"]
        for part in joined
        for one in read_part(part, files(tmp_path / name), ["a"])
        for row in one.batch.to_pylist()
    ]

    assert [(part.first_row, part.rows) for part in joined] == [
        (1, (first.rows or 0) + (second.rows or 0)), (last.first_row, last.rows),
    ]  # fmt: skip
    assert (
        read
        == rows["a"].to_pylist()[: second.first_row - 1 + (second.rows or 0)]
        + rows["a"].to_pylist()[last.first_row - 1 :]
    )
    assert len(parts) > len(all_joined) > 1
    assert max(part.rows or 0 for part in all_joined) <= 100
