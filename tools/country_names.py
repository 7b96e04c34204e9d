"""Writes ``offline_capi/identity/data/country_names.txt`` from the wheel of the package ``countrynames`` (MIT).

    pip download --no-deps countrynames && python tools/country_names.py countrynames-1.17.0-py3-none-any.whl

The package itself cannot be a dependency: it needs PyICU, which is compiled against ICU on every machine. Kept are its
names of five or more ASCII letters that neither ISO 3166 nor CLDR has already (see ``identity/countries.py``), and that
are not also the name of a place inside a country: ``California`` in a column of countries is not a country.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import pycountry
import yaml

from offline_capi.identity.countries import find_standard_code, fold_name

TARGET = Path(__file__).parent.parent / "offline_capi" / "identity" / "data" / "country_names.txt"
SHORTEST = 5  # shorter ones are abbreviations of counties and states, and of anything else
ISO = {country.alpha_2 for country in pycountry.countries}


def main(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = yaml.safe_load(archive.read("countrynames/data.yaml"))
        licence = next(one for one in archive.namelist() if one.endswith("LICENSE"))
        notice = archive.read(licence).decode().strip().splitlines()
    meanings = defaultdict(set)
    for code, written in names.items():
        for name in written:
            meanings[fold_name(str(name))].add(code)
    places = {fold_name(part) for place in pycountry.subdivisions for part in re.split(r"[;,/()\[\]]", place.name)}
    kept = {
        word: code.lower()
        for word, (code, *others) in ((word, sorted(codes)) for word, codes in meanings.items())
        if not others and code in ISO and word.isascii() and word.isalpha() and len(word) >= SHORTEST
        if word not in places and find_standard_code(word) is None
    }  # fmt: skip
    header = [
        f"Names of countries beyond ISO 3166 and CLDR, from {wheel.name}, by tools/country_names.py",
        f"(with pycountry {version('pycountry')} and babel {version('babel')}). Do not edit.",
        "",
        *notice,
    ]
    lines = [
        f"{code} {' '.join(sorted(word for word in kept if kept[word] == code))}" for code in sorted({*kept.values()})
    ]
    TARGET.write_text("".join(f"# {line}".rstrip() + "\n" for line in header) + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
