"""Objects of an event and limited data use: from columns to what Meta takes."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from tests.mapping.mapped import faults, mapped, source

DEVICE = ["i2", "com.shop", "1.0", "1.0 long", "13.4.1", "iPhone5,1", "en_US", "PDT", "", "320", "568", "2", "2", "13",
          "8", 'USA/"NY"']  # fmt: skip


def _event(**more):
    return {"name": "AppendValue", "id": "{id}", "action_source": "other", **more}


def _objects(rows, name):
    return [None if text is None else json.loads(text) for text in rows.event[name].to_pylist()]


def test_the_original_event_is_an_object_of_what_is_known_of_it():
    rows = mapped(
        source(order=["7", None, "9"], first=["a", "b", None], at2=["2026-11-19T10:00:00Z", None, None]),
        event=_event(original_event={"name": "Purchase", "id": "order-{first}", "order_id": "order", "time": "at2"}),
    )

    assert _objects(rows, "original_event_data") == [
        {"event_name": "Purchase", "event_time": 1795082400, "order_id": "7", "event_id": "order-a"},
        {"event_name": "Purchase", "event_id": "order-b"},
        {"event_name": "Purchase", "order_id": "9"},
    ]
    assert faults(rows) == []


def test_without_an_id_there_is_no_original_event_and_without_its_name_it_cannot_be_read():
    rows = mapped(
        source(what=["Purchase", None], first=[None, "b"]),
        event=_event(original_event={"name": {"column": "what"}, "id": "first"}),
    )

    assert _objects(rows, "original_event_data")[0] is None
    assert faults(rows) == [("unreadable_value", "event.original_event", [2])]


def test_members_that_cannot_be_read_are_faults_of_the_object():
    rows = mapped(
        source(share=["0.5", "half"]), event=_event(attribution_data={"ad_id": "id", "attribution_share": "share"})
    )

    assert _objects(rows, "attribution_data")[0] == {"ad_id": "7", "attribution_share": 0.5}
    assert faults(rows) == [("unreadable_value", "event.attribution_data", [2])]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([json.dumps(DEVICE), None]),
        pa.array([json.dumps([*DEVICE[:8], None, *DEVICE[9:]]), " "]),
        pa.array([DEVICE, None], pa.list_(pa.string())),
    ],
    ids=["text", "with a null", "list"],
)
def test_a_device_is_a_column_with_its_sixteen_values(column):
    rows = mapped(source(device=column), event=_event(app_data={"extinfo": "device"}))

    assert _objects(rows, "app_data") == [{"extinfo": DEVICE}, None]
    assert faults(rows) == []


def test_a_device_is_sixteen_fields_with_empty_texts_in_the_gaps():
    columns = {f"d{place}": [value or None, None] for place, value in enumerate(DEVICE)}

    rows = mapped(source(**columns), event=_event(app_data={"extinfo": list(columns)}))

    assert _objects(rows, "app_data") == [{"extinfo": DEVICE}, None]


@pytest.mark.parametrize("device", [DEVICE[:15], [*DEVICE, "x"], ["i3", *DEVICE[1:]], {"version": "i2"}, "i2"])
def test_another_shape_of_device_is_unreadable(device):
    rows = mapped(source(device=[json.dumps(device)]), event=_event(app_data={"extinfo": "device"}))

    assert faults(rows) == [("unreadable_value", "event.app_data", [1])]


# ---------------------------------------------------------------------------------------------- limited data use

LIMITED = "data_processing_options"


def _data_use(rows):
    columns = [rows.event[name].to_pylist() for name in (LIMITED, f"{LIMITED}_country", f"{LIMITED}_state")]
    return list(zip(*columns, strict=True))


def test_a_flag_limits_its_row_and_meta_finds_the_place():
    rows = mapped(source(ccpa=["yes", "no", None]), event=_event(limited_data_use="ccpa"))

    assert _data_use(rows) == [('["LDU"]', 0, 0), ("[]", None, None), (None, None, None)]


@pytest.mark.parametrize(
    ("state", "country_and_state"),
    [
        ("CA", (1, 1000)), ("california", (1, 1000)), ("co", (1, 1001)), ("Connecticut", (1, 1002)), ("FL", (1, 1003)),
        ("OR", (1, 1004)), ("TX", (1, 1005)), ("MT", (1, 1006)), ("DE", (1, 1007)), ("NE", (1, 1008)),
        ("new hampshire", (1, 1009)), ("NJ", (1, 1010)), ("MN", (1, 1011)), ("MD", (1, 1012)), ("RI", (1, 1013)),
        ("1013", (1, 1013)), ("NY", (1, 0)), ("New York", (1, 0)), ("0", (0, 0)), (None, (0, 0)),
    ],
)  # fmt: skip
def test_a_state_is_metas_number_and_implies_the_country(state, country_and_state):
    flag = {"when": {"constant": True}, "state": "state"}

    rows = mapped(source(state=pa.array([state], pa.string())), event=_event(limited_data_use=flag))

    assert _data_use(rows) == [('["LDU"]', *country_and_state)]


def test_what_cannot_be_read_is_never_taken_for_no_limits():
    rows = mapped(
        source(ccpa=["maybe", "true", "false"], state=["CA", "Bavaria", "Bavaria"]),
        event=_event(limited_data_use={"when": "ccpa", "state": "state"}),
    )

    assert faults(rows) == [
        ("unreadable_value", "event.limited_data_use", [1]),
        ("unknown_value", "event.limited_data_use", [2]),
    ]


# ---------------------------------------------------------------------------------------------- custom data


def test_a_custom_property_may_have_the_name_of_a_field_of_the_event():
    properties = {"client": {"constant": "gold"}, "event_id": {"constant": "x"}}

    rows = mapped(source(), custom_data={"properties": properties})

    assert (rows.client.to_pylist(), rows.event["event_id"].to_pylist()) == (["acme"], ["order-7"])
    assert {name: column.to_pylist() for name, column in rows.custom.items()} == {"client": ["gold"], "event_id": ["x"]}


def test_value_stays_the_text_that_it_is_where_the_upload_says_so():
    as_text = mapped(source(v=["50"]), custom_data={"value": {"column": "v", "type": "string"}})
    as_number = mapped(source(v=["50"]), custom_data={"value": "v"})

    assert (as_text.custom["value"].to_pylist(), as_number.custom["value"].to_pylist()) == (["50"], [50.0])


def test_status_is_a_flag_or_a_text():
    flag = mapped(source(s=["yes"]), custom_data={"status": {"column": "s", "type": "boolean"}})

    assert flag.custom["status"].to_pylist() == [True]
    assert mapped(source(s=["yes"]), custom_data={"status": "s"}).custom["status"].to_pylist() == ["yes"]
