"""What is kept goes after the period that ``platform.retention`` names, by itself, and never while it is needed."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from offline_capi.errors import ConfigError
from offline_capi.ledger import AuditAction, list_audit_entries, load_read_back, record_audit, save_read_back
from offline_capi.model import Fate, ReadBack, Window
from offline_capi.pipeline import Services, begin_run, reconcile, send_staged, stage_upload
from offline_capi.privacy import purge_expired, purge_if_due
from tests.support.night import Night, yesterday
from tests.support.sales import ZONE, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

NOW = datetime.now(UTC)


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # nobody else's leftovers
    night = sales_night(tmp_path, sandbox)
    night.sandbox.refuse("refused")
    write(night, [sale("good"), sale("refused"), sale("bad", amount="much")])
    return night


def red_run(night: Night) -> str:
    """A run of three tasks that lost something: its staged events, rejects and books stay."""
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        window = Window.of_day(yesterday(ZONE), ZONE)
        run = begin_run(upload, window, services)
        for unit in stage_upload(upload, window, services, run):
            send_staged(unit, upload, services)
        reconcile(run, upload, services)
    return run


def after(services: Services, days: float) -> Services:
    """The same, so many days later."""
    return Services(services.deployment, services.secrets, services.ledger, lambda: NOW + timedelta(days=days))


def kept(night: Night) -> set[str]:
    return {path.name for path in (night.home / "stage").rglob("*.parquet*")}


@pytest.mark.parametrize(
    ("days", "files", "events"),
    [
        (6.9, {"events-corner_shop.parquet", "rejects.parquet", "undelivered.parquet"}, 2),
        (7.1, {"rejects.parquet", "undelivered.parquet"}, 2),
        (69.9, {"rejects.parquet", "undelivered.parquet"}, 2),
        (70.1, set(), 0),
    ],
)
def test_each_kind_goes_after_its_own_period(night: Night, days: float, files: set[str], events: int) -> None:
    """By default: hashed identity after a week, rejects and the ledger's keys when Meta takes none of them any more."""
    red_run(night)

    with night.services() as services:
        foreseen = purge_expired(after(services, days), dry_run=True)
        assert list_audit_entries(services.ledger) == []
        before = kept(night)
        purged = purge_expired(after(services, days))
        left = services.ledger.journal.purge(NOW + timedelta(days=1000))

    assert len(before) == 3
    assert kept(night) == files
    assert left == events
    assert (foreseen.staged_files, foreseen.reject_files, foreseen.events) == (
        purged.staged_files,
        purged.reject_files,
        purged.events,
    )
    assert not (night.home / "stage").is_dir() or bool(files) == any((night.home / "stage").iterdir())


def test_a_report_goes_and_its_run_stays_as_long_as_the_ledger_knows_its_requests(night: Night) -> None:
    night.edit("dags/clients.yml", ("platform:\n", "platform:\n  retention: {reports: 100d, ledger: 200d}\n"))
    run = red_run(night)

    with night.services() as services:
        early = purge_expired(after(services, 99))
        middle = purge_expired(after(services, 101))
        again = purge_expired(after(services, 102))
        named, parts = services.ledger.runs.get(run), services.ledger.runs.load_parts(run)
        late = purge_expired(after(services, 201))
        left = services.ledger.runs.list_newest(10)

    assert [one.reports for one in (early, middle, again, late)] == [0, 1, 0, 1]
    assert (named.report, parts, left) == (None, {}, [])


def test_what_meta_counted_and_the_audit_log_go_too(night: Night) -> None:
    told = ReadBack("corner_shop", "1", "received", NOW.date(), {"Purchase": 1}, NOW)
    with night.services() as services:
        save_read_back(services.ledger, [told], now=NOW)
        purge_expired(after(services, 0))
        purged = [purge_expired(after(services, days)) for days in (92, 94.5, 1094, 1096)]
        left = load_read_back(services.ledger, since=NOW.date(), until=NOW.date())

    assert [one.read_back for one in purged] == [0, 1, 0, 0]
    assert [one.audit_log for one in purged] == [0, 0, 0, 1]
    assert left == []


def test_a_killed_process_leaves_nothing_for_longer_than_a_day(night: Night, tmp_path: Path) -> None:
    """Half-written files of its run, and a batch that waited on disk; what is being written now stays."""
    began = f"{NOW - timedelta(hours=30):%Y%m%dT%H%M%S}-dead"
    torn = night.write(f"stage/{began}/events-corner_shop.parquet.part", "PAR1")
    young = night.write(f"stage/{NOW:%Y%m%dT%H%M%S}-live/events-corner_shop.parquet.part", "PAR1")
    waiting, fresh = tmp_path / "offline_capi-abcd1234", tmp_path / "offline_capi-abcd1235"
    waiting.write_text("hashed")
    fresh.write_text("hashed")
    os.utime(waiting, ((NOW - timedelta(hours=30)).timestamp(),) * 2)

    with night.services() as services:
        foreseen = purge_expired(services, dry_run=True)
        all_there = all(path.exists() for path in (torn, waiting, young, fresh))
        purged = purge_expired(services)

    assert [path.exists() for path in (torn, waiting, young, fresh)] == [False, False, True, True]
    assert (foreseen.leftover_files, all_there, purged.leftover_files) == (2, True, 2)


def test_a_file_goes_when_it_is_older_than_its_period_and_not_when_it_is_as_old(night: Night) -> None:
    second = NOW.replace(microsecond=0)
    names = {"events-corner_shop.parquet": 7, "rejects.parquet": 70, "events-corner_shop.parquet.part": 1}
    as_old, older = (
        [
            night.write(f"stage/{second - timedelta(days=days, seconds=more):%Y%m%dT%H%M%S}-x/{name}", "PAR1")
            for name, days in names.items()
        ]
        for more in (0, 1)
    )

    with night.services() as services:
        purged = purge_expired(Services(services.deployment, services.secrets, services.ledger, lambda: second))

    assert [path.exists() for path in (*as_old, *older)] == [True] * 3 + [False] * 3
    assert (purged.staged_files, purged.reject_files, purged.leftover_files) == (1, 1, 1)
    assert purged.to_json() == {
        "before": purged.before.isoformat(),
        "dry_run": False,
        "staged_files": 1,
        "reject_files": 1,
        "leftover_files": 1,
        "reports": 0,
        "events": 0,
        "read_back": 0,
        "audit_log": 0,
        "forgotten": 0,
    }


def test_it_is_due_once_a_day_and_the_audit_log_remembers(night: Night) -> None:
    red_run(night)
    with night.services() as services:
        done = [purge_if_due(after(services, days), who="cron") for days in (0, 0.5, 1, 1.5, 8, 8.1)]
        entries = list_audit_entries(services.ledger, action=AuditAction.PURGE)

    assert [one is not None for one in done] == [True, False, True, False, True, False]
    assert [(entry.who, dict(entry.detail)) for entry in entries] == [("cron", {"staged_files": 1})] + [
        ("cron", {})
    ] * 2


def test_it_is_due_twenty_hours_after_the_last_time_whatever_else_the_audit_log_has(night: Night) -> None:
    with night.services() as services:
        done = []
        for hours in (0, 19.99, 20):
            later = after(services, hours / 24)
            record_audit(services.ledger, AuditAction.ERASE, "a person", now=later.clock())
            done.append(purge_if_due(later) is not None)

    assert done == [True, False, True]


def test_a_run_of_the_command_line_deletes_what_is_due_and_ends_as_it_would(night: Night) -> None:
    old = f"{NOW - timedelta(days=80):%Y%m%dT%H%M%S}-old"
    staged = night.write(f"stage/{old}/events-corner_shop.parquet", "PAR1")
    rejects = night.write(f"stage/{old}/rejects.parquet", "PAR1")
    write(night, [sale("good")])

    said = night.run("upload", "sales", "--json")

    assert (said.code, said.json["balance"]) == (0, "1 read = 1 sent")
    assert not staged.exists()
    assert not rejects.parent.exists()


def test_a_forgotten_event_could_not_be_sent_any_more(night: Night) -> None:
    """The day before the ledger forgets it, Meta has refused it for its age for a week: it is never sent twice."""
    red_run(night)
    with night.services() as services:
        later = after(services, 70.5)
        night.sandbox.clock = later.clock().timestamp()
        purge_expired(later)
        upload = services.deployment.uploads["sales"]
        window = Window.of_day(yesterday(ZONE), ZONE)
        run = begin_run(upload, window, later)
        stage_upload(upload, window, later, run)
        report = reconcile(run, upload, later)

    assert (report.tally.count(Fate.SENT), report.tally.count(Fate.EXPIRED)) == (0, 2)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("ledger: 69d", "is too short: Meta takes events for up to 62 days"),
        ("reports: 30d", "is too short: Meta takes events for up to 62 days"),
        ("staged_events: 63d", "is too long: after 62 days Meta takes none of these events"),
        ("rejects: 12h", "is too short: a run may take a day"),
        ("events: 7d", "is not a key here"),
    ],
)
def test_check_refuses_periods_that_would_count_twice_or_keep_people(night: Night, setting: str, words: str) -> None:
    night.edit("dags/clients.yml", ("platform:\n", f"platform:\n  retention: {{{setting}}}\n"))

    with pytest.raises(ConfigError, match=words) as caught, night.services():
        pass

    assert "clients.yml:" in str(caught.value)
    assert "platform.retention" in str(caught.value)


def test_a_client_with_a_longer_window_makes_a_written_period_too_short_and_the_default_longer(night: Night) -> None:
    night.edit("dags/clients.yml", ("    pixel_id: ", "    physical_store_max_age: 90d\n    pixel_id: "))
    with night.services() as services:
        purged = purge_expired(services)
    night.edit("dags/clients.yml", ("platform:\n", "platform:\n  retention: {ledger: 97d}\n"))

    with pytest.raises(ConfigError, match=r"physical_store_max_age is 90 days.*98d or more"), night.services():
        pass

    assert timedelta(days=98) <= datetime.now(UTC) - purged.before < timedelta(days=98, minutes=10)
