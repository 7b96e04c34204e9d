"""Whose rows may be sent: Meta has no consent field, rows without it must never leave (meta-capi.md section 10.2)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.settings import Consent
from offline_capi.mapping.casts import truths
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.numerals import read_numbers
from offline_capi.mapping.text import as_text

__all__ = ["equals_any", "without_consent"]


def without_consent(columns: SourceColumns, consent: Consent | None) -> pa.BooleanArray:
    """True where the column equals none of the declared values; a blank is no consent.

    Text is compared trimmed and without case; ``true`` and ``false`` with every word that means them (``casts.TRUE``);
    numbers by their value. A column of booleans is compared with what the declared value means: what is 1 in one
    database is true in another.
    """
    if consent is None:
        return columns.repeated(False)
    with columns.read_for("consent.column", consent.column):
        return pc.invert(equals_any(columns.values(consent.column), consent.equals))


def equals_any(values: pa.Array, wanted: Iterable[str | float | bool]) -> pa.BooleanArray:
    """Where a value equals one of those that an upload names, as ``without_consent`` says; a blank equals none."""
    return reduce(pc.or_, [pc.fill_null(_equals(values, one), False) for one in wanted])


def _equals(values: pa.Array, wanted: str | float | bool) -> pa.BooleanArray:
    if pa.types.is_boolean(values.type) and not isinstance(wanted, bool):
        meant = truths(pa.array([str(wanted)]))[0].as_py()
        wanted = wanted if meant is None else meant
    if isinstance(wanted, bool):
        return pc.equal(truths(values), wanted)
    if isinstance(wanted, str):
        return pc.equal(pc.utf8_lower(as_text(values)), pc.utf8_lower(pa.scalar(wanted.strip())))
    return pc.equal(read_numbers(as_text(values), "."), float(wanted))
