"""Which files a window has."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import fsspec
import pytest

from offline_capi.errors import SourceError
from offline_capi.model import Window
from offline_capi.sources import SourceAccess, open_source
from tests.sources.reading import DAY, WINDOW, batches, files, rows


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"file\n{name}\n")


def names(source, **options) -> list[str]:
    return [row["file"] for row in rows(source, **options)]


def test_a_folder_is_read_in_sorted_order_with_its_subfolders(tmp_path):
    write(tmp_path, "b.csv", "a.csv", "2026/c.csv")

    found = batches(files(tmp_path))

    assert [part.origin for part in found] == ["2026/c.csv", "a.csv", "b.csv"]


def test_what_writers_leave_beside_their_data_is_not_read(tmp_path):
    write(tmp_path, "a.csv", "_SUCCESS", ".a.csv.crc", "a.csv.md5", "_temporary/b.csv", "c.csv.part")

    assert names(files(tmp_path)) == ["a.csv"]


def test_a_pattern_chooses_files(tmp_path):
    write(tmp_path, "shop_1.csv", "shop_2.csv", "other.csv")

    assert names(files(tmp_path / "shop_*.csv")) == ["shop_1.csv", "shop_2.csv"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("p_{date}.csv", ["p_2026-11-23.csv"]),
        ("p_{date:%Y%m%d}_*.csv", ["p_20261123_a.csv", "p_20261123_b.csv"]),
        ("{date:%Y}/{date:%m}/x.csv", ["2026/11/x.csv"]),
        ("dt={date}", ["dt=2026-11-23/part.csv"]),
    ],
)
def test_a_date_in_the_path_stands_for_the_days_of_the_window(tmp_path, pattern, expected):
    write(tmp_path, "p_2026-11-22.csv", "p_2026-11-23.csv", "p_2026-11-24.csv", "p_20261123_b.csv", "p_20261123_a.csv")
    write(tmp_path, "2026/11/x.csv", "dt=2026-11-23/part.csv", "dt=2026-11-24/part.csv")

    assert names(files(tmp_path / pattern)) == expected


def test_a_window_of_three_days_reads_three_dated_files_in_order_and_not_the_day_it_ends_on(tmp_path):
    write(tmp_path, *(f"{DAY + timedelta(days=n)}.csv" for n in range(-3, 3)))

    found = names(files(tmp_path / "{date}.csv"), window=WINDOW.extend_back(timedelta(days=2)))

    assert found == ["2026-11-21.csv", "2026-11-22.csv", "2026-11-23.csv"]


def test_days_are_those_of_the_zone_not_of_utc(tmp_path):
    """Midnight in Tokyo is 16:00 of the day before in Berlin: that window touches two days of Berlin."""
    write(tmp_path, "2026-11-22.csv", "2026-11-23.csv", "2026-11-24.csv")

    found = names(files(tmp_path / "{date}.csv"), window=Window.of_day(DAY, "Asia/Tokyo"))

    assert found == ["2026-11-22.csv", "2026-11-23.csv"]


def test_a_month_in_the_path_is_read_once_however_many_days_it_stands_for(tmp_path):
    write(tmp_path, "2026-11.csv")

    found = names(files(tmp_path / "{date:%Y-%m}.csv"), window=WINDOW.extend_back(timedelta(days=5)))

    assert found == ["2026-11.csv"]


@pytest.mark.parametrize("path", ["*.csv", "p_{date}.csv", "p_{date}*.csv", ""])
def test_a_folder_without_files_for_the_window_is_empty_not_an_error(tmp_path, path):
    assert batches(files(tmp_path / path)) == []


@pytest.mark.parametrize("path", ["missing.csv", "no_folder/*.csv", "no_folder/{date}.csv"])
def test_a_file_or_folder_that_is_not_there_is_an_error_with_the_nearest_name(tmp_path, path):
    write(tmp_path, "missin.csv")

    with pytest.raises(SourceError, match="there is no") as raised:
        batches(files(tmp_path / path))

    assert "repeating is safe" in str(raised.value)
    assert ('did you mean "missin.csv"' in str(raised.value)) == (path == "missing.csv")


@pytest.mark.parametrize("path", ["no_folder/*.csv", "no_folder/{date}.csv", "no_folder/missing.csv"])
def test_a_folder_that_is_not_there_is_an_error_although_its_files_are_optional(tmp_path, path):
    with pytest.raises(SourceError, match="there is no"):
        batches(files(tmp_path / path, optional=True))


@pytest.mark.parametrize("path", ["missing.csv", "*.csv", "{date}.csv", ""])
def test_an_optional_file_may_be_missing(tmp_path, path):
    assert batches(files(tmp_path / path, optional=True)) == []


@pytest.mark.parametrize(
    ("path", "lacking"),
    [
        ("{date}.csv", [("2026-11-22", "{date}.csv")]),
        ("{date:%d}/*.csv", [("2026-11-23", "23/*.csv")]),
        ("{date:%Y-%m}.csv", [("2026-11-22", "2026-11.csv"), ("2026-11-23", "2026-11.csv")]),
        ("none*.csv", [(None, "none*.csv")]),
        ("none.csv", [(None, "none.csv")]),
        ("none", [(None, "none")]),
        ("*.csv", []),
        (".", []),
        ("2026-11-23.csv", []),
    ],
)
@pytest.mark.parametrize("optional", [True, False])
def test_absent_files_are_named_day_by_day(tmp_path, path, lacking, optional):
    """Each day of a month that one file stands for, and of an undated path all days at once."""
    write(tmp_path, "2026-11-23.csv", "22/a.csv", "23/a.txt", "none/_SUCCESS")

    found = open_source(
        files(path, optional=optional), SourceAccess("Europe/Berlin", str, folder=tmp_path, environ={})
    ).find_absent_files(WINDOW.extend_back(timedelta(days=1)))

    told = [(str(file.day) if file.day else None, file.pattern, file.optional) for file in found]
    assert told == [(day, pattern.replace("{date}", str(day)), optional) for day, pattern in lacking]


def test_an_absent_file_is_told_without_credentials_and_without_what_a_variable_holds():
    found = open_source(
        files("memory://user:hidden-word@${DROP}/x_{date}.csv"), SourceAccess("UTC", str, environ={"DROP": "nowhere"})
    ).find_absent_files(WINDOW)

    assert {file.pattern for file in found} == {
        "memory://***@${DROP}/x_2026-11-22.csv",
        "memory://***@${DROP}/x_2026-11-23.csv",
    }


def test_variables_of_the_environment_stand_in_the_path(tmp_path):
    write(tmp_path, "a.csv")

    assert names(files("${DROP}/a.csv"), environ={"DROP": str(tmp_path)}) == ["a.csv"]


@pytest.mark.parametrize("environ", [{}, {"DROP": ""}])
def test_a_variable_that_is_not_set_is_named(environ):
    with pytest.raises(SourceError, match="environment variable DROP is not set"):
        batches(files("${DROP}/a.csv"), environ=environ)


def test_any_fsspec_url_is_read():
    fs = fsspec.filesystem("memory")
    fs.pipe("/drop/shop_2026-11-23.csv", b"a\n007\n")
    fs.pipe("/drop/shop_2026-11-24.csv", b"a\n008\n")

    found = batches(files("memory://drop/shop_{date}.csv"))

    assert [(part.origin, part.batch.to_pylist()) for part in found] == [("shop_2026-11-23.csv", [{"a": "007"}])]
    assert len(rows(files("memory://drop"))) == 2


def test_a_file_system_that_is_not_installed_is_named_without_its_credentials():
    with pytest.raises(SourceError, match="not installed") as raised:
        batches(files("nosuch://user:hidden-word@host/a.csv"))

    assert "hidden-word" not in str(raised.value)


def test_a_file_whose_format_cannot_be_told_is_named(tmp_path):
    write(tmp_path, "a.dat")

    with pytest.raises(SourceError, match=r"file a\.dat: neither its name nor its first bytes tell its format"):
        batches(files(tmp_path))


def test_a_declared_format_needs_no_name(tmp_path):
    write(tmp_path, "a.dat")

    assert names(files(tmp_path, format="csv")) == ["a.dat"]


def test_a_name_with_brackets_that_exists_is_that_file(tmp_path):
    write(tmp_path, "shop[1].csv", "shop1.csv")

    assert names(files(tmp_path / "shop[1].csv")) == ["shop[1].csv"]


def test_origin_is_relative_to_the_folder(tmp_path):
    write(tmp_path, "in/a.csv")

    origins = [batches(files(tmp_path / path))[0].origin for path in ("in/a.csv", "in", "*/a.csv", "")]

    assert origins == ["a.csv", "a.csv", "in/a.csv", "in/a.csv"]
