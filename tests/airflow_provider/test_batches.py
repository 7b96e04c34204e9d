"""Clients by the thousand: what one mapped task sends, and what it says when some of it did not arrive."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from offline_capi.airflow_provider.operators.batches import (
    MAX_UNITS,
    MAX_XCOM_BYTES,
    join_failures,
    make_units,
    read_staged,
)
from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.errors import AccessDeniedError, InternalError, PartialLossError, TemporaryError
from offline_capi.model import Fate
from offline_capi.report import Status
from offline_capi.runtime.bugs import as_internal
from offline_capi.storage.staging import Stage, StagedEvents
from tests.airflow_provider.conftest import SampleNight

#: What Airflow maps at most where nobody changed ``[core] max_map_length``.
AIRFLOWS_LIMIT = 1_024


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(str(tmp_path / "stage"))


def staged(stage: Stage, events: dict[str, int], *runs: str) -> list[StagedEvents]:
    return [
        StagedEvents(run, client, (stage.events_path(run, client, 0),), count)
        for run in runs or ("r-1",)
        for client, count in events.items()
    ]


def names_of(unit: dict[str, object], stage: Stage) -> list[str]:
    return list(dict.fromkeys(file.client for file in read_staged(unit, stage)))


def test_hundreds_of_clients_have_a_unit_each_under_their_own_name(stage: Stage):
    events = {f"shop_{number:03}": 1 for number in range(MAX_UNITS)}

    units = make_units(staged(stage, events), stage, "r-1")

    assert [unit["client"] for unit in units] == [*events]
    assert [names_of(unit, stage) for unit in units] == [[name] for name in events]


@pytest.mark.parametrize("clients", [MAX_UNITS + 1, 1_100, 5_000])
@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_clients_share_units_each_in_exactly_one_and_the_large_ones_alone(stage, clients, seed):
    sizes = random.Random(seed)
    events = {f"shop_{number:04}": int(sizes.paretovariate(0.7)) for number in range(clients)}
    files = staged(stage, events)

    units = make_units(files, stage, "r-1")

    found = [names_of(unit, stage) for unit in units]
    assert len(units) <= MAX_UNITS < AIRFLOWS_LIMIT / 2
    assert sorted(name for names in found for name in names) == [*events]
    assert sorted(str(file) for unit in units for file in read_staged(unit, stage)) == sorted(map(str, files))
    assert [max(events, key=events.__getitem__)] in found or max(events.values()) < sum(events.values()) / MAX_UNITS
    assert {unit["client"] for unit in units if len(names_of(unit, stage)) == 1} <= {*events}
    assert len(json.dumps(units)) <= MAX_XCOM_BYTES


def test_files_of_several_runs_of_a_client_stand_in_its_one_unit(stage: Stage):
    events = {f"shop_{number:04}": number % 7 for number in range(600)}

    units = make_units(staged(stage, events, "r-2", "r-1"), stage, "r-2")

    of_client: dict[str, list[int]] = {}
    for number, unit in enumerate(units):
        for file in read_staged(unit, stage):
            of_client.setdefault(file.client, []).append(number)
    assert {len(numbers) for numbers in of_client.values()} == {2}
    assert {len({*numbers}) for numbers in of_client.values()} == {1}
    assert [file.run_id for file in read_staged(units[0], stage)[:2]] == ["r-2", "r-1"]


def test_a_lower_limit_of_airflows_is_kept_too(stage: Stage):
    assert len(make_units(staged(stage, dict.fromkeys("abcdefgh", 5)), stage, "r-1", limit=3)) <= 3
    (unit,) = make_units(staged(stage, dict.fromkeys("abcdefgh", 5)), stage, "r-1", limit=1)
    assert unit["client"] == "8 clients, a to h"


def test_what_is_too_much_for_an_xcom_lies_in_the_stage_and_is_purged_with_the_events(stage: Stage):
    units = make_units(staged(stage, {f"shop_{number:04}": 1 for number in range(1_100)}), stage, "r-1")

    assert {type(unit["staged"]) for unit in units} == {str}
    assert stage.filesystem.exists(units[0]["staged"])
    assert names_of(units[0], stage)[0] == "shop_0000"
    stage.purge_events("r-1")
    assert [read_staged(unit, stage) for unit in units] == [[]] * len(units)


ACCESS, LOSS, PASSES = (
    AccessDeniedError("a: renew the token"),
    PartialLossError("b: 3 lost"),
    TemporaryError("c: later"),
)
BUG = as_internal(KeyError("somebody@example.com"))


@pytest.mark.parametrize(
    ("failures", "kind"),
    [
        ({"b": LOSS}, PartialLossError),
        ({"b": LOSS, "a": ACCESS}, AccessDeniedError),
        ({"a": ACCESS, "c": PASSES}, TemporaryError),
        ({"b": LOSS, "d": BUG}, TemporaryError),
        ({"d": BUG}, InternalError),
    ],
)
def test_a_batch_is_repeated_if_any_of_its_failures_may_pass(failures, kind):
    error = join_failures(failures, clients=9)

    assert type(error) is kind


def test_the_error_of_a_batch_names_every_client_that_failed_and_quotes_nothing_foreign():
    told = str(join_failures({"a": ACCESS, "b": LOSS, "d": BUG}, clients=9))

    assert told.splitlines()[:3] == ["3 of 9 clients of this task:", "  a: renew the token", "  b: 3 lost"]
    assert "  d: KeyError outside of offline_capi's own code; its message is withheld" in told
    assert "somebody@" not in told


# ---------------------------------------------------------------------------------------------- in Airflow

ONE_TASK = {"AIRFLOW__CORE__MAX_MAP_LENGTH": "1"}
BOTH = "upload 2 clients, corner_shop to nordic_outlet"


def test_where_airflow_maps_fewer_tasks_than_there_are_clients_they_share_one(night: SampleNight):
    done = night.airflow.run("store_purchases", {**night.environment, **ONE_TASK}, **night.window)

    (report,) = night.reports()
    assert (done.state, done.tasks[BOTH]) == ("success", "success")
    assert len(night.sandbox.accepted_ids) == report.tally.count(Fate.SENT) > 100
    assert done.xcoms[BOTH]["sent"] == report.tally.count(Fate.SENT)
    assert night.staged() == []


def test_p07_one_clients_revoked_token_leaves_the_others_of_its_task_delivered(night: SampleNight):
    night.sandbox.revoke(SAMPLE_TOKENS["CORNER_SHOP_TOKEN"])

    done = night.airflow.run("store_purchases", {**night.environment, **ONE_TASK}, **night.window)

    (report,) = night.reports()
    assert (done.tasks[BOTH], done.tries[BOTH]) == ("failed", 1)
    assert report.status is Status.PARTIAL
    assert report.tally.count(Fate.SENT) == len(night.sandbox.ids_of(night.pixel("nordic_outlet"))) > 0
    assert len(night.sandbox.requests_to(night.pixel("corner_shop"))) == 1
