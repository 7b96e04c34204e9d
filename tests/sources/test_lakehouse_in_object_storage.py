"""Tables in an object store, found by the variables that files have: the log, the metadata and the files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from deltalake import write_deltalake
from pyiceberg.catalog import load_catalog

from offline_capi.config.source import DeltaSource, IcebergSource
from offline_capi.errors import SourceError
from offline_capi.sources import Source, SourceAccess, open_source
from tests.sources.reading import ZONE
from tests.sources.test_lakehouse import ids, placed_by, read, sales
from tests.support.lakehouse import CATALOG, list_properties
from tests.support.object_storage import BUCKET, HOW_TO_GET_ONE, is_here, running_object_storage


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A Delta and an Iceberg table in a bucket, the folder of the catalog, and the environment."""
    if not is_here():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(HOW_TO_GET_ONE)
    folder = tmp_path_factory.mktemp("lake")
    with running_object_storage() as environ:
        import s3fs

        write_deltalake(folder / "sales", sales(-1, 0))
        key, secret = environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"]
        files = s3fs.S3FileSystem(key=key, secret=secret, endpoint_url=environ["AWS_ENDPOINT_URL"])
        files.put(str(folder / "sales"), f"{BUCKET}/sales", recursive=True)
        properties = {
            "s3.endpoint": environ["AWS_ENDPOINT_URL"],
            "s3.region": "us-east-1",
            "s3.access-key-id": key,
            "s3.secret-access-key": secret,
            "warehouse": f"s3://{BUCKET}/lake",
        }
        catalog = load_catalog(CATALOG, **list_properties(folder), **properties)
        catalog.create_namespace("shop")
        catalog.create_table("shop.sales", schema=sales(0).schema).append(sales(-1, 0))
        yield folder, environ


@pytest.fixture
def variables(store: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables of the process: s3fs, which reads the files of Delta, looks nowhere else."""
    for name, value in store[1].items():
        monkeypatch.setenv(name, value)
    return store[1]


def open_tables(folder: Path, environ: Mapping[str, str]) -> tuple[Source, Source]:
    access = SourceAccess(
        ZONE, str, environ=environ, catalog_properties=lambda _: list_properties(folder), placement=placed_by("at")
    )
    of_iceberg = IcebergSource.model_validate({"iceberg": {"catalog": CATALOG, "table": "shop.sales"}})
    return open_source(DeltaSource(delta=f"s3://{BUCKET}/sales"), access), open_source(of_iceberg, access)


def test_tables_in_an_object_store_are_read(store, variables):
    for source in open_tables(store[0], variables):
        assert ids(read(source)) == ["s-1", "s0"]


def test_a_store_that_cannot_be_reached_is_named_without_its_address(store, variables):
    for source in open_tables(store[0], {**variables, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}):
        with pytest.raises(SourceError, match="cannot be read") as raised:
            read(source)
        assert "127.0.0.1" not in str(raised.value)
        assert "not-a-secret" not in str(raised.value)
