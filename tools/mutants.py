"""``make mutants``: change the code at random places and see whether the tests of its room notice.

Seeded and bounded in time. Each mutant is one change of one line in a copy of the tree; the room's quick tests run
first, its slow ones only if those pass. A mutant that no test notices survives, and is printed with its place. Mutants
that change no behaviour are listed in ``tools/mutants_equivalent.txt``, each with the reason, and are not counted.

Written here because the maintained tools do not fit: mutmut and cosmic-ray mutate everything in the order of the files
and run one test command for all, while most of our tests start processes, so that an unbounded run takes days.
"""

from __future__ import annotations

import argparse
import ast
import copy
import random
import shutil
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
#: What is mutated, and the tests that have to notice: quick ones, then slow ones.
ROOMS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "offline_capi/delivery": (
        (
            "tests/delivery",
            "--ignore=tests/delivery/test_killed_upload.py",
            "--ignore=tests/delivery/test_thousand_runs.py",
        ),
        ("tests/delivery/test_thousand_runs.py", "tests/test_promises.py", "tests/test_chaos.py"),
    ),
    "offline_capi/ledger": (
        (
            "tests/ledger",
            "--ignore=tests/ledger/test_killed.py",
            "--ignore=tests/ledger/test_processes.py",
            "-k",
            "not postgres",
        ),
        ("tests/ledger", "tests/test_open_days.py", "tests/test_replay.py"),
    ),
    "offline_capi/identity": (("tests/identity", "tests/audit"), ("tests/test_golden.py", "tests/test_promises.py")),
    "offline_capi/events": (("tests/events",), ("tests/test_golden.py", "tests/test_promises.py")),
    "offline_capi/staging.py": (
        ("tests/test_staging.py", "tests/test_replay.py"),
        ("tests/test_erase.py", "tests/test_promises.py"),
    ),
    "offline_capi/gates.py": (("tests/test_gates.py",), ("tests/report",)),
    "offline_capi/privacy": (("tests/test_erase.py", "tests/ledger/test_erasing.py"), ("tests/test_promises.py",)),
    "offline_capi/erasing.py": (("tests/test_erase.py", "tests/ledger/test_erasing.py"), ("tests/test_promises.py",)),
    "offline_capi/open_days.py": (
        ("tests/test_open_days.py",),
        ("tests/test_open_days_cli.py", "tests/test_months.py"),
    ),
    "offline_capi/past_losses.py": (("tests/test_open_days.py",), ("tests/test_months.py",)),
    "offline_capi/nightly.py": (("tests/test_open_days.py",), ("tests/test_open_days_cli.py", "tests/test_months.py")),
    "offline_capi/model/days.py": (
        ("tests/test_open_days.py", "tests/ledger/test_migrations.py"),
        ("tests/test_months.py",),
    ),
    "offline_capi/airflow_provider/timetable.py": (("tests/airflow_provider/test_timetable.py",), ()),
}
#: Share of the mutants that the tests have to kill.
AIM = 0.95
#: Seconds for the tests of one mutant; one that takes longer hangs, and is noticed.
TESTS_TIMEOUT_S = 900
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change of one place: the new text of its file, and how it is told."""

    file: str
    line: int
    what: str
    was: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.file} | {self.was} | {self.what}"


def find_mutants(path: Path) -> Iterator[Callable[[], Mutant]]:
    """Every change that is known of a file, made only when asked for."""
    source = path.read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    nodes = list(ast.walk(tree))
    passed_over = {id(node) for root in nodes for part in _not_code(root) for node in ast.walk(part)}
    for index, node in enumerate(nodes):
        if id(node) in passed_over:
            continue
        for what, change in _changes(node):
            yield lambda index=index, what=what, change=change, node=node: _mutate(
                path, tree, lines, index, what, change, node
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


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield f"{type(node.ops[0]).__name__} swapped", lambda at: at.ops.__setitem__(0, SWAPS[type(at.ops[0])]())
    if isinstance(node, (ast.BoolOp, ast.BinOp, ast.AugAssign)) and type(node.op) in SWAPS:
        yield f"{type(node.op).__name__} swapped", lambda at: setattr(at, "op", SWAPS[type(at.op)]())
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} turned", lambda at: setattr(at, "value", not at.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield f"{node.value} + 1", lambda at: setattr(at, "value", at.value + 1)
    if isinstance(node, (ast.If, ast.IfExp)):
        yield "condition True", lambda at: setattr(at, "test", ast.Constant(True))
        yield "condition False", lambda at: setattr(at, "test", ast.Constant(False))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield (
            "not removed",
            lambda at: (setattr(at, "op", ast.Not()), setattr(at, "operand", ast.UnaryOp(ast.Not(), at.operand))),
        )
    if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield "return None", lambda at: setattr(at, "value", ast.Constant(None))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "call removed", lambda at: setattr(at, "value", ast.Constant(None))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _mutate(
    path: Path,
    tree: ast.Module,
    lines: list[str],
    index: int,
    what: str,
    change: Callable[[ast.AST], None],
    node: ast.AST,
) -> Mutant:
    own = copy.deepcopy(tree)
    at = list(ast.walk(own))[index]
    change(at)
    line = getattr(node, "lineno", 1)
    return Mutant(
        str(path.relative_to(ROOT)), line, what, lines[line - 1].strip(), ast.unparse(ast.fix_missing_locations(own))
    )


def choose(seed: int, count: int, only: str | None) -> list[tuple[str, Mutant]]:
    """Mutants drawn at random, rooms by their size; without those that are known to change nothing."""
    chance = random.Random(seed)
    known = {
        line.split(" # ")[0].strip() for line in EQUIVALENT.read_text(encoding="utf-8").splitlines() if line.strip()
    }
    every: list[tuple[str, Callable[[], Mutant]]] = []
    for room in ROOMS:
        place = ROOT / room
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place] if place.exists() else []
        if only is None or only in room:
            every += [(room, make) for file in files if "migrations" not in file.parts for make in find_mutants(file)]
    chance.shuffle(every)
    chosen: list[tuple[str, Mutant]] = []
    for room, make in every:
        mutant = make()
        if mutant.name not in known:
            chosen.append((room, mutant))
        if len(chosen) == count:
            break
    return chosen


def copy_tree(folder: Path) -> None:
    files = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, files.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


def is_noticed(folder: Path, tests: Sequence[str], until: float) -> bool | None:
    """Whether a test fails in this copy; None where the time of the whole run is over."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    limit = min(TESTS_TIMEOUT_S, until - time.monotonic())
    if limit <= 0:
        return None
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None if time.monotonic() >= until else True
    return done.returncode not in (0, 5)


def judge(folder: Path, room: str, mutant: Mutant, until: float) -> bool | None:
    target = folder / mutant.file
    before = target.read_text(encoding="utf-8")
    target.write_text(mutant.text, encoding="utf-8")
    try:
        for tests in ROOMS[room]:
            noticed = is_noticed(folder, tests, until) if tests else False
            if noticed is not False:
                return noticed
        return False
    finally:
        target.write_text(before, encoding="utf-8")


def main() -> None:
    options = argparse.ArgumentParser(prog="make mutants")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--count", type=int, default=60, help="mutants drawn")
    options.add_argument("--minutes", type=float, default=30, help="no longer than this")
    options.add_argument("--only", help="rooms with this in their name")
    options.add_argument("--workers", type=int, default=2)
    chosen = options.parse_args()
    until = time.monotonic() + 60 * chosen.minutes
    mutants = choose(chosen.seed, chosen.count, chosen.only)
    killed: list[Mutant] = []
    survived: list[Mutant] = []
    folders: Queue[Path] = Queue()

    def work(room: str, mutant: Mutant) -> None:
        folder = folders.get()
        try:
            noticed = judge(folder, room, mutant, until)
        finally:
            folders.put(folder)
        if noticed is not None:
            (killed if noticed else survived).append(mutant)
            print(
                f"{'killed  ' if noticed else 'SURVIVED'} {mutant.file}:{mutant.line}  {mutant.what}: {mutant.was}",
                flush=True,
            )

    with tempfile.TemporaryDirectory(prefix="mutants-") as home, ThreadPoolExecutor(chosen.workers) as pool:
        for number in range(chosen.workers):
            folder = Path(home) / str(number)
            copy_tree(folder)
            folders.put(folder)
        list(pool.map(lambda pair: work(*pair), mutants))
    judged = len(killed) + len(survived)
    share = len(killed) / judged if judged else 0.0
    told = f"seed {chosen.seed}: {len(killed)} of {judged} mutants killed, {share:.0%} (aim: {AIM:.0%})"
    print(f"{told}; {len(mutants) - judged} not reached in time")
    for mutant in survived:
        print(f"  {mutant.name}")
    sys.exit(0 if judged and share >= AIM else 1)


if __name__ == "__main__":
    main()
