"""A look before a run decides nothing about the run."""

from __future__ import annotations

from pathlib import Path

from offline_capi.config.settings import SqlSource
from offline_capi.model import Window
from offline_capi.pipeline import read
from offline_capi.preflight import rows_to_expect
from tests.night import APPROVALS_ZONE, Night, yesterday
from tests.sandbox_server import Sandbox

#: SQLite reads it, but not as a part of another query.
UNCOUNTABLE = "PRAGMA table_list"


def test_a_query_that_cannot_be_counted_has_no_total_and_is_read(tmp_path: Path, sandbox: Sandbox):
    night = Night(tmp_path, sandbox).fill()
    with night.services() as services:
        upload = services.deployment.uploads["credit_approvals"]
        window = Window.of_day(yesterday(APPROVALS_ZONE), APPROVALS_ZONE)
        source = SqlSource(connection=upload.source.connection, sql=UNCOUNTABLE)
        uncountable = upload.model_copy(update={"source": source})

        counted = rows_to_expect(upload, window, services)
        total = rows_to_expect(uncountable, window, services)
        rows = list(read(uncountable, window, services, ahead=False, every_column=True))

    assert counted > 0
    assert total is None
    assert sum(map(len, rows)) > 0
