"""A token or permission fault stops that client only, and once (P7)."""

from __future__ import annotations

import pytest

from offline_capi.delivery import DeliveryPolicy
from offline_capi.model import Fate, Reason
from tests.delivery.sending import ACME, OTHER, Night, batch, names
from tests.support.sandbox_server import OTHER_PIXEL, PIXEL, Sandbox

CREDENTIAL_FAULTS = ["revoked_token", "expired_token", "no_permission", "no_object", "no_proof"]


@pytest.mark.parametrize("kind", CREDENTIAL_FAULTS)
@pytest.mark.parametrize("concurrency", [1, 4])
def test_p07_an_access_fault_costs_one_request_and_no_other_client(
    night: Night, sandbox: Sandbox, kind: str, concurrency: int
) -> None:
    """100/33 and the appsecret_proof fault look like bad events and are not: nothing is taken apart."""
    night.policy = DeliveryPolicy(concurrency=concurrency)
    sandbox.fault(kind, pixel=PIXEL)

    books = night.send([batch(names("a", 80)), batch(names("o", 80), client=OTHER)], max_events=10)

    assert len(sandbox.requests_to(PIXEL)) == 1
    assert len(sandbox.ids_of(OTHER_PIXEL)) == 80
    assert books.counts == {Fate.SENT: 80, Fate.DEFERRED: 80}
    deferred = [outcome for outcome in books.outcomes if outcome.fate is Fate.DEFERRED]
    assert {outcome.reason for outcome in deferred} == {Reason.CLIENT_STOPPED}
    assert len({outcome.explanation for outcome in deferred}) == 1


def test_p07_held_events_go_out_once_the_token_is_renewed(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("revoked_token")
    night.send([batch(names("a", 30))], max_events=10)
    sandbox.heal()

    books = night.send([batch(names("a", 30))], max_events=10)

    assert books.counts == {Fate.SENT: 30}


def test_p07_many_bad_rows_of_one_client_do_not_stop_another_at_its_first(night: Night, sandbox: Sandbox) -> None:
    """Each client's refusals are its own; the other one begins when the first has been stopped for them."""
    sandbox.refuse(*names("a", 80), "o-0")

    books = night.send([batch(names("a", 80)), batch(names("o", 5), client=OTHER)], max_events=1)

    assert books.fates["o-0"] is Fate.REJECTED_BY_META
    assert {books.fates[event_id] for event_id in names("o", 5)[1:]} == {Fate.SENT}


def test_p07_a_retired_version_stops_everybody(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("old_version")

    books = night.send([batch(names("a", 20)), batch(names("o", 20), client=OTHER)], max_events=10)

    assert books.counts == {Fate.DEFERRED: 40}
    assert len(sandbox.requests) <= 2  # the first of each client may be on its way at once


def test_p18_events_of_one_client_never_reach_the_pixel_of_another(night: Night, sandbox: Sandbox) -> None:
    sandbox.refuse("a-3", "o-5", tell="nothing")
    sandbox.fault("unavailable", share=0.3, seed=7)
    mixed = [
        batch(names(f"{name}{i}", 3), client=client) for i in range(20) for name, client in (("a", ACME), ("o", OTHER))
    ]

    night.send(mixed, max_events=8)

    assert {str(event_id)[0] for event_id in sandbox.ids_of(PIXEL)} == {"a"}
    assert {str(event_id)[0] for event_id in sandbox.ids_of(OTHER_PIXEL)} == {"o"}
