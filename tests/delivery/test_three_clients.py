"""A token or permission fault stops that client only, and once; the others are delivered whole (P7)."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from offline_capi.config import Secret
from offline_capi.delivery import Envelope, Policy, appsecret_proof
from offline_capi.model import EventBatch, Fate, Reason
from tests.delivery.edge import Edge, Way
from tests.delivery.world import PIXELS, TOKENS, World, built, rows_of

EACH = 24
ACME, TOKEN = PIXELS["acme"], TOKENS[PIXELS["acme"]]


def mixed() -> EventBatch:
    """As many events of each of three clients, one after the other in turn."""
    own = [rows_of(client, EACH).table for client in PIXELS]
    turns = [place + EACH * client for place in range(EACH) for client in range(len(own))]
    return EventBatch(pa.concat_batches(own).take(pa.array(turns)))


def revoked(edge: Edge) -> None:
    edge.state.access.revoke(TOKEN)


def unknown(edge: Edge) -> None:
    """A token that was never one: 190 as well."""
    edge.state.access = Edge({pixel: token for pixel, token in TOKENS.items() if pixel != ACME}).state.access


def of_another_pixel(edge: Edge) -> None:
    """100/33, which looks like a bad parameter."""
    edge.state.access.grant(TOKEN, ["5555555555"])


def proof_wanted(edge: Edge) -> None:
    """Code 100 without a subcode, which looks like a bad event."""
    edge.state.access.grant(TOKEN, [ACME], app_secret="secret")


FAULTS = [revoked, unknown, of_another_pixel, proof_wanted]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("concurrency", [1, 4])
def test_p07_one_of_three_clients_is_denied_and_costs_one_request(
    world: World, fault: Callable[[Edge], None], concurrency: int
) -> None:
    fault(world.edge)

    tally = world.run(built(mixed()), Policy(concurrency=concurrency), max_events=4)

    assert tally.by_fate() == dict.fromkeys(Fate, 0) | {Fate.SENT: 2 * EACH, Fate.HELD: EACH}
    assert len(world.edge.state.memory.requests(pixel=ACME)) == 1
    assert tally.reasons(Fate.HELD) == {(Reason.CLIENT_STOPPED, ""): EACH}
    assert len(tally.notices) == 1
    assert {client for client, totals in world.edge.state.memory.totals().items() if totals["counted"] == EACH} == {
        pixel for pixel in PIXELS.values() if pixel != ACME
    }


@pytest.mark.parametrize("kind", ["revoked_token", "no_object", "no_proof"])
def test_p07_a_token_that_is_revoked_amid_the_run_is_used_no_more(world: World, kind: str) -> None:
    """Four requests of the client were let out together, and wait for the one place in flight: none of them leaves."""
    world.edge.fault(kind, pixel=ACME, first_request=4)

    tally = world.run(built(mixed()), Policy(concurrency=4, in_flight=1), max_events=2)

    refused = [request for request in world.edge.state.memory.requests(pixel=ACME) if request["status"] != 200]
    assert len(refused) == 1
    assert tally.of(Fate.SENT) + tally.of(Fate.HELD) == 3 * EACH
    assert tally.of(Fate.SENT) >= 2 * EACH
    assert tally.reasons(Fate.HELD) == {(Reason.CLIENT_STOPPED, ""): tally.of(Fate.HELD)}
    assert len(tally.notices) == 1
    assert "code" in tally.notices[0]


def test_p07_a_proof_that_is_wanted_and_given_is_no_fault(world: World) -> None:
    proof_wanted(world.edge)
    proof = appsecret_proof(Secret(TOKEN), Secret("secret"))
    world.senders["acme"] = Way(world.edge, TOKEN, Envelope(appsecret_proof=proof))

    tally = world.run(built(mixed()), Policy(), max_events=4)

    assert tally.of(Fate.SENT) == 3 * EACH
