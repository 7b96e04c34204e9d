"""Meta's facts about a token from ``debug_token``: owner, permissions, expiry (meta-capi.md 8.6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

__all__ = ["EXPIRY_WARNING_DAYS", "SENDING_SCOPES", "TokenFacts"]

#: Days before its end at which a token is warned of, once each (meta-capi.md 8.4).
EXPIRY_WARNING_DAYS = (1, 7, 14)
#: What a token needs for sending events on behalf of a client (D:set-up-conversions-api-as-a-platform).
SENDING_SCOPES = ("ads_management",)


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """One token, as Meta describes it. ``expires_at`` is ``None`` for a token without an end.

    ``granular`` are the scopes that are limited to some objects: scope → their ids.
    """

    kind: str
    app_id: str
    valid: bool
    expires_at: float | None = None
    scopes: tuple[str, ...] = ()
    granular: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    code: int | None = None
    subcode: int | None = None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self | None:
        """The ``data`` of an answer of ``debug_token``; ``None`` where Meta says nothing about the token."""
        if "is_valid" not in data:
            return None
        error = data.get("error") or {}
        ends = [at for key in ("expires_at", "data_access_expires_at") if (at := data.get(key))]  # 0: never
        return cls(
            kind=str(data.get("type") or "unknown").lower(),
            app_id=str(data.get("app_id") or ""),
            valid=data["is_valid"] is True,
            expires_at=float(min(ends)) if ends else None,
            scopes=tuple(map(str, data.get("scopes") or ())),
            granular=dict(_parse_granular(data.get("granular_scopes") or ())),
            code=error.get("code"),
            subcode=error.get("subcode"),
        )

    def count_days_left(self, now: datetime) -> float | None:
        return None if self.expires_at is None else (self.expires_at - now.timestamp()) / 86_400

    def find_due_warning(self, now: datetime) -> int | None:
        """The least of 1, 7 and 14 days within which the token ends; ``None`` where its end is farther, or past."""
        left = self.count_days_left(now)
        if left is None or left <= 0:
            return None
        return next((days for days in EXPIRY_WARNING_DAYS if left <= days), None)

    def list_missing_scopes(self) -> tuple[str, ...]:
        """Permissions that sending needs and the token lacks."""
        return tuple(scope for scope in SENDING_SCOPES if scope not in self.scopes)

    def list_scopes_limited_elsewhere(self, pixel: str) -> tuple[str, ...]:
        """Permissions limited to objects of which the pixel is none: a hint only, for its business may be one."""
        return tuple(
            scope for scope in SENDING_SCOPES if self.granular.get(scope) and pixel not in self.granular[scope]
        )

    def format_expiry(self) -> str | None:
        return None if self.expires_at is None else datetime.fromtimestamp(self.expires_at, UTC).date().isoformat()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        granular = {scope: tuple(ids) for scope, ids in data["granular"].items()}
        return cls(**{**data, "scopes": tuple(data["scopes"]), "granular": granular})


def _parse_granular(entries: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    for entry in entries:
        if isinstance(entry, dict) and entry.get("scope"):
            yield str(entry["scope"]), tuple(map(str, entry.get("target_ids") or ()))
