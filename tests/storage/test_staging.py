"""Staged events: one file a client, however many clients there are and however their rows are mixed."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from offline_capi.errors import SourceError
from offline_capi.model import EventBatch
from offline_capi.storage.staging import GROUP_ROWS, Stage, StagedEvents
from tests.delivery.sending import batch, ids_of

CLIENTS, EACH = 200, 12


def mixed(part: int, parts: int) -> EventBatch:
    """A batch that holds a few events of every client."""
    own = [
        batch([f"{client}-{number}" for number in range(part, EACH, parts)], client=f"c{client:03}")
        for client in range(CLIENTS)
    ]
    rows = EventBatch.join(own)
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

    with few_files(), stage.write_events("run") as staged:
        for part in range(3):
            staged.write(mixed(part, 3))

    assert [(unit.client, unit.events) for unit in staged.units] == [(f"c{n:03}", EACH) for n in range(CLIENTS)]
    for client, unit in enumerate(staged.units):
        ids = [id_ for events in stage.read_events(unit, 5) for id_ in ids_of(events)]
        assert sorted(ids) == sorted(f"{client}-{number}" for number in range(EACH))
        assert pq.ParquetFile(unit.paths[0]).num_row_groups == 1


def test_an_error_while_staging_leaves_no_file(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path))

    with pytest.raises(SourceError):
        stage_and_fail(stage)

    assert stage.list_files() == stage.list_torn_files() == []


def stage_and_fail(stage: Stage) -> None:
    with stage.write_events("run") as staged:
        staged.write(batch([f"e-{number}" for number in range(GROUP_ROWS)]))
        staged.write(mixed(0, 1))
        raise SourceError


# ---------------------------------------------------------------------------------------------- events


def test_a_unit_says_where_its_events_are_and_names_become_paths(tmp_path: Path) -> None:
    stage = Stage(f"{tmp_path}/")
    with stage.write_events("run/1") as staged:
        staged.write(batch(["a", "b"], client="shop/north"))
        staged.write(batch(["c"], client="acme"))

    path = f"{tmp_path}/run%2F1/events-shop%2Fnorth.parquet"
    assert [unit.to_json() for unit in staged.units] == [
        {"run_id": "run/1", "client": "acme", "paths": [f"{tmp_path}/run%2F1/events-acme.parquet"], "events": 1},
        {"run_id": "run/1", "client": "shop/north", "paths": [path], "events": 2},
    ]
    assert StagedEvents.from_json(staged.units[1].to_json()) == staged.units[1]
    assert [ids_of(events) for events in stage.read_all_events("run/1", 1)] == [["c"], ["a"], ["b"]]
    assert [run for run, _ in stage.list_run_files()] == ["run/1", "run/1"]


def test_events_of_a_client_are_written_as_soon_as_they_fill_a_group(tmp_path: Path) -> None:
    """Those that do not wait for the end; in the order in which they came."""
    stage, ids = Stage(str(tmp_path)), [f"e-{number}" for number in range(GROUP_ROWS + 1)]
    with stage.write_events("run") as staged:
        staged.write(batch(ids[:1]))
        early = stage.list_torn_files()
        staged.write(batch(ids[1:GROUP_ROWS]))
        full = stage.list_torn_files()
        staged.write(batch(ids[GROUP_ROWS:]))

    (unit,) = staged.units
    assert (early, full) == ([], [f"{unit.paths[0]}.part"])
    assert pq.ParquetFile(unit.paths[0]).num_row_groups == 2
    assert [name for events in stage.read_events(unit, GROUP_ROWS) for name in ids_of(events)] == ids


def test_a_client_may_have_several_parts_and_they_are_read_in_order(tmp_path: Path) -> None:
    """Numbers, not texts: part 10 comes after part 2. A client whose name looks like a part is another client."""
    stage, parts = Stage(str(tmp_path)), (10, 1, 0, 2)
    for part in parts:
        with stage.write_events("run", part) as staged:
            staged.write(batch([f"north-{part}"], client="north"))
    with stage.write_events("run") as staged:
        staged.write(batch(["other"], client="north,1"))

    unit = StagedEvents("run", "north", tuple(stage.events_path("run", "north", part) for part in sorted(parts)), 4)
    assert [ids_of(events) for events in stage.read_events(unit, 9)] == [
        ["north-0"],
        ["north-1"],
        ["north-2"],
        ["north-10"],
    ]
    everything = [id_ for events in stage.read_all_events("run") for id_ in ids_of(events)]
    assert everything == ["north-0", "north-1", "north-2", "north-10", "other"]
    stage.purge_events("run")
    assert stage.list_files() == []


def test_events_that_an_earlier_version_staged_are_read(tmp_path: Path) -> None:
    """Its only file of a client is part 0: a task that is repeated after an update replaces it."""
    stage = Stage(str(tmp_path))
    with stage.write_events("run") as staged:
        staged.write(batch(["old"], client="acme"))
    path = f"{tmp_path}/run/events-acme.parquet"
    unit = StagedEvents.from_json({"run_id": "run", "client": "acme", "path": path, "events": 1})

    read = [id_ for events in stage.read_events(unit, 9) for id_ in ids_of(events)]
    with stage.write_events("run") as staged:
        staged.write(batch(["new"], client="acme"))

    assert read == ["old"]
    assert [ids_of(events) for events in stage.read_all_events("run")] == [["new"]]


# ---------------------------------------------------------------------------------------------- rows not sent


REJECTED = {"origin": "a.csv", "row": 1, "client": "shop", "event_id": "r-1", "reason": "missing_value", "field": "em"}
LOST = {"origin": "a.csv", "row": 5, "client": "shop", "event_id": "u-1", "fate": "deferred", "reason": "throttled"}


def keep(stage: Stage, invalid: list[dict[str, object]], undelivered: list[dict[str, object]]) -> None:
    with stage.write_rejects("run") as writer:
        if invalid:
            writer.write(pa.RecordBatch.from_pylist([REJECTED | one for one in invalid]))
        if undelivered:
            lost = [LOST | {"key": bytes(16)} | one for one in undelivered]
            writer.write_undelivered(pa.RecordBatch.from_pylist(lost))


def wanted(stage: Stage, **how: bool) -> tuple[list[str], dict[str, list[int]]]:
    found = stage.find_wanted_rows("run", **how)
    return found.event_ids.to_pylist(), {origin: rows.to_pylist() for origin, rows in found.places.items()}


def test_a_replay_finds_rows_by_their_event_id_and_those_without_by_their_place(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path))
    assert wanted(stage, undelivered=True, by_place=True) == ([], {})
    keep(stage, [{}, {"row": 2}, {"row": 3, "event_id": None}, {"origin": "b.csv", "event_id": None}], [{}])

    assert wanted(stage, undelivered=False, by_place=False) == (["r-1"], {"a.csv": [3], "b.csv": [1]})
    assert wanted(stage, undelivered=True, by_place=False) == (["r-1", "u-1"], {"a.csv": [3], "b.csv": [1]})
    assert wanted(stage, undelivered=True, by_place=True) == (["r-1", "u-1"], {"a.csv": [1, 2, 3, 5], "b.csv": [1]})


def test_what_was_not_sent_stands_in_one_table_with_the_same_columns_however_little_there_is(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path))
    names = ["row", "origin", "client", "event_id", "fate", "reason", "field"]
    empty, no_files = stage.read_unsent("run")
    keep(stage, [{}], [])
    rejects_only, one_file = stage.read_unsent("run")
    keep(stage, [{}], [{}])
    both, files = stage.read_unsent("run")

    assert (empty.column_names, empty.num_rows, no_files) == (names, 0, [])
    assert (rejects_only.column_names, one_file) == (names, [stage.rejects_path("run")])
    assert (both.num_rows, files) == (2, [stage.rejects_path("run"), stage.undelivered_path("run")])
    assert both.select(names).to_pylist() == [
        {**REJECTED, "fate": None},
        {**LOST, "field": None},
    ]


def test_the_keys_of_refused_events_are_those_of_no_other(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path))
    assert stage.find_rejected_keys("run") == []
    keep(stage, [], [{}, {"fate": "rejected_by_meta", "key": b"k" * 16}, {"fate": "unconfirmed"}])

    assert stage.find_rejected_keys("run") == [b"k" * 16]


# ---------------------------------------------------------------------------------------------- files


def test_a_file_is_written_anew_without_some_of_its_rows(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path))
    keep(stage, [{"row": row} for row in range(5)], [])
    path = stage.rejects_path("run")

    def leaving(*rows: int) -> int:
        return stage.rewrite(path, lambda part: pc.is_in(part["row"], pa.array(rows)))

    written = Path(path).stat().st_mtime_ns
    assert leaving(9) == 0
    assert Path(path).stat().st_mtime_ns == written
    assert leaving(0, 3) == 2
    assert [part["row"].to_pylist() for part in stage.read_batches(path)] == [[1, 2, 4]]
    assert leaving(1, 2, 4) == 3
    assert (pq.read_table(path).num_rows, stage.list_files(), stage.list_torn_files()) == (0, [path], [])


def test_the_last_file_of_a_run_takes_its_folder_with_it(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path))
    keep(stage, [{}], [{}])

    stage.remove(stage.rejects_path("run"))
    one_left = stage.list_files()
    stage.remove(stage.undelivered_path("run"))
    stage.remove(stage.undelivered_path("run"))

    assert one_left == [stage.undelivered_path("run")]
    assert [*tmp_path.iterdir()] == []


def test_the_events_of_a_run_go_and_its_rejects_stay(tmp_path: Path) -> None:
    stage = Stage(str(tmp_path))
    keep(stage, [{}], [])
    with stage.write_events("run") as staged:
        staged.write(batch(["a"]))
    Path(f"{staged.units[0].paths[0]}.part").write_bytes(b"PAR1")

    stage.purge_events("run")

    assert [path for _, path in stage.list_run_files()] == [stage.rejects_path("run")]


def test_a_run_began_when_its_id_says_else_when_its_file_was_written(tmp_path: Path) -> None:
    stage, path = Stage(str(tmp_path)), tmp_path / "events.parquet"
    path.write_bytes(b"")
    os.utime(path, (1_000_000_000, 1_000_000_000))

    assert stage.find_run_start("20261120T031502-ab12", str(path)) == datetime(2026, 11, 20, 3, 15, 2, tzinfo=UTC)
    assert stage.find_run_start("by-hand", str(path)) == datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)


def test_a_status_file_is_replaced_where_its_text_changes(tmp_path: Path) -> None:
    stage, path = Stage(str(tmp_path)), tmp_path / "clients" / "shop.json"
    path.parent.mkdir()
    path.write_text('{"a": 1}')

    assert stage.list_status_files() == [str(path)]
    assert not stage.rewrite_json(str(path), lambda document: None)
    assert path.read_text() == '{"a": 1}'
    assert stage.rewrite_json(str(path), lambda document: {**document, "b": 2})
    assert json.loads(path.read_text()) == {"a": 1, "b": 2}
    assert stage.list_torn_files() == []
    path.write_text("{")
    assert not stage.rewrite_json(str(path), lambda document: {})
    assert not stage.rewrite_json(f"{path}.gone", lambda document: {})


def test_an_id_that_is_none_is_not_kept_and_its_row_is_found_by_its_place(tmp_path: Path) -> None:
    """A value of megabytes was written beside the reason, in as many rows as had one."""
    stage = Stage(str(tmp_path))

    keep(
        stage,
        [{"event_id": "x" * 5_000_000, "row": 7, "origin": "a.csv"}, {"event_id": "o-8", "row": 8, "origin": "a.csv"}],
        [{"event_id": "y" * 1001, "row": 9, "origin": "a.csv"}, {"event_id": "z" * 1000, "row": 10, "origin": "a.csv"}],
    )

    assert sum(path.stat().st_size for path in tmp_path.rglob("*.parquet")) < 20_000
    assert wanted(stage, undelivered=True, by_place=False) == (["o-8", "z" * 1000], {"a.csv": [7, 9]})
