"""Ledgers of every earlier version, with data in them, are brought to today's."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql, sqlite

import offline_capi.ledger.schema
from offline_capi.ledger import Ledger, build_calendar, list_past_runs, load_read_back, save_read_back
from offline_capi.ledger.connection import make_engine, open_transaction
from offline_capi.ledger.index.filter import split_keys
from offline_capi.ledger.index.segments import Entries, write_segment
from offline_capi.ledger.schema import HEAD, OLD_VERSION_TABLE, VERSION_TABLE
from offline_capi.ledger.schema.tables import metadata, request
from offline_capi.model import Fate, ReadBack, Window
from tests.delivery.sending import batch, names

TOLD = ReadBack("acme", "1", "received", date(2026, 11, 23), {"Purchase": 2}, datetime(2026, 11, 24, 8, tzinfo=UTC))


def _settings() -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(Path(offline_capi.ledger.schema.__file__).parent / "migrations"))
    return settings


_SCRIPTS = ScriptDirectory.from_config(_settings())
VERSIONS = sorted(script.revision for script in _SCRIPTS.walk_revisions())

# One accepted request of two events: one in the index, one still waiting. Columns that every version has.
_RUN = "INSERT INTO run (id, upload, since, until, zone, trigger, started_at, status) VALUES ('r', 'u', :since, :until, 'UTC', 'manual', :since, 'ok')"  # noqa: E501
_REQUEST = (
    "INSERT INTO request (id, run_id, sender_id, client, pixel, state, offline, events, digest, posted_at, tries, "
    "waiting_keys) VALUES (7, 'r', 1, 'acme', '1', 'accepted', :offline, 2, :digest, 1.0, 1, :waiting)"
)
_VERSION_IS = "SELECT version_num FROM offline_capi_version"
_EVENT = "INSERT INTO event (key, request_id) VALUES (:key, 7)"


def _fill(connection: sa.Connection) -> None:
    indexed, waiting = batch(names("e", 2)).table.column("key").to_pylist()
    moments = {"since": "2026-11-23T00:00:00+00:00", "until": "2026-11-24T00:00:00+00:00"}
    connection.execute(sa.text(_RUN), moments)
    connection.execute(sa.text(_REQUEST), {"offline": False, "digest": b"x" * 32, "waiting": waiting})
    if sa.inspect(connection).has_table("event"):  # until 0003
        connection.execute(sa.text(_EVENT), {"key": indexed})
    else:
        write_segment(connection, [Entries(split_keys(indexed), np.array([7]))], 1)


def make_old(url: str, version: str) -> None:
    """A ledger as a version of offline_capi made it, with data in it."""
    with make_engine(url).connect() as connection, open_transaction(connection, writes=True):
        settings = _settings()
        settings.attributes["connection"] = connection
        command.upgrade(settings, version)
        if version < "0005":  # until then alembic kept it under its own name
            connection.execute(sa.text(f"ALTER TABLE {VERSION_TABLE} RENAME TO {OLD_VERSION_TABLE}"))
        _fill(connection)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ledger_of_an_earlier_version_keeps_its_memory(ledger_url: str, version: str) -> None:
    make_old(ledger_url, version)

    with Ledger(ledger_url) as ledger:
        known = ledger.journal.look_up(batch(names("e", 3)), run_id=None, now=datetime.now(UTC))

        save_read_back(ledger, [TOLD], now=TOLD.read_at)

        assert [run.id for run in ledger.runs.list_newest(5)] == ["r"]
        assert load_read_back(ledger, since=TOLD.day, until=TOLD.day) == [TOLD]
    assert [(fate, len(events)) for fate, _, events in known.decided] == [(Fate.ALREADY_SENT, 2)]
    assert len(known.fresh) == 1


@pytest.mark.parametrize("version", ["head", "0001", None])
def test_the_migrations_end_where_the_tables_are(ledger_url: str, version: str | None) -> None:
    """Those that are run by hand, those of an old ledger, and the tables that a new one is given at once."""
    if version is not None:
        make_old(ledger_url, HEAD if version == "head" else version)
    Ledger(ledger_url).close()

    with make_engine(ledger_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        differences = compare_metadata(context, metadata)
        version_is = connection.scalars(sa.text(_VERSION_IS)).all()

    assert differences == []
    assert version_is == [HEAD]
    assert _SCRIPTS.get_current_head() == HEAD


def test_a_command_on_sqlite_loads_no_other_databases_dialect() -> None:
    """In an interpreter of its own: PostgreSQL's takes 60 ms, and the tables alone asked for it."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, offline_capi.ledger.schema.tables as t; print(*sys.modules)"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip

    assert "sqlalchemy" in loaded
    assert [name for name in loaded if name.startswith("sqlalchemy.dialects.postgresql")] == []


@pytest.mark.parametrize("dialect", [postgresql.dialect(), sqlite.dialect()])
def test_the_index_of_waiting_requests_holds_them_alone(dialect: sa.Dialect) -> None:
    (index,) = (one for one in request.indexes if one.name == "request_waiting")

    text = str(sa.schema.CreateIndex(index).compile(dialect=dialect))

    assert text == "CREATE INDEX request_waiting ON request (id) WHERE waiting_keys IS NOT NULL"


def test_the_open_days_of_a_ledger_before_there_were_any_are_worked_out_from_its_reports(ledger_url: str) -> None:
    """Held and unconfirmed rows open their day, a failed run too; a run of some clients settles none."""
    zone, night = "Europe/Berlin", datetime(2026, 11, 24, 3, tzinfo=UTC)
    fates = {
        "deferred": [
            ["held", "acme", "2026-11-20", "client_stopped", None, 4],
            ["sent", "acme", "2026-11-20", None, None, 9],
        ],
        "fine": [["sent", "acme", "2026-11-21", None, None, 9], ["rejected", "acme", None, "future", "event_time", 1]],
        "some": [["sent", "acme", "2026-11-20", None, None, 9]],
    }
    make_old(ledger_url, "0004")
    with make_engine(ledger_url).connect() as connection, open_transaction(connection, writes=True):
        run = sa.Table("run", sa.MetaData(), autoload_with=connection)
        for number, (name, day) in enumerate([("deferred", 20), ("fine", 21), ("failed", 22), ("some", 20)]):
            window = Window.of_day(date(2026, 11, day), zone)
            report = {"tally": {"fates": fates[name], "narrowed": name == "some"}} if name in fates else None
            connection.execute(
                sa.insert(run).values(
                    id=name,
                    upload="sales",
                    **window.to_json(),
                    trigger="scheduled",
                    started_at=f"2026-11-{day + 1}T02:00:0{number}+00:00",
                    ended_at=f"2026-11-{day + 1}T02:10:00+00:00",
                    status="partial",
                    report=json.dumps(report) if report else None,
                )
            )

    with Ledger(ledger_url) as ledger:
        days = build_calendar(
            ledger,
            "sales",
            [date(2026, 11, day) for day in range(19, 24)],
            runs=list_past_runs(ledger, "sales", night),
            zone=zone,
            max_age=timedelta(days=7),
            now=night,
            expects_every_day=True,
        )

    assert [(day.day.day, day.state.value, day.reasons) for day in days] == [
        (19, "complete", {}),  # before the first night nothing is owed
        (20, "open", {"client_stopped": 4}),
        (21, "complete", {}),
        (22, "open", {"run_failed": 0}),
        (23, "open", {"never_ran": 0}),
    ]


def test_fates_of_earlier_versions_are_renamed_in_all_that_is_kept(ledger_url: str) -> None:
    """Before 0010 a row was rejected (by us), refused (by Meta), in doubt or held."""
    counts = {"rejected": 4, "refused": 3, "in_doubt": 2, "held": 1, "sent": 9}
    tally = {
        "fates": [[fate, "acme", "2026-11-23", "future", None, rows] for fate, rows in counts.items()],
        "known": [["rejected", "future", "event.time", "2026-11-20", 4]],
        "vanished": {"in_doubt": 1},
        "gates": [{"gate": "rejected", "action": "warn"}],
    }
    report = {
        "rows": {"read": 19, **counts},
        "clients": {"acme": counts},
        "days": {"2026-11-23": counts},
        "reasons": [{"fate": "rejected", "reason": "future"}],
        "tally": tally,
    }
    make_old(ledger_url, "0009")
    with make_engine(ledger_url).connect() as connection, open_transaction(connection, writes=True):
        connection.execute(sa.text("UPDATE run SET report = :report"), {"report": json.dumps(report)})
        connection.execute(sa.text("UPDATE request SET state = 'refused', doubtful_since = 5"))
        connection.execute(
            sa.text("INSERT INTO run_part (run_id, part, tally) VALUES ('r', 'p', :tally)"),
            {"tally": json.dumps({"fates": tally["fates"]})},
        )

    with Ledger(ledger_url) as ledger:
        kept = ledger.runs.get("r").report
    with make_engine(ledger_url).connect() as connection:
        state = connection.execute(sa.text("SELECT state, unconfirmed_since FROM request")).one()
        part = json.loads(connection.scalar(sa.text("SELECT tally FROM run_part")) or "")

    now = {"invalid": 4, "rejected_by_meta": 3, "unconfirmed": 2, "deferred": 1, "sent": 9}
    assert kept is not None
    assert (kept["rows"], kept["clients"], kept["days"]) == (
        {"read": 19, **now},
        {"acme": now},
        {"2026-11-23": now},
    )
    assert [counted[0] for counted in kept["tally"]["fates"]] == [counted[0] for counted in part["fates"]] == list(now)
    assert (kept["reasons"][0]["fate"], kept["tally"]["known"][0][0]) == ("invalid", "invalid")
    assert (kept["tally"]["vanished"], kept["tally"]["gates"][0]["gate"]) == ({"unconfirmed": 1}, "invalid")
    assert tuple(state) == ("rejected", 5)
