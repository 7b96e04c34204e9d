"""`offline-capi test`: an upload's own examples through the real mapping, identity and events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from offline_capi.config import load_config
from offline_capi.config.upload import TEST_FATES
from offline_capi.model import Fate
from offline_capi.operations.upload_tests import run_tests
from tests.support.sandbox_server import Sandbox
from tests.support.shop import Shop

PAID = {
    "Name": "#1", "Email": "Mara@Example.com ", "Status": "paid", "Currency": "USD", "Total": "10.00",
    "Created at": "2024-05-01T12:00:00-04:00",
}  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path, sandbox: Sandbox) -> Shop:
    return Shop(tmp_path, sandbox)


def differences(shop: Shop, test: dict[str, Any], **sections: Any) -> list[str]:
    """What the one test of an upload finds."""
    shop.upload(tests=[test], **sections)
    deployment = load_config(shop.home / "dags", environ=shop.env)
    [result] = run_tests(deployment.uploads["orders"], deployment)
    return list(result.differences)


@pytest.mark.parametrize(
    ("row", "expect"),
    [
        (PAID, {"event_name": "Purchase", "event_id": "shop-#1", "action_source": "physical_store"}),
        (PAID, {"event_time": "2024-05-01T12:00:00-04:00", "opt_out": "absent"}),
        (PAID, {"event_time": 1714579200}),
        (PAID, {"custom_data": {"value": 10, "currency": "USD", "order_id": None}}),
        (PAID, {"user_data": {"em": {"sha256": "mara@example.com"}, "ph": "absent"}}),
        (PAID, {"user_data": {"em": "present"}}),
        (PAID | {"Total": 10}, {"custom_data": {"value": 10.0}}),
        (PAID | {"Total": None}, {"fate": "invalid", "reason": "purchase_without_value"}),
        (PAID | {"Total": None}, "invalid"),
        (PAID | {"Status": "draft"}, "filtered"),
        ({"Name": "#1"}, "filtered"),
    ],
)
def test_what_a_row_becomes_is_as_expected(shop: Shop, row: dict[str, Any], expect: Any):
    assert differences(shop, {"row": row, "expect": expect}, filter={"Status": "paid"}) == []


@pytest.mark.parametrize(
    ("row", "expect", "said"),
    [
        (PAID, {"custom_data": {"value": 11}}, "custom_data.value: expected 11, got 10"),
        (PAID, {"custom_data": {"value": "10"}}, 'custom_data.value: expected "10", got 10'),
        (PAID, {"user_data": {"ph": "present"}}, "user_data.ph: expected a value, got none"),
        (PAID, "filtered", "expected filtered, and the row is an event"),
        (PAID | {"Total": None}, {"event_name": "Purchase"}, "the row is invalid: purchase_without_value"),
        (PAID | {"Total": "x"}, {"fate": "invalid", "reason": "unreadable_valu"}, 'did you mean "unreadable_value"?'),
    ],
)
def test_what_is_different_is_said(shop: Shop, row: dict[str, Any], expect: Any, said: str):
    assert said in " ".join(differences(shop, {"row": row, "expect": expect}))


def test_p09_a_difference_shows_no_person(shop: Shop):
    """The output ends in the logs of a CI."""
    found = differences(shop, {"row": PAID, "expect": {"user_data": {"em": "mara@example.com"}}})

    assert "mara" not in " ".join(found).lower()
    assert "write {sha256: text}" in found[0]


def test_a_row_expires_only_at_a_time_that_the_test_names(shop: Shop):
    assert differences(shop, {"row": PAID, "expect": {"event_name": "Purchase"}}) == []
    late = {"row": PAID, "run_at": "2024-08-01", "expect": {"fate": "expired", "reason": "too_old"}}
    assert differences(shop, late) == []


def test_columns_of_a_lookup_stand_in_the_row_and_no_table_is_read(shop: Shop):
    lookups = {"crm": {"path": "data/none.csv", "key": "n", "by": "Name"}}
    test = {
        "row": PAID | {"crm.mail": "crm@example.com"},
        "expect": {"user_data": {"em": {"sha256": "crm@example.com"}}},
    }

    assert differences(shop, test, lookups=lookups, user_data={"em": "crm.mail"}) == []


def test_consent_and_hooks_count_as_in_a_run(shop: Shop):
    test = {"row": PAID | {"ok": "no"}, "expect": "suppressed"}

    assert differences(shop, test, consent={"column": "ok", "equals": "yes"}) == []


def test_the_fates_that_a_test_may_expect_are_fates():
    assert set(TEST_FATES) - {"filtered"} <= {fate.value for fate in Fate}


def test_the_command_passes_fails_and_speaks_to_machines(shop: Shop):
    good = {"name": "paid", "row": PAID, "expect": {"event_name": "Purchase"}}
    shop.upload(tests=[good])
    passed = shop.run("test")
    shop.upload(tests=[good, {"row": PAID, "expect": "invalid"}])
    failed, machine = shop.run("test", "orders"), shop.run("test", "--json")
    shop.upload()
    none = shop.run("test")

    assert (passed.code, "✓ orders: paid" in passed.out) == (0, True)
    assert (failed.code, "✗ orders: test 2" in failed.out, "1 passed, 1 failed" in failed.out) == (1, True, True)
    assert "dags/uploads/orders.yml:" in failed.out
    assert (machine.code, machine.json["passed"], machine.json["failed"]) == (1, 1, 1)
    assert machine.json["tests"][1]["differences"] == ["expected invalid, and the row is an event"]
    assert (none.code, "there are no tests" in none.err) == (2, True)
    assert shop.sandbox.requests == []


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (
            {"row": {"Nam": "#1"}, "expect": "filtered"},
            'no part of this upload reads a column "Nam"; did you mean "Name"?',
        ),
        ({"row": PAID, "expect": "filterd"}, 'did you mean "filtered"?'),
        ({"row": PAID, "expect": {"evnt_name": "x"}}, 'did you mean "event_name"?'),
        ({"row": PAID, "expect": {"user_data": {"email": "present"}}}, "email"),
        ({"row": PAID}, "tests[0].expect  is missing"),
    ],
)
def test_check_finds_what_a_test_cannot_mean(shop: Shop, test: dict[str, Any], said: str):
    shop.upload(tests=[test])

    found = shop.run("check")

    assert (found.code, said in found.err) == (2, True), found.err
