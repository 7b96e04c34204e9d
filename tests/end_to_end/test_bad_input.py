"""Everything a user, a table, a token or the network can get wrong: one clear message, the right exit code, no loss.

Each fault is met on the command line; then it is mended, and a second run sends everything, each event once.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from offline_capi.demo.samples import CREDIT_APPLICATION, SAMPLE_TOKENS
from tests.support.night import NOBODY, STORE_ZONE, Night, Said, yesterday
from tests.support.sandbox_server import Sandbox

CREDIT, STORE = "credit_approvals", "store_purchases"
UPLOAD_YML, CLIENTS_YML = "dags/uploads/credit_approvals.yml", "dags/clients.yml"


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    return Night(tmp_path, sandbox).fill()


def says(said: Said, *words: str) -> None:
    """One message, on stderr, without a traceback."""
    assert all(word in said.err for word in words), said.err
    assert "Traceback" not in said.out + said.err
    assert len(re.findall(r"^\w+Error: ", said.err, re.MULTILINE)) == 1, said.err
    assert not any(token in said.out + said.err for token in SAMPLE_TOKENS.values())


# ---------------------------------------------------------------------------------------------- usage, configuration


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["upload", "credit_aprovals"], ['"credit_aprovals"', 'did you mean "credit_approvals"?']),
        (["upload", CREDIT, "--since", "2026-11-20", "--until", "2026-11-19"], ["--since", "not before", "--until"]),
        (["upload", CREDIT, "--since", "yesterdayish"], ["--since", '"yesterdayish"', "2026-11-23"]),
        (["check", "--config", "no-such-folder"], ["no-such-folder"]),
    ],
    ids=["unknown upload", "window upside down", "no date", "no folder"],
)
def test_a_mistake_at_the_prompt_ends_with_two(night: Night, arguments: list[str], words: list[str]) -> None:
    said = night.run(*arguments)

    assert (said.code, said.out) == (2, "")
    says(said, *words)
    assert night.sandbox.requests == []


def test_broken_yaml_is_named_by_file_and_line(night: Night) -> None:
    night.edit(UPLOAD_YML, ("  name: CreditApproval", "  name: [CreditApproval"))

    said = night.run("upload", CREDIT)

    assert (said.code, said.out) == (2, "")
    says(said, "credit_approvals.yml:")
    assert night.sandbox.requests == []


def test_a_missing_token_is_named_by_its_variable(night: Night) -> None:
    """It is a fault of the environment: nothing is sent without it, and nothing is lost."""
    said = night.run("upload", CREDIT, env={"ACME_BANK_TOKEN": ""})

    assert said.code == 1
    assert "ACME_BANK_TOKEN" in said.out + said.err
    assert "Traceback" not in said.out + said.err
    assert night.sandbox.requests == []
    assert_mended(night)


# ---------------------------------------------------------------------------------------------- sources


def rename(column: str, to: str) -> Callable[[Night], None]:
    def change(night: Night) -> None:
        with sqlite3.connect(night.home / "warehouse.db") as warehouse:
            warehouse.execute(f"ALTER TABLE {CREDIT_APPLICATION.name} RENAME COLUMN {column} TO {to}")

    return change


def bad_sql(night: Night) -> None:
    night.edit("sql/extract/credit_approvals.sql", ("FROM credit_application", "FROM credit_aplication"))


def good_sql(night: Night) -> None:
    night.edit("sql/extract/credit_approvals.sql", ("FROM credit_aplication", "FROM credit_application"))


@dataclass(frozen=True)
class SourceFault:
    upload: str
    cause: Callable[[Night], None]
    mend: Callable[[Night], None]
    words: tuple[str, ...]


def star(night: Night) -> None:
    """As many write their queries: what columns there are shows only when it runs."""
    path = night.home / "sql/extract/credit_approvals.sql"
    text = path.read_text(encoding="utf-8")
    path.write_text("SELECT *\nFROM credit_application\n" + text[text.index("WHERE ") :], encoding="utf-8")


def missing_column(night: Night) -> None:
    star(night)
    rename("phone", "telephone")(night)


GZIP = "store_purchases_{}_branches.csv.gz"


def truncate(night: Night) -> None:
    path = night.home / STORE / GZIP.format(yesterday(STORE_ZONE))
    path.write_bytes(path.read_bytes()[:700])


def rebuild(night: Night) -> None:
    night.fill()


FAULTS = {
    "a missing column": SourceFault(CREDIT, missing_column, rename("telephone", "phone"), ("phone",)),
    "a query that fails": SourceFault(CREDIT, bad_sql, good_sql, ("credit_approvals.sql", "credit_aplication")),
    "a truncated file": SourceFault(STORE, truncate, rebuild, (GZIP,)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_source_that_cannot_be_read_ends_with_one_and_loses_nothing(night: Night, fault: SourceFault) -> None:
    day = yesterday(STORE_ZONE)
    fault.cause(night)

    said = night.run("upload", fault.upload)

    assert said.code == 1, said
    says(said, "Source", *(word.format(day) for word in fault.words))
    fault.mend(night)
    assert_mended(night, fault.upload)


#: Object stores as they fail: no credential anywhere, an endpoint where nothing listens, no package for the URL.
ONE_TRY = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_MAX_ATTEMPTS": "1"}
NO_CREDENTIALS = ONE_TRY | {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "none",
    "AWS_SHARED_CREDENTIALS_FILE": "none",
}
NO_ANSWER = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "hidden-word", "AWS_ENDPOINT_URL": NOBODY} | ONE_TRY
STORES = {
    "no credentials": ("s3://nobodys-bucket", NO_CREDENTIALS, "AWS_ACCESS_KEY_ID"),
    "no answer": ("s3://nobodys-bucket", NO_ANSWER, "AWS_ENDPOINT_URL"),
    "no package": ("gs://nobodys-bucket", {}, "gcsfs"),
}


@pytest.mark.parametrize(("url", "env", "word"), STORES.values(), ids=STORES)
@pytest.mark.parametrize("setting", ["source.path", "platform.stage"])
def test_an_object_store_that_cannot_be_used_ends_with_one_message(
    night: Night, monkeypatch: pytest.MonkeyPatch, setting: str, url: str, env: dict[str, str], word: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    variable = {"source.path": "OFFLINE_CAPI_DATA", "platform.stage": "OFFLINE_CAPI_STAGE"}[setting]

    said = night.run("upload", STORE, env={**env, variable: url})

    assert said.code in (1, 2)
    says(said, setting, word)
    assert "hidden-word" not in said.out + said.err
    assert night.sandbox.requests == []
    assert_mended(night, STORE)


def test_a_column_of_another_type_is_rejected_row_by_row(night: Night) -> None:
    """Where values became numbers that are no dates, no row is sent with a guessed time, and the run is not green."""
    path = night.home / "sql/extract/credit_approvals.sql"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("approved_at, marketing", "1.5 AS approved_at, marketing"), encoding="utf-8")

    said = night.run("upload", CREDIT)

    assert said.code == 1
    assert "Traceback" not in said.out + said.err
    assert night.sandbox.accepted_ids == []
    path.write_text(text, encoding="utf-8")
    assert_mended(night)


@pytest.mark.parametrize("upload", [CREDIT, STORE])
def test_a_window_without_rows_is_a_success(night: Night, upload: str) -> None:
    """The file of such a day is there: one that is missing makes the run red (test_outcomes)."""
    night.write(f"{STORE}/store_purchases_2020-01-01_till.csv", _header(night))

    said = night.run("upload", upload, "--since", "2020-01-01")

    assert (said.code, said.err) == (0, f"! new ledger: {night.env['OFFLINE_CAPI_LEDGER']}\n")
    assert "0 read = 0" in said.out
    assert night.sandbox.requests == []


def _header(night: Night) -> str:
    till = night.home / STORE / f"store_purchases_{yesterday(STORE_ZONE)}_till.csv"
    return till.read_text(encoding="utf-8-sig").splitlines()[0] + "\n"


# ---------------------------------------------------------------------------------------------- ledger, stage


def test_a_ledger_that_another_process_holds_is_waited_for_and_then_left_alone(night: Night) -> None:
    night.run("status")
    other = sqlite3.connect(night.home / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    said = night.run("upload", CREDIT, env={"OFFLINE_CAPI_LEDGER": night.env["OFFLINE_CAPI_LEDGER"] + "?timeout=0.2"})

    assert said.code == 1
    says(said, "LedgerBusyError", "ledger.db", "Nothing was lost; run again")
    other.execute("ROLLBACK")
    other.close()
    assert night.sandbox.requests == []
    assert_mended(night)


def test_a_ledger_that_is_no_database_is_left_as_it_is(night: Night) -> None:
    broken = night.write("ledger.db", "not a database, but somebody's notes\n" * 50)

    said = night.run("upload", CREDIT)

    assert (said.code, said.out) == (1, "")
    says(said, "LedgerError", "ledger.db")
    assert broken.read_text(encoding="utf-8").startswith("not a database")
    assert night.sandbox.requests == []


@pytest.mark.parametrize("name", ["OFFLINE_CAPI_STAGE", "OFFLINE_CAPI_LEDGER"])
def test_a_place_that_cannot_be_written_is_named_before_anything_is_sent(night: Night, name: str) -> None:
    """A file stands where the folder should be: that stops the owner of the machine too."""
    night.write("taken", "")
    place = f"{night.home}/taken/here"

    said = night.run("upload", CREDIT, env={name: f"sqlite:///{place}/l.db" if name.endswith("LEDGER") else place})

    assert said.code == 1, said
    says(said, "taken", "run again", "safe")
    assert night.sandbox.requests == []
    assert_mended(night)


# ---------------------------------------------------------------------------------------------- delivery


def test_a_refused_connection_holds_the_rows_for_the_next_run(night: Night) -> None:
    night.edit(UPLOAD_YML, ("\nlimits:", "\ndelivery: {max_tries: 1}\nlimits:"))

    said = night.run("upload", CREDIT, env={"OFFLINE_CAPI_GRAPH_URL": NOBODY})

    assert said.code == 1
    assert "deferred" in said.out
    assert "Traceback" not in said.out + said.err
    assert_mended(night)


def test_a_wrong_token_is_named_with_what_to_do(night: Night) -> None:
    said = night.run("upload", CREDIT, env={"ACME_BANK_TOKEN": "EAAwrongtoken"})

    assert said.code == 1
    assert "190" in said.out
    assert "EAAwrongtoken" not in said.out + said.err
    assert len(night.sandbox.requests) == 1
    assert_mended(night)


def assert_mended(night: Night, upload: str = CREDIT) -> None:
    """The second run sends everything that a first one would have sent, and each event counts once."""
    report = night.send(upload)

    tally = report.tally
    assert (report.status, report.complete) == ("complete", True), report.problems
    rows = {fate.value: n for fate, n in tally.count_by_fate().items()}
    assert rows["sent"] + rows["already_sent"] == len(night.counted) > 0
    assert set(night.counted.values()) == {1}
