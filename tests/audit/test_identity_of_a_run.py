"""What a run, its report and ``coverage`` say of the people in a file: on real files."""

from __future__ import annotations

import json
from hashlib import sha256
from html import escape
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from typer.testing import CliRunner

from offline_capi.audit import describe_policy, measure_coverage
from offline_capi.cli import app
from offline_capi.config.client import ExternalIdPolicy
from offline_capi.pipeline import plan_upload, preview_upload
from offline_capi.report import RunReport, print_report, render_html
from tests.audit.project import DAY, Project


def _sha(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def test_a_report_tells_what_came_hashed_and_which_rules_read_the_rest(tmp_path: Path) -> None:
    """In words, in JSON, and as the ledger keeps it."""
    rows = [{"mail": _sha("a@x.com"), "sexe": "H"}, {"mail": _sha("b@x.com").upper(), "sexe": "M"}]
    project = Project(tmp_path, {"em": "mail", "ge": "sexe"}, rows)

    with project.opened() as (upload, window, services):
        report = plan_upload(upload, window, services, check_access=False)
        seen = measure_coverage(upload, window, services)

    words = " ".join(report.identity_lines())
    assert "em: 2 of mail came hashed" in words
    assert "sexe holds both H and M" in words
    assert report.to_json()["profiles"] == ["meta@2026-11"]
    console = Console(file=StringIO(), width=200)
    print_report(report, console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    page = render_html(report)
    assert "identity profile meta@2026-11" in shown
    assert "Identity profile <code>meta@2026-11</code>" in page
    for line in report.identity_lines():
        assert line in shown
        assert escape(line) in page
    assert RunReport.from_json(json.loads(json.dumps(report.to_json()))).tally.noted == report.tally.noted
    assert seen.columns["em", "mail"].to_json()["noted"] == {"came_hashed": 2}


ROUNDED = [1_180_000_000_000_100 + 10 * at * at for at in range(1, 8)]


@pytest.mark.parametrize("ids", [list(map(str, ROUNDED)), [f'="{number}"' for number in ROUNDED]])
def test_ids_that_a_spreadsheet_rounded_are_told_by_report_and_coverage(tmp_path: Path, ids: list[str]) -> None:
    """Of no single id it can be said; of all together it can. They go out: a number may well end in zeros."""
    rows = [{"mail": f"a{at}@x.com", "lead": number} for at, number in enumerate(ids)]
    event = {"name": "Lead", "id": "lead-{lead}", "action_source": "physical_store"}
    project = Project(tmp_path, {"em": "mail", "lead_id": "lead"}, rows, upload={"event": event, "custom_data": {}})

    with project.opened() as (upload, window, services):
        report = plan_upload(upload, window, services, check_access=False)
        seen = measure_coverage(upload, window, services)

    told = [line for line in report.identity_lines() if "it rounds to 15" in line]
    assert [line.split(":")[0] for line in told] == ["event.id", "lead_id"]
    assert all("all 7 long numbers of lead end in zeros" in line for line in told)
    assert report.balance == "7 read = 7 sent"
    assert seen.columns["lead_id", "lead"].to_json()["noted"] == {"rounded_15": 7}


@pytest.mark.parametrize(
    "ids",
    [
        [number + 1 for number in ROUNDED],
        [*ROUNDED[:-1], ROUNDED[-1] + 3],  # one that was not
        ROUNDED[:3],  # too few to tell from chance
        [number // 10 for number in ROUNDED],  # 15 digits, which a spreadsheet keeps
        [f"A{number}" for number in ROUNDED],
    ],
)
def test_ids_that_may_be_whole_are_told_of_nowhere(tmp_path: Path, ids: list[object]) -> None:
    rows = [{"mail": f"a{at}@x.com", "lead": number} for at, number in enumerate(ids)]

    with Project(tmp_path, {"em": "mail", "external_id": "lead"}, rows).opened() as (upload, window, services):
        report = plan_upload(upload, window, services, check_access=False)

    assert report.identity_lines() == []


def test_a_pinned_profile_is_named_with_its_version(tmp_path: Path) -> None:
    rows = [{"mail": "a1@x.com"}]

    with Project(tmp_path, {"em": "mail"}, rows, client={"profile": "sdk@26.0.3"}).opened() as (
        upload,
        window,
        services,
    ):
        report = plan_upload(upload, window, services, check_access=False)

    assert report.tally.profiles == ("sdk@26.0.3",)


def test_children_and_test_leads_leave_a_run_green_and_counted(tmp_path: Path) -> None:
    rows = [
        {"mail": "a1@x.com", "dob": f"{DAY.year - 7}-05-04"},
        {"mail": "test@fb.com", "dob": ""},
        {"mail": "b2@x.com", "dob": "1985-05-04"},
    ]

    with Project(tmp_path, {"em": "mail", "db": "dob"}, rows).opened() as (upload, window, services):
        report = plan_upload(upload, window, services, check_access=False)
        events = preview_upload(upload, window, services, limit=5)

    assert report.balance == "3 read = 1 sent + 2 suppressed"
    assert report.tally.dropped == {("db", "dob", "under_13"): 1, ("em", "mail", "test_lead"): 1}
    assert [event["user_data"]["em"] for event in events] == [_sha("b2@x.com")]


def test_a_birth_date_that_is_an_instant_is_read_in_the_uploads_zone(tmp_path: Path) -> None:
    rows = [{"dob": "1985-07-14T22:00:00Z", "mail": "a1@x.com"}]
    found = []

    for zone in ("Europe/Berlin", "America/New_York"):
        window = {"window": {"column": "sold_at", "timezone": zone}}
        home = tmp_path / zone.partition("/")[2]
        home.mkdir()
        with Project(home, {"em": "mail", "db": "dob"}, rows, upload=window).opened() as (upload, day, services):
            found.append(preview_upload(upload, day, services, limit=1)[0]["user_data"]["db"])

    assert found == [_sha("19850715"), _sha("19850714")]


def test_a_list_of_parquet_is_several_values(tmp_path: Path) -> None:
    """Nulls and blanks in it are nothing; a row with one value is sent as every other row."""
    table = pa.table({
        "sale": [1, 2, 3],
        "sold_at": [f"{DAY}T10:00:00"] * 3,
        "mails": [["a1@x.com", "", None, "b2@x.com"], ["c3@x.com"], None],
        "customer": ["1", "2", "3"],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "people.parquet")
    source = {"source": {"path": str(tmp_path / "people.parquet")}}
    project = Project(tmp_path, {"em": "mails", "external_id": "customer"}, [{"mails": "unused"}], upload=source)

    with project.opened() as (upload, window, services):
        events = preview_upload(upload, window, services, limit=5)

    assert [event["user_data"].get("em") for event in events] == [
        [_sha("a1@x.com"), _sha("b2@x.com")],
        _sha("c3@x.com"),
        None,
    ]


def test_conformance_is_a_command() -> None:
    said = CliRunner().invoke(app, ["profile", "conformance", "--json"])

    told = json.loads(said.output)["profiles"]
    assert said.exit_code == 0
    assert {one["profile"] for one in told} == {"meta@2026-11", "sdk@26.0.3", "param_builder@1.3.2"}
    assert all(one["passed"] == one["vectors"] > 0 for one in told)


def test_check_names_the_tool_that_a_policy_equals() -> None:
    raw, hashed, lower = ExternalIdPolicy(send="raw"), ExternalIdPolicy(), ExternalIdPolicy(lower=True)

    assert "official SDK" in describe_policy(raw, "meta")
    assert "parameter builder lower-cases ids first" in describe_policy(hashed, "meta@2026-11")
    assert "equals Meta's parameter builder, for ids without blanks" in describe_policy(lower, "meta")
    assert "equals Meta's parameter builder" in describe_policy(hashed, "param_builder")
    assert "none of Meta's tools" in describe_policy(ExternalIdPolicy(send="raw", lower=True), "meta")
