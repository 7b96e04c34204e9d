"""A folder becomes a deployment; what is broken never hides what is good."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from offline_capi.config import SecretRef, Upload, load_config, load_each, load_one
from offline_capi.errors import ConfigError, UsageError
from tests.config.good_folder import CLIENTS, UPLOAD

DAGS = Path(__file__).parents[2] / "dags"


# ---------------------------------------------------------------------------------------------- the real folder


def test_the_deployment_in_the_repository_is_valid() -> None:
    deployment = load_config(DAGS, environ={})

    assert sorted(deployment.uploads) == ["credit_approvals", "store_purchases"]
    assert sorted(deployment.clients) == ["acme_bank", "corner_shop", "nordic_outlet"]
    assert deployment.uploads["credit_approvals"].window.lookback == timedelta(days=2)
    assert deployment.clients["nordic_outlet"].country == "NO"


def test_short_and_long_spellings_are_the_same_upload(write_folder) -> None:
    long = UPLOAD.replace("client: acme_bank", "client: {constant: acme_bank}")
    long = long.replace('id: "approval-{application_id}"', 'id: {template: "approval-{application_id}"}')
    long = long.replace("em: email", "em: [{column: email}]")

    uploads = load_config(write_folder(short=UPLOAD, long=long)).uploads

    assert uploads["short"].model_copy(update={"name": ""}) == uploads["long"].model_copy(update={"name": ""})


def test_defaults_can_be_shared_with_anchors(write_folder) -> None:
    shared = UPLOAD.replace("window: {", "window: {<<: &zone {timezone: Asia/Tokyo}, ")

    upload = load_config(write_folder(approvals=shared)).uploads["approvals"]

    assert upload.window.timezone == "America/New_York", "what a mapping says itself wins over what it merges in"


def test_settings_survive_json() -> None:
    for upload in load_config(DAGS).uploads.values():
        assert Upload.model_validate_json(upload.model_dump_json()) == upload


def test_hidden_files_of_editors_are_no_uploads(write_folder) -> None:
    folder = write_folder()
    (folder / "uploads" / ".#approvals.yml").write_text("{", encoding="utf-8")

    assert list(load_config(folder).uploads) == ["approvals"]


# ---------------------------------------------------------------------------------------------- one by one


def test_a_broken_upload_leaves_the_others(write_folder) -> None:
    folder = write_folder(good=UPLOAD, typo=UPLOAD.replace("em:", "email:"), torn="client: [")

    deployment, errors = load_each(folder)

    assert list(deployment.uploads) == ["good"]
    assert sorted(errors) == ["torn", "typo"]
    assert "did you mean" in str(errors["typo"])
    assert all(problem.file.endswith("torn.yml") for problem in errors["torn"].problems)


def test_a_broken_client_stops_its_own_uploads_only(write_folder) -> None:
    clients = CLIENTS.replace("token: {env: CORNER_SHOP_TOKEN}", "tokn: {env: CORNER_SHOP_TOKEN}")
    folder = write_folder(clients, approvals=UPLOAD, sales=UPLOAD.replace("acme_bank", "corner_shop"))

    deployment, errors = load_each(folder)

    assert list(deployment.uploads) == ["approvals"]
    assert list(deployment.clients) == ["acme_bank"]
    assert sorted(errors) == ["clients.yml", "sales"]
    assert 'client "corner_shop" has problems of its own' in str(errors["sales"])


def test_without_sound_platform_settings_nothing_runs(write_folder) -> None:
    """A default instead of a mistyped ledger or endpoint would send events to the wrong place, or twice."""
    folder = write_folder(CLIENTS.replace("partner_agent", "graph_urll"))

    deployment, errors = load_each(folder)

    assert not deployment.uploads
    assert sorted(errors) == ["approvals", "clients.yml"]


def test_two_files_of_one_name_break_that_name_only(write_folder) -> None:
    folder = write_folder(a=UPLOAD, b=UPLOAD)
    (folder / "uploads" / "a.yaml").write_text(UPLOAD, encoding="utf-8")

    deployment, errors = load_each(folder)

    assert (list(deployment.uploads), list(errors)) == (["b"], ["a"])


def test_one_upload_is_loaded_whatever_is_wrong_with_the_others(write_folder) -> None:
    folder = write_folder(good=UPLOAD, torn="client: [")

    assert list(load_one(folder, "good").uploads) == ["good"]
    with pytest.raises(ConfigError, match="a list or mapping that is not closed"):
        load_one(folder, "torn")
    with pytest.raises(UsageError, match=r'no upload "god".*did you mean "good"'):
        load_one(folder, "god")


# ---------------------------------------------------------------------------------------------- environment


def test_the_environment_overrides_the_platform(write_folder) -> None:
    environ = {
        "OFFLINE_CAPI_GRAPH_URL": "http://127.0.0.1:8080/",
        "OFFLINE_CAPI_GRAPH_VERSION": "v25.0",
        "OFFLINE_CAPI_STAGE": "s3://bucket/stage",
        "OFFLINE_CAPI_LEDGER": "postgresql://user:canary@db/ledger",
    }

    platform = load_config(write_folder(), environ=environ).platform

    assert (platform.graph_url, platform.graph_version) == ("http://127.0.0.1:8080", "v25.0")
    assert platform.stage == "s3://bucket/stage"
    assert platform.ledger == SecretRef(env="OFFLINE_CAPI_LEDGER")
    assert "canary" not in repr(platform), "settings hold the place of a password, never the password"


def test_a_ledger_without_a_password_stays_readable(write_folder) -> None:
    environ = {"OFFLINE_CAPI_LEDGER": "sqlite:////var/ledger.db"}

    assert load_config(write_folder(), environ=environ).platform.ledger == "sqlite:////var/ledger.db"


def test_a_faulty_variable_is_blamed_on_the_environment(write_folder) -> None:
    folder = write_folder()

    with pytest.raises(ConfigError, match=r"environment  OFFLINE_CAPI_GRAPH_VERSION  is not a Graph version"):
        load_config(folder, environ={"OFFLINE_CAPI_GRAPH_VERSION": "26"})


def test_variables_in_paths_are_not_needed_at_load(write_folder) -> None:
    folder = write_folder(approvals=UPLOAD.replace("approvals.csv", '"${NOT_SET_ANYWHERE}/{date:%Y%m%d}/*"'))

    assert load_config(folder, environ={}).uploads["approvals"].source.selects_rows_itself


# ---------------------------------------------------------------------------------------------- weight


def test_importing_the_configuration_loads_nothing_heavy() -> None:
    heavy = "{'pandas', 'pyarrow', 'polars', 'sqlalchemy', 'httpx', 'urllib3', 'airflow'}"
    code = f"import sys, offline_capi.config; sys.exit(' '.join({heavy} & set(sys.modules)) or 0)"

    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (finished.returncode, finished.stderr) == (0, "")
