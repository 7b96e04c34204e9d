"""Adding a key of ``user_data`` is a row of the catalogue; these tests name the key where a table still lacks it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from offline_capi.config import MappingSpec
from offline_capi.config.client import Client
from offline_capi.events import build_events
from offline_capi.identity import PROFILES, hash_identity
from offline_capi.mapping import map_rows
from offline_capi.meta.catalogue import USER_DATA_KEYS, Kind, check_key
from offline_capi.model import SourceRows
from offline_capi.sandbox.rules import HASHED_LISTS, HASHED_SINGLE, RAW_SINGLE

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
CLIENTS = {"acme": Client.model_validate({"pixel_id": "1234567890", "token": {"env": "T"}, "country": "US"})}

# A value of each kind as a source holds it.
EXAMPLES: Mapping[Kind, str] = {
    "email": "ada@example.com",
    "phone": "+1 650 555 1212",
    "name": "Ada",
    "gender": "female",
    "birth_date": "1990-02-28",
    "city": "San José",
    "state": "California",
    "postal_code": "94035",
    "country": "US",
    "external_id": "customer-17",
    "first_letters": "Lovelace",
    "first_letter": "Ada",
    "birth_day": "28",
    "birth_month": "2",
    "birth_year": "1990",
    "ip_address": "203.0.114.7",
    "click_id": "fb.1.1795484000000.AbCdEfGhIjKlMnOpQrStUvWxYz",
    "browser_id": "fb.1.1795484000000.1098115397",
    "advertising_id": "38400000-8cf0-11bd-b23e-10b96e40000d",
    "lead_id": "123456789012345",
    "graph_id": "1234567890",
    "token": "ARAkLkA8rmlFeiCktEJQ-QTwRiyYHAFDLMNDBH0CD3q",
    "printable": "Mozilla/5.0 (X11; Linux x86_64)",
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("key", USER_DATA_KEYS)
def test_every_key_of_the_catalogue_has_a_rule_in_each_profile(key: str, profile: str) -> None:
    assert key in PROFILES[profile], f"identity: the profile {profile} has no rule for user_data.{key}"


@pytest.mark.parametrize("key", USER_DATA_KEYS)
def test_every_key_of_the_catalogue_has_a_rule_in_the_sandbox(key: str) -> None:
    """Its own opinion, written down a second time on purpose."""
    facts = USER_DATA_KEYS[key]
    raw = RAW_SINGLE if facts.hashing == "never" else {"external_id"}
    rules = raw if facts.hashing != "always" else HASHED_LISTS if facts.several else HASHED_SINGLE

    assert key in rules, f"sandbox/rules.py has no rule of this sort for user_data.{key}"


@pytest.mark.parametrize("key", USER_DATA_KEYS)
def test_every_key_of_the_catalogue_has_a_way_from_column_to_payload(key: str) -> None:
    facts = USER_DATA_KEYS[key]
    assert facts.kind in EXAMPLES, f"tests/meta/test_catalogue.py has no example of the kind {facts.kind}"
    value = EXAMPLES[facts.kind]

    sent = _send({key: "c"}, value)[key]

    if facts.hashing == "never":
        assert sent == (int(value) if facts.is_integer else value)
    else:
        assert re.fullmatch(r"[0-9a-f]{64}", sent)


@pytest.mark.parametrize("key", [key for key, facts in USER_DATA_KEYS.items() if facts.long_number])
def test_a_long_number_of_a_float_column_is_the_number(key: str) -> None:
    """A column of whole numbers with a gap in it arrives as floats."""
    number = 16505551212.0 if key == "ph" else 123456789012345.0
    written = f"+{number:.0f}" if key == "ph" else f"{number:.0f}"

    assert _send({key: "c"}, number)[key] == _send({key: "c"}, written)[key]


def test_no_column_name_means_two_keys() -> None:
    names = Counter(name for facts in USER_DATA_KEYS.values() for name in facts.column_names.split())

    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize(("key", "name"), [(k, n) for k, f in USER_DATA_KEYS.items() for n in f.column_names.split()])
def test_a_column_name_in_place_of_a_key_is_answered_with_the_key(key: str, name: str) -> None:
    if name == key:
        assert check_key(name) == key
        return
    with pytest.raises(ValueError, match=rf'did you mean "{key}"'):
        check_key(name.upper())


def _send(user_data: dict[str, str], value: object) -> dict[str, str | int]:
    """``user_data`` of the one event of a row whose column ``c`` holds the value."""
    identified = {"em": "mail"} if "em" not in user_data else {}
    upload = {
        "client": "acme",
        "window": {"column": "at"},
        "event": {"name": "Lead", "id": "{id}", "action_source": "other"},
        "user_data": {**identified, **user_data},
    }
    rows = pa.record_batch({"at": ["2026-11-24T02:00:00Z"], "id": ["7"], "mail": ["b@example.com"], "c": [value]})
    mapped = map_rows(SourceRows(rows, "rows", 1), MappingSpec.model_validate(upload))
    built = build_events(hash_identity(mapped, clients=CLIENTS), clients=CLIENTS, zone="UTC", now=NOW)
    assert built.unsent.table.to_pylist() == []
    event = json.loads(built.events.table["body"][0].as_py())
    return {key: sent[0] if isinstance(sent, list) else sent for key, sent in event["user_data"].items()}
