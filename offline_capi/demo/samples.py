"""Build what ``data_samples/`` describes: a warehouse and a folder of files, for the demo, the tests and first steps.

The samples are text with relative dates (``{D}`` is the day that is sent, ``{D-3}`` three days before it); here they
become a database and files in the encodings and formats that real exports have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa
from pyarrow import csv, parquet

__all__ = [
    "CREDIT_APPLICATION",
    "DATA_SAMPLES",
    "SAMPLE_TOKENS",
    "build_samples",
    "build_store_files",
    "build_warehouse",
    "dated",
    "read_samples",
]

DATA_SAMPLES = Path("data_samples")
# For the sandbox, which has no secrets: the tokens of the sample clients, by the variables that clients.yml names.
SAMPLE_TOKENS: Mapping[str, str] = {
    "ACME_BANK_TOKEN": "sandbox-token-of-acme-bank",
    "CORNER_SHOP_TOKEN": "sandbox-token-of-corner-shop",
    "NORDIC_OUTLET_TOKEN": "sandbox-token-of-nordic-outlet",
}

_DATE = re.compile(r"\{D([+-]\d+)?(?::([^{}]+))?\}")

# Text, as in the many warehouses that took their tables from an export; only the score is a number.
CREDIT_APPLICATION = sa.Table(
    "credit_application",
    sa.MetaData(),
    *(
        sa.Column(name, sa.Text)
        for name in (
            *("application_id", "customer_id", "first_name", "last_name", "email", "secondary_email", "phone"),
            *("country", "state", "city", "zip", "birth_date", "gender", "credit_limit", "currency_name", "product"),
            *("approved_at", "marketing_consent"),
        )
    ),
    sa.Column("ltv", sa.Double),
)


def build_samples(folder: Path, night: date, *, warehouse_url: str | None = None, samples: Path = DATA_SAMPLES) -> None:
    """Make the warehouse and the store's files of the day ``night``; doing it again gives the same again.

    The warehouse is ``folder/warehouse.db`` or the database at ``warehouse_url``, whose table ``credit_application``
    is replaced. Files are ``folder/store_purchases/store_purchases_<night>_<kind>``; those of other days stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    build_warehouse(warehouse_url or f"sqlite:///{folder / 'warehouse.db'}", night, samples)
    build_store_files(folder / "store_purchases", night, samples)


def build_store_files(folder: Path, night: date, samples: Path) -> None:
    """The store's files of a night: ``folder/store_purchases_<night>_<kind>``."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in STORE_FILES:
        text = dated((samples / f"store_purchases_{kind.name}.csv").read_text(encoding="utf-8"), night)
        path = folder / f"store_purchases_{night.isoformat()}_{kind.name}{kind.suffix}"
        path.write_bytes(kind.write(text))


def dated(text: str, night: date) -> str:
    """``text`` with its relative dates made absolute: ``{D}`` is ``night``."""
    return _DATE.sub(lambda match: _day(night, match[1], match[2]), text)


def _day(night: date, offset: str | None, form: str | None) -> str:
    return (night + timedelta(days=int(offset or 0))).strftime(form or "%Y-%m-%d")


def read_samples(text: str) -> pa.Table:
    """The rows of a sample: an unquoted empty value is null, everything else is text."""
    return csv.read_csv(
        BytesIO(text.encode()),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            default_column_type=pa.string(),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


# ---------------------------------------------------------------------------------------------- the warehouse


def build_warehouse(url: str, night: date, samples: Path) -> None:
    """The table ``credit_application`` of a night in the database at ``url``; one that is there is replaced."""
    text = dated((samples / "credit_approvals.csv").read_text(encoding="utf-8"), night)
    rows = [{**row, "ltv": _score(row["ltv"])} for row in read_samples(text).to_pylist()]
    engine = sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True)
    with engine.begin() as connection:
        CREDIT_APPLICATION.drop(connection, checkfirst=True)
        CREDIT_APPLICATION.create(connection)
        connection.execute(CREDIT_APPLICATION.insert(), rows)


def _score(text: str | None) -> float | None:
    return None if text is None else float(text)


# ---------------------------------------------------------------------------------------------- the files


@dataclass(frozen=True, slots=True)
class StoreFile:
    """One file of the store: which sample it comes from, and how it is written."""

    name: str
    suffix: str
    write: Callable[[str], bytes]


def _gzip(text: str) -> bytes:
    """Arrow's gzip writes no time stamp, so that the same rows give the same bytes."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "gzip") as out:
        out.write(text.encode())
    return bytes(sink.getvalue())


# As a till's own database exports it: numbers and times are typed, and times are wall time.
TYPED: Mapping[str, pa.DataType] = {
    "line_no": pa.int64(),
    "amount": pa.float64(),
    "purchased_at": pa.timestamp("us"),
}


def _parquet(text: str) -> bytes:
    table = read_samples(text)
    schema = pa.schema([(name, TYPED.get(name, pa.string())) for name in table.column_names])
    sink = pa.BufferOutputStream()
    parquet.write_table(table.cast(schema), sink, compression="zstd")
    return bytes(sink.getvalue())


STORE_FILES = (
    StoreFile("till", ".csv", lambda text: text.encode("utf-8-sig")),
    StoreFile("outlet", ".csv", lambda text: text.encode("latin-1")),
    StoreFile("branches", ".csv.gz", _gzip),
    StoreFile("central", ".parquet", _parquet),
)
