"""Allowances that are used up by calls, and the headers that tell how far: Meta's rate limits in small.

Meta counts in points and hours, by tiers and active ads, and says how much is used in per cent only (meta-capi.md 5.5).
A sandbox counts calls in a sliding window: of each pixel, and of all of them together, which stand for one app.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from offline_capi.sandbox.answers import GraphError

__all__ = ["Limits", "Meters"]

APP_LIMIT = GraphError(400, 4, None, "Application request limit reached", is_transient=True)
PIXEL_LIMIT = GraphError(400, 80004, 2446079, "Too many calls to this ad account", is_transient=True)


#: What is used of an allowance that nothing meters, and when its counting begins anew (meta-capi.md 15).
LOW_PERCENT, RESET_S = 9.67, 100


class Limits(BaseModel):
    """How many calls a window of ``seconds`` may hold, of one pixel and of the app; ``None``: any number, unmetered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixel_calls: int | None = Field(None, ge=1)
    app_calls: int | None = Field(None, ge=1)
    seconds: float = Field(3600.0, gt=0)


@dataclass(slots=True)
class _Meter:
    """Calls of the last ``seconds``, against how many there may be."""

    allowed: int
    seconds: float
    calls: deque[float] = field(default_factory=deque)

    def used(self, now: float) -> float:
        """Per cent."""
        while self.calls and self.calls[0] <= now - self.seconds:
            self.calls.popleft()
        return 100 * len(self.calls) / self.allowed

    def minutes_to_regain(self, now: float) -> int:
        """Whole minutes, as Meta tells them, until a call is free again."""
        return 0 if self.used(now) < 100 else math.ceil((self.calls[0] + self.seconds - now) / 60)


@dataclass(slots=True)
class Meters:
    """The meters of one sandbox. A call that is refused for its allowance is not counted."""

    limits: Limits = field(default_factory=Limits)
    _pixels: dict[str, _Meter] = field(default_factory=dict)
    _app: _Meter | None = None

    def __post_init__(self) -> None:
        limits = self.limits
        self._app = _Meter(limits.app_calls, limits.seconds) if limits.app_calls else None

    def count(self, pixel: str, now: float) -> GraphError | None:
        """Count a call; the error that it is answered with where an allowance is used up."""
        own, app = self._of(pixel), self._app
        if app and app.used(now) >= 100:
            return APP_LIMIT
        if own and own.used(now) >= 100:
            return PIXEL_LIMIT
        for meter in filter(None, (own, app)):
            meter.calls.append(now)
        return None

    def headers(self, pixel: str, now: float) -> Mapping[str, str]:
        """Meta's three usage headers, which come with every answer: at low use where an allowance is not metered.

        The ad account's always tells when its counting begins anew, however little is used of it (Meta's own sample
        header). A busy app does not tell when it is free again.
        """
        own, app = self._of(pixel), self._app
        tier = {"ads_api_access_tier": "limited"}
        use = {"type": "ads_management", **_load(own.used(now) if own else LOW_PERCENT), **tier}
        regain = {"estimated_time_to_regain_access": own.minutes_to_regain(now) if own else 0}
        account = {"acc_id_util_pct": LOW_PERCENT, "reset_time_duration": RESET_S, **tier}
        return {
            "X-App-Usage": json.dumps(_load(app.used(now) if app else LOW_PERCENT)),
            "X-Business-Use-Case-Usage": json.dumps({pixel: [use | regain]}),
            "X-Ad-Account-Usage": json.dumps(account),
        }

    def _of(self, pixel: str) -> _Meter | None:
        if self.limits.pixel_calls is None:
            return None
        return self._pixels.setdefault(pixel, _Meter(self.limits.pixel_calls, self.limits.seconds))


def _load(percent: float) -> dict[str, float]:
    return {"call_count": int(percent), "total_cputime": 0, "total_time": 0}
