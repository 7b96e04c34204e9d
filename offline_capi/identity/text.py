"""Arrow strings in, Arrow strings out: the few text operations that every rule is made of.

ASCII rows take byte kernels; Unicode work (composition, full lower-casing) is done for the rows that need it. The
result of a row never depends on its neighbours.

Decided: NFC, and lower-case as JavaScript's ``toLowerCase`` has it, which is what the browser pixel runs. No case
folding, so ``ß`` stays ``ß``, and no transliteration, so accents stay (meta-capi.md 2.3).
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.runtime.column_bytes import bytes_of, needs_trim, where_begins, where_not_ascii
from offline_capi.runtime.lookup import TextIndex

__all__ = [
    "as_strings",
    "as_text",
    "blank_where",
    "extract",
    "find_lengths",
    "find_longer_than",
    "find_matches",
    "fold_digits",
    "is_ascii",
    "is_one_of",
    "keep_ascii",
    "list_codes",
    "lower_text",
    "make_frame",
    "may_begin_with",
    "remove_matches",
    "replace_matches",
    "strip_zero_fraction",
    "trim_text",
]

# Zero-width characters, bidi marks, soft hyphens, variation selectors, byte-order marks: nobody sees or types them.
_INVISIBLE = (
    r"[\u{00AD}\u{034F}\u{061C}\u{180E}\u{200B}-\u{200F}\u{202A}-\u{202E}\u{2060}-\u{206F}\u{FE00}-\u{FE0F}\u{FEFF}]"
)


def as_text(values: Any) -> pa.Array:
    """Any Arrow array as plain strings; whole floats lose their ``.0``, for that is how a nullable id is exported."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type):
        return _render_floats(array)
    return array if array.type == pa.string() else array.cast(pa.string())


def _render_floats(array: pa.Array) -> pa.Array:
    # Beyond 2^53 a float cannot represent neighbouring ids: better none than a neighbour's.
    exact = pc.less(pc.abs(array), 2.0**53)
    whole = pc.and_(exact, pc.equal(pc.floor(array), array))
    as_int = pc.if_else(whole, array, None).cast(pa.int64()).cast(pa.string())
    return pc.coalesce(as_int, pc.if_else(pc.and_(exact, pc.invert(whole)), array.cast(pa.string()), None))


def make_frame(**columns: Any) -> pl.DataFrame:
    """Arrow arrays as a polars frame, without copying the text."""
    return pl.DataFrame({name: pl.Series(name, array) for name, array in columns.items()})


def as_strings(series: pl.Series) -> pa.Array:
    """A polars series as plain Arrow strings."""
    return series.cast(pl.String).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())


def _mask(series: pl.Series) -> pa.BooleanArray:
    return series.to_arrow()


def find_matches(text: pa.Array, pattern: str) -> pa.BooleanArray:
    """Where ``pattern`` (Rust syntax) is found; null where the text is null."""
    return _mask(pl.Series(text).str.contains(pattern))


def remove_matches(text: pa.Array, pattern: str) -> pa.Array:
    """The text with every match of ``pattern`` removed."""
    return replace_matches(text, pattern, "")


def replace_matches(text: pa.Array, pattern: str, by: str) -> pa.Array:
    """The text with every match of ``pattern`` replaced."""
    return as_strings(pl.Series(text).str.replace_all(pattern, by))


def extract(text: pa.Array, pattern: str, group: int = 1) -> pa.Array:
    """What ``group`` of ``pattern`` matched; null where nothing did."""
    return as_strings(pl.Series(text).str.extract(pattern, group))


def keep_ascii(text: pa.Array) -> pa.Array:
    """The text where it is ASCII, null elsewhere."""
    return text if is_ascii(text) else pc.if_else(pc.string_is_ascii(text), text, None)


def is_one_of(text: pa.Array, values: frozenset[str]) -> pa.BooleanArray:
    """Where the text is one of ``values``; null where it is null."""
    positions, _ = _index_values(values).find(text)
    known = pc.is_valid(positions)
    return pc.if_else(pc.is_valid(text), known, None) if text.null_count else known


@cache
def _index_values(values: frozenset[str]) -> TextIndex:
    index = TextIndex()
    index.add(pa.array(sorted(values), pa.string()))
    return index


def blank_where(text: pa.Array, where: pa.BooleanArray) -> pa.Array:
    """Null where ``where`` is true."""
    return pc.if_else(where, pa.scalar(None, pa.string()), text)


def trim_text(text: pa.Array) -> pa.Array:
    """Composed (NFC), without invisible characters and outer blanks; null where nothing is left."""
    return _tidy(text, _trim_ascii, lambda s: _strip_invisible(s).str.strip_chars())


def lower_text(text: pa.Array) -> pa.Array:
    """``trim_text`` and lower-case."""
    return _tidy(
        text,
        lambda a: pc.ascii_lower(_trim_ascii(a)),
        # Lower-casing may leave a sequence that composes ("İ" followed by a mark), so compose again.
        lambda s: _strip_invisible(s).str.to_lowercase().str.normalize("NFC").str.strip_chars(),
    )


def _trim_ascii(text: pa.Array) -> pa.Array:
    return pc.ascii_trim_whitespace(text) if needs_trim(text) else text


def _strip_invisible(series: pl.Series) -> pl.Series:
    return series.str.replace_all(_INVISIBLE, "").str.normalize("NFC")


def _tidy(
    text: pa.Array, ascii_kernel: Callable[[pa.Array], pa.Array], unicode_kernel: Callable[[pl.Series], pl.Series]
) -> pa.Array:
    tidy = _apply_to_non_ascii(text, ascii_kernel(text), unicode_kernel)
    empty = pc.equal(pc.binary_length(tidy), 0)
    return blank_where(tidy, empty) if pc.any(empty).as_py() else tidy


def _apply_to_non_ascii(text: pa.Array, otherwise: pa.Array, kernel: Callable[[pl.Series], pl.Series]) -> pa.Array:
    """``kernel`` of the rows that are not ASCII, ``otherwise`` at the others."""
    odd = where_not_ascii(text)
    if odd is None:
        return otherwise
    fixed = as_strings(kernel(pl.Series(text.filter(odd))))
    return pc.replace_with_mask(otherwise, odd, fixed)


def is_ascii(text: pa.Array) -> bool:
    """Whether every byte of the column is below 128."""
    _, content = bytes_of(text)
    return bool(len(content) == 0 or content.max() < 128)


def may_begin_with(text: pa.Array, marks: bytes) -> bool:
    """Whether any value may begin with one of ``marks``."""
    return where_begins(text, marks) is not None


def find_longer_than(text: pa.Array, bytes_: int) -> pa.BooleanArray | None:
    """Where a value has more than ``bytes_`` bytes; ``None`` where none has."""
    offsets, _ = bytes_of(text)
    lengths = np.diff(offsets)
    if not len(lengths) or lengths.max() <= bytes_:
        return None
    return pc.and_(pa.array(lengths > bytes_), pc.is_valid(text)) if len(lengths) == len(text) else None


def find_lengths(text: pa.Array, lengths: tuple[int, ...]) -> pa.BooleanArray | None:
    """Where a value has one of these numbers of bytes; ``None`` where none has."""
    offsets, _ = bytes_of(text)
    own = np.diff(offsets)
    where = own == lengths[0]
    for length in lengths[1:]:
        where |= own == length
    return pc.and_(pa.array(where), pc.is_valid(text)) if where.any() else None


def list_codes(codes: pa.Array) -> list[str | None]:
    """The distinct values of a column of country codes; a column of one code is recognised by its bytes."""
    _, content = bytes_of(codes)
    if len(codes) and codes.null_count == 0 and len(content) == 2 * len(codes):
        pairs = content.view(np.uint16)
        if (pairs == pairs[0]).all():
            return [codes[0].as_py()]
    found: list[str | None] = pc.unique(codes).to_pylist()
    return found


def fold_digits(text: pa.Array) -> pa.Array:
    """Full-width forms as ASCII (NFKC), and the decimal digits of every script as 0 to 9; ASCII rows stay."""
    return _apply_to_non_ascii(text, text, lambda s: _convert_decimals(s.str.normalize("NFKC")))


def _convert_decimals(series: pl.Series) -> pl.Series:
    digits = _list_foreign_digits()
    return series.str.replace_many(list(digits), list(digits.values()))


@cache
def _list_foreign_digits() -> dict[str, str]:
    """Every decimal digit that is not ASCII → its ASCII digit."""
    found = {}
    for code in range(128, sys.maxunicode + 1):
        if unicodedata.category(chr(code)) == "Nd":
            found[chr(code)] = str(unicodedata.decimal(chr(code)))
    return found


def strip_zero_fraction(text: pa.Array) -> pa.Array:
    """The text without a ``.0`` that a column of numbers left behind it."""
    tail = pc.ends_with(text, ".0")
    if not pc.any(tail).as_py():
        return text
    return pc.if_else(pc.and_(tail, find_matches(text, r"^[0-9]+\.0$")), pc.utf8_slice_codeunits(text, 0, -2), text)
