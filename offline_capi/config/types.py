"""What the values of the YAML are made of: durations, shares, zones, countries, references to secrets.

A short spelling is turned into the long one before validation, so that every stage sees one shape only. A
``ValueError`` raised here or in the modules of nodes is shown to the author of the YAML word for word.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    model_validator,
)

from offline_capi.config.paths import anchor_path
from offline_capi.config.run_texts import AGENT_NAMES, find_template_problem
from offline_capi.runtime.nearest import did_you_mean

__all__ = [
    "ActionSource",
    "Country",
    "Digest",
    "Duration",
    "Hook",
    "MetaId",
    "Module",
    "Multiple",
    "Name",
    "Node",
    "PartnerAgent",
    "Profile",
    "Scalar",
    "Schedule",
    "SecretRef",
    "Share",
    "Texts",
    "Zone",
    "as_filled_list",
    "as_list",
    "check_partner_agent",
    "check_url",
    "expand_text",
    "is_loopback",
    "refuse_empty",
    "require_encrypted_url",
]

Scalar = str | int | float | bool
ActionSource = Literal[
    "email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "business_messaging", "other"
]  # SDK action_source.py, D:parameters/server-event
_DURATION_TEXT = re.compile(r"(\d+)\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHARE_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def _read_duration(value: object) -> object:
    """``2d``, ``90m``, ``1w`` → timedelta. A bare number is refused: its unit is unknown."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION_TEXT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is not a duration; write a whole number and a unit: 30s, 90m, 12h, 2d, 1w")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _write_seconds(value: timedelta) -> str:
    return f"{value // timedelta(seconds=1)}s"


def _read_share(value: object) -> object:
    """``2%`` → 0.02; numbers between 0 and 1 stay."""
    if not isinstance(value, str):
        return value
    match = _SHARE_TEXT.fullmatch(value.strip())
    if match is None:
        raise ValueError("is not a share; write 2% or 0.02")
    return float(match[1]) / 100


@cache
def _list_zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _check_zone(value: str) -> str:
    if re.fullmatch(r"(?i)(?:gmt|utc)?[+-]\d{1,2}(?::?\d\d)?", value):
        raise ValueError(
            f'"{value}" is an offset, which changes with daylight saving time; name the place, such as "Europe/Berlin"'
        )
    if value not in _list_zones():
        guess = did_you_mean(value, _list_zones(), otherwise=' such as "America/New_York" or "UTC"')
        raise ValueError(f'"{value}" is not an IANA time zone{guess}')
    return value


def _check_agent_template(value: str) -> str:
    """Fewer than 23 characters, at least two letters (D:guides/end-to-end-implementation).

    With names in braces ``loading`` checks it, which knows the clients.
    """
    if problem := find_template_problem(value, AGENT_NAMES):
        raise ValueError(problem)
    return value if "{" in value else check_partner_agent(value)


def check_partner_agent(value: str) -> str:
    """``value`` without names in braces, if Meta takes it; else a ``ValueError``."""
    if len(value) >= 23 or len(re.findall(r"[A-Za-z]", value)) < 2:
        raise ValueError("needs fewer than 23 characters and at least two letters, as agreed with Meta")
    return value


def _check_country(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", value) or value.upper() == "UK":
        raise ValueError(f'"{value}" is not a two-letter country (ISO 3166-1), such as US or GB (not UK)')
    return value.upper()


def check_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s?#@]+", value):
        raise ValueError("is not an http(s) address without query, such as https://graph.facebook.com")
    return value.rstrip("/")


def require_encrypted_url(value: str, *, allow_http: bool = False) -> str:
    """An address to which a token may go: ``https``, unless it is on this machine. Raises ``ValueError``."""
    value = check_url(value)
    if value.startswith("http:") and not allow_http and not is_loopback(urlsplit(value).hostname or ""):
        raise ValueError(
            "would send the token in clear text: write https, or platform.allow_http: true where the network to that"
            " host is private"
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


def _check_schedule(value: str) -> str:
    cron = r"@(hourly|daily|weekly|monthly|yearly)|[0-9A-Za-z*/,\-#?]+( +[0-9A-Za-z*/,\-#?]+){4}"
    if value != "none" and not re.fullmatch(cron, value):
        raise ValueError('is not a cron line: five fields such as "0 3 * * *", or @daily')
    return value


def _check_hook(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value):
        raise ValueError('is not "module:function", such as "acme.cleaning:drop_test_orders"')
    return value


def _check_digest(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("is not a SHA-256: 64 hexadecimal digits in lower case, as `offline-capi coverage` prints it")
    return value


def refuse_empty(value: object) -> object:
    if value in ([], (), {}):
        raise ValueError("is empty; give at least one")
    return value


def expand_text(key: str) -> Callable[[object], object]:
    """A converter of a bare text to a mapping with this key: ``stop`` → {action: stop}."""
    return lambda value: {key: value} if isinstance(value, str) else value


def as_list(value: object) -> object:
    """A single value as a list of one; an empty list stays."""
    return value if isinstance(value, (list, tuple)) or value is None else (value,)


def as_filled_list(value: object) -> object:
    """A single value as a list of one; an empty list is refused, and no value is left to the next validator."""
    return refuse_empty(value) if isinstance(value, (list, tuple)) or value is None else (value,)


Duration = Annotated[
    timedelta,
    PlainSerializer(_write_seconds, when_used="json"),
    BeforeValidator(_read_duration, json_schema_input_type=Annotated[str, Field(pattern=r"^\d+\s*[smhdw]$")]),
]
Share = Annotated[
    float,
    BeforeValidator(_read_share, json_schema_input_type=float | Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*%$")]),
    Field(ge=0, le=1),
]
Multiple = Annotated[
    float,
    BeforeValidator(_read_share, json_schema_input_type=float | Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s*%$")]),
    Field(ge=0),
]
Zone = Annotated[str, AfterValidator(_check_zone)]
PartnerAgent = Annotated[str, AfterValidator(_check_agent_template)]
Country = Annotated[str, AfterValidator(_check_country)]
Name = Annotated[str, Field(min_length=1)]
Texts = Annotated[
    tuple[str, ...],
    BeforeValidator(as_filled_list, json_schema_input_type=str | Annotated[tuple[str, ...], Field(min_length=1)]),
]
# identity.VERSIONS: the bare name is the newest version, and may change with an upgrade of this package.
Profile = Literal["meta", "sdk", "param_builder", "meta@2026-11", "sdk@26.0.3", "param_builder@1.3.2"]
Digest = Annotated[str, AfterValidator(_check_digest)]
Schedule = Annotated[str, AfterValidator(_check_schedule)]
Hook = Annotated[str, AfterValidator(_check_hook)]
Module = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
MetaId = Annotated[str, Field(pattern=r"^[0-9]{5,20}$")]


class Node(BaseModel):
    # Numbers keep their text where a text is wanted (ids, versions): the loader hands over floats that know theirs.
    # Errors never show the input: it may be a secret in the wrong place.
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


def _anchor_in_project(path: Path, info: ValidationInfo) -> Path:
    """The path as seen from the project folder, where the configuration is read from one."""
    return Path(anchor_path(str(path), info.context)) if info.context else path


class SecretRef(Node):
    """A reference to a secret, never the secret. Exactly one of the four."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = Field(
        None, description="name of an environment variable"
    )
    file: Annotated[Path, AfterValidator(_anchor_in_project)] | None = Field(
        None, description="path of a file that holds the secret alone; a relative one begins at the project folder"
    )
    connection: str | None = Field(
        None, description="id of an Airflow connection (its password, or extra.access_token)"
    )
    store: Name | None = Field(
        None, description="name in the encrypted local store, where `offline-capi clients authorize` puts tokens"
    )

    @model_validator(mode="after")
    def _require_one_origin(self) -> SecretRef:
        if sum(part is not None for part in (self.env, self.file, self.connection, self.store)) != 1:
            raise ValueError("give exactly one of env, file, connection, store")
        return self

    def __str__(self) -> str:
        """The reference, as the YAML writes it."""
        kind, name = next((k, v) for k, v in self if v is not None)
        return f"{{{kind}: {name}}}"
