"""``schedule`` of an upload: a cron line, or what has to be there before a run begins."""

from __future__ import annotations

import re
from datetime import time, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Discriminator, Field, Tag, model_validator

from offline_capi.config.dbt import DbtName, parse_dbt_name
from offline_capi.config.types import Duration, Name, Node, Schedule, as_filled_list

__all__ = ["AssetPlaces", "AwaitedData", "DataSchedule", "ScheduleSettings"]

#: From when on a run waits for the files or the table of the day before, unless ``at`` says so.
JUST_AFTER_MIDNIGHT = "5 0 * * *"


def _check_uri(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*://\S+", value) or "@" in value.partition("://")[2].partition("/")[0]:
        raise ValueError("is not the URI of an asset, such as postgres://host/db/schema/table, without a user")
    return value


def _check_time_of_day(value: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError('is not a time of day such as "06:00"')
    return value


def _parse_model(value: str) -> DbtName:
    return parse_dbt_name(value) if "(" in value else DbtName("ref", None, value)


def _check_model(value: str) -> str:
    _parse_model(value)
    return value


Uri = Annotated[str, AfterValidator(_check_uri)]


class AssetPlaces(Node):
    """Where tables and models lie, as the URIs of their assets begin."""

    table: Uri | None = Field(None, description="before DATABASE/SCHEMA/TABLE: postgres://dwh.example.com:5432")
    dbt: Uri | None = Field(
        None,
        description="before a dbt model's name, in place of what the manifest says of it: "
        "postgres://dwh.example.com:5432/analytics/marts",
    )

    def locate(self, awaited: AwaitedData) -> tuple[str, str] | None:
        """Name and URI of an asset; ``None`` where the place of such assets is not known, or only by dbt's manifest."""
        if awaited.asset is not None:
            return awaited.name or awaited.asset, awaited.asset
        place = self.table if awaited.table is not None else self.dbt
        rest = awaited.table.replace(".", "/") if awaited.table is not None else awaited.model.name
        uri = f"{place.rstrip('/')}/{rest}" if place else ""
        return (uri, uri) if uri else None


class AwaitedData(Node):
    """One thing that a run comes after: an asset of Airflow, or what the source itself has to hold."""

    asset: Uri | None = Field(None, description="the URI of an asset that another DAG or program updates")
    name: Name | None = Field(None, description="the asset's name, where that is not its URI")
    table: Name | None = Field(None, description="DATABASE.SCHEMA.TABLE, under platform.airflow.assets.table")
    dbt: Annotated[Name, AfterValidator(_check_model)] | None = Field(
        None, description="a model of dbt: fct_approvals, or as source.dbt names it; its table is that of the manifest"
    )
    files: Literal[True] | None = Field(None, description="true: the source has a file for each day of the window")
    snapshot: Literal[True] | None = Field(
        None, description="true: rows were written into the source's table after the window's end"
    )

    @model_validator(mode="after")
    def _require_one(self) -> AwaitedData:
        given = [one for one in (self.asset, self.table, self.dbt, self.files, self.snapshot) if one is not None]
        if len(given) != 1:
            raise ValueError("needs one of asset, table, dbt, files and snapshot")
        if self.name is not None and self.asset is None:
            raise ValueError("name is that of an asset: it goes with asset")
        return self

    @property
    def model(self) -> DbtName:
        """What ``dbt`` names."""
        return _parse_model(self.dbt or "")

    @property
    def is_asset(self) -> bool:
        """Whether Airflow tells when it is there; otherwise the source is looked at."""
        return not (self.files or self.snapshot)


class DataSchedule(Node):
    """When an upload runs: after data is there.

    Assets start a run, which covers the last day that is over then. Files and tables are waited for by the run of their
    day, from ``at`` on, and until a time at which the run fails.
    """

    after: Annotated[
        tuple[AwaitedData, ...],
        BeforeValidator(as_filled_list, json_schema_input_type=AwaitedData | tuple[AwaitedData, ...]),
    ] = Field(description="what has to be there: all of it")
    any: bool = Field(False, description="true: one of the assets is enough")
    or_: Schedule | None = Field(
        None, validation_alias=AliasChoices("or"), description="cron, for assets: the upload runs at this time as well"
    )
    at: Schedule | None = Field(
        None, description="cron, for files and snapshot: from when on a run waits; by default five past midnight"
    )
    until: Annotated[str, AfterValidator(_check_time_of_day)] | None = Field(
        None, description='for files and snapshot: when a run that still waits fails, such as "06:00", in the zone'
    )
    every: Duration = Field(timedelta(minutes=5), description="for files and snapshot: how often is looked")

    @model_validator(mode="after")
    def _check_together(self) -> DataSchedule:
        if self.waits and self.until is None:
            raise ValueError('files and snapshot need until, the time at which a run that still waits fails: "06:00"')
        if not self.waits and (self.until is not None or self.at is not None):
            raise ValueError("at and until are for files and snapshot; an asset starts the run itself")
        if self.assets and self.at is not None:
            raise ValueError("at is for files and snapshot without an asset: with one, the asset starts the run")
        if not self.assets and (self.or_ is not None or self.any):
            raise ValueError("or and any are for assets; files and snapshot are waited for from at on, all of them")
        if "none" in (self.or_, self.at):
            raise ValueError("none is no time: leave or and at out, or give a cron line")
        return self

    @property
    def assets(self) -> tuple[AwaitedData, ...]:
        return tuple(one for one in self.after if one.is_asset)

    @property
    def waits(self) -> bool:
        """Whether a run waits for its source."""
        return len(self.assets) < len(self.after)

    @property
    def cron(self) -> str | None:
        """When a run begins by the clock; ``None``: only an asset starts it."""
        return self.or_ if self.assets else self.at or JUST_AFTER_MIDNIGHT

    @property
    def deadline(self) -> time | None:
        """``until`` as a time of day."""
        return time.fromisoformat(self.until) if self.until else None

    def describe(self, cron: str | None) -> str:
        """``after postgres://dwh/a/b/c, or at 0 6 * * *``."""
        parts = [str(one.asset or one.table or one.dbt) for one in self.assets]
        started = [" or ".join(parts) if self.any else " and ".join(parts)] * bool(parts)
        awaited = dict.fromkeys("its files" if one.files else "its table" for one in self.after if not one.is_asset)
        text = f"after {' and '.join([*started, *awaited])}"
        text += f", or at {cron}" if self.assets and cron else f", from {cron} on" if cron else ""
        return f"{text}, until {self.until}" if self.until else text


ScheduleSettings = Annotated[
    Annotated[Schedule, Tag("cron")] | Annotated[DataSchedule, Tag("DataSchedule")],
    Discriminator(lambda value: "DataSchedule" if isinstance(value, (dict, DataSchedule)) else "cron"),
]
