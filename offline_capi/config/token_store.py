"""Tokens in an encrypted file of this machine: what ``clients authorize`` obtained, by name.

The whole file is one Fernet message (``cryptography``): without the key, neither a token nor whose it is can be read or
exchanged. ``OFFLINE_CAPI_STORE`` names the file; the key is in ``OFFLINE_CAPI_STORE_KEY``, or in the file that
``OFFLINE_CAPI_STORE_KEY_FILE`` names. While keys are changed there may be several, separated by blanks or commas: the
first one writes, all of them read.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offline_capi.errors import ConfigError
from offline_capi.runtime.secret import Secret
from offline_capi.storage.private_files import PRIVATE, replace_file

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

__all__ = ["KEY", "KEY_FILE", "STORE", "TokenStore"]

STORE, KEY, KEY_FILE = "OFFLINE_CAPI_STORE", "OFFLINE_CAPI_STORE_KEY", "OFFLINE_CAPI_STORE_KEY_FILE"
DEFAULT_STORE_PATH = "offline_capi_tokens.enc"
_KEY_ADVICE = (
    f"make a key with `offline-capi clients store-key`, and set {KEY}, or {KEY_FILE} to a file that only you can read"
)


class TokenStore:
    """Tokens by name. A change is whole or not at all, and two processes never undo each other's."""

    def __init__(self, path: Path, keys: Callable[[], Secret]) -> None:
        self.path = path
        self._read_keys = keys
        self._seen: tuple[tuple[int, int, int], dict[str, Any]] | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> TokenStore:
        """The store that the environment names; its key is read when it is needed."""
        return cls(Path(environ.get(STORE) or DEFAULT_STORE_PATH), lambda: _read_keys(environ))

    def check(self) -> None:
        """Raise ``ConfigError`` where a token could not be put here: before one is made, not after."""
        self._build_fernet()
        self._read_entries()

    def token(self, name: str) -> Secret:
        """The token to send with; ``ConfigError`` where there is none of that name."""
        entry = self._read_entries().get(name)
        if entry is None:
            raise ConfigError(
                f'the store {self.path} holds no token "{name}": `offline-capi clients authorize` puts one there'
            )
        return Secret(entry["token"])

    def names(self) -> list[str]:
        return sorted(self._read_entries())

    def replaced(self, name: str) -> list[Secret]:
        """Tokens that ``name`` had before and that are to be revoked: see ``forget_replaced``."""
        return [Secret(token) for token in self._read_entries().get(name, {}).get("replaced", ())]

    def put(self, name: str, token: Secret) -> None:
        """Make ``token`` the one that is sent with, at one stroke; the one before it is kept until it is revoked."""
        with self._edit_entries() as entries:
            old = entries.get(name, {"token": token.reveal(), "replaced": []})
            before = {*old["replaced"], old["token"]} - {token.reveal()}
            entries[name] = {"token": token.reveal(), "replaced": sorted(before)}

    def forget_replaced(self, name: str, token: Secret) -> None:
        """A token that ``name`` had before is revoked, and kept no longer."""
        with self._edit_entries() as entries:
            entries[name]["replaced"] = [one for one in entries[name]["replaced"] if one != token.reveal()]

    def rewrite(self) -> None:
        """Encrypt all with the first key: afterwards the older keys are not needed any more."""
        with self._edit_entries():
            pass

    # ------------------------------------------------------------------------------------------ the file

    @contextmanager
    def _edit_entries(self) -> Iterator[dict[str, Any]]:
        PRIVATE.make_folder(self.path.parent)
        number = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(number) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed
            entries = json.loads(json.dumps(self._read_entries()))  # a change that fails must not be seen
            yield entries
            with replace_file(self.path) as file:
                file.write(self._build_fernet().encrypt(json.dumps(entries).encode()))

    def _read_entries(self) -> dict[str, Any]:
        """What the file holds; read again only when it has changed, since a run asks once a client."""
        try:
            state = self.path.stat()
            version = (state.st_mtime_ns, state.st_ino, state.st_size)
            if self._seen is None or self._seen[0] != version:
                self._seen = (version, self._decrypt(self.path.read_bytes()))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"the token store {self.path} cannot be read: {error.strerror}") from None
        return self._seen[1]

    def _decrypt(self, content: bytes) -> dict[str, Any]:
        from cryptography.fernet import InvalidToken

        try:
            entries: dict[str, Any] = json.loads(self._build_fernet().decrypt(content))
        except (InvalidToken, ValueError):
            raise ConfigError(
                f"the token store {self.path} does not open with this key, or was damaged; give the key that it was "
                "written with, or restore the file"
            ) from None
        return entries

    def _build_fernet(self) -> MultiFernet:
        # Only who uses the store needs the library, and it takes a while to import.
        try:
            from cryptography.fernet import Fernet, MultiFernet
        except ImportError:
            raise ConfigError(
                "the token store needs the package cryptography: pip install 'offline-capi[store]'"
            ) from None
        try:
            return MultiFernet([Fernet(key) for key in self._read_keys().reveal().replace(",", " ").split()])
        except ValueError:
            raise ConfigError(f"the key of the token store is not one; {_KEY_ADVICE}") from None


def _read_keys(environ: Mapping[str, str]) -> Secret:
    if environ.get(KEY, "").strip():
        return Secret(environ[KEY])
    path = environ.get(KEY_FILE, "").strip()
    if not path:
        raise ConfigError(f"the token store has no key: {_KEY_ADVICE}")
    try:
        mode = Path(path).stat().st_mode
        if mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise ConfigError(
                f"the key of the token store can be read or changed by others: {path} ({KEY_FILE}) has the mode"
                f" {stat.S_IMODE(mode):04o}.\nRun `chmod 600 {shlex.quote(path)}`, or, where it is mounted, mount it"
                " with the mode 0400 or 0440. Nothing was sent; repeating is safe."
            )
        keys = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"the key of the token store cannot be read from {path} ({KEY_FILE})") from None
    if not keys:
        raise ConfigError(f"the file {path} ({KEY_FILE}) holds no key; {_KEY_ADVICE}")
    return Secret(keys)
