"""A MariaDB server for the tests of this folder."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.support.mariadb import HOW_TO_GET_ONE, find_server, running_server


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """URL of a running MariaDB server; skips where none can be had, except in CI, where that is a failure."""
    program = find_server()
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(HOW_TO_GET_ONE)
    with running_server(program) as url:
        yield url


@pytest.fixture
def mariadb(mariadb_url: str) -> Iterator[str]:
    """URL of an empty database of this test alone."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(mariadb_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield sa.make_url(mariadb_url).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name}")
