"""Whether each profile still gives what its source gives: the published examples, run and counted."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Any, NamedTuple

import pyarrow as pa

from offline_capi.identity import VERSIONS, Readable, get_default_rule

__all__ = ["Conformance", "Miss", "Vector", "load_vectors", "run_conformance"]

#: The day on which the sources were run: the parameter builder takes no year after the next.
RUN_ON = date(2026, 11, 29)
SOURCES: Mapping[str, str] = {
    "documentation": "meta-capi.md 2.3: Meta's documentation, and its tools run",
    "param_builder": "published tests of capi-param-builder-nodejs 1.3.2",
}


class Vector(NamedTuple):
    """A value of a key, in a country or none, and its normal form by a profile; ``None``: nothing goes out."""

    profile: str
    source: str
    key: str
    value: str
    country: str | None
    expected: str | None


class Miss(NamedTuple):
    """A vector that did not come out right; all vectors are published, so that they may be shown."""

    vector: Vector
    got: str | None


@dataclass(frozen=True, slots=True)
class Conformance:
    """One version of a profile against one source."""

    version: str
    source: str
    vectors: int
    misses: tuple[Miss, ...]

    @property
    def passed(self) -> int:
        return self.vectors - len(self.misses)

    def to_json(self) -> dict[str, Any]:
        misses = [{**miss.vector._asdict(), "got": miss.got} for miss in self.misses]
        return {
            "profile": self.version,
            "source": self.source,
            "vectors": self.vectors,
            "passed": self.passed,
            "misses": misses,
        }


def run_conformance() -> list[Conformance]:
    """Every version of every profile against every source that says something of it."""
    found = []
    for version in VERSIONS:
        for source, title in SOURCES.items():
            own = [one for one in load_vectors(source) if one.profile == version.partition("@")[0]]
            misses = [Miss(one, got) for one in own if (got := _normalize(one, version)) != one.expected]
            if own:
                found.append(Conformance(version, title, len(own), tuple(misses)))
    return found


def load_vectors(source: str) -> Iterator[Vector]:
    """The vectors of one source, by profile."""
    text = (files("offline_capi.identity") / "vectors" / f"{source}.tsv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
        for profile in ("meta", "sdk", "param_builder"):
            if row.get(profile) is not None:
                expected = json.loads(row[profile]) if row[profile] else None
                yield Vector(
                    profile, source, row["key"], json.loads(row["value"]), row.get("country") or None, expected
                )


def _normalize(vector: Vector, version: str) -> str | None:
    country = pa.array([vector.country and vector.country.lower()], pa.string())
    readable = Readable(pa.array([vector.value], pa.string()), country, today=RUN_ON)
    normal: str | None = get_default_rule(vector.key, version)(readable).text[0].as_py()
    return normal
