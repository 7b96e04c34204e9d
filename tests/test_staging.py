"""Staged events: one file a client, however many clients there are and however their rows are mixed."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offline_capi.errors import SourceError
from offline_capi.model import EventBatch
from offline_capi.staging import GROUP_ROWS, Stage
from tests.delivery.sending import batch, ids_of

CLIENTS, EACH = 200, 12


def mixed(part: int, parts: int) -> EventBatch:
    """A batch that holds a few events of every client."""
    own = [
        batch([f"{client}-{number}" for number in range(part, EACH, parts)], client=f"c{client:03}")
        for client in range(CLIENTS)
    ]
    rows = EventBatch.joined(own)
    return rows.take(pa.array([*range(0, len(rows), 2), *range(1, len(rows), 2)]))


@contextmanager
def few_files() -> Iterator[None]:
    """At most fifty more open files than there are now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len([*Path("/proc/self/fd").iterdir()]) + 50, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_every_client_has_its_events_in_one_file_and_one_piece(tmp_path: Path) -> None:
    """Many clients in every batch: few files are open at once, and no file is made of crumbs."""
    stage = Stage(str(tmp_path))

    with few_files(), stage.events("run") as staged:
        for part in range(3):
            staged.write(mixed(part, 3))

    assert [(unit.client, unit.events) for unit in staged.units] == [(f"c{n:03}", EACH) for n in range(CLIENTS)]
    for client, unit in enumerate(staged.units):
        ids = [id_ for events in stage.read_events(unit, 5) for id_ in ids_of(events)]
        assert sorted(ids) == sorted(f"{client}-{number}" for number in range(EACH))
        assert pq.ParquetFile(unit.path).num_row_groups == 1


def test_an_error_while_staging_leaves_no_file(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path))

    with pytest.raises(SourceError):
        stage_and_fail(stage)

    assert stage.files() == stage.torn_files() == []


def stage_and_fail(stage: Stage) -> None:
    with stage.events("run") as staged:
        staged.write(batch([f"e-{number}" for number in range(GROUP_ROWS)]))
        staged.write(mixed(0, 1))
        raise SourceError
