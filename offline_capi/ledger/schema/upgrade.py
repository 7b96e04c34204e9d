"""The ledger's tables through time: alembic migrations, run when a ledger is opened.

Its names (``run``, ``request``) are anybody's, so that it wants a schema, or a file, of its own: beside tables of those
names that it did not make it makes none. Its version stands in a table that no other application uses.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from offline_capi.errors import LedgerError
from offline_capi.ledger.connection import get_driver, get_schema, open_transaction, quote_name, redact_url
from offline_capi.ledger.schema.tables import metadata, sent_requests

__all__ = ["HEAD", "OLD_VERSION_TABLE", "VERSION_TABLE", "ddl", "upgrade"]

HEAD = "0011"  # the newest file in migrations/versions; a test holds it

VERSION_TABLE = "offline_capi_version"
#: Where the version stood until 0004: alembic's own name, which each application has that uses it.
OLD_VERSION_TABLE = "alembic_version"
#: Tables of every version until 0004.
OLD_TABLES = {"run", "run_part", "sender", "request"}

_VERSION = sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
_INDEXES = {str(index.name) for table in metadata.tables.values() for index in table.indexes}
_OWN_NAMES = {*metadata.tables, *_INDEXES, OLD_VERSION_TABLE, "sent_requests"}

_NAMES_IN_SQLITE = sa.text("SELECT name FROM sqlite_master")
#: Of one schema: the others of a search path are somebody else's. Views, indexes and types are named as tables are.
_NAMES_IN_POSTGRESQL = sa.text("""
    WITH there AS (
        SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = coalesce(CAST(:schema AS text), current_schema())
    )
    SELECT relname FROM pg_catalog.pg_class WHERE relnamespace IN (SELECT oid FROM there)
    UNION SELECT typname FROM pg_catalog.pg_type WHERE typnamespace IN (SELECT oid FROM there)
""")
_SCHEMA_EXISTS = sa.text("SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = :schema")


def upgrade(connection: sa.Connection) -> None:
    """Bring the database to today's tables. Two processes that open it at once do it one after the other.

    Where there is nothing to do it only reads, so that a ledger can be looked at while a run writes.
    """
    with open_transaction(connection, writes=False):
        if _read_version(connection, _read_names(connection)) == HEAD:
            return
    with open_transaction(connection, writes=True):
        _make_schema(connection)
        names = _read_names(connection)
        if VERSION_TABLE in names:
            if (version := _read_version(connection, names)) != HEAD:
                _migrate(connection, version)
        elif version := _guess_old_version(connection, names):
            _VERSION.create(connection, checkfirst=False)
            connection.execute(sa.insert(_VERSION).values(version_num=version))
            _migrate(connection, version)
        else:
            _refuse_to_share(connection, names)
            _create(connection)


def _read_names(connection: sa.Connection, schema: str | None = None) -> set[str]:
    """The names that are taken in a schema: where none is given, in that where new tables are made."""
    if connection.dialect.name == "sqlite":
        return set(connection.scalars(_NAMES_IN_SQLITE))
    return set(connection.scalars(_NAMES_IN_POSTGRESQL, {"schema": schema}))


def _read_version(connection: sa.Connection, names: set[str]) -> str | None:
    return connection.scalar(sa.select(_VERSION.c.version_num)) if VERSION_TABLE in names else None


def _guess_old_version(connection: sa.Connection, names: set[str]) -> str | None:
    """The version of a ledger from before it had a version table of its own, by its tables; ``None`` where none is.

    What stands in ``alembic_version`` may be another application's.
    """
    if not names >= OLD_TABLES:
        return None
    columns = {column["name"] for column in sa.inspect(connection).get_columns("request")}
    if "waiting_keys" not in columns:
        return None
    signs = {"0004": "segment" in names, "0003": "read_back" in names, "0002": "doubtful_since" in columns}
    return next((version for version, there in signs.items() if there), "0001")


def _make_schema(connection: sa.Connection) -> None:
    schema = get_schema(connection)
    if schema is not None and not connection.scalar(_SCHEMA_EXISTS, {"schema": schema}):
        get_driver(connection).execute(f"CREATE SCHEMA {quote_name(schema)}")


def _refuse_to_share(connection: sa.Connection, names: set[str]) -> None:
    """Make no ledger beside another application, nor where one that knows what was sent would be left behind."""
    engine, taken = connection.engine, ", ".join(sorted(names & _OWN_NAMES))
    if connection.dialect.name == "sqlite":
        if taken:
            raise LedgerError(
                f"the ledger {redact_url(engine)}: this database belongs to another application as well, which has "
                f"{taken} in it. Nothing was changed and nothing was sent; give the ledger a file of its own."
            )
        return
    here = connection.scalar(sa.select(sa.func.current_schema()))
    if taken:
        raise LedgerError(
            f'the ledger {redact_url(engine)}: schema "{here}" of this database belongs to another application as '
            f"well, which has {taken} in it. Nothing was changed and nothing was sent; give the ledger a schema of its "
            "own: add ?schema=offline_capi to its URL. Where its role may not make one, an administrator says `CREATE "
            f"SCHEMA offline_capi AUTHORIZATION {quote_name(engine.url.username or 'its role')}`."
        )
    if here in ("public", None) or get_schema(connection) is not None:
        return
    public = _read_names(connection, "public")
    if public >= OLD_TABLES and VERSION_TABLE not in public:
        raise LedgerError(
            f'the ledger {redact_url(engine)}: its URL leads to schema "{here}", and earlier versions of offline_capi '
            'ignored that: a ledger of theirs stands in schema "public" and knows what was sent. Take the search_path '
            f"out of the URL to go on with it, or move its tables first (`ALTER TABLE public.run SET SCHEMA {here}`, "
            f"and so on). For a new ledger, which would send everything again, write ?schema={here}. Nothing was sent."
        )


def _create(connection: sa.Connection) -> None:
    """Today's tables at once: a new ledger has no history, and alembic's import takes longer than all else."""
    metadata.create_all(connection, checkfirst=False)
    _VERSION.create(connection, checkfirst=False)
    connection.execute(sa.insert(_VERSION).values(version_num=HEAD))


def _migrate(connection: sa.Connection, version: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
    if version is None:
        raise LedgerError(
            f"the ledger's table {VERSION_TABLE} is empty, so that nobody knows the version of its tables. Where they "
            "were made from `offline-capi ddl` just now, run its last statement too; else restore a backup. Nothing "
            "was changed."
        )
    if version not in known:
        raise LedgerError(
            f"the ledger was made by a newer offline_capi (its tables are version {version}, this one knows {HEAD}). "
            "Install that version or a newer one; nothing was changed."
        )
    command.upgrade(settings, "head")


_RIGHTS = """\
-- The ledger of offline_capi, for PostgreSQL. It is made when it is first opened; this is to make it by hand.
--
-- Its role needs a schema of its own, which its URL names by ?schema=offline_capi, and either owns it, so that it makes
-- and migrates its tables itself:
--   CREATE SCHEMA offline_capi AUTHORIZATION the_role;
-- or somebody else makes the tables (SET search_path TO offline_capi; and what follows) and grants what it does:
--   GRANT USAGE ON SCHEMA offline_capi TO the_role;
--   GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA offline_capi TO the_role;
--   GRANT USAGE ON ALL SEQUENCES IN SCHEMA offline_capi TO the_role;
-- After an update of offline_capi that changes the tables, their owner opens the ledger once: offline-capi status
-- Whoever only looks (offline-capi status, the pages in Airflow) needs USAGE on the schema and SELECT on its tables.

"""


def ddl() -> str:
    """The SQL of today's tables for PostgreSQL, for those who create tables by hand."""
    from sqlalchemy.dialects import postgresql

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    tables = [*metadata.sorted_tables, _VERSION]
    statements = [str(CreateTable(table).compile(dialect=dialect)).strip() for table in tables]
    indexes = [index for table in metadata.sorted_tables for index in sorted(table.indexes, key=lambda i: str(i.name))]
    statements += [str(CreateIndex(index).compile(dialect=dialect)).strip() for index in indexes]
    statements.append(str(sent_requests.statement))
    statements.append(f"INSERT INTO {_VERSION.name} (version_num) VALUES ('{HEAD}')")  # noqa: S608  both of this module
    text = ";\n\n".join(statements).replace("\t", "    ")
    return _RIGHTS + "\n".join(line.rstrip() for line in text.splitlines()) + ";\n"
