"""Send one upload in a DAG of your own, wait until its day is complete, then do something with it.

``make demo`` and the tests use the uploads in the repository's ``dags/``; set ``folder`` to your own.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

from offline_capi.airflow_provider import DeliveredUpToSensor, UploadConversionsOperator, UploadFailureNotifier

PARAMS = {"folder": "/opt/airflow/dags", "upload_name": "credit_approvals", "since": None, "until": None}

with DAG(
    dag_id="example_offline_capi",
    schedule=None,
    params=PARAMS,
    render_template_as_native_obj=True,
    tags=["example", "offline-capi"],
) as dag:
    # [START howto_operator_upload_conversions]
    send = UploadConversionsOperator(
        task_id="send",
        folder="{{ params.folder }}",
        upload="{{ params.upload_name }}",
        since="{{ params.since }}",
        until="{{ params.until }}",
        on_failure_callback=UploadFailureNotifier(folder="{{ params.folder }}", upload="{{ params.upload_name }}"),
    )
    # [END howto_operator_upload_conversions]

    # [START howto_sensor_delivered_up_to]
    wait = DeliveredUpToSensor(
        task_id="wait",
        folder="{{ params.folder }}",
        upload="{{ params.upload_name }}",
        day="{{ params.since }}",
        poke_interval=5,
        timeout=600,
    )
    # [END howto_sensor_delivered_up_to]

    send >> wait >> EmptyOperator(task_id="after_delivery")
