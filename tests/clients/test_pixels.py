"""One client, several pixels: each event goes to all of them, and what happens at one is nobody else's business."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.model import Fate, Reason, Window
from offline_capi.pipeline import begin_run, plan_upload, reconcile, replay_run, send_staged, stage_upload
from offline_capi.report import RunReport
from tests.clients.world import ACME_PIXEL, CLIENT_BUSINESS, SHOP_PIXEL, SHOP_TOKEN, WORLD, Platform
from tests.support.night import Night, yesterday
from tests.support.sales import OUTLET, SHOP, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

SECOND, THIRD = "1300000000000002", "1300000000000003"
TOKEN, OWN = SAMPLE_TOKENS["CORNER_SHOP_TOKEN"], "EAA-of-the-third-pixel"
SALES = [*(sale(f"s-{n}", "corner_shop") for n in range(20)), *(sale(f"o-{n}", "nordic_outlet") for n in range(5))]
OF_SHOP = {f"s-{n}" for n in range(20)}


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """The shop has two pixels for its token, and a third with a token of its own."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    night.env["THIRD_TOKEN"] = OWN
    sandbox.grant(TOKEN, [SHOP, SECOND])
    sandbox.grant(OWN, [THIRD])
    night.edit(
        "dags/uploads/sales.yml",
        ("{column: brand, map: {Shop: corner_shop, Outlet: nordic_outlet}}", "{column: brand}"),
    )
    several(night, f'["{SHOP}", "{SECOND}", {{id: "{THIRD}", token: {{env: THIRD_TOKEN}}}}]')
    write(night, SALES)
    return night


def several(night: Night, pixels: str) -> None:
    text = (night.home / "dags/clients.yml").read_text(encoding="utf-8")
    shop = re.sub(rf"pixel_id: .*{SHOP}.*", f"pixel_id: {pixels}", text)
    assert shop != text
    night.write("dags/clients.yml", shop)


def staged(night: Night) -> RunReport:
    """The night in three tasks, one a recipient; each repeated, as Airflow may."""
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        window = Window.of_day(yesterday(upload.window.timezone), upload.window.timezone)
        run = begin_run(upload, window, services)
        for unit in stage_upload(upload, window, services, run):
            send_staged(unit, upload, services)
            send_staged(unit, upload, services)
        return reconcile(run, upload, services)


@pytest.mark.parametrize("send", [lambda night: night.send("sales"), staged], ids=["one process", "three tasks"])
def test_p01_each_event_goes_to_every_pixel_and_the_books_balance(night: Night, sandbox: Sandbox, send) -> None:
    report = send(night)

    assert report.balance == "25 read + 40 copies for further pixels = 65 sent"
    assert {pixel: set(sandbox.ids_of(pixel)) for pixel in (SHOP, SECOND, THIRD)} == dict.fromkeys(
        (SHOP, SECOND, THIRD), OF_SHOP
    )
    assert set(sandbox.ids_of(OUTLET)) == {f"o-{n}" for n in range(5)}
    assert set(night.counted.values()) == {1}
    by_client = {name: fates[Fate.SENT] for name, fates in report.by_client().items()}
    assert by_client == {
        "corner_shop": 20,
        f"corner_shop@{SECOND}": 20,
        f"corner_shop@{THIRD}": 20,
        "nordic_outlet": 5,
    }
    assert report.tally.value == {"EUR": 25 * 12.5}
    assert sum(n for (_, what), n in report.tally.traffic.items() if what == "requests") == report.tally.requests == 10


def test_p02_a_pixel_that_is_added_gets_what_the_first_has_and_the_first_nothing_again(night: Night) -> None:
    """The first pixel's keys are those of a client with one pixel, wherever it stands in the list."""
    several(night, f'"{SHOP}"')
    alone = night.send("sales")
    several(night, f'["{SECOND}", "{SHOP}"]')

    added = night.send("sales")

    assert alone.balance == "25 read = 25 sent"
    assert added.balance == "25 read + 20 copies for further pixels = 20 sent + 25 already sent"
    assert night.send("sales").balance == "25 read + 20 copies for further pixels = 45 already sent"
    assert set(night.counted.values()) == {1}


def test_p16_an_event_that_one_pixel_refused_is_replayed_for_that_pixel_alone(night: Night, sandbox: Sandbox) -> None:
    sandbox.refuse("s-3", pixel=SECOND)

    report = night.send("sales")
    sandbox.heal()
    with night.services() as services:
        replayed = replay_run(report.run_id, services, undelivered=True)

    assert report.by_client()[f"corner_shop@{SECOND}"] == {Fate.SENT: 19, Fate.REJECTED_BY_META: 1}
    assert report.by_client()["corner_shop"] == report.by_client()[f"corner_shop@{THIRD}"] == {Fate.SENT: 20}
    assert replayed.balance == "1 read + 2 copies for further pixels = 1 sent + 2 already sent"
    assert set(night.counted.values()) == {1}


def test_p07_a_pixel_whose_own_token_is_revoked_costs_one_request_and_the_others_go(
    night: Night, sandbox: Sandbox
) -> None:
    sandbox.revoke(OWN)

    report = night.send("sales")

    assert report.by_client()[f"corner_shop@{THIRD}"] == {Fate.DEFERRED: 20}
    assert report.tally.count(Fate.SENT) == 45
    assert len(sandbox.requests_to(THIRD)) == 1


def test_p15_a_plan_tells_the_copies_to_the_event(night: Night) -> None:
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        window = Window.of_day(yesterday(upload.window.timezone), upload.window.timezone)
        plan = plan_upload(upload, window, services, clients=["corner_shop"])

    assert plan.balance == "20 read + 40 copies for further pixels = 60 sent"


def test_p18_the_name_of_a_further_pixel_is_no_client_to_a_row(night: Night, sandbox: Sandbox) -> None:
    write(night, [sale("s-1", f"corner_shop@{SECOND}")])

    report = night.send("sales")

    assert report.balance == "1 read = 1 deferred"
    assert sandbox.requests_to(SECOND) == []


def test_a_pixel_that_two_clients_share_gets_an_event_of_both_once(night: Night, sandbox: Sandbox) -> None:
    """To the pixel they are one event; which of the two is sent depends on the rows alone."""
    several(night, f'["{SHOP}", "{OUTLET}"]\n    shares_pixel_with: nordic_outlet')
    night.edit(
        "dags/clients.yml", (f'dataset_id: "{OUTLET}"', f'dataset_id: "{OUTLET}"\n    shares_pixel_with: corner_shop')
    )
    sandbox.grant(TOKEN, [SHOP, OUTLET])
    write(night, [sale("same", "corner_shop"), sale("same", "nordic_outlet"), sale("other", "nordic_outlet")])

    report = night.send("sales")

    assert report.balance == "3 read + 1 copy for further pixels = 3 sent + 1 invalid"
    assert report.tally.count_reasons(Fate.INVALID) == {(Reason.DUPLICATE_EVENT_ID, "event.id"): 1}
    assert set(night.counted.values()) == {1}


def test_p17_a_person_is_erased_from_every_pixels_books(night: Night) -> None:
    sent = night.send("sales").tally.count(Fate.SENT)

    erased = night.run("erase", "--client", "corner_shop", "--event-id", "s-3", "--json")

    assert erased.json["ledger"] == 3
    assert night.send("sales").balance == f"25 read + 40 copies for further pixels = 3 sent + {sent - 3} already sent"


# ---------------------------------------------------------------------------------------------- the clients' commands


@pytest.fixture
def two_pixels(platform: Platform) -> Platform:
    """The shop's token does not reach its second pixel, which is Acme's in the world."""
    platform.edit(f'pixel_id: "{SHOP_PIXEL}"', f'pixel_id: ["{SHOP_PIXEL}", "{SECOND}"]')
    return platform


def test_each_pixel_is_looked_at_and_stands_for_itself(two_pixels: Platform) -> None:
    health = two_pixels.run("health", "--json").json
    listed = {one["client"]: one for one in two_pixels.run("list", "--json").json["clients"]}

    assert [one["client"] for one in health["clients"]] == ["acme", "shop", f"shop@{SECOND}", "bank"]
    assert (listed["shop"]["state"], listed["shop"]["pixel"]) == ("good", SHOP_PIXEL)
    assert (listed[f"shop@{SECOND}"]["state"], listed[f"shop@{SECOND}"]["pixel"]) == ("stopped", SECOND)


def test_a_token_that_ends_is_told_once_however_many_pixels_it_serves(platform: Platform) -> None:
    platform.edit(f'pixel_id: "{SHOP_PIXEL}"', f'pixel_id: ["{SHOP_PIXEL}", "{SECOND}"]')
    soon = int((datetime.now(UTC) + timedelta(days=5)).timestamp())
    platform.be(
        pixels=WORLD["pixels"] | {SECOND: {"owner": CLIENT_BUSINESS}},
        tokens=[
            one | {"expires_at": soon, "pixels": [SHOP_PIXEL, SECOND]} if one["token"] == SHOP_TOKEN else one
            for one in WORLD["tokens"]
        ],
    )

    health = platform.run("health", "--json").json

    assert [(notice["client"], notice["key"]) for notice in health["notices"] if notice["client"] != "acme"] == [
        ("shop", "expires: 7")
    ]


def test_a_test_of_a_client_is_one_of_all_its_pixels(two_pixels: Platform) -> None:
    """A code belongs to one pixel: the second, which has none, is probed, and nothing is stored."""
    tested = two_pixels.run("test", "shop", "--json").json["clients"]
    alone = two_pixels.run("test", f"shop@{SECOND}", "--probe", "--json").json["clients"]

    assert [(one["client"], one["tested"]["kind"]) for one in tested] == [("shop", "test"), (f"shop@{SECOND}", "probe")]
    assert [one["client"] for one in alone] == [f"shop@{SECOND}"]


def test_a_token_that_serves_several_pixels_is_authorised_for_its_client(two_pixels: Platform) -> None:
    said = two_pixels.run("authorize", f"shop@{SECOND}", "--method", "token", "--from", "env:SHOP_TOKEN")

    assert "sends with the token of shop: name shop" in said.error


def test_a_new_token_has_to_reach_every_pixel_that_it_serves(two_pixels: Platform) -> None:
    said = two_pixels.run("authorize", "shop", "--method", "token", "--from", "env:SHOP_TOKEN")

    assert f"fails its test at pixel {SECOND}" in said.error


# ---------------------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ('["1200000000000002", "12"]', "pixel_id[1]  is not a pixel id"),
        (f'["{SHOP_PIXEL}", "{SHOP_PIXEL}"]', "names one pixel twice"),
        ("[]", "give at least one"),
        (f'["{SHOP_PIXEL}", "{ACME_PIXEL}"]', 'is also the pixel of client "acme"'),
        (f'[{{id: "{SHOP_PIXEL}", token: {{env: T}}}}]', "the first pixel has the token"),
        (f'["{SHOP_PIXEL}", {{id: "{SECOND}", tokn: {{env: T}}}}]', 'did you mean "token"?'),
    ],
)
def test_what_is_wrong_with_a_list_of_pixels_is_told_at_its_place(platform: Platform, pixels: str, words: str) -> None:
    platform.edit(f'pixel_id: "{SHOP_PIXEL}"', f"pixel_id: {pixels}")

    assert words in platform.run("list").error
