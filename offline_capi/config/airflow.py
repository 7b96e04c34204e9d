"""``airflow`` of an upload and ``platform.airflow``: how Airflow runs uploads."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from offline_capi.config.schedule import AssetPlaces
from offline_capi.config.types import Duration, Hook, Name, Node, Scalar, Schedule, Zone, as_list, expand_text

__all__ = [
    "AirflowDefaults",
    "AirflowSettings",
    "HealthSettings",
    "Notifier",
    "QualitySettings",
    "SettleSettings",
]


class Notifier(Node):
    """A recipient of notifications: a function that gets the run's context, or one of Airflow's notifiers.

    Its module is a notifier of one of Airflow's providers, or named in ``platform.python``.
    """

    call: Hook = Field(description='"module:function", or "module:Class" of a notifier; loaded when it is needed')
    arguments: dict[str, Scalar | tuple[Scalar, ...]] = Field({}, description="its keyword arguments")


AirflowTag = Annotated[str, Field(min_length=1, max_length=100)]  # Airflow's limit
Tags = Annotated[
    tuple[AirflowTag, ...], BeforeValidator(as_list, json_schema_input_type=AirflowTag | tuple[AirflowTag, ...])
]
Notifiers = Annotated[
    tuple[Annotated[Notifier, BeforeValidator(expand_text("call"), json_schema_input_type=Notifier | str)], ...],
    BeforeValidator(as_list, json_schema_input_type=Notifier | str | tuple[Notifier | str, ...]),
]


class Notify(Node):
    """Recipients by kind of notification; without ``deadline``, a missed deadline goes to those of ``failure``."""

    alert: Notifiers = Field(
        (),
        description="notified once when an incident begins and once when it ends, with numbers, reason and remedy; "
        "without any, platform.notify is used",
    )
    failure: Notifiers = ()
    success: Notifiers = ()
    deadline: Notifiers = ()


class Pools(Node):
    """Airflow pools by task; they have to exist, or the tasks wait for ever."""

    prepare: Name | None = Field(None, description="for the tasks that read the source: plan and prepare")
    upload: Name | None = Field(None, description="for the tasks that send, one slot a client")


class AirflowSettings(Node):
    """How Airflow runs an upload. ``platform.airflow`` in ``clients.yml`` holds the defaults for all uploads."""

    owner: Name = "offline_capi"
    tags: Tags = ()
    retries: int = Field(3, ge=0, le=20, description="of each task; faults that do not pass are not repeated")
    retry_delay: Duration = Field(timedelta(minutes=5), description="doubled with each retry, an hour at most")
    pools: Pools = Pools()
    clients_at_once: int | None = Field(None, ge=1, description="clients that one run sends for at the same time")
    deadline: Duration | None = Field(None, description="from the start of a run to its end; see notify.deadline")
    notify: Notify = Notify()

    def merge_over(self, defaults: AirflowSettings) -> AirflowSettings:
        """These settings where they say something, else the defaults; the tags of both."""
        merged: AirflowSettings = _merge_nodes(self, defaults)
        return merged.model_copy(update={"tags": tuple(dict.fromkeys([*defaults.tags, *self.tags]))})


class HealthSettings(Node):
    """The daily check of every client's token and pixel, as `offline-capi clients health` does it."""

    schedule: Schedule = Field(
        "0 12 * * *",
        description="cron; by default at noon, so that tokens can be renewed before nightly runs. none: by hand only",
    )
    timezone: Zone = "UTC"
    notify: Notifiers = Field(
        (),
        description="notified when an incident begins and ends; by default notify.alert, else notify.failure",
    )


class QualitySettings(Node):
    """The daily query for what Meta counted, as `offline-capi clients quality` sends it."""

    schedule: Schedule = Field(
        "0 5 * * *",
        description="cron; by default at five, so that morning reports hold what Meta counted. none: by hand only",
    )
    timezone: Zone = "UTC"


class SettleSettings(Node):
    """A DAG that only delivers what earlier runs could not, between two runs; without a schedule there is none."""

    schedule: Schedule = Field("none", description='cron, such as "30 */6 * * *"; by default there is no such DAG')
    timezone: Zone = "UTC"


class AirflowDefaults(AirflowSettings):
    """``platform.airflow``: defaults for every upload of the folder."""

    schedule: Schedule | None = Field(
        None, description="for uploads without a schedule of their own; `schedule: none` there means by hand only"
    )
    assets: AssetPlaces = Field(AssetPlaces(), description="for schedule.after with table and dbt")
    health: HealthSettings = HealthSettings()
    quality: QualitySettings = QualitySettings()
    settle: SettleSettings = SettleSettings()


def _merge_nodes(own: Any, defaults: Any) -> Any:
    chosen = {name: getattr(own, name) for name in own.model_fields_set}
    nodes = {
        name: _merge_nodes(node, getattr(defaults, name)) for name, node in chosen.items() if isinstance(node, Node)
    }
    return defaults.model_copy(update={**chosen, **nodes})
