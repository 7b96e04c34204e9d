"""A person is erased everywhere, by any key; what is another's stays."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from offline_capi.erasing import Erased, Person, erase_person
from offline_capi.errors import UsageError
from offline_capi.events.keys import event_key_of
from offline_capi.model import Fate, Window
from offline_capi.pipeline import begin_run, reconcile, send_staged, stage_upload
from tests.night import Night, yesterday
from tests.sales import OUTLET, SHOP, ZONE, sale, sales_night, write
from tests.sandbox_server import Sandbox

WINDOW = Window.of_day(yesterday(ZONE), ZONE)
PERSON = {"email": "Jane.Doe@Example.com", "phone": "+44 7911 123456", "number": "Customer-7"}
MAIL, PHONE, ID = (
    hashlib.sha256(text).hexdigest() for text in (b"jane.doe@example.com", b"447911123456", b"Customer-7")
)
ROWS = [
    sale("jane-1", **PERSON),
    sale("jane-2", brand="Outlet", **PERSON),
    sale("jane-3", **PERSON),
    *(sale(f"other-{i}", number=f"Customer-{i}7", phone=f"+44 7911 12{3500 + i}") for i in range(20)),
    # Three rows that were rejected: nothing in them leads to a person.
    *(sale(f"jane-bad-{i}", amount="much", **PERSON) for i in range(2)),
    sale("other-bad", amount="much"),
]
KEYS = [
    event_key_of(pixel, "Purchase", name) for pixel, name in ((SHOP, "jane-1"), (OUTLET, "jane-2"), (SHOP, "jane-3"))
]


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A staged night: hashed files, rejects, and a ledger."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.sandbox.refuse("jane-3")
    write(night, ROWS)
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        run = begin_run(upload, WINDOW, services)
        for unit in stage_upload(upload, WINDOW, services, run):
            send_staged(unit, upload, services)
        reconcile(run, upload, services)
    return night


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
    assert (erased.staged, erased.rejects, erased.ledger, erased.complete) == (3, 1, 3, True)
    again = night.send("sales")
    assert again.tally.of(Fate.ALREADY_SENT) == 20


def test_p17_the_command_reads_the_value_from_standard_input_and_is_idempotent(night: Night) -> None:
    """So it stands in no list of processes; the second time there is nothing left, and that is no failure."""
    command = [sys.executable, "-m", "offline_capi", "erase", "--em", "-", "--event-id", "jane-bad-0", "--json"]
    first = _asked(night, command, "jane.doe@example.com\n")
    second = _asked(night, command, "jane.doe@example.com\n")

    assert (first.returncode, second.returncode) == (0, 0)
    assert '"staged": 3' in first.stdout
    assert '"rejects": 2' in first.stdout
    assert all(f'"{name}": 0' in second.stdout for name in ("staged", "rejects", "ledger", "files"))
    assert sights(night, b"jane-bad-0") == {}


def _asked(night: Night, command: list[str], told: str) -> subprocess.CompletedProcess[str]:
    environment = {**night.env, "PYTHONPATH": str(Path.cwd()), "PATH": ""}
    return subprocess.run(
        command, cwd=night.home, env=environment, input=told, capture_output=True, text=True, timeout=60, check=False
    )


def test_p17_without_staged_files_event_ids_lead_to_ledger_and_rejects(night: Night) -> None:
    """An address finds nothing then: business keys lead back to nobody, which the command says."""
    for path in (night.home / "stage").rglob("events-*"):
        path.unlink()
    everything = ("jane-1", "jane-2", "jane-3", "jane-bad-0", "jane-bad-1")

    by_address = erase(night, Person({"em": [PERSON["email"]]}))
    by_ids = erase(night, Person(event_ids=everything))

    assert (by_address.staged, by_address.rejects, by_address.ledger) == (0, 0, 0)
    assert (by_ids.rejects, by_ids.ledger) == (3, 3)
    assert sights(night, *(name.encode() for name in everything)) == {}


def test_only_the_events_of_one_client_are_erased_where_it_is_named(night: Night) -> None:
    erased = erase(night, Person({"external_id": ["Customer-7"]}, clients=["nordic_outlet"]))

    assert (erased.staged, erased.ledger) == (1, 1)
    assert {b"jane-1", b"jane-3"} <= set(sights(night))
    assert not {b"jane-2", KEYS[1]} & set(sights(night))


def test_a_raw_id_is_not_looked_for_in_other_fields(night: Night) -> None:
    """Purchase, EUR and 12.5 stand in every event; nobody's external id is one of them."""
    for value in ("Purchase", "EUR", "physical_store", "jane-1"):
        assert erase(night, Person({"external_id": [value]})).staged == 0


def test_the_books_of_a_run_under_way_balance_without_the_person(night: Night) -> None:
    """Erased between the first task and the second: their rows are as if they had not been read."""
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        run = begin_run(upload, WINDOW, services)
        units = stage_upload(upload, WINDOW, services, run)
        erase_person(Person({"em": [PERSON["email"]]}), services)
        for unit in units:
            send_staged(unit, upload, services)
        report = reconcile(run, upload, services)

    assert report.balance == "23 read = 20 already sent + 3 rejected"


def test_half_written_files_of_a_dead_run_are_removed_and_those_of_a_living_one_are_told(night: Night) -> None:
    with night.services() as services:
        living = begin_run(services.deployment.uploads["sales"], WINDOW, services)
    dead = night.write("stage/20200101T000000-dead/events-corner_shop.parquet.part", "PAR1")
    under_way = night.write(f"stage/{living}/events-corner_shop.parquet.part", "PAR1")

    erased = erase(night, Person(event_ids=["jane-1"]))

    assert (dead.exists(), under_way.exists()) == (False, True)
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
