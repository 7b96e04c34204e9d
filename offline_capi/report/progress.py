"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from offline_capi.model import Fate, Tally

__all__ = ["show_progress"]

#: Seconds between two lines where there is no terminal: often enough to see life, seldom enough for a log file.
LINE_EVERY = 10.0


@contextmanager
def show_progress(
    name: str, console: Console, *, quiet: bool = False, total: int | None = None
) -> Iterator[Callable[[Tally], None]]:
    """Give a callback for ``run_upload(on_progress=…)``. ``total`` is the expected number of rows, where known."""
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with _make_bar(console) as bar:
            task = bar.add_task(name, total=total, sent=0, rate="")
            yield lambda tally: bar.update(
                task,
                completed=tally.accounted if total else tally.read,
                sent=f"{tally.count(Fate.SENT):,}",
                rate=_rate(bar, tally),
            )
    else:
        yield _Lines(name, console, total)


def _make_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f} rows  {task.fields[sent]} sent  {task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _rate(bar: Progress, tally: Tally) -> str:
    elapsed = bar.tasks[0].elapsed or 0.0
    return f"{tally.accounted / elapsed:,.0f} rows/s" if elapsed > 1 else ""


class _Lines:
    """One plain line every few seconds."""

    def __init__(self, name: str, console: Console, total: int | None) -> None:
        self._name, self._console = name, console
        self._of = f" of about {total:,}" if total else ""
        self._started = self._last = time.monotonic()

    def __call__(self, tally: Tally) -> None:
        now = time.monotonic()
        if now - self._last < LINE_EVERY:
            return
        self._last = now
        rate = tally.accounted / (now - self._started)
        self._console.print(
            f"{self._name}: {tally.read:,} rows read{self._of}, {tally.count(Fate.SENT):,} sent, {rate:,.0f} rows/s",
            highlight=False,
        )
