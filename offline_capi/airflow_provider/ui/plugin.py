"""What Airflow loads from this package by itself: the timetable of the generated DAGs, and pages for its UI."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow.plugins_manager import AirflowPlugin

from offline_capi.airflow_provider.dags.timetable import DailyPartitionTimetable

__all__ = ["OfflineCapiPlugin"]

_PAGES = "/offline_capi"


def _draw_icon(colour: str, path: str) -> str:
    """An icon of 24 by 24 as a data URL, which needs no request and no login."""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="24" height="24" fill="none" '
        f'stroke="{colour}" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">{path}</svg>'
    )
    return f"data:image/svg+xml,{quote(svg)}"


def _make_icons(path: str) -> dict[str, str]:
    return {"icon": _draw_icon("#3f3f46", path), "icon_dark_mode": _draw_icon("#e4e4e7", path)}


#: A tray that something leaves upwards.
_SEND_ICON = _make_icons('<path d="M12 15V3M7 8l5-5 5 5M4 14v5a2 2 0 0 0 2 2h12a2 2 0 0 0 2-2v-5"/>')
#: Two persons.
_CLIENTS_ICON = _make_icons(
    '<circle cx="9" cy="8" r="4"/><path d="M2 21v-1a6 6 0 0 1 6-6h2a6 6 0 0 1 6 6v1"/>'
    '<path d="M16 4a4 4 0 0 1 0 8M19 15a5 5 0 0 1 3 5v1"/>'
)


class OfflineCapiPlugin(AirflowPlugin):
    """Registers ``DailyPartitionTimetable``, without which Airflow refuses to store a DAG that uses it; and pages."""

    name = "offline_capi"
    timetables: list[Any] = [DailyPartitionTimetable]  # noqa: RUF012  declared so by Airflow's base class
    external_views: list[Any] = [  # noqa: RUF012  the same
        {
            "name": "Conversions sent",
            "href": f"{_PAGES}/runs",
            "destination": "nav",
            "category": "browse",
            "url_route": "offline-capi-runs",
            **_SEND_ICON,
        },
        {
            "name": "Conversion clients",
            "href": f"{_PAGES}/clients",
            "destination": "nav",
            "category": "browse",
            "url_route": "offline-capi-clients",
            **_CLIENTS_ICON,
        },
        {
            "name": "Conversions",
            "href": f"{_PAGES}/dags/{{DAG_ID}}/runs/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "offline-capi-report",
            **_SEND_ICON,
        },
    ]

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]  # a list there, made only where it is asked for here
        """The pages; only the API server asks for them, and only it loads FastAPI for them."""
        from offline_capi.airflow_provider.ui.web import app

        return [{"app": app, "url_prefix": _PAGES, "name": "Conversions sent"}]
