"""The whole folder as one frozen model, and ``environments`` of clients.yml, which change it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from offline_capi.config.airflow import AirflowSettings
from offline_capi.config.client import Client, ClientTable, ConnectionTest, Pixel
from offline_capi.config.document import Places
from offline_capi.config.paths import find_project_folder
from offline_capi.config.platform import Ledger, Platform
from offline_capi.config.queries import find_sql_folder
from offline_capi.config.schedule import AwaitedData, DataSchedule
from offline_capi.config.types import Name, Node, SecretRef, as_filled_list, check_url
from offline_capi.config.upload import Upload
from offline_capi.errors import Problem
from offline_capi.model.recipients import get_client_name

__all__ = [
    "Deployment",
    "Environment",
]


class EnvironmentClient(Node):
    """What is different for a client in an environment; everything else is as under ``clients``."""

    pixel_id: Annotated[
        tuple[Pixel, ...],
        BeforeValidator(
            as_filled_list, json_schema_input_type=Pixel | Annotated[tuple[Pixel, ...], Field(min_length=1)]
        ),
    ] = Field(description="another pixel than any under `clients`; dataset_id is accepted as well")
    token: SecretRef | None = Field(None, description="without it, the client's own")
    app_secret: SecretRef | None = None
    test: ConnectionTest | None = Field(None, description="how `clients test` marks its event")

    @model_validator(mode="before")
    @classmethod
    def _accept_either_key(cls, value: object) -> object:
        """``dataset_id`` is ``pixel_id`` here as well."""
        if not isinstance(value, dict) or "dataset_id" not in value:
            return value
        if "pixel_id" in value:
            raise ValueError("dataset_id is the same as pixel_id; keep one of the two")
        return {"pixel_id" if key == "dataset_id" else key: part for key, part in value.items()}


class Environment(Node):
    """The same uploads to other pixels, with a ledger and a stage of their own."""

    clients: dict[Name, EnvironmentClient] = Field(
        min_length=1, description="the clients that send there; rows of the others are deferred"
    )
    graph_url: Annotated[str, AfterValidator(check_url)] | None = None
    ledger: Ledger | None = Field(
        None, description="never that of the platform; without it, an SQLite file next to that one"
    )
    stage: Name | None = Field(None, description="without it, a folder next to the platform's")
    connections: dict[Name, Name] = Field({}, description="connection that uploads name → the one that is used instead")
    dbt_manifest: Name | None = Field(None, description="without it, platform.dbt.manifest: that of another target")


class Deployment(Node):
    """A whole configuration folder, validated."""

    folder: Path
    platform: Platform = Platform()
    clients: dict[str, Client]
    uploads: dict[str, Upload]
    clients_from: ClientTable | None = Field(None, description="the table, where the clients are rows of one")
    environment: str = Field("", description="the name of the environment, where one was chosen")
    connections: dict[str, str] = Field({}, description="connections that stand in for those that uploads name")
    _places: dict[str, Places] = PrivateAttr(default_factory=dict)
    _environ: Mapping[str, str] = PrivateAttr(default_factory=lambda: os.environ)

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment that ``${NAME}`` in the path of a source is read from: the one the folder was loaded with."""
        return self._environ

    @cached_property
    def recipients(self) -> dict[str, Client]:
        """Recipients of requests: the clients, and a sibling for each further pixel, by their names in the ledger."""
        return {one.name: one for client in self.clients.values() for one in client.list_recipients()}

    def resolve_connection(self, name: str) -> str:
        """The connection that is used where an upload names this one."""
        return self.connections.get(name, name)

    def has_own_token(self, recipient: str) -> bool:
        """Whether a token is a recipient's own, and not that with which a further pixel's client sends."""
        client = self.clients[get_client_name(recipient)]
        return recipient == client.name or self.recipients[recipient].token != client.token

    @property
    def project(self) -> Path:
        """The folder that relative paths start from: see ``paths``."""
        return find_project_folder(self.folder)

    @property
    def sql_folder(self) -> Path:
        """The folder of the files that ``source.sql`` names."""
        return find_sql_folder(self.folder)

    def resolve_airflow(self, upload: Upload) -> AirflowSettings:
        """How Airflow runs an upload: its own settings over those of the folder."""
        return upload.airflow.merge_over(self.platform.airflow)

    def resolve_schedule(self, upload: Upload) -> str | None:
        """The cron of an upload, its own or that of the folder; ``None`` where it runs by hand only."""
        schedule = upload.schedule or self.platform.airflow.schedule
        if isinstance(schedule, DataSchedule):
            return schedule.cron
        return None if schedule == "none" else schedule

    def list_awaited_models(self, upload: Upload) -> list[tuple[str, AwaitedData]]:
        """Models of dbt that the upload's schedule waits for and that dbt's manifest has to place, by their path."""
        schedule = upload.schedule
        if not isinstance(schedule, DataSchedule) or self.platform.airflow.assets.dbt is not None:
            return []
        number = len(schedule.after)
        paths = [f"schedule.after[{at}].dbt" if number > 1 else "schedule.after.dbt" for at in range(number)]
        return [(path, one) for path, one in zip(paths, schedule.after, strict=True) if one.dbt is not None]

    def locate(self, upload: str | Upload, path: str = "") -> str:
        """``file:line`` of ``path`` (``user_data.em[1]``) in an upload's file, or of the nearest node around it."""
        name = upload if isinstance(upload, str) else upload.name
        places = self._places.get(name)
        return places.format_position(path) if places else name

    def make_problem(self, upload: Upload, path: str, message: str) -> Problem:
        """A fault of an upload that was found after loading, at its line."""
        file, _, line = self.locate(upload.name, path).rpartition(":")
        return Problem(file or upload.name, int(line) if file else None, path, message)
