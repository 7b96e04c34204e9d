"""P22: the same table as CSV, JSON, Parquet, Delta, Iceberg, SQLite and PostgreSQL gives the same events, byte by byte.

A source keeps integers, decimals, floats of 32 and 64 bits, booleans, dates and instants in its own types, or has text
alone. What goes out must not tell which: an id that pandas wrote as ``7.0`` is the 7 of the database.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from deltalake import write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from offline_capi.config import MappingSpec, load_config
from offline_capi.events import build_events
from offline_capi.identity import hash_identity
from offline_capi.mapping import find_placement, map_rows
from offline_capi.model import SourceRows, Window
from offline_capi.sources import SourceAccess, open_source
from tests.support.lakehouse import list_properties, make_iceberg

Row = Mapping[str, Any]

DAY = date(2026, 11, 23)
MIDNIGHT = datetime(2026, 11, 23)  # noqa: DTZ001  wall time of the upload's zone, as exports and databases keep it
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
ZONE = "Europe/Berlin"

CLIENTS = """\
platform: {partner_agent: datapartner, iceberg_catalogs: {lake: {type: sql, uri: "sqlite:///lake/catalog.db"}}}
clients:
  acme: {pixel_id: "1200000000000009", token: {env: ACME_TOKEN}, country: US, timezone: Europe/Berlin}
"""
UPLOAD = """\
client: acme
source: {source}
window: {column: at, timezone: Europe/Berlin}
event: {name: Purchase, id: "o-{order_no}", action_source: physical_store}
user_data: {em: email, external_id: customer_no, zp: zip, db: born}
custom_data:
  value: {column: total, type: number}
  currency: USD
  order_id: order_no
  item_number: line_no
  predicted_ltv: {column: ltv, type: number}
  properties:
    score: {column: score, type: number}
    member: {column: member, type: boolean}
    shelf: {column: shelf, type: integer}
    due: {column: due, type: date}
    told: "{customer_no}/{line_no}"
consent: {column: consent, equals: {equals}}
"""
TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "order_no": (pa.int64(), sa.BigInteger()),
    "line_no": (pa.int32(), sa.Integer()),
    "customer_no": (pa.int64(), sa.BigInteger()),
    "at": (pa.timestamp("us"), sa.DateTime()),
    "email": (pa.string(), sa.Text()),
    "zip": (pa.string(), sa.Text()),
    "born": (pa.date32(), sa.Date()),
    "total": (pa.decimal128(12, 2), sa.Numeric(12, 2)),
    "ltv": (pa.float64(), sa.Double()),
    "score": (pa.float32(), sa.REAL()),
    "member": (pa.bool_(), sa.Boolean()),
    "shelf": (pa.int64(), sa.BigInteger()),
    "due": (pa.date32(), sa.Date()),
    "consent": (pa.bool_(), sa.Boolean()),
}


def _written(value: Any) -> str:
    """``value`` as a program writes it into text that has no types."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case np.float32():
            return str(value)
        case float():
            return repr(value)
        case _:
            return str(value)


def _json_value(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case Decimal() | np.float32():
            return float(str(value))
        case float():
            return value
        case _:
            return str(value)


def as_csv(folder: Path, rows: Sequence[Row]) -> str:
    lines = [list(TYPES), *([_written(row[name]) for name in TYPES] for row in rows)]
    (folder / "rows.csv").write_text("".join(f"{','.join(line)}\n" for line in lines), encoding="utf-8")
    return "{path: rows.csv}"


def as_csv_of_pandas(folder: Path, rows: Sequence[Row]) -> str:
    """Integers of a column with an empty cell become floats there, and are written with ``.0``."""
    frame = pd.DataFrame(list(rows), columns=list(TYPES)).astype({"score": "float32"})
    frame.to_csv(folder / "pandas.csv", index=False)
    return "{path: pandas.csv}"


def as_json_lines(folder: Path, rows: Sequence[Row]) -> str:
    lines = (json.dumps({name: _json_value(row[name]) for name in TYPES}) for row in rows)
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return "{path: rows.jsonl}"


def as_json_array(folder: Path, rows: Sequence[Row]) -> str:
    objects = [{name: _json_value(row[name]) for name in TYPES} for row in rows]
    (folder / "rows.json").write_text(json.dumps(objects, indent=1), encoding="utf-8")
    return "{path: rows.json}"


def _as_table(rows: Sequence[Row]) -> pa.Table:
    schema = pa.schema([(name, kind) for name, (kind, _) in TYPES.items()])
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def as_parquet(folder: Path, rows: Sequence[Row]) -> str:
    parquet.write_table(_as_table(rows), folder / "rows.parquet")
    return "{path: rows.parquet}"


def as_delta(folder: Path, rows: Sequence[Row]) -> str:
    write_deltalake(folder / "delta", _as_table(rows), mode="overwrite")
    return "{delta: delta}"


def as_iceberg(folder: Path, rows: Sequence[Row]) -> str:
    make_iceberg(folder / "lake", _as_table(rows))
    return "{iceberg: {catalog: lake, table: shop.sales}}"


def write_table(url: str, rows: Sequence[Row]) -> str:
    table = sa.Table("sale", sa.MetaData(), *(sa.Column(name, kind) for name, (_, kind) in TYPES.items()))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        table.drop(connection, checkfirst=True)
        table.create(connection)
        plain = [{**row, "score": None if row["score"] is None else float(str(row["score"]))} for row in rows]
        connection.execute(table.insert(), plain)
    return "{connection: warehouse, sql: sale.sql}"


def as_sqlite(folder: Path, rows: Sequence[Row]) -> str:
    return write_table(f"sqlite:///{folder / 'warehouse.db'}", rows)


FORMS: tuple[Callable[[Path, Sequence[Row]], str], ...] = (
    as_csv,
    as_csv_of_pandas,
    as_json_lines,
    as_json_array,
    as_parquet,
    as_delta,
    as_iceberg,
    as_sqlite,
)


def events_of(folder: Path, source: str, url: str, *, equals: str = "true") -> list[str]:
    """The body of every event that ``source`` becomes, sorted."""
    (folder / "uploads").mkdir(exist_ok=True)
    (folder / "sql").mkdir(exist_ok=True)
    (folder / "sql" / "sale.sql").write_text("SELECT * FROM sale WHERE at >= :since AND at < :until")
    (folder / "clients.yml").write_text(CLIENTS)
    (folder / "uploads" / "sales.yml").write_text(UPLOAD.replace("{source}", source).replace("{equals}", equals))
    deployment = load_config(folder, environ={"ACME_TOKEN": "any"})
    spec = deployment.uploads["sales"]
    bodies: list[str] = []
    access = SourceAccess(
        ZONE, lambda _: url, folder / "sql", folder, environ={},
        catalog_properties=lambda _: list_properties(folder / "lake"), placement=find_placement(spec),
    )  # fmt: skip
    for rows in open_source(spec.source, access).read(Window.of_day(DAY, ZONE)):
        hashed = hash_identity(map_rows(rows, spec), clients=deployment.clients)
        built = build_events(hashed, clients=deployment.clients, zone=ZONE, now=NOW)
        bodies += [body.decode() for body in built.events.table.column("body").to_pylist()]
    return sorted(bodies)


_WHOLE = st.integers(0, 10**15 - 1)  # a float, which pandas makes of them, keeps fifteen digits for certain
_SINGLE = st.floats(0, 2.0**20, width=32).map(np.float32)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "order_no": _WHOLE,
            "line_no": st.none() | st.integers(0, 2**31 - 1),
            "customer_no": st.none() | _WHOLE,
            "at": st.integers(0, 86_399).map(lambda seconds: MIDNIGHT + timedelta(seconds=seconds)),
            "email": st.sampled_from(["ann@shop.example.org", "bo@shop.example.org"]),
            "zip": st.none() | st.sampled_from(["02134", "90210-1234", "00501"]),
            "born": st.none() | st.dates(date(1930, 1, 1), date(2005, 12, 31)),
            "total": st.integers(1, 10**9).map(lambda cents: Decimal(cents) / 100),
            "ltv": st.none() | st.floats(0, 1e9),
            "score": st.none() | _SINGLE,
            "member": st.none() | st.booleans(),
            "shelf": st.none() | _WHOLE,
            "due": st.none() | st.dates(date(2000, 1, 1), date(2040, 12, 31)),
            "consent": st.none() | st.booleans(),
        }
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row["order_no"],
)


@settings(max_examples=15, deadline=None)
@given(rows=ROWS)
def test_p22_the_same_table_gives_the_same_events_whatever_holds_it(rows: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder / 'warehouse.db'}"
        events = {form.__name__: events_of(folder, form(folder, rows), url) for form in FORMS}

    for name, got in events.items():
        assert got == events["as_parquet"], name
    assert len(events["as_parquet"]) == sum(bool(row["consent"]) for row in rows)


EDGES: list[Row] = [
    {
        "order_no": order,
        "line_no": None if order == 3 else order,
        "customer_no": customer,
        "at": MIDNIGHT + timedelta(seconds=order),
        "email": "ann@shop.example.org",
        "zip": "02134",
        "born": date(1985, 7, 15),
        "total": Decimal(total),
        "ltv": ltv,
        "score": None if score is None else np.float32(score),
        "member": member,
        "shelf": customer,
        "due": date(2027, 1, 1),
        "consent": True,
    }
    for order, customer, total, ltv, score, member in [
        (1, 7, "12.30", 0.1, 0.1, True),
        (2, 10**15 - 1, "1000.00", 1e-7, 16777216.0, False),
        (3, None, "0.01", 1e9, None, None),
        (4, 0, "9999999999.99", None, 3.0, True),
    ]
]


@pytest.mark.parametrize("form", FORMS)
def test_p22_postgresql_gives_the_events_of_every_file(
    tmp_path: Path, postgres_db: str, form: Callable[[Path, Sequence[Row]], str]
) -> None:
    of_the_database = events_of(tmp_path, write_table(postgres_db, EDGES), postgres_db)

    url = f"sqlite:///{tmp_path / 'warehouse.db'}"
    assert events_of(tmp_path, form(tmp_path, EDGES), url) == of_the_database
    assert len(of_the_database) == len(EDGES)
    first = next(event for event in map(json.loads, of_the_database) if event["event_id"] == "o-1")
    assert first["custom_data"] == {
        "value": 12.3,
        "currency": "USD",
        "order_id": "1",
        "item_number": "1",
        "predicted_ltv": 0.1,
        "score": 0.1,
        "member": True,
        "shelf": 7,
        "due": "2027-01-01",
        "told": "7/1",
    }


# ---------------------------------------------------------------------------------------------- consent

CONSENTS: list[Row] = [
    {**EDGES[0], "order_no": number, "consent": consent} for number, consent in enumerate([True, False, None, True], 1)
]


@pytest.mark.parametrize(
    ("equals", "given"),
    [("true", 2), ('"true"', 2), ('"True"', 2), ('["true", "false"]', 3), ("false", 1), ('"false"', 1), ('"maybe"', 0)],
)
def test_p22_a_boolean_is_consent_in_every_source_in_quotes_or_without(
    tmp_path: Path, postgres_db: str, equals: str, given: int
) -> None:
    url = f"sqlite:///{tmp_path / 'warehouse.db'}"
    files = {form.__name__: events_of(tmp_path, form(tmp_path, CONSENTS), url, equals=equals) for form in FORMS}
    of_postgres = events_of(tmp_path, write_table(postgres_db, CONSENTS), postgres_db, equals=equals)

    assert {name: len(events) for name, events in files.items()} == dict.fromkeys(files, given)
    assert len(of_postgres) == given


@pytest.mark.parametrize(("printed", "other"), [("t", "f"), ("1", "0"), ("TRUE", "FALSE")])
def test_p22_a_printed_boolean_is_consent_and_a_word_that_is_not_declared_is_none(
    tmp_path: Path, printed: str, other: str
) -> None:
    as_csv(tmp_path, CONSENTS)
    text = (tmp_path / "rows.csv").read_text()
    lines = text.replace(",true\n", f",{printed}\n").replace(",false\n", f",{other}\n")
    (tmp_path / "rows.csv").write_text(lines)
    assert len(events_of(tmp_path, "{path: rows.csv}", "", equals='"true"')) == 2

    (tmp_path / "rows.csv").write_text(text.replace(",true\n", ",yes\n"))
    assert len(events_of(tmp_path, "{path: rows.csv}", "", equals='"true"')) == 0
    assert len(events_of(tmp_path, "{path: rows.csv}", "", equals="true")) == 2


# ---------------------------------------------------------------------------------------------- whole numbers

_SAME_NUMBER = [
    pa.array([7, None]),
    pa.array([7.0, None]),
    pa.array([7.0, None], pa.float32()),
    pa.array([Decimal("7.00"), None], pa.decimal128(10, 2)),
    pa.array([Decimal("7"), None], pa.decimal128(38, 18)),
    pa.array(["7.0", None]),
    pa.array(["7.000", None]),
    pa.array(["7", None]),
]


@pytest.mark.parametrize("values", _SAME_NUMBER, ids=[f"{one.type} {one[0]}" for one in _SAME_NUMBER])
@pytest.mark.parametrize("spelling", ["{id}", "n-{id}", "{id:integer}", "{id}/{id}"])
def test_p22_a_whole_number_in_an_id_has_no_fraction_whatever_type_it_came_in(values: pa.Array, spelling: str) -> None:
    number = pa.array([1, 2])
    batch = pa.RecordBatch.from_arrays([values, number, number, number], ["id", "at", "em", "value"])
    mapping = MappingSpec.model_validate(
        {
            "client": "acme",
            "window": {"column": "at", "unit": "s"},
            "event": {"name": "Purchase", "id": spelling, "action_source": "other"},
            "user_data": {"external_id": "id", "em": "em"},
            "custom_data": {"order_id": "id", "properties": {"label": spelling}},
        }
    )

    mapped = map_rows(SourceRows(batch, "rows", 1), mapping)

    expected = spelling.replace(":integer", "").replace("{id}", "7")
    assert mapped.event["event_id"].to_pylist() == [expected, None]
    assert mapped.custom["label"].to_pylist() == [expected, None]
    assert mapped.custom["order_id"].to_pylist() == ["7", None]
    assert mapped.identity["external_id"][0].values.to_pylist() == ["7", None]


def test_p22_text_of_a_property_without_a_type_is_the_text_and_a_declared_number_the_number() -> None:
    """A version "2.0" is no number; the documentation says to declare what is one."""
    texts = pa.array(["2.0", "7.0"])
    batch = pa.RecordBatch.from_arrays([texts, pa.array([1, 2])], ["version", "at"])
    mapping = MappingSpec.model_validate(
        {
            "client": "acme",
            "window": {"column": "at", "unit": "s"},
            "event": {"name": "Purchase", "id": "at", "action_source": "other"},
            "user_data": {"em": "version"},
            "custom_data": {"properties": {"version": "version", "score": {"column": "version", "type": "number"}}},
        }
    )

    mapped = map_rows(SourceRows(batch, "rows", 1), mapping)

    assert mapped.custom["version"].to_pylist() == ["2.0", "7.0"]
    assert mapped.custom["score"].to_pylist() == [2.0, 7.0]
