"""Columns that no key of ``user_data`` reads, and the keys that they may hold: by name, and by the shape of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.audit.names import Named, find_key
from offline_capi.audit.yaml_lines import render_yaml_line
from offline_capi.config.fields import FieldSpec
from offline_capi.config.upload import Upload
from offline_capi.identity import normalize
from offline_capi.meta.catalogue import USER_DATA_KEYS

__all__ = ["Suggestion", "Unmapped"]

#: A column is suggested for the key of its name where so many of its values fit, or for its values alone.
MIN_SHARE_BY_NAME = 0.5
MIN_SHARE_BY_SHAPE = 0.9
MIN_VALUES_BY_SHAPE = 5
_SAMPLE_ROWS = 2_000  # values a batch

#: Shapes that only values of this key have, in a column of any name.
KEY_PATTERNS: Mapping[str, str] = {
    "em": r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
    "ph": r"^\+[1-9][\d\s().\-/]{6,}$",
    "client_ip_address": r"^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})$",
    "client_user_agent": r"^Mozilla/",
    "fbc": r"^fb\.\d\.\d{13}\.[A-Za-z0-9_\-]{20,}",
    "fbp": r"^fb\.\d\.\d{13}\.\d{5,20}$",
}
#: The shape of a key's values in a column of its name, where the key's own rule takes any text.
_KEY_PATTERNS_BY_NAME: Mapping[str, str] = {"client_user_agent": r"[A-Za-z]/\d"}  # product/version (RFC 9110, 10.1.5)
_DIGEST_PATTERN = r"^[0-9A-Fa-f]{64}$"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A column that could be mapped: the key, why, the share of its values that fit, and the line to write."""

    column: str
    key: str
    by: str
    fits: float
    line: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(slots=True)
class Unmapped:
    """Reads an even sample of every batch's columns that ``user_data`` leaves aside."""

    upload: Upload
    countries: Sequence[str]
    _fits: dict[tuple[str, Named, str], list[int]] = field(default_factory=dict)

    def observe(self, batch: pa.RecordBatch) -> None:
        rows = pa.array(np.unique(np.linspace(0, max(len(batch) - 1, 0), _SAMPLE_ROWS).astype(np.int64)))
        taken = {name for specs in self.upload.user_data.values() for spec in specs for name in spec.columns}
        for name in batch.schema.names if len(batch) else ():
            if name not in taken:
                self._observe_column(name, batch.column(name).take(rows))

    def list_suggestions(self) -> list[Suggestion]:
        """The best for each column, for keys that can take another column."""
        found: dict[str, Suggestion] = {}
        for (column, named, by), (fitting, filled) in self._fits.items():
            share = fitting / filled if filled else 0.0
            enough = (
                share >= MIN_SHARE_BY_NAME
                if by == "name"
                else share >= MIN_SHARE_BY_SHAPE and filled >= MIN_VALUES_BY_SHAPE
            )
            better = column not in found or (by == "name", share) > (found[column].by == "name", found[column].fits)
            if enough and better and _has_room(self.upload, named.key):
                found[column] = Suggestion(column, named.key, by, share, self._render_line(column, named))
        return list(found.values())

    def _observe_column(self, column: str, values: pa.Array) -> None:
        text = values.cast(pa.string()).drop_null()
        text = text.filter(pc.not_equal(pc.utf8_trim_whitespace(text), ""))
        for named, by in _list_candidates(column, text):
            fits = self._fits.setdefault((column, named, by), [0, 0])
            fits[0] += self._count_fitting(named, by, text)
            fits[1] += len(text)

    def _count_fitting(self, named: Named, by: str, text: pa.Array) -> int:
        if named.hashed:
            return _count_matching(text, _DIGEST_PATTERN)
        shape = (_KEY_PATTERNS_BY_NAME if by == "name" else KEY_PATTERNS).get(named.key)
        shaped = text if shape is None else text.filter(pc.match_substring_regex(text, shape))
        if not len(shaped):
            return 0
        # Without a country any text is a state; a phone may be written with a country of its own.
        countries = self.countries if named.key == "st" and self.countries else (*self.countries, None)
        unfit = (normalize(named.key, shaped, country=one).null_count for one in countries)
        return len(shaped) - int(min(unfit))

    def _render_line(self, column: str, named: Named) -> str:
        new = FieldSpec(column=column, hashed=named.hashed or None, country=self._choose_country(named))
        specs = [_render_spec(spec) for spec in (*self.upload.user_data.get(named.key, ()), new)]
        return render_yaml_line({named.key: specs if len(specs) > 1 else specs[0]})

    def _choose_country(self, named: Named) -> str | None:
        """A phone is read with the country that the upload maps already."""
        specs = self.upload.user_data.get("country", ())
        return specs[0].column if named.key == "ph" and not named.hashed and specs else None


def _list_candidates(column: str, text: pa.Array) -> Iterator[tuple[Named, str]]:
    named = find_key(column)
    if named is not None:
        # A column called "email" may hold digests all the same.
        digests = bool(len(text)) and _count_matching(text, _DIGEST_PATTERN) > MIN_SHARE_BY_NAME * len(text)
        hashed = (named.hashed or digests) and USER_DATA_KEYS[named.key].hashable
        yield Named(named.key, hashed), "name"
    else:
        yield from ((Named(key, False), "shape") for key in KEY_PATTERNS)


def _count_matching(text: pa.Array, pattern: str) -> int:
    return int(pc.sum(pc.match_substring_regex(text, pattern)).as_py() or 0)


def _has_room(upload: Upload, key: str) -> bool:
    return key not in upload.user_data or USER_DATA_KEYS[key].several


def _render_spec(spec: FieldSpec) -> Any:
    """A field as its author would write it: a bare column where that says it all."""
    plain = spec.model_dump(mode="json", exclude_defaults=True)
    return plain["column"] if set(plain) == {"column"} else plain
