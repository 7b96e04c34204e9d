"""Airflow 3.3: one DAG an upload, made from its YAML, and a connection type for tokens.

The only room that imports Airflow. Everything it does, the command line can do as well. A DAG file needs one call::

    globals().update(upload_dags(Path(__file__).parent))
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any

from offline_capi.runtime.lazy_names import import_on_demand

if TYPE_CHECKING:
    from offline_capi.airflow_provider.dags.dag_factory import check_uploads, upload_dags
    from offline_capi.airflow_provider.hooks.meta_capi import MetaConversionsHook
    from offline_capi.airflow_provider.notifications.failure import UploadFailureNotifier
    from offline_capi.airflow_provider.operators.upload import UploadConversionsOperator
    from offline_capi.airflow_provider.sensors.delivered import DeliveredUpToSensor

__all__ = [
    "DeliveredUpToSensor",
    "MetaConversionsHook",
    "UploadConversionsOperator",
    "UploadFailureNotifier",
    "check_uploads",
    "upload_dags",
]

_HOMES = {
    "DeliveredUpToSensor": "sensors.delivered",
    "MetaConversionsHook": "hooks.meta_capi",
    "UploadConversionsOperator": "operators.upload",
    "UploadFailureNotifier": "notifications.failure",
    "check_uploads": "dags.dag_factory",
    "upload_dags": "dags.dag_factory",
}

#: Airflow's plugin loader must not pay for the DAG factory.
_find = import_on_demand(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    try:
        return _find(name)
    except ImportError as error:
        raise ImportError(f"{error}\n{_describe_airflow()}", name=error.name) from error


def _describe_airflow() -> str:
    """Which Airflow is there, and which one is needed: an older one lacks names, and says no more than that."""
    try:
        there = f"This is Airflow {version('apache-airflow-core')}"
    except PackageNotFoundError:
        there = "There is no Airflow here"
    needed = next((line for line in requires("offline-capi") or () if line.startswith("apache-airflow")), "")
    return f"{there}; the provider needs {needed.partition(';')[0]}: pip install 'offline-capi[airflow]'"
