"""``source`` and ``lookups`` of an upload: rows of a query, of files, of a table in a data lake or of a dbt relation.

A lookup is a source with a key, and so stands here and not with the fields that name its columns.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from offline_capi.config.dbt import DbtName, parse_dbt_name
from offline_capi.config.fields import check_bound
from offline_capi.config.types import Name, Node, Texts

__all__ = [
    "DbtLookup",
    "DbtSource",
    "DeltaLookup",
    "DeltaSource",
    "FileLookup",
    "FileSource",
    "IcebergLookup",
    "IcebergSource",
    "IcebergTable",
    "Lookup",
    "QueryLookup",
    "SourceSettings",
    "SparkTableSource",
    "SqlSource",
    "can_spread",
    "check_lookup_name",
]


class SqlSource(Node):
    """Rows from a query.

    It sees ``:since`` and ``:until`` (naive wall time in the window's zone), and ``:since_utc`` and ``:until_utc``
    (aware, for columns with a time zone).
    """

    connection: Name = Field(description="an Airflow connection id, or a name whose URL is in the environment")
    sql: Name = Field(description="path of a .sql file under sql/, or the query itself; uses :since and :until")

    #: A query selects the rows of the window, names its columns and types them; its rows have no numbers to find again.
    selects_rows_itself: ClassVar[bool] = True
    keeps_row_numbers: ClassVar[bool] = False
    has_declared_names: ClassVar[bool] = True
    has_declared_types: ClassVar[bool] = True
    incremental: ClassVar[None] = None

    @property
    def is_file(self) -> bool:
        """Whether ``sql`` names a file; a query has blanks in it."""
        return self.sql.endswith(".sql") and not re.search(r"\s", self.sql)

    def describe(self, quote: Callable[[str], str] = str) -> str:
        """The source for people, each name as ``quote`` writes it."""
        return f"query {quote(self.sql)} on connection {quote(self.connection)}"


#: How SQL clients, pandas and spreadsheets write a missing value; \N is COPY, Hive, MySQL and Snowflake.
NULL_VALUES = (
    *("", "NULL", "null", "N/A", "n/a", "NaN", "nan", "NaT", "<NA>", "#N/A"),
    *("\\N", "(null)", "[NULL]", "<null>", "<NULL>"),
)


class FileSource(Node):
    """Rows from files: a path, a folder, or a pattern; local or any fsspec URL.

    ``{date}`` (or ``{date:%Y%m%d}``) in the path stands for the days of the window, in its zone; ``${NAME}`` for an
    environment variable, read when the files are.
    """

    path: Name = Field(
        description="may hold *, {date} or {date:%Y%m%d}, and ${NAME} of an environment variable; a relative one "
        "begins at the project folder: the folder around dags/, else the configuration folder"
    )
    format: Literal["auto", "csv", "jsonl", "parquet", "excel"] = Field(
        "auto", description="auto: by the file's first bytes and its name; jsonl reads JSON arrays too"
    )
    encoding: Texts = Field(("utf-8",), description="tried in order, file by file; a byte-order mark is recognised")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quoting: Literal["standard", "loose", "none"] = Field(
        "standard",
        description="CSV. standard: RFC 4180, and values that swallowed rows are malformed; loose: a quote inside an "
        "unquoted value is a character, and a quoted value may hold lines that look like rows; none: quotes are "
        "characters everywhere",
    )
    escape: Literal["backslash"] | None = Field(
        None, description='CSV. backslash: \\" is a quote inside a value, as MySQL and Spark write it'
    )
    header_row: int | None = Field(
        None,
        ge=1,
        description="CSV and Excel: the line that holds the names of the columns; lines before it are no rows. "
        "Without it, the first line, or the first of 50 that holds every column that the upload reads",
    )
    footer_rows: int = Field(0, ge=0, le=1000, description="CSV and Excel: how many lines at the end are no rows")
    trailing_delimiter: bool = Field(False, description="CSV: rows end in a delimiter, and the header does not")
    sheet: Name | None = Field(None, description="Excel: the sheet; without it, the first")
    max_line_mib: int = Field(
        16, ge=8, le=256, description="JSON: the longest line, or object; a file with a longer one is refused"
    )
    max_unpacked_gib: int = Field(64, ge=1, description="compressed files: how much of one is read")
    max_ratio: int = Field(
        200,
        ge=10,
        description="compressed files: how many times its size one may have unpacked, beyond the first 64 MiB",
    )
    max_workbook_mib: int = Field(400, ge=64, description="Excel: how much memory one workbook may take")
    partitioning: Literal["none", "hive"] = Field(
        "none",
        description="hive: folders called COLUMN=VALUE are columns too, as text; where the window is made of them "
        "alone, folders of other days are not opened",
    )
    null_values: tuple[str, ...] = Field(NULL_VALUES, description="CSV: what is empty, where it is not quoted")
    optional: bool = Field(
        False, description="true: a day without a file is a day without rows; else such a run is not complete"
    )

    #: A row is found again by file and number. Names of columns may be the first line of a text, and thus a row's.
    keeps_row_numbers: ClassVar[bool] = True
    has_declared_names: ClassVar[bool] = False
    incremental: ClassVar[None] = None

    @property
    def selects_rows_itself(self) -> bool:
        """Whether the path contains the file's day; otherwise ``window.column`` assigns rows to the window."""
        return "{date" in self.path

    @property
    def has_declared_types(self) -> bool:
        """Whether the format gives a column one type: a text in it is no accident of one batch."""
        return self.format == "parquet" or ".parquet" in self.path

    def describe(self, quote: Callable[[str], str] = str) -> str:
        """The source for people, each name as ``quote`` writes it."""
        return f"files {quote(self.path)}"


class _TableSource(Node):
    """A table whose own log says which files hold its rows: it declares names and types, and numbers no rows."""

    #: The window is pushed down to files and row groups; which rows are meant, ``window.column`` decides.
    selects_rows_itself: ClassVar[bool] = False
    keeps_row_numbers: ClassVar[bool] = False
    has_declared_names: ClassVar[bool] = True
    has_declared_types: ClassVar[bool] = True


def _check_as_of(value: str) -> str:
    return str(check_bound(value))


AsOf = Annotated[str, AfterValidator(_check_as_of)]
_AS_OF = "the table as it was then: a date or time, in the window's zone where it has none"
_INCREMENTAL = (
    "snapshot: the daily run also reads the rows of files that were added since the last complete run, however old "
    "they are, so that late rows need no window.lookback"
)


def _check_newest(source: DeltaSource | IcebergSource) -> None:
    if source.incremental and source.names_a_state:
        raise ValueError("incremental reads what is added to the newest state: leave out the state that is named here")


class DeltaSource(_TableSource):
    """Rows of a Delta Lake table."""

    delta: Name = Field(
        description="folder or URL of the table; may hold ${NAME} of an environment variable; a relative one begins at "
        "the project folder"
    )
    version: int | None = Field(None, ge=0, description="this version of the table; without it, the newest")
    as_of: AsOf | None = Field(None, description=_AS_OF)
    incremental: Literal["snapshot"] | None = Field(None, description=_INCREMENTAL)

    @model_validator(mode="after")
    def _require_one_state(self) -> DeltaSource:
        if self.version is not None and self.as_of is not None:
            raise ValueError("give either version or as_of")
        _check_newest(self)
        return self

    @property
    def names_a_state(self) -> bool:
        """Whether it is another than the newest state that is read."""
        return self.version is not None or self.as_of is not None

    def describe(self, quote: Callable[[str], str] = str) -> str:
        """The source for people, each name as ``quote`` writes it."""
        return f"Delta table {quote(self.delta)}"


def _check_identifier(value: str) -> str:
    if not all(value.split(".")) or "." not in value:
        raise ValueError("needs the namespace as well, such as shop.sales")
    return value


class IcebergTable(Node):
    """Which table of which catalog."""

    catalog: Name = Field(description="a name under platform.iceberg_catalogs")
    table: Annotated[str, AfterValidator(_check_identifier)] = Field(description="namespace and name: shop.sales")


class IcebergSource(_TableSource):
    """Rows of an Apache Iceberg table."""

    iceberg: IcebergTable
    snapshot: int | None = Field(None, description="the id of a snapshot; without it, the newest")
    ref: Name | None = Field(None, description="a branch or tag")
    as_of: AsOf | None = Field(None, description=_AS_OF)
    incremental: Literal["snapshot"] | None = Field(None, description=_INCREMENTAL)

    @model_validator(mode="after")
    def _require_one_state(self) -> IcebergSource:
        if sum(given is not None for given in (self.snapshot, self.ref, self.as_of)) > 1:
            raise ValueError("give one of snapshot, ref and as_of")
        _check_newest(self)
        return self

    @property
    def names_a_state(self) -> bool:
        """Whether it may be another than the newest state that is read."""
        return any(given is not None for given in (self.snapshot, self.ref, self.as_of))

    def describe(self, quote: Callable[[str], str] = str) -> str:
        """The source for people, each name as ``quote`` writes it."""
        return f"Iceberg table {quote(self.iceberg.table)} of catalog {quote(self.iceberg.catalog)}"


class DbtSource(_TableSource):
    """Rows of what dbt builds or reads: the relation that its manifest names.

    The columns that the upload reads are selected by a query; where the manifest says the type of the window's column,
    with the window in it.
    """

    dbt: Annotated[str, AfterValidator(lambda value: str(parse_dbt_name(value)))] = Field(
        description="as dbt names it: ref('fct_approvals'), ref('package', 'model'), ref('model', v=2) or "
        "source('crm', 'orders')"
    )
    connection: Name | None = Field(None, description="where the relation is read; without it, platform.dbt.connection")

    incremental: ClassVar[None] = None

    @property
    def reference(self) -> DbtName:
        """What ``dbt`` says, taken apart."""
        return parse_dbt_name(self.dbt)

    def describe(self, quote: Callable[[str], str] = str) -> str:
        """The source for people, each name as ``quote`` writes it."""
        return f"dbt's {quote(self.dbt)}"


#: Parts of a table's name: what every catalog of Spark takes without quotes, and a hyphen.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_-]*"


def _check_table_name(value: str) -> str:
    if not re.fullmatch(rf"{_PART}(\.{_PART}){{0,4}}", value):
        raise ValueError("is the name of a table, such as main.sales.purchases: letters, digits, _ and - between dots")
    return value


class SparkTableSource(_TableSource):
    """Rows of a table or view of Spark's catalog; with ``engine: spark`` alone."""

    table: Annotated[str, AfterValidator(_check_table_name)] = Field(
        description="catalog, schema and name as Spark knows them: main.sales.purchases"
    )

    incremental: ClassVar[None] = None

    def describe(self, quote: Callable[[str], str] = str) -> str:
        """The source for people, each name as ``quote`` writes it."""
        return f"Spark table {quote(self.table)}"


_KINDS: dict[str, tuple[str, ...]] = {
    "Dbt": ("dbt",),
    "Delta": ("delta",),
    "Iceberg": ("iceberg",),
    "Sql": ("connection", "sql"),
    "File": ("path",),
    "SparkTable": ("table",),
}


def _classify(value: object, suffix: str) -> str | None:
    """Which kind of source this is, by the keys that only that kind has."""
    if isinstance(value, (SqlSource, FileSource, DeltaSource, IcebergSource, DbtSource, SparkTableSource)):
        return type(value).__name__
    if not isinstance(value, dict):
        return None
    return next((f"{kind}{suffix}" for kind, keys in _KINDS.items() if set(keys) & set(value)), None)


SourceSettings = Annotated[
    Annotated[SqlSource, Tag("SqlSource")]
    | Annotated[FileSource, Tag("FileSource")]
    | Annotated[DeltaSource, Tag("DeltaSource")]
    | Annotated[IcebergSource, Tag("IcebergSource")]
    | Annotated[DbtSource, Tag("DbtSource")]
    | Annotated[SparkTableSource, Tag("SparkTableSource")],
    Discriminator(lambda value: _classify(value, "Source")),
]


def can_spread(source: object) -> bool:
    """Whether several processes can read a source by parts; else all of it is read where a run is started."""
    if isinstance(source, FileSource):
        return source.partitioning == "none"
    return isinstance(source, SparkTableSource)


_LOOKUP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}")


def check_lookup_name(value: str) -> str:
    if not _LOOKUP_NAME.fullmatch(value):
        raise ValueError("needs a name of letters, digits and _ (at most 50): columns are NAME.COLUMN")
    return value


class _Joined(Node):
    """What a source needs besides to be joined by a key."""

    key: Name = Field(description="the column of the table that identifies its rows")
    by: Name | None = Field(None, description="the column of the source that holds the key; without it, of that name")


class FileLookup(FileSource, _Joined):
    """A table in files, joined by its key. Read once a run, before the first row."""


class QueryLookup(SqlSource, _Joined):
    """A table from a query, joined by its key. It may use :since and :until, and need not."""


class DeltaLookup(DeltaSource, _Joined):
    """A Delta Lake table, joined by its key."""


class IcebergLookup(IcebergSource, _Joined):
    """An Apache Iceberg table, joined by its key."""


class DbtLookup(DbtSource, _Joined):
    """A relation of dbt's, joined by its key."""


Lookup = Annotated[
    Annotated[QueryLookup, Tag("SqlLookup")]
    | Annotated[FileLookup, Tag("FileLookup")]
    | Annotated[DeltaLookup, Tag("DeltaLookup")]
    | Annotated[IcebergLookup, Tag("IcebergLookup")]
    | Annotated[DbtLookup, Tag("DbtLookup")],
    Discriminator(lambda value: _classify(value, "Lookup")),
]
