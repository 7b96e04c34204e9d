"""Delta Lake and Iceberg: the same rows as Parquet, only those files that a window needs, and every fault by name."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyiceberg.types import LongType

from offline_capi.config import MappingSpec
from offline_capi.config.source import DeltaSource, FileSource, IcebergSource
from offline_capi.errors import SourceError, SourceSchemaError
from offline_capi.mapping import find_placement
from offline_capi.model import RowPlacement, Window
from offline_capi.sources import Source, SourceAccess, open_source
from tests.sources.reading import DAY, WINDOW, ZONE
from tests.support.lakehouse import (
    CATALOG,
    add_deletes,
    compact_iceberg,
    list_properties,
    make_catalog,
    make_iceberg,
    write_delta_by_hand,
)

NOON = datetime(2026, 11, 23, 12)  # noqa: DTZ001  wall time of Berlin
Row = dict[str, Any]


def placed_by(column: str, **window: Any) -> RowPlacement:
    mapping = {
        "client": "acme",
        "window": {"column": column, "timezone": ZONE, **window},
        "event": {"name": "Purchase", "id": "id", "action_source": "email"},
        "user_data": {"em": "id"},
    }
    return find_placement(MappingSpec.model_validate(mapping))


def open_at(
    source: DeltaSource | IcebergSource | FileSource, folder: Path, column: str | None = None, **properties: str
) -> Source:
    access = SourceAccess(
        ZONE,
        str,
        folder=folder,
        environ={},
        catalog_properties=lambda name: {**list_properties(folder), **properties} if name == CATALOG else {},
        placement=placed_by(column) if column else None,
    )
    return open_source(source, access)


def read(source: Source, window: Window = WINDOW, columns: list[str] | None = None) -> list[Row]:
    return [row for part in source.read(window, columns=columns) for row in part.batch.to_pylist()]


def delta(folder: Path, **options: Any) -> Source:
    column = options.pop("column", None)
    return open_at(DeltaSource(delta="sales", **options), folder, column)


def iceberg(folder: Path, **options: Any) -> Source:
    column, table = options.pop("column", None), options.pop("table", "shop.sales")
    return open_at(
        IcebergSource.model_validate({"iceberg": {"catalog": CATALOG, "table": table}, **options}), folder, column
    )


def ids(rows: list[Row]) -> list[str]:
    return sorted(row["id"] for row in rows)


def path_of(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def sales(*days: int, kind: pa.DataType | None = None, tag: str = "s") -> pa.Table:
    """One sale at noon of each day, counted from the 23rd; None is a sale without a time."""
    at = pa.array([NOON + timedelta(days=day) for day in days], pa.timestamp("us"))
    names = [f"{tag}{day}" for day in days]
    return pa.table({"id": names, "at": at if kind is None else at.cast(kind), "spare": ["x" * 40] * len(days)})


# ---------------------------------------------------------------------------------------------- the same rows

EVERYTHING = pa.table(
    {
        "id": ["a", "b", None],
        "n": pa.array([1, None, 3], pa.int32()),
        "f": pa.array([9.99, None, 1e-7], pa.float32()),
        "d": pa.array([0.1, None, 1e300], pa.float64()),
        "money": pa.array([Decimal("12000.50"), None, Decimal("-1.00")], pa.decimal128(12, 2)),
        "at": pa.array([NOON.replace(microsecond=5), None, NOON], pa.timestamp("us")),
        "seen": pa.array([NOON.replace(tzinfo=UTC), None, NOON.replace(tzinfo=UTC)], pa.timestamp("us", "UTC")),
        "born": [date(1985, 7, 15), None, date(1, 1, 1)],
        "member": [True, None, False],
        "raw": [b"text", None, b"\xff\x00"],
        "person": [{"e mail": "ü@x.example", "n": 1}, None, {"e mail": None, "n": 2}],
        "lines": [[{"sku": "A", "n": 1}], [None], []],  # pyiceberg 0.12 writes a null list of structs as an empty one
        "tags": [["x", None], None, ["y"]],
    }
)
NAMES = [*EVERYTHING.schema.names, "person.e mail", "person.n"]


def test_the_same_table_gives_the_same_rows_and_types_as_parquet(tmp_path):
    (tmp_path / "files").mkdir()
    pq.write_table(EVERYTHING, tmp_path / "files" / "f.parquet")
    write_deltalake(tmp_path / "sales", EVERYTHING)
    make_iceberg(tmp_path, EVERYTHING)

    of_files = open_at(FileSource(path="files"), tmp_path)
    for table in (delta(tmp_path), iceberg(tmp_path)):
        assert read(table, columns=NAMES) == read(of_files, columns=NAMES)
        assert read(table) == read(of_files)
        assert sorted(table.read_columns(WINDOW)) == sorted(of_files.read_columns(WINDOW))
        assert table.estimate_rows(WINDOW) == 3
        assert table.find_absent_files(WINDOW) == []


def test_rows_are_numbered_through_and_batches_are_bounded(tmp_path):
    write_deltalake(tmp_path / "sales", sales(*range(5)))
    write_deltalake(tmp_path / "sales", sales(*range(5, 8)), mode="append")
    make_iceberg(tmp_path, sales(*range(5)), sales(*range(5, 8)))

    for table, origin in ((delta(tmp_path), "sales"), (iceberg(tmp_path), "shop.sales")):
        parts = list(table.read(WINDOW, columns=["id"], batch_rows=3))

        assert [(part.origin, part.first_row, len(part)) for part in parts] == [
            (origin, 1, 3),
            (origin, 4, 3),
            (origin, 7, 2),
        ]
        again = [part.batch.to_pylist() for part in table.read(WINDOW, columns=["id"], batch_rows=3)]
        assert again == [part.batch.to_pylist() for part in parts]


def test_reading_writes_nothing(tmp_path):
    write_deltalake(tmp_path / "sales", sales(0))
    make_iceberg(tmp_path, sales(0))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    for table in (delta(tmp_path), iceberg(tmp_path)):
        read(table)

    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_lineage_names_the_table_and_nothing_secret(tmp_path):
    assert delta(tmp_path).list_datasets() == [(tmp_path / "sales").as_uri()]
    assert iceberg(tmp_path).list_datasets() == ["iceberg://lake/shop.sales"]
    remote = open_at(DeltaSource(delta="s3://user:hidden-word@bucket/sales?key=hidden-word"), tmp_path)
    assert remote.list_datasets() == ["s3://bucket/sales"]


# ---------------------------------------------------------------------------------------------- only what is needed


def test_columns_that_nobody_asked_for_are_not_read(tmp_path):
    """Their bytes are gone: whoever reads them fails."""
    write_deltalake(tmp_path / "sales", sales(0))
    table = make_iceberg(tmp_path, sales(0))
    (entry,) = table.scan().plan_files()
    for file in (path_of(entry.file.file_path), next((tmp_path / "sales").glob("*.parquet"))):
        spoil_column(file, 2)

    for source in (delta(tmp_path), iceberg(tmp_path)):
        assert read(source, columns=["id"]) == [{"id": "s0"}]
        with pytest.raises(SourceError, match="not a whole Parquet file"):
            read(source, columns=["spare"])


def spoil_column(file: Path, column: int, group: int = 0) -> None:
    chunk = pq.ParquetFile(file).metadata.row_group(group).column(column)
    start = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)))
    with file.open("r+b") as stream:
        stream.seek(start)
        stream.write(b"\xff" * chunk.total_compressed_size)


@pytest.mark.parametrize("kind", [None, pa.timestamp("us", "UTC"), pa.date32()], ids=["naive", "aware", "date"])
def test_files_that_hold_only_other_days_are_not_opened(tmp_path, kind):
    days = (-1, 0, 1)
    for day in days:
        write_deltalake(tmp_path / "sales", sales(day, kind=kind), mode="append")
    table = make_iceberg(tmp_path, *(sales(day, kind=kind) for day in days))
    for file in [
        *(tmp_path / "sales").glob("*.parquet"),
        *(path_of(t.file.file_path) for t in table.scan().plan_files()),
    ]:
        if pq.read_table(file).column("id").to_pylist() != ["s0"]:
            file.unlink()

    for source in (delta(tmp_path, column="at"), iceberg(tmp_path, column="at")):
        assert ids(read(source)) == ["s0"]
        assert source.estimate_rows(WINDOW) == 1
    for source in (delta(tmp_path), iceberg(tmp_path)):
        with pytest.raises(SourceError, match="is gone, although this state of the table has it"):
            read(source)


def test_row_groups_that_hold_only_other_days_are_not_read(tmp_path):
    many = sales(*range(-2, 3))
    write_deltalake(tmp_path / "sales", many)
    file = next((tmp_path / "sales").glob("*.parquet"))
    pq.write_table(many, file, row_group_size=1)
    actions = (tmp_path / "sales" / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    changed = [json.loads(line) for line in actions]
    for action in changed:
        if "add" in action:
            action["add"]["size"] = file.stat().st_size
    (tmp_path / "sales" / "_delta_log" / f"{0:020}.json").write_text("\n".join(map(json.dumps, changed)))
    for group in (0, 1, 3, 4):
        spoil_column(file, 0, group)

    assert ids(read(delta(tmp_path, column="at"), columns=["id", "at"])) == ["s0"]
    with pytest.raises(SourceError, match="not a whole Parquet file"):
        read(delta(tmp_path), columns=["id", "at"])


def test_rows_without_a_time_are_read_by_every_window(tmp_path):
    timeless = sales(5).set_column(1, "at", pa.nulls(1, pa.timestamp("us")))
    write_deltalake(tmp_path / "sales", pa.concat_tables([sales(5), timeless]))
    make_iceberg(tmp_path, pa.concat_tables([sales(5), timeless]))

    for source in (delta(tmp_path, column="at"), iceberg(tmp_path, column="at")):
        assert None in [row["at"] for row in read(source)]


def test_partitions_of_other_days_are_not_opened_however_the_day_is_written(tmp_path):
    """Year, month and day in columns of their own, as the mapping reads them; and a text that sorts as no time does."""
    parts = pa.table(
        {"id": ["a", "b", "c"], "y": [2026] * 3, "m": [11] * 3, "d": [22, 23, 24], "us": ["11/22/26", "11/23/26", None]}
    )
    for by, spec in (
        (["y", "m", "d"], {"template": "{y}-{m}-{d}", "format": "%Y-%m-%d"}),
        (["us"], {"column": "us", "format": "%m/%d/%y"}),
    ):
        folder = tmp_path / by[0]
        write_deltalake(folder / "sales", parts, partition_by=by)
        mapping = MappingSpec.model_validate(
            {"client": "acme", "window": {"timezone": ZONE, **spec},
             "event": {"name": "Purchase", "id": "id", "action_source": "email"}, "user_data": {"em": "id"}}
        )  # fmt: skip
        access = SourceAccess(ZONE, str, folder=folder, environ={}, placement=find_placement(mapping))
        for path in folder.rglob("*22*/*.parquet"):
            path.unlink()

        found = ids(read(open_source(DeltaSource(delta="sales"), access), columns=["id", *by]))

        assert found == (["b"] if by == ["y", "m", "d"] else ["b", "c"])


def test_a_partition_of_iceberg_by_a_number_that_is_a_day_is_placed_by_the_mapping(tmp_path):
    parts = pa.table({"id": ["a", "b", "c"], "day_key": [20261122, 20261123, None]})
    table = make_iceberg(tmp_path, parts.slice(0, 0))
    with table.update_spec() as update:
        update.add_identity("day_key")
    table.append(parts)
    path_of(next(t.file.file_path for t in table.scan().plan_files() if "20261122" in t.file.file_path)).unlink()
    source = IcebergSource.model_validate({"iceberg": {"catalog": CATALOG, "table": "shop.sales"}})
    access = SourceAccess(
        ZONE, str, environ={}, catalog_properties=lambda _: list_properties(tmp_path),
        placement=placed_by("day_key", format="%Y%m%d"),
    )  # fmt: skip

    assert ids(read(open_source(source, access))) == ["b", "c"]


KINDS = [date(2026, 11, 23), 7, "x y/ü=%", True, Decimal("1.50"), NOON, NOON.replace(tzinfo=UTC), None]


@pytest.mark.parametrize("value", KINDS, ids=str)
def test_a_column_that_only_the_partition_has_is_read_in_its_type(tmp_path, value):
    """Delta writes no partition column into files; of Iceberg's it is taken out, as tables that came from Hive are."""
    kind = pa.scalar(value).type if value is not None else pa.string()
    kind = pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else kind
    parts = pa.table({"id": ["a"], "p": pa.array([value], kind)})
    write_deltalake(tmp_path / "sales", parts, partition_by=["p"])
    table = make_iceberg(tmp_path, parts.slice(0, 0))
    with table.update_spec() as update:
        update.add_identity("p")
    table.append(parts)
    file = path_of(next(iter(table.scan().plan_files())).file.file_path)
    pq.write_table(pq.ParquetFile(file).read().select(["id"]), file)

    for source in (delta(tmp_path), iceberg(tmp_path)):
        assert read(source, columns=["p", "id"]) == [{"p": value, "id": "a"}]


# ---------------------------------------------------------------------------------------------- deleted rows


@pytest.mark.parametrize("kind", ["positions", "vector"])
def test_rows_that_an_iceberg_table_deleted_in_place_are_not_read(tmp_path, kind):
    table = make_iceberg(tmp_path, sales(0, 1, 2, 3), sales(4))
    path = next(task.file.file_path for task in table.scan().plan_files() if task.file.record_count == 4)
    add_deletes(table, path, [1, 3], kind)
    assert ids(read(iceberg(tmp_path))) == ["s0", "s2", "s4"]

    add_deletes(make_catalog(tmp_path).load_table("shop.sales"), path, [0], "positions")
    assert ids(read(iceberg(tmp_path))) == ["s2", "s4"]


def test_rows_that_an_iceberg_table_deleted_by_value_are_refused_by_name(tmp_path):
    table = make_iceberg(tmp_path, sales(0))
    add_deletes(table, "", [0], "equality")

    with pytest.raises(SourceError, match=r"equality deletes .*\nCompact the table"):
        read(iceberg(tmp_path))


def test_deletion_vectors_and_renamed_columns_of_a_delta_table(tmp_path):
    rows = pa.table({"id": ["a", "b", "c", "d"], "at": pa.array([NOON] * 4, pa.timestamp("us", "UTC"))})
    write_delta_by_hand(tmp_path / "sales", rows, deleted=[1, 3], day="2026-11-23")

    assert [(row["id"], row["day"]) for row in read(delta(tmp_path))] == [("a", DAY), ("c", DAY)]
    assert [row["id"] for row in read(delta(tmp_path, column="day"))] == ["a", "c"]
    assert read(delta(tmp_path, column="day"), Window.of_day(date(2026, 11, 24), ZONE)) == []


@pytest.mark.parametrize("path", ["x%20y/a%2525b.parquet", "{other}/a.parquet", "file://{other}/a.parquet"])
def test_files_of_delta_are_found_by_encoded_and_foreign_paths(tmp_path, path):
    """In a folder with a blank in its name; a clone names files of another table."""
    home, other = tmp_path / "my lake", tmp_path / "other lake"
    rows = pa.table({"id": ["a", "b"], "at": pa.array([NOON] * 2, pa.timestamp("us", "UTC"))})
    written = path.format(other=str(other).replace(" ", "%20"))
    write_delta_by_hand(home / "sales", rows, deleted=[0], path=written)

    assert ids(read(delta(home))) == ["b"]


def test_a_feature_of_delta_that_cannot_be_read_is_refused_by_name(tmp_path):
    rows = pa.table({"id": ["a"], "at": pa.array([NOON], pa.timestamp("us", "UTC"))})
    write_delta_by_hand(tmp_path / "sales", rows, features=["variantType"])

    with pytest.raises(SourceError, match="it uses variantType of Delta"):
        read(delta(tmp_path))


# ---------------------------------------------------------------------------------------------- schemas that changed


def test_a_column_that_came_later_is_empty_in_older_rows(tmp_path):
    wider = sales(1).append_column("shop", pa.array(["Berlin"]))
    write_deltalake(tmp_path / "sales", sales(0))
    write_deltalake(tmp_path / "sales", wider, mode="append", schema_mode="merge")
    table = make_iceberg(tmp_path, sales(0))
    with table.update_schema() as update:
        update.union_by_name(wider.schema)
    table.append(wider)

    for source in (delta(tmp_path), iceberg(tmp_path)):
        assert sorted((row["id"], row["shop"]) for row in read(source, columns=["id", "shop"])) == [
            ("s0", None),
            ("s1", "Berlin"),
        ]


def test_a_default_of_a_later_column_is_read_in_older_rows(tmp_path):
    table = make_iceberg(tmp_path, sales(0))
    with table.update_schema() as update:
        update.add_column("n", LongType(), default_value=7)
    table.append(sales(1).append_column("n", pa.array([None], pa.int64())))

    assert sorted((row["id"], row["n"]) for row in read(iceberg(tmp_path), columns=["n", "id"])) == [
        ("s0", 7),
        ("s1", None),
    ]


def test_columns_of_iceberg_are_found_by_their_ids(tmp_path):
    old = (
        sales(0).append_column("n", pa.array([7], pa.int32())).append_column("who", pa.array([{"mail": "a@b.example"}]))
    )
    table = make_iceberg(tmp_path, old)
    with table.update_schema() as update:
        update.rename_column("id", "sale").update_column("n", LongType()).rename_column(("who", "mail"), "email")
        update.delete_column("spare")
    with table.update_schema() as update:
        update.add_column("spare", LongType())

    with table.update_schema() as update:
        update.rename_column("at", "sold_at")
    (before,) = read(iceberg(tmp_path, snapshot=table.current_snapshot().snapshot_id, column="at"))
    assert (before["id"], before["n"], before["at"], before["spare"]) == ("s0", 7, NOON, "x" * 40)
    assert read(iceberg(tmp_path), columns=["sale", "n", "spare", "who.email"]) == [
        {"sale": "s0", "n": 7, "spare": None, "who.email": "a@b.example"}
    ]
    with pytest.raises(SourceSchemaError, match='"id"'):
        read(iceberg(tmp_path), columns=["id"])


def test_a_file_whose_column_is_of_another_type_is_named(tmp_path):
    write_deltalake(tmp_path / "sales", pa.table({"n": [1, 2]}))
    file = next((tmp_path / "sales").glob("*.parquet"))
    pq.write_table(pa.table({"n": ["one", "two"]}), file)

    with pytest.raises(SourceError, match=r'the column "n" is string in its file .*cannot be read as int64'):
        read(delta(tmp_path))


# ---------------------------------------------------------------------------------------------- earlier states


def test_an_earlier_state_is_read_where_it_is_asked_for(tmp_path):
    write_deltalake(tmp_path / "sales", sales(0))
    table = make_iceberg(tmp_path, sales(0))
    first = table.current_snapshot().snapshot_id
    table.manage_snapshots().create_tag(first, "closing").commit()
    between = datetime.now(UTC)
    write_deltalake(tmp_path / "sales", sales(1), mode="append")
    table.append(sales(1))

    for source in (
        delta(tmp_path, version=0),
        delta(tmp_path, as_of=between.isoformat()),
        iceberg(tmp_path, snapshot=first),
        iceberg(tmp_path, ref="closing"),
        iceberg(tmp_path, as_of=between.isoformat()),
    ):
        assert ids(read(source)) == ["s0"]
    for source in (delta(tmp_path), iceberg(tmp_path), iceberg(tmp_path, ref="main")):
        assert ids(read(source)) == ["s0", "s1"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"snapshot": 7}, "no snapshot 7, or no longer"),
        ({"ref": "closng"}, 'no branch or tag "closng"'),
        ({"as_of": "2020-01-01"}, "no state of 2020-01-01"),
    ],
)
def test_a_state_of_an_iceberg_table_that_is_gone_is_named(tmp_path, options, told):
    make_iceberg(tmp_path, sales(0))

    with pytest.raises(SourceError, match=told):
        read(iceberg(tmp_path, **options))


def test_a_version_of_a_delta_table_that_is_gone_is_named(tmp_path):
    for day in range(3):
        write_deltalake(tmp_path / "sales", sales(day), mode="append" if day else "error")
    for state in ({"version": 7}, {"as_of": "2020-01-01"}):
        with pytest.raises(SourceError, match="the state that is asked for is not there"):
            read(delta(tmp_path, **state))

    DeltaTable(tmp_path / "sales").create_checkpoint()
    (tmp_path / "sales" / "_delta_log" / f"{0:020}.json").unlink()
    with pytest.raises(SourceError, match="the state that is asked for is not there"):
        read(delta(tmp_path, version=0))
    assert ids(read(delta(tmp_path))) == ["s0", "s1", "s2"]


def test_a_table_without_rows_has_none(tmp_path):
    empty = sales(0).slice(0, 0)
    write_deltalake(tmp_path / "sales", empty)
    make_catalog(tmp_path).create_namespace("shop")
    make_catalog(tmp_path).create_table("shop.sales", schema=empty.schema)

    for source in (delta(tmp_path, column="at"), iceberg(tmp_path, column="at")):
        assert read(source, columns=["id"]) == []
        assert ("at", "timestamp[us]") in source.read_columns(WINDOW)


def test_a_table_was_written_where_rows_came_in_and_not_where_files_were_put_together(tmp_path):
    """What ``schedule: {after: {snapshot: true}}`` asks."""
    sources = (delta(tmp_path), iceberg(tmp_path))
    for day in (0, 1):
        write_deltalake(tmp_path / "sales", sales(day), mode="append")
    make_iceberg(tmp_path, sales(0), sales(1))
    long_ago, loaded = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC)
    DeltaTable(tmp_path / "sales").optimize.compact()
    compact_iceberg(make_catalog(tmp_path).load_table("shop.sales"))

    assert [source.was_written_since(long_ago) for source in sources] == [True, True]
    assert [source.was_written_since(loaded) for source in sources] == [False, False]
    write_deltalake(tmp_path / "sales", sales(2), mode="append")
    make_catalog(tmp_path).load_table("shop.sales").append(sales(2))
    DeltaTable(tmp_path / "sales").vacuum(dry_run=False)
    assert [source.was_written_since(loaded) for source in sources] == [True, True]


# ---------------------------------------------------------------------------------------------- faults


def told(source: Source, columns: list[str] | None = None) -> str:
    with pytest.raises(SourceError) as raised:
        read(source, columns=columns)
    assert raised.value.__cause__ is None
    assert "repeating is safe" in str(raised.value)
    return str(raised.value)


def test_a_table_that_is_not_there_is_named(tmp_path):
    (tmp_path / "sales").mkdir()
    make_iceberg(tmp_path, sales(0))

    assert "Delta table sales: there is no table.\nCorrect the path" in told(delta(tmp_path))
    assert "Iceberg table shop.sale: there is no such table" in told(iceberg(tmp_path, table="shop.sale"))
    assert "Iceberg table shp.sales: there is no such table" in told(iceberg(tmp_path, table="shp.sales"))
    assert not (tmp_path / "sales" / "_delta_log").exists()


def test_a_column_that_the_table_lacks_is_named_with_the_nearest(tmp_path):
    write_deltalake(tmp_path / "sales", sales(0))
    make_iceberg(tmp_path, sales(0))

    for source, name in ((delta(tmp_path), "Delta table sales"), (iceberg(tmp_path), "Iceberg table shop.sales")):
        message = told(source, ["id", "spares"])
        assert name in message
        assert 'did you mean "spare"' in message


@pytest.mark.parametrize("spoil", ["{", '{"add": 1}', ""])
def test_a_damaged_delta_log_is_named(tmp_path, spoil):
    write_deltalake(tmp_path / "sales", sales(0))
    (tmp_path / "sales" / "_delta_log" / f"{0:020}.json").write_text(spoil)

    assert "its log is damaged" in told(delta(tmp_path))


def test_damaged_metadata_of_iceberg_is_named(tmp_path):
    table = make_iceberg(tmp_path, sales(0))
    manifests = [path for path in tmp_path.rglob("*.avro") if path.name.startswith("snap-")]
    manifests[-1].write_bytes(b"Obj")
    assert "its metadata cannot be read" in told(iceberg(tmp_path))

    path_of(table.metadata_location).write_text("{")
    assert "its metadata cannot be read" in told(iceberg(tmp_path))

    path_of(table.metadata_location).unlink()
    assert "a file of its metadata is gone" in told(iceberg(tmp_path))


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"type": "rest", "uri": "http://127.0.0.1:9"}, 'catalog "lake" cannot be used'),
        ({"type": "rset"}, 'catalog "lake" has an unknown type'),
        ({"type": "sql", "uri": "sqlite:///none/catalog.db"}, 'catalog "lake" has no file'),
        ({"type": "hive", "uri": "thrift://127.0.0.1:9"}, 'catalog "lake" needs a package|cannot be used'),
    ],
)
def test_a_catalog_that_cannot_be_used_is_named_without_its_address(tmp_path, properties, words):
    make_iceberg(tmp_path, sales(0))
    source = IcebergSource.model_validate({"iceberg": {"catalog": CATALOG, "table": "shop.sales"}})

    message = told(open_at(source, tmp_path, **properties))

    assert any(word in message for word in words.split("|"))
    assert "127.0.0.1" not in message


def test_an_sql_catalog_that_holds_nothing_is_not_filled(tmp_path):
    (tmp_path / "catalog.db").touch()

    assert 'catalog "lake" cannot be used' in told(iceberg(tmp_path))
    assert (tmp_path / "catalog.db").stat().st_size == 0


def test_a_message_about_a_file_holds_no_value_of_its_partition(tmp_path):
    parts = pa.table({"id": ["a"], "mail": ["zelda@shop.example"]})
    write_deltalake(tmp_path / "sales", parts, partition_by=["mail"])
    table = make_iceberg(tmp_path, parts.slice(0, 0))
    with table.update_spec() as update:
        update.add_identity("mail")
    table.append(parts)
    for file in tmp_path.rglob("*.parquet"):
        assert "zelda" in str(file)
        file.unlink()

    for source in (delta(tmp_path), iceberg(tmp_path)):
        message = told(source)
        assert "is gone" in message
        assert "zelda" not in message


def test_a_file_of_deletes_that_is_damaged_is_named(tmp_path):
    table = make_iceberg(tmp_path, sales(0, 1))
    path = next(task.file.file_path for task in table.scan().plan_files())
    add_deletes(table, path, [1], "vector")
    next(tmp_path.rglob("*.puffin")).write_bytes(b"PFA1")

    assert "its file of deleted rows" in told(iceberg(tmp_path))


def test_a_package_that_is_not_installed_is_named_with_its_command(tmp_path):
    """In a process of its own, whose import of the package fails."""
    code = """
import sys
sys.modules["deltalake"] = sys.modules["pyiceberg"] = sys.modules["pyiceberg.catalog"] = None
from offline_capi.config.source import DeltaSource, IcebergSource
from offline_capi.errors import SourceError
from offline_capi.sources import SourceAccess, open_source
from offline_capi.model import Window
from datetime import date
for source in (DeltaSource(delta="x"), IcebergSource.model_validate({"iceberg": {"catalog": "c", "table": "a.b"}})):
    try:
        list(open_source(source, SourceAccess("UTC", str)).read(Window.of_day(date(2026, 11, 23), "UTC")))
    except SourceError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert "pip install 'offline-capi[delta]'" in done.stdout
    assert "pip install 'offline-capi[iceberg]'" in done.stdout
