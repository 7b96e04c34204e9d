"""A batch of source rows → the same rows under our field names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config import MappingSpec
from offline_capi.config.columns import find_field_specs, find_lookup, list_columns
from offline_capi.config.fields import FieldSpec
from offline_capi.config.mapping import Contents
from offline_capi.errors import ConfigError
from offline_capi.mapping.columns import SourceColumns, require_columns
from offline_capi.mapping.consent import find_without_consent
from offline_capi.mapping.contents import read_content_ids, read_contents
from offline_capi.mapping.data_use import read_data_use
from offline_capi.mapping.expectations import count_expectations
from offline_capi.mapping.fields import ID_KIND, Reading, read_field
from offline_capi.mapping.filtering import FirstRows, find_meant_rows
from offline_capi.mapping.ids import count_rounded_to_15
from offline_capi.mapping.lookups import LookupTable, count_absent_keys, join_lookups
from offline_capi.mapping.numerals import find_money_signs, read_currencies, read_numbers
from offline_capi.mapping.objects import OBJECTS, as_wire_values, read_object
from offline_capi.mapping.people import read_identity
from offline_capi.mapping.screening import Searched, find_unsendable
from offline_capi.mapping.text import as_text, is_text
from offline_capi.meta.catalogue import BARE_DOMAIN, EVENT_KEYS, LONG_ID_KEYS
from offline_capi.model import (
    DroppedValues,
    MappedRows,
    NotedValues,
    Reason,
    RowFault,
    RowPlacement,
    SourceRows,
    Window,
)
from offline_capi.runtime.border import is_code, near_misses, outside_map

__all__ = [
    "CUSTOM_KINDS",
    "EVENT_FIELDS",
    "EVENT_OBJECTS",
    "choose_time_spec",
    "find_placement",
    "inspect_row_times",
    "map_rows",
    "select_rows_in_window",
]


def map_rows(
    rows: SourceRows,
    mapping: MappingSpec,
    window: Window | None = None,
    *,
    lookups: Mapping[str, LookupTable] = MappingProxyType({}),
    firsts: FirstRows | None = None,
    until: datetime | None = None,
) -> MappedRows:
    """The rows of ``window`` under our field names: each row read is mapped, or counted in ``outside`` or ``filtered``.

    ``lookups`` are the tables of ``mapping.lookups`` by name. ``firsts`` remembers for ``first_of`` and ``unique`` what
    earlier batches of the run held; without it, this batch is all there is. ``until`` is the end of the run's window,
    for ``expect: fresh_within``; rows are selected by ``window`` alone.

    What a row becomes depends on the row alone (with ``first_of`` on the rows before it), never on its batch. Raises
    ``SourceSchemaError`` where a column is missing or can never hold its field, ``ConfigError`` where the YAML or the
    hook is at fault; a bad row is a fault in the result. A suppressed row has no faults; a line that could not be read
    is never suppressed, nor left out by a filter.
    """
    firsts = firsts or FirstRows()
    placed = _choose_rows(rows, mapping, window)
    columns, absent = _join_lookups(placed, rows, mapping, lookups)
    chosen = placed
    undecided: tuple[RowFault, ...] = ()
    if mapping.filter:
        meant = find_meant_rows(columns, mapping.filter, pc.or_(placed.malformed, placed.left_out), firsts)
        chosen = replace(placed, batch=columns.batch).select(meant.where)
        columns = SourceColumns(chosen.batch, rows.origin, mapping.window.timezone)
        undecided = tuple(replace(fault, where=fault.where.filter(meant.where)) for fault in meant.faults)
        absent = {name: where.filter(meant.where) for name, where in absent.items()}
    read = list(_read_all(columns, mapping))
    identity, dropped = read_identity(columns, mapping)
    suppressed = pc.and_not(pc.or_(find_without_consent(columns, mapping.consent), chosen.left_out), chosen.malformed)
    excused = pc.or_(suppressed, chosen.malformed)
    screened = [_screen(field, mapping, excused) for field in read]
    event = {one.field.name: one.field.reading.values for one in screened if not one.field.custom}
    return MappedRows(
        origin=rows.origin,
        row=chosen.numbers,
        client=event["client"],
        event={name: as_wire_values(event[name]) for name in EVENT_KEYS if name in event},
        identity=identity,
        custom={one.field.name: one.field.reading.values for one in screened if one.field.custom},
        suppressed=suppressed,
        faults=(
            *chosen.faults,
            *_list_unplaced(chosen, excused),
            *(replace(fault, where=pc.and_not(fault.where, excused)) for fault in undecided),
            *(fault for one in screened for fault in one.faults),
            *_list_faults(read, excused),
            *_find_other_currencies(read, columns, excused),
        ),
        outside=len(rows) - len(placed.numbers),
        dropped=(
            *dropped,
            *(drop for one in screened for drop in one.dropped),
            *_count_left_out(read, excused),
            *count_absent_keys(mapping, absent, excused),
        ),
        noted=tuple(_note_rounded_ids(columns, mapping)),
        expected=tuple(
            count_expectations(columns, mapping.expect, event["client"], chosen.malformed, firsts=firsts, until=until)
        )
        if mapping.expect
        else (),
        filtered=len(placed.numbers) - len(chosen.numbers),
    )


# ---------------------------------------------------------------------------------------------- which rows


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The rows of the window, after the hook: their numbers, what the source said of them, what the hook left out."""

    batch: pa.RecordBatch
    numbers: pa.Int64Array
    faults: tuple[RowFault, ...]
    left_out: pa.BooleanArray
    unplaced: RowFault | None = None
    #: Those of ``batch``, where some were read already.
    columns: SourceColumns | None = None

    @property
    def malformed(self) -> pa.BooleanArray:
        """Where the source could not read the line."""
        found = pa.repeat(pa.scalar(False), len(self.numbers))
        for fault in self.faults:
            found = pc.or_(found, fault.where)
        return found

    def select(self, mask: pa.BooleanArray) -> _Chosen:
        faults = tuple(RowFault(fault.reason, fault.field, fault.where.filter(mask)) for fault in self.faults)
        unplaced = self.unplaced and replace(self.unplaced, where=self.unplaced.where.filter(mask))
        left_out = self.left_out.filter(mask)
        return _Chosen(self.batch.filter(mask), self.numbers.filter(mask), faults, left_out, unplaced)


def _choose_rows(rows: SourceRows, mapping: MappingSpec, window: Window | None) -> _Chosen:
    """The window first, where its column is in the source, so that a hook sees only the rows of the run."""
    chosen = _Chosen(rows.batch, rows.row_numbers, rows.faults, pa.repeat(pa.scalar(False), len(rows)))
    if mapping.transform is None:
        require_columns(mapping, rows.batch.schema.names, rows.origin)
        return _keep_inside(chosen, rows, mapping, window)
    early = set(mapping.window.columns) <= set(rows.batch.schema.names)
    hooked = _apply_hook(_keep_inside(chosen, rows, mapping, window) if early else chosen, mapping, rows.origin)
    return hooked if early else _keep_inside(hooked, rows, mapping, window)


def _join_lookups(
    chosen: _Chosen, rows: SourceRows, mapping: MappingSpec, lookups: Mapping[str, LookupTable]
) -> tuple[SourceColumns, dict[str, pa.BooleanArray]]:
    """The columns with those of the lookups, and where a lookup has no row for a key."""
    columns = chosen.columns or SourceColumns(chosen.batch, rows.origin, mapping.window.timezone)
    if not mapping.lookups:
        return columns, {}
    batch, absent = join_lookups(columns, mapping, lookups)
    return SourceColumns(batch, rows.origin, mapping.window.timezone), absent


def _apply_hook(chosen: _Chosen, mapping: MappingSpec, origin: str) -> _Chosen:
    from offline_capi.mapping.transform import apply_hook  # pandas, which a process without hooks does without

    batch, left_out = apply_hook(chosen.batch, chosen.numbers, mapping.transform or "")
    require_columns(mapping, batch.schema.names, origin)
    return replace(chosen, batch=batch, left_out=left_out, columns=None)


def _keep_inside(chosen: _Chosen, rows: SourceRows, mapping: MappingSpec, window: Window | None) -> _Chosen:
    """Without the rows whose time lies outside. Where that is undecidable, the row stays and has a fault."""
    if window is None:
        return chosen
    spec, path = _choose_window_spec(mapping)
    columns = SourceColumns(chosen.batch, rows.origin, mapping.window.timezone)
    time = _read_window_times(columns, mapping)
    since, until = (int(end.timestamp()) for end in (window.since, window.until))
    inside = pc.fill_null(pc.and_(pc.greater_equal(time, since), pc.less(time, until)), True)
    if time.null_count and mapping.event.time not in (None, spec):  # else it is the event's own time that is missing
        unplaced = RowFault(Reason.UNREADABLE_WINDOW, path, pc.and_not(time.is_null(), chosen.malformed))
        chosen = replace(chosen, unplaced=unplaced)
    all_inside = pc.all(inside).as_py() in (True, None)
    return replace(chosen, columns=columns) if all_inside else chosen.select(inside)


def _read_window_times(columns: SourceColumns, mapping: MappingSpec) -> pa.Int64Array:
    """UTC seconds of what assigns rows to a window, null where it cannot be read."""
    return as_wire_values(read_field(columns, *_choose_window_spec(mapping), "timestamp").values)


def find_placement(mapping: MappingSpec) -> RowPlacement:
    """By which columns rows are assigned to a window, for a source that can push it down."""
    spec, _ = _choose_window_spec(mapping)
    plain = {"column", "type", "format", "unit", "timezone"}
    changed = {name for name, value in spec if value != FieldSpec.model_fields[name].default} - plain
    as_it_is = spec.column is not None and spec.type in (None, "timestamp") and not changed
    return RowPlacement(
        tuple(spec.columns),
        lambda batch: _read_window_times(SourceColumns(batch, "", mapping.window.timezone), mapping),
        spec.column if as_it_is else None,
        spec.timezone or mapping.window.timezone,
    )


def select_rows_in_window(
    rows: SourceRows, mapping: MappingSpec, window: Window | None
) -> tuple[pa.RecordBatch, pa.Int64Array]:
    """The rows of ``window`` as the source gave them, and their numbers; all where a hook computes their time."""
    chosen = _Chosen(rows.batch, rows.row_numbers, rows.faults, pa.repeat(pa.scalar(False), len(rows)))
    if set(mapping.window.columns) <= set(rows.batch.schema.names):
        chosen = _keep_inside(chosen, rows, mapping, window)
    return chosen.batch, chosen.numbers


class PlacedRows(NamedTuple):
    """By what rows are placed in time (a path of the YAML), of how many rows it was there, and of how many readable."""

    path: str
    filled: int
    readable: int


def inspect_row_times(rows: SourceRows, mapping: MappingSpec) -> PlacedRows:
    """How many rows have a usable time, before the window is applied. Only the window's columns are read."""
    columns = SourceColumns(rows.batch, rows.origin, mapping.window.timezone)
    spec, path = _choose_window_spec(mapping)
    reading = read_field(columns, spec, path, "timestamp")
    readable = len(reading.values) - reading.values.null_count
    lost = 0 if reading.unreadable is None else pc.sum(reading.unreadable).as_py()
    return PlacedRows(path, readable + lost, readable)


def choose_time_spec(mapping: MappingSpec) -> FieldSpec:
    window = mapping.window
    if mapping.event.time is not None:
        return mapping.event.time
    return FieldSpec(column=window.column, template=window.template, format=window.format, unit=window.unit)


def _choose_window_spec(mapping: MappingSpec) -> tuple[FieldSpec, str]:
    """As the window declares; one that declares nothing is read as ``event.time`` where that is of the same column.

    Or of a template with that column in it, as ``{Date} {Time}``: the day of the whole is the day of its part.
    """
    window, time = mapping.window, mapping.event.time
    looked_up = time is not None and any(find_lookup(column, mapping) for column in time.columns)  # joined later
    if time is not None and not (window.format or window.unit or looked_up):
        is_same = (time.column, time.template) == (window.column, window.template)
        if is_same or (time.template is not None and set(window.columns) <= set(time.columns)):
            return time, "event.time"
    own = FieldSpec(column=window.column, template=window.template, format=window.format, unit=window.unit)
    return own, "window.column" if window.column else "window.template"


# ---------------------------------------------------------------------------------------------- fields


class _Field(NamedTuple):
    """One field of ours as it was read. ``path`` is where the YAML says how."""

    name: str
    path: str
    reading: Reading
    custom: bool = False
    spec: Any = None
    signs: pa.StringArray | None = None
    not_finite: pa.BooleanArray | None = None
    codes: pa.StringArray | None = None


# Wire name (D:parameters/server-event) → its key under ``event`` and its type.
EVENT_FIELDS = (
    ("event_time", "time", "timestamp"),
    ("event_id", "id", ID_KIND),
    ("event_name", "name", "string"),
    ("action_source", "action_source", "string"),
    ("event_source_url", "source_url", "string"),
    ("referrer_url", "referrer_url", "string"),
    ("opt_out", "opt_out", "boolean"),
    ("messaging_channel", "messaging_channel", "string"),
    ("customer_segmentation", "customer_segmentation", "string"),
    ("advanced_measurement_table", "advanced_measurement_table", "string"),
)

# Objects of the event, by wire name: their key under ``event``.
EVENT_OBJECTS = (
    ("original_event_data", "original_event"),
    ("app_data", "app_data"),
    ("attribution_data", "attribution_data"),
)

# D:parameters/custom-data. All others are text.
CUSTOM_KINDS = {
    "value": "number",
    "predicted_ltv": "number",
    "net_revenue": "number",
    "num_items": "integer",
    "order_id": ID_KIND,
    "item_number": ID_KIND,
}

# What these declare, or are as constants, custom properties keep; all others are text.
_PROPERTY_KINDS = {"number", "integer", "boolean"}
_DECLARED_KINDS = {"money": "number"}
_CONSTANT_KINDS = {bool: "boolean", int: "integer", float: "number"}

_REQUIRED = {
    "event_time": Reason.MISSING_TIME,
    "event_id": Reason.MISSING_EVENT_ID,
    "event_name": Reason.MISSING_VALUE,
    "action_source": Reason.MISSING_VALUE,
}


def _read_all(columns: SourceColumns, mapping: MappingSpec) -> Iterator[_Field]:
    """Client and event first, then custom data: the first fault of a row is the one reported."""
    yield _Field("client", "client", _read_client(columns, mapping.client))
    yield from _read_event_fields(columns, mapping)
    yield from _read_custom_fields(columns, mapping)


def _read_client(columns: SourceColumns, spec: FieldSpec) -> Reading:
    """Whose each row is. A value outside of the map is nobody's: it never reads as the name of a client.

    Here it may still be anything, a person's name too; ``border.NearMisses`` says what of it is ever named.
    """
    read = read_field(columns, spec, "client", "string", only_keys=True)
    forged = pc.ends_with(read.values, outside_map(""))
    values = pc.if_else(forged, None, read.values) if pc.any(forged).as_py() else read.values
    named = values if read.unknown is None else pc.if_else(read.unknown, _mark_unmapped(columns, spec), values)
    return Reading(named, read.unreadable)


def _mark_unmapped(columns: SourceColumns, spec: FieldSpec) -> pa.StringArray:
    """A mark where the map lacks the value: with the value where that is a key of the map misspelt."""
    said = read_field(columns, spec.model_copy(update={"map": None, "default": None}), "client", "string").values
    distinct = said.dictionary_encode()
    near = near_misses(frozenset(spec.map or ()))
    marked = [outside_map(near.named(text)) for text in distinct.dictionary.to_pylist()]
    return pc.fill_null(pa.array(marked, pa.string()).take(distinct.indices), outside_map(None))


def _read_event_fields(columns: SourceColumns, mapping: MappingSpec) -> Iterator[_Field]:
    for name, key, kind in EVENT_FIELDS:
        spec = choose_time_spec(mapping) if key == "time" else getattr(mapping.event, key)
        path = _choose_window_spec(mapping)[1] if key == "time" and mapping.event.time is None else f"event.{key}"
        if spec is not None:
            reading = read_field(columns, spec, path, kind)
            yield _Field(name, path, reading, spec=spec, codes=_unknown_codes(columns, spec, reading, mapping))
    for name, key in EVENT_OBJECTS:
        if (node := getattr(mapping.event, key)) is not None:
            yield _Field(name, f"event.{key}", read_object(columns, node, name, f"event.{key}"), spec=node)
    if mapping.event.limited_data_use is not None:
        path = "event.limited_data_use"
        read = read_data_use(columns, mapping.event.limited_data_use, path)
        yield from (_Field(name, path, reading) for name, reading in read.items())


def _read_custom_fields(columns: SourceColumns, mapping: MappingSpec) -> Iterator[_Field]:
    """The standard keys in the grammar's order, then the properties in the YAML's."""
    data = mapping.custom_data
    for name in type(data).model_fields:
        spec, path = getattr(data, name), f"custom_data.{name}"
        if name == "properties" or spec is None:
            continue
        reading = _read_standard(columns, name, spec, path)
        signs, no_numbers = (
            _find_money_signs(columns, name, spec, reading),
            _find_not_finite(columns, name, spec, reading),
        )
        codes = _unknown_codes(columns, spec, reading, mapping)
        yield _Field(name, path, reading, custom=True, spec=spec, signs=signs, not_finite=no_numbers, codes=codes)
    for name, spec in data.properties.items():
        path = f"custom_data.properties.{name}"
        _refuse_standard(name, path, type(data).model_fields)
        yield _Field(name, path, read_field(columns, spec, path, _choose_property_kind(spec)), custom=True, spec=spec)


#: Of one batch and field; a column that mixes more is reported by the first of them.
MAX_SIGNS = 20
#: A column with more different values outside of its map holds no codes.
MAX_UNKNOWN_CODES = 12


def _unknown_codes(columns: SourceColumns, spec: Any, reading: Reading, mapping: MappingSpec) -> pa.StringArray | None:
    """The values that the field's map lacks, where the column holds codes and is no column of ``user_data``."""
    if reading.unknown is None or not isinstance(spec, FieldSpec) or not (spec.map and spec.column):
        return None
    if not pc.any(reading.values.is_valid()).as_py():  # no row is in the map: nobody knows what the column holds
        return None
    if spec.column in {name for specs in mapping.user_data.values() for one in specs for name in one.columns}:
        return None
    texts = pc.if_else(reading.unknown, pc.utf8_trim_whitespace(as_text(columns.get_values(spec.column))), None)
    found = pc.unique(texts.drop_null()).to_pylist()
    if len(found) > MAX_UNKNOWN_CODES or spec.text:
        return None
    return pc.if_else(pc.is_in(texts, value_set=pa.array(list(filter(is_code, found)), pa.string())), texts, None)


def _find_money_signs(columns: SourceColumns, name: str, spec: Any, reading: Reading) -> pa.StringArray | None:
    """For an amount that cannot be read: the currency sign in it, where ``type: money`` would read it."""
    is_amount = isinstance(spec, FieldSpec) and CUSTOM_KINDS.get(name) == "number" and spec.column is not None
    if reading.unreadable is None or not is_amount or spec.text:
        return None
    values, where = columns.get_values(spec.column), reading.unreadable
    if not is_text(values) or spec.type not in (None, "number"):
        return None
    signs = find_money_signs(values.filter(where))
    return pc.replace_with_mask(pa.nulls(len(values), pa.string()), pc.fill_null(where, False), signs)


def _find_not_finite(columns: SourceColumns, name: str, spec: Any, reading: Reading) -> pa.BooleanArray | None:
    """Where a number cannot be read because it is NaN or infinite, as databases and pandas write what they computed."""
    is_number = isinstance(spec, FieldSpec) and CUSTOM_KINDS.get(name) in ("number", "integer")
    if reading.unreadable is None or not is_number or spec.column is None:
        return None
    values, where = columns.get_values(spec.column), pc.fill_null(reading.unreadable, False)
    if is_text(values):
        found = pc.match_substring_regex(values.filter(where), r"(?i)^\s*[+-]?(nan|inf(inity)?)\s*$")
        return pc.replace_with_mask(where, where, pc.fill_null(found, False))
    return pc.fill_null(pc.invert(pc.is_finite(values)), False) if pa.types.is_floating(values.type) else None


def _read_standard(columns: SourceColumns, name: str, spec: Any, path: str) -> Reading:
    if name == "contents":
        return read_contents(columns, spec, path)
    if name == "content_ids":
        return read_content_ids(columns, spec, path)
    if name in OBJECTS:
        return read_object(columns, spec, name, path)
    found = read_field(columns, spec, path, _choose_custom_kind(name, spec))
    return _drop_negatives(found) if name in _NOT_NEGATIVE and not spec.allow_negative else found


#: Meta's own uploaders refuse these below zero (meta-capi.md 15, on 3.1). A profit (net_revenue) may be a loss.
_NOT_NEGATIVE = ("value", "num_items", "predicted_ltv")


def _drop_negatives(found: Reading) -> Reading:
    """The same without finite values below zero."""
    if is_text(found.values) and not pc.any(pc.starts_with(found.values, "-")).as_py():
        return found
    if not is_text(found.values):
        least = pc.min(found.values).as_py()
        if least is None or least >= 0:
            return found
    numbers = read_numbers(found.values, ".")
    below = pc.fill_null(pc.less(numbers, 0), False)
    if not pc.any(below).as_py():
        return found
    below = pc.and_(below, pc.is_finite(pc.cast(numbers, pa.float64(), safe=False))).fill_null(False)
    return found._replace(values=pc.if_else(below, pa.scalar(None, found.values.type), found.values), negative=below)


def _choose_custom_kind(name: str, spec: FieldSpec) -> str:
    """Meta takes a flag or a text as ``status``, and its own samples write ``value`` as text: so may an upload."""
    if name == "status":
        return _choose_property_kind(spec)
    return "string" if name == "value" and spec.type == "string" else CUSTOM_KINDS.get(name, "string")


def _refuse_standard(name: str, path: str, standard: Any) -> None:
    if name in standard:
        raise ConfigError(f"{path}: {name} is a standard key; write it as custom_data.{name}")


def _choose_property_kind(spec: FieldSpec) -> str:
    declared = spec.type or _CONSTANT_KINDS.get(type(spec.constant), "string")
    declared = _DECLARED_KINDS.get(declared, declared)
    return declared if declared in _PROPERTY_KINDS else "string"


# ---------------------------------------------------------------------------------------------- what must never be sent

# How the standard fields are searched; Meta's fixed values, which are compared with a list later, are not.
_SEARCHED = {
    "event_name": Searched.TEXT,
    "event_id": Searched.EVENT_IDS,
    "event_source_url": Searched.ADDRESS,
    "referrer_url": Searched.ADDRESS,
    **dict.fromkeys((name for name, _ in EVENT_OBJECTS), Searched.IDS),
    "order_id": Searched.EVENT_IDS,
    **dict.fromkeys(("item_number", "content_ids", "store_data"), Searched.IDS),
    **dict.fromkeys(("content_name", "content_category", "search_string", "status"), Searched.TEXT),
    "lead_event_source": Searched.TEXT,
    "contents": Searched.ITEMS,
}


class _Screened(NamedTuple):
    """A field without what must never be sent, and what was done about it."""

    field: _Field
    faults: tuple[RowFault, ...] = ()
    dropped: tuple[DroppedValues, ...] = ()


def _screen(field: _Field, mapping: MappingSpec, excused: pa.BooleanArray) -> _Screened:
    """Neither events nor rejections get such a value: it is gone from the field also where its row is invalid."""
    searched = _search_of(field, mapping)
    finds = find_unsendable(field.reading.values, searched) if searched else []
    if not finds:
        return _Screened(field)
    clean = _remove_found(field.reading.values, reduce(pc.or_, [find.where for find in finds]), searched)
    cleaned = field._replace(reading=Reading(clean))
    counted = [find._replace(where=pc.and_not(find.where, excused)) for find in finds]
    if field.name in _REQUIRED or mapping.screening.found == "reject":
        return _Screened(cleaned, tuple(RowFault(Reason.FORBIDDEN_DATA, field.path, find.where) for find in counted))
    label = " + ".join(list_columns(field.spec))
    drops = [DroppedValues(field.path, label, find.shape, pc.sum(find.where).as_py()) for find in counted]
    return _Screened(cleaned, dropped=tuple(drop for drop in drops if drop.count))


def _search_of(field: _Field, mapping: MappingSpec) -> Searched | None:
    """``None`` where no row of the source can put a text into the field."""
    if not is_text(field.reading.values) or not _is_from_rows(field.spec):
        return None
    if field.name in mapping.custom_data.properties and field.custom:
        return Searched.IDS if field.name in mapping.screening.ids else Searched.TEXT
    wordless = isinstance(field.spec, Contents) and not field.spec.has_words
    return Searched.IDS if wordless else _SEARCHED.get(field.name)


def _is_from_rows(spec: Any) -> bool:
    """Whether values come as they stand in the source: a constant or the values of a map are the YAML's own."""
    if not isinstance(spec, FieldSpec):
        return spec is not None
    return spec.map is None and (spec.coalesce is not None or spec.constant is None)


def _remove_found(values: pa.StringArray, where: pa.BooleanArray, searched: Searched | None) -> pa.StringArray:
    """Nothing where such a value is; of an address its domain."""
    nothing = pa.scalar(None, pa.string())
    rest = pc.replace_substring_regex(values, *BARE_DOMAIN) if searched is Searched.ADDRESS else nothing
    changed = rest if rest is nothing else pc.if_else(pc.equal(rest, values), nothing, rest)
    return pc.if_else(where, changed, values)


# ---------------------------------------------------------------------------------------------- faults


def _list_unplaced(chosen: _Chosen, excused: pa.BooleanArray) -> Iterator[RowFault]:
    """Rows that cannot be assigned to a window."""
    if chosen.unplaced is not None:
        where = pc.and_not(chosen.unplaced.where, excused)
        if pc.any(where).as_py():
            yield replace(chosen.unplaced, where=where)


def _list_faults(fields: Any, excused: pa.BooleanArray) -> Iterator[RowFault]:
    """What is wrong with the rows that are not ``excused``; nothing for fields without a fault."""
    for field in fields:
        for reason, path, where in _list_causes(field):
            left = None if where is None else pc.and_not(where, excused)
            if left is not None and pc.any(left).as_py():
                yield RowFault(reason, path, left)


def _list_causes(field: _Field) -> Iterator[tuple[Reason, str, pa.BooleanArray | None]]:
    """Why rows cannot go, in which field, and which; nothing of what is left out."""
    if not _is_left_out(field):
        unreadable = field.reading.unreadable
        if field.name == "event_time":
            yield Reason.UNREADABLE_TIME, field.path, unreadable
        else:
            yield from _list_signs(field)
            yield Reason.NOT_FINITE, field.path, field.not_finite
            yield Reason.UNREADABLE_VALUE, field.path, unreadable
        if field.codes is not None:
            for code in sorted(pc.unique(field.codes.drop_null()).to_pylist()):
                where = pc.fill_null(pc.equal(field.codes, code), False)
                yield Reason.UNKNOWN_VALUE, f'{field.path} with "{code}"', where
        unknown = field.reading.unknown
        if unknown is not None and field.codes is not None:
            unknown = pc.and_(unknown, field.codes.is_null())
        yield Reason.UNKNOWN_VALUE, field.path, unknown
        yield Reason.DAMAGED_ID, field.path, field.reading.damaged
        yield Reason.NEGATIVE_VALUE, field.path, field.reading.negative
        yield Reason.UNREADABLE_VALUE, field.path, field.reading.reduced
    if field.name in _REQUIRED and not field.custom:
        yield _REQUIRED[field.name], field.path, field.reading.missing if field.reading.values.null_count else None


def _list_signs(field: _Field) -> Iterator[tuple[Reason, str, pa.BooleanArray | None]]:
    """Amounts with a currency sign that ``type: money`` would read, by sign."""
    if field.signs is None or field.reading.unreadable is None:
        return
    for sign in pc.unique(field.signs.filter(field.reading.unreadable)).drop_null().to_pylist()[:MAX_SIGNS]:
        where = pc.and_(field.reading.unreadable, pc.fill_null(pc.equal(field.signs, sign), False))
        yield Reason.MONEY_SIGN, f'{field.path} with "{sign}"', where


def _find_other_currencies(
    fields: Iterable[_Field], columns: SourceColumns, excused: pa.BooleanArray
) -> Iterator[RowFault]:
    """Amounts whose own sign says another currency than the event: 12.50 € is no 12.50 dollars."""
    custom = {field.name: field for field in fields if field.custom}
    value, currency = custom.get("value"), custom.get("currency")
    if value is None or currency is None or value.spec.type != "money" or value.spec.column is None:
        return
    texts = columns.get_values(value.spec.column)
    if not is_text(texts):
        return
    said = read_currencies(texts)
    where = pc.fill_null(pc.not_equal(said, pc.utf8_upper(currency.reading.values)), False)
    if pc.any(where := pc.and_not(where, excused)).as_py():
        yield RowFault(Reason.OTHER_CURRENCY, value.path, where)


# ---------------------------------------------------------------------------------------------- ids of spreadsheets


def _note_rounded_ids(columns: SourceColumns, mapping: MappingSpec) -> Iterator[NotedValues]:
    """Columns of ids in which every long number ends in zeros, as a spreadsheet leaves them (15 digits)."""
    specs = [(path, getattr(section, name)) for path, section, name in (
        ("event.id", mapping.event, "id"),
        ("custom_data.order_id", mapping.custom_data, "order_id"),
        ("custom_data.item_number", mapping.custom_data, "item_number"),
    )]  # fmt: skip
    specs += [(key, spec) for key in LONG_ID_KEYS for spec in mapping.user_data.get(key, ()) if not spec.hashed]
    for path, spec in specs:
        for name in () if spec is None else spec.columns:
            values = columns.get_values(name)
            if (is_text(values) or pa.types.is_integer(values.type)) and (
                count := count_rounded_to_15(as_text(values))
            ):
                yield NotedValues(path, name, "rounded_15", count)


# ---------------------------------------------------------------------------------------------- what is left out

#: An event counts and pays by these: without them it would be another event.
_NEVER_LEFT_OUT = ("value", "currency")


def _is_left_out(field: _Field) -> bool:
    """Whether the event goes without a value of the field that cannot be read."""
    asked = {on_error for _, spec in find_field_specs(field.spec, ()) if (on_error := spec.on_error)}
    asked |= {field.spec.on_error} if isinstance(field.spec, Contents) and field.spec.on_error else set()
    if asked:
        return field.custom and "reject" not in asked
    return field.custom and field.name not in _NEVER_LEFT_OUT


def _count_left_out(fields: Iterable[_Field], excused: pa.BooleanArray) -> Iterator[DroppedValues]:
    for field in fields:
        if not _is_left_out(field):
            continue
        reading = field.reading
        for cause, where in (
            ("unreadable", reading.unreadable),
            ("unknown", reading.unknown),
            ("damaged", reading.damaged),
            ("in part", reading.reduced),
            ("negative", reading.negative),
        ):
            count = 0 if where is None else pc.sum(pc.and_not(where, excused)).as_py()
            if count:
                yield DroppedValues(field.path, " + ".join(list_columns(field.spec)), cause, count)
