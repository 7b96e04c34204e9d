"""``provider.yaml`` and what it names; the sensor, the notifier and the example DAG in a real Airflow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import airflow as airflow_package
import jsonschema
import yaml

import offline_capi
from offline_capi.airflow_provider.provider import get_provider_info
from offline_capi.demo.samples import SAMPLE_TOKENS
from tests.airflow_provider.conftest import SampleNight
from tests.airflow_provider.embedded import REPOSITORY

PROVIDER = REPOSITORY / "offline_capi/airflow_provider/provider.yaml"
SCHEMAS = Path(airflow_package.__file__).parent


def provider() -> dict[str, Any]:
    return dict(yaml.safe_load(PROVIDER.read_text("utf-8")))


def test_provider_yaml_and_what_is_made_of_it_follow_airflows_schemas():
    jsonschema.validate(provider(), json.loads((SCHEMAS / "provider.yaml.schema.json").read_text()))
    jsonschema.validate(get_provider_info(), json.loads((SCHEMAS / "provider_info.schema.json").read_text()))

    assert get_provider_info()["versions"][0] == offline_capi.__version__
    assert {*provider()} - {*get_provider_info()} == {"state", "lifecycle", "source-date-epoch"}


def list_names(info: dict[str, Any]) -> Iterator[str]:
    for kind in ("hooks", "operators", "sensors"):
        for entry in info[kind]:
            assert entry["integration-name"] in {one["integration-name"] for one in info["integrations"]}
            yield from entry["python-modules"]
    yield from (*info["notifications"], *info["extra-links"])
    yield from (one["hook-class-name"] for one in info["connection-types"])
    yield from (one["to_openlineage_converter"] for one in info["asset-uris"])


def test_every_module_and_class_that_the_provider_names_exists():
    names = list(list_names(get_provider_info()))

    assert len(names) >= 7
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute) or import_module(name), name


def test_an_airflow_that_is_too_old_is_named_with_the_one_that_is_needed(tmp_path: Path):
    """Without it the author of a DAG file reads the name of a class that Airflow 3.2 does not have."""
    (tmp_path / "airflow/sdk").mkdir(parents=True)
    for package in ("airflow", "airflow/sdk"):
        (tmp_path / package / "__init__.py").touch()
    script = "from offline_capi.airflow_provider import upload_dags"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}

    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert re.search(r"This is Airflow 3\.\d+\.\d+; the provider needs apache-airflow.*>=3\.3\.2", done.stderr)
    assert "pip install 'offline-capi[airflow]'" in done.stderr


def test_every_module_of_operators_and_sensors_is_registered():
    """A new one that provider.yaml does not name would be missing in the registry."""
    from airflow.sdk import BaseOperator

    found = set()
    for room in ("hooks", "operators", "sensors", "notifications"):
        for path in (PROVIDER.parent / room).glob("[!_]*.py"):
            name = f"offline_capi.airflow_provider.{room}.{path.stem}"
            classes = [one for one in vars(import_module(name)).values() if isinstance(one, type)]
            if any(one.__module__ == name and issubclass(one, BaseOperator) for one in classes):
                found.add(name)

    registered = {
        name for kind in ("operators", "sensors") for one in provider()[kind] for name in one["python-modules"]
    }
    assert found == registered


def test_guides_and_logo_of_the_provider_exist():
    (integration,) = provider()["integrations"]

    for guide in integration["how-to-guide"]:
        assert (REPOSITORY / guide.lstrip("/")).is_file(), guide
    assert (REPOSITORY / "docs" / integration["logo"].lstrip("/")).read_text().startswith("<svg")


def test_the_guide_shows_the_example_dag_as_it_is():
    example = (REPOSITORY / "offline_capi/airflow_provider/example_dags/example_offline_capi.py").read_text("utf-8")
    guide = (REPOSITORY / "docs/how-to/operators.md").read_text("utf-8")

    for name in ("howto_operator_upload_conversions", "howto_sensor_delivered_up_to"):
        lines = example.split(f"# [START {name}]\n")[1].split(f"    # [END {name}]")[0].splitlines()
        shown = "\n".join(line.removeprefix("    ") for line in lines)
        assert f"```python\n{shown.rstrip()}\n```" in guide, name


def folder_of(night: SampleNight) -> str:
    return str(night.airflow.home.parent / "dags")


def test_the_example_dag_sends_the_day_and_the_sensor_sees_it_complete(night: SampleNight):
    done = night.run("example_offline_capi", folder=folder_of(night), upload_name="credit_approvals")

    assert done.tasks == {"send": "success", "wait": "success", "after_delivery": "success"}
    assert night.sandbox.accepted_ids


def test_the_notifier_raises_one_alert_for_a_failure_with_its_reason(night: SampleNight):
    paged = night.airflow.home / "paged.txt"
    paged.write_text("")
    (night.home / "warehouse.db").write_bytes(b"no database")

    done = night.run("example_offline_capi", retries=0, folder=folder_of(night), upload_name="credit_approvals")

    assert done.tasks["send"] == "failed"
    began = [line for line in paged.read_text().splitlines() if line.startswith("began ")]
    assert len(began) == 1
    assert "credit_approvals" in began[0]


def test_the_sensor_holds_no_slot_while_it_waits(night: SampleNight):
    """Its first look comes before the upload's task in the only slot there is; it succeeds at a later one."""
    done = night.run("offline_capi__waiting", folder=folder_of(night), upload_name="credit_approvals")

    assert done.tasks == {"wait": "success", "before": "success", "send": "success"}
    assert f"credit_approvals {night.day} is not complete: no run covered it" in night.airflow.log


def test_the_sensor_does_not_succeed_while_a_client_is_owed(night: SampleNight):
    night.sandbox.revoke(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"])
    night.run("store_purchases", retries=0)

    done = night.run("offline_capi__impatient", folder=folder_of(night), upload_name="store_purchases")

    assert done.tasks == {"wait": "failed"}
    assert f"store_purchases {night.day} is not complete: a token or permission was refused" in night.airflow.log


def test_the_sensor_fails_at_once_for_a_day_that_meta_no_longer_takes(night: SampleNight):
    """A run over it found none of its files, long after Meta's last moment for it."""
    old = {"since": "2020-01-01", "until": "2020-01-02"}
    night.run("own", what="store_purchases", **old)

    done = night.run("offline_capi__impatient", folder=folder_of(night), upload_name="store_purchases", **old)

    assert (done.tasks, done.tries) == ({"wait": "failed"}, {"wait": 1})
    assert "store_purchases 2020-01-01 is closed" in night.airflow.log


def test_the_sensor_names_an_argument_that_is_no_day(night: SampleNight):
    done = night.run(
        "offline_capi__impatient", folder=folder_of(night), upload_name="credit_approvals", since="2020-99-01"
    )

    assert done.tasks == {"wait": "failed"}
    assert "day of the sensor is not a day: write YYYY-MM-DD" in night.airflow.log
