"""The questions that open lines ask the user, and the checks of the answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from offline_capi.config.types import Country, Zone
from offline_capi.config.wording import check_name
from offline_capi.errors import UsageError
from offline_capi.events.standard import ACTION_SOURCES, list_currencies
from offline_capi.meta.catalogue import check_key
from offline_capi.runtime.nearest import did_you_mean

__all__ = ["ASKED_BY", "EXTERNAL_ID", "EXTERNAL_ID_POLICIES", "validate_answer", "validate_keys"]

#: The path of an open line → what of ``Answers`` closes it, in the order in which the user is asked.
ASKED_BY: Mapping[str, str] = {
    "event.name": "event",
    "event.action_source": "action_source",
    "window.column": "time",
    "window.timezone": "timezone",
    "event.id": "id",
    "custom_data.value": "value",
    "custom_data.currency": "currency",
}


#: How a browser may send external_id -> the policy of a client that equals it (meta-capi.md 2.5 and 12).
EXTERNAL_ID_POLICIES: Mapping[str, Mapping[str, object]] = {
    "raw": {"send": "raw"},
    "sha256": {"send": "sha256"},
    "parameter_builder": {"send": "sha256", "lower": True},
}
EXTERNAL_ID = (
    "external_id must equal what the browser's pixel sends. Which is it: raw (the id as it is), sha256 (a hash of the "
    "id as it is) or parameter_builder (Meta's library: lower case, hashed)? (empty: sha256)"
)


def validate_answer(name: str, value: str | None) -> str | None:
    """An answer as it is kept; nothing stays nothing. Raises ``UsageError`` with what would be one."""
    if value is None or not value.strip():
        return None
    check = _CHECKS.get(name)
    try:
        return check(value.strip()) if check else value.strip()
    except ValueError as error:
        raise UsageError(f"--{name.replace('_', '-')}: {_extract_message(error)}") from None


def validate_keys(pairs: list[str]) -> dict[str, str]:
    """``em=kontakt`` → {kontakt: em}."""
    keys = {}
    for pair in pairs:
        key, _, column = pair.partition("=")
        if not column:
            raise UsageError(f'--map: "{pair}" is not KEY=COLUMN, such as em=contact_mail')
        try:
            keys[column] = check_key(key)
        except ValueError as error:
            raise UsageError(f'--map: "{key}" {error}') from None
    return keys


def _extract_message(error: ValueError) -> str:
    """Ours, also where pydantic has wrapped them."""
    return str(error.errors()[0]["ctx"]["error"]) if isinstance(error, ValidationError) else str(error)


def _build_type_check(kind: Any) -> Callable[[str], str]:
    return TypeAdapter(kind).validate_python


def _check_pixel(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{4,19}", value):
        raise ValueError(f'"{value}" is not a pixel or dataset id: 5 to 20 digits, as Events Manager shows it')
    return value


def _check_client(value: str) -> str:
    for problem in check_name(value):
        raise ValueError(problem)
    return value


def _check_action_source(value: str) -> str:
    if value not in ACTION_SOURCES:
        guess = did_you_mean(value, ACTION_SOURCES) or ";"
        raise ValueError(f'"{value}" is unknown{guess} one of: {", ".join(ACTION_SOURCES)}')
    return value


def _check_external_id(value: str) -> str:
    if value not in EXTERNAL_ID_POLICIES:
        guess = did_you_mean(value, EXTERNAL_ID_POLICIES) or ";"
        raise ValueError(f'"{value}" is unknown{guess} one of: {", ".join(EXTERNAL_ID_POLICIES)}')
    return value


def _check_timezone(value: str) -> str:
    """A zone of places: ``EST`` is five hours behind all year, which no shop's clock is."""
    zone: str = _build_type_check(Zone)(value)
    if zone in _FIXED_ZONES:
        raise ValueError(f'"{zone}" has no daylight saving time; name the place, such as "{_FIXED_ZONES[zone]}"')
    return zone


_FIXED_ZONES = {"EST": "America/New_York", "MST": "America/Denver", "HST": "Pacific/Honolulu", "MET": "Europe/Berlin"}


def _check_currency(value: str) -> str:
    if value.upper() not in list_currencies():
        raise ValueError(f'"{value}" is not an ISO 4217 code such as USD or EUR')
    return value.upper()


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "client": _check_client,
    "name": _check_client,
    "pixel": _check_pixel,
    "action_source": _check_action_source,
    "timezone": _check_timezone,
    "country": _build_type_check(Country),
    "currency": _check_currency,
    "external_id": _check_external_id,
}
