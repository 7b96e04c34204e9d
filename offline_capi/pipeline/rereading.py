"""Read again what earlier runs read, to learn whose events the ledger's keys are: nothing is sent and nothing recorded.

The ledger keeps 16 bytes of an event, which lead back to nobody. The rows do: their identity and their event id stand
side by side in the source, for as long as its owner keeps them there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import sqlalchemy as sa

from offline_capi.config import Upload
from offline_capi.config.columns import find_field_specs
from offline_capi.errors import ConfigError, SourceError
from offline_capi.events.keys import make_event_keys
from offline_capi.identity import HashCache
from offline_capi.ledger import RunRecord, list_sent_by_runs
from offline_capi.ledger.schema.tables import request
from offline_capi.mapping import FirstRows
from offline_capi.meta.limits import MAX_PHYSICAL_STORE_AGE
from offline_capi.model import HashedRows, Window
from offline_capi.model.recipients import get_client_name
from offline_capi.pipeline.recipe import Recipe
from offline_capi.pipeline.services import Services
from offline_capi.pipeline.stages import read_lookups, read_rows

__all__ = [
    "PastRead",
    "UnreadSource",
    "event_names",
    "keys_of_rows",
    "past_reads",
    "pixels_sent_for",
    "reread",
    "reread_each",
]


@dataclass(frozen=True, slots=True)
class PastRead:
    """A window of an upload that runs read, and that can be read again."""

    upload: Upload
    window: Window


@dataclass(frozen=True, slots=True)
class UnreadSource:
    """A window that cannot be read again, and why."""

    upload: str
    window: str
    why: str

    def to_json(self) -> dict[str, str]:
        return {"upload": self.upload, "window": self.window, "why": self.why}


def past_reads(runs: Iterable[RunRecord], services: Services) -> tuple[list[PastRead], list[UnreadSource]]:
    """The windows that these runs read, none within another; and those whose upload is configured no more.

    A file without a date in its path is read whole for any window, so that all windows of it become one. Of a table
    that is read with its late rows, it begins where the oldest event can be that any of these runs sent.
    """
    windows: dict[str, list[Window]] = {}
    for run in runs:
        windows.setdefault(run.upload, []).append(run.window)
    found, unread = [], []
    for name, theirs in sorted(windows.items()):
        upload = services.deployment.uploads.get(name)
        if upload is None:
            whole = _around(theirs)
            unread.append(UnreadSource(name, str(whole), "the upload is configured no more"))
        elif not upload.source.selects_rows_itself:
            whole = _around(theirs)
            late = MAX_PHYSICAL_STORE_AGE if upload.source.incremental else timedelta()
            found.append(PastRead(upload, whole.extend_back(late)))
        else:
            found += [PastRead(upload, window) for window in _outermost(theirs)]
    return found, unread


def reread(past: PastRead, services: Services) -> Iterator[HashedRows]:
    """The rows of a window, mapped and hashed as a run would do it today. Raises what reading and mapping raise."""
    tables = read_lookups(past.upload, past.window, services)
    recipe = Recipe.of_upload(past.upload, past.window, services.deployment, lookups=tables)
    cache, firsts = HashCache(), FirstRows()
    for rows in read_rows(past.upload, past.window, services):
        yield recipe.hash_batch(rows, firsts=firsts, cache=cache)


def reread_each(
    reads: Iterable[PastRead], services: Services, look: Callable[[PastRead, HashedRows], None]
) -> list[UnreadSource]:
    """``look`` at all rows of all windows; returns the windows that could not be read to their end."""
    unread = []
    for past in reads:
        try:
            for rows in reread(past, services):
                look(past, rows)
        except (SourceError, ConfigError) as error:
            unread.append(UnreadSource(past.upload.name, str(past.window), " ".join(str(error).split())))
    return unread


def event_names(services: Services) -> set[str]:
    """The names that events may have: those in the YAML, and those that runs sent."""
    uploads = services.deployment.uploads.values()
    specs = (spec for upload in uploads for _, spec in find_field_specs(upload.event.name, ()))
    written = {value for spec in specs for value in (spec.constant, spec.default, *(spec.map or {}).values())}
    sent = {
        one.event_name
        for run in list_sent_by_runs(services.ledger, datetime.fromtimestamp(0, UTC))
        for one in run.events
    }
    return {str(name) for name in written if name is not None} | sent


def pixels_sent_for(services: Services) -> dict[str, set[str]]:
    """The pixels of each client: those that are configured, and those that the ledger knows from earlier."""
    pixels: dict[str, set[str]] = {}
    for name, one in services.deployment.recipients.items():
        pixels.setdefault(get_client_name(name), set()).add(one.pixel_id)
    for name, pixel in services.ledger.read(sa.select(request.c.client, request.c.pixel).distinct()):
        pixels.setdefault(get_client_name(name), set()).add(pixel)
    return pixels


def keys_of_rows(rows: HashedRows, pixels: Mapping[str, Collection[str]]) -> Iterator[pa.Array]:
    """The ledger's keys of the rows' events, beside the rows: one array for each place among a client's pixels.

    Null where a row has no event id, no name, or a client without so many pixels.
    """
    names, ids = rows.event.get("event_name"), rows.event.get("event_id")
    if names is None or ids is None:
        return
    clients = rows.client.cast(pa.string()).dictionary_encode()
    theirs = [sorted(pixels.get(name or "", ())) for name in clients.dictionary.to_pylist()]
    for place in range(max(map(len, theirs), default=0)):
        chosen = pa.array([own[place] if place < len(own) else None for own in theirs], pa.string())
        yield make_event_keys(chosen.take(clients.indices), names.cast(pa.string()), ids.cast(pa.string()))


def _around(windows: Collection[Window]) -> Window:
    return Window(min(one.since for one in windows), max(one.until for one in windows))


def _outermost(windows: Iterable[Window]) -> list[Window]:
    kept: list[Window] = []
    for one in sorted(set(windows), key=lambda window: (window.since, -window.until.timestamp())):
        if not kept or one.until > kept[-1].until:
            kept.append(one)
    return kept
