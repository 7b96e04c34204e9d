"""Isolation of the one event for which Meta refuses a whole request."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from offline_capi.model import EventBatch

__all__ = ["Isolation", "isolate"]


class Isolation(NamedTuple):
    """``culprit`` is the event at fault, where it is known; ``rest`` are the parts to be sent again."""

    culprit: EventBatch | None
    rest: tuple[EventBatch, ...]


def isolate(events: EventBatch, culprit: int | None, *, is_part: bool) -> Isolation:
    """Split the events of a refused request; ``culprit`` is the index that Meta named.

    A named culprit is rejected without another POST. What is left goes again in one request the first time, which is
    all that a single bad event costs, and in halves from then on (``is_part``). Without a name it is halved at once.
    """
    count = len(events)
    if culprit is None or culprit >= count:
        return Isolation(None, _halve(events))
    rest = EventBatch.join((events.slice(0, culprit), events.slice(culprit + 1, count)))
    in_halves = is_part and len(rest) > 1
    return Isolation(events.slice(culprit, 1), _halve(rest) if in_halves else (rest,))


def _halve(events: EventBatch) -> tuple[EventBatch, EventBatch]:
    """Every other event: bad rows are neighbours, and the first rejections should be typical of all."""
    indices = np.arange(len(events))
    return events.take(indices[::2]), events.take(indices[1::2])
