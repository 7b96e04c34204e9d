"""Values of a person where only names and ids should stand: found in any spelling, and written over.

No record is meant to hold a readable value. One got there where a column of people was taken for that of the clients,
or where business keys were made from people's data; an erasure covers those as well.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Self

import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["ReadableForms"]

_ERASED_TEXT = "(erased)"
#: A number with the marks that people put between its digits, and digits in a row.
_NUMBER_PATTERNS = (re.compile(r"\+?\(?\d[\d ()./-]{5,}\d"), re.compile(r"\d{7,}"))
#: The digits a national number needs to be distinguishable from another number without its leading zero.
_MIN_SURE_DIGITS = 9


@dataclass(frozen=True, slots=True)
class ReadableForms:
    """Addresses in lower case, phone numbers as digits, and ids, which count only as a whole name of a client."""

    addresses: frozenset[str]
    numbers: frozenset[str]
    ids: frozenset[str]

    @classmethod
    def of(cls, given: Mapping[str, Sequence[str]], normal: Mapping[str, Collection[str]]) -> Self:
        """``given`` as they were typed, ``normal`` as they would be hashed, both by key of user_data."""
        return cls(
            frozenset(normal.get("em", ())),
            frozenset(digits for number in normal.get("ph", ()) for digits in _list_spellings(number)),
            frozenset(value.strip() for value in given.get("external_id", ()) if value.strip()),
        )

    @property
    def nothing(self) -> bool:
        return not (self.addresses or self.numbers or self.ids)

    def is_in(self, text: str) -> bool:
        """Whether an address or a number of the person stands in a text."""
        lowered = text.casefold()
        return any(address in lowered for address in self.addresses) or (
            bool(self.numbers) and any(number in self.numbers for number in _find_numbers(text))
        )

    def find_in(self, texts: Any) -> pa.BooleanArray:
        """``is_in`` for many texts, false where there is none; most are skipped without reading each."""
        sights = [pc.match_substring(texts, address, ignore_case=True) for address in self.addresses]
        if self.numbers:
            digits = pc.replace_substring_regex(texts, r"[^0-9]", "")
            sights += [pc.match_substring(digits, number) for number in self.numbers]
        if not sights:
            return pa.repeat(pa.scalar(False), len(texts))
        seen = pc.fill_null(reduce(pc.or_, sights), False)
        sure = [sight and self.is_in(texts[at].as_py()) for at, sight in enumerate(seen.to_pylist())]
        return pa.array(sure, pa.bool_())

    def overwrite(self, document: Any, clients: Collection[str]) -> Any:
        """A JSON document without the person's values, or ``None`` where it holds none.

        ``clients`` are the configured ones: an id counts only where the document has it as the name of another.
        """
        strangers = _list_client_names(document) - set(clients)
        texts = {text for text in _list_texts(document) if self.is_in(text) or (text in strangers and text in self.ids)}
        if not texts:
            return None
        numbered = {
            text: f"{_ERASED_TEXT}" if at == 0 else f"({at + 1}. erased)" for at, text in enumerate(sorted(texts))
        }
        return _replace_texts(document, numbered)


def _list_spellings(number: str) -> Iterator[str]:
    """The digits of a phone number as people write it: with its country's code, and without where that is sure."""
    yield number
    yield f"00{number}"
    try:
        national = str(phonenumbers.national_significant_number(phonenumbers.parse(f"+{number}")))
    except phonenumbers.NumberParseException:
        return
    yield f"0{national}"
    yield f"{number[: -len(national)]}0{national}"  # +44 (0) 7911 …
    if len(national) >= _MIN_SURE_DIGITS:
        yield national


def _find_numbers(text: str) -> Iterator[str]:
    for pattern in _NUMBER_PATTERNS:
        yield from (re.sub(r"\D", "", found) for found in pattern.findall(text))


def _list_texts(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, Mapping):
        for key, value in document.items():
            yield str(key)
            yield from _list_texts(value)
    elif isinstance(document, list):
        for value in document:
            yield from _list_texts(value)


def _replace_texts(document: Any, instead: Mapping[str, str]) -> Any:
    if isinstance(document, str):
        return instead.get(document, document)
    if isinstance(document, Mapping):
        return {instead.get(key, key): _replace_texts(value, instead) for key, value in document.items()}
    if isinstance(document, list):
        return [_replace_texts(value, instead) for value in document]
    return document


def _list_client_names(document: Any) -> set[str]:
    """What a report, the books of a task, or a list of debts (``model.Debt``) have as names of clients."""
    if isinstance(document, list):
        return {str(debt[2]) for debt in document if debt[2] is not None}
    if not isinstance(document, Mapping):
        return set()
    tally = document.get("tally", document)
    named = {str(row[1]) for row in tally.get("fates", ()) if row[1] is not None}
    return {*map(str, document.get("clients", ())), *named}
