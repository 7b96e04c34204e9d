"""What a contract promises of a table: dbt's model contracts and the Open Data Contract Standard, in the same terms.

Types are told apart only as far as they matter to an upload: what can be read as a time, an amount, an id or a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["ColumnKind", "ContractColumn", "DataContract", "classify_sql_type"]

#: ``local time`` has no zone, ``instant`` has one or is in UTC by its type.
ColumnKind = Literal["text", "integer", "number", "float", "boolean", "date", "local time", "instant", "other"]

_NAMES: Mapping[ColumnKind, str] = {
    "text": "varchar char character nvarchar nchar ntext text tinytext mediumtext longtext string bpchar "
    "clob citext uuid uniqueidentifier enum fixedstring name varchar2 character_varying",
    "integer": "tinyint smallint mediumint int integer bigint hugeint byteint long short int2 int4 int8 int16 int32 "
    "int64 int128 int256 uint8 uint16 uint32 uint64 uint128 uint256 utinyint usmallint uinteger ubigint uhugeint "
    "serial bigserial",
    "number": "decimal numeric number dec fixed bignumeric bigdecimal money smallmoney",
    "float": "float double real float4 float8 float16 float32 float64 double_precision",
    "boolean": "boolean bool bit",
    "date": "date date32",
    "local time": "timestamp timestamp_without_time_zone datetime datetime2 smalldatetime timestamp_ntz timestampntz "
    "timestamp_s timestamp_ms timestamp_us timestamp_ns datetime64",
    "instant": "timestamptz timestamp_with_time_zone timestamp_tz timestamp_ltz timestampltz datetimeoffset "
    "timestamp_with_local_time_zone",
}
_KINDS: Mapping[str, ColumnKind] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
#: Where a name means something else: by SQLAlchemy's dialect, which dbt's adapters are called after.
_OF_DIALECT: Mapping[str, Mapping[str, ColumnKind]] = {
    "bigquery": {"timestamp": "instant"},
    "databricks": {"timestamp": "instant"},
    "spark": {"timestamp": "instant"},
    "mysql": {"timestamp": "instant"},
    "mariadb": {"timestamp": "instant"},
    "clickhouse": {"datetime": "instant", "datetime32": "instant", "datetime64": "instant", "int8": "integer"},
}
_WRAPPER = re.compile(r"(?:nullable|lowcardinality)\((.*)\)", re.DOTALL)


def classify_sql_type(declared: str, dialect: str = "") -> ColumnKind | None:
    """What a column of a type holds; ``None`` where nothing is declared."""
    name = declared.strip().lower()
    while found := _WRAPPER.fullmatch(name):
        name = found[1].strip()
    if not name:
        return None
    if re.match(r"(?:array|map|struct|tuple|row|nested|object|variant|json\w*|super)\b|.*(?:\[\]|>)$", name):
        return "other"
    name = "_".join(re.sub(r"\([^()]*\)", " ", name).split())
    return _OF_DIALECT.get(dialect, {}).get(name) or _KINDS.get(name, "other")


@dataclass(frozen=True, slots=True)
class ContractColumn:
    """``declared`` is the type as the contract writes it; ``kind`` is ``None`` where it writes none."""

    name: str
    kind: ColumnKind | None = None
    declared: str = ""
    required: bool = False
    unique: bool = False


@dataclass(frozen=True, slots=True)
class DataContract:
    """``described`` names it for people. ``columns`` are by name; a column that is not among them has left the
    contract, which is a fault where it ``is_enforced``. ``keys`` are columns that no two rows share all values of.
    """

    described: str
    columns: Mapping[str, ContractColumn]
    is_enforced: bool
    keys: tuple[tuple[str, ...], ...] = ()

    def find(self, name: str) -> ContractColumn | None:
        """The column; databases that fold names write them in either case."""
        found = self.columns.get(name)
        if found is None:
            folded = [one for key, one in self.columns.items() if key.casefold() == name.casefold()]
            found = folded[0] if len(folded) == 1 else None
        return found
