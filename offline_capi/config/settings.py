"""The grammar of `clients.yml` and `uploads/*.yml` as frozen pydantic models, one model a YAML node.

A short spelling is turned into the long one before validation, so that every stage sees one shape only: a bare text is
a column, a text with ``{…}`` a template, a list several columns; where the words are ours or Meta's (client, event
name, action source) a bare text is a constant. Secrets stand here by reference only: see ``SecretRef``.

What one node can know alone is checked here; what needs other files, the folder or the place of a field in the grammar
is checked in ``checks.py``. A ``ValueError`` raised here is shown to the author of the YAML word for word.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache, cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PrivateAttr,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from offline_capi.config.document import Places
from offline_capi.config.paths import anchored, project_folder
from offline_capi.config.patterns import pattern_problem
from offline_capi.config.queries import sql_folder
from offline_capi.config.run_texts import AGENT_NAMES, TAG_NAMES, template_problem
from offline_capi.meta.catalogue import (
    DATA_PROCESSING_STATES,
    EVENT_KEYS,
    REQUIRED_EVENT_KEYS,
    USER_DATA_KEYS,
    known_key,
)
from offline_capi.meta.versions import FAMILIES, NEWEST, Family
from offline_capi.model.recipients import client_of, recipient_name
from offline_capi.runtime.nearest import did_you_mean
from offline_capi.storage.private_files import FileAccess

__all__ = [
    "GRAPH_URL",
    "LEDGER_MARGIN",
    "LONGEST_WINDOW",
    "ActionSource",
    "AirflowDefaults",
    "AirflowSettings",
    "AlertTargets",
    "AppData",
    "AttributionData",
    "Client",
    "ClientLimits",
    "ClientTable",
    "Condition",
    "ConnectionTest",
    "Consent",
    "Contents",
    "CustomData",
    "DataUse",
    "Delivery",
    "Deployment",
    "Drift",
    "DriftAction",
    "Environment",
    "Event",
    "EventName",
    "ExternalIdPolicy",
    "FieldSpec",
    "FileLookup",
    "FileSource",
    "GateAction",
    "Gates",
    "GraphVersions",
    "HealthSettings",
    "LimitedDataUse",
    "Limits",
    "MappingSpec",
    "Method",
    "Notifier",
    "OriginalEvent",
    "Pixel",
    "Platform",
    "PlatformApp",
    "QualitySettings",
    "QueryLookup",
    "RateGate",
    "Retention",
    "RowsGate",
    "Screening",
    "SecretRef",
    "SettleSettings",
    "SqlSource",
    "StoreData",
    "TextStep",
    "TrailingGate",
    "Upload",
    "UploadTest",
    "WindowSpec",
    "agreed_agent",
    "encrypted_url",
    "is_loopback",
]

Scalar = str | int | float | bool
ActionSource = Literal[
    "email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "business_messaging", "other"
]  # SDK action_source.py, D:parameters/server-event

#: Where Meta answers (D:using-the-api).
GRAPH_URL = "https://graph.facebook.com"
#: The oldest events that Meta takes, of physical stores (D:offline-events; meta-capi.md section 4).
LONGEST_WINDOW = timedelta(days=62)
#: Kept beyond that: a clock may be wrong, a window may be widened, somebody may ask what was sent.
LEDGER_MARGIN = timedelta(days=8)

_DURATION = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_PLACEHOLDER = re.compile(r"\{([^{}]+?)(?::(?:integer|date))?\}")
TEMPLATE_PART = re.compile(r"\{([^{}]+?)(?::(integer|date))?\}")  # column, and how its text is read before it goes in


def _duration(value: object) -> object:
    """``2d``, ``90m``, ``1w`` → timedelta. A bare number is refused: nobody can see its unit."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a duration; write a whole number and a unit: 30s, 90m, 12h, 2d, 1w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _seconds(value: timedelta) -> str:
    return f"{value // timedelta(seconds=1)}s"


def _share(value: object) -> object:
    """``2%`` → 0.02; numbers between 0 and 1 stay."""
    if not isinstance(value, str):
        return value
    match = _SHARE.fullmatch(value.strip())
    if match is None:
        raise ValueError("is not a share; write 2% or 0.02")
    return float(match[1]) / 100


def _by_action(value: object) -> object:
    """``stop`` → {action: stop}."""
    return {"action": value} if isinstance(value, str) else value


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        guess = did_you_mean(value, _zones(), otherwise=' such as "America/New_York" or "UTC"')
        raise ValueError(f'"{value}" is not an IANA time zone{guess}')
    return value


def _partner_agent(value: str) -> str:
    """Fewer than 23 characters, at least two letters (D:guides/end-to-end-implementation).

    With names in braces that is for ``loading`` to say, which knows the clients.
    """
    if problem := template_problem(value, AGENT_NAMES):
        raise ValueError(problem)
    return value if "{" in value else agreed_agent(value)


def agreed_agent(value: str) -> str:
    """The same, as Meta takes it."""
    if len(value) >= 23 or len(re.findall(r"[A-Za-z]", value)) < 2:
        raise ValueError("needs fewer than 23 characters and at least two letters, as agreed with Meta")
    return value


def _country(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", value) or value.upper() == "UK":
        raise ValueError(f'"{value}" is not a two-letter country (ISO 3166-1), such as US or GB (not UK)')
    return value.upper()


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s?#@]+", value):
        raise ValueError("is not an http(s) address without query, such as https://graph.facebook.com")
    return value.rstrip("/")


def encrypted_url(value: str, *, allow_http: bool = False) -> str:
    """An address to which a token may go: ``https``, unless it is on this machine. Raises ``ValueError``."""
    value = _url(value)
    if value.startswith("http:") and not allow_http and not is_loopback(urlsplit(value).hostname or ""):
        raise ValueError(
            "would send the token in clear text: write https, or platform.allow_http: true where the way to that host"
            " is private"
        )
    return value


def is_loopback(host: str) -> bool:
    """Whether a host's name can only be this machine (RFC 6761 section 6.3 for ``localhost``)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _schedule(value: str) -> str:
    cron = r"@(hourly|daily|weekly|monthly|yearly)|[0-9A-Za-z*/,\-#?]+( +[0-9A-Za-z*/,\-#?]+){4}"
    if value != "none" and not re.fullmatch(cron, value):
        raise ValueError('is not a cron line: five fields such as "0 3 * * *", or @daily')
    return value


def _hook(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        raise ValueError('is not "module:function", such as "acme.cleaning:drop_test_orders"')
    return value


def _template(value: str) -> str:
    """Placeholders are ``{column}``, ``{column:integer}`` (``1234567.0`` is ``1234567``) or ``{column:date}``."""
    if not _PLACEHOLDER.search(value) or re.search(r"[{}]", _PLACEHOLDER.sub("", value)):
        raise ValueError('is not a template: name each column in braces, such as "order-{order_id}"')
    odd = [name for name in _PLACEHOLDER.findall(value) if name != name.strip() or re.search(r"[:!]", name)]
    if odd:
        raise ValueError(
            f'"{{{odd[0]}}}" must hold the name of a column, with ":integer" or ":date" after it at most: '
            'no blanks around it, no other ":", no "!"'
        )
    return value


def _digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("is not a SHA-256: 64 hexadecimal digits in lower case, as `offline-capi coverage` prints it")
    return value


def _pattern(value: str) -> str:
    if problem := pattern_problem(value):
        raise ValueError(problem)
    return value


def _one_group(value: str) -> str:
    if problem := pattern_problem(value, one_group=True):
        raise ValueError(problem)
    return value


def _filled(value: object) -> object:
    if value in ([], (), {}):
        raise ValueError("is empty; give at least one")
    return value


Duration = Annotated[
    timedelta,
    PlainSerializer(_seconds, when_used="json"),
    BeforeValidator(_duration, json_schema_input_type=Annotated[str, Field(pattern=r"^\d+\s*[smhdw]$")]),
]
Share = Annotated[
    float,
    BeforeValidator(_share, json_schema_input_type=float | Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*%$")]),
    Field(ge=0, le=1),
]
Multiple = Annotated[
    float,
    BeforeValidator(_share, json_schema_input_type=float | Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*%$")]),
    Field(ge=0),
]
Zone = Annotated[str, AfterValidator(_zone)]
PartnerAgent = Annotated[str, AfterValidator(_partner_agent)]
Country = Annotated[str, AfterValidator(_country)]
Name = Annotated[str, Field(min_length=1)]
# identity.VERSIONS: the bare name is the newest version, and may change with an upgrade of this package.
Profile = Literal["meta", "sdk", "param_builder", "meta@2026-11", "sdk@26.0.3", "param_builder@1.3.2"]
Digest = Annotated[str, AfterValidator(_digest)]


class _Node(BaseModel):
    # Numbers keep their text where a text is wanted (ids, versions): the loader hands over floats that know theirs.
    # Errors never show the input: it may be a secret in the wrong place.
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


# ---------------------------------------------------------------------------------------------- secrets


def _in_project(path: Path, info: ValidationInfo) -> Path:
    """The path as seen from the project folder, where the configuration is read from one."""
    return Path(anchored(str(path), info.context)) if info.context else path


class SecretRef(_Node):
    """Where a secret is found; never the secret. Exactly one of the four."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(
        None, description="name of an environment variable"
    )
    file: Annotated[Path, AfterValidator(_in_project)] | None = Field(
        None, description="path of a file that holds the secret alone; a relative one begins at the project folder"
    )
    connection: str | None = Field(
        None, description="id of an Airflow connection (its password, or extra.access_token)"
    )
    store: Name | None = Field(
        None, description="name in the encrypted local store, where `offline-capi clients authorize` puts tokens"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> SecretRef:
        if sum(part is not None for part in (self.env, self.file, self.connection, self.store)) != 1:
            raise ValueError("give exactly one of env, file, connection, store")
        return self

    def __str__(self) -> str:
        """Where the secret is found, in the words of the YAML."""
        kind, place = next((k, v) for k, v in self if v is not None)
        return f"{{{kind}: {place}}}"


# ---------------------------------------------------------------------------------------------- fields


OnError = Literal["leave_out", "reject"]


class Split(_Node):
    """One part of a text that a separator divides."""

    by: Annotated[str, Field(min_length=1, max_length=20)] = Field(description="the separator, as it stands")
    part: int = Field(ge=-100, le=100, description="1 is the first, -1 the last; no such part: unreadable")

    @field_validator("part")
    @classmethod
    def _counts_from_one(cls, value: int) -> int:
        if value == 0:
            raise ValueError("counts from 1, or from the end with -1")
        return value


class Pad(_Node):
    """A text made longer."""

    width: int = Field(ge=1, le=100, description="characters; a longer text stays as it is")
    with_: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        "0", validation_alias=AliasChoices("with"), description="the character to fill with"
    )
    side: Literal["left", "right"] = "left"


class TextStep(_Node):
    """One change of a text; a step has one key."""

    trim: Annotated[str, Field(min_length=1)] | Literal[True] | None = Field(
        None, description="remove white space at both ends, or the characters named"
    )
    lower: Literal[True] | None = None
    upper: Literal[True] | None = None
    replace: Annotated[dict[Name, str], Field(min_length=1)] | None = Field(
        None, description="text → what stands in its place, everywhere, in this order; no pattern"
    )
    extract: Annotated[str, AfterValidator(_one_group)] | None = Field(
        None, description="RE2: the group of the first match, or the whole match; no match: unreadable"
    )
    split: Split | None = None
    pad: Pad | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_word(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value not in BARE_STEPS:
            guess = did_you_mean(value, cls.model_fields) or f"; one of: {', '.join(cls.model_fields)}"
            raise ValueError(f'"{value}" is no step by itself{guess}')
        return {value: True}

    @model_validator(mode="after")
    def _one_step(self) -> TextStep:
        if sum(part is not None for _, part in self) != 1:
            raise ValueError(f"needs exactly one of {', '.join(type(self).model_fields)}")
        return self


BARE_STEPS = ("trim", "lower", "upper")


def _one_or_several(value: object) -> object:
    return value if isinstance(value, (list, tuple)) or value is None else (value,)


TextSteps = Annotated[
    tuple[TextStep, ...],
    BeforeValidator(_one_or_several, json_schema_input_type=TextStep | tuple[TextStep, ...]),
]


class FieldSpec(_Node):
    """Where the values of one field come from, and how they are read.

    Exactly one origin: ``column``, ``constant``, ``template`` (``"order-{order_id}"``) or ``coalesce`` (the first of
    several that is not empty). Then, in this order: ``text``, ``map``, ``type`` (with ``format``, ``unit``,
    ``timezone``, ``decimal``), ``default`` where the result is null.
    """

    column: Name | None = Field(None, description="a column of the source")
    constant: Scalar | None = Field(None, description="the same value for every row")
    template: Annotated[str, AfterValidator(_template)] | None = Field(
        None, description='text with columns in braces, such as "order-{order_id}"; empty if any of them is'
    )
    coalesce: Annotated[tuple[FieldSpec, ...], BeforeValidator(_filled)] | None = Field(
        None, description="the first of several that is not empty"
    )
    text: TextSteps = Field((), description="changes of the value as text, in order: trim, replace, extract, …")
    map: dict[str, Scalar] | None = Field(
        None, description="value in the source → value to send; keys are compared as text"
    )
    default: Scalar | None = Field(None, description="used where the result is empty")
    type: Literal["string", "number", "integer", "money", "boolean", "timestamp", "date"] | None = Field(
        None,
        description="money: a number with a currency sign or code, brackets or a trailing minus, as people write it",
    )
    format: tuple[str, ...] = Field((), description="strptime formats, tried in order, for timestamps and dates")
    unit: Literal["s", "ms", "us"] | None = Field(None, description="unit of numeric timestamps")
    timezone: Zone | None = Field(None, description="zone of timestamps that carry none")
    decimal: Literal[".", ","] = Field(".", description="the decimal mark; the other one separates thousands")
    hashed: bool | None = Field(
        None,
        description="whether the column holds SHA-256 digests already (user_data only): true drops what is none, false "
        "drops what is one; without it, digests are passed on and counted",
    )
    country: Name | None = Field(None, description="the column that holds the country of this value (ph only)")
    allow_negative: bool = Field(
        False,
        description="custom_data.value, num_items and predicted_ltv only: true sends values below zero, which are "
        "refused otherwise",
    )
    on_error: OnError | None = Field(
        None,
        description="where the value cannot be read. leave_out: the event goes without it, counted (the default of"
        " optional custom_data); reject: the row does not go (the default of all else)",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return {"template": value} if "{" in value else {"column": value}

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
        own = [self.column] if self.column else _PLACEHOLDER.findall(self.template or "")
        parts = [name for part in self.coalesce or () for name in part.columns]
        return tuple(dict.fromkeys([*own, *parts, *([self.country] if self.country else [])]))


class EventName(FieldSpec):
    """The name of an event. A standard event's name in another case becomes the standard event."""

    exact: bool = Field(
        False, description="true: names are meant as they are written, also where they look like a standard event's"
    )


def _several(value: object) -> object:
    """One is a list of one. A key without a value is left for what follows to refuse."""
    return _filled(value) if isinstance(value, (list, tuple)) or value is None else (value,)


def _constant(value: object) -> object:
    """For fields whose values are words of ours or of Meta's: a bare scalar is a constant (with braces, a template)."""
    if isinstance(value, str) and "{" in value:
        return value
    return {"constant": value} if isinstance(value, (str, int, float, bool)) else value


def _currency(value: object) -> object:
    """``USD`` is a constant, anything else bare is a column."""
    return {"constant": value} if isinstance(value, str) and re.fullmatch(r"[A-Z]{3}", value) else value


ColumnSpec = FieldSpec
ConstantSpec = Annotated[FieldSpec, BeforeValidator(_constant, json_schema_input_type=FieldSpec | int | float | bool)]
NameSpec = Annotated[EventName, BeforeValidator(_constant, json_schema_input_type=EventName | int | float | bool)]
ManySpec = Annotated[
    tuple[FieldSpec, ...],
    BeforeValidator(_several, json_schema_input_type=FieldSpec | Annotated[tuple[FieldSpec, ...], Field(min_length=1)]),
]
CurrencySpec = Annotated[FieldSpec, BeforeValidator(_currency, json_schema_input_type=FieldSpec)]
Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(_several, json_schema_input_type=str | Annotated[tuple[str, ...], Field(min_length=1)]),
]


class Contents(_Node):
    """``contents[]``: from a column that holds a JSON array, or one item a row built from columns."""

    json_column: Name | None = Field(None, description="a column that holds the whole JSON array as text")
    id: ColumnSpec | None = None
    quantity: FieldSpec | None = None
    item_price: FieldSpec | None = None
    title: FieldSpec | None = None
    description: FieldSpec | None = None
    brand: FieldSpec | None = None
    category: FieldSpec | None = None
    delivery_category: ConstantSpec | None = None
    on_error: OnError | None = Field(
        None,
        description="leave_out (the default): an item that cannot be read is left out, counted; reject: the row is",
    )

    @property
    def has_words(self) -> bool:
        """Whether an item may hold more than ids, numbers and words of Meta's."""
        return any((self.json_column, self.title, self.description, self.brand, self.category))

    @model_validator(mode="after")
    def _one_way(self) -> Contents:
        built = any(value is not None for name, value in self if name not in ("json_column", "on_error"))
        if self.json_column is not None and built:
            raise ValueError("give either json_column, or id with quantity and item_price, not both")
        if self.json_column is None and (self.id is None or self.quantity is None):
            raise ValueError("needs json_column, or both id and quantity (Meta requires the two for every item)")
        return self


# ---------------------------------------------------------------------------------------------- objects of an event


class OriginalEvent(_Node):
    """``original_event_data`` (D:parameters/original-event): the earlier event to which this one adds."""

    name: NameSpec = Field(description="the earlier event's name")
    time: FieldSpec | None = Field(None, description="the earlier event's time")
    id: ColumnSpec | None = Field(None, description="the earlier event's id, written as it was then")
    order_id: ColumnSpec | None = None

    @model_validator(mode="after")
    def _points_at_one(self) -> OriginalEvent:
        if self.id is None and self.order_id is None:
            raise ValueError("needs id or order_id, or both: Meta finds the earlier event by them")
        return self


class AppData(_Node):
    """``app_data`` (D:parameters/app-data; SDK app_data.py)."""

    advertiser_tracking_enabled: FieldSpec | None = None
    application_tracking_enabled: FieldSpec | None = None
    extinfo: ManySpec | None = Field(
        None, description="16 texts, the first a2 or i2: a column that holds the JSON array, or a list of 16"
    )
    campaign_ids: ColumnSpec | None = None
    install_referrer: ColumnSpec | None = None
    installer_package: ColumnSpec | None = None
    url_schemes: ColumnSpec | None = None
    vendor_id: ColumnSpec | None = None
    windows_attribution_id: ColumnSpec | None = None
    receipt_data: ColumnSpec | None = None
    consider_views: FieldSpec | None = None
    include_dwell_data: FieldSpec | None = None
    include_video_data: FieldSpec | None = None

    @field_validator("extinfo")
    @classmethod
    def _sixteen(cls, value: tuple[FieldSpec, ...] | None) -> tuple[FieldSpec, ...] | None:
        if value is not None and len(value) not in (1, 16):
            raise ValueError("needs one column that holds the JSON array, or a list of exactly 16")
        return value


class AttributionData(_Node):
    """``attribution_data`` (append-attribution reference, beta; SDK attribution_data.py)."""

    ad_id: ColumnSpec | None = None
    adset_id: ColumnSpec | None = None
    campaign_id: ColumnSpec | None = None
    touchpoint_ts: FieldSpec | None = Field(None, description="when the touchpoint was")
    touchpoint_type: ColumnSpec | None = None
    touchpoint_id: ColumnSpec | None = None
    visit_time: FieldSpec | None = None
    attribution_share: FieldSpec | None = None
    attribution_value: FieldSpec | None = None
    attribution_model: ConstantSpec | None = None
    attribution_method: ConstantSpec | None = None
    attribution_setting: ConstantSpec | None = None
    attribution_source: ConstantSpec | None = None
    attr_window: FieldSpec | None = None
    total_credit: FieldSpec | None = None
    scope: ConstantSpec | None = None
    decline_reason: ConstantSpec | None = None
    auditing_token: ColumnSpec | None = None
    linkage_key: ColumnSpec | None = None
    partner_client_id: ColumnSpec | None = None


class StoreData(_Node):
    """``store_data`` (D:offline-events): in which store it was."""

    store_page_id: ColumnSpec | None = None
    brand_page_id: ColumnSpec | None = None
    store_code: ColumnSpec | None = Field(None, description="at most 64 letters and digits")


def _when(value: object) -> object:
    """A bare column, a constant or a field is the flag itself."""
    if isinstance(value, bool):
        value = {"constant": value}
    return value if isinstance(value, dict) and "when" in value else {"when": value}


class LimitedDataUse(_Node):
    """Rows under Limited Data Use (MAPI:overview/data-processing-options), instead of what the client says of all.

    Meta finds out the state itself where there is none, for which it wants ``client_ip_address``.
    """

    when: FieldSpec = Field(description="true: limited; false: not; empty: as the client says")
    state: FieldSpec | None = Field(None, description="a state of the USA: CA, California or Meta's number 1000")


# ---------------------------------------------------------------------------------------------- sources


class SqlSource(_Node):
    """Rows from a query.

    It sees ``:since`` and ``:until`` (naive wall time in the window's zone), and ``:since_utc`` and ``:until_utc``
    (aware, for columns with a time zone).
    """

    connection: Name = Field(description="an Airflow connection id, or a name whose URL is in the environment")
    sql: Name = Field(description="path of a .sql file under sql/, or the query itself; uses :since and :until")

    #: A query selects the rows of the window, names its columns and types them; its rows have no numbers to find again.
    selects_rows_itself: ClassVar[bool] = True
    keeps_row_numbers: ClassVar[bool] = False
    has_declared_names: ClassVar[bool] = True
    has_declared_types: ClassVar[bool] = True

    @property
    def is_file(self) -> bool:
        """Whether ``sql`` names a file; a query has blanks in it."""
        return self.sql.endswith(".sql") and not re.search(r"\s", self.sql)

    def describe(self, quote: Callable[[str], str] = str) -> str:
        """The source for people, each name as ``quote`` writes it."""
        return f"query {quote(self.sql)} on connection {quote(self.connection)}"


#: What writers put where nothing is: SQL clients, pandas, spreadsheets; \N is COPY, Hive, MySQL and Snowflake.
NULL_VALUES = (
    *("", "NULL", "null", "N/A", "n/a", "NaN", "nan", "NaT", "<NA>", "#N/A"),
    *("\\N", "(null)", "[NULL]", "<null>", "<NULL>"),
)


class FileSource(_Node):
    """Rows from files: a path, a folder, or a pattern; local or any fsspec URL.

    ``{date}`` (or ``{date:%Y%m%d}``) in the path stands for the days of the window, in its zone; ``${NAME}`` for an
    environment variable, read when the files are.
    """

    path: Name = Field(
        description="may hold *, {date} or {date:%Y%m%d}, and ${NAME} of an environment variable; a relative one "
        "begins at the project folder: the folder around dags/, else the configuration folder"
    )
    format: Literal["auto", "csv", "jsonl", "parquet", "excel"] = Field(
        "auto", description="auto: by the file's first bytes and its name; jsonl reads JSON arrays too"
    )
    encoding: Texts = Field(("utf-8",), description="tried in order, file by file; a byte-order mark is recognised")
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quoting: Literal["standard", "loose", "none"] = Field(
        "standard",
        description="CSV. standard: RFC 4180, and values that swallowed rows are malformed; loose: a quote inside an "
        "unquoted value is a character, and a quoted value may hold lines that look like rows; none: quotes are "
        "characters everywhere",
    )
    escape: Literal["backslash"] | None = Field(
        None, description='CSV. backslash: \\" is a quote inside a value, as MySQL and Spark write it'
    )
    header_row: int | None = Field(
        None,
        ge=1,
        description="CSV and Excel: the line that holds the names of the columns; lines before it are no rows. "
        "Without it, the first line, or the first of 50 that holds every column that the upload reads",
    )
    footer_rows: int = Field(0, ge=0, le=1000, description="CSV and Excel: how many lines at the end are no rows")
    trailing_delimiter: bool = Field(False, description="CSV: rows end in a delimiter, and the header does not")
    sheet: Name | None = Field(None, description="Excel: the sheet; without it, the first")
    max_line_mib: int = Field(
        16, ge=8, le=256, description="JSON: the longest line, or object; a file with a longer one is refused"
    )
    max_unpacked_gib: int = Field(64, ge=1, description="compressed files: how much of one is read")
    max_ratio: int = Field(
        200,
        ge=10,
        description="compressed files: how many times its size one may have unpacked, beyond the first 64 MiB",
    )
    max_workbook_mib: int = Field(400, ge=64, description="Excel: how much memory one workbook may take")
    null_values: tuple[str, ...] = Field(NULL_VALUES, description="CSV: what is empty, where it is not quoted")
    optional: bool = Field(
        False, description="true: a day without a file is a day without rows; else such a run is not complete"
    )

    #: A row is found again by file and number. Names of columns may be the first line of a text, and thus a row's.
    keeps_row_numbers: ClassVar[bool] = True
    has_declared_names: ClassVar[bool] = False

    @property
    def selects_rows_itself(self) -> bool:
        """Whether the date in the path has selected the rows; otherwise ``window.column`` does, row by row."""
        return "{date" in self.path

    @property
    def has_declared_types(self) -> bool:
        """Whether the format gives a column one type: a text in it is no accident of one batch."""
        return self.format == "parquet" or ".parquet" in self.path

    def describe(self, quote: Callable[[str], str] = str) -> str:
        """The source for people, each name as ``quote`` writes it."""
        return f"files {quote(self.path)}"


# ---------------------------------------------------------------------------------------------- one upload


def _source_kind(value: object) -> str | None:
    """Which of the two a ``source`` is; only a query has a connection."""
    if isinstance(value, (SqlSource, FileSource)):
        return type(value).__name__
    if not isinstance(value, dict):
        return None
    return "SqlSource" if {"connection", "sql"} & set(value) else "FileSource" if "path" in value else None


SourceSettings = Annotated[
    Annotated[SqlSource, Tag("SqlSource")] | Annotated[FileSource, Tag("FileSource")], Discriminator(_source_kind)
]


class WindowSpec(_Node):
    """Which column places a row in time for the run's window, and the zone of naive values and of days.

    Without ``format`` and ``unit``, what ``event.time`` declares for the same column, or for a template with that
    column in it, holds here too. A row of which this cannot be read is invalid.
    """

    column: Name | None = Field(None, description="the column that places a row in time")
    template: Annotated[str, AfterValidator(_template)] | None = Field(
        None, description='instead of a column: several, such as "{Date} {Time}"'
    )
    format: tuple[str, ...] = Field((), description="strptime formats, tried in order")
    unit: Literal["s", "ms", "us"] | None = Field(None, description="unit of numeric timestamps")
    timezone: Zone = Field("UTC", description="zone of naive values, and of the days of the schedule")
    lookback: Duration = Field(
        timedelta(0), description="read again this much before the window: rows that arrive late"
    )

    @field_validator("format", mode="before")
    @classmethod
    def _one_format(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> WindowSpec:
        if (self.column is None) == (self.template is None):
            raise ValueError("give either column, or template")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Source columns that place a row in time."""
        return (self.column,) if self.column else tuple(dict.fromkeys(_PLACEHOLDER.findall(self.template or "")))


class Event(_Node):
    """Event-level fields (D:parameters/server-event). ``time`` defaults to the window's column and zone."""

    name: NameSpec = Field(description="Purchase, Lead, … or a name of your own; or {column: …, map: {…}}")
    id: ColumnSpec = Field(description="event_id, from business keys: a column or a template")
    time: FieldSpec | None = Field(None, description="event_time; without it, the window's column and zone")
    action_source: ConstantSpec = Field(description="where the conversion happened, one of Meta's words")
    source_url: ColumnSpec | None = Field(None, description="event_source_url")
    referrer_url: ColumnSpec | None = None
    opt_out: FieldSpec | None = Field(None, description="true: for attribution only, not for delivery")
    limited_data_use: (
        Annotated[LimitedDataUse, BeforeValidator(_when, json_schema_input_type=LimitedDataUse | FieldSpec | bool)]
        | None
    ) = Field(None, description="a column that says whose data Meta may use in a limited way only")
    customer_segmentation: ConstantSpec | None = Field(None, description="new_customer_to_business, …")
    original_event: OriginalEvent | None = Field(None, description="what AppendValue adds to")
    messaging_channel: ConstantSpec | None = Field(None, description="whatsapp, messenger or instagram")
    app_data: AppData | None = None
    attribution_data: AttributionData | None = None
    advanced_measurement_table: ConstantSpec | None = None
    strict_website: bool = Field(
        False,
        description="true: website events without event_source_url or client_user_agent are invalid, not only warned "
        "of",
    )

    @field_validator("id")
    @classmethod
    def _tells_events_apart(cls, value: FieldSpec) -> FieldSpec:
        if value.constant is not None:
            raise ValueError("is the same for every row; name the business key: a column, or a template of columns")
        return value


class Consent(_Node):
    """Rows whose ``column`` does not equal (one of) ``equals`` are suppressed: read, counted, never sent."""

    column: Name
    equals: Annotated[
        tuple[Scalar, ...],
        BeforeValidator(_several, json_schema_input_type=Scalar | Annotated[tuple[Scalar, ...], Field(min_length=1)]),
    ] = Field(description="one value or several; anything else, also empty, is no consent")


def _as_equals(value: object) -> object:
    """``in`` and ``not_in`` are ``equals`` and ``not_equals``, which take several values as well."""
    if not isinstance(value, dict):
        return value
    for short, long in (("in", "equals"), ("not_in", "not_equals")):
        if short in value and long in value:
            raise ValueError(f"{short} is the same as {long}; keep one of the two")
        if short in value:
            value = {long if key == short else key: part for key, part in value.items()}
    return value


def _bound(value: str | float) -> str | float:
    """A number, or a day or time in ISO 8601."""
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("is neither a number nor a date (2026-11-23) or time (2026-11-23T06:00)") from None
    return value


Bound = Annotated[int | float | str, AfterValidator(_bound)]
Values = Annotated[
    tuple[Scalar, ...],
    BeforeValidator(_several, json_schema_input_type=Scalar | Annotated[tuple[Scalar, ...], Field(min_length=1)]),
]


class Condition(_Node):
    """What a row has to be to be meant: all that is said here holds for it. An empty value equals nothing."""

    column: Name | None = None
    text: TextSteps = Field((), description="changes of the value as text before it is compared, as in a field")
    equals: Values | None = Field(None, description="one value or several (in: the same); compared as in consent")
    not_equals: Values | None = Field(None, description="none of these (not_in: the same); an empty value passes")
    is_: Literal["empty", "filled"] | None = Field(None, validation_alias=AliasChoices("is"))
    above: Bound | None = Field(None, description="a number, or a date or time in ISO 8601")
    at_least: Bound | None = None
    below: Bound | None = None
    at_most: Bound | None = None
    matches: Annotated[str, AfterValidator(_pattern)] | None = Field(
        None, description="RE2, anywhere in the value: ^ and $ for the whole of it"
    )
    first_of: Texts | None = Field(
        None,
        description="instead of a column: keep the first row of each value of these columns, among the rows that the "
        "other conditions keep",
    )
    format: tuple[str, ...] = Field((), description="strptime formats of the column's times, tried in order")
    unit: Literal["s", "ms", "us"] | None = Field(None, description="unit of the column's numeric times")
    timezone: Zone | None = Field(None, description="zone of times that carry none; without it, the window's")
    decimal: Literal[".", ","] = "."

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, value: object) -> object:
        return _as_equals(value)

    @field_validator("format", mode="before")
    @classmethod
    def _one_format(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _says_something(self) -> Condition:
        tests = [name for name in _TESTS if getattr(self, name) is not None]
        if (self.column is None) == (self.first_of is None):
            raise ValueError("needs either column, or first_of")
        if self.column is not None and not tests:
            raise ValueError(f"does not say what the column has to be: {', '.join(_TESTS).replace('is_', 'is')}")
        if self.first_of is not None and self.model_fields_set != {"first_of"}:
            raise ValueError("first_of stands alone; write the other conditions as items of the list")
        kinds = {isinstance(bound, str) for _, bound in self.bounds}
        if len(kinds) > 1:
            raise ValueError("compares with a number and with a time; one column is one of the two")
        return self

    @property
    def bounds(self) -> list[tuple[str, float | str]]:
        """What the value is compared with in size, by how."""
        found = ((name, getattr(self, name)) for name in ("above", "at_least", "below", "at_most"))
        return [(name, bound) for name, bound in found if bound is not None]

    @property
    def columns(self) -> tuple[str, ...]:
        """Source columns that the condition reads."""
        return self.first_of or ((self.column,) if self.column else ())


_TESTS = ("equals", "not_equals", "is_", "above", "at_least", "below", "at_most", "matches")


def _conditions(value: object) -> object:
    """One condition is a list of one; ``{Status: paid}`` is column → what it equals."""
    if not isinstance(value, dict):
        return value
    if {"column", "first_of"} & set(value):
        return (value,)
    return _filled(tuple({"column": column, "equals": wanted} for column, wanted in value.items()))


Conditions = Annotated[
    tuple[Condition, ...],
    BeforeValidator(
        _conditions,
        json_schema_input_type=Annotated[tuple[Condition, ...], Field(min_length=1)]
        | Condition
        | dict[str, Scalar | Annotated[tuple[Scalar, ...], Field(min_length=1)]],
    ),
]

_LOOKUP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,49}")


def _lookup_name(value: str) -> str:
    if not _LOOKUP_NAME.fullmatch(value):
        raise ValueError("needs a name of letters, digits and _ (at most 50): columns are NAME.COLUMN")
    return value


class FileLookup(FileSource):
    """A table in files, joined by its key. Read once a run, before the first row."""

    key: Name = Field(description="the column of the table that tells its rows apart")
    by: Name | None = Field(None, description="the column of the source that holds the key; without it, of that name")


class QueryLookup(SqlSource):
    """A table from a query, joined by its key. It may use :since and :until, and need not."""

    key: Name = Field(description="the column of the table that tells its rows apart")
    by: Name | None = Field(None, description="the column of the source that holds the key; without it, of that name")


def _lookup_kind(value: object) -> str | None:
    kind = _source_kind(value)
    return {"SqlSource": "QueryLookup", "FileSource": "FileLookup"}.get(kind or "", kind)


Lookup = Annotated[
    Annotated[QueryLookup, Tag("QueryLookup")] | Annotated[FileLookup, Tag("FileLookup")], Discriminator(_lookup_kind)
]


class Limits(_Node):
    """What a run may lose before it counts as failed, as shares of the rows read.

    100% says that all of them may be lost that way; without it, a run that delivers nothing of what it read is partial.
    """

    max_invalid: Share = Field(
        0.0,
        validation_alias=AliasChoices("max_invalid", "max_rejected"),
        description="2% or 0.02; rows of unknown and paused clients count with them; max_rejected is accepted as well",
    )
    max_expired: Share = Field(0.5, description="2% or 0.02; 100%: even a run of which all expired is complete")
    max_suppressed: Share = Field(
        0.95, description="2% or 0.02; 100%: even a run of which nobody has consented is complete"
    )


GateAction = Literal["warn", "stop", "off"]


class TrailingGate(_Node):
    """A figure of the run against the median of the days before it."""

    action: GateAction = "warn"
    min: Multiple = Field(0.5, description="50% or 0.5 of the usual")
    max: Multiple = Field(3.0, description="300% or 3 times the usual")


class RateGate(_Node):
    """A share of the rows read."""

    action: GateAction = "warn"
    max: Share = Field(0.1, description="10% or 0.1")


class RowsGate(_Node):
    """No rows at all, where the days before had some; judged at the end, for there is nothing to hold."""

    action: GateAction = "stop"


RowsGateSpec = Annotated[RowsGate, BeforeValidator(_by_action, json_schema_input_type=RowsGate | GateAction)]
TrailingGateSpec = Annotated[
    TrailingGate, BeforeValidator(_by_action, json_schema_input_type=TrailingGate | GateAction)
]
RateGateSpec = Annotated[RateGate, BeforeValidator(_by_action, json_schema_input_type=RateGate | GateAction)]


class Gates(_Node):
    """What a run's rows are measured by before the first POST; one that stops holds the run, or clients of several."""

    days: int = Field(28, ge=3, le=366, description="how many days before the run are looked at")
    rows: RowsGateSpec = Field(
        RowsGate(), description="no row read although the days before had rows; warn or off: such a run is complete"
    )
    volume: TrailingGateSpec = Field(TrailingGate(), description="rows read")
    value: TrailingGateSpec = Field(TrailingGate(), description="sum of custom_data.value, by currency")
    invalid: RateGateSpec = Field(
        RateGate(),
        validation_alias=AliasChoices("invalid", "rejected"),
        description="rows that cannot become an event; rejected is accepted as well",
    )
    expired: RateGateSpec = Field(RateGate(), description="rows too old for Meta")
    suppressed: RateGateSpec = Field(RateGate(max=0.9), description="rows without consent")
    duplicate: RateGateSpec = Field(RateGate(), description="rows that repeat an event id of the run")


DriftAction = Literal["warn", "stop", "accept"]


def _by_default(value: object) -> object:
    """``warn`` → {default: warn}."""
    return {"default": value} if isinstance(value, str) else value


class Drift(_Node):
    """What happens where a column of the source comes in another shape than in the runs before."""

    default: DriftAction | None = Field(
        None,
        description="warn: the report says so once; stop: nothing is sent until the run is forced; accept: the new"
        " shape is known without a warning. Without it, stop for the columns of event.id, and warn for all others",
    )
    columns: dict[Name, DriftAction] = Field({}, description="column → what happens, where it is not the default")

    def action(self, column: str, *, in_event_id: bool) -> DriftAction:
        return self.columns.get(column) or self.default or ("stop" if in_event_id else "warn")


def _tag(value: str) -> str:
    if problem := template_problem(value, TAG_NAMES):
        raise ValueError(problem)
    return value


class Delivery(_Node):
    """How requests are cut and sent."""

    max_events: int = Field(
        1000, ge=1, le=1000, description="events a request; 1,000 is Meta's limit (D:using-the-api)"
    )
    max_bytes: int = Field(2_000_000, ge=10_000, description="bytes a request; Meta publishes no limit")
    concurrency: int = Field(4, ge=1, le=16, description="requests in flight for one client")
    in_flight: int = Field(8, ge=1, le=64, description="requests in flight over all clients")
    timeout: Duration = timedelta(seconds=60)
    max_tries: int = Field(6, ge=1, le=20)
    max_wait: Duration = timedelta(minutes=10)
    upload_tag: Annotated[str, Field(min_length=1), AfterValidator(_tag)] | None = Field(
        None,
        description="goes out with every request; names offline uploads in Meta's tools. {upload}, {client}, {since}, "
        "{until:%Y%m%d}, {run} and {environment} are filled in",
    )


class CustomData(_Node):
    """custom_data (D:parameters/custom-data): standard keys typed, everything else under ``properties``."""

    value: FieldSpec | None = Field(None, description="a number; with type: string it goes out as the text it is")
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
    event_source: ConstantSpec | None = Field(None, description="crm, for stages of leads")
    lead_event_source: ConstantSpec | None = Field(None, description="the CRM's name")
    store_data: StoreData | None = None
    properties: dict[str, FieldSpec] = {}


def _found(value: object) -> object:
    return {"found": value} if isinstance(value, str) else value


class Screening(_Node):
    """What happens where a text that goes out holds an e-mail address, a phone, card or social security number.

    ``strip`` leaves that field out (of an address, all after the domain), ``reject`` the whole row; both are counted.
    """

    found: Literal["strip", "reject"] = "strip"
    ids: tuple[str, ...] = Field(
        (),
        description="custom properties that hold ids, such as an invoice number: e-mail addresses only are looked for",
    )


class MappingSpec(_Node):
    """The part of an upload that says which column becomes which field; all that the mapping stage sees."""

    client: ConstantSpec
    window: WindowSpec
    event: Event
    user_data: Annotated[dict[Annotated[str, AfterValidator(known_key)], ManySpec], BeforeValidator(_filled)]
    custom_data: CustomData = CustomData()
    consent: Consent | None = None
    filter: Conditions = Field(
        (), description="rows of which not all of these hold are not meant: they are left out and counted"
    )
    lookups: dict[Annotated[str, AfterValidator(_lookup_name)], Lookup] = Field(
        {}, description="name → a table joined by key; its columns are name.column"
    )
    screening: Annotated[
        Screening, BeforeValidator(_found, json_schema_input_type=Screening | Literal["strip", "reject"])
    ] = Screening()
    transform: Annotated[str, AfterValidator(_hook)] | None = Field(
        None,
        description='"module:function": a pandas DataFrame in, a DataFrame out; platform.python names the module',
    )

    @model_validator(mode="after")
    def _ids_are_properties(self) -> MappingSpec:
        for name in self.screening.ids:
            if name not in self.custom_data.properties:
                guess = did_you_mean(name, self.custom_data.properties)
                raise ValueError(f'screening.ids: "{name}" is no custom property{guess}')
        return self


# ---------------------------------------------------------------------------------------------- Airflow


def _call(value: object) -> object:
    return {"call": value} if isinstance(value, str) else value


def _listed(value: object) -> object:
    """One is a list of one; none is a list, too."""
    return value if isinstance(value, (list, tuple)) or value is None else (value,)


class Notifier(_Node):
    """Who is told: a function that gets the run's context, or one of Airflow's notifiers.

    Its module is a notifier of one of Airflow's providers, or named in ``platform.python``.
    """

    call: Annotated[str, AfterValidator(_hook)] = Field(
        description='"module:function", or "module:Class" of a notifier; loaded when it is needed'
    )
    arguments: dict[str, Scalar | tuple[Scalar, ...]] = Field({}, description="its keyword arguments")


Module = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
AirflowTag = Annotated[str, Field(min_length=1, max_length=100)]  # Airflow's limit
Tags = Annotated[
    tuple[AirflowTag, ...], BeforeValidator(_listed, json_schema_input_type=AirflowTag | tuple[AirflowTag, ...])
]
Notifiers = Annotated[
    tuple[Annotated[Notifier, BeforeValidator(_call, json_schema_input_type=Notifier | str)], ...],
    BeforeValidator(_listed, json_schema_input_type=Notifier | str | tuple[Notifier | str, ...]),
]


class Notify(_Node):
    """Who is told of what; a missed deadline goes to those of ``failure`` where ``deadline`` names nobody."""

    alert: Notifiers = Field(
        (),
        description="told once when a fault begins and once when it is over, with its numbers, reason and what to do; "
        "without any, platform.notify is used",
    )
    failure: Notifiers = ()
    success: Notifiers = ()
    deadline: Notifiers = ()


class Pools(_Node):
    """Airflow pools by task; they have to exist, or the tasks wait for ever."""

    prepare: Name | None = Field(None, description="for the tasks that read the source: plan and prepare")
    upload: Name | None = Field(None, description="for the tasks that send, one slot a client")


class AirflowSettings(_Node):
    """How Airflow runs an upload. What an upload does not say, ``platform.airflow`` in ``clients.yml`` says for all."""

    owner: Name = "offline_capi"
    tags: Tags = ()
    retries: int = Field(3, ge=0, le=20, description="of each task; faults that do not pass are not repeated")
    retry_delay: Duration = Field(timedelta(minutes=5), description="doubled with each retry, an hour at most")
    pools: Pools = Pools()
    clients_at_once: int | None = Field(None, ge=1, description="clients that one run sends for at the same time")
    deadline: Duration | None = Field(None, description="from the start of a run to its end; see notify.deadline")
    notify: Notify = Notify()

    def over(self, defaults: AirflowSettings) -> AirflowSettings:
        """These settings where they say something, else the defaults; the tags of both."""
        merged: AirflowSettings = _over(self, defaults)
        return merged.model_copy(update={"tags": tuple(dict.fromkeys([*defaults.tags, *self.tags]))})


class HealthSettings(_Node):
    """The daily look at every client's token and pixel, as `offline-capi clients health` does it."""

    schedule: Annotated[str, AfterValidator(_schedule)] = Field(
        "0 12 * * *",
        description="cron; by default at noon, for whoever has to renew a token before the night. none: by hand only",
    )
    timezone: Zone = "UTC"
    notify: Notifiers = Field(
        (),
        description="told when a fault begins and ends; without any those of notify.alert, else of notify.failure",
    )


class QualitySettings(_Node):
    """The daily question to Meta what it got, as `offline-capi clients quality` puts it."""

    schedule: Annotated[str, AfterValidator(_schedule)] = Field(
        "0 5 * * *",
        description="cron; by default at five, so that morning reports hold what Meta counted. none: by hand only",
    )
    timezone: Zone = "UTC"


class SettleSettings(_Node):
    """A DAG that only settles what earlier runs owe, between two nights; without a schedule there is none."""

    schedule: Annotated[str, AfterValidator(_schedule)] = Field(
        "none", description='cron, such as "30 */6 * * *"; by default there is no such DAG'
    )
    timezone: Zone = "UTC"


class AirflowDefaults(AirflowSettings):
    """``platform.airflow``: what holds for every upload of the folder that does not say otherwise."""

    schedule: Annotated[str, AfterValidator(_schedule)] | None = Field(
        None, description="for uploads without a schedule of their own; `schedule: none` there means by hand only"
    )
    health: HealthSettings = HealthSettings()
    quality: QualitySettings = QualitySettings()
    settle: SettleSettings = SettleSettings()


def _over(own: Any, defaults: Any) -> Any:
    chosen = {name: getattr(own, name) for name in own.model_fields_set}
    nodes = {name: _over(node, getattr(defaults, name)) for name, node in chosen.items() if isinstance(node, _Node)}
    return defaults.model_copy(update={**chosen, **nodes})


#: What a row of a test can become beside an event; ``filtered``: left out by ``filter``.
TEST_FATES = ("filtered", "suppressed", "invalid", "expired", "deferred")
_OF_EVENT = (*EVENT_KEYS, "user_data", "custom_data")


def _expectation(value: object) -> object:
    """``filtered`` is {fate: filtered}; all else is a fate with its reason, or a part of an event."""
    wanted = {"fate": value} if isinstance(value, str) else value
    if not isinstance(wanted, dict) or not wanted:
        raise ValueError(f"needs what the row becomes: {', '.join(TEST_FATES)}, or a part of the event in Meta's keys")
    keys = ("fate", "reason", "field") if "fate" in wanted else _OF_EVENT
    for key in wanted:
        if key not in keys:
            guess = did_you_mean(str(key), keys) or f"; one of: {', '.join(keys)}"
            raise ValueError(f'"{key}" is not a key here{guess}')
    if "fate" in wanted and wanted["fate"] not in TEST_FATES:
        guess = did_you_mean(str(wanted["fate"]), TEST_FATES) or f"; one of: {', '.join(TEST_FATES)}"
        raise ValueError(f'"{wanted["fate"]}" is nothing that becomes of a row{guess}')
    for key in ("user_data", "custom_data"):
        if key in wanted and not isinstance(wanted[key], dict):
            raise ValueError(f"{key} needs a mapping, one key: value a line")
    for key in wanted.get("user_data", ()):
        known_key(key)
    return wanted


class UploadTest(_Node):
    """A row that the author made up, and what it has to become: `offline-capi test` runs it."""

    name: Name | None = Field(None, description="what is shown; without it, the number of the test")
    run_at: str | None = Field(
        None,
        description="when the run is, for rows that expire: a date or time in the window's zone; without it, when "
        "the event happened",
    )
    row: dict[Name, Scalar | None] = Field(
        min_length=1, description="column → value; columns that are not named are empty. NAME.COLUMN is of a lookup"
    )
    expect: Annotated[
        dict[str, Any],
        BeforeValidator(_expectation, json_schema_input_type=Literal[TEST_FATES] | dict[str, Any]),
    ] = Field(
        description="a part of the event in Meta's keys (present, absent or {sha256: text} for a value), or "
        "filtered, suppressed, expired, invalid, or {fate: invalid, reason: …}"
    )

    @field_validator("run_at")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        return value if value is None else str(_bound(value))


class Upload(MappingSpec):
    """One file in ``uploads/``: source, mapping, event, delivery."""

    name: str = Field("", description="taken from the file's name")
    description: str = ""
    source: SourceSettings
    schedule: Annotated[str, AfterValidator(_schedule)] | None = Field(
        None, description="cron, in the window's zone; none: by hand only; without it, that of platform.airflow"
    )
    airflow: AirflowSettings = AirflowSettings()
    limits: Limits = Limits()
    gates: Gates = Gates()
    drift: Annotated[Drift, BeforeValidator(_by_default, json_schema_input_type=Drift | DriftAction)] = Drift()
    delivery: Delivery = Delivery()
    profile: Profile | None = Field(None, description="instead of the client's and the platform's")
    junk: dict[Annotated[str, AfterValidator(known_key)], Annotated[tuple[Digest, ...], BeforeValidator(_several)]] = (
        Field({}, description="SHA-256 of normal forms that are nobody's, by key, as `coverage` finds them: never sent")
    )
    drop_frequent: bool = Field(
        False,
        description="never send values of em, ph and external_id that too many people share (platform.frequent_value); "
        "each run reads its window once more to find them",
    )
    max_age: Duration | None = Field(None, description="narrower than Meta's window, never wider")
    tests: tuple[UploadTest, ...] = Field((), description="rows and what they have to become: `offline-capi test`")


# ---------------------------------------------------------------------------------------------- clients and platform


class ExternalIdPolicy(_Node):
    """How ``external_id`` looks for this client in every channel: it must equal what the browser pixel sends."""

    send: Literal["raw", "sha256"] = "sha256"
    trim: bool = True
    lower: bool = False


def _state_number(value: object) -> object:
    """``CA``, ``California`` or Meta's own number."""
    words = {word.lower(): number for number, names in DATA_PROCESSING_STATES.items() for word in names}
    number = words.get(value.lower(), value) if isinstance(value, str) else value
    if number == 0 or number in DATA_PROCESSING_STATES:
        return number
    known = ", ".join(code for code, _ in DATA_PROCESSING_STATES.values())
    raise ValueError(f"is not a state that Meta knows for limited data use; one of: {known}, or 0 for none")


class DataUse(_Node):
    """Limited Data Use for all rows of a client whose upload says nothing of the row.

    ``country`` and ``state`` 0: Meta finds them out by ``client_ip_address``; a state implies the country USA (1).
    """

    country: Literal[0, 1] = 0
    state: Annotated[int, BeforeValidator(_state_number, json_schema_input_type=int | str)] = 0

    @model_validator(mode="before")
    @classmethod
    def _country_of_a_state(cls, value: object) -> object:
        return {"country": 1, **value} if isinstance(value, dict) and value.get("state") else value

    @model_validator(mode="after")
    def _state_of_a_country(self) -> DataUse:
        if self.state and not self.country:
            raise ValueError("a state needs country: 1, the USA")
        return self


def _yes_or_no(value: object) -> object:
    """``true``: Meta finds out where; ``false``: no limit."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


_OUTGOING = {*EVENT_KEYS, "user_data", "custom_data"} - {*REQUIRED_EVENT_KEYS}


def _outgoing(name: str) -> str:
    """The name of something that an event may hold, as Meta writes it."""
    whole, _, part = name.partition(".")
    if name in _OUTGOING or (whole == "user_data" and part in USER_DATA_KEYS) or (whole == "custom_data" and part):
        return name
    known = ", ".join(sorted(_OUTGOING))
    raise ValueError(f'"{name}" is no field of an event; one of: {known}, user_data.KEY, custom_data.KEY')


# D:set-up-conversions-api-as-a-platform; login: D:guides/end-to-end-implementation
Method = Literal["owned", "fbe", "token", "shared", "login"]
MetaId = Annotated[str, Field(pattern=r"^[0-9]{5,20}$")]


class ConnectionTest(_Node):
    """How `clients test` marks its event; no run ever sees this."""

    code: str = Field(
        pattern=r"^[A-Za-z0-9_]{1,40}$", description="from Events Manager, Test Events; used by `clients test` alone"
    )


class Pixel(_Node):
    """One of several pixels of a client; without a token of its own it is reached with the client's."""

    id: str = Field(pattern=r"^[1-9][0-9]{4,19}$", description="Meta's number of it")
    token: SecretRef | None = Field(None, description="instead of the client's")
    app_secret: SecretRef | None = Field(None, description="for appsecret_proof, beside a token of its own")
    test: ConnectionTest | None = Field(None, description="a test code belongs to one pixel")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return value if isinstance(value, (dict, Pixel)) or value is None else {"id": value}


class ClientLimits(_Node):
    """How much may go out for a client, so that one of many does not fill the night."""

    events_per_run: int | None = Field(
        None,
        ge=1,
        description="events a run for each of its pixels; those above are deferred, and go with the next run",
    )
    requests_per_second: float | None = Field(
        None, ge=0.01, le=1000, description="requests for all its pixels, of all processes that share the ledger"
    )


class Client(_Node):
    """An advertiser: a pixel or several, a token, its own defaults."""

    name: str = Field("", description="taken from the key in clients.yml")
    pixel_ids: Annotated[
        tuple[Pixel, ...],
        BeforeValidator(_several, json_schema_input_type=Pixel | Annotated[tuple[Pixel, ...], Field(min_length=1)]),
    ] = Field(
        validation_alias=AliasChoices("pixel_id", "dataset_id"),
        description="Meta's pixel or dataset, the same number, or a list where each event goes to several; "
        "dataset_id is accepted as well",
    )
    token: SecretRef
    active: bool = Field(True, description="false: rows of this client are deferred, not sent")
    country: Country | None = Field(None, description="ISO 3166-1 alpha-2; completes national phone numbers")
    timezone: Zone = "UTC"
    external_id: ExternalIdPolicy = ExternalIdPolicy()
    profile: Profile | None = Field(None, description="instead of the platform's")
    partner_agent: PartnerAgent | None = Field(None, description="instead of the platform's")
    app_secret: SecretRef | None = Field(None, description="for appsecret_proof")
    # D:offline-events, reading 1 of meta-capi.md section 4
    physical_store_max_age: Duration = Field(LONGEST_WINDOW, description="7d for datasets that refuse older ones")
    limited_data_use: Annotated[
        DataUse | None, BeforeValidator(_yes_or_no, json_schema_input_type=DataUse | bool | None)
    ] = Field(None, description="true, or {state: CA}; where the upload says nothing of a row")
    allowed_fields: tuple[Annotated[str, AfterValidator(_outgoing)], ...] | None = Field(
        None,
        description="what may leave beside name, time, id and action_source: user_data, custom_data.value, …; "
        "all else is left out and counted",
    )
    core_mode: bool = Field(
        False, description="Meta's Core Setup: standard keys only, no predicted_ltv, of addresses the bare domain"
    )
    authorized_by: Method | None = Field(None, description="how we may send for this client: see `clients authorize`")
    external_business_id: Name | None = Field(
        None, description="the id that our own screens gave Facebook Business Extension for this client"
    )
    shares_pixel_with: Annotated[tuple[Name, ...], BeforeValidator(_several)] = Field(
        (), description="clients whose pixel this may be as well; without it, one pixel has one client"
    )
    contacts: Texts = Field((), description="who is told when the token fails; never sent to Meta")
    test: ConnectionTest | None = Field(None, description="how `clients test` marks its event")
    limits: ClientLimits = ClientLimits()

    @field_validator("pixel_ids")
    @classmethod
    def _told_apart(cls, value: tuple[Pixel, ...]) -> tuple[Pixel, ...]:
        if len(value) > 1 and len({pixel.id for pixel in value}) < len(value):
            raise ValueError("names one pixel twice")
        if value[0].token or value[0].app_secret or value[0].test:
            raise ValueError("the first pixel has the token, app_secret and test of its client: write them there")
        return value

    @property
    def pixel_id(self) -> str:
        """The first pixel, the only one of most clients."""
        return self.pixel_ids[0].id

    @property
    def pixels(self) -> tuple[str, ...]:
        """What the client's own token has to reach."""
        return tuple(pixel.id for pixel in self.pixel_ids if pixel.token is None)

    def recipients(self) -> Iterator[Client]:
        """The client for its first pixel, and for each further one a sibling that differs in pixel and access alone."""
        yield self
        for pixel in self.pixel_ids[1:]:
            names = {"name": recipient_name(self.name, pixel.id), "pixel_ids": (Pixel(id=pixel.id),)}
            access = {"token": pixel.token, "app_secret": pixel.app_secret} if pixel.token else {}
            yield self.model_copy(update={**names, **access, "test": pixel.test})


class ClientTable(_Node):
    """``clients`` of clients.yml where they are rows of a table instead; see `clients pull`."""

    connection: Name = Field(description="an Airflow connection id, or a name whose URL is in the environment")
    sql: Name = Field(
        description="path of a .sql file under sql/, or the query itself; a column is a field of a client"
    )
    secret_prefix: str | None = Field(
        None,
        min_length=1,
        description="what the name of every secret in a row begins with (env, connection, store), such as "
        "CAPI_{client}_; {client} is the client of the row in capital letters, other characters than letters and "
        "digits as underscores. Set it where others write rows: without it a row may name any variable of the machine, "
        "and without {client} the secrets of other clients",
    )
    secret_files: bool = Field(
        False, description="whether a row may name a file as its secret; any file of the machine could be named"
    )

    @field_validator("secret_prefix")
    @classmethod
    def _known_braces(cls, prefix: str | None) -> str | None:
        if prefix is not None and re.search("[{}]", prefix.replace("{client}", "")):
            raise ValueError("may have {client} in it, and no other braces")
        return prefix


class PlatformApp(_Node):
    """The platform's own Meta app and system user: what `clients authorize` and token checks act with."""

    id: MetaId = Field(description="the app's id")
    secret: SecretRef = Field(description="the app's secret")
    business_id: MetaId | None = Field(None, description="the platform's own business")
    system_user_id: MetaId | None = Field(None, description="its system user that sends")
    token: SecretRef | None = Field(None, description="that system user's token, with business_management")
    login_config_id: MetaId | None = Field(None, description="the configuration of Facebook Login for Business")
    redirect_uri: Annotated[str, AfterValidator(encrypted_url)] | None = Field(
        None, description="where the login returns to"
    )


def _outlives_window(value: timedelta) -> timedelta:
    shortest = LONGEST_WINDOW + LEDGER_MARGIN
    if value < shortest:
        raise ValueError(
            f"is too short: Meta takes events for up to {LONGEST_WINDOW.days} days, and what is forgotten by then "
            f"would be sent and counted again, or a day that is still open be lost; {shortest.days}d or more"
        )
    return value


def _within_window(value: timedelta) -> timedelta:
    if value > LONGEST_WINDOW:
        raise ValueError(
            f"is too long: after {LONGEST_WINDOW.days} days Meta takes none of these events, and until they go they "
            f"are hashed identity on a disk; {LONGEST_WINDOW.days}d or less"
        )
    return value


def _a_day_at_least(value: timedelta) -> timedelta:
    if value < timedelta(days=1):
        raise ValueError("is too short: a run may take a day, and what it is working on must not go; 1d or more")
    return value


Period = Annotated[Duration, AfterValidator(_a_day_at_least)]


class Retention(_Node):
    """For how long each kind of record is kept; then it is deleted, each night, by whatever runs first that day."""

    staged_events: Annotated[Period, AfterValidator(_within_window)] = Field(
        timedelta(days=7), description="hashed events of runs that lost something; those of a complete run go at once"
    )
    rejects: Period = Field(
        timedelta(days=70), description="business keys and reasons of rows that were not sent, for `replay`"
    )
    reports: Annotated[Period, AfterValidator(_outlives_window)] = Field(
        timedelta(days=400), description="runs, and what each of them and its tasks counted"
    )
    ledger: Annotated[Period, AfterValidator(_outlives_window)] = Field(
        LONGEST_WINDOW + LEDGER_MARGIN,
        description="keys of the events that were sent; longer by itself where a client's physical_store_max_age is",
    )
    read_back: Period = Field(timedelta(days=93), description="what Meta counted, from `clients quality`")
    audit_log: Period = Field(timedelta(days=1095), description="who did what: `offline-capi log`")


def _ledger_kind(value: object) -> str:
    return "str" if isinstance(value, str) else "SecretRef"


def _database(value: str) -> str:
    if "://" not in value:
        raise ValueError(
            "is not a database URL such as sqlite:///ledger.db; with a password: {env: …} or {connection: …}"
        )
    return value


Ledger = Annotated[
    Annotated[SecretRef, Tag("SecretRef")] | Annotated[str, AfterValidator(_database), Tag("str")],
    Discriminator(_ledger_kind),
]


GraphVersion = Annotated[str, Field(pattern=r"^v\d+\.\d+$")]


class GraphVersions(_Node):
    """A version of the Graph API for one family of endpoints, where it is another than ``graph_version``."""

    events: GraphVersion | None = Field(None, description="where events and test events go")
    management: GraphVersion | None = Field(None, description="tokens, businesses and pixels: `clients authorize`")
    read_back: GraphVersion | None = Field(None, description="Meta's own counts and scores: `clients quality`")


class AlertTargets(_Node):
    """Who is told of faults by the command line, and by Airflow where it names nobody itself."""

    command: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        None,
        min_length=1,
        description="a program and its arguments, started without a shell; it gets each alert as JSON on its standard "
        "input",
    )
    webhook: SecretRef | None = Field(
        None,
        description="where the URL is found to which each alert is POSTed as JSON; as text it holds the whole message, "
        "which incoming webhooks of Slack and others show",
    )


class Platform(_Node):
    """What holds for all clients."""

    partner_agent: PartnerAgent | None = Field(
        None, description="who sends, as agreed with Meta; {client} and {environment} are filled in"
    )
    allow_http: bool = Field(
        False,
        description="true: graph_url and platform.notify.webhook may be http on another machine, and so may be read on "
        "the way",
    )
    graph_url: str = Field(GRAPH_URL, description="where Meta's API is, or what stands in for it: https, or loopback")
    graph_url_variable: bool = Field(
        False,
        description="true: the Airflow variable OFFLINE_CAPI_GRAPH_URL may say it; whoever edits variables then "
        "decides where every token goes",
    )
    graph_version: GraphVersion = NEWEST
    graph_versions: GraphVersions = GraphVersions()
    app: PlatformApp | None = Field(None, description="the platform's Meta app, for authorising clients")
    ledger: Ledger = Field(
        "sqlite:///offline_capi_ledger.db",
        description="database URL without a password, or a reference to one; a relative SQLite file begins at the "
        "project folder",
    )
    stage: Name = Field(
        "stage", description="folder, seen from the project folder, or fsspec URL of staged, hashed files"
    )
    requests_per_second: float | None = Field(
        None, ge=0.01, le=1000, description="requests over all clients, of all processes that share the ledger"
    )
    age_margin: Duration = Field(
        timedelta(hours=1), description="taken off Meta's age limits: an event must still be fresh when it arrives"
    )
    clock_skew: Duration = Field(
        timedelta(seconds=60), description="how far ahead of our clock an event may be; Meta documents no tolerance"
    )
    profile: Profile = Field(
        "meta", description="how identity is normalised; an upload's choice counts before a client's, this comes last"
    )
    frequent_value: Share = Field(
        0.005, description="share of rows above which `coverage` and `drop_frequent` take a value for nobody's"
    )
    notify: AlertTargets = Field(
        AlertTargets(), description="who is told once when a fault begins and once when it is over"
    )
    airflow: AirflowDefaults = Field(AirflowDefaults(), description="how Airflow runs uploads that do not say it")
    python: Annotated[
        tuple[Module, ...], BeforeValidator(_listed, json_schema_input_type=Module | tuple[Module, ...])
    ] = Field(
        (),
        description="packages and modules that `transform` and `notify` may import, with all that they contain; "
        "notifiers of Airflow's providers may be named without it",
    )
    file_group: bool | Name = Field(
        False,
        description="who reads the stage, a ledger of SQLite and reports beside the user that runs this: nobody; true: "
        "the group that new files have; or the group of this name",
    )
    retention: Retention = Field(Retention(), description="for how long staged files, reports and the ledger are kept")

    @field_validator("graph_url")
    @classmethod
    def _is_encrypted(cls, value: str, info: ValidationInfo) -> str:
        return encrypted_url(value, allow_http=bool(info.data.get("allow_http")))

    @property
    def file_access(self) -> FileAccess:
        """Who reads what lies on this machine's disks."""
        return FileAccess(self.file_group)

    @property
    def versions(self) -> dict[Family, str]:
        """The version of the Graph API that each family of endpoints is called in."""
        return {family: getattr(self.graph_versions, family) or self.graph_version for family in FAMILIES}


def _pixels_key(value: object) -> object:
    """``dataset_id`` is ``pixel_id`` here as well."""
    if isinstance(value, dict) and "dataset_id" in value:
        if "pixel_id" in value:
            raise ValueError("dataset_id is the same as pixel_id; keep one of the two")
        return {"pixel_id" if key == "dataset_id" else key: part for key, part in value.items()}
    return value


class EnvironmentClient(_Node):
    """What is different for a client in an environment; everything else is as under ``clients``."""

    pixel_id: Annotated[
        tuple[Pixel, ...],
        BeforeValidator(_several, json_schema_input_type=Pixel | Annotated[tuple[Pixel, ...], Field(min_length=1)]),
    ] = Field(description="another pixel than any under `clients`; dataset_id is accepted as well")
    token: SecretRef | None = Field(None, description="without it, the client's own")
    app_secret: SecretRef | None = None
    test: ConnectionTest | None = Field(None, description="how `clients test` marks its event")

    @model_validator(mode="before")
    @classmethod
    def _either_key(cls, value: object) -> object:
        return _pixels_key(value)


class Environment(_Node):
    """A second life of the folder: the same uploads to other pixels, with books of their own."""

    clients: dict[Name, EnvironmentClient] = Field(
        min_length=1, description="the clients that send there; rows of the others are deferred"
    )
    graph_url: Annotated[str, AfterValidator(_url)] | None = None
    ledger: Ledger | None = Field(
        None, description="never that of the platform; without it, a SQLite file beside that one"
    )
    stage: Name | None = Field(None, description="without it, a folder beside the platform's")
    connections: dict[Name, Name] = Field({}, description="connection that uploads name → the one that is used instead")


class Deployment(_Node):
    """A whole configuration folder, validated."""

    folder: Path
    platform: Platform = Platform()
    clients: dict[str, Client]
    uploads: dict[str, Upload]
    clients_from: ClientTable | None = Field(None, description="the table, where the clients are rows of one")
    environment: str = Field("", description="the name of the environment, where one was chosen")
    connections: dict[str, str] = Field({}, description="connections that stand in for those that uploads name")
    _places: dict[str, Places] = PrivateAttr(default_factory=dict)
    _environ: Mapping[str, str] = PrivateAttr(default_factory=lambda: os.environ)

    @property
    def environ(self) -> Mapping[str, str]:
        """Where a ``${NAME}`` in the path of a source is looked up: in what the folder was loaded with."""
        return self._environ

    @cached_property
    def recipients(self) -> dict[str, Client]:
        """Who gets requests: the clients, and a sibling for each further pixel, by the name that the books give it."""
        return {one.name: one for client in self.clients.values() for one in client.recipients()}

    def connection(self, name: str) -> str:
        """The connection that is used where an upload names this one."""
        return self.connections.get(name, name)

    def has_own_token(self, recipient: str) -> bool:
        """Whether a token is a recipient's own, and not that with which a further pixel's client sends."""
        client = self.clients[client_of(recipient)]
        return recipient == client.name or self.recipients[recipient].token != client.token

    @property
    def project(self) -> Path:
        """Where relative paths begin: see ``paths``."""
        return project_folder(self.folder)

    @property
    def sql_folder(self) -> Path:
        """Where ``source.sql`` names a file."""
        return sql_folder(self.folder)

    def airflow(self, upload: Upload) -> AirflowSettings:
        """How Airflow runs an upload: its own settings over those of the folder."""
        return upload.airflow.over(self.platform.airflow)

    def schedule(self, upload: Upload) -> str | None:
        """The cron of an upload, its own or that of the folder; ``None`` where it runs by hand only."""
        schedule = upload.schedule or self.platform.airflow.schedule
        return None if schedule == "none" else schedule

    def place(self, upload: str | Upload, path: str = "") -> str:
        """``file:line`` of ``path`` (``user_data.em[1]``) in an upload's file, or of the nearest node around it."""
        name = upload if isinstance(upload, str) else upload.name
        places = self._places.get(name)
        return places.at(path) if places else name
