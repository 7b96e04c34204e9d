"""Apache Iceberg: which files hold the rows of a window, by the table's metadata; read with ``pyiceberg``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.source import IcebergSource
from offline_capi.errors import SourceError
from offline_capi.model import SourceMark, TableChanges, TableRead, TableState, Window
from offline_capi.runtime.border import shown
from offline_capi.sources.base import SourceAccess
from offline_capi.sources.files.parquet import open_parquet
from offline_capi.sources.lakehouse.changes import Commit, CommitKind, collect_changes, read_all_again
from offline_capi.sources.lakehouse.tables import SAFE, Table, TableFile, parse_as_of
from offline_capi.sources.pruning import Bounds, find_bounds, holds_constants

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import FileScanTask
    from pyiceberg.table import Table as IcebergTable
    from pyiceberg.table.snapshots import Snapshot

__all__ = ["find_iceberg_changes", "open_iceberg", "was_iceberg_written_since"]

SETTING = "source.iceberg"
FIELD_ID = b"PARQUET:field_id"
_NOTHING = "Nothing was sent; repeating is safe."


def open_iceberg(source: IcebergSource, access: SourceAccess, window: Window) -> Table:
    """The state of the table that is configured, and the files of the window. No row is read yet."""
    described = f"Iceberg table {source.iceberg.table}"
    _require_package()
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    with _explained(described, source):
        table = _load(source, access)
        snapshot, declared = _choose_state(table, source, access, described)
        schema = schema_to_pyarrow(declared, include_field_ids=True)
        tasks = []
        for chosen in access.changes.list_windows(window) if access.changes else [None]:
            bounds = find_bounds(access.placement, chosen or window, schema)
            scan = table.scan(row_filter=_build_filter(bounds, declared, table), snapshot_id=snapshot)
            planned = scan.plan_files() if _has_rows(table, access) else []
            tasks += [
                (task, bounds, chosen)
                for task in sorted(planned, key=lambda task: task.file.file_path)
                if not access.changes or access.changes.choose_window(task.file.file_path, window) == chosen
            ]
    defaults = _list_defaults(declared, schema, described)
    read_deletes = _make_deletes_reader(table.io, described)
    files = []
    for task, bounds, chosen in tasks:
        _check_formats(described, task)
        constants = _list_constants(table, schema, task.file, described)
        if holds_constants(access.placement, chosen or window, constants):
            opened = partial(_open_file, table.io, task.file.file_path)
            kept = partial(_mark_kept, read_deletes, task)
            lacking = {**defaults, **constants}
            files.append(TableFile(task.file.file_path, task.file.record_count, opened, bounds, chosen, lacking, kept))
    return Table(described, source.iceberg.table, schema, files, partial(_match, _list_written_names(table, declared)))


def _has_rows(table: IcebergTable, access: SourceAccess) -> bool:
    """Whether the state that is read is one: a new table has no snapshot."""
    return access.changes.read.until.number >= 0 if access.changes else table.current_snapshot() is not None


# ---------------------------------------------------------------------------------------------- what came since


def find_iceberg_changes(
    source: IcebergSource, access: SourceAccess, mark: SourceMark | None, oldest: datetime
) -> TableChanges:
    """The files that were added since the mark, by the snapshots between."""
    described = f"Iceberg table {source.iceberg.table}"
    _require_package()
    with _explained(described, source):
        table = _load(source, access)
        newest, own = table.current_snapshot(), str(table.metadata.table_uuid)
        until = TableState(own, "snapshot", newest.snapshot_id if newest else _NONE_YET)
        if mark is None:
            return TableChanges(TableRead(None, until), oldest)
        if mark.complete.table != own:
            why = "it is another table than the one that was read last (its id is another)"
            return read_all_again(mark, until, oldest, described, why)
        since, seen = mark.complete.number, mark.seen.number
        chain: list[Snapshot] = []
        found: Snapshot | None = newest
        while found is not None and found.snapshot_id != since:
            chain.append(found)
            parent = found.parent_snapshot_id
            if parent == since or (parent is None and since == _NONE_YET):
                break
            found = table.snapshot_by_id(parent) if parent is not None else None
        numbers = [one.snapshot_id for one in reversed(chain)]
        is_whole = until.number == since or (chain and (chain[-1].parent_snapshot_id or _NONE_YET) == since)
        if not is_whole or seen not in (since, *numbers):
            is_there = table.snapshot_by_id(since) is not None
            why = (
                f"its {until} does not follow the {mark.seen} that was read last: it was set back to an earlier state"
                if is_there
                else f"the way from {mark.complete} to {until} is gone: snapshots were expired"
            )
            return read_all_again(mark, until, oldest, described, why)
        first_new = numbers.index(seen) + 1 if seen in numbers else 0
        commits = [_read_snapshot(table, one, is_new=number >= first_new) for number, one in enumerate(reversed(chain))]
    return collect_changes(commits, mark, until, oldest, described)


def was_iceberg_written_since(source: IcebergSource, access: SourceAccess, moment: datetime) -> bool:
    """Whether a snapshot after ``moment`` added rows: one that only puts files together does not."""
    _require_package()
    with _explained(f"Iceberg table {source.iceberg.table}", source):
        table = _load(source, access)
        found = table.current_snapshot()
        while found is not None and found.timestamp_ms >= moment.timestamp() * 1_000:
            commit = _read_snapshot(table, found, is_new=True)
            if commit.added and commit.kind is not CommitKind.COMPACTION:
                return True
            found = table.snapshot_by_id(found.parent_snapshot_id) if found.parent_snapshot_id is not None else None
    return False


#: The number of the state of a table without a snapshot.
_NONE_YET = -1


def _read_snapshot(table: IcebergTable, snapshot: Snapshot, *, is_new: bool) -> Commit:
    from pyiceberg.manifest import ManifestContent, ManifestEntryStatus
    from pyiceberg.table.snapshots import Operation

    own = [one for one in snapshot.manifests(table.io) if one.added_snapshot_id == snapshot.snapshot_id]
    entries = [
        entry
        for manifest in own
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=False)
        if entry.snapshot_id == snapshot.snapshot_id
    ]
    added, removed = (
        frozenset(entry.data_file.file_path for entry in entries if entry.status == status)
        for status in (ManifestEntryStatus.ADDED, ManifestEntryStatus.DELETED)
    )
    operation = snapshot.summary.operation if snapshot.summary else Operation.OVERWRITE
    has_deletes = any(one.content == ManifestContent.DELETES and one.added_files_count for one in own)
    kind = CommitKind.APPEND
    if operation == Operation.REPLACE:
        kind = CommitKind.COMPACTION
    elif removed or has_deletes:
        kind = CommitKind.REWRITE
    return Commit(f"snapshot {snapshot.snapshot_id} ({operation.value})", kind, is_new, added, removed)


def _require_package() -> None:
    try:
        import pyiceberg.catalog  # noqa: F401
    except ImportError:
        raise SourceError(
            f"{SETTING}: Iceberg tables need a package that is not installed.\n"
            f"Install it: pip install 'offline-capi[iceberg]'. {_NOTHING}"
        ) from None


#: pyiceberg's properties by the variables that file systems read; those of the catalog count before them.
_STORE_VARIABLES = {
    "s3.endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "s3.region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "s3.access-key-id": ("AWS_ACCESS_KEY_ID",),
    "s3.secret-access-key": ("AWS_SECRET_ACCESS_KEY",),
    "s3.session-token": ("AWS_SESSION_TOKEN",),
}


def _list_store_properties(environ: Mapping[str, str]) -> dict[str, str]:
    found = ((name, environ.get(one)) for name, ones in _STORE_VARIABLES.items() for one in reversed(ones))
    return {name: value for name, value in found if value}


def _load(source: IcebergSource, access: SourceAccess) -> IcebergTable:
    from pyiceberg.catalog import load_catalog

    own = access.catalog_properties(source.iceberg.catalog)
    properties = {**_list_store_properties(access.environ), **own} if own else {}
    if not properties:
        raise SourceError(
            f'{SETTING}: catalog "{source.iceberg.catalog}" is not under platform.iceberg_catalogs of clients.yml.\n'
            f"Add it there with its properties (type, uri, …). {_NOTHING}"
        )
    uri = properties.get("uri", "")
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        raise SourceError(  # connecting would make the file
            f'{SETTING}: catalog "{source.iceberg.catalog}" has no file where its uri says.\n'
            f"Correct platform.iceberg_catalogs.{source.iceberg.catalog}.uri; a relative path begins at the project "
            f"folder. {_NOTHING}"
        )
    # Reading writes nothing: without this, an SQL catalog makes its tables.
    catalog: Catalog = load_catalog(source.iceberg.catalog, **{"init_catalog_tables": "false", **properties})
    return catalog.load_table(source.iceberg.table)


def _choose_state(
    table: IcebergTable, source: IcebergSource, access: SourceAccess, described: str
) -> tuple[int | None, Schema]:
    """The id of a snapshot with the columns that it had, or ``None`` for the newest with those of today."""
    if access.changes is not None:
        number = access.changes.read.until.number
        found, what = table.snapshot_by_id(number), f"no snapshot {number}"
        if found is not None or number == _NONE_YET:
            return (number if found else None), table.schema()
    elif source.snapshot is not None:
        found = table.snapshot_by_id(source.snapshot)
        what = f"no snapshot {source.snapshot}"
    elif source.ref is not None:
        found, what = table.snapshot_by_name(source.ref), f'no branch or tag "{shown(source.ref)}"'
    elif source.as_of is not None:
        at = parse_as_of(source.as_of, access.zone)
        found = table.snapshot_as_of_timestamp(int(at.timestamp() * 1_000))
        what = f"no state of {source.as_of}"
    else:
        return None, table.schema()
    if found is None:
        raise SourceError(
            f"{described}: it has {what}, or no longer.\n"
            f"Snapshots that were expired are gone: name a later one, or none for the newest. {_NOTHING}"
        )
    return found.snapshot_id, table.scan(snapshot_id=found.snapshot_id).projection()


def _list_written_names(table: IcebergTable, schema: Schema) -> dict[int, set[str]]:
    """By which names files without ids of columns may have them."""
    names = {one.field_id: {one.name} for one in schema.fields}
    mapping = table.name_mapping()
    for one in mapping.root if mapping is not None else ():
        if one.field_id is not None:
            names[one.field_id] = set(one.names)
    return names


def _get_id(field: pa.Field) -> int | None:
    metadata: Mapping[bytes, bytes] = field.metadata or {}
    return int(metadata[FIELD_ID]) if FIELD_ID in metadata else None


def _match(written: Mapping[int, Collection[str]], field: pa.Field, theirs: Sequence[pa.Field]) -> pa.Field | None:
    """By the column's id; in a file without ids, which another program wrote, by name."""
    number = _get_id(field)
    if any(_get_id(one) is not None for one in theirs):
        return next((one for one in theirs if _get_id(one) == number), None)
    names = written.get(number or -1, {field.name})
    return next((one for one in theirs if one.name in names), None)


# ---------------------------------------------------------------------------------------------- which files


def _build_filter(bounds: Bounds | None, declared: Schema, table: IcebergTable) -> BooleanExpression:
    """Rows of the window, and those without a time, as pyiceberg compares them with partitions and statistics.

    It looks the column up among those of today, also for an older snapshot.
    """
    from pyiceberg.expressions import AlwaysTrue, And, GreaterThanOrEqual, IsNull, LessThan, Or, Reference

    name = table.schema().find_column_name(declared.find_field(bounds.column).field_id) if bounds else None
    if bounds is None or name is None:
        return AlwaysTrue()
    since, until, column = bounds.since.isoformat(), bounds.until.isoformat(), Reference(name)
    inside = And(GreaterThanOrEqual(term=column, value=since), LessThan(term=column, value=until))
    return Or(inside, IsNull(term=column))


def _list_constants(table: IcebergTable, schema: pa.Schema, file: DataFile, described: str) -> dict[str, pa.Scalar]:
    """Values of the file's partition that are those of a column; writers may leave such a column out of the file."""
    from pyiceberg.transforms import IdentityTransform

    names = {_get_id(field): field for field in schema}
    found = {}
    for number, part in enumerate(table.specs()[file.spec_id].fields):
        field = names.get(part.source_id)
        if field is None or not isinstance(part.transform, IdentityTransform):
            continue
        try:
            found[field.name] = _as_scalar(file.partition[number], field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, TypeError):
            raise SourceError(
                f'{described}: its partition column "{shown(field.name)}" is {shown(str(field.type))}, which cannot be '
                f"read here.\nRead the table through a query of your warehouse. {_NOTHING}"
            ) from None
    return found


def _list_defaults(declared: Schema, schema: pa.Schema, described: str) -> dict[str, pa.Scalar]:
    """What columns that came later have in files that are older, where that is not null."""
    from pyiceberg.schema import index_by_id

    tops = {field.field_id for field in declared.fields}
    found = {one.field_id: one for one in index_by_id(declared).values() if one.initial_default is not None}
    if nested := [one for number, one in found.items() if number not in tops]:
        raise SourceError(
            f'{described}: its nested column "{shown(nested[0].name)}" has a default for older rows, which is not read '
            f"here.\nRead the table through a query of your warehouse. {_NOTHING}"
        )
    return {one.name: pa.scalar(one.initial_default, schema.field(one.name).type) for one in found.values()}


def _as_scalar(value: Any, kind: pa.DataType) -> pa.Scalar:
    """Dates and times are counted in partitions as Arrow counts them."""
    if isinstance(value, int) and pa.types.is_temporal(kind):
        width = {32: pa.int32(), 64: pa.int64()}[kind.bit_width]
        return pa.array([value], width).view(kind)[0]
    if isinstance(kind, pa.BaseExtensionType) and value is not None:
        return pa.ExtensionArray.from_storage(kind, pa.array([bytes(value.bytes)], kind.storage_type))[0]
    return pa.scalar(value, kind)


def _open_file(io: FileIO, path: str) -> Any:
    return io.new_input(path).open()


# ---------------------------------------------------------------------------------------------- deleted rows


def _check_formats(described: str, task: FileScanTask) -> None:
    from pyiceberg.manifest import DataFileContent, FileFormat

    if task.file.file_format != FileFormat.PARQUET:
        raise SourceError(
            f"{described}: its files are {task.file.file_format.value}, and only Parquet is read.\n"
            f"Rewrite them as Parquet (write.format.default), or read the table through a query. {_NOTHING}"
        )
    for one in task.delete_files:
        if one.content == DataFileContent.EQUALITY_DELETES:
            raise SourceError(f"{described}: {_EQUALITY}")


_EQUALITY = (
    "it has equality deletes (rows deleted by value, as Flink writes them), which are not read here.\nCompact the table"
    f" first (rewrite_data_files), or read it through a query of your warehouse. {_NOTHING}"
)


Positions = Mapping[str, list[np.ndarray[Any, Any]]]


def _mark_kept(
    read_deletes: Callable[[DataFile], Positions], task: FileScanTask
) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """By position files and deletion vectors, which rows of a file are still there."""
    if not task.delete_files:
        return None
    kept = np.ones(task.file.record_count, dtype=bool)
    for deletes in task.delete_files:
        for positions in read_deletes(deletes).get(task.file.file_path, ()):
            kept[positions] = False
    return kept


def _make_deletes_reader(io: FileIO, described: str) -> Callable[[DataFile], Positions]:
    """Reads each file of deletes once: one may be about many files of the table."""
    known: dict[str, Positions] = {}

    def read(deletes: DataFile) -> Positions:
        if deletes.file_path not in known:
            try:
                with io.new_input(deletes.file_path).open() as content:
                    known[deletes.file_path] = _read_positions(content, deletes)
            except (OSError, ValueError, LookupError) as error:
                name = shown(deletes.file_path.rpartition("/")[2])
                raise SourceError(
                    f"{described}: its file of deleted rows {name} cannot be read "
                    f"({type(error).__name__}).\nRestore it, or read another state of the table. {SAFE}"
                ) from None
        return known[deletes.file_path]

    return read


def _read_positions(content: Any, deletes: DataFile) -> Positions:
    from pyiceberg.manifest import FileFormat
    from pyiceberg.table.deletion_vector import deletion_vectors_from_puffin_file
    from pyiceberg.table.puffin import PuffinFile

    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    if deletes.file_format == FileFormat.PUFFIN:
        for vector in deletion_vectors_from_puffin_file(PuffinFile(content.read())):
            found.setdefault(vector.referenced_data_file, []).append(vector.to_vector().to_numpy())
        return found
    for batch in open_parquet(content).iter_batches(columns=["file_path", "pos"]):
        for path in pc.unique(batch.column("file_path")):
            here = batch.filter(pc.equal(batch.column("file_path"), path))
            found.setdefault(path.as_py(), []).append(here.column("pos").to_numpy())
    return found


# ---------------------------------------------------------------------------------------------- faults


@contextmanager
def _explained(described: str, source: IcebergSource) -> Iterator[None]:
    """What pyiceberg and its catalogs raise, as what the table's owner can act on; their words quote URLs."""
    from pyiceberg import exceptions

    try:
        yield
    except SourceError:
        raise
    except (exceptions.NoSuchTableError, exceptions.NoSuchNamespaceError, exceptions.NoSuchIcebergTableError):
        what = f'there is no such table in catalog "{source.iceberg.catalog}"'
        fix = "Correct source.iceberg.table: namespace and name, such as shop.sales."
    except (exceptions.UnauthorizedError, exceptions.ForbiddenError, exceptions.OAuthError):
        what = f'catalog "{source.iceberg.catalog}" refused the credential'
        fix = "Look at its secrets under platform.iceberg_catalogs, and at what they may read."
    except Exception as error:
        told = _find_cause(error, source)
        if told is None:
            raise
        what, fix = told
    else:
        return
    raise SourceError(f"{described}: {what}.\n{fix} {_NOTHING}")


#: The libraries that pyiceberg's catalogs speak through; an error of theirs is one of the catalog.
_CATALOG_LIBRARIES = frozenset({"sqlalchemy", "sqlite3", "requests", "urllib3", "thrift", "botocore", "google"})


def _find_cause(error: Exception, source: IcebergSource) -> tuple[str, str] | None:
    text, library = str(error).lower(), type(error).__module__.partition(".")[0]
    catalog = source.iceberg.catalog
    if "equality delete" in text:
        what, _, fix = _EQUALITY.partition(".\n")
        return what, fix.removesuffix(f" {_NOTHING}")
    if library in _CATALOG_LIBRARIES:
        return (
            f'catalog "{catalog}" cannot be used ({type(error).__name__})',
            f"Look at platform.iceberg_catalogs.{catalog}, and that it can be reached from where the job runs.",
        )
    if isinstance(error, ModuleNotFoundError) or "no module" in text or "pip install" in text:
        return (
            f'catalog "{catalog}" needs a package that is not installed',
            "Install it: pip install 'pyiceberg[glue,hive,s3fs,gcsfs,adlfs]', with the extra of your catalog.",
        )
    if "not a valid catalogtype" in text or "could not initialize catalog" in text:
        return f'catalog "{catalog}" has an unknown type', "Correct type: rest, sql, glue, hive, dynamodb or bigquery."
    if isinstance(error, FileNotFoundError):
        return "a file of its metadata is gone", "It was expired or deleted: read a newer state, or restore it."
    if library == "pyiceberg" or isinstance(
        error, (ValueError, OSError, KeyError, TypeError, EOFError, AssertionError)
    ):
        return (
            f"its metadata cannot be read ({type(error).__name__})",
            "Look whether the table can be read elsewhere, and at the store's credentials; a damaged table is restored "
            "from an older metadata file.",
        )
    return None
