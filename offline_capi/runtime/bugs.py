"""Unexpected exceptions: any that is no ``OfflineCapiError`` is a bug, and its message may quote a row.

Arrow, pandas and Python quote the value that they cannot convert. At the borders of a process (the command line, a task
of Airflow, a child that reads a source) such an exception becomes an ``InternalError``: its kind and the lines it came
through, without its message, its chain and its frames' variables.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any, TypeVar

from offline_capi.errors import InternalError, OfflineCapiError

__all__ = ["TRACEBACK", "as_internal", "contain", "contain_hooks", "is_meant_to_end_us"]

#: The environment variable that prints whole tracebacks, messages included: they may show values of rows.
TRACEBACK = "OFFLINE_CAPI_TRACEBACK"

_PACKAGE = Path(__file__).parents[1]

T = TypeVar("T")


def as_internal(error: BaseException) -> OfflineCapiError:
    """``error`` as it may leave the process: itself where it is ours, else an ``InternalError`` in its place.

    Raise it ``from None``, outside of the handler where you can: the chain quotes rows, too.
    """
    if isinstance(error, OfflineCapiError):
        return error
    if os.environ.get(TRACEBACK) == "1":
        traceback.print_exception(error, file=sys.stderr)
        sys.stderr.flush()
    return InternalError(
        f"{_kind(error)} {_place(error.__traceback__)}; its message is withheld, for it may quote a row.\n"
        "This is a bug in offline_capi: please report this sentence and the version. A run can be repeated: what was "
        "sent is recorded, and only what is missing is sent. For other commands it is not known whether repeating is "
        f"safe. {TRACEBACK}=1 prints the whole traceback, which may show values of rows."
    )


def contain(function: Callable[..., T]) -> Callable[..., T]:
    """``function``, out of which no exception comes with a message that is not ours, nor with a chain.

    What Airflow raises (a skipped task, its time limit, a deferral), Ctrl-C and the end of the process pass.
    """

    @functools.wraps(function)
    def contained(*arguments: Any, **named: Any) -> T:
        try:
            return function(*arguments, **named)
        except BaseException as error:
            if is_meant_to_end_us(error) or _is_airflows(error):
                raise
            failure = as_internal(error)
        # Outside of the handler: what is raised inside keeps the other exception as its context.
        raise failure from None

    return contained


def contain_hooks() -> None:
    """The same for what Python prints itself: exceptions of threads, of finalizers, and any that nobody caught."""

    def say(error: BaseException | None) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt):
            failure = as_internal(error)
            sys.stderr.write(f"{type(failure).__name__}: {failure}\n")

    sys.excepthook = lambda _, error, __: say(error)
    threading.excepthook = lambda hook: say(hook.exc_value)
    sys.unraisablehook = lambda hook: say(hook.exc_value)


def is_meant_to_end_us(error: BaseException) -> bool:
    """Whether it comes from outside of the code that ran: somebody's Ctrl-C, or Airflow's time limit and signals.

    ``SystemExit`` with a text counts as an error: Python would print the text.
    """
    if isinstance(error, SystemExit):
        return not isinstance(error.code, str)
    return isinstance(error, (KeyboardInterrupt, GeneratorExit)) or (
        _is_airflows(error) and not isinstance(error, Exception)
    )


def _is_airflows(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "airflow"


def _kind(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _place(trace: TracebackType | None) -> str:
    """The innermost line of this package, and the function of a library that raised it."""
    frames = [(frame.f_code, line, str(frame.f_globals.get("__name__"))) for frame, line in traceback.walk_tb(trace)]
    own = [(code, line) for code, line, _ in frames if _is_own(code)]
    if not own:
        return "outside of offline_capi's own code"
    code, line = own[-1]
    at = f"at {Path(code.co_filename).relative_to(_PACKAGE.parent).as_posix()}:{line} ({code.co_name})"
    last, last_line, module = frames[-1]
    return at if _is_own(last) else f"{at}, raised by {module}:{last_line} ({last.co_name})"


def _is_own(code: CodeType) -> bool:
    return Path(code.co_filename).is_relative_to(_PACKAGE) and code.co_filename != __file__
