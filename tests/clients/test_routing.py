"""Rows of many clients in one table: each to its own pixel, under the platform's name, or held."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_capi.model import Fate, Reason
from offline_capi.pipeline import replay_run
from tests.night import Night
from tests.sales import sale, sales_night, write
from tests.sandbox_server import Sandbox

SHOP, OUTLET = "1200000000000002", "1200000000000003"


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """The column holds the names of clients themselves, as a platform's own database would."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.edit(
        "dags/uploads/sales.yml",
        ("{column: brand, map: {Shop: corner_shop, Outlet: nordic_outlet}}", "{column: brand}"),
    )
    return night


def test_rows_of_an_unknown_and_of_a_paused_client_are_held_and_counted_and_the_others_go(night: Night) -> None:
    night.edit(
        "dags/clients.yml", ('dataset_id: "1200000000000003"', 'dataset_id: "1200000000000003"\n    active: false')
    )
    write(
        night,
        [
            sale("sale-a", "corner_shop"),
            sale("sale-b", "nordic_outlet"),
            sale("sale-c", "somebody_else"),
            sale("sale-d", "nordic_outlet"),
        ],
    )

    report = night.send("sales").to_json()

    assert (report["rows"]["sent"], report["rows"]["held"]) == (1, 3)
    assert report["clients"]["somebody_else"][Fate.HELD] == 1
    assert report["clients"]["nordic_outlet"][Fate.HELD] == 2
    assert {reason["reason"]: reason["rows"] for reason in report["reasons"]} == {
        Reason.UNKNOWN_CLIENT: 1,
        Reason.PAUSED_CLIENT: 2,
    }
    assert night.sandbox.totals.keys() == {SHOP}


def test_p07_partner_agent_is_on_every_request_whatever_becomes_of_it(night: Night, sandbox: Sandbox) -> None:
    """In a first try, a repetition, an isolation and a replay; a client's own comes before the platform's."""
    night.edit(
        "dags/clients.yml",
        ('dataset_id: "1200000000000003"', 'dataset_id: "1200000000000003"\n    partner_agent: outlet_1_0'),
    )
    night.edit("dags/uploads/sales.yml", ("max_tries: 1", "max_tries: 3"))
    sandbox.refuse("s-3", "o-4", tell="nothing")
    sandbox.fail_next(times=1)
    write(
        night,
        [*(sale(f"s-{i}", "corner_shop") for i in range(9)), *(sale(f"o-{i}", "nordic_outlet") for i in range(9))],
    )

    run = night.send("sales").run_id
    sandbox.heal()
    with night.services() as services:
        replayed = replay_run(run, services, undelivered=True)

    agents = {pixel: {one["fields"]["partner_agent"] for one in sandbox.requests_to(pixel)} for pixel in (SHOP, OUTLET)}
    assert agents == {SHOP: {"datapartner"}, OUTLET: {"outlet_1_0"}}
    assert len(sandbox.requests) > 8
    assert replayed.to_json()["rows"]["sent"] == 2
