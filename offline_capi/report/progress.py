"""Progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from offline_capi.model import Fate, Tally

__all__ = ["show_progress"]

#: Seconds between two lines where there is no terminal: often enough to see life, seldom enough for a log file.
LINE_EVERY = 10.0


class Say(Protocol):
    """Says a sentence; its figures by name."""

    def __call__(self, sentence: str, **counts: float) -> None: ...


@contextmanager
def show_progress(
    name: str, console: Console, say: Say, *, quiet: bool = False, total: int | None = None
) -> Iterator[Callable[[Tally], None]]:
    """Give a callback for ``run_upload(on_progress=…)``. ``total`` is the expected number of rows, where known.

    Where ``console`` is no terminal, ``say`` is given a sentence every few seconds, and its figures by name.
    """
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
        yield _Lines(name, say, total)


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

    def __init__(self, name: str, say: Say, total: int | None) -> None:
        self._name, self._say = name, say
        self._of = f" of about {total:,}" if total else ""
        self._started = self._last = time.monotonic()

    def __call__(self, tally: Tally) -> None:
        now = time.monotonic()
        if now - self._last < LINE_EVERY:
            return
        self._last = now
        sent, rate = tally.count(Fate.SENT), tally.accounted / (now - self._started)
        self._say(
            f"{self._name}: {tally.read:,} rows read{self._of}, {sent:,} sent, {rate:,.0f} rows/s",
            read=tally.read,
            sent=sent,
            rows_per_second=round(rate),
        )
