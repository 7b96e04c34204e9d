"""What a client lets out of its rows, and what it says of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.config.client import Client
from offline_capi.model import BuiltEvents, HashedRows

Rows = Callable[..., HashedRows]
Build = Callable[..., BuiltEvents]
Bodies = Callable[[BuiltEvents], list[Any]]

DIGEST = "a" * 64
URL = "https://shop.example/cart?step=2#pay"
FULL: dict[str, Any] = {
    "event": {"event_source_url": [URL] * 2, "referrer_url": [URL] * 2, "opt_out": [True] * 2},
    "identity": {"em": [[DIGEST] * 2], "fbp": [["fb.1.1.1"] * 2]},
    "custom": {
        "value": [5.0] * 2,
        "currency": ["USD"] * 2,
        "predicted_ltv": [9.0] * 2,
        "content_name": ["Shoe"] * 2,
        "tier": ["gold"] * 2,
    },
    "client": ["strict", "acme"],
}


def _clients(**strict: Any) -> dict[str, Client]:
    plain = {"pixel_id": "1234567890", "token": {"env": "T"}}
    return {"strict": Client.model_validate(plain | strict), "acme": Client.model_validate(plain)}


def _dropped(built: BuiltEvents) -> set[tuple[str, str, int]]:
    return {(drop.key, drop.cause, drop.count) for drop in built.dropped}


def test_only_allowed_fields_leave_and_only_that_client_is_narrowed(
    rows_of: Rows, build: Build, bodies: Bodies
) -> None:
    clients = _clients(allowed_fields=["user_data", "custom_data.value", "custom_data.currency"])

    built = build(rows_of(**FULL), clients=clients)

    strict, free = bodies(built)
    assert strict.keys() == {
        "event_name",
        "event_time",
        "event_id",
        "action_source",
        "opt_out",
        "user_data",
        "custom_data",
    }
    assert strict["custom_data"] == {"value": 5, "currency": "USD"}
    assert strict["user_data"] == {"em": DIGEST, "fbp": "fb.1.1.1"}
    assert free["event_source_url"] == URL
    assert free["custom_data"].keys() == FULL["custom"].keys()
    cause = "not_in_allowed_fields"
    assert _dropped(built) == {
        ("event_source_url", cause, 1),
        ("referrer_url", cause, 1),
        ("custom_data.predicted_ltv", cause, 1),
        ("custom_data.content_name", cause, 1),
        ("custom_data.tier", cause, 1),
    }


def test_a_single_key_of_user_data_can_be_allowed(rows_of: Rows, build: Build, bodies: Bodies) -> None:
    built = build(rows_of(**FULL), clients=_clients(allowed_fields=["user_data.em"]))

    assert bodies(built)[0]["user_data"] == {"em": DIGEST}
    assert "custom_data" not in bodies(built)[0]


def test_rules_look_at_what_is_left(rows_of: Rows, build: Build) -> None:
    """Without the value that its client does not let out, a Purchase is none."""
    rows = rows_of({"event_name": ["Purchase"]}, custom={"value": [5.0], "currency": ["USD"]}, client=["strict"])

    built = build(rows, clients=_clients(allowed_fields=["user_data"]))

    assert built.unsent.table["reason"].to_pylist() == ["purchase_without_value"]


def test_core_mode_sends_standard_keys_and_bare_domains(rows_of: Rows, build: Build, bodies: Bodies) -> None:
    built = build(rows_of(**FULL), clients=_clients(core_mode=True))

    strict, free = bodies(built)
    assert (strict["event_source_url"], strict["referrer_url"]) == ("https://shop.example/",) * 2
    assert strict["custom_data"] == {"value": 5, "currency": "USD", "content_name": "Shoe"}
    assert (free["event_source_url"], free["custom_data"]["tier"]) == (URL, "gold")
    assert _dropped(built) == {
        ("event_source_url", "core_mode", 1),
        ("referrer_url", "core_mode", 1),
        ("custom_data.predicted_ltv", "core_mode", 1),
        ("custom_data.tier", "core_mode", 1),
    }


def test_nothing_is_counted_where_nothing_was_lost(rows_of: Rows, build: Build) -> None:
    """Neither for rows without consent nor for an address that is bare already."""
    rows = rows_of(
        {"event_source_url": ["https://shop.example/", URL]},
        custom={"tier": [None, "gold"]},
        client=["strict"] * 2,
        suppressed=[False, True],
    )

    assert build(rows, clients=_clients(core_mode=True)).dropped == ()


# ---------------------------------------------------------------------------------------------- limited data use

OPTIONS = "data_processing_options"
DATA_USE: list[tuple[Any, tuple[Any, ...]]] = [
    (True, (["LDU"], 0, 0)),
    ({"country": 1}, (["LDU"], 1, 0)),
    ({"state": "CA"}, (["LDU"], 1, 1000)),
    ({"state": 1013}, (["LDU"], 1, 1013)),
    (False, (None, None, None)),
]


def _data_use(event: Any) -> tuple[Any, ...]:
    return event.get(OPTIONS), event.get(f"{OPTIONS}_country"), event.get(f"{OPTIONS}_state")


@pytest.mark.parametrize(("setting", "expected"), DATA_USE)
def test_a_client_can_limit_all_its_rows(
    rows_of: Rows, build: Build, bodies: Bodies, setting: Any, expected: tuple[Any, ...]
) -> None:
    strict, free = bodies(build(rows_of(client=["strict", "acme"]), clients=_clients(limited_data_use=setting)))

    assert _data_use(strict) == expected
    assert _data_use(free) == (None, None, None)


def test_what_the_upload_says_of_a_row_counts_before_its_client(rows_of: Rows, build: Build, bodies: Bodies) -> None:
    own = {
        OPTIONS: ["[]", '["LDU"]', None],
        f"{OPTIONS}_country": [None, 1, None],
        f"{OPTIONS}_state": [None, 1001, None],
    }

    built = build(rows_of(own, client=["strict"] * 3), clients=_clients(limited_data_use=True))

    assert [_data_use(event) for event in bodies(built)] == [([], None, None), (["LDU"], 1, 1001), (["LDU"], 0, 0)]
    assert built.warnings == {"limited_data_use_without_ip": 1}


def test_a_list_of_allowed_fields_cannot_lift_the_limits(rows_of: Rows, build: Build, bodies: Bodies) -> None:
    clients = _clients(limited_data_use=True, allowed_fields=["user_data"])

    assert _data_use(bodies(build(rows_of(client=["strict"]), clients=clients))[0]) == (["LDU"], 0, 0)


@given(who=st.lists(st.sampled_from(["strict", "acme", "nobody", None]), min_size=1, max_size=8), cut=st.integers(1, 7))
def test_p18_one_clients_policy_never_touches_anothers_rows(
    rows_of: Rows, build: Build, bodies: Bodies, who: list[str | None], cut: int
) -> None:
    """Whatever the mix and the batch, a row leaves as it would leave alone."""
    clients = _clients(
        core_mode=True, limited_data_use=True, allowed_fields=["user_data", "custom_data", "event_source_url"]
    )
    rows = rows_of({"event_source_url": [URL] * len(who)}, custom={"tier": ["gold"] * len(who)}, client=who)

    whole = bodies(build(rows, clients=clients))
    parts = [event for part in rows.split(cut) for event in bodies(build(part, clients=clients))]

    assert whole == parts
    assert ["tier" in event.get("custom_data", {}) for event in whole] == [
        name == "acme" for name in who if name in clients
    ]
