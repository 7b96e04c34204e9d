"""Sales of two shops in CSV files, and the upload that sends them: a night whose rows a test writes itself."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.support.night import Night, yesterday
from tests.support.sandbox_server import Sandbox

ZONE = "Europe/Berlin"
SHOP, OUTLET = "1200000000000002", "1200000000000003"
UPLOAD = """
client: {column: brand, map: {Shop: corner_shop, Outlet: nordic_outlet}}
source: {path: "${OFFLINE_CAPI_DATA}/sales/*.csv"}
window: {column: sold_at, timezone: Europe/Berlin}
event: {name: Purchase, id: "{sale}", time: sold_at, action_source: physical_store}
user_data:
  {em: email, ph: phone, fn: first, ln: last, db: {column: born, format: "%Y-%m-%d"}, ct: city, st: state, zp: zip,
   external_id: number}
custom_data: {value: {column: amount, type: number}, currency: currency}
consent: {column: consent, equals: ["yes"]}
limits: {max_invalid: 100%}
delivery: {max_tries: 1, max_events: 7, concurrency: 2}
"""
#: Stands for yesterday's noon until a file is written: rows may be made before midnight, and when tests are collected.
YESTERDAY_NOON = "noon of yesterday"
Row = dict[str, str]


def sales_night(home: Path, sandbox: Sandbox) -> Night:
    """The sample clients and the upload ``sales``; the variable OFFLINE_CAPI_DATA has to name ``home``."""
    night = Night(home, sandbox)
    night.write("dags/uploads/sales.yml", UPLOAD)
    return night


def noon(day: date | None = None) -> str:
    """Noon in the shops' zone, of yesterday unless another day is given."""
    moment = datetime.combine(day or yesterday(ZONE), datetime.min.time(), ZoneInfo(ZONE)) + timedelta(hours=12)
    return moment.isoformat()


def sale(name: str, brand: str = "Shop", **other: str) -> Row:
    return {
        "sale": name,
        "brand": brand,
        "sold_at": YESTERDAY_NOON,
        "email": f"{name}@example.com",
        **dict.fromkeys(("phone", "first", "last", "born", "city", "state", "zip", "number"), ""),
        "amount": "12.50",
        "currency": "EUR",
        "consent": "yes",
    } | other


def write(night: Night, rows: Sequence[Row], file: str = "sales.csv") -> None:
    text, when = io.StringIO(), noon()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"sold_at": when} if row.get("sold_at") == YESTERDAY_NOON else row for row in rows)
    night.write(f"sales/{file}", text.getvalue())
