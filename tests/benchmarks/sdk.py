"""The same work done with Meta's official SDK: rows → UserData → Event → EventRequest → POST.

Written as its documentation shows it, with two kindnesses that its users have to add themselves: a value on which the
SDK raises is left out instead of losing the whole request, and one session is kept for all requests.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.user_data import UserData
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

KEYS = {
    "email": "email",
    "phone": "phone",
    "first_name": "first_name",
    "last_name": "last_name",
    "city": "city",
    "state": "state",
    "zip": "zip_code",
    "country": "country_code",
    "birth_date": "date_of_birth",
    "customer_id": "external_id",
    "customer_no": "external_id",
}


def user_data(row: Mapping[str, Any]) -> UserData:
    """All of the row's identity that the SDK accepts."""
    user = UserData()
    for column, attribute in KEYS.items():
        value = row.get(column)
        if value:
            setattr(user, attribute, value)
    try:
        user.normalize()
    except (TypeError, ValueError):
        user = _value_by_value(row)
    return user


def _value_by_value(row: Mapping[str, Any]) -> UserData:
    good = UserData()
    for column, attribute in KEYS.items():
        value = row.get(column)
        if not value:
            continue
        try:
            probe = UserData(**{attribute: value})
            probe.normalize()
        except (TypeError, ValueError):
            continue
        setattr(good, attribute, value)
    return good


def event(row: Mapping[str, Any], *, name: str, id_column: str, time_column: str, value_column: str) -> Event:
    moment = datetime.fromisoformat(row[time_column])
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        value = float(str(row[value_column]).replace(",", "."))
    except ValueError:
        value = 0.0
    return Event(
        event_name=name,
        event_time=int(moment.timestamp()),
        event_id=str(row[id_column]),
        action_source=ActionSource.SYSTEM_GENERATED,
        user_data=user_data(row),
        custom_data=CustomData(value=value, currency="usd"),
    )


def send_with_sdk(rows: Iterable[Mapping[str, Any]], url: str, **columns: str) -> tuple[int, float]:
    """Send ``rows`` to ``url`` in requests of 1,000; returns (events, seconds)."""
    return execute_all((event(row, **columns) for row in rows), url)


def execute_all(events: Iterable[Event], url: str) -> tuple[int, float]:
    """Send ``events`` to ``url`` in requests of 1,000; returns (events, seconds), those of making them included."""
    FacebookSession.GRAPH = url
    FacebookAdsApi.init(access_token="benchmark-token", crash_log=False)
    started, sent = time.perf_counter(), 0
    for chunk in _chunks(iter(events), 1000):
        EventRequest(pixel_id="1234567890", events=chunk, partner_agent="datapartner").execute()
        sent += len(chunk)
    return sent, time.perf_counter() - started


def _chunks(rows: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while chunk := list(islice(rows, size)):
        yield chunk


def credit_rows(home: Path, rows: int) -> Iterator[dict[str, Any]]:
    with closing(sqlite3.connect(home / "warehouse.db")) as connection:
        connection.row_factory = sqlite3.Row
        cursor = connection.execute(
            "SELECT * FROM credit_application WHERE application_id IS NOT NULL LIMIT ?", (rows,)
        )
        yield from map(dict, cursor)


def store_rows(home: Path, rows: int) -> Iterator[dict[str, Any]]:
    with next((home / "store_purchases").glob("*.csv")).open(encoding="utf-8", newline="") as file:
        usable = (row for row in csv.DictReader(file) if row["purchased_at"][:2] == "20" and row["receipt_no"])
        yield from islice(usable, rows)


UPLOADS = {
    "credit_approvals": (
        credit_rows,
        {
            "name": "CreditApproval",
            "id_column": "application_id",
            "time_column": "approved_at",
            "value_column": "credit_limit",
        },
    ),
    "store_purchases": (
        store_rows,
        {"name": "Purchase", "id_column": "receipt_no", "time_column": "purchased_at", "value_column": "amount"},
    ),
}

if __name__ == "__main__":
    upload, folder, address, count = sys.argv[1:5]
    source, columns = UPLOADS[upload]
    sent, seconds = send_with_sdk(source(Path(folder), int(count)), address, **columns)
    print(json.dumps({"sent": sent, "seconds": seconds}))  # noqa: T201  read by the benchmark
