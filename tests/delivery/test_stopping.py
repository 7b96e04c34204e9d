"""Who stops for what, and what becomes of requests under way when sending ends early."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from offline_capi.config import EnvironmentSecrets, Secret, SecretRef, load_config
from offline_capi.config.upload import Delivery
from offline_capi.delivery import (
    Clock,
    DeliveryPolicy,
    Envelope,
    Sender,
    check_test_event_code,
    cut_requests,
    deliver,
    open_senders,
)
from offline_capi.errors import LedgerBusyError, UsageError
from offline_capi.ledger import Claim
from offline_capi.meta.graph.client import GraphClient
from offline_capi.model import Fate, Outcome, Reason, Request
from offline_capi.runtime.secret import appsecret_proof
from tests.delivery.sending import ACME, OTHER, TOKENS, VERSIONS, FakeTime, Night, batch, ids_of, names
from tests.support.golden import environment
from tests.support.sandbox_server import PIXEL, Sandbox

# ---------------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_client_has_no_more_requests_in_flight_than_allowed(night: Night, sandbox: Sandbox, concurrency: int) -> None:
    night.policy = DeliveryPolicy(concurrency=concurrency)
    sandbox.fault("slow", delay=0.5)

    night.send([batch(names("e", 6))], max_events=1)

    assert max(request["in_flight"] for request in sandbox.requests) == concurrency


def test_p06_no_token_is_tried_again_after_it_was_refused(night: Night, sandbox: Sandbox) -> None:
    """Requests that wait for a retry when the token is revoked do not go out any more."""
    night.policy, night.clock = DeliveryPolicy(concurrency=4), Clock(jitter=lambda: 0.2)
    sandbox.fault("unavailable", first_request=2, last_request=4)
    sandbox.fault("revoked_token", first_request=5)

    books = night.send([batch(names("e", 10))], max_events=1)

    assert len(books.of(Fate.SENT)) == 1
    assert len(sandbox.requests) == 5


# ---------------------------------------------------------------------------------------------- allowances


def test_p08_the_use_of_the_app_s_allowance_slows_every_client(night: Night, sandbox: Sandbox) -> None:
    """Only one request of another client is told."""
    sandbox.fault("slow", delay=0, pixel=PIXEL, headers={"X-App-Usage": '{"call_count": 95}'})

    night.send([batch(["a-0"]), *(batch([f"o-{i}"], client=OTHER) for i in range(9))], max_events=1)

    assert night.time.now >= 30.0


def test_p08_the_use_of_one_account_s_allowance_slows_its_client_only(night: Night, sandbox: Sandbox) -> None:
    usage = '{"1": [{"call_count": 95, "estimated_time_to_regain_access": 300}]}'
    sandbox.fault("usage", pixel=PIXEL, headers={"X-Business-Use-Case-Usage": usage})

    books = night.send([batch(names("a", 5)), batch(names("o", 5), client=OTHER)], max_events=1)

    assert len(books.of(Fate.SENT)) == 6
    assert {books.fates[event_id] for event_id in names("o", 5)} == {Fate.SENT}


def test_p08_a_wait_told_with_a_success_that_is_longer_than_the_run_may_wait_holds_the_rest(
    night: Night, sandbox: Sandbox
) -> None:
    sandbox.fault("usage", usage=100, regain_minutes=60)

    books = night.send([batch(names("e", 5))], max_events=1)

    assert books.counts == {Fate.SENT: 1, Fate.DEFERRED: 4}
    assert {outcome.reason for outcome in books.outcomes if outcome.fate is Fate.DEFERRED} == {Reason.THROTTLED}
    assert len(sandbox.requests) == 1


# ---------------------------------------------------------------------------------------------- ways to Meta


@pytest.mark.parametrize(
    ("token", "says"), [("", "set the environment variable"), ("EAA two\nlines", "copy it again"), ("EAAé", "copy it")]
)
def test_p07_a_token_that_cannot_be_used_stops_its_client_only(
    night: Night, sandbox: Sandbox, tmp_path: Path, token: str, says: str
) -> None:
    environ = environment(tmp_path) | {"OFFLINE_CAPI_GRAPH_URL": sandbox.url, "ACME_BANK_TOKEN": token}
    deployment, run = load_config(Path("dags"), environ=environ), night.begin()
    shop = deployment.clients["corner_shop"].pixel_id
    sandbox.grant(environ["CORNER_SHOP_TOKEN"], [shop])
    events = [
        batch(names("a", 3), client="acme_bank"),
        batch(names("c", 3), client="corner_shop", pixel=shop),
        batch(names("g", 3), client="gone_since_it_was_staged"),
    ]

    with open_senders(deployment, EnvironmentSecrets(environ), Delivery()) as senders:
        requests = cut_requests(events, max_events=2, max_bytes=100_000)
        claim = partial(night.ledger.journal.claim, run)
        outcomes = list(
            deliver(requests, senders=senders, claim=claim, policy=DeliveryPolicy(), clock=night.time.clock)
        )

    fates = {(outcome.request.client, outcome.fate) for outcome in outcomes}
    assert fates == {
        ("acme_bank", Fate.DEFERRED),
        ("corner_shop", Fate.SENT),
        ("gone_since_it_was_staged", Fate.DEFERRED),
    }
    assert says in next(outcome.explanation for outcome in outcomes if outcome.request.client == "acme_bank")
    assert not token or token not in "".join(outcome.explanation for outcome in outcomes)


def test_p07_a_token_that_an_earlier_run_found_broken_is_not_tried_again(
    night: Night, sandbox: Sandbox, tmp_path: Path
) -> None:
    """What is known of the client is asked with its own token, and says how it sends again; no request leaves."""
    environ = environment(tmp_path) | {"OFFLINE_CAPI_GRAPH_URL": sandbox.url}
    deployment, run = load_config(Path("dags"), environ=environ), night.begin()
    asked: list[tuple[str, str]] = []

    def refuse(client: str, token: Secret) -> str:
        asked.append((client, token.reveal()))
        return "its token was revoked on 2026-11-20"

    with open_senders(deployment, EnvironmentSecrets(environ), Delivery(), refusal=refuse) as senders:
        requests = cut_requests([batch(names("a", 3), client="acme_bank")], max_events=2, max_bytes=100_000)
        claim = partial(night.ledger.journal.claim, run)
        outcomes = list(
            deliver(requests, senders=senders, claim=claim, policy=DeliveryPolicy(), clock=night.time.clock)
        )

    assert asked == [("acme_bank", environ["ACME_BANK_TOKEN"])]
    assert [(one.fate, one.reason, one.tries) for one in outcomes] == [(Fate.DEFERRED, Reason.CLIENT_STOPPED, 0)] * 2
    words = "its token was revoked on 2026-11-20; once that is fixed, `offline-capi clients test acme_bank --probe`"
    assert words in outcomes[0].explanation
    assert sandbox.requests == []


def test_what_accompanies_the_events_of_a_client_is_its_own_and_else_that_of_all(tmp_path: Path) -> None:
    environ = environment(tmp_path) | {"OFFLINE_CAPI_GRAPH_URL": "http://127.0.0.1:9", "APP_SECRET": "secret"}
    deployment = load_config(Path("dags"), environ=environ)
    own = {"partner_agent": "acme_1_0", "app_secret": SecretRef(env="APP_SECRET")}
    clients = deployment.clients | {"acme_bank": deployment.clients["acme_bank"].model_copy(update=own)}
    deployment = deployment.model_copy(update={"clients": clients})
    token = Secret(environ["ACME_BANK_TOKEN"])

    with open_senders(
        deployment, EnvironmentSecrets(environ), Delivery(), test_event_code="TEST1", upload_tag="tag of {}".format
    ) as senders:
        bank, shop = senders["acme_bank"], senders["corner_shop"]

        assert senders["acme_bank"] is bank
    proof = appsecret_proof(token, Secret("secret"))
    assert bank.token.reveal() == token.reveal()
    assert bank.envelope == Envelope("acme_1_0", proof, "TEST1", "tag of acme_bank")
    assert shop.envelope == Envelope(deployment.platform.partner_agent, None, "TEST1", "tag of corner_shop")


@pytest.mark.parametrize(
    ("code", "trigger", "says"),
    [
        (None, "scheduled", None),
        ("TEST12345", "manual", None),
        ("a" * 40, "manual", None),
        ("a" * 41, "manual", "is not one"),
        ("TEST 1", "manual", "is not one"),
        ("TEST12345", "scheduled", "never rides on a scheduled run"),
        ("TEST12345", "settle", "never rides on a settle run"),
    ],
)
def test_p19_a_test_event_code_rides_on_a_run_that_a_person_started(
    code: str | None, trigger: str, says: str | None
) -> None:
    with pytest.raises(UsageError, match=says) if says else nullcontext():
        check_test_event_code(code, trigger)


# ---------------------------------------------------------------------------------------------- another run in between


@pytest.mark.parametrize("tell", ["path", "nothing"])
def test_p01_what_another_run_takes_while_a_request_is_taken_apart_has_a_fate(
    night: Night, sandbox: Sandbox, tell: str
) -> None:
    """A refused request is unconfirmed until its parts are claimed, and so free for another run."""
    sandbox.refuse("e-3", tell=tell)
    run, ledger = night.begin(), night.ledger
    taken: list[str] = []
    emptied: list[str] = []

    def claim(wanted: Request, *, replaces: str | None = None) -> Claim:
        granted = ledger.journal.claim(run, wanted, replaces=replaces)
        if replaces is None or "e-3" not in ids_of(wanted.events):
            return granted
        taken.extend(ids_of(granted.request.events))
        emptied.append(granted.request.id)
        return Claim(Request(granted.request.id, ACME, PIXEL, wanted.events.slice(0, 0)), wanted.events)

    outcomes = _delivered(night, claim)

    deferred = [
        event_id for outcome in outcomes if outcome.fate is Fate.DEFERRED for event_id in ids_of(outcome.request.events)
    ]
    assert "e-3" in taken
    # The ledger closes the request of which nothing is left by its id.
    assert emptied
    assert {*emptied} <= {outcome.request.id for outcome in outcomes if not len(outcome.request.events)}
    assert {outcome.reason for outcome in outcomes if outcome.fate is Fate.DEFERRED} == {Reason.OTHER_RUN}
    assert sorted(deferred) == sorted(taken)
    assert sorted(event_id for outcome in outcomes for event_id in ids_of(outcome.request.events)) == names("e", 8)


def test_p01_what_was_answered_before_a_claim_fails_is_told_before_the_error(night: Night) -> None:
    """The ledger has noted it by then: the books of the failed run say the same."""
    run = night.begin()
    noted: list[str] = []
    told: list[str] = []

    def claim(wanted: Request, *, replaces: str | None = None) -> Claim:
        if noted:
            raise LedgerBusyError("another process holds the ledger")
        return night.ledger.journal.claim(run, wanted, replaces=replaces)

    def record(outcomes: Sequence[Outcome]) -> None:
        noted.extend(event_id for outcome in outcomes for event_id in ids_of(outcome.request.events))

    delivery = _deliver(night, claim, max_events=2, record=record)
    with pytest.raises(LedgerBusyError):
        told.extend(event_id for outcome in delivery for event_id in ids_of(outcome.request.events))

    assert told == noted == names("e", 2)


def _delivered(night: Night, claim: Callable[..., Claim]) -> list[Outcome]:
    return list(_deliver(night, claim, max_events=8))


def _deliver(night: Night, claim: Callable[..., Claim], *, max_events: int, **options: Any) -> Iterator[Outcome]:
    requests = cut_requests([batch(names("e", 8))], max_events=max_events, max_bytes=100_000)
    with GraphClient(night.url, VERSIONS, timeout_s=5) as graph:
        senders = {ACME: Sender(graph, Secret(TOKENS[ACME]), Envelope())}
        policy, clock = DeliveryPolicy(), FakeTime().clock
        yield from deliver(requests, senders=senders, claim=claim, policy=policy, clock=clock, **options)


# ---------------------------------------------------------------------------------------------- ended early


def test_p03_sending_that_is_broken_off_retries_nothing_and_loses_nothing(night: Night, sandbox: Sandbox) -> None:
    """Ctrl-C: what is on the wire is answered, what waits for a retry is not, and the next run settles all."""
    night.policy, night.clock, night.on_idle = DeliveryPolicy(concurrency=4), Clock(jitter=lambda: 1.0), _interrupt
    sandbox.fault("store_then_fail", first_request=2)

    with pytest.raises(KeyboardInterrupt):
        night.send([batch(names("e", 40))], max_events=2)
    came = len(sandbox.requests)
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("post")]
    sandbox.heal()
    night.on_idle = lambda: None
    books = night.send([batch(names("e", 40))], max_events=2)

    assert left == []
    assert came == 1 + 4
    assert books.counts == {Fate.SENT: 38, Fate.ALREADY_SENT: 2}
    assert [times for _, _, _, times, _ in sandbox.tally()] == [1] * 40


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_a_consumer_is_called_back_while_an_answer_takes_long(night: Night, sandbox: Sandbox) -> None:
    """So that the ledger can say that this process lives: its lease would run out otherwise."""
    called: list[str] = []
    night.on_idle = partial(called.append, "quiet")
    sandbox.fault("slow", delay=2.5, times=1)

    night.send([batch(["e-1"])])

    assert called
