"""In which shape a source's columns come: how values are written, counted and never kept.

A shape is a name from this module (``digits/4``, ``comma``, ``dmy``) or, for ids with a prefix, a pattern of character
classes (``a-9``: letters, a dash, digits). No character of a value but a separator stands in it. What a column is
counted depends on what the column is read as: see ``Role``.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.config.columns import find_field_specs, list_columns_used
from offline_capi.config.document import Loc
from offline_capi.config.fields import TEMPLATE_PART, FieldSpec
from offline_capi.config.mapping import MappingSpec
from offline_capi.mapping.casts import FALSE_TEXTS, TRUE_TEXTS
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.text import EXACT_FLOAT, is_text
from offline_capi.meta.catalogue import LONG_ID_KEYS, USER_DATA_KEYS

__all__ = ["ColumnUse", "Role", "count_shapes", "list_column_uses"]

#: Longer ids have one length: that of this many characters.
MAX_DIGITS = 20
#: Runs of letters, digits and separators in an id; what has more has no structure that could change.
MAX_PATTERN_CHARS = 9

Codes = npt.NDArray[np.int64]


class Role(StrEnum):
    """As what a column is read, where its shape matters."""

    ID = "id"
    NUMBER = "number"
    TIME = "time"
    IDENTITY = "identity"  # hashed unless it is a digest
    BOOLEAN = "boolean"


class ColumnUse(NamedTuple):
    """How an upload reads a column: by which fields (dotted paths), in which roles, and as what settings declare.

    ``reading`` is a digest of those settings: where they are changed, what was known of the column says nothing.
    """

    paths: tuple[str, ...]
    roles: tuple[Role, ...]
    reading: str

    @property
    def in_event_id(self) -> bool:
        return any(path.split(".")[:2] == ["event", "id"] for path in self.paths)


# ---------------------------------------------------------------------------------------------- what columns are for

_DECLARED = {
    **dict.fromkeys(("number", "integer", "money"), Role.NUMBER),
    **dict.fromkeys(("timestamp", "date"), Role.TIME),
    "boolean": Role.BOOLEAN,
}
_ROLES: Mapping[Loc, Role] = {
    ("event", "id"): Role.ID,
    ("event", "time"): Role.TIME,
    ("event", "original_event", "id"): Role.ID,
    ("event", "original_event", "order_id"): Role.ID,
    ("event", "original_event", "time"): Role.TIME,
    ("event", "opt_out"): Role.BOOLEAN,
    ("event", "limited_data_use", "when"): Role.BOOLEAN,
    **{("custom_data", name): Role.NUMBER for name in ("value", "predicted_ltv", "net_revenue", "num_items")},
    **{("custom_data", name): Role.ID for name in ("order_id", "item_number", "content_ids")},
    ("custom_data", "contents", "id"): Role.ID,
    ("custom_data", "contents", "quantity"): Role.NUMBER,
    ("custom_data", "contents", "item_price"): Role.NUMBER,
    **{("user_data", key): Role.IDENTITY for key, how in USER_DATA_KEYS.items() if how.hashable},
    **{("user_data", key): Role.ID for key in LONG_ID_KEYS},
}


def list_column_uses(mapping: MappingSpec) -> dict[str, ColumnUse]:
    """The columns of the source whose shape matters; not those of lookups, nor those compared with a ``map``."""
    roles: dict[str, list[Role]] = {}
    settings: dict[str, list[str]] = {}
    for column, role, declared in _list_uses(mapping):
        roles.setdefault(column, []).append(role)
        settings.setdefault(column, []).append(declared)
    paths = list_columns_used(mapping)
    return {
        column: ColumnUse(
            paths[column],
            tuple(dict.fromkeys(roles[column])),
            hashlib.sha256("\n".join(settings[column]).encode()).hexdigest()[:12],
        )
        for column in roles
        if column in paths
    }


def _list_uses(mapping: MappingSpec) -> Iterator[tuple[str, Role, str]]:
    """Column, role, and what the settings declare."""
    for section in ("event", "user_data", "custom_data"):
        for loc, spec in find_field_specs(getattr(mapping, section), (section,)):
            if spec.map is None:
                yield from _list_uses_of(loc, spec)
    for column in mapping.window.columns:
        yield column, Role.TIME, mapping.window.model_dump_json(exclude={"lookback"})
    if mapping.consent is not None:
        yield mapping.consent.column, Role.BOOLEAN, mapping.consent.model_dump_json()


def _list_uses_of(loc: Loc, spec: FieldSpec) -> Iterator[tuple[str, Role, str]]:
    named = [(spec.column, None)] if spec.column else [(name, kind) for name, kind in _list_placeholders(spec)]
    declared = f"{loc} {spec.model_dump_json(exclude={'on_error'})}"
    for column, kind in named:
        own = _DECLARED.get(kind or spec.type or "")
        by_place = next((_ROLES[loc[:size]] for size in (3, 2) if loc[:size] in _ROLES), None)
        for role in [own] if own else [by_place] if by_place else []:
            yield column, role, declared
        if loc[:2] == ("user_data", "db"):
            yield column, Role.TIME, declared


def _list_placeholders(spec: FieldSpec) -> Iterator[tuple[str, str | None]]:
    parts = TEMPLATE_PART.split(spec.template or "")
    yield from zip(parts[1::3], parts[2::3], strict=True)


# ---------------------------------------------------------------------------------------------- counting


def count_shapes(columns: SourceColumns, name: str, role: Role, groups: pa.Array) -> dict[str, Counter[str]]:
    """How many values of a column have each shape, by the group (a client) that each row is of; blanks have none.

    Rows of no group are left out. A column that cannot be read in its role has the shape ``other``.
    """
    codes, words = _SHAPES[role](columns.get_values(name))
    encoded = groups.cast(pa.string()).dictionary_encode()
    owners = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    there = (codes >= 0) & (owners >= 0)
    pairs, counts = np.unique(owners[there] * max(len(words), 1) + codes[there], return_counts=True)
    names = encoded.dictionary.to_pylist()
    found: dict[str, Counter[str]] = {}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        owner, word = divmod(pair, max(len(words), 1))
        found.setdefault(names[owner], Counter())[words[word]] += count
    return found


Shaped = tuple[Codes, list[str]]


def _encode_shapes(values: pa.Array, choose: Callable[[], pa.Array]) -> Shaped:
    """Shapes given as an array of names aligned with the values."""
    words = pc.if_else(values.is_valid(), choose(), pa.scalar(None, pa.string())).dictionary_encode()
    return pc.fill_null(words.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64), words.dictionary.to_pylist()


def _make_uniform(values: pa.Array, word: str) -> Shaped:
    return np.where(values.is_valid().to_numpy(zero_copy_only=False), 0, -1), [word]


def _select_whole(values: pa.Array) -> npt.NDArray[np.float64]:
    """Numbers without a fraction; NaN for all others."""
    numbers = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    fits = (np.trunc(numbers) == numbers) & (np.abs(numbers) <= EXACT_FLOAT)
    return np.where(fits, numbers, np.nan)


def _count_digits(numbers: npt.NDArray[Any]) -> Codes:
    """How many digits whole numbers have before the point; a sign is none."""
    sizes = np.abs(numbers.astype(np.float64))
    return np.asarray(np.minimum(np.floor(np.log10(np.maximum(sizes, 1))) + 1, MAX_DIGITS), np.int64)


def _shape_numeric(values: pa.Array, whole: str, fraction: str) -> Shaped:
    """Numbers that come as such: whole ones with their number of digits, all others."""
    is_there = values.is_valid().to_numpy(zero_copy_only=False)
    numbers = _select_whole(values) if not kinds.is_integer(values.type) else pc.fill_null(values, 0).to_numpy()
    is_whole = ~np.isnan(numbers.astype(np.float64))
    codes = np.where(is_whole, _count_digits(np.where(is_whole, numbers, 0)), 0)
    words = [fraction, *(f"{whole}/{length}" for length in range(1, MAX_DIGITS + 1))]
    return np.where(is_there, codes, -1), words


def _is_number(kind: pa.DataType) -> bool:
    return bool(kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind))


# ---------------------------------------------------------------------------------------------- texts as patterns

_NINE, _LETTER = ord("9"), ord("a")
_CLASSES = np.full(256, _LETTER, np.uint8)
_CLASSES[32:127] = np.arange(32, 127)
_CLASSES[ord("0") : ord("9") + 1] = _NINE
for _first, _last in (("a", "z"), ("A", "Z")):
    _CLASSES[ord(_first) : ord(_last) + 1] = _LETTER
_HEX = np.zeros(256, np.bool_)
_HEX[[*b"0123456789abcdefABCDEF"]] = True


class _Texts(NamedTuple):
    """The bytes of a column of texts, and where each begins and ends; empty ones are null."""

    codes: npt.NDArray[np.uint8]
    starts: Codes
    ends: Codes

    @classmethod
    def of(cls, values: pa.StringArray) -> _Texts:
        if not len(values):
            return cls(np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64))
        # One array without a gap: a null has no bytes in it.
        values = pc.fill_null(values, "")
        _, offsets, data = values.buffers()
        at = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
        codes = np.frombuffer(data or b"", np.uint8)[at[0] : at[-1]]
        return cls(codes, at[:-1] - at[0], at[1:] - at[0])

    @property
    def lengths(self) -> Codes:
        return np.asarray(self.ends - self.starts)

    def get_first_bytes(self) -> npt.NDArray[np.uint8]:
        """The first byte of each, 0 of an empty one."""
        found = np.zeros(len(self.starts), np.uint8)
        there = self.lengths > 0
        found[there] = self.codes[self.starts[there]]
        return found

    def find_digests(self) -> npt.NDArray[np.bool_]:
        """Whether each text is 64 hex digits, or begins with them and a point, as the parameter builder's do."""
        long = self.lengths >= 64
        if not long.any():
            return np.asarray(long)
        until = np.concatenate(([0], np.cumsum(_HEX.take(self.codes))))
        ends = np.minimum(self.starts + 64, self.ends)
        follows = self.codes[np.minimum(ends, len(self.codes) - 1)]
        is_whole = (self.lengths == 64) | (follows == ord("."))
        return np.asarray(long & is_whole & (until[ends] - until[self.starts] == 64))

    def count_trailing_zeros(self) -> Codes:
        others = np.flatnonzero(self.codes != ord("0"))
        if not len(others):
            return self.lengths
        last = others[np.maximum(np.searchsorted(others, self.ends) - 1, 0)]
        return np.where((last >= self.starts) & (last < self.ends), self.ends - last - 1, self.lengths)

    def find_patterns(self) -> tuple[Codes, list[str]]:
        """Each run of letters as ``a``, of digits as ``9``; long patterns, and texts of other scripts, as ``~``."""
        classes = _CLASSES.take(self.codes)
        is_run = (classes == _LETTER) | (classes == _NINE)
        repeats = np.zeros(len(classes), np.bool_)
        repeats[1:] = (classes[1:] == classes[:-1]) & is_run[1:]
        repeats[self.starts[self.lengths > 0]] = False
        until = np.concatenate(([0], np.cumsum(~repeats)))
        offsets = np.concatenate((until[self.starts], until[-1:])).astype(np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(classes[~repeats].tobytes())]
        runs = pa.StringArray.from_buffers(len(self.starts), buffers[1], buffers[2])
        long = pa.array(np.diff(offsets) > MAX_PATTERN_CHARS)
        found = pc.if_else(long, pa.scalar("~"), runs).dictionary_encode()
        return found.indices.to_numpy(zero_copy_only=False).astype(np.int64), found.dictionary.to_pylist()

    def count_digits_after_last(self, marks: bytes) -> Codes:
        """How many digits follow the last of ``marks`` in each text; -1 where there is none."""
        positions = np.flatnonzero(np.logical_or.reduce([self.codes == mark for mark in marks]))
        if not len(positions):
            return np.full(len(self.starts), -1)
        last = positions[np.maximum(np.searchsorted(positions, self.ends) - 1, 0)]
        until = np.concatenate(([0], np.cumsum(_CLASSES.take(self.codes) == _NINE)))
        return np.where((last >= self.starts) & (last < self.ends), until[self.ends] - until[last], -1)


def _name_distinct(values: pa.Array, parts: tuple[Codes, ...], name: Callable[..., str]) -> Shaped:
    """Shapes by what is distinct in several arrays of small numbers: ``name`` sees each combination once."""
    key = parts[0]
    for part in parts[1:]:
        key = key * 64 + np.clip(part, -1, 62) + 1
    _, firsts, codes = np.unique(key, return_index=True, return_inverse=True)
    words = [name(*(int(part[first]) for part in parts)) for first in firsts.tolist()]
    there = values.is_valid().to_numpy(zero_copy_only=False)
    return np.where(there, codes.reshape(-1), -1), words


# ---------------------------------------------------------------------------------------------- by role

#: A prefix or a suffix of letters, with at most two separators between it and the digits, or separators alone.
_DECORATED = re.compile(r"a?[ #_:/.\-]{0,2}9|9[ #_:/.\-]{0,2}a?")


def _shape_ids(values: pa.Array) -> Shaped:
    kind = values.type
    if _is_number(kind):
        return _shape_numeric(values, "float" if kinds.is_floating(kind) else "int", "fraction")
    if not is_text(values):
        return _make_uniform(
            values, "boolean" if kinds.is_boolean(kind) else "time" if kinds.is_temporal(kind) else "other"
        )
    texts = _Texts.of(values)
    codes, patterns = texts.find_patterns()
    is_digest = texts.find_digests()
    after = texts.count_digits_after_last(b".")
    # All behind the point is zero: then the zeros at the end are as many as its digits.
    fraction_is_zero = (after > 0) & (texts.count_trailing_zeros() >= after) if (after > 0).any() else after > 0
    is_padded = (texts.get_first_bytes() == ord("0")) & (texts.lengths > 1)

    def name(pattern: int, length: int, digest: int, zero: int, padded: int) -> str:
        shape = patterns[pattern]
        if digest:
            return "digest"
        if shape == "9":
            return f"{'padded' if padded else 'digits'}/{min(length, MAX_DIGITS)}"
        if shape in ("9.9", "-9.9"):
            return "whole.0" if zero else "fraction"
        if re.fullmatch(r"-?9([.,]9)?a\+9", shape):
            return "exponent"
        return shape if _DECORATED.fullmatch(shape) else "text"

    is_digits = np.array([pattern == "9" for pattern in patterns], np.bool_)
    lengths = np.where(is_digits[codes], texts.lengths, 0) if len(codes) else codes
    flags = (is_digest.astype(np.int64), fraction_is_zero.astype(np.int64), is_padded.astype(np.int64))
    return _name_distinct(values, (codes, lengths, *flags), name)


def _shape_numbers(values: pa.Array) -> Shaped:
    if _is_number(values.type):
        return _make_uniform(values, "number")
    if not is_text(values):
        return _make_uniform(values, "other")
    texts = _Texts.of(values)
    codes, patterns = texts.find_patterns()
    after = texts.count_digits_after_last(b".,")

    def name(pattern: int, digits: int) -> str:
        marks = re.sub(r"[^9.,]", "", patterns[pattern])
        if "9" not in marks:
            return "words"
        points, commas = marks.count("."), marks.count(",")
        if points and commas:
            return "dot" if marks.rindex(".") > marks.rindex(",") else "comma"
        if max(points, commas) > 1:  # several of one mark separate thousands
            return "comma" if points else "dot"
        if not points and not commas:
            return "whole"
        return "open" if digits == 3 else "dot" if points else "comma"

    return _name_distinct(values, (codes, after), name)


_ISO = r"^\d{4}-\d\d-\d\d(?:$|[T ])"
_ZONE = r"\d\d:\d\d.*(?:[Zz]| ?UTC|[+-]\d\d(?::?\d\d)?)$"
_DAY = r"^(?P<first>\d{1,4})[/.\-](?P<second>\d{1,2})[/.\-](?P<third>\d{2,4})(?:$|\D)"


def _shape_times(values: pa.Array) -> Shaped:
    kind = values.type
    if _is_number(kind):
        return _shape_numeric(pc.trunc(pc.cast(values, pa.float64(), safe=False)), "epoch", "other")
    if kinds.is_timestamp(kind):
        return _make_uniform(values, "zoned" if kind.tz else "iso")
    if kinds.is_date(kind):
        return _make_uniform(values, "iso")
    if not is_text(values):
        return _make_uniform(values, "other")
    return _encode_shapes(values, lambda: _shape_written_times(values))


def _shape_written_times(values: pa.StringArray) -> pa.StringArray:
    is_iso = pc.match_substring_regex(values, _ISO)
    words = pc.if_else(pc.match_substring_regex(values, _ZONE), "zoned", "iso")
    if pc.all(is_iso).as_py() is not False:
        return words
    rest = pc.if_else(is_iso, pa.scalar(None, pa.string()), values)
    digits = pc.match_substring_regex(rest, r"^\d+(?:\.\d+)?$")
    sizes = pc.utf8_length(pc.replace_substring_regex(rest, r"\..*$", ""))
    epochs = pc.binary_join_element_wise("epoch", pc.cast(pc.min_element_wise(sizes, MAX_DIGITS), pa.string()), "/")
    parts = pc.extract_regex(rest, _DAY)
    first, second = (pc.cast(pc.struct_field(parts, name), pa.int32()) for name in ("first", "second"))
    order = pc.case_when(
        pc.make_struct(
            pc.fill_null(pc.greater(first, 31), False),
            pc.fill_null(pc.and_(pc.greater(first, 12), pc.less_equal(second, 12)), False),
            pc.fill_null(pc.and_(pc.greater(second, 12), pc.less_equal(first, 12)), False),
            pc.fill_null(pc.and_(pc.less_equal(first, 12), pc.less_equal(second, 12)), False),
        ),
        *("ymd", "dmy", "mdy", "day or month", "other"),
    )
    return pc.if_else(is_iso, words, pc.if_else(digits, epochs, order))


def _shape_identity(values: pa.Array) -> Shaped:
    if not is_text(values):
        return _make_uniform(values, "plain")
    there = values.is_valid().to_numpy(zero_copy_only=False)
    return np.where(there, _Texts.of(values).find_digests().astype(np.int64), -1), ["plain", "digest"]


def _shape_booleans(values: pa.Array) -> Shaped:
    if kinds.is_boolean(values.type):
        return _make_uniform(values, "boolean")
    if not is_text(values) and not _is_number(values.type):
        return _make_uniform(values, "words")
    text = pc.utf8_lower(pc.cast(values, pa.string()))
    text = pc.replace_substring_regex(text, r"^([01])\.0+$", r"\1")
    # Not made while this is imported: to look at a list, Arrow imports pandas.
    texts = pa.array([*TRUE_TEXTS, *FALSE_TEXTS])
    spellings = pa.array([f"{yes}/{no}" for yes, no in zip(TRUE_TEXTS, FALSE_TEXTS, strict=True)] * 2)
    return _encode_shapes(values, lambda: pc.fill_null(spellings.take(pc.index_in(text, value_set=texts)), "words"))


_SHAPES: Mapping[Role, Callable[[pa.Array], Shaped]] = {
    Role.ID: _shape_ids,
    Role.NUMBER: _shape_numbers,
    Role.TIME: _shape_times,
    Role.IDENTITY: _shape_identity,
    Role.BOOLEAN: _shape_booleans,
}
