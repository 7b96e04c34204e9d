"""A run in Airflow's own metrics, by upload and client, whichever back end Airflow sends them to.

- ``offline_capi.events.<fate>``: counted when the books of a run are closed, each event once however often tasks were
  repeated or cleared
- ``offline_capi.requests``, ``offline_capi.tries`` and the timing ``offline_capi.send.duration``: of each task that
  sends, as it ends
- the timing ``offline_capi.run.duration``: from the opening of a run to the closing of its books

Without tags (plain StatsD has none) they are sums over all uploads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from airflow.sdk.observability import stats

if TYPE_CHECKING:
    from datetime import timedelta

    from offline_capi.model import Fate, Tally
    from offline_capi.report import RunReport

__all__ = ["count_events", "count_sending"]

#: The client of rows that name none, or one that is not configured.
UNKNOWN_CLIENT = "unknown"


def count_sending(tally: Tally, duration: timedelta, **tags: str) -> None:
    """What one sending took, whether or not everything arrived; ``tags`` say of which upload, and of which client."""
    fit = _normalize_tags(tags)
    stats.incr("offline_capi.requests", tally.requests, tags=fit)
    stats.incr("offline_capi.tries", tally.tries, tags=fit)
    stats.timing("offline_capi.send.duration", duration, tags=fit)


def count_events(report: RunReport, clients: Container[str], before: RunReport | None = None) -> None:
    """What became of the events of a run; of one whose books were closed ``before``, only what has come since.

    A row may name a client that is none of ``clients``, and what it says there is no tag.
    """
    earlier: Counter[tuple[Fate, str]] = _count_by_client(before.tally, clients) if before else Counter()
    for (fate, client), events in (_count_by_client(report.tally, clients) - earlier).items():
        stats.incr(
            f"offline_capi.events.{fate.value}",
            events,
            tags=_normalize_tags({"upload": report.upload, "client": client}),
        )
    stats.timing(
        "offline_capi.run.duration",
        report.ended_at - report.started_at,
        tags=_normalize_tags({"upload": report.upload}),
    )


def _count_by_client(tally: Tally, clients: Container[str]) -> Counter[tuple[Fate, str]]:
    events: Counter[tuple[Fate, str]] = Counter()
    for count, rows in tally.fates.items():
        client = count.client if count.client in clients else None
        events[count.fate, client or UNKNOWN_CLIENT] += rows
    return events


def _normalize_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Where tags are part of the name, as in InfluxDB's StatsD, Airflow drops a metric for one foreign character."""
    return {name: stats.normalize_name_for_stats(value, log_warning=False) for name, value in tags.items()}
