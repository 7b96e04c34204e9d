"""A shop's project folder: one client, one upload of order lines in a CSV, and the command line."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import yaml

from tests.support.night import Night
from tests.support.sandbox_server import Sandbox

PIXEL, STAGING_PIXEL = "1200000000000001", "1200000000000091"
TOKEN, STAGING_TOKEN = "EAAshoptokenforproduction01", "EAAshoptokenforstaging00001"

CLIENTS = f"""
platform: {{partner_agent: datapartner}}
clients:
  shop: {{pixel_id: "{PIXEL}", token: {{env: SHOP_TOKEN}}, country: US, timezone: America/New_York}}
"""
UPLOAD = {
    "client": "shop",
    "source": {"path": "data/orders.csv"},
    "window": {"column": "Created at", "timezone": "America/New_York"},
    "event": {"name": "Purchase", "id": "shop-{Name}", "action_source": "physical_store"},
    "user_data": {"em": "Email"},
    "custom_data": {"value": {"column": "Total", "type": "number"}, "currency": "Currency"},
}
HEADER = "Name,Email,Status,Currency,Total,Created at"


def order(day: date, name: str, status: str = "paid", total: str = "10.00", email: str = "") -> str:
    return f"{name},{email or name.strip('#') + '@example.com'},{status},USD,{total},{day}T12:00:00-05:00"


def further_line(day: date, name: str) -> str:
    """The second item of an order, as Shopify writes it: its order-level cells are empty."""
    return f"{name},{name.strip('#')}@example.com,,,,{day}T12:00:00-05:00"


class Shop(Night):
    """``SHOP_TOKEN`` reaches the shop's pixel, ``STAGING_TOKEN`` that of its staging environment."""

    def __init__(self, home: Path, sandbox: Sandbox) -> None:
        super().__init__(home, sandbox)
        shutil.rmtree(home / "dags/uploads")
        sandbox.grant(TOKEN, [PIXEL])
        sandbox.grant(STAGING_TOKEN, [STAGING_PIXEL])
        self.env |= {"SHOP_TOKEN": TOKEN, "STAGING_TOKEN": STAGING_TOKEN}
        self.write("dags/clients.yml", CLIENTS)
        self.upload()

    def upload(self, name: str = "orders", **sections: object) -> Path:
        return self.write(f"dags/uploads/{name}.yml", yaml.safe_dump(UPLOAD | sections, sort_keys=False))

    def orders(self, *lines: str) -> None:
        self.write("data/orders.csv", "\n".join([HEADER, *lines]) + "\n")
