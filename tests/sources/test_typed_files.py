"""JSON lines and Parquet."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_capi.errors import SourceError, SourceSchemaError
from offline_capi.model import Reason
from tests.sources.reading import WINDOW, batches, columns_of, files, open_at, rows

# ---------------------------------------------------------------------------------------------- JSON lines


def test_json_values_are_text_but_for_numbers_with_a_fraction_and_nested_ones_are_json(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text('{"a": "007", "b": 12.5, "c": true, "d": null, "e": [{"id": "x"}], "f": 12345678901234567890}\n')

    (row,) = rows(files(path), columns=list("abcdefg"))

    assert row.pop("e").replace(" ", "") == '[{"id":"x"}]'
    assert row == {"a": "007", "b": 12.5, "c": "true", "d": None, "f": "12345678901234567890", "g": None}


def test_json_columns_come_as_they_are_without_a_list_of_columns(tmp_path):
    (tmp_path / "f.ndjson.gz").write_bytes(gzip.compress(b'{"a": 1}\n\n{"b": "NULL", "a": [1]}'))

    assert rows(files(tmp_path)) == [{"a": "1", "b": None}, {"a": "[1]", "b": "NULL"}]
    assert columns_of(files(tmp_path)) == [("a", "string"), ("b", "string")]


@pytest.mark.parametrize("columns", [["a"], None])
def test_a_line_that_is_no_object_is_a_row_of_nulls_with_a_fault(tmp_path, columns):
    path = tmp_path / "f.jsonl"
    path.write_text('{"a": 1}\noops\n{"a": 3}\n[4]\n{"a": 5}\n{"a": 6')

    (part,) = batches(files(path), columns=columns)

    assert part.batch.column("a").to_pylist() == ["1", None, "3", None, "5", None]
    assert part.faults[0].reason is Reason.MALFORMED_JSON
    assert part.faults[0].where.to_pylist() == [False, True, False, True, False, True]


def test_a_file_that_is_not_json_lines_is_an_error_not_a_million_rejects(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text("a,b\n" * 2_000)

    with pytest.raises(SourceError, match="does not hold JSON lines"):
        rows(files(path), columns=["a"])


def test_a_json_key_that_no_line_has_is_missing_in_a_long_file_and_null_in_a_short_one(tmp_path):
    (tmp_path / "short.jsonl").write_text('{"email": 1}\n')
    (tmp_path / "long.jsonl").write_text('{"email": 1}\n' * 100)

    assert rows(files(tmp_path / "short.jsonl"), columns=["e_mail"]) == [{"e_mail": None}]
    with pytest.raises(SourceSchemaError, match='did you mean "email"'):
        rows(files(tmp_path / "long.jsonl"), columns=["e_mail"])


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_json_file_has_no_rows(tmp_path, text):
    (tmp_path / "f.jsonl").write_text(text)

    assert batches(files(tmp_path), columns=["a"]) == []


def test_json_in_another_encoding_is_read_or_refused_as_declared(tmp_path):
    (tmp_path / "f.jsonl").write_bytes('{"a": "Müller"}\n'.encode("latin-1"))

    assert rows(files(tmp_path, encoding=["utf-8", "latin-1"])) == [{"a": "Müller"}]
    with pytest.raises(SourceError, match="not written in utf-8"):
        rows(files(tmp_path))


def test_json_lines_longer_than_a_block_and_across_blocks_are_whole(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_text("".join(f'{{"n": {n}, "a": "{"x" * size}"}}\n' for n, size in enumerate([10, 20_000_000, 10, 10])))

    assert [(row["n"], len(row["a"])) for row in rows(files(path), columns=["n", "a"])] == [
        ("0", 10), ("1", 20_000_000), ("2", 10), ("3", 10),
    ]  # fmt: skip


# ---------------------------------------------------------------------------------------------- Parquet

AT = datetime(2026, 11, 23, 14, 3, 22, 5)  # noqa: DTZ001  naive, as sources have it
KINDS = [
    (pa.array(["007"], pa.large_string()), "string", "007"),
    (pa.array(["x"]).dictionary_encode(), "string", "x"),
    (pa.array([7], pa.int8()), "int64", 7),
    (pa.array([2**63 + 1], pa.uint64()), "string", str(2**63 + 1)),
    (pa.array([1.5], pa.float32()), "double", 1.5),
    (pa.array([9.99], pa.float32()), "double", 9.99),
    (pa.array([Decimal("12000.50")]), "decimal128(7, 2)", Decimal("12000.50")),
    (pa.array([date(2026, 2, 1)], pa.date64()), "date32[day]", date(2026, 2, 1)),
    (pa.array([AT], pa.timestamp("ns")), "timestamp[us]", AT),
    (pa.array([AT.replace(tzinfo=UTC)], pa.timestamp("ms", "Europe/Berlin")), "timestamp[us, tz=UTC]",
     AT.replace(microsecond=0, tzinfo=UTC)),
    (pa.array([True]), "bool", True),
    (pa.array([b"text"]), "string", "text"),
    (pa.array([b"\xff\x00"]), "string", "ff00"),
    (pa.array([[{"id": "ü", "n": 1}]]), "string", '[{"id":"ü","n":1}]'),
    (pa.nulls(1), "string", None),
]  # fmt: skip


@pytest.mark.parametrize(("column", "kind", "value"), KINDS, ids=[str(column.type) for column, _, _ in KINDS])
def test_parquet_types_come_in_seven_kinds(tmp_path, column, kind, value):
    table = pa.table({"a": pa.concat_arrays([column, pa.nulls(1, column.type)])})
    pq.write_table(table, tmp_path / "f.parquet", compression="zstd", coerce_timestamps=None)

    (part,) = batches(files(tmp_path))

    assert str(part.batch.schema.field("a").type) == kind
    assert part.batch.column("a").to_pylist() == [value, None]


def test_parquet_files_of_one_folder_may_differ_in_columns_but_not_lack_one(tmp_path):
    pq.write_table(pa.table({"a": ["1"], "b": ["2"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"c": [0], "b": ["2"], "a": ["1"]}), tmp_path / "2.parquet")
    source = files(tmp_path)

    assert rows(source, columns=["a", "b"]) == [{"a": "1", "b": "2"}] * 2
    assert columns_of(source) == [("a", "string"), ("b", "string")]
    with pytest.raises(SourceSchemaError, match=r"file 1\.parquet: .*\n  \"c\""):
        rows(source, columns=["c"])


def test_parquet_batches_are_numbered_through(tmp_path):
    pq.write_table(pa.table({"a": list(range(25))}), tmp_path / "f.pq", row_group_size=10)

    found = batches(files(tmp_path), batch_rows=7)

    assert [row for part in found for row in range(part.first_row, part.first_row + len(part))] == list(range(1, 26))
    assert max(map(len, found)) <= 7


def test_a_file_that_is_not_parquet_is_an_error(tmp_path):
    (tmp_path / "f.parquet").write_bytes(b"PAR1 secret and then nothing")

    with pytest.raises(SourceError, match="not a whole Parquet file") as raised:
        rows(files(tmp_path))

    assert "secret" not in str(raised.value)


def test_aware_values_of_python_and_of_parquet_are_the_same_instant(tmp_path):
    berlin = AT.replace(tzinfo=timezone(timedelta(hours=1)))
    pq.write_table(pa.table({"a": [berlin]}), tmp_path / "f.parquet")

    assert rows(files(tmp_path))[0]["a"] == berlin


def test_a_row_group_of_a_whole_file_is_not_read_whole(tmp_path: Path):
    """Writers put a million rows into one row group; a batch of it must not take all of them into memory."""
    count = 1_000_000
    columns = {
        f"c{i}": pa.array(np.random.default_rng(i).integers(0, 2**62, count)).cast(pa.string()) for i in range(4)
    }
    pq.write_table(pa.table(columns), tmp_path / "all.parquet", row_group_size=count)
    before = pa.total_allocated_bytes()

    reading = open_at(files(tmp_path / "all.parquet")).read(WINDOW, batch_rows=8_192)
    first = next(reading)

    assert len(first) == 8_192
    assert pa.total_allocated_bytes() - before < (tmp_path / "all.parquet").stat().st_size / 2


def test_members_of_structs_are_columns_by_their_dotted_names(tmp_path):
    table = pa.table(
        {"id": [1, 2], "customer": [{"email": "a@x.org", "home": {"zip": "01"}}, None], "customer.x": ["k"] * 2}
    )
    pq.write_table(table, tmp_path / "f.parquet")

    assert rows(files(tmp_path), columns=["customer.home.zip", "customer.email", "id", "customer.x"]) == [
        {"customer.home.zip": "01", "customer.email": "a@x.org", "id": 1, "customer.x": "k"},
        {"customer.home.zip": None, "customer.email": None, "id": 2, "customer.x": "k"},
    ]
    assert ("customer.email", "string") in columns_of(files(tmp_path))


# ---------------------------------------------------------------------------------------------- other layouts of JSON


@pytest.mark.parametrize("layout", ['[{"a": 1, "b": {"c": "x"}}, {"a": 2}]', '{"a": 1, "b": {"c": "x"}}\n{"a": 2}'])
@pytest.mark.parametrize("indented", [True, False])
def test_json_is_read_in_any_layout_of_objects(tmp_path, layout, indented):
    values = json.loads(layout) if layout.startswith("[") else [json.loads(line) for line in layout.splitlines()]
    if indented and layout.startswith("["):
        layout = json.dumps(values, indent=2)
    elif indented:
        layout = "\n".join(json.dumps(value, indent=2) for value in values)
    (tmp_path / "f.json").write_text(layout)

    assert rows(files(tmp_path), columns=["a", "b.c"]) == [{"a": "1", "b.c": "x"}, {"a": "2", "b.c": None}]
    assert columns_of(files(tmp_path)) == [("a", "string"), ("b", "string"), ("b.c", "string")]


@pytest.mark.parametrize("text", ['[{"a": 1}, {"a": ', '[{"a": 1} "x"', '[{"a": 1}]]', "[{'a': 1}]", '{\n"a": 1,\n}'])
def test_an_array_that_is_not_whole_is_refused_as_json(tmp_path, text):
    (tmp_path / "f.jsonl").write_text(text)

    with pytest.raises(SourceError, match="is no JSON, or is not whole") as raised:
        rows(files(tmp_path), columns=["a"])

    assert "delimiter" not in str(raised.value)


def test_an_array_over_many_blocks_is_read_in_order(tmp_path):
    (tmp_path / "f.jsonl").write_text(json.dumps([{"n": n, "pad": "x" * 100} for n in range(120_000)]))

    found = [row["n"] for row in rows(files(tmp_path), columns=["n"])]

    assert found == [str(n) for n in range(120_000)]


def test_a_key_with_a_dot_is_itself_and_not_a_member(tmp_path):
    (tmp_path / "f.jsonl").write_text(
        '{"a.b": "own", "a": {"b": "nested"}}\n{"a": {"b": 12345678901234567890123}}\n{"a": "x"}\n'
    )

    assert rows(files(tmp_path), columns=["a.b"]) == [{"a.b": "own"}, {"a.b": "12345678901234567890123"}, {"a.b": None}]


def test_numbers_with_a_fraction_stay_numbers_beside_texts_that_look_like_them(tmp_path):
    lines = [
        '{"t": 12.345, "u": "1,250"}',
        '{"t": "12,5", "u": 33.333}',
        '{"t": 7, "u": null}',
        '{"t": null, "u": 1e2}',
    ]
    (tmp_path / "f.jsonl").write_text("\n".join(lines))

    assert [tuple(row.values()) for row in rows(files(tmp_path), columns=["t", "u"])] == [
        (12.345, "1,250"), ("12,5", 33.333), ("7", None), (None, 100.0),
    ]  # fmt: skip
