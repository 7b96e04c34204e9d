"""A batch of source rows → the same rows under our field names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.config import MappingSpec
from offline_capi.config.settings import FieldSpec
from offline_capi.errors import ConfigError
from offline_capi.mapping.columns import SourceColumns, require_columns
from offline_capi.mapping.consent import without_consent
from offline_capi.mapping.contents import read_content_ids, read_contents
from offline_capi.mapping.fields import Reading, read_field
from offline_capi.mapping.people import read_identity
from offline_capi.mapping.transform import transformed
from offline_capi.model import Fault, MappedRows, Reason, SourceRows, Window

__all__ = ["map_rows"]


def map_rows(rows: SourceRows, mapping: MappingSpec, window: Window | None = None) -> MappedRows:
    """The rows of ``window`` under our field names; of every row read, one is mapped or counted in ``outside``.

    What a row becomes depends on the row alone, never on its batch. Raises ``SourceSchemaError`` where a column is
    missing or can never hold its field, ``ConfigError`` where the YAML or the hook is at fault; a bad row is a fault
    in the result. A suppressed row has no faults; a line that could not be read is never suppressed.
    """
    chosen = _chosen(rows, mapping, window)
    columns = SourceColumns(chosen.batch, rows.origin, mapping.window.timezone)
    read = {item.name: item for item in _read_all(columns, mapping)}
    identity, dropped = read_identity(columns, mapping)
    suppressed = pc.and_not(pc.or_(without_consent(columns, mapping.consent), chosen.left_out), chosen.malformed)
    return MappedRows(
        origin=rows.origin,
        row=chosen.numbers,
        client=read["client"].reading.values,
        event={name: _wire(read[name].reading.values) for name, _, _ in _EVENT if name in read},
        identity=identity,
        custom={item.name: item.reading.values for item in read.values() if item.custom},
        suppressed=suppressed,
        faults=(*chosen.faults, *_faults(read.values(), pc.or_(suppressed, chosen.malformed))),
        outside=len(rows) - len(chosen.numbers),
        dropped=dropped,
    )


# ---------------------------------------------------------------------------------------------- which rows


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The rows of the window, after the hook: their numbers, what the source said of them, what the hook left out."""

    batch: pa.RecordBatch
    numbers: pa.Int64Array
    faults: tuple[Fault, ...]
    left_out: pa.BooleanArray

    @property
    def malformed(self) -> pa.BooleanArray:
        """Where the source could not read the line."""
        found = pa.repeat(pa.scalar(False), len(self.numbers))
        for fault in self.faults:
            found = pc.or_(found, fault.where)
        return found

    def only(self, mask: pa.BooleanArray) -> _Chosen:
        faults = tuple(Fault(fault.reason, fault.field, fault.where.filter(mask)) for fault in self.faults)
        return _Chosen(self.batch.filter(mask), self.numbers.filter(mask), faults, self.left_out.filter(mask))


def _chosen(rows: SourceRows, mapping: MappingSpec, window: Window | None) -> _Chosen:
    """The window first, where its column is in the source, so that a hook sees only the rows of the run."""
    numbers = pa.array(np.arange(rows.first_row, rows.first_row + len(rows), dtype=np.int64))
    chosen = _Chosen(rows.batch, numbers, rows.faults, pa.repeat(pa.scalar(False), len(rows)))
    if mapping.transform is None:
        require_columns(mapping, rows.batch.schema.names, rows.origin)
        return _inside(chosen, rows, mapping, window)
    early = mapping.window.column in rows.batch.schema.names
    hooked = _hooked(_inside(chosen, rows, mapping, window) if early else chosen, mapping, rows.origin)
    return hooked if early else _inside(hooked, rows, mapping, window)


def _hooked(chosen: _Chosen, mapping: MappingSpec, origin: str) -> _Chosen:
    batch, left_out = transformed(chosen.batch, chosen.numbers, mapping.transform or "")
    require_columns(mapping, batch.schema.names, origin)
    return _Chosen(batch, chosen.numbers, chosen.faults, left_out)


def _inside(chosen: _Chosen, rows: SourceRows, mapping: MappingSpec, window: Window | None) -> _Chosen:
    """Without the rows whose time lies outside. A time that cannot be read stays, and becomes a fault."""
    if window is None:
        return chosen
    columns = SourceColumns(chosen.batch, rows.origin, mapping.window.timezone)
    time = _wire(read_field(columns, _window_spec(mapping), "window.column", "timestamp").values)
    since, until = (int(end.timestamp()) for end in (window.since, window.until))
    inside = pc.fill_null(pc.and_(pc.greater_equal(time, since), pc.less(time, until)), True)
    return chosen if pc.all(inside).as_py() in (True, None) else chosen.only(inside)


def _time_spec(mapping: MappingSpec) -> FieldSpec:
    return mapping.event.time or FieldSpec(column=mapping.window.column)


def _window_spec(mapping: MappingSpec) -> FieldSpec:
    """The window's column is read as ``event.time`` declares it where both are the same column."""
    spec = _time_spec(mapping)
    return spec if spec.column == mapping.window.column else FieldSpec(column=mapping.window.column)


# ---------------------------------------------------------------------------------------------- fields


class _Field(NamedTuple):
    """One field of ours as it was read. ``path`` is where the YAML says how."""

    name: str
    path: str
    reading: Reading
    custom: bool = False


# Wire name (D:parameters/server-event) → its key under ``event`` and its type.
_EVENT = (
    ("event_time", "time", "timestamp"),
    ("event_id", "id", "string"),
    ("event_name", "name", "string"),
    ("action_source", "action_source", "string"),
    ("event_source_url", "source_url", "string"),
    ("referrer_url", "referrer_url", "string"),
    ("opt_out", "opt_out", "boolean"),
)

# D:parameters/custom-data. All others are text.
_CUSTOM_KINDS = {
    "value": "number",
    "predicted_ltv": "number",
    "net_revenue": "number",
    "num_items": "integer",
}

# What these declare, or are as constants, custom properties keep; all others are text.
_PROPERTY_KINDS = {"number", "integer", "boolean"}
_CONSTANT_KINDS = {bool: "boolean", int: "integer", float: "number"}

_REQUIRED = {
    "event_time": Reason.MISSING_TIME,
    "event_id": Reason.MISSING_EVENT_ID,
    "event_name": Reason.MISSING_VALUE,
    "action_source": Reason.MISSING_VALUE,
}


def _read_all(columns: SourceColumns, mapping: MappingSpec) -> Iterator[_Field]:
    """Client and event first, then custom data: the first fault of a row is the one reported."""
    yield _Field("client", "client", read_field(columns, mapping.client, "client", "string"))
    yield from _event(columns, mapping)
    yield from _custom(columns, mapping)


def _event(columns: SourceColumns, mapping: MappingSpec) -> Iterator[_Field]:
    for name, key, kind in _EVENT:
        spec = _time_spec(mapping) if key == "time" else getattr(mapping.event, key)
        path = "window.column" if spec is not None and getattr(mapping.event, key) is None else f"event.{key}"
        if spec is not None:
            yield _Field(name, path, read_field(columns, spec, path, kind))


def _custom(columns: SourceColumns, mapping: MappingSpec) -> Iterator[_Field]:
    """The standard keys in the grammar's order, then the properties in the YAML's."""
    data = mapping.custom_data
    for name in type(data).model_fields:
        spec, path = getattr(data, name), f"custom_data.{name}"
        if name == "properties" or spec is None:
            continue
        yield _Field(name, path, _standard(columns, name, spec, path), custom=True)
    for name, spec in data.properties.items():
        path = f"custom_data.properties.{name}"
        _refuse_standard(name, path, type(data).model_fields)
        yield _Field(name, path, read_field(columns, spec, path, _property_kind(spec)), custom=True)


def _standard(columns: SourceColumns, name: str, spec: Any, path: str) -> Reading:
    if name == "contents":
        return read_contents(columns, spec, path)
    if name == "content_ids":
        return read_content_ids(columns, spec, path)
    return read_field(columns, spec, path, _CUSTOM_KINDS.get(name, "string"))


def _refuse_standard(name: str, path: str, standard: Any) -> None:
    if name in standard:
        raise ConfigError(f"{path}: {name} is a standard key; write it as custom_data.{name}")


def _property_kind(spec: FieldSpec) -> str:
    declared = spec.type or _CONSTANT_KINDS.get(type(spec.constant), "string")
    return declared if declared in _PROPERTY_KINDS else "string"


def _wire(values: pa.Array) -> pa.Array:
    """Instants as the seconds that Meta takes."""
    return pc.cast(values, pa.int64()) if kinds.is_timestamp(values.type) else values


# ---------------------------------------------------------------------------------------------- faults


def _faults(fields: Any, excused: pa.BooleanArray) -> Iterator[Fault]:
    """What is wrong with the rows that are not ``excused``; nothing for fields without a fault."""
    for field in fields:
        for reason, where in _causes(field):
            left = None if where is None else pc.and_not(where, excused)
            if left is not None and pc.any(left).as_py():
                yield Fault(reason, field.path, left)


def _causes(field: _Field) -> Iterator[tuple[Reason, pa.BooleanArray | None]]:
    unreadable = Reason.UNREADABLE_TIME if field.name == "event_time" else Reason.UNREADABLE_VALUE
    yield unreadable, field.reading.unreadable
    yield Reason.UNKNOWN_VALUE, field.reading.unknown
    if field.name in _REQUIRED and not field.custom:
        yield _REQUIRED[field.name], field.reading.missing if field.reading.values.null_count else None
