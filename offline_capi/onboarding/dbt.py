"""Inspection of a relation of dbt's: its rows, and what the project says of its columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from offline_capi.audit.names import find_key
from offline_capi.config.dbt import parse_dbt_name
from offline_capi.config.platform import Dbt
from offline_capi.config.source import DbtSource
from offline_capi.errors import UsageError
from offline_capi.identity import normalize
from offline_capi.meta.catalogue import USER_DATA_KEYS, check_key
from offline_capi.onboarding.lines import MIN_READABLE_SHARE
from offline_capi.onboarding.origins import Origin, derive_name, require_rows
from offline_capi.onboarding.questions import validate_answer
from offline_capi.onboarding.sample import Column, Sample
from offline_capi.onboarding.tables import describe_table, find_latest_time, read_sample
from offline_capi.sources import SourceAccess
from offline_capi.sources.dbt import find_connection, find_relation
from offline_capi.sources.dbt.manifest import DbtColumn, DbtRelation
from offline_capi.sources.sql.dialects import engine_for
from offline_capi.sources.sql.errors import Where, explain_query_errors

__all__ = ["inspect_dbt"]

#: ``meta`` of a model or column under which a project says what is for us.
META = "offline_capi"
#: Other keys of a column's ``meta`` under which projects say whose data it is.
_PII = ("pii_type", "pii", "classification")
_ANSWERS = ("event", "action_source", "timezone", "country", "currency", "time", "id", "value", "external_id")


def inspect_dbt(
    text: str, settings: Dbt, connection_url: Callable[[str], str], environ: Mapping[str, str], project: Path
) -> Origin:
    """A relation by dbt's name for it, with some of its rows, and the answers that its project has already."""
    try:
        reference = parse_dbt_name(text)
    except ValueError as error:
        raise UsageError(f'--dbt: "{text}" {error}. Nothing was written') from None
    source = DbtSource(dbt=str(reference))
    access = SourceAccess("UTC", connection_url, folder=project, environ=environ, dbt=settings)
    relation, connection = find_relation(source, access), find_connection(source, access)
    where = Where(connection, f"dbt's {reference}")
    with explain_query_errors(where):
        engine = engine_for(connection_url(connection), where)
    table = describe_table(relation.name, engine.dialect)
    sample = Sample.collect(read_sample(connection, table, connection_url))
    return Origin(
        name=derive_name(reference.name),
        described=source.describe(),
        node={"dbt": str(reference)},
        notes={"dbt": "the relation, by the manifest that platform.dbt in clients.yml names"},
        sample=require_rows(sample, source.describe()),
        latest=lambda time, zone: find_latest_time(connection, table, time, zone, connection_url),
        answers=dict(_read_answers(relation)),
        keys=dict(_read_keys(relation, sample)),
        said_by=source.describe(),
    )


def _read_answers(relation: DbtRelation) -> Iterator[tuple[str, str]]:
    """What the model's ``meta`` answers already, each as a person would answer it."""
    said = relation.meta.get(META)
    for name in _ANSWERS:
        value = said.get(name) if isinstance(said, dict) else None
        if isinstance(value, (str, int, float)) and (answer := validate_answer(name, str(value))):
            yield name, answer


def _read_keys(relation: DbtRelation, sample: Sample) -> Iterator[tuple[str, str]]:
    """Column → key of ``user_data``: by the project's own word, else by a tag or description that its values fit."""
    folded = {name.casefold(): column for name, column in sample.columns.items()}
    for column in relation.columns.values():
        values = folded.get(column.name.casefold())
        if values is None:
            continue
        said: Any = column.meta.get(META)
        if said is not None:
            said = said.get("key") if isinstance(said, dict) else said
            try:
                yield values.name, check_key(str(said))
            except ValueError as error:
                raise UsageError(
                    f'--dbt: meta.{META} of the column {column.name} is "{said}", which {error}\nNothing was written'
                ) from None
            continue
        key = next((key for key in _guess_keys(column) if _is_borne_out(key, values)), None)
        if key is not None:
            yield values.name, key


def _guess_keys(column: DbtColumn) -> Iterator[str]:
    words = [str(column.meta[name]) for name in _PII if isinstance(column.meta.get(name), str)]
    words += [re.sub(r"^(?:pii|capi|meta)[:_\-. ]", "", tag, flags=re.IGNORECASE) for tag in column.tags]
    for word in words:
        if (found := find_key(word)) is not None and not found.hashed:
            yield found.key
    opening = re.split(r"[.,;:(]", column.description.lower())[0]
    yield from (key for key, facts in USER_DATA_KEYS.items() if facts.hashing == "always" and facts.meaning in opening)


def _is_borne_out(key: str, column: Column) -> bool:
    found = normalize(key, column.given)
    return bool(column.filled) and len(found) - found.null_count >= MIN_READABLE_SHARE * column.filled
