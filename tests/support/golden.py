"""Golden events: what the rows of ``data_samples/`` become, kept beside them as readable JSON lines.

``python -m tests.support.golden`` writes them again after a change that is meant; the diff is then part of the review.
They are those of one fixed night, so that nothing depends on the day on which tests run.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.demo.samples import SAMPLE_TOKENS, build_samples
from offline_capi.events import build_events
from offline_capi.identity import hash_identity
from offline_capi.mapping import map_rows
from offline_capi.model import Window
from offline_capi.sources import SourceAccess, open_source

FOLDER = Path("data_samples/golden")
NIGHT = date(2026, 11, 23)
NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
UPLOADS = ("credit_approvals", "store_purchases")


def environment(home: Path) -> dict[str, str]:
    """Where the sample warehouse and files are, and the sandbox's tokens."""
    return {
        "OFFLINE_CAPI_DATA": str(home),
        "OFFLINE_CAPI_CONN_WAREHOUSE": f"sqlite:///{home / 'warehouse.db'}",
        "OFFLINE_CAPI_LEDGER": f"sqlite:///{home / 'ledger.db'}",
        "OFFLINE_CAPI_STAGE": str(home / "stage"),
        **SAMPLE_TOKENS,
    }


def events_of(upload: str, environ: Mapping[str, str], *, batch_rows: int = 65_536) -> list[str]:
    """The JSON of every event of the sample night, as it would go out, in the order of the source."""
    deployment, secrets = load_config(Path("dags"), environ=environ), EnvironmentSecrets(environ)
    spec = deployment.uploads[upload]
    zone = spec.window.timezone
    window = Window.of_day(NIGHT, zone).extend_back(spec.window.lookback)
    access = SourceAccess(
        zone, lambda name: secrets.connection_url(name).reveal(), deployment.sql_folder, environ=environ
    )
    batches = open_source(spec.source, access).read(window, batch_rows=batch_rows)
    bodies: list[str] = []
    for rows in batches:
        hashed = hash_identity(map_rows(rows, spec), clients=deployment.clients)
        built = build_events(hashed, clients=deployment.clients, zone=zone, now=NOW)
        bodies += [body.decode() for body in built.events.table.column("body").to_pylist()]
    return bodies


def golden(upload: str) -> list[str]:
    return (FOLDER / f"{upload}.jsonl").read_text(encoding="utf-8").splitlines()


def _write() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        build_samples(Path(folder), NIGHT)
        for upload in UPLOADS:
            bodies = events_of(upload, environment(Path(folder)))
            assert all(json.loads(body) and not re.search(r"@example", body) for body in bodies)
            (FOLDER / f"{upload}.jsonl").write_text("\n".join(bodies) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
