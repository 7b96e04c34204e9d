"""What a command or task works with, one per process: the configuration, secrets, ledger and stage.

Apart from ``context``, so that what only reads the ledger does not load what prepares rows: a second of processor time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from offline_capi.config import Deployment, SecretResolver, resolve_database_url
from offline_capi.delivery import ClockWitness
from offline_capi.ledger import Ledger
from offline_capi.storage.staging import Stage

__all__ = ["Services", "open_services"]


def read_utc_clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Services:
    """What the stages need from outside: one per process."""

    deployment: Deployment
    secrets: SecretResolver
    ledger: Ledger
    clock: Callable[[], datetime] = read_utc_clock
    stage: Stage = field(init=False)
    witness: ClockWitness = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage", Stage(self.deployment.platform.stage, self.deployment.platform.file_access))
        object.__setattr__(self, "witness", ClockWitness(self.deployment.platform.graph_url, self.clock))


@contextmanager
def open_services(
    deployment: Deployment, secrets: SecretResolver, *, clock: Callable[[], datetime] = read_utc_clock
) -> Iterator[Services]:
    """Open the ledger that the configuration names, and close it at the end."""
    url = resolve_database_url(deployment.platform.ledger, secrets, deployment.project)
    access = deployment.platform.file_access
    with Ledger(url.reveal(), clock=lambda: clock().timestamp(), access=access) as ledger:
        yield Services(deployment, secrets, ledger, clock)
