"""Clients as rows of a table: the same fields and messages as in YAML, and one bad row costs one client."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from offline_capi.config.client import ClientTable
from offline_capi.config.client_table import select_valid_rows
from tests.clients.world import CANARIES, SHOP_PIXEL, SHOP_TOKEN, Platform, kept_secret

COLUMNS = ("name", "pixel_id", "token__env", "country", "external_id__send", "allowed_fields", "active", "contacts")
GOOD: dict[str, Any] = {"name": "shop", "pixel_id": int(SHOP_PIXEL), "token__env": "SHOP_TOKEN"}
_NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TABLE = "clients: {connection: crm, sql: clients.sql}\n"


@pytest.fixture
def table(platform: Platform) -> Platform:
    (platform.home / "sql").mkdir()
    (platform.home / "sql" / "clients.sql").write_text("SELECT * FROM client ORDER BY name", encoding="utf-8")
    platform.env["OFFLINE_CAPI_CONN_CRM"] = f"sqlite:///{platform.home / 'crm.db'}"
    platform.write(f"platform: {{partner_agent: datapartner}}\n{TABLE}")
    return platform


def fill(platform: Platform, *rows: Mapping[str, Any]) -> None:
    with sqlite3.connect(platform.home / "crm.db") as database:
        database.execute("DROP TABLE IF EXISTS client")
        database.execute(f"CREATE TABLE client ({', '.join(COLUMNS)})")
        for row in rows:
            values = [row.get(column) for column in COLUMNS]
            database.execute(f"INSERT INTO client VALUES ({', '.join('?' * len(COLUMNS))})", values)


def test_a_client_of_a_table_is_one_of_yaml(table: Platform) -> None:
    more = {"country": "DE", "external_id__send": "raw", "allowed_fields": '["user_data"]', "active": 1}
    fill(table, GOOD | more | {"contacts": "a@shop.example"})

    said = table.run("pull", "--json")
    from_table = table.deployment.clients
    table.write(
        f'platform: {{partner_agent: datapartner}}\nclients:\n  shop: {{pixel_id: "{SHOP_PIXEL}", token: '
        "{env: SHOP_TOKEN}, country: DE, external_id: {send: raw}, allowed_fields: [user_data], "
        "contacts: a@shop.example}\n"
    )

    assert (said.code, said.json) == (0, {"version": 1, "clients": 1, "problems": []})
    assert from_table == table.deployment.clients


def test_clients_that_were_never_pulled_are_a_problem_with_its_remedy(table: Platform) -> None:
    said = table.run("list")

    assert "ConfigError" in said.error
    assert "run `offline-capi clients pull`" in said.error


def test_each_faulty_row_is_named_and_costs_its_client_alone(table: Platform) -> None:
    """A client that stands twice is left out: which row is meant cannot be told. So with a pixel of two clients."""
    fill(
        table,
        GOOD,
        GOOD | {"name": "a_bad_pixel", "pixel_id": 12},
        GOOD | {"name": "b_bad_country", "pixel_id": 100002, "country": "UK"},
        GOOD | {"name": "c twice", "pixel_id": 100003},
        GOOD | {"name": "d_twice", "pixel_id": 100004},
        GOOD | {"name": "d_twice", "pixel_id": 100005},
        GOOD | {"name": "e_same", "pixel_id": 100006},
        GOOD | {"name": "f_same", "pixel_id": 100006},
        GOOD | {"name": None, "pixel_id": 100007},
        GOOD | {"name": "g_no_token", "pixel_id": 100008, "token__env": None},
    )

    said = table.run("pull", "--json")

    assert (said.code, said.json["clients"], list(table.deployment.clients)) == (1, 1, ["shop"])
    told = "\n".join("{file}  {path}  {message}".format(**one) for one in said.json["problems"])
    for words in (
        "row 2  clients.a_bad_pixel.pixel_id  is not a pixel id",
        'b_bad_country.country  "UK" is not a two-letter country',
        "needs a name of letters, digits",
        "clients.d_twice.name  stands 2 times",
        'e_same.pixel_id  is also the pixel of client "f_same"',
        'f_same.pixel_id  is also the pixel of client "e_same"',
        "name  is missing",
        "clients.g_no_token.token  is missing",
    ):
        assert words in told


def test_two_clients_may_share_a_pixel_when_both_say_so() -> None:
    one = GOOD | {"name": "one", "shares_pixel_with": "two"}
    both = select_valid_rows([one, GOOD | {"name": "two", "shares_pixel_with": "one"}], "clients.sql")
    half = select_valid_rows([one, GOOD | {"name": "two", "pixel_id": f'["100009", "{SHOP_PIXEL}"]'}], "clients.sql")

    assert (list(both.clients), both.problems) == (["one", "two"], ())
    assert (half.clients, len(half.problems)) == ({}, 2)


@pytest.mark.parametrize("column", ["token", "name", "contacts", "partner_agent", "token__env", "unheard_of"])
def test_p09_a_token_in_the_table_is_refused_and_never_shown(column: str) -> None:
    found = select_valid_rows([GOOD | {column: SHOP_TOKEN}], "clients.sql")

    assert found.clients == {}
    assert found.problems
    assert kept_secret(str(found.problems), canaries=CANARIES)


def test_an_empty_or_unreachable_table_leaves_the_clients_as_they_were(table: Platform) -> None:
    fill(table, GOOD)
    table.run("pull")

    fill(table)
    empty = table.run("pull")
    (table.home / "crm.db").unlink()
    gone = table.run("pull")

    assert "has no row. Nothing was changed" in empty.error
    assert "SourceError" in gone.error
    assert list(table.deployment.clients) == ["shop"]


def test_an_upload_of_a_client_that_was_left_out_still_loads(table: Platform) -> None:
    """Its rows will be deferred as those of an unknown client; the uploads of others are not to fail for it."""
    fill(table, GOOD)
    table.run("pull")
    (table.home / "uploads" / "sales.yml").write_text(
        "client: left_out\nsource: {path: a.csv}\nwindow: {column: t}\n"
        "event: {name: Purchase, id: i, action_source: other}\nuser_data: {em: e}\n",
        encoding="utf-8",
    )

    assert "sales" in table.deployment.uploads


# ---------------------------------------------------------------------------------------------- what others may not do


def pull(table: Platform, *rows: Mapping[str, Any]) -> list[str]:
    fill(table, *rows)
    table.run("pull")
    return sorted(table.deployment.clients)


def test_p17_a_newcomer_that_claims_anothers_pixel_is_left_out_and_the_other_stays(table: Platform) -> None:
    """Was: both were left out, so that a row of one client held the events of another from the next pull on."""
    claim = GOOD | {"name": "a_claim"}
    further = GOOD | {"name": "b_further", "pixel_id": f'["100009", "{SHOP_PIXEL}"]'}

    assert pull(table, GOOD) == ["shop"]
    assert pull(table, claim, GOOD, further) == ["shop"]
    assert pull(table, claim, GOOD, further) == ["shop"], "and again"


def test_p17_a_pixel_stays_its_clients_while_the_row_of_that_is_faulty(table: Platform) -> None:
    claim = GOOD | {"name": "a_claim"}
    pull(table, GOOD)

    assert pull(table, claim, GOOD | {"country": "UK"}) == []
    assert pull(table, claim, GOOD | {"country": "UK"}) == []
    assert pull(table, claim, GOOD) == ["shop"]


def test_a_pixel_changes_hands_when_the_row_of_its_client_is_gone_or_names_another(table: Platform) -> None:
    pull(table, GOOD)

    assert pull(table, GOOD | {"name": "heir"}) == ["heir"]
    assert pull(table, GOOD | {"name": "heir", "pixel_id": 100009}, GOOD) == ["heir", "shop"]


def test_p17_a_second_row_of_anothers_name_changes_nothing_for_it(table: Platform) -> None:
    pull(table, GOOD)

    assert pull(table, GOOD | {"token__env": "OTHER_TOKEN"}, GOOD, GOOD | {"pixel_id": 100009}) == ["shop"]
    assert str(table.deployment.clients["shop"].token) == "{env: SHOP_TOKEN}"


@pytest.mark.parametrize("pixel", ["１１１１１１", "٠١٢٣٤٥٦", "0111111", "1111"])
def test_p17_a_pixel_has_one_spelling(pixel: str) -> None:
    """Was: other digits and zeros before made another pixel of it for us, and maybe not for Meta."""
    found = select_valid_rows([GOOD | {"pixel_id": pixel}], "clients.sql")

    assert found.clients == {}
    assert "is not a pixel id" in str(found.problems[0])


#: What is said of a name without the prefix.
FOREIGN = 'does not begin with "CAPI_"'


@pytest.mark.parametrize(
    ("rule", "row", "said"),
    [
        ("", {"token": '{"file": "/etc/passwd"}'}, "clients.secret_files allows it"),
        (", secret_prefix: CAPI_", {"token": '{"env": "DATABASE_PASSWORD"}'}, FOREIGN),
        (", secret_prefix: CAPI_", {"token": '{"connection": "warehouse"}'}, FOREIGN),
        (", secret_prefix: CAPI_", {"token": '{"store": "other"}'}, FOREIGN),
        (", secret_prefix: CAPI_", {"token": '{"env": "CAPI_"}'}, FOREIGN),
        (", secret_prefix: CAPI_", {"token__env": "CAPI_A", "app_secret": '{"env": "X"}'}, FOREIGN),
        (
            ", secret_prefix: CAPI_",
            {"token__env": "CAPI_A", "pixel_id": '["100008", {"id": "100009", "token": {"env": "X"}}]'},
            FOREIGN,
        ),
        (", secret_prefix: CAPI_", {"token__env": "CAPI_A"}, ""),
        (", secret_prefix: 'CAPI_{client}_'", {"token__env": "CAPI_SHOP_TOKEN"}, ""),
        (", secret_prefix: 'CAPI_{client}_'", {"token__env": "CAPI_SHOP_"}, 'does not begin with "CAPI_SHOP_"'),
        (", secret_prefix: 'CAPI_{client}_'", {"token__env": "CAPI_OTHER_TOKEN"}, 'does not begin with "CAPI_SHOP_"'),
        (", secret_prefix: 'CAPI_{client}_'", {"token": '{"store": "CAPI_A"}'}, 'does not begin with "CAPI_SHOP_"'),
        (", secret_files: true", {"token": '{"file": "/run/secrets/a"}'}, ""),
    ],
)
def test_p17_a_row_names_only_secrets_that_the_platform_lets_it(rule: str, row: dict[str, Any], said: str) -> None:
    """Was: a row could have any file or variable of the machine sent to Meta as its token."""
    table = ClientTable.model_validate(yaml.safe_load(f"{{connection: crm, sql: clients.sql{rule}}}"))
    fields = {key: value for key, value in GOOD.items() if key != "token__env"} | row

    found = select_valid_rows([fields], "clients.sql", table)

    assert (list(found.clients), said in str(found.problems)) == ([] if said else ["shop"], True)


@pytest.mark.parametrize(
    ("rivals", "secrets", "good"),
    [
        (("shop", "shop_2"), ("CAPI_SHOP_TOKEN", "CAPI_SHOP_2_TOKEN"), ["shop", "shop_2"]),
        (("shop", "shop_2"), ("CAPI_SHOP_2_TOKEN", "CAPI_SHOP_2_TOKEN"), ["shop_2"]),
        (("shop-2", "shop_2"), ("CAPI_SHOP_2_TOKEN", "CAPI_SHOP_2_OTHER"), []),
        (("shop.a", "SHOP"), ("CAPI_SHOP_A_TOKEN", "CAPI_SHOP_A_TOKEN"), ["shop.a"]),
    ],
)
def test_p17_a_row_names_no_secret_of_another_client(rivals: tuple[str, ...], secrets: tuple[str, ...], good) -> None:
    """Also where one client's prefix begins with another's."""
    settings = "{connection: crm, sql: clients.sql, secret_prefix: 'CAPI_{client}_'}"
    rows = [
        GOOD | {"name": name, "pixel_id": 100008 + number, "token__env": secret}
        for number, (name, secret) in enumerate(zip(rivals, secrets, strict=True))
    ]

    found = select_valid_rows(rows, "clients.sql", ClientTable.model_validate(yaml.safe_load(settings)))

    assert sorted(found.clients) == sorted(good)
    assert len(found.problems) == len(rivals) - len(good)
    assert all("clients.secret_prefix" in str(problem) for problem in found.problems)


@pytest.mark.parametrize("prefix", ["CAPI_{Client}_", "{}", "CAPI_{client}_{0}", "{client"])
def test_other_braces_in_the_prefix_are_refused(prefix: str) -> None:
    with pytest.raises(ValidationError, match="no other braces"):
        ClientTable(connection="crm", sql="clients.sql", secret_prefix=prefix)
