"""What lies on a disk is read by the user that runs this, and by nobody else unless a group is named."""

from __future__ import annotations

import grp
import json
import os
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from offline_capi.config import EnvironmentSecrets, SecretRef
from offline_capi.config.client_table import PulledClients, write_pulled
from offline_capi.config.token_store import KEY_FILE, STORE, TokenStore
from offline_capi.errors import ConfigError, OfflineCapiError, UsageError
from offline_capi.ledger import Ledger
from offline_capi.ledger.export import export_events
from offline_capi.storage.filesystem import JsonFolder
from offline_capi.storage.private_files import FileAccess, create_file, replace_file
from offline_capi.storage.staging import Stage
from tests.support.sandbox_server import PIXEL, TOKEN, Sandbox
from tests.support.starter import run_python

CLIENTS = """
platform: {{graph_url: "{url}"{more}}}
clients:
  acme: {{pixel_id: "{pixel}", token: {{env: ACME_TOKEN}}, contacts: [ops@acme.example]}}
"""
UPLOAD = """
client: acme
source: {path: sales.csv}
window: {column: at, timezone: UTC}
event: {name: Purchase, id: "o-{id}", action_source: physical_store}
user_data: {em: email}
custom_data: {value: {column: amount, type: number}, currency: USD}
limits: {max_invalid: 100%}
"""


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """What most machines have: without anything said, a new file is readable for everybody."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    """The permissions of everything under a folder, by kind."""
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dags" / "uploads").mkdir(parents=True)
    (tmp_path / "dags" / "uploads" / "sales.yml").write_text(UPLOAD)
    now = datetime.now(UTC).strftime("%Y-%m-%d 00:00:01")
    rows = [f"{n},a{n}@example.com,{now},{n if n else 'x'}\n" for n in range(5)]
    (tmp_path / "sales.csv").write_text("id,email,at,amount\n" + "".join(rows))
    return tmp_path


def offline_capi(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ("-m", "offline_capi", *arguments, "--config", str(project / "dags"))
    return run_python(command, cwd=project, env={**os.environ, "ACME_TOKEN": TOKEN, **environment})


def run_a_day(project: Path, sandbox: Sandbox, more: str = "", *, expect: int = 1) -> None:
    """One row is invalid, so that staged events and rejects stay."""
    text = CLIENTS.format(url=sandbox.url, pixel=PIXEL, more=more)
    (project / "dags" / "clients.yml").write_text(text)
    today = datetime.now(UTC).date().isoformat()
    done = offline_capi(project, "upload", "sales", "--since", today, "--until", datetime.now(UTC).isoformat())
    assert done.returncode in (0, 1), done.stderr
    done = offline_capi(project, "clients", "health")
    assert offline_capi(project, "report", "last", "--html", "report.html").returncode == 0


def check_modes(project: Path, file_mode: int, folder_mode: int) -> None:
    made = {
        name: mode
        for name, mode in modes(project).items()
        if name.startswith(("stage", "offline_capi_ledger", "report.html"))
    }
    assert {"stage", "stage/clients", "stage/clients/acme.json", "offline_capi_ledger.db", "report.html"} <= {*made}
    assert any(name.endswith("rejects.parquet") for name in made)
    folders = {name for name in made if (project / name).is_dir()}
    assert {made[name] for name in folders} == {folder_mode}
    assert {mode for name, mode in made.items() if name not in folders} == {file_mode}


def test_p09_what_a_run_leaves_behind_is_read_by_its_user_alone(project: Path, sandbox: Sandbox):
    """Stage, rejects, ledger, statuses with contacts and reports were readable for every user of the machine (S10)."""
    run_a_day(project, sandbox)

    check_modes(project, 0o600, 0o700)


def test_a_group_reads_it_where_the_platform_says_so(project: Path, sandbox: Sandbox):
    group = grp.getgrgid(os.getegid()).gr_name
    run_a_day(project, sandbox, f", file_group: {group}")

    check_modes(project, 0o640, 0o750)
    assert (project / "offline_capi_ledger.db").stat().st_gid == os.getegid()


def test_what_an_older_version_left_is_tightened(project: Path, sandbox: Sandbox):
    for folder in ("stage", "stage/clients", "stage/20260101T000000-abcdef"):
        (project / folder).mkdir()
    (project / "stage/20260101T000000-abcdef/events-acme.parquet").write_bytes(b"old")
    with sqlite3.connect(project / "offline_capi_ledger.db"):
        (project / "offline_capi_ledger.db").touch()
    assert modes(project)["offline_capi_ledger.db"] == 0o644

    run_a_day(project, sandbox)

    found = modes(project)
    assert (found["stage"], found["stage/clients"], found["offline_capi_ledger.db"]) == (0o700, 0o700, 0o600)


def test_a_group_that_writes_the_ledger_keeps_it_and_others_do_not(tmp_path: Path):
    """Somebody made it so: two users of this machine may share it."""
    path = tmp_path / "ledger.db"
    with Ledger(f"sqlite:///{path}"):
        path.chmod(0o664)
    with Ledger(f"sqlite:///{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_stage_in_a_folder_of_others_leaves_its_permissions_alone(tmp_path: Path):
    (tmp_path / "dags").mkdir()
    tmp_path.chmod(0o755)

    JsonFolder(str(tmp_path), "clients").write("acme", {})
    Stage(str(tmp_path))

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert modes(tmp_path)["clients"] == 0o700
    assert modes(tmp_path)["clients/acme.json"] == 0o600


def test_the_write_ahead_log_is_as_closed_as_the_ledger(tmp_path: Path):
    with Ledger(f"sqlite:///{tmp_path / 'new' / 'ledger.db'}"):
        found = modes(tmp_path)

    assert found.pop("new") == 0o700
    assert set(found.values()) == {0o600}


def test_pulled_clients_and_exports_are_private(tmp_path: Path):
    write_pulled(
        tmp_path / "clients.pulled.json",
        PulledClients({"acme": {"contacts": ["a@b.example"]}}, (), {}),
        datetime.now(UTC),
    )
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        export_events(ledger, tmp_path / "events.parquet")
        export_events(ledger, tmp_path / "events.csv", FileAccess(group=True))

    found = modes(tmp_path)
    assert (found["clients.pulled.json"], found["events.parquet"], found["events.csv"]) == (0o600, 0o600, 0o640)
    assert [name for name in found if name.endswith(".part")] == []


@pytest.mark.parametrize("group", ["no-such-group", "123456789"])
def test_a_group_that_is_not_there_is_named(tmp_path: Path, group: str):
    with (
        pytest.raises(ConfigError, match=f'platform.file_group: there is no group "{group}"'),
        replace_file(tmp_path / "report.html", FileAccess(group)),
    ):
        pass
    assert modes(tmp_path) == {}


# ---------------------------------------------------------------------------------------------- links


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A file of somebody else, to which links in a shared folder point."""
    target = tmp_path / "target"
    target.write_text("precious")
    return target


def test_a_report_is_not_written_through_a_link(tmp_path: Path, trap: Path, project: Path, sandbox: Sandbox):
    """It was followed, and what it pointed at overwritten (L9)."""
    run_a_day(project, sandbox)
    (tmp_path / "page.html").symlink_to(trap)

    done = offline_capi(project, "report", "last", "--html", str(tmp_path / "page.html"))

    assert done.returncode == 2
    assert "page.html is a link, or no regular file: nothing was written" in " ".join(done.stderr.split())
    assert trap.read_text() == "precious"


@pytest.mark.parametrize("name", ["link", "fifo", "folder"])
def test_only_a_regular_file_is_replaced(tmp_path: Path, trap: Path, name: str):
    (tmp_path / "link").symlink_to(trap)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()

    with pytest.raises(UsageError, match="nothing was written"), replace_file(tmp_path / name) as file:
        file.write(b"x")

    assert trap.read_text() == "precious"


def test_a_file_that_is_not_written_to_its_end_leaves_the_older_one(tmp_path: Path):
    path = tmp_path / "report.html"
    path.write_text("older")

    with pytest.raises(ValueError, match="half"), replace_file(path) as file:
        file.write(int("half").to_bytes())

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report.html": "older"}


def test_a_link_where_a_staged_file_goes_is_replaced_itself(tmp_path: Path, trap: Path):
    """Their names can be foreseen: a client's status, a run's events, with .part while they are written."""
    folder = tmp_path / "stage" / "clients"
    folder.mkdir(parents=True)
    for name in ("acme.json", "acme.json.part"):
        (folder / name).symlink_to(trap)

    JsonFolder(str(tmp_path / "stage"), "clients").write("acme", {"contacts": ["a@b.example"]})

    assert trap.read_text() == "precious"
    assert not (folder / "acme.json").is_symlink()
    assert json.loads((folder / "acme.json").read_text()) == {"contacts": ["a@b.example"]}


def test_a_new_file_is_no_older_one_and_no_link(tmp_path: Path, trap: Path):
    (tmp_path / "file").symlink_to(trap)

    with create_file(tmp_path / "file") as file:
        file.write(b"new")

    assert (trap.read_text(), (tmp_path / "file").read_text()) == ("precious", "new")


# ---------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("mode", [0o644, 0o666, 0o604, 0o620])
def test_a_key_that_others_can_read_or_change_is_refused_with_the_command(tmp_path: Path, mode: int):
    """It was used without a word (S10)."""
    environ = key_of_store(tmp_path, mode)

    with pytest.raises(ConfigError, match=rf"chmod 600 {tmp_path}/key`") as raised:
        TokenStore.of(environ).check()

    assert f"has the mode {mode:04o}" in str(raised.value)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_a_key_of_its_user_or_group_is_used_and_the_store_is_private(tmp_path: Path, mode: int):
    from offline_capi.config import Secret

    environ = key_of_store(tmp_path, mode)

    TokenStore.of(environ).put("acme", Secret("EAAtoken"))

    assert EnvironmentSecrets(environ).token(SecretRef(store="acme")).reveal() == "EAAtoken"
    found = modes(tmp_path)
    assert (found["store"], found["store/tokens"], found["store/tokens.lock"]) == (0o700, 0o600, 0o600)


def test_the_stores_lock_is_no_link(tmp_path: Path, trap: Path):
    from offline_capi.config import Secret

    environ = key_of_store(tmp_path, 0o600)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "tokens.lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises((OSError, OfflineCapiError)):
        TokenStore.of(environ).put("acme", Secret("EAAtoken"))

    assert not (tmp_path / "elsewhere").exists()


def key_of_store(folder: Path, mode: int) -> dict[str, str]:
    from cryptography.fernet import Fernet

    path = folder / "key"
    path.write_bytes(Fernet.generate_key())
    path.chmod(mode)
    return {STORE: str(folder / "store" / "tokens"), KEY_FILE: str(path)}
