"""The application that commands register with, and the way a process ends."""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from offline_capi import __version__
from offline_capi.cli.help_text import ROOT_EPILOG, write_epilog
from offline_capi.cli.shell import announce, fail, out
from offline_capi.config.environments import VARIABLE
from offline_capi.errors import ConfigError, OfflineCapiError
from offline_capi.runtime.bugs import as_internal, contain_hooks, is_meant_to_end_us
from offline_capi.runtime.json_log import start_json_log
from offline_capi.runtime.process import set_up_process
from offline_capi.storage.filesystem import translate_storage_errors

EnvironmentOption = Annotated[
    str | None, typer.Option("--environment", help=f"One of `environments` in clients.yml. Default: {VARIABLE}.")
]

Function = TypeVar("Function", bound=Callable[..., Any])


class _Help:
    """A flag takes no value, and so its help names no type; examples keep their lines."""

    params: list[Any]
    _lines: str | None

    def __init__(self, *arguments: Any, epilog: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lines = epilog
        _name_values(self.params)

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)  # type: ignore[misc]
        _name_values([option] if option else [])
        return option

    def get_params(self, ctx: Any) -> Any:
        found = super().get_params(ctx)  # type: ignore[misc]
        _name_values(found)  # those of completion are added later
        return found

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)  # type: ignore[misc]
        for line in (self._lines or "").splitlines():
            _print_hanging(line)


#: A command of an example, or a word and its meaning.
_COMMAND, _MEANING = re.compile(r" +offline-capi "), re.compile(r"( +\S+ {2,})(.+)")


def _print_hanging(line: str) -> None:
    """A line of an epilog: a command that is too long goes on as a shell reads it, a meaning below its first line."""
    if _COMMAND.match(line):
        width = max(out.width - 8, 40)
        parts = textwrap.wrap(line.strip(), width, break_long_words=False, break_on_hyphens=False)
        out.print(Text(" \\\n".join(f"{' ' * (5 if at else 3)}{part}" for at, part in enumerate(parts))))
    elif found := _MEANING.fullmatch(line):
        table = Table.grid(padding=0)
        table.add_column(no_wrap=True)
        table.add_column()
        table.add_row(Text(f" {found[1]}"), Text(found[2]))
        out.print(table)
    else:
        out.print(Text(f" {line}"))


class _Command(_Help, TyperCommand):
    pass


class _Group(_Help, TyperGroup):
    pass


def _name_values(parameters: Sequence[Any]) -> None:
    """What an option takes, as other programs write it: nothing for a flag, TEXT for ``<str>``, ``text|json``."""
    for one in parameters:
        if getattr(one, "is_flag", False):
            one.metavar = ""
        elif one.param_type_name == "option" and one.metavar is None:
            kind = one.type_descriptor.annotation
            is_choice = isinstance(kind, type) and issubclass(kind, StrEnum)
            one.metavar = "|".join(kind) if is_choice else _VALUE_NAMES.get(kind)


_VALUE_NAMES = {str: "TEXT", list[str]: "TEXT", Path: "PATH", int: "NUMBER"}


class CommandApp(typer.Typer):
    """Every command that reads a configuration takes ``--environment``, which holds for the whole process.

    ``path`` is what stands before its commands' names: ``clients `` for ``clients list``.
    """

    def __init__(self, *, path: str = "", **options: Any) -> None:
        super().__init__(cls=_Group, **options)
        self._path = path

    def command(self, *names: Any, **options: Any) -> Callable[[Function], Function]:
        def register(function: Any) -> Any:
            name = names[0] if names else function.__name__.replace("_", "-")
            settings = {"cls": _Command, "epilog": write_epilog(f"{self._path}{name}"), **options}
            return super(CommandApp, self).command(*names, **settings)(function)

        def decorate(function: Function) -> Function:
            has_config = "config" in inspect.signature(function).parameters
            ended = _end_interrupted(function)
            register(_with_environment(ended) if has_config else ended)
            return function

        return decorate


def _end_interrupted(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same; Ctrl-C ends it in one sentence and exit code 130. Typer would end it without a word."""

    @functools.wraps(function)
    def command(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except KeyboardInterrupt:
            announce(INTERRUPTED, level="warning")
            sys.exit(130)

    return command


INTERRUPTED = "stopped by hand. What was sent is recorded; running again is safe and sends only what is missing."


def _with_environment(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def command(*, environment: str | None = None, **options: Any) -> Any:
        if environment is not None:
            os.environ[VARIABLE] = environment
        return function(**options)

    signature = inspect.signature(function, eval_str=True)
    option = inspect.Parameter(
        "environment", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=EnvironmentOption
    )
    parameters = {**signature.parameters, option.name: option}
    command.__annotations__ = {name: one.annotation for name, one in parameters.items()}
    command.__signature__ = signature.replace(parameters=[*parameters.values()])  # type: ignore[attr-defined]
    return command


app = CommandApp(
    name="offline-capi",
    help="Send conversions that happened offline to Meta's Conversions API, nightly and in bulk.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=ROOT_EPILOG,
)


class LogFormat(StrEnum):
    """How standard error is written."""

    TEXT = "text"
    JSON = "json"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[  # noqa: ARG001  its callback has acted
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            "--log-format",
            envvar="OFFLINE_CAPI_LOG_FORMAT",
            show_envvar=False,
            help="json: standard error is one JSON object a line. Stands before the command.",
        ),
    ] = LogFormat.TEXT,
) -> None:
    """Send conversions that happened offline to Meta's Conversions API, nightly and in bulk."""
    if log_format is LogFormat.JSON:
        start_json_log()


def main() -> NoReturn:
    """Run a command; every error ends in one message and an exit code, never in a traceback."""
    set_up_process()
    contain_hooks()
    try:
        with translate_storage_errors():
            app(standalone_mode=True)
    except ConfigError as error:
        fail(error, 2)
    except OfflineCapiError as error:
        fail(error, 1)
    except KeyboardInterrupt:
        announce(INTERRUPTED, level="warning")
        sys.exit(130)
    except BaseException as error:
        if is_meant_to_end_us(error):
            raise
        fail(as_internal(error), 1)
    sys.exit(0)
