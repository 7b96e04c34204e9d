"""Callbacks for how a run went: functions and Airflow notifiers that an upload's YAML names.

They are imported when they are called, so that a DAG file imports nothing for them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from airflow.sdk import BaseNotifier
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from offline_capi.config.airflow import AirflowSettings, Notifier
from offline_capi.errors import ConfigError

__all__ = ["AlertCallback", "find_missing_module", "make_callbacks", "make_deadline_alerts", "report_missed_deadline"]


class AlertCallback:
    """An Airflow callback: called with the run's context, it calls what ``call`` names."""

    def __init__(self, call: str, arguments: Mapping[str, Any]) -> None:
        self.call, self.arguments = call, dict(arguments)

    def __call__(self, context: Any) -> None:
        module, _, name = self.call.partition(":")
        called: Any = getattr(import_module(module), name)
        is_notifier = inspect.isclass(called) and issubclass(called, BaseNotifier)
        if module.startswith("airflow.providers.") and not is_notifier:
            raise ConfigError(f'notify: "{self.call}" is no notifier of Airflow: name a class that is one')
        notify: Any = called(**self.arguments) if inspect.isclass(called) else partial(called, **self.arguments)
        notify(context)


def make_callbacks(notifiers: Iterable[Notifier]) -> list[Callable[[Any], None]]:
    """A callback for each of them."""
    return [AlertCallback(notifier.call, notifier.arguments) for notifier in notifiers]


def make_deadline_alerts(settings: AirflowSettings) -> list[DeadlineAlert] | None:
    """The alert of a run that is not over in time: by ``notify.deadline``, or else by ``notify.failure``."""
    if settings.deadline is None:
        return None
    notifiers = settings.notify.deadline or settings.notify.failure
    arguments = {"notifiers": [notifier.model_dump(mode="json") for notifier in notifiers]}
    callback = SyncCallback(f"{__name__}.{report_missed_deadline.__name__}", arguments)
    return [
        DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, settings.deadline, callback, name=_format_deadline(settings))
    ]


def report_missed_deadline(notifiers: Sequence[Mapping[str, Any]], context: Any = None) -> None:
    """What Airflow calls when a deadline has passed; without notifiers its home page alone shows it."""
    for notifier in notifiers:
        AlertCallback(**notifier)(context or {})


def find_missing_module(notifier: Notifier) -> str | None:
    """The module that ``call`` names, if there is none of this name here. Only the packages around it are loaded."""
    module = notifier.call.partition(":")[0]
    try:
        return None if find_spec(module) else module
    except ModuleNotFoundError as error:
        return error.name or module


def _format_deadline(settings: AirflowSettings) -> str:
    hours = (settings.deadline or timedelta()) / timedelta(hours=1)
    return f"sent within {hours:g} h"
