"""Whose rows may be sent: Meta has no consent field, rows without it must never leave (meta-capi.md section 10.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.mapping import Consent
from offline_capi.mapping.casts import truths
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.numerals import read_numbers
from offline_capi.mapping.text import as_text, is_text

__all__ = ["equals_any", "without_consent"]


def without_consent(columns: SourceColumns, consent: Consent | None) -> pa.BooleanArray:
    """True where the column equals none of the declared values; a blank is no consent.

    Text is compared trimmed and without case; numbers by their value. ``true`` and ``false`` match booleans in each
    form in which a source keeps them (booleans, 1 and 0, text). Written without quotes they also match every word that
    means them (``casts.TRUE``), in quotes only those with which databases print a boolean: ``"true"`` is no ``yes``. Of
    numbers and booleans, any other word that means true or false (``"yes"``) is compared by what it means.
    """
    if consent is None:
        return columns.repeated(False)
    with columns.read_for("consent.column", consent.column):
        return pc.invert(equals_any(columns.values(consent.column), consent.equals))


def equals_any(values: pa.Array, wanted: Iterable[str | float | bool]) -> pa.BooleanArray:
    """Where a value equals one of those that an upload names, as ``without_consent`` says; a blank equals none."""
    words = [one.strip().lower() for one in wanted if isinstance(one, str)]
    others = [one for one in wanted if not isinstance(one, str)]
    found = [_equals_word(values, words)] if words else []
    found += [_equals(values, one) for one in others]
    return reduce(pc.or_, [pc.fill_null(one, False) for one in found])


#: How databases and programs print booleans: PostgreSQL's COPY writes t and f, SQLite and MySQL 1 and 0.
_PRINTED = {"true": ("true", "t", "1"), "false": ("false", "f", "0")}


def _equals(values: pa.Array, wanted: float | bool) -> pa.BooleanArray:
    if pa.types.is_boolean(values.type) and not isinstance(wanted, bool):
        meant = truths(pa.array([str(wanted)]))[0].as_py()
        wanted = wanted if meant is None else meant
    if isinstance(wanted, bool):
        return pc.equal(truths(values), wanted)
    return pc.equal(read_numbers(as_text(values), "."), float(wanted))


def _equals_word(values: pa.Array, wanted: Sequence[str]) -> pa.BooleanArray:
    """Whether a value is one of the words, or, where it is no text, what one of them means."""
    words, meant = list(wanted), []
    if not is_text(values) and not pa.types.is_temporal(values.type):
        meanings = dict(zip(words, truths(pa.array(words)).to_pylist(), strict=True))
        meant = [truth for truth in meanings.values() if truth is not None]
        words = [word for word, truth in meanings.items() if truth is None]
    printed = [form for word in words for form in _PRINTED.get(word, (word,))]
    found = [pc.is_in(pc.utf8_lower(as_text(values)), value_set=pa.array(printed, pa.string()))] if printed else []
    found += [pc.is_in(truths(values), value_set=pa.array(meant, pa.bool_()))] if meant else []
    return reduce(pc.or_, [pc.fill_null(one, False) for one in found])
