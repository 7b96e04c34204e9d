"""A token goes where the operator sends it, and encrypted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from offline_capi.config import Platform, load_config
from offline_capi.config.loading import SharedEnvironment, load_one
from offline_capi.errors import ConfigError
from tests.config.good_folder import CLIENTS

PLAIN = [
    "http://graph.facebook.com",
    "http://10.0.0.7:8420",
    "http://0.0.0.0:8420",
    "http://sandbox:8420",
    "http://127.0.0.1.evil.example",
    "http://127.1",
    "http://localhost.evil.example",
    "http://[2001:db8::1]:8420",
    "http://127.0.0.1\\.evil.example",
]
LOOPBACK = [
    "http://127.0.0.1:8420",
    "http://127.9.9.9",
    "http://localhost:8420",
    "http://[::1]:8420",
    "http://a.localhost",
]


def platform(settings: str) -> str:
    return CLIENTS.replace("partner_agent: datapartner", settings)


@pytest.mark.parametrize("url", PLAIN)
def test_p09_http_to_another_machine_is_refused_in_the_file_and_in_the_environment(write_folder, url: str):
    """``http://graph.facebook.com`` was taken: token and events went out in clear text (S11)."""
    with pytest.raises(ConfigError, match=r"clients\.yml:2  platform\.graph_url  would send the token in clear text"):
        load_config(write_folder(platform(f"graph_url: '{url}'")), environ={})
    with pytest.raises(ConfigError, match=r"environment.*OFFLINE_CAPI_GRAPH_URL  would send the token in clear text"):
        load_config(write_folder(), environ={"OFFLINE_CAPI_GRAPH_URL": url})


@pytest.mark.parametrize("url", [*LOOPBACK, "https://graph.facebook.com", "https://proxy.example/graph"])
def test_https_is_taken_and_this_machine_without_it(write_folder, url: str):
    assert load_config(write_folder(platform(f"graph_url: '{url}'")), environ={}).platform.graph_url == url
    assert load_config(write_folder(), environ={"OFFLINE_CAPI_GRAPH_URL": f"{url}/"}).platform.graph_url == url


@pytest.mark.parametrize("url", PLAIN[:4])
def test_http_is_taken_where_the_file_allows_it(write_folder, url: str):
    folder = write_folder(platform(f"graph_url: '{url}', allow_http: true"))

    assert load_config(folder, environ={}).platform.graph_url == url
    assert load_config(folder, environ={"OFFLINE_CAPI_GRAPH_URL": PLAIN[0]}).platform.graph_url == PLAIN[0]


def test_a_login_returns_encrypted():
    app = {"id": "12345", "secret": {"env": "SECRET"}, "redirect_uri": "http://evil.example/back"}

    with pytest.raises(ValueError, match="clear text"):
        Platform.model_validate({"app": app})
    assert Platform.model_validate({"app": {**app, "redirect_uri": "http://localhost:9000/back"}}).app


class Variables(SharedEnvironment):
    """As Airflow's: nothing here is the process's own."""

    def __init__(self, **values: str) -> None:
        self._values = values

    def is_shared(self, name: str) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def test_p09_where_tokens_go_is_not_said_by_a_shared_variable(write_folder):
    """It is refused and not passed over: whoever set it rehearses, and events must not go to Meta instead."""
    with pytest.raises(
        ConfigError, match=r"OFFLINE_CAPI_GRAPH_URL  is an Airflow variable: .*graph_url_variable: true"
    ):
        load_config(write_folder(), environ=Variables(OFFLINE_CAPI_GRAPH_URL="https://evil.example"))


def test_p09_an_upload_that_is_loaded_alone_says_so_too(write_folder):
    """A task loads its own upload only: what is wrong with the environment was not in its message."""
    with pytest.raises(ConfigError, match="OFFLINE_CAPI_GRAPH_URL  is an Airflow variable"):
        load_one(write_folder(), "approvals", environ=Variables(OFFLINE_CAPI_GRAPH_URL="https://evil.example"))
    with pytest.raises(ConfigError, match="OFFLINE_CAPI_GRAPH_URL  would send the token in clear text"):
        load_one(write_folder(), "approvals", environ={"OFFLINE_CAPI_GRAPH_URL": "http://evil.example"})


def test_unless_the_file_says_so(write_folder):
    folder = write_folder(platform("graph_url_variable: true"))

    found = load_config(folder, environ=Variables(OFFLINE_CAPI_GRAPH_URL="https://proxy.example"))

    assert found.platform.graph_url == "https://proxy.example"
    with pytest.raises(ConfigError, match="clear text"):
        load_config(folder, environ=Variables(OFFLINE_CAPI_GRAPH_URL="http://proxy.example"))
