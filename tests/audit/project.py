"""A project of one client and one upload over a CSV file, and the person who edits its YAML."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from offline_capi.config import EnvironmentSecrets, Upload, load_config
from offline_capi.model import Window
from offline_capi.pipeline import Services, open_services

DAY = date(2026, 11, 23)
WINDOW = Window.of_day(DAY, "UTC")
CANARY = "canary"


@dataclass
class Project:
    """``user_data`` and ``client`` are the YAML as Python writes it; ``rows`` the table, ``sold_at`` is added."""

    home: Path
    user_data: dict[str, Any]
    rows: Sequence[Mapping[str, Any]]
    client: dict[str, Any] = field(default_factory=dict)
    upload: dict[str, Any] = field(default_factory=dict)
    platform: dict[str, Any] = field(default_factory=dict)

    def save(self) -> Project:
        self._write_yaml("clients.yml", {"platform": self._platform(), "clients": {"acme": self._client()}})
        self._write_yaml("uploads/sales.yml", self._upload())
        with (self.home / "people.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["sale", "sold_at", *self.rows[0]])
            writer.writeheader()
            writer.writerows({"sale": at, "sold_at": f"{DAY}T10:00:00", **row} for at, row in enumerate(self.rows))
        return self

    @contextmanager
    def services(self) -> Iterator[Services]:
        with open_services(load_config(self.home), EnvironmentSecrets({"TOKEN": "t"})) as services:
            yield services

    @contextmanager
    def opened(self) -> Iterator[tuple[Upload, Window, Services]]:
        with self.save().services() as services:
            yield services.deployment.uploads["sales"], WINDOW, services

    def _platform(self) -> dict[str, Any]:
        return {"ledger": f"sqlite:///{self.home / 'ledger.db'}", "stage": str(self.home / "stage"), **self.platform}

    def _client(self) -> dict[str, Any]:
        return {"pixel_id": "1200000000000001", "token": {"env": "TOKEN"}, "country": "US", **self.client}

    def _upload(self) -> dict[str, Any]:
        return {
            "client": "acme",
            "source": {"path": str(self.home / "people.csv")},
            "window": {"column": "sold_at"},
            "event": {"name": "Purchase", "id": "s-{sale}", "action_source": "physical_store"},
            "custom_data": {"value": {"constant": 1}, "currency": "USD"},
            "user_data": self.user_data,
            **self.upload,
        }

    def _write_yaml(self, name: str, content: Any) -> None:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
