"""Files at rest that only their owner reads: hashed identity, ids, contacts, reports and the ledger.

A digest of a phone number is soon found by trying all numbers, so that a staged file is to be kept as its rows are. New
files are 0600 in folders of 0700, whatever the process's umask is; ``platform.file_group`` opens them to a group (0640,
0750). Writing never follows a link that another user may have put into a shared folder.
"""

from __future__ import annotations

import grp
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import IO

from offline_capi.errors import ConfigError, UsageError

__all__ = ["PRIVATE", "FileAccess", "create_file", "replace_file"]

_OTHERS, _GROUP = stat.S_IRWXO, stat.S_IRWXG


@dataclass(frozen=True, slots=True)
class FileAccess:
    """Who may read files at rest in addition to their owner: no one, or the members of a group.

    ``group`` is its name, or ``True`` for the group that the process, or a set-group-ID folder, gives a file anyway.
    """

    group: bool | str = False

    @property
    def file_mode(self) -> int:
        return 0o640 if self.group else 0o600

    @property
    def folder_mode(self) -> int:
        return 0o750 if self.group else 0o700

    def apply(self, number: int, *, folder: bool = False) -> None:
        """Give an open file, or folder, that was just made its mode and group."""
        if isinstance(self.group, str):
            try:
                os.fchown(number, -1, grp.getgrnam(self.group).gr_gid)
            except KeyError:
                raise ConfigError(f'platform.file_group: there is no group "{self.group}" on this machine') from None
            except OSError as error:
                raise ConfigError(
                    f'platform.file_group: files cannot be given to the group "{self.group}" ({error.strerror}); the'
                    " user that runs this has to be a member of it"
                ) from None
        os.fchmod(number, self.folder_mode if folder else self.file_mode)

    def make_folder(self, path: Path) -> None:
        """Make a folder and those around it that are missing; one that is there stays as it is."""
        missing = list(takewhile(lambda folder: not folder.exists(), [path, *path.parents]))
        for folder in reversed(missing):
            with suppress(FileExistsError):  # another process may have made it by now
                folder.mkdir(mode=0o700)
            number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                self.apply(number, folder=True)
            finally:
                os.close(number)

    def tighten(self, path: Path) -> None:
        """Take from an older file or folder what others may do with it; a group that may write it keeps what it has.

        What is not there, or belongs to another user, stays as it is.
        """
        with suppress(OSError):
            found = path.stat()
            mode = stat.S_IMODE(found.st_mode) & ~_OTHERS
            if not self.group and not mode & stat.S_IWGRP:
                mode &= ~_GROUP
            if mode != stat.S_IMODE(found.st_mode) and found.st_uid == os.geteuid():
                path.chmod(mode)


PRIVATE = FileAccess()


def create_file(path: Path, access: FileAccess = PRIVATE) -> IO[bytes]:
    """Open a new file for writing. What is there under this name, a link too, is removed and not written through."""
    path.unlink(missing_ok=True)
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    access.apply(number)
    return os.fdopen(number, "wb")


@contextmanager
def replace_file(path: Path, access: FileAccess = PRIVATE) -> Iterator[IO[bytes]]:
    """Write a file under another name; when the block ends well it takes the place of ``path``, whole.

    Raises ``UsageError`` where ``path`` is a link or no regular file: it would be followed, or replaced.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise UsageError(f"{path} is a link, or no regular file: nothing was written. Name the file itself.")
    number, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as file:
            access.apply(number)
            yield file
            file.flush()
            os.fsync(number)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
