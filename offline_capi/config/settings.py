"""The grammar of `clients.yml` and `uploads/*.yml` as frozen pydantic models, one model a YAML node.

A short spelling is turned into the long one before validation (a bare string is a column, a list is several columns),
so that every stage sees one shape only. Secrets stand here by reference only: see ``SecretRef``.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

__all__ = [
    "ActionSource",
    "Client",
    "Consent",
    "Contents",
    "CustomData",
    "Delivery",
    "Deployment",
    "Event",
    "ExternalIdPolicy",
    "FieldSpec",
    "FileSource",
    "Limits",
    "MappingSpec",
    "Platform",
    "SecretRef",
    "SqlSource",
    "Upload",
    "WindowSpec",
]

Scalar = str | int | float | bool
ActionSource = Literal[
    "email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "business_messaging", "other"
]  # SDK action_source.py, D:parameters/server-event

_DURATION = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _duration(value: object) -> object:
    """``2d``, ``90m``, ``1w`` → timedelta."""
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else value


def _percent(value: object) -> object:
    """``2%`` → 0.02; numbers between 0 and 1 stay."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip()[:-1]) / 100
    return value


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f'"{value}" is not an IANA time zone such as "America/New_York" or "UTC"')
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Share = Annotated[float, BeforeValidator(_percent), Field(ge=0, le=1)]
Zone = Annotated[str, BeforeValidator(_zone)]


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


# ---------------------------------------------------------------------------------------------- secrets


class SecretRef(_Node):
    """Where a secret is found; never the secret. Exactly one of the three."""

    env: str | None = Field(None, description="name of an environment variable")
    file: Path | None = Field(None, description="path of a file that holds the secret alone")
    connection: str | None = Field(
        None, description="id of an Airflow connection (its password, or extra.access_token)"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretRef:
        if sum(part is not None for part in (self.env, self.file, self.connection)) != 1:
            raise ValueError("give exactly one of env, file, connection")
        return self


# ---------------------------------------------------------------------------------------------- fields


class FieldSpec(_Node):
    """Where the values of one field come from, and how they are read.

    Exactly one origin: ``column``, ``constant``, ``template`` (``"order-{order_id}"``) or ``coalesce`` (the first of
    several that is not empty). Then, in this order: ``map``, ``type`` (with ``format``, ``unit``, ``timezone``,
    ``decimal``), ``default`` where the result is null.
    """

    column: str | None = None
    constant: Scalar | None = None
    template: str | None = None
    coalesce: tuple[FieldSpec, ...] | None = None
    map: dict[str, Scalar] | None = None
    default: Scalar | None = None
    type: Literal["string", "number", "integer", "boolean", "timestamp", "date"] | None = None
    format: tuple[str, ...] = ()
    unit: Literal["s", "ms", "us"] | None = None
    timezone: Zone | None = None
    decimal: Literal[".", ","] = "."
    hashed: bool = False
    country: str | None = Field(None, description="the column that holds the country of this value (phones)")

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: object) -> object:
        return {"column": value} if isinstance(value, str) else value

    @field_validator("format", mode="before")
    @classmethod
    def _one_format(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> FieldSpec:
        origins = (self.column, self.constant, self.template, self.coalesce)
        if sum(origin is not None for origin in origins) != 1:
            raise ValueError("give exactly one of column, constant, template, coalesce")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Source columns that this field reads, in order."""
        own = [self.column] if self.column else re.findall(r"\{([^{}]+)\}", self.template or "")
        parts = [name for part in self.coalesce or () for name in part.columns]
        return tuple(dict.fromkeys([*own, *parts, *([self.country] if self.country else [])]))


def _several(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else (value,)


def _constant(value: object) -> object:
    """For fields whose values are words of ours or of Meta's: a bare scalar is a constant."""
    return {"constant": value} if isinstance(value, (str, int, float, bool)) else value


def _template_or_column(value: object) -> object:
    return {"template": value} if isinstance(value, str) and "{" in value else value


def _currency(value: object) -> object:
    """``USD`` is a constant, anything else bare is a column."""
    return {"constant": value} if isinstance(value, str) and re.fullmatch(r"[A-Z]{3}", value) else value


ColumnSpec = Annotated[FieldSpec, BeforeValidator(_template_or_column)]
ConstantSpec = Annotated[FieldSpec, BeforeValidator(_constant)]
ManySpec = Annotated[tuple[FieldSpec, ...], BeforeValidator(_several)]
CurrencySpec = Annotated[FieldSpec, BeforeValidator(_currency)]


class Contents(_Node):
    """``contents[]``: from a column that holds a JSON array, or one item a row built from columns."""

    json_column: str | None = None
    id: ColumnSpec | None = None
    quantity: FieldSpec | None = None
    item_price: FieldSpec | None = None
    title: FieldSpec | None = None
    brand: FieldSpec | None = None
    category: FieldSpec | None = None
    delivery_category: ConstantSpec | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Contents:
        if (self.json_column is None) == (self.id is None):
            raise ValueError("give either json_column, or id with quantity and item_price")
        return self


# ---------------------------------------------------------------------------------------------- sources


class SqlSource(_Node):
    """Rows from a query.

    It sees ``:since`` and ``:until`` (naive wall time in the window's zone), and ``:since_utc`` and ``:until_utc``
    (aware, for columns with a time zone).
    """

    connection: str = Field(description="an Airflow connection id, or a name whose URL is in the environment")
    sql: str = Field(description="path of a .sql file, under sql/, or the query itself")


class FileSource(_Node):
    """Rows from files: a path, a folder, or a pattern; local or any fsspec URL.

    ``{date}`` (or ``{date:%Y%m%d}``) in the path stands for the days of the window, in its zone.
    """

    path: str
    format: Literal["auto", "csv", "jsonl", "parquet"] = "auto"
    encoding: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        ("utf-8",), description="tried in order, file by file; a byte-order mark is recognised"
    )
    delimiter: str = ","
    null_values: tuple[str, ...] = ("", "NULL", "null", "N/A", "n/a", "NaN")

    @property
    def dated(self) -> bool:
        """Whether the path itself places a file in time; otherwise rows are placed by ``window.column``."""
        return "{date" in self.path


# ---------------------------------------------------------------------------------------------- one upload


class WindowSpec(_Node):
    """Which column places a row in time for the run's window, and the zone of naive values and of days."""

    column: str
    timezone: Zone = "UTC"
    lookback: Duration = timedelta(0)


class Event(_Node):
    """Event-level fields (D:parameters/server-event). ``time`` defaults to the window's column and zone."""

    name: ConstantSpec
    id: ColumnSpec
    time: FieldSpec | None = None
    action_source: ConstantSpec
    source_url: ColumnSpec | None = Field(None, description="event_source_url")
    referrer_url: ColumnSpec | None = None
    opt_out: FieldSpec | None = None


class Consent(_Node):
    """Rows whose ``column`` does not equal (one of) ``equals`` are suppressed: read, counted, never sent."""

    column: str
    equals: tuple[Scalar, ...]

    @field_validator("equals", mode="before")
    @classmethod
    def _one_value(cls, value: object) -> object:
        return _several(value)


class Limits(_Node):
    """What a run may lose before it counts as failed, as shares of the rows read."""

    max_rejected: Share = 0.0
    max_expired: Share = 1.0


class Delivery(_Node):
    """How requests are cut and sent."""

    max_events: int = Field(
        1000, ge=1, le=1000, description="events a request; 1,000 is Meta's limit (D:using-the-api)"
    )
    max_bytes: int = Field(2_000_000, ge=10_000, description="bytes a request; Meta publishes no limit")
    concurrency: int = Field(4, ge=1, le=16, description="requests in flight for one client")
    timeout: Duration = timedelta(seconds=60)
    max_tries: int = Field(6, ge=1, le=20)
    max_wait: Duration = timedelta(minutes=10)


class CustomData(_Node):
    """custom_data (D:parameters/custom-data): standard keys typed, everything else under ``properties``."""

    value: FieldSpec | None = None
    currency: CurrencySpec | None = None
    order_id: ColumnSpec | None = None
    item_number: ColumnSpec | None = None
    content_ids: ManySpec | None = None
    contents: Contents | None = None
    content_type: ConstantSpec | None = None
    content_name: ColumnSpec | None = None
    content_category: ColumnSpec | None = None
    num_items: FieldSpec | None = None
    predicted_ltv: FieldSpec | None = None
    net_revenue: FieldSpec | None = None
    status: FieldSpec | None = None
    search_string: ColumnSpec | None = None
    delivery_category: ConstantSpec | None = None
    properties: dict[str, FieldSpec] = {}


class MappingSpec(_Node):
    """The part of an upload that says which column becomes which field; all that the mapping stage sees."""

    client: ConstantSpec
    window: WindowSpec
    event: Event
    user_data: dict[str, ManySpec]
    custom_data: CustomData = CustomData()
    consent: Consent | None = None
    transform: str | None = Field(None, description='"module:function": a pandas DataFrame in, a DataFrame out')


class Upload(MappingSpec):
    """One file in ``uploads/``: source, mapping, event, delivery."""

    name: str = Field("", description="taken from the file's name")
    description: str = ""
    source: SqlSource | FileSource
    schedule: str | None = Field(None, description="cron, in the window's zone")
    limits: Limits = Limits()
    delivery: Delivery = Delivery()
    max_age: Duration | None = Field(None, description="narrower than Meta's window, never wider")


# ---------------------------------------------------------------------------------------------- clients and platform


class ExternalIdPolicy(_Node):
    """How ``external_id`` looks for this client in every channel: it must equal what the browser pixel sends."""

    send: Literal["raw", "sha256"] = "sha256"
    trim: bool = True
    lower: bool = False


class Client(_Node):
    """An advertiser: one pixel, one token, its own defaults."""

    name: str = Field("", description="taken from the key in clients.yml")
    pixel_id: Annotated[str, Field(alias="dataset_id", pattern=r"^\d{5,20}$")]
    token: SecretRef
    active: bool = True
    country: str | None = Field(None, description="ISO 3166-1 alpha-2; completes national phone numbers")
    timezone: Zone = "UTC"
    external_id: ExternalIdPolicy = ExternalIdPolicy()
    partner_agent: str | None = None
    app_secret: SecretRef | None = None
    physical_store_max_age: Duration = timedelta(days=62)  # D:offline-events, reading 1 of meta-capi.md section 4


class Platform(_Node):
    """What holds for all clients."""

    partner_agent: str | None = None
    graph_url: str = "https://graph.facebook.com"
    graph_version: str = Field("v26.0", pattern=r"^v\d+\.\d+$")
    ledger: SecretRef | str = "sqlite:///offline_capi_ledger.db"
    stage: str = "stage"
    profile: Literal["meta"] = "meta"


class Deployment(_Node):
    """A whole configuration folder, validated."""

    folder: Path
    platform: Platform = Platform()
    clients: dict[str, Client]
    uploads: dict[str, Upload]
