"""Folders called COLUMN=VALUE: columns of the rows, and pruned by the window."""

from __future__ import annotations

import sys
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offline_capi.config import MappingSpec
from offline_capi.config.source import FileSource
from offline_capi.errors import SourceError, SourceSchemaError
from offline_capi.mapping import find_placement
from offline_capi.mapping.times import TimeRule, read_instants
from offline_capi.model import RowPlacement, Window
from offline_capi.sources import Source, SourceAccess, open_source
from offline_capi.sources.pruning import find_bounds
from tests.sources.reading import DAY, WINDOW, ZONE


def placed(**window: Any) -> RowPlacement:
    mapping = {
        "client": "acme",
        "window": {"timezone": ZONE, **window},
        "event": {"name": "Purchase", "id": "id", "action_source": "email"},
        "user_data": {"em": "id"},
    }
    return find_placement(MappingSpec.model_validate(mapping))


def open_folder(folder: Path, placement: RowPlacement | None = None, **options: Any) -> Source:
    source = FileSource(path=str(folder), partitioning="hive", **options)
    return open_source(source, SourceAccess(ZONE, str, environ={}, placement=placement))


def write(folder: Path, name: str, *ids: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        path.write_text("id,n\n" + "".join(f"{one},1\n" for one in ids))
    else:
        pq.write_table(pa.table({"id": list(ids), "n": [1] * len(ids)}), path)


def read(source: Source, window: Window = WINDOW, columns: list[str] | None = None) -> list[dict[str, Any]]:
    return [row for part in source.read(window, columns=columns) for row in part.batch.to_pylist()]


def test_names_of_folders_are_columns_as_text(tmp_path):
    write(tmp_path, "country=DE/city=K%C3%B6ln%2FBonn/a.parquet", "a")
    write(tmp_path, "country=__HIVE_DEFAULT_PARTITION__/city=Rom/b.csv", "b")
    write(tmp_path, "country=FR/city=Nice/_SUCCESS.csv", "no row")
    write(tmp_path, "_tmp/country=FR/c.csv", "no row")

    source = open_folder(tmp_path)

    assert read(source, columns=["city", "id", "country"]) == [
        {"city": "Köln/Bonn", "id": "a", "country": "DE"},
        {"city": "Rom", "id": "b", "country": None},
    ]
    assert read(source, columns=["city"]) == [{"city": "Köln/Bonn"}, {"city": "Rom"}]
    assert source.read_columns(WINDOW) == [("id", "string"), ("n", "int64"), ("country", "string"), ("city", "string")]
    assert [(part.origin, part.first_row) for part in source.read(WINDOW)] == [
        ("country=DE/city=Köln%2FBonn/a.parquet".replace("ö", "%C3%B6"), 1),
        ("country=__HIVE_DEFAULT_PARTITION__/city=Rom/b.csv", 1),
    ]
    with pytest.raises(SourceSchemaError, match='"town"'):
        read(source, columns=["town"])


def test_the_folder_counts_where_a_file_has_a_column_of_its_name(tmp_path):
    write(tmp_path, "n=7/a.parquet", "a")

    assert read(open_folder(tmp_path), columns=["id", "n"]) == [{"id": "a", "n": "7"}]
    assert open_folder(tmp_path).read_columns(WINDOW) == [("id", "string"), ("n", "string")]


LAYOUTS = [
    ({"column": "dt"}, "dt={:%Y-%m-%d}"),
    ({"column": "dt", "format": "%Y%m%d"}, "dt={:%Y%m%d}"),
    ({"column": "dt", "format": "%Y%m%d"}, "shop=1/dt={:%Y%m%d}/x=1"),
    ({"template": "{year}-{month}-{day}", "format": "%Y-%m-%d"}, "year={0:%Y}/month={0:%m}/day={0:%d}"),
    ({"template": "{y}{m}{d}", "format": "%Y%m%d"}, "y={0:%Y}/m={0:%m}/d={0:%d}"),
]


@pytest.mark.parametrize(("window", "layout"), LAYOUTS, ids=[layout for _, layout in LAYOUTS])
def test_folders_of_other_days_are_not_opened(tmp_path, window, layout):
    """What lies in them is no Parquet: whoever opens it fails."""
    for number in (-366, -2, -1, 0, 1):
        day = DAY + timedelta(days=number)
        write(tmp_path, f"{layout.format(day)}/a.parquet", str(number))
        if number != 0:
            (tmp_path / layout.format(day) / "a.parquet").write_bytes(b"no Parquet")
    source = open_folder(tmp_path, placed(**window))

    assert [row["id"] for row in read(source)] == ["0"]
    assert source.estimate_rows(WINDOW) == 1
    assert source.find_absent_files(WINDOW) == []
    with pytest.raises(SourceError, match="not a whole Parquet file"):
        read(source, WINDOW.extend_back(timedelta(days=1)))
    with pytest.raises(SourceError, match="not a whole Parquet file"):
        read(open_folder(tmp_path))


LISTED: list[str] = []


def note_listing(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("os.scandir", "os.listdir"):
        LISTED.append(str(arguments[0]))


def test_folders_of_other_days_are_not_even_listed(tmp_path):
    """Python itself says which folders are opened; a hook of it stays, and only notes."""
    for number in (-1, 0, 1):
        write(tmp_path, f"dt={DAY + timedelta(days=number)}/hour=1/a.parquet", "a")
    sys.addaudithook(note_listing)
    LISTED.clear()

    assert len(read(open_folder(tmp_path, placed(column="dt")))) == 1

    folders = {str(tmp_path), f"{tmp_path}/dt={DAY}", f"{tmp_path}/dt={DAY}/hour=1"}
    assert {path.rstrip("/") for path in LISTED if path.startswith(str(tmp_path))} == folders


def test_a_folder_whose_day_cannot_be_read_belongs_to_every_window(tmp_path):
    write(tmp_path, "dt=__HIVE_DEFAULT_PARTITION__/a.parquet", "none")
    write(tmp_path, "dt=soon/a.parquet", "soon")

    assert sorted(row["id"] for row in read(open_folder(tmp_path, placed(column="dt")))) == ["none", "soon"]


def test_days_without_a_folder_are_absent(tmp_path):
    window = WINDOW.extend_back(timedelta(days=3))
    write(tmp_path, f"dt={DAY}/a.parquet", "a")
    write(tmp_path, f"dt={DAY - timedelta(days=2)}/a.parquet", "a")

    def absent(
        placement: RowPlacement | None, folder: Path = tmp_path, **options: Any
    ) -> list[tuple[date | None, bool]]:
        found = open_folder(folder, placement, **options).find_absent_files(window)
        return [(file.day, file.optional) for file in found]

    assert absent(placed(column="dt")) == [(DAY - timedelta(days=3), False), (DAY - timedelta(days=1), False)]
    assert absent(placed(column="dt"), optional=True)[0] == (DAY - timedelta(days=3), True)
    assert absent(placed(column="sold_at")) == []
    (tmp_path / "empty").mkdir()
    assert absent(placed(column="dt"), tmp_path / "empty") == [(None, False)]
    far = Window.of_day(date(2027, 1, 1), ZONE)
    (only,) = open_folder(tmp_path, placed(column="dt")).find_absent_files(far)
    assert (only.day, only.pattern) == (date(2027, 1, 1), f"{tmp_path}/dt=… of 2027-01-01")


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="there is no"):
        read(open_folder(tmp_path / "none", placed(column="dt")))


# ---------------------------------------------------------------------------------------------- what is surely outside

ZONES = ["Europe/Berlin", "America/New_York", "Pacific/Apia", "Australia/Lord_Howe", "UTC", "America/Sao_Paulo"]
#: Near changes of the clocks: Apia left out the 30th of December 2011.
MOMENTS = [datetime(2026, 3, 29), datetime(2026, 10, 25), datetime(2026, 3, 8), datetime(2026, 11, 1),  # noqa: DTZ001
           datetime(2011, 12, 30), datetime(2026, 4, 5), datetime(2018, 11, 4), datetime(2026, 7, 1)]  # noqa: DTZ001  # fmt: skip


@example("Europe/Berlin", datetime(2026, 3, 29), [150], 75, 60, pa.timestamp("us"))  # noqa: DTZ001  02:30 is 03:30
@example("Pacific/Apia", datetime(2011, 12, 30), [600], -840, 2_880, pa.timestamp("us"))  # noqa: DTZ001  10:00 is the 31st
@given(
    zone=st.sampled_from(ZONES),
    around=st.sampled_from(MOMENTS),
    minutes=st.lists(st.integers(-4_320, 4_320), min_size=1, max_size=20),
    start=st.integers(-2_880, 2_880),
    length=st.integers(1, 2_880),
    kind=st.sampled_from([pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.date32()]),
)
def test_no_row_of_a_window_lies_outside_its_bounds(zone, around, minutes, start, length, kind):
    since = around.replace(tzinfo=ZoneInfo("UTC")) + timedelta(minutes=start)
    window = Window(since, since + timedelta(minutes=length))
    times = pa.array([around + timedelta(minutes=one) for one in minutes], pa.timestamp("us")).cast(kind, safe=False)
    bounds = find_bounds(RowPlacement(("at",), lambda _: None, "at", zone), window, pa.schema([("at", kind)]))
    assert bounds is not None

    seconds = pc.cast(read_instants(times, TimeRule(zone=zone)), pa.int64()).to_pylist()
    inside = [
        time for time, at in zip(times.to_pylist(), seconds, strict=True)
        if window.since.timestamp() <= at < window.until.timestamp()
    ]  # fmt: skip

    assert all(bounds.may_hold(time, time) for time in inside)


def test_a_usual_day_prunes_to_that_day_alone():
    bounds = find_bounds(RowPlacement(("at",), lambda _: None, "at", ZONE), WINDOW, pa.schema([("at", pa.date32())]))

    assert bounds is not None
    assert [bounds.may_hold(DAY + timedelta(days=n), DAY + timedelta(days=n)) for n in (-1, 0, 1)] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("change", [{"map": {"x": "2026-11-23"}}, {"default": "2026-11-23"}, {"type": "date"}])
def test_a_time_that_is_changed_on_the_way_bounds_nothing(change):
    mapping = {
        "client": "acme",
        "window": {"column": "at", "timezone": ZONE},
        "event": {"name": "Purchase", "id": "id", "time": {"column": "at", **change}, "action_source": "email"},
        "user_data": {"em": "id"},
    }

    assert find_placement(MappingSpec.model_validate(mapping)).column is None
