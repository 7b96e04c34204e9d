"""Airflow 3.3: one DAG an upload, made from its YAML, and a connection type for tokens.

The only room that imports Airflow. Everything it does, the command line can do as well. A DAG file needs one call::

    globals().update(upload_dags(Path(__file__).parent))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
__getattr__ = import_on_demand(__name__, _HOMES)
