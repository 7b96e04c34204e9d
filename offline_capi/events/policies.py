"""What the settings of a client take from its rows and add to them, before the rules run.

``allowed_fields`` and ``core_mode`` leave fields out and count them; ``limited_data_use`` marks the rows of which the
upload does not say whether they are limited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.client import Client, DataUse
from offline_capi.events.payload import as_text
from offline_capi.events.standard import CORE_CUSTOM_KEYS
from offline_capi.meta.catalogue import BARE_DOMAIN, REQUIRED_EVENT_KEYS
from offline_capi.model import DroppedValues, HashedRows
from offline_capi.runtime.column_bytes import encode_distinct

__all__ = ["apply_policies"]

# MAPI:overview/data-processing-options
_DATA_USE_FIELDS: Mapping[str, tuple[Any, Callable[[DataUse], object]]] = {
    "data_processing_options": (pa.string(), lambda _: '["LDU"]'),
    "data_processing_options_country": (pa.int64(), lambda use: use.country),
    "data_processing_options_state": (pa.int64(), lambda use: use.state),
}
# Without the first no event is one; the others say what Meta may not do, and leaving them out would allow it.
_ALWAYS_ALLOWED_FIELDS = frozenset({*REQUIRED_EVENT_KEYS, "opt_out", *_DATA_USE_FIELDS})
_ADDRESS_FIELDS = ("event_source_url", "referrer_url")


def apply_policies(rows: HashedRows, clients: Mapping[str, Client]) -> HashedRows:
    """The rows as their clients let them leave; the same rows where no client asks for anything."""
    names = encode_distinct(as_text(rows.client))
    known = _Clients([clients.get(name) for name in names.dictionary.to_pylist()], names.indices)
    if known.has_any(lambda client: client.allowed_fields is not None or client.core_mode):
        rows = _narrow(rows, known)
    return _mark_limited(rows, known) if known.has_any(lambda client: client.limited_data_use is not None) else rows


@dataclass(frozen=True, slots=True)
class _Clients:
    """The few clients of a batch, ``None`` where unknown, and each row's index among them."""

    known: Sequence[Client | None]
    client_indices: Any

    def has_any(self, holds: Callable[[Client], bool]) -> bool:
        return any(client is not None and holds(client) for client in self.known)

    def expand(self, of: Callable[[Client], object], kind: Any) -> Any:
        """What each row's client says, null where it is unknown."""
        return pa.array([None if client is None else of(client) for client in self.known], kind).take(
            self.client_indices
        )


# ---------------------------------------------------------------------------------------------- taken away


def _narrow(rows: HashedRows, clients: _Clients) -> HashedRows:
    gate = _Gate(clients, pc.fill_null(rows.suppressed, True))
    narrowed = replace(
        rows,
        event={name: gate.release(name, column) for name, column in rows.event.items()},
        identity={
            key: [gate.release(f"user_data.{key}", column) for column in columns]
            for key, columns in rows.identity.items()
        },
        custom={key: gate.release(f"custom_data.{key}", column) for key, column in rows.custom.items()},
    )
    return replace(narrowed, dropped=(*rows.dropped, *gate.dropped))


@dataclass(slots=True)
class _Gate:
    """Lets fields out and counts what stays; ``path`` is Meta's, such as ``custom_data.value``."""

    clients: _Clients
    suppressed: Any
    dropped: list[DroppedValues] = field(default_factory=list)

    def release(self, path: str, column: Any) -> Any:
        for cause, shuts in _SHUT_CHECKS.items():
            if self.clients.has_any(partial(shuts, path)):
                shut = self.clients.expand(partial(shuts, path), pa.bool_())
                column = self._record_change(path, cause, column, pc.if_else(shut, None, column))
        return (
            self._cut_to_domain(path, column)
            if path in _ADDRESS_FIELDS and self.clients.has_any(_is_in_core_mode)
            else column
        )

    def _cut_to_domain(self, path: str, column: Any) -> Any:
        """Of an address the domain."""
        core = pc.fill_null(self.clients.expand(_is_in_core_mode, pa.bool_()), False)
        bare = pc.if_else(core, pc.replace_substring_regex(as_text(column), *BARE_DOMAIN), as_text(column))
        return self._record_change(path, CORE_MODE, as_text(column), bare)

    def _record_change(self, path: str, cause: str, before: Any, after: Any) -> Any:
        """``after``, with what it lost on the books."""
        lost = pc.and_(before.is_valid(), pc.invert(pc.fill_null(pc.equal(before, after), False)))
        count = pc.sum(pc.and_not(lost, self.suppressed)).as_py()
        if count:
            self.dropped.append(DroppedValues(path, "", cause, count))
        return after


def _is_shut_by_list(path: str, client: Client) -> bool:
    allowed = client.allowed_fields
    return not (
        allowed is None or path in _ALWAYS_ALLOWED_FIELDS or path in allowed or path.partition(".")[0] in allowed
    )


def _is_in_core_mode(client: Client) -> bool:
    return client.core_mode


def _is_shut_by_core_mode(path: str, client: Client) -> bool:
    whole, _, key = path.partition(".")
    return client.core_mode and whole == "custom_data" and key not in CORE_CUSTOM_KEYS


NOT_ALLOWED, CORE_MODE = "not_in_allowed_fields", "core_mode"
_SHUT_CHECKS: Mapping[str, Callable[[str, Client], bool]] = {
    NOT_ALLOWED: _is_shut_by_list,
    CORE_MODE: _is_shut_by_core_mode,
}


# ---------------------------------------------------------------------------------------------- added


def _mark_limited(rows: HashedRows, clients: _Clients) -> HashedRows:
    """Limited as their client is, where the row does not say."""
    own = rows.event.get("data_processing_options")
    silent = own.is_null() if own is not None else pa.repeat(pa.scalar(True), len(rows))
    event = dict(rows.event)
    for name, (kind, of) in _DATA_USE_FIELDS.items():
        theirs = clients.expand(partial(_get_default, of), kind)
        event[name] = pc.if_else(silent, theirs, rows.event.get(name, pa.nulls(len(rows), kind)))
    return replace(rows, event=event)


def _get_default(of: Callable[[DataUse], object], client: Client) -> object:
    return None if client.limited_data_use is None else of(client.limited_data_use)
