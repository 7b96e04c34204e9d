"""The configuration folder: what stands there already, and what is written into it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from offline_capi.config import Client, load_each
from offline_capi.config.platform import Dbt, IcebergCatalog
from offline_capi.config.queries import find_sql_folder
from offline_capi.errors import OfflineCapiError, UsageError

__all__ = ["CLIENTS", "ProjectState", "read_project", "save", "select_missing"]

CLIENTS = "clients.yml"


@dataclass(frozen=True, slots=True)
class ProjectState:
    """What a folder holds: its clients, the names of its uploads, the text of ``clients.yml`` and whether its clients
    are rows of a table, whether Airflow finds DAGs in it, and of its platform the Iceberg catalogs and dbt project."""

    folder: Path
    clients: Mapping[str, Client]
    uploads: frozenset[str]
    clients_text: str | None
    from_table: bool
    has_dags: bool
    catalogs: Mapping[str, IcebergCatalog] = field(default_factory=dict)
    dbt: Dbt = field(default_factory=Dbt)

    @property
    def queries(self) -> Path:
        return find_sql_folder(self.folder)


def read_project(folder: Path, environ: Mapping[str, str]) -> ProjectState:
    """An empty or missing folder knows nothing. Raises ``ConfigError`` where ``clients.yml`` is broken."""
    if not (folder / CLIENTS).exists():
        return ProjectState(folder, {}, _list_uploads(folder), None, from_table=False, has_dags=_has_dags(folder))
    deployment, errors = load_each(folder, environ=environ)
    if CLIENTS in errors:
        raise errors[CLIENTS]
    text = (folder / CLIENTS).read_text(encoding="utf-8-sig")
    from_table = deployment.clients_from is not None
    uploads, platform = _list_uploads(folder), deployment.platform
    dags = _has_dags(folder)
    return ProjectState(
        folder, deployment.clients, uploads, text, from_table, dags, platform.iceberg_catalogs, platform.dbt
    )


def _list_uploads(folder: Path) -> frozenset[str]:
    return frozenset(path.stem for suffix in ("yml", "yaml") for path in (folder / "uploads").glob(f"*.{suffix}"))


def _has_dags(folder: Path) -> bool:
    return any("upload_dags" in path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*.py"))


def select_missing(files: Mapping[Path, str], *, force: bool) -> dict[Path, str]:
    """What is to be written: files that are not there, or hold something else. Raises ``UsageError`` before anything is
    written where one is there with other content, unless ``force`` says that it may be replaced. ``clients.yml`` may
    always be: its new text is the old one and a client more."""
    new = {path: text for path, text in files.items() if not _is_there(path, text)}
    taken = [path for path in new if path.exists() and path.name != CLIENTS]
    if taken and not force:
        listed = "\n".join(f"  {path}" for path in taken)
        raise UsageError(
            f"already there, and not touched:\n{listed}\nGive the upload another name with --name, or replace "
            "with --force. Nothing was written"
        )
    return new


def _is_there(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (FileNotFoundError, UnicodeDecodeError):  # what is there and no text is not ours
        return False


def save(files: Mapping[Path, str]) -> None:
    """Write the files and the folders they need."""
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OfflineCapiError(
                f"{path} cannot be written: {error.strerror}. Make room, or let this user write there, and run init "
                "again, with --force where the upload is there by now. It is safe: nothing was sent"
            ) from None
