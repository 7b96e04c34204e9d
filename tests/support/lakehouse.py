"""Tables of data lakes for tests, and what their libraries cannot write: deleted rows, and columns by other names."""

from __future__ import annotations

import json
import struct
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.io import OutputFile
from pyiceberg.io.pyarrow import _dataframe_to_data_files
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
)
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _FastAppendFiles, _OverwriteFiles
from pyiceberg.typedef import Record
from pyroaring import BitMap

__all__ = [
    "CATALOG",
    "add_deletes",
    "compact_iceberg",
    "list_properties",
    "make_catalog",
    "make_iceberg",
    "write_delta_by_hand",
]

CATALOG = "lake"


# ---------------------------------------------------------------------------------------------- Iceberg


def list_properties(folder: Path) -> dict[str, str]:
    return {"type": "sql", "uri": f"sqlite:///{folder / 'catalog.db'}"}


def make_catalog(folder: Path) -> Catalog:
    """A catalog in SQLite whose tables lie beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    return load_catalog(CATALOG, **list_properties(folder), warehouse=folder.as_uri())


def make_iceberg(folder: Path, *parts: pa.Table, name: str = "shop.sales", **options: Any) -> Table:
    """A table with a snapshot and a file for each part."""
    catalog = make_catalog(folder)
    catalog.create_namespace_if_not_exists(name.rpartition(".")[0])
    table = catalog.create_table(name, schema=parts[0].schema, **options)
    for part in parts:
        table.append(part)
    return table


class _DeletesWriter(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES


class _AddDeletes(_FastAppendFiles):
    """A snapshot whose only news is a file of deletes; pyiceberg itself rewrites files instead."""

    deletes: DataFile

    def _manifests(self) -> list[ManifestFile]:
        metadata = self._transaction.table_metadata
        output: OutputFile = self.new_manifest_output()
        with _DeletesWriter(metadata.spec(), metadata.schema(), output, self._snapshot_id, self._compression) as writer:
            entry = ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED,
                snapshot_id=self._snapshot_id,
                sequence_number=None,
                file_sequence_number=None,
                data_file=self.deletes,
            )
            writer.add(entry)
        return [writer.to_manifest_file(), *self._existing_manifests()]


class _Compact(_OverwriteFiles):
    """A snapshot that puts files together, which pyiceberg itself does not write."""

    def _summary(self, snapshot_properties: dict[str, str] | None = None) -> Summary:
        made = super()._summary(snapshot_properties or {})
        return Summary(Operation.REPLACE, **made.additional_properties)


def compact_iceberg(table: Table) -> None:
    """All files become one, and no row changes."""
    with table.transaction() as transaction:
        update = _Compact(operation=Operation.OVERWRITE, transaction=transaction, io=table.io)
        for task in table.scan().plan_files():
            update.delete_data_file(task.file)
        for file in _dataframe_to_data_files(table.metadata, table.scan().to_arrow(), table.io):
            update.append_data_file(file)
        update.commit()


def add_deletes(table: Table, path: str, positions: Sequence[int], kind: str = "positions") -> None:
    """Delete rows of a file as other engines do: ``positions``, a ``vector``, or by ``equality`` of a value."""
    place = f"{table.location()}/data/{uuid.uuid4()}.{'puffin' if kind == 'vector' else 'parquet'}"
    content = DataFileContent.POSITION_DELETES
    with table.io.new_output(place).create() as stream:
        if kind == "vector":
            stream.write(_format_puffin(path, positions))
        elif kind == "positions":
            fields = [_with_id("file_path", pa.string(), 2147483546), _with_id("pos", pa.int64(), 2147483545)]
            pq.write_table(pa.table([[path] * len(positions), list(positions)], schema=pa.schema(fields)), stream)
        else:
            content = DataFileContent.EQUALITY_DELETES
            pq.write_table(pa.table([["a"]], schema=pa.schema([_with_id("id", pa.string(), 1)])), stream)
    size = len(table.io.new_input(place))
    deletes = DataFile.from_args(
        content=content,
        file_path=place,
        file_format=FileFormat.PUFFIN if kind == "vector" else FileFormat.PARQUET,
        partition=Record(),
        record_count=len(positions),
        file_size_in_bytes=size,
        equality_ids=[1] if kind == "equality" else None,
        spec_id=0,
    )
    with table.transaction() as transaction:
        producer = _AddDeletes(operation=Operation.DELETE, transaction=transaction, io=table.io)
        producer.deletes = deletes
        producer.commit()


def _with_id(name: str, kind: pa.DataType, number: int) -> pa.Field:
    return pa.field(name, kind, nullable=False, metadata={"PARQUET:field_id": str(number)})


def _format_bitmaps(positions: Sequence[int]) -> bytes:
    """64-bit positions as Delta and Iceberg keep them: one bitmap of 32 bits."""
    return struct.pack("<qi", 1, 0) + BitMap(positions).serialize()


def _format_puffin(path: str, positions: Sequence[int]) -> bytes:
    """A file with one deletion vector (Iceberg's Puffin specification); checksums are not looked at by pyiceberg."""
    vector = b"\xd1\xd3\x39\x64" + _format_bitmaps(positions)
    blob = struct.pack(">i", len(vector)) + vector + b"\0\0\0\0"
    footer = {
        "blobs": [
            {
                "type": "deletion-vector-v1",
                "fields": [2147483645],
                "snapshot-id": -1,
                "sequence-number": -1,
                "offset": 4,
                "length": len(blob),
                "properties": {"referenced-data-file": path, "cardinality": str(len(positions))},
            }
        ]
    }
    text = json.dumps(footer).encode()
    return b"PFA1" + blob + b"PFA1" + text + struct.pack("<i", len(text)) + b"\0\0\0\0" + b"PFA1"


# ---------------------------------------------------------------------------------------------- Delta


def write_delta_by_hand(
    folder: Path,
    table: pa.Table,
    *,
    deleted: Sequence[int] = (),
    features: Sequence[str] = (),
    day: str = "",
    path: str = "part.parquet",
) -> None:
    """A table of one file whose columns have other names in it, some of its rows deleted by a vector.

    ``day`` makes it a table partitioned by the column ``day``, ``path`` is where its log says that the file is.
    """
    (folder / "_delta_log").mkdir(parents=True)
    file = folder / unquote(path.removeprefix("file://"))
    file.parent.mkdir(parents=True, exist_ok=True)
    physical = {field.name: f"col-{number}" for number, field in enumerate(table.schema)}
    pq.write_table(table.rename_columns(list(physical.values())), file)
    kinds = {"id": "string", "at": "timestamp", **({"day": "date"} if day else {})}
    fields = [
        {"name": name, "type": kind, "nullable": True, "metadata": {
            "delta.columnMapping.id": number, "delta.columnMapping.physicalName": physical.get(name, "col-day")}}
        for number, (name, kind) in enumerate(kinds.items())
    ]  # fmt: skip
    reader = ["deletionVectors", "columnMapping", *features]
    metadata = {
        "id": str(uuid.uuid4()), "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}), "partitionColumns": ["day"] if day else [],
        "configuration": {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "9",
                          "delta.enableDeletionVectors": "true"},
        "createdTime": 1,
    }  # fmt: skip
    add: dict[str, Any] = {
        "path": path, "partitionValues": {"col-day": day} if day else {},
        "size": file.stat().st_size, "modificationTime": 1, "dataChange": True,
        "stats": json.dumps({"numRecords": len(table)}),
    }  # fmt: skip
    if deleted:
        vector = struct.pack("<i", 1681511377) + _format_bitmaps(deleted)
        add["deletionVector"] = {"storageType": "i", "pathOrInlineDv": _encode_z85(vector), "sizeInBytes": len(vector),
                                 "cardinality": len(deleted)}  # fmt: skip
    actions = [
        {
            "protocol": {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": reader,
                "writerFeatures": reader,
            }
        },
        {"metaData": metadata},
        {"add": add},
    ]
    (folder / "_delta_log" / f"{0:020}.json").write_text("\n".join(map(json.dumps, actions)))


_Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def _encode_z85(data: bytes) -> str:
    padded = data + b"\0" * (-len(data) % 4)
    numbers = (int.from_bytes(padded[at : at + 4], "big") for at in range(0, len(padded), 4))
    return "".join(_Z85[number // 85**power % 85] for number in numbers for power in (4, 3, 2, 1, 0))
