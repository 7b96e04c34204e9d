"""Objects inside an event: strings that hold JSON objects, put together column by column, null where nothing is.

Each is a table of its members: Meta's key, our key in the YAML and the type. Members without a value are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.config.fields import EventName, FieldSpec
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.fields import ID, Reading, either, read_field
from offline_capi.mapping.json_text import (
    MalformedError,
    compact,
    is_list,
    json_array,
    json_object,
    json_of_lists,
    json_values,
    of_distinct,
    quoted,
    rewritten,
)
from offline_capi.meta.standard_events import standard_spelling

__all__ = ["OBJECTS", "Member", "read_members", "read_object", "wire"]


class Member(NamedTuple):
    """``key`` is Meta's, ``name`` the YAML's."""

    key: str
    name: str
    kind: str


def _same(kind: str, *keys: str) -> tuple[Member, ...]:
    return tuple(Member(key, key, kind) for key in keys)


DEVICE = "device"
DEVICE_VALUES = 16  # D:parameters/app-data: all are required in this order, empty ones as ""
DEVICE_VERSIONS = ("a2", "i2")

OBJECTS: Mapping[str, tuple[Member, ...]] = {
    "original_event_data": (  # D:parameters/original-event
        Member("event_name", "name", "string"),
        Member("event_time", "time", "timestamp"),
        Member("order_id", "order_id", ID),
        Member("event_id", "id", ID),
    ),
    "app_data": (  # D:parameters/app-data; SDK app_data.py
        *_same("boolean", "advertiser_tracking_enabled", "application_tracking_enabled"),
        *_same(DEVICE, "extinfo"),
        *_same("string", "campaign_ids", "install_referrer", "installer_package", "url_schemes", "vendor_id"),
        *_same("string", "windows_attribution_id", "receipt_data"),
        *_same("boolean", "consider_views", "include_dwell_data", "include_video_data"),
    ),
    "attribution_data": (  # append-attribution reference; SDK attribution_data.py
        *_same(ID, "ad_id", "adset_id", "campaign_id"),
        *_same("string", "touchpoint_type"),
        *_same(ID, "touchpoint_id"),
        *_same("timestamp", "touchpoint_ts", "visit_time"),
        *_same("number", "attribution_share", "attribution_value", "total_credit"),
        *_same("string", "attribution_model", "attribution_method", "attribution_setting", "attribution_source"),
        *_same("integer", "attr_window"),
        *_same("string", "scope", "decline_reason", "auditing_token", "linkage_key", "partner_client_id"),
    ),
    "store_data": _same(ID, "store_page_id", "brand_page_id", "store_code"),  # D:offline-events
}


def read_object(columns: SourceColumns, node: Any, key: str, path: str) -> Reading:
    """The object that Meta calls ``key``, as ``node`` of the YAML describes it."""
    read = read_members(columns, node, OBJECTS[key], path)
    found = Reading(
        json_object({name: member.values for name, member in read.items()}),
        either(*(member.unreadable for member in read.values())),
        either(*(member.unknown for member in read.values())),
        either(*(member.damaged for member in read.values())),
    )
    return _pointing(found, read) if key == "original_event_data" else found


def _pointing(found: Reading, read: Mapping[str, Reading]) -> Reading:
    """Without an id there is no earlier event; an id without the name of its event is unreadable."""
    pointed = reduce(pc.or_, [read[key].values.is_valid() for key in ("order_id", "event_id") if key in read])
    values = pc.if_else(pointed, found.values, pa.scalar(None, pa.string()))
    return found._replace(
        values=values, unreadable=either(found.unreadable, pc.and_(pointed, read["event_name"].missing))
    )


def read_members(columns: SourceColumns, node: Any, members: Iterable[Member], path: str) -> dict[str, Reading]:
    """The members that the YAML maps, by Meta's key, as JSON text."""
    mapped = [(member, getattr(node, member.name)) for member in members if getattr(node, member.name) is not None]
    return {member.key: _member(columns, spec, f"{path}.{member.name}", member.kind) for member, spec in mapped}


def _member(columns: SourceColumns, spec: Any, path: str, kind: str) -> Reading:
    if kind == DEVICE:
        return _device(columns, spec, path)
    found = read_field(columns, spec, path, kind)
    if isinstance(spec, EventName) and not spec.exact:  # as the earlier event's own name was sent
        found = found._replace(values=of_distinct(found.values, standard_spelling))
    return found._replace(values=json_values(wire(found.values)))


def wire(values: pa.Array) -> pa.Array:
    """Instants as the seconds that Meta takes."""
    return pc.cast(values, pa.int64()) if kinds.is_timestamp(values.type) else values


# ---------------------------------------------------------------------------------------------- extinfo


def _device(columns: SourceColumns, specs: tuple[FieldSpec, ...], path: str) -> Reading:
    """A column that holds the array as JSON, or sixteen fields; nothing where all are empty."""
    if len(specs) == 1:
        return rewritten(_listed(columns, specs[0], path), _device_values)
    read = [read_field(columns, spec, f"{path}[{place}]", "string") for place, spec in enumerate(specs)]
    texts = [quoted(pc.fill_null(found.values, "")) for found in read]
    listed = pc.binary_join_element_wise("[", pc.binary_join_element_wise(*texts, ","), "]", "")
    there = reduce(pc.or_, [found.values.is_valid() for found in read])
    return rewritten(pc.if_else(there, listed, pa.scalar(None, pa.string())), _device_values)


def _listed(columns: SourceColumns, spec: FieldSpec, path: str) -> pa.StringArray:
    if spec.column is not None and is_list(columns.values(spec.column).type):
        return json_of_lists(columns.values(spec.column))
    return read_field(columns, spec, path, "string").values


def _device_values(text: str) -> str:
    values = ["" if value is None else str(value) for value in json_array(text)]
    if len(values) != DEVICE_VALUES or values[0] not in DEVICE_VERSIONS:
        raise MalformedError("not sixteen values with a version first")
    return compact(values)
