"""``expect``: what the rows of a run have to be like is checked as they are mapped, and held like a gate."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from offline_capi.config.mapping import MappingSpec
from offline_capi.guards.expectations import judge_expectations
from offline_capi.mapping import FirstRows, list_columns_needed, map_rows
from offline_capi.model import Tally, Window
from offline_capi.pipeline import begin_run, reconcile, stage_upload
from tests.mapping.mapped import mapping, source
from tests.support.night import Night, yesterday
from tests.support.sales import ZONE, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

DAY = Window.of_day(date(2026, 11, 20), "Europe/Berlin")
CLIENT_COLUMN = {"client": {"column": "brand", "map": {"A": "acme", "B": "beta"}}}


def count(columns: dict[str, Any], check: dict[str, Any], *, batches: int = 1) -> dict[tuple[str, str | None], int]:
    """What one check counts, by label and client; the same rows ``batches`` times."""
    firsts, found = FirstRows(), Counter[tuple[str, str | None]]()
    spec = mapping(expect=[check], **(CLIENT_COLUMN if "brand" in columns else {}))
    for _ in range(batches):
        for one in map_rows(source(**columns), spec, firsts=firsts, until=DAY.until).expected:
            found[one.label, one.client] += one.rows
    return dict(found)


@pytest.mark.parametrize(
    ("values", "check", "failed"),
    [
        (["a", "", " ", None], {"not_null": True}, 3),
        (["a", "", None], {"is": "filled"}, 2),
        (["paid", "PAID ", "open", None], {"accepted": ["paid"]}, 1),
        (["paid", "open"], {"in": ["paid", "open"]}, 0),
        (["test", "x", None], {"not_equals": "test"}, 1),
        (["-1", "0", "50", None, "n/a"], {"at_least": 0, "at_most": 49}, 3),
        (pa.array([1.5, None, 3.5]), {"below": 3}, 1),
        (["1.000,50", "999,99"], {"at_least": 1000, "decimal": ","}, 1),
        (["10115", "1011", None], {"matches": "^[0-9]{5}$"}, 1),
        (["2026-11-20", "2026-11-19"], {"at_least": "2026-11-20"}, 1),
    ],
)
def test_rows_that_do_not_meet_a_check_are_counted_and_empty_values_meet_all_but_one(
    values: Any, check: dict[str, Any], failed: int
) -> None:
    assert sum(count({"x": values}, {"column": "x", **check}).values()) == failed


def test_the_second_of_two_rows_alike_fails_also_in_a_later_batch_and_an_empty_key_never() -> None:
    columns = {"a": ["1", "1", "1", None], "b": ["x", "y", "x", "x"]}

    assert count(columns, {"unique": ["a", "b"]}) == {("a, b unique", "acme"): 1}
    assert count(columns, {"unique": "a"}, batches=2) == {("a unique", "acme"): 2 + 3}


def test_two_checks_of_uniqueness_do_not_share_what_they_have_seen_nor_with_first_of() -> None:
    spec = mapping(expect=[{"unique": "id"}, {"unique": "other"}], filter=[{"first_of": "id"}])
    rows = map_rows(source(id=["1", "2"], other=["1", "2"]), spec)

    assert (len(rows), rows.expected) == (2, ())


def test_failures_are_counted_by_client() -> None:
    found = count({"x": ["", "", "1"], "brand": ["A", "B", "B"]}, {"column": "x", "not_null": True})

    assert found == {("x is filled", "acme"): 1, ("x is filled", "beta"): 1}


def test_rows_that_a_filter_leaves_out_are_not_checked() -> None:
    spec = mapping(filter={"state": "paid"}, expect=[{"column": "x", "not_null": True}])
    rows = map_rows(source(x=["", ""], state=["paid", "open"]), spec)

    assert [one.rows for one in rows.expected] == [1]


@pytest.mark.parametrize(
    ("time", "fresh"),
    [("2026-11-20T23:00:00+01:00", True), ("2026-11-20T17:59:59+01:00", False), ("20/11/2026 23:00", False)],
)
def test_freshness_is_measured_from_the_end_of_the_window(time: str, fresh: bool) -> None:
    check = {"column": "loaded", "fresh_within": "6h"}
    tally = Tally(
        read=1,
        expected=Counter({(label, client or ""): n for (label, client), n in count({"loaded": [time]}, check).items()}),
    )

    findings = judge_expectations(mapping(expect=[check]).expect, tally, DAY)

    assert [one.gate for one in findings] == ([] if fresh else ["expect loaded fresh_within"])


def test_a_time_without_a_zone_stands_in_that_of_the_check() -> None:
    """The window ends at 23:00 UTC."""
    found = [
        count({"loaded": ["2026-11-20 17:30"]}, {"column": "loaded", "fresh_within": "6h", "timezone": zone})
        for zone in ("UTC", "Asia/Tokyo")
    ]

    assert found == [{("loaded fresh_within", "acme"): 1}, {}]


def test_what_is_not_fresh_is_none_of_the_rows() -> None:
    (finding,) = judge_expectations(
        mapping(expect=[{"column": "loaded", "fresh_within": "6h"}]).expect, Tally(read=5), DAY
    )

    assert (finding.figure, finding.client) == (0, None)


@pytest.mark.parametrize(
    ("tally", "found"),
    [
        (Tally(), []),
        (Tally(read=5, narrowed=True), []),
        (Tally(read=5, expected=Counter({("loaded fresh_within", "acme"): 1})), []),
        (
            Tally(read=5, expected=Counter({("loaded fresh_within", "acme"): 0, ("x unique", "acme"): 3})),
            [("warn", None)],
        ),
    ],
    ids=["no row", "some rows", "fresh", "another check"],
)
def test_a_run_is_fresh_by_one_row(tally: Tally, found: list[tuple[str, str | None]]) -> None:
    assert judge({"column": "loaded", "fresh_within": "6h"}, tally) == found


def test_freshness_is_counted_only_where_the_window_has_an_end() -> None:
    spec = mapping(expect=[{"column": "loaded", "fresh_within": "6h"}])

    assert map_rows(source(loaded=["2026-11-20T23:00:00+01:00"]), spec).expected == ()


def test_a_share_is_told_as_a_figure_and_rows_of_nobody_are_the_uploads() -> None:
    check = mapping(expect=[{"column": "x", "not_null": True}]).expect
    tally = Tally(read=1000, read_of=Counter(acme=1000), expected=Counter({("x is filled", ""): 11}))

    (finding,) = judge_expectations(check, tally, DAY)

    assert (finding.figure, finding.client) == (0.011, None)
    assert finding.sentence == "expect x is filled: 11 of 1,000 rows fail (1.1%); expect[0] allows 0.0%"


def test_a_run_of_some_clients_is_judged_by_their_rows_alone() -> None:
    tally = Tally(
        read=10,
        read_of=Counter(acme=10),
        narrowed=True,
        expected=Counter({("x is filled", "beta"): 900, ("x is filled", ""): 900}),
    )
    check = {"column": "x", "not_null": True}

    assert judge(check, tally) == []
    assert judge(check, replace(tally, expected=Counter({("x is filled", "acme"): 1}))) == [("warn", None)]


def judge(check: dict[str, Any], tally: Tally) -> list[tuple[str, str | None]]:
    return [(one.action, one.client) for one in judge_expectations(mapping(expect=[check]).expect, tally, DAY)]


@pytest.mark.parametrize(
    ("more", "failed", "found"),
    [
        ({}, 0, []),
        ({}, 1, [("warn", None)]),
        ({"max_failed": "1%"}, 10, []),
        ({"max_failed": "1%"}, 11, [("warn", None)]),
        ({"action": "stop"}, 1, [("stop", None)]),
        ({"action": "off"}, 1000, []),
    ],
)
def test_a_share_may_fail(more: dict[str, Any], failed: int, found: list[tuple[str, str | None]]) -> None:
    tally = Tally(read=1000, read_of=Counter(acme=1000), expected=Counter({("x is filled", "acme"): failed}))

    assert judge({"column": "x", "not_null": True, **more}, tally) == found


def test_a_check_that_stops_holds_the_client_whose_rows_fail() -> None:
    tally = Tally(
        read=2000,
        read_of=Counter(acme=1000, beta=1000),
        expected=Counter({("x is filled", "beta"): 3, ("x is filled", ""): 0}),
    )

    assert judge({"column": "x", "not_null": True, "action": "stop"}, tally) == [("stop", "beta")]


@pytest.mark.parametrize(
    ("bounds", "read", "wanted"),
    [
        ({"at_least": 1}, 0, ["at least 1"]),
        ({"at_least": 1}, 1, []),
        ({"at_least": 1, "at_most": 5}, 6, ["at most 5"]),
        ({"at_most": 5}, 5, []),
        ({"at_most": 5}, 0, []),
    ],
)
def test_the_number_of_rows(bounds: dict[str, int], read: int, wanted: list[str]) -> None:
    findings = judge_expectations(mapping(expect=[{"row_count": bounds}]).expect, Tally(read=read), DAY)

    said = f"expect row_count: {read} rows were read; expect[0] wants "
    assert [one.sentence for one in findings] == [said + words for words in wanted]
    assert judge({"row_count": bounds}, Tally(read=read, narrowed=True)) == []


@pytest.mark.parametrize(
    ("checks", "problem"),
    [
        ([{"column": "x"}], "does not say what the column has to be"),
        ([{"not_null": True}], "needs exactly one of column, unique, row_count"),
        ([{"column": "x", "unique": "y", "is": "filled"}], "needs exactly one of"),
        ([{"column": "x", "not_null": False}], "not_null is true"),
        ([{"column": "x", "accepted": ["a"], "equals": "b"}], "accepted is the same as equals"),
        ([{"unique": "x", "at_least": 1}], "compares a column"),
        ([{"column": "x", "fresh_within": "6h", "is": "filled"}], "fresh_within stands alone"),
        ([{"column": "x", "fresh_within": "6h", "max_failed": "1%"}], "no check of single rows"),
        ([{"row_count": {}}], "needs at_least, at_most"),
        ([{"first_of": "x"}], "first_of belongs to filter"),
        ([{"column": "x", "above": 1, "below": "2026-11-20"}], "one column is one of the two"),
        ([{"unique": "x"}, {"unique": "x"}], 'two checks are called "x unique"'),
    ],
)
def test_a_check_that_says_nothing_or_too_much_is_refused(checks: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        mapping(expect=checks)


def test_the_columns_of_checks_are_read_from_the_source() -> None:
    spec: MappingSpec = mapping(expect=[{"unique": ["a", "b"]}, {"column": "c", "not_null": True}])

    assert {"a", "b", "c"} <= set(list_columns_needed(spec) or ())


# ---------------------------------------------------------------------------------------------- a run


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    return sales_night(tmp_path, sandbox)


def expect(night: Night, checks: str) -> None:
    path = night.home / "dags/uploads/sales.yml"
    path.write_text(path.read_text(encoding="utf-8") + f"expect: {checks}\n", encoding="utf-8")


def test_a_check_that_warns_is_reported_and_everything_is_sent(night: Night, sandbox: Sandbox) -> None:
    expect(night, "[{column: phone, not_null: true, max_failed: 10%}]")
    write(night, [sale("s-1", phone="+49 30 123456"), sale("s-2")])

    done = night.run("upload", "sales", "--json")

    assert (done.code, done.json["rows"]["sent"]) == (0, 2)
    (finding,) = done.json["gates"]
    assert finding["sentence"] == "expect phone is filled: 1 of 2 rows fail (50.0%); expect[0] allows 10.0%"


def test_a_check_that_stops_holds_one_client_before_its_first_request_and_force_lets_it_pass(
    night: Night, sandbox: Sandbox
) -> None:
    expect(night, "[{unique: sale, action: stop}, {column: amount, at_most: 100, action: stop}]")
    write(night, [sale("s-1"), sale("o-1", "Outlet", amount="1250"), sale("o-2", "Outlet")])

    stopped = night.run("upload", "sales", "--json")
    sent = sandbox.accepted_ids
    forced = night.run("upload", "sales", "--json", "--force-gates")

    assert (stopped.code, stopped.json["rows"]["sent"], stopped.json["rows"]["deferred"]) == (1, 1, 2)
    assert sent == ["s-1"]
    assert (forced.code, forced.json["rows"]["sent"]) == (0, 2)


def test_a_staged_run_finds_the_same(night: Night) -> None:
    expect(night, "[{unique: sale, action: stop}, {row_count: {at_least: 3}}]")
    write(night, [sale("s-1"), sale("s-1")])
    window = Window.of_day(yesterday(ZONE), ZONE)
    with night.services() as services:
        upload = services.deployment.uploads["sales"]
        run_id = begin_run(upload, window, services, trigger="scheduled")
        staged = stage_upload(upload, window, services, run_id)
        report = reconcile(run_id, upload, services)

    assert staged == []
    found = [one.gate for one in report.tally.gates or () if one.gate.startswith("expect")]
    assert found == ["expect sale unique", "expect row_count"]
