"""Real parts for every test: a PostgreSQL server of our own, and a fresh database in it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from offline_capi.sandbox import SandboxServer
from tests.support.postgres import HOW_TO_GET_ONE, find_binaries, running_server
from tests.support.sandbox_server import SPEC, Sandbox

# A busy machine must not fail a test: laws are about values, not about time.
settings.register_profile("laws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")


#: Where the days of the tests begin; see ``tests/support/night.py``.
ZONES = tuple(map(ZoneInfo, ("UTC", "Europe/Berlin", "America/New_York")))
#: A test that begins so shortly before a midnight waits for it.
NEAR_MIDNIGHT = timedelta(minutes=2)


@pytest.fixture(autouse=True)
def one_day() -> None:
    """No day ends between the rows that a test writes and the command that reads "yesterday" by the machine's clock."""
    while any((now := datetime.now(zone)).date() != (now + NEAR_MIDNIGHT).date() for zone in ZONES):
        time.sleep(1)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a running PostgreSQL server; skips where none can be had, except in CI, where that is a failure."""
    binaries = find_binaries()
    if binaries is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(HOW_TO_GET_ONE)
    with running_server(binaries) as url:
        yield url


@pytest.fixture
def postgres_db(postgres_url: str) -> Iterator[str]:
    """URL of an empty database of this test alone."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield sa.make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def sandbox_server() -> Iterator[SandboxServer]:
    """One sandbox for the whole session, in a process of its own."""
    with SandboxServer(SPEC) as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: SandboxServer) -> Sandbox:
    """The sandbox as at its start: nothing received, no faults, real time."""
    fresh = Sandbox(sandbox_server)
    fresh.reset()
    return fresh
