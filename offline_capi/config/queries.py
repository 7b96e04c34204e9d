r"""Where the queries of a deployment stand, and which ``:parameters`` a query asks for.

One reader for all: what ``check`` reports, what is bound and what the database sees come from ``read_query_text``. A
colon in a comment, in quotes of any kind, in a cast or in a slice belongs to the database and reaches it as written.
Outside quotes ``\:`` is a colon that begins no parameter.

Databases disagree about comments and quotes, and ``check`` does not know which one will run a query: it reads the query
by the rules of each. A query that they would read differently is refused, with the line and with what all read alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from offline_capi.runtime.nearest import did_you_mean

__all__ = ["PARAMETER_NAMES", "Parameter", "QueryText", "find_query_problems", "find_sql_folder", "read_query_text"]

PARAMETER_NAMES = ("since", "until", "since_utc", "until_utc")


def find_sql_folder(folder: Path) -> Path:
    """The folder of ``.sql`` files: ``sql/`` in the configuration folder if it is there, else ``sql/`` next to it."""
    inside = folder / "sql"
    return inside if inside.is_dir() else _get_parent(folder) / "sql"


def _get_parent(folder: Path) -> Path:
    """The parent as the user would write it, where the path alone shows it."""
    return folder.parent if folder.name not in ("", "..") else folder.resolve().parent


# ---------------------------------------------------------------------------------------------- what a query asks for


@dataclass(frozen=True, slots=True)
class Parameter:
    """``:name`` in a query; ``line`` counts from 1."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class QueryText:
    """A query in pieces: text for the database as it stands, and the parameters between.

    The semicolon at the end is gone. With ``problems`` the query must not run; each begins with its line.
    """

    pieces: tuple[str | Parameter, ...]
    problems: tuple[str, ...] = ()

    @property
    def parameters(self) -> list[Parameter]:
        return [piece for piece in self.pieces if isinstance(piece, Parameter)]

    @property
    def unused_ends(self) -> list[str]:
        """Which ends of the window, ``since`` and ``until``, the query does not use."""
        used = {parameter.name.removesuffix("_utc") for parameter in self.parameters}
        return [end for end in ("since", "until") if end not in used]


def find_query_problems(query: str) -> list[str]:
    """Why an upload cannot run this query, whatever database will run it."""
    text = read_query_text(query)
    never = (
        f"the query never uses :{end} (or :{end}_utc), so every run would read all rows" for end in text.unused_ends
    )
    return [*(text.problems or never)]


def read_query_text(query: str, dialect: str | None = None) -> QueryText:
    """The query as the database ``dialect`` (SQLAlchemy's name for it) reads it; without, as every database does."""
    known = GRAMMARS.get(dialect or "")
    grammars = (known,) if known else tuple(dict.fromkeys(GRAMMARS.values()))
    readings = [_Reading.scan(query, grammar) for grammar in grammars]
    closed = [reading for reading in readings if reading.open_at is None]
    if not closed:
        opened = readings[0].open_at or 0
        mark = _SPECIAL.match(query, opened)
        return QueryText(
            (query,), (f"line {_find_line(query, opened)}: what {mark and mark[0]} begins there has no end",)
        )
    likely = _choose_readings(closed)
    first = likely[0]
    other = next((each for each in likely if each.parameters.keys() != first.parameters.keys()), None)
    if other is not None:
        return QueryText((query,), (_describe_ambiguity(query, first, other),))
    text = first.split_pieces(query)
    if known:
        # Unused here and used as `check` read it: it would have been refused, had the database been known.
        lost = [end for end in text.unused_ends if end not in read_query_text(query).unused_ends]
        said = tuple(f"on {dialect} every :{end} of the query stands in a comment or in quotes" for end in lost)
        return QueryText(text.pieces, (*text.problems, *said))
    return text


# ---------------------------------------------------------------------------------------------- grammars


@dataclass(frozen=True, slots=True)
class _Grammar:
    """Where databases differ in what is a comment and what is in quotes."""

    backslash: bool = False  # '\'' holds a quote
    double_backslash: bool = False  # "\"" does
    hash_comments: bool = False  # comments that begin with #
    slash_comments: bool = False  # … with //
    blank_after_dashes: bool = False  # -- is a comment only before a blank; /*! is none
    nested_comments: bool = False
    brackets: bool = False  # [name]
    dollars: bool = False  # $tag$text$tag$
    q_quotes: bool = False  # q'[text]'
    triple_quotes: bool = False  # '''text'''


_LIKE_POSTGRESQL = _Grammar(nested_comments=True, dollars=True)
_LIKE_MYSQL = _Grammar(backslash=True, double_backslash=True, hash_comments=True, blank_after_dashes=True)
_LIKE_SPARK = _Grammar(backslash=True, double_backslash=True, nested_comments=True)
#: By the names of SQLAlchemy's dialects, from the chapters on lexical structure of their manuals.
GRAMMARS: Mapping[str, _Grammar] = {
    "postgresql": _LIKE_POSTGRESQL,
    "duckdb": _LIKE_POSTGRESQL,
    "redshift": _Grammar(backslash=True, nested_comments=True, dollars=True),
    "mysql": _LIKE_MYSQL,
    "mariadb": _LIKE_MYSQL,
    "sqlite": _Grammar(brackets=True),
    "mssql": _Grammar(brackets=True, nested_comments=True),
    "oracle": _Grammar(q_quotes=True),
    "snowflake": _Grammar(backslash=True, slash_comments=True, dollars=True),
    "bigquery": _Grammar(backslash=True, double_backslash=True, hash_comments=True, triple_quotes=True),
    "clickhouse": _Grammar(backslash=True, double_backslash=True, hash_comments=True),
    "clickhousedb": _Grammar(backslash=True, double_backslash=True, hash_comments=True),
    "databricks": _LIKE_SPARK,
    "hive": _LIKE_SPARK,
    "trino": _Grammar(),
}

# What all databases read alike, by what begins where they do not.
_ALIKE: Mapping[str, str] = {
    "#": "begin comments with -- and a blank; after an operator with # begin a new line",
    "//": "begin comments with -- and a blank; after the operator // begin a new line",
    "--": "write a blank after -- of a comment, and one between two minus signs",
    "/*": "do not put a comment into a comment",
    "'": "double a quote inside a text ('it''s'), and let no backslash stand before a quote",
    '"': 'double a quote inside a name ("so ""called"""), and let no backslash stand before a quote',
    "[": 'write names in "double quotes"',
    "$": "write texts in 'single quotes'",
}


# ---------------------------------------------------------------------------------------------- readings

_SPECIAL = re.compile(r"--|/\*|//|[#$'\"`\[:\\]")
_NAME = re.compile(r":([^\W\d]\w*)")
_QUOTED = {quote: re.compile(rf"{quote}[^{quote}]*(?:{quote}{quote}[^{quote}]*)*{quote}") for quote in "'\"`"}
_ESCAPED = {quote: re.compile(rf"{quote}(?:[^{quote}\\]|\\.|{quote}{quote})*{quote}", re.DOTALL) for quote in "'\""}
_BRACKETS = re.compile(r"\[[^\]]*(?:\]\][^\]]*)*\]")
_DOLLARS = re.compile(r"\$(?:[^\W\d]\w*)?\$")
_ESCAPED_COLON = re.compile(r"(?<!\\)(?:\\\\)*\\:")
_PARTNER = {"[": "]", "(": ")", "{": "}", "<": ">"}


@dataclass
class _Reading:
    """What one grammar finds in a query. Positions count characters.

    ``open_at`` is where a quote or comment begins that never ends: the grammar is not that of the query.
    """

    parameters: dict[int, str] = field(default_factory=dict)
    comments: list[tuple[int, int]] = field(default_factory=list)
    quotes: list[tuple[int, int]] = field(default_factory=list)
    escapes: list[int] = field(default_factory=list)  # backslashes before a colon, outside quotes
    glued: dict[int, str] = field(default_factory=dict)  # :since right behind a word: a path of JSON, or forgotten
    odd: bool = False  # a text with a word right behind it, a lone backslash: probably a mistake
    open_at: int | None = None

    @classmethod
    def scan(cls, query: str, grammar: _Grammar) -> _Reading:
        reading, at = cls(), 0
        while reading.open_at is None and (found := _SPECIAL.search(query, at)):
            at = reading._take(query, found.start(), found[0], grammar)
        return reading

    def _take(self, query: str, at: int, special: str, grammar: _Grammar) -> int:
        """Note what begins at ``at``; returns where reading goes on."""
        if special == ":":
            return self._take_colon(query, at)
        if special == "\\":
            is_escape = query.startswith(":", at + 1)
            self.escapes += [at] * is_escape
            self.odd |= not is_escape
            return at + 1 + is_escape
        if (end := _find_end_of_comment(query, at, special, grammar)) is not None:
            self.comments.append((at, end))
        elif (end := _find_end_of_quote(query, at, special, grammar)) is not None:
            self.quotes.append((at, end))
            self.odd |= special in "'\"" and query[end : end + 1].isidentifier()
        else:
            return at + len(special)
        if end > len(query):
            self.open_at = at
        return end

    def _take_colon(self, query: str, at: int) -> int:
        if query.startswith("::", at):
            return at + 2
        named = _NAME.match(query, at)
        if named is None:  # :2 of a slice, :=, a lone colon
            return at + 1
        if at and (query[at - 1].isalnum() or query[at - 1] in "_$)]'\"`"):
            if named[1] in PARAMETER_NAMES:
                self.glued[at] = named[1]
        else:
            self.parameters[at] = named[1]
        return named.end()

    @property
    def has_both_ends(self) -> bool:
        return {name.removesuffix("_utc") for name in self.parameters.values()} >= {"since", "until"}

    def split_pieces(self, query: str) -> QueryText:
        pieces: list[str | Parameter] = []
        at, text = 0, ""
        for start in sorted([*self.parameters, *self.escapes, *self._find_last_semicolons(query)]):
            text += query[at:start]
            at = start + 1
            if name := self.parameters.get(start):
                pieces += [text, Parameter(name, _find_line(query, start))]
                at, text = at + len(name), ""
        return QueryText((*pieces, text + query[at:]), tuple(self._find_problems(query)))

    def _find_last_semicolons(self, query: str) -> Iterator[int]:
        """Those after which only blanks and comments come."""
        begins = {end: start for start, end in self.comments}
        at = len(query)
        while at and (at in begins or query[at - 1].isspace() or query[at - 1] == ";"):
            if at not in begins and query[at - 1] == ";":
                yield at - 1
            at = begins.get(at, at - 1)

    def _find_problems(self, query: str) -> Iterator[str]:
        for at, name in self.parameters.items():
            if name not in PARAMETER_NAMES:
                yield _describe_unknown_parameter(query, at, name)
        for at, name in self.glued.items():
            yield (
                f"line {_find_line(query, at)}: :{name} stands right behind another word; write a blank before the"
                f" parameter, or \\:{name} where a path into JSON is meant"
            )
        for start, end in self.quotes:
            if found := _ESCAPED_COLON.search(query, start, end):
                yield (
                    f"line {_find_line(query, found.end() - 1)}: \\: stands in quotes, where a colon needs no backslash"
                    " and the database would see one; write : alone"
                )


def _find_end_of_comment(query: str, at: int, special: str, grammar: _Grammar) -> int | None:
    """Where the comment ends that begins here, beyond the query where it does not; ``None`` where none begins."""
    if special == "/*":
        if grammar.blank_after_dashes and query.startswith(("/*!", "/*M!"), at):
            return None
        return _find_end_of_block(query, at, nested=grammar.nested_comments)
    begins = {
        "--": not grammar.blank_after_dashes or query[at + 2 : at + 3].strip() == "",
        "#": grammar.hash_comments,
        "//": grammar.slash_comments,
    }
    if not begins.get(special, False):
        return None
    end = query.find("\n", at)
    return len(query) if end < 0 else end


def _find_end_of_block(query: str, at: int, *, nested: bool) -> int:
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(query, at):
        depth += 1 if mark[0] == "/*" and (nested or not depth) else -1 if mark[0] == "*/" else 0
        if depth == 0:
            return mark.end()
    return len(query) + 1


def _find_end_of_quote(query: str, at: int, special: str, grammar: _Grammar) -> int | None:
    """Where the quotes end that begin here, beyond the query where they do not; ``None`` where none begin."""
    if special == "[":
        found = _BRACKETS.match(query, at) if grammar.brackets else None
        return found.end() if found else len(query) + 1 if grammar.brackets else None
    if special == "$":
        tag = _DOLLARS.match(query, at) if grammar.dollars and not _is_in_word(query, at) else None
        return tag and _skip_past(query, tag[0], tag.end())
    if special not in _QUOTED:
        return None
    prefix = query[at - 1 : at].lower() if at and not _is_in_word(query, at - 1) else ""
    if grammar.q_quotes and special == "'" and prefix == "q":
        opening = query[at + 1 : at + 2]
        return _skip_past(query, f"{_PARTNER.get(opening, opening)}'", at + 2)
    if grammar.triple_quotes and query.startswith(special * 3, at):
        return _skip_past(query, special * 3, at + 3)
    escapes = grammar.double_backslash if special == '"' else special == "'" and (grammar.backslash or prefix == "e")
    found = (_ESCAPED if escapes else _QUOTED)[special].match(query, at)
    return found.end() if found else len(query) + 1


def _is_in_word(query: str, at: int) -> bool:
    return at > 0 and (query[at - 1].isalnum() or query[at - 1] in "_$")


def _skip_past(query: str, mark: str, start: int) -> int:
    found = query.find(mark, start)
    return len(query) + 1 if found < 0 else found + len(mark)


def _choose_readings(readings: Sequence[_Reading]) -> Sequence[_Reading]:
    """Those in which nothing is odd, and of these those that use both ends; all where none is better.

    A guess for ``check`` alone: the run reads by the grammar of its database.
    """
    plain = [reading for reading in readings if not reading.odd] or readings
    return [reading for reading in plain if reading.has_both_ends] or plain


def _describe_ambiguity(query: str, one: _Reading, other: _Reading) -> str:
    at = min(one.parameters.keys() ^ other.parameters.keys())
    name = one.parameters.get(at) or other.parameters[at]
    if name not in PARAMETER_NAMES:
        return _describe_unknown_parameter(query, at, name)
    spans = (*one.comments, *other.comments, *one.quotes, *other.quotes)
    start = max((start for start, end in spans if start <= at < end), default=at)
    mark = next((mark for mark in _ALIKE if query.startswith(mark, start)), "")
    hint = _ALIKE.get(mark, "write the comments and texts before it so that every database reads them alike")
    return (
        f"line {_find_line(query, at)}: whether :{name} is a parameter, or part of what {mark or 'stands before it'}"
        f" begins in line {_find_line(query, start)}, depends on the database; {hint}"
    )


def _describe_unknown_parameter(query: str, at: int, name: str) -> str:
    guess = did_you_mean(name, PARAMETER_NAMES, otherwise=".")
    given = ", ".join(f":{each}" for each in PARAMETER_NAMES)
    return (
        f"line {_find_line(query, at)}: it uses :{name}, which is not given{guess} Given are {given}; a colon that is"
        " meant as such is written \\:"
    )


def _find_line(query: str, at: int) -> int:
    return query.count("\n", 0, at) + 1
