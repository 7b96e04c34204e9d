"""What is older than ``platform.retention`` goes on every night, a red one too, and the log says who ran it."""

from __future__ import annotations

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.ledger import Ledger, list_audit_entries
from tests.airflow_provider.conftest import SampleNight


def test_a_red_night_deletes_what_is_old_and_stays_red(night: SampleNight):
    old = night.home / "stage/20200101T000000-dead"
    old.mkdir(parents=True)
    for name in ("events-corner_shop.parquet", "rejects.parquet", "events-corner_shop.parquet.part"):
        (old / name).write_bytes(b"PAR1")
    night.sandbox.revoke(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"])

    done = night.run("store_purchases", force_gates=True)

    with Ledger(night.environment["OFFLINE_CAPI_LEDGER"]) as ledger:
        entries = list_audit_entries(ledger)
    assert (done.state, done.tasks["purge"]) == ("failed", "upstream_failed")
    assert not old.exists()
    assert night.staged() != []
    assert [(entry.action, entry.subject) for entry in entries] == [
        ("purge", "retention"),
        ("force_gates", "store_purchases"),
    ]
    assert all(entry.who.endswith(f"(Airflow offline_capi__store_purchases {done.run_id})") for entry in entries)
