"""README, CONTRIBUTING, SECURITY and docs/ say what is true: commands, options, YAML, links, tests and paths exist."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import typer
import yaml

from offline_capi.cli import app
from offline_capi.config import Platform

PAGES = [*map(Path, ("README.md", "CONTRIBUTING.md", "SECURITY.md")), *sorted(Path("docs").rglob("*.md"))]
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
    words = shlex.split(line.partition(" > ")[0], comments=True) if PROGRAM in line else []
    while words and ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    if words and words[0] == PROGRAM:
        yield Shown(page, tuple(word for word in words[1:] if word != "&"))


def unknown_parts(words: tuple[str, ...]) -> list[str]:
    """Subcommands and options that the command line does not have, and arguments that are too many for it."""
    command, rest = ROOT, list(words)
    while rest[:1] == ["--log-format"]:  # the one option that stands before the command
        rest = rest[2:]
    while hasattr(command, "commands"):
        if not rest or rest[0] == "--help" or rest[0] in {name for one in command.params for name in one.opts}:
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


PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
MAX_PICTURES_BYTES = 600 * 1024


def test_every_picture_is_there_is_shown_and_says_what_it_shows():
    """Made by tools/pictures.py; they load nothing from elsewhere."""
    shown = {(page, *found) for page in PAGES for found in PICTURE.findall(page.read_text(encoding="utf-8"))}
    used = {(page.parent / target).resolve(): text for page, text, target in shown if "://" not in target}
    made = {path.resolve() for path in Path("docs/pictures").iterdir()}

    assert set(used) == made
    assert all(len(text.split()) >= 3 for text in used.values())
    assert sum(path.stat().st_size for path in made) < MAX_PICTURES_BYTES
    drawings = [path.read_text(encoding="utf-8") for path in made if path.suffix == ".svg"]
    assert not any(re.search(r"url\(\"?http|href=|@import", drawing) for drawing in drawings)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_settings_of_the_platform_that_a_page_shows_are_valid(page: Path):
    for block in yaml_of(page):
        Platform.model_validate(block.get("platform", {}))


class Loader(yaml.SafeLoader):
    """Dates stay text, as the configuration reads them."""

    def construct_yaml_timestamp(self, node: yaml.Node) -> str:
        return str(node.value)


Loader.add_constructor("tag:yaml.org,2002:timestamp", Loader.construct_yaml_timestamp)


def yaml_of(page: Path) -> list[dict[str, Any]]:
    text = page.read_text(encoding="utf-8")
    return [yaml.load(block, Loader) for _, kind, block in FENCE.findall(text) if kind == "yaml"]


def forget_required(node: Any) -> Any:
    """A schema that part of a file fits as well."""
    if isinstance(node, dict):
        kept = {key: forget_required(value) for key, value in node.items() if key != "required"}
        return {key: value for key, value in kept.items() if key != "oneOf" or any(value)}
    return [forget_required(one) for one in node] if isinstance(node, list) else node


SCHEMAS = [json.loads(path.read_text("utf-8")) for path in Path("dags/schema").glob("*.schema.json")]
PARTS = [jsonschema.Draft202012Validator(forget_required(schema)) for schema in SCHEMAS]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_yaml_on_a_page_is_part_of_an_upload_or_of_the_clients(page: Path):
    """By the JSON Schema that editors use, except for files of other programs."""
    for block in yaml_of(page):
        if not {"jobs", "models"} & block.keys():  # a workflow of GitHub, properties of dbt
            assert any(part.is_valid(block) for part in PARTS), block


def test_yaml_that_fits_no_file_is_found():
    assert not any(part.is_valid({"limits": {"max_refused": "5%"}}) for part in PARTS)


EXTRAS = set(tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_extra_that_a_page_installs_exists(page: Path):
    installed = re.findall(r"offline-capi\[([\w,]+)\]", page.read_text("utf-8"))

    assert {extra for extras in installed for extra in extras.split(",")} <= EXTRAS


def test_every_extra_is_on_the_page_of_versions():
    page = Path("docs/reference/versions.md").read_text("utf-8").partition("## Installing")[2]

    assert [extra for extra in EXTRAS if f"`{extra}`" not in page] == []


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
    """Each folder or file that a line of the table names holds a test of that promise; no promise has no line."""
    page = Path("docs/promises.md").read_text("utf-8")
    proven = re.findall(r"^\|.*`(test_p\d\d_)…` in (.*)\|$", page, re.MULTILINE)
    for promise, line in proven:
        for name in re.findall(r"`(tests/[\w/.]+)`", line):
            files = [Path(name)] if name.endswith(".py") else sorted(Path(name).rglob("test_*.py"))
            assert any(f"def {promise}" in one.read_text("utf-8") for one in files), f"{promise} in {name}"

    named = {f"test_p{int(number):02}_" for number in re.findall(r"^\| P(\d+) \|", page, re.MULTILINE)}
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path("tests").rglob("test_*.py"))
    assert named - {"test_p13_"} == {promise for promise, _ in proven}  # P13 is speed: benchmarks
    assert {f"{one}_" for one in re.findall(r"def (test_p\d\d)_", tests)} <= named


@pytest.mark.parametrize("page", [*PAGES, Path("DECISIONS.md")], ids=str)
def test_every_file_of_the_repository_that_a_page_names_exists(page: Path):
    """Paths in backticks below the folders of the repository; a name with a placeholder is none."""
    named = re.findall(r"`((?:offline_capi|tests|tools|sql|dags|docs|data_samples)/[\w./-]+)`", page.read_text("utf-8"))

    generated = {"dags/uploads/sales.yml", "dags/schema", "dags/clients.pulled.json"}
    assert [one for one in named if not Path(one).exists() and one not in generated] == []
