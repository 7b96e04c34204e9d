"""``platform`` of clients.yml as frozen models: what holds for all clients."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from offline_capi.config.airflow import AirflowDefaults
from offline_capi.config.types import (
    Duration,
    MetaId,
    Module,
    Name,
    Node,
    PartnerAgent,
    Profile,
    Scalar,
    SecretRef,
    Share,
    as_list,
    require_encrypted_url,
)
from offline_capi.meta.limits import MAX_PHYSICAL_STORE_AGE
from offline_capi.meta.versions import FAMILIES, NEWEST, Family
from offline_capi.storage.private_files import FileAccess

__all__ = [
    "GRAPH_URL",
    "LEDGER_MARGIN",
    "AlertTargets",
    "Dbt",
    "GraphVersions",
    "Ledger",
    "Platform",
    "PlatformApp",
    "Retention",
    "Spark",
]

#: Where Meta answers (D:using-the-api).
GRAPH_URL = "https://graph.facebook.com"
#: Kept beyond that: a clock may be wrong, a window may be widened, a report may be needed.
LEDGER_MARGIN = timedelta(days=8)


class PlatformApp(Node):
    """The platform's own Meta app and system user: what `clients authorize` and token checks act with."""

    id: MetaId = Field(description="the app's id")
    secret: SecretRef = Field(description="the app's secret")
    business_id: MetaId | None = Field(None, description="the platform's own business")
    system_user_id: MetaId | None = Field(None, description="its system user that sends")
    token: SecretRef | None = Field(None, description="that system user's token, with business_management")
    login_config_id: MetaId | None = Field(None, description="the configuration of Facebook Login for Business")
    redirect_uri: Annotated[str, AfterValidator(require_encrypted_url)] | None = Field(
        None, description="where the login returns to"
    )


def _check_outlives_window(value: timedelta) -> timedelta:
    shortest = MAX_PHYSICAL_STORE_AGE + LEDGER_MARGIN
    if value < shortest:
        raise ValueError(
            f"is too short: Meta takes events for up to {MAX_PHYSICAL_STORE_AGE.days} days, and a key deleted before "
            f"that would be sent and counted again, or an open day be lost; {shortest.days}d or more"
        )
    return value


def _check_within_window(value: timedelta) -> timedelta:
    if value > MAX_PHYSICAL_STORE_AGE:
        raise ValueError(
            f"is too long: after {MAX_PHYSICAL_STORE_AGE.days} days Meta takes none of these events, and until "
            f"they go they are hashed identity on a disk; {MAX_PHYSICAL_STORE_AGE.days}d or less"
        )
    return value


def _check_a_day_at_least(value: timedelta) -> timedelta:
    if value < timedelta(days=1):
        raise ValueError("is too short: a run may take a day, and what it is working on must not go; 1d or more")
    return value


Period = Annotated[Duration, AfterValidator(_check_a_day_at_least)]


class Retention(Node):
    """For how long each kind of record is kept; older ones are deleted by the first run of a day."""

    staged_events: Annotated[Period, AfterValidator(_check_within_window)] = Field(
        timedelta(days=7), description="hashed events of runs that lost something; those of a complete run go at once"
    )
    rejects: Period = Field(
        timedelta(days=70), description="business keys and reasons of rows that were not sent, for `replay`"
    )
    reports: Annotated[Period, AfterValidator(_check_outlives_window)] = Field(
        timedelta(days=400), description="runs, and what each of them and its tasks counted"
    )
    ledger: Annotated[Period, AfterValidator(_check_outlives_window)] = Field(
        MAX_PHYSICAL_STORE_AGE + LEDGER_MARGIN,
        description="keys of the events that were sent; longer by itself where a client's physical_store_max_age is",
    )
    read_back: Period = Field(timedelta(days=93), description="what Meta counted, from `clients quality`")
    audit_log: Period = Field(timedelta(days=1095), description="who did what: `offline-capi log`")


def _classify_ledger(value: object) -> str:
    return "str" if isinstance(value, str) else "SecretRef"


def _check_database_url(value: str) -> str:
    if "://" not in value:
        raise ValueError(
            "is not a database URL such as sqlite:///ledger.db; with a password: {env: …} or {connection: …}"
        )
    return value


Ledger = Annotated[
    Annotated[SecretRef, Tag("SecretRef")] | Annotated[str, AfterValidator(_check_database_url), Tag("str")],
    Discriminator(_classify_ledger),
]


def _classify_property(value: object) -> str:
    return "SecretRef" if isinstance(value, (dict, SecretRef)) else "str"


#: Properties of pyiceberg whose values are secrets: s3.secret-access-key, adls.sas-token.ACCOUNT, gcs.oauth2.token, ….
_SECRET_PROPERTY = re.compile(
    r"secret|token(?!-)|passw|credential|account-key|connection-string|access-key(?!-id)|auth\."
)


def _check_catalog(properties: dict[str, str | SecretRef]) -> dict[str, str | SecretRef]:
    for name, value in properties.items():
        if name.startswith("py-"):
            raise ValueError(f"{name}: a catalog may not name code that is imported; remove it")
        if isinstance(value, str) and _SECRET_PROPERTY.search(name.lower()):
            raise ValueError(
                f"{name} is a secret, which must never stand in this file; write {{env: NAME_OF_VARIABLE}}"
            )
    if not {"type", "uri"} & set(properties):
        raise ValueError("needs type (rest, sql, glue, hive, …) or uri, as pyiceberg's documentation names them")
    return properties


IcebergCatalog = Annotated[
    dict[
        Annotated[str, Field(min_length=1)],
        Annotated[
            Annotated[SecretRef, Tag("SecretRef")] | Annotated[str, Tag("str")], Discriminator(_classify_property)
        ],
    ],
    AfterValidator(_check_catalog),
]
GraphVersion = Annotated[str, Field(pattern=r"^v\d+\.\d+$")]


class GraphVersions(Node):
    """A version of the Graph API for one family of endpoints, where it is another than ``graph_version``."""

    events: GraphVersion | None = Field(None, description="where events and test events go")
    management: GraphVersion | None = Field(None, description="tokens, businesses and pixels: `clients authorize`")
    read_back: GraphVersion | None = Field(None, description="Meta's own counts and scores: `clients quality`")


class AlertTargets(Node):
    """Recipients of alerts of the command line, and of Airflow where it has no recipients of its own."""

    command: tuple[Annotated[str, Field(min_length=1)], ...] | None = Field(
        None,
        min_length=1,
        description="a program and its arguments, started without a shell; it gets each alert as JSON on its standard "
        "input",
    )
    webhook: SecretRef | None = Field(
        None,
        description="where the URL is found to which each alert is POSTed as JSON; as text it holds the whole message, "
        "which incoming webhooks of Slack and others show",
    )


#: Parts of names of Spark's settings whose values are secrets.
_SECRET_SETTING = re.compile(r"secret|password|token|credential|access\.?key|account\.?key", re.IGNORECASE)


def _check_spark_conf(conf: dict[str, str]) -> dict[str, str]:
    for name in conf:
        if _SECRET_SETTING.search(name):
            raise ValueError(
                f'"{name}" would be a secret in a file; give executors their credentials by their environment or a role'
            )
    return conf


class Spark(Node):
    """Where uploads with ``engine: spark`` are prepared."""

    remote: SecretRef | None = Field(
        None,
        description="where the address of a Spark Connect server is found (sc://HOST:15002, with its token); without "
        "it, the session that is running, or one that is started by conf",
    )
    conf: Annotated[dict[str, Scalar], AfterValidator(_check_spark_conf)] = Field(
        {}, description="Spark's own settings for the session, such as spark.master (local[*] unless given)"
    )
    writes: Literal["executors", "spark"] = Field(
        "executors",
        description="who writes hashed events into the stage: our code on the executors, or Spark, where they may not",
    )
    stage: Name | None = Field(
        None, description="writes: spark. The stage as Spark addresses it (s3a://…), where that is not platform.stage"
    )


class Dbt(Node):
    """The dbt project whose relations uploads read as ``source: {dbt: …}``."""

    manifest: Name = Field(
        "target/manifest.json",
        description="what dbt wrote for the target that is meant: a path, seen from the project "
        "folder, or an fsspec URL; may hold ${NAME} of an environment variable",
    )
    connection: Name | None = Field(
        None,
        description="an Airflow connection id, or a name whose URL is in the environment: where dbt builds",
    )
    owner: str | None = Field(None, min_length=1, description="who owns the exposures of `dbt exposures`")
    owner_email: str | None = Field(None, min_length=3, description="their address, for the exposures")


class Platform(Node):
    """What holds for all clients."""

    partner_agent: PartnerAgent | None = Field(
        None, description="who sends, as agreed with Meta; {client} and {environment} are filled in"
    )
    allow_http: bool = Field(
        False,
        description="true: graph_url and platform.notify.webhook may be http on another machine, and so may be read on "
        "the way",
    )
    graph_url: str = Field(GRAPH_URL, description="address of Meta's API, or of a stand-in: https, or loopback")
    graph_url_variable: bool = Field(
        False,
        description="true: the Airflow variable OFFLINE_CAPI_GRAPH_URL may set it; who edits variables then "
        "decides where every token goes",
    )
    graph_version: GraphVersion = NEWEST
    graph_versions: GraphVersions = GraphVersions()
    app: PlatformApp | None = Field(None, description="the platform's Meta app, for authorising clients")
    ledger: Ledger = Field(
        "sqlite:///offline_capi_ledger.db",
        description="database URL without a password, or a reference to one; a relative SQLite file begins at the "
        "project folder",
    )
    stage: Name = Field(
        "stage", description="folder, seen from the project folder, or fsspec URL of staged, hashed files"
    )
    requests_per_second: float | None = Field(
        None, ge=0.01, le=1000, description="requests over all clients, of all processes that share the ledger"
    )
    iceberg_catalogs: dict[Name, IcebergCatalog] = Field(
        {},
        description="name → the catalog's properties as pyiceberg names them (type, uri, warehouse, …); secrets are "
        "references, such as credential: {env: NAME}; an SQLite file's path begins at the project folder",
    )
    dbt: Dbt = Field(Dbt(), description="the dbt project that uploads with `source: {dbt: …}` read from")
    age_margin: Duration = Field(
        timedelta(hours=1), description="taken off Meta's age limits: an event must still be fresh when it arrives"
    )
    clock_skew: Duration = Field(
        timedelta(seconds=60), description="how far ahead of our clock an event may be; Meta documents no tolerance"
    )
    profile: Profile = Field(
        "meta", description="how identity is normalised; an upload's choice counts before a client's, this comes last"
    )
    frequent_value: Share = Field(
        0.005,
        description="share of rows above which `coverage` and `drop_frequent` regard a value as no single person's",
    )
    notify: AlertTargets = Field(
        AlertTargets(), description="who is notified, once when an incident begins and once when it ends"
    )
    airflow: AirflowDefaults = Field(AirflowDefaults(), description="how Airflow runs uploads that do not say it")
    spark: Spark = Field(Spark(), description="where uploads with `engine: spark` are prepared")
    python: Annotated[
        tuple[Module, ...], BeforeValidator(as_list, json_schema_input_type=Module | tuple[Module, ...])
    ] = Field(
        (),
        description="packages and modules that `transform` and `notify` may import, with all that they contain; "
        "notifiers of Airflow's providers may be named without it",
    )
    file_group: bool | Name = Field(
        False,
        description="who may read the stage, an SQLite ledger and reports besides the user of the run: nobody; true: "
        "the group that new files have; or the group of this name",
    )
    retention: Retention = Field(Retention(), description="for how long staged files, reports and the ledger are kept")

    @field_validator("graph_url")
    @classmethod
    def _check_graph_url(cls, value: str, info: ValidationInfo) -> str:
        return require_encrypted_url(value, allow_http=bool(info.data.get("allow_http")))

    @property
    def file_access(self) -> FileAccess:
        """Who reads what lies on this machine's disks."""
        return FileAccess(self.file_group)

    @property
    def versions(self) -> dict[Family, str]:
        """The version of the Graph API that each family of endpoints is called in."""
        return {family: getattr(self.graph_versions, family) or self.graph_version for family in FAMILIES}
