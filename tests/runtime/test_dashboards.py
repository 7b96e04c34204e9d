"""Dashboards and alert rules of observability/: every metric and label in them is one that a real night sends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from offline_capi.model import Fate
from tests.runtime.test_telemetry import home, upload
from tests.support.sandbox_server import Sandbox
from tools.dashboards import FOLDER, WAYS, render_files
from tools.reference import list_metric_calls

__all__ = ["home"]

KEYS = [names.key for names in WAYS]
#: Suffixes of the Prometheus names of a metric, by the kind of its data: as an OTLP receiver translates them.
UNITS = {"s": "_seconds"}


def load_dashboard(key: str) -> dict[str, Any]:
    return dict(json.loads((FOLDER / f"grafana-{key}.json").read_text("utf-8")))


def load_rules(key: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load((FOLDER / f"alerts-{key}.yml").read_text("utf-8"))["groups"][0]["rules"])


def list_expressions(key: str) -> list[str]:
    dashboard = load_dashboard(key)
    variables = [one["definition"] for one in dashboard["templating"]["list"] if "definition" in one]
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*panels, *(rule["expr"] for rule in load_rules(key)), *variables]


def list_names(key: str) -> set[str]:
    return {name for one in list_expressions(key) for name in re.findall(r"\b(?:airflow_)?offline_capi_\w+", one)}


def list_labels(key: str) -> set[str]:
    """The labels that expressions select, sum and list by, and that legends and texts show."""
    found: set[str] = set()
    for one in list_expressions(key):
        found |= {*re.findall(r'(\w+)=~?"', one), *re.findall(r"label_values\(.*, (\w+)\)", one)}
        found |= {label for group in re.findall(r"by \(([^)]*)\)", one) for label in group.split(", ")}
    legends = [target["legendFormat"] for panel in load_dashboard(key)["panels"] for target in panel["targets"]]
    found |= {label for legend in legends for label in re.findall(r"{{(\w+)}}", legend)}
    texts = " ".join(text for rule in load_rules(key) for text in rule["annotations"].values())
    return found | {*re.findall(r"\$labels\.(\w+)", texts)}


def read_console(printed: str) -> Iterator[dict[str, Any]]:
    """The metrics that the SDK's console exporter printed among the report of the run."""
    for match in re.finditer(r"^\{$", printed, re.MULTILINE):
        data, _ = json.JSONDecoder().raw_decode(printed[match.start() :])
        for resource in data["resource_metrics"]:
            for scope in resource["scope_metrics"]:
                yield from scope["metrics"]


@pytest.fixture(scope="module")
def sent(home: Path, tmp_path_factory: pytest.TempPathFactory, sandbox_server: Any) -> list[dict[str, Any]]:
    program = "from offline_capi.cli import main\nmain()"
    folder = tmp_path_factory.mktemp("dashboards")
    printed = upload(program, home, folder, Sandbox(sandbox_server), OTEL_METRICS_EXPORTER="console")
    return [*read_console(printed)]


def name_in_prometheus(metric: dict[str, Any]) -> set[str]:
    name = metric["name"].replace(".", "_") + UNITS.get(metric["unit"], "")
    is_histogram = "bucket_counts" in metric["data"]["data_points"][0]
    return {f"{name}_{part}" for part in ("sum", "count", "bucket")} if is_histogram else {f"{name}_total"}


def test_all_metrics_of_a_real_night_are_on_the_dashboard_and_it_has_no_others(sent: list[dict[str, Any]]):
    shown, known = list_names("otel"), {name for metric in sent for name in name_in_prometheus(metric)}

    assert shown <= known
    assert all(name_in_prometheus(metric) & shown for metric in sent)
    labels = {label for metric in sent for point in metric["data"]["data_points"] for label in point["attributes"]}
    assert list_labels("otel") == labels
    fates = {fate for one in list_expressions("otel") for fate in re.findall(r'fate="(\w+)"', one)}
    events = next(metric for metric in sent if metric["name"] == "offline_capi.events")
    assert fates == {point["attributes"]["fate"] for point in events["data"]["data_points"]} == {*Fate}


def test_airflows_metrics_are_those_that_its_tasks_send():
    """``test_metrics.py`` hears them on a socket; a StatsD exporter writes dots as underscores."""
    known: set[str] = set()
    for name, kind in list_metric_calls():
        names = [f"{name}{fate}" for fate in Fate] if name.endswith(".") else [name]
        parts = ("_sum", "_count") if kind == "timer" else ("",)
        known |= {f"airflow.{one}".replace(".", "_") + part for one in names for part in parts}

    assert list_names("statsd") <= known
    assert {f"airflow_offline_capi_events_{fate}" for fate in Fate} <= list_names("statsd")
    assert list_labels("statsd") == {"upload", "client"}


@pytest.mark.parametrize("key", KEYS)
def test_a_dashboard_has_what_grafana_requires(key: str):
    dashboard = load_dashboard(key)

    assert dashboard["schemaVersion"] >= 36
    assert "id" not in dashboard, "Grafana would replace another dashboard"
    assert len(dashboard["uid"]) <= 40
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        assert panel["targets"], panel["title"]
        assert panel["type"] in ("stat", "timeseries", "table")
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            used = {*re.findall(r"\$(\w+)", target["expr"])} - {"__range"}
            assert used <= variables
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells


@pytest.mark.parametrize("key", KEYS)
def test_an_alert_says_what_to_do(key: str):
    rules = load_rules(key)

    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_the_files_are_those_that_the_tool_writes():
    assert {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()} == render_files(), (
        "run: .venv/bin/python tools/dashboards.py"
    )
