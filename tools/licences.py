"""The licences of everything that is installed, as a table; fails where one of them is the GPL alone, or unknown.

    python tools/licences.py          # the table
    python tools/licences.py --check  # only what is wrong; part of `make check`

This package is Apache-2.0: what it imports may be under permissive licences, and under those of weak copyleft (LGPL,
MPL), which ask nothing of a program that imports a library. Names and licences are what each distribution says of
itself: an SPDX expression, else its classifiers, else its `License` field.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from typing import NamedTuple

#: Of those that do not say it in a form that can be read: what their licence file says.
READ_BY_HAND = {
    "facebook_business": "Facebook Platform Licence (development only)",
    "capi_param_builder_python": "Facebook Platform Licence (development only)",
    "polars-hash": "MIT",
}
_GPL = re.compile(r"\bA?GPL|\bSSPL|General Public|Affero|Server Side Public", re.IGNORECASE)
_LESSER = re.compile(r"\bLGPL|Lesser General|Library General", re.IGNORECASE)


class Licence(NamedTuple):
    """One distribution; ``names`` are alternatives, of which a user takes one."""

    distribution: str
    version: str
    names: tuple[str, ...]

    @property
    def problem(self) -> str:
        """What forbids it; empty where nothing does."""
        if not any(self.names):
            return "says no licence: read it, and write it into READ_BY_HAND"
        return "" if any(map(is_allowed, self.names)) else "is under the GPL alone"


def is_allowed(name: str) -> bool:
    """Whether no part of ``A AND B`` is the GPL."""
    return not any(_GPL.search(part) and not _LESSER.search(part) for part in re.split(r"\bAND\b|\bWITH\b", name))


def licence_of(distribution: Distribution) -> Licence:
    fields = distribution.metadata
    name = fields["Name"]
    classifiers = [
        line.split(" :: ")[-1] for line in fields.get_all("Classifier") or () if line.startswith("License ::")
    ]
    classifiers = [line for line in classifiers if line != "OSI Approved"]
    text = (fields.get("License") or "").strip().split("\n")[0]
    if name in READ_BY_HAND:
        names: Iterable[str] = [READ_BY_HAND[name]]
    elif expression := fields.get("License-Expression"):
        names = [part.strip(" ()") for part in re.split(r"\bOR\b", expression)]
    else:
        names = classifiers or [text if len(text) < 60 and "." not in text.replace("2.0", "") else ""]
    return Licence(name, distribution.version, tuple(names))


def installed() -> list[Licence]:
    """Each distribution of this environment once, by name."""
    found = {one.distribution.lower(): one for one in map(licence_of, distributions()) if one.distribution}
    return [found[name] for name in sorted(found) if name != "offline-capi"]


def lines(licences: Iterable[Licence], *, only_wrong: bool) -> Iterator[str]:
    for one in licences:
        if one.problem or not only_wrong:
            said = f"{' or '.join(filter(None, one.names)) or '-'}"
            yield f"{one.distribution:45} {one.version:15} {said}{f'   {one.problem}' if one.problem else ''}"


def main() -> int:
    licences = installed()
    for line in lines(licences, only_wrong="--check" in sys.argv):
        print(line)
    wrong = sum(bool(one.problem) for one in licences)
    print(f"{len(licences)} distributions, {wrong} of them with a licence that cannot be used")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
