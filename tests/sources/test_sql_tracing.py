"""Tables of a query and origins of its columns, in each database's dialect; only what is certain."""

from __future__ import annotations

import logging

import pytest

from offline_capi.sources.sql.tracing import trace_query


@pytest.mark.parametrize(
    ("dialect", "query", "tables"),
    [
        ("postgresql", "SELECT * FROM orders WHERE at >= :since", ["orders"]),
        ("postgresql", 'select * from "sales"."Orders" o join Crm.people p on true', ["sales.Orders", "crm.people"]),
        ("mysql", "select * from `crm`.people p join x using (id)", ["crm.people", "x"]),
        ("mssql", "SELECT * FROM [dbo].[orders]\nLEFT JOIN dbo.shops ON 1 = 1", ["dbo.orders", "dbo.shops"]),
        ("bigquery", "SELECT id FROM `p.d.orders`, UNNEST(items)", ["p.d.orders"]),
        ("snowflake", "SELECT id FROM hr.people WHERE at >= :since", ["hr.people"]),
        ("oracle", "SELECT id FROM orders WHERE at >= :since", ["orders"]),
        ("clickhouse", "SELECT id FROM db.orders FINAL", ["db.orders"]),
        (
            "postgresql",
            "WITH recent AS (SELECT * FROM orders), b AS MATERIALIZED (SELECT 1) SELECT * FROM recent, b",
            ["orders"],
        ),
        ("postgresql", "SELECT * FROM (SELECT * FROM orders) x JOIN LATERAL (SELECT 1) y ON true", ["orders"]),
        ("postgresql", "SELECT EXTRACT(year FROM at), trim(both ' ' from name) FROM orders", ["orders"]),
        ("postgresql", "SELECT * FROM orders WHERE a IS DISTINCT FROM b", ["orders"]),
        ("postgresql", "SELECT * FROM generate_series(1, 3) JOIN orders ON true", ["orders"]),
        ("postgresql", "SELECT id FROM orders WHERE shop IN (SELECT id FROM shops)", ["orders", "shops"]),
        ("postgresql", "SELECT a FROM x UNION ALL SELECT a FROM y UNION SELECT a FROM z", ["x", "y", "z"]),
        (
            "postgresql",
            "SELECT ' from nowhere ' -- from a comment\n/* from another */ FROM orders JOIN orders b ON true",
            ["orders"],
        ),
        ("postgresql", "SELECT 1", []),
    ],
)
def test_the_tables_of_a_query(dialect: str, query: str, tables: list[str]):
    assert [*trace_query(query, dialect).tables] == tables


#: A query, one of its columns, and where that comes from: ``table.column:USE``; ``None``: not certain.
ORIGINS: list[tuple[str, str, list[str] | None]] = [
    ("SELECT email FROM people", "email", ["people.email:IDENTITY"]),
    ("SELECT * FROM people", "email", ["people.email:IDENTITY"]),
    ("SELECT mail AS email FROM people p", "Email", ["people.mail:IDENTITY"]),
    ("SELECT lower(mail) AS email FROM people", "email", ["people.mail:TRANSFORMATION"]),
    ("SELECT 'x' AS email FROM people", "email", []),
    ("SELECT :since AS email FROM people", "email", []),
    ("SELECT sum(total) AS value FROM orders GROUP BY person", "value", ["orders.total:AGGREGATION"]),
    (
        "WITH r AS (SELECT sum(total) AS t FROM orders GROUP BY person) SELECT t * 2 AS value FROM r",
        "value",
        ["orders.total:AGGREGATION"],
    ),
    (
        "WITH r AS (SELECT p.Mail AS m FROM crm.People p JOIN x ON x.id = p.id) SELECT m AS email FROM r",
        "email",
        ["crm.people.mail:IDENTITY"],
    ),
    ("SELECT o.*, p.email FROM orders o JOIN people p ON o.p = p.id", "total", ["orders.total:IDENTITY"]),
    (
        "SELECT first || ' ' || p.last AS name FROM people p",
        "name",
        ["people.first:TRANSFORMATION", "people.last:TRANSFORMATION"],
    ),
    ("SELECT m FROM a UNION ALL SELECT lower(n) FROM b", "m", ["a.m:IDENTITY", "b.n:TRANSFORMATION"]),
    ("SELECT lower(email) AS email FROM people", "email", ["people.email:TRANSFORMATION"]),
    ("SELECT lower(mail) AS m, m || '.' AS email FROM people", "email", None),
    ("SELECT email FROM orders JOIN people ON true", "email", None),
    ("SELECT * FROM orders JOIN people ON true", "email", None),
    ("SELECT (SELECT max(at) FROM visits) AS at FROM orders", "at", None),
    ("SELECT n FROM generate_series(1, 3) AS g(n)", "n", None),
    ("SELECT email FROM people", "no_such", None),
    ("SELECT * FROM a UNION ALL SELECT * FROM b", "email", None),
    ("WITH RECURSIVE r AS (SELECT id FROM t UNION ALL SELECT id FROM r) SELECT id FROM r", "id", None),
    ("SELECT broken FROM FROM", "broken", None),
]


@pytest.mark.parametrize(("query", "column", "origins"), ORIGINS)
def test_a_column_is_traced_to_its_tables_or_not_at_all(query: str, column: str, origins: list[str] | None):
    found = trace_query(query, "postgresql", [column]).columns.get(column)

    assert (found and [f"{one.table}.{one.column}:{one.use}" for one in found]) == (origins or found)
    assert (found is None) == (origins is None)


def test_what_decides_about_rows_is_told_with_its_kind():
    query = (
        "WITH r AS (SELECT o.person, sum(o.total) AS t FROM orders o JOIN shops s ON o.shop = s.id "
        "WHERE o.at >= :since GROUP BY o.person HAVING sum(o.total) > 5) SELECT * FROM r WHERE t < 100"
    )

    found = {f"{one.table}.{one.column}:{one.use}" for one in trace_query(query, "postgresql").rows}

    assert found == {
        "orders.at:FILTER",
        "orders.total:FILTER",
        "orders.shop:JOIN",
        "shops.id:JOIN",
        "orders.person:GROUP_BY",
    }


def test_nothing_of_a_query_but_names_comes_out(caplog: pytest.LogCaptureFixture):
    """Neither in what is told nor in sqlglot's log, which quotes what it does not understand."""
    query = "SELECT id, 'canary' AS who FROM orders WHERE who = 'canary' AND note LIKE '%canary%' -- canary"
    with caplog.at_level(logging.DEBUG):
        found = repr(trace_query(query, "postgresql", ["id", "who"]))
        for odd in ("ALTER TABLE canary FROBNICATE", "SHOW canary", "SELECT 'canary", "SELECT canary('canary' FROM"):
            assert trace_query(odd, "snowflake").columns == {}

    assert "canary" not in found
    assert "canary" not in caplog.text
