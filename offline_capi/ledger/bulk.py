"""Many keys in one statement, in each database's own way: no row-at-a-time SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import sqlalchemy as sa

__all__ = ["Bulk", "bulk_for"]

#: Keys a statement: enough to make its own cost vanish, few enough for a small blob (1 MiB).
SEATS = 65_536


class Bulk(Protocol):
    """What differs between databases."""

    def find(self, connection: sa.Connection, keys: Sequence[bytes]) -> list[tuple[int, int]]:
        """(position in ``keys``, request id) of the keys that the ledger has."""

    def insert(self, connection: sa.Connection, keys: Sequence[bytes], request_id: int) -> int:
        """Add the keys that are not there yet; how many were added."""

    def move(self, connection: sa.Connection, keys: Sequence[bytes], request_id: int, away_from: list[int]) -> int:
        """Point the keys that stand on one of ``away_from`` to ``request_id``; how many were moved."""


class _SQLite:
    """A blob of keys is cut up by a numbered table: SQLite has no arrays."""

    _FIND = (
        "SELECT s.i, e.request_id FROM temp.seat s CROSS JOIN event e ON e.key = substr(?1, s.i * 16 + 1, 16) "
        "WHERE s.i < ?2"
    )
    _INSERT = "INSERT OR IGNORE INTO event SELECT substr(?1, i * 16 + 1, 16), ?3 FROM temp.seat WHERE i < ?2"
    _MOVE = (
        "UPDATE event SET request_id = ?3 WHERE key IN (SELECT substr(?1, i * 16 + 1, 16) FROM temp.seat WHERE i < ?2) "
        "AND request_id IN (SELECT value FROM json_each(?4))"
    )

    _SEAT = (
        "INSERT OR IGNORE INTO temp.seat WITH RECURSIVE n(i) AS "
        "(SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) SELECT i FROM n"
    )

    def find(self, connection: sa.Connection, keys: Sequence[bytes]) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for start in range(0, len(keys), SEATS):
            part = keys[start : start + SEATS]
            rows = self._run(connection, self._FIND, b"".join(part), len(part)).fetchall()
            found += [(start + i, request_id) for i, request_id in rows]
        return found

    def insert(self, connection: sa.Connection, keys: Sequence[bytes], request_id: int) -> int:
        ordered = sorted(keys)  # neighbours in the tree are neighbours in the blob
        return int(self._run(connection, self._INSERT, b"".join(ordered), len(ordered), request_id).rowcount)

    def move(self, connection: sa.Connection, keys: Sequence[bytes], request_id: int, away_from: list[int]) -> int:
        requests = "[" + ",".join(map(str, away_from)) + "]"
        return int(self._run(connection, self._MOVE, b"".join(keys), len(keys), request_id, requests).rowcount)

    def _run(self, connection: sa.Connection, sql: str, *parameters: object) -> Any:
        self._seats(connection)
        return connection.exec_driver_sql(sql, parameters)

    def _seats(self, connection: sa.Connection) -> None:
        if connection.info.get("seats"):
            return
        connection.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS seat (i INTEGER PRIMARY KEY)")
        connection.exec_driver_sql(self._SEAT, (SEATS - 1,))
        connection.info["seats"] = True


class _PostgreSQL:
    """Arrays, unnested."""

    _FIND = sa.text(
        "SELECT (k.i - 1)::int, e.request_id FROM unnest(CAST(:keys AS bytea[])) WITH ORDINALITY AS k(key, i) "
        "JOIN event e ON e.key = k.key"
    )
    _INSERT = sa.text(
        "INSERT INTO event SELECT k.key, :request_id FROM unnest(CAST(:keys AS bytea[])) AS k(key) "
        "ON CONFLICT (key) DO NOTHING"
    )
    _MOVE = sa.text(
        "UPDATE event SET request_id = :request_id WHERE key = ANY(CAST(:keys AS bytea[])) "
        "AND request_id = ANY(CAST(:away_from AS bigint[]))"
    )

    def find(self, connection: sa.Connection, keys: Sequence[bytes]) -> list[tuple[int, int]]:
        return [(i, request_id) for i, request_id in connection.execute(self._FIND, {"keys": list(keys)})]

    def insert(self, connection: sa.Connection, keys: Sequence[bytes], request_id: int) -> int:
        # Two runs that insert in the same order cannot lock each other out.
        return connection.execute(self._INSERT, {"keys": sorted(keys), "request_id": request_id}).rowcount

    def move(self, connection: sa.Connection, keys: Sequence[bytes], request_id: int, away_from: list[int]) -> int:
        parameters = {"keys": list(keys), "request_id": request_id, "away_from": away_from}
        return connection.execute(self._MOVE, parameters).rowcount


def bulk_for(dialect: str) -> Bulk:
    """The way of a database, by SQLAlchemy's name for it."""
    return _PostgreSQL() if dialect == "postgresql" else _SQLite()
