"""Tables of a data lake and Hive's folders: from the first look to the plan of the night."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from tests.onboarding.beginner import CANARY, KNOWN, Beginner, sales
from tests.support.lakehouse import make_iceberg
from tests.support.night import yesterday

CLIENTS = """\
platform:
  iceberg_catalogs:
    lake: {type: sql, uri: "sqlite:///lake/catalog.db"}
clients:
  other: {pixel_id: "1200000000000009", token: {env: OTHER_TOKEN}}
"""


@pytest.fixture
def beginner(tmp_path: Path) -> Beginner:
    return Beginner(tmp_path, {"ACME_TOKEN": "any"})


def rows() -> pa.Table:
    return pa.Table.from_pylist(sales(6))


def source_of(beginner: Beginner, name: str) -> Any:
    return beginner.upload(name)["source"]


def test_a_delta_table_becomes_an_upload_whose_night_is_planned(beginner: Beginner) -> None:
    write_deltalake(beginner.home / "lake" / "sales", rows())

    said = beginner.init("--delta", "lake/sales", *KNOWN, "--yes")

    assert said.code == 0, said.err
    assert "6 read = 6 sent" in said.out
    assert source_of(beginner, "sales") == {"delta": "lake/sales"}
    assert CANARY not in said.out
    assert beginner.call("check", "sales", "--connect").code == 0


def test_an_iceberg_table_becomes_an_upload_whose_night_is_planned(beginner: Beginner) -> None:
    make_iceberg(beginner.home / "lake", rows())
    (beginner.home / "dags").mkdir()
    (beginner.home / "dags" / "clients.yml").write_text(CLIENTS)

    said = beginner.init("--iceberg", "lake:shop.sales", *KNOWN, "--yes")

    assert said.code == 0, said.err
    assert "6 read = 6 sent" in said.out
    assert source_of(beginner, "sales") == {"iceberg": {"catalog": "lake", "table": "shop.sales"}}
    assert beginner.call("check", "sales", "--connect").code == 0


def test_folders_of_hive_are_recognised(beginner: Beginner) -> None:
    folder = beginner.home / "export" / f"day={yesterday('UTC')}"
    folder.mkdir(parents=True)
    pq.write_table(rows(), folder / "part.parquet")

    said = beginner.init("export", *KNOWN, "--yes")

    assert said.code == 0, said.err
    assert "6 read = 6 sent" in said.out
    assert source_of(beginner, "export") == {"path": "export", "partitioning": "hive"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--iceberg", "shop.sales"), "write CATALOG:NAMESPACE.TABLE"),
        (("--iceberg", "lake:sales"), "write CATALOG:NAMESPACE.TABLE"),
        (("--iceberg", "lake:shop.sales"), '"lake" is not under platform.iceberg_catalogs'),
        (("--delta", "nowhere"), "Delta table nowhere: there is no table"),
        (("--delta", "nowhere", "--iceberg", "lake:shop.sales"), "name one source"),
        (("export.csv", "--delta", "nowhere"), "name one source"),
    ],
)
def test_a_table_that_cannot_be_looked_at_is_named_and_nothing_is_written(
    beginner: Beginner, arguments: tuple[str, ...], told: str
) -> None:
    said = beginner.init(*arguments, *KNOWN, "--yes")

    assert said.code in (1, 2)
    assert told in said.err
    assert list(beginner.home.rglob("*")) == []
