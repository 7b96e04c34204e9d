"""Write observability/: Grafana dashboards and Prometheus alert rules, for OpenTelemetry and for Airflow's StatsD.

    python tools/dashboards.py

The two name the same figures differently: an OTLP receiver adds unit and ``_total`` and has the fate as a label, a
StatsD exporter has the fate in the name. Panels and rules are written once, in terms of ``Names``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from offline_capi.model import Fate

FOLDER = Path(__file__).parents[1] / "observability"
#: Fates of events that were good to go and did not arrive, or arrived in doubt.
LOST = (Fate.REJECTED_BY_META, Fate.UNCONFIRMED, Fate.DEFERRED)
#: A night may be late by so much.
DAILY = "26h"
UPLOAD = 'upload=~"$upload"'


@dataclass(frozen=True)
class Names:
    """How one way of sending metrics names them in Prometheus."""

    key: str
    title: str
    fate_is_label: bool
    events: str
    requests: str
    tries: str
    duration: str

    def select(self, fate: Fate, labels: str = "") -> str:
        """The counter of events of a fate."""
        if not self.fate_is_label:
            return f"{self.events}_{fate.value}" + (f"{{{labels}}}" if labels else "")
        wanted = ",".join(filter(None, (labels, f'fate="{fate.value}"')))
        return f"{self.events}{{{wanted}}}"

    def sum(self, fate: Fate, over: str, labels: str = "", by: str = "upload, client") -> str:
        return f"sum by ({by}) (increase({self.select(fate, labels)}[{over}]))"


WAYS = (
    Names(
        "otel",
        "offline_capi",
        True,
        "offline_capi_events_total",
        "offline_capi_requests_total",
        "offline_capi_tries_total",
        "offline_capi_run_duration_seconds",
    ),
    Names(
        "statsd",
        "offline_capi in Airflow",
        False,
        "airflow_offline_capi_events",
        "airflow_offline_capi_requests",
        "airflow_offline_capi_tries",
        "airflow_offline_capi_run_duration",
    ),
)


# ---------------------------------------------------------------------------------------------- dashboard


def render_dashboard(names: Names) -> dict[str, Any]:
    chosen = f'{UPLOAD},client=~"$client"'
    fates = [(names.sum(fate, "$__range", chosen, "client"), f"{fate.words} {{{{client}}}}") for fate in Fate]
    lost = [names.sum(fate, "$__range", chosen, "upload") for fate in LOST]
    panels = [
        _panel("Events sent", "stat", [(f"sum({names.sum(Fate.SENT, '$__range', chosen)})", "sent")], 0, 0, 6, 4),
        _panel(
            "Good events that did not arrive",
            "stat",
            [(f"sum({one})", fate.words) for one, fate in zip(lost, LOST, strict=True)],
            6, 0, 12, 4,
            about="Rejected by Meta, unconfirmed or deferred. `offline-capi status --days` says of which days.",
        ),
        _panel(
            "Runs closed",
            "stat",
            [(f"sum(increase({names.duration}_count{{{UPLOAD}}}[$__range]))", "runs")],
            18, 0, 6, 4,
        ),
        _panel(
            "Events by fate, each day",
            "timeseries",
            [(f"sum({names.sum(fate, '1d', chosen)})", fate.words) for fate in Fate],
            0, 4, 12, 9,
        ),
        _panel(
            "Sent by client, each day",
            "timeseries",
            [(names.sum(Fate.SENT, "1d", chosen, "client"), "{{client}}")],
            12, 4, 12, 9,
        ),
        _panel("By client and fate", "table", fates, 0, 13, 24, 9),
        _panel(
            "Duration of a run",
            "timeseries",
            [
                (
                    f"sum by (upload) (increase({names.duration}_sum{{{UPLOAD}}}[1d]))"
                    f" / sum by (upload) (increase({names.duration}_count{{{UPLOAD}}}[1d]))",
                    "{{upload}}",
                )
            ],
            0, 22, 12, 9,
            unit="s",
        ),
        _panel(
            "Tries a request",
            "timeseries",
            [
                (
                    f"sum by (upload) (increase({names.tries}{{{UPLOAD}}}[1d]))"
                    f" / sum by (upload) (increase({names.requests}{{{UPLOAD}}}[1d]))",
                    "{{upload}}",
                )
            ],
            12, 22, 12, 9,
            about="1 where Meta answers at once; more where requests are repeated.",
        ),
    ]  # fmt: skip
    return {
        "uid": f"offline-capi-{names.key}",
        "title": names.title,
        "tags": ["offline_capi"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "time": {"from": "now-7d", "to": "now"},
        "timezone": "",
        "templating": {"list": [_DATASOURCE, _variable("upload", names), _variable("client", names)]},
        "annotations": {"list": []},
        "panels": [{"id": number, **panel} for number, panel in enumerate(panels, 1)],
    }


_DATASOURCE = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _variable(label: str, names: Names) -> dict[str, Any]:
    query = f"label_values({names.select(Fate.SENT)}, {label})"
    return {
        "name": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": label},
        "definition": query,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2,
    }


def _panel(
    title: str,
    kind: str,
    queries: Sequence[tuple[str, str]],
    x: int,
    y: int,
    w: int,
    h: int,
    *,
    unit: str = "short",
    about: str = "",
) -> dict[str, Any]:
    instant = kind in ("stat", "table")
    targets = [
        {
            "refId": chr(ord("A") + at),
            "datasource": _SOURCE,
            "expr": expression,
            "legendFormat": legend,
            "instant": instant,
            "range": not instant,
            **({"format": "table"} if kind == "table" else {}),
        }
        for at, (expression, legend) in enumerate(queries)
    ]
    merged = [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "renameByName": {f"Value #{target['refId']}": fate.words for target, fate in zip(targets, Fate)},  # noqa: B905
            },
        },
    ]
    return {
        "title": title,
        "type": kind,
        "description": about,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": w, "h": h},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "options": {},
        "targets": targets,
        **({"transformations": merged} if kind == "table" else {}),
    }


# ---------------------------------------------------------------------------------------------- alerts


def render_rules(names: Names) -> dict[str, Any]:
    invalid, arrived = (names.sum(fate, DAILY, by="upload") for fate in (Fate.INVALID, Fate.SENT))
    runs, sent = f"{names.duration}_count", names.select(Fate.SENT)
    rules = [
        _rule(
            "OfflineCapiNoRun",
            f"sum by (upload) (increase({runs}[7d])) > 0 unless sum by (upload) (increase({runs}[{DAILY}])) > 0",
            "critical",
            "{{ $labels.upload }} has closed no run for 26 hours",
            "Is the scheduler up? `offline-capi upload UPLOAD` takes up the open days; repeating sends nothing twice.",
        ),
        _rule(
            "OfflineCapiNothingSent",
            f"sum by (upload) (increase({sent}[7d])) > 0 unless sum by (upload) (increase({sent}[{DAILY}])) > 0",
            "critical",
            "{{ $labels.upload }} has sent nothing for 26 hours",
            "`offline-capi report last` says why. Events older than Meta accepts (7 days for most) are lost.",
        ),
        *(
            _rule(
                f"OfflineCapi{fate.value.title().replace('_', '')}",
                f"{names.sum(fate, DAILY)} > 0",
                "warning",
                f"{{{{ $value }}}} events of {{{{ $labels.client }}}} in {{{{ $labels.upload }}}} are {fate.words}",
                remedy,
            )
            for fate, remedy in zip(LOST, _REMEDIES, strict=True)
        ),
        _rule(
            "OfflineCapiExpired",
            f"{names.sum(Fate.EXPIRED, DAILY)} > 0",
            "warning",
            "{{ $value }} events of {{ $labels.client }} in {{ $labels.upload }} were too old for Meta",
            "They cannot be sent any more. `offline-capi status --days` says which days are still open.",
        ),
        _rule(
            "OfflineCapiManyInvalid",
            f"{invalid} / ({invalid} + ({arrived} or {invalid} * 0)) > 0.05",
            "warning",
            "{{ $value | humanizePercentage }} of the new rows of {{ $labels.upload }} cannot become events",
            "`offline-capi rejects last` lists why. Correct source or mapping, then `offline-capi replay last`.",
        ),
        _rule(
            "OfflineCapiManyTries",
            f"sum by (upload) (increase({names.tries}[{DAILY}]))"
            f" / sum by (upload) (increase({names.requests}[{DAILY}])) > 1.5",
            "warning",
            "{{ $labels.upload }} needs {{ $value | humanize }} tries a request",
            "Meta or the network is slow or refuses requests. `offline-capi report last` has Meta's codes.",
        ),
    ]
    return {"groups": [{"name": f"offline_capi_{names.key}", "rules": rules}]}


_REMEDIES = (
    "`offline-capi rejects last` has Meta's code, `offline-capi explain CODE` says what to do.",
    "The next run repeats them under the same ids; Meta counts them once.",
    "They wait for a later run, as long as Meta accepts their age. `offline-capi report last` says what holds them.",
)


def _rule(name: str, expression: str, severity: str, summary: str, remedy: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expression,
        "for": "15m",
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": remedy},
    }


def render_files() -> dict[str, str]:
    """Name → content."""
    head = "# Written by tools/dashboards.py.\n"
    found = {}
    for names in WAYS:
        found[f"grafana-{names.key}.json"] = json.dumps(render_dashboard(names), indent=2) + "\n"
        rules = yaml.safe_dump(render_rules(names), sort_keys=False, width=1000)
        found[f"alerts-{names.key}.yml"] = head + rules
    return found


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, content in render_files().items():
        (FOLDER / file).write_text(content, encoding="utf-8")
        print(f"observability/{file}")
