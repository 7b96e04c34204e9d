"""Nights over a Delta table and over Hive's folders: what is sent, what is sent once, and which days stay open."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from offline_capi.errors import SourceError
from offline_capi.model import Window
from offline_capi.pipeline import preview_upload
from tests.support.nights import NAME, UPLOAD, Nights
from tests.support.sandbox_server import Sandbox

FIRST = date(2026, 11, 16)


def of_a_table(home: Path) -> str:
    return UPLOAD.replace('{path: "${OFFLINE_CAPI_DATA}/sales/sales_{date}.csv"}', f"{{delta: {home}/lake/sales}}")


def append(nights: Nights, number: int, *names: str, at: int | None = None) -> None:
    """Rows of a day arrive in the table, as instants; ``at`` is the day of their time where it is another."""
    rows = pa.Table.from_pylist(nights.sell(number if at is None else at, *names))
    instants = pa.array([nights.at(number if at is None else at, 12)] * len(rows), pa.timestamp("us", "UTC"))
    table = rows.set_column(rows.schema.names.index("sold_at"), "sold_at", instants)
    write_deltalake(nights.night.home / "lake" / "sales", table, mode="append")


@pytest.fixture
def nights(tmp_path: Path, sandbox: Sandbox) -> Nights:
    return Nights(tmp_path, sandbox, FIRST, of_a_table(tmp_path))


def test_each_night_of_a_table_sends_its_rows_once_whatever_happens_to_the_files(nights: Nights) -> None:
    """Late rows come with the look-back; a compaction brings nothing again."""
    nights.night.write(
        "dags/uploads/sales.yml", of_a_table(nights.night.home).replace("Berlin}", "Berlin, lookback: 2d}")
    )
    append(nights, 0, "a", "b")
    first = nights.run(0).report
    append(nights, 1, "c")
    append(nights, 1, "late", at=0)
    second = nights.run(1).report
    DeltaTable(nights.night.home / "lake" / "sales").optimize.compact()
    DeltaTable(nights.night.home / "lake" / "sales").vacuum(
        retention_hours=0, dry_run=False, enforce_retention_duration=False
    )
    again = nights.upload(1)

    assert first.balance == "2 read = 2 sent"
    assert second.balance == "4 read = 2 sent + 2 already sent"
    assert again.balance == "4 read = 4 already sent"
    assert nights.counted == dict.fromkeys("abc", 1) | {"late": 1}
    assert nights.states() == "complete complete"


def test_a_table_that_cannot_be_read_leaves_its_day_open_until_it_can(nights: Nights) -> None:
    append(nights, 0, "a")
    nights.run(0)
    log = nights.night.home / "lake" / "sales" / "_delta_log"
    append(nights, 1, "b")
    log.rename(log.with_name("elsewhere"))
    with pytest.raises(SourceError, match="there is no table"):
        nights.run(1)
    assert nights.states() == "complete open"

    log.with_name("elsewhere").rename(log)
    append(nights, 2, "c")
    nights.run(2)

    assert nights.states() == "complete complete complete"
    assert nights.counted == dict.fromkeys("abc", 1)


def test_a_table_is_a_lookup_and_is_read_whole(nights: Nights) -> None:
    """Its rows are of no window, whatever its columns are called."""
    shops = pa.table(
        {"brand": ["Shop"], "currency": ["SEK"], "sold_at": pa.array([nights.at(-9)], pa.timestamp("us", "UTC"))}
    )
    write_deltalake(nights.night.home / "lake" / "shops", shops)
    text = of_a_table(nights.night.home).replace("currency: currency", "currency: shops.currency")
    nights.night.write("dags/uploads/sales.yml", f"{text}lookups: {{shops: {{delta: lake/shops, key: brand}}}}\n")
    append(nights, 0, "a")

    assert nights.run(0).report.balance == "1 read = 1 sent"
    with nights.services() as services:
        window = Window.of_day(nights.day(0), "Europe/Berlin")
        (event,) = preview_upload(services.deployment.uploads[NAME], window, services, limit=9)
    assert event["custom_data"]["currency"] == "SEK"


def test_a_day_without_a_folder_stays_open_until_it_comes(nights: Nights) -> None:
    folders = of_a_table(Path()).replace("{delta: ./lake/sales}", "{path: folders, partitioning: hive}")
    folders = folders.replace("column: sold_at", "column: dt")
    nights.night.write("dags/uploads/sales.yml", folders)

    def write(number: int, *names: str) -> None:
        folder = nights.night.home / "folders" / f"dt={nights.day(number)}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(nights.sell(number, *names)), folder / "part.parquet")

    write(0, "a")
    nights.run(0)
    write(2, "c")
    nights.run(1)
    assert nights.states() == "complete open"

    write(1, "b")
    done = nights.run(2)

    assert [report.balance for report in done.settled.reports] == ["1 read = 1 sent"]
    assert nights.states() == "complete complete complete"
    assert nights.counted == dict.fromkeys("abc", 1)
