"""How people write currencies in words and signs, and which ISO 4217 code is meant."""

from __future__ import annotations

from functools import cache

__all__ = ["find_currency_code"]

#: Words and signs that ISO 4217 does not list; an empty code: several currencies are called so.
_EVERYDAY = {
    "€": "EUR", "£": "GBP", "¥": "", "$": "", "us$": "USD", "zł": "PLN", "kč": "CZK", "ft": "HUF", "kr": "", "kr.": "",
    "euros": "EUR", "eu": "EUR", "dollar": "", "dollars": "", "us dollars": "USD", "u.s. dollar": "USD",
    "american dollar": "USD", "pound": "", "pounds": "", "british pound": "GBP", "british pounds": "GBP",
    "sterling": "GBP", "franc": "", "francs": "", "franken": "CHF", "schweizer franken": "CHF", "krone": "",
    "krona": "", "kronor": "SEK", "zloty": "PLN", "złoty": "PLN", "real": "BRL", "reais": "BRL", "peso": "",
    "pesos": "", "rupee": "", "rupees": "", "lira": "TRY", "złotych": "PLN", "canadian dollars": "CAD",
    "australian dollars": "AUD", "swiss francs": "CHF",
}  # fmt: skip


def find_currency_code(word: str) -> str | None:
    """``Euro`` → ``EUR``; an empty text where the word is of several currencies, ``None`` where it is of none."""
    return _list_words().get(word.strip().casefold())


@cache
def _list_words() -> dict[str, str]:
    from pycountry import currencies  # only where a row has a word in place of a code

    return {one.name.casefold(): one.alpha_3 for one in currencies} | _EVERYDAY
