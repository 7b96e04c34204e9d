"""A wrong clock of the machine stops the run before it calls rows expired; Meta's ``Date`` is the witness."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.delivery.clock import ClockWitness, find_clock_fault
from offline_capi.errors import WrongClockError
from offline_capi.model import Fate, Reason, Window
from offline_capi.pipeline import begin_run, open_services, reconcile, run_upload, stage_upload
from offline_capi.report import RunReport
from tests.delivery.sending import Night, batch, names
from tests.support.night import NOBODY
from tests.support.night import Night as Project
from tests.support.sandbox_server import Sandbox

NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
TOLERANCE = timedelta(minutes=5)
UPLOAD = """
client: corner_shop
source: {path: "${OFFLINE_CAPI_DATA}/rows.csv"}
window: {column: at, timezone: UTC}
event: {name: CreditApproval, id: "{id}", action_source: chat}
user_data: {em: email}
limits: {max_expired: 1.0, max_invalid: 1.0}
"""


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox) -> Project:
    """Four rows of the night before, read whatever the clock says."""
    project = Project(tmp_path, sandbox)
    project.write("dags/uploads/rows.yml", UPLOAD)
    rows = [f"r-{i},{NOW - timedelta(hours=i):%Y-%m-%dT%H:%M:%SZ},r{i}@example.com" for i in range(4)]
    project.write("rows.csv", "\n".join(["id,at,email", *rows]))
    sandbox.clock = NOW.timestamp()
    return project


def run(project: Project, clock: Callable[[], datetime], **env: str) -> RunReport:
    deployment = load_config(project.home / "dags", environ=project.env | env)
    with open_services(deployment, EnvironmentSecrets(project.env), clock=clock) as services:
        return run_upload(deployment.uploads["rows"], Window(NOW - 99 * DAY, NOW + 99 * DAY), services)


@pytest.mark.parametrize(
    ("skew", "words"),
    [(30 * DAY, "30 days ahead"), (-10 * DAY, "10 days behind"), (timedelta(hours=5), "5 hours ahead")],
)
def test_a_wrong_clock_stops_the_run_before_anything_is_sent_or_expired(
    project: Project, skew: timedelta, words: str
) -> None:
    with pytest.raises(WrongClockError) as caught:
        run(project, lambda: NOW + skew)

    told = str(caught.value)
    assert words in told
    assert f"{NOW + skew:%Y-%m-%d %H:%M:%S} UTC" in told
    assert f"{NOW:%Y-%m-%d %H:%M:%S} UTC" in told
    assert "repeating is safe" in told
    assert project.sandbox.requests == []


def test_the_clock_mended_the_same_rows_are_sent(project: Project) -> None:
    with pytest.raises(WrongClockError):
        run(project, lambda: NOW + 30 * DAY)

    assert run(project, lambda: NOW).tally.count(Fate.SENT) == 4


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clock_within_the_tolerance_sends(project: Project, sign: int) -> None:
    report = run(project, lambda: NOW + sign * (TOLERANCE - 2 * SECOND))

    assert report.tally.count(Fate.SENT) == (4 if sign > 0 else 3)  # by the slower clock the newest row lies ahead
    assert find_clock_fault(NOW + sign * TOLERANCE, NOW.timestamp()) is None
    assert find_clock_fault(NOW + sign * (TOLERANCE + SECOND), NOW.timestamp()) is not None


@pytest.mark.parametrize(
    ("skew", "words"),
    [
        (2 * DAY, "2 days ahead"),
        (2 * DAY - SECOND, "47 hours ahead"),
        (timedelta(hours=-2), "2 hours behind"),
        (SECOND - timedelta(hours=2), "119 minutes behind"),
    ],
)
def test_how_far_a_clock_is_off_is_told_in_a_unit_that_fits(skew: timedelta, words: str) -> None:
    assert str(find_clock_fault(NOW + skew, NOW.timestamp())).endswith(f"it is {words}")


def test_where_nobody_can_be_asked_the_rows_are_judged_by_the_clock_there_is(project: Project) -> None:
    report = run(project, lambda: NOW + 30 * DAY, OFFLINE_CAPI_GRAPH_URL=NOBODY)

    assert report.tally.count(Fate.EXPIRED) == 4


def test_a_right_clock_calls_old_rows_expired(project: Project) -> None:
    project.sandbox.clock = (NOW + 30 * DAY).timestamp()

    assert run(project, lambda: NOW + 30 * DAY).tally.count(Fate.EXPIRED) == 4


def test_tasks_that_prepare_and_that_close_the_books_look_at_the_clock_too(project: Project) -> None:
    """Staged by a right clock, closed by a wrong one: what was not sent would be booked as expired for ever."""
    deployment, moment = load_config(project.home / "dags", environ=project.env), [NOW + 30 * DAY]
    upload, window = deployment.uploads["rows"], Window(NOW - 99 * DAY, NOW + 99 * DAY)
    with open_services(deployment, EnvironmentSecrets(project.env), clock=lambda: moment[0]) as services:
        run_id = begin_run(upload, window, services)
        with pytest.raises(WrongClockError):
            stage_upload(upload, window, services, run_id)
    with open_services(deployment, EnvironmentSecrets(project.env), clock=lambda: moment[0]) as services:
        moment[0] = NOW
        run_id = begin_run(upload, window, services)
        stage_upload(upload, window, services, run_id)
        moment[0] = NOW + 30 * DAY
        with pytest.raises(WrongClockError):
            reconcile(run_id, upload, services)


def test_meta_is_asked_for_the_time_once(sandbox: Sandbox) -> None:
    """What the first answer said holds: a task that stages a hundred batches asks no hundred times."""
    right, wrong = (ClockWitness(sandbox.url, lambda: NOW) for _ in range(2))
    sandbox.clock = NOW.timestamp()
    right.check()
    sandbox.clock = (NOW + DAY).timestamp()

    right.check()
    for clock in ((NOW + DAY).timestamp(), NOW.timestamp()):
        sandbox.clock = clock
        with pytest.raises(WrongClockError):
            wrong.check()


def test_a_clock_that_goes_wrong_amid_a_run_holds_what_is_left(night: Night, sandbox: Sandbox) -> None:
    """By each answer's own date. What Meta objected to meanwhile may be an age: nothing is refused for good."""
    sandbox.fault("slow", delay=0, first_request=3, headers={"Date": "Tue, 24 Nov 2020 03:00:00 GMT"})
    sandbox.refuse("e-2")

    books = night.send([batch(names("e", 6))], max_events=1)

    assert [books.fates[name] for name in names("e", 6)] == [Fate.SENT] * 2 + [Fate.UNCONFIRMED] + [Fate.DEFERRED] * 3
    deferred = [outcome for outcome in books.outcomes if outcome.fate is Fate.DEFERRED]
    assert {outcome.reason for outcome in deferred} == {Reason.WRONG_CLOCK}
    assert "2020-11-24 03:00:00 UTC" in deferred[0].explanation
    assert len(sandbox.requests) == 3


def test_a_cached_answer_is_as_old_as_it_says(night: Night, sandbox: Sandbox) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    sandbox.fault("slow", delay=0, headers={"Date": f"{past:%a, %d %b %Y %H:%M:%S GMT}", "Age": "3600"})

    assert night.send([batch(names("e", 2))], max_events=1).counts == {Fate.SENT: 2}
