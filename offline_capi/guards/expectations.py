"""The checks of ``expect``, judged from what a run has counted: which are not met, and whose events they hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from offline_capi.config.fields import Expectation, RowCount
from offline_capi.guards.quality_gates import find_shares_beyond
from offline_capi.model import GateFinding, Tally, Window

__all__ = ["judge_expectations"]


def judge_expectations(expectations: Sequence[Expectation], tally: Tally, window: Window) -> tuple[GateFinding, ...]:
    """A finding for each check that is not met, or for each client whose rows do not meet it.

    ``row_count`` and ``fresh_within`` speak of the whole run: books of some clients or rows only are not judged by
    them. A run without any row has no row that fails; ``row_count`` says whether that may be.
    """
    findings: list[GateFinding] = []
    for index, one in enumerate(expectations):
        if one.action == "off":
            continue
        if one.row_count is not None:
            findings += [] if tally.narrowed else _judge_row_count(index, one, one.row_count, tally)
        elif one.fresh_within is not None:
            findings += [] if tally.narrowed else _judge_freshness(index, one, tally, window)
        else:
            findings += _judge_rows(index, one, tally)
    return tuple(findings)


def _judge_rows(index: int, one: Expectation, tally: Tally) -> Iterator[GateFinding]:
    failed: Counter[str | None] = Counter()
    for (label, client), rows in tally.expected.items():
        if label == one.label and (not tally.narrowed or client in tally.read_of):
            failed[client or None] += rows
    for whom, rows, read in find_shares_beyond(one.max_failed, one.action, failed, tally):
        whose = f" of {whom}" if whom else ""
        sentence = (
            f"expect {one.label}: {rows:,} of {read:,} rows{whose} fail ({rows / read:.1%}); "
            f"expect[{index}] allows {one.max_failed:.1%}"
        )
        yield GateFinding(f"expect {one.label}", one.action, rows / read, None, sentence, whom)


def _judge_row_count(index: int, one: Expectation, bounds: RowCount, tally: Tally) -> Iterator[GateFinding]:
    low, high = bounds.at_least or 0, bounds.at_most
    read = tally.punctual
    if low <= read and (high is None or read <= high):
        return
    wanted = f"at least {low:,}" if read < low else f"at most {high:,}"
    sentence = f"expect {one.label}: {read:,} rows were read; expect[{index}] wants {wanted}"
    yield GateFinding(f"expect {one.label}", one.action, read, None, sentence)


def _judge_freshness(index: int, one: Expectation, tally: Tally, window: Window) -> Iterator[GateFinding]:
    if not tally.read or any(label == one.label and rows for (label, _), rows in tally.expected.items()):
        return
    sentence = (
        f"expect {one.label}: no row has a time in the last {one.fresh_within} before {window.until.isoformat()}, the "
        f"end of the window; expect[{index}] wants one. Was the export cut short, or is a load late?"
    )
    yield GateFinding(f"expect {one.label}", one.action, 0, None, sentence)
