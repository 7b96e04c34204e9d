"""An upload beside a data contract: do the columns that it reads still stand there, in types that can be read so?

Nothing is connected to. Of what a contract says of values (required, unique) the upload's own needs are the measure: a
time or an id that may be empty costs rows, an id that may repeat costs events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from offline_capi.config import Deployment, SecretResolver
from offline_capi.config.columns import find_field_specs, find_lookup, list_columns_used, list_lookup_columns
from offline_capi.config.document import format_path
from offline_capi.config.fields import Expectation, FieldSpec
from offline_capi.config.source import DbtSource
from offline_capi.config.upload import Upload
from offline_capi.errors import ConfigError, SourceError
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model.contract import ColumnKind, ContractColumn, DataContract
from offline_capi.pipeline import make_source_access
from offline_capi.runtime.border import is_name, names_among
from offline_capi.runtime.nearest import did_you_mean
from offline_capi.runtime.nouns import count_noun

__all__ = ["ContractFinding", "check_dbt_contracts", "compare_with_contract", "raise_errors", "suggest_expectations"]


class ContractFinding(NamedTuple):
    """``path`` is the place in the upload's YAML. What is an error fails every run, or sends what nobody means."""

    path: str
    message: str
    is_error: bool


def compare_with_contract(upload: Upload, contract: DataContract) -> list[ContractFinding]:
    """What of the upload does not agree with the contract of its source, in the order of its columns.

    With a ``transform`` the columns are those of the hook, and nothing is found.
    """
    if upload.transform is not None:
        return []
    found: list[ContractFinding] = []
    for name, paths in list_columns_used(upload).items():
        found += _find_missing(name, paths[0], contract)
    found += _compare_times(upload, contract)
    found += _compare_fields(upload, contract)
    found += _compare_promises(upload, contract)
    return list(dict.fromkeys(found))


def check_dbt_contracts(upload: Upload, deployment: Deployment, secrets: SecretResolver) -> list[ContractFinding]:
    """What of the upload, of the tables that it joins and of its schedule, does not agree with dbt's manifest."""
    from offline_capi.sources.dbt import find_relation
    from offline_capi.sources.dbt.assets import summarise_error

    access = make_source_access(upload, deployment, secrets)
    found = [*_find_unknown_models(upload, deployment, secrets)]
    nodes = {"source": upload.source, **{f"lookups.{name}": lookup for name, lookup in upload.lookups.items()}}
    for place, node in nodes.items():
        if not isinstance(node, DbtSource):
            continue
        try:
            contract = find_relation(node, access).contract
        except SourceError as error:
            found.append(ContractFinding(f"{place}.dbt", summarise_error(error), True))
            continue
        if place == "source":
            found += compare_with_contract(upload, contract)
            continue
        for name in (
            *list_lookup_columns(upload, place.partition(".")[2]),
            upload.lookups[place.partition(".")[2]].key,
        ):
            found += _find_missing(name, place, contract)
    return found


def _find_unknown_models(upload: Upload, deployment: Deployment, secrets: SecretResolver) -> Iterator[ContractFinding]:
    """Models that the schedule waits for, which would be assets that nobody ever updates."""
    from offline_capi.sources.dbt.assets import ModelAssets, summarise_error

    assets = ModelAssets(deployment, secrets)
    for path, awaited in deployment.list_awaited_models(upload):
        try:
            assets.find_table(awaited.model)
        except SourceError as error:
            yield ContractFinding(path, summarise_error(error), True)


def _find_missing(name: str, path: str, contract: DataContract) -> Iterator[ContractFinding]:
    """A column that is read and not in the contract; of one that names no columns nothing is missing."""
    if contract.columns and contract.find(name) is None:
        guess = did_you_mean(name, names_among(contract.columns))
        message = f'column "{name}" is not in {contract.described}{guess}'
        yield ContractFinding(path, message, contract.is_enforced)


def raise_errors(findings: Sequence[ContractFinding], upload: Upload, deployment: Deployment) -> list[str]:
    """The other findings as warnings. Raises ``ConfigError`` with those that are errors, each at its line."""
    errors = [deployment.make_problem(upload, one.path, one.message) for one in findings if one.is_error]
    if errors:
        raise ConfigError(f"{count_noun(len(errors), 'problem')} of {upload.name} with its contract", errors)
    return [f"{deployment.locate(upload, one.path)}: {one.path}: {one.message}" for one in findings]


# ---------------------------------------------------------------------------------------------- types

_NO_TIME = ("boolean", "float", "number", "other")
_NO_AMOUNT = ("boolean", "date", "local time", "instant", "other")


def _compare_times(upload: Upload, contract: DataContract) -> Iterator[ContractFinding]:
    """The columns that are read as the row's time."""
    window = upload.window
    needs_unit = window.unit is None and (upload.event.time is None or upload.event.time.unit is None)
    forms = window.format or (upload.event.time.format if upload.event.time else ())
    for name in window.columns:
        column = contract.find(name)
        if column is None or column.kind is None:
            continue
        path = "window.column" if window.column else "window.template"
        if column.kind in _NO_TIME:
            yield ContractFinding(path, f"{_say(column, contract)}, which is no time", True)
        elif window.column and column.kind == "integer" and needs_unit:
            yield ContractFinding(path, f"{_say(column, contract)}: say whether it counts s, ms or us (unit)", False)
        elif window.column and column.kind == "text" and not forms:
            yield ContractFinding(path, f"{_say(column, contract)}: only ISO 8601 is read without a format", False)


def _compare_fields(upload: Upload, contract: DataContract) -> Iterator[ContractFinding]:
    for section in ("event", "user_data", "custom_data"):
        for loc, spec in find_field_specs(getattr(upload, section), (section,)):
            path = format_path(loc[:-1] if section == "user_data" and loc[-1] == 0 else loc)
            for name in spec.own_columns:
                column = None if find_lookup(name, upload) else contract.find(name)
                if column is not None and column.kind is not None:
                    message, is_error = _judge_type(loc[:2], spec, column.kind)
                    if message:
                        yield ContractFinding(path, f"{_say(column, contract)}{message}", is_error)


def _judge_type(place: Sequence[str | int], spec: FieldSpec, kind: ColumnKind) -> tuple[str, bool]:
    """What a column of a kind cannot be, or should not be, in a field; an empty text where it can."""
    is_plain = spec.column is not None and not spec.map and not spec.text
    if place[0] == "user_data" and is_plain:
        key = USER_DATA_KEYS[str(place[1])]
        if kind == "boolean" or (kind in ("date", "local time", "instant") and not key.kind.startswith("birth")):
            return f", which is no {key.plural}", True
        if kind in ("integer", "number", "float") and key.kind in _LEADING_ZEROS:
            return f": a number has lost the zeros at the beginning of {key.plural}", False
    numeric = spec.type in ("number", "integer", "money") or tuple(place) in _AMOUNTS
    if numeric and is_plain and kind in _NO_AMOUNT:
        return ", which is no number", True
    if tuple(place) in _IDS and kind == "float":
        return ": a float is no id, its digits change", True
    if tuple(place) == ("event", "time") and kind in _NO_TIME and is_plain:
        return ", which is no time", True
    return "", False


_LEADING_ZEROS = ("phone", "postal_code")
_AMOUNTS = tuple(("custom_data", name) for name in ("value", "num_items", "predicted_ltv"))
_IDS = (("event", "id"), ("custom_data", "order_id"), ("user_data", "external_id"))


def _say(column: ContractColumn, contract: DataContract) -> str:
    declared = column.declared if len(column.declared) <= 60 else (column.kind or "")
    return f'column "{column.name}" is {declared} by {contract.described}'


# ---------------------------------------------------------------------------------------------- required, unique


def _compare_promises(upload: Upload, contract: DataContract) -> Iterator[ContractFinding]:
    """Only of contracts that promise such things at all: one without any says nothing by leaving them out."""
    if any(column.required for column in contract.columns.values()):
        for path, names in _list_needed(upload):
            for name in names:
                column = contract.find(name)
                if column is not None and not column.required:
                    message = f'column "{name}" may be empty by {contract.described}; a row without it is invalid'
                    yield ContractFinding(path, message, False)
    named = {name.casefold() for name in upload.event.id.columns}
    if contract.keys and not any({one.casefold() for one in key} <= named for key in contract.keys):
        keys = " or ".join(", ".join(key) for key in contract.keys[:3])
        message = f"rows are told apart by {keys} in {contract.described}; events with the same id are sent once"
        yield ContractFinding("event.id", message, False)


def _list_needed(upload: Upload) -> Iterator[tuple[str, Sequence[str]]]:
    """The columns without which a row is no event."""
    yield "window.column" if upload.window.column else "window.template", upload.window.columns
    for path, spec in (("event.id", upload.event.id), ("event.time", upload.event.time)):
        if spec is not None and spec.default is None and not spec.coalesce:
            yield path, [name for name in spec.own_columns if not find_lookup(name, upload)]


def suggest_expectations(
    upload: Upload, contract: DataContract, rules: Sequence[dict[str, object]] = ()
) -> list[dict[str, object]]:
    """Lines for ``expect`` that the contract promises of columns that the upload reads, and that it does not check yet.

    ``rules`` are what the contract says of values in its own terms, as items of ``expect``.
    """
    used = {name.casefold(): name for name in list_columns_used(upload)}
    checks: list[dict[str, object]] = [
        {"column": used[column.name.casefold()], "not_null": True}
        for column in contract.columns.values()
        if column.required and column.name.casefold() in used
    ]
    checks += [
        {"unique": [used[one.casefold()] for one in key] if len(key) > 1 else used[key[0].casefold()]}
        for key in contract.keys
        if all(one.casefold() in used for one in key)
    ]
    for rule in rules:
        names = [str(rule["column"])] if "column" in rule else []
        if all(name.casefold() in used for name in names):
            checks.append(rule | ({"column": used[names[0].casefold()]} if names else {}))
    have = {_identify(one) for one in upload.expect}
    fresh = {_identify(Expectation.model_validate(check)): check for check in checks if _is_shown(check)}
    return [check for identity, check in fresh.items() if identity not in have]


def _is_shown(check: dict[str, object]) -> bool:
    names: Any = check.get("unique") or check.get("column") or ()
    return all(map(is_name, [names] if isinstance(names, str) else names))


def _identify(one: Expectation) -> str:
    """What a check asks, whatever is done about it."""
    return one.model_copy(update={"name": None, "action": "warn", "max_failed": 0.0}).model_dump_json()
