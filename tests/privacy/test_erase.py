"""A person is erased everywhere, by any key; what is another's stays."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from offline_capi.errors import UsageError
from offline_capi.events.keys import make_event_key
from offline_capi.ledger import list_audit_entries
from offline_capi.model import Fate, HashedRows, Window
from offline_capi.pipeline import Services, begin_run, find_report, reconcile, send_staged, stage_upload
from offline_capi.pipeline.rereading import UnreadSource, keys_of_rows, past_reads
from offline_capi.privacy import Erased, Person, erase_person, purge_expired
from tests.support.night import Night, yesterday
from tests.support.sales import OUTLET, SHOP, ZONE, Row, sale, sales_night, write
from tests.support.sandbox_server import Sandbox
from tests.support.starter import run_python

PERSON = {"email": "Jane.Doe@Example.com", "phone": "+44 7911 123456", "number": "Customer-7"}
MAIL, PHONE, ID = (
    hashlib.sha256(text).hexdigest() for text in (b"jane.doe@example.com", b"447911123456", b"Customer-7")
)
KEYS = [
    make_event_key(pixel, "Purchase", name) for pixel, name in ((SHOP, "jane-1"), (OUTLET, "jane-2"), (SHOP, "jane-3"))
]


def make_rows() -> list[Row]:
    return [
        sale("jane-1", **PERSON),
        sale("jane-2", brand="Outlet", **PERSON),
        sale("jane-3", **PERSON),
        *(sale(f"other-{i}", number=f"Customer-{i}7", phone=f"+44 7911 12{3500 + i}") for i in range(20)),
        # Three rows that were invalid: nothing in them leads to a person.
        *(sale(f"jane-bad-{i}", amount="much", **PERSON) for i in range(2)),
        sale("other-bad", amount="much"),
    ]


def make_window() -> Window:
    return Window.of_day(yesterday(ZONE), ZONE)


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A staged night: hashed files, rejects, and a ledger."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.sandbox.refuse("jane-3")
    write(night, make_rows())
    stage_and_send(night)
    return night


def stage_and_send(night: Night) -> None:
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        run = begin_run(upload, make_window(), services)
        for unit in stage_upload(upload, make_window(), services, run):
            send_staged(unit, upload, services)
        reconcile(run, upload, services)


def erase(night: Night, person: Person) -> Erased:
    with night.services() as services:
        return erase_person(person, services)


def kept(night: Night) -> Iterator[tuple[str, bytes]]:
    """Every file but the source: its bytes, and for Parquet, which is compressed, its values."""
    for path in night.home.rglob("*"):
        if path.is_file() and "sales" not in path.parts and "dags" not in path.parts:
            yield str(path), path.read_bytes()
            if path.suffix == ".parquet":
                for row in parquet.read_table(path).to_pylist():
                    yield str(path), b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in row.values())


def sights(night: Night, *more: bytes) -> dict[bytes, set[str]]:
    """Where the person is still to be seen: by a digest, an event id, a key of the ledger."""
    names = [b"jane-1", b"jane-2", b"jane-3", *(digest.encode() for digest in (MAIL, PHONE, ID)), *KEYS, *more]
    places = list(kept(night))
    found = {name: {Path(place).name for place, data in places if name in data} for name in names}
    return {name: where for name, where in found.items() if where}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("em", " JANE.doe@example.COM "),
        ("ph", "07911 123456"),
        ("ph", "+447911123456"),
        ("external_id", "Customer-7"),
        ("em", MAIL),
    ],
)
def test_p17_a_person_is_erased_by_any_key(night: Night, key: str, value: str) -> None:
    """Event ids, digests and keys are in no file and on no page of the database; nobody else's are missing."""
    assert {"ledger.db", "events-corner_shop.parquet", "undelivered.parquet"} <= set.union(*sights(night).values())

    erased = erase(night, Person({key: [value]}))

    assert sights(night) == {}
    assert (erased.staged, erased.rejects, erased.ledger, erased.complete) == (3, 3, 3, True)
    looked = erased.looked_through
    assert (looked.staged_files, looked.reject_files, looked.ledger_events, looked.source_rows) == (2, 2, 23, 26)
    again = night.send("sales")
    assert again.tally.count(Fate.ALREADY_SENT) == 20


def test_p17_the_command_reads_the_value_from_standard_input_and_is_idempotent(night: Night) -> None:
    """So it stands in no list of processes; the second time there is nothing left, and that is no failure."""
    command = ["-m", "offline_capi", "erase", "--em", "-", "--event-id", "jane-bad-0", "--json"]
    first = _asked(night, command, "jane.doe@example.com\n")
    second = _asked(night, command, "jane.doe@example.com\n")

    assert (first.returncode, second.returncode) == (0, 0)
    assert '"staged": 3' in first.stdout
    assert '"rejects": 3' in first.stdout
    assert all(f'"{name}": 0' in second.stdout for name in ("staged", "rejects", "ledger", "files"))
    assert sights(night, b"jane-bad-0") == {}


def _asked(night: Night, command: list[str], told: str) -> subprocess.CompletedProcess[str]:
    environment = {**night.env, "PYTHONPATH": str(Path.cwd()), "PATH": ""}
    return run_python(command, cwd=night.home, env=environment, input=told, timeout=60)


def test_p17_a_delivered_run_that_staged_nothing_is_erased_through_its_source(night: Night) -> None:
    """The ledger keeps digests of event ids alone; whose they are stands in the source, which is read again."""
    for path in (night.home / "stage").rglob("*.parquet"):
        path.unlink()

    erased = erase(night, Person({"em": [PERSON["email"]]}))

    assert (erased.staged, erased.rejects, erased.ledger, erased.in_source) == (0, 0, 3, 5)
    assert (erased.complete, erased.not_known) == (True, [])
    assert sights(night) == {}
    assert [(one.client, one.events, one.certain) for one in erased.delivered] == [
        ("corner_shop", 1, True),
        ("nordic_outlet", 1, True),
    ]  # jane-3 was refused: Meta has nothing of it


def test_p17_an_event_that_meta_has_is_told_with_the_time_of_its_answer(night: Night) -> None:
    with closing(sqlite3.connect(night.home / "ledger.db")) as ledger:
        sent = "SELECT posted_at, answered_at FROM request WHERE client = 'nordic_outlet'"
        ((posted_at, answered_at),) = ledger.execute(sent).fetchall()

    (delivered,) = erase(night, Person(event_ids=["jane-2"])).delivered

    assert posted_at < answered_at == delivered.first_at.timestamp() == delivered.last_at.timestamp()


def test_p17_an_event_id_erases_nobody_elses_staged_event(night: Night) -> None:
    erased = erase(night, Person(event_ids=["jane-1"]))

    assert (erased.staged, erased.ledger) == (1, 1)
    assert night.send("sales").tally.count(Fate.ALREADY_SENT) == 20 + 1  # and jane-2


def test_p17_rows_that_the_upload_left_out_are_not_found_in_its_source(night: Night) -> None:
    """Also where the row that counts stands in another file, which is read before."""
    night.edit("dags/uploads/sales.yml", ("event: {", "filter: [{first_of: [sale]}]\nevent: {"))
    write(night, [sale("jane-1", **PERSON)], "sales-2.csv")

    assert erase(night, Person({"em": [PERSON["email"]]})).in_source == 5


def test_p17_a_row_whose_event_id_shows_the_person_is_found_in_the_source(night: Night) -> None:
    """Addresses are no ids: such rows have none. A number may be one, and is the person's where it is theirs."""
    write(night, [sale("447911123456", email="other@example.com"), sale("4479111234567")], "sales-2.csv")

    assert erase(night, Person({"ph": [PERSON["phone"]]})).in_source == 5 + 1


def test_p17_rows_that_left_the_source_leave_a_doubt_and_their_event_ids_end_it(night: Night) -> None:
    """The answer is no "complete" as long as an event of the ledger may be the person's."""
    for path in (night.home / "stage").rglob("*.parquet"):
        path.unlink()
    write(night, [row for row in make_rows() if not row["sale"].startswith("jane")])

    by_address = night.run("erase", "--em", PERSON["email"], "--json")
    by_ids = night.run("erase", *(f"--event-id=jane-{i}" for i in (1, 2, 3)), "--json")
    again = night.run("erase", "--em", PERSON["email"], "--json")

    assert (by_address.code, by_address.json["complete"], by_address.json["ledger"]) == (1, False, 0)
    assert (by_address.json["unexplained"], by_address.json["unexplained_rejects"]) == ({"sales": 3}, {})
    assert "of 3 events in the ledger (sales 3) the owner is unknown" in by_address.json["not_known"][0]
    assert (by_ids.code, by_ids.json["complete"], by_ids.json["ledger"]) == (0, True, 3)
    delivered = by_ids.json["delivered"]
    assert [(one["client"], one["pixel"], one["events"], one["certain"]) for one in delivered] == [
        ("corner_shop", SHOP, 1, True),
        ("nordic_outlet", OUTLET, 1, True),
    ]
    assert all(one["first_at"] == one["last_at"] >= by_ids.json["remembered_since"] for one in delivered)
    assert by_ids.json["looked_through"] == {
        "staged_files": 0, "reject_files": 0, "ledger_events": 23, "reports": 0, "client_statuses": 0,
        "temporary_files": by_ids.json["looked_through"]["temporary_files"], "source_rows": 0,
    }  # fmt: skip
    assert (by_ids.json["forgotten"], by_ids.json["unread"], by_ids.json["not_known"]) == (None, [], [])
    assert (again.code, again.json["complete"], again.json["unexplained"]) == (0, True, {})
    assert sights(night) == {}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("sales.yml", ("column: sold_at,", "column: sold_at_noon,")), "sold_at_noon"),
        (("clients.yml", None), "configured no more"),
    ],
)
def test_a_source_that_cannot_be_read_again_is_told_and_is_no_complete_answer(
    night: Night, change: tuple[str, tuple[str, str] | None], why: str
) -> None:
    for path in (night.home / "stage").rglob("*.parquet"):
        path.unlink()
    file, texts = change
    if texts is None:
        (night.home / "dags/uploads/sales.yml").unlink()
    else:
        night.edit(f"dags/uploads/{file}", texts)

    erased = erase(night, Person({"em": [PERSON["email"]]}))

    assert (erased.complete, erased.ledger) == (False, 0)
    assert why in erased.unread[0].why
    assert erased.to_json()["unread"] == [
        {"upload": "sales", "window": erased.unread[0].window, "why": erased.unread[0].why}
    ]
    assert any(said.startswith(f"sales, {erased.unread[0].window} could not be read") for said in erased.not_known)
    assert erased.unexplained["sales"] == 23


def test_without_the_source_less_is_known_and_that_is_said(night: Night) -> None:
    for path in (night.home / "stage").rglob("events-*"):
        path.unlink()

    said = night.run("erase", "--em", PERSON["email"], "--no-source")

    assert said.code == 1
    assert "not complete" in said.out
    assert "the source was not read" in said.out


def test_events_that_only_earlier_settings_explain_are_found(night: Night) -> None:
    """A client's pixel and the name of the event are another today; the ledger and the reports know the earlier."""
    night.edit("dags/uploads/sales.yml", ("name: Purchase,", "name: Order,"))
    night.edit("dags/clients.yml", (SHOP, "1200000000000099"))

    assert erase(night, Person(event_ids=["jane-1", "jane-2", "jane-3"])).ledger == 3


def name_clients_as_before(night: Night, run: str, said: Sequence[str]) -> None:
    """Versions before November 2026 kept whatever stood in the column of the clients."""
    day = yesterday(ZONE).isoformat()
    fates = [["deferred", None, day, "unknown_client", "client", len(said)]]
    debts = [[day, "unknown_client", None, len(said)]]
    named_fates = [["deferred", name, day, "unknown_client", "client", 1] for name in said]
    named_debts = [[day, "unknown_client", name, 1] for name in said]
    with closing(sqlite3.connect(night.home / "ledger.db")) as database, database:
        for table, column, kept, before in (
            ("run", "report", fates, named_fates),
            ("run_part", "tally", fates, named_fates),
            ("run", "debts", debts, named_debts),
        ):
            items = [json.dumps(rows)[1:-1] for rows in (kept, before)]
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", items)
    path = next((night.home / "stage").rglob(f"{run}/rejects.parquet"))
    rejects = parquet.read_table(path)
    clients = pa.array(said, rejects.schema.field("client").type)
    parquet.write_table(rejects.set_column(rejects.schema.get_field_index("client"), "client", clients), path)


def test_p17_a_value_that_stood_where_a_name_should_is_written_over(night: Night) -> None:
    """A column of people taken for that of the clients: it stood in rejects, reports and the books of tasks."""
    said = ["+44 7911 123-456", "Jane.Doe@example.com", "Customer-7"]
    rows = [sale(f"odd-{i}", brand=value, number=f"Customer-{i}7") for i, value in enumerate(said)]
    night.edit("dags/uploads/sales.yml", (", map: {Shop: corner_shop, Outlet: nordic_outlet}", ""))
    write(night, [*rows, sale("other", brand="corner_shop")])
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        run = begin_run(upload, make_window(), services)
        for unit in stage_upload(upload, make_window(), services, run):
            send_staged(unit, upload, services)
        reconcile(run, upload, services)
    name_clients_as_before(night, run, said)
    night.write("stage/clients/corner_shop.json", '{"client": "corner_shop", "faults": ["of jane.doe@example.com"]}')
    seen = set.union(*sights(night, b"7911 123", b"Customer-7").values())

    person = Person({"em": ["jane.doe@example.com"], "ph": ["07911 123456"], "external_id": ["Customer-7"]})
    erased = erase(night, person)

    assert {"rejects.parquet", "ledger.db"} <= seen
    assert sights(night, b"7911 123", b"Customer-7", b"ane.", b"ane.Doe") == {}
    assert erased.documents == 4
    with night.services() as services:
        report = find_report(run, services)
    assert report.tally.complete
    assert report.balance == "4 read = 1 sent + 3 deferred"


def test_p17_a_row_of_a_client_that_is_not_configured_is_erased_by_its_event_id(night: Night) -> None:
    night.edit("dags/uploads/sales.yml", (", map: {Shop: corner_shop, Outlet: nordic_outlet}", ""))
    write(night, [sale("odd-1", brand="stranger")])
    run = night.send("sales").run_id
    name_clients_as_before(night, run, ["stranger"])

    assert erase(night, Person(event_ids=["odd-1"])).rejects == 1


def test_p17_a_person_is_found_as_another_profile_hashed_them(night: Night) -> None:
    """Facebook's SDK leaves a number as it is written, without its country's code; the client used it until today."""
    night.edit("dags/clients.yml", (f'pixel_id: "{SHOP}"', f'pixel_id: "{SHOP}"\n    profile: sdk'))
    write(night, [sale("sdk-1", phone="07911 123456", number="Customer-99")])
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        stage_upload(upload, make_window(), services, begin_run(upload, make_window(), services))
    night.edit("dags/clients.yml", ("\n    profile: sdk", ""))
    write(night, [sale("other")])

    assert erase(night, Person({"ph": ["07911 123457"]})).staged == 0
    assert erase(night, Person({"ph": ["07911 123456"]})).staged == 3 + 1  # and hers of the night before


def test_p17_files_of_a_killed_process_are_removed(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that waited on disk has no name any more, unless the process died the moment it was written."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    left, other = scratch / "offline_capi-abc_1234", scratch / "offline_capi-notes"
    left.write_text(MAIL)
    other.write_text("mine")

    erased = erase(night, Person({"em": [PERSON["email"]]}))

    assert (left.exists(), other.exists()) == (False, True)
    assert erased.looked_through.temporary_files == 1


def test_p17_the_audit_log_says_who_erased_and_not_whom(night: Night) -> None:
    with night.services() as services:
        erase_person(Person({"em": [PERSON["email"]]}, event_ids=["jane-bad-1"]), services, who="ann@desk")
        (entry,) = list_audit_entries(services.ledger)

    told = repr(entry).lower()
    assert (entry.who, entry.action, entry.subject) == ("ann@desk", "erase", "a person")
    assert entry.detail["identifiers"] == ["em", "event_id"]
    assert (entry.detail["ledger"], entry.detail["complete"]) == (3, True)
    assert not [value for value in ("jane", "example", MAIL) if value in told]


def test_only_the_events_of_one_client_are_erased_where_it_is_named(night: Night) -> None:
    erased = erase(night, Person({"external_id": ["Customer-7"]}, clients=["nordic_outlet"]))

    assert (erased.staged, erased.ledger) == (1, 1)
    assert {b"jane-1", b"jane-3"} <= set(sights(night))
    assert not {b"jane-2", KEYS[1]} & set(sights(night))


def test_p17_the_audit_log_names_the_clients_that_an_erasure_was_kept_to(night: Night) -> None:
    for path in (night.home / "stage").rglob("*.parquet"):
        path.unlink()
    with night.services() as services:
        kept_to = erase_person(Person(event_ids=["jane-1", "jane-2", "jane-3"], clients=["nordic_outlet"]), services)
        rest = erase_person(Person(event_ids=["jane-1", "jane-2", "jane-3"]), services)
        entries = list_audit_entries(services.ledger)

    assert (kept_to.ledger, rest.ledger) == (1, 2)
    assert [entry.detail.get("clients") for entry in entries] == [None, ["nordic_outlet"]]


@pytest.mark.parametrize("unmapped", [("event_id",), ("event_name",), ("event_id", "event_name")])
def test_rows_of_an_upload_without_event_ids_or_names_have_no_keys_in_the_ledger(
    rows_of: Callable[..., HashedRows], unmapped: tuple[str, ...]
) -> None:
    assert len(list(keys_of_rows(rows_of(), {"acme": [SHOP]}))) == 1
    assert list(keys_of_rows(rows_of(dict.fromkeys(unmapped)), {"acme": [SHOP]})) == []
    assert [len(keys) for keys in keys_of_rows(rows_of({"event_id": []}), {"acme": [SHOP]})] == []


def test_windows_are_read_again_as_they_were_read_and_none_within_another(night: Night) -> None:
    """Files without a date in their path are read whole for any window: all windows are one."""
    first = make_window().since
    spans = [(1, 3), (1, 2), (5, 6), (2, 4), (3, 4), (1, 3)]
    windows = [Window(first + timedelta(days=since), first + timedelta(days=until)) for since, until in spans]
    whole = Window(windows[0].since, windows[2].until)
    with night.services() as services:
        (run,) = services.ledger.runs.list_newest(1)
        sales = services.deployment.uploads["sales"]
        dated = sales.model_copy(update={"source": sales.source.model_copy(update={"path": "{date}.csv"})})
        uploads = {"sales": sales, "dated": dated}
        deployment = services.deployment.model_copy(update={"uploads": uploads})
        again = Services(deployment, services.secrets, services.ledger, services.clock)

        reads, unread = past_reads(
            [replace(run, upload=name, window=window) for name in ("sales", "gone", "dated") for window in windows],
            again,
        )

    assert [(one.upload, one.window) for one in reads] == [
        (dated, windows[0]), (dated, windows[3]), (dated, windows[2]), (sales, whole)
    ]  # fmt: skip
    assert unread == [UnreadSource("gone", str(whole), "the upload is configured no more")]


def test_p17_a_rejected_row_without_an_event_id_is_found_by_its_place(night: Night) -> None:
    write(night, [sale("", **PERSON), sale("", number="Customer-8")])
    run = night.send("sales").run_id

    erased = erase(night, Person({"ph": ["+447911123456"]}))

    with night.services() as services:
        left = services.stage.read_rejects(run)
    assert left is not None
    assert left["row"].to_pylist() == [2]
    assert erased.rejects == 2  # and jane-3 of the night before, by her staged event
    # Of the night before, the invalid rows are gone from the source: whose they were nobody can tell.
    assert (erased.unexplained_rejects, erased.complete) == ({"sales": 3}, False)


def test_what_was_delivered_and_is_forgotten_is_answered_as_such(night: Night) -> None:
    """Retention has deleted the keys; the reports say how many there were, and only Meta knows whose they are."""
    with night.services() as services:
        later = Services(
            services.deployment, services.secrets, services.ledger, lambda: datetime.now(UTC) + timedelta(days=71)
        )
        purge_expired(later)
        erased = erase_person(Person(event_ids=["jane-1"]), services)

    assert (erased.ledger, erased.remembered_since, erased.complete) == (0, None, True)
    assert erased.forgotten is not None
    assert erased.forgotten.events == 22  # jane-3 was refused
    assert erased.to_json()["forgotten"]["events"] == 22


def test_an_id_that_a_client_sends_raw_is_found_in_the_source(night: Night) -> None:
    night.edit("dags/clients.yml", (f'pixel_id: "{SHOP}"', f'pixel_id: "{SHOP}"\n    external_id: {{send: raw}}'))
    for path in (night.home / "stage").rglob("*.parquet"):
        path.unlink()

    erased = erase(night, Person({"external_id": ["Customer-7"]}))

    assert (erased.in_source, erased.ledger, erased.complete) == (5, 3, True)


def test_an_id_that_a_client_sends_raw_is_found_in_the_stage_in_any_script(night: Night) -> None:
    """By what its event holds alone: the row has left the source."""
    night.edit("dags/clients.yml", (f'pixel_id: "{SHOP}"', f'pixel_id: "{SHOP}"\n    external_id: {{send: raw}}'))
    write(night, [sale("odd-1", number="Kundin-Ü7"), sale("odd-2", number="Kundin-O7")])
    stage_and_send(night)
    write(night, [sale("odd-2", number="Kundin-O7")])

    assert erase(night, Person({"external_id": ["Kundin-Ü7"]})).staged == 1


@pytest.mark.parametrize("policy", ["send: raw", "send: raw, trim: false", "lower: true", "lower: true, trim: false"])
def test_an_id_that_a_client_sent_by_another_policy_once_is_found(night: Night, policy: str) -> None:
    former = (f'pixel_id: "{SHOP}"', f'pixel_id: "{SHOP}"\n    external_id: {{{policy}}}')
    night.edit("dags/clients.yml", former)
    write(night, [sale("odd-1", number=" Customer-8 ")])
    stage_and_send(night)
    night.edit("dags/clients.yml", former[::-1])
    write(night, make_rows())

    assert erase(night, Person({"external_id": [" Customer-8 "]})).staged == 1


def test_a_raw_id_is_not_looked_for_in_other_fields(night: Night) -> None:
    """Purchase, EUR and 12.5 stand in every event; nobody's external id is one of them."""
    for value in ("Purchase", "EUR", "physical_store", "jane-1"):
        assert erase(night, Person({"external_id": [value]})).staged == 0


def test_the_books_of_a_run_under_way_balance_without_the_person(night: Night) -> None:
    """Erased between the first task and the second: their rows are as if they had not been read."""
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        run = begin_run(upload, make_window(), services)
        units = stage_upload(upload, make_window(), services, run)
        erase_person(Person({"em": [PERSON["email"]]}), services)
        for unit in units:
            send_staged(unit, upload, services)
        report = reconcile(run, upload, services)

    assert report.balance == "23 read = 20 already sent + 3 invalid"


def test_half_written_files_of_a_dead_run_are_removed_and_those_of_a_living_one_are_told(night: Night) -> None:
    with night.services() as services:
        living = begin_run(services.deployment.uploads["sales"], make_window(), services)
        day_ago = Services(
            services.deployment, services.secrets, services.ledger, lambda: datetime.now(UTC) - timedelta(hours=25)
        )
        hung = begin_run(services.deployment.uploads["sales"], make_window(), day_ago)
    dead = night.write("stage/20200101T000000-dead/events-corner_shop.parquet.part", "PAR1")
    left = night.write(f"stage/{hung}/events-corner_shop.parquet.part", "PAR1")
    under_way = night.write(f"stage/{living}/events-corner_shop.parquet.part", "PAR1")

    erased = erase(night, Person(event_ids=["jane-1"]))

    assert (dead.exists(), left.exists(), under_way.exists()) == (False, False, True)
    assert (erased.unreadable, erased.complete) == (1, False)


@pytest.mark.parametrize(("key", "value"), [("em", "jane at nowhere"), ("ph", "call me")])
def test_a_value_that_no_upload_could_have_sent_is_a_mistake_and_is_not_repeated(
    night: Night, key: str, value: str
) -> None:
    with pytest.raises(UsageError, match="no upload could have sent this value") as caught:
        erase(night, Person({key: [value]}))

    assert value not in str(caught.value)


def test_somebody_has_to_be_named(night: Night) -> None:
    said = night.run("erase", "--client", "corner_shop")

    assert said.code == 2
    assert "name the person" in said.err


def test_event_ids_need_the_names_that_only_the_source_knows(night: Night) -> None:
    """A key is made of pixel, name and id: without the name, nothing would be found and nobody would know."""
    night.edit("dags/uploads/sales.yml", ("name: Purchase,", "name: {column: kind},"))

    with pytest.raises(UsageError, match="give --event-name"):
        erase(night, Person(event_ids=["jane-1"]))

    assert erase(night, Person(event_ids=["jane-1"], event_names=["Purchase"])).ledger == 1
