"""``uploads/*.yml`` as a frozen model: a mapping, its source, and what a run of it may lose, send and test."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, field_validator, model_validator

from offline_capi.config.airflow import AirflowSettings
from offline_capi.config.fields import check_bound
from offline_capi.config.mapping import MappingSpec
from offline_capi.config.run_texts import TAG_NAMES, find_template_problem
from offline_capi.config.schedule import ScheduleSettings
from offline_capi.config.source import SourceSettings
from offline_capi.config.types import (
    Digest,
    Duration,
    Multiple,
    Name,
    Node,
    Profile,
    Scalar,
    Share,
    as_filled_list,
    expand_text,
)
from offline_capi.meta.catalogue import EVENT_KEYS, check_key
from offline_capi.meta.limits import MAX_EVENTS_PER_REQUEST, MAX_REQUEST_BYTES
from offline_capi.runtime.nearest import did_you_mean

__all__ = [
    "Delivery",
    "Drift",
    "DriftAction",
    "Engine",
    "GateAction",
    "Gates",
    "LossLimits",
    "RateGate",
    "RowsGate",
    "TrailingGate",
    "Upload",
    "UploadTest",
    "expand_engine",
]


class LossLimits(Node):
    """What a run may lose before it counts as failed, as shares of the rows read.

    With 100% all of them may be lost that way; otherwise a run that delivers none of its rows is partial.
    """

    max_invalid: Share = Field(
        0.0,
        validation_alias=AliasChoices("max_invalid", "max_rejected"),
        description="2% or 0.02; rows of unknown and paused clients count with them; max_rejected is accepted as well",
    )
    max_expired: Share = Field(0.5, description="2% or 0.02; 100%: even a run whose rows all expired is complete")
    max_suppressed: Share = Field(0.95, description="2% or 0.02; 100%: even a run without any consent is complete")


GateAction = Literal["warn", "stop", "off"]


class TrailingGate(Node):
    """A figure of the run against the median of the days before it."""

    action: GateAction = "warn"
    min: Multiple = Field(0.5, description="50% or 0.5 of the usual")
    max: Multiple = Field(3.0, description="300% or 3 times the usual")


class RateGate(Node):
    """A share of the rows read."""

    action: GateAction = "warn"
    max: Share = Field(0.1, description="10% or 0.1")


class RowsGate(Node):
    """No rows at all, where the days before had some; checked at the end, for there is nothing to defer."""

    action: GateAction = "stop"


RowsGateSpec = Annotated[RowsGate, BeforeValidator(expand_text("action"), json_schema_input_type=RowsGate | GateAction)]
TrailingGateSpec = Annotated[
    TrailingGate, BeforeValidator(expand_text("action"), json_schema_input_type=TrailingGate | GateAction)
]
RateGateSpec = Annotated[RateGate, BeforeValidator(expand_text("action"), json_schema_input_type=RateGate | GateAction)]


class Gates(Node):
    """Quality gates that a run's rows pass before the first POST; one with ``stop`` defers the whole run."""

    days: int = Field(28, ge=3, le=366, description="how many days before the run are compared with")
    rows: RowsGateSpec = Field(
        RowsGate(), description="no row read although the days before had rows; warn or off: such a run is complete"
    )
    volume: TrailingGateSpec = Field(TrailingGate(), description="rows read")
    value: TrailingGateSpec = Field(TrailingGate(), description="sum of custom_data.value, by currency")
    invalid: RateGateSpec = Field(
        RateGate(),
        validation_alias=AliasChoices("invalid", "rejected"),
        description="rows that cannot become an event; rejected is accepted as well",
    )
    expired: RateGateSpec = Field(RateGate(), description="rows too old for Meta")
    suppressed: RateGateSpec = Field(RateGate(max=0.9), description="rows without consent")
    duplicate: RateGateSpec = Field(RateGate(), description="rows that repeat an event id of the run")


DriftAction = Literal["warn", "stop", "accept"]


class Drift(Node):
    """What happens where the values of a column have another form than in earlier runs."""

    default: DriftAction | None = Field(
        None,
        description="warn: the report mentions it once; stop: nothing is sent until the run is forced; accept: the new"
        " shape is known without a warning. Without it, stop for the columns of event.id, and warn for all others",
    )
    columns: dict[Name, DriftAction] = Field({}, description="column → what happens, where it is not the default")

    def choose_action(self, column: str, *, in_event_id: bool) -> DriftAction:
        return self.columns.get(column) or self.default or ("stop" if in_event_id else "warn")


def _check_tag(value: str) -> str:
    if problem := find_template_problem(value, TAG_NAMES):
        raise ValueError(problem)
    return value


class Delivery(Node):
    """How requests are cut and sent."""

    max_events: int = Field(
        MAX_EVENTS_PER_REQUEST,
        ge=1,
        le=MAX_EVENTS_PER_REQUEST,
        description="events a request; 1,000 is Meta's limit (D:using-the-api)",
    )
    max_bytes: int = Field(MAX_REQUEST_BYTES, ge=10_000, description="bytes a request; Meta publishes no limit")
    concurrency: int = Field(4, ge=1, le=16, description="requests in flight for one client")
    in_flight: int = Field(8, ge=1, le=64, description="requests in flight over all clients")
    timeout: Duration = Field(timedelta(seconds=60), description="how long one try waits for Meta's answer")
    max_tries: int = Field(
        6, ge=1, le=20, description="tries of one request, the first included; only faults that pass are tried again"
    )
    max_wait: Duration = Field(
        timedelta(minutes=10),
        description="no try of a request begins later than this, waits that Meta asks for included",
    )
    upload_tag: Annotated[str, Field(min_length=1), AfterValidator(_check_tag)] | None = Field(
        None,
        description="goes out with every request; names offline uploads in Meta's tools. {upload}, {client}, {since}, "
        "{until:%Y%m%d}, {run} and {environment} are filled in",
    )


class Engine(Node):
    """Where the rows of a run are mapped, hashed and built into events."""

    processes: Literal["auto"] | Annotated[int, Field(ge=1, le=64)] = Field(
        1,
        description="worker processes; auto: one for each core but one, at most 4, and none on two cores. Windows below"
        " about 100,000 rows never start them, and an upload with filter.first_of or expect.unique has none",
    )
    spark: bool = Field(False, description="true: pieces of the window are prepared on Spark, see platform.spark")

    @model_validator(mode="after")
    def _check_one_engine(self) -> Engine:
        if self.spark and self.processes != 1:
            raise ValueError("has one of processes and spark: on Spark, its settings say how many processes there are")
        return self


EngineName = Literal["local", "processes", "spark"]
_ENGINES: dict[object, dict[str, object]] = {"local": {}, "processes": {"processes": "auto"}, "spark": {"spark": True}}


def expand_engine(value: object) -> object:
    """``spark`` is {spark: true}, ``processes`` is {processes: auto}, ``local`` is this process alone."""
    if not isinstance(value, str):
        return value
    if value not in _ENGINES:
        raise ValueError(
            f'"{value}" is no engine{did_you_mean(value, map(str, _ENGINES)) or ";"} local, processes, spark'
        )
    return _ENGINES[value]


#: What a row of a test can become instead of an event; ``filtered``: left out by ``filter``.
TEST_FATES = ("filtered", "suppressed", "invalid", "expired", "deferred")
_EVENT_PARTS = (*EVENT_KEYS, "user_data", "custom_data")


def _expand_expectation(value: object) -> object:
    """``filtered`` is {fate: filtered}; all else is a fate with its reason, or a part of an event."""
    wanted = {"fate": value} if isinstance(value, str) else value
    if not isinstance(wanted, dict) or not wanted:
        raise ValueError(f"needs what the row becomes: {', '.join(TEST_FATES)}, or a part of the event in Meta's keys")
    keys = ("fate", "reason", "field") if "fate" in wanted else _EVENT_PARTS
    for key in wanted:
        if key not in keys:
            guess = did_you_mean(str(key), keys) or f"; one of: {', '.join(keys)}"
            raise ValueError(f'"{key}" is not a key here{guess}')
    if "fate" in wanted and wanted["fate"] not in TEST_FATES:
        guess = did_you_mean(str(wanted["fate"]), TEST_FATES) or f"; one of: {', '.join(TEST_FATES)}"
        raise ValueError(f'"{wanted["fate"]}" is no fate of a row{guess}')
    for key in ("user_data", "custom_data"):
        if key in wanted and not isinstance(wanted[key], dict):
            raise ValueError(f"{key} needs a mapping, one key: value a line")
    for key in wanted.get("user_data", ()):
        check_key(key)
    return wanted


class UploadTest(Node):
    """A row that the author made up, and what it has to become: `offline-capi test` runs it."""

    name: Name | None = Field(None, description="what is shown; without it, the number of the test")
    run_at: str | None = Field(
        None,
        description="when the run is, for rows that expire: a date or time in the window's zone; without it, when "
        "the event happened",
    )
    row: dict[Name, Scalar | None] = Field(
        min_length=1, description="column → value; columns that are not named are empty. NAME.COLUMN is of a lookup"
    )
    expect: Annotated[
        dict[str, Any],
        BeforeValidator(_expand_expectation, json_schema_input_type=Literal[TEST_FATES] | dict[str, Any]),
    ] = Field(
        description="a part of the event in Meta's keys (present, absent or {sha256: text} for a value), or "
        "filtered, suppressed, expired, invalid, or {fate: invalid, reason: …}"
    )

    @field_validator("run_at")
    @classmethod
    def _check_run_at(cls, value: str | None) -> str | None:
        return value if value is None else str(check_bound(value))


class Upload(MappingSpec):
    """One file in ``uploads/``: source, mapping, event, delivery."""

    name: str = Field("", description="taken from the file's name")
    description: str = ""
    source: SourceSettings
    schedule: ScheduleSettings | None = Field(
        None,
        description="cron, in the window's zone; none: by hand only; {after: …}: once data is there; without it, that "
        "of platform.airflow",
    )
    airflow: AirflowSettings = AirflowSettings()
    limits: LossLimits = LossLimits()
    gates: Gates = Gates()
    drift: Annotated[Drift, BeforeValidator(expand_text("default"), json_schema_input_type=Drift | DriftAction)] = (
        Drift()
    )
    delivery: Delivery = Delivery()
    engine: Annotated[Engine, BeforeValidator(expand_engine, json_schema_input_type=Engine | EngineName)] = Engine()
    profile: Profile | None = Field(None, description="instead of the client's and the platform's")
    junk: dict[
        Annotated[str, AfterValidator(check_key)], Annotated[tuple[Digest, ...], BeforeValidator(as_filled_list)]
    ] = Field(
        {}, description="SHA-256 of normal forms that belong to no person, by key, as `coverage` finds them: never sent"
    )
    drop_frequent: bool = Field(
        False,
        description="never send values of em, ph and external_id that too many people share (platform.frequent_value); "
        "each run reads its window once more to find them",
    )
    max_age: Duration | None = Field(None, description="narrower than Meta's window, never wider")
    tests: tuple[UploadTest, ...] = Field((), description="rows and what they have to become: `offline-capi test`")

    @property
    def keeps_events_in_their_day(self) -> bool:
        """Whether the day of an event is always the day of the window in which its row is read."""
        if self.source.keeps_row_numbers and self.source.selects_rows_itself:
            return False  # the file's date places the rows
        time = self.event.time
        if time is None:
            return True
        same_column = time.column is not None and time.column == self.window.column
        return same_column and time.timezone in (None, self.window.timezone)
