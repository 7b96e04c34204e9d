"""The border for words: what may be shown of texts that others wrote."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.runtime.border import (
    MAX_SHOWN_CHARS,
    column_names,
    is_name,
    list_columns,
    near_misses,
    shown,
    visible,
    without_userinfo,
    words_of_database,
)
from tests.support.night import Night
from tests.support.sales import sale, sales_night, write
from tests.support.sandbox_server import Sandbox

HOSTILE = "\x1b[2J\x1b[H✓ 26 sent\x1b[8m\x07\x9b\u202eevil\u2028new line\r\nforged [bold]line[/bold]"


@given(st.text(max_size=200))
def test_p23_what_is_shown_is_one_line_bounded_and_steers_nothing(text: str) -> None:
    told = shown(text)

    assert not {"Cc", "Cf", "Cs", "Zl", "Zp"} & {unicodedata.category(char) for char in told}
    assert len(told) <= 10 * MAX_SHOWN_CHARS
    assert told.isprintable() or {unicodedata.category(char) for char in told if not char.isprintable()} == {"Zs"}
    told.encode()


@pytest.mark.parametrize("text", ["plain", "Größe", "日本語", "price\u00a0€", "😀"])
def test_what_people_write_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("name", ["email", "E-Mail", "Größe", "utm_source", "customer.email", "amount 2", "名前"])
def test_names_of_columns_are_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "value",
    ["jane@example.com", "jane%40example.com", "12.50", "2026-11-28", "+14155552671", "a 415 555 2671", "94999", "",
     "x" * 61, "d" + "0123456789abcdef" * 2, "root:x:0:0", "078-05-1120", "n\x1b[2J"],
)  # fmt: skip
def test_values_are_no_names(value: str) -> None:
    assert not is_name(value)


def test_p23_a_first_line_without_a_known_name_may_be_a_row() -> None:
    row = ["Anna", "Smith", "Berlin"]

    assert column_names(row, ["email", "first"]) == []
    assert "Anna" not in list_columns(row, ["email", "first"])
    assert column_names([*row, "e_mail"], ["email"]) == ["e_mail"]
    assert list_columns([*row, "EMAIL"], ["email"]) == "It has: Anna, Smith, Berlin, EMAIL."
    assert list_columns(["email", "a@b.c"], ["email"]) == (
        "It has: email and 1 column whose names may be values, so they are not shown."
    )


@pytest.mark.parametrize(
    "name", ["corner_shop", "Corner-Shop", "cornershop", "corner_shp", "corner_shopp", "cornre_shop"]
)
def test_a_known_client_misspelt_is_named(name: str) -> None:
    assert near_misses(frozenset({"corner_shop", "acme"})).named(name) == name


@pytest.mark.parametrize(
    "name",
    ["Anna Smith", "Anna_Smith", "+14155552671", "acmes", "corner", "shop", "jane@corner_shop", "corner_shop" * 9],
)
def test_p23_a_stranger_is_not_named(name: str) -> None:
    """``acmes``: of four letters, too many words are one letter off."""
    assert near_misses(frozenset({"corner_shop", "acme"})).named(name) is None


QUERY = "SELECT emial, custmer(x) FROM shop.sales WHERE kind = 'web'"


@pytest.mark.parametrize(
    "message",
    ['column "emial" does not exist', "no such column: emial", "function custmer(integer) does not exist",
     'Catalog Error: Table with name sales does not exist!', "(1146, \"Table 'shop.sales' doesn't exist\")"],
)  # fmt: skip
def test_a_databases_message_about_the_query_is_shown(message: str) -> None:
    assert words_of_database(message, QUERY, ["1146"]) == message


@pytest.mark.parametrize(
    "message",
    ['relation "zyxcan@leaktest.org" does not exist', 'syntax error in tsquery: "Zyxcanfirst Zyxcanlast"',
     "cannot handle row zyxcan@leaktest.org", "no row for Zyxcanfirst O'Zyxcan", "too many dotted names: zyxcan.a.b.c",
     "Numeric value 'Zyxcan' is not recognized", "bad\x1bZyxcan", "value 4155552671 is out of range", "Zyxcan@sales"],
)  # fmt: skip
def test_p23_whatever_else_a_database_says_is_not(message: str) -> None:
    told = words_of_database(message, QUERY).lower()

    assert "…" in told
    assert not any(sight in told for sight in ("zyxcan", "leaktest", "4155552671"))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://key:s3cr3t@bucket/a.csv", "s3://***@bucket/a.csv"),
        ("s3://key:s3cr3t@canaryPW@bucket/a.csv", "s3://***@bucket/a.csv"),
        ("s3://key:s3cr3t/canaryPW@bucket/a.csv", "s3://***@bucket/a.csv"),
        ("s3://bucket/by@day/a.csv?token=x", "s3://bucket/by@day/a.csv"),
        ("sales/a@b.csv", "sales/a@b.csv"),
    ],
)
def test_p09_a_password_is_hidden_whatever_it_holds(url: str, told: str) -> None:
    """Was: the half of it behind an @ was shown."""
    assert without_userinfo(url) == told


# ---------------------------------------------------------------------------------------------- terminals


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    return sales_night(tmp_path, sandbox)


def test_p23_nothing_of_a_tenant_steers_the_operators_terminal(night: Night) -> None:
    """In ids, clients and names of files. Was: the screen cleared, a forged green line, text hidden behind it."""
    rows = [sale(f"{HOSTILE}-1", amount="much"), sale("s-2", HOSTILE), sale("s-3", f"Corner_Shop{HOSTILE}", amount="x")]
    write(night, rows, "a\x1b[2J\u202e[red].csv")

    commands = [["plan", "sales"], ["upload", "sales"], ["rejects"], ["rejects", "--json"], ["report", "--json"],
                ["report", "--html", "r.html"], ["status"], ["status", "--days"]]  # fmt: skip
    said = [night.run(*command, env={"FORCE_COLOR": "1", "TERM": "xterm-256color"}) for command in commands]

    for one in said:
        steering = {char for char in one.out + one.err if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")}
        assert steering <= {"\n", "\x1b"}
        assert "\x1b[2J" not in one.out + one.err
        assert "\x1b[8m" not in one.out + one.err
        assert not any(line.strip().startswith("forged") for line in one.out.splitlines())
    assert "\\x1b[2J" in said[2].out
    assert any(row["event_id"].startswith("\x1b[2J") for row in json.loads(said[3].out)["rows"])
    page = (night.home / "r.html").read_text(encoding="utf-8")
    assert not {"\x1b", "\u202e", "\u2028"} & set(page)


def test_p23_a_tenants_long_names_cost_nothing(night: Night) -> None:
    """Was: 50 of them made a ledger of 90 MB and reports that took a minute."""
    write(night, [sale(f"s-{n}", f"{n}{'x' * 900_000}") for n in range(50)])

    said = night.run("upload", "sales")

    assert "50 deferred" in said.out
    assert sum(path.stat().st_size for path in night.home.glob("ledger.db*")) < 2_000_000
    assert sum(path.stat().st_size for path in (night.home / "stage").rglob("*") if path.is_file()) < 100_000
