"""Places for files, here and on object stores: fsspec's file systems, and one clear sentence where one cannot be used.

fsspec promises no common error: a missing credential or an unreachable endpoint is an exception of whichever library
speaks to the store, so these are told by the library they come from. Their texts are not passed on: some quote URLs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from offline_capi.errors import ConfigError, OfflineCapiError
from offline_capi.runtime.border import without_userinfo
from offline_capi.storage.private_files import FileAccess

__all__ = [
    "HOW_TO_REACH",
    "STAGE",
    "UNUSABLE",
    "JsonFolder",
    "explain_store_errors",
    "hide_credentials",
    "is_fault_of_store",
    "open_filesystem",
    "open_stage_filesystem",
    "replace_json",
    "translate_storage_errors",
]

#: The top-level modules of s3fs, gcsfs and adlfs, and of what they stand on.
STORES = frozenset({"adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "s3fs"})

#: The setting that names the folder of staged files and of the clients' statuses.
STAGE = "platform.stage"
UNUSABLE = "its object store cannot be used"
HOW_TO_REACH = (
    "Look at the store's credentials, region and endpoint where the job runs (for s3://: AWS_ACCESS_KEY_ID and"
    " AWS_SECRET_ACCESS_KEY or a role, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL), and that it can be reached from there."
)
_SAFE = "Nothing was sent; repeating is safe."


def open_filesystem(
    url: str, setting: str, fault: type[OfflineCapiError], *, shown: str | None = None
) -> tuple[Any, str]:
    """The file system of a path or URL, and the path on it; raises ``fault`` where that cannot be had.

    ``shown`` is what a message says in place of ``url``: the path as it was written, before variables were filled in.
    """
    named = url if shown is None else shown
    import fsspec  # most commands open no file system

    try:
        with explain_store_errors(named, setting, fault):  # some look for credentials as soon as they are made
            return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except (ImportError, ValueError) as error:
        raise fault(
            f"{setting}: {hide_credentials(named)} is on a file system that is not installed"
            f" ({type(error).__name__}).\nInstall its fsspec package (s3fs for s3://, gcsfs for gs://, adlfs for"
            f" abfs://). {_SAFE}"
        ) from None


def open_stage_filesystem(url: str, access: FileAccess | None = None) -> tuple[Any, str]:
    """The file system of the stage and the path on it. A local one makes files that are no more open than its folder.

    ``access`` says how open that is to be: an older folder is tightened. Without it, it is as it is.
    """
    files, path = open_filesystem(url, STAGE, ConfigError)
    if "file" not in (files.protocol, *files.protocol):
        return files, path
    from offline_capi.storage.stage_files import StageFiles

    return StageFiles(path, access), path


def replace_json(files: Any, path: str, value: Any) -> None:
    """Write a JSON file under another name first: whoever reads it gets the old one or the new one, whole."""
    files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
    files.pipe_file(path + ".part", json.dumps(value, indent=1).encode())
    files.mv(path + ".part", path)


class JsonFolder:
    """Small JSON files by name in a folder of the stage, which every worker of a deployment reaches."""

    def __init__(self, stage: str, folder: str) -> None:
        self._files, root = open_stage_filesystem(stage)
        self._folder = f"{root.rstrip('/')}/{folder}"

    def read(self, name: str) -> Any:
        """What was written last; ``None`` where there is no file yet or none that can be read."""
        try:
            return json.loads(self._files.cat_file(self._path(name)))
        except (FileNotFoundError, ValueError):
            return None

    def write(self, name: str, value: Any) -> None:
        """Replace the file, whole or not at all."""
        replace_json(self._files, self._path(name), value)

    def known(self, name: str, paths: set[str]) -> bool:
        """Whether one of ``paths`` is the file of this name."""
        return self._path(name).rsplit("/", 1)[1] in paths

    def files(self) -> set[str]:
        """The names of the files that are there."""
        return {path.rsplit("/", 1)[1] for path in self._files.glob(f"{self._folder}/*.json")}

    def _path(self, name: str) -> str:
        return f"{self._folder}/{quote(name, safe='')}.json"


@contextmanager
def explain_store_errors(url: str, setting: str, fault: type[OfflineCapiError]) -> Iterator[None]:
    """Raise ``fault`` where the store of ``url`` refuses or does not answer; other errors go on as they are."""
    try:
        yield
    except Exception as error:
        if not is_fault_of_store(error):
            raise
        raise fault(
            f"{setting}: the object store of {hide_credentials(url)} cannot be used ({type(error).__name__}).\n"
            f"{HOW_TO_REACH} {_SAFE}"
        ) from None


@contextmanager
def translate_storage_errors() -> Iterator[None]:
    """Where the ledger's folder, the stage or a report's file cannot be used, raise one message instead."""
    try:
        yield
    except Exception as error:
        explained = _explain_storage_error(error)
        if explained is None:
            raise
        raise explained from None


def _explain_storage_error(error: Exception) -> OfflineCapiError | None:
    """The error to raise instead; ``None`` where the fault has nothing to do with storage."""
    if is_fault_of_store(error):  # the stage's: a source has said so itself
        what, fix = f"{STAGE}: {UNUSABLE} ({type(error).__name__})", HOW_TO_REACH
    elif isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        what = f"{error.filename or 'a file on this machine'} cannot be used: {reason}"
        fix = "Make room there, or name another place (--html, OFFLINE_CAPI_STAGE, OFFLINE_CAPI_LEDGER)."
    else:
        return None
    return OfflineCapiError(
        f"{what}.\n{fix} Everything sent is recorded; then run again: it is safe and sends only what is missing."
    )


def is_fault_of_store(error: BaseException) -> bool:
    """Whether a store's library raised it, also as what Python's own error was made from: s3fs translates some."""
    kinds = (*type(error).__mro__, *type(error.__cause__).__mro__)
    return any(kind.__module__.partition(".")[0] in STORES for kind in kinds)


def hide_credentials(url: str) -> str:
    """A path as it may be shown: some object stores take user and password in the URL."""
    return without_userinfo(url)
