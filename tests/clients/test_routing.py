"""Rows of many clients in one table: each to its own pixel, under the platform's name, or deferred."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import parquet

from offline_capi.model import Fate, Reason
from offline_capi.pipeline import replay_run
from offline_capi.report.books import NAMED
from tests.support.night import Night
from tests.support.sales import sale, sales_night, write
from tests.support.sandbox_server import Sandbox

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
            sale("sale-c", "corner-shopp"),
            sale("sale-d", "nordic_outlet"),
        ],
    )

    report = night.send("sales").to_json()

    assert (report["rows"]["sent"], report["rows"]["deferred"]) == (1, 3)
    assert report["clients"]["corner-shopp"][Fate.DEFERRED] == 1
    assert report["clients"]["nordic_outlet"][Fate.DEFERRED] == 2
    assert {reason["reason"]: reason["rows"] for reason in report["reasons"]} == {
        Reason.UNKNOWN_CLIENT: 1,
        Reason.PAUSED_CLIENT: 2,
    }
    assert night.sandbox.totals.keys() == {SHOP}


def test_a_value_outside_of_the_map_is_held_and_goes_once_it_is_in(night: Night) -> None:
    """Also where it is the name of another client: the map says which value is whose, and nothing else does."""
    night.edit("dags/uploads/sales.yml", ("{column: brand}", "{column: brand, map: {Shop: corner_shop}}"))
    write(night, [sale("sale-a"), sale("sale-b", "Outlet"), sale("sale-c", "nordic_outlet"), sale("sale-d", "Outlet")])

    report = night.send("sales")
    night.edit("dags/uploads/sales.yml", ("{Shop: corner_shop}", "{Shop: corner_shop, Outlet: nordic_outlet}"))
    with night.services() as services:
        replayed = replay_run(report.run_id, services)

    assert report.balance == "4 read = 1 sent + 3 deferred"
    assert report.tally.count_reasons(Fate.DEFERRED) == {(Reason.UNKNOWN_CLIENT, "client"): 3}
    assert report.by_client() == {
        "a value (not in the map)": {Fate.DEFERRED: 3},
        "corner_shop": {Fate.SENT: 1},
    }
    assert replayed.balance == "3 read = 2 sent + 1 deferred"


def test_of_many_misspelt_clients_the_first_are_named_and_all_are_counted(night: Night) -> None:
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    misspelt = (
        [f"corner{a}_shop" for a in letters]
        + [f"corner_shop{a}" for a in letters]
        + [f"{a}corner_shop" for a in letters]
    )
    names = sorted(set(misspelt) - {"corners_shop"})[: NAMED + 25]
    write(night, [sale(f"sale-{n}", name) for n, name in enumerate(names)])

    clients = night.send("sales").by_client()

    assert clients["(no client)"] == {Fate.DEFERRED: 25}
    assert len(clients) == NAMED + 1


@pytest.mark.parametrize(
    "client", ["{column: phone}", "{column: last}", "{column: brand}", "{column: city, map: {Kyiv: corner_shop}}"]
)
def test_p09_a_wrong_column_of_clients_writes_nobody_into_ledger_and_rejects(night: Night, client: str) -> None:
    """Was: readable phones and full names in the ledger, the rejects and reports, where `erase` did not find them."""
    night.edit("dags/uploads/sales.yml", ("client: {column: brand}", f"client: {client}"))
    people = {"phone": "+14155552628", "last": "Zyxcanlast", "city": "Zyxcancity", "brand": "Zyxcanfirst Zyxcanlast"}
    write(night, [sale("sale-a", **people), sale("sale-b", **people)])

    said = [
        night.run(*command)
        for command in (("plan", "sales"), ("upload", "sales"), ("rejects",), ("report", "--json"), ("status",))
    ]

    kept = {path: path.read_bytes() for path in night.home.rglob("*") if path.is_file() and path.parent.name != "sales"}
    for rejects in night.home.rglob("rejects*.parquet"):
        kept[rejects] = str(parquet.read_table(rejects).to_pylist()).encode()
    everything = b"".join(kept.values()) + "".join(one.out + one.err for one in said).encode()
    assert "2 deferred" in said[1].out
    assert [value for value in ("4155552628", "zyxcan") if value.encode() in everything.lower()] == []


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
