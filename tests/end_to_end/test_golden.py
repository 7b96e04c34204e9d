"""The sample rows become exactly the golden events, whatever the batch size and the database."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from offline_capi.demo.samples import build_samples
from tests.support.golden import NIGHT, UPLOADS, environment, events_of, golden


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    build_samples(folder, NIGHT)
    return folder


@pytest.mark.parametrize("upload", UPLOADS)
def test_the_sample_rows_become_the_golden_events(home: Path, upload: str):
    assert events_of(upload, environment(home)) == golden(upload)


@pytest.mark.parametrize("batch_rows", [1, 7, 100])
@pytest.mark.parametrize("upload", UPLOADS)
def test_p11_the_batch_size_changes_no_byte(home: Path, upload: str, batch_rows: int):
    assert events_of(upload, environment(home), batch_rows=batch_rows) == golden(upload)


def test_the_same_upload_gives_the_same_events_from_postgresql(tmp_path: Path, postgres_db: str):
    """The query, the YAML and the rows are the same; only the connection's URL is another."""
    build_samples(tmp_path, NIGHT, warehouse_url=postgres_db)

    events = events_of("credit_approvals", environment(tmp_path) | {"OFFLINE_CAPI_CONN_WAREHOUSE": postgres_db})

    assert sorted(events) == sorted(golden("credit_approvals"))


def test_golden_e_mails_are_the_digests_of_the_addresses_in_lower_case():
    """Checked with nothing of ours: plain addresses of the samples, hashed by the standard library."""
    with Path("data_samples/credit_approvals.csv").open(encoding="utf-8") as file:
        rows = {row["application_id"]: row for row in csv.DictReader(file)}
    checked = 0
    for event in map(json.loads, golden("credit_approvals")):
        row = rows.get(str(event["custom_data"]["application_id"]))
        if row is None or not row["email"].isascii() or "@" not in row["email"] or not row["email"].strip():
            continue
        expected = hashlib.sha256(row["email"].strip().lower().encode()).hexdigest()
        checked += expected in event["user_data"].get("em", [])
    assert checked > 100


@pytest.mark.parametrize("upload", UPLOADS)
def test_p09_no_golden_event_holds_a_readable_value_of_the_samples(upload: str):
    text = "\n".join(golden(upload)).lower()
    for path in Path("data_samples").glob(f"{upload}*.csv"):
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for column in ("email", "phone", "last_name"):
                    value = (row[column] or "").strip().lower()
                    assert len(value) < 5 or f'"{value}"' not in text, f"{path.name}: a value of {column}"
