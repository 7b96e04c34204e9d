"""A configuration folder on disk, good unless a test says otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config.good_folder import CLIENTS, UPLOAD

WriteFolder = Callable[..., Path]


@pytest.fixture
def write_folder(tmp_path: Path) -> WriteFolder:
    """Write ``clients.yml`` and one file for each keyword; gives the folder."""

    def write(clients: str | None = CLIENTS, **uploads: str) -> Path:
        (tmp_path / "uploads").mkdir(exist_ok=True)
        if clients is not None:
            (tmp_path / "clients.yml").write_text(clients, encoding="utf-8")
        for name, text in (uploads or {"approvals": UPLOAD}).items():
            (tmp_path / "uploads" / f"{name}.yml").write_text(text, encoding="utf-8")
        return tmp_path

    return write
