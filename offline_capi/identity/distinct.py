"""Work done once a distinct value instead of once a row, where that pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity.text import list_codes
from offline_capi.identity.verdict import Readable, Usable

__all__ = ["Reading", "Repeated", "find_distinct", "has_repeats", "read_one_by_one"]

_SAMPLE_ROWS = 4096
# Encoding and spreading out again cost about a fifth of normalising and hashing a value: below this it does not pay.
_ROWS_PER_VALUE = 3
# Looking a value up among more than that costs as much as hashing it.
_MAX_DISTINCT_IN_RUN = 65_536

Reading = tuple[str | None, str | None]
"""The normal form of one value, or the cause why there is none."""


class Repeated(NamedTuple):
    """Each distinct (text, country) once, and where it stands in the rows."""

    values: Readable
    rows: pa.Array


def has_repeats(text: pa.Array, *, over_batches: bool = False) -> bool:
    """Whether a sample says that rows repeat their values so often that reading each once is cheaper.

    ``over_batches``: also where they are few enough for the batches that follow to repeat them.
    """
    different = _estimate_distinct(text)
    return different * _ROWS_PER_VALUE < len(text) or (over_batches and different <= _MAX_DISTINCT_IN_RUN)


def find_distinct(readable: Readable, *, by_country: bool) -> Repeated:
    """The distinct values; ``by_country``: once a country."""
    words = readable.text.dictionary_encode()
    if not by_country or _is_constant(readable.country):
        country = _repeat_country(readable.country, len(words.dictionary))
        return Repeated(replace(readable, text=words.dictionary, country=country), words.indices)
    return _find_pairs(readable, words)


def _is_constant(country: pa.Array) -> bool:
    return country.null_count == len(country) or len(list_codes(country)) == 1


def _repeat_country(country: pa.Array, count: int) -> pa.Array:
    return pa.repeat(country[0] if len(country) else pa.scalar(None, pa.string()), count)


def _find_pairs(readable: Readable, words: pa.DictionaryArray) -> Repeated:
    countries = readable.country.dictionary_encode(null_encoding="encode")
    width = len(countries.dictionary)
    pair = pc.add(pc.multiply(words.indices.cast(pa.int64()), width), countries.indices.cast(pa.int64()))
    pairs = pair.dictionary_encode()
    text = words.dictionary.take(pc.divide(pairs.dictionary, width))
    which = pc.subtract(pairs.dictionary, pc.multiply(pc.divide(pairs.dictionary, width), width))
    return Repeated(replace(readable, text=text, country=countries.dictionary.take(which)), pairs.indices)


def _estimate_distinct(text: pa.Array) -> float:
    """How many values differ, judged by how many an even sample has once and how many twice (Chao's first estimator).

    One value that stands everywhere, such as ``n/a``, says nothing about the others.
    """
    step = max(1, len(text) // _SAMPLE_ROWS)
    sample = text.take(pa.array(np.arange(0, len(text), step))).drop_null()
    times = np.bincount(sample.value_counts().field("counts").to_numpy(), minlength=3)
    return float(times.sum() + times[1] * (times[1] - 1) / (2 * (times[2] + 1)))


def read_one_by_one(readable: Readable, read: Callable[[str, str | None], Reading]) -> Usable:
    """``read`` each distinct (text, country) in plain Python: for what no kernel can do, and for rare shapes."""
    pairs = list(zip(readable.text.to_pylist(), readable.country.to_pylist(), strict=True))
    readings = {(text, country): (None, None) if text is None else read(text, country) for text, country in set(pairs)}
    normal, cause = ([readings[pair][index] for pair in pairs] for index in (0, 1))
    return Usable(pa.array(normal, pa.string()), pa.array(cause, pa.string()))
