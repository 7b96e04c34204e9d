"""Versions of the Graph API in use: warned of, asked after, and heard of by Meta's header."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.model import Fate, Window
from offline_capi.pipeline import begin_run, open_services, plan_upload, reconcile, send_staged, stage_upload
from tests.clients.world import CANARIES, Platform, kept_secret, run
from tests.support.night import NOBODY, STORE_ZONE, Night, yesterday
from tests.support.sandbox_server import Sandbox

UPLOAD = "store_purchases"
SOON = "graph_version: v21.0"  # ends on 2027-01-21


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    night = Night(tmp_path, sandbox).fill()
    monkeypatch.setenv("OFFLINE_CAPI_DATA", night.env["OFFLINE_CAPI_DATA"])
    return night


def use(night: Night, versions: str) -> None:
    night.edit("dags/clients.yml", ("graph_version: v27.0", versions))


def notices_of(night: Night, now: datetime) -> list[str]:
    """What a plan at this moment says of versions."""
    deployment = load_config(night.home / "dags", environ=night.env)
    upload = deployment.uploads[UPLOAD]
    with open_services(deployment, EnvironmentSecrets(night.env), clock=lambda: now) as services:
        return plan_upload(upload, Window.of_day(yesterday(STORE_ZONE), STORE_ZONE), services).tally.notices


@pytest.mark.parametrize(
    ("day", "words"),
    [
        (datetime(2026, 10, 22, tzinfo=UTC), []),
        (datetime(2026, 10, 23, tzinfo=UTC), ["ends on 2027-01-21, in 90 days"]),
        (datetime(2027, 1, 21, tzinfo=UTC), ["ended on 2027-01-21"]),
    ],
)
def test_a_plan_warns_of_a_version_that_ends(night: Night, day: datetime, words: list[str]) -> None:
    use(night, SOON)

    notices = notices_of(night, day)

    assert [word in notice for word, notice in zip(words, notices, strict=True)] == [True] * len(words)


def test_check_upload_and_health_warn_of_it_once_each(night: Night) -> None:
    """The version has ended by then, or does within 90 days of the day on which this was written."""
    use(night, SOON)
    night.sandbox.forward_retired_versions()

    check, check_json = run(night, "check"), run(night, "check", "--json").json
    uploaded = run(night, "upload", UPLOAD, "--json").json
    health, shown = run(night, "clients", "health", "--json").json, run(night, "clients", "health")

    said = "Graph version v21.0 (events)"
    assert check.code == 0
    assert " ".join(check.out.split()).count(said) == 1
    assert sum(said in one for one in check_json["warnings"]) == 1
    assert sum(said in one for one in uploaded["tally"]["notices"]) == 1
    assert sum(said in one for one in health["warnings"]) == 1
    assert said in " ".join(shown.out.split())


# ---------------------------------------------------------------------------------------------- Meta's header

WARNED = "X-Ad-Api-Version-Warning"


def test_meta_s_header_is_told_once_a_run(night: Night, sandbox: Sandbox) -> None:
    night.edit(f"dags/uploads/{UPLOAD}.yml", ("schedule:", "delivery: {max_events: 20}\nschedule:"))
    sandbox.fault("version_warning")

    report = night.send(UPLOAD)
    shown = run(night, "report", report.run_id)

    assert report.tally.requests > 5
    assert sum(WARNED in notice for notice in report.tally.notices) == 1
    assert shown.out.count(WARNED) == 1


def test_meta_s_header_is_told_by_a_staged_run_too(night: Night, sandbox: Sandbox) -> None:
    sandbox.fault("version_warning")
    with night.services() as services:
        upload = services.deployment.uploads[UPLOAD]
        run_id = begin_run(upload, Window.of_day(yesterday(STORE_ZONE), STORE_ZONE), services)
        for unit in stage_upload(upload, services.ledger.runs.get(run_id).window, services, run_id):
            send_staged(unit, upload, services)
        report = reconcile(run_id, upload, services)

    assert sum(WARNED in notice for notice in report.tally.notices) == 1
    assert report.tally.sent_events.total() == report.tally.count(Fate.SENT) > 0


def test_a_run_without_the_header_says_nothing_of_it(night: Night) -> None:
    assert not any("version" in notice.lower() for notice in night.send(UPLOAD).tally.notices)


# ---------------------------------------------------------------------------------------------- the canary


def canary(night: Night, **env: str):
    return run(night, "version", "--canary", "--json", **env)


def test_a_version_that_meta_serves_is_fine(night: Night, sandbox: Sandbox) -> None:
    said, plain = canary(night), run(night, "version", "--canary")

    (look,) = said.json["versions"]
    assert (said.code, plain.code) == (0, 0)
    assert (look["version"], look["verdict"], look["served_as"], look["ends"]) == ("v27.0", "served", "v27.0", None)
    assert look["families"] == ["events", "management", "read_back"]
    assert "its end is not announced" in " ".join(plain.out.split())
    assert sandbox.requests == []


def test_a_version_that_meta_refuses_or_answers_as_another_is_told(night: Night) -> None:
    use(night, "graph_version: v27.0\n  graph_versions: {read_back: v19.0, management: v99.0}")
    refused = canary(night)
    night.sandbox.forward_retired_versions()
    forwarded = canary(night)

    verdicts = {look["version"]: look["verdict"] for look in refused.json["versions"]}
    assert (refused.code, verdicts) == (1, {"v27.0": "served", "v99.0": "refused", "v19.0": "refused"})
    assert [look["verdict"] for look in forwarded.json["versions"]] == ["served", "refused", "other"]
    assert forwarded.json["versions"][2]["served_as"] == "v21.0"
    assert forwarded.code == 1


def test_a_canary_without_a_token_or_an_answer_is_unclear(night: Night) -> None:
    no_tokens = dict.fromkeys(("ACME_BANK_TOKEN", "CORNER_SHOP_TOKEN", "NORDIC_OUTLET_TOKEN"), "")
    nobody = canary(night, **no_tokens)
    silent = canary(night, OFFLINE_CAPI_GRAPH_URL=NOBODY)

    assert (nobody.code, nobody.json["versions"]) == (1, [])
    assert (silent.code, silent.json["versions"][0]["verdict"]) == (1, "unclear")
    assert "no connection to" in silent.json["versions"][0]["words"]


def test_a_revoked_token_is_still_an_answer_of_the_version(night: Night, sandbox: Sandbox) -> None:
    sandbox.revoke(night.env["ACME_BANK_TOKEN"])

    assert canary(night).json["versions"][0]["verdict"] == "served"


def test_the_platforms_app_asks_where_there_is_one(platform: Platform) -> None:
    said = platform.run("health", "--json")

    assert said.json["versions"][0]["verdict"] == "served"
    assert "get 4000000001" in platform.calls
    assert kept_secret(said.out, canaries=CANARIES)


# ---------------------------------------------------------------------------------------------- families


def test_each_family_is_called_in_its_own_version(night: Night) -> None:
    use(night, "graph_version: v27.0\n  graph_versions: {read_back: v19.0}")

    sent, read = run(night, "upload", "credit_approvals"), run(night, "clients", "quality", "acme_bank", "--json")
    use_events = ("graph_versions: {read_back: v19.0}", "graph_versions: {events: v19.0}")
    night.edit("dags/clients.yml", use_events)
    read_again, probed = (
        run(night, "clients", "quality", "acme_bank"),
        run(night, "clients", "test", "acme_bank", "--probe"),
    )

    assert (sent.code, read.code) == (0, 1)
    assert "the Graph version is retired" in read.json["unread"][0]["words"]
    assert (read_again.code, probed.code) == (0, 1)
    assert "the Graph version is retired" in " ".join(probed.out.split())


def test_meta_s_header_is_told_beside_the_json_of_an_authorisation(platform: Platform, sandbox: Sandbox) -> None:
    platform.edit("platform:", "platform:\n  graph_version: v19.0")
    sandbox.forward_retired_versions()

    said = platform.run("prerequisites", "--json")

    assert isinstance(said.json["prerequisites"], list)
    assert " ".join(said.error.split()).count(WARNED) == 1
