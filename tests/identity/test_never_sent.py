"""Rows about whom nothing may be sent, values that must not leave as they are, and cells that hold several people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest

from offline_capi.config.client import Client, ExternalIdPolicy
from offline_capi.config.types import SecretRef
from offline_capi.events.payload import build_bodies
from offline_capi.identity import PROFILES, HashCache, hash_identity
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.model import LIST_SEPARATOR, HashedRows, IdentityColumn, MappedRows

TODAY = datetime.now(UTC).date()


def _sha(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _client(**more: Any) -> dict[str, Client]:
    return {"acme": Client(pixel_id="1234567890", token=SecretRef(env="T"), **{"country": "US", **more})}


def _column(*values: str | None, label: str = "column", **more: Any) -> IdentityColumn:
    return IdentityColumn(pa.array(values, pa.string()), label, **more)


def _hash(
    clients: dict[str, Client] | None = None, *, at: Sequence[int | None] = (), profile: str = "meta", **identity: Any
) -> HashedRows:
    count = len(next(iter(identity.values())).values)
    event = {"event_name": pa.repeat("Purchase", count)}
    if at:
        event["event_time"] = pa.array(at, pa.int64())
    columns = {key: [one] for key, one in identity.items()}
    nobody = pa.repeat(pa.scalar(value=False), count)
    rows = MappedRows("test.csv", pa.array(range(count)), pa.repeat("acme", count), event, columns, {}, nobody)
    return hash_identity(rows, clients=clients or _client(), profile=profile, cache=HashCache())


def _sent(hashed: HashedRows, key: str) -> list[list[str | None]]:
    return [array.to_pylist() for array in hashed.identity[key]]


def _dropped(hashed: HashedRows) -> dict[tuple[str, str], int]:
    return {(one.key, one.cause): one.count for one in hashed.dropped}


def _noted(hashed: HashedRows) -> dict[tuple[str, str], int]:
    return {(one.key, one.what): one.count for one in hashed.noted}


# ---------------------------------------------------------------------------------------------- digests


@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("key", ["em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id"])
@pytest.mark.parametrize("suffix", ["", ".AQYBAQIA"])
def test_no_path_hashes_a_digest_again(key: str, profile: str, suffix: str) -> None:
    """By every profile and in every key that is hashed; the SDK alone sends external_id as it is written."""
    digest = _sha("somebody")

    hashed = _hash(profile=profile, **{key: _column(digest.upper() + suffix, digest + suffix)})

    as_written = [[digest.upper() + suffix, digest + suffix]]
    sdk_id = profile == "sdk" and key == "external_id"
    assert _sent(hashed, key) == (as_written if sdk_id else [[digest, digest]])
    assert sdk_id or _noted(hashed)[key, "came_hashed"] == 2


def test_a_column_may_insist_on_digests_or_refuse_them() -> None:
    digest = _sha("somebody")
    written = ("Mary", digest, "5d41402abc4b2a76b9719d911017c592", f"{digest}.AQYBAQIA")

    insisting, refusing = (_hash(fn=_column(*written, hashed=choice)) for choice in (True, False))

    assert _sent(insisting, "fn") == [[None, digest, None, digest]]
    assert _dropped(insisting) == {("fn", "not_sha256"): 1, ("fn", "md5_instead_of_sha256"): 1}
    assert _sent(refusing, "fn") == [[_sha("mary"), None, None, None]]
    assert _dropped(refusing) == {("fn", "looks_hashed"): 2, ("fn", "md5_instead_of_sha256"): 1}
    assert (_noted(insisting), _noted(refusing)) == ({}, {})


def test_an_id_that_goes_out_raw_is_never_taken_for_a_digest() -> None:
    """By the policy ``raw`` an id of 64 hex digits keeps its capitals: it must equal what the browser sends."""
    raw = _client(external_id=ExternalIdPolicy(send="raw"))
    written = _sha("somebody").upper()

    assert _sent(_hash(raw, external_id=_column(written)), "external_id") == [[written]]


# ---------------------------------------------------------------------------------------------- never sent


def _years_before(day: date, years: int) -> str:
    return day.replace(year=day.year - years, day=min(day.day, 28)).isoformat()


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_children_under_13_on_the_day_of_the_event_are_never_sent(profile: str) -> None:
    """Readable or hashed; somebody who turned 13 by then is sent, and a row without a date of birth as well."""
    event = datetime(TODAY.year, TODAY.month, min(TODAY.day, 28), 12, tzinfo=UTC)
    thirteen, later = _years_before(event.date(), 13), (event.date() + timedelta(days=1)).replace(day=28)
    child = later.replace(year=later.year - 13).isoformat() if later > event.date() else _years_before(event.date(), 12)
    births = (child, thirteen, None, "1985-05-04", _sha(child.replace("-", "")), "2019-01-01")

    hashed = _hash(profile=profile, at=[int(event.timestamp())] * 6, db=_column(*births))

    assert hashed.suppressed.to_pylist() == [True, False, False, False, True, True]
    assert _dropped(hashed)["db", "under_13"] == 3


def test_the_day_of_an_event_is_that_of_the_upload() -> None:
    """At 01:00 UTC it is still yesterday in New York, a day before the birthday."""
    birthday = date(TODAY.year, 1, 2)
    at = int(datetime(TODAY.year, 1, 2, 1, tzinfo=UTC).timestamp())
    born = birthday.replace(year=birthday.year - 13).isoformat()

    suppressed = [
        _hash(at=[at], db=_column(born, zone=zone)).suppressed.to_pylist() for zone in ("UTC", "America/New_York")
    ]

    assert suppressed == [[False], [True]]


def test_metas_own_test_leads_are_never_sent() -> None:
    """Told by the address, or by a dummy text in any key."""
    dummy = "<test lead: dummy data for full_name>"
    hashed = _hash(
        em=_column("test@fb.com", "TEST@meta.com", "ann@example.net", "bob@example.net", "cid@example.net"),
        fn=_column("Ann", "Bob", dummy, "Dan", "Test"),
        lead_id=_column(*["120210000000001"] * 3, dummy, "120210000000001"),
    )

    assert hashed.suppressed.to_pylist() == [True, True, True, True, False]
    assert _dropped(hashed)["em", "test_lead"] == 2


# ---------------------------------------------------------------------------------------------- in clear text


@pytest.mark.parametrize("key", ["external_id", "subscription_id", "anon_id", "ctwa_clid", "client_user_agent"])
def test_contact_details_never_leave_in_clear_text(key: str) -> None:
    raw = _client(external_id=ExternalIdPolicy(send="raw"))
    written = ("ann@example.net", "+16505551212", "(650) 555-1212", "650-555-1212", "ann%40example.net", "sub_1Nv")

    hashed = _hash(raw, **{key: _column(*written)})

    kept = [None, None, None, None, None, "sub_1Nv"]
    assert _sent(hashed, key) == [kept]
    told = {cause: count for (_, cause), count in _dropped(hashed).items()}
    blanks = key in ("anon_id", "ctwa_clid")  # these take no value with a blank anyway
    assert told["readable_email"] == 2
    assert told["readable_phone"] == (2 if blanks else 3)


@pytest.mark.parametrize("key", [key for key, facts in USER_DATA_KEYS.items() if facts.hashing != "always"])
def test_no_key_that_travels_unhashed_lets_a_contact_detail_through(key: str) -> None:
    """Whatever its kind: a new one whose rule takes any text has to be in ``clear_text.ANYTHING``."""
    raw = _client(external_id=ExternalIdPolicy(send="raw"))
    written = ("ann@example.net", "+16505551212", "650-555-1212", "ann%40example.net")

    assert _sent(_hash(raw, **{key: _column(*written)}), key) == [[None] * len(written)], (
        f"identity/clear_text.py: ANYTHING lacks the kind {USER_DATA_KEYS[key].kind}"
    )


def test_an_address_as_external_id_is_fine_where_it_is_hashed() -> None:
    assert _sent(_hash(external_id=_column("ann@example.net")), "external_id") == [[_sha("ann@example.net")]]
    assert _sent(_hash(profile="sdk", external_id=_column("ann@example.net", "7")), "external_id") == [[None, "7"]]


# ---------------------------------------------------------------------------------------------- places


def test_an_unknown_country_does_not_take_the_phone_along() -> None:
    """A number valid by the client's default is that number; a postal code is not padded by a country nobody named."""
    hashed = _hash(
        country=_column("Narnia", "#N/A", "NA", "Canada"),
        ph=_column(*["(617) 555-0123"] * 4),
        zp=_column(*["2134"] * 4),
    )

    assert _sent(hashed, "ph") == [[_sha("16175550123"), _sha("16175550123"), None, _sha("16175550123")]]
    assert _sent(hashed, "zp") == [[_sha("2134"), _sha("02134"), _sha("02134"), None]]
    assert _sent(hashed, "country") == [[None, None, _sha("na"), _sha("ca")]]


# ---------------------------------------------------------------------------------------------- several in a cell


@pytest.mark.parametrize(
    "cell",
    ["a1@x.com;b2@x.com", "a1@x.com, b2@x.com", "a1@x.com|b2@x.com", "a1@x.com\nb2@x.com", '["a1@x.com","b2@x.com"]',
     f"a1@x.com{LIST_SEPARATOR}b2@x.com", "a1@x.com;b2@x.com;a1@x.com", "a1@x.com; n/a; b2@x.com"],
)  # fmt: skip
def test_several_addresses_in_a_cell_are_several_values(cell: str) -> None:
    """Each once, an array in the event; its neighbours stay strings, whatever stands in the batch."""
    hashed = _hash(em=_column(cell, "c3@x.com"))

    first, second = build_bodies(hashed).to_pylist()
    alone = build_bodies(_hash(em=_column("c3@x.com"))).to_pylist()
    assert _sent(hashed, "em") == [[_sha("a1@x.com"), _sha("c3@x.com")], [_sha("b2@x.com"), None]]
    assert f'"em":["{_sha("a1@x.com")}","{_sha("b2@x.com")}"]'.encode() in first
    assert [second] == alone


def test_a_phone_cell_is_several_only_where_every_part_is_a_number() -> None:
    cells = ("(650) 555-1212; (415) 555-0100", "650-555-1212,5", "+1 650 555 1212|+1 415 555 0100")

    hashed = _hash(ph=_column(*cells))

    one, two = _sha("16505551212"), _sha("14155550100")
    assert _sent(hashed, "ph") == [[one, one, one], [two, None, two]]


def test_lists_of_other_keys_come_from_the_source_alone() -> None:
    """A separator in a name or an id is part of it; a list of Parquet is a list."""
    hashed = _hash(fn=_column("Ann;Bea", f"Ann{LIST_SEPARATOR}Bea"), external_id=_column("1;2", '["1","2"]'))

    assert _sent(hashed, "fn") == [[_sha("annbea"), _sha("ann")], [None, _sha("bea")]]
    assert _sent(hashed, "external_id") == [[_sha("1;2"), _sha("1")], [None, _sha("2")]]


def test_h_and_m_beside_each_other_are_told() -> None:
    hashed = _hash(ge=_column("H", "M", "m.", "f"))

    assert _noted(hashed) == {("ge", "written_h"): 1, ("ge", "written_m"): 2}
