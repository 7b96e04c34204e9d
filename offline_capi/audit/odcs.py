"""A data contract of the Open Data Contract Standard (ODCS, version 3): its columns, and what it asks of their values.

``schema`` lists objects (tables) with their ``properties`` (columns): bitol-io.github.io/open-data-contract-standard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from offline_capi.config.document import read_document
from offline_capi.config.source import DbtSource, DeltaSource, IcebergSource
from offline_capi.config.upload import Upload
from offline_capi.errors import UsageError
from offline_capi.mapping import find_pattern_fault
from offline_capi.model.contract import ColumnKind, ContractColumn, DataContract, classify_sql_type
from offline_capi.runtime.border import names_among, shown
from offline_capi.runtime.nearest import did_you_mean

__all__ = ["OpenDataContract", "read_data_contract"]

MAX_CONTRACT_MIB = 16
_SQL_TYPE = ("integer", "number", "local time", "instant", "date", "text", "boolean", "float")
_LOGICAL: Mapping[str, ColumnKind] = {
    "string": "text",
    "date": "date",
    "timestamp": "instant",
    "time": "other",
    "number": "number",
    "integer": "integer",
    "object": "other",
    "array": "other",
    "boolean": "boolean",
    "map": "other",
    "vector": "other",
}


class OpenDataContract(NamedTuple):
    """One object of a contract; ``rules`` are what it asks of values, as items of ``expect``."""

    contract: DataContract
    rules: Sequence[dict[str, object]]


def read_data_contract(file: Path, name: str | None, upload: Upload) -> OpenDataContract:
    """The object called ``name``, else the only one, else the one that is called like the upload or its table.

    Raises ``UsageError`` where the file is none of the standard, or does not say which object is meant.
    """
    data = _read_file(file)
    objects = [one for one in _list_maps(data.get("schema")) if one.get("name")]
    if not objects:
        raise UsageError(f"--contract: {file} has no schema, and so names no columns. Add schema with its properties")
    chosen = _choose_object(file, objects, name, upload)
    properties = [one for one in _list_maps(chosen.get("properties")) if one.get("name") or one.get("physicalName")]
    if not properties:
        raise UsageError(f"--contract: {file}: {shown(str(chosen['name']))} has no properties, and so no columns")
    keyed = sorted(
        (one for one in properties if one.get("primaryKey") is True),
        key=lambda one: _as_number(one.get("primaryKeyPosition"), len(properties)),
    )
    rules = [*_read_rules(chosen, properties)]
    promised = [rule for rule in rules if {"unique", "not_null"} & rule.keys() and "max_failed" not in rule]
    filled = {str(rule["column"]) for rule in promised if rule.get("not_null")}
    unique = [key for rule in promised if (key := _as_key(rule.get("unique")))]
    keys = [tuple(map(_name, keyed)), *((_name(one),) for one in properties if one.get("unique") is True), *unique]
    keys = [key for key in dict.fromkeys(keys) if key]
    columns = {_name(one): _read_property(one, keys, filled) for one in properties}
    described = f"{file.name} ({shown(str(chosen['name']))})"
    asked = [rule for rule in rules if rule not in promised]
    return OpenDataContract(DataContract(described, columns, is_enforced=True, keys=tuple(keys)), asked)


def _read_file(file: Path) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > MAX_CONTRACT_MIB << 20:
            raise UsageError(f"--contract: {file} is larger than {MAX_CONTRACT_MIB} MiB")
        document = read_document(file.read_bytes(), str(file))
    except OSError as error:
        raise UsageError(f"--contract: {file} cannot be read: {error.strerror}. Correct the path") from None
    data = document.data
    if not isinstance(data, dict):
        told = f": {document.problems[0]}" if document.problems else ""
        raise UsageError(f"--contract: {file} is no YAML mapping{told}")
    kind, version = data.get("kind"), str(data.get("apiVersion"))
    if kind != "DataContract" or not re.match(r"v3\.\d", version):
        has = "" if kind != "DataContract" else f"; it has apiVersion {shown(version)}"
        raise UsageError(
            f"--contract: {file} is no data contract of the Open Data Contract Standard, version 3{has}. "
            "It begins with kind: DataContract and apiVersion: v3.1.0"
        )
    return data


def _choose_object(file: Path, objects: Sequence[Mapping[str, Any]], name: str | None, upload: Upload) -> Any:
    if name is None and len(objects) == 1:
        return objects[0]
    wanted = {name.casefold()} if name else {one.casefold() for one in (upload.name, *_list_tables(upload))}
    found = [one for one in objects if wanted & {part.casefold() for part in _list_names(one)}]
    if len(found) == 1:
        return found[0]
    known = names_among(str(one["name"]) for one in objects)
    if name:
        guess = did_you_mean(name, known) or f"; it has: {', '.join(known)}"
        raise UsageError(f'--schema-object: {file} has no object "{name}" of its own{guess}')
    raise UsageError(
        f"--contract: {file} has several objects, and none is called like {upload.name} or its table. Say which: "
        f"--schema-object with one of {', '.join(known)}"
    )


def _list_names(one: Mapping[str, Any]) -> Iterator[str]:
    for key in ("name", "physicalName"):
        if one.get(key):
            yield str(one[key])
            yield str(one[key]).rpartition(".")[2]


def _list_tables(upload: Upload) -> Iterator[str]:
    source = upload.source
    if isinstance(source, DbtSource):
        yield source.reference.name
    elif isinstance(source, IcebergSource):
        yield source.iceberg.table.rpartition(".")[2]
    elif isinstance(source, DeltaSource):
        yield source.delta.rstrip("/").rpartition("/")[2]


# ---------------------------------------------------------------------------------------------- properties


def _name(one: Mapping[str, Any]) -> str:
    """What the column is called where the rows are."""
    return str(one.get("physicalName") or one["name"])


def _read_property(one: Mapping[str, Any], keys: Sequence[tuple[str, ...]], filled: set[str]) -> ContractColumn:
    physical, logical = str(one.get("physicalType") or ""), str(one.get("logicalType") or "")
    kind = classify_sql_type(physical) if physical else None
    if kind not in _SQL_TYPE:
        kind = _LOGICAL.get(logical, kind)
    elif kind == "instant" and _options(one).get("timezone") is False:
        kind = "local time"
    name = _name(one)
    required = one.get("required") is True or one.get("primaryKey") is True or name in filled
    return ContractColumn(name, kind, shown(physical or logical), required, (name,) in keys)


def _options(one: Mapping[str, Any]) -> Mapping[str, Any]:
    found = one.get("logicalTypeOptions")
    return found if isinstance(found, dict) else {}


def _list_maps(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _as_number(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and value > 0 else otherwise


def _as_key(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),) if value else ()


# ---------------------------------------------------------------------------------------------- rules

_BOUNDS = {"minimum": "at_least", "maximum": "at_most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
#: Names of version 3.0, whose rules are called otherwise than the metrics since 3.1.
_METRICS = {
    "nullCheck": "nullValues",
    "duplicateCount": "duplicateValues",
    "validValues": "invalidValues",
    "rowCountCheck": "rowCount",
}


def _read_rules(table: Mapping[str, Any], properties: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, object]]:
    """What can be said as an item of ``expect``; other rules are the contract's own affair."""
    for one in properties:
        name, options = _name(one), _options(one)
        bounds: dict[str, object] = {
            ours: options[theirs] for theirs, ours in _BOUNDS.items() if _is_number(options.get(theirs))
        }
        if bounds:
            yield {"column": name, **bounds}
        if values := _list_scalars([part.get("value") for part in _list_maps(one.get("enum"))]):
            yield {"column": name, "accepted": values}
        yield from _match(name, options.get("pattern"))
        for rule in _list_maps(one.get("quality")):
            yield from _read_rule(rule, name)
    for rule in _list_maps(table.get("quality")):
        yield from _read_rule(rule, None)


def _read_rule(rule: Mapping[str, Any], column: str | None) -> Iterator[dict[str, object]]:
    metric = str(rule.get("metric") or rule.get("rule") or "")
    metric = _METRICS.get(metric, metric)
    arguments = rule.get("arguments")
    given: Mapping[str, Any] = {**rule, **(arguments if isinstance(arguments, dict) else {})}
    allowed = _count_allowed(rule)
    if metric == "rowCount" and column is None:
        if bounds := _list_row_bounds(rule):
            yield {"row_count": bounds}
    elif metric == "duplicateValues" and allowed == 0:
        names = [column] if column else _list_scalars(given.get("properties"))
        yield from [{"unique": names[0] if len(names) == 1 else names}] if names else []
    elif column is not None and allowed is not None:
        share = {"max_failed": f"{allowed:g}%"} if allowed else {}
        if metric in ("nullValues", "missingValues"):
            yield {"column": column, "not_null": True, **share}
        elif metric == "invalidValues":
            if values := _list_scalars(given.get("validValues")):
                yield {"column": column, "accepted": values, **share}
            yield from (one | share for one in _match(column, given.get("pattern")))


def _count_allowed(rule: Mapping[str, Any]) -> float | None:
    """How many percent may fail: none where the contract says 0; ``None`` where it counts rows, or says something else.

    Without an operator, as version 3.0 writes its checks, none may.
    """
    operators = {key: value for key, value in rule.items() if key.startswith("must")}
    if operators in ({}, {"mustBe": 0}, {"mustBeLessThan": 1}, {"mustBeLessOrEqualTo": 0}):
        return 0.0 if rule.get("unit") != "percent" or "mustBeLessThan" not in operators else 1.0
    limit: Any = operators.get("mustBeLessThan", operators.get("mustBeLessOrEqualTo"))
    return float(limit) if rule.get("unit") == "percent" and _is_number(limit) and 0 <= limit <= 100 else None


def _list_row_bounds(rule: Mapping[str, Any]) -> dict[str, int]:
    low, high = rule.get("mustBeGreaterOrEqualTo"), rule.get("mustBeLessOrEqualTo")
    if _is_number(rule.get("mustBeGreaterThan")):
        low = rule["mustBeGreaterThan"] + 1
    if _is_number(rule.get("mustBeLessThan")):
        high = rule["mustBeLessThan"] - 1
    between = rule.get("mustBeBetween")
    if isinstance(between, list) and len(between) == 2:
        low, high = between
    bounds: dict[str, Any] = {"at_least": low, "at_most": high}
    return {key: int(value) for key, value in bounds.items() if _is_number(value) and value >= 0}


def _match(column: str, pattern: object) -> Iterator[dict[str, object]]:
    """A pattern that RE2 can read; others stay the contract's own."""
    if isinstance(pattern, str) and pattern and find_pattern_fault(pattern) is None:
        yield {"column": column, "matches": pattern}


def _list_scalars(values: object) -> list[Any]:
    found = values if isinstance(values, list) else []
    return [one for one in found if isinstance(one, (str, int, float, bool))]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
