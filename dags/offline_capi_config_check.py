# Airflow shows the problems of uploads/ and clients.yml as this file's import error; it makes no DAG of its own.
from pathlib import Path

from offline_capi.airflow_provider import check_uploads

check_uploads(Path(__file__).parent)
