"""The source that the user named, inspected: how its rows are read, and some of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pyarrow as pa

from offline_capi.errors import UsageError
from offline_capi.onboarding.lines import Answers, Line
from offline_capi.onboarding.sample import Sample
from offline_capi.onboarding.times import TimeColumn

__all__ = ["Origin", "derive_name", "require_rows"]


@dataclass(frozen=True, slots=True)
class Origin:
    """A source that was inspected.

    ``node`` is ``source`` in the YAML (of a query without ``sql``, which has the upload's name) and ``notes`` what its
    keys should tell a reader. ``day`` is the one in the file's name. ``query`` writes the SQL file where there is one,
    and ``latest`` asks the database for its last time. ``answers`` and ``keys`` (column → key of ``user_data``) are
    what the source's own description answers already, and ``said_by`` names that. ``platform`` is what a new
    ``clients.yml`` needs besides.
    """

    name: str
    described: str
    node: Mapping[str, object]
    notes: Mapping[str, str]
    sample: Sample
    day: date | None = None
    latest: Callable[[TimeColumn, str], pa.TimestampArray] | None = None
    query: Callable[[str, Sequence[Line]], str] | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    said_by: str = ""
    platform: Mapping[str, object] = field(default_factory=dict)

    def fill_in(self, answers: Answers) -> Answers:
        """The user's answers, and what the source's own description says where they are silent."""
        unsaid: dict[str, Any] = {
            name: answer for name, answer in self.answers.items() if getattr(answers, name) is None
        }
        keys = {column: key for column, key in self.keys.items() if column not in answers.keys}
        if not unsaid and not keys:
            return answers
        by_source = frozenset(unsaid) | frozenset(keys)
        return replace(answers, **unsaid, keys={**keys, **answers.keys}, by_export=by_source, export=self.said_by)


def derive_name(text: str) -> str:
    """A name for the upload: letters, digits and underscores; ``Verkäufe`` → ``Verkaeufe``, ``Año`` → ``Ano``."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", text).translate(_SPELLED_OUT))
    bare = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.sub(r"[^A-Za-z0-9]+", "_", bare).strip("_") or "upload"


#: Letters that have a spelling of their own in ASCII, or that Unicode does not decompose.
_SPELLED_OUT = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "oe",
     "Ø": "Oe", "å": "aa", "Å": "Aa", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i"}
)  # fmt: skip


def require_rows(sample: Sample, what: str) -> Sample:
    """The sample, where there is something to judge by."""
    if not len(sample):
        raise UsageError(
            f"{what} has no rows, so nothing shows what its columns hold; name one that has. Nothing was written"
        )
    return sample
