"""Nothing that a YAML file holds is evaluated by Airflow's templates, which know every connection's password."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.airflow_provider.embedded import REPOSITORY, EmbeddedAirflow

PASSWORD, VARIABLE, PRODUCT = "s3cr3tcanaryPW", "s3cr3tcanaryVAR", str(7 * 1910191)
SECRETS = {
    "AIRFLOW_CONN_WAREHOUSE": f"postgresql://reader:{PASSWORD}@127.0.0.1:9/shop",
    "AIRFLOW_VAR_PLAINVAR": VARIABLE,
}
EVALUATED = "{{ var.value.plainvar }} {{ conn.warehouse.password }} {{ 7*1910191 }}"
#: A statement, a comment and a variable without an end: Jinja fails on each of them.
HALVES = ("{% for", "{# odd", "{{ odd")
UPLOAD = """
client: corner_shop
description: "DESCRIPTION"
source: {path: "nowhere/{date}.csv"}
window: {column: at, timezone: UTC}
event: {name: Purchase, id: "o-{order_id}", action_source: other}
user_data: {em: email}
airflow:
  owner: "OWNER"
  tags: ["TAG"]
  notify: {failure: {call: "tests.airflow_provider.told:keep", arguments: {name: "ARGUMENT"}}}
"""
#: Where a text can stand in a file that is broken by it.
BROKEN = {
    "key": '"TEXT": 1',
    "nested_key": 'delivery: {"TEXT": 1}',
    "value": 'schedule: "TEXT"',
    "name_of_a_client": 'client: "TEXT"',
    "notifier": 'airflow: {notify: {failure: {call: "TEXT"}}}',
    "arguments": 'airflow: {notify: {failure: {call: "a.b:c", arguments: {"TEXT": {}}}}}',
    "transform": 'transform: "TEXT"',
}


def broken(place: str, text: str) -> str:
    own = BROKEN[place].replace("TEXT", text)
    section = own.partition(":")[0]
    kept = UPLOAD.split("airflow:")[0].splitlines()
    return "\n".join([*(line for line in kept if not line.startswith(f"{section}:")), own, ""])


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAirflow]:
    place = tmp_path_factory.mktemp("{{ 7*1910191 }}")
    for folder in ("dags", "sql"):
        shutil.copytree(REPOSITORY / folder, place / folder)
    (place / "dags" / "offline_capi_config_check.py").unlink()  # it fails, as it should
    clients = place / "dags" / "clients.yml"
    clients.write_text(clients.read_text().replace("platform:\n", "platform:\n  python: tests\n"))
    uploads = place / "dags" / "uploads"
    for path in BROKEN:
        (uploads / f"{path}.yml").write_text(broken(path, EVALUATED))
    for number, half in enumerate(HALVES):
        (uploads / f"half_{number}.yml").write_text(broken("key", half))
    (uploads / f"{EVALUATED}.yml").write_text(broken("key", "misspelt"))
    words = dict.fromkeys(("DESCRIPTION", "OWNER", "TAG", "ARGUMENT"), EVALUATED)
    good = UPLOAD
    for word, text in words.items():
        good = good.replace(word, text)
    (uploads / "good.yml").write_text(good)
    embedded = EmbeddedAirflow(place / "home", place / "dags")
    yield embedded
    embedded.close()


def check_nothing_was_evaluated(airflow: EmbeddedAirflow, run_id: str) -> None:
    shown = f"{airflow.rendered(run_id)} {airflow.log}"
    assert [word for word in (PASSWORD, VARIABLE, PRODUCT) if word in shown] == []
    assert "jinja2.exceptions" not in shown


@pytest.mark.parametrize("place", [*BROKEN, EVALUATED])
def test_p23_a_broken_file_is_quoted_and_never_evaluated(airflow: EmbeddedAirflow, place: str):
    """Its problems were an argument of the task, which Airflow renders: passwords stood in its log (S4)."""
    done = airflow.run(place, SECRETS)

    assert (done.state, done.tasks) == ("failed", {"config_error": "failed"})
    assert EVALUATED in airflow.log
    assert [*airflow.rendered(done.run_id)] == ["config_error"]
    check_nothing_was_evaluated(airflow, done.run_id)


@pytest.mark.parametrize("number", range(len(HALVES)))
def test_p23_half_a_template_fails_with_the_problem_and_not_with_jinjas(airflow: EmbeddedAirflow, number: int):
    done = airflow.run(f"half_{number}", SECRETS)

    assert done.state == "failed"
    assert f"{HALVES[number]}  is not a key here" in airflow.log
    check_nothing_was_evaluated(airflow, done.run_id)


def test_p23_a_good_file_is_not_evaluated_either(airflow: EmbeddedAirflow):
    """Its folder, too, has braces in its name."""
    done = airflow.run("good", SECRETS, since="2026-11-20", until="2026-11-21")

    assert done.tasks["plan"] == "success"
    assert {"plan", "prepare"} <= {*airflow.rendered(done.run_id)}
    check_nothing_was_evaluated(airflow, done.run_id)
