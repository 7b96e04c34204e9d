"""user_data: readable values for the next stage, which alone knows how each key is normalised."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.config import MappingSpec
from offline_capi.config.fields import FieldSpec
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.fields import ID, Reading, read_field
from offline_capi.mapping.ids import damaged, whole_numbers
from offline_capi.mapping.text import as_text, is_text
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import LIST_MARK, DroppedValues, IdentityColumn

__all__ = ["read_identity"]

# A birth date that is a date or a timestamp in Arrow needs no format: it is written as ISO 8601 for the next stage.
_ISO_DAY = ("%Y-%m-%d",)


def read_identity(
    columns: SourceColumns, mapping: MappingSpec
) -> tuple[dict[str, tuple[IdentityColumn, ...]], tuple[DroppedValues, ...]]:
    """Every key with its columns; a value lost in a map or a cast is dropped and counted, its row goes on."""
    found = {
        key: [_person(columns, key, spec, f"user_data.{key}") for spec in specs]
        for key, specs in mapping.user_data.items()
    }
    dropped = tuple(
        DroppedValues(key, column.label, cause, count)
        for key, parts in found.items()
        for column, reading in parts
        for cause, count in _losses(reading)
    )
    return {key: tuple(column for column, _ in parts) for key, parts in found.items()}, dropped


def _losses(reading: Reading) -> Iterator[tuple[str, int]]:
    causes = (("unreadable", reading.unreadable), ("unknown", reading.unknown), ("damaged", reading.damaged))
    for cause, where in causes:
        count = 0 if where is None else pc.sum(where).as_py() or 0
        if count:
            yield cause, count


def _person(columns: SourceColumns, key: str, spec: FieldSpec, path: str) -> tuple[IdentityColumn, Reading]:
    as_day = spec.type == "date" or _is_day(columns, key, spec)
    kind = ID if USER_DATA_KEYS[key].long_number and not spec.hashed else "string"
    reading = _readable(columns, spec.model_copy(update={"type": "date"}) if as_day else spec, path, kind)
    column = IdentityColumn(
        values=reading.values,
        label=_label(spec),
        hashed=spec.hashed,
        country=None if spec.country is None else _country(columns, spec.country, path),
        formats=_ISO_DAY if as_day else spec.format,
        zone=spec.timezone or columns.zone,
    )
    return column, reading


def _country(columns: SourceColumns, name: str, path: str) -> pa.StringArray:
    with columns.read_for(f"{path}.country", name):
        return as_text(columns.values(name))


def _is_day(columns: SourceColumns, key: str, spec: FieldSpec) -> bool:
    is_date = USER_DATA_KEYS[key].kind == "birth_date"
    return is_date and spec.column is not None and kinds.is_temporal(columns.values(spec.column).type)


def _readable(columns: SourceColumns, spec: FieldSpec, path: str, kind: str) -> Reading:
    """Text as the source wrote it, blanks around it too, where the YAML asks for nothing: trimming is a policy."""
    written = columns.written(spec.column) if spec.column is not None and not spec.text else None
    if written is not None and _is_list(written.type) and spec.map is None and spec.type is None:
        with columns.read_for(path, *spec.columns):
            return Reading(_joined(written))
    if written is not None and is_text(written) and spec.map is None and spec.type is None and spec.default is None:
        if kind != ID:
            return Reading(written)
        where = damaged(written)
        nothing = pa.scalar(None, pa.string())
        return Reading(whole_numbers(written if where is None else pc.if_else(where, nothing, written)), damaged=where)
    return read_field(columns, spec, path, kind)


def _is_list(kind: pa.DataType) -> bool:
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind))


def _joined(lists: pa.Array) -> pa.StringArray:
    """The values of each list in one text, as ``IdentityColumn`` has them; null where there is none."""
    lists = lists.cast(pa.list_(lists.type.value_type))
    items = pc.fill_null(as_text(lists.values), "")
    texts = pc.binary_join(pa.ListArray.from_arrays(lists.offsets, items), LIST_MARK)
    return pc.if_else(pc.and_(lists.is_valid(), pc.not_equal(texts, "")), texts, pa.scalar(None, pa.string()))


def _label(spec: FieldSpec) -> str:
    names = spec.model_copy(update={"country": None}).columns
    return " + ".join(names) or "constant"
