"""The local file system under the stage, where new files are as open as the stage's own folder is."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import IO, Any

from fsspec.implementations.local import LocalFileSystem

from offline_capi.storage.private_files import PRIVATE, FileAccess, create_file

__all__ = ["StageFiles"]

#: What stands in a stage: a folder a run, and two more.
_OURS = re.compile(r"\d{8}T\d{6}-.*|clients|alerts")


class StageFiles(LocalFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """fsspec's local files, written for their owner, or group, alone and never through a link."""

    cachable = False

    def __init__(self, root: str, access: FileAccess | None = None) -> None:
        super().__init__()
        self._root = Path(root)
        if access is not None and self._root.is_dir() and self._is_ours():
            access.tighten(self._root)
        self._access = access or self._found()

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:  # noqa: ARG002  fsspec's signature
        folder = Path(self._strip_protocol(path))
        self._access.make_folder(folder)
        if folder.is_relative_to(self._root) and folder != self._root:
            self._access.tighten(folder)

    def _open(self, path: Any, mode: str = "rb", block_size: int | None = None, **more: Any) -> IO[bytes]:
        if "w" not in mode:
            return super()._open(path, mode, block_size, **more)  # type: ignore[no-any-return]
        return create_file(Path(self._strip_protocol(path)), self._access)

    def _found(self) -> FileAccess:
        """As open as the folder is, where this was chosen: what all may read was made by an older version."""
        if not self._root.is_dir():
            return PRIVATE
        mode = self._root.stat().st_mode
        return FileAccess(group=bool(mode & stat.S_IRGRP) and not mode & stat.S_IRWXO)

    def _is_ours(self) -> bool:
        """Whether nothing else lies in the folder: of a shared one the permissions are not ours to change."""
        return all(_OURS.fullmatch(entry.name) for entry in self._root.iterdir())
