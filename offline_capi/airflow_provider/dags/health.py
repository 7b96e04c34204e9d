"""The daily look at every client's token and pixel: a fault is found before the night, and told once.

Whoever is told gets the task's context with ``health`` in it, a fault that began or ended: ``{{ health.client }}``,
``{{ health.change }}``, ``{{ health.words }}``, ``{{ health.contacts }}`` in the arguments of one of Airflow's
notifiers, ``context["health"]`` in a function; and with ``alert``, as for any other fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from airflow.sdk import get_current_context

from offline_capi.airflow_provider.observability.callbacks import notices
from offline_capi.airflow_provider.operators.task_context import opened_clients, refuse_unknown_conf
from offline_capi.errors import AccessDeniedError, ConfigError, TemporaryError

if TYPE_CHECKING:
    from offline_capi.clients import AccessChange as Change
    from offline_capi.clients import HealthReport
    from offline_capi.config.airflow import AirflowDefaults, Notifier
    from offline_capi.operations.alerts import Alert

__all__ = ["check_clients", "told_of_failures", "told_of_health"]

Tell = Callable[[Any], None]

#: Clients that one message names.
_NAMED = 20

_log = structlog.get_logger(__name__)


def check_clients(folder: str) -> dict[str, int]:
    """Look at every active client, tell what changed; fail while one cannot be sent for or could not be looked at.

    It fails as well while a version of the Graph API in use ends within 30 days.

    Nothing is stored at Meta. What began or ended is told before it is remembered: where telling fails, it is told
    again.
    """
    from offline_capi.clients import check_health
    from offline_capi.operations.alerts import make_notifier

    deployment, secrets = opened_clients(folder)
    context = get_current_context()
    refuse_unknown_conf(context)
    listeners = notices(told_of_health(deployment.platform.airflow))
    tell = partial(_tell, context, listeners, make_notifier(deployment.platform, secrets))
    found = check_health(deployment, secrets, on_change=tell)
    _log_standing(found)
    _raise_for_unusable(found)
    changes = [change.change for change in found.changes]
    return {"clients": len(found.statuses), "began": changes.count("began"), "ended": changes.count("ended")}


def told_of_health(settings: AirflowDefaults) -> tuple[Notifier, ...]:
    """Those whom the folder names for it, else those who are told of faults, else those of failures."""
    return settings.health.notify or settings.notify.alert or settings.notify.failure


def told_of_failures(settings: AirflowDefaults) -> list[Tell]:
    """For a task that failed itself; of a client's fault they have been told, once."""
    return [partial(_unless_told, notice) for notice in notices(told_of_health(settings))]


def _unless_told(notice: Tell, context: Any) -> None:
    if not isinstance(context.get("exception"), AccessDeniedError):
        notice(context)


def _tell(context: Any, listeners: Sequence[Tell], platform: Callable[[Alert], None] | None, change: Change) -> None:
    """By Airflow's notifiers; where the folder names none, by ``platform.notify``."""
    from offline_capi.operations.alerts import alert_of_notice

    say = _log.warning if change.change == "began" else _log.info
    say(f"{change.change}: {change.words}", client=change.client, stops=change.stops)
    alert = alert_of_notice(change)
    for listener in listeners:
        listener({**context, "health": change.to_json(), "alert": alert.to_json()})
    if platform is not None and not listeners:
        platform(alert)


def _log_standing(found: HealthReport) -> None:
    for status in found.statuses:
        for fault in status.faults:
            _log.warning(fault.words, client=status.client, since=fault.since, stops=fault.stops)
    for client, why in found.unclear.items():
        _log.warning(f"could not be looked at: {why}", client=client)
    _log.info("looked at", clients=len(found.statuses), changes=len(found.changes), unclear=len(found.unclear))


def _raise_for_unusable(found: HealthReport) -> None:
    """Repeating comes first: it may clear up what was unclear, and tells nobody anything twice."""
    if found.unclear:
        raise TemporaryError(f"could not look at {_named(found.unclear)}. Repeating is safe.")
    stopped = [status.client for status in found.statuses if any(fault.stops for fault in status.faults)]
    if stopped:
        raise AccessDeniedError(
            f"cannot send for {_named(stopped)}: the log says why, and what to do. Their events are deferred until a "
            f"look is good; other clients are sent as usual."
        )
    if found.ending:
        raise ConfigError("\n".join(found.ending))


def _named(clients: Iterable[str]) -> str:
    names = sorted(clients)
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{rest}"
