"""What Meta says of the events it got: asked, kept in the ledger, and compared with what was sent."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from offline_capi.clients.read_back import UnansweredQuestion, list_covered_days, read_back
from offline_capi.ledger import list_sent_by_runs, load_read_back, save_read_back
from offline_capi.meta.graph.client import GraphClient
from offline_capi.meta.versions import version_warnings
from offline_capi.model import SentEvents
from offline_capi.model.recipients import get_client_name
from offline_capi.pipeline import Services
from offline_capi.report import Quality, RunReport, compare

__all__ = ["FetchResult", "load_quality", "pull_quality"]


#: When each run ended, and what it sent.
SentByRuns = list[tuple[datetime, dict[SentEvents, int]]]


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What was asked for just now. ``unread`` is what Meta did not answer; ``warnings`` are of the API's versions."""

    quality: Quality
    unread: tuple[UnansweredQuestion, ...]
    warnings: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.unread

    def to_json(self) -> dict[str, Any]:
        unread = [{"client": one.client, "kind": one.kind, "words": one.words} for one in self.unread]
        return {**self.quality.to_json(), "unread": unread, "warnings": list(self.warnings)}


def pull_quality(services: Services, *, clients: Collection[str] = ()) -> FetchResult:
    """Ask Meta about every active client, or those named, keep its answers, and compare them with our own counts.

    Nothing is changed at Meta. Asking again replaces its earlier answers for the same days.
    """
    deployment, now = services.deployment, services.clock().astimezone(UTC)
    platform = deployment.platform
    wanted = [
        one
        for one in deployment.recipients.values()
        if (get_client_name(one.name) in clients if clients else one.active)
    ]
    with GraphClient(platform.graph_url, platform.versions) as graph:
        answers, unread = read_back(wanted, graph, platform, services.secrets, now=now)
        warnings = (*version_warnings(platform.versions, now.date(), families=["read_back"]), *graph.notices)
    save_read_back(services.ledger, answers, now=now, keep_for=platform.retention.read_back)
    days = list_covered_days(now)
    kept = load_read_back(services.ledger, since=days[0], until=days[-1], clients=[one.name for one in wanted])
    return FetchResult(compare(_list_sent_since(services, days[0]), kept), tuple(unread), warnings)


def load_quality(report: RunReport, services: Services, *, client: str | None = None) -> Quality:
    """Meta's latest answers about the events of a run; nothing where it never was.

    ``client`` is whom the report is given to: Meta counts by pixel, so it gets no figure of one that others fill too.
    """
    about = report.tally.sent_events.keys()
    if not about:
        return Quality()
    first = min(sent.day for sent in about)
    clients = {sent.client for sent in about}
    answers = load_read_back(
        services.ledger, since=first, until=services.clock().astimezone(UTC).date(), clients=clients
    )
    sent = _list_sent_since(services, first)
    if client is not None and _is_shared(client, {one.pixel for one in about}, sent, services):
        return Quality()
    return compare(sent, answers, about=about) if answers else Quality()


def _is_shared(client: str, pixels: Collection[str], sent: SentByRuns, services: Services) -> bool:
    configured = services.deployment.clients.get(client)
    others = (one for _, events in sent for one in events if one.pixel in pixels)
    return bool(configured and configured.shares_pixel_with) or any(
        get_client_name(one.client) != client for one in others
    )


def _list_sent_since(services: Services, day: date) -> SentByRuns:
    """No run that began before a day sent events of that day: events are never sent before they happen."""
    runs = list_sent_by_runs(services.ledger, datetime.combine(day, time(), UTC))
    return [(run.ended_at, dict(run.events)) for run in runs]
