"""Tables and views of Spark's catalog: what is read of them, by which types, and which plans are allowed.

Their rows are read by Spark's executors and handed to our code there; ``split_table`` is that side. This process asks
for names and types, and for some first rows. Columns are plain ones and the predicate is made here, because Spark's
errors over somebody's SQL quote values. Nothing here imports PySpark before a session is opened.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import date, datetime
from io import StringIO
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from offline_capi.config.source import SparkTableSource
from offline_capi.errors import OfflineCapiError, SourceError, TemporaryError
from offline_capi.model import SourceRows, Window
from offline_capi.runtime.border import shown
from offline_capi.sources.base import BATCH_ROWS, Source, SourceAccess
from offline_capi.sources.columns import check_names, plain
from offline_capi.sources.files.parquet import find_members, take_column
from offline_capi.sources.pruning import find_bounds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

__all__ = ["SparkTableReader", "TableLayout", "TablePart", "explain_change", "name_error", "split_table"]

#: Rows of one partition, and bytes of their values, that come to this process: for types, drift and a preview.
SAMPLE_ROWS, SAMPLE_BYTES = 2_000, 1 << 19
#: Partitions that are asked for a sample first.
SAMPLED_PARTITIONS = 4
_FILE, _ROW = "~file", "~row"
_SAFE = "Nothing was sent; repeating is safe."

#: What a plan below ours may be made of: nothing that writes rows to a disk, caches them or runs somebody's code.
_ALLOWED_STEPS = re.compile(
    r"(Photon)?(AdaptiveSparkPlan|ResultStage|Project|Filter|ColumnarToRow|RowToColumnar|Union|Coalesce"
    r"|(File|Batch|Row|LocalTable)?Scan|EmptyRelation)"
)
#: A line of a plan: its branches, the number of generated code, and the step's name.
_STEP = re.compile(r"^[\s:|]*(?:\+-\s*)?(?:\*\s?\(\d+\)\s*|\*\s*)?([A-Za-z]\w*)(.*)$")


class TableLayout(NamedTuple):
    """How rows of a table come to an executor: the two columns before its own say where a row stands."""

    name: str
    columns: tuple[str, ...]
    width: int


class TablePart(NamedTuple):
    """Rows of a table that follow each other: of a file from ``first_row`` on, or of a partition."""

    origin: str
    first_row: int


class SparkTableReader(Source):
    """A table or view, by the session that ``access`` opens."""

    def __init__(self, settings: SparkTableSource, access: SourceAccess) -> None:
        self._settings, self._access = settings, access

    def read(
        self,
        window: Window,
        *,
        columns: Sequence[str] | None = None,
        batch_rows: int = BATCH_ROWS,
        in_subprocess: bool = False,  # noqa: ARG002
    ) -> Iterator[SourceRows]:
        """The first rows alone; ``SourceError`` for who wants more: a result of all rows would lie on Spark's disks."""
        frame, layout = self.open_frame(window, columns)
        rows, is_whole = _take_sample(frame, layout, batch_rows)
        yield from rows
        if not is_whole:
            raise SourceError(
                f"{self._settings.describe()}: this process may read its first rows alone; all others stay on Spark's"
                " executors.\nRead the table's files instead (path, delta or iceberg) for what needs all rows here."
                f" {_SAFE}"
            )

    def read_columns(self, window: Window, *, columns: Sequence[str] | None = None) -> list[tuple[str, str]]:
        """All columns, with the types that an upload would see; of those that it could not read Spark's own name.

        ``SourceError`` where one of ``columns`` is among these, or the plan is refused.
        """
        schema = self._open_table().schema
        refused = dict(_list_refused(schema))
        found = []
        for field in schema:
            if field.name in refused:
                found.append((field.name, field.dataType.simpleString()))
                continue
            empty = _make_empty(schema, [field.name])
            names = [field.name, *find_members(empty.schema)]
            found += [(one, str(plain(take_column(empty, one, find_members(empty.schema))).type)) for one in names]
        if columns and {*columns} <= {name for name, _ in found}:
            self.open_frame(window, columns)  # types and plan
        return found

    def estimate_rows(self, window: Window) -> int | None:  # noqa: ARG002
        return None

    def list_datasets(self) -> list[str]:
        """The table by its name in Spark's catalog."""
        return [f"spark://{self._settings.table}"]

    def open_frame(self, window: Window, columns: Sequence[str] | None) -> tuple[DataFrame, TableLayout]:
        """What Spark would read, checked: names, types and plan. Before ``columns`` stand each row's file and number.

        A row of a file has its number in the file, so that which of two comes first does not depend on Spark's
        partitions. Of a table that is not made of files the first column is the partition, and the second is null.
        """
        from pyspark.sql import functions

        table = self._open_table()
        described, schema = self._settings.describe(), table.schema
        refused = dict(_list_refused(schema))
        usable = _make_empty(schema, [name for name in schema.names if name not in refused])
        members = find_members(usable.schema)
        wanted = tuple(usable.schema.names if columns is None else columns)
        check_names([*schema.names, *members], wanted, described, is_schema=True)
        tops = list(dict.fromkeys(members.get(name, (name,))[0] for name in wanted))
        _refuse_types(described, refused, tops, wanted, schema)
        with explain_errors(described):
            frame = self._select_window(table, window, usable.schema)
            plain_columns = [functions.col(_quote(name)) for name in tops]
            try:
                of_files = ("_metadata.file_path", "_metadata.row_index")
                located = frame.select(*map(functions.col, of_files), *plain_columns)
                _ = located.schema  # over Connect, a frame is analysed when it is asked for something
            except Exception as error:
                if not re.match(r"UNRESOLVED_COLUMN|FIELD_NOT_FOUND", name_error(error)):
                    raise
                partition = functions.spark_partition_id().cast("string")
                located = frame.select(partition, functions.lit(None).cast("bigint"), *plain_columns)
            located = located.toDF(_FILE, _ROW, *tops)
            _check_plan(described, located)
        return located, TableLayout(self._settings.table, wanted, len(schema.names))

    def _open_table(self) -> DataFrame:
        described = self._settings.describe()
        session = self._access.open_session()
        with explain_errors(described):
            table: DataFrame = session.table(".".join(map(_quote, self._settings.table.split("."))))
            _ = table.schema
            return table

    def _select_window(self, table: DataFrame, window: Window, schema: pa.Schema) -> DataFrame:
        """Without rows that surely lie outside; a time that is null is read by all windows."""
        from pyspark.sql import functions

        bounds = find_bounds(self._access.placement, window, schema)
        if bounds is None:
            return table
        column = functions.col(_quote(bounds.column))
        inside = (column >= _make_literal(bounds.since)) & (column < _make_literal(bounds.until))
        return table.where(inside | column.isNull())


def _quote(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _make_literal(value: datetime | date) -> Any:
    """A bound as Spark writes it: Python's own naive times would be taken for instants of this machine's zone."""
    from pyspark.sql import functions

    if not isinstance(value, datetime):
        return functions.lit(value.isoformat()).cast("date")
    return functions.lit(value.isoformat(" ")).cast("timestamp" if value.tzinfo else "timestamp_ntz")


# ---------------------------------------------------------------------------------------------- types


_PLAIN_TYPES: dict[str, Callable[[Any], pa.DataType]] = {
    "StringType": lambda _: pa.string(),
    "VarcharType": lambda _: pa.string(),
    "CharType": lambda _: pa.string(),
    "ByteType": lambda _: pa.int8(),
    "ShortType": lambda _: pa.int16(),
    "IntegerType": lambda _: pa.int32(),
    "LongType": lambda _: pa.int64(),
    "FloatType": lambda _: pa.float32(),
    "DoubleType": lambda _: pa.float64(),
    "DecimalType": lambda kind: pa.decimal128(kind.precision, kind.scale),
    "BooleanType": lambda _: pa.bool_(),
    "DateType": lambda _: pa.date32(),
    "TimestampType": lambda _: pa.timestamp("us", tz="UTC"),
    "TimestampNTZType": lambda _: pa.timestamp("us"),
    "BinaryType": lambda _: pa.binary(),
}


def _to_arrow(kind: Any) -> pa.DataType | None:
    """How Spark hands a column of its type over; ``None`` where that would not be the value of the source."""
    name = type(kind).__name__
    if name in _PLAIN_TYPES:
        return _PLAIN_TYPES[name](kind)
    if name == "ArrayType":
        item = _to_arrow(kind.elementType)
        return None if item is None or _holds_instants(item) else pa.list_(item)
    if name == "StructType":
        members = [(field.name, _to_arrow(field.dataType)) for field in kind]
        return None if any(one is None for _, one in members) else pa.struct(members)
    return None


def _holds_instants(kind: pa.DataType) -> bool:
    """In a text of several values an instant would be written in the zone of Spark's session."""
    if pa.types.is_nested(kind):
        return any(_holds_instants(kind.field(at).type) for at in range(kind.num_fields))
    return bool(pa.types.is_timestamp(kind) and kind.tz)


def _list_refused(schema: StructType) -> Iterator[tuple[str, str]]:
    """The columns of which no value can be had as it is, and their types."""
    for field in schema:
        if _to_arrow(field.dataType) is None:
            yield field.name, field.dataType.simpleString()


def _make_empty(schema: StructType, names: Sequence[str]) -> pa.RecordBatch:
    kinds = [(name, _to_arrow(schema[name].dataType)) for name in names]
    return pa.RecordBatch.from_arrays([pa.nulls(0, kind) for _, kind in kinds], names=[name for name, _ in kinds])


def _refuse_types(
    described: str, refused: dict[str, str], tops: Sequence[str], wanted: Sequence[str], schema: StructType
) -> None:
    lost = {name: refused[name] for name in tops if name in refused}
    for name in wanted:
        kind = _to_arrow(schema[name].dataType) if name in schema.names else None
        if kind is not None and pa.types.is_struct(kind) and _holds_instants(kind):
            lost[name] = schema[name].dataType.simpleString()
    if lost:
        told = "\n".join(f'  "{shown(name)}" is {shown(kind)}' for name, kind in lost.items())
        raise SourceError(
            f"{described}: columns of types that come differently through Spark:\n{told}\nCast them to text, number,"
            f" date or timestamp in a view, or leave them out of the upload. {_SAFE}"
        )


# ---------------------------------------------------------------------------------------------- plans and errors


def _check_plan(described: str, frame: DataFrame) -> None:
    """Raise ``SourceError`` over a plan that would put readable rows on a disk, or run code that is not ours."""
    with redirect_stdout(StringIO()) as written:
        frame.explain()
    steps = [match.groups() for line in written.getvalue().splitlines() if (match := _STEP.match(line))]
    names = [name for name, _ in steps]
    if any(name == "Scan" and re.match(r"\s*(JDBCRelation\b|org\.apache\.\S*\bjdbc\b)", rest) for name, rest in steps):
        raise SourceError(
            f"{described}: it is a table of a database, whose decimals and times come differently through Spark.\nRead"
            f" it with connection and sql. {_SAFE}"
        )
    refused = [name for name in names if not _ALLOWED_STEPS.fullmatch(name)]
    if refused or not names:
        what = ", ".join(dict.fromkeys(refused)) or "nothing that is known"
        raise SourceError(
            f"{described}: Spark's plan for it has {what}; rows are read from a table, or from a view that selects"
            " columns and rows of tables.\nJoins, sorting, caches and functions in Python put readable rows on the"
            f" disks of executors: write the result into a table first, or uncache the table. {_SAFE}"
        )


def name_error(error: Exception) -> str:
    """Spark's own name of what went wrong; empty where it has none. Its text is not for others: it quotes values."""
    condition = getattr(error, "getCondition", lambda: None)()
    return condition if isinstance(condition, str) and re.fullmatch(r"[A-Z0-9_.]{1,80}", condition) else ""


_CAUSES = (
    (
        r"TABLE_OR_VIEW_NOT_FOUND|REQUIRES_SINGLE_PART_NAMESPACE|SCHEMA_NOT_FOUND|CATALOG_NOT_FOUND|NO_SUCH_CATALOG\w*",
        "there is no such table in Spark's catalog",
        "Correct source.table: catalog, schema and name, as the session of platform.spark knows them.",
    ),
    (
        r"INSUFFICIENT_PERMISSIONS\w*|PERMISSION_DENIED|UNAUTHORIZED_ACCESS",
        "it may not be read",
        "Grant SELECT on it to whoever runs the job.",
    ),
)
_CHANGED = re.compile(r"FAILED_READ_FILE\.FILE_NOT_EXIST|DELTA_FILE_NOT_FOUND|FileNotFoundException")


@contextmanager
def explain_errors(described: str) -> Iterator[None]:
    """Spark's errors over a table as what its owner can act on."""
    failure: OfflineCapiError
    try:
        yield
    except OfflineCapiError:
        raise
    except Exception as error:  # noqa: BLE001  of Java, gRPC or PySpark
        failure = _explain(described, error)
    else:
        return
    raise failure from None


def _explain(described: str, error: Exception) -> OfflineCapiError:
    name = name_error(error)
    for pattern, what, fix in _CAUSES:
        if re.match(pattern, name):
            return SourceError(f"{described}: {what} ({name}).\n{fix} {_SAFE}")
    return explain_change(described, error) or TemporaryError(
        f"{described}: Spark could not read it ({type(error).__name__}{f' {name}' if name else ''}); its own log says"
        f" more. {_SAFE}"
    )


def explain_change(described: str, error: Exception) -> OfflineCapiError | None:
    """The error of a table that was written while it was read; ``None`` where that is not what happened."""
    if not _CHANGED.search(f"{name_error(error)} {error}"):
        return None
    return TemporaryError(
        f"{described}: a file of it is gone that was there when it was opened: the table was changed while it was"
        f" read.\nRun again when its writer is done; a table with snapshots (Delta, Iceberg) does not mind. {_SAFE}"
    )


# ---------------------------------------------------------------------------------------------- some first rows


def _take_sample(frame: DataFrame, layout: TableLayout, batch_rows: int) -> tuple[list[SourceRows], bool]:
    """The first rows of some partitions, and whether these are all rows."""
    for partitions in (SAMPLED_PARTITIONS, None):
        work = _make_sampler(partitions, SAMPLE_ROWS, SAMPLE_BYTES)
        with explain_errors(f"Spark table {layout.name}"):
            answers = frame.mapInArrow(work, "rows binary, is_whole boolean").collect()
        batches: list[pa.RecordBatch] = []
        for rows, _ in answers:
            if rows is not None:
                with pa.ipc.open_stream(bytes(rows)) as stream:
                    batches += stream
        is_whole = all(whole for _, whole in answers)
        if batches or is_whole:
            break
    parts = split_table(layout, batches, batch_rows)
    return [rows for _, group in parts for rows in group], is_whole


def _make_sampler(partitions: int | None, max_rows: int, max_bytes: int) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """A nested function travels by value: it needs nothing but Arrow there."""

    def work(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa
        from pyspark import TaskContext

        context = TaskContext.get()
        left, room, is_whole = max_rows, max_bytes, True
        if partitions is not None and context is not None and context.partitionId() >= partitions:
            left = 0
        for batch in batches:
            fits = batch.num_rows if not batch.nbytes else room * batch.num_rows // batch.nbytes
            taken = min(left, batch.num_rows, max(fits, 1) if left else 0)
            if taken:
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, batch.schema) as stream:
                    stream.write_batch(batch.slice(0, taken))
                data = sink.getvalue().to_pybytes()
                yield pa.RecordBatch.from_pydict({"rows": [data], "is_whole": [True]})
                left, room = left - taken, room - len(data)
            if taken < batch.num_rows or left <= 0 or room <= 0:
                is_whole = False
                break
        yield pa.RecordBatch.from_arrays([pa.nulls(1, pa.binary()), pa.array([is_whole])], names=["rows", "is_whole"])

    return work


# ---------------------------------------------------------------------------------------------- on an executor


def split_table(
    layout: TableLayout, batches: Iterable[pa.RecordBatch], batch_rows: int
) -> Iterator[tuple[TablePart, Iterator[SourceRows]]]:
    """What a task of Spark reads, by file; the rows of each have to be read before the next is asked for."""
    counted = _Counter()
    runs = (run for batch in batches for run in counted.cut(batch))
    for _, part in groupby(runs, key=lambda run: run.part):
        yield _open_part(layout, part, batch_rows)


def _open_part(layout: TableLayout, runs: Iterator[_Run], batch_rows: int) -> tuple[TablePart, Iterator[SourceRows]]:
    first = next(runs)
    # Partitions in the order of their numbers; files in that of their paths.
    origin = first.origin if first.of_file else f"{layout.name} partition {first.origin:>06}"
    named = _name_file(origin) if first.of_file else origin
    rows = _gather(layout, named, chain([first], runs), batch_rows)
    return TablePart(origin, int(first.numbers[0].as_py())), rows


class _Run(NamedTuple):
    """Rows of a batch that come from one file."""

    part: int
    origin: str
    of_file: bool
    batch: pa.RecordBatch
    numbers: pa.Int64Array


class _Counter:
    """Cuts batches where the file changes, or where its rows begin anew; numbers the rows of partitions."""

    def __init__(self) -> None:
        self._part, self._origin, self._last, self._counted = 0, "", 0, 0

    def cut(self, batch: pa.RecordBatch) -> Iterator[_Run]:
        if not batch.num_rows:
            return
        encoded = batch.column(_FILE).dictionary_encode()
        rows = batch.column(_ROW)
        of_file = rows.null_count == 0
        if not of_file:
            rows = pa.array(np.arange(self._counted, self._counted + len(rows), dtype=np.int64))
            self._counted += len(rows)
        codes, numbers = encoded.indices.to_numpy(), rows.to_numpy() + 1
        changes = np.flatnonzero((codes[1:] != codes[:-1]) | (numbers[1:] < numbers[:-1])) + 1
        for start, stop in zip([0, *changes.tolist()], [*changes.tolist(), len(codes)], strict=True):
            origin = str(encoded.dictionary[int(codes[start])].as_py())
            if origin != self._origin or int(numbers[start]) <= self._last:
                self._part += 1
            self._origin, self._last = origin, int(numbers[stop - 1])
            yield _Run(self._part, origin, of_file, batch.slice(start, stop - start), pa.array(numbers[start:stop]))


def _gather(layout: TableLayout, origin: str, runs: Iterable[_Run], batch_rows: int) -> Iterator[SourceRows]:
    """Spark's batches put together: what is done once a batch shall not count."""
    waiting: list[_Run] = []
    for run in runs:
        if waiting and sum(len(one.numbers) for one in waiting) + len(run.numbers) > batch_rows:
            yield _make_rows(layout, origin, waiting)
            waiting = []
        waiting.append(run)
    if waiting:
        yield _make_rows(layout, origin, waiting)


def _make_rows(layout: TableLayout, origin: str, runs: Sequence[_Run]) -> SourceRows:
    whole = pa.concat_batches([run.batch for run in runs])
    numbers = pa.concat_arrays([run.numbers for run in runs])
    members = find_members(whole.drop_columns([_FILE, _ROW]).schema)
    values = [plain(take_column(whole, name, members)) for name in layout.columns]
    batch = pa.RecordBatch.from_arrays(values, list(layout.columns))
    return SourceRows(batch, origin, int(numbers[0].as_py()), width=layout.width, numbers=numbers)


def _name_file(path: str) -> str:
    """A file for people, without its folders, which are called like values of columns: their digest stands for them."""
    folder, _, name = unquote(path).rpartition("/")
    is_partition = "=" in folder.rpartition("/")[2]
    return shown(name) + (f" ({hashlib.sha256(folder.encode()).hexdigest()[:8]})" if is_partition else "")
