"""A login under which some see one DAG and no other, as FAB's roles and Keycloak's scopes can say."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

from offline_capi.airflow_provider.dags.dag_factory import make_dag_id


class OneDagOnly(SimpleAuthManager):
    """``viewer of UPLOAD`` may see the DAG of that upload; everybody else what Airflow's simple login lets them see."""

    def is_authorized_dag(self, *, user: Any, details: DagDetails | None = None, **more: Any) -> bool:
        only = user.username.partition(" of ")[2]
        seen = not only or details is None or details.id == make_dag_id(only)
        return seen and super().is_authorized_dag(user=user, details=details, **more)
