"""How often an event counts (meta-capi.md sections 4 and 7)."""

from __future__ import annotations

import pytest

from offline_capi.sandbox.memory import Memory
from tests.sandbox.conftest import Post
from tests.sandbox.events import EM, NOW, lead, purchase
from tests.support.sandbox_server import OTHER_PIXEL, OTHER_TOKEN, PIXEL, Sandbox

HOUR = 3600


@pytest.mark.parametrize(("after", "times"), [(0, 1), (48 * HOUR, 1), (48 * HOUR + 1, 2)])
def test_an_online_event_counts_once_in_48_hours(sandbox: Sandbox, post: Post, after: int, times: int) -> None:
    sandbox.clock = NOW
    post(lead("e-1", at=NOW))
    sandbox.advance(after)

    post(lead("e-1", at=NOW))

    assert sandbox.count_of("e-1") == times
    assert sandbox.arrivals_of("e-1") == 2


def test_the_window_begins_with_the_first_receipt_that_counted(sandbox: Sandbox, post: Post) -> None:
    """Resending does not prolong it: 0 h counts, 40 h does not, 50 h does, 60 h does not."""
    sandbox.clock = NOW
    for hours in (0, 40, 10, 10):
        sandbox.advance(hours * HOUR)
        post(lead("e-1", at=NOW))

    assert sandbox.count_of("e-1") == 2


def test_name_and_pixel_are_part_of_the_key(sandbox: Sandbox, post: Post) -> None:
    post(lead("e-1"), lead("e-1", event_name="Lead"))
    post(lead("e-1"), pixel=OTHER_PIXEL, token=OTHER_TOKEN)

    assert sandbox.count_of("e-1") == 3
    assert sandbox.count_of("e-1", pixel=PIXEL) == 2
    assert sandbox.count_of("e-1", event_name="Lead") == 1


def test_events_without_id_always_count(sandbox: Sandbox, post: Post) -> None:
    post(lead(None))
    post(lead(None))

    assert sandbox.totals[PIXEL]["counted"] == 2


def test_messages_are_never_deduplicated(sandbox: Sandbox, post: Post) -> None:
    """D:business-messaging: the sender must do it."""
    message = purchase("m-1") | {"action_source": "business_messaging", "messaging_channel": "whatsapp"}

    post(message, message)

    assert sandbox.count_of("m-1") == 2


@pytest.mark.parametrize(
    ("second", "counted"),
    [
        pytest.param(purchase("o-1", at=NOW), 1, id="the same again"),
        pytest.param(purchase("o-1", at=NOW) | {"event_id": "another"}, 1, id="another event_id does not matter"),
        pytest.param(purchase("o-1", at=NOW) | {"user_data": {"ph": [EM]}}, 1, id="an order outweighs the customer"),
        pytest.param(purchase("o-1", at=NOW - 1), 2, id="another second"),
        pytest.param(purchase("o-2", at=NOW), 2, id="another order"),
        pytest.param(purchase("o-1", at=NOW, item_number="2"), 2, id="another line of the order"),
    ],
)
def test_a_shop_event_counts_by_order_line_and_second(
    sandbox: Sandbox, post: Post, second: dict[str, object], counted: int
) -> None:
    sandbox.clock = NOW
    post(purchase("o-1", at=NOW))

    post(second)

    assert sandbox.totals[PIXEL]["counted"] == counted


def test_without_an_order_the_same_customer_is_the_same_event(sandbox: Sandbox, post: Post) -> None:
    first = purchase("o-1", at=NOW, order_id=None)
    sandbox.clock = NOW

    post(first, first | {"user_data": {"em": [EM], "fn": [EM]}}, first | {"event_id": "o-9"})

    assert sandbox.totals[PIXEL] | {"bytes": 0} == {
        "requests": 1, "refused_requests": 0, "cut_requests": 0, "bytes": 0, "events": 3, "stored": 3, "distinct": 2,
        "counted": 2, "duplicates": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("days", "times"), [(7, 1), (7.001, 2)])
def test_a_shop_event_counts_once_in_seven_days(sandbox: Sandbox, post: Post, days: float, times: int) -> None:
    sandbox.clock = NOW
    post(purchase("o-1", at=NOW))
    sandbox.advance(days * 86_400)

    post(purchase("o-1", at=NOW))

    assert sandbox.count_of("o-1") == times


def test_a_hundred_thousand_events_are_kept_without_their_bodies() -> None:
    """Keys and counts alone: the same answers, no body anywhere."""
    memory = Memory(keep_bodies=False)

    for start in range(0, 100_000, 1000):
        memory.store(PIXEL, [lead(f"e-{n}", at=NOW) for n in range(start, start + 1000)], NOW)
    memory.store(PIXEL, [lead("e-7", at=NOW)], NOW)

    assert memory.count() == {"times": 100_000, "arrivals": 100_001, "events": 100_000}
    assert memory.count(event_id="e-7") == {"times": 1, "arrivals": 2, "events": 1}
    assert memory.events(event_id="e-7")[0]["body"] is None
