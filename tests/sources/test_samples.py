"""The samples become a warehouse and files, the same every time, and this package can read them."""

from __future__ import annotations

import gzip
import hashlib
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_capi.config.source import SqlSource
from offline_capi.demo.samples import DATA_SAMPLES, build_samples, dated
from offline_capi.model import Window
from tests.benchmarks.data import scale
from tests.sources.reading import DAY, WINDOW, files, open_at, query, rows

SINCE_TWO_DAYS = Window.of_day(DAY, "America/New_York").extend_back(timedelta(days=2))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    build_samples(folder, DAY)
    return folder


def store(folder: Path) -> list[dict]:
    source = files(folder / "store_purchases" / "*{date}*", encoding=["utf-8", "latin-1"])
    return rows(source)


def test_relative_dates_are_counted_from_the_night():
    text = '{D},{D-1} 14:03,{D+3},{D:%d.%m.%Y},"[{""id"": 1}]"'

    assert dated(text, date(2026, 3, 1)) == '2026-03-01,2026-02-28 14:03,2026-03-04,01.03.2026,"[{""id"": 1}]"'


def test_the_files_of_the_night_can_all_be_read(built):
    found = store(built)

    assert len(found) == 240
    assert {row["store_brand"] for row in found} >= {"Corner Shop", "Nordic Outlet", "CORNER", "Harbour Café"}
    assert any("Göteborg" in (row["city"] or "") for row in found)
    assert not any("\ufeff" in name for name in found[0])


def test_the_files_are_of_every_kind(built):
    names = sorted(path.name for path in (built / "store_purchases").iterdir())

    assert names == [
        f"store_purchases_{DAY}_{kind}"
        for kind in ("branches.csv.gz", "central.parquet", "outlet.csv", "till.csv")
    ]  # fmt: skip
    till, outlet = ((built / "store_purchases" / name).read_bytes() for name in (names[3], names[2]))
    assert till.startswith(b"\xef\xbb\xbf")
    with pytest.raises(UnicodeDecodeError):
        outlet.decode("utf-8")


def test_the_samples_have_the_dirt_that_real_exports_have(built):
    shop = store(built)
    bank = rows(query("SELECT * FROM credit_application"), url=f"sqlite:///{built / 'warehouse.db'}")
    everything = [*shop, *bank]
    text = "\n".join(str(value) for row in everything for value in row.values())

    assert any(row["application_id"] == "1234005.0" for row in bank)
    assert sum(row["application_id"] in ("1234005", "1234005.0") for row in bank) == 2
    assert {row["secondary_email"] for row in bank} >= {None, ""}
    assert any(row["application_id"] is None for row in bank)
    assert any(len(row["zip"] or "") == 4 for row in bank if row["state"])
    assert any("-" in (row["zip"] or "") for row in bank)
    assert {row["currency_name"] for row in bank} >= {"US Dollar", "euro", "Canadian dollars"}
    assert all(sign in text for sign in ("Анна", "مريم", "美咲", "🎁"))
    assert any("\n" in (row["city"] or "") for row in shop)
    assert any("," in str(row["amount"]) for row in shop)


def test_building_again_gives_the_same_again(built, tmp_path):
    build_samples(tmp_path, DAY)
    build_samples(tmp_path, DAY)

    assert [digest(path) for path in sorted((tmp_path / "store_purchases").iterdir())] == [
        digest(path) for path in sorted((built / "store_purchases").iterdir())
    ]
    assert len(rows(query("SELECT * FROM credit_application"), url=f"sqlite:///{tmp_path / 'warehouse.db'}")) == 180


def test_nights_lie_side_by_side(tmp_path):
    for night in (DAY, DAY - timedelta(days=1)):
        build_samples(tmp_path, night)

    assert len(list((tmp_path / "store_purchases").iterdir())) == 8
    assert len(store(tmp_path)) == 240


def test_the_warehouse_gives_the_same_rows_on_sqlite_and_on_postgresql(tmp_path, postgres_db):
    build_samples(tmp_path, DAY, warehouse_url=postgres_db)
    build_samples(tmp_path, DAY)
    source = SqlSource(connection="warehouse", sql="extract/credit_approvals.sql")

    here, there = (
        sorted(rows(source, url=url, window=SINCE_TWO_DAYS), key=str)
        for url in (f"sqlite:///{tmp_path / 'warehouse.db'}", postgres_db)
    )

    assert here == there
    assert 150 < len(here) < 180


def test_no_address_or_number_of_a_real_person_is_in_the_samples():
    text = "".join(path.read_text() for path in DATA_SAMPLES.glob("*.csv")).lower()
    domains = {part.split(",")[0].strip().strip('"') for part in text.split("@")[1:]}

    assert {domain for domain in domains if domain.rpartition(".")[0] != "example"} <= {"mail", "example", ""}


def test_the_samples_scale_to_any_size_with_distinct_keys(tmp_path):
    made = scale(tmp_path, 2_500, DAY)

    bank = rows(query("SELECT * FROM credit_application"), url=made.warehouse_url)
    shop = rows(files(made.csv))
    assert (len(bank), len(shop)) == (2_500, 2_500)
    assert len({row["application_id"] for row in bank}) == 2_499, "two rows have none"
    assert len({row["receipt_no"] for row in shop}) == 2_499
    assert rows(files(made.parquet)) == shop


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_progress_bar_is_told_about_how_many_rows_the_files_have(tmp_path):
    rows = [f"{i},person{i}@example.com" for i in range(5_000)]
    (tmp_path / "a.csv").write_text("\n".join(["id,email", *rows]))
    pq.write_table(pa.table({"id": list(range(300))}), tmp_path / "b.parquet")

    told = open_at(files(tmp_path)).estimate_rows(WINDOW)

    assert told == pytest.approx(5_300, abs=2)


def test_how_many_rows_a_compressed_file_has_is_not_guessed(tmp_path):
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"id\n1\n"))

    assert open_at(files(tmp_path)).estimate_rows(WINDOW) is None
