"""The application that commands register with, and the way a process ends."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from offline_capi.cli.shell import err, fail
from offline_capi.errors import ConfigError, OfflineCapiError
from offline_capi.process import set_up_process
from offline_capi.storage import places_told

app = typer.Typer(
    name="offline-capi",
    help="Send conversions that happened offline to Meta's Conversions API, nightly and in bulk.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> NoReturn:
    """Run a command; every error a user can cause ends in one message and an exit code, never in a traceback."""
    set_up_process()
    try:
        with places_told():
            app(standalone_mode=True)
    except ConfigError as error:
        fail(error, 2)
    except OfflineCapiError as error:
        fail(error, 1)
    except KeyboardInterrupt:
        err.print("stopped. What was sent is recorded; running again is safe and sends only what is missing.")
        sys.exit(130)
    sys.exit(0)
