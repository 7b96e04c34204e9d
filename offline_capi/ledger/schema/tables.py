"""The ledger's tables. The migrations make them; a test holds both equal.

An event's fate lives on its request: the index says which request had an event last, and nothing else.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import PopulateDict

__all__ = [
    "RequestState",
    "audit",
    "closed_day",
    "metadata",
    "pace",
    "read_back",
    "request",
    "run",
    "run_part",
    "segment",
    "segment_block",
    "sender",
    "sent_requests",
    "source_mark",
    "source_shape",
]


class RequestState(StrEnum):
    """What is known of a request."""

    POSTING = "posting"  # intent: it may be on the wire right now
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNCONFIRMED = "unconfirmed"  # sent, and no answer that settles whether it was stored
    RELEASED = "released"  # certainly not stored: its events are free


metadata = sa.MetaData()

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", sa.String(160), primary_key=True),
    sa.Column("upload", sa.String(120), nullable=False),
    sa.Column("since", sa.String(40), nullable=False),
    sa.Column("until", sa.String(40), nullable=False),
    sa.Column("zone", sa.String(60), nullable=False),
    sa.Column("trigger", sa.String(40), nullable=False),
    sa.Column("started_at", sa.String(40), nullable=False),
    sa.Column("ended_at", sa.String(40)),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("report", sa.Text),
    # The start of what the run read for all clients, its look-back included; null for a run that settles no day.
    sa.Column("covered_since", sa.String(40)),
    # What it left to later runs, as JSON (``model.Debt``); null while it has no books.
    sa.Column("debts", sa.Text),
    # From which state of its table to which it read, as JSON (``model.TableRead``); null where it read no late rows.
    sa.Column("table_read", sa.Text),
    sa.Index("run_started", "started_at"),
    sa.Index("run_upload", "upload", "started_at"),
)

#: Days that became too old for Meta while something was owed, and when that was reported; ``debts`` as JSON.
closed_day = sa.Table(
    "closed_day",
    metadata,
    sa.Column("upload", sa.String(120), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("told_at", sa.String(40), nullable=False),
    sa.Column("run_id", sa.String(160)),
    sa.Column("debts", sa.Text, nullable=False),
)

run_part = sa.Table(
    "run_part",
    metadata,
    sa.Column("run_id", sa.String(160), primary_key=True),
    sa.Column("part", sa.String(200), primary_key=True),
    sa.Column("tally", sa.Text, nullable=False),
)

#: A process that sends for a run; requests in state ``posting`` of a dead one are unconfirmed.
sender = sa.Table(
    "sender",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run_id", sa.String(160), nullable=False),
    sa.Column("host", sa.String(120), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("pid_started", sa.String(40), nullable=False),
    sa.Column("lease_until", sa.Float, nullable=False),
)

_WAITING = sa.text("waiting_keys IS NOT NULL")


class _IndexOfWaiting(sa.Index):
    """An index of the rows whose keys are waiting.

    ``postgresql_where`` would load PostgreSQL's dialect with this module, 60 ms of every command on SQLite: a dialect
    gets the option when it asks.
    """

    @cached_property
    def dialect_options(self) -> PopulateDict[str, Any]:
        known = super().dialect_options

        def add_where(dialect: str) -> Any:
            known[dialect]["where"] = _WAITING
            return known[dialect]

        return PopulateDict(add_where)


request = sa.Table(
    "request",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("run_id", sa.String(160), nullable=False),
    sa.Column("sender_id", sa.Integer, nullable=False),
    sa.Column("client", sa.String(120), nullable=False),
    sa.Column("pixel", sa.String(32), nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("offline", sa.Boolean, nullable=False),
    sa.Column("events", sa.Integer, nullable=False),
    sa.Column("digest", sa.LargeBinary(32), nullable=False),
    sa.Column("posted_at", sa.Float, nullable=False),
    sa.Column("answered_at", sa.Float),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("code", sa.Integer),
    sa.Column("subcode", sa.Integer),
    sa.Column("trace_id", sa.String(60)),
    # 16 bytes a key, until they are put into the index.
    sa.Column("waiting_keys", sa.LargeBinary),
    # When the oldest earlier request was posted that may have stored some of these events; null where none may.
    sa.Column("unconfirmed_since", sa.Float),
    # Three bytes an event: what value and currency it had, see ``values.py``; null where that is not known any more.
    sa.Column("value_marks", sa.LargeBinary),
    sa.Index("request_run", "run_id"),
    _IndexOfWaiting("request_waiting", "id"),
)

# ``INTEGER`` is SQLite's own number of a row, which needs no index.
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: The index of all events: sorted entries, see ``segments.py``. ``oldest`` and ``newest`` are ids of requests.
segment = sa.Table(
    "segment",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True, autoincrement=False),
    sa.Column("keys", sa.BigInteger, nullable=False),
    sa.Column("oldest", sa.BigInteger, nullable=False),
    sa.Column("newest", sa.BigInteger, nullable=False),
    # The first key of each block, 16 bytes each.
    sa.Column("fences", sa.LargeBinary, nullable=False),
    # The words of a Bloom filter, 8 bytes each; empty where they stand in pieces behind the blocks.
    sa.Column("filter", sa.LargeBinary, nullable=False),
)

#: Some entries of a segment: 16 bytes of key and 8 bytes of the request's id each, the first byte the lowest.
segment_block = sa.Table(
    "segment_block",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True, autoincrement=False),
    sa.Column("keys", sa.LargeBinary, nullable=False),
    sa.Column("owners", sa.LargeBinary, nullable=False),
)

#: What Meta reports of the events that it received: one row a pixel, kind and day in UTC, ``figures`` as JSON.
read_back = sa.Table(
    "read_back",
    metadata,
    sa.Column("client", sa.String(120), primary_key=True),
    sa.Column("pixel", sa.String(32), primary_key=True),
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("read_at", sa.String(40), nullable=False),
    sa.Column("figures", sa.Text, nullable=False),
)

#: How fast requests may leave, of a pixel, a client, the app or all: until when Meta asked to wait, and when the next
#: request of a limited rate may leave, in Unix seconds.
pace = sa.Table(
    "pace",
    metadata,
    sa.Column("scope", sa.String(160), primary_key=True),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("next_slot", sa.Float, nullable=False),
)

#: In which shapes the columns of an upload's source came so far, see ``shapes.py``: JSON, without a value of a row.
source_shape = sa.Table(
    "source_shape",
    metadata,
    sa.Column("upload", sa.String(120), primary_key=True),
    sa.Column("client", sa.String(120), primary_key=True),
    sa.Column("shapes", sa.Text, nullable=False),
    sa.Column("written_at", sa.String(40), nullable=False),
)

#: Up to where the runs of an upload have read its table, see ``marks.py``: JSON (``model.SourceMark``).
source_mark = sa.Table(
    "source_mark",
    metadata,
    sa.Column("upload", sa.String(120), primary_key=True),
    sa.Column("mark", sa.Text, nullable=False),
    sa.Column("run_id", sa.String(160), nullable=False),
    sa.Column("written_at", sa.String(40), nullable=False),
)

#: Who did what: see ``audit.py``. ``detail`` is JSON; neither it nor ``subject`` ever holds personal data.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", _ROW_ID, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("action", sa.String(40), nullable=False),
    sa.Column("subject", sa.String(200), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("run_id", sa.String(160)),
    sa.Index("audit_action", "action", "at"),
)

#: For users' own SQL, to join with the keys that ``offline-capi ledger export`` writes: one row a request that left.
sent_requests = sa.DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy's own
    "CREATE VIEW sent_requests AS SELECT request.id AS request_id, request.run_id AS run_id, run.upload AS upload, "
    "run.since AS since, run.until AS until, request.client AS client, request.pixel AS pixel, "
    "request.state AS state, request.events AS events, request.tries AS tries, request.code AS code, "
    "request.subcode AS subcode, request.trace_id AS trace_id, request.posted_at AS posted_at, "
    "request.answered_at AS answered_at FROM request LEFT JOIN run ON run.id = request.run_id WHERE request.tries > 0"
)
sa.event.listen(metadata, "after_create", sent_requests)
