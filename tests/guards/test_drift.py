"""Type drift: a column of the source that changes its form is reported before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from pyarrow import parquet

from offline_capi.config.upload import Drift
from offline_capi.guards.drift import SAMPLE_ROWS, has_drifted
from offline_capi.ledger import load_shapes
from offline_capi.ledger.schema.tables import source_shape
from offline_capi.mapping import Role
from offline_capi.model import Fate, Window
from offline_capi.pipeline import begin_run, reconcile, send_staged, stage_upload
from offline_capi.report import RunReport
from tests.support.night import Night, yesterday
from tests.support.sales import ZONE, noon, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

BEFORE = [sale(f"{1000 + i}", number=f"{70 + i}", amount=f"{i}.50") for i in range(10)]
LATER = [sale(f"{2000 + i}", number=f"{170 + i}", amount=f"{i}.50") for i in range(10)]


def changed(column: str, write_value: Callable[[str], str]) -> list[dict[str, str]]:
    """The later rows with a column that is written another way."""
    return [{**row, column: write_value(row[column])} for row in LATER]


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Night:
    """An upload whose source is known from one complete run."""
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = sales_night(tmp_path, sandbox)
    write(night, BEFORE)
    assert night.send("sales").status == "complete"
    return night


def drifted(report: RunReport) -> list[tuple[str, str]]:
    return [(finding.gate, finding.action) for finding in report.gates if finding.gate.startswith("drift")]


# ---------------------------------------------------------------------------------------------- whole nights


def test_p14_an_id_that_comes_in_another_form_stops_the_run_before_anything_is_sent(night: Night) -> None:
    write(night, changed("sale", "{}.0".format))
    before = len(night.sandbox.requests)

    planned = night.run("plan", "sales")
    said = night.run("upload", "sales", "--no-settle")
    data = night.run("report", "last", "--json").json
    page = night.home / "report.html"
    night.run("report", "last", "--html", str(page))

    assert (said.code, len(night.sandbox.requests)) == (1, before)
    assert (data["rows"]["deferred"], data["status"], data["problems"][0]) == (
        10, "partial", "gate drift sale stopped the run"
    )  # fmt: skip
    sentence = (
        "drift sale: whole numbers with a fraction like 123.0 in 10 of 10 values sampled of corner_shop; "
        "known so far: digits like 123. It is read by event.id"
    )
    assert [gate["sentence"] for gate in data["gates"]] == [sentence]
    for text in (planned.out, said.out, page.read_text(encoding="utf-8")):
        assert sentence in " ".join(text.split())
    assert "--force-gates" in said.out
    assert night.run("status", "--days", "sales", "--json").json  # the day stays open, and says why
    assert "a gate stopped it" in night.run("status", "--days", "sales").out


def test_a_stopped_drift_is_let_pass_once_and_known_from_then_on(night: Night) -> None:
    write(night, changed("sale", "{}.0".format))
    assert night.send("sales").tally.count(Fate.DEFERRED) == 10
    assert night.send("sales").tally.count(Fate.DEFERRED) == 10, "stopped until somebody accepts it"

    accepted = night.run("upload", "sales", "--force-gates", "--no-settle", "--json")
    write(night, changed("sale", lambda value: f"9{value}.0"))
    after = night.send("sales")

    assert (accepted.code, accepted.json["rows"]["sent"]) == (0, 10)
    assert [gate["action"] for gate in accepted.json["gates"]] == ["forced"]
    assert (after.status, drifted(after)) == ("complete", [])
    assert "force_gates" in night.run("log").out


def test_a_source_that_is_reverted_runs_without_a_word(night: Night) -> None:
    write(night, changed("sale", "#{}".format))
    assert night.send("sales").tally.stopped

    write(night, LATER)
    report = night.send("sales")
    assert (report.tally.count(Fate.SENT), report.gates) == (10, ())


@pytest.mark.parametrize("drift", ["accept", "{default: accept}", "{columns: {sale: accept}}"])
def test_a_drift_that_is_accepted_is_known_without_a_warning(night: Night, drift: str) -> None:
    write(night, changed("sale", "{}.0".format))
    night.edit("dags/uploads/sales.yml", ("limits:", f"drift: {drift}\nlimits:"))
    assert (drifted(night.send("sales")), night.send("sales").status) == ([], "complete")

    night.edit("dags/uploads/sales.yml", (f"drift: {drift}\n", ""))
    write(night, changed("sale", lambda value: f"9{value}.0"))
    assert drifted(night.send("sales")) == []


def test_other_columns_warn_once_and_send(night: Night) -> None:
    write(night, changed("amount", lambda value: value.replace(".", ",")))

    first = night.send("sales")
    write(night, [row | {"sale": f"9{row['sale']}"} for row in changed("amount", lambda v: v.replace(".", ","))])
    second = night.send("sales")

    assert (first.status, drifted(first)) == ("complete", [("drift amount", "warn")])
    assert (second.status, drifted(second)) == ("complete", [])


def test_a_column_that_is_read_another_way_now_begins_anew(night: Night) -> None:
    """Whoever changes the mapping with the source has accepted the change."""
    write(night, changed("sale", "#{}".format))
    night.edit("dags/uploads/sales.yml", ('"{sale}"', '"sale-{sale}"'))

    assert drifted(night.send("sales")) == []


def test_a_run_that_had_nothing_to_send_teaches_nothing(night: Night) -> None:
    write(night, [row | {"sale": f"#{row['sale']}", "consent": "no"} for row in LATER])
    night.edit("dags/uploads/sales.yml", ("limits: {", "drift: warn\nlimits: {max_suppressed: 100%, "))
    for _ in range(2):
        assert ("drift sale", "warn") in drifted(night.send("sales"))


def test_new_columns_are_counted_without_their_names(night: Night) -> None:
    write(night, [row | {"ann@shop.example.org": "canary"} for row in LATER])

    first, second = night.send("sales"), night.send("sales")

    assert drifted(first) == [("drift columns", "warn")]
    assert "the source has 16 columns, known so far: 15 (1 new)" in first.gates[0].sentence
    assert (first.status, drifted(second)) == ("complete", [])
    assert "ann@" not in json.dumps(first.to_json())


def test_a_column_that_is_lost_and_not_read_is_counted(night: Night) -> None:
    write(night, [row | {"spare": "x"} for row in BEFORE])
    night.send("sales")
    with night.services() as services:
        assert load_shapes(services.ledger, "sales")["corner_shop"][""].counts.keys() == {"columns/15", "columns/16"}
    write(night, [row | {"a": "1", "b": "2", "c": "3"} for row in LATER])

    assert "(2 new)" in night.send("sales").gates[0].sentence


def test_a_plan_and_a_test_run_teach_nothing(night: Night) -> None:
    write(night, changed("amount", lambda value: value.replace(".", ",")))
    night.run("plan", "sales")
    night.send("sales", test_event_code="TEST1")

    assert drifted(night.send("sales")) == [("drift amount", "warn")]


def test_a_client_that_is_new_to_the_upload_is_no_drift(night: Night) -> None:
    write(night, [*LATER, *(sale(f"OUT-{i}", "Outlet", amount=f"{i},50") for i in range(30))])

    assert (report := night.send("sales")).status == "complete"
    assert drifted(report) == []


def test_a_staged_night_is_stopped_by_drift_and_a_repeated_task_says_it_again(night: Night) -> None:
    write(night, changed("sale", "{}.0".format))
    with night.services() as services:
        upload, window = services.deployment.uploads["sales"], Window.of_day(yesterday(ZONE), ZONE)
        run = begin_run(upload, window, services)
        units = stage_upload(upload, window, services, run)
        stopped = reconcile(run, upload, services)
        run = begin_run(upload, window, services)
        for _ in range(2):  # an Airflow task that is cleared
            forced = stage_upload(upload, window, services, run, force_gates=True)
        sent = [send_staged(unit, upload, services) for unit in forced]
        passed = reconcile(run, upload, services)

    assert (units, stopped.tally.count(Fate.DEFERRED), drifted(stopped)) == ([], 10, [("drift sale", "stop")])
    assert (sum(tally.count(Fate.SENT) for tally in sent), drifted(passed)) == (10, [("drift sale", "forced")])


def test_small_batches_are_held_until_enough_rows_were_looked_at(night: Night) -> None:
    """Drift in the last of many small files holds the events of the first."""
    for number in range(3):
        write(night, [sale(f"{3000 + number}{i}") for i in range(3)], f"a{number}.csv")
    write(night, [sale(f"{i}.0") for i in range(3)], "z.csv")

    assert (report := night.send("sales")).tally.count(Fate.SENT) == 0
    assert report.tally.count(Fate.DEFERRED) == 12
    assert SAMPLE_ROWS > 12


def test_a_gate_that_stops_and_drift_are_judged_together(night: Night) -> None:
    night.edit("dags/uploads/sales.yml", ("limits:", "gates: {invalid: {action: stop, max: 10%}}\nlimits:"))
    write(night, changed("sale", lambda value: f"{value}.0") + [sale("", amount="1.00") for _ in range(5)])

    findings = [(finding.gate, finding.action) for finding in night.send("sales").gates]

    assert ("drift sale", "stop") in findings
    assert ("invalid", "stop") in findings


def test_the_ledger_has_shapes_of_configured_columns_and_no_value(night: Night) -> None:
    rows = [row | {"secret-column-ann@x.org": "canary-value", "number": "canary-99"} for row in LATER]
    write(night, rows)
    night.send("sales")

    with night.services() as services:
        found = services.ledger.read(sa.select(source_shape.c.client, source_shape.c.shapes))
    kept = {client: json.loads(text) for client, text in found}
    text = json.dumps(kept)
    assert set(kept) == {"corner_shop"}
    assert set(kept["corner_shop"]) <= {"sale", "sold_at", "email", "phone", "first", "last", "born", "city", "state",
                                        "zip", "number", "amount", "consent", ""}  # fmt: skip
    assert "canary" not in text
    assert "secret" not in text
    assert set(kept["corner_shop"]["sale"]["shapes"]) == {"id:digits/4"}


def test_what_is_known_of_a_source_goes_with_the_last_of_its_runs(night: Night) -> None:
    from offline_capi.ledger.retention import purge_runs

    with night.services() as services:
        purge_runs(services.ledger, services.clock() - timedelta(days=1))
        assert load_shapes(services.ledger, "sales")
        services.ledger.journal.purge(services.clock() + timedelta(days=400))
        purge_runs(services.ledger, services.clock() + timedelta(days=400))
        assert not load_shapes(services.ledger, "sales")


def test_check_names_a_column_that_the_upload_does_not_read(night: Night) -> None:
    night.edit("dags/uploads/sales.yml", ("limits:", "drift: {columns: {amuont: stop}}\nlimits:"))

    said = night.run("check")

    assert said.code == 2
    assert 'drift.columns.amuont  the upload reads no column "amuont"; did you mean "amount"?' in said.err + said.out


# ---------------------------------------------------------------------------------------------- typed sources

TYPED = """
client: corner_shop
source: {path: "${OFFLINE_CAPI_DATA}/typed/*.parquet"}
window: {column: at, timezone: Europe/Berlin}
event: {name: Purchase, id: "o-{order}", action_source: physical_store}
user_data: {em: email}
custom_data: {value: {column: total, type: number}, currency: EUR}
"""


@pytest.mark.parametrize(
    ("orders", "totals", "expected"),
    [
        (pa.array([3, 4]), pa.array([1.5, 2.0]), []),
        (pa.array([3.0, 4.0]), pa.array([1.5, 2.0]), [("drift order", "stop")]),
        (pa.array(["3", "4"]), pa.array([1.5, 2.0]), [("drift order", "stop")]),
        (pa.array([3, 4]), pa.array([1, 2]), []),
        (pa.array([3, 4]), pa.array(["1.5", "2.25"]), [("drift total", "warn")]),
    ],
    ids=["the same", "integer to float", "integer to text", "float to integer", "number to text"],
)
def test_p14_a_typed_column_that_changes_its_type_is_reported(
    tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, orders: pa.Array, totals: pa.Array, expected: Any
) -> None:
    monkeypatch.setenv("OFFLINE_CAPI_DATA", str(tmp_path))
    night = Night(tmp_path, sandbox)
    night.write("dags/uploads/typed.yml", TYPED)
    (tmp_path / "typed").mkdir()
    for name, ids, amounts in (("a", pa.array([1, 2]), pa.array([1.5, 2.5])), ("b", orders, totals)):
        at = pa.array([noon(), noon()])
        table = pa.table({"order": ids, "total": amounts, "at": at, "email": [f"{name}nn@shop.example.org"] * 2})
        parquet.write_table(table, tmp_path / "typed" / "rows.parquet")
        report = night.send("typed")

    assert drifted(report) == expected


# ---------------------------------------------------------------------------------------------- what is drift

ID, NUMBER, TIME, IDENTITY, BOOLEAN = Role


@pytest.mark.parametrize(
    ("role", "known", "found", "new"),
    [
        (ID, {"digits/1": 5}, {"whole.0": 1, "digits/2": 99}, ("whole.0",)),
        (ID, {"int/4": 5}, {"float/4": 5}, ("float/4",)),
        (ID, {"digits/16": 9}, {"exponent": 9}, ("exponent",)),
        (ID, {"digits/4": 9}, {"#9": 9}, ("#9",)),
        (ID, {"a-9": 9}, {"digits/4": 9}, ("digits/4",)),
        (ID, {"a-9": 9}, {"a9": 9}, ("a9",)),
        (ID, {"padded/5": 9}, {"digits/3": 9}, ("digits/3",)),
        (ID, {"digits/4": 9}, {"digest": 9}, ("digest",)),
        (NUMBER, {"dot": 9}, {"comma": 9}, ("comma",)),
        (NUMBER, {"comma": 9, "whole": 1}, {"dot": 9}, ("dot",)),
        (TIME, {"dmy": 9}, {"mdy": 1, "day or month": 9}, ("mdy",)),
        (TIME, {"iso": 9}, {"dmy": 9}, ("dmy",)),
        (TIME, {"zoned": 9}, {"iso": 9}, ("iso",)),
        (TIME, {"epoch/10": 9}, {"epoch/13": 9}, ("epoch/13",)),
        (IDENTITY, {"digest": 9}, {"plain": 9}, ("plain",)),
        (IDENTITY, {"plain": 9}, {"digest": 9}, ("digest",)),
        (BOOLEAN, {"words": 9}, {"yes/no": 9}, ("yes/no",)),
    ],
)
def test_a_form_that_would_be_read_differently_is_drift(
    role: Role, known: dict[str, int], found: dict[str, int], new: tuple[str, ...]
) -> None:
    change = has_drifted(role, known, found)

    assert change is not None
    assert change.new == new
    assert has_drifted(role, {**known, **found}, found) is None, "what was seen before is known"


@pytest.mark.parametrize(
    ("role", "known", "found"),
    [
        (ID, {"digits/1": 9}, {"digits/2": 9}),
        (ID, {"text": 50}, {"a9": 3, "digits/5": 1, "9a": 1}),  # random ids
        (ID, {"a9": 3}, {"text": 9}),  # too few to have a structure
        (ID, {"digits/4": 500}, {"digits/4": 50, "a-9": 9}),  # a second channel beside the first
        (ID, {"padded/5": 9}, {"digits/5": 9}),  # a padded counter that has grown
        (ID, {"digits/7": 9}, {"padded/7": 1, "digits/7": 8}),  # random digits
        (ID, {"whole.0": 9}, {"digits/2": 9}),
        (NUMBER, {"whole": 9}, {"dot": 9}),
        (NUMBER, {"dot": 9}, {"whole": 9}),
        (NUMBER, {"dot": 9}, {"open": 9}),
        (NUMBER, {"dot": 9}, {"dot": 999, "comma": 1}),  # a slip of the pen
        (NUMBER, {"number": 9}, {"dot": 9}),
        (NUMBER, {"dot": 9}, {"words": 9}),  # invalid, and told so
        (TIME, {"day or month": 9}, {"mdy": 9}),
        (TIME, {"mdy": 9}, {"day or month": 9}),
        (TIME, {"epoch/9": 9}, {"epoch/10": 9}),
        (TIME, {"other": 9}, {"iso": 9}),
        (IDENTITY, {"digest": 99}, {"digest": 99, "plain": 2}),  # placeholders
        (BOOLEAN, {"1/0": 9}, {"true/false": 9, "boolean": 1}),
        (ID, {}, {"digits/2": 9}),
        (ID, {"digits/2": 9}, {}),  # an empty column says nothing
    ],
)
def test_a_form_that_is_read_the_same_is_no_drift(role: Role, known: dict[str, int], found: dict[str, int]) -> None:
    assert has_drifted(role, known, found) is None


@pytest.mark.parametrize(
    ("setting", "id_action", "other_action", "amount_action"),
    [
        ({}, "stop", "warn", "warn"),
        ({"default": "warn"}, "warn", "warn", "warn"),
        ({"columns": {"amount": "stop"}}, "stop", "warn", "stop"),
        ({"default": "accept", "columns": {"amount": "warn"}}, "accept", "accept", "warn"),
    ],
)
def test_the_action_of_a_column(setting: Any, id_action: str, other_action: str, amount_action: str) -> None:
    drift = Drift.model_validate(setting)

    assert drift.choose_action("id", in_event_id=True) == id_action
    assert drift.choose_action("other", in_event_id=False) == other_action
    assert drift.choose_action("amount", in_event_id=False) == amount_action


# ---------------------------------------------------------------------------------------------- shapes


def shapes(role: Role, values: Sequence[Any] | pa.Array) -> dict[str, int]:
    from offline_capi.mapping import count_shapes
    from offline_capi.mapping.columns import SourceColumns

    column = values if isinstance(values, pa.Array) else pa.array(values)
    batch = pa.RecordBatch.from_arrays([column], ["x"])
    counted = count_shapes(SourceColumns(batch, "rows", "UTC"), "x", role, pa.array(["c"] * len(batch)))
    return dict(counted.get("c", {}))


@pytest.mark.parametrize(
    ("role", "values", "expected"),
    [
        (ID, ["1", "22", "007", "", None], {"digits/1": 1, "digits/2": 1, "padded/3": 1}),
        (ID, ["3.0", "10.00", "3.5", "1.18E+15"], {"whole.0": 2, "fraction": 1, "exponent": 1}),
        (ID, ["#12", "A-12", "ORD12", "12A"], {"#9": 1, "a-9": 1, "a9": 1, "9a": 1}),
        (ID, ["a1b2c3d4e5f6", "x", "2026-11-20-1"], {"text": 3}),
        (ID, ["f" * 64, "F" * 64], {"digest": 2}),
        (ID, [1, 22, None], {"int/1": 1, "int/2": 1}),
        (ID, [1.0, 2.5, float("nan")], {"float/1": 1, "fraction": 2}),
        (NUMBER, ["1", "1.5", "1,5", "1,234", "1,234.50", "1.234,50", "1.234.567", "€ 12,50", "(12.50)", "n/a"],
         {"whole": 1, "dot": 3, "comma": 4, "open": 1, "words": 1}),
        (TIME, ["2026-11-20", "2026-11-20 10:00:00", "2026-11-20T10:00:00Z", "2026-11-20T10:00:00+01:00"],
         {"iso": 2, "zoned": 2}),
        (TIME, ["20/11/2026", "11/20/2026", "05/06/2026 10:00", "1732060800", "1732060800123"],
         {"dmy": 1, "mdy": 1, "day or month": 1, "epoch/10": 1, "epoch/13": 1}),
        (TIME, [date(2026, 11, 20)], {"iso": 1}),
        (IDENTITY, ["a@b.c", "f" * 64, "f" * 64 + ".AQIDBA", None], {"plain": 1, "digest": 2}),
        (BOOLEAN, ["true", "YES", "0", "granted"], {"true/false": 1, "yes/no": 1, "1/0": 1, "words": 1}),
        (BOOLEAN, [True, None], {"boolean": 1}),
        (ID, [None, None], {}),
    ],
)  # fmt: skip
def test_values_are_counted_by_shape(role: Role, values: list[Any], expected: dict[str, int]) -> None:
    assert shapes(role, values) == expected


def test_the_shape_of_a_value_does_not_depend_on_its_neighbours() -> None:
    values = ["1", None, "3.0", "A-12", "", "f" * 64, "007", "é-1", "x" * 100]
    whole = shapes(ID, pa.array([*values, "cut off"]).slice(1, len(values) - 1))
    alone: dict[str, int] = {}
    for value in values[1:]:
        for shape, count in shapes(ID, pa.array([value])).items():
            alone[shape] = alone.get(shape, 0) + count

    assert whole == alone
