"""An upload in words: what its DAG's page in Airflow says. Pure text from the settings; no row and no secret."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from offline_capi.config.settings import AirflowSettings, Consent, CustomData, Event, FieldSpec, Upload

__all__ = ["HEALTH_PAGE", "QUALITY_PAGE", "SETTLE_PAGE", "describe_upload"]

HEALTH_PAGE = """
Looks at the token and the pixel of every active client, as `offline-capi clients health` does: permissions, days to
expiry, and an event that Meta refuses for its age alone, so that nothing is stored.

- Its task is **red** as long as a client cannot be sent for; other clients are sent as usual.
- A fault is told **once** when it begins and once when it ends: by `platform.airflow.health.notify` in `clients.yml`,
  or else those of `notify.alert`, or else those who are told of failures.
- A client that was stopped is sent again from the first good look on.
"""

QUALITY_PAGE = """
Asks Meta what it got of every active client in the last seven days, as `offline-capi clients quality` does, and keeps
it in the ledger: the reports of the last nights then show what Meta counted beside what was sent. Nothing is changed at
Meta. Its task is red where Meta did not tell everything; repeating is safe.
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


def describe_upload(upload: Upload, *, schedule: str | None, settings: AirflowSettings) -> str:
    """The page as Markdown: what is read, when, for whom, and which column becomes which field."""
    parts = [upload.description, _facts(upload, _runs(upload, schedule, settings)), _table(upload), _RECEIPT]
    return "\n\n".join(part.strip() for part in parts if part.strip())


def _runs(upload: Upload, schedule: str | None, settings: AirflowSettings) -> str:
    """``at 0 3 * * * (America/New_York); late after 4 hours``."""
    when = f"at {_code(schedule)} in {upload.window.timezone}, for the day before" if schedule else "when triggered"
    return f"{when}; late after {_span(settings.deadline)}" if settings.deadline else when


def _facts(upload: Upload, runs: str) -> str:
    facts = {
        "Runs": runs,
        "Reads": upload.source.describe(_code),
        "Covers": _window(upload),
        "Client": in_words(upload.client),
        "Consent": _consent(upload.consent),
        "Invalid rows allowed": f"{upload.limits.max_invalid:.0%} of the rows read",
    }
    return "\n".join(f"- **{name}:** {text}" for name, text in facts.items() if text)


def _window(upload: Upload) -> str:
    window = upload.window
    back = f", and the {_span(window.lookback)} before it for rows that arrive late" if window.lookback else ""
    return f"one day of {_code(window.column or window.template)} in {window.timezone}{back}"


def _span(length: timedelta) -> str:
    """``2 days``, ``36 hours``, ``90 minutes``."""
    unit = next((unit for unit in _UNITS if not length % _UNITS[unit]), "minutes")
    number = length // _UNITS[unit]
    return f"{number} {unit}" if number != 1 else f"1 {unit.removesuffix('s')}"


def _consent(consent: Consent | None) -> str:
    if consent is None:
        return ""
    accepted = " or ".join(_code(value) for value in consent.equals)
    return f"only rows whose {_code(consent.column)} is {accepted}; the others are counted and never sent"


def _table(upload: Upload) -> str:
    rows = [*_fields("event", upload.event), *_identity(upload), *_fields("custom_data", upload.custom_data)]
    return "\n".join(["| Field | Comes from |", "| --- | --- |", *(f"| {name} | {words} |" for name, words in rows)])


def _identity(upload: Upload) -> Iterator[tuple[str, str]]:
    for key, specs in upload.user_data.items():
        yield f"user_data.{key}", "; ".join(in_words(spec) for spec in specs)


def _fields(prefix: str, node: Event | CustomData) -> Iterator[tuple[str, str]]:
    for name, value in node:
        if name == "properties":
            yield from ((f"{prefix}.{own}", in_words(spec)) for own, spec in value.items())
        elif value is not None and value is not False:
            yield f"{prefix}.{name}", _any_words(value)


def _any_words(value: Any) -> str:
    if isinstance(value, FieldSpec):
        return in_words(value)
    if value is True:
        return "set for all rows"
    if isinstance(value, tuple):
        return "; ".join(in_words(spec) for spec in value)
    parts = ((name, part) for name, part in value if part is not None)
    return "; ".join(
        f"{name}: {in_words(part) if isinstance(part, FieldSpec) else _code(part)}" for name, part in parts
    )


def in_words(spec: FieldSpec) -> str:
    """``column email``, ``always USD``, ``the first of column a, column b that is not empty``, …"""
    return "".join([_origin(spec), *_treatment(spec)])


def _origin(spec: FieldSpec) -> str:
    if spec.column is not None:
        return f"column {_code(spec.column)}"
    if spec.template is not None:
        return f"text {_code(spec.template)}"
    if spec.coalesce is not None:
        return f"the first of {', '.join(map(in_words, spec.coalesce))} that is not empty"
    return f"always {_code(spec.constant)}"


def _treatment(spec: FieldSpec) -> Iterator[str]:
    if spec.hashed:
        yield ", hashed already"
    if spec.country:
        yield f", with the country in {_code(spec.country)}"
    if spec.map:
        yield f", {len(spec.map)} values translated"
    if spec.type:
        yield f", as {spec.type}"
    if spec.default is not None:
        yield f", {_code(spec.default)} where empty"


def _code(value: object) -> str:
    """Inline code that can stand in a Markdown table."""
    return "`" + str(value).replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
