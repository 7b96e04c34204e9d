"""Where the queries of a deployment stand, and whether one asks for its window."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["ends_never_asked_for", "sql_folder"]

_COMMENT_OR_TEXT = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", re.DOTALL)
_PARAMETER = re.compile(r"(?<![:\w]):(since|until)(?:_utc)?\b")


def sql_folder(folder: Path) -> Path:
    """The folder of ``.sql`` files: ``sql/`` in the configuration folder if it is there, else ``sql/`` beside it."""
    inside = folder / "sql"
    return inside if inside.is_dir() else _parent(folder) / "sql"


def _parent(folder: Path) -> Path:
    """The parent as the user would write it, where that can be told from the path alone."""
    return folder.parent if folder.name not in ("", "..") else folder.resolve().parent


def ends_never_asked_for(query: str) -> list[str]:
    """Which ends of the window, ``since`` and ``until``, a query does not use outside comments and texts."""
    asked = set(_PARAMETER.findall(_COMMENT_OR_TEXT.sub(" ", query)))
    return [end for end in ("since", "until") if end not in asked]
