"""``offline-capi mcp``, asked by the SDK's own client over a real pipe: it reads, answers in counts, shows no row."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mcp import Client, StdioServerParameters

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.sandbox import SandboxServer
from tests.support.night import ROOT, Night, _own_environment
from tests.support.sales import sale, sales_night, write
from tests.support.sandbox_server import Sandbox

#: In every column of a row that may hold it, and in those that make rows fail.
CANARY = "kanarienvogel"
TOOLS = ("status", "open_days", "plan", "report", "client_report", "rejects", "explain", "coverage", "trace")
#: Every tool as an agent calls it; then the ways in which each can fail.
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("status", {}),
    ("open_days", {"upload": "sales"}),
    ("plan", {"upload": "sales", "client": "nordic_outlet"}),
    ("report", {}),
    ("report", {"client": "corner_shop"}),
    ("client_report", {"client": "corner_shop"}),
    ("rejects", {}),
    ("explain", {"code": "100/2804003"}),
    ("explain", {"code": "too_old"}),
    ("coverage", {"upload": "sales"}),
    ("trace", {"event_id": "s-1"}),
]
FAILING: list[tuple[str, dict[str, Any], str]] = [
    ("plan", {"upload": "sale"}, 'did you mean "sales"'),
    ("plan", {"upload": "sales", "since": "soon"}, "is no day"),
    ("plan", {"upload": "sales", "client": "nobody"}, 'no client "nobody"'),
    ("report", {"run": "none"}, 'the ledger has no run "none"'),
    ("rejects", {"run": "none"}, 'the ledger has no run "none"'),
    ("client_report", {"client": "corner_shop", "month": "May"}, "is no month"),
    ("explain", {"code": CANARY}, "no code of Meta"),
    ("coverage", {"upload": "broken"}, 'did you mean "email"'),
    ("plan", {"upload": "broken"}, 'columns that the upload names are missing: "mail"'),
    ("plan", {"upload": "hooked"}, "its message is withheld"),
]


class Answered(NamedTuple):
    failed: bool
    text: str
    value: Any


class Conversation(NamedTuple):
    tools: list[Any]
    answers: list[Answered]
    failures: list[Answered]
    after: str


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, sandbox_server: SandboxServer) -> Night:
    """A night that sent some sales and left others. Of two more uploads one lacks a column, the other's hook raises."""
    home = tmp_path_factory.mktemp("agents")
    sandbox = Sandbox(sandbox_server)
    sandbox.reset()
    night = sales_night(home, sandbox)
    night.edit("dags/uploads/sales.yml", ("currency: currency", "currency: {column: currency, map: {EUR: EUR}}"))
    text = (home / "dags/uploads/sales.yml").read_text(encoding="utf-8")
    night.write("dags/uploads/broken.yml", text.replace("email: email", "email: mail").replace("em: email", "em: mail"))
    night.write("dags/uploads/hooked.yml", f"{text}\ntransform: shouting:shout\n")
    night.edit("dags/clients.yml", ("platform:\n", "platform:\n  python: [shouting]\n"))
    night.write(
        "shouting.py", 'def shout(rows):\n    print(rows["email"][0])\n    raise ValueError(rows["email"][0])\n'
    )
    names = ("first", "last", "city", "email", "number")
    told = {name: CANARY for name in names if name != "email"} | {"email": f"{CANARY}@example.com"}
    rows = [
        *(sale(f"s-{n}", **told) for n in range(4)),
        sale("s-bad", currency="Kanarisch", **told),
        sale("s-odd", amount=CANARY, **told),
        sale("s-when", sold_at=f"{CANARY} 2026", **told),
        sale("s-who", brand=CANARY, **told),
    ]
    write(night, rows)
    assert night.run("upload", "sales").code == 0
    return night


@pytest.fixture(scope="module")
def talk(night: Night) -> Conversation:
    return asyncio.run(converse(night))


async def converse(night: Night) -> Conversation:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "offline_capi", "mcp"],
        cwd=night.home,
        env={**_own_environment(), **night.env, "PYTHONPATH": f"{ROOT}:{night.home}"},
    )
    async with Client(server) as client:
        tools = (await client.list_tools()).tools
        answers = [read_answer(await client.call_tool(name, given)) for name, given in CALLS]
        failures = [read_answer(await client.call_tool(name, given)) for name, given, _ in FAILING]
        after = read_answer(await client.call_tool("status", {})).text
    return Conversation(tools, answers, failures, after)


def read_answer(result: Any) -> Answered:
    text = "".join(part.text for part in result.content)
    return Answered(bool(result.is_error), text, result.structured_content)


def test_the_tools_are_there_and_all_of_them_say_that_they_only_read(talk: Conversation) -> None:
    assert tuple(tool.name for tool in talk.tools) == TOOLS
    assert all(tool.annotations.read_only_hint and not tool.annotations.destructive_hint for tool in talk.tools)
    assert all(tool.description for tool in talk.tools)


def test_every_tool_answers_with_what_the_command_line_counts(talk: Conversation, night: Night) -> None:
    said = {(name, *given.values()): answer.value for (name, given), answer in zip(CALLS, talk.answers, strict=True)}
    command = night.run("report", "last", "--json").json

    assert [answer.text for answer in talk.answers if answer.failed] == []
    assert said["report",]["balance"] == command["balance"]
    assert said["report",]["rows"]["sent"] == 4
    assert (
        sum(reason["rows"] for reason in said["rejects",]["reasons"])
        == command["rows"]["invalid"] + command["rows"]["deferred"]
    )
    assert said["report", "corner_shop"]["clients"].keys() == {"corner_shop"}
    assert said["client_report", "corner_shop"]["sent"] == 4
    assert said["status",]["runs"][0]["status"] == "complete"
    assert said["plan", "sales", "nordic_outlet"]["planned"] is True
    assert said["trace", "s-1"]["deliveries"][0]["state"] == "accepted"
    assert said["explain", "100/2804003"]["means"]
    assert said["coverage", "sales"]["rows"] > 0
    assert said["open_days", "sales"]["uploads"][0]["upload"] == "sales"


def test_p09_p18_no_value_of_a_row_no_digest_and_no_token_is_in_any_answer(talk: Conversation, night: Night) -> None:
    everything = [(answer.text + json.dumps(answer.value)).lower() for answer in (*talk.answers, *talk.failures)]
    stored = [event["user_data"]["em"] for event in night.sandbox.events]
    digests = {digest for one in stored for digest in (one if isinstance(one, list) else [one])}

    hidden = (CANARY, "Kanarisch", "example.com", "12.50", *SAMPLE_TOKENS.values(), *digests, str(night.home / "sales"))
    assert len(digests) >= 1
    assert "Kanarisch" in night.run("rejects").out, "the command line shows it to whoever can correct it"
    assert all(word in (night.home / "sales" / "sales.csv").read_text(encoding="utf-8") for word in hidden[:4])
    assert [(word, text) for text in everything for word in hidden if word.lower() in text] == []


@pytest.mark.parametrize("place", range(len(FAILING)), ids=[f"{name} {given}" for name, given, _ in FAILING])
def test_a_failure_is_one_sentence_and_the_server_lives_on(talk: Conversation, place: int) -> None:
    answer = talk.failures[place]

    assert answer.failed
    assert FAILING[place][2] in answer.text
    assert "\n" not in answer.text
    assert "Traceback" not in answer.text
    assert '"runs"' in talk.after


def test_nothing_was_changed(talk: Conversation, night: Night) -> None:
    assert len(night.run("status", "--json").json["runs"]) == 1
    assert len(night.sandbox.requests) == 1


def test_without_the_extra_one_sentence_says_what_to_install(night: Night) -> None:
    hide = "import sys; sys.modules['mcp'] = None; sys.argv = ['offline-capi', 'mcp']"

    said = night.script(f"{hide}; from offline_capi.cli import main; main()", new_interpreter=True)

    assert (said.code, said.out) == (2, "")
    assert "pip install 'offline-capi[mcp]'" in said.err


def test_the_settings_on_the_page_start_the_server() -> None:
    page = (Path(ROOT) / "docs/how-to/agents-and-editors.md").read_text(encoding="utf-8")
    shown = json.loads(page.split("```json\n", 1)[1].split("```", 1)[0])

    (server,) = shown["mcpServers"].values()
    assert (server["command"], server["args"][0]) == ("offline-capi", "mcp")
