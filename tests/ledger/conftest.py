"""A ledger on each database that we support."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.pgbouncer import HOW_TO_GET_ONE, find_binary, running_pooler


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty ledger."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("postgres_db")
    return url


@pytest.fixture(scope="session")
def pooler_url(postgres_url: str) -> Iterator[str]:
    """URL of a pgbouncer in transaction mode before the server; skips where none can be had, but in CI."""
    binary = find_binary()
    if binary is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(HOW_TO_GET_ONE)
    with running_pooler(binary, postgres_url) as url:
        yield url


@pytest.fixture
def pooled_db(pooler_url: str, postgres_db: str) -> str:
    """URL of an empty database of this test alone, through the pooler."""
    return sa.make_url(postgres_db).set(port=sa.make_url(pooler_url).port).render_as_string(hide_password=False)
