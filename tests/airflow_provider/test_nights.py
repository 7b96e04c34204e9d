"""Nights of the sample uploads, by the real DAGs in a real Airflow, against the sandbox and a real ledger."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from pyarrow import parquet

from offline_capi.demo.samples import DATA_SAMPLES, SAMPLE_TOKENS, build_store_files
from offline_capi.model import Fate, Window
from offline_capi.report import Status
from tests.airflow_provider.conftest import SampleNight
from tests.airflow_provider.embedded import REPOSITORY
from tests.support.night import STORE_ZONE, yesterday

GREEN = {"plan": "success", "prepare": "success", "reconcile": "success", "purge": "success"}
CLIENTS = {"credit_approvals": ["acme_bank"], "store_purchases": ["corner_shop", "nordic_outlet"]}


@pytest.mark.parametrize("upload", CLIENTS)
def test_a_night_is_planned_prepared_sent_per_client_reconciled_and_purged(night: SampleNight, upload: str):
    done = night.run(upload)

    (report,) = night.reports()
    assert done.state == "success"
    assert done.tasks == {**GREEN, **{f"upload {client}": "success" for client in CLIENTS[upload]}}
    assert report.status is Status.COMPLETE
    assert report.complete
    assert len(night.sandbox.accepted_ids) == report.tally.count(Fate.SENT) > 100
    assert night.staged() == []


def test_p02_a_second_night_of_the_same_day_sends_nothing(night: SampleNight):
    night.run("store_purchases")
    requests = len(night.sandbox.requests)

    again = night.run("store_purchases")

    first, second = night.reports()
    assert again.state == "success"
    assert len(night.sandbox.requests) == requests
    assert second.tally.count(Fate.SENT) == 0
    assert second.tally.count(Fate.ALREADY_SENT) == first.tally.count(Fate.SENT)


def test_what_passes_between_tasks_is_small_and_the_plan_of_a_manual_run_equals_what_then_happens(night: SampleNight):
    done = night.run("store_purchases")

    foreseen = done.xcoms["plan"]["foreseen"]
    assert all(len(str(value)) < 1_000 for value in done.xcoms.values())
    assert foreseen == {key: value for key, value in done.xcoms["reconcile"].items() if key in foreseen}
    assert foreseen["sent"] == len(night.sandbox.accepted_ids)
    assert done.xcoms["plan"]["run"] in _delivered(night.airflow.home)


def _delivered(home: Path) -> list[str]:
    """The runs of which Airflow's assets tell that everything was delivered."""
    with closing(sqlite3.connect(home / "airflow.db")) as database:
        return [json.loads(extra)["run"] for (extra,) in database.execute("select extra from asset_event")]


def test_a_dry_run_sends_nothing_records_nothing_and_says_what_would_go(night: SampleNight):
    done = night.run("store_purchases", dry_run=True)

    assert done.state == "success"
    assert done.tasks.pop("plan") == "success"
    assert set(done.tasks.values()) == {"skipped"}
    assert done.xcoms["plan"]["foreseen"]["sent"] > 100
    assert night.sandbox.requests == []
    assert night.run_states() == []


def test_a_run_for_one_client_leaves_the_others_alone(night: SampleNight):
    done = night.run("store_purchases", clients=["nordic_outlet"])

    assert done.state == "success"
    assert [task for task in done.tasks if task.startswith("upload")] == ["upload nordic_outlet"]
    assert night.sandbox.ids_of(night.pixel("corner_shop")) == []
    assert night.sandbox.ids_of(night.pixel("nordic_outlet"))


def test_p07_p14_one_clients_revoked_token_leaves_the_others_green_and_the_run_red(night: SampleNight):
    night.sandbox.revoke(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"])

    done = night.run("store_purchases")

    (report,) = night.reports()
    assert done.state == "failed"
    assert done.tasks["upload corner_shop"] == "success"
    assert done.tasks["upload nordic_outlet"] == "failed"
    assert done.tries["upload nordic_outlet"] == 1
    assert (done.tasks["reconcile"], done.tasks["purge"]) == ("failed", "upstream_failed")
    assert report.status is Status.PARTIAL
    assert report.tally.count(Fate.SENT) == len(night.sandbox.ids_of(night.pixel("corner_shop"))) > 0
    assert night.sandbox.ids_of(night.pixel("nordic_outlet")) == []
    assert len(night.sandbox.requests_to(night.pixel("nordic_outlet"))) == 1
    assert report.run_id not in _delivered(night.airflow.home)


def test_after_the_token_is_renewed_only_what_was_missing_is_sent(night: SampleNight):
    token = SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"]
    night.sandbox.revoke(token)
    night.run("store_purchases")
    night.sandbox.grant(token, [night.pixel("nordic_outlet")])

    done = night.run("store_purchases")

    first, second = night.reports()
    assert done.state == "success"
    outlet = first.tally.select_client("nordic_outlet")
    assert second.tally.count(Fate.SENT) == outlet.count(Fate.DEFERRED) > 0
    assert second.tally.count(Fate.ALREADY_SENT) == first.tally.count(Fate.SENT)
    assert all(counted == 1 for _, _, _, counted, _ in night.sandbox.tally())


def test_p20_the_scheduled_run_takes_up_the_day_that_an_earlier_one_left_open(night: SampleNight):
    """As a run of its own in the ledger, in the same tasks, with a report of its own; what it staged is purged."""
    night.sandbox.revoke(SAMPLE_TOKENS["ACME_BANK_TOKEN"])
    red = night.run("credit_approvals", kind="scheduled")
    night.sandbox.grant(SAMPLE_TOKENS["ACME_BANK_TOKEN"], [night.pixel("acme_bank")])
    before = night.day - timedelta(days=1)

    green = night.run("credit_approvals", kind="scheduled", since=before.isoformat())

    left, taken_up, own = night.reports()
    assert (red.state, green.state) == ("failed", "success")
    assert [(report.trigger, report.window.since.date()) for report in (left, taken_up, own)] == [
        ("scheduled", night.day),
        ("settle", night.day),
        ("scheduled", before),
    ]
    assert left.tally.count(Fate.DEFERRED) == taken_up.tally.count(Fate.SENT) == len(night.sandbox.accepted_ids) > 100
    assert (taken_up.status, own.status) == (Status.COMPLETE, Status.COMPLETE)
    assert {path.parent.name for path in (night.home / "stage").glob("*/events-*")} == {left.run_id}
    assert f"also {night.day}, open: a token or permission was refused" in night.airflow.log


def test_b10_an_empty_form_sends_yesterday(night: SampleNight):
    """Of the upload's zone, where a new day may have begun that has not in the zone of the samples."""
    day = yesterday(STORE_ZONE)
    build_store_files(night.home / "store_purchases", day, DATA_SAMPLES)
    done = night.run("store_purchases", since=None, until=None)

    (report,) = night.reports()
    assert done.state == "success"
    assert report.window == Window.of_day(day, STORE_ZONE)
    assert report.tally.count(Fate.SENT) == len(night.sandbox.accepted_ids) > 0


def test_a_run_that_says_half_of_its_days_fails_at_once(night: SampleNight):
    done = night.run("store_purchases", since=None)

    assert done.state == "failed"
    assert (done.tasks["plan"], done.tries["plan"]) == ("failed", 1)
    assert done.tasks["reconcile"] == "failed"
    assert night.sandbox.requests == []


def test_a_run_that_could_not_be_prepared_is_failed_in_the_ledger_too(night: SampleNight):
    """Without its books it would look like a night with nothing to send."""
    (night.home / "stage").write_text("a file where the folder of staged files should be")

    done = night.run("store_purchases", retries=0, kind="scheduled")

    assert (done.tasks["plan"], done.tasks["prepare"], done.tasks["reconcile"]) == ("success", "failed", "failed")
    assert night.run_states() == ["failed"]
    assert night.sandbox.requests == []


def test_an_unknown_client_is_refused_with_the_nearest_name(night: SampleNight):
    since = len(night.airflow.log)

    done = night.run("store_purchases", clients=["corner_shop", "corner_ship"])

    assert (done.state, done.tries["plan"]) == ("failed", 1)
    assert 'no such client in clients.yml: "corner_ship"; did you mean "corner_shop"?' in night.airflow.log[since:]
    assert night.sandbox.requests == []


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ({"dryrun": True}, '"dryrun"; did you mean "dry_run"?'),
        (
            {"untill": "2026-11-29", "client": ["nobody"]},
            '"client"; did you mean "clients"?, "untill"; did you mean "until"?',
        ),
        ({"test_code": "TEST1"}, '"test_code"; did you mean "test_event_code"?'),
        ({"zzz": 1}, '"zzz". It has since, until, dry_run, clients,'),
    ],
)
@pytest.mark.parametrize("kind", ["manual", "backfill"])
def test_what_the_trigger_form_does_not_have_is_refused_and_nothing_is_sent(night: SampleNight, conf, told, kind):
    since = len(night.airflow.log)

    done = night.run("store_purchases", kind=kind, **conf)

    assert (done.state, done.tasks["plan"], done.tries["plan"]) == ("failed", "failed", 1)
    assert told in night.airflow.log[since:]
    assert night.sandbox.requests == []
    assert night.run_states() == ["failed"], "with its error"


def test_tokens_settings_and_names_in_paths_may_be_airflow_variables_of_the_environments_names(night: SampleNight):
    """And so come from any secrets backend; what the environment says itself counts first."""
    moved = ("OFFLINE_CAPI_STAGE", "OFFLINE_CAPI_DATA", *SAMPLE_TOKENS)
    environment = night.environment
    variables = {f"AIRFLOW_VAR_{name}": environment.pop(name) for name in moved}
    variables["AIRFLOW_VAR_OFFLINE_CAPI_LEDGER"] = "sqlite:////nobody/looks/here.db"

    done = night.airflow.run("store_purchases", {**environment, **variables}, **night.window)

    (report,) = night.reports()
    assert done.state == "success"
    assert len(night.sandbox.accepted_ids) == report.tally.count(Fate.SENT) > 100


def test_where_tokens_go_is_no_airflow_variable(night: SampleNight):
    """It was taken from there, and so from whoever edits variables (S11)."""
    environment = night.environment
    since = len(night.airflow.log)
    variables = {"AIRFLOW_VAR_OFFLINE_CAPI_GRAPH_URL": environment.pop("OFFLINE_CAPI_GRAPH_URL")}

    done = night.airflow.run("store_purchases", {**environment, **variables}, **night.window)

    assert (done.state, done.tasks["plan"]) == ("failed", "failed")
    assert "OFFLINE_CAPI_GRAPH_URL  is an Airflow variable" in night.airflow.log[since:]
    assert night.sandbox.requests == []


def test_p09_no_identity_and_no_token_in_airflows_database_logs_and_staged_files(night: SampleNight):
    """Of a green night, and of red ones: a revoked token, refused events, a dead endpoint, a source that breaks."""
    night.run("store_purchases", dry_run=True)
    night.sandbox.refuse("receipt-C100201-1")
    night.sandbox.revoke(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"])
    for upload in CLIENTS:
        night.run(upload)
    night.run("store_purchases", test_event_code="TEST12345")
    (night.home / "warehouse.db").write_text("no database any more")
    night.run("credit_approvals", retries=0)

    files = [path for folder in (night.airflow.home, night.home / "stage") for path in folder.rglob("*")]
    written = [_content(path) for path in files if path.is_file()]
    canaries = [*SAMPLE_TOKENS.values(), *_sample_identities()]
    assert night.staged()
    assert len(canaries) > 300
    assert _stored(night.airflow.home, "xcom", "rendered_task_instance_fields", "dag_run", "log") > 20
    assert any(b"1 deferred" in text or b"already sent" in text for text in written), "the logs were looked at"
    assert [value for value in canaries if any(value.encode() in text for text in written)] == []


#: A row of people everywhere, the column of clients and that of business keys included.
STRANGERS = [
    {"store_brand": "Zyxcanfirst Zyxcanlast", "receipt_no": "Z1"},
    {"store_brand": "+14155552671", "receipt_no": "Z2"},
    {"store_brand": "zyxcan@leaktest.org", "receipt_no": "Z3"},
    {"store_brand": "Corner Shop", "receipt_no": "+14155552671"},
    {"store_brand": "Corner Shop", "receipt_no": "zyxcan@leaktest.org"},
    {"store_brand": "Corner Shop", "receipt_no": "Z6", "amount": "Zyxcanamount"},
]


def test_p09_people_in_the_columns_of_clients_and_keys_are_nowhere_in_airflow(night: SampleNight):
    """Task logs, XComs, rendered fields, lineage, metrics, the ledger, the stage. Then the file loses its header."""
    till = next((night.home / "store_purchases").glob("*till*"))
    text = till.read_text(encoding="utf-8")
    names = text.removeprefix("\ufeff").splitlines()[0].split(",")
    plain = dict.fromkeys(names, "Zyxcanvalue") | {
        "line_no": "1", "purchased_at": f"{night.day} 10:00:00", "phone": "+14155552671",
        "email": "zyxcan@leaktest.org",
        "amount": "1.00", "currency": "EUR", "items": "", "consent": "yes", "country": "US", "customer_no": "77",
        "loyalty": "gold",
    }  # fmt: skip
    rows = [",".join((plain | row)[name] for name in names) for row in STRANGERS]
    till.write_text("\n".join([text.rstrip("\n"), *rows, ""]), encoding="utf-8")
    night.run("store_purchases", dry_run=True)
    night.run("store_purchases")
    (with_strangers,) = night.reports()
    till.write_text("\n".join([*rows, *rows]) + "\n", encoding="utf-8")
    headless = night.run("store_purchases", retries=0)

    files = [path for folder in (night.airflow.home, night.home / "stage") for path in folder.rglob("*")]
    written = {path: _content(path).lower() for path in [*files, *night.home.glob("ledger*")] if path.is_file()}
    assert with_strangers.tally.count_reasons(Fate.DEFERRED)["unknown_client", "client"] >= 3
    assert headless.state == "failed"
    assert any(b"does it have a header" in text for text in written.values())
    found = {
        path: [one for one in (b"zyxcan", b"leaktest", b"4155552671") if one in text] for path, text in written.items()
    }
    assert {path: sights for path, sights in found.items() if sights} == {}


def _stored(home: Path, *tables: str) -> int:
    """How many rows Airflow's database has in these tables, none of which is empty; its file is among those read."""
    with closing(sqlite3.connect(home / "airflow.db")) as database:
        rows = [database.execute(f"select count(*) from {table}").fetchone()[0] for table in tables]
    assert all(rows)
    return sum(rows)


def _content(path: Path) -> bytes:
    """What a file says; Parquet compresses, so it is written out."""
    return str(parquet.read_table(path).to_pylist()).encode() if path.suffix == ".parquet" else path.read_bytes()


def _sample_identities() -> set[str]:
    """Addresses, numbers and names of the samples, as far as they are long enough to be found by accident never."""
    # Not the customer's number: its raw form is what the sample client's policy sends (clients.yml, external_id).
    columns = ("email", "secondary_email", "phone", "first_name", "last_name", "city")
    found: set[str] = set()
    for path in (REPOSITORY / "data_samples").glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found |= {row[name].strip() for row in rows for name in columns if row.get(name)}
    return {value for value in found if len(value) >= 8}
