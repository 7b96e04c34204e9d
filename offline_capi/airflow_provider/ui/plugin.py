"""What Airflow loads from this package by itself: the timetable of the generated DAGs, and pages for its UI."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from offline_capi.airflow_provider.dags.timetable import DailyPartitionTimetable

__all__ = ["OfflineCapiPlugin"]

_PAGES = "/offline_capi"


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
        },
        {
            "name": "Conversion clients",
            "href": f"{_PAGES}/clients",
            "destination": "nav",
            "category": "browse",
            "url_route": "offline-capi-clients",
        },
        {
            "name": "Conversions",
            "href": f"{_PAGES}/dags/{{DAG_ID}}/runs/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "offline-capi-report",
        },
    ]

    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]  # a list there, made only where it is asked for here
        """The pages; only the API server asks for them, and only it loads FastAPI for them."""
        from offline_capi.airflow_provider.ui.web import app

        return [{"app": app, "url_prefix": _PAGES, "name": "Conversions sent"}]
