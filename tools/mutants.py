"""``make mutants``: change the code at random places and see whether the tests of its room notice.

Seeded and bounded in time. The room's quick tests run once under coverage.py, which tells the tests of each line. Each
mutant is one change of one line in a copy of the tree; first the quick tests that run the line, the shortest before the
others, then the room's slow tests. ``--quick`` stops after a minute of quick tests, so that what survives it may still
be noticed by the others. A mutant that no test notices survives, and is printed with its place. Mutants that
change no behaviour are listed in ``tools/mutants_equivalent.txt``, each with the reason, and are not counted.

Written here because the maintained tools do not fit: mutmut and cosmic-ray mutate everything in the order of the files
and run one test command for all, while most of our tests start processes, so that an unbounded run takes days.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).parents[1]
EQUIVALENT = ROOT / "tools" / "mutants_equivalent.txt"
#: What the room's tests run, by room and its text; a change of either has it traced again.
TRACES = ROOT / ".mutants"


@dataclass(frozen=True)
class Room:
    """Code that is mutated, and the tests that have to notice: arguments of pytest."""

    code: Sequence[str]
    quick: Sequence[str]
    slow: Sequence[str] = ()

    def files(self, folder: Path) -> list[Path]:
        found = [file for name in self.code for file in _python_files(folder / name)]
        return [file for file in found if "migrations" not in file.parts and file.name != "__init__.py"]

    def tests(self, folder: Path) -> list[Path]:
        names = [name for name in self.quick if name.startswith("tests/")]
        return [file for name in names for file in _python_files(folder / name)]


def _python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


_SQLITE_ONLY = ("-k", "not postgres and not mariadb and not pool")
_NIGHTS = (
    "tests/pipeline/test_open_days_cli.py",
    "tests/end_to_end/test_months.py",
    "tests/end_to_end/test_outcomes.py",
)
ROOMS: dict[str, Room] = {
    "delivery": Room(
        ["offline_capi/delivery", "offline_capi/meta/graph"],
        [
            "tests/delivery",
            "--ignore=tests/delivery/test_killed_upload.py",
            "--ignore=tests/delivery/test_thousand_runs.py",
        ],
        [
            "tests/runtime/test_telemetry.py",
            "tests/delivery/test_thousand_runs.py",
            "tests/end_to_end/test_promises.py",
            "tests/end_to_end/test_chaos.py",
        ],
    ),
    "ledger": Room(
        ["offline_capi/ledger"],
        [
            "tests/ledger",
            "tests/model/test_days.py",
            "tests/pipeline/test_open_days.py",
            "--ignore=tests/ledger/test_killed.py",
            "--ignore=tests/ledger/test_processes.py",
            "--ignore=tests/ledger/test_poolers.py",
            *_SQLITE_ONLY,
        ],
        ["tests/ledger", "tests/pipeline/test_replay.py"],
    ),
    "identity": Room(
        ["offline_capi/identity"],
        [
            "tests/identity",
            "tests/audit/test_coverage.py",
            "tests/audit/test_profiles.py",
            "tests/end_to_end/test_golden.py",
        ],
        ["tests/audit", "tests/end_to_end/test_promises.py"],
    ),
    "events": Room(
        ["offline_capi/events", "offline_capi/guards/duplicates.py", "offline_capi/guards/key_set.py"],
        [
            "tests/events",
            "tests/guards/test_duplicates.py",
            "tests/guards/test_store_repeats.py",
            "tests/end_to_end/test_golden.py",
        ],
        ["tests/end_to_end/test_promises.py"],
    ),
    "staging": Room(
        ["offline_capi/storage/staging.py", "offline_capi/model/batch.py", "offline_capi/model/spool.py"],
        [
            "tests/model/test_event_batch.py",
            "tests/delivery/test_laws.py",
            "tests/storage/test_staging.py",
            "tests/pipeline/test_open_days.py",
            "tests/guards/test_quality_gates.py",
            "tests/guards/test_frequent_values.py",
        ],
        [
            "tests/pipeline/test_replay.py",
            "tests/pipeline/test_pieces.py",
            "tests/privacy/test_erase.py",
            "tests/privacy",
            "tests/end_to_end/test_promises.py",
        ],
    ),
    "gates": Room(
        [
            "offline_capi/guards/quality_gates.py",
            "offline_capi/guards/expectations.py",
            "offline_capi/mapping/expectations.py",
        ],
        ["tests/guards/test_quality_gates.py", "tests/guards/test_expectations.py"],
        ["tests/report", "tests/end_to_end/test_outcomes.py"],
    ),
    "privacy": Room(
        ["offline_capi/privacy", "offline_capi/pipeline/rereading.py"],
        ["tests/privacy", "tests/privacy/test_erase.py", "tests/ledger/test_erasing.py", *_SQLITE_ONLY],
        ["tests/end_to_end/test_promises.py", "tests/operations/test_tracing.py"],
    ),
    "open_days": Room(
        [
            "offline_capi/pipeline/open_days.py",
            "offline_capi/guards/past_losses.py",
            "offline_capi/pipeline/settle.py",
            "offline_capi/model/days.py",
        ],
        ["tests/model/test_days.py", "tests/guards/test_past_losses.py", "tests/pipeline/test_open_days.py"],
        _NIGHTS,
    ),
    "timetable": Room(
        ["offline_capi/airflow_provider/dags/timetable.py"],
        ["tests/airflow_provider/test_timetable.py"],
        ["tests/airflow_provider/test_nights.py"],
    ),
}
#: Share of the mutants that the tests have to kill.
AIM = 0.95
#: Seconds that the quick tests of one mutant may take by their trace; those beyond run before the slow ones.
QUICK_TESTS_S = 60
#: A mutant whose tests take so many times longer than traced, beside the start, hangs, and is noticed.
HANGS_AFTER_TIMES, START_TIMEOUT_S = 5, 90
#: Seconds for the slow tests of one mutant.
SLOW_TIMEOUT_S = 900
#: Marks the processes of one run of tests, however they were started.
MARK = "OFFLINE_CAPI_MUTANT"
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one place: the new text of its file, and how it is told."""

    room: str
    file: str
    line: int
    what: str
    was: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.file} | {self.was} | {self.what}"


@dataclass(frozen=True)
class Trace:
    """The quick tests of a room: seconds of each that passes, and by file and line those that run it."""

    seconds: dict[str, float]
    failed: list[str]
    lines: dict[str, dict[int, list[str]]]

    def tests_of(self, file: str, line: int) -> list[str]:
        """The shortest first; all of the room where the line runs when its module is imported."""
        found = self.lines.get(file, {}).get(line, [])
        names = set(self.seconds) if "" in found else set(found)
        return sorted(names - set(self.failed) - {""}, key=lambda name: self.seconds[name])


# ---------------------------------------------------------------------------------------------- what is changed


def find_mutants(room: str, folder: Path, path: Path) -> Iterator[tuple[int, Callable[[], Mutant]]]:
    """Every change that is known of a file with its line, made only when asked for."""
    source = path.read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    nodes = list(ast.walk(tree))
    passed_over = {id(node) for root in nodes for part in _not_code(root) for node in ast.walk(part)}
    members = _members(nodes)
    for index, node in enumerate(nodes):
        if id(node) in passed_over:
            continue
        line = getattr(node, "lineno", 1)

        def make(index: int, line: int, change: Callable[[ast.AST], str]) -> Mutant:
            own = copy.deepcopy(tree)
            what = change(list(ast.walk(own))[index])
            text = ast.unparse(ast.fix_missing_locations(own))
            return Mutant(room, str(path.relative_to(folder)), line, what, lines[line - 1].strip(), text)

        for change in _changes(node, members):
            yield line, lambda index=index, line=line, change=change, make=make: make(index, line, change)


def _members(nodes: list[ast.AST]) -> dict[str, list[str]]:
    """``Reason`` to the members of it that a file names: constants of enumerations."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        if _is_member(node):
            found.setdefault(node.value.id, set()).add(node.attr)
    return {name: sorted(members) for name, members in found.items()}


def _is_member(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id[0].isupper()
        and node.attr.isupper()
    )


def _not_code(node: ast.AST) -> Iterator[ast.AST]:
    """What may change without a change of behaviour: annotations, docstrings, decorators, imports, names for tools."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield from node.decorator_list
        yield from (
            part
            for part in (node.returns, *(arg.annotation for arg in ast.walk(node.args) if isinstance(arg, ast.arg)))
            if part
        )
    if isinstance(node, ast.ClassDef):
        yield from node.decorator_list
    if isinstance(node, ast.AnnAssign):
        yield node.annotation
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        yield node
    if isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
    ):
        yield node
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        yield node
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield node
    if isinstance(node, ast.keyword) and node.arg == "strict" and isinstance(node.value, ast.Constant):
        yield node  # zip(strict=...): for readers, where both are equally long


def _changes(node: ast.AST, members: dict[str, list[str]]) -> Iterator[Callable[[ast.AST], str]]:
    """Each changes the node in place and returns what it did."""

    def put(name: str, new: object) -> Callable[[ast.AST], str]:
        def change(at: ast.AST) -> str:
            told = (lambda: at.test) if name == "test" else (lambda: at)
            before = ast.unparse(told())
            setattr(at, name, new)
            return f"{_short(before)} → {_short(ast.unparse(ast.fix_missing_locations(told())))}"

        return change

    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            if type(operator) in SWAPS:
                yield put("ops", [*node.ops[:index], SWAPS[type(operator)](), *node.ops[index + 1 :]])
    if isinstance(node, (ast.BoolOp, ast.BinOp, ast.AugAssign)) and type(node.op) in SWAPS:
        yield put("op", SWAPS[type(node.op)]())
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield put("value", not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield put("value", node.value + 1)
    if isinstance(node, (ast.If, ast.IfExp)):
        yield put("test", ast.Constant(True))
        yield put("test", ast.Constant(False))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield put("operand", ast.UnaryOp(ast.Not(), node.operand))
    if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield put("value", ast.Constant(None))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield put("value", ast.Constant(None))
    if isinstance(node, ast.keyword) and not isinstance(node.value, ast.Constant):
        yield put("value", ast.Constant(None))
    if _is_member(node) and len(others := members[node.value.id]) > 1:
        yield put("attr", others[(others.index(node.attr) + 1) % len(others)])


def _short(code: str) -> str:
    first = " ".join(code.split())
    return first if len(first) <= 70 else f"{first[:69]}…"


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


# ---------------------------------------------------------------------------------------------- tests


class Copy:
    """A copy of the tree in which tests run: one mutant at a time, nothing left of it afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
        )
        for name in filter(None, files.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)

    def write(self, name: str, text: str) -> None:
        """A file of the code; what was compiled from it goes, as its time and size may be those of another text."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()

    def run_tests(self, arguments: Sequence[str], timeout_s: float, **environment: str) -> tuple[int, str] | None:
        """pytest's exit code and output; None where it took too long. No process of it is alive afterwards."""
        with tempfile.TemporaryDirectory(prefix="m-", dir=self.folder.parent, ignore_cleanup_errors=True) as temporary:
            Path(temporary).chmod(0o755)  # a database server runs as another user
            mark = f"{MARK}={Path(temporary).name}"
            told = {**os.environ, **environment, MARK: Path(temporary).name, "TMPDIR": temporary}
            told["PYTHONPATH"] = str(self.folder)  # before the editable installation, in every process
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tools.traced_tests"]
            with (Path(temporary) / "output").open("w+") as output:
                process = subprocess.Popen(
                    [*command, "--hypothesis-seed=0", *arguments],
                    cwd=self.folder, env=told, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
                try:
                    code = process.wait(timeout_s)
                except subprocess.TimeoutExpired:
                    return None
                finally:
                    _kill_marked(mark)
                    process.wait()
                output.seek(0)
                return code, output.read()

    def check_imports(self) -> None:
        """The copy is what gets imported, in whatever folder a process starts."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        command = [sys.executable, "-c", "import offline_capi, tests; print(offline_capi.__file__, tests.__file__)"]
        found = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=True).stdout
        if any(not name.startswith(str(self.folder)) for name in found.split()):
            raise SystemExit(f"mutants: the copy is not what gets imported, but {found}")


def _kill_marked(mark: str) -> None:
    """Every process with this in its environment, in whatever session, until none is left."""
    for _ in range(20):
        found = False
        for entry in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark.encode() in entry.read_bytes().split(b"\0"):
                    os.kill(int(entry.parent.name), signal.SIGKILL)
                    found = True
            except (OSError, ValueError):  # ended, or not ours
                continue
        if not found:
            return
        time.sleep(0.05)


def read_trace(name: str, place: Copy) -> Trace:
    """The trace of a room, kept until its code or its quick tests change."""
    room = ROOMS[name]
    digest = hashlib.sha256(repr(room).encode())
    for file in [*room.files(place.folder), *room.tests(place.folder)]:
        digest.update(file.read_bytes())
    kept = TRACES / f"{name}-{digest.hexdigest()[:16]}.json"
    if not kept.exists():
        TRACES.mkdir(exist_ok=True)
        start = time.monotonic()
        traced = os.pathsep.join(str(file) for file in room.files(place.folder))
        fresh = place.folder.parent / "trace.json"
        done = place.run_tests(room.quick, 3600, TRACED=traced, TRACE_TO=str(fresh))
        if done is None or done[0] not in (0, 1) or not fresh.exists():
            raise SystemExit(f"mutants: the quick tests of {name} do not run:\n{(done or (0, 'too long'))[1][-3000:]}")
        found = json.loads(fresh.read_text(encoding="utf-8"))
        found["lines"] = {str(Path(file).relative_to(place.folder)): lines for file, lines in found["lines"].items()}
        kept.write_text(json.dumps(found), encoding="utf-8")
        print(f"traced {name}: {len(found['seconds'])} tests in {time.monotonic() - start:.0f} s", flush=True)
    found = json.loads(kept.read_text(encoding="utf-8"))
    for failed in found["failed"]:
        print(f"left out, as it does not pass without any mutant: {failed}", flush=True)
    lines = {file: {int(line): tests for line, tests in by.items()} for file, by in found["lines"].items()}
    return Trace(found["seconds"], found["failed"], lines)


def judge(place: Copy, mutant: Mutant, trace: Trace, until: float, *, quick_only: bool) -> str | None:
    """The test that notices, or "" where none does; None where the time of the whole run is over."""
    quick: dict[str, float] = {}
    beyond: dict[str, float] = {}
    for test in trace.tests_of(mutant.file, mutant.line):
        fits = not quick or sum(quick.values()) + trace.seconds[test] <= QUICK_TESTS_S
        (quick if fits else beyond)[test] = trace.seconds[test]
    stages: list[tuple[list[str], float, dict[str, str]]] = []
    with tempfile.TemporaryDirectory(prefix="only-", dir=place.folder.parent) as folder:
        for number, tests in enumerate([quick] if quick_only else [quick, beyond]):
            if tests:
                chosen = Path(folder) / f"{number}.json"
                chosen.write_text(json.dumps([*tests]), encoding="utf-8")
                files = sorted({test.split("::")[0] for test in tests})
                timeout_s = START_TIMEOUT_S + HANGS_AFTER_TIMES * sum(tests.values())
                stages.append((files, timeout_s, {"RUN_ONLY": str(chosen)}))
        if not quick_only and ROOMS[mutant.room].slow:
            stages.append((list(ROOMS[mutant.room].slow), SLOW_TIMEOUT_S, {}))
        before = (place.folder / mutant.file).read_text(encoding="utf-8")
        place.write(mutant.file, mutant.text)
        try:
            for arguments, timeout_s, environment in stages:
                left = until - time.monotonic()
                done = place.run_tests(["-x", *arguments], min(timeout_s, left), **environment) if left > 0 else None
                if done is None:
                    return "hung" if left >= timeout_s else None
                if done[0] not in (0, 5):
                    found = re.findall(r"^(?:FAILED|ERROR) (\S+)", done[1], re.MULTILINE)
                    return found[0] if found else f"pytest ended with {done[0]}"
            return ""
        finally:
            place.write(mutant.file, before)


# ---------------------------------------------------------------------------------------------- one run


def choose(seed: int, count: int, folder: Path, rooms: list[str], traces: dict[str, Trace]) -> tuple[list[Mutant], int]:
    """Mutants drawn at random from the lines that tests run, rooms by their size, and how many drawn are equivalent.

    Of the files in ``folder``, a copy of the tree: whoever runs this may go on working.
    """
    chance = random.Random(seed)
    listed = EQUIVALENT.read_text(encoding="utf-8").splitlines() if EQUIVALENT.exists() else []
    known = {line.rpartition(" # ")[0].strip() for line in listed}
    every: list[Callable[[], Mutant]] = []
    for room in rooms:
        for file in ROOMS[room].files(folder):
            run = traces[room].lines.get(str(file.relative_to(folder)), {})
            every += [make for line, make in find_mutants(room, folder, file) if line in run]
    chance.shuffle(every)
    chosen: list[Mutant] = []
    equivalent = 0
    for make in every:
        if len(chosen) == count:
            break
        mutant = make()
        if mutant.name in known:
            equivalent += 1
        else:
            chosen.append(mutant)
    return chosen, equivalent


def main() -> None:
    options = argparse.ArgumentParser(prog="make mutants")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--count", type=int, default=60, help="mutants drawn")
    options.add_argument("--minutes", type=float, default=30, help="no longer than this, the tracing apart")
    options.add_argument("--only", help=f"one of {', '.join(ROOMS)}")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--quick", action="store_true", help="without the slow tests")
    chosen = options.parse_args()
    rooms = [room for room in ROOMS if chosen.only in (None, room)]
    if not rooms:
        options.error(f"no room {chosen.only}: one of {', '.join(ROOMS)}")
    killed: list[Mutant] = []
    survived: list[Mutant] = []
    copies: Queue[Copy] = Queue()

    with tempfile.TemporaryDirectory(prefix="mutants-") as home, ThreadPoolExecutor(chosen.workers) as pool:
        Path(home).chmod(0o755)
        for number in range(chosen.workers):
            copies.put(Copy(Path(home) / str(number)))
        place = copies.get()
        place.check_imports()
        traces = {room: read_trace(room, place) for room in rooms}
        copies.put(place)
        mutants, equivalent = choose(chosen.seed, chosen.count, place.folder, rooms, traces)
        until = time.monotonic() + 60 * chosen.minutes

        def work(mutant: Mutant) -> None:
            place, start = copies.get(), time.monotonic()
            try:
                found = judge(place, mutant, traces[mutant.room], until, quick_only=chosen.quick)
            finally:
                copies.put(place)
            if found is not None:
                (killed if found else survived).append(mutant)
                told = f"killed ({found})" if found else "SURVIVED"
                took = time.monotonic() - start
                print(f"{mutant.file}:{mutant.line}  {mutant.what}  {told}, {took:.0f} s", flush=True)

        list(pool.map(work, mutants))
    judged = len(killed) + len(survived)
    share = len(killed) / judged if judged else 0.0
    told = f"seed {chosen.seed}: {len(killed)} of {judged} mutants killed, {share:.0%} (aim: {AIM:.0%})"
    print(f"{told}; {equivalent} equivalent; {len(mutants) - judged} not reached in time")
    for mutant in survived:
        print(f"  {mutant.name}")
    sys.exit(0 if judged and share >= AIM else 1)


if __name__ == "__main__":
    main()
