"""Inspection of a table in a data lake."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from offline_capi.config.source import DeltaSource, IcebergSource
from offline_capi.onboarding.files import build_any_window
from offline_capi.onboarding.origins import Origin, derive_name, require_rows
from offline_capi.onboarding.sample import Sample
from offline_capi.sources import SourceAccess, open_source

__all__ = ["inspect_delta", "inspect_iceberg"]

_PUSHED = "every run reads the files of its window only"


def inspect_delta(path: str, environ: Mapping[str, str]) -> Origin:
    """A Delta Lake table. Raises ``SourceError`` where it cannot be read, ``UsageError`` where it has no rows."""
    source = DeltaSource(delta=path)
    sample = Sample.collect(open_source(source, SourceAccess("UTC", str, environ=environ)).read(build_any_window()))
    return Origin(
        name=derive_name(path.rstrip("/").rpartition("/")[2]),
        described=source.describe(),
        node={"delta": path},
        notes={"delta": _PUSHED},
        sample=require_rows(sample, source.describe()),
    )


def inspect_iceberg(
    catalog: str, table: str, properties: Callable[[str], Mapping[str, str]], environ: Mapping[str, str]
) -> Origin:
    """An Iceberg table of a catalog that ``clients.yml`` has already."""
    node = {"catalog": catalog, "table": table}
    source = IcebergSource.model_validate({"iceberg": node})
    access = SourceAccess("UTC", str, environ=environ, catalog_properties=properties)
    sample = Sample.collect(open_source(source, access).read(build_any_window()))
    return Origin(
        name=derive_name(table.rpartition(".")[2]),
        described=source.describe(),
        node={"iceberg": node},
        notes={"iceberg": _PUSHED},
        sample=require_rows(sample, source.describe()),
    )
