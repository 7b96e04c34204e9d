"""What is kept, for how long, and how a person is removed from all of it."""

from __future__ import annotations

from offline_capi.privacy.erase import Erased, Person, erase_person
from offline_capi.privacy.retention import Purged, purge_expired, purge_if_due

__all__ = ["Erased", "Person", "Purged", "erase_person", "purge_expired", "purge_if_due"]
