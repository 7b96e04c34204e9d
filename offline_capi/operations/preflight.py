"""Checks before a run: does the source have the columns, and about how many rows are to be expected?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from offline_capi.config import Deployment, SecretResolver, Upload, list_columns_used
from offline_capi.config.columns import find_lookup, list_named_columns, list_patterns
from offline_capi.errors import ConfigError, Problem, SourceError
from offline_capi.mapping import find_pattern_fault, inspect_row_times, list_table_columns
from offline_capi.model import Window
from offline_capi.pipeline import Services, make_source_access, select_by_row
from offline_capi.runtime.border import column_names, list_columns
from offline_capi.runtime.nearest import did_you_mean
from offline_capi.sources import open_source

__all__ = ["check_columns", "check_patterns", "estimate_rows"]


def check_patterns(upload: Upload, deployment: Deployment) -> None:
    """Raise ``ConfigError`` with every pattern of the upload that RE2 cannot use."""
    wrong = ((path, find_pattern_fault(pattern)) for path, pattern in list_patterns(upload).items())
    problems = [deployment.make_problem(upload, path, message) for path, message in wrong if message]
    if problems:
        raise ConfigError(f"patterns of {upload.name} that cannot be used: {len(problems)}", problems)


def check_columns(upload: Upload, window: Window, deployment: Deployment, secrets: SecretResolver) -> dict[str, str]:
    """The source's columns with their types. Raises ``ConfigError`` with every column that it lacks.

    Also where rows of a file are placed in time by a column of which none of the first rows can be read.

    A source without anything to read (no file for the window) has no columns and no problems.
    """
    named = None if upload.transform else tuple(list_columns_used(upload))
    source = open_source(upload.source, make_source_access(upload, deployment, secrets))
    found = dict(source.read_columns(window, columns=named))
    problems = _find_missing(upload, found, deployment) if found and upload.transform is None else []
    problems += _find_missing_in_lookups(upload, window, deployment, secrets)
    if found and not problems:
        problems = _find_unplaced(upload, window, deployment, secrets)
    if problems:
        counted = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{counted} in the columns of {upload.name}", problems)
    return found


def estimate_rows(upload: Upload, window: Window, services: Services) -> int | None:
    """About how many rows the run will read: counted by the database, else as many as the last run of its length.

    ``None`` where neither is known. Only a progress bar depends on it.
    """
    looking_back = window.extend_back(upload.window.lookback)
    try:
        access = make_source_access(upload, services.deployment, services.secrets)
        counted = open_source(upload.source, access).estimate_rows(looking_back)
    except SourceError:  # a query that cannot be counted can often be read; if not, reading it says why
        counted = None
    return counted if counted is not None else _find_rows_of_last(upload.name, window, services)


def _find_rows_of_last(upload: str, window: Window, services: Services) -> int | None:
    length = window.until - window.since
    for record in services.ledger.runs.list_newest(100):
        if (
            record.upload == upload
            and record.report
            and record.status != "failed"
            and record.window.until - record.window.since == length
        ):
            return int(record.report["rows"]["read"])
    return None


def _find_missing(upload: Upload, found: Mapping[str, str], deployment: Deployment) -> list[Problem]:
    used = list_columns_used(upload)
    is_schema = upload.source.has_declared_names
    near = column_names(found, used, is_schema=is_schema)
    its = list_columns(sorted(found), used, is_schema=is_schema)
    problems = []
    for column, paths in used.items():
        if column in found:
            continue
        hint = did_you_mean(column, near, otherwise=f". {its.removesuffix('.')}")
        problems.append(deployment.make_problem(upload, paths[0], f'column "{column}" is not in the source{hint}'))
    return problems


def _find_missing_in_lookups(
    upload: Upload, window: Window, deployment: Deployment, secrets: SecretResolver
) -> list[Problem]:
    """Columns that the tables of the lookups lack."""
    problems = []
    access = replace(make_source_access(upload, deployment, secrets), placement=None)
    for name, lookup in upload.lookups.items():
        needed = list_table_columns(upload, name)
        there = dict(open_source(lookup, access).read_columns(window, columns=needed))
        for column in needed if there else ():
            if column not in there:
                is_schema = lookup.has_declared_names
                its = list_columns(sorted(there), needed, is_schema=is_schema)
                near = column_names(there, needed, is_schema=is_schema)
                hint = did_you_mean(column, near, otherwise=f". {its.removesuffix('.')}")
                path = list_named_columns(upload).get(f"{name}.{column}", (f"lookups.{name}.key",))[0]
                problems.append(deployment.make_problem(upload, path, f'column "{column}" is not in {name}{hint}'))
    return problems


SAMPLE_ROWS = 1_000


def _find_unplaced(upload: Upload, window: Window, deployment: Deployment, secrets: SecretResolver) -> list[Problem]:
    if select_by_row(upload, window) is None or upload.transform is not None:
        return []
    times = {*upload.window.columns, *(upload.event.time.columns if upload.event.time else ())}
    needed = tuple(column for column in times if not find_lookup(column, upload))
    source = open_source(upload.source, make_source_access(upload, deployment, secrets))
    first = next(source.read(window, columns=needed, batch_rows=SAMPLE_ROWS), None)
    if first is None:
        return []
    path, filled, readable = inspect_row_times(first, upload)
    if readable or not filled:
        return []
    message = f"none of the first {filled:,} values can be read as a time; declare format or unit under window"
    return [deployment.make_problem(upload, path, message)]
