"""Rejects are listed with their fixes, and replayed once they are fixed; test events are forgotten."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from pyarrow import parquet

from offline_capi.errors import ConfigError
from offline_capi.events.schema import UNSENT_SCHEMA
from offline_capi.pipeline import replay_run
from offline_capi.report import RunReport
from tests.support.night import NOBODY, Night, yesterday
from tests.support.sales import SHOP, ZONE, noon, sale, sales_night, write
from tests.support.sandbox_server import Sandbox


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    return sales_night(tmp_path, sandbox)


def ids(night: Night) -> set[str]:
    return {name.rsplit("/", 1)[1] for name in night.counted}


GOOD = [sale(f"good-{i}") for i in range(5)]
BAD = [
    sale("no-amount", amount="much"),
    sale("no-currency", currency="euros"),
    sale("nobody", email=""),
    sale("no-time", sold_at="at noon"),
    sale("no-client", brand="Third"),
]


# ---------------------------------------------------------------------------------------------- rejects


def test_rejects_are_counted_by_reason_with_what_to_do(night: Night) -> None:
    write(night, [*GOOD, *BAD, *(sale(f"poor-{i}", currency="euros") for i in range(3))])
    run = night.send("sales").run_id

    plain, data = night.run("rejects"), night.run("rejects", run, "--limit", "2", "--json").json

    assert plain.code == 0
    lines = plain.out.splitlines()
    assert lines[0].split(maxsplit=1) == [
        "4",
        'invalid  custom_data.currency with "EUROS": the currency is not an ISO 4217 code',
    ]
    assert lines[1].strip().startswith('→ under custom_data.currency, write map: {"EUROS": EUR}')
    assert "no-client  a value (not in the map)" in plain.out
    assert lines[-1] == data["files"][0]
    assert sum(reason["rows"] for reason in data["reasons"]) == 8
    assert all(reason["what"] and reason["fix"] for reason in data["reasons"])
    assert [row["event_id"] for row in data["rows"]] == ["no-amount", "no-currency"]


def test_p09_rejects_hold_business_keys_and_places_and_nothing_else(night: Night) -> None:
    """What is a row's own stands in columns that are named here; all else are words of ours."""
    night.sandbox.refuse("good-1")
    write(night, [*GOOD, *BAD])
    night.send("sales")

    rejects, undelivered = (night.run("rejects", "--json").json["files"][at] for at in (0, 1))

    assert parquet.read_schema(rejects).names == [*UNSENT_SCHEMA.names, "known_since"]
    assert parquet.read_schema(undelivered).names == [
        *("origin", "row", "client", "event_id", "day", "key", "fate", "reason", "field", "known_since")
    ]


def test_a_run_without_rejects_says_so(night: Night) -> None:
    write(night, GOOD)
    night.send("sales")

    plain, data = night.run("rejects"), night.run("rejects", "--json").json

    assert "no rejects" in plain.out
    assert (data["files"], data["reasons"], data["rows"]) == ([], [], [])


# ---------------------------------------------------------------------------------------------- replay


def replay(night: Night, run_id: str, **options: bool) -> RunReport:
    with night.services() as services:
        return replay_run(run_id, services, **options)


def test_p16_rows_fixed_in_the_source_are_sent_and_a_second_replay_sends_nothing(night: Night) -> None:
    write(night, [*GOOD, *BAD])
    run = night.send("sales").run_id
    write(night, [*GOOD, *(sale(row["sale"]) for row in BAD)])

    first = night.run("replay", run, "--json")
    second = night.run("replay", run, "--json")

    assert (first.code, first.json["rows"]["sent"], first.json["rows"]["read"]) == (0, len(BAD), len(BAD))
    assert (second.code, second.json["rows"]["sent"], second.json["rows"]["already_sent"]) == (0, 0, len(BAD))
    assert set(night.counted.values()) == {1}
    assert ids(night) == {row["sale"] for row in (*GOOD, *BAD)}


def test_p16_rows_fixed_in_the_yaml_are_sent(night: Night) -> None:
    """Ten currencies were words; the map is added, and all ten go."""
    write(night, [*GOOD, *(sale(f"word-{i}", currency="euros") for i in range(10))])
    night.send("sales")
    words = "currency: {column: currency, map: {EUR: EUR, euros: EUR}}"
    night.edit("dags/uploads/sales.yml", ("currency: currency", words))

    replayed = night.run("replay", "last", "--json")

    assert (replayed.code, replayed.json["rows"]["sent"], replayed.json["trigger"]) == (0, 10, "replay")
    assert len(ids(night)) == 15


def test_p16_a_fix_of_the_business_key_sends_the_duplicates_and_nothing_twice(night: Night) -> None:
    """Every event id changes with the template: running the upload again would send all rows as new events."""
    rows = [sale("same", number="1"), sale("same", number="2"), *(sale(f"one-{i}", number="1") for i in range(4))]
    write(night, rows)
    run = night.send("sales").run_id
    night.edit("dags/uploads/sales.yml", ('"{sale}"', '"{sale}-{number}"'))

    replayed = replay(night, run)

    assert replayed.balance == "1 read = 1 sent"
    assert ids(night) == {"same", "same-2", *(f"one-{i}" for i in range(4))}


def test_a_replay_leaves_all_other_rows_alone(night: Night) -> None:
    """A sale that came in since is the next run's; what is still wrong is invalid again, and the limit judges it."""
    write(night, [*GOOD, *BAD])
    night.send("sales")
    night.edit("dags/uploads/sales.yml", ("max_invalid: 100%", "max_invalid: 50%"))
    write(night, [*GOOD, sale("no-amount"), *BAD[1:], sale("late")])

    replayed = night.run("replay", "last", "--json")

    assert (replayed.code, replayed.json["balance"]) == (1, "5 read = 1 sent + 3 invalid + 1 deferred")
    assert "late" not in ids(night)


def test_held_events_are_replayed_when_asked_for(night: Night) -> None:
    write(night, [*GOOD, *BAD])
    night.env["OFFLINE_CAPI_GRAPH_URL"] = NOBODY
    run = night.send("sales").run_id
    night.env["OFFLINE_CAPI_GRAPH_URL"] = night.sandbox.url

    without, with_them = replay(night, run), replay(night, run, undelivered=True)

    assert without.balance == "5 read = 4 invalid + 1 deferred"
    assert with_them.balance == "10 read = 5 sent + 4 invalid + 1 deferred"
    assert replay(night, run, undelivered=True).balance == "10 read = 5 already sent + 4 invalid + 1 deferred"


def test_p16_a_refused_event_is_sent_again_although_nothing_in_it_changed(night: Night) -> None:
    """A plain run leaves it refused: only who replays it says that Meta will answer otherwise now."""
    night.sandbox.refuse("good-3")
    write(night, GOOD)
    run = night.send("sales").run_id
    night.sandbox.heal()

    plain = night.send("sales")
    replayed = night.run("replay", run, "--undelivered", "--json")
    again = replay(night, run, undelivered=True)

    assert plain.balance == "5 read = 4 already sent + 1 rejected by Meta"
    assert (replayed.code, replayed.json["balance"]) == (0, "1 read = 1 sent")
    assert again.balance == "1 read = 1 already sent"
    assert set(night.counted.values()) == {1}


def test_an_event_in_doubt_is_settled_by_a_replay(night: Night) -> None:
    night.sandbox.fault("cut_after_store", times=1)
    write(night, GOOD)
    run = night.send("sales").run_id

    replayed = replay(night, run, undelivered=True)

    assert replayed.balance == "5 read = 5 sent"
    assert set(night.counted.values()) == {1}


def test_a_run_that_left_nothing_has_nothing_to_replay(night: Night) -> None:
    write(night, GOOD)
    night.send("sales")

    said = night.run("replay", "last")

    assert said.code == 2
    assert "left nothing to replay" in said.err


# ---------------------------------------------------------------------------------------------- test events


def test_p19_a_test_run_is_forgotten_and_the_real_run_sends_all(night: Night) -> None:
    """Every request of the test carries the code; Meta counts each event once, whatever came first."""
    write(night, GOOD)

    test = night.run("upload", "sales", "--test-event-code", "TEST123", "--json")
    codes = {request["fields"].get("test_event_code") for request in night.sandbox.requests_to(SHOP)}
    real = night.run("upload", "sales", "--json")

    assert (test.code, test.json["trigger"], test.json["rows"]["sent"], codes) == (0, "test", 5, {"TEST123"})
    assert "count" in test.json["tally"]["notices"][0]
    assert (real.code, real.json["rows"]["sent"], real.json["rows"]["already_sent"]) == (0, 5, 0)
    assert night.sandbox.requests_to(SHOP)[-1]["fields"]["test_event_code"] is None
    assert set(night.counted.values()) == {1}


def test_p19_a_test_event_code_never_rides_on_a_scheduled_run(night: Night) -> None:
    write(night, GOOD)

    said = night.run("upload", "sales", "--scheduled", "--test-event-code", "TEST123")

    assert (said.code, said.out, night.sandbox.requests) == (2, "", [])
    assert "a test event code never rides on a scheduled run" in said.err
    assert "Nothing was sent" in said.err


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("dags/uploads/sales.yml", ("delivery: {", "delivery: {test_event_code: TEST123, ")),
        ("dags/uploads/sales.yml", ("limits:", "test_event_code: TEST123\nlimits:")),
        ("dags/clients.yml", ("    country: GB", "    country: GB\n    test_event_code: TEST123")),
        ("dags/clients.yml", ("platform:\n", "platform:\n  test_event_code: TEST123\n")),
    ],
)
def test_p19_no_configuration_may_hold_a_test_event_code(night: Night, file: str, change: tuple[str, str]) -> None:
    night.edit(file, change)

    with pytest.raises(ConfigError, match="belongs to one run that somebody starts by hand"):
        night.send("sales", trigger="scheduled")

    assert night.sandbox.requests == []


def test_p19_check_refuses_a_configuration_that_holds_a_test_event_code(night: Night) -> None:
    night.edit("dags/clients.yml", ("    country: GB", "    country: GB\n    test_event_code: TEST123"))

    said = night.run("check")

    assert said.code == 2
    assert re.search(r"clients.yml:\d+  clients.corner_shop.test_event_code  belongs to one run", said.err)


def test_a_code_that_is_none_is_refused(night: Night) -> None:
    said = night.run("upload", "sales", "--test-event-code", "TEST 1")

    assert said.code == 2
    assert "TEST 1" not in said.err


# ---------------------------------------------------------------------------------------------- purge


def test_purge_forgets_what_is_too_old_and_never_what_could_still_be_sent(night: Night) -> None:
    """Sales of the oldest day that Meta takes go once, and not again after a purge; a date in the window is refused."""
    oldest = yesterday(ZONE) - timedelta(days=60)
    write(night, [sale(f"old-{i}", sold_at=noon(oldest)) for i in range(4)])
    night.send("sales", oldest)

    purged = night.run("ledger", "purge", "--json")
    refused = night.run("ledger", "purge", "--before", str(yesterday(ZONE)))
    again = night.send("sales", oldest)

    assert (purged.code, purged.json["forgotten"]) == (0, 0)
    assert refused.code == 2
    assert "could still be sent again" in refused.err
    assert again.balance == "4 read = 4 already sent"
