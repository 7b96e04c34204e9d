"""A night of sending: a ledger of its own, the sandbox as its endpoint, a clock that does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from offline_capi.ledger import Ledger
from tests.delivery.edge import Edge
from tests.delivery.sending import Night
from tests.delivery.world import NOW, PIXELS, TOKENS, World, ways
from tests.support.sandbox_server import Sandbox


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Iterator[Night]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield Night(sandbox.url, ledger)


@pytest.fixture
def world() -> Iterator[World]:
    """The ledger is in memory: nothing here dies, and a disk that syncs each commit would take most of the time."""
    edge = Edge(TOKENS)
    with closing(edge), Ledger("sqlite://", clock=NOW.timestamp) as ledger:
        yield World(edge, ledger, ways(edge, PIXELS, TOKENS))
