"""Which ``:parameters`` a query asks for: read once, and as its database reads it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.config.queries import GRAMMARS, Parameter, find_query_problems, read_query_text

ENDS = "at >= :since AND at < :until"


def names(query: str, dialect: str | None = None) -> list[str]:
    text = read_query_text(query, dialect)
    assert text.problems == ()
    return [parameter.name for parameter in text.parameters]


def sent(query: str, dialect: str | None = None) -> str:
    """What reaches the database, with ``<name>`` for each parameter."""
    pieces = read_query_text(query, dialect).pieces
    return "".join(f"<{piece.name}>" if isinstance(piece, Parameter) else piece for piece in pieces)


# Each as its database runs it; both ends are asked for once, and the rest is text.
CLEAR = {
    "a cast behind a parameter": "SELECT * FROM t WHERE at >= :since::timestamptz AND at < :until ::timestamptz",
    "a cast that is called like a parameter": f"SELECT a::since, b :: until FROM t WHERE {ENDS}",
    "a line comment": f"-- rows between :since and :until, isn't it\nSELECT * FROM t WHERE {ENDS}",
    "a last line comment": f"SELECT * FROM t WHERE {ENDS} -- from :since on",
    "a comment behind the last semicolon": f"SELECT * FROM t WHERE {ENDS}; -- from :since on\n",
    "a block comment": f"SELECT * /* :since,\n it's :until */ FROM t WHERE {ENDS}",
    "JSON": f"""SELECT '{{"ok":true,"since":":since"}}' AS meta FROM t WHERE {ENDS}""",
    "a time of day": f"SELECT * FROM t WHERE hour <> ' :30' AND note <> ':since' AND {ENDS}",
    "a slice": f"SELECT (arr)[:2], arr[1:2], arr[2:] FROM t WHERE {ENDS}",
    "a doubled quote": f"SELECT 'it''s :since' FROM t WHERE {ENDS}",
    "a quote in a name": f"SELECT id AS \"client's\" FROM t WHERE {ENDS} AND kind = 'a'",
    "a quote in a name in backticks": f"SELECT id AS `client's :since` FROM t WHERE {ENDS} AND kind = 'a'",
    "backslash quotes": f"SELECT * FROM t WHERE email <> 'o\\'brien' AND {ENDS} AND kind = 'a'",
    "two backslash quotes around": f"SELECT * FROM t WHERE a <> 'o\\'b' AND {ENDS} AND b <> 'd\\'a'",
    "a text that ends with a backslash": f"SELECT 1 WHERE a LIKE 'x' ESCAPE '\\' AND {ENDS} AND b LIKE 'y' ESCAPE '\\'",
    "an E string": f"SELECT E'it\\'s :since' FROM t WHERE {ENDS} AND kind = 'a'",
    "an assignment": f"SELECT @n := 5, f(a := 1) FROM t WHERE {ENDS}",
    "a path into JSON": f"SELECT payload:shop.name, payload[0]:price FROM t WHERE {ENDS}",
    "operators of JSON": f"SELECT * FROM t WHERE data #>> '{{a}}' = 'x' AND data ? 'b' AND {ENDS}",
    "no blanks": "SELECT * FROM t WHERE(at>=:since)AND(at<:until)",
    "percent signs": f"SELECT * FROM t WHERE a LIKE '%s %(since)s 100 %' AND {ENDS}",
    "a name with a colon": f'SELECT "a:since" FROM t WHERE {ENDS}',
    "letters of others": f"SELECT 'Größe :since' AS größe FROM t WHERE {ENDS}",
}  # fmt: skip


@pytest.mark.parametrize("query", CLEAR.values(), ids=CLEAR.keys())
def test_both_ends_are_found_and_nothing_else(query: str) -> None:
    assert find_query_problems(query) == []
    assert sorted(names(query)) == ["since", "until"]


# Read by the rules of the one database that runs them.
OF_ONE_DATABASE = {
    "mysql": [
        f"SELECT * FROM t # not before :since\nWHERE {ENDS}",
        f"SELECT 5--:since_utc\n FROM t WHERE {ENDS}".replace("--:since_utc", "--1"),
        f"SELECT /*!50000 SQL_NO_CACHE */ * FROM t WHERE {ENDS}",
        f'SELECT "so \\":since\\"" FROM t WHERE {ENDS}',
    ],
    "postgresql": [
        f"SELECT $$it's :since$$, $q$ $$:until$$ $q$ FROM t WHERE {ENDS}",
        f"SELECT * /* outer /* inner */ :since */ FROM t WHERE {ENDS}",
        f"SELECT data #> '{{a}}' FROM t WHERE {ENDS}",
        f"SELECT E'it\\'s :since', e'\\\\' FROM t WHERE {ENDS} AND kind = 'a'",
        f"SELECT '\\' FROM t WHERE {ENDS} AND a <> '\\'",
        f"SELECT a [ 1:2 ], ARRAY['x', 'it''s'] FROM t WHERE {ENDS}",
    ],
    "mssql": [f"SELECT [client's :since], [a]]b] FROM #t WHERE {ENDS} AND kind = 'a'"],
    "sqlite": [f"SELECT [it's :until] FROM t WHERE {ENDS} AND kind = 'a'"],
    "oracle": [f"SELECT q'[it's :since]', Q'!isn't!' FROM dual WHERE {ENDS}"],
    "snowflake": [f"SELECT $$it's :since$$ // not :until\nFROM t WHERE {ENDS}"],
    "bigquery": [f"SELECT '''it's :since''', r\"a\\\":until\" FROM t # :since\nWHERE {ENDS}"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "query"), [(dialect, query) for dialect, queries in OF_ONE_DATABASE.items() for query in queries]
)
def test_a_query_is_read_by_the_rules_of_its_database(dialect: str, query: str) -> None:
    assert names(query, dialect) == ["since", "until"]


@pytest.mark.parametrize(
    ("query", "line", "said"),
    [
        (f"SELECT data #>> '{{a}}',\n :since # :since\nFROM t WHERE {ENDS}", 2, "part of what # begins in line 2"),
        (f"SELECT a[1], [:since]\nFROM t WHERE {ENDS}", 1, 'write names in "double quotes"'),
        (f"SELECT 1 /* /* */ + :since /* */ */ */\nFROM t WHERE {ENDS}", 1, "do not put a comment into a comment"),
        (f"SELECT 5--:since\nFROM t WHERE {ENDS}", 1, "write a blank after --"),
        (f"SELECT\n $$ :since $$\nFROM t WHERE {ENDS}", 2, "write texts in 'single quotes'"),
        (f"SELECT\n 4 // :since\nFROM t WHERE {ENDS}", 2, "after the operator //"),
        (f"SELECT :sinse\nFROM t WHERE {ENDS}", 1, 'it uses :sinse, which is not given; did you mean "since"?'),
        (f"SELECT 1\n, arr[:n] FROM t WHERE {ENDS}", 2, "it uses :n, which is not given. Given are :since, :until"),
        (f"SELECT 1\nFROM t WHERE {ENDS} AND payload:since = 1", 2, ":since stands right behind another word"),
        (f"SELECT 1\n, '\\:30' FROM t WHERE {ENDS}", 2, "\\: stands in quotes, where a colon needs no backslash"),
        (f"SELECT 1 FROM t\nWHERE a = 'x AND {ENDS}", 2, "what ' begins there has no end"),
        (f"SELECT 1 FROM t\nWHERE {ENDS} /* and", 2, "what /* begins there has no end"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_apart_is_refused_with_its_line(query: str, line: int, said: str) -> None:
    (problem, *_) = find_query_problems(query)

    assert problem.startswith(f"line {line}: ")
    assert said in problem


@pytest.mark.parametrize(
    ("query", "missing"),
    [
        ("SELECT 1", ["since", "until"]),
        ("SELECT 1 WHERE at >= :since_utc -- AND at < :until", ["until"]),
        ("SELECT 1 WHERE at >= ':since' AND at < :until_utc", ["since"]),
    ],
)
def test_an_end_that_is_never_asked_for_is_named(query: str, missing: list[str]) -> None:
    found = find_query_problems(query)

    assert found == [
        f"the query never uses :{end} (or :{end}_utc), so every run would read all rows" for end in missing
    ]


def test_a_reading_in_which_a_text_runs_into_a_word_is_not_what_was_meant() -> None:
    """Without its backslashes the text would end before ``b`` and take in the first parameter."""
    query = f"SELECT * FROM t WHERE a <> 'o\\'b' AND seen > :since AND b <> 'd\\'a' AND {ENDS}"

    assert names(query) == names(query, "mysql") == ["since", "since", "until"]
    assert names(query, "postgresql") == ["since", "until"]


def test_what_a_database_reads_otherwise_than_check_did_is_refused_by_the_run() -> None:
    """``check`` takes # for the operator that it seems to be; MySQL takes the rest of the line for a comment."""
    query = f"SELECT * FROM t WHERE data #>> '{{a}}' = 'x' AND {ENDS}"

    assert find_query_problems(query) == []
    assert read_query_text(query, "postgresql").problems == ()
    assert read_query_text(query, "mysql").problems == (
        "on mysql every :since of the query stands in a comment or in quotes",
        "on mysql every :until of the query stands in a comment or in quotes",
    )


def test_the_text_between_the_parameters_reaches_the_database_as_written() -> None:
    query = "SELECT 'a:b', x::int, \\:z -- :since;\nFROM t WHERE at > :since ; -- end\n ;"

    assert sent(query) == "SELECT 'a:b', x::int, :z -- :since;\nFROM t WHERE at > <since>  -- end\n "


PARTS = (
    ":since",
    ":until",
    "::text",
    "'",
    '"',
    "`",
    "[",
    "]",
    "--",
    "/*",
    "*/",
    "#",
    "$$",
    "\\",
    "\\:",
    ":",
    "\n",
    " ",
    "a",
    "é",
    "//",
)


@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join), st.sampled_from([None, *GRAMMARS]))
def test_nothing_is_lost_of_any_text(query: str, dialect: str | None) -> None:
    """Every parameter stands in the query at its line, and between them only the marks we give meaning to are gone."""
    text = read_query_text(query, dialect)

    for parameter in text.parameters:
        assert f":{parameter.name}" in query.splitlines()[parameter.line - 1] + "\n"
    whole = "".join(f":{piece.name}" if isinstance(piece, Parameter) else piece for piece in text.pieces)
    assert re.sub(r"[\\;]", "", whole) == re.sub(r"[\\;]", "", query)
