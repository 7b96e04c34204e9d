"""Erase a person: out of everything that is kept, so that no key of theirs is found again, and say what nobody knows.

How a person is found. Staged files hold hashed identity: by e-mail address, phone number or external id, under any
profile or country. Rejects hold business keys, and the ledger 16-byte keys made of them: neither leads back
to a person. The source does, where their rows still stand in it, and so it is read again, for every window of which
the ledger still knows something. Reports and statuses hold nobody, unless a value stood where a name should: then it
is written over.

What "complete" means. Everything that is kept was searched and holds nothing of the person any more. Of the
ledger that can be said in two ways: every event in it belongs to a row that was read again just now and is somebody
else's; or the person's event ids were given, and those are all that was asked for. Otherwise there are events whose
rows are gone from the source, one of which may be the person's, and the answer says so.

The source is its owner's: a row that still stands in it is read again by the next run over its window, and sent again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial, reduce
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config import Client, Deployment
from offline_capi.config.client import ExternalIdPolicy
from offline_capi.config.columns import find_field_specs
from offline_capi.errors import UsageError
from offline_capi.events.keys import make_event_key
from offline_capi.identity import VERSIONS, hash_identity, normalize
from offline_capi.ledger import AuditAction, RunRecord, record_audit
from offline_capi.ledger.documents import rewrite_documents
from offline_capi.ledger.index.filter import split_halves, split_keys
from offline_capi.ledger.lookup import (
    EventDelivery,
    ForgottenDeliveries,
    count_forgotten_deliveries,
    count_unexplained_events,
    find_deliveries,
    find_oldest_request,
    list_runs_with_requests,
)
from offline_capi.model import KEY_BYTES, HashedRows, IdentityColumn, MappedRows
from offline_capi.model.recipients import get_client_name
from offline_capi.pipeline import Services
from offline_capi.pipeline.rereading import (
    PastRead,
    UnreadSource,
    event_names,
    keys_of_rows,
    past_reads,
    pixels_sent_for,
    reread_each,
)
from offline_capi.privacy.readable import ReadableForms
from offline_capi.privacy.retention import MAX_RUN_DURATION, list_leftover_files

__all__ = ["Delivered", "Erased", "Person", "erase_person"]

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SEPARATOR = "\x1f"  # stands in no client's name
_KEY_TYPE = pa.binary(KEY_BYTES)
#: Clients that have left or had another policy for ``external_id``, one for each that there is.
_FORMER_CLIENTS = {
    f"former client {number}": Client.model_validate(
        {"pixel_id": "10000", "token": {"env": "UNUSED"}, "external_id": policy}
    )
    for number, policy in enumerate(ExternalIdPolicy.list_all())
}


@dataclass(frozen=True, slots=True)
class Person:
    """Who is to be erased: readable values by key of user_data (``em``, ``ph``, ``external_id``), or event ids.

    ``event_names`` are names that events may have besides those in the YAML; ``clients`` empty means all.
    """

    identity: Mapping[str, Sequence[str]] = field(default_factory=dict)
    event_ids: Sequence[str] = ()
    event_names: Sequence[str] = ()
    country: str | None = None
    clients: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Delivered:
    """Events of the person that Meta has, or may have (``certain`` is False): it alone can delete them there."""

    client: str
    pixel: str
    events: int
    first_at: datetime
    last_at: datetime
    certain: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "client": self.client,
            "pixel": self.pixel,
            "events": self.events,
            "first_at": self.first_at.isoformat(),
            "last_at": self.last_at.isoformat(),
            "certain": self.certain,
        }


@dataclass(slots=True)
class LookedThrough:
    """How much of each kind of record was searched; ``source_rows`` were read again from the uploads' sources."""

    staged_files: int = 0
    reject_files: int = 0
    ledger_events: int = 0
    reports: int = 0
    client_statuses: int = 0
    temporary_files: int = 0
    source_rows: int = 0

    def to_json(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Erased:
    """What one command removed, and what it cannot know.

    Removed: rows of staged files and of rejects, events of the ledger, texts in ``documents`` (reports, tasks' books,
    statuses), ``files`` rewritten. ``delivered`` is what Meta has of the person. ``in_source`` counts rows of theirs
    that still stand in the uploads' sources.

    Not known: ``unreadable`` counts files that a run is writing right now; ``scrubbed`` is False where another process
    kept the ledger's file from being cleaned; ``unread`` are windows that could not be read again; ``unexplained``
    counts, by upload, events of the ledger whose rows stand in no source any more, ``unexplained_rejects`` rows that
    were not sent. ``remembered_since`` is how far back
    the ledger goes, and ``forgotten`` what was delivered before that, to anybody: no key of it is kept, so that only
    Meta can determine whether the person is in it.
    """

    staged: int = 0
    rejects: int = 0
    ledger: int = 0
    documents: int = 0
    files: int = 0
    unreadable: int = 0
    scrubbed: bool = True
    in_source: int = 0
    source_skipped: bool = False
    remembered_since: datetime | None = None
    forgotten: ForgottenDeliveries | None = None
    unread: list[UnreadSource] = field(default_factory=list)
    unexplained: Counter[str] = field(default_factory=Counter)
    unexplained_rejects: Counter[str] = field(default_factory=Counter)
    delivered: list[Delivered] = field(default_factory=list)
    looked_through: LookedThrough = field(default_factory=LookedThrough)

    @property
    def complete(self) -> bool:
        """Whether the person is certainly found nowhere any more."""
        return not self.not_known

    @property
    def not_known(self) -> list[str]:
        """Why it is not certain, a sentence each with what to do."""
        reasons = []
        if self.unreadable:
            reasons.append(f"{self.unreadable} half-written files cannot be read: erase again when no run is under way")
        if not self.scrubbed:
            reasons.append(
                "another process held the ledger, whose file may keep old bytes: erase again when it is done"
            )
        for one in self.unread:
            reasons.append(f"{one.upload}, {one.window} could not be read again: {one.why}")
        why = "the source was not read" if self.source_skipped else "their rows stand in no source that was read"
        for found, what in ((self.unexplained, "events in the ledger"), (self.unexplained_rejects, "rejects")):
            if unknown := found.total():
                where = ", ".join(f"{name} {events:,}" for name, events in sorted(found.items()))
                reasons.append(
                    f"of {unknown:,} {what} ({where}) the owner is unknown: {why}, and only event ids, or "
                    "digests of them, are kept. If some may be this person's, name their ids: --event-id"
                )
        return reasons

    def to_json(self) -> dict[str, Any]:
        counts = ("staged", "rejects", "ledger", "documents", "files", "unreadable", "scrubbed", "in_source")
        since = self.remembered_since
        return {
            **{name: getattr(self, name) for name in counts},
            "delivered": [one.to_json() for one in self.delivered],
            "looked_through": self.looked_through.to_json(),
            "remembered_since": since.isoformat() if since else None,
            "forgotten": self.forgotten.to_json() if self.forgotten else None,
            "unread": [one.to_json() for one in self.unread],
            "unexplained": dict(sorted(self.unexplained.items())),
            "unexplained_rejects": dict(sorted(self.unexplained_rejects.items())),
            "not_known": self.not_known,
            "complete": self.complete,
        }


@dataclass(slots=True)
class _Trace:
    """What leads to the person: forms of their values, readable ones too, and events by id, by key and by row.

    ``invalid`` are ids and positions of all rows that were not sent, ``explained`` those of them that stand in a source
    as somebody else's; ``others`` the first halves of all other events' keys.
    """

    forms: frozenset[str]
    readable: ReadableForms
    clients: Sequence[str]
    known: frozenset[str]
    ids: set[str] = field(default_factory=set)
    keys: set[bytes] = field(default_factory=set)
    positions: set[str] = field(default_factory=set)
    invalid: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    explained: set[str] = field(default_factory=set)
    others: list[np.ndarray[Any, np.dtype[np.uint64]]] = field(default_factory=list)

    def find_hits(self, rows: pa.RecordBatch) -> pa.BooleanArray:
        """Rows of any staged file that belong to an event of the person."""
        found = _is_among(self.name_events(rows["client"], rows["event_id"]), self.ids)
        if "key" in rows.schema.names:
            keys = pa.array(sorted(self.keys), _KEY_TYPE)
            found = pc.or_(found, pc.is_in(rows["key"], value_set=keys, skip_nulls=True))
        else:  # an invalid row without an id is identified by its position alone
            by_place = _is_among(_join_positions(rows["origin"], rows["row"]), self.positions)
            found = pc.or_(found, pc.and_(pc.is_null(rows["event_id"]), by_place))
        if self.readable.nothing:
            return found
        shown = [
            self.readable.find_in(rows[name]) for name in ("client", "event_id", "field") if name in rows.schema.names
        ]
        shown.append(pc.and_(_is_among(rows["client"], self.readable.ids), pc.invert(self._is_known(rows["client"]))))
        mentioned = reduce(pc.or_, shown)
        return pc.or_(found, pc.and_(mentioned, _is_among(rows["client"], self.clients)) if self.clients else mentioned)

    def name_events(self, clients: Any, event_ids: Any) -> Any:
        """Client and event id in one text; of all clients that are not configured the first is empty."""
        encoded = clients.cast(pa.string()).dictionary_encode()
        owners = [
            get_client_name(name) if get_client_name(name) in self.known else ""
            for name in encoded.dictionary.to_pylist()
        ]
        texts = pc.fill_null(pa.array(owners, pa.string()).take(encoded.indices), "")
        return pc.binary_join_element_wise(texts, event_ids.cast(pa.string()), _SEPARATOR)

    def make_marks(self, rows: pa.RecordBatch) -> Any:
        """By what a row that was not sent is found again in its source: its id, or its position where it has none."""
        return pc.coalesce(
            self.name_events(rows["client"], rows["event_id"]), _join_positions(rows["origin"], rows["row"])
        )

    def _is_known(self, clients: Any) -> pa.BooleanArray:
        return _is_among(clients, self.known)


def erase_person(person: Person, services: Services, *, read_sources: bool = True, who: str | None = None) -> Erased:
    """Remove a person everywhere; doing it again finds nothing more, and finishes what was interrupted.

    Where values are given (and ``read_sources``), the uploads' sources are read again, for all windows that the ledger
    knows: that takes as long as reading them did. ``who`` stands in the audit log.
    """
    deployment, ledger = services.deployment, services.ledger
    recipients = _select_recipients(person, deployment)
    trace = _Trace(
        _list_forms(person, deployment),
        ReadableForms.of(person.identity, _compute_normal_forms(person, deployment)),
        [*recipients] if person.clients else (),
        frozenset(deployment.clients),
    )
    owners = ("", *map(get_client_name, recipients))  # "": a row whose client nobody knows
    trace.ids |= {f"{owner}{_SEPARATOR}{event_id}" for owner in owners for event_id in person.event_ids}
    trace.keys |= set(_list_possible_keys(person, services))
    erased = Erased(remembered_since=find_oldest_request(ledger), forgotten=count_forgotten_deliveries(ledger))
    if person.identity:
        _search_sources(trace, person, services, erased, read_sources=read_sources)
    for path in services.stage.list_files():
        _follow(trace, services.stage.read_batches(path))
    erased.unreadable = sum(not _sweep(path, services) for path in services.stage.list_torn_files())
    uploads = {run.id: run.upload for run in ledger.runs.list_past()}
    for path in services.stage.list_files():
        _clean(path, trace, services, erased)
        folder, name = path.rsplit("/", 2)[1:]
        if person.identity and not name.startswith("events-"):
            unknown = sum(_count_unexplained(rows, trace, person.clients) for rows in services.stage.read_batches(path))
            erased.unexplained_rejects[uploads.get(unquote(folder), unquote(folder))] += unknown
    erased.unexplained_rejects = +erased.unexplained_rejects
    _rewrite_documents(trace, services, erased)
    for temporary in list_leftover_files(None):  # a living process does not need its name any more
        temporary.unlink(missing_ok=True)
        erased.looked_through.temporary_files += 1
    found = sorted(trace.keys)
    erased.delivered = _group_delivered(find_deliveries(ledger, found))
    erased.ledger = ledger.journal.forget(found)
    erased.scrubbed = ledger.journal.scrub()
    if person.identity:
        erased.unexplained = count_unexplained_events(
            ledger, np.unique(np.concatenate(trace.others)) if trace.others else np.empty(0, np.uint64), person.clients
        )
    erased.looked_through.ledger_events = erased.ledger + sum(len(part.keys) for part in ledger.journal.read_entries())
    _record(person, services, erased, who)
    return erased


def _record(person: Person, services: Services, erased: Erased, who: str | None) -> None:
    """In the audit log: which kinds of identifiers, and figures. No value, and no digest of one."""
    kinds = [*sorted(person.identity), *(["event_id"] if person.event_ids else [])]
    counts = ("staged", "rejects", "ledger", "documents", "in_source", "complete")
    detail = {"identifiers": kinds, **{name: getattr(erased, name) for name in counts}}
    if person.clients:
        detail["clients"] = list(person.clients)
    record_audit(services.ledger, AuditAction.ERASE, "a person", now=services.clock(), who=who, detail=detail)


# ---------------------------------------------------------------------------------------------- what to search for


def _list_forms(person: Person, deployment: Deployment) -> frozenset[str]:
    """Every form in which an upload may have sent the values."""
    return frozenset(
        form
        for key, values in person.identity.items()
        for value in values
        for form in _list_forms_of(key, value, person.country, deployment)
    )


def _list_forms_of(key: str, value: str, country: str | None, deployment: Deployment) -> set[str]:
    """One value under every profile, country and policy; a SHA-256 also stands for itself."""
    found = {form for form in (value.strip().lower(),) if _DIGEST.fullmatch(form)}
    for profile in VERSIONS:
        found |= _hash_value(key, value, profile, country, deployment)
    if not found:
        raise UsageError(f"{key}: no upload could have sent this value, so nothing can hold it. Is it complete?")
    return found


def _hash_value(key: str, value: str, profile: str, country: str | None, deployment: Deployment) -> set[str]:
    """As uploads would hash it for any client or any policy; without a country given, in the client's and in none."""
    clients = {**deployment.clients, **_FORMER_CLIENTS}
    count = len(clients)
    countries = None if country is None else pa.repeat(country, count)
    rows = MappedRows(
        origin="erase",
        row=pa.array(range(count)),
        client=pa.array(list(clients)),
        event={},
        identity={key: [IdentityColumn(pa.repeat(value, count), key, country=countries)]},
        custom={},
        suppressed=pa.repeat(pa.scalar(value=False), count),
    )
    hashed = hash_identity(rows, clients=clients, profile=profile)
    return {form for column in hashed.identity.get(key, ()) for form in column.to_pylist() if form is not None}


def _compute_normal_forms(person: Person, deployment: Deployment) -> dict[str, set[str]]:
    """What would be hashed of each value, by key: as a readable text it may stand where it should not."""
    countries = {person.country} if person.country else {None, *(one.country for one in deployment.clients.values())}
    return {
        key: {
            form
            for country in countries
            for form in normalize(key, pa.array(list(values), pa.string()), country=country).to_pylist()
            if form is not None
        }
        for key, values in person.identity.items()
    }


def _list_possible_keys(person: Person, services: Services) -> Iterator[bytes]:
    """The ledger's keys of the event ids, for every pixel and name that the YAML or an earlier run knows."""
    if person.event_ids and not person.event_names:
        _need_all_names(services.deployment)
    names = {*person.event_names, *event_names(services)}
    wanted = pixels_sent_for(services)
    pixels = {pixel for name, own in wanted.items() if not person.clients or name in person.clients for pixel in own}
    yield from (
        make_event_key(pixel, name, event_id) for pixel in pixels for name in names for event_id in person.event_ids
    )


def _select_recipients(person: Person, deployment: Deployment) -> dict[str, Client]:
    """The clients that events of the person were sent for: those named, or all, with all their pixels."""
    everybody = deployment.recipients
    return {
        name: one for name, one in everybody.items() if not person.clients or get_client_name(name) in person.clients
    }


def _need_all_names(deployment: Deployment) -> None:
    """An event's name is part of its key: where the YAML leaves names to the source, somebody has to say them."""
    for upload in deployment.uploads.values():
        for _, spec in find_field_specs(upload.event.name, ()):
            if spec.columns and not spec.map and not spec.coalesce:
                raise UsageError(
                    f"upload {upload.name} takes the names of its events from the source, and the ledger's keys are "
                    "made of them: give --event-name for each name that the person's events may have"
                )


# ---------------------------------------------------------------------------------------------- where it is found


def _search_sources(trace: _Trace, person: Person, services: Services, erased: Erased, *, read_sources: bool) -> None:
    """Find the person's events among the rows of every window that runs read, and remember whose all others are."""
    reads, unread = past_reads(_list_runs_kept(services), services)
    if not read_sources:
        erased.source_skipped = bool(reads or unread)
        return
    pixels = pixels_sent_for(services)
    rejects = [path for path in services.stage.list_files() if not path.rsplit("/", 1)[1].startswith("events-")]
    marks = [trace.make_marks(rows) for path in rejects for rows in services.stage.read_batches(path)]
    trace.invalid = pc.unique(pa.chunked_array(marks, pa.string()))

    def collect(_: PastRead, rows: HashedRows) -> None:
        erased.looked_through.source_rows += len(rows)
        theirs = _find_rows_of_person(rows, trace, person.clients)
        erased.in_source += theirs.true_count
        positions = _join_positions(pa.repeat(rows.origin, len(rows)), rows.row)
        trace.positions |= set(positions.filter(theirs).to_pylist())
        found_by = [positions]
        if "event_id" in rows.event:
            ids = trace.name_events(rows.client, rows.event["event_id"])
            trace.ids |= set(ids.filter(theirs).drop_null().to_pylist())
            found_by.append(ids)
        for some in found_by:
            others = pc.and_(pc.is_in(some, value_set=trace.invalid), pc.invert(theirs))
            trace.explained |= set(some.filter(others).to_pylist())
        for keys in keys_of_rows(rows, pixels):
            trace.keys |= set(keys.filter(theirs).drop_null().to_pylist())
            trace.others.append(_get_first_halves(keys.filter(pc.invert(theirs)).drop_null()))

    erased.unread = [*unread, *reread_each(reads, services, collect)]


def _count_unexplained(rows: pa.RecordBatch, trace: _Trace, clients: Collection[str]) -> int:
    """Rows that were not sent and stand in no source that was read; of these clients, or of nobody, where named."""
    unknown = pc.invert(_is_among(trace.make_marks(rows), trace.explained))
    if clients:
        unknown = pc.and_(unknown, pc.or_(pc.is_null(rows["client"]), _is_among(rows["client"], trace.clients)))
    return int(unknown.true_count)


def _list_runs_kept(services: Services) -> list[RunRecord]:
    """The runs of which requests or files are kept."""
    needed = {run_id for run_id, _ in services.stage.list_run_files()} | list_runs_with_requests(services.ledger)
    return [run for run in services.ledger.runs.list_past() if run.id in needed]


def _find_rows_of_person(rows: HashedRows, trace: _Trace, clients: Collection[str]) -> pa.BooleanArray:
    """Rows that a form or a readable value of the person stands in; of these clients only, where some are named."""
    digests = {form for form in trace.forms if _DIGEST.fullmatch(form)}
    found = pa.repeat(pa.scalar(False), len(rows))
    for key, columns in rows.identity.items():
        for column in columns:
            found = pc.or_(found, _is_among(column, trace.forms if key == "external_id" else digests))
    if "event_id" in rows.event:
        found = pc.or_(found, trace.readable.find_in(rows.event["event_id"].cast(pa.string())))
    found = pc.or_(found, trace.readable.find_in(rows.client.cast(pa.string())))
    return pc.and_(found, _is_among(rows.client, clients)) if clients else found


def _follow(trace: _Trace, batches: Iterable[pa.RecordBatch]) -> None:
    """Add the events of the person that a file holds: by their identity, or by an id or key that is known already."""
    for rows in batches:
        mask = trace.find_hits(rows)
        if "body" in rows.schema.names:
            mask = pc.or_(mask, _is_about(rows, trace))
        found = rows.filter(mask)
        trace.ids |= set(trace.name_events(found["client"], found["event_id"]).drop_null().to_pylist())
        if "key" in rows.schema.names:
            trace.keys |= set(found["key"].to_pylist())


def _is_about(rows: pa.RecordBatch, trace: _Trace) -> pa.BooleanArray:
    """Which events hold one of the forms in their user_data: few texts do at all, and those few are read as JSON."""
    bodies = rows["body"]
    if not trace.forms:
        return pa.array([False] * len(bodies))
    sights = [pc.match_substring(bodies, json.dumps(form, ensure_ascii=False)) for form in trace.forms]
    seen = reduce(pc.or_, [*sights, trace.readable.find_in(bodies.cast(pa.string()))])
    if trace.clients:
        seen = pc.and_(seen, _is_among(rows["client"], trace.clients))
    sure = (sight and _holds(bodies[at].as_py(), trace) for at, sight in enumerate(seen.to_pylist()))
    return pa.array(list(sure), pa.bool_())


def _holds(body: bytes, trace: _Trace) -> bool:
    """A digest counts under any key, a raw value as ``external_id`` only: elsewhere it may be a number of its own.

    An address or a phone number that went out readable counts wherever it stands.
    """
    user_data = json.loads(body).get("user_data", {})
    for key, held in user_data.items():
        values = held if isinstance(held, list) else [held]
        if any(
            value in trace.forms and (key == "external_id" or _DIGEST.fullmatch(value)) for value in map(str, values)
        ):
            return True
        if any(trace.readable.is_in(value) for value in map(str, values)):
            return True
    return False


def _join_positions(origins: Any, rows: Any) -> Any:
    return pc.binary_join_element_wise(origins.cast(pa.string()), rows.cast(pa.string()), _SEPARATOR)


def _is_among(texts: Any, values: Collection[str]) -> pa.BooleanArray:
    return pc.is_in(texts.cast(pa.string()), value_set=pa.array(sorted(values), pa.string()), skip_nulls=True)


def _get_first_halves(keys: pa.Array) -> Any:
    """Of an array without nulls."""
    stored = memoryview(keys.buffers()[1] or b"").cast("B")
    return split_halves(split_keys(bytes(stored[KEY_BYTES * keys.offset : KEY_BYTES * (keys.offset + len(keys))])))[0]


def _group_delivered(found: Iterable[EventDelivery]) -> list[Delivered]:
    """What Meta has of the events, by client, pixel and whether it is certain."""
    groups: dict[tuple[str, str, bool], list[datetime]] = {}
    for one in found:
        if one.may_be_stored:
            groups.setdefault((one.client, one.pixel, one.accepted), []).append(one.answered_at or one.posted_at)
    return [
        Delivered(client, pixel, len(at), min(at), max(at), certain)
        for (client, pixel, certain), at in sorted(groups.items())
    ]


# ---------------------------------------------------------------------------------------------- what is removed


def _clean(path: str, trace: _Trace, services: Services, erased: Erased) -> None:
    """Rewrite a file that holds rows of the person; others are not touched."""
    folder, name = path.rsplit("/", 2)[1:]
    staged = name.startswith("events-")
    searched = erased.looked_through
    searched.staged_files, searched.reject_files = searched.staged_files + staged, searched.reject_files + (not staged)
    if not any(pc.any(trace.find_hits(rows)).as_py() for rows in services.stage.read_batches(path)):
        return
    left = services.stage.rewrite(path, trace.find_hits)
    erased.files += 1
    if staged:
        erased.staged += left
        _leave_out(unquote(folder), left, services)
    else:
        erased.rejects += left


def _rewrite_documents(trace: _Trace, services: Services, erased: Erased) -> None:
    """Reports, tasks' books and clients' statuses: a value of the person that stands in one is written over."""
    if trace.readable.nothing:
        return
    change = partial(trace.readable.overwrite, clients=trace.known)
    searched, changed = rewrite_documents(services.ledger, change)
    erased.looked_through.reports, erased.documents = searched, changed
    for path in services.stage.list_status_files():
        erased.looked_through.client_statuses += 1
        erased.documents += services.stage.rewrite_json(path, change)


def _sweep(path: str, services: Services) -> bool:
    """Remove a half-written file, unless its run may still be writing it."""
    run_id = unquote(path.rsplit("/", 2)[1])
    begun = [run.started_at for run in services.ledger.runs.list_unfinished() if run.id == run_id]
    if begun and services.clock() - begun[0] < MAX_RUN_DURATION:
        return False
    services.stage.remove(path)
    return True


def _leave_out(run_id: str, rows: int, services: Services) -> None:
    """Rows that left a run's staged files before its books were closed are as if they had not been read."""
    prepared = services.ledger.runs.load_parts(run_id).get("prepare")
    if prepared is not None:
        prepared.read -= rows
        services.ledger.runs.save_part(run_id, "prepare", prepared)
