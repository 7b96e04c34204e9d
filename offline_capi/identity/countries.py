"""Countries and states as people write them → ISO codes.

Codes and official names come from pycountry (ISO 3166), names in a hundred languages from Unicode CLDR, what people,
shops and CRMs write besides those (``UAE``, ``Holland``, ``Republic of Ireland``) from the data of the package
countrynames: see ``tools/country_names.py``. Here stands only how a name is decorated: an article in front or behind, a
code in brackets.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pycountry

from offline_capi.identity import placeholders
from offline_capi.identity.distinct import Reading
from offline_capi.identity.verdict import Cause

__all__ = [
    "US_POSTAL_COUNTRIES",
    "find_country_code",
    "find_standard_code",
    "fold_name",
    "read_country",
    "read_state",
]

# Each has its own ISO code and uses the ZIP codes and state codes of the United States Postal Service.
US_POSTAL_COUNTRIES = frozenset({"us", "pr", "vi", "gu", "as", "mp", "um"})

# What neither library holds: UK is reserved in ISO 3166-1 for gb and EL is the European Union's code for Greece; XK is
# user-assigned there.
_RESERVED = {
    "uk": "gb", "el": "gr", "xk": "xk", "xkx": "xk", "greatbritain": "gb", "usofa": "us",
    "uae": "ae", "ksa": "sa", "prc": "cn", "drc": "cd", "rsa": "za", "eeuu": "us", "macau": "mo",
}  # fmt: skip

# USPS writes military addresses like states; people write the capital like one (pycountry: District of Columbia).
_POSTAL_STATES = {"aa": "aa", "ae": "ae", "ap": "ap", "washingtondc": "dc"}


@cache
def fold_name(text: str) -> str:
    """Letters and digits only, lower-case, without accents: how names are compared, never how they are sent."""
    apart = unicodedata.normalize("NFKD", text.lower())
    return "".join(letter for letter in apart if letter.isalnum())


def read_country(text: str, _: str | None = None) -> Reading:
    """Code, alpha-3, number or name in English or a language of the country → alpha-2 in lower case."""
    if placeholders.is_placeholder(text):
        return None, Cause.PLACEHOLDER
    found = find_country_code(text)
    if found is None and fold_name(text) == "na":  # n/a, #N/A, N.A., (NA): the bare code alone is Namibia
        return None, Cause.PLACEHOLDER
    return (found, None) if found else (None, Cause.UNKNOWN_COUNTRY)


# A country named twice: WooCommerce writes "United States (US)".
_BRACKETS = re.compile(r"^(?P<name>.*\S)\s*[(\[](?P<aside>[^()\[\]]*)[)\]]$")
_ARTICLE = re.compile(r"^the\s+|,\s*the$")
_CODE = re.compile(r"[a-z]{2,3}|[0-9]{3}")
_DOTTED_CODE = re.compile(r"(?:[a-z]\. ?){2,}[a-z]?\.?")  # U.S., U. S. A., U.K., U.A.E.
_NOT_SAID = frozenset({"na", "nd", "nv", "sd", "si", "sn", "ka"})  # n.a., n.d., s.d.: "none" in short, and codes


@cache
def find_country_code(text: str) -> str | None:
    """The country's alpha-2 code in lower case; ``None`` where unknown or where two countries share the name."""
    text = text.strip()
    if text[:1] == "(" and text[-1:] == ")":
        text = text[1:-1].strip()
        return find_country_code(text) if fold_name(text) not in _NOT_SAID else None
    word = fold_name(text)
    if not word:
        return None
    brackets = _BRACKETS.match(text)
    if brackets:
        return _find_code(word) or _match_aside(brackets["name"], brackets["aside"])
    short = len(word) <= 3 and word.isascii() and not _CODE.fullmatch(text.lower())
    if short and (word in _NOT_SAID or not _DOTTED_CODE.fullmatch(text.lower())):
        return None  # "n/a" and "s/n" are no codes; "U.S." is one
    bare = _ARTICLE.sub("", text.lower())
    known = _find_code(word) or (_find_code(fold_name(bare)) if bare != text.lower() else None)
    _, comma, last = text.rpartition(",")
    return known or (find_country_code(last) if comma else None)  # "Scotland, UK"


def _match_aside(name: str, aside: str) -> str | None:
    """A country named twice; ``Georgia (US)`` and ``Congo (somewhere)`` are not certain."""
    code = find_country_code(name)
    return code if code is not None and code == find_country_code(aside) else None


def _find_code(word: str) -> str | None:
    return find_standard_code(word) or _load_further_names().get(word)


def find_standard_code(word: str) -> str | None:
    """The code of a name, already in ``fold_name``, by ISO 3166 and CLDR alone."""
    return _load_codes().get(word) or _load_translations().get(word)


@cache
def _load_further_names() -> Mapping[str, str]:
    """What countrynames has beyond the standards."""
    return _load_names("country_names.txt")


def _load_names(file: str) -> Mapping[str, str]:
    """The table that ``tools/country_names.py`` has written: a code, and the names that mean it."""
    lines = (Path(__file__).parent / "data" / file).read_text(encoding="utf-8").splitlines()
    listed = (line.split() for line in lines if line and not line.startswith("#"))
    return {word: code for code, *words in listed for word in words}


@cache
def _load_codes() -> Mapping[str, str]:
    """What ISO 3166-1 itself says."""
    table: dict[str, str] = {}
    for country in pycountry.countries:
        code = country.alpha_2.lower()
        names = (country.alpha_2, country.alpha_3, country.numeric, country.name)
        also = (getattr(country, "official_name", ""), getattr(country, "common_name", ""))
        table |= {fold_name(name): code for name in (*names, *also) if name}
    nations = (re.split(r"[\[\];]", name) for code, name in _list_parts("GB") if code in _NATIONS)  # Wales; Cymru
    parts = {fold_name(name): "gb" for names in nations for name in names}
    return table | parts | _RESERVED


_NATIONS = frozenset({"GB-ENG", "GB-SCT", "GB-WLS", "GB-NIR"})


@cache
def _load_translations() -> Mapping[str, str]:
    """Names from CLDR; a name that means two countries in two languages is not among them, unless English decides."""
    return _load_names("cldr_country_names.txt")


# ---------------------------------------------------------------------------------------------- states


def read_state(text: str, country: str | None) -> Reading:
    """US and Canadian names, codes and punctuated forms → codes; elsewhere the text in letters only, as the docs say.

    Where no country is known, a name of a US state, then of a Canadian province, is taken for it.
    """
    text = _strip_country(text, country)
    word = fold_name(text)
    if country in US_POSTAL_COUNTRIES:
        code = _load_states("US").get(word)
        return (code, None) if code else (None, Cause.UNKNOWN_STATE)
    known = {"ca": _load_states("CA"), None: _load_states("CA") | _load_states("US")}.get(country, {})
    return known.get(word) or _keep_letters(text), None


_ISO_CODE = re.compile(r"([a-z]{2})-([a-z0-9]{1,3})")


def _strip_country(text: str, country: str | None) -> str:
    """``nsw`` for ``AU-NSW``: ISO 3166-2 writes the country before the part's own code."""
    code = _ISO_CODE.fullmatch(text.lower().strip())
    if code is None or (country is not None and code[1] != country):
        return text
    known = pycountry.subdivisions.get(code=code[0].upper()) is not None  # type: ignore[no-untyped-call]  # half typed
    return code[2] if known or country is not None else text


def _keep_letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if unicodedata.category(letter)[0] in "LMN")


@cache
def _load_states(country: str) -> dict[str, str]:
    table = dict(_POSTAL_STATES) if country == "US" else {}
    for whole, name in _list_parts(country):
        code = whole.partition("-")[2].lower()
        table |= dict.fromkeys((fold_name(name), fold_name(whole), code), code)
    return table


def _list_parts(country: str) -> Iterator[tuple[str, str]]:
    """Code (``US-CA``) and name of each part of a country, by ISO 3166-2.

    Read from pycountry's file: pycountry makes five thousand objects of it, a tenth of a second for two countries.
    """
    parts = json.loads(Path(pycountry.subdivisions.filename).read_bytes())[pycountry.subdivisions.root_key]
    return ((part["code"], part["name"]) for part in parts if part["code"].startswith(f"{country}-"))
