from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.world import Platform
from tests.support.sandbox_server import Sandbox


@pytest.fixture
def platform(tmp_path: Path, sandbox: Sandbox) -> Platform:
    return Platform(tmp_path, sandbox)
