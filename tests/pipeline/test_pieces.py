"""A run in pieces is the run in one process: every event, every reject, every count; in any cut, order and number."""

from __future__ import annotations

import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.errors import ConfigError, SourceError, TemporaryError
from offline_capi.model import BuiltEvents, Fate
from offline_capi.pipeline import begin_run, plan_upload, reconcile, run_upload, send_staged, stage_upload, stages
from offline_capi.pipeline.pieces import (
    ExecutorTask,
    Piece,
    PieceResult,
    PieceTask,
    answer_packed,
    prepare_here,
    prepare_piece,
    store_answers,
)
from tests.support.night import Night
from tests.support.pieces import (
    assert_same,
    cut_small_csv,
    make_parquet_night,
    open_upload,
    sort_rows,
    spread_over_clients,
    stage_window,
)
from tests.support.sandbox_server import Sandbox

UPLOADS = ["credit_approvals", "store_purchases"]
ROOT = Path(__file__).parents[2]
KILL_POINTS = 20
SMALL_PIECES = int(os.environ.get("PIECES", "100"))


@pytest.fixture(params=UPLOADS)
def parquet(request: pytest.FixtureRequest, tmp_path: Path, sandbox: Sandbox) -> tuple[Night, str]:
    return make_parquet_night(tmp_path, sandbox, request.param)


def prepare_twice_in_any_order(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
    """As an engine does that repeats work: results travel as text, and each piece has two files of which one counts."""
    twice = [*pieces, *pieces]
    random.Random(1).shuffle(twice)
    for piece in twice:
        yield PieceResult.from_text(prepare_piece(*pickle.loads(pickle.dumps((task, piece)))).to_text())


def count_groups(night: Night) -> int:
    return sum(pq.ParquetFile(path).num_row_groups for path in (night.home / "rows").iterdir())


def test_p25_a_run_in_pieces_is_the_run_in_one_process(
    parquet: tuple[Night, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one piece for each row group, with some row groups a piece, and with one piece a file."""
    monkeypatch.setattr("offline_capi.guards.drift.SAMPLE_ROWS", 30)
    seen: list[int] = []

    def engine(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
        seen.append(len(pieces))
        return prepare_twice_in_any_order(task, pieces)

    night, name = parquet
    night.edit(f"dags/uploads/{name}.yml", ("event:\n", 'expect: [{column: country, matches: "^DE$"}]\nevent:\n'))
    with open_upload(night, name) as (upload, window, services):
        whole = stage_window(upload, window, services, None)
        for rows in (1, 40, 10**6):
            monkeypatch.setattr(stages, "PIECE_ROWS", rows)
            pieces = stage_window(upload, window, services, engine)
            files = [path for run, path in services.stage.list_run_files() if run == pieces["run"]]

            assert_same(whole, pieces)
            assert len([path for path in files if "/events-," in path]) <= seen[-1]  # orphans went with the commit
            assert services.stage.find_event_files(pieces["run"]) == []
        plans = [plan_upload(upload, window, services, map_pieces=one).to_json() for one in (None, engine)]
        of_plans = [path for run, path in services.stage.list_run_files() if "-plan-" in run]

    assert any("duplicate_event_id" in one for one in whole["rejects"])
    assert whole["tally"]["expected"]
    assert seen[0] == count_groups(night) > seen[1] > seen[2] == 2
    assert without_order(plans[0]) == without_order(plans[1])
    assert of_plans == []


def test_p25_a_csv_in_pieces_is_the_run_in_one_process(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values with line breaks, lines with too many values and repeats, whose row numbers are those of the file."""
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    for path in sorted((night.home / "rows").iterdir()):
        rows = pq.read_table(path)
        at = rows.schema.names.index("first_name")
        rows = rows.set_column(at, "first_name", pc.replace_substring(rows["first_name"], "a", "a\n"))
        written = pa.BufferOutputStream()
        csv.write_csv(rows, written)
        lines = written.getvalue().to_pybytes().split(b"\n")
        path.with_suffix(".csv").write_bytes(b"\n".join([*lines[:60], b"1,2", *lines[60:]]))
    night.edit(f"dags/uploads/{name}.yml", ("rows/*.parquet", "rows/*.csv"))
    cut_small_csv(monkeypatch)
    monkeypatch.setattr(stages, "PIECE_ROWS", 20)
    seen: list[int] = []

    def engine(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
        seen.append(len(pieces))
        return prepare_twice_in_any_order(task, pieces)

    with open_upload(night, name) as (upload, window, services):
        whole, pieces = (stage_window(upload, window, services, one) for one in (None, engine))

    assert_same(whole, pieces)
    assert seen[0] > 8
    assert sum("malformed_row" in one for one in whole["rejects"]) == 2
    assert any("duplicate_event_id" in one for one in whole["rejects"])


def without_order(report: dict[str, Any]) -> dict[str, Any]:
    report["tally"]["keys_of"].sort()
    return report


def test_p02_what_was_prepared_in_pieces_is_sent_once(tmp_path: Path, sandbox: Sandbox) -> None:
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    with open_upload(night, name) as (upload, window, services):
        planned = plan_upload(upload, window, services)
        sent = run_upload(upload, window, services, map_pieces=prepare_here)
        again = run_upload(upload, window, services, map_pieces=prepare_here)
        left = [path for _, path in services.stage.list_run_files() if "/events-" in path]
        run_id = begin_run(upload, window, services)
        units = stage_upload(upload, window, services, run_id, map_pieces=prepare_here)
        for unit in units:
            send_staged(unit, upload, services)
        staged = reconcile(run_id, upload, services)
        services.stage.purge_events(run_id)
        after = [path for run, path in services.stage.list_run_files() if run == run_id and "/events-" in path]

    assert sent.balance == planned.balance
    assert set(night.counted.values()) == {1}
    assert sum(night.counted.values()) == sent.tally.count(Fate.SENT) > 200
    assert [again.tally.count(fate) for fate in (Fate.SENT, Fate.ALREADY_SENT)] == [0, sent.tally.count(Fate.SENT)]
    assert staged.balance == again.balance
    assert sum(unit.events for unit in units) == sent.tally.count(Fate.SENT)
    assert left == after == []


def test_files_that_the_manifest_does_not_name_are_not_read_and_go_with_the_run(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    with open_upload(night, name) as (upload, window, services):
        run_id = begin_run(upload, window, services)
        late: list[PieceTask] = []

        def engine(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
            late[:] = [task]
            return prepare_here(task, pieces)

        (unit, *_) = stage_upload(upload, window, services, run_id, map_pieces=engine)
        before = sort_rows(services.stage.read_all_events(run_id))
        part = services.stage.read_manifest(run_id)
        (whole,) = [one.name for one in part.files[:1]]
        orphan = services.stage.piece_path(run_id, 0, "f" * 32)
        services.stage.filesystem.copy(services.stage.path(run_id, whole), orphan)

        assert sort_rows(services.stage.read_all_events(run_id)) == before
        # A person who is erased while events are staged is erased from pieces: the others are still there.
        gone = next(iter(services.stage.read_events(unit, 10))).table["key"][0].as_py()
        for path in services.stage.list_files():
            if "/events-," in path:
                services.stage.rewrite(path, lambda rows: pa.array([key == gone for key in rows["key"].to_pylist()]))
        assert sort_rows(services.stage.read_all_events(run_id)) == [row for row in before if gone not in row]
        services.stage.purge_events(run_id)
        assert not services.stage.filesystem.exists(orphan)


KILLED = """
import hashlib, json, os, signal, sys
from pathlib import Path
from offline_capi.pipeline import stages, stage_upload
from offline_capi.pipeline.pieces import prepare_here
from tests.support.night import Night
from tests.support.pieces import open_upload, sort_rows

class Here(Night):
    def __init__(self): self.home, self.env = Path.cwd(), dict(os.environ)

stage, steps = os.environ["OFFLINE_CAPI_STAGE"], ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
stages.PIECE_ROWS = 120

def stage_once(kill_at):
    seen = 0
    def count(event, arguments):
        nonlocal seen
        if event in steps and str(arguments[0]).startswith(stage):
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    with open_upload(Here(), "store_purchases") as (upload, window, services):
        stage_upload(upload, window, services, sys.argv[1], map_pieces=prepare_here)
        manifest = services.stage.read_manifest(sys.argv[1])
        files = [path.rsplit("/", 1)[1] for run, path in services.stage.list_run_files() if "/events-," in path]
        events = sort_rows(services.stage.read_all_events(sys.argv[1]))
        tally = services.ledger.runs.load_parts(sys.argv[1])["prepare"].to_json()
        tally["keys_of"].sort()
    digest = hashlib.sha256(repr((events, sorted(tally.items()))).encode()).hexdigest()
    only_named = sorted(files) == sorted(one.name for one in manifest.files)
    print(json.dumps([seen, len(events), digest, only_named]), flush=True)

def run(kill_at):
    child = os.fork()
    if not child:
        stage_once(kill_at)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

assert run(0) == 0
steps_of_run, points = int(sys.argv[2]), int(sys.argv[3])
for point in range(1, points + 1):
    assert run(1 + point * (steps_of_run - 1) // points) == -signal.SIGKILL
    assert point % 5 or run(0) == 0
"""


def test_p25_a_run_that_is_killed_at_20_points_and_run_again_is_the_same_and_leaves_nothing_behind(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    """SIGKILL at files that it opens, names, moves and removes in the stage; after every fifth point a run ends."""
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    with open_upload(night, name) as (upload, window, services):
        run_id = begin_run(upload, window, services)
    counted = night.script(KILLED, run_id, "2", "0", timeout=600)
    whole = [json.loads(line) for line in counted.out.splitlines()]
    said = night.script(KILLED, run_id, str(whole[0][0]), str(KILL_POINTS), timeout=600)
    runs = [json.loads(line) for line in said.out.splitlines()]

    assert said.code == 0, said.err
    assert whole[0][0] > KILL_POINTS
    assert len(runs) == 1 + KILL_POINTS // 5  # those that were killed said nothing
    assert {(events, digest) for _, events, digest, _ in runs} == {(whole[0][1], whole[0][2])}
    assert all(only_named for *_, only_named in runs)


def test_p25_many_small_pieces_and_one_client_with_nearly_all_rows_are_the_run_in_one_process(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row a piece, nine of ten of the same client; a client that is in few pieces gets its events all the same.

    A piece costs 30 ms, whatever its size: a thousand of them are for those who have a minute (PIECES).
    """
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    spread_over_clients(night, SMALL_PIECES, 3, 1)
    monkeypatch.setattr(stages, "PIECE_ROWS", 1)
    with open_upload(night, name) as (upload, window, services):
        whole, pieces = (stage_window(upload, window, services, engine) for engine in (None, prepare_here))
        files = [path for run, path in services.stage.list_run_files() if run == pieces["run"] and "/events-," in path]

    assert_same(whole, pieces)
    assert len(files) > SMALL_PIECES / 2
    assert set(pieces["counted"]) == {"client_0", "client_1", "client_2"}
    assert pieces["counted"]["client_0"] > 5 * pieces["counted"]["client_1"]


def test_a_file_that_changes_between_the_cut_and_the_end_of_its_pieces_ends_the_run(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    path = night.home / "rows/b.parquet"

    def write_meanwhile(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
        yield prepare_piece(task, pieces[0])
        pq.write_table(pq.read_table(path).slice(1), path)
        yield from prepare_here(task, pieces[1:])

    with open_upload(night, name) as (upload, window, services):
        with pytest.raises(SourceError, match=r"file b\.parquet: it was changed while it was read\.\nRun again"):
            run_upload(upload, window, services, map_pieces=write_meanwhile)
        again = run_upload(upload, window, services, map_pieces=prepare_here)

    assert again.tally.count(Fate.SENT) > 200


def test_folders_of_hive_are_read_by_the_process_that_starts_the_run(tmp_path: Path, sandbox: Sandbox) -> None:
    """Their columns are in the names of folders, which a part does not carry."""
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    for part in ("a", "b"):
        rows = pq.read_table(night.home / f"rows/{part}.parquet").drop_columns(["currency"])
        (night.home / "hive/currency=EUR").mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, night.home / f"hive/currency=EUR/{part}.parquet")
    night.edit(f"dags/uploads/{name}.yml", ('path: "rows/*.parquet"', "path: hive, partitioning: hive"))
    asked: list[int] = []

    def engine(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
        asked.append(len(pieces))
        return prepare_here(task, pieces)

    with open_upload(night, name) as (upload, window, services):
        whole, on_engine = (stage_window(upload, window, services, one) for one in (None, engine))

    assert_same(whole, on_engine)
    assert asked == []
    assert len(whole["events"]) > 200


def test_an_engine_that_loses_a_piece_or_writes_elsewhere_ends_the_run_before_anything_is_sent(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")

    def lose(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
        return prepare_here(task, pieces[1:])

    def write_elsewhere(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
        return prepare_here(replace(task, stage=str(tmp_path / "of another machine")), pieces)

    with open_upload(night, name) as (upload, window, services):
        with pytest.raises(TemporaryError, match=r"1 of 2 pieces .* a part of a\.parquet"):
            run_upload(upload, window, services, map_pieces=lose)
        with pytest.raises(ConfigError, match=r"platform\.stage: .*cannot be\s+seen from this one"):
            run_upload(upload, window, services, map_pieces=write_elsewhere)
    assert not night.counted


def test_what_needs_all_rows_in_one_order_is_refused_before_a_row_is_read(tmp_path: Path, sandbox: Sandbox) -> None:
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    night.edit(f"dags/uploads/{name}.yml", ("event:\n", "filter: [{first_of: [receipt_no]}]\nevent:\n"))
    with open_upload(night, name) as (upload, window, services):
        with pytest.raises(ConfigError, match=r"store_purchases: filter\[0\]\.first_of cannot be used"):
            run_upload(upload, window, services, map_pieces=prepare_here)
        (record,) = services.ledger.runs.list_newest(2)

    assert record.status == "failed"


def test_p25_events_that_an_engine_writes_itself_are_those_that_we_write(
    parquet: tuple[Night, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Spark does: some pieces in one Parquet file, with keys of no fixed length and the results among the rows."""
    monkeypatch.setattr(stages, "PIECE_ROWS", 40)

    def engine(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
        packed = pickle.dumps(ExecutorTask(task, [[piece] for piece in pieces], returns_events=True))
        for first in range(0, len(pieces), 3):
            numbers = pa.RecordBatch.from_pydict({"id": list(range(first, min(first + 3, len(pieces))))})
            answers = list(answer_packed(packed, [numbers]))
            pq.write_table(pa.Table.from_batches(answers), tmp_path / "part", row_group_size=29)
            for kind, text in store_answers(task, tmp_path / "part", batch_rows=17):
                assert kind == ""
                yield PieceResult.from_text(text)

    night, name = parquet
    with open_upload(night, name) as (upload, window, services):
        whole, pieces = (stage_window(upload, window, services, one) for one in (None, engine))

    assert_same(whole, pieces)
    assert len(pieces["events"]) > 100


def test_all_that_a_batch_counts_comes_back_from_a_piece() -> None:
    """A new count of ``BuiltEvents`` has a place in ``PieceResult`` as well, or here with its reason."""
    of_events = {"events", "copies", "copied", "store_keys"}  # in the file
    renamed = {"outside", "filtered"}  # under ``rows``

    counts = {one.name for one in fields(BuiltEvents)} - of_events - renamed

    assert counts <= {one.name for one in fields(PieceResult)}


EXECUTOR = """
import pickle, sys
task, piece = pickle.load(open(sys.argv[1], "rb"))
from offline_capi.pipeline.pieces import prepare_piece
result = prepare_piece(task, piece)
rooms = ("ledger", "delivery", "clients", "report", "cli", "airflow_provider", "sandbox")
found = [name for name in sys.modules if name.split(".")[:2] in [["offline_capi", room] for room in rooms]]
print(sum(result.events.values()), found + [name for name in ("alembic", "jinja2", "httpx") if name in sys.modules])
"""


def test_p25_what_travels_has_no_environment_and_no_token_and_loads_neither_ledger_nor_delivery(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    night, name = make_parquet_night(tmp_path, sandbox, "store_purchases")
    night.env |= SAMPLE_TOKENS
    night.env["A_SECRET"] = "s3cret-of-the-environment"
    for variable, value in night.env.items():
        monkeypatch.setenv(variable, value)
    given: list[tuple[PieceTask, Piece]] = []

    def engine(task: PieceTask, pieces: Sequence[Piece]) -> Iterator[PieceResult]:
        given.append((task, pieces[0]))
        return prepare_here(task, pieces)

    with open_upload(night, name) as (upload, window, services):
        plan_upload(upload, window, services, map_pieces=engine)
    packed = pickle.dumps(given[0])
    (tmp_path / "task").write_bytes(packed)
    alone = subprocess.run(
        [sys.executable, "-c", EXECUTOR, str(tmp_path / "task")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(packed) < 40_000
    for secret in (*SAMPLE_TOKENS.values(), "s3cret-of-the-environment", "A_SECRET", "PATH"):
        assert secret.encode() not in packed
    assert alone.stdout.split(maxsplit=1)[1].strip() == "[]"
    assert int(alone.stdout.split()[0]) > 0
