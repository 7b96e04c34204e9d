"""README and docs/ say what is true: every command and option on them exists, and every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml

from offline_capi.cli import app
from offline_capi.config import Platform

PAGES = [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PROGRAM = "offline-capi"
ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=.*")
ROOT: Any = typer.main.get_command(app)


class Shown(NamedTuple):
    """A command as a page shows it."""

    page: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {PROGRAM} {' '.join(self.words)}"


def commands_in(page: Path, text: str) -> Iterator[Shown]:
    """The commands of fenced blocks, after the prompt where there are prompts, and those of one line in backticks."""
    for _, language, block in FENCE.findall(text):
        for line in block.splitlines():
            if language == "console" and not line.strip().startswith("$ "):
                continue  # what the command prints
            yield from commands_of(page, line.strip().removeprefix("$ "))
    for quoted in re.findall(rf"`({PROGRAM} [^`\n]+)`", FENCE.sub("", text)):
        yield from commands_of(page, quoted)


def commands_of(page: Path, line: str) -> Iterator[Shown]:
    """The command of a line, environment variables before it left out."""
    words = shlex.split(line, comments=True) if PROGRAM in line else []
    while words and ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    if words and words[0] == PROGRAM:
        yield Shown(page, tuple(word for word in words[1:] if word != "&"))


def unknown_parts(words: tuple[str, ...]) -> list[str]:
    """Subcommands and options that the command line does not have, and arguments that are too many for it."""
    command, rest = ROOT, list(words)
    while hasattr(command, "commands"):
        if not rest or rest[0] == "--help":
            return []
        name = rest.pop(0)
        if name not in command.commands:
            return [name]
        command = command.commands[name]
    options = {name: one for one in command.params for name in (*one.opts, *one.secondary_opts)}
    room = sum(one.nargs if one.nargs > 0 else len(rest) for one in command.params if one.param_type_name == "argument")
    unknown: list[str] = []
    arguments = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            arguments.append(word)
            continue
        name, equals, _ = word.partition("=")
        if name not in options:
            unknown.append(name)
        elif not equals and not options[name].is_flag:
            unknown += [] if rest else [f"{name} without a value"]
            del rest[:1]
    return unknown + arguments[room:]


SHOWN = [shown for page in PAGES for shown in commands_in(page, page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("shown", dict.fromkeys(SHOWN), ids=str)
def test_every_command_on_a_page_exists_with_its_options(shown: Shown):
    assert unknown_parts(shown.words) == []


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("settel sales", ["settel"]),
        ("ledger forget", ["forget"]),
        ("upload sales --no-settel", ["--no-settel"]),
        ("upload sales other", ["other"]),
        ("upload sales --since", ["--since without a value"]),
        ("explain 100 2804003", []),
    ],
)
def test_what_the_command_line_does_not_have_is_found(line: str, unknown: list[str]):
    text = f"```console\n$ A_TOKEN=any {PROGRAM} {line}  # why\n```"

    assert [unknown_parts(shown.words) for shown in commands_in(Path("page.md"), text)] == [unknown]


def test_the_pages_show_every_command_that_settles_traces_or_erases():
    """A page whose commands are not found any more would prove nothing."""
    assert {"upload", "settle", "status", "trace", "log", "erase", "ledger"} <= {shown.words[0] for shown in SHOWN}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_settings_of_the_platform_that_a_page_shows_are_valid(page: Path):
    for _, language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        shown = yaml.safe_load(block) if language == "yaml" else {}
        Platform.model_validate(shown.get("platform", {}))


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_leads_to_a_page_and_its_heading(page: Path):
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_every_page_of_the_documentation_is_reached_from_its_index():
    index = Path("docs/README.md")
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text("utf-8"))}

    assert {page.resolve() for page in PAGES if page.parts[0] == "docs"} - {index.resolve()} <= linked


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_test_and_target_that_a_page_names_exists(page: Path):
    text = page.read_text(encoding="utf-8")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path("tests").rglob("test_*.py"))
    makefile = Path("Makefile").read_text(encoding="utf-8")

    assert [promise for promise in set(re.findall(r"test_p\d\d_", text)) if f"def {promise}" not in tests] == []
    assert [path for path in set(re.findall(r"`(tests/[\w/.]+)`", text)) if not Path(path).exists()] == []
    targets = set(re.findall(r"`make ([a-z-]+)`", text))
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []


def test_promises_are_proven_where_the_table_says():
    """Each folder or file that a line of the table names holds a test of that promise."""
    for page in (Path("README.md"), Path("docs/promises.md")):
        for promise, line in re.findall(r"^\|.*`(test_p\d\d_)…` in (.*)\|$", page.read_text("utf-8"), re.MULTILINE):
            for name in re.findall(r"`(tests/[\w/.]+)`", line):
                files = [Path(name)] if name.endswith(".py") else sorted(Path(name).rglob("test_*.py"))
                assert any(f"def {promise}" in one.read_text("utf-8") for one in files), f"{page}: {promise} in {name}"
