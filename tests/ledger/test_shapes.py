"""Shapes of a source's columns, as the ledger keeps them: by upload, client and column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from offline_capi.ledger import Ledger
from offline_capi.ledger.schema.tables import source_shape
from offline_capi.ledger.shapes import ColumnShapes, load_shapes, save_shapes

NOW = datetime(2026, 11, 29, 3, tzinfo=UTC)
Kept = dict[str, tuple[dict[str, int], dict[str, str]]]


def save(ledger: Ledger, upload: str, run_id: str, column: str = "em", reading: str = "r1", **shapes: int) -> None:
    found = {"acme": {column: ColumnShapes(reading, Counter(shapes))}}
    save_shapes(ledger, upload, found, run_id=run_id, now=NOW)


def kept(ledger: Ledger, upload: str) -> Kept:
    """Of the client acme, by column: values of each shape, and the run that first had it."""
    columns: Mapping[str, ColumnShapes] = load_shapes(ledger, upload).get("acme", {})
    return {name: (dict(one.counts), one.since) for name, one in columns.items()}


def test_each_upload_has_shapes_of_its_own_that_add_up_over_its_runs(ledger_url: str) -> None:
    with Ledger(ledger_url) as ledger:
        save(ledger, "sales", "run-1", text=3)
        save(ledger, "leads", "run-2", text=40)
        save(ledger, "sales", "run-3", text=2, digest=7)
        save(ledger, "sales", "run-3", "ph", digits=1)

        assert kept(ledger, "leads") == {"em": ({"text": 40}, {"text": "run-2"})}
        assert kept(ledger, "sales") == {
            "em": ({"text": 5, "digest": 7}, {"text": "run-1", "digest": "run-3"}),
            "ph": ({"digits": 1}, {"digits": "run-3"}),
        }
        assert load_shapes(ledger, "sales")["acme"]["em"].without("run-3") == {"text": 5}
        assert kept(ledger, "none") == {}


def test_a_column_that_is_read_another_way_begins_anew_and_counts_have_an_end(ledger_url: str) -> None:
    with Ledger(ledger_url) as ledger:
        save(ledger, "sales", "run-1", text=999)
        save(ledger, "sales", "run-2", text=2)
        full = kept(ledger, "sales")
        save(ledger, "sales", "run-3", reading="r2", text=5)

        assert full == {"em": ({"text": 1000}, {"text": "run-1"})}
        assert kept(ledger, "sales") == {"em": ({"text": 5}, {"text": "run-3"})}


def test_where_nothing_new_came_nothing_is_written(ledger_url: str) -> None:
    with Ledger(ledger_url) as ledger:
        save(ledger, "sales", "run-1", text=1000)
        for hours, shapes in ((1, {"text": 5}), (2, {"text": 5, "digest": 1})):
            found = {"acme": {"em": ColumnShapes("r1", Counter(shapes))}}
            save_shapes(ledger, "sales", found, run_id="run-2", now=NOW + timedelta(hours=hours))
            written = [row.written_at for row in ledger.read(sa.select(source_shape))]

            assert written == [(NOW if hours == 1 else NOW + timedelta(hours=2)).isoformat()]
