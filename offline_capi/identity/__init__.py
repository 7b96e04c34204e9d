"""Readable identity in, digests out: the only package that reads personal data.

- ``hash_identity`` is the stage of the pipeline: ``MappedRows`` → ``HashedRows``; ``inspect_identity`` is the same for
  those who count, column by column.
- ``hash_frame`` does the same for a pandas DataFrame.
- ``normalize`` shows what would be hashed, ``digest`` hashes; Arrow arrays in and out.

All share one path (``columns.py``): a **profile** is a table of one small rule a key (``meta.py``, ``sdk.py``,
``param_builder.py``) and has versions, a rule turns ``Readable`` values into ``Usable``
ones with the cause of every value it drops.
Where rows repeat values, the work is done once a distinct value, in a run that keeps a ``HashCache`` once a run; the
answer for a row never depends on its batch.
"""

from __future__ import annotations

from offline_capi.identity.columns import PROFILES, VERSIONS, HashedColumn, get_default_rule, resolve_version
from offline_capi.identity.digests import digest
from offline_capi.identity.frames import hash_frame
from offline_capi.identity.hash_cache import HashCache
from offline_capi.identity.stage import hash_identity, inspect_identity, normalize
from offline_capi.identity.verdict import Cause, Profile, Readable, Rule, Usable

__all__ = [
    "PROFILES",
    "VERSIONS",
    "Cause",
    "HashCache",
    "HashedColumn",
    "Profile",
    "Readable",
    "Rule",
    "Usable",
    "digest",
    "get_default_rule",
    "hash_frame",
    "hash_identity",
    "inspect_identity",
    "normalize",
    "resolve_version",
]
