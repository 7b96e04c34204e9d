"""Receipts of a shop that Meta counts as one: what the report counts is what the other side drops."""

from __future__ import annotations

import re
from pathlib import Path

from tests.onboarding.beginner import KNOWN, Beginner
from tests.support.night import yesterday
from tests.support.sandbox_server import TOKEN, Sandbox


def test_what_a_run_warns_of_is_what_the_other_side_counts_once(tmp_path: Path, sandbox: Sandbox) -> None:
    """Two receipts of a person in one second are one to Meta, unless they have order ids. All are sent."""
    beginner, day = Beginner(tmp_path, {"ACME_TOKEN": TOKEN, "OFFLINE_CAPI_GRAPH_URL": sandbox.url}), yesterday("UTC")
    rows = [
        {"receipt_no": receipt, "sold_at": f"{day} {clock}", "mail": f"{person}@post.example.org", "amount": "5.00",
         "currency": "USD"}
        for receipt, clock, person in (
            ("r-1", "10:00:00", "ada"), ("r-2", "10:00:00", "ada"), ("r-3", "10:00:01", "ada"),
            ("r-4", "10:00:00", "bo"),
        )
    ]  # fmt: skip
    beginner.init(beginner.csv("sales.csv", rows), *KNOWN, "--yes")
    path = beginner.home / "dags" / "uploads" / "sales.yml"
    with_order = path.read_text(encoding="utf-8")

    path.write_text(re.sub(r"\n  order_id: .*", "", with_order), encoding="utf-8")
    without = beginner.run("upload", "sales", "--since", day.isoformat(), "--no-settle")
    counted_without = sandbox.accepted_ids
    sandbox.reset()
    path.write_text(with_order, encoding="utf-8")
    again = {"OFFLINE_CAPI_LEDGER": "sqlite:///another.db"}
    with_orders = beginner.run("upload", "sales", "--since", day.isoformat(), "--no-settle", env=again)

    assert "order_id" in with_order
    assert (without.code, with_orders.code) == (0, 0), without.out + with_orders.out
    assert "4 read = 4 sent" in without.out
    assert "the same person, second and name" in " ".join(without.out.split())
    assert "map custom_data.order_id" in without.out
    assert counted_without == ["r-1", "r-3", "r-4"]
    assert "the same person" not in with_orders.out
    assert sandbox.accepted_ids == ["r-1", "r-2", "r-3", "r-4"]
