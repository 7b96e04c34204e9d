"""``drop_frequent``: a value that too many people share is found in the whole window, and never sent."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from offline_capi.identity import Cause
from offline_capi.model import Window
from offline_capi.pipeline import begin_run, plan_upload, reconcile, send_staged, stage_upload
from tests.support.night import STORE_ZONE, Night, yesterday
from tests.support.sales import OUTLET, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

OWN_PHONE = "+49 30 901820"
DIGEST = sha256(b"4930901820").hexdigest()
#: Every third person left no number, and the shop wrote down its own.
SALES = [
    sale(f"{brand}-{n:03}", brand, phone=OWN_PHONE if n % 3 == 0 else f"+49 30 9{n:05}", number=str(n))
    for n in range(320)
    for brand in ("Shop", "Outlet")
]
SHARING = sum(row["phone"] == OWN_PHONE for row in SALES)


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.edit("dags/uploads/sales.yml", ("limits:", "drop_frequent: true\nlimits:"))
    write(night, SALES)
    return night


def phones(sandbox: Sandbox) -> list[object]:
    return [event["user_data"].get("ph") for event in sandbox.events]


def test_it_is_never_sent_and_counted_under_its_cause(night: Night, sandbox: Sandbox) -> None:
    report = night.send("sales")

    went = phones(sandbox)
    assert report.balance == "640 read = 640 sent"
    assert went.count(None) == SHARING == report.tally.dropped["ph", "phone", Cause.LISTED_AS_JUNK]
    assert DIGEST not in str(went)
    assert night.send("sales").balance == "640 read = 640 already sent"


def test_without_it_the_value_goes_out(night: Night, sandbox: Sandbox) -> None:
    night.edit("dags/uploads/sales.yml", ("drop_frequent: true\n", ""))

    night.send("sales")

    assert str(phones(sandbox)).count(DIGEST) == SHARING


def test_p11_a_run_of_one_client_drops_what_a_run_of_all_drops(night: Night, sandbox: Sandbox) -> None:
    """Each client's rows count alone, and the look-back and every other part of the window with them."""
    window = Window.of_day(yesterday(STORE_ZONE), STORE_ZONE)

    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        plan = plan_upload(upload, window, services, clients=["corner_shop"])
        run = begin_run(upload, window, services)
        for unit in stage_upload(upload, window, services, run, clients=["corner_shop"]):
            send_staged(unit, upload, services)
        report = reconcile(run, upload, services)

    assert plan.balance == "320 read = 320 sent" == report.balance
    assert sandbox.ids_of(OUTLET) == []
    assert phones(sandbox).count(None) == 107 == plan.tally.dropped["ph", "phone", Cause.LISTED_AS_JUNK]


def test_p17_what_one_client_writes_takes_nothing_from_anothers_events(night: Night, sandbox: Sandbox) -> None:
    """Was: the outlet's 150 made-up people beside one number of the shop's customer took it from the shop's event."""
    victim = sale("victim", "Shop", phone="+49 30 901820", number="v")
    made_up = [sale(f"made-up-{n}", "Outlet", phone="+49 30 901820", number=f"m-{n}") for n in range(150)]
    write(night, [victim, *made_up])

    night.send("sales")

    phones_of = {event["event_id"]: event["user_data"].get("ph") for event in sandbox.events}
    assert phones_of["victim"] == DIGEST
    assert {phones_of[f"made-up-{n}"] is None for n in range(150)} == {True}
