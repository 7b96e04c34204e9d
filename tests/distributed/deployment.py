"""What is deployed: one upload of many clients, its rows in a warehouse, secrets in Airflow's connections."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from offline_capi.sandbox import GrantSpec
from tests.airflow_provider.embedded import DAGS
from tests.airflow_provider.live import Api
from tests.support.night import yesterday

__all__ = ["DAG", "POOL", "UPLOAD", "Deployment"]

UPLOAD, DAG = "purchases", "offline_capi__purchases"
#: How many clients are sent for at once, by whichever runs: a limit of ours, not of a worker.
POOL = "meta"
EVENTS_A_REQUEST = 100

_PLATFORM = """
platform:
  graph_url: {graph_url}
  ledger: {{connection: ledger}}
  stage: {stage}
clients:
"""
_CLIENT = '  {name}: {{pixel_id: "{pixel}", token: {{connection: "meta_{name}"}}, country: DE, timezone: UTC}}\n'
#: Requests one after the other, so that there is a middle to be killed in; retries that do not wait long.
_UPLOAD = """
client: {{column: client}}
source: {{connection: warehouse, sql: extract/purchases.sql}}
schedule: none
window: {{column: bought_at, timezone: UTC}}
event: {{name: Purchase, id: "purchase-{{number}}", action_source: physical_store}}
user_data: {{em: email, external_id: customer}}
custom_data: {{value: {{column: amount, type: number}}, currency: EUR}}
delivery: {{max_events: {events}, concurrency: 1}}
airflow: {{retries: 20, retry_delay: 2s, pools: {{upload: {pool}}}}}
"""
_QUERY = "SELECT client, number, email, customer, amount, bought_at FROM purchase WHERE bought_at >= :since_utc AND bought_at < :until_utc"  # noqa: E501
_ROWS = """
CREATE TABLE purchase AS
SELECT 'client_' || lpad(c::text, 2, '0') AS client, c * 1000000 + n AS number, 'p' || n || '@example.com' AS email,
       'k-' || n AS customer, (n % 90) + 0.5 AS amount, CAST(:day AS timestamptz) + n * interval '1 second' AS bought_at
FROM generate_series(1, :clients) AS c, generate_series(1, :events) AS n
"""


@dataclass(frozen=True)
class Deployment:
    """``clients`` clients with ``events`` purchases each, all of yesterday."""

    clients: int
    events: int

    @property
    def names(self) -> list[str]:
        return [f"client_{number:02}" for number in range(1, self.clients + 1)]

    @property
    def total(self) -> int:
        return self.clients * self.events

    @property
    def pixels(self) -> dict[str, str]:
        """The client of each pixel."""
        return {f"13{number:014}": name for number, name in enumerate(self.names, 1)}

    @property
    def grants(self) -> list[GrantSpec]:
        return [GrantSpec(_token(name), [pixel]) for pixel, name in self.pixels.items()]

    @property
    def expected(self) -> set[tuple[str, str | None]]:
        """Every event that has to arrive, with its pixel."""
        return {
            (pixel, f"purchase-{client * 1_000_000 + number}")
            for client, pixel in enumerate(self.pixels, 1)
            for number in range(1, self.events + 1)
        }

    @property
    def window(self) -> dict[str, str]:
        day = yesterday("UTC")
        return {"since": str(day), "until": str(day + timedelta(days=1))}

    def write(self, home: Path, graph_url: str, stage: str) -> Path:
        """The configuration and the DAG files that all processes of the cluster read; returns the DAGs' folder."""
        dags, queries = home / "dags", home / "sql" / "extract"
        for folder in (dags / "uploads", queries):
            folder.mkdir(parents=True)
        clients = "".join(_CLIENT.format(name=name, pixel=pixel) for pixel, name in self.pixels.items())
        (dags / "clients.yml").write_text(_PLATFORM.format(graph_url=graph_url, stage=stage) + clients)
        (dags / "uploads" / f"{UPLOAD}.yml").write_text(_UPLOAD.format(events=EVENTS_A_REQUEST, pool=POOL))
        (queries / f"{UPLOAD}.sql").write_text(_QUERY)
        shutil.copy(DAGS / "offline_capi_dags.py", dags)
        return dags

    def fill(self, warehouse: sa.URL) -> None:
        engine = sa.create_engine(warehouse)
        rows = {"clients": self.clients, "events": self.events, "day": str(yesterday("UTC"))}
        with engine.begin() as connection:
            connection.execute(sa.text("SET LOCAL timezone TO 'UTC'"))
            connection.execute(sa.text(_ROWS), rows)
        engine.dispose()

    def introduce(self, api: Api, databases: Mapping[str, sa.URL]) -> None:
        """Give Airflow the connections, which hold every secret there is, and the pool."""
        tokens = {f"meta_{name}": {"conn_type": "meta_capi", "password": _token(name)} for name in self.names}
        for name, fields in {**tokens, **{name: _fields(url) for name, url in databases.items()}}.items():
            api.ask("POST", "connections", connection_id=name, **fields)
        api.ask("POST", "pools", name=POOL, slots=self.clients)


def _token(client: str) -> str:
    return f"EAAtokenof{client.replace('_', '')}"


def _fields(url: sa.URL) -> dict[str, Any]:
    """A database as the fields of an Airflow connection."""
    return {
        "conn_type": "postgres",
        "login": url.username,
        "password": url.password,
        "host": url.host,
        "port": url.port,
        "schema": url.database,
    }
