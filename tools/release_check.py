"""Build the distribution, look into it, install it into an empty environment, and do the main job with it.

    python tools/release_check.py        # the same as `make release-check`; leaves the files in dist/

The environment is new, the folder is new, and nothing of the repository is in reach: what passes here is what a user of
``pip install offline-capi`` has.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "offline_capi"
#: Folders of the package that Python or a test leaves behind.
_SCRATCH = ("__pycache__",)
#: What PyPI lists a package by; the value is a prefix of at least one classifier.
CLASSIFIERS = (
    "Development Status :: ",
    "Environment :: Console",
    "Framework :: Apache Airflow :: Provider",
    "Intended Audience :: Developers",
    "Operating System :: ",
    "Programming Language :: Python :: 3.11",
    "Topic :: ",
    "Typing :: Typed",
)
SALES = """order_id,email,phone,paid_at,total,currency
A-1001,mara@example.com,+1 415 555 2671,{day} 09:15:00,120.50,USD
A-1002,ken@example.org,,{day} 11:40:00,35.00,USD
A-1003,lia@example.net,+1 415 555 2672,{day} 17:05:00,19.90,USD
"""


def build_distributions(out: Path, *, isolated: bool = True) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it, in ``out``; the pins of ``constraints.txt`` hold for the build.

    ``isolated=False`` builds with the setuptools of this environment and downloads nothing.
    """
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # setuptools would put deleted modules of an earlier build in
    command = [
        sys.executable,
        "-m",
        "build",
        "--outdir",
        str(out),
        *([] if isolated else ["--no-isolation"]),
        str(ROOT),
    ]
    environ = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    built = subprocess.run(command, env=environ, cwd=out, capture_output=True, text=True, check=False)
    if built.returncode:
        raise SystemExit(f"release-check: the build failed:\n{built.stdout[-3000:]}\n{built.stderr[-3000:]}")
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def list_package_files() -> set[str]:
    """The files of the package in the repository that belong into a distribution."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", PACKAGE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode == 0 and tracked.stdout:
        return {name for name in tracked.stdout.split("\0") if name and (ROOT / name).exists()}
    found = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and path.suffix not in {".so", ".pyd"})
    return {path.relative_to(ROOT).as_posix() for path in found if not {*_SCRATCH} & {*path.parts}}


def list_compiled_modules() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [module["name"] for module in settings["tool"]["setuptools"]["ext-modules"]]


def find_content_problems(sdist: Path, wheel: Path) -> list[str]:
    """What is missing in the two files, and what does not belong there."""
    expected = list_package_files()
    with tarfile.open(sdist) as archive:
        in_sdist = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {*archive.namelist()}
    modules = tuple(f"{name.replace('.', '/')}." for name in list_compiled_modules())
    compiled = {name for name in in_wheel if name.startswith(modules) and name.endswith((".so", ".pyd"))}
    described = {name for name in in_wheel if ".dist-info/" in name}
    problems = [f"the sdist lacks {name}" for name in sorted(expected - in_sdist)]
    problems += [f"the wheel lacks {name}" for name in sorted(expected - in_wheel)]
    problems += [
        f"the wheel has {name}, which is not in the repository"
        for name in sorted(in_wheel - expected - compiled - described)
    ]
    problems += [] if len(compiled) == len(modules) else ["the wheel lacks compiled modules: is there a C compiler?"]
    problems += [
        f"the sdist lacks {name}" for name in ("LICENSE", "README.md", "pyproject.toml") if name not in in_sdist
    ]
    return problems


def read_metadata(wheel: Path) -> Message:
    """The core metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def find_metadata_problems(metadata: Message, changelog: str) -> list[str]:
    """What somebody who looks for the package, or installs it, would miss."""
    classifiers = metadata.get_all("Classifier") or []
    version = str(metadata["Version"])
    problems = [
        f"no classifier begins with {one!r}" for one in CLASSIFIERS if not any(c.startswith(one) for c in classifiers)
    ]
    problems += [
        f"no {name}"
        for name in ("Summary", "Keywords", "License-Expression", "License-File", "Requires-Python")
        if not metadata[name]
    ]
    if metadata["Description-Content-Type"] != "text/markdown" or not str(metadata.get_payload()).strip():
        problems.append("the README is not the description")
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        problems.append(f"version {version} is not of the form docs/reference/versions.md promises")
    if not re.search(rf"^## (Unreleased|\[?{re.escape(version)}\b)", changelog, re.MULTILINE):
        problems.append(f"CHANGELOG.md has neither a section {version} nor Unreleased")
    return problems


def run_main_job(command: Path, folder: Path, environ: dict[str, str]) -> list[str]:
    """``init`` on a small CSV, ``sandbox``, ``upload`` twice in an empty ``folder``; what went wrong."""
    day = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    (folder / f"sales_{day}.csv").write_text(SALES.format(day=day), encoding="utf-8")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = int(listening.getsockname()[1])
    environ = {
        **environ,
        "OFFLINE_CAPI_GRAPH_URL": f"http://127.0.0.1:{port}",
        "OFFLINE_CAPI_LEDGER": f"sqlite:///{folder}/ledger.db",
        "ACME_TOKEN": "any",
        "COLUMNS": "120",
    }

    def call(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [str(command), *arguments],
            cwd=folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    client = ["--client", "acme", "--pixel", "1234567890", "--country", "US", "--timezone", "UTC"]
    event = ["--event", "Purchase", "--action-source", "physical_store", "--yes"]
    steps = [("init", call("init", f"sales_{day}.csv", *client, *event), "sales")]
    with (folder / "sandbox.log").open("wb") as log:
        sandbox = subprocess.Popen(
            [str(command), "sandbox", "--port", str(port)], cwd=folder, env=environ, stdout=log, stderr=log
        )
        try:
            _wait_for_port(port, sandbox)
            steps.append(("upload", call("upload", "sales", "--since", day), "3 read = 3 sent"))
            steps.append(("upload, again", call("upload", "sales", "--since", day), "3 read = 3 already sent"))
        finally:
            sandbox.terminate()
            sandbox.wait(timeout=30)
    return [
        f"{step}: exit code {code}, expected 0 and {expected!r}:\n{printed[-2000:]}"
        for step, (code, printed), expected in steps
        if code or expected not in printed
    ]


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise SystemExit(f"release-check: the sandbox ended with exit code {process.returncode}")
        time.sleep(0.1)
    raise SystemExit("release-check: the sandbox does not listen after a minute")


def install_apart(wheel: Path, folder: Path) -> Path:
    """A new environment in ``folder`` with the wheel, its extra ``sandbox`` and the pins, and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin/python"
    pins = ["--quiet", "--disable-pip-version-check", "--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([str(python), "-m", "pip", "install", *pins, f"{wheel}[sandbox]"], check=True, cwd=folder)
    subprocess.run([str(python), "-m", "pip", "check", "--disable-pip-version-check"], check=True, cwd=folder)
    return folder / "bin/offline-capi"


def _stop_at(problems: Iterable[str]) -> None:
    """End with all of them, if there is any."""
    found = list(problems)
    if found:
        raise SystemExit("release-check: " + "\nrelease-check: ".join(found))


def main() -> None:
    """All checks in this order; ends with exit code 1 at the first group that finds something."""
    out = ROOT / "dist"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    print("release-check: 1/4 sdist and wheel")
    sdist, wheel = build_distributions(out)
    print(f"release-check: 2/4 content and metadata of {sdist.name}, {wheel.name}")
    _stop_at(find_content_problems(sdist, wheel))
    _stop_at(find_metadata_problems(read_metadata(wheel), (ROOT / "CHANGELOG.md").read_text("utf-8")))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OFFLINE_CAPI_", "PYTHON"))}
    with tempfile.TemporaryDirectory(prefix="release-check-") as scratch:
        print("release-check: 3/4 installation into an empty environment")
        command = install_apart(wheel, Path(scratch) / "venv")
        print("release-check: 4/4 init, sandbox, upload, upload again")
        folder = Path(scratch) / "work"
        folder.mkdir()
        _stop_at(run_main_job(command, folder, kept))
    print(f"release-check: all is well; the files are in {out.relative_to(ROOT)}/")


if __name__ == "__main__":
    main()
