"""Some rows of a source, column by column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.mapping.ids import strip_decoration
from offline_capi.mapping.text import as_text, trim_text
from offline_capi.model import SourceRows
from offline_capi.onboarding.lines import format_percent

__all__ = ["MAX_SAMPLE_ROWS", "Column", "Sample", "build_vocabulary", "describe_gaps", "split_words"]

#: So many show what a column is, and are read in a second.
MAX_SAMPLE_ROWS = 50_000
_WORD = re.compile(r"[A-Z]?[a-zß-ÿ]+|[A-ZÀ-Þ]+(?![a-z])")


#: The last part of words that German and its neighbours write in one: ``Bestellnummer``, ``Zahlungsstatus``.
_COMPOUND = re.compile(
    r"(.{3,}?)s?(nr|nummer|status|datum|zeit|zeitpunkt|summe|betrag|preis|umsatz|wert|kosten|steuer)"
)


def split_words(name: str) -> frozenset[str]:
    """``orderTotal_EUR`` → order, total, eur; ``Zahlungsstatus`` → zahlungsstatus, zahlung, status."""
    words = [word.lower() for word in _WORD.findall(name)]
    return frozenset(
        [*words, *(part for word in words if (found := _COMPOUND.fullmatch(word)) for part in found.groups())]
    )


def build_vocabulary(text: str) -> frozenset[str]:
    """The words of a list that is written as a text."""
    return frozenset(text.split())


@dataclass(frozen=True)
class Column:
    """One column; ``text`` is trimmed, without a spreadsheet's marks, and null where it is blank."""

    name: str
    values: pa.Array

    @cached_property
    def text(self) -> pa.StringArray:
        return trim_text(strip_decoration(as_text(self.values)))

    @cached_property
    def given(self) -> pa.StringArray:
        """The values that are not blank."""
        return self.text.drop_null()

    @property
    def filled(self) -> int:
        return len(self.given)

    @cached_property
    def distinct(self) -> int:
        return int(pc.count_distinct(self.given).as_py())

    @cached_property
    def words(self) -> frozenset[str]:
        return split_words(self.name)

    def count_matching(self, pattern: str) -> int:
        """How many values fit."""
        return int(pc.sum(pc.match_substring_regex(self.given, pattern)).as_py() or 0)


def describe_gaps(column: Column) -> str:
    """What to add to a finding where not every row has a value."""
    rows = len(column.text)
    return f"; filled in {format_percent(column.filled, rows)} of rows" if column.filled < rows else ""


@dataclass(frozen=True)
class Sample:
    """The first rows of a source; ``whole`` where there were no more."""

    batch: pa.RecordBatch
    whole: bool

    @classmethod
    def collect(cls, parts: Iterable[SourceRows], most: int = MAX_SAMPLE_ROWS) -> Sample:
        """The first ``most`` rows; the source is read no further."""
        taken: list[pa.RecordBatch] = []
        rows, whole = 0, True
        for part in parts:
            taken.append(part.batch.slice(0, most - rows))
            rows += len(taken[-1])
            if rows == most:
                whole = False
                break
        return cls(_join_batches(taken), whole)

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        return {name: Column(name, self.batch.column(name)) for name in self.batch.schema.names}


def _join_batches(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch of every column of any; a column of several kinds is text."""
    names = dict.fromkeys(name for batch in batches for name in batch.schema.names)
    return pa.RecordBatch.from_pydict({name: _join_column(name, batches) for name in names})


def _join_column(name: str, batches: Sequence[pa.RecordBatch]) -> pa.Array:
    parts = [batch.column(name) if name in batch.schema.names else pa.nulls(len(batch)) for batch in batches]
    kinds = {part.type for part in parts if part.null_count < len(part)}
    kind = kinds.pop() if len(kinds) == 1 else pa.string()
    alike = [part if part.type == kind else as_text(part).cast(kind) for part in parts]
    return pa.chunked_array(alike, kind).combine_chunks()
