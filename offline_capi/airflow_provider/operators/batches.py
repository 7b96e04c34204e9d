"""Which clients are sent for in one mapped task: one each, or several small ones where there are very many.

Airflow maps at most ``[core] max_map_length`` tasks, 1,024 by default, and each costs a fraction of a second of its
scheduler, so that thousands of clients with a handful of events each share tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from offline_capi.errors import (
    AccessDeniedError,
    BalanceError,
    ConfigError,
    OfflineCapiError,
    PartialLossError,
    SourceSchemaError,
    TemporaryError,
)

if TYPE_CHECKING:
    from offline_capi.storage.staging import Stage, StagedEvents

__all__ = ["MAX_UNITS", "MAX_XCOM_BYTES", "describe_failure", "join_failures", "make_units", "read_staged"]

#: Mapped tasks of one run: well below Airflow's default of 1,024.
MAX_UNITS = 256
#: What the units of a run may come to as an XCom, a row of Airflow's database; more is kept in the stage.
MAX_XCOM_BYTES = 65_536
#: Overhead of a client (at least one request, one ledger lookup), counted as events.
CLIENT_COST_EVENTS = 100
_MAX_NAME_CHARS = 80
#: Failures that do not pass, the one to act on first: see ``retries``.
_FINAL = (AccessDeniedError, BalanceError, SourceSchemaError, ConfigError, PartialLossError)


def make_units(
    staged: Sequence[StagedEvents], stage: Stage, run_id: str, *, limit: int = MAX_UNITS
) -> list[dict[str, Any]]:
    """The units of the mapped task, at most ``limit``: ``{"client": label, "staged": [StagedEvents, ...]}``.

    All staged files of a client, of however many runs, stand in one unit. Where the units are too much for an XCom,
    ``staged`` is the path of a JSON file in the stage that holds the list, and ``run_id`` the run it belongs to.
    """
    files: dict[str, list[StagedEvents]] = {}
    for one in staged:
        files.setdefault(one.client, []).append(one)
    batches = _group_clients({name: sum(one.events for one in own) for name, own in files.items()}, limit)
    units = [
        {"client": _make_label(clients), "staged": [one.to_json() for name in clients for one in files[name]]}
        for clients in batches
    ]
    if len(json.dumps(units)) <= MAX_XCOM_BYTES:
        return units
    return [_keep_in_stage(unit, number, stage, run_id) for number, unit in enumerate(units)]


def read_staged(unit: Mapping[str, Any], stage: Stage) -> list[StagedEvents]:
    """The staged files of a unit, those of one client next to each other; none where the stage was purged."""
    from offline_capi.storage.staging import StagedEvents

    found = unit["staged"]
    if isinstance(found, str):
        found = json.loads(stage.filesystem.cat_file(found)) if stage.filesystem.exists(found) else []
    return [StagedEvents.from_json(one) for one in found]


def join_failures(failures: Mapping[str, OfflineCapiError], clients: int) -> OfflineCapiError:
    """The one error for the clients of a batch that failed, of the kind that makes Airflow repeat it if any may pass.

    Repeating sends only what is missing, and asks Meta once more for a client that it refused.
    """
    if len(failures) == 1:
        return next(iter(failures.values()))
    lines = "\n".join(f"  {describe_failure(client, error)}" for client, error in failures.items())
    found = [*failures.values()]
    kind: type[OfflineCapiError] = TemporaryError
    if all(isinstance(error, _FINAL) for error in found):
        kind = next(kind for kind in _FINAL if any(isinstance(error, kind) for error in found))
    return kind(f"{len(found)} of {clients} clients of this task:\n{lines}")


def describe_failure(client: str, error: OfflineCapiError) -> str:
    """The error, with the client before it."""
    text = str(error)
    return text if text.startswith(client) else f"{client}: {text}"


def _group_clients(events: Mapping[str, int], limit: int) -> Iterator[list[str]]:
    """The clients, alone as far as that is possible; with too many, the large ones alone and the small ones together.

    At most half of the units are of large clients, since each has more than its share of all the work; of the others,
    each unit but the last has at least its share of what is left.
    """
    half, work = max(limit // 2, 1), {name: count + CLIENT_COST_EVENTS for name, count in events.items()}
    if len(work) <= limit:
        yield from ([name] for name in work)
        return
    large = {name for name, cost in work.items() if cost * half > sum(work.values())}
    yield from ([name] for name in work if name in large)
    small = {name: cost for name, cost in work.items() if name not in large}
    share, batch, cost = sum(small.values()) / half, list[str](), 0
    for name in small:
        batch, cost = [*batch, name], cost + small[name]
        if cost >= share:
            yield batch
            batch, cost = [], 0
    if batch:
        yield batch


def _make_label(clients: Sequence[str]) -> str:
    """What Airflow shows for the mapped task."""
    if len(clients) == 1:
        return clients[0]
    first, last = (name[:_MAX_NAME_CHARS] for name in (clients[0], clients[-1]))
    return f"{len(clients)} clients, {first} to {last}"


def _keep_in_stage(unit: Mapping[str, Any], number: int, stage: Stage, run_id: str) -> dict[str, Any]:
    path = stage.path(run_id, f"events-unit-{number:04}.json")  # purged with the files that it names
    stage.write_json(path, unit["staged"])
    return {"client": unit["client"], "staged": path, "run_id": run_id}
