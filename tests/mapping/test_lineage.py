"""Which columns each field comes from: every parameter that Meta knows is traced, and each as it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from offline_capi.config import MappingSpec
from offline_capi.config.columns import list_named_columns
from offline_capi.mapping.lineage import trace_mapping
from offline_capi.meta.catalogue import USER_DATA_KEYS
from tests.events.test_every_parameter import CUSTOM, EVENT, LEAST


def list_leaves(event: dict[str, Any], before: str = "") -> Iterator[str]:
    for name, value in event.items():
        if isinstance(value, dict):
            yield from list_leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"


@pytest.mark.parametrize(
    ("section", "yaml", "sent"),
    [("event", yaml, sent) for yaml, _, sent in EVENT] + [("custom_data", yaml, sent) for yaml, _, sent in CUSTOM],
)
def test_every_field_that_is_sent_has_its_columns(section: str, yaml: dict[str, Any], sent: dict[str, Any]):
    mapping = MappingSpec.model_validate({**LEAST, section: {**LEAST.get(section, {}), **yaml}})
    before = "custom_data." if section == "custom_data" else ""

    traced = trace_mapping(mapping)

    assert {*list_leaves(sent, before)} <= {*traced.fields}
    named = {*list_named_columns(mapping)}
    assert {name for field in traced.fields.values() for name in field.columns} | {*traced.filters} == named
    assert "c" not in named or any("c" in traced.fields[name].columns for name in list_leaves(sent, before))


def test_every_key_of_user_data_is_traced():
    mapping = MappingSpec.model_validate({**LEAST, "user_data": {key: f"my_{key}" for key in USER_DATA_KEYS}})

    fields = trace_mapping(mapping).fields

    assert {name: fields[name].columns for name in fields if name.startswith("user_data.")} == {
        f"user_data.{key}": (f"my_{key}",) for key in USER_DATA_KEYS
    }


def test_a_value_that_only_passes_is_told_from_one_that_changes():
    custom = {
        "order_id": "a",
        "item_number": {"column": "a", "text": ["trim"]},
        "value": "b",
        "currency": {"column": "c"},
        "content_name": {"column": "d", "map": {"x": "y"}},
        "content_category": {"column": "d", "on_error": "leave_out"},
        "status": {"coalesce": ["d", "e"]},
    }

    fields = trace_mapping(MappingSpec.model_validate({**LEAST, "custom_data": custom})).fields

    assert [name for name, field in fields.items() if field.unchanged] == [
        "custom_data.order_id",
        "custom_data.content_category",
    ]
    assert fields["custom_data.status"].columns == ("d", "e")


def test_what_decides_about_rows_is_the_client_the_window_consent_and_filters():
    mapping = MappingSpec.model_validate(
        {
            **LEAST,
            "client": {"column": "shop", "map": {"a": "acme"}},
            "consent": {"column": "consent", "equals": "yes"},
            "filter": [{"column": "state", "equals": "paid"}, {"first_of": ["id", "line"]}],
        }
    )

    assert trace_mapping(mapping).filters == ("shop", "at", "consent", "state", "id", "line")
    assert trace_mapping(mapping, by_window=False).filters == ("shop", "consent", "state", "id", "line")
