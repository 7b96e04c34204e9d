"""The whole of ``--help``, as a person walks it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from offline_capi import __version__
from offline_capi.cli import app


def list_commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from list_commands(command, (*path, name))


@pytest.mark.parametrize("path", list(list_commands(get_command(app))), ids=" ".join)
@pytest.mark.parametrize("width", ["80", "120"])
def test_every_help_names_its_options_and_flags_take_no_value(path: tuple[str, ...], width: str) -> None:
    short, long = (CliRunner().invoke(app, [*path, flag], env={"COLUMNS": width}) for flag in ("-h", "--help"))

    assert (short.exit_code, short.output) == (0, long.output)
    assert "Usage: " in long.output
    lines = long.output.splitlines()
    # An option takes TEXT, PATH or NUMBER, and a flag nothing.
    assert [line for line in lines if line.startswith("│ --") and re.search(r" <[a-z]", line)] == []
    assert "<bool>" not in long.output
    assert [line for line in lines if len(line) > int(width)] == []
    assert [line for line in lines if line[:1] not in ("", " ", "│", "╭", "╰")] == []
    assert [line for line in _list_epilog(lines) if not _HANGS.match(line)] == []
    command: Any = get_command(app)
    for name in path:
        command = command.commands[name]
    options = [one for one in command.params if one.param_type_name == "option"]
    assert all(one.help for one in options)
    words = set(re.findall(r"[^\s│]+", long.output))
    assert [word for one in options for word in one.help.split() if word not in words] == [], (
        "broken by a narrow column"
    )


#: A heading, a line of ours, or the rest of one further to the right: of a command as a shell goes on.
_HANGS = re.compile(r" (?:\w[\w ]*:$|  \S| {4,}\S)")


def _list_epilog(lines: list[str]) -> list[str]:
    """What stands below the last box."""
    last = max((at for at, line in enumerate(lines) if line.startswith("╰")), default=len(lines))
    return [line for line in lines[last + 1 :] if line.strip()]


def test_a_long_example_can_be_pasted_and_a_long_meaning_stands_under_its_beginning() -> None:
    example = CliRunner().invoke(app, ["init", "-h"], env={"COLUMNS": "80"}).output
    meaning = CliRunner().invoke(app, ["-h"], env={"COLUMNS": "80"}).output

    assert "--event Purchase \\\n     --action-source physical_store" in example
    assert f"\n{' ' * 29}platform.stage" in meaning


def test_the_first_help_has_variables_and_exit_codes() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output

    assert all(word in said for word in ("OFFLINE_CAPI_LEDGER", "OFFLINE_CAPI_GRAPH_URL", "Exit codes", "130"))
    assert CliRunner().invoke(app, ["--version"]).output.strip() == __version__
    assert "Examples:" in CliRunner().invoke(app, ["upload", "-h"]).output
