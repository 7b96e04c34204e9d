"""Tokens and warehouses from Airflow connections, and the Test button."""

from __future__ import annotations

import json

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
        ({"url": "http://127.0.0.1:9"}, "no connection to"),
    ],
)
def test_the_test_button_says_what_is_wrong_and_shows_no_token(airflow, sandbox, faulty, told):
    ok, message = airflow.connection_test("shop", meta_capi(sandbox, **faulty))

    assert not ok
    assert told in message
    assert "EAA" not in message


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


def test_the_form_of_a_connection_begins_with_the_endpoint_that_clients_yml_has_by_default():
    (form,) = (one["conn-fields"] for one in get_provider_info()["connection-types"])

    assert {name: form[name]["schema"]["default"] for name in ("graph_url", "graph_version")} == {
        "graph_url": Platform().graph_url,
        "graph_version": Platform().graph_version,
    }
