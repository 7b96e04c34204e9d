"""From an empty folder and an export to the first event that the other side took: five commands, under five minutes."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.onboarding.beginner import CANARY, KNOWN, Beginner, own_environment, sales
from tests.support.night import Said, yesterday
from tests.support.sandbox_server import OTHER_PIXEL, OTHER_TOKEN, PIXEL, TOKEN, Sandbox

ROOT = Path(__file__).parents[2]


@pytest.fixture
def beginner(tmp_path: Path) -> Beginner:
    return Beginner(tmp_path)


def test_a_beginner_has_an_accepted_event_after_five_commands(beginner: Beginner) -> None:
    """The commands after the first are those that ``init`` prints; the sandbox is a process, spoken to by HTTP."""
    began = time.monotonic()
    export = beginner.csv(f"sales_{yesterday('UTC')}.csv", sales())

    first = beginner.run("init", export, *KNOWN, "--yes")
    start, rehearsal, _, _ = _next_commands(first.out)
    port = _free_port()
    with _sandbox(start, port, beginner.home) as url:
        rehearsed = _shell(beginner, rehearsal.replace("127.0.0.1:8420", f"127.0.0.1:{port}"))
        again = _shell(beginner, rehearsal.replace("127.0.0.1:8420", f"127.0.0.1:{port}"))
        totals = httpx.get(f"{url}/_sandbox/totals").json()

    assert first.code == rehearsed.code == again.code == 0, first.err + rehearsed.err + again.err
    assert "60 read = 60 sent" in rehearsed.out
    assert "60 already sent" in again.out
    assert [pixel["counted"] for pixel in totals.values()] == [60]
    assert time.monotonic() - began < 300  # the five minutes of the promise
    assert CANARY not in first.out + first.err + rehearsed.out + beginner.text("dags/uploads/sales.yml")


def test_a_rehearsal_is_not_taken_for_the_first_night(beginner: Beginner, sandbox: Sandbox) -> None:
    """What the sandbox took stands in a ledger of its own: in earnest, every event is still to be sent."""
    first = beginner.init(beginner.csv(f"sales_{yesterday('UTC')}.csv", sales(5)), *KNOWN, "--yes")
    _, rehearsal, _, night = _next_commands(first.out)

    _shell(
        beginner,
        rehearsal.replace("http://127.0.0.1:8420", sandbox.url).replace("any", "EAAtesttokenforthefirstclient"),
    )
    planned = _shell(beginner, f"ACME_TOKEN=any {night.replace('upload', 'plan')}")

    assert len(sandbox.accepted_ids) == 5
    assert "5 read = 5 sent" in planned.out


def test_a_german_export_and_a_client_added_by_hand_are_sent(beginner: Beginner, sandbox: Sandbox) -> None:
    """Windows-1252 with semicolons, decimal commas and days with points, as a till and an ERP program write them; the
    second client is typed into clients.yml by a person, and ``init`` takes it as it is there."""
    day = yesterday("Europe/Berlin")
    people = ["Jürgen", "Käthe", "Björn"]
    till = [
        {"Belegnr": f"B-{at}", "Kundennr": f"K{at}", "Vorname": people[at % 3], "E-Mail": f"k{at}@example.de",
         "Ort": "Köln", "Betrag": f"1.{at + 100},50", "Währung": "EUR", "Kaufdatum": f"{day:%d.%m.%Y}",
         "Uhrzeit": f"09:{at:02}", "Werbeeinwilligung": "Ja" if at % 2 else "Nein"}
        for at in range(30)
    ]  # fmt: skip
    erp = [
        {"Rechnungsnr": f"R-{at}", "Name": f"Groß, {people[at % 3]}", "Mobil": f"0151 {at + 2345678}",
         "Betrag": f"{at + 10},90 €", "Kaufdatum": f"{day:%d.%m.%Y}"}
        for at in range(30)
    ]  # fmt: skip
    windows = {"delimiter": ";", "encoding": "cp1252"}
    known = ("--event", "Purchase", "--action-source", "physical_store", "--timezone", "Europe/Berlin", "--yes")
    beginner.env = {"OFFLINE_CAPI_GRAPH_URL": sandbox.url, "SHOP_TOKEN": TOKEN, "KUECHEN_TOKEN": OTHER_TOKEN}

    shop = ("--client", "shop", "--pixel", PIXEL, "--country", "DE")
    first = beginner.init(beginner.csv(f"Verkäufe_{day}.csv", till, **windows), *shop, *known)
    with (beginner.home / "dags/clients.yml").open("a", encoding="utf-8") as clients:
        clients.write(f'\n  kuechen: {{pixel_id: "{OTHER_PIXEL}", token: {{env: KUECHEN_TOKEN}}, country: DE}}\n')
    by_hand = beginner.text("dags/clients.yml")
    second = beginner.init(
        beginner.csv(f"Umsätze Küchen {day:%d.%m.%Y}.csv", erp, **windows), "--client", "kuechen", *known
    )
    sent = [beginner.call("upload", name, "--since", str(day)) for name in ("Verkaeufe", "Umsaetze_Kuechen")]

    assert (first.code, second.code) == (0, 0), first.err + second.out + second.err
    assert beginner.text("dags/clients.yml") == by_hand
    assert beginner.upload("Umsaetze_Kuechen")["source"]["path"] == "Umsätze Küchen {date:%d.%m.%Y}.csv"
    assert ["30 read = 15 sent + 15 suppressed" in sent[0].out, "30 read = 30 sent" in sent[1].out] == [True, True]
    custom = {event["event_id"]: event["custom_data"] for event in sandbox.events}
    assert (custom["B-1"]["value"], custom["R-1"]) == (1101.5, {"value": 11.9, "currency": "EUR", "order_id": "R-1"})
    (user_data,) = (event["user_data"] for event in sandbox.events if event["event_id"] == "R-0")
    assert user_data["ln"] == hashlib.sha256("groß".encode()).hexdigest()


def test_what_was_written_is_what_a_reviewer_expects(beginner: Beginner) -> None:
    """Evidence beside every line, unsure things as comments, the editor's schema, and no value of a row."""
    said = beginner.init(beginner.csv(f"sales_{yesterday('UTC')}.csv", sales()), *KNOWN, "--yes")

    text = beginner.text("dags/uploads/sales.yml")
    assert said.code == 0
    assert beginner.files == [
        "dags/clients.yml",
        "dags/offline_capi_dags.py",
        "dags/schema/clients.schema.json",
        "dags/schema/upload.schema.json",
        "dags/uploads/sales.yml",
        "offline_capi_ledger.db",
        f"sales_{yesterday('UTC')}.csv",
    ]
    assert text.startswith("# yaml-language-server: $schema=../schema/upload.schema.json\n")
    assert re.search(r"em: mail_addr +# 95% of 60 values look like e-mail addresses\n", text)
    assert beginner.upload("sales") == {
        "client": "acme",
        "limits": {"max_invalid": "5%"},
        "source": {"path": "sales_{date}.csv"},
        "window": {"column": "sold_at", "timezone": "UTC"},
        "event": {"name": "Purchase", "id": "order_no", "action_source": "physical_store"},
        "user_data": {"em": "mail_addr", "ph": "telephone", "fn": "first_name"},
        "custom_data": {"value": {"column": "total", "type": "number"}, "currency": "currency", "order_id": "order_no"},
    }
    assert beginner.text("dags/offline_capi_dags.py") == (ROOT / "dags/offline_capi_dags.py").read_text(
        encoding="utf-8"
    )
    assert max(map(len, text.splitlines())) <= 120


def test_p09_the_token_is_never_asked_for_and_never_written(beginner: Beginner) -> None:
    said = beginner.init(beginner.csv(f"sales_{yesterday('UTC')}.csv", sales(3)), *KNOWN, "--yes")

    assert "token: {env: ACME_TOKEN}" in beginner.text("dags/clients.yml")
    assert "read -rs ACME_TOKEN && export ACME_TOKEN" in said.out
    assert "--token" not in beginner.init("--help").out


def test_a_second_upload_of_the_same_client_adds_one_file(beginner: Beginner) -> None:
    """What stands there stays as it is, byte for byte."""
    beginner.init(beginner.csv(f"sales_{yesterday('UTC')}.csv", sales(9)), *KNOWN, "--yes")
    before = {path: beginner.text(path) for path in beginner.files if path.startswith("dags")}
    rows = [{**row, "order_no": f"B-{at}"} for at, row in enumerate(sales(9))]

    file = beginner.csv(f"web_{yesterday('UTC')}.csv", rows)
    said = beginner.init(file, "--event", "Purchase", "--action-source", "website", "--timezone", "UTC", "--yes")

    assert said.code == 0, said.err
    assert {path: beginner.text(path) for path in before} == before
    assert "client: acme" in beginner.text("dags/uploads/web.yml")


def test_machines_are_told_the_same(beginner: Beginner) -> None:
    said = beginner.init(beginner.csv(f"sales_{yesterday('UTC')}.csv", sales()), *KNOWN, "--json")

    lines = {line["place"]: line for line in said.json["lines"]}
    assert said.code == 0
    assert (said.json["first_night"], said.json["problems"]) == (str(yesterday("UTC")), [])
    assert said.json["plan"]["rows"]["sent"] == 60
    assert lines["user_data.em"]["confidence"] == "taken"
    assert CANARY not in said.out


# ---------------------------------------------------------------------------------------------- the terminal


def _next_commands(said: str) -> list[str]:
    """The four commands under the heading."""
    return [line.strip() for line in said.partition("\nNext\n")[2].splitlines() if line.startswith("    ")]


def _shell(beginner: Beginner, command: str) -> Said:
    return beginner.shell(["bash", "-c", command])


@contextmanager
def _sandbox(command: str, port: int, home: Path) -> Iterator[str]:
    """The command as printed, on a port of our own, ended with the block."""
    assert command == "offline-capi sandbox &"
    arguments = [sys.executable, "-m", "offline_capi", "sandbox", "--port", str(port)]
    process = subprocess.Popen(arguments, cwd=home, env=own_environment(), stdout=subprocess.DEVNULL)
    try:
        yield _answering(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(10)


def _answering(url: str, process: subprocess.Popen[bytes]) -> str:
    transport = httpx.HTTPTransport(retries=8)  # a refused connection is tried again, with growing pauses
    with httpx.Client(transport=transport) as client:
        client.get(f"{url}/_sandbox/health").raise_for_status()
    assert process.poll() is None
    return url


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
