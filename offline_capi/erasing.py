"""Erase a person: out of staged files, rejects and the ledger, so that no key of theirs is found again.

What can be found, and what cannot. Staged files hold hashed identity, so that a person is found in them by e-mail
address, phone number or external id, whatever profile or country hashed it. Rejects hold business keys only, and the
ledger 16-byte keys made of them: neither leads back to a person. What belongs to the events found in staged files goes
there too; where those files are gone, or the row was rejected, somebody has to name the event ids.

The source comes first: a row that still stands in it is read again by the next run over its window, and sent again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import reduce
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config import Client, Deployment
from offline_capi.config.columns import field_specs
from offline_capi.errors import UsageError
from offline_capi.events.keys import event_key_of
from offline_capi.identity import VERSIONS, digest, hash_identity
from offline_capi.model import KEY_BYTES, IdentityColumn, MappedRows
from offline_capi.pipeline import Services
from offline_capi.recipients import client_of

__all__ = ["Erased", "Person", "erase_person"]

#: A run that began earlier and has not ended was killed.
LONGEST_RUN = timedelta(days=1)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BETWEEN = "\x1f"  # stands in no client's name


@dataclass(frozen=True, slots=True)
class Person:
    """Who is to be erased: readable values by key of user_data (``em``, ``ph``, ``external_id``), or event ids.

    ``event_names`` are names that events may have beside those in the YAML; ``clients`` empty means all.
    """

    identity: Mapping[str, Sequence[str]] = field(default_factory=dict)
    event_ids: Sequence[str] = ()
    event_names: Sequence[str] = ()
    country: str | None = None
    clients: Sequence[str] = ()


@dataclass(slots=True)
class Erased:
    """What one command removed: rows of staged files, of rejects, events of the ledger.

    ``unreadable`` counts files that a run may be writing right now, so that nobody can look into them; ``scrubbed`` is
    False where another process kept the ledger's file from being cleaned.
    """

    staged: int = 0
    rejects: int = 0
    ledger: int = 0
    files: int = 0
    unreadable: int = 0
    scrubbed: bool = True

    @property
    def complete(self) -> bool:
        return self.scrubbed and not self.unreadable

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "complete": self.complete}


@dataclass(slots=True)
class _Trace:
    """What leads to the person: forms of their values, and events: by client and id, and by the ledger's key."""

    forms: frozenset[str]
    clients: Sequence[str]
    ids: set[str] = field(default_factory=set)
    keys: set[bytes] = field(default_factory=set)

    def hits(self, rows: pa.RecordBatch) -> pa.BooleanArray:
        """Rows of any staged file that belong to an event of the person."""
        ids = pc.binary_join_element_wise(pc.fill_null(rows["client"], ""), rows["event_id"], _BETWEEN)
        by_id = pc.is_in(ids, value_set=pa.array(sorted(self.ids), pa.string()), skip_nulls=True)
        if "key" not in rows.schema.names:
            return by_id
        return pc.or_(by_id, pc.is_in(rows["key"], value_set=pa.array(sorted(self.keys), pa.binary(KEY_BYTES))))


def erase_person(person: Person, services: Services) -> Erased:
    """Remove a person everywhere; doing it again finds nothing more, and finishes what was interrupted."""
    recipients = _recipients(person, services.deployment)
    trace = _Trace(_forms(person, services.deployment), [*recipients] if person.clients else ())
    clients = ("", *recipients)  # "": a row whose client nobody knows
    trace.ids |= {_id(client, event_id) for client in clients for event_id in person.event_ids}
    trace.keys |= set(_possible_keys(person, services.deployment))
    for path in services.stage.files():
        _follow(trace, services.stage.batches(path))
    erased = Erased(unreadable=sum(not _swept(path, services) for path in services.stage.torn_files()))
    for path in services.stage.files():
        _clean(path, trace, services, erased)
    erased.ledger = services.ledger.forget(sorted(trace.keys))
    erased.scrubbed = services.ledger.scrub()
    return erased


# ---------------------------------------------------------------------------------------------- what to look for


def _forms(person: Person, deployment: Deployment) -> frozenset[str]:
    """Every form in which an upload may have sent the values."""
    return frozenset(
        form
        for key, values in person.identity.items()
        for value in values
        for form in _forms_of(key, value, person.country, deployment)
    )


def _forms_of(key: str, value: str, country: str | None, deployment: Deployment) -> set[str]:
    """One value under every profile, country and policy; a SHA-256 also stands for itself."""
    found = {form for form in (value.strip().lower(),) if _DIGEST.fullmatch(form)}
    for profile in VERSIONS:
        found |= _hashed(key, value, profile, country, deployment)
    if key == "external_id":
        found |= {value, value.strip(), *digest(pa.array([value, value.strip()])).to_pylist()}
    if not found:
        raise UsageError(f"{key}: no upload could have sent this value, so nothing can hold it. Is it complete?")
    return found


def _hashed(key: str, value: str, profile: str, country: str | None, deployment: Deployment) -> set[str]:
    """As uploads of any client would hash it, by its own policy; without a country given, in its own and in none."""
    clients = [*deployment.clients, ""]  # "": one that has left, of whom nothing is known
    count = len(clients)
    countries = None if country is None else pa.repeat(country, count)
    rows = MappedRows(
        origin="erase",
        row=pa.array(range(count)),
        client=pa.array(clients),
        event={},
        identity={key: [IdentityColumn(pa.repeat(value, count), key, country=countries)]},
        custom={},
        suppressed=pa.repeat(pa.scalar(value=False), count),
    )
    hashed = hash_identity(rows, clients=deployment.clients, profile=profile)
    return {form for column in hashed.identity.get(key, ()) for form in column.to_pylist() if form is not None}


def _possible_keys(person: Person, deployment: Deployment) -> Iterator[bytes]:
    """The ledger's keys of the event ids, for every pixel and every event name that the YAML knows."""
    if person.event_ids and not person.event_names:
        _need_all_names(deployment)
    names = {*person.event_names, *_event_names(deployment)}
    for pixel in {one.pixel_id for one in _recipients(person, deployment).values()}:
        yield from (event_key_of(pixel, name, event_id) for name in names for event_id in person.event_ids)


def _recipients(person: Person, deployment: Deployment) -> dict[str, Client]:
    """Whom events of the person were sent for: the clients that were named, or all, with all their pixels."""
    everybody = deployment.recipients
    return {name: one for name, one in everybody.items() if not person.clients or client_of(name) in person.clients}


def _need_all_names(deployment: Deployment) -> None:
    """An event's name is part of its key: where the YAML leaves names to the source, somebody has to say them."""
    for upload in deployment.uploads.values():
        for _, spec in field_specs(upload.event.name, ()):
            if spec.columns and not spec.map and not spec.coalesce:
                raise UsageError(
                    f"upload {upload.name} takes the names of its events from the source, and the ledger's keys are "
                    "made of them: give --event-name for each name that the person's events may have"
                )


def _event_names(deployment: Deployment) -> Iterator[str]:
    specs = (spec for upload in deployment.uploads.values() for _, spec in field_specs(upload.event.name, ()))
    for spec in specs:
        written = (spec.constant, spec.default, *(spec.map or {}).values())
        yield from (str(name) for name in written if name is not None)


# ---------------------------------------------------------------------------------------------- where it is found


def _follow(trace: _Trace, batches: Iterable[pa.RecordBatch]) -> None:
    """Add the events of the person that a file holds: by their identity, or by an id or key that is known already."""
    for rows in batches:
        mask = trace.hits(rows)
        if "body" in rows.schema.names:
            mask = pc.or_(mask, _is_about(rows, trace))
        found = rows.filter(mask)
        pairs = zip(found["client"].to_pylist(), found["event_id"].to_pylist(), strict=True)
        trace.ids |= {_id(client or "", event_id) for client, event_id in pairs}
        if "key" in rows.schema.names:
            trace.keys |= set(found["key"].to_pylist())


def _is_about(rows: pa.RecordBatch, trace: _Trace) -> pa.BooleanArray:
    """Which events hold one of the forms in their user_data: few texts do at all, and those few are read as JSON."""
    bodies = rows["body"]
    if not trace.forms:
        return pa.array([False] * len(bodies))
    sights = (pc.match_substring(bodies, json.dumps(form, ensure_ascii=False)) for form in trace.forms)
    seen = reduce(pc.or_, sights)
    if trace.clients:
        seen = pc.and_(seen, pc.is_in(rows["client"], value_set=pa.array(trace.clients, pa.string())))
    sure = (sight and _holds(bodies[at].as_py(), trace.forms) for at, sight in enumerate(seen.to_pylist()))
    return pa.array(list(sure), pa.bool_())


def _holds(body: bytes, forms: frozenset[str]) -> bool:
    """A digest counts under any key, a raw value as ``external_id`` only: elsewhere it may be a number of its own."""
    for key, held in json.loads(body).get("user_data", {}).items():
        values = held if isinstance(held, list) else [held]
        if any(value in forms and (key == "external_id" or _DIGEST.fullmatch(value)) for value in map(str, values)):
            return True
    return False


def _id(client: str, event_id: str) -> str:
    return f"{client}{_BETWEEN}{event_id}"


# ---------------------------------------------------------------------------------------------- what is removed


def _clean(path: str, trace: _Trace, services: Services, erased: Erased) -> None:
    """Rewrite a file that holds rows of the person; others are not touched."""
    if not any(pc.any(trace.hits(rows)).as_py() for rows in services.stage.batches(path)):
        return
    left = services.stage.rewrite(path, trace.hits)
    erased.files += 1
    folder, name = path.rsplit("/", 2)[1:]
    if name.startswith("events-"):
        erased.staged += left
        _leave_out(unquote(folder), left, services)
    else:
        erased.rejects += left


def _swept(path: str, services: Services) -> bool:
    """Remove a half-written file, unless its run may still be writing it."""
    run_id = unquote(path.rsplit("/", 2)[1])
    begun = [run.started_at for run in services.ledger.unfinished_runs() if run.id == run_id]
    if begun and services.clock() - begun[0] < LONGEST_RUN:
        return False
    services.stage.filesystem.rm(path)
    return True


def _leave_out(run_id: str, rows: int, services: Services) -> None:
    """Rows that left a run's staged files before its books were closed are as if they had not been read."""
    prepared = services.ledger.parts(run_id).get("prepare")
    if prepared is not None:
        prepared.read -= rows
        services.ledger.save_part(run_id, "prepare", prepared)
