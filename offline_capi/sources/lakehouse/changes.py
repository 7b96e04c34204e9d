"""What came into a table since a mark: its commits one by one, whatever the format of its log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from offline_capi.model import SourceMark, TableChanges, TableRead, TableState

__all__ = ["Commit", "CommitKind", "collect_changes", "read_all_again"]

#: Commits named one by one in a sentence.
COMMITS_NAMED = 3


class CommitKind(StrEnum):
    """What a commit did to the rows of a table."""

    APPEND = "append"
    COMPACTION = "compaction"  # files were put together: no row changed
    REWRITE = "rewrite"  # rows were changed or deleted
    RESTORE = "restore"  # the table is as it was at an earlier state


class Commit(NamedTuple):
    """A commit: how people call it, whether no run has seen it, and the paths of the files that came and went."""

    name: str
    kind: CommitKind
    is_new: bool
    added: frozenset[str]
    removed: frozenset[str]


def collect_changes(
    commits: Iterable[Commit], mark: SourceMark, until: TableState, oldest: datetime, described: str
) -> TableChanges:
    """The files that hold rows which came since the mark, from the commits since then, oldest first.

    Where rows that came since the mark now lie in a file with older ones, that file is read ``again``.
    """
    added: set[str] = set()
    again: set[str] = set()
    seen: dict[tuple[CommitKind, bool], list[str]] = {}
    for commit in commits:
        moved = not commit.removed.isdisjoint(added | again)
        added -= commit.removed
        again -= commit.removed
        if commit.kind is CommitKind.APPEND:
            (added if commit.is_new else again).update(commit.added)
        elif commit.kind is not CommitKind.COMPACTION or moved:
            again |= commit.added
        if commit.is_new and commit.kind is not CommitKind.APPEND:
            seen.setdefault((commit.kind, moved), []).append(commit.name)
    read = TableRead(mark, until, len(added), len(again))
    notices = tuple(_describe(described, seen, f"{oldest:%Y-%m-%d}"))
    return TableChanges(read, oldest, frozenset(added), frozenset(again), notices)


def _describe(described: str, seen: dict[tuple[CommitKind, bool], list[str]], day: str) -> Iterator[str]:
    for (kind, moved), names in seen.items():
        which = ", ".join(names[-COMMITS_NAMED:])
        which += f" and {len(names) - COMMITS_NAMED:,} more" if len(names) > COMMITS_NAMED else ""
        if kind is CommitKind.COMPACTION:
            rest = (
                f"files added since the last complete run were among them, so what it wrote is read from {day} on"
                if moved
                else "what it wrote is not read again"
            )
            yield f"{described}: {which} put files together and changed no row; {rest}"
            continue
        did = "changed or deleted rows" if kind is CommitKind.REWRITE else "restored the table to an earlier state"
        yield f"{described}: {which} {did}; the files it wrote are read from {day} on, and what was sent stays sent"


def read_all_again(mark: SourceMark, until: TableState, oldest: datetime, described: str, why: str) -> TableChanges:
    """Where it is not known what came since the mark: the whole table, as far back as Meta takes events."""
    notice = (
        f"{described}: {why}; so all its rows from {oldest:%Y-%m-%d} on are read again, and the ledger leaves out what "
        "was sent"
    )
    return TableChanges(TableRead(mark, until, reread=True), oldest, notices=(notice,))
