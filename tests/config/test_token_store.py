"""Tokens in an encrypted file: whole changes, keys that can be changed, and nothing readable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from offline_capi.config import EnvironmentSecrets, Secret, SecretRef
from offline_capi.config.token_store import TokenStore
from offline_capi.errors import ConfigError

CANARY = "EA" + "Acanary" * 5


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"OFFLINE_CAPI_STORE": str(tmp_path / "t.enc"), "OFFLINE_CAPI_STORE_KEY": Fernet.generate_key().decode()}


def test_a_token_is_found_again_by_its_name_and_by_nobody_without_the_key(environ: dict[str, str]) -> None:
    TokenStore.of(environ).put("acme", Secret(CANARY))

    found = EnvironmentSecrets(environ).token(SecretRef(store="acme"))

    content = Path(environ["OFFLINE_CAPI_STORE"]).read_bytes()
    assert found == Secret(CANARY)
    assert b"acme" not in content
    assert CANARY.encode() not in content
    assert Path(environ["OFFLINE_CAPI_STORE"]).stat().st_mode & 0o077 == 0


def test_a_switch_keeps_every_token_before_until_it_is_revoked(environ: dict[str, str]) -> None:
    store = TokenStore.of(environ)
    for token in ("first", "second", "second", "third"):
        store.put("acme", Secret(token))

    store.forget_replaced("acme", Secret("first"))

    assert store.token("acme") == Secret("third")
    assert store.replaced("acme") == [Secret("second")]


def test_a_change_by_another_process_is_seen(environ: dict[str, str]) -> None:
    mine, theirs = TokenStore.of(environ), TokenStore.of(environ)
    mine.put("acme", Secret("first"))

    theirs.put("acme", Secret("second!"))
    theirs.put("shop", Secret("other"))

    assert (mine.token("acme"), mine.names()) == (Secret("second!"), ["acme", "shop"])


def test_processes_that_write_at_once_undo_nothing_of_each_other(environ: dict[str, str]) -> None:
    code = (
        "import os, sys\nfrom offline_capi.config import Secret\n"
        "from offline_capi.config.token_store import TokenStore\n"
        "[TokenStore.of(os.environ).put(f'{sys.argv[1]}-{n}', Secret('token')) for n in range(20)]"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, name], env=environ | {"PYTHONPATH": str(Path.cwd())})
        for name in "abc"
    ]
    ended = [writer.wait(60) for writer in writers]

    assert ended == [0, 0, 0]
    assert len(TokenStore.of(environ).names()) == 60


def test_a_key_is_changed_without_a_moment_in_which_nothing_opens(environ: dict[str, str]) -> None:
    TokenStore.of(environ).put("acme", Secret(CANARY))
    old, new = environ["OFFLINE_CAPI_STORE_KEY"], Fernet.generate_key().decode()

    both = TokenStore.of(environ | {"OFFLINE_CAPI_STORE_KEY": f"{new}, {old}"})
    before = both.token("acme")
    both.rewrite()

    assert before == TokenStore.of(environ | {"OFFLINE_CAPI_STORE_KEY": new}).token("acme") == Secret(CANARY)
    with pytest.raises(ConfigError, match="does not open with this key"):
        TokenStore.of(environ).token("acme")


def test_the_key_may_be_in_a_file(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "key").write_text(environ.pop("OFFLINE_CAPI_STORE_KEY") + "\n", encoding="utf-8")
    (tmp_path / "key").chmod(0o600)
    store = TokenStore.of(environ | {"OFFLINE_CAPI_STORE_KEY_FILE": str(tmp_path / "key")})

    store.put("acme", Secret(CANARY))

    assert store.token("acme") == Secret(CANARY)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"OFFLINE_CAPI_STORE_KEY": ""}, "has no key"),
        ({"OFFLINE_CAPI_STORE_KEY": CANARY}, "is not one"),
        ({"OFFLINE_CAPI_STORE_KEY": Fernet.generate_key().decode()}, "does not open with this key"),
        ({"OFFLINE_CAPI_STORE_KEY": "", "OFFLINE_CAPI_STORE_KEY_FILE": "/nowhere/key"}, "cannot be read from /nowhere"),
        ({"OFFLINE_CAPI_STORE": "/nowhere/else"}, 'holds no token "acme"'),
    ],
)
def test_p09_what_is_wrong_with_the_store_is_said_without_a_secret(
    environ: dict[str, str], change: dict[str, str], said: str
) -> None:
    TokenStore.of(environ).put("acme", Secret(CANARY))

    with pytest.raises(ConfigError, match=said) as caught:
        EnvironmentSecrets(environ | change).token(SecretRef(store="acme"))

    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_damaged_store_is_not_overwritten(environ: dict[str, str]) -> None:
    path = Path(environ["OFFLINE_CAPI_STORE"])
    TokenStore.of(environ).put("acme", Secret(CANARY))
    path.write_bytes(path.read_bytes()[:-10])
    damaged = path.read_bytes()

    with pytest.raises(ConfigError, match="was damaged"):
        TokenStore.of(environ).put("shop", Secret("other"))

    assert path.read_bytes() == damaged
