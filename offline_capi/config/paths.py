"""Where relative paths begin: at the project folder, whatever folder a command is started from.

The project folder is the configuration folder; of one called ``dags``, the name that Airflow gives it and ``init``
writes, it is the folder around it. The rule looks at the name alone: what lies there may come and go, and a ledger must
not move with it. It holds for every path that the configuration names and for those that an environment variable puts
in its place: ``source.path``, ``platform.ledger``, ``platform.stage``, ``{file: …}``, OFFLINE_CAPI_LEDGER and the like.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from offline_capi.errors import ConfigError

__all__ = ["anchor_path", "anchor_url", "find_project_folder", "refuse_moved_ledger"]

DAGS = "dags"
CLIENTS = "clients.yml"

#: SQLite's path in a SQLAlchemy URL (which decodes %XX in it), where it is one: not in memory, no URI of SQLite's own.
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!file:|:memory:)([^?]+)(\?.*)?", re.IGNORECASE)


def find_project_folder(folder: Path) -> Path:
    """The folder that relative paths of the configuration in ``folder`` begin at; absolute, symbolic links kept."""
    absolute = folder.resolve() if ".." in folder.parts else folder.absolute()
    return absolute.parent if absolute.name == DAGS else absolute


def anchor_path(path: str, project: Path) -> str:
    """The path as seen from the project folder; URLs, absolute paths and those of a home folder stay as they are."""
    if project == Path() or "://" in path or path.startswith("~"):
        return path
    return os.path.join(project, path)  # noqa: PTH118  keeps a slash at the end


def anchor_url(url: str, project: Path) -> str:
    """The database URL with the path of an SQLite file as seen from the project folder."""
    match = _SQLITE.fullmatch(url)
    if match is None or match[2].startswith("/"):
        return url
    return f"{match[1]}{quote(str(project), safe='/')}/{match[2]}{match[3] or ''}"


def _get_sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL; ``None`` of any other."""
    match = _SQLITE.fullmatch(url)
    return Path(unquote(match[2])) if match else None


def refuse_moved_ledger(url: str, project: Path) -> None:
    """Raise ``ConfigError`` where the ledger would be new and one lies where earlier versions kept it.

    They took its path as seen from the shell's folder. A new ledger beside that one would send everything again. Not
    where the shell's folder is a project of its own: then that ledger is of that project.
    """
    before, now = _get_sqlite_file(url), _get_sqlite_file(anchor_url(url, project))
    here = Path.cwd()
    own = any((here / place).exists() for place in (CLIENTS, f"{DAGS}/{CLIENTS}"))
    if before is None or now is None or own or here == project or now.exists() or not before.is_file():
        return
    raise ConfigError(
        f"there is no ledger at {now}, and one at {before.absolute()}, where earlier versions kept it.\n"
        f"If it is the ledger of this configuration, move it there, with its -wal and -shm files if there are any; if "
        f"not, start from another folder. Without it everything would be sent again. Nothing was sent."
    )
