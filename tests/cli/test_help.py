"""The whole of ``--help``, as a person walks it."""

from __future__ import annotations

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
    assert "<bool>" not in long.output
    assert all(len(line) <= int(width) for line in long.output.splitlines())
    command: Any = get_command(app)
    for name in path:
        command = command.commands[name]
    assert all(one.help for one in command.params if one.param_type_name == "option")


def test_the_first_help_has_variables_and_exit_codes() -> None:
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).output

    assert all(word in said for word in ("OFFLINE_CAPI_LEDGER", "OFFLINE_CAPI_GRAPH_URL", "Exit codes", "130"))
    assert CliRunner().invoke(app, ["--version"]).output.strip() == __version__
    assert "Examples:" in CliRunner().invoke(app, ["upload", "-h"]).output
