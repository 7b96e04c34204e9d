"""Where an upload is prepared: short and long spellings, and what an engine cannot do is refused by name."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from offline_capi.cli import app
from offline_capi.cli.uploads import set_engine
from offline_capi.config import load_config
from offline_capi.config.upload import Engine
from offline_capi.errors import ConfigError, UsageError
from tests.config.good_folder import CLIENTS

UPLOAD = """
client: acme_bank
source: {path: approvals.csv}
window: {column: approved_at}
event: {name: CreditApproval, id: application_id, action_source: system_generated}
user_data: {em: email, ct: towns.name}
"""
PLAIN = UPLOAD.replace(", ct: towns.name", "")


@pytest.mark.parametrize(
    ("written", "engine"),
    [
        ("local", Engine()),
        ("processes", Engine(processes="auto")),
        ("{processes: 3}", Engine(processes=3)),
        ("spark", Engine(spark=True)),
        ("{spark: true}", Engine(spark=True)),
    ],
)
def test_an_engine_is_named_or_described(write_folder, written: str, engine: Engine) -> None:
    folder = write_folder(approvals=f"{PLAIN}engine: {written}\n")

    assert load_config(folder).uploads["approvals"].engine == engine


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("sparc", r'"sparc" is no engine; did you mean "spark"\? local, processes, spark|"sparc" is no engine'),
        ("{spark: true, processes: 2}", "has one of processes and spark"),
    ],
)
def test_an_engine_that_is_none_is_refused(write_folder, written: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_config(write_folder(approvals=f"{PLAIN}engine: {written}\n"))


def test_what_spark_cannot_do_is_refused_each_with_its_line(write_folder) -> None:
    folder = write_folder(
        CLIENTS,
        approvals=f"{UPLOAD}engine: spark\nlookups: {{towns: {{path: towns.csv, by: town, key: id}}}}\n"
        "filter: [{first_of: [email]}]\nexpect: [{unique: [email]}]\ntransform: 'mine:clean'\n",
    )

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    found = {one.path: one.message for one in caught.value.problems if "engine: spark" in one.message}
    assert sorted(found) == ["expect[0].unique", "filter[0].first_of", "lookups.towns", "transform"]


def test_check_says_that_a_query_is_prepared_where_the_run_is_started(write_folder) -> None:
    source = "{connection: shop, sql: SELECT email FROM t WHERE d >= :since AND d < :until}"
    folder = write_folder(approvals=f"{PLAIN.replace('{path: approvals.csv}', source)}engine: spark\n")

    said = CliRunner().invoke(app, ["check", "--json", "--config", str(folder)])

    assert said.exit_code == 0, said.output
    (warning,) = json.loads(said.stdout)["warnings"]
    assert warning.startswith("approvals: engine: spark spreads files and")


def test_settings_of_spark_hold_no_secret(write_folder) -> None:
    conf = "{spark: {conf: {spark.hadoop.fs.s3a.secret.key: abc}}}"
    folder = write_folder(CLIENTS.replace("{partner_agent: datapartner}", conf))

    with pytest.raises(ConfigError, match=r"spark\.hadoop\.fs\.s3a\.secret\.key.* would be a secret") as caught:
        load_config(folder)

    assert "abc" not in str(caught.value)


def test_the_command_line_chooses_another_engine(write_folder) -> None:
    upload = load_config(write_folder(approvals=f"{PLAIN}engine: spark\n")).uploads["approvals"]

    assert set_engine(upload, None, None) is upload
    assert set_engine(upload, "local", None).engine == Engine()
    assert set_engine(upload, None, "2").engine == Engine(processes=2)
    for name, processes in (("flink", None), (None, "many"), ("spark", "2")):
        with pytest.raises(UsageError):
            set_engine(upload, name, processes)
