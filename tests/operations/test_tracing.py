"""What became of one event can be told later, joined in SQL, and who did what stands in a log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pytest
import sqlalchemy as sa
from pyarrow import csv, parquet

from offline_capi.errors import UsageError
from offline_capi.events.keys import make_event_key
from offline_capi.ledger import Ledger
from offline_capi.ledger.export import export_events
from offline_capi.operations.tracing import EventTrace, find_event_ids_of_row, trace_event
from tests.support.night import Night
from tests.support.sales import SHOP, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

SECOND = "1200000000000077"
ROWS = [
    *(sale(f"good-{i}") for i in range(3)),
    sale("refused"),
    sale("bad", amount="much"),
    sale("zoë | 1", brand="Outlet", email="zoe@example.com"),
]


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.sandbox.refuse("refused")
    write(night, ROWS)
    return night


def traced(night: Night, event_id: str) -> EventTrace:
    with night.services() as services:
        return trace_event(event_id, services)


def test_a_sent_event_is_traced_to_its_request_and_metas_trace_id(night: Night) -> None:
    run = night.send("sales").run_id

    found = traced(night, "good-1")

    (one,) = found.deliveries
    assert (one.event_name, one.delivery.client, one.delivery.pixel) == ("Purchase", "corner_shop", SHOP)
    assert (one.delivery.state, one.delivery.run_id, one.delivery.upload) == ("accepted", run, "sales")
    assert one.delivery.trace_id
    assert one.window is not None
    assert "(Europe/Berlin)" in one.window
    assert found.rows == []
    assert found.to_json()["deliveries"][0]["request"] == one.delivery.request_id


def test_copies_for_further_pixels_are_traced_too(night: Night) -> None:
    night.edit("dags/clients.yml", (f'pixel_id: "{SHOP}"', f'pixel_id: ["{SHOP}", "{SECOND}"]'))
    night.sandbox.grant(night.env["CORNER_SHOP_TOKEN"], [SHOP, SECOND])
    night.send("sales")

    found = traced(night, "good-0").deliveries

    assert {(one.delivery.client, one.delivery.pixel) for one in found} == {
        ("corner_shop", SHOP),
        (f"corner_shop@{SECOND}", SECOND),
    }


def test_what_was_not_sent_is_traced_to_its_row_and_reason(night: Night) -> None:
    night.send("sales")

    refused, bad = traced(night, "refused"), traced(night, "bad")

    assert (refused.deliveries[0].delivery.state, refused.deliveries[0].delivery.code) == ("rejected", 100)
    assert [(row.fate, row.origin, row.row) for row in refused.rows] == [("rejected_by_meta", "sales.csv", 4)]
    assert bad.deliveries == []
    assert [(row.fate, row.reason, row.row) for row in bad.rows] == [("invalid", "unreadable_value", 5)]
    assert not traced(night, "nobody").known


def test_a_row_leads_to_its_event_through_the_source_and_through_what_was_kept(night: Night) -> None:
    run = night.send("sales").run_id
    with night.services() as services:
        sent = find_event_ids_of_row(2, services, origin="sales.csv")
        of_run = find_event_ids_of_row(6, services, run_id=run)
        (night.home / "sales/sales.csv").unlink()
        invalid = find_event_ids_of_row(5, services, origin="sales.csv")
        gone = find_event_ids_of_row(2, services, origin="sales.csv")
        with pytest.raises(UsageError, match="give --run as well"):
            find_event_ids_of_row(2, services)

    assert [ids for ids, _ in (sent, of_run, invalid, gone)] == [["good-1"], ["zoë | 1"], ["bad"], []]


def test_the_command_tells_it_in_words_and_ends_in_1_where_nothing_is_known(night: Night) -> None:
    night.send("sales")

    words, unknown = night.run("trace", "refused"), night.run("trace", "nobody", "--json")

    assert words.code == 0
    assert "rejected by Meta (100" in words.out
    assert "Meta's trace id" in words.out
    assert "sales.csv:4" in words.out
    assert (unknown.code, unknown.json["events"][0]["known"]) == (1, False)


# ---------------------------------------------------------------------------------------------- values that changed


def test_a_row_whose_value_changed_after_it_was_sent_is_counted_and_not_sent_again(night: Night) -> None:
    night.send("sales")
    write(night, [ROWS[0] | {"amount": "99.00"}, ROWS[1] | {"currency": "USD"}, *ROWS[2:]])

    again, third = night.send("sales"), night.run("upload", "sales")

    assert again.tally.changed == 2
    assert again.to_json()["changed_since_sent"] == 2
    assert "2 changed since they were sent (value or currency)" in third.out
    assert all(times == 1 for times in night.counted.values())


# ---------------------------------------------------------------------------------------------- SQL

#: As the documentation has it for PostgreSQL.
POSTGRES_KEY = (
    "SELECT left(encode(sha256(convert_to(octet_length(:pixel) || ':' || :pixel || octet_length(:name) || ':' || "
    ":name || :id, 'UTF8')), 'hex'), 32)"
)


@pytest.mark.parametrize("event_id", ["order-1", "zoë | 1", "", "日本:3"])
def test_the_key_that_sql_makes_is_that_of_the_ledger(postgres_db: str, event_id: str) -> None:
    engine = sa.create_engine(postgres_db.replace("postgresql://", "postgresql+psycopg://"))
    given = {"pixel": SHOP, "name": "Purchäse", "id": event_id}
    with engine.connect() as connection:
        made = connection.execute(
            sa.text(
                POSTGRES_KEY.replace(":pixel", "cast(:pixel as text)")
                .replace(":name", "cast(:name as text)")
                .replace(":id", "cast(:id as text)")
            ),
            given,
        )
        assert made.scalar() == make_event_key(*given.values()).hex()


@pytest.mark.parametrize("merged", [True, False])
def test_events_are_exported_by_key_and_join_the_view_of_sent_requests(night: Night, merged: bool) -> None:
    run = night.send("sales").run_id
    with night.services() as services:
        if merged:
            services.ledger.journal.purge(datetime.now(UTC) - timedelta(days=999))
        count = export_events(services.ledger, night.home / "events.parquet")
        export_events(services.ledger, night.home / "events.csv")
        with pytest.raises(UsageError, match=r"neither \.parquet nor \.csv"):
            export_events(services.ledger, night.home / "events.xlsx")
        view = services.ledger.read(sa.text("SELECT request_id, upload, state, trace_id FROM sent_requests"))

    table = parquet.read_table(night.home / "events.parquet")
    (mine,) = table.filter(pc.equal(table["event_key"], make_event_key(SHOP, "Purchase", "good-2").hex())).to_pylist()
    assert (count, table.num_rows, csv.read_csv(night.home / "events.csv").num_rows) == (5, 5, 5)
    assert (mine["state"], mine["client"], mine["upload"], mine["run_id"]) == ("accepted", "corner_shop", "sales", run)
    assert (mine["request_id"], "sales", "accepted", mine["trace_id"]) in [tuple(row) for row in view]
    assert sorted(path.name for path in night.home.glob("events*")) == ["events.csv", "events.parquet"]


def test_an_empty_ledger_exports_an_empty_table(night: Night) -> None:
    with Ledger(night.env["OFFLINE_CAPI_LEDGER"]) as ledger:
        assert export_events(ledger, night.home / "events.parquet") == 0

    assert parquet.read_table(night.home / "events.parquet").num_rows == 0


# ---------------------------------------------------------------------------------------------- the audit log


def test_who_forced_a_gate_and_who_replayed_stands_in_the_log(night: Night) -> None:
    forced = night.run("upload", "sales", "--force-gates", "--json")
    replayed = night.run("replay", "last", "--json")
    said = night.run("log", "--json")
    only = night.run("log", "--action", "replay")
    wrong = night.run("log", "--action", "replays")

    actions = [(entry["action"], entry["subject"]) for entry in said.json["entries"]]
    assert actions == [("replay", "sales"), ("purge", "retention"), ("force_gates", "sales")]
    assert said.json["entries"][0]["run"] == forced.json["run"]
    assert replayed.json["run"] != forced.json["run"]
    assert all("@" in entry["who"] for entry in said.json["entries"])
    assert only.out.count("replay") == 1
    assert (wrong.code, 'did you mean "replay"?' in wrong.err) == (2, True)
