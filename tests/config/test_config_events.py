"""What an upload and a client may say of the parameters of an event, and what they are told when it cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from offline_capi.config import load_config
from offline_capi.config.client import Client, DataUse
from offline_capi.config.fields import FieldSpec
from offline_capi.config.mapping import Event, MappingSpec, Screening
from offline_capi.errors import ConfigError
from tests.config.good_folder import CLIENTS, UPLOAD

CLIENT: dict[str, Any] = {"pixel_id": "1234567890", "token": {"env": "T"}}
EVENT: dict[str, Any] = {"name": "Lead", "id": "id", "action_source": "other"}


def _problems(folder) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(folder, environ={})
    return [f"{problem.path}  {problem.message}" for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (
            "custom_data: {content_type: Product}",
            'custom_data.content_type  "Product" is unknown; did you mean "product"?',
        ),
        (
            "custom_data: {delivery_category: {column: c, map: {1: drone}}}",
            'custom_data.delivery_category.map.1  "drone" is',
        ),
        (
            "custom_data: {contents: {id: c, quantity: c, delivery_category: drone}}",
            'custom_data.contents.delivery_category  "drone" is unknown',
        ),
        (
            "custom_data: {properties: {event_source: {constant: crm}}}",
            "custom_data.properties.event_source  is a standard key",
        ),
        ("custom_data: {store_data: {store: c}}", "custom_data.store_data.store  is not a key here"),
        ("screening: block", 'screening  "block" is unknown; one of: strip, reject'),
        (
            "screening: {ids: [invoic]}\ncustom_data: {properties: {invoice: c}}",
            '  screening.ids: "invoic" is no custom property; did you mean "invoice"?',
        ),
    ],
)
def test_a_word_that_meta_does_not_know_is_named_with_its_place(write_folder, section: str, problem: str) -> None:
    found = _problems(write_folder(approvals=f"{UPLOAD}{section}\n"))

    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("customer_segmentation: vip", 'event.customer_segmentation  "vip" is unknown'),
        ("messaging_channel: Whatsapp", 'event.messaging_channel  "Whatsapp" is unknown; did you mean "whatsapp"?'),
        ("original_event: {name: Purchase}", "event.original_event  needs id or order_id"),
        ("app_data: {extinfo: [a, b]}", "event.app_data.extinfo  needs one column"),
        ("limited_data_use: {when: c, province: c}", "event.limited_data_use.province  is not a key here"),
    ],
)
def test_a_parameter_of_the_event_that_cannot_be_is_named_with_its_place(write_folder, more: str, problem: str) -> None:
    upload = UPLOAD.replace("action_source: system_generated", f"action_source: system_generated, {more}")

    found = _problems(write_folder(approvals=upload))

    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("limited_data_use: {state: NY}", "clients.acme_bank.limited_data_use.state  is not a state that Meta knows"),
        ("limited_data_use: {country: 0, state: CA}", "clients.acme_bank.limited_data_use  a state needs country: 1"),
        ("allowed_fields: [user_data.email]", 'clients.acme_bank.allowed_fields[0]  "user_data.email" is no field of'),
        ("allowed_fields: [value]", 'clients.acme_bank.allowed_fields[0]  "value" is no field of an event'),
    ],
)
def test_a_policy_that_cannot_be_is_named_with_its_place(write_folder, more: str, problem: str) -> None:
    found = _problems(write_folder(CLIENTS.replace("{env: ACME_BANK_TOKEN}", f"{{env: ACME_BANK_TOKEN}}, {more}")))

    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("setting", "meaning"),
    [
        (True, DataUse(country=0, state=0)),
        (False, None),
        ({"state": "california"}, DataUse(country=1, state=1000)),
        ({"state": 1005}, DataUse(country=1, state=1005)),
        ({"country": 1}, DataUse(country=1, state=0)),
    ],
)
def test_the_limited_data_use_of_a_client_has_short_forms(setting: Any, meaning: DataUse | None) -> None:
    assert Client.model_validate({**CLIENT, "limited_data_use": setting}).limited_data_use == meaning


@pytest.mark.parametrize(
    ("short", "when"),
    [
        ("ccpa", FieldSpec(column="ccpa")),
        (True, FieldSpec(constant=True)),
        ({"column": "ccpa", "default": False}, FieldSpec(column="ccpa", default=False)),
        ({"when": "ccpa"}, FieldSpec(column="ccpa")),
    ],
)
def test_the_limited_data_use_of_an_upload_is_a_flag_with_or_without_a_state(short: Any, when: FieldSpec) -> None:
    use = Event.model_validate({**EVENT, "limited_data_use": short}).limited_data_use

    assert use is not None
    assert (use.when, use.state) == (when, None)


@pytest.mark.parametrize("name", ["user_data", "user_data.em", "custom_data", "custom_data.anything", "app_data"])
def test_a_field_can_be_allowed_by_its_name_or_with_all_its_neighbours(name: str) -> None:
    assert Client.model_validate({**CLIENT, "allowed_fields": [name]}).allowed_fields == (name,)


def test_screening_strips_unless_told_to_reject() -> None:
    least = {"client": "a", "window": {"column": "at"}, "event": EVENT, "user_data": {"em": "email"}}

    assert MappingSpec.model_validate(least).screening == Screening(found="strip")
    assert MappingSpec.model_validate(least | {"screening": "reject"}).screening == Screening(found="reject")
    with pytest.raises(ValidationError):
        MappingSpec.model_validate(least | {"screening": "off"})


def test_an_upload_can_name_its_requests(write_folder) -> None:
    folder = write_folder(approvals=f"{UPLOAD}delivery: {{upload_tag: nightly approvals}}\n")

    assert load_config(folder, environ={}).uploads["approvals"].delivery.upload_tag == "nightly approvals"
