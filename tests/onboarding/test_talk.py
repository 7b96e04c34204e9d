"""The talk with a person: what is asked, what an answer is, and that nothing counts which was not confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_capi.config.client import ExternalIdPolicy
from tests.onboarding.beginner import CANARY, KNOWN, Beginner, sales
from tests.support.night import yesterday
from tests.support.sandbox_server import PIXEL


@pytest.fixture
def beginner(tmp_path: Path) -> Beginner:
    return Beginner(tmp_path)


def export(beginner: Beginner, **changes: str | None) -> str:
    rows = [{name: value for name, value in {**row, **changes}.items() if value is not None} for row in sales(30)]
    return beginner.csv(f"sales_{yesterday('UTC')}.csv", rows)


def test_a_person_is_asked_what_the_rows_do_not_say(beginner: Beginner) -> None:
    """File, names, pixel, event, source, zone, currency, country; then the proposal and the files are confirmed."""
    file = export(beginner, currency=None)

    said = beginner.init(
        typed=[file, "shop", "acme", PIXEL, "Purchase", "physical_store", "America/New_York", "usd", "us", "y", "y"]
    )

    assert said.code == 0, said.out + said.err
    upload = beginner.config().uploads["shop"]
    assert (upload.window.timezone, upload.event.name.constant) == ("America/New_York", "Purchase")
    assert upload.custom_data.currency is not None
    assert upload.custom_data.currency.constant == "USD"
    assert upload.user_data["ph"][0].column == "telephone"
    assert beginner.config().clients["acme"].country == "US"
    assert CANARY not in said.out


@pytest.mark.parametrize(
    ("answer", "policy"),
    [
        ("raw", ExternalIdPolicy(send="raw")),
        ("sha256", ExternalIdPolicy()),
        ("parameter_builder", ExternalIdPolicy(lower=True)),
        ("", ExternalIdPolicy()),
    ],
)
def test_a_person_is_asked_how_the_browser_sends_the_id(
    beginner: Beginner, answer: str, policy: ExternalIdPolicy
) -> None:
    """Typed or as a flag, the client says the same; without an answer ids are hashed, as the file says."""
    file = export(beginner, customer_no="7001")
    arguments = (*KNOWN, "--name", "shop", "--map", "external_id=customer_no")

    said = beginner.init(file, *arguments, typed=[answer, "y", "y"])
    typed = beginner.config().clients["acme"].external_id
    flag = ("--external-id", answer) if answer else ()
    other = ("--client", "acme2", "--pixel", "2222222222", "--name", "shop2")
    beginner.init(file, *arguments, *flag, *other, "--yes", "--force")

    assert said.code == 0, said.out + said.err
    assert "external_id must equal what the browser" in said.out
    assert typed == policy == beginner.config().clients["acme2"].external_id
    assert ("# external_id:" in beginner.text("dags/clients.yml")) == (answer == "")


def test_a_client_that_is_known_is_not_asked_again(beginner: Beginner) -> None:
    file = export(beginner, customer_no="7001")
    mapped = ("--map", "external_id=customer_no")
    beginner.init(file, *KNOWN, *mapped, "--yes")

    said = beginner.init(file, *KNOWN, *mapped, "--name", "second", typed=["y", "y"])

    assert said.code == 0, said.out + said.err
    assert "external_id must equal" not in said.out


def test_an_answer_that_is_none_is_asked_for_again(beginner: Beginner) -> None:
    file = export(beginner)
    said = beginner.init(file, *KNOWN[:4], "--event", "Purchase", "--country", "US",
                         typed=["", "store", "physical_store", "Berlin", "Europe/Berlin", "y", "y"])  # fmt: skip

    assert said.code == 0, said.out + said.err
    assert 'Berlin" is not an IANA time zone' in said.err
    assert '"store" is unknown' in said.err
    assert "--" not in said.err


def test_nothing_is_written_that_was_not_confirmed(beginner: Beginner) -> None:
    said = beginner.init(export(beginner), *KNOWN, typed=["", "y", "n"])

    assert (said.code, "Nothing was written" in said.err) == (2, True)
    assert not (beginner.home / "dags").exists()


def test_a_line_that_was_declined_is_a_comment(beginner: Beginner) -> None:
    """Line by line: the first name stays out, all else is taken."""
    takes = ["y", "y", "y", "y", "n", "y", "y", "y"]  # sold_at, order_no, mail_addr, telephone, first_name, total, …
    said = beginner.init(export(beginner), *KNOWN, typed=["", "n", *takes, "y"])

    assert said.code == 0, said.out + said.err
    assert set(beginner.upload("sales")["user_data"]) == {"em", "ph"}
    assert "  # fn: first_name" in beginner.text("dags/uploads/sales.yml")


def test_another_column_is_named_at_the_last_question(beginner: Beginner) -> None:
    """In place of the one that was found where a person has one such key, beside it where there may be several."""
    rows = [
        {**row, "member_id": f"m{at}", "till": f"t{at}", "contact": row["mail_addr"]}
        for at, row in enumerate(sales(30))
    ]
    file = beginner.csv(f"sales_{yesterday('UTC')}.csv", rows)

    again = ["external_id=tilt", "extrenal_id=till", "external_id=till", "em=contact", "value", "total"]
    said = beginner.init(file, *KNOWN, typed=["", "raw", *again, "y", "y"])

    assert said.code == 0, said.out + said.err
    assert 'did you mean "till"' in said.err
    assert 'did you mean "external_id"' in said.err
    user_data = beginner.upload("sales")["user_data"]
    assert (user_data["external_id"], set(user_data["em"])) == ("till", {"contact", "mail_addr"})
    assert "# external_id: member_id" in beginner.text("dags/uploads/sales.yml")


def test_an_unsure_line_can_be_taken(beginner: Beginner) -> None:
    """Of two amounts the person chooses the second; the value is no longer open."""
    rows = [{**row, "gross_amount": "7.00"} for row in sales(30)]
    file = beginner.csv(f"sales_{yesterday('UTC')}.csv", rows)
    takes = ["y", "y", "y", "y", "y", "n", "y", "y", "y"]

    said = beginner.init(file, *KNOWN, typed=["", "", "n", *takes, "y"])

    assert said.code == 0, said.out + said.err
    assert beginner.upload("sales")["custom_data"]["value"] == {"column": "gross_amount", "type": "number"}


def test_where_nobody_answers_nothing_is_written(beginner: Beginner) -> None:
    said = beginner.init(export(beginner), *KNOWN)

    assert said.code == 2
    assert "give --yes" in said.err
    assert not (beginner.home / "dags").exists()


# ---------------------------------------------------------------------------------------------- what is left open


def test_what_nobody_said_is_a_todo_that_check_reports(beginner: Beginner) -> None:
    """With --yes nothing is guessed: the files are there, each gap with its line, and the exit code says so."""
    said = beginner.init(export(beginner, order_no=None, currency=None), "--client", "acme", "--yes")

    todo = ["pixel_id", "timezone", "event.name", "event.id", "event.action_source"]
    check = beginner.run("check")
    assert (said.code, check.code) == (2, 2)
    assert all(place in said.out and place in check.err for place in todo)
    assert beginner.text("dags/uploads/sales.yml").count("# TODO: ") >= 4
    assert "5 to 20 digits, as Events Manager shows it" in said.out
    assert "window.timezone  has no value; give one, or remove the key. TODO: values have no time zone" in check.err


def test_a_purchase_without_a_currency_does_not_pass_check(beginner: Beginner) -> None:
    said = beginner.init(export(beginner, currency=None), *KNOWN, "--yes")

    assert said.code == 2
    assert "custom_data.currency" in said.out
    assert "no column holds ISO 4217 codes" in said.out


# ---------------------------------------------------------------------------------------------- what is there


def test_an_upload_that_exists_is_not_touched_without_force(beginner: Beginner) -> None:
    file = export(beginner)
    beginner.init(file, *KNOWN, "--yes")
    (beginner.home / "dags/uploads/sales.yml").write_text("mine: true\n", encoding="utf-8")

    refused = beginner.init(file, *KNOWN, "--yes")
    kept = beginner.text("dags/uploads/sales.yml")
    forced = beginner.init(file, *KNOWN, "--yes", "--force")

    assert (refused.code, kept) == (2, "mine: true\n")
    assert 'there is an upload "sales" in dags/uploads already' in refused.err
    assert forced.code == 0, forced.err
    assert beginner.upload("sales")["client"] == "acme"


def test_a_second_client_is_added_and_nothing_else_is_changed(beginner: Beginner) -> None:
    beginner.init(export(beginner), *KNOWN, "--yes")
    before = beginner.text("dags/clients.yml")
    other = ("--name", "more", "--client", "other", "--pixel", "9876543210", *KNOWN[4:], "--yes")

    said = beginner.init(export(beginner), *other)

    assert said.code == 0, said.err
    assert set(beginner.config().clients) == {"acme", "other"}
    assert all(line in beginner.text("dags/clients.yml").splitlines() for line in before.splitlines())


@pytest.mark.parametrize(
    "clients",
    [
        "clients: {acme: {pixel_id: 1234567890, token: {env: T}}}\n",
        "clients:\n      acme: {pixel_id: 1234567890, token: {env: T}}\n",
    ],
)
def test_a_file_that_cannot_be_added_to_by_rule_stays_as_it_is(beginner: Beginner, clients: str) -> None:
    """Other indents, or all in one line: a person adds the lines, which are shown."""
    (beginner.home / "dags").mkdir()
    (beginner.home / "dags/clients.yml").write_text(clients, encoding="utf-8")

    said = beginner.init(export(beginner), "--client", "other", *KNOWN[2:], "--yes", "--force")

    assert said.code == 2
    assert "token: {env: OTHER_TOKEN}" in said.err
    assert beginner.text("dags/clients.yml") == clients
    assert not (beginner.home / "dags/uploads").exists()


def test_a_broken_configuration_is_not_built_upon(beginner: Beginner) -> None:
    (beginner.home / "dags").mkdir()
    (beginner.home / "dags/clients.yml").write_text("clients: {acme: {pixel_id: 1}}\n", encoding="utf-8")

    said = beginner.init(export(beginner), *KNOWN, "--yes")

    assert said.code == 2
    assert "pixel_id" in said.err
    assert not (beginner.home / "dags/uploads").exists()


# ---------------------------------------------------------------------------------------------- flags


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--timezone", "Europe/Berln"], 'did you mean "Europe/Berlin"'),
        (["--pixel", "12"], "5 to 20 digits"),
        (["--country", "UK"], "not UK"),
        (["--currency", "Euro"], "ISO 4217"),
        (["--action-source", "shop"], "physical_store"),
        (["--time", "sold"], 'did you mean "sold_at"'),
        (["--id", "{order}-x"], '"order"'),
        (["--id", "{order"], "name a column"),
        (["--map", "mail_addr"], "KEY=COLUMN"),
        (["--map", "email=mail_addr"], 'did you mean "em"'),
        (["--map", "em=mail"], 'no column "mail"'),
        (["--client", "a b"], "letters, digits"),
        (["--name", "../sales"], "letters, digits"),
        (["--external-id", "paramter_builder"], 'did you mean "parameter_builder"'),
    ],
)
def test_a_flag_that_cannot_be_is_refused_with_what_could(
    beginner: Beginner, arguments: list[str], message: str
) -> None:
    said = beginner.init(export(beginner), *KNOWN, *arguments, "--yes")

    assert said.code == 2
    assert message in said.err
    assert not (beginner.home / "dags").exists()
