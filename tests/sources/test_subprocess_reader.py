"""A query read in another process gives what it gives in this one, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pytest

from offline_capi.errors import SourceError, SourceSchemaError
from offline_capi.model import SourceRows
from offline_capi.sources.subprocess_reader import read_in_subprocess
from tests.sources.reading import WINDOW, open_at, query

ROWS = 20_000
PASSWORD = "correct-horse"


@pytest.fixture
def url(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE sale (id INTEGER, email TEXT)")
        # A column whose kind changes on the way: text where there were numbers.
        values = ((str(i) if i > ROWS / 2 else i, f"person{i}@example.com") for i in range(ROWS))
        database.execute("CREATE TABLE mixed (id, email TEXT)")
        database.executemany("INSERT INTO mixed VALUES (?, ?)", values)
    return f"sqlite:///{tmp_path / 'shop.db'}"


def reading(url: str, sql: str = "SELECT id, email FROM mixed", **options: bool) -> Iterator[SourceRows]:
    return open_at(query(sql), url).read(WINDOW, batch_rows=9_000, **options)


def test_the_rows_and_their_numbers_are_the_same(url: str):
    here, there = list(reading(url)), list(reading(url, in_subprocess=True))

    assert [(part.origin, part.first_row, part.batch.to_pylist()) for part in there] == [
        (part.origin, part.first_row, part.batch.to_pylist()) for part in here
    ]
    assert sum(map(len, there)) == ROWS


def loaded() -> Iterator[list[str]]:
    """Which optional libraries that process has after it read a query; rows stand for them."""
    import adbc_driver_sqlite.dbapi

    with adbc_driver_sqlite.dbapi.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetch_arrow_table().to_pylist() == [{"one": 1}]
    yield [name for name in ("pandas", "polars") if name in sys.modules]


def test_a_process_that_only_reads_loads_no_library_of_frames():
    """They take 55 MiB and 0.3 s; drivers and Arrow load them wherever they are."""
    assert list(read_in_subprocess(loaded, unused=["polars"])) == [[]]
    assert list(read_in_subprocess(loaded)) == [["polars"]]


def test_an_error_of_the_source_is_raised_here_in_its_own_kind_and_words(url: str):
    with pytest.raises(SourceError) as here:
        list(reading(url, "SELECT nothing FROM sale"))
    with pytest.raises(type(here.value)) as there:
        list(reading(url, "SELECT nothing FROM sale", in_subprocess=True))

    assert str(there.value) == str(here.value)


def test_a_missing_column_is_named(url: str):
    missing = open_at(query("SELECT id FROM sale"), url).read(WINDOW, columns=["emial"], in_subprocess=True)

    with pytest.raises(SourceSchemaError, match="emial"):
        list(missing)


def test_a_consumer_that_stops_early_leaves_no_process(url: str):
    rows = read_in_subprocess(endless)
    next(rows)
    child = reader_of(os.getpid())

    rows.close()

    assert not Path(f"/proc/{child}").exists()


def test_a_reader_that_is_killed_is_an_error_and_not_the_end():
    rows = read_in_subprocess(endless)
    next(rows)
    child = reader_of(os.getpid())
    os.kill(child, signal.SIGKILL)

    with pytest.raises(SourceError, match="killed"):
        list(islice(rows, 10_000))


def killed_half_way() -> Iterator[pa.Array]:
    """A column, of which the process writes ten bytes before it dies."""
    write = os.write

    def write_some(pipe: int, data: memoryview) -> int:
        write(pipe, data[:10])
        os._exit(9)

    os.write = write_some
    yield pa.array(range(1_000))


def test_a_reader_that_is_killed_in_the_middle_of_a_column_is_an_error_too():
    with pytest.raises(SourceError, match="killed"):
        list(read_in_subprocess(killed_half_way))


def test_the_reader_ends_with_its_parent(tmp_path: Path):
    program = "from tests.sources.test_subprocess_reader import *\nrows = read_in_subprocess(endless)\nnext(rows)\n"
    program += "print(reader_of(os.getpid()), flush=True)\ntime.sleep(60)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}  # no process looks in its own folder
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())

    parent.kill()
    parent.wait()

    assert ends(child)
    parent.stdout.close()


def test_p09_a_password_is_not_in_the_process_list(url: str):
    rows = read_in_subprocess(named, f"postgresql://reader:{PASSWORD}@warehouse/shop")
    next(rows)
    child = reader_of(os.getpid())

    told = Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes()

    assert PASSWORD.encode() not in told
    rows.close()


# ---------------------------------------------------------------------------------------------- what is read


def endless() -> Iterator[SourceRows]:
    import pyarrow as pa

    while True:
        yield SourceRows(pa.RecordBatch.from_pydict({"id": [1, 2, 3]}), "query", 1)


def named(_: str) -> Iterator[SourceRows]:
    yield from endless()


def reader_of(pid: int) -> int:
    """The process that reads for ``pid``; a test run has other children too."""
    children = [
        child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    (reader,) = (
        child for child in children if b"sources.subprocess_reader" in Path(f"/proc/{child}/cmdline").read_bytes()
    )
    return int(reader)


def ends(pid: int) -> bool:
    give_up_at = time.monotonic() + 20
    while time.monotonic() < give_up_at:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False
