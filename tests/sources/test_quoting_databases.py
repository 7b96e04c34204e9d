"""P9: a database quotes a row's value in many messages; none of it is passed on (S5)."""

from __future__ import annotations

import duckdb
import pytest

from offline_capi.errors import SourceError
from tests.sources.reading import batches, query
from tests.sources.scripts import script

EMAIL, NAME, PHONE = "zyxcan.mail@leaktest.org", "Zyxcanfirst Zyxcanlast", "+1 415 555 2671"
SIGHTS = ("zyxcan", "leaktest", "4155552671", "415 555")
TABLE = (
    "CREATE TABLE sales (email text, name text, phone text); "
    f"INSERT INTO sales VALUES ('{EMAIL}', '{NAME}', '{PHONE}'); "
    "CREATE FUNCTION refused(said text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
    " RAISE EXCEPTION 'cannot handle row %', said USING DETAIL = said, HINT = said, ERRCODE = '{state}'; END $$; "
    "CREATE FUNCTION asserted(said text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN"
    " ASSERT false, 'no ' || said; RETURN said; END $$; "
    "CREATE FUNCTION composed(said text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE found text; BEGIN"
    " EXECUTE 'SELECT ' || said INTO found; RETURN found; END $$"
)


def refused(sql: str, url: str) -> str:
    with pytest.raises(SourceError) as raised:
        batches(query(sql), url=url)
    assert raised.value.__suppress_context__
    return str(raised.value)


@pytest.mark.parametrize("driver", ["psycopg", "pg8000"])
@pytest.mark.parametrize(
    "value",
    [
        "refused(email)",
        "refused(name)",
        "refused(phone)",
        "asserted(name)",
        "composed(email)",
        "composed(name)",
        "to_tsquery(name)",
        "email::regclass",
        "email::regproc",
        "name::regtype",
        "to_tsvector(email::regconfig, name)",
        "current_setting(email)",
        "nextval(email)",
        "has_table_privilege(email, 'select')",
        "pg_read_file(email)",
        "name::integer",
        "phone::date",
        "email::json",
        "regexp_replace(name, '(' || phone, '')",
    ],
)
def test_p09_postgres_quotes_no_value_to_anybody(postgres_db: str, driver: str, value: str):
    script(postgres_db, TABLE.replace("{state}", "P0001"))

    said = refused(f"SELECT {value} AS found FROM sales", postgres_db.replace("+psycopg", f"+{driver}"))

    assert [sight for sight in SIGHTS if sight in said.lower()] == []
    assert "the database refused it" in said or "a value makes it fail" in said


@pytest.mark.parametrize("state", ["42601", "42703", "42P01", "22023", "23505", "57014", "XX000", "P0001"])
def test_p09_nor_does_a_message_under_any_sqlstate(postgres_db: str, state: str):
    """A function raises with what state it likes, that of a syntax error too."""
    script(postgres_db, TABLE.replace("{state}", state))

    said = refused("SELECT refused(email || ' ' || name) AS found FROM sales", postgres_db)

    assert [sight for sight in SIGHTS if sight in said.lower()] == []


@pytest.mark.parametrize(
    "value",
    [
        "strptime(email, '%Y')",
        "strptime(name, '%Y-%m-%d')",
        "error(email)",
        "error('no row for ' || name || ' ' || phone)",
        "name::INTEGER",
        "phone::DATE",
        "email::UUID",
        "regexp_matches(name, '(' || phone)",
        "nextval(email)",
        "getvariable(name)::INTEGER + name::INTEGER",
    ],
)
def test_p09_duckdb_quotes_no_value_to_anybody(tmp_path, value: str):
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE sales AS SELECT ? AS email, ? AS name, ? AS phone", [EMAIL, NAME, PHONE])

    said = refused(f"SELECT {value} AS found FROM sales", f"duckdb:///{path}")

    assert [sight for sight in SIGHTS if sight in said.lower()] == []
