"""Proposed lines of YAML with their evidence, and the answers of the user."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

__all__ = ["MIN_READABLE_SHARE", "Answers", "Confidence", "Line", "describe_share", "format_percent", "refer_to_column"]

#: Share of a column's values that must be readable before a line is taken; with fewer, the user decides.
MIN_READABLE_SHARE = 0.8


class Confidence(Enum):
    """Whether a line is active, is commented out, or waits for an answer of the user."""

    TAKEN = "taken"
    UNSURE = "unsure"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Line:
    """``section.key: node``, read from ``columns``, because of what was counted. ``node`` is plain YAML data."""

    section: str
    key: str
    node: object
    because: str
    confidence: Confidence = Confidence.TAKEN
    columns: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return f"{self.section}.{self.key}" if self.key else self.section

    def mark(self, confidence: Confidence) -> Line:
        return replace(self, confidence=confidence)


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers of the user, by flag or prompt. What was not answered is ``None`` and never invented.

    ``external_id`` is a key of ``questions.EXTERNAL_ID_POLICIES``. ``value`` and the keys of ``keys`` (column → key of
    ``user_data``) are columns; ``time`` and ``id`` are a column or a template of columns.
    """

    client: str
    pixel: str | None = None
    event: str | None = None
    action_source: str | None = None
    timezone: str | None = None
    country: str | None = None
    currency: str | None = None
    time: str | None = None
    id: str | None = None
    value: str | None = None
    external_id: str | None = None
    #: Words of the column of outcomes whose rows are no conversions; empty: every row is one.
    no_conversions: tuple[str, ...] | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    #: Answers taken from the file itself, a known export: names of the fields above, and columns of ``keys``.
    by_export: frozenset[str] = frozenset()
    export: str = ""

    def explain_source(self, name: str) -> str:
        """The origin of an answer: the user, or the export that the file was recognised as."""
        return f"as {self.export} has it" if name in self.by_export else "as you said"


def format_percent(part: int, whole: int) -> str:
    """Rounded down, so that 100% are all; ``under 1%`` is not none."""
    share = 100 * part // whole if whole else 0
    return "under 1%" if part and not share else f"{share}%"


def describe_share(part: int, whole: int) -> str:
    return f"all {whole:,} values" if part == whole else f"{format_percent(part, whole)} of {whole:,} values"


def refer_to_column(column: str) -> object:
    """A column as a field names it: bare, unless that would be a template or a currency."""
    return {"column": column} if re.search(r"[{}]|^[A-Z]{3}$", column) else column
