"""The journal of test events: it grants every claim and keeps nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import count

from offline_capi.ledger.journal import Claim
from offline_capi.model import Outcome, Request

__all__ = ["Rehearsal"]


class Rehearsal:
    """Events sent with a test event code are not sent as far as the ledger knows: the real run sends all of them.

    So there is no intent and no outcome to keep; the run itself and its report stand in the ledger as a test.
    """

    def __init__(self) -> None:
        self._numbers = count(1)

    def start_digests(self) -> AbstractContextManager[Callable[[Request], Request]]:
        return nullcontext(lambda request: request)

    def claim(self, run_id: str, wanted: Request, *, replaces: str | None = None) -> Claim:  # noqa: ARG002  as the ledger's
        return Claim(replace(wanted, id=f"test-{next(self._numbers)}"), wanted.events.slice(0, 0))

    def claim_together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Nothing is kept."""

    def keep_alive(self) -> None:
        """Nobody waits for a test."""
