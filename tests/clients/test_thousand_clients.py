"""A thousand clients in one upload, forty of them with a revoked token, on a network that is none of the best."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from offline_capi.model import Fate, Reason
from offline_capi.sandbox import GrantSpec, SandboxServer, SandboxSpec
from tests.support.night import Night
from tests.support.sales import sale, sales_night, write
from tests.support.sandbox_server import Sandbox

CLIENTS, REVOKED, EVENTS, SEED = 1_000, 40, 2_000, 20261124
PIXELS = {f"c{n}": str(1_400_000_000_000_000 + n) for n in range(CLIENTS)}
TOKENS = {client: f"EAA-token-of-{client}" for client in PIXELS}


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    """Each client has a token of its own, which reaches its own pixel alone."""
    spec = SandboxSpec(grants=[GrantSpec(TOKENS[client], [pixel]) for client, pixel in PIXELS.items()])
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    with SandboxServer(spec) as server:
        night = sales_night(tmp_path, Sandbox(server))
        lines = [f'  {client}: {{pixel_id: "{pixel}", token: {{env: {client}}}}}' for client, pixel in PIXELS.items()]
        night.write("dags/clients.yml", "\n".join(["clients:", *lines]))
        for path in (night.home / "dags/uploads").glob("*.yml"):
            if path.stem != "sales":
                path.unlink()
        night.edit(
            "dags/uploads/sales.yml",
            ("{column: brand, map: {Shop: corner_shop, Outlet: nordic_outlet}}", "{column: brand}"),
            ("max_tries: 1, max_events: 7", "max_tries: 5, max_events: 1000"),
        )
        night.env |= TOKENS
        yield night


def test_p07_p18_of_a_thousand_clients_each_gets_its_own_events_and_a_revoked_one_costs_one_request(
    night: Night,
) -> None:
    """Requests fail, are cut before and after Meta has stored them, and hold events that Meta refuses."""
    chance = random.Random(SEED)
    owners = [*PIXELS, *chance.choices(list(PIXELS), k=EVENTS - CLIENTS)]
    chance.shuffle(owners)
    revoked = set(chance.sample(list(PIXELS), REVOKED))
    write(night, [sale(f"sale-{n}", client) for n, client in enumerate(owners)])
    for client in revoked:
        night.sandbox.revoke(TOKENS[client])
    night.sandbox.fault("unavailable", share=0.03, seed=SEED)
    night.sandbox.fault("cut_before_store", share=0.02, seed=SEED)
    night.sandbox.fault("cut_after_store", share=0.02, seed=SEED)
    night.sandbox.fault("refuse_events", event_share=0.01, seed=SEED, tell="nothing")

    report = night.send("sales")

    due: dict[str, set[str | None]] = defaultdict(set)
    for n, client in enumerate(owners):
        due[client].add(f"sale-{n}")
    got: dict[str, set[str | None]] = defaultdict(set)
    times = Counter[int]()
    for pixel, _, event_id, counted, _ in night.sandbox.tally():
        got[pixel].add(event_id)
        times[counted] += 1
    denied = Counter(one["pixel"] for one in night.sandbox.requests if one["code"] == 190)
    fates = report.by_client()
    assert all(got[pixel] <= due[client] for client, pixel in PIXELS.items())
    assert {client: len(got[pixel]) for client, pixel in PIXELS.items()} == {
        client: fates[client].get(Fate.SENT, 0) for client in PIXELS
    }
    assert times.keys() == {1}
    assert denied == dict.fromkeys((PIXELS[client] for client in revoked), 1)
    waiting = {Fate.DEFERRED, Fate.UNCONFIRMED}  # unconfirmed: cut off first, and denied when it was repeated
    assert all(fates[client].keys() <= waiting for client in revoked)
    assert all(fates[client].keys() <= {Fate.SENT, Fate.REJECTED_BY_META} for client in PIXELS.keys() - revoked)
    assert report.tally.count_reasons(Fate.DEFERRED).keys() == {(Reason.CLIENT_STOPPED, "")}
    assert report.tally.count(Fate.REJECTED_BY_META) > 0
    for client in PIXELS:
        assert report.of_client(client).tally.read == len(due[client])
