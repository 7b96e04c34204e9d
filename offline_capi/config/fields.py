"""One field: where its values come from and how they are read; and conditions, which compare them.

A bare text is a column, a text with ``{…}`` a template, a list several columns. Where only words of ours or Meta's
are possible (client, event name, action source), a bare text is a constant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, field_validator, model_validator

from offline_capi.config.patterns import find_pattern_problem
from offline_capi.config.types import (
    Duration,
    Name,
    Node,
    Scalar,
    Share,
    Texts,
    Zone,
    as_filled_list,
    as_list,
    refuse_empty,
)
from offline_capi.runtime.nearest import did_you_mean

__all__ = [
    "TEMPLATE_COLUMN",
    "ColumnSpec",
    "Condition",
    "Conditions",
    "ConstantSpec",
    "CurrencySpec",
    "EventName",
    "FieldSpec",
    "ManySpec",
    "NameSpec",
    "OnError",
    "Template",
    "TextStep",
    "check_bound",
]

TEMPLATE_COLUMN = re.compile(r"\{([^{}]+?)(?::(?:integer|date))?\}")
TEMPLATE_PART = re.compile(r"\{([^{}]+?)(?::(integer|date))?\}")  # column, and how its text is read before it goes in


def _check_template(value: str) -> str:
    """Placeholders are ``{column}``, ``{column:integer}`` (``1234567.0`` is ``1234567``) or ``{column:date}``."""
    if not TEMPLATE_COLUMN.search(value) or re.search(r"[{}]", TEMPLATE_COLUMN.sub("", value)):
        raise ValueError('is not a template: name each column in braces, such as "order-{order_id}"')
    odd = [name for name in TEMPLATE_COLUMN.findall(value) if name != name.strip() or re.search(r"[:!]", name)]
    if odd:
        raise ValueError(
            f'"{{{odd[0]}}}" must hold the name of a column, with ":integer" or ":date" after it at most: '
            'no blanks around it, no other ":", no "!"'
        )
    return value


def _check_pattern(value: str) -> str:
    if problem := find_pattern_problem(value):
        raise ValueError(problem)
    return value


def _check_one_group(value: str) -> str:
    if problem := find_pattern_problem(value, one_group=True):
        raise ValueError(problem)
    return value


OnError = Literal["leave_out", "reject"]
Template = Annotated[str, AfterValidator(_check_template)]


class Split(Node):
    """One part of a text that a separator divides."""

    by: Annotated[str, Field(min_length=1, max_length=20)] = Field(description="the separator, as it stands")
    part: int = Field(ge=-100, le=100, description="1 is the first, -1 the last; no such part: unreadable")

    @field_validator("part")
    @classmethod
    def _refuse_zero(cls, value: int) -> int:
        if value == 0:
            raise ValueError("counts from 1, or from the end with -1")
        return value


class Pad(Node):
    """A text made longer."""

    width: int = Field(ge=1, le=100, description="characters; a longer text stays as it is")
    with_: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        "0", validation_alias=AliasChoices("with"), description="the character to fill with"
    )
    side: Literal["left", "right"] = "left"


class TextStep(Node):
    """One change of a text; a step has one key."""

    trim: Annotated[str, Field(min_length=1)] | Literal[True] | None = Field(
        None, description="remove white space at both ends, or the characters named"
    )
    lower: Literal[True] | None = None
    upper: Literal[True] | None = None
    replace: Annotated[dict[Name, str], Field(min_length=1)] | None = Field(
        None, description="text → its replacement, everywhere, in this order; no pattern"
    )
    extract: Annotated[str, AfterValidator(_check_one_group)] | None = Field(
        None, description="RE2: the group of the first match, or the whole match; no match: unreadable"
    )
    split: Split | None = None
    pad: Pad | None = None

    @model_validator(mode="before")
    @classmethod
    def _expand_bare_step(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value not in BARE_STEPS:
            guess = did_you_mean(value, cls.model_fields) or f"; one of: {', '.join(cls.model_fields)}"
            raise ValueError(f'"{value}" is no step by itself{guess}')
        return {value: True}

    @model_validator(mode="after")
    def _require_one_step(self) -> TextStep:
        if sum(part is not None for _, part in self) != 1:
            raise ValueError(f"needs exactly one of {', '.join(type(self).model_fields)}")
        return self


BARE_STEPS = ("trim", "lower", "upper")
TextSteps = Annotated[
    tuple[TextStep, ...],
    BeforeValidator(as_list, json_schema_input_type=TextStep | tuple[TextStep, ...]),
]


class FieldSpec(Node):
    """Where the values of one field come from, and how they are read.

    Exactly one origin: ``column``, ``constant``, ``template`` (``"order-{order_id}"``) or ``coalesce`` (the first of
    several that is not empty). Then, in this order: ``text``, ``map``, ``type`` (with ``format``, ``unit``,
    ``timezone``, ``decimal``), ``default`` where the result is null.
    """

    column: Name | None = Field(None, description="a column of the source")
    constant: Scalar | None = Field(None, description="the same value for every row")
    template: Template | None = Field(
        None, description='text with columns in braces, such as "order-{order_id}"; empty if any of them is'
    )
    coalesce: Annotated[tuple[FieldSpec, ...], BeforeValidator(refuse_empty)] | None = Field(
        None, description="the first of several that is not empty"
    )
    text: TextSteps = Field((), description="changes of the value as text, in order: trim, replace, extract, …")
    map: dict[str, Scalar] | None = Field(
        None,
        description="value in the source → value to send; keys are compared as text. A value that is a target already "
        "stays as it is (but of client)",
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
    divide: Annotated[int, Field(ge=2, le=1_000_000)] | None = Field(
        None, description="divide the number by this, such as 100 for cents; needs type number, integer or money"
    )
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
    def _expand_short_form(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return {"template": value} if "{" in value else {"column": value}

    @field_validator("format", mode="before")
    @classmethod
    def _wrap_format(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _require_one_origin(self) -> FieldSpec:
        origins = (self.column, self.constant, self.template, self.coalesce)
        if sum(origin is not None for origin in origins) != 1:
            raise ValueError("give exactly one of column, constant, template, coalesce")
        if self.divide is not None and self.type not in ("number", "integer", "money"):
            raise ValueError("divide needs type: number (or integer, or money)")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Source columns that this field reads, in order."""
        parts = [name for part in self.coalesce or () for name in part.columns]
        return tuple(dict.fromkeys([*self.own_columns, *parts, *([self.country] if self.country else [])]))

    @property
    def own_columns(self) -> tuple[str, ...]:
        """Those that its value is made of, without the parts of a ``coalesce``."""
        return (self.column,) if self.column else tuple(dict.fromkeys(TEMPLATE_COLUMN.findall(self.template or "")))


class EventName(FieldSpec):
    """The name of an event. A standard event's name in another case becomes the standard event."""

    exact: bool = Field(
        False, description="true: names are sent as written, even where they resemble a standard event's"
    )


def _expand_constant(value: object) -> object:
    """For fields whose values are words of ours or of Meta's: a bare scalar is a constant (with braces, a template)."""
    if isinstance(value, str) and "{" in value:
        return value
    return {"constant": value} if isinstance(value, (str, int, float, bool)) else value


def _expand_currency(value: object) -> object:
    """``USD`` is a constant, anything else bare is a column."""
    return {"constant": value} if isinstance(value, str) and re.fullmatch(r"[A-Z]{3}", value) else value


ColumnSpec = FieldSpec
ConstantSpec = Annotated[
    FieldSpec, BeforeValidator(_expand_constant, json_schema_input_type=FieldSpec | int | float | bool)
]
NameSpec = Annotated[
    EventName, BeforeValidator(_expand_constant, json_schema_input_type=EventName | int | float | bool)
]
ManySpec = Annotated[
    tuple[FieldSpec, ...],
    BeforeValidator(
        as_filled_list, json_schema_input_type=FieldSpec | Annotated[tuple[FieldSpec, ...], Field(min_length=1)]
    ),
]
CurrencySpec = Annotated[FieldSpec, BeforeValidator(_expand_currency, json_schema_input_type=FieldSpec)]


def _expand_in(value: object) -> object:
    """``in`` and ``not_in`` are ``equals`` and ``not_equals``, which take several values as well."""
    if not isinstance(value, dict):
        return value
    for short, long in (("in", "equals"), ("not_in", "not_equals")):
        if short in value and long in value:
            raise ValueError(f"{short} is the same as {long}; keep one of the two")
        if short in value:
            value = {long if key == short else key: part for key, part in value.items()}
    return value


def check_bound(value: str | float) -> str | float:
    """A number, or a day or time in ISO 8601."""
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("is neither a number nor a date (2026-11-23) or time (2026-11-23T06:00)") from None
    return value


Bound = Annotated[int | float | str, AfterValidator(check_bound)]
Values = Annotated[
    tuple[Scalar, ...],
    BeforeValidator(as_filled_list, json_schema_input_type=Scalar | Annotated[tuple[Scalar, ...], Field(min_length=1)]),
]


def _require_one_kind(bounds: Sequence[tuple[str, float | str]]) -> None:
    if len({isinstance(bound, str) for _, bound in bounds}) > 1:
        raise ValueError("compares with a number and with a time; one column is one of the two")


class Condition(Node):
    """Conditions that a row has to meet, all of them. An empty value equals nothing."""

    column: Name | None = None
    text: TextSteps = Field((), description="changes of the value as text before it is compared, as in a field")
    equals: Values | None = Field(None, description="one value or several (in: the same); compared as in consent")
    not_equals: Values | None = Field(None, description="none of these (not_in: the same); an empty value passes")
    is_: Literal["empty", "filled"] | None = Field(None, validation_alias=AliasChoices("is"))
    above: Bound | None = Field(None, description="a number, or a date or time in ISO 8601")
    at_least: Bound | None = None
    below: Bound | None = None
    at_most: Bound | None = None
    matches: Annotated[str, AfterValidator(_check_pattern)] | None = Field(
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
    def _expand_spellings(cls, value: object) -> object:
        return _expand_in(value)

    @field_validator("format", mode="before")
    @classmethod
    def _wrap_format(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _require_comparison(self) -> Condition:
        tests = [name for name in _COMPARISONS if getattr(self, name) is not None]
        if (self.column is None) == (self.first_of is None):
            raise ValueError("needs either column, or first_of")
        if self.column is not None and not tests:
            raise ValueError(f"does not say what the column has to be: {', '.join(_COMPARISONS).replace('is_', 'is')}")
        if self.first_of is not None and self.model_fields_set != {"first_of"}:
            raise ValueError("first_of stands alone; write the other conditions as items of the list")
        _require_one_kind(self.bounds)
        return self

    @property
    def bounds(self) -> list[tuple[str, float | str]]:
        """The bounds of the value, by kind of comparison."""
        found = ((name, getattr(self, name)) for name in ("above", "at_least", "below", "at_most"))
        return [(name, bound) for name, bound in found if bound is not None]

    @property
    def columns(self) -> tuple[str, ...]:
        """Source columns that the condition reads."""
        return self.first_of or ((self.column,) if self.column else ())


_COMPARISONS = ("equals", "not_equals", "is_", "above", "at_least", "below", "at_most", "matches")


class RowCount(Node):
    """Bounds of the number of rows read."""

    at_least: int | None = Field(None, ge=0)
    at_most: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _require_bound(self) -> RowCount:
        if self.at_least is None and self.at_most is None:
            raise ValueError("needs at_least, at_most, or both")
        return self


def _expand_check(value: object) -> object:
    """``not_null: true`` and ``accepted`` are what dbt calls ``is: filled`` and ``equals``."""
    if not isinstance(value, dict):
        return value
    if "not_null" in value:
        if value["not_null"] is not True:
            raise ValueError("not_null is true, or is left out; the column stands in column")
        value = {"is": "filled"} | {key: part for key, part in value.items() if key != "not_null"}
    if "accepted" in value:
        if "equals" in value:
            raise ValueError("accepted is the same as equals; keep one of the two")
        value = {"equals" if key == "accepted" else key: part for key, part in value.items()}
    return _expand_in(value)


class Expectation(Condition):
    """What the rows of a run have to be like; checked as they are mapped, and judged like a gate.

    An empty value meets everything but ``is: filled``.
    """

    name: Annotated[str, Field(min_length=1, max_length=60)] | None = Field(
        None, description="how reports call it; without it, the column and the kind of check"
    )
    unique: Texts | None = Field(None, description="instead of a column: no two rows have the same values of these")
    fresh_within: Duration | None = Field(
        None, description="the newest time of the column lies at most this long before the end of the window"
    )
    row_count: RowCount | None = Field(None, description="instead of a column: how many rows a run reads")
    max_failed: Share = Field(0.0, description="2% or 0.02 of the rows read may fail")
    action: Literal["warn", "stop", "off"] = Field(
        "warn", description="stop: nothing is sent of an upload, or of a client, whose rows fail"
    )

    @model_validator(mode="before")
    @classmethod
    def _expand_spellings(cls, value: object) -> object:
        return _expand_check(value)

    @model_validator(mode="after")
    def _require_comparison(self) -> Expectation:
        if self.first_of is not None:
            raise ValueError("first_of belongs to filter; unique says that no two rows are alike")
        if sum(part is not None for part in (self.column, self.unique, self.row_count)) != 1:
            raise ValueError("needs exactly one of column, unique, row_count")
        tests = [name for name in _COMPARISONS if getattr(self, name) is not None]
        if self.column is None:
            if tests or self.fresh_within is not None:
                raise ValueError("compares a column; write that as an item of its own")
        elif not tests and self.fresh_within is None:
            known = ", ".join(_COMPARISONS).replace("is_", "is")
            raise ValueError(f"does not say what the column has to be: not_null, accepted, fresh_within, {known}")
        elif tests and self.fresh_within is not None:
            raise ValueError("fresh_within stands alone; write the other checks of the column as an item of their own")
        of_all = self.fresh_within is not None or self.row_count is not None
        if of_all and "max_failed" in self.model_fields_set:
            raise ValueError("max_failed is a share of rows, and this is no check of single rows")
        _require_one_kind(self.bounds)
        return self

    @property
    def label(self) -> str:
        """What reports call it."""
        if self.name is not None:
            return self.name
        if self.row_count is not None:
            return "row_count"
        if self.unique is not None:
            return f"{', '.join(self.unique)} unique"
        tests = [name for name in _COMPARISONS if getattr(self, name) is not None]
        words = {"is_": f"is {self.is_}", "equals": "accepted"}
        return f"{self.column} {', '.join(words.get(name, name) for name in tests) or 'fresh_within'}"

    @property
    def columns(self) -> tuple[str, ...]:
        """Source columns that the check reads."""
        return self.unique or ((self.column,) if self.column else ())


def _expand_conditions(value: object) -> object:
    """One condition is a list of one; ``{Status: paid}`` is column → what it equals."""
    if not isinstance(value, dict):
        return value
    if {"column", "first_of"} & set(value):
        return (value,)
    return refuse_empty(tuple({"column": column, "equals": wanted} for column, wanted in value.items()))


Conditions = Annotated[
    tuple[Condition, ...],
    BeforeValidator(
        _expand_conditions,
        json_schema_input_type=Annotated[tuple[Condition, ...], Field(min_length=1)]
        | Condition
        | dict[str, Scalar | Annotated[tuple[Scalar, ...], Field(min_length=1)]],
    ),
]
