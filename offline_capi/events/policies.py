"""What the settings of a client take from its rows and add to them, before a rule looks at them.

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
from offline_capi.events.payload import text
from offline_capi.events.standard import CORE_CUSTOM
from offline_capi.meta.catalogue import BARE_DOMAIN, REQUIRED_EVENT_KEYS
from offline_capi.model import DroppedValues, HashedRows

__all__ = ["under_policies"]

# MAPI:overview/data-processing-options
_DATA_USE: Mapping[str, tuple[Any, Callable[[DataUse], object]]] = {
    "data_processing_options": (pa.string(), lambda _: '["LDU"]'),
    "data_processing_options_country": (pa.int64(), lambda use: use.country),
    "data_processing_options_state": (pa.int64(), lambda use: use.state),
}
# Without the first no event is one; the others say what Meta may not do, and leaving them out would allow it.
_ALWAYS_ALLOWED = frozenset({*REQUIRED_EVENT_KEYS, "opt_out", *_DATA_USE})
_ADDRESSES = ("event_source_url", "referrer_url")


def under_policies(rows: HashedRows, clients: Mapping[str, Client]) -> HashedRows:
    """The rows as their clients let them leave; the same rows where no client asks for anything."""
    names = text(rows.client).dictionary_encode()
    known = _Clients([clients.get(name) for name in names.dictionary.to_pylist()], names.indices)
    if known.any(lambda client: client.allowed_fields is not None or client.core_mode):
        rows = _narrowed(rows, known)
    return _marked(rows, known) if known.any(lambda client: client.limited_data_use is not None) else rows


@dataclass(frozen=True, slots=True)
class _Clients:
    """The few clients of a batch, ``None`` where unknown, and each row's place among them."""

    known: Sequence[Client | None]
    places: Any

    def any(self, holds: Callable[[Client], bool]) -> bool:
        return any(client is not None and holds(client) for client in self.known)

    def each(self, of: Callable[[Client], object], kind: Any) -> Any:
        """What each row's client says, null where it is unknown."""
        return pa.array([None if client is None else of(client) for client in self.known], kind).take(self.places)


# ---------------------------------------------------------------------------------------------- taken away


def _narrowed(rows: HashedRows, clients: _Clients) -> HashedRows:
    gate = _Gate(clients, pc.fill_null(rows.suppressed, True))
    narrowed = replace(
        rows,
        event={name: gate.let_out(name, column) for name, column in rows.event.items()},
        identity={
            key: [gate.let_out(f"user_data.{key}", column) for column in columns]
            for key, columns in rows.identity.items()
        },
        custom={key: gate.let_out(f"custom_data.{key}", column) for key, column in rows.custom.items()},
    )
    return replace(narrowed, dropped=(*rows.dropped, *gate.dropped))


@dataclass(slots=True)
class _Gate:
    """Lets fields out and counts what stays; ``path`` is Meta's, such as ``custom_data.value``."""

    clients: _Clients
    suppressed: Any
    dropped: list[DroppedValues] = field(default_factory=list)

    def let_out(self, path: str, column: Any) -> Any:
        for cause, shuts in _SHUTS.items():
            if self.clients.any(partial(shuts, path)):
                shut = self.clients.each(partial(shuts, path), pa.bool_())
                column = self._changed(path, cause, column, pc.if_else(shut, None, column))
        return self._bare(path, column) if path in _ADDRESSES and self.clients.any(_in_core_mode) else column

    def _bare(self, path: str, column: Any) -> Any:
        """Of an address the domain."""
        core = pc.fill_null(self.clients.each(_in_core_mode, pa.bool_()), False)
        bare = pc.if_else(core, pc.replace_substring_regex(text(column), *BARE_DOMAIN), text(column))
        return self._changed(path, CORE_MODE, text(column), bare)

    def _changed(self, path: str, cause: str, before: Any, after: Any) -> Any:
        """``after``, with what it lost on the books."""
        lost = pc.and_(before.is_valid(), pc.invert(pc.fill_null(pc.equal(before, after), False)))
        count = pc.sum(pc.and_not(lost, self.suppressed)).as_py()
        if count:
            self.dropped.append(DroppedValues(path, "", cause, count))
        return after


def _shut_by_list(path: str, client: Client) -> bool:
    allowed = client.allowed_fields
    return not (allowed is None or path in _ALWAYS_ALLOWED or path in allowed or path.partition(".")[0] in allowed)


def _in_core_mode(client: Client) -> bool:
    return client.core_mode


def _shut_by_core_mode(path: str, client: Client) -> bool:
    whole, _, key = path.partition(".")
    return client.core_mode and whole == "custom_data" and key not in CORE_CUSTOM


NOT_ALLOWED, CORE_MODE = "not_in_allowed_fields", "core_mode"
_SHUTS: Mapping[str, Callable[[str, Client], bool]] = {NOT_ALLOWED: _shut_by_list, CORE_MODE: _shut_by_core_mode}


# ---------------------------------------------------------------------------------------------- added


def _marked(rows: HashedRows, clients: _Clients) -> HashedRows:
    """Limited as their client is, where the row does not say."""
    own = rows.event.get("data_processing_options")
    silent = own.is_null() if own is not None else pa.repeat(pa.scalar(True), len(rows))
    event = dict(rows.event)
    for name, (kind, of) in _DATA_USE.items():
        theirs = clients.each(partial(_default, of), kind)
        event[name] = pc.if_else(silent, theirs, rows.event.get(name, pa.nulls(len(rows), kind)))
    return replace(rows, event=event)


def _default(of: Callable[[DataUse], object], client: Client) -> object:
    return None if client.limited_data_use is None else of(client.limited_data_use)
