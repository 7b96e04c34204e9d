"""How much of each client may go out in one run: ``limits.events_per_run`` of ``clients.yml``.

The first events go, in the order of the source, and the rest is deferred: the same input makes the same choice. What
the ledger knows as sent is no longer asked for, so that the next run goes on where this one stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from offline_capi.config.client import Client
from offline_capi.model import EventBatch, Fate

__all__ = ["Quotas"]


class Quotas:
    """What is left of each recipient's limit in one run."""

    def __init__(self, recipients: Mapping[str, Client]) -> None:
        limits = ((name, client.limits.events_per_run) for name, client in recipients.items())
        self._left = {name: limit for name, limit in limits if limit is not None}

    def note(self, events: EventBatch, fate: Fate) -> None:
        """Events that this run has sent before, in an earlier try of its task, are taken off the limit."""
        if fate is Fate.SENT:
            self.take(events)

    def take(self, events: EventBatch) -> tuple[EventBatch, EventBatch]:
        """The events that may go, which are counted, and those above their client's limit."""
        if not self._left or not len(events):
            return events, events.slice(0, 0)
        encoded = events.table.column("client").dictionary_encode()
        names, owners = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
        left = np.array([max(self._left.get(name, len(events)), 0) for name in names])
        within = _rank_within(owners) < left[owners]
        self._count(names, owners[within])
        if within.all():
            return events, events.slice(0, 0)
        return events.filter(pa.array(within)), events.filter(pa.array(~within))

    def _count(self, names: list[str], owners: NDArray[Any]) -> None:
        for name, rows in zip(names, np.bincount(owners, minlength=len(names)), strict=True):
            if name in self._left:
                self._left[name] -= int(rows)


def _rank_within(owners: NDArray[Any]) -> NDArray[np.intp]:
    """For each event how many of the same owner stand before it."""
    order = np.argsort(owners, kind="stable")
    ordered = owners[order]
    starts = np.searchsorted(ordered, ordered)
    ranks = np.empty(len(owners), np.intp)
    ranks[order] = np.arange(len(owners)) - starts
    return ranks
