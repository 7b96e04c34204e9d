"""`preview --raw`: what is not known to be harmless shows its type and length, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.night import yesterday
from tests.support.sandbox_server import Sandbox
from tests.support.shop import Shop, order

DAY = yesterday("America/New_York")


@pytest.fixture
def shop(tmp_path: Path, sandbox: Sandbox) -> Shop:
    return Shop(tmp_path, sandbox)


def test_p09_people_and_columns_that_nobody_names_are_masked(shop: Shop):
    shop.write(
        "data/orders.csv",
        "Name,Email,Note,Coupon,Currency,Total,Created at\n"
        f"#1,mara.voss@example.com,call Mara,SAVE10,USD,10.00,{DAY}T12:00:00-05:00\n"
        f"#2,,,write to ken@example.org,USD,5,{DAY}T13:00:00-05:00\n",
    )
    shop.upload(
        custom_data={
            "value": {"column": "Total", "type": "number"},
            "currency": "Currency",
            "properties": {"coupon": "Coupon"},
        }
    )

    done = shop.run("preview", "orders", "--raw")
    first, second = (row["columns"] for row in done.json)

    assert done.code == 0
    assert (first["Name"], first["Total"], first["Coupon"]) == ("#1", "10.00", "SAVE10")
    assert (first["Email"], first["Note"]) == ("text(21)", "text(9)")
    assert (second["Email"], second["Coupon"]) == (None, "text(24)")
    assert not any(word in done.out for word in ("mara", "Mara", "ken@"))


def test_a_key_of_a_lookup_is_masked_and_rows_of_other_days_are_not_shown(shop: Shop):
    shop.orders(order(DAY - timedelta(days=1), "#0"), order(DAY, "#1"), order(DAY, "#2"))
    shop.upload(lookups={"crm": {"path": "none.csv", "key": "n", "by": "Status"}}, user_data={"em": "crm.mail"})

    rows = shop.run("preview", "orders", "--raw", "--limit", "1").json

    assert [(row["row"], row["columns"]["Status"], row["columns"]["Email"]) for row in rows] == [
        (2, "text(4)", "text(13)")
    ]


def test_p09_a_first_row_that_was_taken_for_a_header_is_not_shown(shop: Shop):
    shop.write(
        "data/orders.csv",
        f"Name,Email,Total,Currency,Created at,mara.voss@example.com\n#1,,5,USD,{DAY}T12:00:00-05:00,x\n",
    )

    done = shop.run("preview", "orders", "--raw")

    assert (done.code, "mara" in done.out, done.json[0]["columns"]["column 6"]) == (0, False, "text(1)")
