"""Functions and Airflow notifiers of somebody's own, as an upload's YAML names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_capi.airflow_provider.observability.callbacks import (
    AlertCallback,
    find_missing_module,
    make_deadline_alerts,
    report_missed_deadline,
)
from offline_capi.config.airflow import AirflowSettings, Notifier
from offline_capi.errors import ConfigError

TOLD = "tests.airflow_provider.told"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path / "told.txt"


@pytest.mark.parametrize("call", [f"{TOLD}:keep", f"{TOLD}:Keeper"], ids=["a function", "a notifier"])
def test_it_is_called_with_the_context_and_its_arguments(told: Path, call: str):
    AlertCallback(call, {"name": "owner"})({})

    assert told.read_text() == "owner: a deadline\n"


def test_a_missed_deadline_tells_everybody_named(told: Path):
    report_missed_deadline([{"call": f"{TOLD}:keep", "arguments": {"name": name}} for name in ("one", "two")])

    assert told.read_text() == "one: a deadline\ntwo: a deadline\n"


def test_without_a_deadline_there_is_no_alert_and_one_without_people_is_airflows_alone():
    silent = AirflowSettings.model_validate({"deadline": "90m"})

    assert make_deadline_alerts(AirflowSettings()) is None
    assert [alert.callback.kwargs for alert in make_deadline_alerts(silent) or []] == [{"notifiers": []}]
    report_missed_deadline([])


@pytest.mark.parametrize(
    ("call", "missing"),
    [
        (f"{TOLD}:keep", None),
        ("airflow.providers.smtp.notifications.smtp:SmtpNotifier", None),
        ("acme.alerts:page", "acme"),
        ("tests.airflow_provider.tolled:keep", "tests.airflow_provider.tolled"),
    ],
)
def test_a_module_that_is_not_there_is_named(call: str, missing: str | None):
    assert find_missing_module(Notifier(call=call)) == missing


def test_of_airflows_own_modules_only_a_notifier_is_called():
    """The module of a notifier imports others, which start programs or open files."""
    with pytest.raises(ConfigError, match=r'"airflow\.providers\.smtp\.notifications\.smtp:Path" is no notifier'):
        AlertCallback("airflow.providers.smtp.notifications.smtp:Path", {})({})
