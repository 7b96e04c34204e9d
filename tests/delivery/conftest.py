"""A night of sending: a ledger of its own, the sandbox as its endpoint, a clock that does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from offline_capi.ledger import Ledger
from tests.delivery.sending import Night
from tests.sandbox_server import Sandbox


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Iterator[Night]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield Night(sandbox.url, ledger)
