"""Hashed rows become events: Meta's rules for one event, its bytes and its key, decided before anything is sent.

Read in this order: ``build.py`` (the story), ``policies.py`` (what a client lets out), ``standard.py`` (what Meta
publishes, as data), ``rules.py`` (what may not go, as tables), ``payload.py`` (which field becomes which JSON, as
tables), ``keys.py`` (who an event is), ``duplicates.py`` (the same event twice in one run), ``pixels.py`` (an event for
several pixels), ``age.py`` (what has become too old while it waited).
"""

from __future__ import annotations

from offline_capi.events.age import split_by_age
from offline_capi.events.build import build_events
from offline_capi.events.duplicates import SeenKeys, StoreRepeats
from offline_capi.events.keys import event_key, event_key_of
from offline_capi.events.pixels import for_every_pixel
from offline_capi.events.schema import EVENT_SCHEMA, REJECTION_SCHEMA

__all__ = [
    "EVENT_SCHEMA",
    "REJECTION_SCHEMA",
    "SeenKeys",
    "StoreRepeats",
    "build_events",
    "event_key",
    "event_key_of",
    "for_every_pixel",
    "split_by_age",
]
