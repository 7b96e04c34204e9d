"""The documentation site as a browser shows it: one page of each kind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.airflow_provider.browser import find_accessibility_faults, find_browser

ROOT = Path(__file__).parents[2]
SITE = ROOT / ".site/html"
PAGES = (
    "index",
    "tutorials/first-event/index",
    "how-to/operators/index",
    "explanation/fates/index",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the site; CI has built it by `make docs`, elsewhere it is built where it is missing."""
    if not SITE.exists():
        subprocess.run([sys.executable, "tools/docs_site.py"], cwd=ROOT, check=True)
        subprocess.run([Path(sys.executable).parent / "zensical", "build", "--strict"], cwd=ROOT, check=True)
    return shutil.copytree(SITE, tmp_path_factory.mktemp("site"), dirs_exist_ok=True)


@pytest.mark.skipif(find_browser() is None, reason="needs a browser (Debian: chromium)")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_site(site: Path, theme: str):
    pages = {name: (SITE / f"{name}.html").read_text("utf-8") for name in PAGES}

    assert find_accessibility_faults(pages, site, theme=theme) == {name: [] for name in PAGES}
