"""P9 on every way to fail: readable canaries in every column, and nothing of them in anything that is written.

``WAYS`` has at least one way to each error of ``offline_capi.errors``; an error without one fails the test, so that a
new error is a new case. ``BREAKS`` break the border once in each room, in a copy of the package, and the same search
has to find a canary then: a search that finds nothing proves something only if it can find.
"""

from __future__ import annotations

import csv
import inspect
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import openpyxl
import pytest
from pyarrow import parquet

from offline_capi import errors
from tests.support.night import NOBODY, ROOT, Night, Said, yesterday
from tests.support.sales import ZONE, Row, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

CANARIES: Row = {
    "email": "Zyxcan.Mail@Leaktest.org",
    "phone": "+1 415 555 2671",
    "first": "Zyxcanfirst",
    "last": "Zyxcanlast",
    "born": "1977-07-09",
    "city": "Zyxcancity",
    "state": "Zyxcanstate",
    "zip": "ZQ9 7ZX",
    "number": "ZYXCANNUMBER7",
}
#: Rows that end in some other way each: canaries also in the columns that make them fail.
TROUBLED: list[Row] = [
    {"sale": "+1 415 555 2671"},
    {"sale": "o-+14155552671"},
    {"sale": "Zyxcan.Mail@Leaktest.org"},
    {"brand": "+14155552671"},
    {"brand": "Zyxcanfirst Zyxcanlast"},
    {"brand": "Zyxcan.Mail@Leaktest.org"},
    {"brand": "Zyxcanlast (not in the map)"},
    {"number": "Zyxcan.Mail@Leaktest.org"},
    {"number": "+1 (415) 555-2671"},
    {"amount": "Zyxcanamount"},
    {"currency": "Zyxcancoins"},
    {"sold_at": "Zyxcannoon"},
    {"born": "Zyxcanday"},
    {"consent": "Zyxcanno"},
]
#: What is searched for, in small letters: as written, as the rules normalise it, and phone numbers by their digits.
SIGHTS = [value.lower() for value in CANARIES.values()] + [
    *("zyxcan", "leaktest", "4155552671", "415 555-2671", "19770709", "09071977", "1977-7-9", "zq97zx"),
]

#: Several commands in one process, each with the way it ends.
COMMANDS = """
import json, sys
from offline_capi.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["offline-capi", *arguments]
    try:
        main()
    except SystemExit as end:
        print("ended with", end.code)
"""
#: The tasks of a night in Airflow, and the errors that they end with as Airflow logs them.
TASKS = """
import json, sys, traceback
from pathlib import Path
from offline_capi.airflow_provider.operators.failures import raise_for_undelivered
from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.model import Window, find_yesterday
from offline_capi.pipeline import begin_run, open_services, reconcile, send_staged, stage_upload
from datetime import UTC, datetime
with open_services(load_config(Path("dags")), EnvironmentSecrets()) as services:
    upload = services.deployment.uploads["sales"]
    window = Window.of_day(find_yesterday("Europe/Berlin", datetime.now(UTC)), "Europe/Berlin")
    run = begin_run(upload, window, services)
    for unit in stage_upload(upload, window, services, run):
        print(repr(unit), unit)
        try:
            tally = send_staged(unit, upload, services)
            print(repr(tally))
            raise_for_undelivered(unit.client, tally)
        except Exception:
            traceback.print_exc()
    try:
        report = reconcile(run, upload, services)
        print(repr(report), report.to_json())
        report.raise_if_partial() if hasattr(report, "raise_if_partial") else None
    except Exception:
        traceback.print_exc()
"""
#: What somebody looks at afterwards.
LOOKS = [
    ["status", "--json"],
    ["status"],
    ["status", "--days", "--json"],
    ["report", "last", "--html", "report.html", "--json"],
    ["report"],
    ["rejects", "last", "--json", "--limit", "99"],
    ["rejects", "last", "--limit", "99"],
    ["log"],
    ["clients", "list"],
    ["trace", "--row", "sales.csv:3"],
]

Prepare = Callable[[Night], list[list[str]] | str]


@dataclass(frozen=True)
class Way:
    """How a night gets to an error: ``prepare`` breaks something and says which commands (or tasks) then run."""

    error: type[BaseException] | None
    prepare: Prepare

    @property
    def name(self) -> str:
        return f"{self.error.__name__ if self.error else 'no error'}: {self.prepare.__name__}"


UPLOAD = ["upload", "sales"]
HOOK = """
import sys
def {name}(frame):
    email = frame["email"].iloc[0]
    {body}
"""


# ---------------------------------------------------------------------------------------------- the ways


def nothing_goes_wrong(_: Night) -> list[list[str]]:
    return [
        ["check"],
        ["plan", "sales"],
        ["preview", "sales"],
        ["coverage", "sales"],
        UPLOAD,
        ["plan", "sales", "--json"],
    ]


def clients_are_read_from_a_column(night: Night) -> list[list[str]]:
    """Was: a stranger's name, phone or address in the ledger, the rejects and every report."""
    night.edit(
        "dags/uploads/sales.yml",
        ("{column: brand, map: {Shop: corner_shop, Outlet: nordic_outlet}}", "{coalesce: [brand, last]}"),
    )
    return [["plan", "sales"], UPLOAD, ["status"]]


def a_hook_raises(night: Night) -> list[list[str]]:
    return _hooked(night, 'raise ValueError(f"bad row {email}")')


def a_hook_exits(night: Night) -> list[list[str]]:
    return _hooked(night, 'sys.exit(f"bad row {email}")')


def a_hook_prints(night: Night) -> list[list[str]]:
    """Standard output is a log in Airflow."""
    return _hooked(night, PRINTING)


#: By each way that Python's own log and print have.
PRINTING = """import logging, warnings
    print(email)
    print(email, file=sys.stderr)
    sys.stdout.writelines([email])
    warnings.warn(email)
    logging.getLogger("hooks").error(email)
    logging.getLogger().critical("%s", email, stack_info=True)
    return frame"""


def a_hook_names_a_column_by_a_value(night: Night) -> list[list[str]]:
    return _hooked(night, "return frame.astype(object).assign(**{email: [complex(1, n) for n in range(len(frame))]})")


def _hooked(night: Night, body: str) -> list[list[str]]:
    night.write("hooks.py", HOOK.format(name="hook", body=body))
    night.edit("dags/uploads/sales.yml", ("client:", 'transform: "hooks:hook"\nclient:'))
    night.edit("dags/clients.yml", ("platform:\n", "platform:\n  python: [hooks]\n"))
    return [["plan", "sales"], UPLOAD]


def a_run_has_nothing_to_replay(_: Night) -> list[list[str]]:
    return [
        UPLOAD,
        ["replay", "last", "--undelivered"],
        ["replay", "last", "--undelivered"],
        ["report", "--client", "Zyxother"],
    ]


def a_header_is_missing(night: Night) -> list[list[str]]:
    """Was: the first person in full, in the message of the error."""
    path = night.home / "sales/sales.csv"
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[1:]) + "\n", encoding="utf-8")
    return [["check", "sales", "--connect"], ["plan", "sales"], UPLOAD, ["init", "again", "sales/sales.csv", "--yes"]]


def a_header_is_missing_above_words(night: Night) -> list[list[str]]:
    """Nothing of it has the shape of a value."""
    night.write("sales/sales.csv", "Zyxcanfirst,Zyxcanlast,Zyxcancity\nAnna,Smith,Berlin\n")
    return [["check", "sales", "--connect"], ["plan", "sales"], UPLOAD]


def lines_of_json_are_keyed_by_people(night: Night) -> list[list[str]]:
    (night.home / "sales/sales.csv").unlink()
    night.edit("dags/uploads/sales.yml", ("*.csv", "*.jsonl"))
    night.write("sales/sales.jsonl", '{"Zyxcanfirst": 1, "zyxcan.mail@leaktest.org": 2}\n' * 200)
    return [["check", "sales", "--connect"], ["plan", "sales"], UPLOAD]


def a_file_is_no_text(night: Night) -> list[list[str]]:
    path = night.home / "sales/sales.csv"
    path.write_bytes(path.read_bytes() + b"Zyxcanfirst \xc4," + b"," * 20 + b"\n")
    return [["check", "sales", "--connect"], ["plan", "sales"], UPLOAD]


def a_path_holds_a_token(night: Night) -> list[list[str]]:
    """Was: the token in the message, as part of the path."""
    night.env["SHOP_TOKEN"] = "EAAzyxcantoken"
    night.edit("dags/uploads/sales.yml", ("/sales/*.csv", "/${SHOP_TOKEN}"))
    return [["check", "sales", "--connect"], ["plan", "sales"], UPLOAD]


def a_database_quotes_a_row(night: Night) -> list[list[str]]:
    """Was: `Could not parse string "…"` with the address."""
    return queried(night, "SELECT *, strptime(email, '%Y') AS y FROM sales")


def a_database_says_what_a_row_says(night: Night) -> list[list[str]]:
    return queried(night, "SELECT *, error('no row for ' || first || ' ' || last || ' ' || phone) AS y FROM sales")


def a_query_casts_a_row(night: Night) -> list[list[str]]:
    return queried(night, "SELECT *, first::INTEGER AS y FROM sales")


#: Every query names both ends of the window; the tables here have texts alone.
BOTH_ENDS = "CAST(:since AS VARCHAR) < CAST(:until AS VARCHAR)"


def queried(night: Night, query: str) -> list[list[str]]:
    with duckdb.connect(str(night.home / "shop.duckdb")) as database:
        csv = str(night.home / "sales/sales.csv")
        database.execute("CREATE TABLE sales AS SELECT * FROM read_csv(?, all_varchar := true, header := true)", [csv])
    night.env["OFFLINE_CAPI_CONN_SHOP"] = f"duckdb:///{night.home / 'shop.duckdb'}"
    night.write("sql/sales.sql", f"{query} WHERE {BOTH_ENDS}")
    night.edit(
        "dags/uploads/sales.yml",
        ('{path: "${OFFLINE_CAPI_DATA}/sales/*.csv"}', "{connection: shop, sql: sales.sql}"),
    )
    return [["check", "sales", "--connect"], ["plan", "sales"], UPLOAD]


def a_database_is_locked(night: Night) -> list[list[str]]:
    path = night.home / "locked.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE sales (sold_at TEXT, email TEXT)")
    holder.execute("INSERT INTO sales VALUES ('', 'zyxcan.mail@leaktest.org')")
    holder.execute("BEGIN EXCLUSIVE")
    HELD.append(holder)
    night.env["OFFLINE_CAPI_CONN_SHOP"] = f"sqlite:///{path}?timeout=0.05"
    night.edit(
        "dags/uploads/sales.yml",
        (
            '{path: "${OFFLINE_CAPI_DATA}/sales/*.csv"}',
            '{connection: shop, sql: "SELECT * FROM sales WHERE sold_at >= :since AND sold_at < :until"}',
        ),
    )
    return [["check", "sales", "--connect"], ["plan", "sales"], UPLOAD]


#: Connections that hold a lock until the test ends.
HELD: list[sqlite3.Connection] = []


def the_ledger_is_no_database(night: Night) -> list[list[str]]:
    night.write("ledger.db", "no database " * 999)
    return [["plan", "sales"], UPLOAD]


def the_ledger_is_held(night: Night) -> list[list[str]]:
    holder = sqlite3.connect(night.home / "ledger.db", isolation_level=None)
    holder.execute("CREATE TABLE held (a)")
    holder.execute("BEGIN EXCLUSIVE")
    HELD.append(holder)
    night.env["OFFLINE_CAPI_LEDGER"] += "?timeout=0.05"
    return [["plan", "sales"], UPLOAD]


def a_clock_is_wrong(night: Night) -> list[list[str]]:
    night.sandbox.clock = (datetime.now(UTC) - timedelta(days=1)).timestamp()
    return [UPLOAD]


def nobody_answers(night: Night) -> str:
    night.env["OFFLINE_CAPI_GRAPH_URL"] = NOBODY
    return TASKS


def a_token_is_revoked(night: Night) -> str:
    night.sandbox.fault("revoked_token")
    return TASKS


def events_are_refused(night: Night) -> str:
    night.sandbox.refuse("s-0", "s-1")
    return TASKS


def the_books_of_a_run_do_not_balance(_: Night) -> str:
    """A bug of ours, made by hand: a row of the ledger that lacks a fate."""
    return """
import json, sqlite3
from pathlib import Path
sys_commands = [["upload", "sales"]]
import sys
from offline_capi.cli import main
def run(*arguments):
    sys.argv = ["offline-capi", *arguments]
    try: main()
    except SystemExit: pass
run("upload", "sales")
ledger = sqlite3.connect("ledger.db")
for run_id, text in ledger.execute("SELECT id, report FROM run").fetchall():
    report = json.loads(text)
    report["tally"]["read_of"] = [[name, n + 1] for name, n in report["tally"]["read_of"]] if isinstance(
        report["tally"]["read_of"], list) else {name: n + 1 for name, n in report["tally"]["read_of"].items()}
    ledger.execute("UPDATE run SET report = ? WHERE id = ?", [json.dumps(report), run_id])
ledger.commit()
ledger.close()
run("report", "last", "--client", "corner_shop")
"""


def the_disk_refuses(night: Night) -> list[list[str]]:
    (night.home / "stage").write_text("no folder")
    return [["plan", "sales"], UPLOAD]


WAYS = [
    Way(None, nothing_goes_wrong),
    Way(None, clients_are_read_from_a_column),
    Way(None, a_hook_prints),
    Way(errors.ConfigError, a_hook_raises),
    Way(errors.ConfigError, a_hook_exits),
    Way(errors.ConfigError, a_hook_names_a_column_by_a_value),
    Way(errors.UsageError, a_run_has_nothing_to_replay),
    Way(errors.SourceSchemaError, a_header_is_missing),
    Way(errors.SourceSchemaError, a_header_is_missing_above_words),
    Way(errors.SourceSchemaError, lines_of_json_are_keyed_by_people),
    Way(errors.SourceError, a_file_is_no_text),
    Way(errors.SourceError, a_path_holds_a_token),
    Way(errors.SourceError, a_database_quotes_a_row),
    Way(errors.SourceError, a_database_says_what_a_row_says),
    Way(errors.SourceError, a_query_casts_a_row),
    Way(errors.SourceUnavailableError, a_database_is_locked),
    Way(errors.LedgerError, the_ledger_is_no_database),
    Way(errors.LedgerBusyError, the_ledger_is_held),
    Way(errors.WrongClockError, a_clock_is_wrong),
    Way(errors.TemporaryError, nobody_answers),
    Way(errors.AccessDeniedError, a_token_is_revoked),
    Way(errors.PartialLossError, events_are_refused),
    Way(errors.BalanceError, the_books_of_a_run_do_not_balance),
    Way(errors.OfflineCapiError, the_disk_refuses),
]
NAMED = {way.prepare.__name__: way for way in WAYS}


def error_tree(root: type[BaseException]) -> Iterator[type[BaseException]]:
    yield root
    for below in root.__subclasses__():
        yield from error_tree(below)


def test_p09_every_error_has_a_way_that_is_searched() -> None:
    """Also a new one; but for those that are only ever raised as one of their kinds. ``BUGS`` has InternalError."""
    tree = {one for one in error_tree(errors.OfflineCapiError) if one.__module__ == errors.__name__}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "offline_capi").rglob("*.py"))
    raised = {one for one in tree if re.search(rf"\b(?:raise|return|fault=|error=)\W*{one.__name__}\(", code)}

    assert tree == {one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, BaseException)}
    assert len(tree) > 10
    assert {
        one.__name__
        for one in (raised | (tree - {errors.DeliveryError})) - {way.error for way in WAYS} - {errors.InternalError}
    } == set()


# ---------------------------------------------------------------------------------------------- the search


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    # Ids as they are: the one key in which a readable value could leave.
    night.edit("dags/clients.yml", ("country: GB\n", "country: GB\n    external_id: {send: raw}\n"))
    night.edit("dags/uploads/sales.yml", ("external_id: number}", "external_id: number}"))
    rows = [sale(f"s-{n}", **{**CANARIES, "number": f"C-{n}", **row}) for n, row in enumerate([{}, {}, *TROUBLED])]
    write(night, rows)
    yield night
    while HELD:
        HELD.pop().close()


def _walk(night: Night, way: Way, package: Path = ROOT) -> Said:
    """What is said on the way, and of those who look at it afterwards."""
    env = {"PYTHONPATH": f"{package}:{night.home}"}
    what = way.prepare(night)
    said = night.script(what, env=env) if isinstance(what, str) else night.script(COMMANDS, json.dumps(what), env=env)
    looked = night.script(COMMANDS, json.dumps(LOOKS), env=env)
    return Said(said.code, said.out + looked.out, said.err + looked.err)


def seen(night: Night, said: Said) -> dict[str, list[str]]:
    """Where a canary is: in what was said, in any file but the sources, or in what Meta got."""
    places = {"said": (said.out + said.err).encode(), "Meta": json.dumps(night.sandbox.events).encode()}
    for path in night.home.rglob("*"):
        if path.is_file() and path.parent.name != "sales" and path.name not in ("shop.duckdb", "locked.db"):
            places[str(path.relative_to(night.home))] = (
                str(parquet.read_table(path).to_pylist()).encode() if path.suffix == ".parquet" else path.read_bytes()
            )
    found = {place: [sight for sight in SIGHTS if sight.encode() in data.lower()] for place, data in places.items()}
    return {place: sights for place, sights in found.items() if sights}


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_p09_nothing_readable_is_written_on_any_way_to_fail(night: Night, way: Way) -> None:
    said = _walk(night, way)

    assert way.error is None or f"{way.error.__name__}: " in said.out + said.err, said
    assert seen(night, said) == {}, said
    # Only what is no fault of ours to catch may end in a traceback: the tasks print theirs.
    assert "Traceback" not in said.err or way.prepare in (nobody_answers, a_token_is_revoked, events_are_refused)


# ---------------------------------------------------------------------------------------------- the search is searched


@dataclass(frozen=True)
class Break:
    """One change to a copy of the package, by which a room lets values out, and the way on which that is seen."""

    room: str
    file: str
    old: str
    new: str
    way: str


BREAKS = [
    Break(
        "sources",
        "runtime/border.py",
        "    shown_names = column_names(",
        "    return str(names)\n    shown_names = column_names(",
        "a_header_is_missing",
    ),
    Break(
        "sources, words",
        "runtime/border.py",
        "    if is_schema or _has",
        "    if True or _has",
        "a_header_is_missing_above_words",
    ),
    Break(
        "sources, databases",
        "sources/sql/errors.py",
        "told = words_of_database(text, where.text, known)",
        "told = text",
        "a_database_says_what_a_row_says",
    ),
    Break(
        "sources, places",
        "sources/files/locate.py",
        "    if _VARIABLE.search(written) or",
        "    if",
        "a_path_holds_a_token",
    ),
    Break(
        "mapping, hooks",
        "mapping/transform.py",
        'failure = f"{type(error).__name__} at',
        'failure = f"{error} at',
        "a_hook_exits",
    ),
    Break("mapping, ids", "mapping/rows.py", '    "event_id": Searched.EVENT_IDS,\n', "", "nothing_goes_wrong"),
    Break(
        "identity",
        "identity/clear_text.py",
        "    text = usable.text if unhashed",
        "    return usable\n    text = usable.text if unhashed",
        "nothing_goes_wrong",
    ),
    Break(
        "events, clients",
        "events/facts.py",
        "return pa.array(map(near.kept, names), pa.string())",
        "return pa.array(names, pa.string())",
        "clients_are_read_from_a_column",
    ),
    Break(
        "mapping, clients",
        "mapping/rows.py",
        "outside_map(near.named(text))",
        "outside_map(text)",
        "nothing_goes_wrong",
    ),
    Break(
        "report",
        "report/books.py",
        "        if client is None or",
        "        return 'Zyxcanlast'\n        if client is None or",
        "events_are_refused",
    ),
]


def changed(package: Path, change: Break) -> Path:
    """A copy of the package with the change in it."""
    shutil.copytree(ROOT / "offline_capi", package / "offline_capi", ignore=shutil.ignore_patterns("__pycache__"))
    path = package / "offline_capi" / change.file
    text = path.read_text(encoding="utf-8")
    assert text.count(change.old) == 1, f"{change.old!r} has to be there once to be changed"
    path.write_text(text.replace(change.old, change.new), encoding="utf-8")
    return package


@pytest.mark.parametrize("broken", BREAKS, ids=[one.room for one in BREAKS])
def test_p09_a_break_of_the_border_in_any_room_is_found(night: Night, tmp_path_factory, broken: Break) -> None:
    package = changed(tmp_path_factory.mktemp("broken"), broken)

    assert seen(night, _walk(night, NAMED[broken.way], package)) != {}


# ---------------------------------------------------------------------------------------------- bugs


def a_workbook_is_read(night: Night) -> list[list[str]]:
    """By a child, as a query is."""
    with (night.home / "sales/sales.csv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.reader(file)]
    (night.home / "sales/sales.csv").unlink()
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(night.home / "sales/sales.xlsx")
    night.edit("dags/uploads/sales.yml", ("*.csv", "*.xlsx"))
    return [["plan", "sales"], UPLOAD]


def a_query_is_read(night: Night) -> list[list[str]]:
    return queried(night, "SELECT * FROM sales")


def bug_in(file: str, before: str, statement: str, way: str = "nothing_goes_wrong") -> Break:
    """``statement`` in a line of its own before the line that begins with ``before``."""
    indent = before[: len(before) - len(before.lstrip())]
    return Break(file, file, before, f"{indent}{statement}\n{before}", way)


OWN_ERROR = 'raise ValueError("zyxcan.mail@leaktest.org")'
OF_A_LIBRARY = 'import pyarrow; pyarrow.array(["zyxcan.mail@leaktest.org"]).cast("int64")'
CHAINED = 'raise KeyError("Zyxcanlast") from ValueError("Zyxcanfirst")'
EXIT = 'raise SystemExit("Zyxcanfirst")'
PANIC = 'raise type("Panic", (BaseException,), {})("Zyxcanfirst")'
UNPICKLABLE = 'raise type("Odd", (Exception,), {})(lambda: "Zyxcanfirst")'

IN_MAPPING = ("mapping/rows.py", "    placed = _choose_rows(rows, mapping, window)")
IN_DELIVERY = ("delivery/scheduler.py", "        request = next(self.requests, None) if")
IN_SQL = ("sources/sql/query.py", "        check_names(rows.names, columns, query.where.origin")
BUGS = [
    (bug_in(*IN_MAPPING, OWN_ERROR), "ValueError"),
    (bug_in(*IN_MAPPING, OF_A_LIBRARY), "pyarrow.lib.ArrowInvalid"),
    (bug_in(*IN_MAPPING, EXIT), "SystemExit"),
    (bug_in(*IN_MAPPING, PANIC), "Panic"),
    (bug_in("identity/clear_text.py", "    text = usable.text if unhashed", OWN_ERROR), "ValueError"),
    (bug_in("events/build.py", "    rows, respelled = _canonicalise(rows), None", CHAINED), "KeyError"),
    (bug_in(*IN_DELIVERY, OF_A_LIBRARY), "pyarrow.lib.ArrowInvalid"),
    (bug_in(*IN_SQL, UNPICKLABLE, "a_query_is_read"), "Odd"),
    (bug_in(*IN_SQL, OF_A_LIBRARY, "a_query_is_read"), "pyarrow.lib.ArrowInvalid"),
    (bug_in("sources/files/excel.py", "    wanted = (\n", CHAINED, "a_workbook_is_read"), "KeyError"),
]
NAMED |= {prepare.__name__: Way(None, prepare) for prepare in (a_workbook_is_read, a_query_is_read)}


@pytest.mark.parametrize(("bug", "kind"), BUGS, ids=[f"{kind} in {one.file}" for one, kind in BUGS])
def test_p09_a_bug_is_named_by_its_place_and_quotes_nothing(night: Night, tmp_path_factory, bug: Break, kind: str):
    said = _walk(night, NAMED[bug.way], changed(tmp_path_factory.mktemp("bug"), bug))

    written = re.search(rf"InternalError: (\S+) at offline_capi/{bug.file}:(\d+) \(\w+\)(.*);", said.err)
    assert written is not None, said
    assert written[1].endswith(kind)
    assert ("raised by pyarrow.lib:" in written[3]) == (kind == "pyarrow.lib.ArrowInvalid")
    assert "please report" in said.err
    assert "A run can be repeated" in said.err
    assert "ended with 1" in said.out
    assert "Traceback" not in said.err
    assert seen(night, said) == {}, said


def test_the_whole_traceback_is_printed_where_somebody_asks_for_it(night: Night, tmp_path_factory):
    night.env["OFFLINE_CAPI_TRACEBACK"] = "1"
    said = _walk(night, NAMED["nothing_goes_wrong"], changed(tmp_path_factory.mktemp("bug"), BUGS[0][0]))

    assert "ValueError: zyxcan.mail@leaktest.org" in said.err
    assert "InternalError: ValueError at offline_capi/mapping/rows.py:" in said.err


def test_what_a_hook_prints_is_shown_where_somebody_asks_for_it(night: Night):
    night.env["OFFLINE_CAPI_TRACEBACK"] = "1"
    shown = _walk(night, NAMED["a_hook_prints"])
    assert "zyxcan.mail@leaktest.org" in (shown.out + shown.err).lower()


def test_p09_that_a_hook_prints_is_said_once_by_a_process(night: Night):
    commands = NAMED["a_hook_prints"].prepare(night)
    said = night.script(COMMANDS, json.dumps(commands), env={"PYTHONPATH": f"{ROOT}:{night.home}"})

    assert said.err.count('transform: "hooks:hook" prints or logs; that is withheld') == 1


THREADS = """
import gc, threading
from offline_capi.runtime.bugs import contain_hooks
contain_hooks()
class Held:
    def __del__(self):
        raise ValueError("Zyxcanfirst")
held = Held()
del held
thread = threading.Thread(target=int, args=["Zyxcanlast"])
thread.start()
thread.join()
int("Zyxcancity")
"""


def test_p09_nor_do_threads_and_finalizers_quote_anything(night: Night):
    said = night.script(THREADS, new_interpreter=True)

    assert said.err.count("InternalError: ValueError ") == 3
    assert "zyxcan" not in said.err.lower()
    assert said.code == 1


@pytest.mark.parametrize(
    ("bug", "task"), [(bug_in(*IN_MAPPING, CHAINED), "prepare"), (bug_in(*IN_DELIVERY, OF_A_LIBRARY), "upload")]
)
def test_p09_nor_does_airflow_log_what_a_bug_quotes(night: Night, tmp_path_factory, bug: Break, task: str):
    package = changed(tmp_path_factory.mktemp("bug"), bug)
    shutil.copyfile(ROOT / "dags/offline_capi_dags.py", night.home / "dags/offline_capi_dags.py")
    night.edit("dags/clients.yml", ("platform:\n", "platform:\n  airflow: {retries: 0}\n"))
    day = yesterday(ZONE)
    command = [
        "-P",
        "-m",
        "offline_capi.airflow_provider.local.one_night",
        "--dags",
        "dags",
        "--upload",
        "sales",
        "--verbose",
    ]
    done = subprocess.run(
        [sys.executable, *command, "--since", day.isoformat(), "--until", (day + timedelta(days=1)).isoformat()],
        cwd=night.home,
        env={**os.environ, **night.env, "PYTHONPATH": str(package), "AIRFLOW_HOME": str(night.home / "airflow")},
        capture_output=True,
        text=True,
        check=False,
    )
    said = Said(done.returncode, done.stdout, done.stderr)

    assert said.code == 1, said
    assert f"at offline_capi/{bug.file}:" in said.out + said.err
    assert "InternalError" in said.out + said.err
    assert seen(night, said) == {}, said
