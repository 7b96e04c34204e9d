"""The distribution: complete, described, and able to do the main job without the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from release_check import (
    build_distributions,
    find_content_problems,
    find_metadata_problems,
    read_metadata,
    run_main_job,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Sdist and wheel; built with what is installed here, so that nothing is downloaded."""
    return build_distributions(tmp_path_factory.mktemp("dist"), isolated=False)


def test_sdist_and_wheel_carry_every_file_of_the_package(built: tuple[Path, Path], tmp_path: Path):
    assert find_content_problems(*built) == []

    sdist, wheel = built
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(tmp_path / wheel.name, "w") as smaller:
        for name in whole.namelist():
            if name != "offline_capi/py.typed":
                smaller.writestr(name, whole.read(name))
        smaller.writestr("tests/left_over.py", "")
    assert find_content_problems(sdist, tmp_path / wheel.name) == [
        "the wheel lacks offline_capi/py.typed",
        "the wheel has tests/left_over.py, which is not in the repository",
    ]


def test_the_metadata_is_complete(built: tuple[Path, Path]):
    metadata = read_metadata(built[1])
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")

    assert find_metadata_problems(metadata, changelog) == []
    del metadata["Keywords"]
    assert find_metadata_problems(metadata, "# Changelog\n") == [
        "no Keywords",
        "CHANGELOG.md has neither a section 0.1.0 nor Unreleased",
    ]


def test_the_wheel_does_the_main_job_without_the_repository(built: tuple[Path, Path], tmp_path: Path):
    """With the dependencies of this environment; ``make release-check`` installs them into an empty one."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(built[1])]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OFFLINE_CAPI_", "PYTHON"))}
    environ = {**kept, "PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import offline_capi; print(offline_capi.__file__)"]

    imported = subprocess.run(where, cwd=work, env=environ, capture_output=True, text=True, check=True)

    assert Path(imported.stdout.strip()).is_relative_to(site)
    assert run_main_job(site / "bin/offline-capi", work, environ) == []
