"""A relation of dbt's becomes an upload: its rows show what they show, and its project answers the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.onboarding.beginner import CANARY, Beginner
from tests.sources.test_dbt import PROJECT
from tests.support.night import yesterday
from tests.support.sandbox_server import PIXEL

ASKED = ("--client", "acme", "--pixel", PIXEL, "--country", "US", "--currency", "USD", "--yes")
MODEL = ("--dbt", "ref('fct_approvals')")


@pytest.fixture
def beginner(tmp_path: Path) -> Beginner:
    (tmp_path / "target").mkdir()
    shutil.copy(PROJECT / "manifest_v12.json", tmp_path / "target" / "manifest.json")
    rows = ", ".join(
        f"('A-{at}', TIMESTAMP '{yesterday('America/New_York')} 09:{at:02}:00', '{CANARY}{at}@example.com', "
        f"'+1415555{1000 + at}', 'US', {at + 1}.5, true)"
        for at in range(8)
    )
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as warehouse:
        warehouse.execute("CREATE SCHEMA marts")
        warehouse.execute(
            f"CREATE TABLE marts.fct_approvals AS SELECT * FROM (VALUES {rows}) AS t(application_id, approved_at, "
            "email, contact, country_code, credit_limit, marketing_consent)"
        )
    url = f"duckdb:///{tmp_path / 'shop.duckdb'}"
    return Beginner(tmp_path, {"ACME_TOKEN": "any", "OFFLINE_CAPI_CONN_WAREHOUSE": url})


def change_manifest(beginner: Beginner, change: Any) -> None:
    path = beginner.home / "target" / "manifest.json"
    data = json.loads(path.read_text())
    change(data["nodes"]["model.shop.fct_approvals"])
    path.write_text(json.dumps(data))


def test_a_model_becomes_an_upload_whose_night_is_planned(beginner: Beginner) -> None:
    """Event and zone are the model's own word, ``contact`` its column's; the description alone would not do."""
    said = beginner.init(*MODEL, "--connection", "warehouse", *ASKED)

    assert said.code == 0, said.err
    assert "8 read = 8 sent" in said.out
    assert CANARY not in said.out
    upload = beginner.upload("fct_approvals")
    assert upload["source"] == {"dbt": "ref('fct_approvals')"}
    assert upload["window"] == {"column": "approved_at", "timezone": "America/New_York"}
    assert upload["event"]["name"] == "CreditApproval"
    assert upload["user_data"] == {"em": "email", "ph": "contact", "country": "country_code"}
    assert "has it" in (beginner.home / "dags" / "uploads" / "fct_approvals.yml").read_text()
    assert beginner.call("check", "fct_approvals", "--connect").code == 0
    again = beginner.init(*MODEL, "--manifest", "other.json", *ASKED, "--name", "second")
    assert "says where dbt's relations are" in again.err


def test_tags_and_descriptions_count_where_the_values_bear_them_out(beginner: Beginner) -> None:
    """``ref`` holds e-mail addresses and says so; ``code`` says so as well, and holds none."""

    def rename(node: dict[str, Any]) -> None:
        node["meta"] = node["config"]["meta"] = {}
        columns = node["columns"]
        columns["contact"]["meta"] = columns["contact"]["config"]["meta"] = {}
        columns["country_code"]["tags"] = ["pii:email"]
        columns["country_code"]["config"]["tags"] = ["pii:email"]

    change_manifest(beginner, rename)
    asked = (*ASKED, "--event", "CreditApproval", "--action-source", "email", "--timezone", "America/New_York")

    said = beginner.init(*MODEL, "--connection", "warehouse", *asked)

    assert said.code == 0, said.err
    assert beginner.upload("fct_approvals")["user_data"] == {"em": "email", "ph": "contact", "country": "country_code"}


def test_what_a_project_cannot_mean_is_named(beginner: Beginner) -> None:
    warehouse = ("--connection", "warehouse")
    for arguments, told in (
        (("--dbt", "fct_approvals", *warehouse), "needs ref('model')"),
        (("--dbt", "ref('fct_aprovals')", *warehouse), 'did you mean "fct_approvals"?'),
        (MODEL, "--connection NAME"),
        ((*MODEL, "--delta", "a"), "name one source"),
        (("--manifest", "a", "b.csv"), "--manifest belongs to --dbt"),
    ):
        said = beginner.init(*arguments, *ASKED)
        assert said.code != 0
        assert told in said.err
    change_manifest(beginner, lambda node: node["columns"]["contact"]["config"]["meta"].update(offline_capi="phone"))
    assert 'meta.offline_capi of the column contact is "phone", which' in beginner.init(*MODEL, *warehouse, *ASKED).err
    assert not (beginner.home / "dags").exists()
