"""What every audit begins with: the rows of an upload, and whose they may be."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from offline_capi.config import Deployment, Upload
from offline_capi.identity import HashedColumn, inspect_identity
from offline_capi.mapping import FirstRows
from offline_capi.model import MappedRows, SourceRows, Window
from offline_capi.pipeline import Recipe, Services, read_lookups, read_rows

__all__ = ["AuditedRows", "hash_audited_columns", "list_clients", "list_profiles", "read_audited_rows"]


class AuditedRows(NamedTuple):
    """A batch as the source gave it and, of the window's rows, as the mapping reads them."""

    source: SourceRows
    mapped: MappedRows


def read_audited_rows(
    upload: Upload, window: Window, services: Services, *, every_column: bool = False, clients: Collection[str] = ()
) -> Iterator[AuditedRows]:
    """The rows that a run of ``window`` would read; rows without consent count too, for no value goes anywhere.

    ``clients`` narrows the mapped rows, not those of the source.
    """
    tables, firsts = read_lookups(upload, window, services), FirstRows()
    recipe = Recipe.of_upload(upload, window, services.deployment, lookups=tables, only_clients=clients)
    for rows in read_rows(upload, window, services, every_column=every_column):
        yield AuditedRows(rows, recipe.map_batch(rows, firsts))


def hash_audited_columns(
    mapped: MappedRows, upload: Upload, deployment: Deployment, *, profile: str | None = None
) -> list[HashedColumn]:
    """Every column as a run would hash it, or as ``profile`` would."""
    settings = Recipe.of_upload(upload, None, deployment).identity_settings
    return inspect_identity(mapped, **{**settings, "profile": profile or upload.profile})


def list_clients(upload: Upload, deployment: Deployment) -> list[str]:
    """The configured clients whose rows the upload may hold: all, where a column says freely whose a row is."""
    spec = upload.client
    if spec.constant is None and spec.map is None:
        return list(deployment.clients)
    named = {str(name) for name in (spec.constant, spec.default, *(spec.map or {}).values())}
    return [name for name in deployment.clients if name in named]


def list_profiles(upload: Upload, deployment: Deployment) -> list[str]:
    """The profiles by which a run would read the upload's rows."""
    if upload.profile:
        return [upload.profile]
    chosen = (deployment.clients[name].profile for name in list_clients(upload, deployment))
    return sorted({profile or deployment.platform.profile for profile in chosen}) or [deployment.platform.profile]
