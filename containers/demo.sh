#!/bin/sh
# One day of both sample uploads through their Airflow DAGs; compose.yml runs it. Repeated, it sends 0 events.
set -eu
day=$(python -c 'from datetime import UTC, datetime; from offline_capi.demo.night import last_night; print(last_night(datetime.now(UTC)))')
until=$(python -c 'import sys; from datetime import date, timedelta; print(date.fromisoformat(sys.argv[1]) + timedelta(days=1))' "$day")
python -c 'import os, sys; from datetime import date; from pathlib import Path; from offline_capi.demo.samples import build_samples
build_samples(Path(os.environ["OFFLINE_CAPI_DATA"]), date.fromisoformat(sys.argv[1]))' "$day"
for upload in credit_approvals store_purchases; do
    python -m offline_capi.airflow_provider.local.one_night --dags dags --upload "$upload" --since "$day" --until "$until"
done
offline-capi status
echo "demo: done. Airflow: http://127.0.0.1:8080   sandbox: http://127.0.0.1:8420"
