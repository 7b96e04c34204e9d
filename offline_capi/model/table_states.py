"""States of a table in a data lake: up to where runs have read it, and what came since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from offline_capi.model.window import Window

__all__ = ["SourceMark", "TableChanges", "TableRead", "TableState"]

#: No row of an event is older.
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TableState:
    """One state of a table.

    ``table`` is the table's own id; ``number`` is Delta's version, or the id of Iceberg's snapshot (-1: it has none
    yet), and ``kind`` says which. ``digest`` is the SHA-256 of Delta's commit, whose number may be given a second time;
    empty where it is not known.
    """

    table: str
    kind: str
    number: int
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.number}" if self.number >= 0 else f"no {self.kind}"


@dataclass(frozen=True, slots=True)
class SourceMark:
    """Up to where the runs of an upload have read its table.

    All rows up to ``complete`` were read by runs that owe nothing; ``seen`` is where the last run with books ended.
    """

    complete: TableState
    seen: TableState

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SourceMark:
        return cls(TableState(**data["complete"]), TableState(**data["seen"]))


@dataclass(frozen=True, slots=True)
class TableRead:
    """From which state of its table to which a run reads. ``mark`` is as the run found it; ``None``: it is the first.

    ``added`` files came since the last run, ``again`` are read once more; ``reread`` says that the changes since the
    mark are not known, so that the whole table is read as far back as Meta takes events.
    """

    mark: SourceMark | None
    until: TableState
    added: int = 0
    again: int = 0
    reread: bool = False

    def describe(self) -> str:
        """``table read at version 14, with 3 files added since version 12``."""
        at = f"table read at {self.until}"
        if self.mark is None:
            return f"{at}; later runs also read what is added after it"
        if self.reread:
            return f"{at}, and again as far back as Meta takes events"
        since = self.mark.complete
        files = self.added + self.again
        if not files:
            return f"{at}; no file with rows was added since {since}"
        return f"{at}, with {files:,} {'file' if files == 1 else 'files'} added since {since}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TableRead:
        mark = SourceMark.from_json(data["mark"]) if data["mark"] else None
        return cls(mark, TableState(**data["until"]), data["added"], data["again"], data["reread"])


@dataclass(frozen=True, slots=True)
class TableChanges:
    """What a run reads of a table besides its window, by path of a file.

    Of files ``added`` since the last run all rows that happened before the window's end are meant; of those to read
    ``again`` the rows since ``oldest``, the first moment whose events Meta still takes: older ones were told before.
    With ``read.reread`` the latter holds for every file. ``notices`` say what was recognised, a sentence each.
    """

    read: TableRead
    oldest: datetime
    added: frozenset[str] = frozenset()
    again: frozenset[str] = frozenset()
    notices: tuple[str, ...] = field(default=())

    def choose_window(self, path: str, window: Window) -> Window | None:
        """Which rows of a file belong to a run of ``window`` that are not in it; ``None``: no others."""
        if path in self.added:
            return Window(_BEGINNING.astimezone(window.since.tzinfo), window.until)
        if path in self.again or self.read.reread:
            return Window(min(self.oldest.astimezone(window.since.tzinfo), window.since), window.until)
        return None

    def list_windows(self, window: Window) -> list[Window | None]:
        """All that ``choose_window`` may answer."""
        if self.read.reread:
            return [self.choose_window("", window)]
        samples = (next(iter(some)) for some in (self.again, self.added) if some)
        return [None, *(self.choose_window(one, window) for one in samples)]
