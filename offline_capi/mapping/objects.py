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
from offline_capi.mapping.fields import ID_KIND, Reading, combine_masks, read_field
from offline_capi.mapping.json_text import (
    MalformedError,
    build_json_object,
    dump_compact,
    is_list,
    map_distinct,
    parse_json_array,
    quote_text,
    render_json_lists,
    render_json_values,
    rewrite_distinct,
)
from offline_capi.meta.standard_events import standard_spelling

__all__ = ["OBJECTS", "Member", "as_wire_values", "read_members", "read_object"]


class Member(NamedTuple):
    """``key`` is Meta's, ``name`` the YAML's."""

    key: str
    name: str
    kind: str


def _make_members(kind: str, *keys: str) -> tuple[Member, ...]:
    return tuple(Member(key, key, kind) for key in keys)


DEVICE_KIND = "device"
DEVICE_VALUE_COUNT = 16  # D:parameters/app-data: all are required in this order, empty ones as ""
DEVICE_VERSIONS = ("a2", "i2")

OBJECTS: Mapping[str, tuple[Member, ...]] = {
    "original_event_data": (  # D:parameters/original-event
        Member("event_name", "name", "string"),
        Member("event_time", "time", "timestamp"),
        Member("order_id", "order_id", ID_KIND),
        Member("event_id", "id", ID_KIND),
    ),
    "app_data": (  # D:parameters/app-data; SDK app_data.py
        *_make_members("boolean", "advertiser_tracking_enabled", "application_tracking_enabled"),
        *_make_members(DEVICE_KIND, "extinfo"),
        *_make_members("string", "campaign_ids", "install_referrer", "installer_package", "url_schemes", "vendor_id"),
        *_make_members("string", "windows_attribution_id", "receipt_data"),
        *_make_members("boolean", "consider_views", "include_dwell_data", "include_video_data"),
    ),
    "attribution_data": (  # append-attribution reference; SDK attribution_data.py
        *_make_members(ID_KIND, "ad_id", "adset_id", "campaign_id"),
        *_make_members("string", "touchpoint_type"),
        *_make_members(ID_KIND, "touchpoint_id"),
        *_make_members("timestamp", "touchpoint_ts", "visit_time"),
        *_make_members("number", "attribution_share", "attribution_value", "total_credit"),
        *_make_members(
            "string", "attribution_model", "attribution_method", "attribution_setting", "attribution_source"
        ),
        *_make_members("integer", "attr_window"),
        *_make_members("string", "scope", "decline_reason", "auditing_token", "linkage_key", "partner_client_id"),
    ),
    "store_data": _make_members(ID_KIND, "store_page_id", "brand_page_id", "store_code"),  # D:offline-events
}


def read_object(columns: SourceColumns, node: Any, key: str, path: str) -> Reading:
    """The object that Meta calls ``key``, as ``node`` of the YAML describes it."""
    read = read_members(columns, node, OBJECTS[key], path)
    found = Reading(
        build_json_object({name: member.values for name, member in read.items()}),
        combine_masks(*(member.unreadable for member in read.values())),
        combine_masks(*(member.unknown for member in read.values())),
        combine_masks(*(member.damaged for member in read.values())),
    )
    return _require_pointer(found, read) if key == "original_event_data" else found


def _require_pointer(found: Reading, read: Mapping[str, Reading]) -> Reading:
    """Without an id there is no earlier event; an id without the name of its event is unreadable."""
    pointed = reduce(pc.or_, [read[key].values.is_valid() for key in ("order_id", "event_id") if key in read])
    values = pc.if_else(pointed, found.values, pa.scalar(None, pa.string()))
    return found._replace(
        values=values, unreadable=combine_masks(found.unreadable, pc.and_(pointed, read["event_name"].missing))
    )


def read_members(columns: SourceColumns, node: Any, members: Iterable[Member], path: str) -> dict[str, Reading]:
    """The members that the YAML maps, by Meta's key, as JSON text."""
    mapped = [(member, getattr(node, member.name)) for member in members if getattr(node, member.name) is not None]
    return {member.key: _read_member(columns, spec, f"{path}.{member.name}", member.kind) for member, spec in mapped}


def _read_member(columns: SourceColumns, spec: Any, path: str, kind: str) -> Reading:
    if kind == DEVICE_KIND:
        return _read_device(columns, spec, path)
    found = read_field(columns, spec, path, kind)
    if isinstance(spec, EventName) and not spec.exact:  # as the earlier event's own name was sent
        found = found._replace(values=map_distinct(found.values, standard_spelling))
    return found._replace(values=render_json_values(as_wire_values(found.values)))


def as_wire_values(values: pa.Array) -> pa.Array:
    """Instants as the seconds that Meta takes."""
    return pc.cast(values, pa.int64()) if kinds.is_timestamp(values.type) else values


# ---------------------------------------------------------------------------------------------- extinfo


def _read_device(columns: SourceColumns, specs: tuple[FieldSpec, ...], path: str) -> Reading:
    """A column that holds the array as JSON, or sixteen fields; nothing where all are empty."""
    if len(specs) == 1:
        return rewrite_distinct(_read_list(columns, specs[0], path), _render_device)
    read = [read_field(columns, spec, f"{path}[{index}]", "string") for index, spec in enumerate(specs)]
    texts = [quote_text(pc.fill_null(found.values, "")) for found in read]
    listed = pc.binary_join_element_wise("[", pc.binary_join_element_wise(*texts, ","), "]", "")
    there = reduce(pc.or_, [found.values.is_valid() for found in read])
    return rewrite_distinct(pc.if_else(there, listed, pa.scalar(None, pa.string())), _render_device)


def _read_list(columns: SourceColumns, spec: FieldSpec, path: str) -> pa.StringArray:
    if spec.column is not None and is_list(columns.get_values(spec.column).type):
        return render_json_lists(columns.get_values(spec.column))
    return read_field(columns, spec, path, "string").values


def _render_device(text: str) -> str:
    values = ["" if value is None else str(value) for value in parse_json_array(text)]
    if len(values) != DEVICE_VALUE_COUNT or values[0] not in DEVICE_VERSIONS:
        raise MalformedError("not sixteen values with a version first")
    return dump_compact(values)
