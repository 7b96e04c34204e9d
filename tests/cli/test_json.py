"""What ``--json`` prints has the shape that docs/reference/json promises, in success and in failure.

``OFFLINE_CAPI_WRITE_SCHEMAS=1`` writes the files anew, after a shape was changed on purpose.
"""

from __future__ import annotations

import json
import os
from typing import Any

import jsonschema
import pytest
from typer.main import get_command

from offline_capi.cli import app
from offline_capi.sandbox import SandboxServer
from tests.onboarding.beginner import KNOWN, Beginner, sales
from tests.support.night import yesterday
from tests.support.sandbox_server import Sandbox
from tools.json_schemas import FOLDER, infer_schema, merge_schemas, name_file, write_schemas

CONTRACT = """
kind: DataContract
apiVersion: v3.1.0
schema: [{name: sales, properties: [
  {name: order_no, primaryKey: true}, {name: sold_at}, {name: mail_addr}, {name: telephone}, {name: first_name},
  {name: total}, {name: currency}]}]
"""
#: Every command with ``--json``, as typed in a project that has sent once, sent again, and failed once.
COMMANDS: dict[str, list[list[str]]] = {
    "check": [["check"], ["check", "--connect"], ["check", "sales", "--contract", "sales.odcs.yaml"]],
    "plan": [["plan", "sales"]],
    "preview": [["preview", "sales"], ["preview", "sales", "--raw"]],
    "upload": [["upload", "sales"], ["upload", "sales", "--dry-run"]],
    "coverage": [["coverage", "sales"]],
    "settle": [["settle"]],
    "status": [["status"], ["status", "--days"], ["status", "--unconfirmed"]],
    "report": [["report", "RUN"], ["report", "last"]],
    "report --for client": [
        ["report", "--client", "acme", "--for", "client"],
        ["report", "--client", "acme", "--for", "client", "--month", "2026-01"],
    ],
    "rejects": [["rejects", "RUN"]],
    "trace": [["trace", "A-1001"]],
    "log": [["log"]],
    "erase": [["erase", "--event-id", "A-1001"]],
    "explain": [["explain", "190"], ["explain", "too_old"]],
    "version": [["version"], ["version", "--canary"]],
    "clients list": [["clients", "list"]],
    "clients test": [["clients", "test", "acme", "--probe"]],
    "clients health": [["clients", "health"]],
    "clients quality": [["clients", "quality"]],
    "ledger purge": [["ledger", "purge", "--dry-run"]],
    "ledger export": [["ledger", "export", "out.parquet"]],
    "profile diff": [["profile", "diff", "sales", "--to", "sdk"]],
    "profile conformance": [["profile", "conformance"]],
    "error": [["upload", "no_such"], ["check", "--config", "faulty"], ["status", "no-such-run"]],
    # The last: an upload with open questions is a fault of the configuration, which every command would print.
    "init": [["init", "sales_DAY.csv", *KNOWN, "--name", "second", "--yes"], ["init", "open.csv", *KNOWN, "--yes"]],
}
#: Commands whose outputs other tests look at: they need a platform's app, a table of clients or a browser's export.
_ELSEWHERE = {
    "test",
    "lineage",
    "replay",
    "import",
    "clients pull",
    "clients authorize",
    "clients rotate",
    "clients prerequisites",
    "external-id check",
    "ledger key",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, sandbox_server: SandboxServer) -> dict[str, list[Any]]:
    home = tmp_path_factory.mktemp("json")
    sandbox = Sandbox(sandbox_server)
    sandbox.reset()
    sandbox.grant("any", ["1234567890"])
    beginner = Beginner(home, {"OFFLINE_CAPI_GRAPH_URL": sandbox_server.url, "ACME_TOKEN": "any"})
    file = f"sales_{yesterday('UTC')}.csv"
    rows = sales()
    rows[3]["currency"] = "dollars"
    beginner.csv(file, rows)
    beginner.csv("open.csv", [{"e-mail": f"a{n}@example.com", "sold_at": rows[n]["sold_at"]} for n in range(30)])
    beginner.init(file, *KNOWN, "--yes", "--name", "sales")
    (home / "sales.odcs.yaml").write_text(CONTRACT, encoding="utf-8")
    (home / "faulty" / "uploads").mkdir(parents=True)
    (home / "faulty" / "clients.yml").write_text("clients: {acme: {pixel_id: 1}}\n", encoding="utf-8")
    beginner.run("upload", "sales")
    (home / file).rename(home / "away.csv")
    (home / file).write_text("nothing,here\n1,2\n", encoding="utf-8")
    beginner.run("upload", "sales")
    (home / "away.csv").rename(home / file)
    beginner.run("upload", "sales", "--force-gates")
    run = json.loads(beginner.call("status", "--json").out)["runs"][-1]["run"]
    found: dict[str, list[Any]] = {}
    for name, calls in COMMANDS.items():
        for words in calls:
            typed = [{"RUN": run, "sales_DAY.csv": file}.get(word, word) for word in words]
            said = beginner.run(*typed, "--json")
            found.setdefault(name, []).append(json.loads(said.out))
    if os.environ.get("OFFLINE_CAPI_WRITE_SCHEMAS") == "1":
        schemas = {}
        for name, values in found.items():
            schema: dict[str, Any] = {}
            for value in values:
                schema = merge_schemas(schema, infer_schema(value))
            schemas[name] = schema
        write_schemas(schemas)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_json_has_the_shape_that_is_documented(outputs: dict[str, list[Any]], name: str) -> None:
    schema = json.loads((FOLDER / f"{name_file(name)}").read_text(encoding="utf-8"))

    for value in outputs[name]:
        jsonschema.validate(value, schema)
        assert value["version"] == 1


def test_only_errors_are_errors(outputs: dict[str, list[Any]]) -> None:
    """Else a schema would be that of an error, and every output would fit it."""
    assert [name for name, values in outputs.items() if any("error" in value for value in values)] == ["error"]


def test_problems_of_a_configuration_are_objects(outputs: dict[str, list[Any]]) -> None:
    problems = outputs["error"][1]["problems"]

    assert {"file", "line", "path", "message"} == set(problems[0])
    assert any(one["path"] == "clients.acme.token" for one in problems)


def test_every_command_with_json_has_a_schema_or_a_test_elsewhere() -> None:
    def list_commands(group: Any, path: str = "") -> list[str]:
        return [
            name
            for key, command in group.commands.items()
            for name in (
                list_commands(command, f"{path}{key} ")
                if hasattr(command, "commands")
                else [f"{path}{key}"] * any("--json" in option.opts for option in command.params)
            )
        ]

    assert set(list_commands(get_command(app))) - set(COMMANDS) - _ELSEWHERE == set()
