"""Countries and states as people write them → ISO codes, from pycountry (ISO 3166) and babel (Unicode CLDR)."""

from __future__ import annotations

import pickle
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pycountry
from babel import localedata
from babel.languages import get_official_languages

from offline_capi.identity.distinct import Reading
from offline_capi.identity.verdict import Cause

__all__ = ["US_POSTAL_COUNTRIES", "country_code", "read_country", "read_state", "subdivisions", "words_of"]

# Each has its own ISO code and uses the ZIP codes and state codes of the United States Postal Service.
US_POSTAL_COUNTRIES = frozenset({"us", "pr", "vi", "gu", "as", "mp", "um"})

# What neither library holds: UK is reserved in ISO 3166-1 for gb and EL is the European Union's code for Greece; XK is
# user-assigned there.
_RESERVED = {"uk": "gb", "el": "gr", "xk": "xk", "xkx": "xk", "greatbritain": "gb", "usofa": "us"}

# USPS writes military addresses like states; people write the capital like one (pycountry: District of Columbia).
_POSTAL_STATES = {"aa": "aa", "ae": "ae", "ap": "ap", "washingtondc": "dc"}

# Languages in which data is written far from home; each country's official languages come on top.
_WORLD_LANGUAGES = ("en", "es", "fr", "de", "pt", "it", "nl", "pl", "tr", "ru", "ar", "zh", "zh_Hant", "ja", "ko", "hi")


@cache
def words_of(text: str) -> str:
    """Letters and digits only, lower-case, without accents: how names are compared, never how they are sent."""
    apart = unicodedata.normalize("NFKD", text.lower())
    return "".join(letter for letter in apart if letter.isalnum())


def read_country(text: str, _: str | None = None) -> Reading:
    """Code, alpha-3, number or name in English or a language of the country → alpha-2 in lower case."""
    found = country_code(text)
    return (found, None) if found else (None, Cause.UNKNOWN_COUNTRY)


@cache
def country_code(text: str) -> str | None:
    """The country's alpha-2 code in lower case; ``None`` where unknown or where two countries share the name."""
    word = words_of(text)
    if not word:
        return None
    return _codes().get(word) or _translations().get(word)


@cache
def _codes() -> Mapping[str, str]:
    """What ISO 3166-1 itself says."""
    table: dict[str, str] = {}
    for country in pycountry.countries:
        code = country.alpha_2.lower()
        names = (country.alpha_2, country.alpha_3, country.numeric, country.name)
        also = (getattr(country, "official_name", ""), getattr(country, "common_name", ""))
        table |= {words_of(name): code for name in (*names, *also) if name}
    parts = {words_of(part.name): "gb" for part in subdivisions("GB") if part.code in _NATIONS}
    return table | parts | _RESERVED


_NATIONS = frozenset({"GB-ENG", "GB-SCT", "GB-WLS", "GB-NIR"})


@cache
def _translations() -> Mapping[str, str]:
    """Names from CLDR; a name that means two countries in two languages is left out, unless English decides."""
    meanings: defaultdict[str, set[str]] = defaultdict(set)
    for word, code in _names(_languages()):
        meanings[word].add(code)
    sure = {word: next(iter(codes)) for word, codes in meanings.items() if len(codes) == 1}
    return sure | dict(_names(("en",)))


def _languages() -> Iterable[str]:
    official = (get_official_languages(country.alpha_2) for country in pycountry.countries)
    return dict.fromkeys([*_WORLD_LANGUAGES, *(language for several in official for language in several)])


def _names(languages: Iterable[str]) -> Iterator[tuple[str, str]]:
    for language in languages:
        for code, name in _territories(language).items():
            if len(code) == 2 and code.isalpha() and code not in ("ZZ", "EU", "EZ", "UN", "QO", "XA", "XB"):
                yield words_of(name), code.lower()


def _territories(language: str) -> Mapping[str, str]:
    """Names of countries in a language; none where CLDR has no data for it.

    From babel's file itself: ``Locale.territories`` keeps all that it knows of a language, 85 MiB for a hundred.
    """
    known = localedata.normalize_locale(language)
    if known is None:
        return {}
    with Path(localedata.resolve_locale_filename(known)).open("rb") as file:
        names: Mapping[str, str] = pickle.load(file).get("territories", {})  # noqa: S301  babel's own file
    return names


# ---------------------------------------------------------------------------------------------- states


def read_state(text: str, country: str | None) -> Reading:
    """US and Canadian names, codes and punctuated forms → codes; elsewhere the text in letters only, as the docs say.

    Where no country is known, a name of a US state, then of a Canadian province, is taken for it.
    """
    word = words_of(text)
    if country in US_POSTAL_COUNTRIES:
        code = _states("US").get(word)
        return (code, None) if code else (None, Cause.UNKNOWN_STATE)
    known = {"ca": _states("CA"), None: _states("CA") | _states("US")}.get(country, {})
    return known.get(word) or _letters(text), None


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if unicodedata.category(letter)[0] in "LMN")


@cache
def _states(country: str) -> dict[str, str]:
    table = dict(_POSTAL_STATES) if country == "US" else {}
    for state in subdivisions(country):
        code = state.code.partition("-")[2].lower()
        table |= dict.fromkeys((words_of(state.name), words_of(state.code), code), code)
    return table


def subdivisions(country: str) -> Iterable[Any]:
    """ISO 3166-2 of one country."""
    found = pycountry.subdivisions.get(country_code=country)  # type: ignore[no-untyped-call]  # half typed
    return found or ()
