"""``coverage``: what an upload makes of its people, counted; and what a value that is nobody's does to a run."""

from __future__ import annotations

import json
import random
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from offline_capi.audit import Coverage, measure_coverage
from offline_capi.errors import ConfigError
from offline_capi.identity import Cause
from offline_capi.pipeline import plan_upload, preview_upload
from tests.audit.project import CANARY, Project

SHOP_PHONE = "+1 650 555 1212"
SHOP = sha256(b"16505551212").hexdigest()


def _covered(project: Project) -> Coverage:
    with project.opened() as (upload, window, services):
        return measure_coverage(upload, window, services)


def _people(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"email": f"{CANARY}{at}@example.com", "customer": f"{CANARY}-{at}", **more} for at in range(count)]


def test_every_value_that_is_there_is_usable_or_has_a_cause(tmp_path: Path) -> None:
    rows = [
        {"email": "a1@b.co", "phone": "650 555 1213", "born": "3/4/1997", "sex": "F"},
        {"email": "A1@B.co", "phone": "555-1213", "born": "", "sex": "diverse"},
        {"email": "n/a", "phone": "020 7946 0958", "born": "1997-02-16", "sex": ""},
        {"email": "", "phone": "0000000000", "born": "30/2/1997", "sex": "m"},
        {"email": "x", "phone": "", "born": "n/a", "sex": "male"},
    ]
    project = Project(tmp_path, {"em": "email", "ph": "phone", "db": "born", "ge": "sex"}, rows)

    found = _covered(project).to_json()

    assert found["rows"] == 5
    assert {
        one["key"]: (one["filled"], one["usable"], one["distinct"], one["dropped"]) for one in found["columns"]
    } == {
        "em": (3, 2, 1, {"not_an_email": 1}),
        "ph": (4, 1, 1, {"phone_too_short": 1, "phone_too_long": 1, "placeholder": 1}),
        "db": (3, 1, 1, {"ambiguous_date": 1, "not_a_date": 1}),
        "ge": (4, 3, 2, {"unknown_word": 1}),
    }
    assert "external_id" in found["unmapped"]
    assert not {"em", "ph", "db", "ge"} & set(found["unmapped"])


def test_values_lost_in_a_map_count_as_lost(tmp_path: Path) -> None:
    rows = [{"sex": "1"}, {"sex": "2"}, {"sex": "9"}]
    project = Project(tmp_path, {"ge": {"column": "sex", "map": {"1": "m", "2": "f"}}}, rows)

    (column,) = _covered(project).columns.values()

    assert (column.filled, column.usable, dict(column.dropped)) == (3, 2, {"unknown": 1})


def test_rows_of_other_days_do_not_count(tmp_path: Path) -> None:
    rows = [{"email": f"p{at}@b.co", "when": day} for at, day in enumerate(["2026-11-22", "2026-11-23", "2026-11-24"])]
    project = Project(tmp_path, {"em": "email"}, rows, upload={"window": {"column": "when"}})

    assert (_covered(project).rows, _covered(project).columns["em", "email"].usable) == (1, 1)


# ---------------------------------------------------------------------------------------------- suggestions


def _row(at: int) -> dict[str, Any]:
    return {
        "email": f"{CANARY}{at}@example.com",
        "Secondary-E-Mail": f"{CANARY}.{at}@example.org",
        "customerPhone2": f"(650) 555-{at + 1000:04}",
        "contact": f"+44 20 7946 {at + 1000:04}",
        "email_sha256": sha256(b"p%d" % at).hexdigest(),
        "VORNAME": "Mary",
        "remote": f"198.51.100.{at}",
        "agent": "Mozilla/5.0 (X11; Linux)",
        "click": f"fb.1.1554763741205.IwAR{'x' * 30}{at}",
        "customer_no": f"{CANARY}-{at}",
        "Geburtsdatum": "16.02.1997",
        "email_opt_in": "yes",
        "order_state": "shipped",
        "phone_type": "mobile",
        "amount": f"{at}.50",
        "reference": f"{at + 94000}",
    }


def test_columns_that_look_like_a_key_are_named_with_the_line_to_write(tmp_path: Path) -> None:
    project = Project(tmp_path, {"em": "email"}, [_row(at) for at in range(40)])

    found = {one.column: (one.key, one.by, one.line) for one in _covered(project).suggestions}

    assert found == {
        "Secondary-E-Mail": ("em", "name", "em: [email, Secondary-E-Mail]"),
        "customerPhone2": ("ph", "name", "ph: customerPhone2"),
        "contact": ("ph", "shape", "ph: contact"),
        "email_sha256": ("em", "name", "em: [email, {column: email_sha256, hashed: true}]"),
        "VORNAME": ("fn", "name", "fn: VORNAME"),
        "remote": ("client_ip_address", "shape", "client_ip_address: remote"),
        "agent": ("client_user_agent", "shape", "client_user_agent: agent"),
        "click": ("fbc", "shape", "fbc: click"),
        "customer_no": ("external_id", "name", "external_id: customer_no"),
        "Geburtsdatum": ("db", "name", "db: Geburtsdatum"),
    }


def test_what_is_suggested_works_when_it_is_written(tmp_path: Path) -> None:
    """The lines of all suggestions, taken over into the YAML, give columns that are usable; nothing more is found."""
    project = Project(tmp_path, {"em": "email"}, [_row(at) for at in range(40)])
    suggestions = _covered(project).suggestions

    for one in suggestions:
        written = yaml.safe_load(one.line)[one.key]
        now = project.user_data.get(one.key, [])
        project.user_data[one.key] = [*_many(now), *(spec for spec in _many(written) if spec not in _many(now))]
    again = _covered(project)

    assert again.suggestions == ()
    assert {label for _, label in again.columns} == {"email", *(one.column for one in suggestions)}
    assert {label: column.usable for (_, label), column in again.columns.items() if column.usable != 40} == {}


def _many(specs: Any) -> list[Any]:
    return specs if isinstance(specs, list) else [specs]


def test_a_phone_is_suggested_with_the_country_beside_it(tmp_path: Path) -> None:
    rows = [{"land": "GB", "phone": "020 7946 0958"}] * 5
    project = Project(tmp_path, {"country": "land"}, rows, client={"country": "GB"})

    (suggestion,) = _covered(project).suggestions

    assert (suggestion.line, suggestion.fits) == ("ph: {column: phone, country: land}", 1.0)


@pytest.mark.parametrize(
    "name", ["last_login", "is_mobile", "email_domain", "store_city", "payment_state", "tel_consent"]
)
def test_columns_about_something_else_are_left_alone(tmp_path: Path, name: str) -> None:
    project = Project(tmp_path, {"em": "email"}, [{"email": "a1@b.co", name: "London"}] * 10)

    assert _covered(project).suggestions == ()


# ---------------------------------------------------------------------------------------------- values of nobody


def _shop(count: int = 400, **project: Any) -> list[dict[str, Any]]:
    """Every tenth row has the shop's own phone, written in two ways."""
    return [
        {**row, "phone": (SHOP_PHONE if at % 20 else "6505551212") if at % 10 == 0 else f"(415) 555-{at:04}"}
        for at, row in enumerate(_people(2 * count // 2 * 3))
    ]


USER_DATA = {"em": "email", "ph": "phone", "external_id": "customer"}


def test_a_value_beside_many_people_is_named_by_its_hash(tmp_path: Path) -> None:
    found = _covered(Project(tmp_path, dict(USER_DATA), _shop()))

    (one,) = found.frequent
    assert (one.key, one.sha256, one.rows, one.people) == ("ph", SHOP, 120, 120)
    assert one.share == pytest.approx(0.1)
    assert found.junk_to_write == {"ph": [SHOP]}


def test_a_good_customer_is_one_person(tmp_path: Path) -> None:
    """However many rows: beside her stands nobody else."""
    rows = [{"email": "a1@b.co", "phone": "+1 415 555 0100", "customer": "7"} for _ in range(500)]

    assert _covered(Project(tmp_path, dict(USER_DATA), rows)).frequent == ()


def test_names_and_places_may_be_frequent(tmp_path: Path) -> None:
    rows = _people(500, city="London", first="Mary", country="GB")
    user_data = {**USER_DATA, "ct": "city", "fn": "first", "country": "country"}
    del user_data["ph"]

    assert _covered(Project(tmp_path, user_data, rows)).frequent == ()


@pytest.mark.parametrize(("share", "found"), [("5%", 1), ("11%", 0), ("100%", 0)])
def test_the_share_is_a_setting(tmp_path: Path, share: str, found: int) -> None:
    """100% switches it off: nothing stands in more than all rows."""
    project = Project(tmp_path, dict(USER_DATA), _shop(), platform={"frequent_value": share})

    assert len(_covered(project).frequent) == found


def test_what_is_listed_as_junk_is_never_sent_and_counted_under_its_own_cause(tmp_path: Path) -> None:
    project = Project(tmp_path, dict(USER_DATA), _shop())
    project.upload = {"junk": _covered(project).junk_to_write}

    with project.opened() as (upload, window, services):
        events = preview_upload(upload, window, services, limit=2_000)
        plan = plan_upload(upload, window, services, check_access=False)
    again = _covered(project)

    assert SHOP not in json.dumps(events)
    assert sum("ph" in event["user_data"] for event in events) == 1_080
    assert plan.tally.dropped["ph", "phone", Cause.LISTED_AS_JUNK] == 120
    assert again.columns["ph", "phone"].dropped["listed_as_junk"] == 120
    assert again.frequent == ()


def test_a_junk_id_that_goes_out_raw_is_listed_by_its_hash_too(tmp_path: Path) -> None:
    rows = [{**row, "customer": "GUEST-ACCOUNT" if at % 2 else row["customer"]} for at, row in enumerate(_people(400))]
    project = Project(
        tmp_path, {"em": "email", "external_id": "customer"}, rows, client={"external_id": {"send": "raw"}}
    )

    (one,) = _covered(project).frequent
    project.upload = {"junk": {"external_id": one.sha256}}
    with project.opened() as (upload, window, services):
        events = preview_upload(upload, window, services, limit=400)

    assert one.sha256 == sha256(b"GUEST-ACCOUNT").hexdigest()
    assert "GUEST" not in json.dumps(events)
    assert sum("external_id" in event["user_data"] for event in events) == 200


def test_p11_junk_is_the_same_whatever_the_batch_and_the_order(tmp_path: Path) -> None:
    """Candidates are of the whole window; what is dropped depends on the list alone, so that bodies stay the same."""
    rows = _shop()
    shuffled = random.Random("junk").sample(rows, len(rows))
    found = [_covered(Project(tmp_path / str(at), dict(USER_DATA), some)) for at, some in enumerate((rows, shuffled))]

    assert found[0].frequent == found[1].frequent
    bodies = []
    for at, some in enumerate((rows, shuffled, rows[:15])):
        project = Project(tmp_path / f"run{at}", dict(USER_DATA), some, upload={"junk": {"ph": [SHOP]}})
        project.upload["event"] = {"name": "Purchase", "id": "s-{customer}", "action_source": "physical_store"}
        with project.opened() as (upload, window, services):
            sent = preview_upload(upload, window, services, limit=2_000)
        bodies.append({event["event_id"]: event for event in sent})

    assert bodies[0] == bodies[1]
    assert bodies[2].items() <= bodies[0].items()


def test_junk_must_be_a_hash_of_a_known_key(tmp_path: Path) -> None:
    """A readable value in the list would be personal data in a repository: refused, and not repeated."""
    for junk in ({"ph": ["6505551212canary"]}, {"phone": [SHOP]}):
        project = Project(tmp_path, dict(USER_DATA), _people(1, phone=""), upload={"junk": junk})

        with pytest.raises(ConfigError, match="junk") as refused, project.opened():
            pass

        assert CANARY not in str(refused.value)


def test_p09_no_value_is_in_what_coverage_finds(tmp_path: Path) -> None:
    project = Project(tmp_path, {"em": "email"}, [_row(at) for at in range(40)])

    found = _covered(project)

    assert CANARY not in f"{found!r}{json.dumps(found.to_json())}"
