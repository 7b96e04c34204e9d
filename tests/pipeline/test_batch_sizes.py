"""How many rows a run reads and builds at a time changes nothing of what it sends and says."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_capi.model import Fate, Window
from offline_capi.pipeline import plan_upload, run_upload, stages
from tests.support.night import Night, yesterday
from tests.support.sandbox_server import Sandbox


@pytest.mark.parametrize(("rows_of_long_run", "large_batches"), [(0, 0), (60, 1), (10**9, 2)])
def test_a_long_run_builds_fewer_events_at_a_time_and_sends_the_same(
    rows_of_long_run: int, large_batches: int, tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its 60th row on, from the first or never: the report is that of a run in one batch, and all is sent once."""
    built: list[int] = []
    count = stages.Books.enter_built
    with Night(tmp_path, sandbox).fill().services() as services:
        upload = services.deployment.uploads["store_purchases"]
        window = Window.of_day(yesterday(upload.window.timezone), upload.window.timezone)
        whole = plan_upload(upload, window, services).to_json()
        monkeypatch.setattr(stages, "BATCH_ROWS_OF_RUN", 40)
        monkeypatch.setattr(stages, "EVENT_ROWS_OF_RUN", 40)
        monkeypatch.setattr(stages, "BATCH_ROWS_OF_LONG_RUN", 13)
        monkeypatch.setattr(stages, "EVENT_ROWS_OF_LONG_RUN", 7)
        monkeypatch.setattr(stages, "ROWS_OF_LONG_RUN", rows_of_long_run)
        monkeypatch.setattr(
            stages.Books, "enter_built", lambda books, one: (built.append(one.rows), count(books, one))[1]
        )
        small = plan_upload(upload, window, services).to_json()
        sent = run_upload(upload, window, services)
        again = run_upload(upload, window, services)

    for report in (whole, small):
        report.pop("started_at"), report.pop("ended_at")
    assert small == whole
    assert sent.balance == whole["balance"]
    assert (again.tally.count(Fate.SENT), again.tally.count(Fate.ALREADY_SENT)) == (0, sent.tally.count(Fate.SENT))
    runs = [built[at : at + len(built) // 3] for at in range(0, len(built), len(built) // 3)]
    assert [min(one.count(40), 2) for one in runs] == [large_batches] * 3
    assert {rows for one in runs for rows in one if rows != 40} <= set(range(1, 40 if large_batches == 2 else 8))
