"""Secrets stand in no file of ours, and show themselves to nobody who does not ask."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from pathlib import Path

import pytest

from offline_capi.config import EnvironmentSecrets, Secret, SecretRef, load_config, load_each, resolve_database_url
from offline_capi.config.secrets import convert_connection_to_url
from offline_capi.errors import ConfigError
from tests.config.good_folder import CLIENTS, UPLOAD

# Assembled, so that no scanner of repositories takes this file for a leak.
TOKEN = "EA" + "AGm0PX4ZCps" + "CANARYcanary" * 4
APP_TOKEN = "1234567890123" + "|" + "canaryCANARY" * 2
PASSWORD = "canary-pass-phrase"
URL = f"postgresql://sender:{PASSWORD}@db.internal/warehouse"
CANARIES = (TOKEN, APP_TOKEN, PASSWORD)


# ---------------------------------------------------------------------------------------------- in YAML


@pytest.mark.parametrize(
    "clients",
    [
        CLIENTS.replace("{env: ACME_BANK_TOKEN}", TOKEN),
        CLIENTS.replace("{env: ACME_BANK_TOKEN}", PASSWORD),
        CLIENTS.replace("{env: ACME_BANK_TOKEN}", f"{{env: {TOKEN}}}"),
        CLIENTS.replace("{env: ACME_BANK_TOKEN}", f"{{value: {TOKEN}}}"),
        CLIENTS.replace("{env: ACME_BANK_TOKEN}", f"[{TOKEN}]"),
        CLIENTS.replace("token: {env: ACME_BANK_TOKEN}", f"access_token: {PASSWORD}"),
        CLIENTS.replace("token: {env: ACME_BANK_TOKEN}", f"token: {{env: X}}, app_secret: {PASSWORD}"),
        CLIENTS.replace("token: {env: ACME_BANK_TOKEN}", f"token: {{env: X}}, password: {PASSWORD}"),
        CLIENTS.replace("token: {env: ACME_BANK_TOKEN}", f'token: {{env: X}}, note: "{APP_TOKEN}"'),
        CLIENTS.replace("acme_bank", TOKEN),
        CLIENTS.replace("datapartner", TOKEN),
        CLIENTS.replace("datapartner}", f'datapartner, ledger: "{URL}"}}'),
        CLIENTS.replace("datapartner}", f'datapartner, graph_url: "{URL}"}}'),
        f"{CLIENTS}\n# the old one: {TOKEN}\n",
    ],
)
def test_p09_a_secret_in_the_file_is_refused_and_never_shown(write_folder, clients: str) -> None:
    folder = write_folder(clients)

    with pytest.raises(ConfigError) as caught:
        load_config(folder)
    _, errors = load_each(folder)

    said = f"{caught.value!r} {caught.value} {errors} {[str(error) for error in errors.values()]}"
    assert "which must never stand in this file" in said
    assert not any(canary in said for canary in CANARIES)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_p09_broken_yaml_is_described_without_quoting_it(write_folder) -> None:
    folder = write_folder(approvals=f"client: *{TOKEN}\n", sales=f'client: "\\{PASSWORD}"', third=f"&{TOKEN} a: &b [")

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    assert not any(canary in str(caught.value) for canary in CANARIES)


@pytest.mark.parametrize("note", [f"password {PASSWORD}", f"the token was {PASSWORD}", f"use {URL}"])
def test_p09_a_todo_that_speaks_of_a_secret_is_not_repeated(write_folder, note: str) -> None:
    """Others are, beside the problem of their line."""
    shop = 'corner_shop: {pixel_id: "1200000000000002", token: {env: CORNER_SHOP_TOKEN}}'
    said = []
    for todo in (note, "which pixel?"):
        folder = write_folder(CLIENTS.replace(shop, f"corner_shop: {{pixel_id: , token: {{env: T}}}}  # TODO: {todo}"))
        with pytest.raises(ConfigError) as caught:
            load_config(folder)
        said.append(str(caught.value))

    assert PASSWORD not in said[0]
    assert "TODO: which pixel?" in said[1]


def test_a_refused_secret_comes_with_the_way_to_do_it_right(write_folder) -> None:
    folder = write_folder(CLIENTS.replace("{env: ACME_BANK_TOKEN}", TOKEN))

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("clients.acme_bank.token", 4)
    assert "{env: NAME_OF_VARIABLE}" in problem.message
    assert "renew the secret" in problem.message


def test_a_connection_that_is_a_url_with_a_password_is_refused(write_folder) -> None:
    source = f'source: {{connection: "{URL}", sql: "SELECT 1 WHERE a >= :since AND a < :until"}}'
    folder = write_folder(approvals=UPLOAD.replace("source: {path: approvals.csv}", source))

    with pytest.raises(ConfigError, match="OFFLINE_CAPI_CONN_<NAME>") as caught:
        load_config(folder)

    assert PASSWORD not in str(caught.value)


def test_columns_may_be_called_token(write_folder) -> None:
    """In ``map`` and ``properties`` the keys are the author's own words."""
    custom = "custom_data: {properties: {token: loyalty_token, password: {column: x, map: {secret: hidden}}}}\n"

    upload = load_config(write_folder(approvals=UPLOAD + custom)).uploads["approvals"]

    assert upload.custom_data.properties["token"].column == "loyalty_token"


# ---------------------------------------------------------------------------------------------- the type


def test_p09_a_secret_shows_itself_only_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(TOKEN)
    caplog.set_level(logging.INFO)

    logging.getLogger("test").info("token %s %r %s", secret, secret, {"token": secret})
    shown = f"{secret} {secret!r} {secret:>20} {[secret]} {'%s' % secret} {caplog.text}"  # noqa: UP031

    assert TOKEN not in shown
    assert secret.reveal() == TOKEN


def test_a_secret_does_not_travel() -> None:
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(Secret(TOKEN))
    with pytest.raises(TypeError):
        json.dumps(Secret(TOKEN))


def test_secrets_are_compared_by_value_and_only_with_secrets() -> None:
    assert Secret("ä") == Secret("ä")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), copy.deepcopy(Secret("a")), Secret("b")}) == 2
    assert not Secret("")


# ---------------------------------------------------------------------------------------------- the environment


def test_a_token_is_found_where_its_reference_says(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-8")
    secrets = EnvironmentSecrets({"ACME_BANK_TOKEN": f" {TOKEN}\n", "AIRFLOW_CONN_META_ACME": f"meta-capi://:{TOKEN}@"})

    places = ({"env": "ACME_BANK_TOKEN"}, {"file": tmp_path / "token"}, {"connection": "meta_acme"})

    assert [secrets.token(SecretRef(**place)).reveal() for place in places] == [TOKEN] * 3


@pytest.mark.parametrize(
    "connection",
    [
        json.dumps({"conn_type": "meta_capi", "password": TOKEN}),
        json.dumps({"conn_type": "meta_capi", "extra": {"access_token": TOKEN}}),
        json.dumps({"conn_type": "meta_capi", "extra": json.dumps({"access_token": TOKEN})}),
        f"meta-capi://pixel:{TOKEN}@graph.facebook.com",
        f"meta-capi:///?access_token={TOKEN}",
        "meta-capi:///?__extra__=%7B%22access_token%22%3A%22" + TOKEN + "%22%7D",
    ],
)
def test_a_token_is_read_from_any_spelling_of_an_airflow_connection(connection: str) -> None:
    secrets = EnvironmentSecrets({"AIRFLOW_CONN_META_ACME": connection})

    assert secrets.token(SecretRef(connection="meta_acme")) == Secret(TOKEN)


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ({"env": "ACME_BANK_TOKEN"}, "set the environment variable ACME_BANK_TOKEN"),
        ({"env": "EMPTY"}, "set the environment variable EMPTY"),
        ({"file": "/nowhere/token"}, "the secret's file /nowhere/token cannot be read: No such file"),
        ({"connection": "meta.acme"}, "set OFFLINE_CAPI_CONN_META_ACME or AIRFLOW_CONN_META.ACME"),
        ({"connection": "bare"}, "AIRFLOW_CONN_BARE has neither a password nor extra.access_token"),
    ],
)
def test_what_is_not_found_says_where_was_looked(ref: dict[str, str], said: str) -> None:
    secrets = EnvironmentSecrets({"EMPTY": " ", "AIRFLOW_CONN_BARE": "meta-capi://user@host"})

    with pytest.raises(ConfigError) as caught:
        secrets.token(SecretRef(**ref))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("postgres://u:p%40@h:5432/db?sslmode=require", "postgresql+psycopg://u:p%40@h:5432/db?sslmode=require"),
        ("postgresql://u@h/db", "postgresql+psycopg://u@h/db"),
        ("postgresql+psycopg2://u@h/db", "postgresql+psycopg2://u@h/db"),
        ("postgres://u@h/db?__extra__=%7B%7D", "postgresql+psycopg://u@h/db"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("sqlite://%2Ftmp%2Fa.db", "sqlite:////tmp/a.db"),
        ("duckdb:///a.duckdb", "duckdb:///a.duckdb"),
        ('{"conn_type": "sqlite", "host": "/tmp/a.db"}', "sqlite:////tmp/a.db"),
        (
            '{"conn_type": "postgres", "login": "u", "password": "p@/", "host": "h", "port": 5432, "schema": "db"}',
            "postgresql+psycopg://u:p%40%2F@h:5432/db",
        ),
        (
            '{"conn_type": "postgres", "host": "h", "schema": "db", "extra": "{\\"sslmode\\": \\"require\\"}"}',
            "postgresql+psycopg://h/db?sslmode=require",
        ),
        ("{not json", None),
        ('{"host": "h"}', None),
        ("warehouse", None),
    ],
)
def test_a_connection_becomes_sqlalchemys_url(written: str, url: str | None) -> None:
    assert convert_connection_to_url(written) == url


def test_our_own_variable_comes_before_airflows() -> None:
    both = {"OFFLINE_CAPI_CONN_WAREHOUSE": "sqlite:///ours.db", "AIRFLOW_CONN_WAREHOUSE": "sqlite:///theirs.db"}

    assert EnvironmentSecrets(both).connection_url("warehouse").reveal() == "sqlite:///ours.db"
    assert EnvironmentSecrets({"AIRFLOW_CONN_WAREHOUSE": "sqlite:///a.db"}).connection_url("warehouse")


def test_p09_an_unreadable_connection_is_not_quoted() -> None:
    secrets = EnvironmentSecrets({"OFFLINE_CAPI_CONN_WAREHOUSE": PASSWORD})

    with pytest.raises(ConfigError, match="OFFLINE_CAPI_CONN_WAREHOUSE is neither a URL") as caught:
        secrets.connection_url("warehouse")

    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("sqlite:///ledger.db", "sqlite:///ledger.db"),
        (SecretRef(env="LEDGER"), "postgresql+psycopg://u:p@h/ledger"),
        (SecretRef(connection="ledger"), "sqlite:////var/ledger.db"),
    ],
)
def test_the_ledgers_url_is_written_out_or_referred_to(place: SecretRef | str, url: str) -> None:
    secrets = EnvironmentSecrets(
        {"LEDGER": "postgresql://u:p@h/ledger", "OFFLINE_CAPI_CONN_LEDGER": "sqlite:////var/ledger.db"}
    )

    assert resolve_database_url(place, secrets).reveal() == url
