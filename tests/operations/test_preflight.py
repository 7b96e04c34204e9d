"""Looks at the sources before a run: `check --connect`, and the count for a progress bar, which decides nothing."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.config.source import SqlSource
from offline_capi.errors import ConfigError
from offline_capi.model import Window
from offline_capi.operations.preflight import check_columns, estimate_rows
from offline_capi.pipeline import read_rows
from tests.support.night import APPROVALS_ZONE, Night, yesterday
from tests.support.sandbox_server import Sandbox

#: SQLite reads it, but not as a part of another query.
UNCOUNTABLE = "PRAGMA table_list"


def test_a_query_that_cannot_be_counted_has_no_total_and_is_read(tmp_path: Path, sandbox: Sandbox):
    night = Night(tmp_path, sandbox).fill()
    with night.services() as services:
        upload = services.deployment.uploads["credit_approvals"]
        window = Window.of_day(yesterday(APPROVALS_ZONE), APPROVALS_ZONE)
        source = SqlSource(connection=upload.source.connection, sql=UNCOUNTABLE)
        uncountable = upload.model_copy(update={"source": source})

        counted = estimate_rows(upload, window, services)
        total = estimate_rows(uncountable, window, services)
        rows = list(read_rows(uncountable, window, services, prefetch=False, every_column=True))

    assert counted > 0
    assert total is None
    assert sum(map(len, rows)) > 0


CLIENTS = """
platform: {partner_agent: datapartner}
clients:
  acme: {pixel_id: "1200000000000009", token: {env: ACME_TOKEN}}
"""
UPLOAD = """
client: acme
source: {path: s.csv}
window: {column: at, timezone: America/New_York%s}
event: {name: Purchase, id: "o-{id}", action_source: physical_store, time: {column: sold, timezone: UTC}}
user_data: {em: email}
custom_data: {value: {column: total, type: number}, currency: USD}
"""
DAY = Window.of_day(date(2026, 11, 27), "America/New_York")


def checked(folder: Path, window: str, rows: str) -> dict[str, str]:
    (folder / "uploads").mkdir()
    (folder / "clients.yml").write_text(CLIENTS)
    (folder / "uploads" / "x.yml").write_text(UPLOAD % window)
    (folder / "s.csv").write_text("Report of the day\n\nid,at,sold,email,total\n" + rows)
    deployment = load_config(folder, environ={})
    upload = deployment.uploads["x"]
    return check_columns(upload, DAY, deployment, EnvironmentSecrets())


def test_a_window_that_no_row_can_be_placed_by_is_a_problem_at_its_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        ConfigError, match=r"x\.yml:4  window\.column  none of the first 2 values can be read as a time"
    ):
        checked(tmp_path, "", "1,27.11.2026,2026-11-27,a@x.org,1\n2,28.11.2026,2026-11-28,b@x.org,2\n")


@pytest.mark.parametrize(
    ("window", "rows"),
    [
        (', format: "%d.%m.%Y"', "1,27.11.2026,2026-11-27,a@x.org,1\n"),
        ("", "1,2026-11-27,2026-11-27,a@x.org,1\n2,soon,2026-11-28,b@x.org,2\n"),
        ("", "1,,2026-11-27,a@x.org,1\n"),
        ("", ""),
    ],
    ids=["declared", "one bad row is a row's fault", "nothing to read", "no rows"],
)
def test_a_window_that_rows_can_be_placed_by_is_none(tmp_path, monkeypatch, window, rows):
    monkeypatch.chdir(tmp_path)

    assert list(checked(tmp_path, window, rows)) == ["id", "at", "sold", "email", "total"]
