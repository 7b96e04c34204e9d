"""``clients`` of clients.yml as frozen models: an advertiser with pixels, a token and defaults of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, field_validator, model_validator

from offline_capi.config.types import (
    Country,
    Duration,
    Name,
    Node,
    PartnerAgent,
    Profile,
    SecretRef,
    Texts,
    Zone,
    as_filled_list,
)
from offline_capi.meta.catalogue import DATA_PROCESSING_STATES, EVENT_KEYS, REQUIRED_EVENT_KEYS, USER_DATA_KEYS
from offline_capi.meta.limits import MAX_PHYSICAL_STORE_AGE
from offline_capi.model.recipients import make_recipient_name

__all__ = [
    "Client",
    "ClientLimits",
    "ClientTable",
    "ConnectionTest",
    "DataUse",
    "ExternalIdPolicy",
    "Method",
    "Pixel",
]


class ExternalIdPolicy(Node):
    """The form of ``external_id`` for this client: it must equal what the browser pixel sends."""

    send: Literal["raw", "sha256"] = "sha256"
    trim: bool = True
    lower: bool = False

    @classmethod
    def list_all(cls) -> list[ExternalIdPolicy]:
        """Every policy that a client can have, the default among them."""
        forms: tuple[Literal["raw", "sha256"], ...] = ("raw", "sha256")
        choices = product(forms, (True, False), (True, False))
        return [cls(send=send, trim=trim, lower=lower) for send, trim, lower in choices]


def _read_state(value: object) -> object:
    """``CA``, ``California`` or Meta's own number."""
    words = {word.lower(): number for number, names in DATA_PROCESSING_STATES.items() for word in names}
    number = words.get(value.lower(), value) if isinstance(value, str) else value
    if number == 0 or number in DATA_PROCESSING_STATES:
        return number
    known = ", ".join(code for code, _ in DATA_PROCESSING_STATES.values())
    raise ValueError(f"is not a state that Meta knows for limited data use; one of: {known}, or 0 for none")


class DataUse(Node):
    """Limited Data Use for all rows of a client whose upload has no flag for the row.

    ``country`` and ``state`` 0: Meta finds them out by ``client_ip_address``; a state implies the country USA (1).
    """

    country: Literal[0, 1] = 0
    state: Annotated[int, BeforeValidator(_read_state, json_schema_input_type=int | str)] = 0

    @model_validator(mode="before")
    @classmethod
    def _imply_country(cls, value: object) -> object:
        return {"country": 1, **value} if isinstance(value, dict) and value.get("state") else value

    @model_validator(mode="after")
    def _require_country(self) -> DataUse:
        if self.state and not self.country:
            raise ValueError("a state needs country: 1, the USA")
        return self


def _expand_data_use(value: object) -> object:
    """``true``: Meta finds out where; ``false``: no limit."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


_OPTIONAL_PARTS = {*EVENT_KEYS, "user_data", "custom_data"} - {*REQUIRED_EVENT_KEYS}


def _check_outgoing(name: str) -> str:
    """``name``, if it is an optional part of an event in Meta's spelling; else a ``ValueError``."""
    whole, _, part = name.partition(".")
    if (
        name in _OPTIONAL_PARTS
        or (whole == "user_data" and part in USER_DATA_KEYS)
        or (whole == "custom_data" and part)
    ):
        return name
    known = ", ".join(sorted(_OPTIONAL_PARTS))
    raise ValueError(f'"{name}" is no field of an event; one of: {known}, user_data.KEY, custom_data.KEY')


# D:set-up-conversions-api-as-a-platform; login: D:guides/end-to-end-implementation
Method = Literal["owned", "fbe", "token", "shared", "login"]


class ConnectionTest(Node):
    """How `clients test` marks its event; no run ever sees this."""

    code: str = Field(
        pattern=r"^[A-Za-z0-9_]{1,40}$", description="from Events Manager, Test Events; used by `clients test` alone"
    )


class Pixel(Node):
    """One of several pixels of a client; without a token of its own it is reached with the client's."""

    id: str = Field(pattern=r"^[1-9][0-9]{4,19}$", description="Meta's number of it")
    token: SecretRef | None = Field(None, description="instead of the client's")
    app_secret: SecretRef | None = Field(None, description="for appsecret_proof, together with a token of its own")
    test: ConnectionTest | None = Field(None, description="a test code belongs to one pixel")

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: object) -> object:
        return value if isinstance(value, (dict, Pixel)) or value is None else {"id": value}


class ClientLimits(Node):
    """How much may be sent for a client, so that one client does not take the capacity of all others."""

    events_per_run: int | None = Field(
        None,
        ge=1,
        description="events a run for each of its pixels; those above are deferred, and go with the next run",
    )
    requests_per_second: float | None = Field(
        None, ge=0.01, le=1000, description="requests for all its pixels, of all processes that share the ledger"
    )


class Client(Node):
    """An advertiser: a pixel or several, a token, its own defaults."""

    name: str = Field("", description="taken from the key in clients.yml")
    pixel_ids: Annotated[
        tuple[Pixel, ...],
        BeforeValidator(
            as_filled_list, json_schema_input_type=Pixel | Annotated[tuple[Pixel, ...], Field(min_length=1)]
        ),
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
    physical_store_max_age: Duration = Field(
        MAX_PHYSICAL_STORE_AGE, description="7d for datasets that refuse older ones"
    )
    limited_data_use: Annotated[
        DataUse | None, BeforeValidator(_expand_data_use, json_schema_input_type=DataUse | bool | None)
    ] = Field(None, description="true, or {state: CA}; for rows without a flag of the upload")
    allowed_fields: tuple[Annotated[str, AfterValidator(_check_outgoing)], ...] | None = Field(
        None,
        description="what may be sent besides name, time, id and action_source: user_data, custom_data.value, …; "
        "all else is left out and counted",
    )
    core_mode: bool = Field(
        False, description="Meta's Core Setup: standard keys only, no predicted_ltv, of addresses the bare domain"
    )
    authorized_by: Method | None = Field(None, description="how we may send for this client: see `clients authorize`")
    external_business_id: Name | None = Field(
        None, description="the id that our own screens gave Facebook Business Extension for this client"
    )
    shares_pixel_with: Annotated[tuple[Name, ...], BeforeValidator(as_filled_list)] = Field(
        (), description="clients whose pixel this may be as well; without it, one pixel has one client"
    )
    contacts: Texts = Field((), description="who is notified when the token fails; never sent to Meta")
    test: ConnectionTest | None = Field(None, description="how `clients test` marks its event")
    limits: ClientLimits = ClientLimits()

    @field_validator("pixel_ids")
    @classmethod
    def _check_pixels(cls, value: tuple[Pixel, ...]) -> tuple[Pixel, ...]:
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

    def list_recipients(self) -> Iterator[Client]:
        """The client for its first pixel, and for each further one a sibling that differs in pixel and access alone."""
        yield self
        for pixel in self.pixel_ids[1:]:
            names = {"name": make_recipient_name(self.name, pixel.id), "pixel_ids": (Pixel(id=pixel.id),)}
            access = {"token": pixel.token, "app_secret": pixel.app_secret} if pixel.token else {}
            yield self.model_copy(update={**names, **access, "test": pixel.test})


class ClientTable(Node):
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
    def _check_braces(cls, prefix: str | None) -> str | None:
        if prefix is not None and re.search("[{}]", prefix.replace("{client}", "")):
            raise ValueError("may have {client} in it, and no other braces")
        return prefix
