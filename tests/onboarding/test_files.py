"""A look at files: in whatever way they were exported, and at those that cannot be used."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from offline_capi.errors import OfflineCapiError, SourceError, UsageError
from offline_capi.onboarding import Origin, inspect_file
from tests.onboarding.beginner import CANARY

NAMES = ["order_no", "mail", "city"]
VALUES = [[f"o-{at}", f"p{at}@example.com", "Zürich; Höngg, 8049"] for at in range(30)]


def as_csv(delimiter: str, *, rows: int = len(VALUES)) -> str:
    lines = [NAMES, *([*row[:2], f'"{row[2]}"'] for row in VALUES[:rows])]
    return "\r\n".join(delimiter.join(line) for line in lines) + "\r\n"


def look(folder: Path, name: str, content: bytes) -> Origin:
    path = folder / name
    path.write_bytes(content)
    return inspect_file(str(path), {})


def read(origin: Origin) -> list[list[str]]:
    return [list(row.values()) for row in origin.sample.batch.to_pylist()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_what_stands_between_columns_is_found(tmp_path: Path, delimiter: str) -> None:
    """Also where values hold the others, between quotes."""
    origin = look(tmp_path, "sales.csv", as_csv(delimiter).encode())

    assert read(origin) == VALUES
    assert origin.node.get("delimiter", ",") == delimiter


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-16", None),
        ("cp1252", ["utf-8", "cp1252"]),
    ],
)
def test_the_encoding_is_written_only_where_it_is_not_seen(
    tmp_path: Path, encoding: str, written: list[str] | None
) -> None:
    origin = look(tmp_path, "sales.csv", as_csv(";").encode(encoding))

    assert read(origin) == VALUES
    assert origin.node.get("encoding") == written
    assert origin.described == f"CSV{', cp1252' if written else ''}, semicolons between columns"


def test_every_format_is_read(tmp_path: Path) -> None:
    objects = [dict(zip(NAMES, row, strict=True)) for row in VALUES]
    parquet.write_table(pa.Table.from_pylist(objects), tmp_path / "sales.parquet")

    found = [
        inspect_file(str(tmp_path / "sales.parquet"), {}),
        look(tmp_path, "sales.jsonl", "\n".join(map(json.dumps, objects)).encode()),
        look(tmp_path, "sales.csv.gz", gzip.compress(as_csv(",").encode())),
        look(tmp_path, "sales.txt", as_csv(";").encode()),
        look(tmp_path, "sales", "\n".join(map(json.dumps, objects)).encode()),
    ]

    assert [read(origin) for origin in found] == [VALUES] * 5
    assert [origin.node.get("format") for origin in found] == [None, None, None, "csv", None]


def test_a_folder_is_looked_at_whole(tmp_path: Path) -> None:
    for day in (22, 23):
        (tmp_path / f"sales_2026-11-{day}.csv").write_text(as_csv(","), encoding="utf-8")

    origin = inspect_file(str(tmp_path), {})

    assert len(origin.sample) == 60
    assert origin.day is None


def test_a_path_may_name_a_variable(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(as_csv(","), encoding="utf-8")

    origin = inspect_file("${DATA}/sales.csv", {"DATA": str(tmp_path)})

    assert (origin.node["path"], origin.name) == ("${DATA}/sales.csv", "sales")


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        ("empty.csv", b"", UsageError, "is empty, without even a header"),
        ("empty.jsonl", b"", UsageError, "is empty"),
        ("header.csv", as_csv(",", rows=0).encode(), UsageError, "has no rows"),
        (
            "torn.csv",
            b'order_no,mail\n1,"p@example.com\n2,q@example.com\n',
            SourceError,
            "a quote is opened and not closed",
        ),
        ("cut.csv.gz", gzip.compress(as_csv(",").encode() * 99, mtime=0)[:80], SourceError, "cut.csv.gz"),
        ("sheet.xlsx", b"PK\x03\x04rest", SourceError, "a damaged zip archive"),
        ("other.csv", b"mail,city\na@b.co,\x81\n", UsageError, "neither UTF-8 nor Windows-1252"),
        ("sales.parquet", b"PAR1 and no more", SourceError, "not a whole Parquet file"),
        ("bare.csv", f"A-1,{CANARY}@example.com\nA-2,b@example.com\n".encode(), UsageError, "looks like a row"),
        ("dates.csv", b"A-1,2026-11-23\nA-2,2026-11-23\n", UsageError, "looks like a row"),
        ("twice.csv", b"mail,mail\na@b.co,c@d.co\n", SourceError, "more than once"),
    ],
)
def test_p09_a_file_that_cannot_be_used_is_named_and_not_quoted(
    tmp_path: Path, name: str, content: bytes, kind: type[OfflineCapiError], message: str
) -> None:
    with pytest.raises(kind, match=message) as raised:
        look(tmp_path, name, content)

    assert CANARY not in str(raised.value)
    assert name in str(raised.value)


def test_a_file_that_is_not_there_is_looked_for_among_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(as_csv(","), encoding="utf-8")

    with pytest.raises(SourceError, match=r'did you mean "sales\.csv"'):
        inspect_file(str(tmp_path / "slaes.csv"), {})


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("Report: Sales\nGenerated,2026-11-28\n\n" + as_csv(","), {"header_row": 4}),
        ("sep=;\n" + as_csv(";"), {}),
        (
            "order_no,mail,city\n" + "".join(f"{','.join(row[:2])},Bern,\n" for row in VALUES),
            {"trailing_delimiter": True},
        ),
        (
            "order_no,mail,city\n"
            + "".join(
                f'{row[0]},{row[1]},"the \\\\"old\\\\" town, {row[0]}"\n'.replace("\\\\", "\\") for row in VALUES
            ),
            {"escape": "backslash"},
        ),
        (as_csv(";").encode("utf-16-le"), {"delimiter": ";"}),
    ],
)
def test_what_stands_around_rows_is_found_and_written(
    tmp_path: Path, content: str | bytes, settings: dict[str, object]
) -> None:
    origin = look(tmp_path, "sales.csv", content if isinstance(content, bytes) else content.encode())

    assert {key: value for key, value in origin.node.items() if key != "path"} == settings
    assert [row[:2] for row in read(origin)] == [row[:2] for row in VALUES]
