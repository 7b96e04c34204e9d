"""Statements that make a database what a test needs."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["script"]


def script(url: str, *statements: str) -> str:
    """Run the statements in one transaction, as they stand."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    return url
