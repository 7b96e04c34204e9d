"""The chaos night in small; ``python -m tests.support.chaos`` has it with 50 clients and a million events."""

from __future__ import annotations

from pathlib import Path

from offline_capi.sandbox import SandboxServer, SandboxSpec
from tests.support.chaos import Chaos
from tests.support.sandbox_server import Sandbox

#: What the seed has beside faults of Meta's answers.
TROUBLE = {"killed", "twice at once", "a torn part of the source", "the ledger held by another"}


def test_p01_p03_p18_a_night_amid_faults_of_every_layer_ends_balanced(tmp_path: Path) -> None:
    """Every row has the fate that it was made for, and every good event counted once, at its own pixel alone."""
    with SandboxServer(SandboxSpec(keep_bodies=False)) as server:
        chaos = Chaos(tmp_path, Sandbox(server), seed=58, clients=6, events=3000, rounds=3)

        rounds = chaos.run()

        assert chaos.verdict() == []
    assert set().union(*(one.trouble for one in rounds)) >= TROUBLE
    assert any(one.hits for one in rounds)
