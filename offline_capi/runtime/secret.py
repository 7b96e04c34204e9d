"""The type that keeps secrets out of everything that is written."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NoReturn

from offline_capi.errors import ConfigError

__all__ = ["Secret", "appsecret_proof", "fingerprint", "sendable"]

_MASK = "***"


class Secret:
    """A text that shows itself only to ``reveal()``: printing, formatting, logging and JSON give ``***`` or refuse.

    It cannot be pickled, so that it never travels in a task queue or an XCom: resolve it where it is used.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself. Pass it on at once; do not keep it in a variable that a traceback could show."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_MASK})"

    def __str__(self) -> str:
        return _MASK

    def __format__(self, spec: str) -> str:
        return _MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never pickled: send its SecretRef and resolve it where it is used")


def sendable(token: Secret) -> Secret:
    """A token that fits into a header; ``ConfigError`` for any other: HTTP libraries quote one in their errors."""
    if not re.fullmatch(r"[\x21-\x7e]+", token.reveal()):
        raise ConfigError("the token holds a space, a line break or a letter that no token has; copy it again")
    return token


def fingerprint(token: Secret) -> str:
    """Tells tokens apart without showing one: the first 8 hex of its SHA-256."""
    return hashlib.sha256(token.reveal().encode()).hexdigest()[:8]


def appsecret_proof(token: Secret, app_secret: Secret) -> str:
    """Lower-case hex HMAC-SHA256 of the token under the app secret (SDK serverside/util.py)."""
    return hmac.new(app_secret.reveal().encode(), token.reveal().encode(), hashlib.sha256).hexdigest()
