"""The reference is made from what exists: what is committed of it is current, and nothing is missing on the rest."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from offline_capi.meta.graph.error_table import ERROR_TABLE
from offline_capi.model import WARNING_TEXTS, Fate, Reason

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from docs_site import ROOT_PAGES, lead_links
from reference import COMMITTED, PAGES, render_commands


def read_help(*command: str) -> dict[str, str]:
    """Names and sentences of the table of commands that ``--help`` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "offline_capi", *command, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "", "COLUMNS": "200", "TERM": "dumb"},
    )
    _, _, commands = done.stdout.partition("Commands")
    return dict(re.findall(r"^│ ([a-z-]+) +(\S.*?) *│$", commands, re.MULTILINE))


def test_the_committed_table_of_commands_is_current():
    assert COMMITTED.read_text("utf-8") == render_commands(), "run: .venv/bin/python tools/reference.py"


def test_the_table_of_commands_is_that_of_the_command_line():
    """Read from the outside: what ``--help`` prints, groups by their own help."""
    table = dict(re.findall(r"^\| `([a-z -]+)` \| (.+) \|$", COMMITTED.read_text("utf-8"), re.MULTILINE))
    groups = {name.split()[0] for name in table if " " in name}
    shown = {name: does for name, does in read_help().items() if name not in groups}
    for group in groups:
        shown |= {f"{group} {name}": does for name, does in read_help(group).items()}

    assert table == shown


@pytest.mark.parametrize(
    ("page", "headings"),
    [
        ("reference/error-codes.md", [f"{e.code}/{e.subcode}" if e.subcode else str(e.code) for e in ERROR_TABLE]),
        ("reference/fates.md", [*Reason, *WARNING_TEXTS]),
    ],
)
def test_every_code_has_a_heading_of_its_own(page: str, headings: list[str]):
    found = re.findall(r"^#{2,3} (\S+)$", PAGES[page](), re.MULTILINE)

    assert sorted(set(found) - {"Reasons", "Warnings"}) == sorted(headings)


def test_every_fate_is_in_the_reference_the_glossary_and_the_metrics():
    glossary, fates = (Path(f"docs/{page}.md").read_text("utf-8") for page in ("glossary", "explanation/fates"))
    metrics = PAGES["reference/metrics.md"]()

    for fate in Fate:
        assert f"| **{fate.words}** |" in glossary
        assert f"| `{fate}` |" in fates
        assert f"| `offline_capi.events.{fate}` |" in metrics


def test_the_keys_of_a_field_are_on_the_page_of_an_upload():
    """A field is a word or an object; its keys stand on the page all the same."""
    page = PAGES["reference/upload-yaml.md"]()

    _, _, field = page.partition("\n## field\n")
    assert {"column", "constant", "template", "coalesce", "map", "type"} <= set(
        re.findall(r"^\| `(\w+)`", field.partition("\n## ")[0], re.MULTILINE)
    )


def test_every_page_is_in_the_navigation_of_the_site():
    def pages_of(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        return [page for one in (node.values() if isinstance(node, dict) else node) for page in pages_of(one)]  # type: ignore[union-attr]

    navigation = pages_of(yaml.safe_load(Path("mkdocs.yml").read_text("utf-8"))["nav"])
    docs = [path.relative_to("docs").as_posix() for path in Path("docs").rglob("*.md")]

    assert sorted(navigation) == sorted([*docs, *PAGES, *ROOT_PAGES.values()])


def test_links_to_files_of_the_repository_lead_to_pages_of_the_site():
    assert lead_links("[s](../../SECURITY.md#code)", "docs/how-to/files.md") == "[s](../project/security.md#code)"
    assert lead_links("[p](docs/promises.md)", "SECURITY.md") == "[p](../promises.md)"
    assert lead_links("```\n[x](../DECISIONS.md)\n```", "docs/README.md") == "```\n[x](../DECISIONS.md)\n```"
    assert lead_links("[m](https://example.com/a)", "README.md") == "[m](https://example.com/a)"
