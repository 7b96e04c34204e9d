"""The border for words: what may stand in a message, a log, a report, a metric or a table.

What the configuration names is shown. Everything else comes from rows, files, tenants, databases, hooks or Meta, and is
shown only if it is known not to be a value of a row:

- ``list_columns``: the columns of a source, where they look like names and the header is known to be one;
- ``NearMisses``: the client that a row names, where it is a known client misspelt;
- ``is_code``: a value of a column of codes, such as currencies or kinds of events;
- ``words_of_database``: of a database's message the words of the query itself, and the vocabulary of databases;
- ``shown`` and ``visible``: any other text, bounded, its control and format characters made visible.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

__all__ = [
    "MAX_SHOWN_CHARS",
    "NearMisses",
    "column_names",
    "escape_in_json",
    "is_code",
    "is_name",
    "list_columns",
    "names_among",
    "near_misses",
    "shown",
    "visible",
    "without_userinfo",
    "words_of_database",
]

#: Characters of a text that is not the configuration's own; no name of a column or client that people chose is longer.
MAX_SHOWN_CHARS = 60
MAX_LISTED_NAMES = 40


# ---------------------------------------------------------------------------------------------- any text


def visible(text: str, *, keep: str = "") -> str:
    r"""``text`` with control, format and separator characters as ``\x1b`` or ``\u202e``; those of ``keep`` stay.

    A terminal obeys the first, and the second reorder or hide what stands around them.
    """
    if text.isprintable():
        return text
    return "".join(char if char in keep or _is_harmless(char) else _escaped(char) for char in text)


def _is_harmless(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs"


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def escape_in_json(text: str, *, keep: str = "") -> str:
    """JSON whose characters that ``visible`` shows are written as JSON escapes them; those of ``keep`` stay."""
    if text.isprintable():
        return text
    return "".join(char if char in keep or visible(char) == char else json.dumps(char)[1:-1] for char in text)


def shown(text: str, longest: int = MAX_SHOWN_CHARS) -> str:
    """``text`` on one line, of at most ``longest`` characters before they are made visible."""
    return visible(text if len(text) <= longest else f"{text[: longest - 1]}…")


def without_userinfo(url: str) -> str:
    """A URL without query, user and password; a password may hold ``@`` and ``/`` that nobody escaped."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    rest = rest.partition("?")[0]
    userinfo, at, place = rest.rpartition("@")
    if not at:
        return f"{scheme}://{rest}"
    if "/" in userinfo and ":" not in userinfo.partition("/")[0]:  # the @ is of the path, as in bucket/a@b.csv
        return f"{scheme}://{rest}"
    return f"{scheme}://***@{place}"


# ---------------------------------------------------------------------------------------------- columns

_NAME = re.compile(r"[^\W\d][\w .-]{0,59}")
_VALUE = re.compile(r"@|%40|\d{5}|^\W*\d+(?:[.,]\d+)?\W*$|\d{3}-\d\d|\d{4}-\d\d-\d\d|[0-9a-f]{32}")
#: As many digits a phone number has without its area code (ITU-T E.164 has no shorter ones that are dialled abroad).
_PHONE_DIGITS = 7


def is_name(text: str) -> bool:
    """Whether a text can be the name of a column or client, and has no shape that values of people have."""
    return _NAME.fullmatch(text) is not None and not _is_value(text)


def _is_value(text: str) -> bool:
    return _VALUE.search(text) is not None or sum(map(str.isdigit, text)) >= _PHONE_DIGITS


def names_among(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that look like names."""
    return [name for name in names if is_name(name)]


def column_names(names: Collection[str], wanted: Collection[str], *, is_schema: bool = False) -> list[str]:
    """Those of a source's columns that may be shown, also as a suggestion.

    The first line of a text file is a header for certain only if it has one of the ``wanted`` names, in any case; if it
    has none, it may be somebody's row, and only a wanted name misspelt is shown. ``is_schema`` says that the names are
    declared apart from the rows, as in Parquet or in a query.
    """
    if is_schema or _has_one_of(names, wanted):
        return names_among(names)
    near = _Nearby(wanted)
    return [name for name in names_among(names) if near.of(name)]


def list_columns(names: Collection[str], wanted: Collection[str], *, is_schema: bool = False) -> str:
    """One sentence: the columns that a source has, as far as ``column_names`` has them, and how many more there are."""
    shown_names = column_names(names, wanted, is_schema=is_schema)
    if not shown_names and any(map(_is_value, names)):
        return "Its first line looks like a row, and not like the names of columns: does it have a header?"
    listed = [", ".join(shown_names[:MAX_LISTED_NAMES])] if shown_names else []
    if more := len(shown_names) - MAX_LISTED_NAMES if len(shown_names) > MAX_LISTED_NAMES else 0:
        listed.append(f"{more} more")
    if others := len(names) - len(shown_names):
        columns = f"{others} column" if others == 1 else f"{others} columns"
        listed.append(f"{columns} whose names may be values, so they are not shown")
    return f"It has: {' and '.join(listed) or 'no columns'}."


def _has_one_of(names: Collection[str], wanted: Collection[str]) -> bool:
    folded = {name.casefold() for name in names}
    return any(name.casefold() in folded for name in wanted)


# ---------------------------------------------------------------------------------------------- clients


class NearMisses:
    """Names that are known, and what is so near to one of them that it is that name misspelt.

    Near is: the same letters and digits whatever their case and separators, or, from ``_LONG`` of them on, one of them
    lacking, too many, another, or swapped with its neighbour. Nothing else is named: a wrong column may hold anybody.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self._nearby = _Nearby(self._known)

    def named(self, name: str | None) -> str | None:
        """``name`` where it is known or a near miss, else ``None``."""
        if name is None or name in self._known:
            return name
        return name if is_name(name) and self._nearby.of(name) else None

    def kept(self, client: str | None) -> str | None:
        """The same of the client of a mapped row, which may be what ``outside_map`` made of it."""
        return client if client is not None and client.endswith(outside_map("")) else self.named(client)


#: What the name of a client may not be, and stands for a value that the map of an upload's client does not have.
_OUTSIDE_MAP = "{} (not in the map)"


def outside_map(near: str | None) -> str:
    """What rows are booked under whose client is not in the map; ``near`` is a key of the map misspelt."""
    return _OUTSIDE_MAP.format("a value" if near is None else near)


_LONG = 5


class _Nearby:
    """Looks up by deletions: two words that differ by one edit share what is left without one letter each."""

    def __init__(self, known: Iterable[str]) -> None:
        self._same = {_letters(name) for name in known}
        self._edited = {form for letters in self._same if len(letters) >= _LONG for form in _deletions(letters)}

    def of(self, name: str) -> bool:
        letters = _letters(name[: MAX_SHOWN_CHARS + 1])
        return bool(letters) and (letters in self._same or any(form in self._edited for form in _deletions(letters)))


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _deletions(letters: str) -> Iterator[str]:
    yield letters
    yield from (letters[:at] + letters[at + 1 :] for at in range(len(letters)))


@lru_cache(maxsize=8)
def near_misses(known: frozenset[str]) -> NearMisses:
    """The same, made once for the names of a deployment."""
    return NearMisses(known)


# ---------------------------------------------------------------------------------------------- codes

_CODE = re.compile(r"[^\W\d_]{1,12}|[^\w\s@.+'\"-]{1,2}")


def is_code(text: str) -> bool:
    """Whether a text is one short word without digits, or one or two signs: ``Euro``, ``€``, ``Refunded``.

    A first name is such a word too: callers ask this only of columns that identify nobody and that are known to hold
    codes, because other rows of theirs hold values that the configuration names.
    """
    return _CODE.fullmatch(text) is not None


# ---------------------------------------------------------------------------------------------- databases

#: Words of databases' messages about a query: grammar, kinds of objects, types. No word of it is a name of people.
_WORDS = """
    a access according aggregate aggregates alias aliases ambiguous an and any are argument arguments array as at
    attribute authorized be been before bigint binder binding bindings bool boolean both by bytea can candidate
    candidates cannot cast casts catalog character characters check clause cluster column columns comma command compare
    connection conversion convert correlation corresponds could count create cross ctes data database date day db
    decimal defined denied did different dimension distinct do does doesn doesnt domain don dotted double driver duckdb
    duplicate either element empty encoding end ended engine entry enum equal error exception exist exists expected
    explicit expression expressions field file float for format found frame from full function functions given got group
    grouping handle handled has have hint id identifier if implicit improper in incomplete index inner input
    insufficient integer internal interval into invalid is it its join json key keyword keywords kind lateral left
    length limit line list literal long macro malformed manual many map mariadb match matches mean meant memory mismatch
    missing misuse mode more multiple must mysql name named names nan natural near needs nested no none not nothing null
    number numeric object of offset on one only open operand operands operation operator operators or order other outer
    over overflow parameter parameters parse parser parsing partition permission pg placeholder point position
    postgresql precision prepare prepared privilege procedure query range read readonly real recognized recursive ref
    reference referenced references regexp relation required requires resolved result returned returns right role row
    rows same scalar schema schemas select sequence server set should signature single size skipping smallint special
    specified sql sqlite statement statements string strings struct subquery such supplied supported syntax system t
    table tables temporary text than that the there this time timestamp to token too transaction tsquery tsvector tuple
    two type types unable undefined unexpected union unique unknown unrecognized unsupported unterminated use used user
    using uuid valid value values varchar variable version view was were when where which wide window with within
    without wrong year you your zone
"""
_VOCABULARY = frozenset(_WORDS.split())
_TOKEN = re.compile(r"[^\s\"'`«»“”‘’(),;:=<>\[\]{}|]+")
_HIDDEN = "…"


def words_of_database(message: str, query: str, own: Iterable[str] = ()) -> str:
    """A database's message with ``…`` for each word that stands neither in the query nor in a database's vocabulary.

    ``own`` are further words that are known: the connection's database, the error's number. The message may quote any
    value of any row, with or without marks around it, so that nothing is taken out: words are let through.
    """
    known = {part.casefold() for text in (query, *own) for token in _TOKEN.findall(text) for part in _parts(token)}
    told = _TOKEN.sub(lambda match: match[0] if _is_known(match[0], known) else _HIDDEN, visible(message))
    return shown(re.sub(rf"{_HIDDEN}(?:[ ,]*{_HIDDEN})+", _HIDDEN, told), MAX_MESSAGE_CHARS)


MAX_MESSAGE_CHARS = 400


def _parts(token: str) -> Iterator[str]:
    yield token
    yield from filter(None, re.split(r"[^\w$#]+", token))


def _is_known(token: str, known: Collection[str]) -> bool:
    """Whether all of a token's words are known; of the vocabulary only such as are no part of an address."""
    if token.casefold() in known:
        return True
    words = [word.casefold() for word in re.split(r"[^\w$#]+", token) if word]
    return "@" not in token and all(word in known or word in _VOCABULARY for word in words)
