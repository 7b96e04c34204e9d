"""The samples at any size: distinct keys and people, the dirt in proportion, the same rows every time.

Made column-wise and in pieces, so that ten million rows need no more memory than one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
from pyarrow import csv, parquet

from offline_capi.demo.samples import CREDIT_APPLICATION, DATA_SAMPLES, dated, read_samples

__all__ = ["Scaled", "credit_rows", "scale", "store_rows", "write_warehouse"]

PIECE = 200_000
STORE_SAMPLES = ("till", "branches", "central")


class Scaled(NamedTuple):
    """Where the rows are: one upload in a database, the other as CSV and, the same rows, as Parquet."""

    warehouse: Path
    csv: Path
    parquet: Path

    @property
    def warehouse_url(self) -> str:
        return f"sqlite:///{self.warehouse}"


def scale(folder: Path, rows: int, night: date) -> Scaled:
    """Write ``rows`` rows of each upload for the day ``night`` into ``folder``, over what was there."""
    store = folder / "store_purchases"
    store.mkdir(parents=True, exist_ok=True)
    name = f"store_purchases_{night.isoformat()}"
    made = Scaled(folder / "warehouse.db", store / f"{name}.csv", folder / "parquet" / f"{name}.parquet")
    made.parquet.parent.mkdir(exist_ok=True)
    write_warehouse(made.warehouse, credit_rows(rows, night))
    _write_files(made, store_rows(rows, night))
    return made


def credit_rows(rows: int, night: date) -> Iterator[pa.Table]:
    """Approvals of the day: one in a thousand without an id, the rest distinct."""
    base = _sample(["credit_approvals"], night)
    return _pieces(base, rows, lambda number: _credit(number, night))


def store_rows(rows: int, night: date) -> Iterator[pa.Table]:
    """Purchases of the day, of two brands; amounts with a decimal comma."""
    base = _sample([f"store_purchases_{name}" for name in STORE_SAMPLES], night)
    return _pieces(base, rows, lambda number: _store(number, night))


# ---------------------------------------------------------------------------------------------- the rows


def _sample(names: list[str], night: date) -> pl.DataFrame:
    texts = [dated((DATA_SAMPLES / f"{name}.csv").read_text(encoding="utf-8"), night) for name in names]
    return pl.concat([pl.from_arrow(read_samples(text)) for text in texts])


def _pieces(base: pl.DataFrame, rows: int, changes: Callable[[pl.Expr], list[pl.Expr]]) -> Iterator[pa.Table]:
    for start in range(0, rows, PIECE):
        numbers = pl.int_range(start, min(start + PIECE, rows), eager=True)
        piece = base[(numbers % len(base)).to_numpy()].with_columns(numbers.alias("number"))
        yield piece.with_columns(changes(pl.col("number"))).drop("number").to_arrow()


def _credit(number: pl.Expr, night: date) -> list[pl.Expr]:
    return [
        pl.when(number % 1000 != 999).then((number + 1_000_000).cast(pl.String)).alias("application_id"),
        pl.format("C-{}", number + 1_000_000).alias("customer_id"),
        _address("email", number),
        _address("secondary_email", number),
        _telephone(number, 180),
        _birthday(number).alias("birth_date"),
        _moment(number, night).alias("approved_at"),
        pl.col("ltv").cast(pl.Float64),
    ]


def _store(number: pl.Expr, night: date) -> list[pl.Expr]:
    return [
        pl.when(number % 1000 != 999).then(pl.format("R{}", number + 1_000_000)).alias("receipt_no"),
        (number + 8_000_000).cast(pl.String).alias("customer_no"),
        _address("email", number),
        _telephone(number, 180),
        _moment(number, night).alias("purchased_at"),
        pl.col("amount").str.replace(".", ",", literal=True),
    ]


def _address(column: str, number: pl.Expr) -> pl.Expr:
    return pl.col(column).str.replace("@", pl.format("{}@", number), literal=True)


def _telephone(number: pl.Expr, samples: int) -> pl.Expr:
    """The last four digits count up each time a sample comes round again, so that its form stays."""
    digits = (number // samples % 10_000).cast(pl.String).str.zfill(4)
    phone = pl.col("phone")
    return pl.when(phone.str.contains(r"\d{4}$")).then(phone.str.head(-4) + digits).otherwise(phone).alias("phone")


def _birthday(number: pl.Expr) -> pl.Expr:
    return (pl.lit(date(1950, 1, 1)) + pl.duration(days=number % 20_000)).dt.to_string("%Y-%m-%d")


def _moment(number: pl.Expr, night: date) -> pl.Expr:
    """Opening hours: from 8:00 on, for eleven hours."""
    second = pl.duration(seconds=number * 7 % 39_600 + 28_800)
    return (pl.lit(night).cast(pl.Datetime("us")) + second).dt.to_string("%Y-%m-%d %H:%M:%S")


# ---------------------------------------------------------------------------------------------- the files


def write_warehouse(path: Path, pieces: Iterator[pa.Table]) -> None:
    path.unlink(missing_ok=True)
    names = CREDIT_APPLICATION.columns.keys()
    kinds = ", ".join(f"{name} {'DOUBLE' if name == 'ltv' else 'TEXT'}" for name in names)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        connection.execute(f"CREATE TABLE credit_application ({kinds})")
        for piece in pieces:
            connection.execute("BEGIN")
            values = zip(*(piece.column(name).to_pylist() for name in names), strict=True)
            connection.executemany(f"INSERT INTO credit_application VALUES ({', '.join('?' * len(names))})", values)
            connection.execute("COMMIT")


def _write_files(made: Scaled, pieces: Iterator[pa.Table]) -> None:
    first = next(pieces)
    with (
        csv.CSVWriter(made.csv, first.schema) as as_csv,
        parquet.ParquetWriter(made.parquet, first.schema, compression="zstd") as as_parquet,
    ):
        for piece in (first, *pieces):
            as_csv.write_table(piece)
            as_parquet.write_table(piece)
