"""Names of events in the YAML: standard ones in their own case, slips confirmed."""

from __future__ import annotations

import pytest

from offline_capi.config import load_config
from offline_capi.errors import ConfigError
from tests.config.good_folder import CLIENTS, UPLOAD


def _upload(name: str) -> str:
    assert UPLOAD.count("name: CreditApproval") == 1
    return UPLOAD.replace("name: CreditApproval", f"name: {name}")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("purchase", 'event.name  "purchase" is a custom event to Meta'),
        ("{column: kind, map: {s: Purchase, l: LEAD}}", 'event.name.map.l  "LEAD" is a custom event to Meta'),
        ("{column: kind, default: lead}", 'event.name.default  "lead" is a custom event to Meta'),
        ("Purchse", 'event.name  "Purchse" would be a custom event; did you mean "Purchase"?'),
        ("{column: kind, map: {s: AddToCard}}", 'event.name.map.s  "AddToCard" would be a custom event'),
    ],
)
def test_check_asks_about_names_that_are_nearly_standard(write_folder, name: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write_folder(CLIENTS, approvals=_upload(name)), environ={})

    (found,) = caught.value.problems
    assert f"{found.path}  {found.message}".startswith(problem)
    assert "did you mean" in found.message
    assert "exact: true in event.name" in found.message
    line = _upload(name).splitlines()[found.line - 1]
    assert "name:" in line


@pytest.mark.parametrize(
    "name",
    ["{constant: purchase, exact: true}", "{column: kind, map: {s: Purchse}, exact: true}", "CreditApproval", "kind"],
)
def test_a_name_that_was_confirmed_or_is_clearly_ones_own_is_no_problem(write_folder, name: str) -> None:
    deployment = load_config(write_folder(CLIENTS, approvals=_upload(name)), environ={})

    assert deployment.uploads["approvals"].event.name.exact == ("exact" in name)


@pytest.mark.parametrize("name", ["net_revenue", "order_id"])
def test_only_amounts_that_are_refused_below_zero_may_be_allowed(write_folder, name: str) -> None:
    upload = f"{UPLOAD}\ncustom_data: {{{name}: {{column: c, allow_negative: true}}}}\n"

    with pytest.raises(ConfigError) as caught:
        load_config(write_folder(CLIENTS, approvals=upload), environ={})

    assert "allow_negative" in caught.value.problems[0].path
