"""Tokens and warehouses from Airflow connections, and the Test button."""

from __future__ import annotations

import json
from typing import Any

import pytest

from offline_capi.airflow_provider.provider import get_provider_info
from offline_capi.config import Platform
from tests.airflow_provider.embedded import EmbeddedAirflow
from tests.support.sandbox_server import OTHER_PIXEL, PIXEL, TOKEN, Sandbox


def meta_capi(sandbox: Sandbox, *, token: str = TOKEN, pixel: str = PIXEL, url: str | None = None) -> dict[str, str]:
    extra = {"pixel_id": pixel, "graph_url": url or sandbox.url}
    return {"AIRFLOW_CONN_SHOP": json.dumps({"conn_type": "meta_capi", "password": token, "extra": extra})}


def test_the_test_button_proves_token_and_pixel_and_stores_nothing(airflow: EmbeddedAirflow, sandbox: Sandbox):
    ok, message = airflow.connection_test("shop", meta_capi(sandbox))

    assert (ok, message) == (True, "token, pixel and permission are right; nothing was stored")
    assert len(sandbox.requests) == 1
    assert sandbox.accepted_ids == []


@pytest.mark.parametrize(
    ("faulty", "told"),
    [
        ({"token": "EAAnobodysTokenAtAll"}, "the token is invalid"),
        ({"pixel": OTHER_PIXEL}, "the token may not use it"),
        ({"pixel": ""}, "names no pixel"),
        ({"token": ""}, "holds no token"),
        ({"token": "***"}, "handed over its mask *** in place of the token"),
        ({"url": "http://127.0.0.1:9"}, "no connection to"),
    ],
)
def test_the_test_button_says_what_is_wrong_and_shows_no_token(airflow, sandbox, faulty, told):
    ok, message = airflow.connection_test("shop", meta_capi(sandbox, **faulty))

    assert not ok
    assert told in message
    assert "EAA" not in message


def test_every_field_of_the_form_is_used_by_the_test_button(airflow: EmbeddedAirflow, sandbox: Sandbox):
    sandbox.grant(TOKEN, [PIXEL], app_secret="app-secret")
    extra = {
        "pixel_id": PIXEL,
        "app_secret": "app-secret",
        "partner_agent": "datapartner",
        "graph_url": sandbox.url,
        "allow_http": True,
        "graph_version": "v26.0",
        "test_event_code": "TEST12345",
    }
    connection = json.dumps({"conn_type": "meta_capi", "password": TOKEN, "extra": extra})

    ok, message = airflow.connection_test("shop", {"AIRFLOW_CONN_SHOP": connection})

    assert {*extra} == {*form_of_connections()}
    assert (ok, message) == (True, "token, pixel and permission are right; nothing was stored")
    (request,) = sandbox.requests
    assert request["version"] == 26
    assert request["fields"]["partner_agent"] == "datapartner"
    assert request["fields"]["test_event_code"] == "TEST12345"


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"pixel_id": TOKEN}, "pixel_id does not look like one. The form says: The number of 5 to 20 digits."),
        (
            {"graph_version": "27"},
            "graph_version does not look like one. The form says: Version of the Graph API, such",
        ),
        ({"partner_agent": "x"}, "partner_agent needs fewer than 23 characters and at least two letters"),
    ],
)
def test_what_airflows_form_stores_although_it_cannot_be_right_is_named_before_anything_is_sent(
    airflow: EmbeddedAirflow, sandbox: Sandbox, extra: dict[str, str], told: str
):
    """Airflow's form shows no error for a value that its pattern excludes, and Meta's answers do not name the field."""
    connection = {"conn_type": "meta_capi", "password": TOKEN, "extra": {"pixel_id": PIXEL, "graph_url": sandbox.url}}
    connection["extra"] |= extra

    ok, message = airflow.connection_test("shop", {"AIRFLOW_CONN_SHOP": json.dumps(connection)})

    assert not ok
    assert told in message
    assert TOKEN not in message
    assert sandbox.requests == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://evil.example", "neither https://graph.facebook.com nor on this machine"),
        ("http://evil.example", "would send the token in clear text"),
        ("http://graph.facebook.com", "would send the token in clear text"),
        ("https://graph.facebook.com.evil.example", "neither https://graph.facebook.com nor on this machine"),
        ("ftp://127.0.0.1", "is not an http(s) address"),
    ],
)
def test_p09_a_connection_does_not_take_its_token_to_another_host(airflow: EmbeddedAirflow, sandbox, url, told):
    """Who may edit a connection without seeing its password had it sent anywhere by the Test button (S11)."""
    ok, message = airflow.connection_test("shop", meta_capi(sandbox, url=url))

    assert not ok
    assert told in message


def test_p09_unless_the_environment_of_the_process_names_it(airflow: EmbeddedAirflow, sandbox: Sandbox):
    url = "https://proxy.invalid"

    ok, message = airflow.connection_test("shop", meta_capi(sandbox, url=url) | {"OFFLINE_CAPI_GRAPH_URL": url})

    assert (ok, "no connection to" in message) == (False, True)


@pytest.mark.parametrize(
    ("connection", "token"),
    [
        ({"conn_type": "meta_capi", "password": "from-password"}, "from-password"),
        ({"conn_type": "meta_capi", "extra": {"access_token": "from-extra"}}, "from-extra"),
    ],
)
def test_a_token_is_a_connections_password_or_its_access_token(airflow: EmbeddedAirflow, connection, token):
    found = airflow.secrets({"AIRFLOW_CONN_SHOP": json.dumps(connection)}, token="shop")

    assert found == {"token": token}


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        (
            {"conn_type": "postgres", "host": "db", "port": 5432, "login": "me", "password": "p@ss", "schema": "sales"},
            "postgresql+psycopg://me:p%40ss@db:5432/sales",
        ),
        ({"conn_type": "sqlite", "host": "/data/warehouse.db"}, "sqlite:////data/warehouse.db"),
    ],
)
def test_a_warehouse_is_a_connection_with_the_driver_that_is_installed(airflow: EmbeddedAirflow, connection, url):
    found = airflow.secrets({"AIRFLOW_CONN_WAREHOUSE": json.dumps(connection)}, url="warehouse")

    assert found == {"url": url}


def test_what_is_no_airflow_connection_is_taken_from_the_environment(airflow: EmbeddedAirflow):
    found = airflow.secrets({"OFFLINE_CAPI_CONN_WAREHOUSE": "sqlite:///w.db"}, url="warehouse")

    assert found == {"url": "sqlite:///w.db"}


def test_our_own_variable_comes_before_airflows_connection(airflow: EmbeddedAirflow):
    """So that a connection that only Airflow's hook can use has a way out, which its message names."""
    by_hook = json.dumps({"conn_type": "postgres", "host": "db", "login": "me", "extra": {"iam": True}})
    ours = {"OFFLINE_CAPI_CONN_WAREHOUSE": "postgresql://me:pw@db/sales"}

    with pytest.raises(AssertionError, match="Write SQLAlchemy's URL into OFFLINE_CAPI_CONN_WAREHOUSE"):
        airflow.secrets({"AIRFLOW_CONN_WAREHOUSE": by_hook}, url="warehouse")
    found = airflow.secrets({"AIRFLOW_CONN_WAREHOUSE": by_hook, **ours}, url="warehouse")

    assert found == {"url": "postgresql+psycopg://me:pw@db/sales"}


@pytest.mark.parametrize("prefix", ["OFFLINE_CAPI_CONN", "AIRFLOW_CONN"])
def test_p09_the_url_of_a_warehouse_is_masked_in_airflows_logs_wherever_it_comes_from(airflow: EmbeddedAirflow, prefix):
    found = airflow.masked({f"{prefix}_MASKED": "postgresql://me:notforlogs@db/sales"}, url="masked")

    assert "notforlogs" not in found["url"]


def test_what_is_nowhere_is_an_error_that_says_where_to_put_it(airflow: EmbeddedAirflow):
    with pytest.raises(AssertionError, match=r'ConfigError: connection "warehouse" is not known: set'):
        airflow.secrets({}, url="warehouse")


def form_of_connections() -> dict[str, Any]:
    (form,) = (one["conn-fields"] for one in get_provider_info()["connection-types"])
    return dict(form)


def test_airflow_offers_the_form_with_a_help_text_for_each_field(airflow: EmbeddedAirflow):
    ((status, text),) = airflow.pages({}, "/ui/connections/hook_meta")

    assert status == 200
    (offered,) = (one for one in json.loads(text) if one["connection_type"] == "meta_capi")
    assert {*offered["extra_fields"]} == {*form_of_connections()}
    assert [name for name, field in offered["extra_fields"].items() if not field["description"]] == []
    standard = offered["standard_fields"]
    assert {name for name, field in standard.items() if field and not field["hidden"]} == {"password", "port"}
    assert all(standard[name]["placeholder"] for name in ("password", "port"))


def test_the_form_of_a_connection_begins_with_the_endpoint_that_clients_yml_has_by_default():
    form = form_of_connections()

    assert {name: form[name]["schema"]["default"] for name in ("graph_url", "graph_version")} == {
        "graph_url": Platform().graph_url,
        "graph_version": Platform().graph_version,
    }
