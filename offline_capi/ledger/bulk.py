"""Many keys in one statement, in each database's own way: no row-at-a-time SQL."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from offline_capi.model import KEY_BYTES, keys_in

__all__ = ["Bulk", "bulk_for"]

#: Keys a statement: enough to make its own cost vanish, few enough for a small blob (1 MiB).
SEATS = 65_536


class Bulk(Protocol):
    """What differs between databases."""

    def find(self, connection: sa.Connection, keys: bytes) -> dict[int, int]:
        """Position in ``keys``, 16 bytes each → request id, of the keys that the index has."""

    def merge(self, connection: sa.Connection) -> None:
        """Put the waiting keys of all requests into the index, sorted, later requests over earlier ones."""


class _SQLite:
    """A blob of keys is cut up by a numbered table: SQLite has no arrays.

    Keys are sorted before they get there: its own sorter takes four times as long for all of a merge.
    """

    _FIND = (
        "SELECT s.i, e.request_id FROM temp.seat s CROSS JOIN event e ON e.key = substr(?1, s.i * 16 + 1, 16) "
        "WHERE s.i < ?2"
    )
    _WAITING = "SELECT id, waiting_keys FROM request WHERE waiting_keys IS NOT NULL ORDER BY id"
    _MERGE = (
        "INSERT INTO event SELECT substr(?1, s.i * 16 + 1, 16), CAST(substr(?2, s.i * 19 + 1, 19) AS INTEGER) "
        "FROM temp.seat s WHERE s.i < ?3 ON CONFLICT (key) DO UPDATE SET request_id = excluded.request_id"
    )
    _SEAT = (
        "INSERT OR IGNORE INTO temp.seat WITH RECURSIVE n(i) AS "
        "(SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) SELECT i FROM n"
    )

    def find(self, connection: sa.Connection, keys: bytes) -> dict[int, int]:
        self._make_seats(connection)
        ascending, places = _ascending(keys)
        found: dict[int, int] = {}
        for start in range(0, len(places), SEATS):
            chosen = ascending[start : start + SEATS]
            rows = connection.exec_driver_sql(self._FIND, (chosen.tobytes(), len(chosen))).fetchall()
            found |= {int(places[start + i]): request_id for i, request_id in rows}
        return found

    def merge(self, connection: sa.Connection) -> None:
        self._make_seats(connection)
        waiting = connection.exec_driver_sql(self._WAITING).fetchall()
        keys, places = _ascending(b"".join(keys for _, keys in waiting))
        ids = np.array([b"%019d" % request_id for request_id, _ in waiting], "S19")
        owners = np.repeat(ids, [len(keys) // KEY_BYTES for _, keys in waiting])[places]
        for start in range(0, len(keys), SEATS):
            chosen = slice(start, start + SEATS)
            blobs = keys[chosen].tobytes(), owners[chosen].tobytes()
            connection.exec_driver_sql(self._MERGE, (*blobs, len(keys[chosen])))

    def _make_seats(self, connection: sa.Connection) -> None:
        if not connection.info.get("seats"):
            connection.exec_driver_sql("CREATE TEMP TABLE IF NOT EXISTS seat (i INTEGER PRIMARY KEY)")
            connection.exec_driver_sql(self._SEAT, (SEATS - 1,))
            connection.info["seats"] = True


def _ascending(blob: bytes) -> tuple[NDArray[np.void], NDArray[np.intp]]:
    """The keys in the order of the index, near enough, and their places: a page that is looked at is looked at once.

    Equal ones keep their order.
    """
    order = np.argsort(np.frombuffer(blob, ">u8")[::2].astype(np.uint64), kind="stable")
    return np.frombuffer(blob, f"V{KEY_BYTES}")[order], order


class _PostgreSQL:
    """Arrays, unnested."""

    _FIND = sa.text(
        "SELECT (k.i - 1)::int, e.request_id FROM unnest(CAST(:keys AS bytea[])) WITH ORDINALITY AS k(key, i) "
        "JOIN event e ON e.key = k.key"
    )
    _MERGE = sa.text(
        "INSERT INTO event SELECT DISTINCT ON (1) substring(r.waiting_keys FROM i * 16 + 1 FOR 16), r.id "
        "FROM request r, generate_series(0, length(r.waiting_keys) / 16 - 1) AS i "
        "WHERE r.waiting_keys IS NOT NULL ORDER BY 1, 2 DESC "
        "ON CONFLICT (key) DO UPDATE SET request_id = excluded.request_id"
    )

    def find(self, connection: sa.Connection, keys: bytes) -> dict[int, int]:
        return dict(connection.execute(self._FIND, {"keys": keys_in(keys)}).fetchall())

    def merge(self, connection: sa.Connection) -> None:
        connection.execute(self._MERGE)


def bulk_for(dialect: str) -> Bulk:
    """The way of a database, by SQLAlchemy's name for it."""
    return _PostgreSQL() if dialect == "postgresql" else _SQLite()
