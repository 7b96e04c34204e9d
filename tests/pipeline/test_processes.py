"""Worker processes prepare the same events in the same order, survive being killed, and are given no secret (P25)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.errors import OfflineCapiError, TemporaryError
from offline_capi.model import BuiltEvents, Fate, SourceRows, Window
from offline_capi.pipeline import Recipe, plan_upload, read_rows, run_upload, stages
from offline_capi.pipeline.processes import MAX_ATTEMPTS, WorkerPool, count_processes
from tests.support.night import Night, yesterday
from tests.support.sandbox_server import Sandbox

UPLOADS = ["credit_approvals", "store_purchases"]
NOW = datetime.now(UTC)


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    return Night(tmp_path, sandbox).fill()


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples have a few hundred rows: many batches of them go to workers all the same."""
    monkeypatch.setattr(stages, "BATCH_ROWS", 20)
    monkeypatch.setattr(stages, "BATCH_ROWS_OF_RUN", 20)
    monkeypatch.setattr(stages, "BATCHES_BEFORE_WORKERS", 1)
    monkeypatch.setattr("offline_capi.guards.drift.SAMPLE_ROWS", 30)


def window_of(upload: object) -> Window:
    zone = upload.window.timezone  # type: ignore[attr-defined]
    return Window.of_day(yesterday(zone), zone)


def recipe_and_batches(night: Night, name: str, rows: int = 25) -> tuple[Recipe, list[SourceRows]]:
    with night.services() as services:
        upload = services.deployment.uploads[name]
        window = window_of(upload)
        recipe = Recipe.of_upload(upload, window, services.deployment)
        whole = list(read_rows(upload, window, services))
    cut = [
        SourceRows(one.batch.slice(start, rows), one.origin, one.first_row + start, (), one.width)
        for one in whole
        for start in range(0, len(one), rows)
    ]
    return recipe, cut


def as_bytes(built: Iterator[BuiltEvents]) -> list[tuple[int, list[bytes], list[dict[str, object]]]]:
    return [(one.rows, one.events.table.column("body").to_pylist(), one.unsent.table.to_pylist()) for one in built]


@pytest.mark.parametrize("name", UPLOADS)
def test_p25_a_run_with_workers_is_the_run_without(name: str, night: Night, small_batches: None) -> None:
    with night.services() as services:
        upload = services.deployment.uploads[name]
        with_workers = upload.model_copy(update={"engine": upload.engine.model_copy(update={"processes": 2})})
        window = window_of(upload)

        here, there = (plan_upload(one, window, services).to_json() for one in (upload, with_workers))
        sent = run_upload(with_workers, window, services)
        again = run_upload(upload, window, services)

    for report in (here, there):
        report.pop("started_at"), report.pop("ended_at")
    assert here == there
    assert (sent.balance, again.tally.count(Fate.SENT)) == (here["balance"], 0)
    assert again.tally.count(Fate.ALREADY_SENT) == sent.tally.count(Fate.SENT) > 0


@pytest.mark.parametrize("processes", [1, 3])
def test_p25_batches_come_back_in_order_with_the_same_bytes(processes: int, night: Night) -> None:
    recipe, batches = recipe_and_batches(night, "store_purchases")
    elsewhere = Window.of_day(date(2020, 1, 1), "Europe/Berlin")  # none of its rows is of that day
    batches[1] = replace(batches[1], window=elsewhere)

    with WorkerPool(recipe, processes) as workers:
        there = as_bytes(workers.prepare(batches, lambda: NOW))

    assert len(batches) > 4
    assert there == [one for rows in batches for one in as_bytes(recipe.prepare_batch(rows, NOW))]


def test_p25_a_killed_worker_is_replaced_and_its_batch_prepared_again(night: Night) -> None:
    recipe, batches = recipe_and_batches(night, "store_purchases", rows=10)
    expected = [one for rows in batches for one in as_bytes(recipe.prepare_batch(rows, NOW))]

    with WorkerPool(recipe, 2) as workers:
        prepared = workers.prepare(batches, lambda: NOW)
        there = as_bytes(iter([next(prepared)]))
        killed = [worker for worker in list(workers.alive) if os.kill(worker.pid, signal.SIGKILL) is None]
        there += as_bytes(prepared)

    assert killed
    assert there == expected


def test_a_worker_that_dies_over_a_batch_each_time_ends_the_run_with_a_sentence(night: Night) -> None:
    recipe, batches = recipe_and_batches(night, "store_purchases")
    deadly = Recipe(**{name: getattr(recipe, name) for name in Recipe.__slots__} | {"clients": _Deadly()})

    with WorkerPool(deadly, 1) as workers, pytest.raises(TemporaryError, match=f"{MAX_ATTEMPTS} times over the same"):
        list(workers.prepare(batches, lambda: NOW))


class _Deadly:
    """Ends the process that unpickles it, as the system does where memory runs out."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (9,)


def test_an_error_of_a_worker_is_raised_here_as_what_it_is(night: Night) -> None:
    recipe, batches = recipe_and_batches(night, "store_purchases")
    without = SourceRows(pa.record_batch({"other": ["x"]}), "file", 1)

    with pytest.raises(OfflineCapiError) as here:
        list(recipe.prepare_batch(without, NOW))
    with WorkerPool(recipe, 1) as workers, pytest.raises(type(here.value)) as there:
        list(workers.prepare([*batches[:1], without], lambda: NOW))

    assert str(there.value) == str(here.value)


def test_workers_get_no_token_and_end_with_their_pool(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, token in enumerate(SAMPLE_TOKENS.values()):
        monkeypatch.setenv(f"SECRET_{number}", token)
    recipe, batches = recipe_and_batches(night, "credit_approvals")

    with WorkerPool(recipe, 2) as workers:
        list(workers.prepare(batches, lambda: NOW))
        pids = [worker.pid for worker in workers.alive]
        environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in pids]

    assert pids
    for environment in environments:
        assert b"PATH=" in environment
        assert not any(token.encode() in environment for token in SAMPLE_TOKENS.values())
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_auto_leaves_one_core_to_the_process_that_sends_and_one_worker_is_none() -> None:
    free = min(len(os.sched_getaffinity(0)) - 1, 4)
    assert count_processes("auto") == (free if free > 1 else 0)
    assert [count_processes(number) for number in (1, 2, 8)] == [0, 2, 8]
