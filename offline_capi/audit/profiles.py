"""What another profile would change: digests compared value by value, counted by column."""

from __future__ import annotations

from dataclasses import asdict, astuple, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.audit.reading import hash_audited_columns, list_profiles, read_audited_rows
from offline_capi.config import Upload
from offline_capi.identity import HashedColumn, resolve_version
from offline_capi.model import Window
from offline_capi.pipeline import Services

__all__ = ["ColumnDiff", "ProfileDiff", "diff_profiles"]


@dataclass(frozen=True, slots=True)
class ColumnDiff:
    """Values of one source column: ``filled`` is what is there, the rest says what two profiles make of it.

    ``filled == equal + different + only_now + only_then + neither``.
    """

    filled: int = 0
    equal: int = 0
    different: int = 0
    only_now: int = 0
    only_then: int = 0
    neither: int = 0

    def __add__(self, other: ColumnDiff) -> ColumnDiff:
        return ColumnDiff(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def usable_now(self) -> int:
        return self.equal + self.different + self.only_now

    @property
    def usable_then(self) -> int:
        return self.equal + self.different + self.only_then

    def to_json(self) -> dict[str, int]:
        return {**asdict(self), "usable_now": self.usable_now, "usable_then": self.usable_then}


@dataclass(frozen=True, slots=True)
class ProfileDiff:
    """An upload's rows under the profiles of now and under another one, by (key, column) in the order of the YAML."""

    upload: str
    window: Window
    now: tuple[str, ...]
    then: str
    rows: int
    columns: dict[tuple[str, str], ColumnDiff]

    @property
    def versions(self) -> tuple[tuple[str, ...], str]:
        """The versions compared: those of now, and the other one."""
        return tuple(resolve_version(one) for one in self.now), resolve_version(self.then)

    def to_json(self) -> dict[str, Any]:
        columns = [{"key": key, "column": label, **diff.to_json()} for (key, label), diff in self.columns.items()]
        return {
            "upload": self.upload,
            "window": self.window.to_json(),
            "profile": list(self.now),
            "other_profile": self.then,
            "versions": {"profile": list(self.versions[0]), "other_profile": self.versions[1]},
            "rows": self.rows,
            "columns": columns,
        }


def diff_profiles(upload: Upload, window: Window, services: Services, *, to: str) -> ProfileDiff:
    """Hash the rows of ``window`` as a run would and as profile ``to`` would; only counts leave this function."""
    resolve_version(to)
    deployment, rows, columns = services.deployment, 0, dict[tuple[str, str], ColumnDiff]()
    for batch in read_audited_rows(upload, window, services):
        rows += len(batch.mapped)
        now = hash_audited_columns(batch.mapped, upload, deployment)
        then = hash_audited_columns(batch.mapped, upload, deployment, profile=to)
        for one, other in zip(now, then, strict=True):
            slot = (one.key, one.label)
            columns[slot] = columns.get(slot, ColumnDiff()) + _diff(one, other)
    return ProfileDiff(upload.name, window, tuple(list_profiles(upload, deployment)), to, rows, columns)


def _diff(now: HashedColumn, then: HashedColumn) -> ColumnDiff:
    here, there = (pc.and_(column.filled, pc.is_valid(column.values)) for column in (now, then))
    same = pc.fill_null(pc.equal(now.values, then.values), False)
    return ColumnDiff(
        filled=_count(now.filled),
        equal=_count(same),
        different=_count(pc.and_not(pc.and_(here, there), same)),
        only_now=_count(pc.and_not(here, there)),
        only_then=_count(pc.and_not(there, here)),
        neither=_count(pc.and_not(now.filled, pc.or_(here, there))),
    )


def _count(mask: pa.BooleanArray) -> int:
    return int(pc.sum(mask).as_py() or 0)
