"""One good row, from which every test departs by naming what is different about its own rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from offline_capi.config.client import Client
from offline_capi.events import build_events
from offline_capi.model import BuiltEvents, HashedRows, Reason, RowFault

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
DIGEST = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"  # John_Smith@gmail.com, Meta's own sample

CLIENTS = {
    "acme": Client.model_validate({"pixel_id": "1234567890", "token": {"env": "T"}}),
    "beta": Client.model_validate({"pixel_id": "2222222222", "token": {"env": "T"}}),
    "patient": Client.model_validate(
        {"pixel_id": "3333333333", "token": {"env": "T"}, "physical_store_max_age": timedelta(days=30)}
    ),
    "paused": Client.model_validate({"pixel_id": "4444444444", "token": {"env": "T"}, "active": False}),
}

Columns = Mapping[str, Sequence[Any]]


def _array(values: Sequence[Any]) -> Any:
    array = pa.array(values)
    return array.cast(pa.string()) if array.type == pa.null() else array


def _rows(
    event: Columns | None = None,
    identity: Mapping[str, Sequence[Sequence[Any]]] | None = None,
    custom: Columns | None = None,
    *,
    client: Sequence[str | None] | None = None,
    suppressed: Sequence[bool] | None = None,
    faults: Sequence[tuple[Reason, str, Sequence[bool]]] = (),
    origin: str = "rows.csv",
    first_row: int = 1,
) -> HashedRows:
    """Rows that differ from the good row in the columns given; a column ``None`` is not mapped at all."""
    given = {**(event or {}), **{key: columns[0] for key, columns in (identity or {}).items()}, **(custom or {})}
    lengths = {len(values) for values in (*given.values(), client, suppressed) if values is not None}
    count = lengths.pop() if lengths else 1
    good = {
        "event_name": ["CreditApproval"] * count,
        "event_time": [int(NOW.timestamp()) - 3600] * count,
        "event_id": [f"id-{first_row + i}" for i in range(count)],
        "action_source": ["system_generated"] * count,
    }
    mapped = {name: values for name, values in {**good, **(event or {})}.items() if values is not None}
    people = identity if identity is not None else {"em": [[DIGEST] * count]}
    columns = {name: _array(values) for name, values in mapped.items()}
    return HashedRows(
        origin=origin,
        row=pa.array(range(first_row, first_row + count), pa.int64()),
        client=pa.array(client or ["acme"] * count, pa.string()),
        event=columns | ({"event_time": columns["event_time"].cast(pa.int64())} if "event_time" in columns else {}),
        identity={key: [pa.array(values, pa.string()) for values in arrays] for key, arrays in people.items()},
        custom={name: _array(values) for name, values in (custom or {}).items()},
        suppressed=pa.array(suppressed or [False] * count, pa.bool_()),
        faults=tuple(RowFault(reason, field, pa.array(where, pa.bool_())) for reason, field, where in faults),
    )


def _build(rows: HashedRows, **changes: Any) -> BuiltEvents:
    settings: dict[str, Any] = {"clients": CLIENTS, "zone": "America/New_York", "now": NOW, **changes}
    return build_events(rows, **settings)


def _bodies(built: BuiltEvents) -> list[Any]:
    return [json.loads(body) for body in built.events.table["body"].to_pylist()]


def _verdicts(built: BuiltEvents) -> list[tuple[str, str, str]]:
    """(fate, reason, field) of each rejection."""
    return [(row["fate"], row["reason"], row["field"]) for row in built.unsent.table.to_pylist()]


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., HashedRows]:
    return _rows


@pytest.fixture(scope="session")
def build() -> Callable[..., BuiltEvents]:
    return _build


@pytest.fixture(scope="session")
def bodies() -> Callable[[BuiltEvents], list[Any]]:
    return _bodies


@pytest.fixture(scope="session")
def verdicts() -> Callable[[BuiltEvents], list[tuple[str, str, str]]]:
    return _verdicts


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW
