"""A look before a run: does the source have the columns, and about how many rows are to be expected?"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from offline_capi.config import Deployment, SecretResolver, Upload, columns_used
from offline_capi.errors import ConfigError, Problem
from offline_capi.model import Window
from offline_capi.sources import source_columns

__all__ = ["check_columns"]


def check_columns(upload: Upload, window: Window, deployment: Deployment, secrets: SecretResolver) -> dict[str, str]:
    """The source's columns with their types. Raises ``ConfigError`` with every column that it lacks.

    A source without anything to look at (no file for the window) has no columns and no problems.
    """
    found = dict(
        source_columns(
            upload.source,
            window,
            zone=upload.window.timezone,
            connection_url=lambda name: secrets.connection_url(name).reveal(),
            sql_folder=deployment.sql_folder,
        )
    )
    problems = _missing(upload, found, deployment) if found and upload.transform is None else []
    if problems:
        raise ConfigError(f"{len(problems)} problems in the columns of {upload.name}", problems)
    return found


def _missing(upload: Upload, found: Mapping[str, str], deployment: Deployment) -> list[Problem]:
    problems = []
    for column, paths in columns_used(upload).items():
        if column in found:
            continue
        near = get_close_matches(column, found, 1)
        hint = f'; did you mean "{near[0]}"?' if near else f"; it has {', '.join(sorted(found))}"
        file, _, line = deployment.place(upload.name, paths[0]).rpartition(":")
        problems.append(Problem(file, int(line), paths[0], f'column "{column}" is not in the source{hint}'))
    return problems
