"""Laws of cutting and delivering: nothing is lost, doubled, mixed or too large."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.delivery import DeliveryPolicy, Envelope, RetryPolicy, cut_requests, deliver, make_payload
from offline_capi.delivery.payload import Body
from offline_capi.meta.graph.response import parse_response
from offline_capi.meta.limits import ENVELOPE_BYTES
from offline_capi.model import MAX_IN_MEMORY_PARTS, EventBatch, Fate, Request
from offline_capi.runtime.http import AnswerLostError, NotSentError
from tests.delivery.sending import ACME, OTHER, FakeTime, batch, ids_of, names

batches_of_clients = st.lists(
    st.tuples(st.sampled_from([ACME, OTHER, "third"]), st.integers(1, 12), st.integers(0, 300)), max_size=8
)


def _batches(plan: list[tuple[str, int, int]]) -> list[EventBatch]:
    return [batch(names(f"b{i}", size), client=client, note="x" * note) for i, (client, size, note) in enumerate(plan)]


@given(batches_of_clients, st.integers(1, 9), st.integers(900, 3000), st.integers(0, 20))
def test_requests_joined_are_the_events_that_came(
    plan: list[tuple[str, int, int]], max_events: int, max_bytes: int, pending: int
) -> None:
    """No event is lost, doubled or moved; none meets another client; no limit is exceeded."""
    came = _batches(plan)

    requests = list(cut_requests(came, max_events=max_events, max_bytes=max_bytes, max_pending=pending))

    for client in {client for client, _, _ in plan}:
        went = [event_id for request in requests if request.client == client for event_id in ids_of(request.events)]
        own = [one for one, (whose, _, _) in zip(came, plan, strict=True) if whose == client]
        assert went == [event_id for one in own for event_id in ids_of(one)]
    for request in requests:
        assert 1 <= len(request) <= max_events
        assert set(request.events.table.column("client").to_pylist()) == {request.client}
        assert sum(map(len, make_payload(request.events, Envelope("partner")))) <= max_bytes or len(request) == 1


def test_requests_are_full_across_batches() -> None:
    came = [batch(names(f"b{i}", 7)) for i in range(10)]

    sizes = [len(request) for request in cut_requests(came, max_events=20, max_bytes=1_000_000)]

    assert sizes == [20, 20, 20, 10]


def test_requests_are_full_although_every_batch_has_a_few_rows_of_every_client() -> None:
    clients = [f"c{number:02}" for number in range(30)]
    own = {client: batch(names(client, 40), client=client) for client in clients}
    came = [EventBatch.join(own[client].slice(start, 4) for client in clients) for start in range(0, 40, 4)]

    requests = list(cut_requests(came, max_events=20, max_bytes=1_000_000))

    assert {len(request) for request in requests} == {20}
    assert [id_ for request in requests if request.client == "c07" for id_ in ids_of(request.events)] == names(
        "c07", 40
    )


def test_requests_of_many_clients_that_waited_on_disk_are_the_events_that_came() -> None:
    """More clients than wait in memory, some of which have a full request now and then, and many due at once."""
    sizes = {f"c{number:03}": number % 7 + 1 for number in range(MAX_IN_MEMORY_PARTS + 9)} | {"c050": 30}
    came = [
        EventBatch.join(
            batch(names(f"{turn}-{client}", size), client=client, note="x" * (turn * size % 40))
            for client, size in (sizes.items() if turn % 2 else reversed(sizes.items()))
        )
        for turn in range(6)
    ]

    requests = list(cut_requests(came, max_events=25, max_bytes=1_000_000, max_pending=2 * len(came[0])))

    for client, size in sizes.items():
        own = [request for request in requests if request.client == client]
        went = [id_ for request in own for id_ in ids_of(request.events)]
        assert went == [id_ for turn in range(6) for id_ in names(f"{turn}-{client}", size)]
        bodies = [body for request in own for body in request.events.table.column("body").to_pylist()]
        assert [json.loads(body)["event_id"] for body in bodies] == went
        assert max(map(len, own)) <= 25
    assert len(requests) < 3 * len(sizes)


MANY = [f"c{number:03}" for number in range(MAX_IN_MEMORY_PARTS + 16)]


def _scatter(turns: int, each: int) -> list[EventBatch]:
    """A few events of many clients in each batch."""
    return [
        EventBatch.join(batch(names(f"{client}-{turn:02}", each), client=client) for client in MANY)
        for turn in range(turns)
    ]


@pytest.mark.parametrize("pending", [10**6, 13 * 2 * len(MANY)])
def test_of_many_clients_only_full_requests_leave_before_the_end(pending: int) -> None:
    """Scattered over more batches than are read for one request, they are cut together: all in order, none lost."""
    came: list[int] = []

    def read() -> Iterator[EventBatch]:
        for one in _scatter(turns=27, each=2):
            came.append(len(one))
            yield one

    sizes = dict[str, list[int]]()
    went = dict[str, list[str]]()
    early = list[int]()
    for request in cut_requests(read(), max_events=20, max_bytes=1_000_000, max_pending=pending):
        sizes.setdefault(request.client, []).append(len(request))
        went.setdefault(request.client, []).extend(ids_of(request.events))
        early += [len(request)] * (len(came) < 27)

    expected = [20, 20, 14]
    assert {client: sorted(own, reverse=True) for client, own in sizes.items()} == dict.fromkeys(MANY, expected)
    assert went == {client: [id_ for turn in range(27) for id_ in names(f"{client}-{turn:02}", 2)] for client in MANY}
    assert set(early) == (set() if pending == 10**6 else {20})


@pytest.mark.parametrize("turns", [1, 4, 15])
def test_each_request_is_begun_once_and_goes_on_as_what_was_begun(turns: int) -> None:
    """Full at once, left at the end, or cut together in another thread: in the order of each client."""
    begun: list[Request] = []

    def begin(request: Request) -> Request:
        begun.append(replace(request, id=f"begun {len(begun)}"))
        return begun[-1]

    came = [*_scatter(turns=turns, each=10), batch(names("one", 45), client="one", pixel="99")]
    requests = [*cut_requests(came, max_events=20, max_bytes=1_000_000, on_cut=begin)]

    assert [id(one) for one in requests] == [id(one) for one in begun]
    assert sum(map(len, requests)) == turns * 10 * len(MANY) + 45
    for request in requests:
        assert set(request.events.table.column("client").to_pylist()) == {request.events.find_common("client")}
        assert set(request.events.table.column("pixel").to_pylist()) == {request.events.find_common("pixel")}


def test_what_many_clients_fill_from_a_few_batches_does_not_wait() -> None:
    requests = cut_requests(_scatter(turns=4, each=10), max_events=20, max_bytes=1_000_000)

    assert [(request.client, len(request)) for request in requests] == [(client, 20) for client in MANY] * 2


def test_a_client_of_many_whose_rows_come_together_at_last() -> None:
    """More than a request waits when a batch of its own comes; order is kept."""
    last = batch(names("last", 45), client=MANY[7])

    requests = [*cut_requests([*_scatter(turns=15, each=2), last], max_events=20, max_bytes=1_000_000)]

    own = [request for request in requests if request.client == MANY[7]]
    assert [id_ for request in own for id_ in ids_of(request.events)] == [
        *(id_ for turn in range(15) for id_ in names(f"{MANY[7]}-{turn:02}", 2)),
        *names("last", 45),
    ]
    assert [len(request) for request in own] == [20, 20, 20, 15]


def test_what_still_waits_of_many_clients_does_not_keep_what_has_left_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("offline_capi.delivery.requests.MAX_ROWS_CUT_TOGETHER", 100)
    held: list[int] = []

    def read() -> Iterator[EventBatch]:
        for turn in range(12):
            held.append(pa.total_allocated_bytes())
            yield EventBatch.join(
                batch(names(f"{client}-{turn:02}", 2), client=client, note="x" * 5000) for client in MANY
            )

    requests = cut_requests(read(), max_events=20, max_bytes=10**7, max_pending=10 * 2 * len(MANY))
    left = sum(len(next(requests)) for _ in MANY)
    following = next(requests)

    assert (left, len(following)) == (20 * len(MANY), 4)
    batch_bytes = 2 * len(MANY) * 5000
    assert held[-1] - held[0] < 4 * batch_bytes  # what was cut was eleven times as much


@pytest.mark.parametrize("clients", [1, 30])
def test_few_clients_do_not_wait_although_their_batches_are_small(clients: int) -> None:
    came: list[int] = []

    def read() -> Iterator[EventBatch]:
        for one in range(40):
            came.append(one)
            yield EventBatch.join(batch([f"{client}-{one:02}"], client=client) for client in MANY[:clients])

    requests = cut_requests(read(), max_events=20, max_bytes=1_000_000)

    assert (len(next(requests)), len(came)) == (20, 20)
    assert [len(request) for request in requests] == [20] * (2 * clients - 1)


def test_a_request_of_many_small_batches_is_full_to_the_last_event_that_fits() -> None:
    """Counted with a comma an event; one byte less, and the last of ten goes into the next request."""
    came = [batch([f"b-{i}"]) for i in range(10)]
    whole = sum(one.body_bytes + 1 for one in came) + ENVELOPE_BYTES

    fits = [len(request) for request in cut_requests(came, max_events=1000, max_bytes=whole)]
    fits_not = [len(request) for request in cut_requests(came, max_events=1000, max_bytes=whole - 1)]

    assert (fits, fits_not) == ([10], [9, 1])


@pytest.mark.parametrize("full_by", ["events", "bytes"])
@pytest.mark.parametrize("sizes", [(4, 6, 9), (10, 9, 9), (4, 16, 9)])
def test_a_request_leaves_as_soon_as_it_is_full(full_by: str, sizes: tuple[int, ...]) -> None:
    """Nothing more would fit into it: another batch need not be read first. Each event has as many bytes."""
    came: list[int] = []

    def read() -> Iterator[EventBatch]:
        for size in sizes:
            came.append(size)
            yield batch([f"{len(came)}-{i:02}" for i in range(size)])

    most = 10 * (batch(["1-00"]).body_bytes + 1) + ENVELOPE_BYTES
    limits = {"max_events": 10, "max_bytes": 10**6} if full_by == "events" else {"max_events": 99, "max_bytes": most}

    requests = cut_requests(read(), **limits)

    first = next(requests)
    needed = 1 if sizes[0] == 10 else 2
    assert (len(first), came) == (10, list(sizes[:needed]))
    assert [len(request) for request in requests] == ([10, 9] if sizes[1] == 16 else [9] if sizes[0] == 4 else [10, 8])


def test_rows_that_wait_do_not_keep_their_batch_in_memory() -> None:
    """Of each batch of one client a row waits for its like, and the others have left."""
    came = (batch(names(f"b{i}", 101), client=f"client-{i}", note="x" * 10_000) for i in range(20))
    before = pa.total_allocated_bytes()

    requests = cut_requests(came, max_events=100, max_bytes=10**8)
    for _ in range(20):
        assert len(next(requests)) == 100

    assert pa.total_allocated_bytes() - before < 5_000_000
    assert [len(request) for request in requests] == [1] * 20


def test_events_wait_for_their_like_only_so_long() -> None:
    """A client with a row now and then does not wait for a full request until the end."""
    came = [batch(["rare"], client=OTHER), *(batch(names(f"b{i}", 10)) for i in range(9))]

    requests = cut_requests(came, max_events=20, max_bytes=1_000_000, max_pending=30)

    assert [(request.client, len(request)) for request in requests][:3] == [(ACME, 20), (OTHER, 1), (ACME, 20)]


@pytest.mark.parametrize(("most", "after"), [(22, 3), (23, 4)])
def test_the_first_of_those_that_wait_decides_when_they_leave(most: int, after: int) -> None:
    """One event in each batch of eleven, of a client whose first is due once more than ``most`` came after."""
    mixed = [
        EventBatch.join([batch([f"rare-{i}"], client=OTHER), batch(names(f"b{i}", 10), client=ACME)]) for i in range(6)
    ]
    mixed[0] = batch(["rare-0"], client=OTHER)
    came: list[int] = []

    def read() -> Iterator[EventBatch]:
        for one in mixed:
            came.append(len(one))
            yield one

    for request in cut_requests(read(), max_events=10, max_bytes=1_000_000, max_pending=most):
        if request.client == OTHER:
            break

    assert len(came) == after
    assert ids_of(request.events) == [f"rare-{i}" for i in range(after)]


def test_a_mixed_batch_is_cut_apart() -> None:
    mixed = EventBatch(
        pa.concat_batches([batch(names("a", 2)).table, batch(names("o", 2), client=OTHER).table]).take(
            pa.array([0, 2, 1, 3])
        )
    )

    requests = list(cut_requests([mixed], max_events=10, max_bytes=1_000_000))

    assert [(request.client, ids_of(request.events)) for request in requests] == [
        (ACME, ["a-0", "a-1"]),
        (OTHER, ["o-0", "o-1"]),
    ]


def test_a_payload_is_json_with_the_bodies_as_they_are() -> None:
    events = batch(names("e", 3))

    sent = json.loads(b"".join(make_payload(events, Envelope(partner_agent="acme_1_0", test_event_code="TEST1"))))

    assert sent == {
        "data": [json.loads(body) for body in events.table.column("body").to_pylist()],
        "partner_agent": "acme_1_0",
        "test_event_code": "TEST1",
    }


def test_an_envelope_has_no_byte_that_meta_does_not_need() -> None:
    events = batch(["e"])
    (body,) = events.table.column("body").to_pylist()

    (tagged,) = make_payload(events, Envelope(partner_agent="acme_1_0", upload_tag="week 48"))
    assert bytes(tagged) == b'{"data":[' + body + b'],"partner_agent":"acme_1_0","upload_tag":"week 48"}'
    (bare,) = make_payload(events, Envelope())
    assert bytes(bare) == b'{"data":[' + body + b"]}"


# ---------------------------------------------------------------------------------------------- deliver


def _error(code: int, subcode: int | None = None, text: str = "") -> tuple[int, dict[str, str], bytes]:
    return 400, {}, json.dumps({"error": {"code": code, "error_subcode": subcode, "message": text}}).encode()


ANSWERS = {
    "accept": None,
    "not sent": NotSentError("no connection"),
    "lost": AnswerLostError("no answer"),
    "html": (502, {}, b"<html>"),
    "malformed": (200, {}, b'{"events_rec'),
    "throttled": _error(80004),
    "app throttled": _error(4),
    "too many": (429, {"retry-after": "7"}, b""),
    "token": _error(190),
    "pixel": _error(100, 33),
    "version": _error(2635),
    "named": _error(100, 2804019, "on $['data'][0]"),
    "named beyond": _error(100, 2804019, "on $['data'][999]"),
    "bad": _error(100, 2804003),
    "unknown": _error(987654),
    "short": (200, {}, b'{"events_received": 0}'),
    "too large": (413, {}, b""),
    "moved": (302, {"location": "https://elsewhere"}, b""),
}


@dataclass
class Scripted:
    """An endpoint that answers from a script, then accepts; it keeps what it was sent."""

    script: list[str]
    token: str
    envelope: Envelope = field(default_factory=Envelope)
    posts: int = 0

    def post(self, pixel: str, body: Body) -> object:
        kind = self.script[self.posts] if self.posts < len(self.script) else "accept"
        self.posts += 1
        answer = ANSWERS[kind]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            answer = (200, {}, json.dumps({"events_received": len(json.loads(b"".join(body))["data"])}).encode())
        return parse_response(*answer)


@dataclass
class Claimed:
    request: Request
    lost: EventBatch


def _claims(taken: set[str]) -> object:
    """A ledger in which another run holds the events ``taken``."""
    numbers = count(1)

    def claim(wanted: Request, *, replaces: str | None = None) -> Claimed:
        free = pa.array([event_id not in taken for event_id in ids_of(wanted.events)], pa.bool_())
        lost = wanted.events.filter(pa.array([not own for own in free.to_pylist()], pa.bool_()))
        return Claimed(Request(str(next(numbers)), wanted.client, wanted.pixel, wanted.events.filter(free)), lost)

    return claim


@given(
    scripts=st.dictionaries(st.sampled_from([ACME, OTHER]), st.lists(st.sampled_from(sorted(ANSWERS)), max_size=14)),
    plan=st.lists(st.tuples(st.sampled_from([ACME, OTHER]), st.integers(1, 9)), max_size=6),
    taken=st.sets(st.sampled_from(["b0-0", "b1-1", "b2-0", "b2-2"])),
    concurrency=st.integers(1, 3),
)
def test_p01_every_event_ends_in_exactly_one_outcome(
    scripts: dict[str, list[str]], plan: list[tuple[str, int]], taken: set[str], concurrency: int
) -> None:
    """Whatever the endpoint answers, in whatever order."""
    came = [batch(names(f"b{i}", size), client=client) for i, (client, size) in enumerate(plan)]
    requests = list(cut_requests(came, max_events=4, max_bytes=1_000_000))
    senders = {client: Scripted(scripts.get(client, []), f"token of {client}") for client in (ACME, OTHER)}
    policy = DeliveryPolicy(RetryPolicy(max_tries=3), concurrency=concurrency)

    outcomes = list(
        deliver(requests, senders=senders, claim=_claims(taken), policy=policy, clock=FakeTime().clock)  # type: ignore[arg-type]
    )

    went = sorted(event_id for outcome in outcomes for event_id in ids_of(outcome.request.events))
    assert went == sorted(event_id for one in came for event_id in ids_of(one))
    for outcome in outcomes:
        if taken & set(ids_of(outcome.request.events)):
            assert outcome.fate is Fate.DEFERRED
