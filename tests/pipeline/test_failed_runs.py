"""A run that fails keeps its error in the ledger, and nothing else goes by it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from offline_capi.errors import OfflineCapiError, SourceError
from offline_capi.model import Window
from offline_capi.pipeline import plan_upload, record_failed_start, run_upload
from offline_capi.pipeline.closing import record_plan
from offline_capi.report import RunReport, Status, render_html
from tests.support.night import STORE_ZONE, Night, yesterday
from tests.support.sandbox_server import Sandbox


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    return Night(tmp_path, sandbox).fill()


@pytest.fixture
def window(night: Night) -> Window:  # asked for when its rows are written: midnight may lie between
    return Window.of_day(yesterday(STORE_ZONE), STORE_ZONE)


def test_a_run_that_fails_has_a_report_with_its_error(night: Night, window: Window) -> None:
    night.edit("dags/uploads/store_purchases.yml", ("value: {column: amount,", "value: {column: amout,"))
    with night.services() as services:
        with pytest.raises(OfflineCapiError) as raised:
            run_upload(services.deployment.uploads["store_purchases"], window, services)
        record = services.ledger.runs.get_newest()

    assert (record.status, record.report is not None) == ("failed", True)
    report = RunReport.from_json(record.report or {})
    assert report.status is Status.FAILED
    assert "amout" in record.problem
    assert report.problems[0].startswith(type(raised.value).__name__)
    assert "amout" in render_html(report)


def test_a_failed_start_and_a_plan_are_listed_and_count_for_nothing(night: Night, window: Window) -> None:
    with night.services() as services:
        upload, runs = services.deployment.uploads["store_purchases"], services.ledger.runs
        failed = record_failed_start(
            upload.name, window, SourceError("no\x1bway " + "x" * 9000), services, trigger="manual"
        )
        planned = record_plan(plan_upload(upload, window, services), services)
        listed = [run.id for run in runs.list_newest(10, plans="with")]
        text = RunReport.from_json(runs.get(failed).report or {}).problems[0]

        assert sorted(listed) == sorted([failed, planned.run_id])
        assert [run.id for run in runs.list_newest(10)] == [failed]
        assert [run.id for run in runs.list_newest(10, status="failed", uploads=["store_purchases"])] == [failed]
        assert runs.list_newest(10, uploads=["other"]) == []
        assert runs.list_reported(upload.name, 10) == []
        assert [run.id for run in runs.list_past()] == [failed]
        assert "\x1b" not in text
        assert len(text) == 4_000
        real = run_upload(upload, window, services)
        assert real.started_at > datetime(2026, 1, 1, tzinfo=UTC)
        assert [run.id for run in runs.list_reported(upload.name, 10)] == [real.run_id]
