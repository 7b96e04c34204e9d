"""Whatever is printed works: every command that a message, a page or the documentation names, typed in a project."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from offline_capi.cli import app
from offline_capi.cli.help_text import EXAMPLES
from tests.onboarding.beginner import KNOWN, Beginner, sales
from tests.support.night import ROOT, yesterday
from tests.support.sandbox_server import Sandbox

_COMMAND = re.compile(r"(?:`|^\$ |\n\$ |→ |<code>)((?:[A-Z_]+=\S+ )*offline-capi [^`\n<]*)")
_MENTION = re.compile(r"(?<!what )offline-capi (?:--log-format json )?([a-z][a-z-]*)(?: ([a-z-]+))?")
#: What stands in a hint → what a person would type in the project of the test.
_FILLED = {
    "UPLOAD": "sales", "NAME": "sales", "CLIENT": "acme", "RUN": "last", "CODE": "190", "DIR": "dags",
    "DAY": "2026-11-23",
    "FILE:ROW": "sales.csv:3", "EVENT_ID": "A-1001", "EVENT": "A-1001", "ROW": "3", "FILE.parquet": "out.parquet",
    "FILE": "sales.csv", "…": "", "...": "", "&": "",
}  # fmt: skip
_PLACEHOLDER = re.compile(r"\{[^{}]*\}|<[^<>]*>")
#: Commands that only a person ends, that ask, or that need what a test has no place for: they are parsed, not run.
_PARSED_ONLY = {
    "sandbox",
    "demo",
    "mcp",
    "init",
    "import",
    "ddl",
    "clients authorize",
    "clients rotate",
    "clients pull",
    "clients prerequisites",
    "profile diff",
    "dbt exposures",
    "external-id check",
    "clients quality",
    "test",
    "erase",
}


def list_hints() -> list[tuple[str, str]]:
    """Each command with the file that names it."""
    found = dict.fromkeys(
        (hint, str(path.relative_to(ROOT)))
        for path, text in list_printed()
        if path.name not in ("CHANGELOG.md", "DECISIONS.md")
        for hint in _COMMAND.findall(text)
    )
    found |= dict.fromkeys((line, f"--help of {name}") for name, lines in EXAMPLES.items() for line in lines)
    return list(found)


def list_printed() -> Iterator[tuple[Path, str]]:
    """The texts of messages, of pages and reports (their templates), and of the documentation."""
    patterns = ("offline_capi/**/*.py", "offline_capi/**/*.j2", "docs/**/*.md", "*.md")
    for path in (found for pattern in patterns for found in ROOT.glob(pattern)):
        for text in _list_texts(path) if path.suffix == ".py" else [path.read_text(encoding="utf-8")]:
            yield path, text


def _list_texts(path: Path) -> Iterator[str]:
    """The texts of a module, those with values in them as ``… {name} …``; docstrings are no messages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
                for part in node.values
                if isinstance(part, ast.Constant | ast.FormattedValue)
            )


def read_command(hint: str) -> tuple[str, list[str]] | None:
    """The command's name and its arguments, with placeholders filled; ``None`` where the hint names a group alone."""
    words = shlex.split(
        hint.partition(" #")[0].partition(" > ")[0].replace("[", "").replace("]", "").replace("|", " ").split(" && ")[0]
    )
    words = words[words.index("offline-capi") + 1 :]
    command: Any = get_command(app)
    path: list[str] = []
    while words and hasattr(command, "commands") and words[0] in command.commands:
        command = command.commands[words[0]]
        path.append(words.pop(0))
    assert path or words[:1] in (
        ["--version"],
        ["--help"],
        ["-h"],
        ["--install-completion"],
        ["--show-completion"],
        [],
    ), f"no command {words[:1]}"
    if hasattr(command, "commands"):
        return None
    takes = [one.name for one in command.params if one.param_type_name == "argument"]
    filled = [_FILLED.get(word, word) for word in words]
    default = {"run": "last", "code": "190", "client": "acme", "event_id": "A-1001"}
    filled = [_PLACEHOLDER.sub(default.get(takes[0], "sales") if takes else "3", word) for word in filled]
    return " ".join(path), [word for word in filled if word]


@pytest.mark.parametrize(("hint", "place"), list_hints())
def test_every_hint_is_a_command_with_options_that_exist(hint: str, place: str) -> None:
    command: Any = get_command(app)
    read = read_command(hint)
    if read is None:
        return
    path, arguments = read
    for name in path.split():
        command = command.commands[name]

    given = [one for one in command.params if one.param_type_name == "argument" and one.required]
    arguments += ["sales"] * (len(given) - len([word for word in arguments if not word.startswith("-")]))
    needed = [option.opts[0] for option in command.params if option.required and option.param_type_name == "option"]
    arguments += [word for option in needed if option not in arguments for word in (option, "x")]
    command.make_context(path, arguments)


def test_every_command_that_is_named_without_marks_exists() -> None:
    """In brackets of an advice, in a sentence, in a page: what follows the program's name is a command."""
    commands, known, unknown = get_command(app).commands, 0, []  # type: ignore[attr-defined]
    for path, text in list_printed():
        for name, further in _MENTION.findall(text):
            group = getattr(commands.get(name), "commands", None)
            known += name in commands
            if name not in commands or (group is not None and further and further not in group):
                unknown.append(f"{path.relative_to(ROOT)}: offline-capi {name} {further}")

    assert unknown == []
    assert known > 200


#: Parameter → its value in the project of the test, whatever the hint has there.
_OURS = {"upload": "sales", "run": "last", "client": "acme", "event_id": "A-1001", "file": "out.parquet"}


def list_runs() -> list[tuple[str, ...]]:
    """The hints that can be run, in the project's own names, each once."""
    runs: dict[tuple[str, ...], None] = {}
    for hint, _ in list_hints():
        path, arguments = read_command(hint) or ("", [])
        if not path or path in _PARSED_ONLY:
            continue
        command: Any = get_command(app)
        for name in path.split():
            command = command.commands[name]
        options = {word: one for one in command.params if one.param_type_name == "option" for word in one.opts}
        places = [one for one in command.params if one.param_type_name == "argument"]
        words: list[str] = []
        while arguments:
            word = arguments.pop(0)
            words.append(word)
            if word in options and not options[word].is_flag:
                value = arguments.pop(0)
                words.append(
                    {
                        "--client": "acme",
                        "--run": "last",
                        "--config": "dags",
                        "--since": "yesterday" if value.startswith("$") else value,
                        "--row": "3" if "--run" in arguments else "sales.csv:3",
                    }.get(word, value)
                )
            elif word not in options and places:
                if places[0].name in _OURS:
                    words[-1] = _OURS[places[0].name]
                places = places[1:] if places[0].nargs == 1 else places
        needed = [one for one in places if one.required and one.nargs == 1]
        words += [_OURS.get(one.name, "190") for one in needed]
        if any(one.required and one.nargs != 1 for one in places) and len(words) == 0:
            words.append("190")
        # A browser, a Spark session and a contract are not everywhere; their own tests have them.
        elsewhere = {"--environment", "--test-event-code", "--pdf", "--contract", "spark"}
        if elsewhere & set(words) or (path == "trace" and not words):
            continue
        if "--days" in words:
            words = ["sales" if word == "last" else word for word in words]
        runs[(*path.split(), *words)] = None
    return list(runs)


def test_every_hint_can_be_typed_in_a_project(tmp_path: Path, sandbox: Sandbox) -> None:
    """After a first run, each ends without a traceback and without being told that it was typed wrongly."""
    beginner = Beginner(tmp_path, {"OFFLINE_CAPI_GRAPH_URL": sandbox.url, "ACME_TOKEN": "any"})
    beginner.csv(f"sales_{yesterday('UTC')}.csv", sales())
    assert beginner.init(f"sales_{yesterday('UTC')}.csv", *KNOWN, "--yes").code == 0
    assert beginner.run("upload", "sales").code in (0, 1)

    wrong = {}
    for words in list_runs():
        said = beginner.call(*words)
        if (said.code not in (0, 1) and "left nothing to replay" not in said.err) or "Traceback" in said.err:
            wrong[" ".join(words)] = (said.code, (said.err or said.out)[:200])

    assert wrong == {}, "\n".join(f"{words}: {said}" for words, said in wrong.items())
