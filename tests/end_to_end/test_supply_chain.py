"""What is installed beside us: pinned, with hashes, without addresses, under licences that may be used."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from licences import Licence, installed, is_allowed

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"([\w.-]+)==(\S+?)(?:\s+--hash=sha256:([0-9a-f]{64}))?")


def pins(name: str) -> dict[str, tuple[str, str | None]]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    found = [match for line in lines if (match := PIN.fullmatch(line))]
    assert len(found) == len(lines)
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): (match[2], match[3]) for match in found}


def test_every_pin_has_a_hash_of_the_same_version():
    plain, hashed = pins("constraints.txt"), pins("constraints-hashed.txt")

    assert {name: version for name, (version, _) in hashed.items()} == {
        name: version for name, (version, _) in plain.items()
    }
    assert all(digest for _, digest in hashed.values())


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-hashed.txt", "pyproject.toml"])
def test_no_file_of_dependencies_holds_an_address(name):
    assert not re.search(r"https?://|index-url|find-links|@ ", (ROOT / name).read_text())


def test_nothing_that_is_installed_is_under_the_gpl_alone():
    licences = installed()

    assert [one for one in licences if one.problem] == []
    assert {"pandas", "pyarrow", "sqlalchemy"} <= {one.distribution.lower() for one in licences}


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("MIT",), ""),
        (("LGPL-3.0-only",), ""),
        (("GNU Lesser General Public License v2 or later (LGPLv2+)",), ""),
        (("Artistic License", "GNU General Public License (GPL)"), ""),
        (("GPL-3.0-only",), "is under the GPL alone"),
        (("AGPL-3.0-or-later",), "is under the GPL alone"),
        (("GNU Affero General Public License v3",), "is under the GPL alone"),
        (("MIT AND GPL-2.0-only",), "is under the GPL alone"),
        (("SSPL-1.0",), "is under the GPL alone"),
        ((), "says no licence: read it, and write it into READ_BY_HAND"),
        (("",), "says no licence: read it, and write it into READ_BY_HAND"),
    ],
)
def test_what_may_not_be_used_is_found(names, problem):
    assert Licence("some", "1", names).problem == problem
    assert is_allowed("MIT AND LGPL-2.1-only")
