"""Who may send where: tokens, the pixels they may write to, and the app secrets behind them.

Tokens are kept as digests. What is shown is a short fingerprint, which tells two tokens apart and gives neither away.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from offline_capi.sandbox.answers import ERRORS, GraphError, Refusal

__all__ = ["ANY_PIXEL", "VERSIONS_END", "Access", "Grant", "fingerprint", "version_headers"]

ANY_PIXEL = "*"

# First second (UTC) in which a version is refused; None: not announced (meta-capi.md 11). Older than these: refused.
VERSIONS_END: Mapping[int, int | None] = {
    20: 1790208000,  # 2026-09-24
    21: 1800489600,  # 2027-01-21
    22: 1810771200,  # 2027-05-20
    23: 1822953600,  # 2027-10-08
    24: 1834444800,  # 2028-02-18
    25: 1848441600,  # 2028-07-29
    26: None,
    27: None,
}


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def fingerprint(token: str) -> str:
    """Eight hex digits that stand for a token in the log and on the page."""
    return _digest(token).hex()[:8]


def version_headers(version: int | None, now: float, *, forward: bool) -> dict[str, str]:
    """By which version an answer is made, as its headers tell; a path without a version is taken.

    Raises the refusal of a version that is not out yet, and of a retired one (2635), or with ``forward`` answers it as
    the oldest that lives and says so: Meta does either (meta-capi.md 11).
    """
    if version is None:
        return {}
    if not 0 <= version <= max(VERSIONS_END):
        raise Refusal("unknown_version")
    served = version if _lives(version, now) else min(one for one in VERSIONS_END if _lives(one, now))
    if served == version:
        return {"facebook-api-version": f"v{version}.0"}
    if not forward:
        raise Refusal("old_version", f"You are calling a retired version of the Graph API: v{version}.0")
    words = f"The call has been auto-upgraded to v{served}.0 as v{version}.0 has been deprecated."
    return {"facebook-api-version": f"v{served}.0", "X-Ad-Api-Version-Warning": words}


def _lives(version: int, now: float) -> bool:
    end = VERSIONS_END.get(version, 0)
    return end is None or now < end


@dataclass(frozen=True, slots=True)
class Grant:
    """What one token may do. ``refusal`` is the answer to it once it was revoked or lost its permission."""

    pixels: frozenset[str]
    app_secret: str | None = None
    refusal: GraphError | None = None

    def allows(self, pixel: str) -> bool:
        return ANY_PIXEL in self.pixels or pixel in self.pixels


@dataclass(slots=True)
class Access:
    """The book of grants. ``anyone`` lets every token write to every pixel, for a first look around."""

    anyone: bool = False
    _grants: dict[bytes, Grant] = field(default_factory=dict)

    def grant(self, token: str, pixels: Iterable[str], app_secret: str | None = None) -> None:
        """Let ``token`` write to ``pixels``; an earlier grant of the same token is replaced."""
        self._grants[_digest(token)] = Grant(frozenset(pixels), app_secret)

    def revoke(self, token: str, error: GraphError = ERRORS["revoked_token"]) -> None:
        """Answer ``error`` to ``token`` from now on."""
        known = self._grants.get(_digest(token), Grant(frozenset()))
        self._grants[_digest(token)] = replace(known, refusal=error)

    def copy(self) -> Access:
        return Access(self.anyone, dict(self._grants))

    def pixels(self) -> list[str]:
        """Every pixel that a grant names."""
        return sorted({pixel for grant in self._grants.values() for pixel in grant.pixels} - {ANY_PIXEL})

    def check(self, pixel: str, token: str | None, proof: str | None) -> None:
        """Raise the refusal that Meta would give; return when the request may go on to its events."""
        if not token:
            raise Refusal("no_token")
        grant = self._find(token)
        if grant.refusal:
            raise Refusal(grant.refusal)
        if grant.app_secret:
            _check_proof(grant.app_secret, token, proof)
        if not grant.allows(pixel):
            raise Refusal("no_object", f"Object with ID '{pixel}' does not exist or cannot be written to")

    def _find(self, token: str) -> Grant:
        grant = self._grants.get(_digest(token))
        if grant is None and not self.anyone:
            raise Refusal("bad_token")
        return grant or Grant(frozenset({ANY_PIXEL}))


def _check_proof(app_secret: str, token: str, proof: str | None) -> None:
    """The proof is the lower-case hex HMAC-SHA256 of the token under the app secret (SDK serverside/util.py)."""
    if not proof:
        raise Refusal("no_proof")
    if not hmac.compare_digest(proof, hmac.new(app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()):
        raise Refusal("bad_proof")
