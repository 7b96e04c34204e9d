"""The ledger's tables through time: alembic migrations, run when a ledger is opened."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from offline_capi.errors import LedgerError
from offline_capi.ledger.connection import transaction
from offline_capi.ledger.tables import metadata, sent_requests

__all__ = ["HEAD", "ddl", "upgrade"]

HEAD = "0007"  # the newest file in migrations/versions; a test holds it

_VERSION = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))


def upgrade(connection: sa.Connection) -> None:
    """Bring the database to today's tables. Two processes that open it at once do it one after the other.

    Where there is nothing to do it only reads, so that a ledger can be looked at while a run writes.
    """
    with transaction(connection, writes=False):
        if _version(connection) == HEAD:
            return
    with transaction(connection, writes=True):
        tables = set(sa.inspect(connection).get_table_names())
        if not tables & {*metadata.tables, _VERSION.name}:
            _create(connection)
        elif (version := _version(connection)) != HEAD:
            _migrate(connection, version)


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    return connection.execute(sa.select(_VERSION.c.version_num)).scalar()


def _create(connection: sa.Connection) -> None:
    """Today's tables at once: a new ledger has no history, and alembic's import takes longer than all else."""
    metadata.create_all(connection, checkfirst=False)
    _VERSION.create(connection)
    connection.execute(sa.insert(_VERSION).values(version_num=HEAD))


def _migrate(connection: sa.Connection, version: str | None) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()}
    if version is not None and version not in known:
        raise LedgerError(
            f"the ledger was made by a newer offline_capi (its tables are version {version}, this one knows {HEAD}). "
            "Install that version or a newer one; nothing was changed."
        )
    command.upgrade(settings, "head")


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
    return "\n".join(line.rstrip() for line in text.splitlines()) + ";\n"
