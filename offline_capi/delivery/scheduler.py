"""Which request leaves next, so that a client that waits does not hold up the others."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from offline_capi.delivery.breaker import Breaker, Successes
from offline_capi.delivery.clock import Clock
from offline_capi.delivery.pace import ALL_SCOPE, APP_SCOPE, PaceKeeper, make_pixel_scope
from offline_capi.delivery.retry import RetryPolicy
from offline_capi.delivery.throttle import Throttle
from offline_capi.model import EventBatch, Request

__all__ = ["MAX_BEGUN", "DeliveryPolicy", "Scheduler", "Task", "make_part"]

#: Requests read ahead: as many as two clients of a usual run have, and no more memory than can be spared.
LOOKAHEAD_REQUESTS = 32
#: Requests claimed in one transaction of the ledger.
CLAIMS_PER_TRANSACTION = 16
#: Requests begun over all clients, each with a worker; one that waits for a retry does not hold a slot in flight.
MAX_BEGUN = 32


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """``concurrency`` is how many requests of one client are begun at once, ``in_flight`` how many of all are sent."""

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    concurrency: int = 4
    in_flight: int = 8


@dataclass(frozen=True, slots=True)
class Task:
    """A request to be sent. ``replaces`` is the id of the one it was split from, where that may have been stored.

    ``successes`` are those of the moment when it left.
    """

    request: Request
    replaces: str | None = None
    successes: Successes = (0, 0)


@dataclass(slots=True)
class Scheduler:
    """Reads ahead a little and picks the first request whose client may have one more in flight.

    A client's first request goes alone, so that a fault of its token is met once and not once a worker. While Meta asks
    a client to wait, one of its requests waits for all: workers are for those that may go.
    """

    requests: Iterator[Request]
    policy: DeliveryPolicy
    breaker: Breaker
    pace: PaceKeeper
    clock: Clock
    everybody: Throttle = field(default_factory=Throttle)
    _throttles: defaultdict[str, Throttle] = field(default_factory=lambda: defaultdict(Throttle))
    _pixels: dict[str, str] = field(default_factory=dict)
    _queue: deque[Task] = field(default_factory=deque)
    _proven: set[str] = field(default_factory=set)

    def get_throttle(self, client: str) -> Throttle:
        return self._throttles[client]

    def allow_more(self, client: str) -> None:
        """The client's token was accepted: more of its requests may go at once."""
        self._proven.add(client)

    def put_first(self, parts: Iterable[Request], replaces: str | None) -> None:
        """Parts of a split request go ahead of all others: in this run, and in time for Meta's deduplication."""
        self._queue.extendleft(Task(part, replaces) for part in reversed([*parts]))

    def pick(self, begun: Collection[Task], *, may_read: bool = True) -> list[Task]:
        """Tasks that may leave now, a few at a time: claimed together, they wait for the ledger's disk once.

        With ``may_read``, requests are read ahead where those that were do not suffice.
        """
        tasks: list[Task] = []
        while len(tasks) < min(CLAIMS_PER_TRANSACTION, MAX_BEGUN - len(begun)):
            if (tasks or begun) and self.pace.is_far_ahead([ALL_SCOPE]):
                break
            task = self._pick_one([*begun, *tasks], may_read=may_read)
            if task is None:
                break
            tasks.append(task)
        return tasks

    def _pick_one(self, begun: Iterable[Task], *, may_read: bool) -> Task | None:
        busy, full = Counter(task.request.client for task in begun), set[str]()
        index = 0
        while index < len(self._queue) or (may_read and self._read_one()):
            task = self._queue[index]
            client = task.request.client
            if client not in full and busy[client] < self._get_limit(client):
                del self._queue[index]
                return task
            full.add(client)
            index += 1
        return None

    def _read_one(self) -> bool:
        request = next(self.requests, None) if len(self._queue) < LOOKAHEAD_REQUESTS else None
        if request is None:
            return False
        self._queue.append(Task(request))
        if request.client not in self._pixels:
            self._pixels[request.client] = request.pixel
            self._hold_as_others(request.client)
        return True

    def _get_limit(self, client: str) -> int:
        if self.breaker.find_stop(client):
            return self.policy.concurrency  # nothing of it is sent any more
        waits = self._throttles[client].get_remaining_s(self.clock) > 0
        waits = waits or self.pace.is_far_ahead(self.pace.rates.get_intervals_s(client))
        return self.policy.concurrency if client in self._proven and not waits else 1

    def exchange_waits(self) -> None:
        """What Meta asked this sender to wait holds for all senders of the pixel or app, and theirs for this one."""
        asked: dict[str, float] = {APP_SCOPE: self.everybody.open_at}
        for client, pixel in self._pixels.items():
            scope, open_at = make_pixel_scope(pixel), self._throttles[client].open_at
            asked[scope] = max(open_at, asked.get(scope, open_at))
        self.pace.exchange_waits(asked)
        self.everybody.hold_for(self.pace.get_wait_s(APP_SCOPE), self.clock)
        for client in self._pixels:
            self._hold_as_others(client)

    def _hold_as_others(self, client: str) -> None:
        wait_s = self.pace.get_wait_s(make_pixel_scope(self._pixels[client]))
        self._throttles[client].hold_for(wait_s, self.clock)


def make_part(request: Request, events: EventBatch) -> Request:
    """Some events of a request as one of its own, which the ledger has not named yet."""
    return Request("", request.client, request.pixel, events)
