"""At most so many events of a client a run: the rest is deferred, and goes with the next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.config import Client
from offline_capi.events import EVENT_SCHEMA
from offline_capi.guards.quotas import Quotas
from offline_capi.model import EventBatch, Fate, Reason, Window
from offline_capi.pipeline import begin_run, plan_upload, reconcile, send_staged, stage_upload
from tests.support.night import NOBODY, Night, yesterday
from tests.support.sales import OUTLET, SHOP, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

SALES = [sale(f"{brand}-{n:02}", brand) for n in range(15) for brand in ("Shop", "Outlet")]


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """The shop may send ten events a run."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.edit("dags/clients.yml", (f'pixel_id: "{SHOP}"', f'pixel_id: "{SHOP}"\n    limits: {{events_per_run: 10}}'))
    write(night, SALES)
    return night


def shops(first: int, last: int) -> set[str]:
    return {f"Shop-{n:02}" for n in range(first, last)}


def test_the_first_events_go_and_the_next_run_takes_up_the_rest(night: Night, sandbox: Sandbox) -> None:
    first = night.send("sales")
    went = set(sandbox.ids_of(SHOP))
    second = night.send("sales")

    assert first.balance == "30 read = 25 sent + 5 deferred"
    assert first.tally.count_reasons(Fate.DEFERRED) == {(Reason.OVER_LIMIT, ""): 5}
    assert went == shops(0, 10)
    assert second.balance == "30 read = 5 sent + 25 already sent"
    assert set(sandbox.ids_of(SHOP)) == shops(0, 15)
    assert len(sandbox.ids_of(OUTLET)) == 15


def test_p15_a_plan_knows_the_limit(night: Night) -> None:
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        window = Window.of_day(yesterday(upload.window.timezone), upload.window.timezone)

        assert plan_upload(upload, window, services).balance == "30 read = 25 sent + 5 deferred"


def test_the_limit_holds_for_a_run_whose_tasks_are_repeated(night: Night, sandbox: Sandbox) -> None:
    """The first try reaches nobody; the second sends ten, the third none."""
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        window = Window.of_day(yesterday(upload.window.timezone), upload.window.timezone)
        run = begin_run(upload, window, services)
        units = stage_upload(upload, window, services, run)
    for url in (NOBODY, sandbox.url, sandbox.url):
        night.env["OFFLINE_CAPI_GRAPH_URL"] = url
        with night.services() as services:
            sent = [send_staged(unit, upload, services) for unit in units]
    with night.services() as services:
        report = reconcile(run, upload, services)

    assert set(sandbox.ids_of(SHOP)) == shops(0, 10)
    assert [tally.count_reasons(Fate.DEFERRED) for tally in sent] == [{(Reason.OVER_LIMIT, ""): 5}, {}]
    assert report.balance == "30 read = 25 sent + 5 deferred"
    assert report.tally.count_reasons(Fate.DEFERRED) == {(Reason.OVER_LIMIT, ""): 5}


# ---------------------------------------------------------------------------------------------- the law

CLIENTS = {
    name: Client.model_validate(
        {"name": name, "pixel_id": "12345", "token": {"env": "T"}, "limits": {"events_per_run": limit}}
    )
    for name, limit in (("one", 1), ("five", 5), ("free", None))
}


def batch(names: Sequence[str], start: int) -> EventBatch:
    """Events of these clients, numbered from ``start`` on."""
    columns = {
        "origin": [""] * len(names),
        "row": range(start, start + len(names)),
        "client": names,
        **{name: ["x"] * len(names) for name in ("pixel", "event_name", "event_id", "action_source")},
        **{name: [0] * len(names) for name in ("event_time", "day")},
        **{name: [None] * len(names) for name in ("value", "currency")},
        "key": [b"k" * 16] * len(names),
        "body": [b"{}"] * len(names),
    }
    return EventBatch(
        pa.RecordBatch.from_arrays([pa.array(columns[f.name], f.type) for f in EVENT_SCHEMA], schema=EVENT_SCHEMA)
    )


@given(st.lists(st.lists(st.sampled_from(list(CLIENTS)), max_size=12), max_size=5))
def test_of_each_client_the_first_go_however_the_events_are_cut(batches: list[list[str]]) -> None:
    quotas, went, deferred, start = Quotas(CLIENTS), [], [], 0
    for names in batches:
        within, above = quotas.take(batch(names, start))
        went += within.table.column("row").to_pylist()
        deferred += above.table.column("row").to_pylist()
        start += len(names)

    owners = [name for names in batches for name in names]
    assert sorted([*went, *deferred]) == list(range(len(owners)))
    for name, client in CLIENTS.items():
        rows = [row for row, owner in enumerate(owners) if owner == name]
        limit = client.limits.events_per_run
        assert [row for row in went if owners[row] == name] == rows[:limit]
