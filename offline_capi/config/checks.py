"""Checks that a node cannot make alone: names in other files, and options that depend on a field's position.

A check gets one validated section of an upload and yields findings; a faulty section does not keep the others from
being checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from offline_capi.config.airflow import AirflowSettings, HealthSettings
from offline_capi.config.columns import (
    find_field_specs,
    find_lookup,
    list_columns,
    list_columns_used,
    list_lookup_columns,
    list_named_columns,
)
from offline_capi.config.document import Loc, format_path
from offline_capi.config.fields import Condition, EventName, Expectation, FieldSpec
from offline_capi.config.formats import find_format_problem
from offline_capi.config.mapping import Contents, CustomData, Event, WindowSpec
from offline_capi.config.queries import find_query_problems, read_query_text
from offline_capi.config.run_texts import MAX_TAG_CHARS, fill_in
from offline_capi.config.schedule import AssetPlaces, DataSchedule
from offline_capi.config.source import (
    DbtSource,
    DeltaSource,
    FileSource,
    IcebergSource,
    Lookup,
    SourceSettings,
    SparkTableSource,
    SqlSource,
)
from offline_capi.config.types import ActionSource
from offline_capi.config.upload import Upload
from offline_capi.config.wording import Finding
from offline_capi.meta.catalogue import USER_DATA_KEYS, WORDS
from offline_capi.meta.standard_events import near_standard_name, standard_spelling
from offline_capi.runtime.nearest import did_you_mean

__all__ = ["ValidationScope", "check_imports", "check_sections", "find_piece_problems"]

_FIELD_WORDS: Mapping[str, tuple[str, ...]] = {"action_source": get_args(ActionSource), **WORDS}
_TYPED_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "format": ("timestamp", "date"),
    "unit": ("timestamp",),
    "timezone": ("timestamp",),
    "decimal": ("number", "integer", "money"),
}


@dataclass(frozen=True)
class ValidationScope:
    """What an upload may refer to."""

    sql_folder: Path
    clients: Collection[str]
    environment: str = ""
    #: What ``platform.python`` names; ``None`` where that cannot be read.
    python: Collection[str] | None = None
    #: The catalogs of Iceberg that ``platform`` names; ``None`` where that cannot be read.
    iceberg_catalogs: Collection[str] | None = None
    #: Whether ``platform.dbt`` names the connection in which dbt's relations are; true where that cannot be read.
    has_dbt_connection: bool = True
    #: Where assets lie by ``platform``; ``None`` where that cannot be read.
    assets: AssetPlaces | None = None

    def list_queries(self) -> list[str]:
        return [path.relative_to(self.sql_folder).as_posix() for path in self.sql_folder.rglob("*.sql")]


def check_sections(upload: Upload, sections: Collection[str], scope: ValidationScope) -> Iterator[Finding]:
    """What is wrong with the named sections of an upload that is valid by itself."""
    for section, check in _CHECKS.items():
        if section in sections:
            yield from check(getattr(upload, section), scope)
    yield from _check_whole(upload, sections)
    if "delivery" in sections:
        yield from _check_tag(upload, scope)
    if "drift" in sections:
        yield from _check_drift(upload)
    if {"event", "user_data"} <= set(sections):
        yield from _check_ids(upload, sections)
    if upload.engine.spark and {"filter", "expect", "lookups", "transform"} <= set(sections):
        yield from find_piece_problems(upload)
    if "source" in sections:
        yield from find_table_problems(upload)


def find_piece_problems(upload: Upload) -> Iterator[Finding]:
    """What an upload has that cannot be done where windows are cut into pieces, which other machines prepare."""
    if upload.transform is not None:
        yield ("transform",), "cannot be used with engine: spark: the executors do not have your modules"
    for name in upload.lookups:
        yield (
            ("lookups", name),
            "cannot be used with engine: spark: its readable rows would travel, and Spark may write them to a disk; "
            "join the table in the source",
        )
    for index, condition in enumerate(upload.filter):
        if condition.first_of:
            yield (
                ("filter", index, "first_of"),
                "cannot be used with engine: spark: it needs all rows in one order; select first rows in the source",
            )
    for index, expectation in enumerate(upload.expect):
        if expectation.unique:
            yield ("expect", index, "unique"), "cannot be used with engine: spark: it needs all rows in one order"


def find_table_problems(upload: Upload) -> Iterator[Finding]:
    """What cannot be done with a table of Spark's catalog, whose rows never come to this process."""
    if isinstance(upload.source, SparkTableSource):
        if not upload.engine.spark:
            yield ("source", "table"), "is read on Spark alone: set engine: spark, or name the table's files with path"
        if upload.drop_frequent:
            yield ("drop_frequent",), "cannot be used with source.table: it reads all rows of the window here first"


# ---------------------------------------------------------------------------------------------- names in other files


def _check_client(spec: FieldSpec, scope: ValidationScope) -> Iterator[Finding]:
    for loc, name in _list_literals(spec, ("client",)):
        if name not in scope.clients:
            known = ", ".join(sorted(scope.clients)[:10]) or "none yet"
            guess = did_you_mean(name, scope.clients) or ";"
            yield loc, f'client "{name}" is not in clients.yml{guess} clients: {known}'
    yield from _check_fields(spec, ("client",))


def _check_event(event: Event, _: ValidationScope) -> Iterator[Finding]:
    yield from _check_names(event.name, ("event", "name"))
    if event.original_event is not None:
        yield from _check_names(event.original_event.name, ("event", "original_event", "name"))
    yield from _check_words(event, ("event",))
    yield from _check_fields(event, ("event",))


def _check_names(names: EventName, loc: Loc) -> Iterator[Finding]:
    """Names that the YAML alone decides, where they are nearly a standard event's."""
    for place, name in _list_literals(names, loc) if not names.exact else ():
        if (standard := standard_spelling(name)) != name:
            yield (
                place,
                f'"{name}" is a custom event to Meta: names of standard events count in their own case alone; '
                f'did you mean "{standard}"? If not, write exact: true in {format_path(loc)}',
            )
        elif near := near_standard_name(name):
            yield (
                place,
                f'"{name}" would be a custom event; did you mean "{near}"? If it is a name of your own, '
                f"confirm it: exact: true in {format_path(loc)}",
            )


#: Keys whose readable values identify a person; a country, a state or a gender does not.
_READABLE_KEYS = tuple(
    key
    for key, facts in USER_DATA_KEYS.items()
    if facts.hashing == "always" and facts.kind not in ("gender", "state", "country")
)


def _check_ids(upload: Upload, sections: Collection[str]) -> Iterator[Finding]:
    """Ids go to Meta, into the ledger's reports and into staged files as they are: none is made of a person's data."""
    readable = {
        column: key
        for key in _READABLE_KEYS
        for spec in upload.user_data.get(key, ())
        if not spec.hashed
        for column in list_columns(spec.model_copy(update={"country": None}))
    }
    ids: list[tuple[Loc, FieldSpec | None]] = [(("event", "id"), upload.event.id)]
    if "custom_data" in sections:
        ids.append((("custom_data", "order_id"), upload.custom_data.order_id))
    for loc, spec in ids:
        for column in list_columns(spec) if spec is not None and spec.map is None else ():
            if column in readable:
                yield (
                    loc,
                    f'"{column}" is {readable[column]} of user_data, and ids are never hashed; use a key of the sale, '
                    "such as an order number, or a column that holds a hash",
                )


def _check_words(node: Event | CustomData | Contents, loc: Loc) -> Iterator[Finding]:
    """Fields for which Meta allows certain words only, where their values stand in the YAML itself."""
    for name, words in _FIELD_WORDS.items():
        spec = getattr(node, name, None)
        for place, word in _list_literals(spec, (*loc, name)) if isinstance(spec, FieldSpec) else ():
            if word not in words:
                guess = did_you_mean(word, words) or ";"
                yield place, f'"{word}" is unknown{guess} one of: {", ".join(words)}'


def _list_literals(spec: FieldSpec, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """The values that a field can take by the YAML alone: constants, results of a map, defaults."""
    for place, part in find_field_specs(spec, loc):
        own = (((*place, key), getattr(part, key)) for key in ("constant", "default"))
        yield from ((at, str(value)) for at, value in own if value is not None)
        yield from (((*place, "map", key), str(value)) for key, value in (part.map or {}).items())


# ---------------------------------------------------------------------------------------------- options by position


def _check_custom_data(custom: CustomData, _: ValidationScope) -> Iterator[Finding]:
    yield from _check_words(custom, ("custom_data",))
    if custom.contents is not None:
        yield from _check_words(custom.contents, ("custom_data", "contents"))
    for name in custom.properties:
        if name in CustomData.model_fields:
            yield ("custom_data", "properties", name), f"is a standard key; write it as custom_data.{name}"
    yield from _check_fields(custom, ("custom_data",))


#: What Meta's own uploaders refuse below zero (meta-capi.md 15, on 3.1).
_MAY_BE_NEGATIVE = tuple(("custom_data", name) for name in ("value", "num_items", "predicted_ltv"))


def _check_fields(node: object, loc: Loc) -> Iterator[Finding]:
    """Fields outside user_data."""
    for place, spec in find_field_specs(node, loc):
        if spec.hashed:
            yield (*place, "hashed"), "belongs to user_data only: nothing else is sent hashed"
        if spec.country:
            yield (*place, "country"), "belongs to user_data.ph only: it completes phone numbers"
        if spec.allow_negative and place not in _MAY_BE_NEGATIVE:
            yield (*place, "allow_negative"), "belongs to custom_data.value, num_items and predicted_ltv only"
        if spec.on_error == "leave_out" and (loc[0] != "custom_data" or place[1:2] in (("value",), ("currency",))):
            yield (*place, "on_error"), "cannot be leave_out here: without this value it would be another event"
        yield from _check_type_options(spec, place)


def _check_type_options(spec: FieldSpec | WindowSpec, loc: Loc) -> Iterator[Finding]:
    declared = None if isinstance(spec, WindowSpec) else spec.type
    misplaced = [
        option
        for option, kinds in _TYPED_OPTIONS.items()
        if declared and option in spec.model_fields_set and declared not in kinds
    ]
    for option in misplaced:
        kinds = _TYPED_OPTIONS[option]
        several = f"{', '.join(kinds[:-1])} and " if kinds[:-1] else ""
        yield (*loc, option), f"has no meaning for type {declared}, only for {several}{kinds[-1]}"
    # One finding for a format in the wrong position: its content does not matter there.
    for form in () if "format" in misplaced else spec.format:
        if problem := find_format_problem(form):
            yield (*loc, "format"), problem


def _check_user_data(user_data: Mapping[str, tuple[FieldSpec, ...]], _: ValidationScope) -> Iterator[Finding]:
    for key, columns in user_data.items():
        if len(columns) > 1 and not USER_DATA_KEYS[key].several:
            yield (
                ("user_data", key),
                "holds one value, not a list; for the first that is not empty write {coalesce: [one, other]}",
            )
        for index, spec in enumerate(columns):
            yield from _check_identity(key, spec, ("user_data", key, index))


def _check_identity(key: str, field: FieldSpec, loc: Loc) -> Iterator[Finding]:
    for place, spec in find_field_specs(field, loc):
        if spec.hashed and not USER_DATA_KEYS[key].hashable:
            yield (*place, "hashed"), "Meta wants this key as it is, never hashed; map the readable column"
        if spec.on_error:
            yield (
                (*place, "on_error"),
                "belongs to custom_data: a person's values that cannot be read are always left out",
            )
        if spec.allow_negative:
            yield (*place, "allow_negative"), "belongs to custom_data.value, num_items and predicted_ltv only"
        if spec.country and key != "ph":
            yield (*place, "country"), "belongs to ph only: it completes phone numbers"
        if spec is not field and (spec.hashed or spec.country):
            yield place, "write hashed and country next to coalesce, not inside it"
        if spec.format and spec.type is None and key != "db":
            yield (*place, "format"), "belongs to db only, or next to type: date or timestamp"
        else:
            yield from _check_type_options(spec, place)


# ---------------------------------------------------------------------------------------------- drift


def _check_drift(upload: Upload) -> Iterator[Finding]:
    used = list_columns_used(upload)
    for name in upload.drift.columns:
        if name not in used:
            yield ("drift", "columns", name), f'the upload reads no column "{name}"{did_you_mean(name, used)}'


# ---------------------------------------------------------------------------------------------- source


def _check_source(
    source: SourceSettings, scope: ValidationScope, here: Loc = ("source",), *, windowed: bool = True
) -> Iterator[Finding]:
    if isinstance(source, SqlSource):
        yield from _check_query(source, scope, (*here, "sql"), windowed=windowed)
    elif isinstance(source, FileSource):
        yield from _check_path(source.path, (*here, "path"))
        if source.partitioning == "hive" and re.search(r"[*?\[]|\{date", source.path):
            yield (
                (*here, "path"),
                "is the folder above the first COLUMN=VALUE where partitioning is hive: no *, no {date}",
            )
    if source.incremental and not windowed:
        yield (*here, "incremental"), "is for the source of an upload: a table to join is read whole"
    if isinstance(source, DeltaSource):
        if re.search(r"[{}]", re.sub(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}", "", source.delta)):
            yield (*here, "delta"), "is one table: braces have a meaning in ${NAME} only"
    elif isinstance(source, IcebergSource) and scope.iceberg_catalogs is not None:
        name, known = source.iceberg.catalog, scope.iceberg_catalogs
        if name not in known:
            guess = did_you_mean(name, known) or f"; there are: {', '.join(sorted(known)) or 'none'}"
            yield (*here, "iceberg", "catalog"), f'"{name}" is not under platform.iceberg_catalogs{guess}'
    elif isinstance(source, DbtSource) and source.connection is None and not scope.has_dbt_connection:
        yield (
            (*here, "dbt"),
            "needs the connection in which dbt builds: write platform.dbt.connection in clients.yml, or one here",
        )


def _check_query(source: SqlSource, scope: ValidationScope, here: Loc, *, windowed: bool) -> Iterator[Finding]:
    """``windowed``: the query has to use the window, or each run would read everything."""
    try:
        query = scope.sql_folder.joinpath(source.sql).read_text(encoding="utf-8-sig") if source.is_file else source.sql
    except FileNotFoundError:
        yield (
            here,
            f'there is no file "{source.sql}" in {scope.sql_folder}{did_you_mean(source.sql, scope.list_queries())}',
        )
    except (OSError, UnicodeDecodeError):
        yield here, f'the file "{source.sql}" in {scope.sql_folder} cannot be read as UTF-8 text'
    else:
        problems = find_query_problems(query) if windowed else read_query_text(query).problems
        yield from ((here, problem) for problem in problems)


def _check_path(path: str, here: Loc) -> Iterator[Finding]:
    """Braces are ``${NAME}``, ``{date}`` or ``{date:FORMAT}``; the format must distinguish days."""
    rest = re.sub(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}", "", path)
    for name, form in re.findall(r"\{(\w*)(?::([^{}]*))?\}", rest):
        if name != "date":
            yield here, f'"{{{name}}}" means nothing here; write {{date}}, {{date:%Y%m%d}} or ${{NAME}}'
        elif form and not _has_whole_date(form):
            yield here, f'the format "{form}" does not distinguish days; use %Y, %m and %d, or %Y and %j'
    if re.search(r"[{}]", re.sub(r"\{\w*(:[^{}]*)?\}", "", rest)):
        yield here, "has a brace without its partner; write {date}, {date:%Y%m%d} or ${NAME}"


def _has_whole_date(form: str) -> bool:
    directives = set(re.findall(r"%-?([A-Za-z])", form))
    year, month, day = directives & {"Y", "y"}, directives & {"m", "b", "B"}, directives & {"d"}
    return bool(directives & {"F", "x", "D"} or (year and (("j" in directives) or (month and day))))


# ---------------------------------------------------------------------------------------------- the user's own code

#: Where providers of Airflow keep their notifiers; another module of theirs may start programs.
_NOTIFIERS = re.compile(r"airflow\.providers\.[\w.]+\.notifications(\.\w+)*")


def check_imports(node: AirflowSettings | HealthSettings, loc: Loc, python: Collection[str]) -> Iterator[Finding]:
    """Notifiers whose module may not be imported."""
    named = {(): node.notify} if isinstance(node, HealthSettings) else {(kind,): few for kind, few in node.notify}
    for kind, notifiers in named.items():
        for number, notifier in enumerate(notifiers):
            if not _NOTIFIERS.fullmatch(notifier.call.partition(":")[0]):
                yield from _check_module(notifier.call, (*loc, "notify", *kind, number, "call"), python)


def _check_module(name: str, loc: Loc, python: Collection[str]) -> Iterator[Finding]:
    module = name.partition(":")[0]
    if not any(module == one or module.startswith(f"{one}.") for one in python):
        own = ", ".join(dict.fromkeys([*python, module.partition(".")[0]]))
        yield (
            loc,
            f'"{module}" may not be imported: clients.yml does not name it. If it is yours, write under platform: '
            f"python: [{own}]",
        )


def _check_transform(transform: str | None, scope: ValidationScope) -> Iterator[Finding]:
    if transform is not None and scope.python is not None:
        yield from _check_module(transform, ("transform",), scope.python)


def _check_airflow(settings: AirflowSettings, scope: ValidationScope) -> Iterator[Finding]:
    if scope.python is not None:
        yield from check_imports(settings, ("airflow",), scope.python)


def _check_schedule(schedule: DataSchedule | str | None, scope: ValidationScope) -> Iterator[Finding]:
    if not isinstance(schedule, DataSchedule) or scope.assets is None:
        return
    for index, awaited in enumerate(schedule.after):
        if not awaited.is_asset or scope.assets.locate(awaited) is not None:
            continue
        if awaited.table is not None:
            yield (
                ("schedule", "after", index, "table"),
                "needs platform.airflow.assets.table in clients.yml: how the URIs of such assets begin",
            )
        elif scope.assets.table is None and not scope.has_dbt_connection:
            yield (
                ("schedule", "after", index, "dbt"),
                "needs platform.dbt.connection in clients.yml, where dbt builds, or platform.airflow.assets.table, how "
                "the URIs of its tables begin",
            )


def _check_awaited_source(upload: Upload) -> Iterator[Finding]:
    """Whether the source is one that can be waited for as the schedule says."""
    for index, awaited in enumerate(upload.schedule.after if isinstance(upload.schedule, DataSchedule) else ()):
        here = ("schedule", "after", index)
        if awaited.files and not isinstance(upload.source, FileSource):
            yield (*here, "files"), "is for a source of files (source.path); a query is started by an asset, or a cron"
        if not awaited.snapshot:
            continue
        if not isinstance(upload.source, (DeltaSource, IcebergSource)):
            yield (*here, "snapshot"), "is for a Delta or Iceberg table; name an asset, or files: true"
        elif upload.source.names_a_state:
            yield (*here, "snapshot"), "waits for the newest state, and source names another one"


# ---------------------------------------------------------------------------------------------- filter, lookups


def _check_filter(conditions: tuple[Condition, ...], _: ValidationScope) -> Iterator[Finding]:
    firsts = [index for index, condition in enumerate(conditions) if condition.first_of]
    yield from ((("filter", index), "is a second first_of; one names all its columns") for index in firsts[1:])
    yield from _check_time_options("filter", conditions)


def _check_time_options(section: str, conditions: Sequence[Condition]) -> Iterator[Finding]:
    for index, condition in enumerate(conditions):
        is_time = any(isinstance(bound, str) for _, bound in condition.bounds)
        is_time = is_time or (isinstance(condition, Expectation) and condition.fresh_within is not None)
        for option in ("format", "unit", "timezone"):
            if option in condition.model_fields_set and not is_time:
                yield (section, index, option), "has a meaning only where the column is compared with a date or time"
        for form in condition.format:
            if problem := find_format_problem(form):
                yield (section, index, "format"), problem


def _check_lookups(lookups: Mapping[str, Lookup], scope: ValidationScope) -> Iterator[Finding]:
    for name, lookup in lookups.items():
        yield from _check_source(lookup, scope, ("lookups", name), windowed=False)


def _check_tag(upload: Upload, scope: ValidationScope) -> Iterator[Finding]:
    """Whether ``upload_tag`` fits once its names are filled in."""
    day = datetime(2026, 12, 31, tzinfo=UTC)
    names = {"upload": upload.name, "client": max(scope.clients, key=len, default=""), "run": "-" * RUN_ID_CHARS}
    dates = {"since": day, "until": day}
    tag = fill_in(upload.delivery.upload_tag or "", names | {"environment": scope.environment}, dates)
    tag = json.dumps(tag)[1:-1]
    if len(tag) > MAX_TAG_CHARS:
        yield ("delivery", "upload_tag"), f"is {len(tag)} characters long in a request; {MAX_TAG_CHARS} at most"


#: ``20261129T123000-1a2b3c4d``.
RUN_ID_CHARS = 24


def _check_whole(upload: Upload, sections: Collection[str]) -> Iterator[Finding]:
    """Checks that need several sections at once."""
    if not set(sections) >= _MAPPED:
        return
    for name in upload.lookups:
        if not list_lookup_columns(upload, name):
            yield ("lookups", name), f"is read for nothing: no field names a column of it, such as {name}.COLUMN"
        by = upload.lookups[name].by or ""
        if find_lookup(by, upload):
            yield ("lookups", name, "by"), f'"{by}" is a column of a lookup; name one of the source, or join the tables'
    yield from _check_awaited_source(upload)
    if upload.source.incremental and not upload.keeps_events_in_their_day:
        yield (
            ("source", "incremental"),
            "needs an event whose time is window.column, in its zone: by it a row is late. Leave event.time out, or "
            "name the column of the event's time in window",
        )
    for column in upload.window.columns:
        if find_lookup(column, upload):
            yield (
                ("window",),
                f'"{column}" is a column of a lookup; rows are assigned to the window before lookups are joined',
            )
    if upload.transform is None:
        known = {*list_named_columns(upload), *list_columns_used(upload)}
        for index, test in enumerate(upload.tests):
            # A column that nothing reads is harmless; one that looks like a column that the row lacks is mistyped.
            for column in [name for name in test.row if name not in known]:
                if guess := did_you_mean(column, known - {*test.row}):
                    yield ("tests", index, "row", column), f'no part of this upload reads a column "{column}"{guess}'


_MAPPED = {"window", "event", "user_data", "custom_data", "consent", "filter", "expect", "lookups"}

_CHECKS: Mapping[str, Callable[..., Iterator[Finding]]] = {
    "client": _check_client,
    "source": _check_source,
    "window": lambda window, _: _check_type_options(window, ("window",)),
    "event": _check_event,
    "user_data": _check_user_data,
    "custom_data": _check_custom_data,
    "transform": _check_transform,
    "airflow": _check_airflow,
    "schedule": _check_schedule,
    "filter": _check_filter,
    "expect": lambda expectations, _: _check_time_options("expect", expectations),
    "lookups": _check_lookups,
}
