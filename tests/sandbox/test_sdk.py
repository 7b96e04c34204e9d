"""The official SDK sends to the sandbox, so that it is not only our own idea of Meta."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.event_request import EventRequest
from facebook_business.adobjects.serverside.user_data import UserData
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from tests.sandbox.conftest import Post
from tests.support.sandbox_server import APP_SECRET, PIXEL, SECRET_TOKEN, TOKEN, Sandbox


def _use(sandbox: Sandbox, token: str, app_secret: str | None = None) -> None:
    session = FacebookSession(access_token=token, app_secret=app_secret, timeout=10)
    session.GRAPH = sandbox.url
    FacebookAdsApi.set_default_api(FacebookAdsApi(session))


@pytest.fixture
def sdk(sandbox: Sandbox) -> Sandbox:
    """The SDK's default client, pointed at the sandbox; made by hand, so that no crash reporter is installed."""
    _use(sandbox, TOKEN)
    return sandbox


def _event(event_id: str, **changes: object) -> Event:
    user = UserData(emails=["John_Smith@gmail.com"], phones=["+1 (650) 555-1212"], first_name="Mary", last_name="Ann",
                    city="New York", state="ny", zip_code="94035-1234", country_code="us", external_id="User_123",
                    client_ip_address="203.0.113.7", client_user_agent="Mozilla/5.0")  # fmt: skip
    fields = {
        "event_name": "Purchase",
        "event_time": int(time.time()) - 60,
        "event_id": event_id,
        "user_data": user,
        "custom_data": CustomData(value=12.5, currency="EUR", order_id="o-1"),
        "action_source": ActionSource.SYSTEM_GENERATED,
        **changes,
    }
    return Event(**fields)


def test_the_official_sdk_is_understood(sdk: Sandbox) -> None:
    request = EventRequest(pixel_id=PIXEL, events=[_event("s-1"), _event("s-2")], partner_agent="platform_1_0")

    response = request.execute()

    assert (response.events_received, response.messages) == (2, [])
    assert sdk.accepted_ids == ["s-1", "s-2"]
    assert sdk.events[0]["user_data"]["em"] == ["62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"]
    assert sdk.requests[0]["fields"]["partner_agent"] == "platform_1_0"
    assert sdk.requests[0]["form"] == "application/x-www-form-urlencoded"


def test_the_official_sdk_reads_our_refusals_as_it_reads_metas(sdk: Sandbox) -> None:
    stale = _event("s-1", event_time=int(time.time()) - 8 * 86_400)

    with pytest.raises(FacebookRequestError) as refused:
        EventRequest(pixel_id=PIXEL, events=[stale]).execute()

    error = refused.value
    assert (error.http_status(), error.api_error_code(), error.api_error_subcode()) == (400, 100, 2804003)
    assert error.api_transient_error() is False


def test_the_official_sdks_proof_is_taken(sandbox: Sandbox) -> None:
    _use(sandbox, SECRET_TOKEN, APP_SECRET)

    response = EventRequest(pixel_id=PIXEL, events=[_event("s-1")]).execute()

    assert response.events_received == 1


# The sample of "Set up Conversions API as a Platform", as the page prints it.
SAMPLE = json.loads((Path(__file__).parent / "platform_sample.json").read_text(encoding="utf-8"))


def test_the_platform_pages_sample_is_refused_today_for_its_missing_action_source(sandbox: Sandbox, post: Post) -> None:
    error = post(*SAMPLE["data"], partner_agent=SAMPLE["partner_agent"]).json()["error"]

    assert (error["code"], error["error_subcode"]) == (100, 2804019)
    assert '"action_source" is required' in error["message"]


def test_the_platform_pages_sample_is_then_refused_for_its_age(sandbox: Sandbox, post: Post) -> None:
    """Its events are of January 2020."""
    events = [{**event, "action_source": "website"} for event in SAMPLE["data"]]

    assert post(*events).json()["error"]["error_subcode"] == 2804003


def test_the_platform_pages_sample_is_taken_in_its_day_with_an_action_source(sandbox: Sandbox, post: Post) -> None:
    """Numeric text as value included."""
    sandbox.clock = SAMPLE["data"][0]["event_time"] + 3600
    events = [{**event, "action_source": "website"} for event in SAMPLE["data"]]

    answer = post(*events, partner_agent=SAMPLE["partner_agent"])

    assert answer.json()["events_received"] == 2
