"""The rows sent with drt-core's own destination for Meta; started by ``drt`` with a Python that has drt-core.

``python drt_peer.py ROWS.csv URL``: prints the events and the seconds, those of the processor too, that building and
sending took. Reading the file is not among them, and neither is a ledger: drt-core keeps none for this destination.
"""

from __future__ import annotations

import csv
import json
import sys
import time

from drt.config.base import RateLimitConfig
from drt.config.models import MetaConversionsDestinationConfig, SyncOptions
from drt.destinations import meta_conversions

file, meta_conversions._BASE_URL = sys.argv[1:3]
with open(file, encoding="utf-8", newline="") as rows:  # noqa: PTH123  a script of its own
    records = [{**row, "sold_at": int(row["sold_at"]), "amount": float(row["amount"])} for row in csv.DictReader(rows)]
config = MetaConversionsDestinationConfig(
    type="meta_conversions",
    pixel_id="1234567890",
    access_token="token",
    action_source="physical_store",
    event_name="Purchase",
    event_time_field="sold_at",
    event_id_field="sale",
    email_field="email",
    phone_field="phone",
    value_field="amount",
    currency="EUR",
    rate_limit=RateLimitConfig(requests_per_second=1_000_000),
)
started, processor = time.perf_counter(), time.process_time()
result = meta_conversions.MetaConversionsDestination().load(records, config, SyncOptions())
figures = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - processor, "sent": result.success}
print(json.dumps(figures))  # noqa: T201  read by the parent
