"""Inspection of a table or a query, and the SQL file that reads its window."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
import sqlalchemy as sa

from offline_capi.config.source import SqlSource
from offline_capi.errors import UsageError
from offline_capi.mapping.times import TimeRule, read_instants
from offline_capi.meta.limits import MAX_PHYSICAL_STORE_AGE
from offline_capi.model import SourceRows, Window
from offline_capi.onboarding.lines import Confidence, Line
from offline_capi.onboarding.origins import Origin, derive_name, require_rows
from offline_capi.onboarding.sample import MAX_SAMPLE_ROWS, Column, Sample
from offline_capi.onboarding.times import TimeColumn
from offline_capi.runtime.border import shown, visible
from offline_capi.runtime.nearest import did_you_mean
from offline_capi.sources import SourceAccess, open_source
from offline_capi.sources.sql.errors import Where, explain_query_errors
from offline_capi.sources.sql.preview import preview_table

__all__ = ["SqlTable", "describe_table", "find_latest_time", "inspect_query", "inspect_table", "read_sample"]

ConnectionUrl = Callable[[str], str]
#: A query is first asked for what Meta takes at all (D:offline-events), then for anything.
_EVER = datetime(2000, 1, 1, tzinfo=UTC)
_NOTES = {"connection": "an Airflow connection, or a URL in the environment", "sql": "sees :since and :until"}


def inspect_table(connection: str, table: str, connection_url: ConnectionUrl) -> Origin:
    """A table or view; ``schema.table`` where it is not in the usual schema."""
    list(read_rows(connection, "SELECT 1 AS one", connection_url))  # what is wrong with a connection, it says best
    found = _find(connection, table, connection_url(connection))
    rows = Sample.collect(read_sample(connection, found, connection_url))
    return Origin(
        name=derive_name(table.rpartition(".")[2]),
        described=f"table {table} of {found.dialect}",
        node={"connection": connection},
        notes=_NOTES,
        sample=require_rows(rows, f"the table {table}"),
        latest=lambda time, zone: find_latest_time(connection, found, time, zone, connection_url),
        query=lambda name, lines: _write_query(name, found, lines, rows),
    )


def inspect_query(connection: str, file: Path, connection_url: ConnectionUrl) -> Origin:
    """The user's own query, which becomes the upload's unchanged."""
    text = _read_query_file(file)
    looks = (
        Sample.collect(read_rows(connection, text, connection_url, since))
        for since in (_get_now() - MAX_PHYSICAL_STORE_AGE, _EVER)
    )
    return Origin(
        name=derive_name(file.stem),
        described=f"query {file.name}",
        node={"connection": connection},
        notes=_NOTES,
        sample=require_rows(next((rows for rows in looks if len(rows)), Sample.collect([])), f"the query {file}"),
        query=lambda _, __: text,
    )


def _get_now() -> datetime:
    return datetime.now(UTC)


def _read_query_file(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--sql: {file} cannot be read ({type(error).__name__}). Nothing was written") from None
    if not text.strip():
        raise UsageError(f"--sql: {file} is empty; write one SELECT. Nothing was written")
    return text


def read_rows(
    connection: str, query: str, connection_url: ConnectionUrl, since: datetime = _EVER
) -> Iterator[SourceRows]:
    """The rows of a query; ``since`` is the begin of the window that it sees."""
    source = SqlSource(connection=connection, sql=f"{query}\n")  # a line end, so that it is no file's name
    window = Window(since, _get_now() + timedelta(days=1))
    return open_source(source, SourceAccess("UTC", connection_url)).read(window)


def read_sample(connection: str, table: SqlTable, connection_url: ConnectionUrl) -> Iterable[SourceRows]:
    """The first rows of a table, where there is a way that costs nothing by that."""
    listed = preview_table(connection, table.name, connection_url(connection), MAX_SAMPLE_ROWS)
    return read_rows(connection, table.sample_query, connection_url) if listed is None else listed


# ---------------------------------------------------------------------------------------------- the table


class SqlTable(NamedTuple):
    """A table by its name as SQL writes it; ``quote`` does so for a column. ``sample_query`` selects its first rows."""

    name: str
    dialect: str
    quote: Callable[[str], str]
    sample_query: str


def describe_table(name: str, dialect: sa.Dialect) -> SqlTable:
    """The table of a name that is quoted as far as it has to be."""
    return SqlTable(name, dialect.name, partial(_quote, dialect), _build_sample_query(name, dialect))


def _quote(dialect: sa.Dialect, name: str) -> str:
    return str(dialect.identifier_preparer.quote(name))


def _build_sample_query(name: str, dialect: sa.Dialect) -> str:
    """As many rows as a sample holds, by ``LIMIT`` or ``TOP``: a warehouse would get all ready."""
    query = sa.select(sa.text("*")).select_from(sa.table("sampled")).limit(MAX_SAMPLE_ROWS)
    text = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    return _SAMPLED.sub(lambda _: name, text)


_SAMPLED = re.compile(r"[`\"\[]?\bsampled\b[`\"\]]?")  # BigQuery's dialect quotes every table


def _find(connection: str, table: str, url: str) -> SqlTable:
    schema, _, name = table.rpartition(".")
    engine = sa.create_engine(url, hide_parameters=True, poolclass=sa.NullPool)
    try:
        with explain_query_errors(Where(connection, f"table {table}", table), engine):
            inspector = sa.inspect(engine)
            if not inspector.has_table(name, schema or None):
                known = [*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)]
                raise UsageError(_describe_missing_table(connection, table, known))
    finally:
        engine.dispose()
    quote = partial(_quote, engine.dialect)
    return describe_table(".".join(map(quote, filter(None, (schema, name)))), engine.dialect)


def _describe_missing_table(connection: str, table: str, known: Sequence[str]) -> str:
    few = ", ".join(map(shown, sorted(known)[:10])) or "none"
    guess = did_you_mean(table, map(shown, known)) or f"; there are {few}"
    return f'--table: there is no table or view "{table}" on connection {connection}{guess}\nNothing was written'


def find_latest_time(
    connection: str, table: SqlTable, time: TimeColumn, zone: str, connection_url: ConnectionUrl
) -> pa.TimestampArray:
    """The last time of the table, as its values are read; of those in the sample's spelling alone."""
    query = f"SELECT MAX({table.quote(time.name)}) AS latest FROM {table.name}"  # noqa: S608  quoted by the dialect
    found = Sample.collect(read_rows(connection, query, connection_url)).columns["latest"]
    return read_instants(found.values, TimeRule(time.formats, zone=zone))


# ---------------------------------------------------------------------------------------------- the query


def _write_query(name: str, table: SqlTable, lines: Sequence[Line], sample: Sample) -> str:
    """Only the columns that a line reads, also one that is commented out, and only the rows of the window."""
    used = {column for line in lines for column in line.columns}
    columns = [table.quote(column) for column in sample.columns if column in used]
    time = next((line for line in lines if line.place == "window.column"), None)
    zone = next((line.node for line in lines if line.place == "window.timezone"), None)
    where = _build_where(table, time, sample, str(zone))
    return "\n".join([f"-- {name}: rows of {visible(table.name)} in the window.", *where.comments,
                      f"SELECT {_wrap_columns(columns)}", f"FROM {table.name}", *where.conditions, ""])  # fmt: skip


def _wrap_columns(columns: Sequence[str]) -> str:
    lines = [""]
    for column in columns:
        if len(lines[-1]) + len(column) > 100:
            lines.append("")
        lines[-1] += f"{column}, "
    return "\n       ".join(line.rstrip() for line in lines).rstrip(",")


class _Where(NamedTuple):
    comments: list[str]
    conditions: list[str]


#: What a column's values are → the ends of the window in the same terms, and what a reader should know of it.
_WALL, _AWARE, _DAY = (
    (":since", ":until"),
    (":since_utc", ":until_utc"),
    ("CAST(:since AS DATE)", "CAST(:until AS DATE)"),
)
#: Texts that sort as time does, all in one spelling: cut and joined as they are, the ends compare with them.
_DATE, _TIME = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d"
_TEXTS: Mapping[str, str] = {
    rf"^{_DATE}$": "SUBSTR(CAST({end} AS TEXT), 1, 10)",
    rf"^{_DATE} {_TIME}$": "SUBSTR(CAST({end} AS TEXT), 1, 16)",
    rf"^{_DATE} {_TIME}:\d\d(\.\d+)?$": "CAST({end} AS TEXT)",
    rf"^{_DATE}T{_TIME}$": "REPLACE(SUBSTR(CAST({end} AS TEXT), 1, 16), ' ', 'T')",
    rf"^{_DATE}T{_TIME}:\d\d(\.\d+)?$": "REPLACE(CAST({end} AS TEXT), ' ', 'T')",
}


def _build_where(table: SqlTable, time: Line | None, sample: Sample, zone: str) -> _Where:
    if time is None or time.confidence is not Confidence.TAKEN:
        return _Where(["-- TODO: WHERE the row's time is from :since on and before :until; see window.column."], [])
    column = sample.columns[time.columns[0]]
    ends = _choose_end_formats(column) or _count_end_seconds(column, table.dialect)
    if ends is None:
        todo = f"-- TODO: WHERE {visible(column.name)} is from :since on and before :until; not comparable as it is."
        return _Where([todo], [])
    known = "in UTC, for it has a zone" if ends is _AWARE else f"as wall time in {zone}, for it has none"
    if kinds.is_integer(column.values.type):
        known = "as a Unix time"
    name = table.quote(column.name)
    return _Where(
        [f"-- {visible(column.name)} is compared {known}."], [f"WHERE {name} >= {ends[0]}", f"  AND {name} < {ends[1]}"]
    )


#: A moment in UTC as seconds since 1970, by dialect; others have a TODO.
_SECONDS: Mapping[str, str] = {
    "sqlite": "CAST(STRFTIME('%s', {end}) AS INTEGER)",
    "postgresql": "EXTRACT(EPOCH FROM CAST({end} AS TIMESTAMPTZ))",
    "mysql": "TIMESTAMPDIFF(SECOND, '1970-01-01', {end})",
    "mariadb": "TIMESTAMPDIFF(SECOND, '1970-01-01', {end})",
    "duckdb": "EPOCH(CAST({end} AS TIMESTAMPTZ))",
}
#: Unix times from here on are milliseconds, or microseconds: in seconds they would be the year 5138, or 5,000,000.
_MILLISECONDS_FROM, _MICROSECONDS_FROM = 10**11, 10**14


def _count_end_seconds(column: Column, dialect: str) -> tuple[str, ...] | None:
    """The ends of the window as the column counts time; ``None`` where that is not known of the dialect."""
    if not kinds.is_integer(column.values.type) or dialect not in _SECONDS:
        return None
    largest = pc.max(column.values).as_py() or 0
    factor = 10**6 if largest >= _MICROSECONDS_FROM else 1_000 if largest >= _MILLISECONDS_FROM else 1
    seconds = (_SECONDS[dialect].format(end=end) for end in _AWARE)
    return tuple(f"{one} * {factor}" if factor > 1 else one for one in seconds)


def _choose_end_formats(column: Column) -> tuple[str, ...] | None:
    """``None`` where the database would compare something else than time."""
    kind = column.values.type
    if kinds.is_timestamp(kind):
        return _AWARE if kind.tz else _WALL
    if kinds.is_date(kind):
        return _DAY
    texts = _TEXTS if kinds.is_string(kind) else {}
    text = next((text for shape, text in texts.items() if column.count_matching(shape) == column.filled), None)
    return None if text is None else tuple(text.format(end=end) for end in _WALL)
