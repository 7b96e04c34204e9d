"""A platform with three clients, the small world of Meta's that they live in, and the command line over both.

Everything is real but Meta: files, the token store, HTTP. Tokens are assembled, so that no scanner takes this file for
a leak.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from typer.testing import CliRunner

from offline_capi.cli import app
from offline_capi.config import Deployment, EnvironmentSecrets, load_config
from tests.support.night import Night
from tests.support.sandbox_server import Sandbox

APP, APP_SECRET = "4000000001", "canary-app-secret"
BUSINESS, CLIENT_BUSINESS, SYSTEM_USER = "5000000001", "5000000002", "6000000001"
ACME_PIXEL, SHOP_PIXEL, BANK_PIXEL = "1200000000000001", "1200000000000002", "1200000000000003"
OWN_TOKEN, CLIENT_TOKEN, SHOP_TOKEN, BANK_TOKEN, LOGIN_CODE, USER_TOKEN = (
    f"EAA{'canary' * 3}{name}" for name in ("own", "client", "shop", "bank", "code", "user")
)
CANARIES = (APP_SECRET, OWN_TOKEN, CLIENT_TOKEN, SHOP_TOKEN, BANK_TOKEN, LOGIN_CODE, USER_TOKEN)
REVIEWED = ["ads_management", "ads_read", "business_management", "pages_read_engagement"]

CLIENTS = f"""
platform:
  partner_agent: datapartner
  app:
    id: "{APP}"
    secret: {{env: APP_SECRET}}
    business_id: "{BUSINESS}"
    system_user_id: "{SYSTEM_USER}"
    token: {{env: OWN_TOKEN}}
    login_config_id: "7000000001"
    redirect_uri: https://platform.example/back
clients:
  acme: {{pixel_id: "{ACME_PIXEL}", token: {{store: acme}}, external_business_id: acme-1, test: {{code: TEST123}}}}
  shop: {{pixel_id: "{SHOP_PIXEL}", token: {{env: SHOP_TOKEN}}, contacts: owner@shop.example, test: {{code: TEST456}}}}
  bank: {{pixel_id: "{BANK_PIXEL}", token: {{env: BANK_TOKEN}}, partner_agent: otherpartner}}
"""

WORLD: dict[str, Any] = {
    "apps": {APP: APP_SECRET},
    "pixels": {
        ACME_PIXEL: {"owner": CLIENT_BUSINESS},
        SHOP_PIXEL: {"owner": CLIENT_BUSINESS},
        BANK_PIXEL: {"owner": CLIENT_BUSINESS},
    },
    "tokens": [
        {
            "token": OWN_TOKEN,
            "app": APP,
            "kind": "SYSTEM_USER",
            "user": SYSTEM_USER,
            "scopes": REVIEWED,
            "businesses": [BUSINESS],
        },
        {"token": USER_TOKEN, "app": APP, "scopes": ["manage_business_extension"]},
        {"token": CLIENT_TOKEN, "app": "4999999999", "businesses": [CLIENT_BUSINESS], "pixels": [ACME_PIXEL]},
        {"token": SHOP_TOKEN, "app": APP, "scopes": ["ads_management"], "pixels": [SHOP_PIXEL]},
        {"token": BANK_TOKEN, "app": APP, "scopes": ["ads_management"], "pixels": [BANK_PIXEL]},
    ],
    "installs": {"acme-1": {"business_manager_id": CLIENT_BUSINESS, "pixel_id": ACME_PIXEL}},
    "codes": {LOGIN_CODE: ACME_PIXEL},
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit code; an error that ``main`` would print is in ``error``."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Platform:
    """A configuration folder in ``home``, and everything it refers to."""

    def __init__(self, home: Path, sandbox: Sandbox) -> None:
        self.home, self.sandbox = home, sandbox
        self.env = {
            "OFFLINE_CAPI_GRAPH_URL": sandbox.url,
            "OFFLINE_CAPI_LEDGER": f"sqlite:///{home / 'ledger.db'}",
            "OFFLINE_CAPI_STAGE": str(home / "stage"),
            "OFFLINE_CAPI_STORE": str(home / "tokens.enc"),
            "OFFLINE_CAPI_STORE_KEY": Fernet.generate_key().decode(),
            "APP_SECRET": APP_SECRET,
            "OWN_TOKEN": OWN_TOKEN,
            "SHOP_TOKEN": SHOP_TOKEN,
            "BANK_TOKEN": BANK_TOKEN,
            "CLIENT_TOKEN": CLIENT_TOKEN,
            "LOGIN_CODE": LOGIN_CODE,
            "USER_TOKEN": USER_TOKEN,
        }
        (home / "uploads").mkdir()
        self.write(CLIENTS)
        self.be()

    def write(self, clients: str) -> None:
        (self.home / "clients.yml").write_text(clients, encoding="utf-8")

    def edit(self, old: str, new: str) -> None:
        text = (self.home / "clients.yml").read_text(encoding="utf-8")
        assert old in text
        self.write(text.replace(old, new))

    def be(self, **changes: Any) -> None:
        """Make the world as it is at the start, but for some of its parts."""
        self.sandbox.server.tell("PUT", "world", WORLD | changes)

    def pixel_is(self, pixel: str, **more: Any) -> None:
        self.be(pixels=WORLD["pixels"] | {pixel: {"owner": CLIENT_BUSINESS} | more})

    def token_is(self, token: str, **more: Any) -> None:
        self.be(tokens=[one | more if one["token"] == token else one for one in WORLD["tokens"]])

    @property
    def calls(self) -> list[str]:
        return self.sandbox.server.get("calls")

    def run(self, *arguments: str, given: str = "", env: dict[str, str] | None = None) -> Said:
        """``offline-capi clients …`` in this process."""
        command = ["clients", *arguments]
        if arguments[0] != "store-key":
            command += ["--config", str(self.home)]
        return _said(command, self.env | (env or {}), given)

    def status(self, client: str) -> dict[str, Any]:
        return json.loads((self.home / "stage" / "clients" / f"{client}.json").read_text(encoding="utf-8"))

    @property
    def deployment(self) -> Deployment:
        return load_config(self.home, environ=self.env)

    @property
    def secrets(self) -> EnvironmentSecrets:
        return EnvironmentSecrets(self.env)

    def written(self) -> str:
        """Everything in the folder, as text."""
        files = [path for path in sorted(self.home.rglob("*")) if path.is_file()]
        return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)


def kept_secret(*texts: str, canaries: Sequence[str] = CANARIES) -> bool:
    return not any(canary in text for canary in canaries for text in texts)


def run(night: Night, *arguments: str, **env: str) -> Said:
    """A command on the configuration of a night, in this process."""
    return _said([*arguments, "--config", str(night.home / "dags")], night.env | env)


def _said(command: Sequence[str], env: dict[str, str], given: str = "") -> Said:
    done = CliRunner().invoke(app, command, input=given, env=env)
    ended = done.exception if not isinstance(done.exception, SystemExit) else None
    return Said(done.exit_code, done.stdout, f"{type(ended).__name__}: {ended}" if ended else done.stderr)
