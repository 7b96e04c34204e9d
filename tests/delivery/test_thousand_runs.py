"""A thousand random runs: rows of three clients, faults of every kind, one ledger, and the books of each.

Real stages, a real ledger, the sandbox's own rules and memory; only the socket is left out. A seed makes a night.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from offline_capi.delivery import DeliveryPolicy, RetryPolicy
from offline_capi.events import build_events
from offline_capi.guards.duplicates import SeenKeys
from offline_capi.model import BuiltEvents, Fate, HashedRows, Tally
from tests.delivery.edge import Edge
from tests.delivery.sending import EM
from tests.delivery.world import CLIENTS, NOW, PIXELS, World

#: A thousand runs amid faults, each night's one after the other on the same rows.
NIGHTS, RUNS_A_NIGHT = 250, 4
#: Strikes requests at random, or all of them.
FAULTS = (
    *("unavailable", "unknown_error", "store_then_fail", "fail_then_store", "html", "malformed"),
    *("cut_before_body", "cut_before_store", "cut_after_store", "cut_amid_answer"),
    *("too_many_requests", "app_throttled", "user_throttled", "account_throttled", "usage"),
    *("revoked_token", "expired_token", "no_permission", "no_object", "no_proof", "old_version"),
)
#: Strikes single events.
MARKS = ("refuse_events", "short_answer")


def some_rows(chance: random.Random, seed: int) -> HashedRows:
    """Most of them good; some repeated, too old, of the future, without consent, or of no active client."""
    size = chance.randint(1, 20)
    second = int(NOW.timestamp())
    ages = [chance.choice([60, 60, 60, 3600, 8 * 86_400, -3600]) for _ in range(size)]
    numbers = [chance.randrange(size) if chance.random() < 0.1 else number for number in range(size)]
    clients = chance.choices([*PIXELS, "idle", "nobody", None], weights=[20, 20, 20, 1, 1, 1], k=size)
    return HashedRows(
        origin="rows.csv",
        row=pa.array(range(1, size + 1), pa.int64()),
        client=pa.array(clients, pa.string()),
        event={
            "event_name": pa.array(["CreditApproval"] * size),
            "event_id": pa.array(
                [f"{client}-{seed}-{number}" for client, number in zip(clients, numbers, strict=True)]
            ),
            "event_time": pa.array([second - age for age in ages], pa.int64()),
            "action_source": pa.array(chance.choices(["system_generated", "physical_store"], k=size)),
        },
        identity={"em": [pa.array([EM if chance.random() > 0.05 else None for _ in range(size)], pa.string())]},
        custom={"order_id": pa.array([f"{seed}-{number}" for number in numbers])},
        suppressed=pa.array([chance.random() < 0.05 for _ in range(size)]),
    )


def built_from(rows: HashedRows) -> list[BuiltEvents]:
    seen = SeenKeys()
    return [seen.reject_repeats(build_events(part, clients=CLIENTS, zone="UTC", now=NOW)) for part in rows.split(9)]


def some_trouble(chance: random.Random, edge: Edge) -> None:
    for kind in chance.sample(FAULTS, chance.randint(0, 2)):
        whose = chance.choice([None, *PIXELS.values()])
        wait = {"retry_after": chance.choice([1, 30, 3600])} if chance.random() < 0.2 else {}
        edge.fault(kind, share=chance.choice((0.3, 1.0)), seed=chance.randint(0, 99), pixel=whose, **wait)
    for kind in chance.sample(MARKS, chance.randint(0, 1)):
        tell = chance.choice(["path", "nothing"])
        edge.fault(kind, event_share=chance.choice((0.1, 1.0)), seed=chance.randint(0, 99), tell=tell)
    edge.state.bad_event = chance.choice(["reject_all", "keep_valid"])


def some_policy(chance: random.Random) -> DeliveryPolicy:
    retry = RetryPolicy(chance.randint(1, 6), chance.choice([0.0, 60.0, 600.0]))
    return DeliveryPolicy(retry, chance.randint(1, 4), chance.randint(4, 8))


def test_p01_p18_a_thousand_runs_balance_and_no_event_reaches_another_pixel(world: World) -> None:
    """Amid faults every row has one fate; a healthy run later every good row counts once, and only at its own pixel.

    An event that was stored before its answer was lost may be refused when it comes again: it counts all the same.
    """
    ends: Counter[Fate] = Counter()
    healed: dict[str, Tally] = {}
    for seed in range(NIGHTS):
        chance = random.Random(seed)
        rows = some_rows(chance, seed)
        built = built_from(rows)

        for _ in range(RUNS_A_NIGHT):
            some_trouble(chance, world.edge)
            troubled = world.run(built, some_policy(chance), max_events=chance.randint(2, 9))
            world.edge.state.faults.clear()
            ends.update(dict(troubled.count_by_fate()))
            assert (troubled.complete, troubled.read) == (True, len(rows)), seed
        healthy = world.run(built, DeliveryPolicy(), max_events=8)

        waiting = healthy.count_reasons(Fate.DEFERRED, Fate.UNCONFIRMED)
        assert {reason for reason, _ in waiting} <= {"unknown_client", "paused_client"}, (seed, waiting)
        assert healthy.count(Fate.REJECTED_BY_META) == troubled.count(Fate.REJECTED_BY_META), seed
        healed[str(seed)] = healthy

    events = list(world.edge.state.memory.tally())
    assert {times for *_, times, _ in events} == {1}
    counted = Counter(str(id_).split("-")[1] for _, _, id_, _, _ in events)
    for night, tally in healed.items():
        sent = tally.count(Fate.SENT) + tally.count(Fate.ALREADY_SENT)
        assert sent <= counted[night] <= sent + tally.count(Fate.REJECTED_BY_META), night
    assert {fate for fate, rows in ends.items() if rows > NIGHTS / 10} == set(Fate)
    reached = {client: ids_at(world.edge, pixel) for client, pixel in PIXELS.items()}
    assert all(len(ids) > 3 * NIGHTS for ids in reached.values())
    assert all(id_.startswith(f"{client}-") for client, ids in reached.items() for id_ in ids)
    assert set(world.edge.state.memory.totals()) == set(PIXELS.values())


def ids_at(edge: Edge, pixel: str) -> Sequence[str]:
    """Every event id that came to a pixel, in requests that failed too."""
    return [id_ for request in edge.state.memory.requests(limit=1_000_000, pixel=pixel) for id_ in request["event_ids"]]
