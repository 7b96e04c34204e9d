"""The part of an upload that maps columns to fields: ``window``, ``event``, ``user_data``, …

What one node can know alone is checked here; what needs other files, the folder or the position of a field in the
grammar is checked in ``checks.py``.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from offline_capi.config.fields import (
    TEMPLATE_COLUMN,
    ColumnSpec,
    Conditions,
    ConstantSpec,
    CurrencySpec,
    Expectation,
    FieldSpec,
    ManySpec,
    NameSpec,
    OnError,
    Template,
)
from offline_capi.config.source import Lookup, check_lookup_name
from offline_capi.config.types import (
    Duration,
    Hook,
    Name,
    Node,
    Scalar,
    Zone,
    as_filled_list,
    expand_text,
    refuse_empty,
)
from offline_capi.meta.catalogue import check_key
from offline_capi.runtime.nearest import did_you_mean

__all__ = [
    "AppData",
    "AttributionData",
    "Consent",
    "Contents",
    "CustomData",
    "Event",
    "LimitedDataUse",
    "MappingSpec",
    "OriginalEvent",
    "Screening",
    "StoreData",
    "WindowSpec",
]


class Contents(Node):
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
        """Whether an item may hold more than ids, numbers and Meta's fixed words."""
        return any((self.json_column, self.title, self.description, self.brand, self.category))

    @model_validator(mode="after")
    def _require_one_origin(self) -> Contents:
        built = any(value is not None for name, value in self if name not in ("json_column", "on_error"))
        if self.json_column is not None and built:
            raise ValueError("give either json_column, or id with quantity and item_price, not both")
        if self.json_column is None and (self.id is None or self.quantity is None):
            raise ValueError("needs json_column, or both id and quantity (Meta requires the two for every item)")
        return self


class OriginalEvent(Node):
    """``original_event_data`` (D:parameters/original-event): the earlier event to which this one adds."""

    name: NameSpec = Field(description="the earlier event's name")
    time: FieldSpec | None = Field(None, description="the earlier event's time")
    id: ColumnSpec | None = Field(None, description="the earlier event's id, written as it was then")
    order_id: ColumnSpec | None = None

    @model_validator(mode="after")
    def _require_identifier(self) -> OriginalEvent:
        if self.id is None and self.order_id is None:
            raise ValueError("needs id or order_id, or both: Meta finds the earlier event by them")
        return self


class AppData(Node):
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
    def _check_length(cls, value: tuple[FieldSpec, ...] | None) -> tuple[FieldSpec, ...] | None:
        if value is not None and len(value) not in (1, 16):
            raise ValueError("needs one column that holds the JSON array, or a list of exactly 16")
        return value


class AttributionData(Node):
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


class StoreData(Node):
    """``store_data`` (D:offline-events): the store of the sale."""

    store_page_id: ColumnSpec | None = None
    brand_page_id: ColumnSpec | None = None
    store_code: ColumnSpec | None = Field(None, description="at most 64 letters and digits")


def _expand_when(value: object) -> object:
    """A bare column, a constant or a field is the flag itself."""
    if isinstance(value, bool):
        value = {"constant": value}
    return value if isinstance(value, dict) and "when" in value else {"when": value}


class LimitedDataUse(Node):
    """Rows under Limited Data Use (MAPI:overview/data-processing-options), instead of the client's own setting.

    Meta finds out the state itself where there is none, for which it wants ``client_ip_address``.
    """

    when: FieldSpec = Field(description="true: limited; false: not; empty: the client's setting")
    state: FieldSpec | None = Field(None, description="a state of the USA: CA, California or Meta's number 1000")


class WindowSpec(Node):
    """Which column assigns a row to the run's window, and the zone of naive values and of days.

    Without ``format`` and ``unit``, what ``event.time`` declares for the same column, or for a template with that
    column in it, holds here too. A row of which this cannot be read is invalid.
    """

    column: Name | None = Field(None, description="the column with the time that assigns a row to a window")
    template: Template | None = Field(None, description='instead of a column: several, such as "{Date} {Time}"')
    format: tuple[str, ...] = Field((), description="strptime formats, tried in order")
    unit: Literal["s", "ms", "us"] | None = Field(None, description="unit of numeric timestamps")
    timezone: Zone = Field("UTC", description="zone of naive values, and of the days of the schedule")
    lookback: Duration = Field(
        timedelta(0), description="read again this much before the window: rows that arrive late"
    )

    @field_validator("format", mode="before")
    @classmethod
    def _wrap_format(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _require_one_origin(self) -> WindowSpec:
        if (self.column is None) == (self.template is None):
            raise ValueError("give either column, or template")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Source columns that assign a row to the window."""
        return (self.column,) if self.column else tuple(dict.fromkeys(TEMPLATE_COLUMN.findall(self.template or "")))


class Event(Node):
    """Event-level fields (D:parameters/server-event). ``time`` defaults to the window's column and zone."""

    name: NameSpec = Field(description="Purchase, Lead, … or a name of your own; or {column: …, map: {…}}")
    id: ColumnSpec = Field(description="event_id, from business keys: a column or a template")
    time: FieldSpec | None = Field(None, description="event_time; without it, the window's column and zone")
    action_source: ConstantSpec = Field(description="where the conversion happened, one of Meta's words")
    source_url: ColumnSpec | None = Field(None, description="event_source_url")
    referrer_url: ColumnSpec | None = None
    opt_out: FieldSpec | None = Field(None, description="true: for attribution only, not for delivery")
    limited_data_use: (
        Annotated[
            LimitedDataUse, BeforeValidator(_expand_when, json_schema_input_type=LimitedDataUse | FieldSpec | bool)
        ]
        | None
    ) = Field(None, description="a column that flags people whose data Meta may use in a limited way only")
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
    def _refuse_constant(cls, value: FieldSpec) -> FieldSpec:
        if value.constant is not None:
            raise ValueError("is the same for every row; name the business key: a column, or a template of columns")
        return value


class Consent(Node):
    """Rows whose ``column`` does not equal (one of) ``equals`` are suppressed: read, counted, never sent."""

    column: Name
    equals: Annotated[
        tuple[Scalar, ...],
        BeforeValidator(
            as_filled_list, json_schema_input_type=Scalar | Annotated[tuple[Scalar, ...], Field(min_length=1)]
        ),
    ] = Field(description="one value or several; anything else, also empty, is no consent")


class CustomData(Node):
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
    properties: dict[str, FieldSpec] = Field({})


class Screening(Node):
    """What happens where a text that goes out holds an e-mail address, a phone, card or social security number.

    ``strip`` leaves that field out (of an address, all after the domain), ``reject`` the whole row; both are counted.
    """

    found: Literal["strip", "reject"] = "strip"
    ids: tuple[str, ...] = Field(
        (),
        description="custom properties that hold ids, such as an invoice number: searched for e-mail addresses only",
    )


class MappingSpec(Node):
    """The part of an upload that maps columns to fields; all that the mapping stage sees."""

    client: ConstantSpec
    window: WindowSpec
    event: Event
    user_data: Annotated[dict[Annotated[str, AfterValidator(check_key)], ManySpec], BeforeValidator(refuse_empty)]
    custom_data: CustomData = CustomData()
    consent: Consent | None = None
    filter: Conditions = Field((), description="rows that do not meet all of these are left out and counted")
    expect: tuple[Expectation, ...] = Field(
        (), description="checks of the rows that filter keeps, in the same pass; what they find is treated like a gate"
    )
    lookups: dict[Annotated[str, AfterValidator(check_lookup_name)], Lookup] = Field(
        {}, description="name → a table joined by key; its columns are name.column"
    )
    screening: Annotated[
        Screening, BeforeValidator(expand_text("found"), json_schema_input_type=Screening | Literal["strip", "reject"])
    ] = Screening()
    transform: Hook | None = Field(
        None,
        description='"module:function": a pandas DataFrame in, a DataFrame out; platform.python names the module',
    )

    @model_validator(mode="after")
    def _check_screened_ids(self) -> MappingSpec:
        for name in self.screening.ids:
            if name not in self.custom_data.properties:
                guess = did_you_mean(name, self.custom_data.properties)
                raise ValueError(f'screening.ids: "{name}" is no custom property{guess}')
        return self

    @field_validator("expect")
    @classmethod
    def _require_own_labels(cls, value: tuple[Expectation, ...]) -> tuple[Expectation, ...]:
        twice = [label for label, times in Counter(one.label for one in value).items() if times > 1]
        if twice:
            raise ValueError(f'two checks are called "{twice[0]}"; give one of them a name of its own')
        return value
