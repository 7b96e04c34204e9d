"""What an upload may ask of its events beyond what Meta enforces, from its YAML to the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from offline_capi.model import Window
from offline_capi.pipeline import plan_upload, preview_upload
from tests.audit.project import Project
from tests.support.night import yesterday

PAGE, BROWSER = "https://shop.example/thanks", "Mozilla/5.0 (X11)"
ROWS = [
    {"mail": "a1@x.com", "page": PAGE, "browser": BROWSER, "kind": "purchase"},
    {"mail": "b2@x.com", "page": "", "browser": BROWSER, "kind": "PURCHASE"},
    {"mail": "c3@x.com", "page": PAGE, "browser": "", "kind": "Purchse"},
]
PEOPLE = {"em": "mail", "client_user_agent": "browser"}


def _event(**changes: Any) -> dict[str, Any]:
    event = {"name": "Purchase", "id": "s-{sale}", "action_source": "website", "source_url": "page"}
    return {"event": event | changes}


@pytest.mark.parametrize(
    ("strict", "action_source", "lost"),
    [
        (
            True,
            "website",
            {("missing_value", "event.source_url"): 1, ("missing_value", "user_data.client_user_agent"): 1},
        ),
        (False, "website", {}),
        (True, "physical_store", {}),
    ],
)
def test_website_events_are_held_to_metas_pages_where_an_upload_asks_for_it(
    rows_of, build, strict: bool, action_source: str, lost: dict[tuple[str, str], int]
) -> None:
    event = {"action_source": [action_source] * 3, "event_source_url": [PAGE, None, PAGE]}
    built = build(
        rows_of(event, {"em": [["a" * 64] * 3], "client_user_agent": [[BROWSER, BROWSER, None]]}), strict_website=strict
    )

    found = {(row["reason"], row["field"]): 1 for row in built.unsent.table.to_pylist()}
    assert found == lost
    warned = {"website_without_url": 1, "website_without_user_agent": 1}
    assert built.warnings == (warned if action_source == "website" and not strict else {})


def test_what_an_upload_says_of_website_events_reaches_its_plan(tmp_path: Path) -> None:
    day = yesterday("UTC")
    rows = [{**row, "at": f"{day}T10:00:00Z"} for row in ROWS]
    found = {}

    for strict in (False, True):
        (home := tmp_path / str(strict)).mkdir()
        upload = {**_event(strict_website=strict), "window": {"column": "at"}}
        with Project(home, PEOPLE, rows, upload=upload).opened() as (one, _, services):
            report = plan_upload(one, Window.of_day(day, "UTC"), services, check_access=False)
        found[strict] = {(line.reason, line.field): line.rows for line in report.reasons()}

    assert found == {
        False: {},
        True: {("missing_value", "event.source_url"): 1, ("missing_value", "user_data.client_user_agent"): 1},
    }


@pytest.mark.parametrize(
    ("exact", "names", "warnings"),
    [
        (False, ["Purchase", "Purchase", "Purchse"], {"event_name_case": 2, "event_name_near": 1}),
        (True, ["purchase", "PURCHASE", "Purchse"], {}),
    ],
)
def test_names_of_rows_are_corrected_unless_the_upload_wants_them_exact(
    tmp_path: Path, exact: bool, names: list[str], warnings: dict[str, int]
) -> None:
    upload = _event(name={"column": "kind", "exact": exact}, action_source="physical_store")

    with Project(tmp_path, {"em": "mail"}, ROWS, upload=upload).opened() as (one, window, services):
        events = preview_upload(one, window, services, limit=5)
        report = plan_upload(one, window, services, check_access=False)

    assert [event["event_name"] for event in events] == names
    assert report.tally.warnings == warnings
