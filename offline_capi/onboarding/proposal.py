"""The whole proposal: every finding as a line, in the order of an upload's YAML."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

import pyarrow.compute as pc
from pydantic import ValidationError

from offline_capi.config.fields import TEMPLATE_PART, FieldSpec
from offline_capi.errors import UsageError
from offline_capi.mapping.ids import count_rounded_to_15
from offline_capi.model import find_yesterday
from offline_capi.onboarding.business import (
    find_outcome_columns,
    propose_client,
    propose_consent,
    propose_contents,
    propose_id,
    propose_money,
    propose_outcome_filter,
)
from offline_capi.onboarding.exports import Export, fill_in_answers, propose_constants, propose_filter, recognise_export
from offline_capi.onboarding.lines import Answers, Confidence, Line, describe_share
from offline_capi.onboarding.origins import Origin
from offline_capi.onboarding.people import is_too_little, propose_people
from offline_capi.onboarding.sample import Column, Sample, describe_gaps
from offline_capi.onboarding.times import (
    TimeColumn,
    find_clock_column,
    find_latest_day,
    find_time_columns,
    find_time_formats,
)
from offline_capi.runtime.border import names_among
from offline_capi.runtime.nearest import did_you_mean

__all__ = ["NO_FIELD", "Proposal", "check_people", "propose"]

#: Why most columns are left aside.
NO_FIELD = "neither its name nor its values are those of a field of Meta's"

PERSON_NEEDED = (
    "Meta needs data that identifies the person: an e-mail address, a phone number or a customer id, hashed by us; "
    "first and last name together are the least it takes, and a city, a postal code, a gender or a user agent alone "
    "are not enough (D:best-practices)"
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would be written: ``lines`` for the upload, the day of the ``first_night``, ``aside`` the other columns,
    each with the reason.

    ``export`` is what the file was recognised as.
    """

    lines: tuple[Line, ...]
    first_night: date
    aside: Mapping[str, str]
    needs_country: bool
    export: str = ""

    def list_lines(self, *confidences: Confidence) -> list[Line]:
        return [line for line in self.lines if line.confidence in confidences]

    def list_section(self, section: str) -> list[Line]:
        return [line for line in self.lines if line.section == section]

    def apply_decisions(self, decide: Callable[[Line], bool], among: Collection[Line]) -> Proposal:
        """The proposal with the user's decision on each line ``among`` these: active, or commented out.

        A field is said once: the first line taken counts, and closes what was open there.
        """
        lines: list[Line] = []
        for line in self.lines:
            said = line.section != "user_data" and any(
                (other.place, other.confidence) == (line.place, Confidence.TAKEN) for other in lines
            )
            if line not in among:
                lines += [] if said and line.confidence is Confidence.OPEN else [line]
            else:
                lines.append(line.mark(Confidence.TAKEN if not said and decide(line) else Confidence.UNSURE))
        return replace(self, lines=tuple(lines))


def propose(origin: Origin, answers: Answers, now: datetime) -> Proposal:
    """What the rows show, with the evidence. Raises ``UsageError`` where no event could come of them."""
    sample, answers = origin.sample, origin.fill_in(answers)
    _check_columns(answers, sample)
    export = recognise_export(sample)
    if export is not None:
        answers = fill_in_answers(answers, export, sample)
    times = _find_times(sample, answers, now, export)
    chosen = _choose_time(times, answers)
    if chosen is not None and origin.query is None:  # a query compares columns, and a template is none
        chosen = _add_clock(chosen, sample, now)
    used = frozenset(_list_column_names(chosen.name, sample) if chosen else []) | frozenset(answers.keys)
    outcomes = find_outcome_columns(sample) - frozenset(answers.keys) if export is None else frozenset()
    looks_like = propose_people(sample, answers, (used | outcomes) - frozenset(answers.keys))
    ids = propose_id(
        sample,
        answers,
        used | _collect_people_columns(looks_like),
        also=[line.columns[0] for line in looks_like if line.key in _ALSO_IDS],
        times=[chosen.name] if chosen and chosen.name in sample.columns else [],
    )
    claimed = frozenset() if answers.id else _collect_columns(ids) - frozenset(answers.keys)
    people = [line for line in looks_like if line.columns[0] not in claimed or line.key in _ALSO_IDS]
    used |= _collect_columns([*ids, *(line for line in people if line.confidence is Confidence.TAKEN)])
    kept = (
        propose_outcome_filter(sample, used, answers.no_conversions)
        if export is None
        else list(propose_filter(export, sample))
    )
    used |= _collect_columns(kept)
    mail = () if export is None else export.mail
    consent = [] if any(line.section == "consent" for line in kept) else propose_consent(sample, used, mail)
    used |= _collect_columns(consent)
    lines = [
        *propose_client(sample, answers.client, used),
        *_propose_window(sample, times, chosen, answers),
        *_propose_event(answers, ids),
        *people,
        *propose_money(sample, answers, used),
        *(line for line in ids if line.section == "custom_data"),
        *propose_contents(sample, used),
        *(() if export is None else propose_constants(export, answers)),
        *kept,
        *consent,
    ]
    lines = [doubted for line in lines for doubted in _flag_rounded_ids(line, sample)]
    check_people(lines, sample)
    return Proposal(
        lines=tuple(lines),
        first_night=_choose_first_day(origin, chosen, answers, now),
        aside=_explain_unused_columns(sample, lines, times),
        needs_country=answers.country is None
        and Confidence.UNSURE in {line.confidence for line in people if line.key == "ph"},
        export="" if export is None else export.title,
    )


#: Keys of people whose values may tell events apart as well: a lead is one event, a member and a time are another.
_ALSO_IDS = ("lead_id", "external_id")
_ID_PATHS = (
    "event.id",
    "custom_data.order_id",
    "custom_data.item_number",
    "user_data.lead_id",
    "user_data.external_id",
)
_ROUNDED_MESSAGE = (
    "{name}: all long numbers end in zeros where a spreadsheet keeps no digits (it rounds to 15), so they are "
    "probably no longer the ids; export the column as text"
)


def _flag_rounded_ids(line: Line, sample: Sample) -> Iterator[Line]:
    """The line; one of ids that a spreadsheet seems to have rounded is left to the user."""
    rounded = [
        name for name in line.columns if line.place in _ID_PATHS and count_rounded_to_15(sample.columns[name].text)
    ]
    if not rounded or line.confidence is Confidence.OPEN:
        yield line
        return
    words = _ROUNDED_MESSAGE.format(name=rounded[0])
    yield replace(line, because=words, confidence=Confidence.UNSURE)
    if line.place == "event.id":
        yield Line("event", "id", None, f"TODO: {words}, then name the column", Confidence.OPEN)


def _list_column_names(time: str, sample: Sample) -> Sequence[str]:
    """The columns of a template, or the one column, whatever its name contains."""
    return [time] if time in sample.columns else TEMPLATE_PART.split(time)[1::3] or [time]


def _check_columns(answers: Answers, sample: Sample) -> None:
    plain = names_among(sample.columns)
    times = _list_column_names(answers.time, sample) if answers.time else []
    asked = {"--time": times, "--value": [answers.value], "--id": _list_id_columns(answers), "--map": answers.keys}
    for option, names in asked.items():
        for name in names:
            if name is not None and name not in sample.columns:
                guess = did_you_mean(name, plain) or f"; there are {', '.join(plain)}"
                raise UsageError(f'{option}: there is no column "{name}"{guess}\nNothing was written')


def _list_id_columns(answers: Answers) -> Sequence[str]:
    try:
        return FieldSpec.model_validate(answers.id).columns if answers.id else ()
    except ValidationError:
        raise UsageError(
            '--id: name a column, or columns in braces, such as "{order_no}-{line_no}". Nothing was written'
        ) from None


def _collect_columns(lines: Iterable[Line]) -> frozenset[str]:
    return frozenset(name for line in lines for name in line.columns)


def _collect_people_columns(lines: Iterable[Line]) -> frozenset[str]:
    """Columns that identify people are no ids of events, even where every person occurs once."""
    return _collect_columns(line for line in lines if line.key != "subscription_id")


def check_people(lines: Sequence[Line], sample: Sample) -> None:
    """Refuse what Meta would refuse of every row."""
    found = [line for line in lines if line.section == "user_data"]
    if is_too_little([line.key for line in found if line.confidence is Confidence.TAKEN]):
        near = "".join(f"\n  {line.columns[0]}: {line.because}" for line in found)
        raise UsageError(
            f"no column identifies the people. {PERSON_NEEDED}.\n"
            f"Columns: {', '.join(names_among(sample.columns))}{near}\n"
            "Export such a column as well, or name one: --map em=COLUMN (or ph, external_id, …). Nothing was written"
        )


def _explain_unused_columns(sample: Sample, lines: Sequence[Line], times: Sequence[TimeColumn]) -> dict[str, str]:
    """Each column that no line reads, and why; no value of it is named."""
    used, clocks = _collect_columns(lines), {one.name for one in times}
    return {name: _explain_unused(column, clocks) for name, column in sample.columns.items() if name not in used}


def _explain_unused(column: Column, clocks: Collection[str]) -> str:
    if not column.filled:
        return "empty in every row"
    if column.name in clocks:
        return "a time, but not the event's; --time takes it"
    if "fbclid" in column.name.lower():
        return 'a click id without its time; with the click in milliseconds, write fbc: "fb.1.{TIME:integer}.{…}"'
    if column.distinct == 1:
        return "one value in every row" if column.filled == len(column.text) else "one value wherever it has one"
    return NO_FIELD


# ---------------------------------------------------------------------------------------------- when


def _find_times(sample: Sample, answers: Answers, now: datetime, export: Export | None) -> list[TimeColumn]:
    if answers.time is None:
        return find_time_columns(sample, now)
    found = find_time_formats(_build_time_column(answers.time, sample), now, export.formats if export else ())
    if found is None:
        raise UsageError(
            f'--time: too few values of "{answers.time}" can be read as times of the past; ISO 8601, Unix times and '
            "days such as 24.11.2026 can. Nothing was written"
        )
    return [found]


def _build_time_column(time: str, sample: Sample) -> Column:
    """The column, or what a template of columns makes of each row."""
    if time in sample.columns:
        return sample.columns[time]
    parts = TEMPLATE_PART.split(time)
    texts = [sample.columns[part].text if at % 3 else part for at, part in enumerate(parts) if at % 3 != 2]
    return Column(time, pc.binary_join_element_wise(*texts, ""))


def _choose_time(times: Sequence[TimeColumn], answers: Answers) -> TimeColumn | None:
    """The one that is clearly the event's: the best of several, or the only one unless its name speaks against it."""
    if not times or (answers.time is None and times[0].score < 0):
        return None
    if len(times) > 1 and times[0].score == times[1].score:
        return None
    return times[0]


def _add_clock(day: TimeColumn, sample: Sample, now: datetime) -> TimeColumn:
    """``{Visit Date} {Visit Time}`` for a day whose clock stands in a column of its own; else the day as it is."""
    without = not day.has_clock and not day.other_reading and day.name in sample.columns
    clock = find_clock_column(sample, day) if without else None
    if clock is None or re.search(r"[{}:!]", day.name + clock):
        return day
    both = f"{{{day.name}}} {{{clock}}}"
    return find_time_formats(_build_time_column(both, sample), now) or day


def _propose_window(
    sample: Sample, times: Sequence[TimeColumn], chosen: TimeColumn | None, answers: Answers
) -> list[Line]:
    zone = answers.timezone or (None if chosen is None or chosen.zone_matters else "UTC")
    said = (
        answers.explain_source("timezone")
        if answers.timezone
        else "values carry their own zone; days are cut in this one"
    )
    timezone = Line("window", "timezone", zone, said)
    if zone is None:
        todo = "TODO: values have no time zone; in which were they written? Such as America/New_York"
        timezone = Line("window", "timezone", None, todo, Confidence.OPEN)
    if chosen is None:
        return [Line("window", "column", None, _describe_missing_time(times), Confidence.OPEN), timezone]
    column = _build_time_column(chosen.name, sample)
    said = _describe_time(chosen) + describe_gaps(column)
    if chosen.name in sample.columns:
        return [Line("window", "column", chosen.name, said, columns=(chosen.name,)), timezone, *_propose_time(chosen)]
    names = tuple(_list_column_names(chosen.name, sample))
    forms = [Line("window", "format", list(chosen.formats), "how they are written")] if chosen.formats else []
    return [Line("window", "template", chosen.name, said, columns=names), *forms, timezone]


def _describe_missing_time(times: Sequence[TimeColumn]) -> str:
    if not times:
        return "TODO: no column can be read as times of the past; name the one that says when it happened"
    named = ", ".join(one.name for one in times)
    return f"TODO: which says when it happened? Times are in {named}"


def _describe_time(chosen: TimeColumn) -> str:
    what = "times of the past" if chosen.has_clock else "days of the past without a clock, sent as midnight"
    return f"{describe_share(chosen.readable, chosen.filled)} are {what}"


def _propose_time(chosen: TimeColumn) -> list[Line]:
    if not chosen.formats:
        return []
    form = chosen.formats[0]
    node = {"column": chosen.name, "type": "timestamp", "format": form}
    if not chosen.other_reading:
        return [Line("event", "time", node, f"read as {form}", columns=(chosen.name,))]
    todo = f"TODO: day and month cannot be distinguished; write the format, such as {form}"
    return [Line("event", "time", {**node, "format": None}, todo, Confidence.OPEN, (chosen.name,))]


def _choose_first_day(origin: Origin, chosen: TimeColumn | None, answers: Answers, now: datetime) -> date:
    """The day in the file's name, else the last day that has rows, else yesterday."""
    zone = answers.timezone or "UTC"
    if origin.day is not None or chosen is None:
        return origin.day or find_yesterday(zone, now)
    instants = (
        origin.latest(chosen, zone)
        if origin.latest
        else chosen.read_instants(_build_time_column(chosen.name, origin.sample), zone)
    )
    return find_latest_day(instants, zone, now) or find_yesterday(zone, now)


# ---------------------------------------------------------------------------------------------- what


def _propose_event(answers: Answers, ids: Sequence[Line]) -> list[Line]:
    name = Line("event", "name", answers.event, answers.explain_source("event"))
    if answers.event is None:
        todo = "TODO: what happened? Purchase, Lead, … or a name of your own, as the browser's pixel calls it"
        name = Line("event", "name", None, todo, Confidence.OPEN)
    source = Line("event", "action_source", answers.action_source, answers.explain_source("action_source"))
    if answers.action_source is None:
        todo = "TODO: where? physical_store, phone_call, system_generated, website, email, app, chat, other"
        source = Line("event", "action_source", None, todo, Confidence.OPEN)
    return [name, *(line for line in ids if line.section == "event"), source]
