"""One ``FieldSpec`` → one array: origin, then text, map, type and default, in this order.

- Blank text is missing. In a ``coalesce``, the first part that is not missing decides, readable or not: a wrong value
  is never papered over by the next column.
- ``map`` compares the trimmed text; case is ignored unless two keys differ in case only. A value that no key has and
  that is a target already (``EUR`` with ``{Euro: EUR}``) stays what it is. Any other is unknown, and a ``default``
  takes its place.
- A ``default`` never takes the place of a value that is there but cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.fields import TEMPLATE_PART, FieldSpec
from offline_capi.errors import ConfigError
from offline_capi.mapping.casts import Manner, cast
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.ids import find_damaged
from offline_capi.mapping.text import UnfitSettingError, as_text, is_text
from offline_capi.mapping.text_steps import change_text
from offline_capi.runtime.join import join_columns

__all__ = ["ID_KIND", "Reading", "combine_masks", "read_field"]


#: The kind of text that identifies; see ``ids``. It is no type that an upload declares.
ID_KIND = "id"


class Reading(NamedTuple):
    """Values, and where they are null although the source holds something: unreadable, in no map, or a damaged id.

    ``reduced`` says where a part of the value was left out, and the rest is there; ``negative`` where a value below
    zero was taken out.
    """

    values: pa.Array
    unreadable: pa.BooleanArray | None = None
    unknown: pa.BooleanArray | None = None
    damaged: pa.BooleanArray | None = None
    reduced: pa.BooleanArray | None = None
    negative: pa.BooleanArray | None = None

    @property
    def missing(self) -> pa.BooleanArray:
        """Null because the source holds nothing."""
        lost = combine_masks(self.unreadable, self.unknown, self.damaged, self.negative)
        return self.values.is_null() if lost is None else pc.and_not(self.values.is_null(), lost)


def combine_masks(*masks: pa.BooleanArray | None) -> pa.BooleanArray | None:
    """True where any mask is; ``None`` is a mask without a true value."""
    there = [mask for mask in masks if mask is not None]
    return reduce(pc.or_, there) if there else None


def read_field(columns: SourceColumns, spec: FieldSpec, path: str, kind: str, *, only_keys: bool = False) -> Reading:
    """The field as ``kind``. ``path`` is where it stands in the YAML, for messages.

    With ``only_keys`` a value that is a target of the map is unknown unless it is a key too.

    Raises ``SourceSchemaError`` where the column's type can never hold the field, ``ConfigError`` where the YAML asks
    for what cannot be: both are true of every row alike.
    """
    if kind == "timestamp":
        known: Reading | None = next((found for one, found in columns.times if one == spec), None)
        if known is not None:
            return known
    try:
        with columns.read_for(path, *spec.columns):
            found = _read(columns, spec, kind, only_keys=only_keys)
    except UnfitSettingError as wrong:
        raise ConfigError(f"{path}: {wrong}") from None
    if kind == "timestamp":
        columns.times.append((spec, found))
    return found


def _read(columns: SourceColumns, spec: FieldSpec, kind: str, *, only_keys: bool = False) -> Reading:
    manner = Manner.from_spec(spec, columns.zone)
    origin = _read_origin(columns, spec, kind)
    found = _apply_map(_apply_text_steps(origin, spec, kind), spec, only_keys=only_keys)
    values, unreadable, broken = found.values, found.unreadable, found.damaged
    is_ours = spec.map is not None or spec.constant is not None or bool(spec.text and not is_text(origin.values))
    for wanted in _list_steps(spec.type or kind, "string" if kind == ID_KIND and is_ours else kind):
        values, lost = _cast(values, wanted, manner.ours if is_ours else manner)
        unreadable, broken = (
            (unreadable, combine_masks(broken, lost))
            if wanted == ID_KIND
            else (combine_masks(unreadable, lost), broken)
        )
    if spec.divide is not None:
        values = pc.divide(pc.cast(values, pa.float64()), float(spec.divide))
    if spec.default is None:
        return Reading(values, unreadable, found.unknown, broken)
    return _apply_default(Reading(values, unreadable, damaged=broken), _read_default(spec, kind, manner))


def _list_steps(declared: str, kind: str) -> Iterator[str]:
    yield declared
    if declared != kind:
        yield kind


def _cast(values: pa.Array, kind: str, manner: Manner) -> tuple[pa.Array, pa.BooleanArray | None]:
    """The cast values, and where a value was lost. What has no text (NaN) is missing, not unreadable."""
    result = cast(values, kind, manner)
    if kind == "string" or result.null_count == values.null_count:
        return result, None
    return result, pc.and_(values.is_valid(), result.is_null())


# ---------------------------------------------------------------------------------------------- origins


def _read_origin(columns: SourceColumns, spec: FieldSpec, kind: str) -> Reading:
    if spec.column is not None:
        return Reading(columns.get_values(spec.column))
    if spec.template is not None:
        return _fill_template(columns, spec)
    if spec.coalesce is not None:
        return _coalesce(columns, spec, "string" if spec.map or spec.text else spec.type or kind)
    return Reading(columns.repeat_value(spec.constant))


def _fill_template(columns: SourceColumns, spec: FieldSpec) -> Reading:
    """Text with the columns' text in it; null where any of them is empty."""
    literals_columns_types = TEMPLATE_PART.split(spec.template or "")
    literals, names, types = (literals_columns_types[start::3] for start in range(3))
    parts = [_read_part(columns, name, kind, spec) for name, kind in zip(names, types, strict=True)]
    texts = [piece for literal, part in zip(literals, parts, strict=False) for piece in (literal, part.values)]
    joined = join_columns(*texts, literals[-1])
    return Reading(
        joined,
        combine_masks(*(part.unreadable for part in parts)),
        damaged=combine_masks(*(part.damaged for part in parts)),
    )


def _read_part(columns: SourceColumns, name: str, kind: str | None, spec: FieldSpec) -> Reading:
    values, manner = columns.get_values(name), Manner.from_spec(spec, columns.zone)
    if kind:
        typed, unreadable = _cast(values, kind, manner)
        return Reading(as_text(typed), unreadable)
    text, lost = _cast(values, ID_KIND, manner)
    return Reading(text, damaged=lost)


def _coalesce(columns: SourceColumns, spec: FieldSpec, kind: str) -> Reading:
    """The first part that is not missing. Parts are read the way the whole declares, unless they declare their own."""
    manner = {name: getattr(spec, name) for name in ("format", "unit", "timezone", "decimal")}
    parts = [part if part.type else part.model_copy(update=manner) for part in spec.coalesce or ()]
    return reduce(_fill_missing, [_read(columns, part, kind) for part in parts])


def _fill_missing(first: Reading, then: Reading) -> Reading:
    open_ = first.missing
    return Reading(
        pc.if_else(open_, then.values, first.values),
        combine_masks(first.unreadable, _restrict(then.unreadable, open_)),
        combine_masks(first.unknown, _restrict(then.unknown, open_)),
        combine_masks(first.damaged, _restrict(then.damaged, open_)),
    )


def _restrict(mask: pa.BooleanArray | None, open_: pa.BooleanArray) -> pa.BooleanArray | None:
    return None if mask is None else pc.and_(mask, open_)


# ---------------------------------------------------------------------------------------------- text, map and default


def _apply_text_steps(found: Reading, spec: FieldSpec, kind: str) -> Reading:
    """After the steps of ``text``; digits that an id has lost are found before them, which may hide it."""
    if not spec.text:
        return found
    text = as_text(found.values)
    gone = find_damaged(text) if kind == ID_KIND else None
    whole = text if gone is None else pc.if_else(gone, pa.scalar(None, pa.string()), text)
    changed, lost = change_text(whole, spec.text)
    return found._replace(
        values=changed, unreadable=combine_masks(found.unreadable, lost), damaged=combine_masks(found.damaged, gone)
    )


def _apply_map(found: Reading, spec: FieldSpec, *, only_keys: bool) -> Reading:
    if spec.map is None:
        return found
    text = as_text(found.values)
    keys, fold = _fold_keys(spec.map)
    index = pc.index_in(pc.utf8_lower(text) if fold else text, value_set=keys)
    targets = _make_scalars(list(spec.map.values()))
    if index.null_count > text.null_count and not only_keys:
        known, fold = _fold_keys(dict.fromkeys(as_text(targets).to_pylist()))
        index = pc.coalesce(index, _find_targets(text, targets, known, fold=fold))
    unknown = pc.and_(text.is_valid(), index.is_null()) if index.null_count > text.null_count else None
    return Reading(targets.take(index), found.unreadable, unknown, found.damaged)


def _find_targets(text: pa.StringArray, targets: pa.Array, known: pa.StringArray, *, fold: bool) -> pa.Array:
    """Where a value is a target of the map: the first entry that has it."""
    first = pc.index_in(known, value_set=pc.utf8_lower(as_text(targets)) if fold else as_text(targets))
    return first.take(pc.index_in(pc.utf8_lower(text) if fold else text, value_set=known))


def _fold_keys(words: dict[str, Any]) -> tuple[pa.StringArray, bool]:
    exact = pc.utf8_trim_whitespace(pa.array(list(words), pa.string()))
    folded = pc.utf8_lower(exact)
    return (folded, True) if pc.count_distinct(folded).as_py() == len(words) else (exact, False)


def _make_scalars(values: list[Any]) -> pa.Array:
    """Values of the YAML: of one type as it is, of several as text."""
    if len({type(value) for value in values}) == 1:
        return pa.array(values)
    return pa.concat_arrays([as_text(pa.array([value])) for value in values])


def _read_default(spec: FieldSpec, kind: str, manner: Manner) -> pa.Scalar:
    value = cast(pa.array([spec.default]), kind, manner.ours)
    if value.null_count:
        raise UnfitSettingError(f"the default cannot be read as {kind}")
    return value[0]


def _apply_default(found: Reading, default: pa.Scalar) -> Reading:
    """``default`` where nothing is: what is there but unreadable stays a fault."""
    return found._replace(values=pc.if_else(found.missing, default, found.values))
