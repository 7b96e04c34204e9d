"""What Airflow loads from this package by itself: the timetable of the generated DAGs."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from offline_capi.airflow_provider.timetable import DailyPartitionTimetable

__all__ = ["OfflineCapiPlugin"]


class OfflineCapiPlugin(AirflowPlugin):
    """Registers ``DailyPartitionTimetable``, without which Airflow refuses to store a DAG that uses it."""

    name = "offline_capi"
    timetables: list[Any] = [DailyPartitionTimetable]  # noqa: RUF012  declared so by Airflow's base class
