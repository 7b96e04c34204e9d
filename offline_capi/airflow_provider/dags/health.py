"""The daily check of every client's token and pixel: faults are found before a run meets them, and reported once.

Notifiers get the task's context with ``health`` in it, a fault that began or ended: ``{{ health.client }}``,
``{{ health.change }}``, ``{{ health.words }}``, ``{{ health.contacts }}`` in the arguments of one of Airflow's
notifiers, ``context["health"]`` in a function; and with ``alert``, as for any other fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from airflow.sdk import get_current_context

from offline_capi.airflow_provider.observability.callbacks import make_callbacks
from offline_capi.airflow_provider.operators.task_context import load_clients, refuse_unknown_conf
from offline_capi.errors import AccessDeniedError, ConfigError, TemporaryError

if TYPE_CHECKING:
    from offline_capi.clients import AccessChange as Change
    from offline_capi.clients import HealthReport
    from offline_capi.config.airflow import AirflowDefaults, Notifier
    from offline_capi.operations.alerts import Alert

__all__ = ["check_clients", "list_health_notifiers", "make_failure_callbacks"]

Callback = Callable[[Any], None]

#: Clients that one message names.
MAX_NAMED_CLIENTS = 20

_log = structlog.get_logger(__name__)


def check_clients(folder: str) -> dict[str, int]:
    """Check every active client and report changes; fail while one cannot be sent for or could not be checked.

    It fails as well while a version of the Graph API in use ends within 30 days.

    Nothing is stored at Meta. What began or ended is reported before it is stored: a report that fails is
    repeated.
    """
    from offline_capi.clients import check_health
    from offline_capi.operations.alerts import make_notifier

    deployment, secrets = load_clients(folder)
    context = get_current_context()
    refuse_unknown_conf(context)
    listeners = make_callbacks(list_health_notifiers(deployment.platform.airflow))
    notify = partial(_notify, context, listeners, make_notifier(deployment.platform, secrets))
    found = check_health(deployment, secrets, on_change=notify)
    _log_result(found)
    _raise_for_unusable(found)
    changes = [change.change for change in found.changes]
    return {"clients": len(found.statuses), "began": changes.count("began"), "ended": changes.count("ended")}


def list_health_notifiers(settings: AirflowDefaults) -> tuple[Notifier, ...]:
    """``health.notify``, or else ``notify.alert``, or else ``notify.failure``."""
    return settings.health.notify or settings.notify.alert or settings.notify.failure


def make_failure_callbacks(settings: AirflowDefaults) -> list[Callback]:
    """For a task that failed itself: a client's fault has been reported already."""
    return [partial(_notify_unless_reported, notice) for notice in make_callbacks(list_health_notifiers(settings))]


def _notify_unless_reported(notice: Callback, context: Any) -> None:
    if not isinstance(context.get("exception"), AccessDeniedError):
        notice(context)


def _notify(
    context: Any, listeners: Sequence[Callback], platform: Callable[[Alert], None] | None, change: Change
) -> None:
    """By Airflow's notifiers; where the folder names none, by ``platform.notify``."""
    from offline_capi.operations.alerts import alert_of_notice

    say = _log.warning if change.change == "began" else _log.info
    say(f"{change.change}: {change.words}", client=change.client, stops=change.stops)
    alert = alert_of_notice(change)
    for listener in listeners:
        listener({**context, "health": change.to_json(), "alert": alert.to_json()})
    if platform is not None and not listeners:
        platform(alert)


def _log_result(found: HealthReport) -> None:
    for status in found.statuses:
        for fault in status.faults:
            _log.warning(fault.words, client=status.client, since=fault.since, stops=fault.stops)
    for client, why in found.unclear.items():
        _log.warning(f"could not be checked: {why}", client=client)
    _log.info("checked", clients=len(found.statuses), changes=len(found.changes), unclear=len(found.unclear))


def _raise_for_unusable(found: HealthReport) -> None:
    """A retry comes first: it may settle what was unclear, and reports nothing twice."""
    if found.unclear:
        raise TemporaryError(f"could not check {_format_names(found.unclear)}. Repeating is safe.")
    stopped = [status.client for status in found.statuses if any(fault.stops for fault in status.faults)]
    if stopped:
        raise AccessDeniedError(
            f"cannot send for {_format_names(stopped)}: the log says why, and what to do. Their events are "
            f"deferred until a check succeeds; other clients are sent as usual."
        )
    if found.ending:
        raise ConfigError("\n".join(found.ending))


def _format_names(clients: Iterable[str]) -> str:
    names = sorted(clients)
    rest = f" and {len(names) - MAX_NAMED_CLIENTS} more" if len(names) > MAX_NAMED_CLIENTS else ""
    return f"{', '.join(names[:MAX_NAMED_CLIENTS])}{rest}"
