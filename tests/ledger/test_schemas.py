"""Whose database it is: the URL's own settings, schemas, neighbours with tables of the same names, and rights."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from offline_capi.errors import LedgerError
from offline_capi.ledger import Ledger, ddl
from offline_capi.ledger.connection import get_driver, make_engine, open_transaction
from offline_capi.ledger.schema import HEAD, OLD_VERSION_TABLE, VERSION_TABLE
from offline_capi.ledger.schema.tables import metadata
from offline_capi.model import Fate
from tests.delivery.sending import WINDOW, batch, names
from tests.ledger.test_ledger import START, Desk
from tests.ledger.test_migrations import make_old
from tests.ledger.test_processes import go, heard, process

TABLES = {*metadata.tables, VERSION_TABLE}
OTHERS_VERSION = f"CREATE TABLE {OLD_VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"


def asking(url: str, **query: str) -> str:
    return sa.make_url(url).update_query_dict(query).render_as_string(hide_password=False)


def run_sql(url: str, *statements: str) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def select(url: str, statement: str) -> Sequence[object]:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return connection.scalars(sa.text(statement)).all()


def tables_in(url: str, schema: str) -> set[object]:
    return set(select(url, f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'"))


# ---------------------------------------------------------------------------------------------- the URL's own settings


def test_a_ledger_lives_where_the_search_path_of_its_url_leads(postgres_db: str) -> None:
    run_sql(postgres_db, "CREATE SCHEMA capi")
    desk = Desk(asking(postgres_db, options="-csearch_path=capi"))
    desk.post(batch(["e-1"]), Fate.SENT)

    assert desk.next_night().fates(batch(["e-1"])) == {"e-1": Fate.ALREADY_SENT}
    assert (tables_in(postgres_db, "capi"), tables_in(postgres_db, "public")) == (TABLES, set())


@pytest.mark.parametrize("schema", ["capi", "Größe %s", "a\"b'; DROP TABLE run", "{settings}", "order", "s" * 63])
def test_a_ledger_lives_in_the_schema_that_its_url_names(postgres_db: str, schema: str) -> None:
    """Made where it is missing, as a folder is for SQLite."""
    desk = Desk(asking(postgres_db, schema=schema))
    desk.post(batch(["e-1"]), Fate.SENT)
    desk.merge()

    assert desk.next_night().fates(batch(["e-1"])) == {"e-1": Fate.ALREADY_SENT}
    assert tables_in(postgres_db, "public") == set()
    assert tables_in(postgres_db, schema.replace("'", "''")) == TABLES


@pytest.mark.parametrize("schema", ["a" * 64, "ä" * 32, "a\nb"])
def test_a_schema_whose_name_postgresql_would_change_is_refused(postgres_db: str, schema: str) -> None:
    with pytest.raises(LedgerError, match="at most 63 bytes"):
        Ledger(asking(postgres_db, schema=schema))


def test_a_schema_that_a_search_path_names_and_nobody_made_is_told(postgres_db: str) -> None:
    with pytest.raises(LedgerError, match="schema that the URL names is not there"):
        Ledger(asking(postgres_db, options="-csearch_path=missing"))


def test_what_the_url_says_to_the_driver_is_kept(postgres_db: str) -> None:
    said = {"connect_timeout": "7", "application_name": "nightly", "sslmode": "allow", "options": "-c work_mem=5MB"}

    with make_engine(asking(postgres_db, timeout="3", **said)).connect() as connection:
        kept = get_driver(connection).info.get_parameters()
        assert connection.scalar(sa.text("SHOW work_mem")) == "5MB"

    assert {name: kept[name] for name in said} == said


@pytest.mark.parametrize(("asked", "waits"), [("0", "1ms"), ("2.5", "2500ms"), ("60", "1min")])
def test_a_transaction_waits_as_long_as_the_url_says(postgres_db: str, asked: str, waits: str) -> None:
    """PostgreSQL's own zero would be for ever."""
    with (
        make_engine(asking(postgres_db, timeout=asked)).connect() as connection,
        open_transaction(connection, writes=True),
    ):
        assert connection.scalar(sa.text("SHOW lock_timeout")) == waits


def test_a_server_that_is_called_busy_and_not_there_is_not_held_by_another_process(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="No such file") as failed:
        Ledger(f"postgresql://locked:busy@/locked?host={tmp_path}/busy")

    assert type(failed.value) is LedgerError


@pytest.mark.parametrize("query", ["?mode=ro", "?nonsense=1"])
def test_what_sqlite_would_ignore_is_refused(tmp_path: Path, query: str) -> None:
    with pytest.raises(LedgerError, match="uri=true"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.db'}{query}")


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e12", "soon"])
def test_a_timeout_that_is_no_time_is_refused(ledger_url: str, seconds: str) -> None:
    with pytest.raises(LedgerError, match=r"timeout is a number|looks like"):
        Ledger(asking(ledger_url, timeout=seconds))


def test_schema_is_not_for_sqlite(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="schema is for PostgreSQL"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.db'}?schema=capi")


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_spelling_of_a_driver_of_libpq_means_psycopg(postgres_db: str, driver: str) -> None:
    url = sa.make_url(postgres_db).set(drivername=driver).render_as_string(hide_password=False)

    with Ledger(url) as ledger:
        assert ledger.runs.list_newest(1) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cr3t@sesame@127.0.0.1:1/db",
        "postgresql://u:sesame@sesame@sesame@127.0.0.1:1/db",
        "postgresql://u:12@34/sesame@127.0.0.1:1/db",
        "postgresql://u:12@34?sesame=1@127.0.0.1:1/db",
        "postgresql://u:12@34:5?a=sesame@127.0.0.1:1/db",
        "postgresql://u:12@sesame:34@127.0.0.1/db",
        "  postgresql://u:12@sesame@127.0.0.1:1/db",
    ],
)
def test_p09_no_part_of_a_password_with_an_at_sign_is_told(url: str) -> None:
    with pytest.raises(LedgerError) as failed:
        Ledger(url)

    assert "sesame" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_a_name_and_a_password_with_at_signs_as_they_should_be_written_are_taken(postgres_db: str) -> None:
    url = sa.make_url(postgres_db)
    run_sql(postgres_db, 'CREATE ROLE "a@b" LOGIN SUPERUSER')
    try:
        run_sql(postgres_db, "ALTER ROLE \"a@b\" PASSWORD 'p@ss%%40/?#'")  # as the driver wants it
        with Ledger(url.set(username="a@b", password="p@ss%40/?#").render_as_string(hide_password=False)) as ledger:
            assert ledger.runs.list_newest(1) == []
    finally:
        run_sql(postgres_db, 'REASSIGN OWNED BY "a@b" TO CURRENT_USER', 'DROP OWNED BY "a@b"', 'DROP ROLE "a@b"')


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
def test_p15_a_database_with_another_isolation_grants_every_event_once_too(postgres_db: str, level: str) -> None:
    """Whoever waited for its turn would else see the state from before its wait."""
    run_sql(
        postgres_db, f"ALTER DATABASE {sa.make_url(postgres_db).database} SET default_transaction_isolation='{level}'"
    )
    with ExitStack() as stack:
        both = [stack.enter_context(process(postgres_db, "claim", 1000)) for _ in range(2)]
        for one in both:
            go(one)

        claimed = Counter(event_id for one in both for event_id in heard(one))

    assert claimed == Counter(names("e", 1000))


# ---------------------------------------------------------------------------------------------- neighbours

NEIGHBOURS = {
    "version": [OTHERS_VERSION, f"INSERT INTO {OLD_VERSION_TABLE} VALUES ('29ce7909c52b')"],
    "no version yet": [OTHERS_VERSION],
    "our version": [OTHERS_VERSION, f"INSERT INTO {OLD_VERSION_TABLE} VALUES ('0004')"],
    "request": ["CREATE TABLE request (id INTEGER)"],
    "run": ["CREATE TABLE run (id INTEGER)"],
    "our tables by name": [f"CREATE TABLE {name} (id INTEGER)" for name in ("run", "run_part", "sender", "request")],
    "view": ["CREATE VIEW segment AS SELECT 1 AS one"],
    "index": ["CREATE TABLE steps (id INTEGER)", "CREATE INDEX run_started ON steps (id)"],
}


@pytest.mark.parametrize("statements", NEIGHBOURS.values(), ids=NEIGHBOURS.keys())
def test_a_database_of_another_application_is_told_and_left_alone(ledger_url: str, statements: list[str]) -> None:
    run_sql(ledger_url, *statements)

    with pytest.raises(LedgerError, match="belongs to another application as well") as refused:
        Ledger(ledger_url)

    with make_engine(ledger_url).connect() as connection:
        assert not sa.inspect(connection).has_table(VERSION_TABLE)
        assert not sa.inspect(connection).has_table("segment_block")
    assert ("of its own" in str(refused.value), "newer" in str(refused.value)) == (True, False)


@pytest.mark.parametrize("statements", NEIGHBOURS.values(), ids=NEIGHBOURS.keys())
def test_beside_another_application_a_ledger_has_a_schema_of_its_own(postgres_db: str, statements: list[str]) -> None:
    run_sql(postgres_db, *statements)
    before = tables_in(postgres_db, "public")
    desk = Desk(asking(postgres_db, schema="capi"))
    desk.post(batch(["e-1"]), Fate.SENT)

    assert desk.next_night().fates(batch(["e-1"])) == {"e-1": Fate.ALREADY_SENT}
    assert tables_in(postgres_db, "public") == before
    assert select(postgres_db, f"SELECT version_num FROM capi.{VERSION_TABLE}") == [HEAD]
    if OLD_VERSION_TABLE in before:
        assert select(postgres_db, f"SELECT version_num FROM {OLD_VERSION_TABLE}") != [HEAD]


def test_an_application_that_comes_later_may_have_the_name_of_our_old_version_table(ledger_url: str) -> None:
    Desk(ledger_url).post(batch(["e-1"]), Fate.SENT)
    run_sql(ledger_url, *NEIGHBOURS["version"])

    assert Desk(ledger_url).fates(batch(["e-1"])) == {"e-1": Fate.ALREADY_SENT}
    assert select(ledger_url, f"SELECT version_num FROM {OLD_VERSION_TABLE}") == ["29ce7909c52b"]


@pytest.mark.parametrize("version", ["0001", "0002", "0003", "0004"])
@pytest.mark.parametrize("others", [True, False])
def test_an_old_ledger_is_known_by_its_tables_and_another_applications_number_stays(
    ledger_url: str, version: str, others: bool
) -> None:
    """Earlier versions shared ``alembic_version`` with whoever was there."""
    make_old(ledger_url, version)
    if others:
        run_sql(ledger_url, f"UPDATE {OLD_VERSION_TABLE} SET version_num = '29ce7909c52b'")

    fates = Desk(ledger_url).fates(batch(names("e", 2)))

    with make_engine(ledger_url).connect() as connection:
        left = sa.inspect(connection).has_table(OLD_VERSION_TABLE)
    assert set(fates.values()) == {Fate.ALREADY_SENT}
    assert select(ledger_url, f"SELECT version_num FROM {VERSION_TABLE}") == [HEAD]
    assert left == others


def test_p02_a_ledger_that_an_earlier_version_put_into_public_is_not_left_behind(postgres_db: str) -> None:
    """They ignored the search path of the URL: a new ledger there would send everything again."""
    make_old(postgres_db, "0004")
    run_sql(postgres_db, "CREATE SCHEMA capi")
    url = asking(postgres_db, options="-csearch_path=capi")

    with pytest.raises(LedgerError, match=r"knows what was sent.*ALTER TABLE public\.run SET SCHEMA capi"):
        Ledger(url)

    new = Desk(asking(postgres_db, schema="other"))
    assert set(new.fates(batch(names("e", 2))).values()) == {None}
    moved = [f"ALTER TABLE public.{name} SET SCHEMA capi" for name in sorted(tables_in(postgres_db, "public"))]
    run_sql(postgres_db, *moved)
    assert set(Desk(url).fates(batch(names("e", 2))).values()) == {Fate.ALREADY_SENT}


def test_a_version_table_without_a_version_is_told(ledger_url: str) -> None:
    Ledger(ledger_url).close()
    run_sql(ledger_url, f"DELETE FROM {VERSION_TABLE}")

    with pytest.raises(LedgerError, match="is empty"):
        Ledger(ledger_url)


# ---------------------------------------------------------------------------------------------- rights


@pytest.fixture
def role(postgres_db: str) -> Iterator[str]:
    """A role that may connect and nothing else: its name, which is its password too."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    run_sql(postgres_db, f"CREATE ROLE {name} LOGIN PASSWORD '{name}'", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    yield name
    run_sql(postgres_db, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def as_role(url: str, role: str) -> str:
    mine = sa.make_url(url).set(username=role, password=role)
    return mine.update_query_dict({"schema": "offline_capi"}).render_as_string(hide_password=False)


def advised(role: str, word: str) -> list[str]:
    """The statements that ``offline-capi ddl`` advises, by their first word."""
    lines = [line.removeprefix("--   ") for line in ddl().splitlines() if line.startswith("--   ")]
    return [line.replace("the_role", role) for line in lines if line.startswith(word)]


def made_by_hand(url: str) -> None:
    run_sql(url, "CREATE SCHEMA offline_capi")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with closing(engine.raw_connection()) as connection:
        connection.cursor().execute("SET search_path TO offline_capi;" + ddl())
        connection.commit()


def test_a_role_that_may_not_make_a_schema_is_told_what_to_ask_for_and_that_does(postgres_db: str, role: str) -> None:
    url = as_role(postgres_db, role)
    with pytest.raises(LedgerError, match="permission denied") as refused:
        Ledger(url)

    assert f'`CREATE SCHEMA offline_capi AUTHORIZATION "{role}"`' in str(refused.value)
    run_sql(postgres_db, *advised(role, "CREATE"))
    with Ledger(url) as ledger:
        assert ledger.runs.list_newest(1) == []
    assert tables_in(postgres_db, "offline_capi") == TABLES


def test_a_role_with_the_rights_that_are_advised_uses_tables_that_somebody_else_made(
    postgres_db: str, role: str
) -> None:
    made_by_hand(postgres_db)
    with pytest.raises(LedgerError, match=r"no USAGE on it|permission denied"):
        Ledger(as_role(postgres_db, role))

    run_sql(postgres_db, *advised(role, "GRANT"))
    desk = Desk(as_role(postgres_db, role))
    desk.post(batch(["e-1"]), Fate.SENT)
    desk.merge()

    night = desk.next_night()
    assert night.fates(batch(["e-1"])) == {"e-1": Fate.ALREADY_SENT}
    assert night.ledger.journal.purge(night.now) == 1


def test_a_role_that_may_only_select_can_look(postgres_db: str, role: str) -> None:
    made_by_hand(postgres_db)
    run_sql(
        postgres_db,
        f"GRANT USAGE ON SCHEMA offline_capi TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA offline_capi TO {role}",
    )

    with Ledger(as_role(postgres_db, role)) as ledger:
        assert ledger.runs.list_newest(1) == []
        with pytest.raises(LedgerError, match="permission denied"):
            ledger.runs.begin("upload", WINDOW, trigger="manual", now=START)
