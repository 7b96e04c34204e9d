"""Writes the names of countries in ``offline_capi/identity/data``.

    python tools/country_names.py
    pip download --no-deps countrynames && python tools/country_names.py countrynames-1.17.0-py3-none-any.whl

The first writes ``cldr_country_names.txt``: names in a hundred languages from Unicode CLDR, as babel has it. Each run
would load babel's files for all these languages for it, a fifth of a second; and whose babel is another one would read
some names otherwise, without a word.

The second writes ``country_names.txt`` from the wheel of the package ``countrynames`` (MIT). The package itself cannot
be a dependency: it needs PyICU, which is compiled against ICU on every machine. Kept are its names of five or more
ASCII letters that neither ISO 3166 nor CLDR has already (see ``identity/countries.py``), and that are not also the name
of a place inside a country: ``California`` in a column of countries is not a country.
"""

from __future__ import annotations

import pickle
import re
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import pycountry
import yaml
from babel import localedata
from babel.languages import get_official_languages

from offline_capi.identity.countries import find_standard_code, fold_name

DATA = Path(__file__).parent.parent / "offline_capi" / "identity" / "data"
#: Languages in which data is written far from home; each country's official languages come on top.
WORLD_LANGUAGES = ("en", "es", "fr", "de", "pt", "it", "nl", "pl", "tr", "ru", "ar", "zh", "zh_Hant", "ja", "ko", "hi")
#: Codes of CLDR that are no country's.
NO_COUNTRIES = ("ZZ", "EU", "EZ", "UN", "QO", "XA", "XB")
SHORTEST = 5  # shorter ones are abbreviations of counties and states, and of anything else
ISO = {country.alpha_2 for country in pycountry.countries}


def translate_countries() -> Mapping[str, str]:
    """Names from CLDR; a name that means two countries in two languages is left out, unless English decides."""
    official = (get_official_languages(country.alpha_2) for country in pycountry.countries)
    languages = dict.fromkeys([*WORLD_LANGUAGES, *(language for several in official for language in several)])
    meanings: defaultdict[str, set[str]] = defaultdict(set)
    for word, code in _list_names(languages):
        meanings[word].add(code)
    sure = {word: next(iter(codes)) for word, codes in meanings.items() if len(codes) == 1}
    return sure | dict(_list_names(("en",)))


def _list_names(languages: Iterable[str]) -> Iterator[tuple[str, str]]:
    for language in languages:
        known = localedata.normalize_locale(language)
        if known is None:  # CLDR has no data for it
            continue
        # Babel's file itself: ``Locale.territories`` keeps all that it knows of a language, 85 MiB for a hundred.
        with Path(localedata.resolve_locale_filename(known)).open("rb") as file:
            names: Mapping[str, str] = pickle.load(file).get("territories", {})
        for code, name in names.items():
            if len(code) == 2 and code.isalpha() and code not in NO_COUNTRIES:
                yield fold_name(name), code.lower()


def write_translations() -> None:
    """``cldr_country_names.txt``, with the licence of CLDR's data."""
    licence = (Path(localedata.__file__).parent / "locale-data" / "LICENSE.unicode").read_text().strip().splitlines()
    header = [
        f"Names of countries from Unicode CLDR, as babel {version('babel')} has it, by tools/country_names.py.",
        "Do not edit.",
        "",
        *licence,
    ]
    _write(DATA / "cldr_country_names.txt", header, translate_countries())


def _write(target: Path, header: Iterable[str], names: Mapping[str, str]) -> None:
    """A line of words for each code, below a header of comments."""
    words = {code: sorted(word for word in names if names[word] == code) for code in {*names.values()}}
    lines = [f"{code} {' '.join(words[code])}" for code in sorted(words)]
    target.write_text("".join(f"# {line}".rstrip() + "\n" for line in header) + "\n".join(lines) + "\n")


def main(wheel: Path) -> None:
    """``country_names.txt`` from this wheel."""
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
    _write(DATA / "country_names.txt", header, kept)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        write_translations()
