"""The documentation of an upload's DAG in Airflow, from its settings; no row and no secret."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from offline_capi.config.airflow import AirflowSettings
from offline_capi.config.fields import FieldSpec
from offline_capi.config.mapping import Consent, CustomData, Event
from offline_capi.config.schedule import DataSchedule
from offline_capi.config.upload import Upload

__all__ = ["HEALTH_PAGE", "QUALITY_PAGE", "SETTLE_PAGE", "describe_in_one_line", "describe_upload"]

HEALTH_PAGE = """
Checks the token and the pixel of every active client, as `offline-capi clients health` does: permissions, days to
expiry, and an event that Meta refuses for its age alone, so that nothing is stored.

- Its task is **red** as long as a client cannot be sent for; other clients are sent as usual.
- A fault is reported **once** when it begins and once when it ends: by `platform.airflow.health.notify` in
  `clients.yml`, or else `notify.alert`, or else `notify.failure`.
- A client that was stopped is sent for again after the first good check.
"""

QUALITY_PAGE = """
Asks Meta what it counted of every active client in the last seven days, as `offline-capi clients quality` does, and
keeps it in the ledger: the reports of the last days then show Meta's counts next to what was sent. Nothing is changed
at Meta. Its task is red where Meta did not answer everything; repeating is safe.
"""
SETTLE_PAGE = """
Settles what earlier runs of each upload owe, as `offline-capi settle` does: open days, unconfirmed and deferred
events, as long as Meta still takes them. One task an upload; it is red as long as something of it is not delivered.
Repeating is safe.
"""

_UNITS = {name: timedelta(**{name: 1}) for name in ("days", "hours", "minutes")}
_RECEIPT = """
What was sent is in the ledger, not in Airflow: running, clearing or backfilling a day again sends only what is missing.
To send a range of days, trigger the DAG with since and until, or start a backfill; a dry run shows what would go.
"""


def describe_in_one_line(upload: Upload, schedule: str | None) -> str:
    """The description of the DAG: what it sends, and its schedule with the zone, which Airflow does not show."""
    text = upload.description or f"Offline conversions: {upload.name}"
    if isinstance(upload.schedule, DataSchedule):
        return f"{text.rstrip('. ')}. Runs {upload.schedule.describe(schedule)} {upload.window.timezone}."
    return f"{text.rstrip('. ')}. Runs at {schedule} {upload.window.timezone}." if schedule else text


def describe_upload(upload: Upload, *, schedule: str | None, settings: AirflowSettings) -> str:
    """The page as Markdown: what is read, when, for whom, and which column becomes which field."""
    parts = [
        upload.description,
        _list_facts(upload, _describe_runs(upload, schedule, settings)),
        _make_table(upload),
        _RECEIPT,
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _describe_runs(upload: Upload, schedule: str | None, settings: AirflowSettings) -> str:
    """``at 0 3 * * * (America/New_York); late after 4 hours``."""
    if isinstance(upload.schedule, DataSchedule):
        when = f"{upload.schedule.describe(schedule)} in {upload.window.timezone}, for the day before"
        return f"{when}; late after {_format_span(settings.deadline)}" if settings.deadline else when
    when = (
        f"at {_format_code(schedule)} in {upload.window.timezone}, for the day before" if schedule else "when triggered"
    )
    return f"{when}; late after {_format_span(settings.deadline)}" if settings.deadline else when


def _list_facts(upload: Upload, runs: str) -> str:
    facts = {
        "Runs": runs,
        "Reads": upload.source.describe(_format_code),
        "Covers": _describe_window(upload),
        "Client": describe_field(upload.client),
        "Consent": _describe_consent(upload.consent),
        "Invalid rows allowed": f"{upload.limits.max_invalid:.0%} of the rows read",
    }
    return "\n".join(f"- **{name}:** {text}" for name, text in facts.items() if text)


def _describe_window(upload: Upload) -> str:
    window = upload.window
    back = f", and the {_format_span(window.lookback)} before it for rows that arrive late" if window.lookback else ""
    return f"one day of {_format_code(window.column or window.template)} in {window.timezone}{back}"


def _format_span(length: timedelta) -> str:
    """``2 days``, ``36 hours``, ``90 minutes``."""
    unit = next((unit for unit in _UNITS if not length % _UNITS[unit]), "minutes")
    number = length // _UNITS[unit]
    return f"{number} {unit}" if number != 1 else f"1 {unit.removesuffix('s')}"


def _describe_consent(consent: Consent | None) -> str:
    if consent is None:
        return ""
    accepted = " or ".join(_format_code(value) for value in consent.equals)
    return f"only rows whose {_format_code(consent.column)} is {accepted}; the others are counted and never sent"


def _make_table(upload: Upload) -> str:
    rows = [
        *_list_fields("event", upload.event),
        *_list_identity(upload),
        *_list_fields("custom_data", upload.custom_data),
    ]
    return "\n".join(["| Field | Comes from |", "| --- | --- |", *(f"| {name} | {words} |" for name, words in rows)])


def _list_identity(upload: Upload) -> Iterator[tuple[str, str]]:
    for key, specs in upload.user_data.items():
        yield f"user_data.{key}", "; ".join(describe_field(spec) for spec in specs)


def _list_fields(prefix: str, node: Event | CustomData) -> Iterator[tuple[str, str]]:
    for name, value in node:
        if name == "properties":
            yield from ((f"{prefix}.{own}", describe_field(spec)) for own, spec in value.items())
        elif value is not None and value is not False:
            yield f"{prefix}.{name}", _describe_value(value)


def _describe_value(value: Any) -> str:
    if isinstance(value, FieldSpec):
        return describe_field(value)
    if value is True:
        return "set for all rows"
    if isinstance(value, tuple):
        return "; ".join(describe_field(spec) for spec in value)
    parts = ((name, part) for name, part in value if part is not None)
    return "; ".join(
        f"{name}: {describe_field(part) if isinstance(part, FieldSpec) else _format_code(part)}" for name, part in parts
    )


def describe_field(spec: FieldSpec) -> str:
    """``column email``, ``always USD``, ``the first of column a, column b that is not empty``, …"""
    return "".join([_describe_origin(spec), *_describe_treatment(spec)])


def _describe_origin(spec: FieldSpec) -> str:
    if spec.column is not None:
        return f"column {_format_code(spec.column)}"
    if spec.template is not None:
        return f"text {_format_code(spec.template)}"
    if spec.coalesce is not None:
        return f"the first of {', '.join(map(describe_field, spec.coalesce))} that is not empty"
    return f"always {_format_code(spec.constant)}"


def _describe_treatment(spec: FieldSpec) -> Iterator[str]:
    if spec.hashed:
        yield ", hashed already"
    if spec.country:
        yield f", with the country in {_format_code(spec.country)}"
    if spec.map:
        yield f", {len(spec.map)} values translated"
    if spec.type:
        yield f", as {spec.type}"
    if spec.default is not None:
        yield f", {_format_code(spec.default)} where empty"


def _format_code(value: object) -> str:
    """Inline code that can stand in a Markdown table."""
    return "`" + str(value).replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
