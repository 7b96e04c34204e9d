"""Runs in pieces beside runs in one process: what the first task of each leaves, in an order of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_capi.config import Upload
from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.model import Window
from offline_capi.pipeline import Services, begin_run, read_rows, stage_upload
from offline_capi.pipeline.pieces import MapPieces
from tests.support.night import Night, yesterday
from tests.support.sandbox_server import Sandbox


def make_parquet_night(home: Path, sandbox: Sandbox, name: str) -> tuple[Night, str]:
    """A sample whose rows lie in two Parquet files of small row groups; the second repeats some rows of the first.

    What repeats has another phone number, so that it is seen which of two rows goes.
    """
    night = Night(home, sandbox).fill()
    with night.services() as services:
        upload = services.deployment.uploads[name]
        batches = [one.batch for one in read_rows(upload, window_of(upload), services, every_column=True)]
    texts = [one.cast(pa.schema([(field, pa.string()) for field in one.schema.names])) for one in batches]
    rows = pa.concat_tables([pa.Table.from_batches([one]) for one in texts], promote_options="default")
    again = rows.slice(20, 60)
    at = again.schema.names.index("phone")
    again = again.set_column(at, "phone", pa.array([f"+4930901820{number:02}" for number in range(60)]))
    folder = home / "rows"
    folder.mkdir()
    pq.write_table(rows, folder / "a.parquet", row_group_size=17)
    pq.write_table(again, folder / "b.parquet", row_group_size=9)
    path = home / f"dags/uploads/{name}.yml"
    lines = path.read_text(encoding="utf-8").splitlines()
    start = lines.index("source:")
    end = next(number for number, line in enumerate(lines) if number > start and not line.startswith("  "))
    path.write_text("\n".join([*lines[:start], 'source: {path: "rows/*.parquet"}', *lines[end:]]), encoding="utf-8")
    return night, name


def window_of(upload: Upload) -> Window:
    return Window.of_day(yesterday(upload.window.timezone), upload.window.timezone)


@contextmanager
def open_upload(night: Night, name: str) -> Iterator[tuple[Upload, Window, Services]]:
    with night.services() as services:
        now = services.clock()
        fixed = replace(services, clock=lambda: now)
        upload = fixed.deployment.uploads[name]
        yield upload, window_of(upload), fixed


def stage_window(upload: Upload, window: Window, services: Services, map_pieces: MapPieces | None) -> dict[str, Any]:
    """What the first task of a run leaves: events, rejects and counts, in an order of their own."""
    run_id = begin_run(upload, window, services)
    units = stage_upload(upload, window, services, run_id, map_pieces=map_pieces)
    rejects = services.stage.read_rejects(run_id)
    tally = services.ledger.runs.load_parts(run_id)["prepare"].to_json()
    return {
        "run": run_id,
        "units": units,
        "events": sort_rows(services.stage.read_all_events(run_id)),
        "sent": {unit.client: sort_rows(services.stage.read_events(unit, 50)) for unit in units},
        "counted": {unit.client: unit.events for unit in units},
        "rejects": sorted(map(str, rejects.to_pylist() if rejects is not None else [])),
        "tally": {**tally, "keys_of": sorted(tally["keys_of"])},
    }


def sort_rows(batches: Iterable[Any]) -> list[tuple[Any, ...]]:
    rows = [tuple(row.values()) for one in batches for row in one.table.to_pylist()]
    return sorted(rows, key=str)


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    for what in ("tally", "rejects", "counted", "events", "sent"):
        assert one[what] == other[what], what


def spread_over_clients(night: Night, rows: int, clients: int, group_rows: int) -> None:
    """So many receipts in one Parquet file, nine of ten of one client and every tenth of all of them in turn."""
    many = multiply_receipts(night, 2 * rows + 100).slice(0, rows)
    names = [f"client_{number // 10 % clients if number % 10 == 9 else 0}" for number in range(rows)]
    many = many.set_column(many.schema.names.index("store_brand"), "store_brand", pa.array(names))
    pq.write_table(many, night.home / "rows/a.parquet", row_group_size=group_rows)
    (night.home / "rows/b.parquet").unlink()
    pixels = {f"client_{number}": str(1_300_000_000_000_000 + number) for number in range(clients)}
    night.sandbox.grant(SAMPLE_TOKENS["CORNER_SHOP_TOKEN"], list(pixels.values()))
    settings = [
        f'  {name}: {{pixel_id: "{pixel}", token: {{env: CORNER_SHOP_TOKEN}}, country: GB}}\n'
        for name, pixel in pixels.items()
    ]
    night.edit("dags/clients.yml", ("\nclients:\n", f"\nclients:\n{''.join(settings)}"))
    mapped = '  map: {"Corner Shop": corner_shop, "Nordic Outlet": nordic_outlet}\n'
    night.edit("dags/uploads/store_purchases.yml", (mapped, ""))


def cut_small_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process cut a CSV of some kilobytes; where pieces are read does not matter."""
    for name, size in {"MIN_CUT_BYTES": 0, "HEAD_BYTES": 3_000, "BLOCK_BYTES": 1_000, "MAX_FOOTER_BYTES": 500}.items():
        monkeypatch.setattr(f"offline_capi.sources.files.csv.{name}", size)


def multiply_receipts(night: Night, rows: int) -> pa.Table:
    """About so many rows of store_purchases: those of the night's first file again and again, with other numbers."""
    first = pq.read_table(night.home / "rows/a.parquet")
    many = pa.concat_tables([first] * (rows // len(first)))
    numbers = pa.array([f"K{number}" for number in range(len(many))])
    return many.set_column(many.schema.names.index("receipt_no"), "receipt_no", numbers)
