"""How people write currencies in words and signs, and which ISO 4217 code is meant."""

from __future__ import annotations

from collections.abc import Collection
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


#: Words and signs of several currencies → the commonest of them.
_SEVERAL = {
    "pound": "GBP EGP", "dollar": "USD CAD AUD NZD SGD HKD", "$": "USD CAD AUD NZD SGD HKD MXN", "¥": "JPY CNY",
    "kr": "SEK NOK DKK ISK", "kr.": "SEK NOK DKK ISK", "krone": "NOK DKK", "krona": "SEK ISK", "franc": "CHF XOF XAF",
    "peso": "MXN ARS CLP COP PHP", "rupee": "INR PKR LKR NPR",
}  # fmt: skip


def find_currency_code(word: str, *, among: Collection[str] = ()) -> str | None:
    """``Euro`` → ``EUR``; an empty text where the word is of several currencies, ``None`` where it is of none.

    Where the other rows have codes of one currency alone, ``among``, and the word may mean it, it does.
    """
    plain = word.strip().casefold()
    found = _list_words().get(plain)
    if found == "" and len(among) == 1:
        code = next(iter(among))
        return code if code in _SEVERAL.get(plain, _SEVERAL.get(plain.removesuffix("s"), "")).split() else ""
    return found


@cache
def _list_words() -> dict[str, str]:
    from pycountry import currencies  # only where a row has a word in place of a code

    return {one.name.casefold(): one.alpha_3 for one in currencies} | _EVERYDAY
