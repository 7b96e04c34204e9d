"""Dockerfile, compose.yml and the chart's values: every file, path, command and setting in them exists.

There is no Docker daemon here. What the containers run is run in this environment, with a real PostgreSQL.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from offline_capi.airflow_provider.provider import get_provider_info
from offline_capi.config import load_config
from tests.support.sandbox_server import Sandbox

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
STATE = "/var/lib/offline_capi"


def read_instructions() -> list[tuple[str, str]]:
    """``(FROM, python:3.11 AS build)``, … in order, with continued lines joined and comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def read_compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yml").read_text()))


def test_every_file_that_the_dockerfile_copies_is_in_the_repository_and_in_the_context():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    stages = [rest.split(" AS ")[-1] for word, rest in read_instructions() if word == "FROM"]
    copied = [rest.split() for word, rest in read_instructions() if word == "COPY"]
    sources = {source for parts in copied if not parts[0].startswith("--from") for source in parts[:-1]}

    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)
    assert {parts[0].removeprefix("--from=") for parts in copied if parts[0].startswith("--from")} <= {*stages}


def test_the_image_is_slim_and_runs_as_nobody_in_particular():
    instructions = read_instructions()
    last = max(number for number, (word, _) in enumerate(instructions) if word == "FROM")
    users = [rest for word, rest in instructions[last:] if word == "USER"]

    assert ("ARG", "PYTHON=3.11-slim-bookworm") in instructions
    assert users == ["50000:0"]
    assert not any(word == "RUN" for word, _ in instructions[last + instructions[last:].index(("USER", users[0])) :])
    assert [rest for word, rest in instructions[last:] if word == "ENTRYPOINT"] == ['["offline-capi"]']
    assert (BIN / "offline-capi").exists()


def test_the_extras_of_the_image_exist_and_hold_what_it_runs():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    default = dict(rest.split("=", 1) for word, rest in read_instructions() if word == "ARG" and "=" in rest)
    asked = {
        default["EXTRAS"],
        *(one["build"]["args"]["EXTRAS"] for one in read_compose()["services"].values() if "build" in one),
    }

    assert {extra for extras in asked for extra in extras.split(",")} <= {*project["optional-dependencies"]}
    assert project["requires-python"] == ">=3.11"
    assert default["AIRFLOW"] in project["optional-dependencies"]["airflow"][0]
    assert {"airflow", "sandbox", "warehouses"} <= {*default["EXTRAS"].split(",")}


def test_compose_names_only_services_volumes_files_and_commands_that_exist():
    compose = read_compose()
    services = compose["services"]

    for name, service in services.items():
        assert {*service.get("depends_on", {})} <= {*services}, name
        assert service.get("network_mode", "service:sandbox").removeprefix("service:") in services
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (ROOT / source).exists(), volume
        if service.get("image") == "offline-capi:local":
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert all(v.endswith(":ro") or v.startswith("state:/var/lib/") for v in service.get("volumes", []))
            command = [*service.get("entrypoint", ["offline-capi"]), *service["command"]]
            assert shutil.which(command[0], path=f"{BIN}:{os.environ['PATH']}"), command
    assert services["sandbox"]["command"][0] == "sandbox"
    assert all(port.startswith("127.0.0.1:") for port in services["sandbox"]["ports"])


def list_airflow_settings() -> set[str]:
    """Every ``AIRFLOW__SECTION__KEY`` that this Airflow knows, from its own table and the provider's."""
    from airflow.configuration import conf

    described = {**conf.configuration_description, **get_provider_info()["config"]}
    return {
        f"AIRFLOW__{section}__{option}".upper()
        for section, content in described.items()
        for option in content["options"]
    }


def test_every_setting_in_compose_and_values_is_known():
    compose = read_compose()
    tokens = {str(client.token.env) for client in load_config(ROOT / "dags").clients.values()}
    other = {"OFFLINE_CAPI_DATA", "OFFLINE_CAPI_CONN_WAREHOUSE", *tokens}
    code = "".join(path.read_text("utf-8") for path in (ROOT / "offline_capi/config").glob("*.py"))
    known = list_airflow_settings() | {*re.findall(r'"(OFFLINE_CAPI_[A-Z_]+[A-Z])"', code)} | other
    values = yaml.safe_load((ROOT / "containers/airflow-values.yaml").read_text())
    named = {*compose["services"]["demo"]["environment"], *(one["name"] for one in values["env"])}
    named |= {one["envName"] for one in values["secret"] if not one["envName"].startswith("AIRFLOW_CONN_")}
    named |= {f"AIRFLOW__{s}__{key}".upper() for s, keys in values["config"].items() for key in keys}

    assert named - known == set()
    assert tokens <= named


def test_values_hold_no_secret_and_the_image_of_the_chart_is_airflows_own():
    values = yaml.safe_load((ROOT / "containers/airflow-values.yaml").read_text())
    (chart,) = (rest for word, rest in read_instructions() if word == "FROM" and rest.endswith(" AS chart"))

    assert chart.startswith("apache/airflow:")
    assert ("ARG", f"AIRFLOW={values['airflowVersion']}") in read_instructions()
    assert all({*one} == {"envName", "secretName", "secretKey"} for one in values["secret"])


TEXT, TEXT_OR_NONE = {"type": "string"}, {"type": ["string", "null"]}


def make_closed(needed: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*needed], "additionalProperties": False}


#: What of ``chart/values.schema.json`` is about our values, reduced to names and types. Compared by hand on 2026-11-30
#: with that of chart 1.22.0 (a copy), part of it with apache/airflow@c920f22d72b9 as well. The chart itself takes any
#: name at the top, so that a wrong one would be ignored: here only those that it has are.
CHART_VALUES = make_closed(
    airflowVersion=TEXT,
    executor={"type": "string", "pattern": r"^([a-zA-Z_][a-zA-Z0-9_]*\.)*[A-Z][a-zA-Z0-9]+Executor$"},
    images=make_closed(
        airflow=make_closed(
            repository=TEXT_OR_NONE,
            tag=TEXT_OR_NONE,
            digest=TEXT_OR_NONE,
            pullPolicy={"enum": ["Always", "Never", "IfNotPresent"]},
        )
    ),
    postgresql={"type": "object", "properties": {"enabled": {"type": "boolean"}}},
    data=make_closed(metadataSecretName=TEXT_OR_NONE),
    fernetKeySecretName=TEXT_OR_NONE,
    jwtSecretName=TEXT_OR_NONE,
    apiSecretKeySecretName=TEXT_OR_NONE,
    # ``branch`` is allowed and goes into GIT_SYNC_BRANCH, which git-sync 4 does not read: it would sync v2-2-stable.
    dags=make_closed(
        gitSync=make_closed(
            ("enabled", "ref"),
            enabled={"type": "boolean"},
            repo=TEXT,
            ref=TEXT,
            depth={"type": "integer"},
            subPath=TEXT,
            period=TEXT,
            credentialsSecret=TEXT_OR_NONE,
            sshKeySecret=TEXT_OR_NONE,
            knownHosts=TEXT_OR_NONE,
        )
    ),
    env={"type": "array", "items": make_closed(("name", "value"), name=TEXT, value=TEXT)},
    secret={
        "type": "array",
        "items": make_closed(("envName", "secretName"), envName=TEXT, secretName=TEXT, secretKey=TEXT),
    },
    config={
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": {"type": ["boolean", "integer", "number", "string"]},
        },
    },
)


def test_the_chart_takes_the_values():
    values = yaml.safe_load((ROOT / "containers/airflow-values.yaml").read_text())

    jsonschema.Draft7Validator(CHART_VALUES).validate(values)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("dags", "gitSync", "branch"), "main"),
        (("dags", "gitSync", "ref"), 1),
        (("env", 0, "valueFrom"), {}),
        (("jwtSecret_name",), "airflow-jwt-secret"),
        (("config", "scheduler", "task_instance_heartbeat_timeout"), [300]),
    ],
)
def test_values_that_the_chart_would_refuse_or_ignore_are_found(place: tuple[str | int, ...], value: object):
    values = yaml.safe_load((ROOT / "containers/airflow-values.yaml").read_text())
    node = values
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value

    assert not jsonschema.Draft7Validator(CHART_VALUES).is_valid(values)


def test_what_compose_runs_is_the_demo(sandbox: Sandbox, postgres_db: str, tmp_path: Path):
    """``init`` and ``demo`` with their own commands and variables: PostgreSQL's address and the folders are ours."""
    services = read_compose()["services"]
    project, state = tmp_path / "project", tmp_path / "state"
    project.mkdir()
    for volume in services["demo"]["volumes"]:
        source, target, *mode = volume.split(":")
        if mode:
            shutil.copytree(ROOT / source, project / Path(target).relative_to("/opt/offline_capi"))
    clients = load_config(ROOT / "dags").clients.values()
    stated = services["demo"]["environment"]
    for client in clients:
        sandbox.grant(stated[str(client.token.env)], [client.pixel_id])
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("AIRFLOW", "OFFLINE_CAPI_"))}
    address = postgres_db.removeprefix("postgresql+psycopg://")
    environ = {
        name: value.replace("airflow:airflow@postgres:5432/airflow", address)
        .replace(STATE, str(state))
        .replace("http://127.0.0.1:8420", sandbox.url)
        for name, value in stated.items()
    }
    environ = {**kept, **environ, "PATH": f"{BIN}:{os.environ['PATH']}", "AIRFLOW_HOME": str(state / "airflow")}
    environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(project / "dags")

    def run(service: str) -> str:
        command = [*services[service]["entrypoint"], *services[service]["command"]]
        done = subprocess.run(
            command, cwd=project, env=environ, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    run("init")
    printed = run("demo")

    assert "demo: done" in printed
    assert "credit_approvals" in printed
    assert len(sandbox.accepted_ids) > 100
