# Airflow DAGs of offline_capi: one for each file in uploads/. To change a DAG, change its YAML.
from pathlib import Path

from offline_capi.airflow_provider import upload_dags

globals().update(upload_dags(Path(__file__).parent))
