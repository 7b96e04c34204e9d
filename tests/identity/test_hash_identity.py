"""The stage: what goes in readable comes out as digests, each row by its own client's rules."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from offline_capi import hash_frame
from offline_capi.config.client import Client, ExternalIdPolicy
from offline_capi.config.types import SecretRef
from offline_capi.errors import UsageError
from offline_capi.identity import hash_identity, inspect_identity
from offline_capi.model import HashedRows, IdentityColumn, MappedRows


def _client(country: str | None = None, **policy: Any) -> Client:
    return Client(
        pixel_id="1234567890", token=SecretRef(env="T"), country=country, external_id=ExternalIdPolicy(**policy)
    )


CLIENTS = {"acme": _client("US"), "albion": _client("GB", send="raw", lower=True), "nowhere": _client()}


def _rows(clients: Sequence[str | None], **identity: IdentityColumn | list[IdentityColumn]) -> MappedRows:
    count = len(clients)
    columns = {key: one if isinstance(one, list) else [one] for key, one in identity.items()}
    return MappedRows(
        "test.csv", pa.array(range(1, count + 1)), pa.array(clients, pa.string()), {}, columns, {},
        pa.repeat(pa.scalar(value=False), count),
    )  # fmt: skip


def _column(*values: str | None, label: str = "column", **more: Any) -> IdentityColumn:
    return IdentityColumn(pa.array(values, pa.string()), label, **more)


def _sha(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _sent(hashed: HashedRows, key: str) -> list[list[str | None]]:
    return [array.to_pylist() for array in hashed.identity[key]]


def _dropped(hashed: HashedRows) -> set[tuple[str, str, str, int]]:
    return {(one.key, one.column, one.cause, one.count) for one in hashed.dropped}


def test_each_row_is_read_in_its_clients_country() -> None:
    """One batch, several clients: the default country is the row's own client's."""
    rows = _rows(["acme", "albion", "nowhere", None, "stranger"], ph=_column(*["020 7946 0958"] * 5))

    hashed = hash_identity(rows, clients=CLIENTS)

    assert _sent(hashed, "ph") == [[None, _sha("442079460958"), None, None, None]]
    assert _dropped(hashed) == {
        ("ph", "column", "phone_too_long", 1),
        ("ph", "column", "no_country_for_phone", 3),
    }


def test_the_nearest_country_counts() -> None:
    """The column's own country, else the row's, else the client's; an unknown word is no country."""
    rows = _rows(
        ["acme"] * 4,
        country=_column("UK", "UK", None, "Atlantis"),
        ph=_column(*["030 901820"] * 4, country=pa.array(["Germany", None, " ", None])),
    )

    assert _sent(hash_identity(rows, clients=CLIENTS), "ph") == [[_sha("4930901820"), None, None, None]]


def test_each_row_is_read_by_its_clients_profile() -> None:
    """One batch, three profiles: a row's digest is the one that its client's profile gives alone; the batch's order
    makes no difference, and a profile named for the run counts before the clients' own."""
    clients = {
        "modern": _client("US"),
        "migrant": _client("US").model_copy(update={"profile": "sdk"}),
        "builder": _client("US").model_copy(update={"profile": "param_builder"}),
    }
    names = ["migrant", "modern", None, "builder", "migrant"]
    rows = _rows(names, ln=_column(*["O'Brien Jr."] * 5), external_id=_column(*["User 1"] * 5))

    hashed = hash_identity(rows, clients=clients)
    forced = hash_identity(rows, clients=clients, profile="meta")

    sdk, ours = _sha("o'brien jr."), _sha("obrienjr")
    assert _sent(hashed, "ln") == [[sdk, ours, ours, ours, sdk]]
    assert _sent(hashed, "external_id") == [["User 1", _sha("User 1"), _sha("User 1"), _sha("user1"), "User 1"]]
    assert _sent(forced, "ln") == [[ours] * 5]
    assert _sent(forced, "external_id") == [[_sha("User 1")] * 5]


def test_the_default_profile_is_for_clients_without_one() -> None:
    clients = {"modern": _client("US").model_copy(update={"profile": "meta"}), "plain": _client("US")}
    rows = _rows(["modern", "plain", None], ln=_column(*["O'Brien"] * 3))

    hashed = hash_identity(rows, clients=clients, default_profile="sdk")

    assert _sent(hashed, "ln") == [[_sha("obrien"), _sha("o'brien"), _sha("o'brien")]]


@pytest.mark.parametrize("twins", [1, 2_000])
def test_listed_junk_is_dropped_wherever_it_stands(twins: int) -> None:
    """In any spelling and column, hashed here or before; raw keys by their hash; counted once a row."""
    shop, guest, office = _sha("16505551212"), _sha("guest"), _sha("192.0.2.1")
    rows = _rows(
        ["acme", "albion", "acme"] * twins,
        ph=[_column(*["(650) 555-1212", "+1 650 555 1212", "+1 415 555 0100"] * twins, label="one"),
            _column(*[shop.upper(), None, None] * twins, label="two", hashed=True)],
        external_id=_column(*["guest", "Guest", "User_1"] * twins),
        client_ip_address=_column(*["192.0.2.1", "192.0.2.2", None] * twins),
    )  # fmt: skip

    hashed = hash_identity(
        rows, clients=CLIENTS, junk={"ph": [shop], "external_id": [guest], "client_ip_address": [office]}
    )

    assert _sent(hashed, "ph") == [[None, None, _sha("14155550100")] * twins, [None] * 3 * twins]
    assert _sent(hashed, "external_id") == [[None, None, _sha("User_1")] * twins]
    assert _sent(hashed, "client_ip_address") == [[None, "192.0.2.2", None] * twins]
    assert _dropped(hashed) == {
        ("ph", "one", "listed_as_junk", 2 * twins),
        ("ph", "two", "listed_as_junk", twins),
        ("external_id", "column", "listed_as_junk", 2 * twins),
        ("client_ip_address", "column", "listed_as_junk", twins),
    }


def test_what_has_another_cause_keeps_it_beside_a_list_of_junk() -> None:
    rows = _rows(["acme"] * 3, em=_column("n/a", "a1@b.co", "x"))

    hashed = hash_identity(rows, clients=CLIENTS, junk={"em": [_sha("a1@b.co")]})

    assert {(cause, count) for _, _, cause, count in _dropped(hashed)} == {
        ("placeholder", 1),
        ("listed_as_junk", 1),
        ("not_an_email", 1),
    }


def test_inspection_tells_the_columns_of_a_key_apart() -> None:
    """As sent, before a row's second column loses what stands in its first; with what was filled and why it went."""
    rows = _rows(
        ["acme"] * 3, em=[_column("A1@b.co", "x", None, label="work"), _column(*["a1@b.co"] * 3, label="home")]
    )

    work, home = inspect_identity(rows, clients=CLIENTS)

    assert (work.key, work.label, home.label) == ("em", "work", "home")
    assert work.filled.to_pylist() == [True, True, False]
    assert work.values.to_pylist() == [_sha("a1@b.co"), None, None]
    assert work.cause.to_pylist() == [None, "not_an_email", None]
    assert home.values.to_pylist() == [_sha("a1@b.co")] * 3


def test_digits_newer_than_our_unicode_cost_their_value_and_not_the_run() -> None:
    """U+11BF0 is a digit for regular expressions, and nothing yet for Python 3.11: dropped where digits are wanted."""
    digit = "\U00011bf0"
    texts = [digit * 2, digit * 4, digit * 15, f"+1650555121{digit}", f"3/{digit}/1997", f"fb.1.{digit * 13}.x"]
    keys = ("ph", "zp", "db", "dobd", "dobm", "doby", "lead_id", "fbc", "page_id")
    rows = _rows(["acme"] * len(texts), **{key: _column(*texts) for key in keys})

    hashed = hash_identity(rows, clients=CLIENTS)

    assert {key: _sent(hashed, key) for key in keys} == {key: [[None] * len(texts)] for key in keys}
    assert {key for key, *_ in _dropped(hashed)} == set(keys)


def test_a_state_without_letters_is_counted() -> None:
    """Nothing disappears without a cause."""
    rows = _rows(["acme"] * 2, country=_column("FR", "FR"), st=_column("--12--", "\ufe0f\u0301"))

    assert ("st", "column", "no_letters", 2) in _dropped(hash_identity(rows, clients=CLIENTS))


def test_states_and_zips_follow_the_country_of_the_row() -> None:
    """``Georgia`` is a state in one country and a name in another; zeros come back by each country's format."""
    rows = _rows(["acme"] * 2, country=_column(None, "ES"), st=_column("Georgia", "Georgia"), zp=_column("501", "8001"))

    hashed = hash_identity(rows, clients=CLIENTS)

    assert _sent(hashed, "st") == [[_sha("ga"), _sha("georgia")]]
    assert _sent(hashed, "zp") == [[_sha("00501"), _sha("08001")]]


def test_external_id_follows_each_clients_policy() -> None:
    """Raw or hashed, trimmed, lower-case: what the client's browser pixel sends. Unknown clients are hashed."""
    rows = _rows(["acme", "albion", "stranger", "acme"], external_id=_column(" User_1 ", " User_2 ", "User_3", "n/a"))

    hashed = hash_identity(rows, clients=CLIENTS)

    assert _sent(hashed, "external_id") == [[_sha("User_1"), "user_2", _sha("User_3"), None]]
    assert _dropped(hashed) == {("external_id", "column", "placeholder", 1)}


def test_policies_without_trimming() -> None:
    """A policy may keep blanks, for a pixel that sends them."""
    rows = _rows(["odd", "odd"], external_id=_column(" A ", " "))

    hashed = hash_identity(rows, clients={"odd": _client(trim=False)})

    assert _sent(hashed, "external_id") == [[_sha(" A "), None]]


def test_several_columns_become_several_values_once_each() -> None:
    """Lists keep their columns; a value that a row holds twice goes out once."""
    rows = _rows(
        ["acme"] * 3, em=[_column("a1@b.co", "x1@y.co", None, label="work"), _column("A1@b.co ", "z1@y.co",
            "q1@y.co", label="home")]
    )  # fmt: skip

    assert _sent(hash_identity(rows, clients=CLIENTS), "em") == [
        [_sha("a1@b.co"), _sha("x1@y.co"), None],
        [None, _sha("z1@y.co"), _sha("q1@y.co")],
    ]


def test_single_valued_keys_keep_the_first_usable() -> None:
    """Meta takes one IP address: the first that is one."""
    rows = _rows(["acme"] * 2, client_ip_address=[_column("x", "192.0.2.1"), _column("2001:db8::1", "192.0.2.2")])

    hashed = hash_identity(rows, clients=CLIENTS)

    assert _sent(hashed, "client_ip_address") == [["2001:db8::1", "192.0.2.1"]]
    assert _dropped(hashed) == {("client_ip_address", "column", "wrong_shape", 1)}


def test_declared_digests_are_checked() -> None:
    """64 hex digits pass in lower case; other digests and digests of nothing are dropped by name."""
    good = _sha("a@b.co")
    values = (good.upper(), "0" * 32, "0" * 40, "a@b.co", _sha(""), _sha("test@test.com"), None, good[:-1] + "g")

    hashed = hash_identity(_rows(["acme"] * 8, em=_column(*values, hashed=True)), clients=CLIENTS)

    assert _sent(hashed, "em") == [[good, *[None] * 7]]
    assert _dropped(hashed) == {
        ("em", "column", "md5_instead_of_sha256", 1),
        ("em", "column", "sha1_instead_of_sha256", 1),
        ("em", "column", "not_sha256", 2),
        ("em", "column", "hash_of_placeholder", 2),
    }


def test_dropped_values_are_counted_once_a_row() -> None:
    """Counts are of rows, however few distinct values the column has."""
    rows = _rows(["acme"] * 6_000, fn=_column(*["Mary", "n/a", "123"] * 2_000, label="first_name"))

    assert _dropped(hash_identity(rows, clients=CLIENTS)) == {
        ("fn", "first_name", "placeholder", 2_000),
        ("fn", "first_name", "no_letters", 2_000),
    }


def test_everything_else_passes_through() -> None:
    """Only identity changes."""
    rows = _rows(["acme"], em=_column("a1@b.co"))

    hashed = hash_identity(rows, clients=CLIENTS)

    assert (hashed.origin, hashed.row, hashed.client, len(hashed)) == (rows.origin, rows.row, rows.client, 1)


def test_no_rows() -> None:
    """An empty batch gives an empty batch, for every key."""
    rows = _rows([], em=_column(), ph=_column(), st=_column(), external_id=_column(), country=_column(), db=_column())

    hashed = hash_identity(rows, clients=CLIENTS)

    assert {key: _sent(hashed, key) for key in hashed.identity} == {key: [[]] for key in rows.identity}


@pytest.mark.parametrize(("key", "profile"), [("email", "meta"), ("em", "meta2")])
def test_unknown_names_are_refused_with_what_is_allowed(key: str, profile: str) -> None:
    """The message names the keys or the profiles, and no value."""
    with pytest.raises(UsageError, match="one of: ") as refused:
        hash_identity(_rows(["acme"], **{key: _column("canary@example.com")}), clients=CLIENTS, profile=profile)

    assert "canary" not in str(refused.value)


def test_hash_frame_replaces_what_it_is_told() -> None:
    """Columns take their key's name; others and the index stay; two columns of one key stay two."""
    df = pd.DataFrame(
        {"id": [7, 8], "email": ["A1@b.co", None], "mail2": ["c1@d.co", "x"], "phone": ["020 7946 0958",
        6505551212], "land": ["UK", "USA"]},
        index=["r", "s"],
    )  # fmt: skip

    hashed = hash_frame(df, {"email": "em", "mail2": "em", "phone": "ph", "land": "country"}, country="land")

    assert list(hashed.columns) == ["id", "em", "em_2", "ph", "country"]
    assert list(hashed.index) == ["r", "s"]
    assert hashed["ph"].tolist() == [_sha("442079460958"), _sha("16505551212")]
    assert hashed["em"].tolist()[0] == _sha("a1@b.co")
    assert hashed["em"].isna().tolist() == [False, True]
    assert [(one.key, one.column, one.cause) for one in hashed.attrs["dropped"]] == [("em", "mail2", "not_an_email")]


def test_hash_frame_options() -> None:
    """Formats, declared digests and the policy of ids, by name."""
    df = pd.DataFrame({"born": ["3/4/1997"], "em_sha": [_sha("a@b.co").upper()], "customer": [" U1 "]})

    hashed = hash_frame(
        df, {"born": "db", "em_sha": "em",
        "customer": "external_id"}, formats={"born": ["%d/%m/%Y"]}, hashed=["em_sha"],
        external_id=ExternalIdPolicy(send="raw"),
    )  # fmt: skip

    assert hashed.iloc[0].to_dict() == {"db": _sha("19970403"), "em": _sha("a@b.co"), "external_id": "U1"}


def test_hash_frame_reads_in_one_country_or_in_that_of_a_column() -> None:
    df = pd.DataFrame({"phone": ["020 7946 0958", "020 7946 0958"], "land": ["GB", "US"]})

    one = hash_frame(df[["phone"]], {"phone": "ph"}, country="GB")
    each = hash_frame(df, {"phone": "ph"}, country="land")

    assert one["ph"].tolist() == [_sha("442079460958")] * 2
    assert each["ph"].dropna().tolist() == [_sha("442079460958")]


def test_hash_frame_names_a_missing_column() -> None:
    """A typing mistake is answered with the columns there are."""
    with pytest.raises(UsageError, match="no column e_mail; it has: email"):
        hash_frame(pd.DataFrame({"email": ["canary@example.com"]}), {"e_mail": "em"})
