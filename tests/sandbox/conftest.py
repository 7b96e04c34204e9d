"""A plain sender for the tests of the sandbox: httpx, and events that Meta would take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.sandbox_server import PIXEL, TOKEN, Sandbox

Post = Callable[..., httpx.Response]


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.url, timeout=10) as client:
        yield client


@pytest.fixture
def post(client: httpx.Client) -> Post:
    """Send events as JSON with the token in the header; keywords change the request."""

    def post(
        *events: Any, pixel: str = PIXEL, token: str | None = TOKEN, version: str = "v26.0", **fields: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return client.post(f"/{version}/{pixel}/events", json={"data": events, **fields}, headers=headers)

    return post
