"""A token or permission fault stops that client only, and once; the others are delivered whole (P7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa
import pytest

from offline_capi.config import Secret
from offline_capi.delivery import Clock, DeliveryPolicy, Envelope
from offline_capi.model import EventBatch, Fate, Reason
from offline_capi.runtime.secret import appsecret_proof
from tests.delivery.edge import Edge, Way
from tests.delivery.world import PIXELS, TOKENS, World, built, rows_of

EACH = 24
ACME, BANK, TOKEN = PIXELS["acme"], PIXELS["bank"], TOKENS[PIXELS["acme"]]
MANY = 70  # requests of one client: more than are read ahead, so that the next one comes when its fault is known


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

    tally = world.run(built(mixed()), DeliveryPolicy(concurrency=concurrency), max_events=4)

    assert tally.by_fate() == dict.fromkeys(Fate, 0) | {Fate.SENT: 2 * EACH, Fate.DEFERRED: EACH}
    assert len(world.edge.state.memory.requests(pixel=ACME)) == 1
    assert tally.reasons(Fate.DEFERRED) == {(Reason.CLIENT_STOPPED, ""): EACH}
    assert len(tally.notices) == 1
    assert {client for client, totals in world.edge.state.memory.totals().items() if totals["counted"] == EACH} == {
        pixel for pixel in PIXELS.values() if pixel != ACME
    }


@pytest.mark.parametrize("kind", ["revoked_token", "no_object", "no_proof"])
def test_p07_a_token_that_is_revoked_amid_the_run_is_used_no_more(world: World, kind: str) -> None:
    """Four requests of the client were let out together, and wait for the one place in flight: none of them leaves."""
    world.edge.fault(kind, pixel=ACME, first_request=4)

    tally = world.run(built(mixed()), DeliveryPolicy(concurrency=4, in_flight=1), max_events=2)

    refused = [request for request in world.edge.state.memory.requests(pixel=ACME) if request["status"] != 200]
    assert len(refused) == 1
    assert tally.of(Fate.SENT) + tally.of(Fate.DEFERRED) == 3 * EACH
    assert tally.of(Fate.SENT) >= 2 * EACH
    assert tally.reasons(Fate.DEFERRED) == {(Reason.CLIENT_STOPPED, ""): tally.of(Fate.DEFERRED)}
    assert len(tally.notices) == 1
    assert "code" in tally.notices[0]


def test_p07_a_proof_that_is_wanted_and_given_is_no_fault(world: World) -> None:
    proof_wanted(world.edge)
    proof = appsecret_proof(Secret(TOKEN), Secret("secret"))
    world.senders["acme"] = Way(world.edge, TOKEN, Envelope(appsecret_proof=proof))

    tally = world.run(built(mixed()), DeliveryPolicy(), max_events=4)

    assert tally.of(Fate.SENT) == 3 * EACH


class MadeLater(dict[str, Way]):
    """Ways that are made when a client's first request goes out, as ``open_senders`` makes them."""

    def __init__(self, ways: Mapping[str, Way]) -> None:
        super().__init__()
        self._ways = ways

    def __missing__(self, client: str) -> Way:
        self[client] = self._ways[client]
        return self[client]


def test_p07_a_refused_token_is_not_tried_for_another_client_that_uses_it(world: World) -> None:
    """Bank's rows come once Acme's first request was answered. The report of one says nothing of the other."""
    world.senders = MadeLater({**world.senders, "bank": Way(world.edge, TOKEN)})
    world.edge.state.access.grant(TOKEN, [ACME, BANK])
    revoked(world.edge)
    rows = [rows_of(client, MANY) for client in ("acme", "bank", "shop")]

    tally = world.run([one for own in rows for one in built(own)], DeliveryPolicy(), max_events=1)

    assert tally.by_fate() == dict.fromkeys(Fate, 0) | {Fate.SENT: MANY, Fate.DEFERRED: 2 * MANY}
    assert [len(world.edge.state.memory.requests(pixel=pixel)) for pixel in (ACME, BANK)] == [1, 0]
    (said,) = [notice for notice in tally.notices if notice.startswith("bank: ")]
    assert "Meta refused its token for another pixel" in said
    assert "code 190" in said
    assert "acme" not in said
    assert ACME not in said


def test_p07_what_waits_for_a_retry_stays_when_the_token_is_refused_to_another_client(world: World) -> None:
    """In real time: the answer to Acme comes while Bank's request waits two seconds for its second try."""
    world.senders["bank"] = Way(world.edge, TOKEN)
    world.edge.state.access.grant(TOKEN, [ACME, BANK])
    world.edge.fault("revoked_token", pixel=ACME)
    world.edge.fault("unavailable", pixel=BANK)
    rows = [one for client in ("bank", "acme") for one in built(rows_of(client, 1))]

    tally = world.run(rows, DeliveryPolicy(), max_events=1, clock=Clock(jitter=lambda: 1.0))

    assert tally.of(Fate.SENT) == 0
    assert [len(world.edge.state.memory.requests(pixel=pixel)) for pixel in (ACME, BANK)] == [1, 1]
