"""People who are told of runs: they keep what they hear in a file of Airflow's home."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier


def keep(context: Any, name: str) -> None:
    """As a function is told."""
    with (Path(os.environ["AIRFLOW_HOME"]) / "told.txt").open("a") as file:
        file.write(f"{name}: {context['dag'].dag_id if 'dag' in context else 'a deadline'}\n")


def hear(context: Any) -> None:
    """What a look at the clients found, or that it failed itself."""
    found = context.get("health") or {"change": "failed", "client": "", "words": type(context["exception"]).__name__}
    with (Path(os.environ["AIRFLOW_HOME"]) / "heard.txt").open("a") as file:
        file.write(f"{found['change']} {found['client']}: {found['words']}\n")


def hear_all(context: Any) -> None:
    """Everything that a notifier is given: the exception with what it was raised from, and the alert."""
    error = context.get("exception")
    lines = traceback.format_exception(error) if isinstance(error, BaseException) else [repr(error)]
    more = (repr(context.get(name)) for name in ("alert", "reason", "params", "outlet_events"))
    with (Path(os.environ["AIRFLOW_HOME"]) / "heard_all.txt").open("a") as file:
        file.write("\n".join([*lines, *more, ""]))


class Pager(BaseNotifier):
    """As Slack's notifier is told: one of its arguments is a template."""

    template_fields = ("text",)

    def __init__(self, text: str, **more: Any) -> None:
        super().__init__(**more)
        self.text = text

    def notify(self, context: Any) -> None:
        with (Path(os.environ["AIRFLOW_HOME"]) / "paged.txt").open("a") as file:
            file.write(f"{self.text}\n")


class Keeper(BaseNotifier):
    """As one of Airflow's notifiers is told."""

    def __init__(self, name: str, **more: Any) -> None:
        super().__init__(**more)
        self.name = name

    def notify(self, context: Any) -> None:
        keep(context, self.name)
