"""One line on the terminal for each task that has ended, as soon as it has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import IO, Any

from airflow.listeners import hookimpl

__all__ = ["ConsoleListener"]


class ConsoleListener:
    """An Airflow listener. ``failed`` counts the tasks that failed for good."""

    def __init__(self, terminal: IO[str]) -> None:
        self.failed = 0
        self._terminal = terminal
        self._printed: set[tuple[str, int]] = set()

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        self._print_ended(task_instance, "success")

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any, error: Any) -> None:
        """Also called when a try failed that will be repeated."""
        state = _get_state(task_instance.state)
        self._print_ended(task_instance, state, format_first_line(error))
        self.failed += state == "failed"

    @hookimpl
    def on_task_instance_skipped(self, task_instance: Any) -> None:
        self._print_ended(task_instance, "skipped")

    def print_rest(self, instances: list[Any]) -> None:
        """The tasks that never started: listeners do not hear of them."""
        for instance in instances:
            if (instance.task_id, instance.map_index) not in self._printed:
                state = _get_state(instance.state)
                self._print(instance.task_id, state)
                self.failed += state in ("failed", "upstream_failed")

    def _print_ended(self, instance: Any, state: str, why: str = "") -> None:
        index = -1 if instance.map_index is None else instance.map_index
        self._printed.add((instance.task_id, index))
        label = instance.rendered_map_index or (str(index) if index >= 0 else "")
        seconds = (datetime.now(UTC) - instance.start_date).total_seconds()
        self._print(f"{instance.task_id} {label}".rstrip(), state, f"{seconds:5.1f} s  {why}".rstrip())

    def _print(self, task: str, state: str, rest: str = "") -> None:
        self._terminal.write(f"  {task:<28} {state:<16} {rest}".rstrip() + "\n")


def _get_state(state: Any) -> str:
    """``failed``, where the SDK has an enum and the database a text."""
    return str(getattr(state, "value", state))


def format_first_line(error: Any) -> str:
    """Type and first line of an error."""
    lines = str(error or "").strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else ""
