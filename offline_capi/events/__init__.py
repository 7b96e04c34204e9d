"""Hashed rows become events: Meta's rules for one event, its bytes and its key, decided before anything is sent.

Read in this order: ``build.py`` (the story), ``policies.py`` (what a client lets out), ``standard.py`` (what Meta
publishes, as data), ``rules.py`` (what may not go, as tables), ``payload.py`` (which field becomes which JSON, as
tables), ``keys.py`` (who an event is), ``pixels.py`` (an event for several pixels), ``age.py`` (what has become too
old while it waited). Its names are imported when they are asked for: who needs Meta's tables alone builds nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from offline_capi.runtime.lazy_names import import_on_demand

if TYPE_CHECKING:
    from offline_capi.events.age import split_by_age
    from offline_capi.events.build import build_events
    from offline_capi.events.keys import make_event_key, make_event_keys
    from offline_capi.events.pixels import copy_for_pixels
    from offline_capi.events.schema import EVENT_SCHEMA, UNSENT_SCHEMA

__all__ = [
    "EVENT_SCHEMA",
    "UNSENT_SCHEMA",
    "build_events",
    "copy_for_pixels",
    "make_event_key",
    "make_event_keys",
    "split_by_age",
]

_HOMES = {
    "EVENT_SCHEMA": "schema",
    "UNSENT_SCHEMA": "schema",
    "build_events": "build",
    "copy_for_pixels": "pixels",
    "make_event_key": "keys",
    "make_event_keys": "keys",
    "split_by_age": "age",
}

__getattr__ = import_on_demand(__name__, _HOMES)
