"""YAML text → plain data, with the line of every node, and without secrets.

Scalars keep what their author wrote. Only ``true`` and ``false``, ``null`` and ``~``, and numbers in plain decimal
(``7``, ``-0.50``) are more than text: ``NO`` is Norway, ``yes`` is three letters, ``2026-11-24``, ``12:30``, ``007``,
``1_000`` and ``1e5`` are texts. Where a setting wants a boolean or a number, such a text is read as one there. Keys are
always texts: ``map: {1: gold, yes: silver}`` has the keys ``"1"`` and ``"yes"``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import yaml

from offline_capi.errors import Problem

__all__ = ["Document", "Loc", "Places", "explain_secret", "format_path", "read_document"]

Loc = tuple[str | int, ...]

# libyaml's composer where PyYAML was built with it: ten times faster, and 300 files are read at each DAG parse.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)\.[0-9]+")
_WORDS: Mapping[str, bool | None] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
}  # fmt: skip
_TAGS = {"tag:yaml.org,2002:" + name for name in ("str", "int", "float", "bool", "null", "timestamp", "merge", "value")}
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "<<"

_SECRET_NAME = re.compile(
    r"(?i)(access_?|page_?|system_user_?|bearer_?|auth_?)?token|(app_?|client_?)?secret|passw(or)?d|pwd|passphrase"
    r"|(api|private|secret)_?key|credentials?|authorization"
)
_SECRET_VALUE = re.compile(
    r"EAA[A-Za-z0-9]{12,}"  # Meta's user, system user and page tokens
    r"|\b\d{10,}\|[\w-]{16,}"  # Meta's app tokens: app id, bar, secret
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
)
_URL_PASSWORD = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@'\"]*:[^/\s@'\"]+@")
# Below these, keys are names of the author's: a column may well be called "token".
_FREE_KEYS = {"map", "properties", "row", "expect", "replace"}

INLINE_ADVICE = (
    "holds a secret, which must never stand in this file; write a reference instead: {env: NAME_OF_VARIABLE}, "
    "{file: /run/secrets/name} or {connection: airflow_connection_id}. If this file was ever shared, renew the secret"
)
URL_ADVICE = (
    "holds a URL with a password, which must never stand in this file; put the URL into the environment as "
    "OFFLINE_CAPI_CONN_<NAME> (or an Airflow connection) and name it here. If this file was ever shared, "
    "change the password"
)
_TOO_DEEP = "nests too deeply; no part of the grammar is more than ten levels deep"
_MANY_DASHES = re.compile(r"(?:- +){500}")
_QUOTED = re.compile(r"\".*\"|'.*'")
_MAX_COLLECTIONS = 200_000  # of lists and mappings, aliases written out: nested aliases can make a small file huge

_SYNTAX: tuple[tuple[str, str], ...] = (
    ("found character '\\t'", "a tab cannot indent YAML; use spaces"),
    ("cannot start any token", "a value cannot begin like this (a tab, @, ` or %); put it in quotes"),
    ("mapping values are not allowed", "a second \": \" in one line, or a line indented too far; quote the value"),
    ("could not find expected ':'", "a line without \": \" where a key is expected"),
    ("did not find expected key", "a line that is indented differently from its neighbours"),
    ("did not find expected '-' indicator", "a line that is indented differently from the list it stands in"),
    ("did not find expected ',' or ']'", "a list that is not closed with ]"),
    ("did not find expected ',' or '}'", "a mapping that is not closed with }"),
    ("did not find expected node content", "a list or mapping that is not closed, or a value that is missing"),
    ("expected alphabetic or numeric character", "a value that begins with * or &; put it in quotes"),
    ("block sequence entries are not allowed", "a list item (-) that cannot stand here"),
    ("unknown escape character", "a backslash in double quotes; use single quotes"),
    ("unexpected end of stream", "a quote that is never closed"),
    ("undefined alias", "an alias (*name) without its anchor (&name); put a value that begins with * in quotes"),
    ("duplicate anchor", "the same anchor (&name) twice"),
    ("expected a single document", "more than one document; one file describes one upload"),
    ("but found another document", "more than one document; one file describes one upload"),
)  # fmt: skip


class DecimalNumber(float):
    """A float that knows how it was written: ``v: 1.10`` is 1.1 as a number and ``1.10`` as a text."""

    text: str

    def __new__(cls, text: str) -> DecimalNumber:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text


def format_path(loc: Loc) -> str:
    """``("user_data", "em", 1)`` → ``user_data.em[1]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _parse_path(path: str) -> Loc:
    parts = re.findall(r"\[(\d+)\]|([^.\[\]]+)", path)
    return tuple(int(index) if index else name for index, name in parts)


@dataclass(frozen=True)
class Places:
    """Where the nodes of one file stand."""

    file: str
    lines: Mapping[Loc, int] = field(default_factory=dict)
    todos: Mapping[int, str] = field(default_factory=dict)
    """The text of each ``# TODO:`` at the end of a line, or alone above it."""

    def find_line(self, loc: Loc) -> int:
        """The line of the node at ``loc``, or of the nearest node around it."""
        return next((self.lines[loc[:n]] for n in range(len(loc), 0, -1) if loc[:n] in self.lines), 1)

    def format_position(self, path: str) -> str:
        """``file:line`` of a dotted path."""
        return f"{self.file}:{self.find_line(_parse_path(path))}"


@dataclass(frozen=True)
class Document:
    """One YAML file as data: ``withheld`` are the positions of secrets, whose values were never read."""

    data: object
    places: Places
    problems: tuple[Problem, ...] = ()
    withheld: frozenset[Loc] = frozenset()

    def is_withheld(self, loc: Loc) -> bool:
        """Whether something at or around ``loc`` was withheld, so that further complaints about it mean nothing."""
        return any(loc[:n] in self.withheld for n in range(len(loc) + 1))


def read_document(raw: bytes, file: str) -> Document:
    """The data of a YAML file. What is wrong with it as YAML is in ``problems``; then ``data`` is ``None``."""
    try:
        text = raw.decode("utf-8-sig")
        if _is_nested_too_deeply(text):
            return _build_unreadable(file, None, _TOO_DEEP)
        node = yaml.compose(text, Loader=_LOADER)
    except UnicodeDecodeError as error:
        return _build_unreadable(
            file, raw.count(b"\n", 0, error.start) + 1, "is not UTF-8 here; save the file as UTF-8"
        )
    except yaml.MarkedYAMLError as error:
        sentence = _translate_syntax_error(str(error.problem or error.context))
        # What is never closed is easiest to find where it was opened.
        opened = error.context_mark if "closed" in sentence else None
        mark = opened or error.problem_mark or error.context_mark
        return _build_unreadable(file, mark.line + 1 if mark else None, sentence)
    except yaml.YAMLError:
        return _build_unreadable(file, None, "holds characters that YAML does not allow")
    reader = _YamlReader(file)
    try:
        data = reader.read_value(node, ()) if node is not None else {}
    except RecursionError:
        return _build_unreadable(file, None, _TOO_DEEP)
    reader.find_stray_secrets(text)
    places = Places(file, reader.lines, _find_todos(text))
    return Document(data, places, tuple(reader.problems), frozenset(reader.withheld))


def _find_todos(text: str) -> dict[int, str]:
    """By line, as ``init`` writes them."""
    found = {}
    for number, line in enumerate(text.split("\n"), start=1):
        before, mark, todo = line.partition("# TODO: ")
        if mark and not (explain_secret(todo) or _SECRET_NAME.search(todo)):
            found[number if before.strip() else number + 1] = f"TODO: {todo.strip()}"
    return found


def _is_nested_too_deeply(text: str) -> bool:
    """Whether so much is opened and not closed that libyaml would run out of stack, which ends the process."""
    steps = (1 if mark in "[{" else -1 for mark in re.findall(r"[\[\]{}]", text))
    return max(accumulate(steps), default=0) > 5000 or _MANY_DASHES.search(text) is not None


def _build_unreadable(file: str, line: int | None, message: str) -> Document:
    return Document(None, Places(file), (Problem(file, line, "", message),))


def _translate_syntax_error(problem: str) -> str:
    """Our words for the parser's; quotes from the file are left out, for they may be a secret."""
    ours = next((ours for theirs, ours in _SYNTAX if theirs in problem), None)
    return f"is not valid YAML: {ours or _QUOTED.sub('…', problem)}"


def explain_secret(text: str) -> str | None:
    """What to do with a text that holds a secret; ``None`` for any other."""
    if _SECRET_VALUE.search(text):
        return INLINE_ADVICE
    return URL_ADVICE if _URL_PASSWORD.search(text) else None


class _YamlReader:
    """Walks composed nodes once: data out, lines and problems noted on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[Loc, int] = {}
        self.problems: list[Problem] = []
        self.withheld: set[Loc] = set()
        self._open: set[int] = set()
        self._collections = 0

    def read_value(self, node: yaml.Node, loc: Loc) -> object:
        self.lines.setdefault(loc, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._read_scalar(node, loc)
        if not self._enter(node, loc):
            return None
        data = self._read_mapping(node, loc) if isinstance(node, yaml.MappingNode) else self._read_sequence(node, loc)
        self._open.discard(id(node))
        return data

    def _enter(self, node: yaml.Node, loc: Loc) -> bool:
        """Whether a collection may be walked: aliases can make a file endless, or larger than memory."""
        self._collections += 1
        fits = self._collections < _MAX_COLLECTIONS and id(node) not in self._open
        if fits:
            self._open.add(id(node))
        elif self._collections <= _MAX_COLLECTIONS:
            self._note(node, loc, "an alias (*name) that contains itself, or multiplies beyond all use")
        return fits

    def _read_scalar(self, node: yaml.ScalarNode, loc: Loc) -> object:
        text = str(node.value)
        advice = explain_secret(text)
        if advice or self._is_secret(loc, text):
            self._withhold(node, loc, advice or INLINE_ADVICE)
            return None
        if node.tag not in _TAGS:
            self._note(node, loc, "a tag (!name) has no meaning here; remove it")
        return text if node.style or node.tag == _TEXT else _parse_plain(text)

    def _is_secret(self, loc: Loc, text: str) -> bool:
        key = loc[-1] if loc else None
        named = isinstance(key, str) and _SECRET_NAME.fullmatch(key) is not None
        return named and text not in _WORDS and not _FREE_KEYS.intersection(loc)

    def _withhold(self, node: yaml.Node, loc: Loc, advice: str) -> None:
        self.withheld.add(loc)
        self._note(node, loc, advice)

    def _read_sequence(self, node: yaml.Node, loc: Loc) -> list[object]:
        return [self.read_value(item, (*loc, index)) for index, item in enumerate(node.value)]

    def _read_mapping(self, node: yaml.Node, loc: Loc) -> dict[str, object]:
        data: dict[str, object] = {}
        for key, line, value in self._list_pairs(node, loc):
            self.lines[(*loc, key)] = line
            data[key] = self.read_value(value, (*loc, key))
        return data

    def _list_pairs(self, node: yaml.Node, loc: Loc) -> Iterator[tuple[str, int, yaml.Node]]:
        """Keys once each: the mapping's own, then those merged in with ``<<`` that it has not."""
        seen: dict[str, int] = {}
        merged: list[yaml.Node] = []
        for key_node, value in node.value:
            key = self._read_key(key_node, loc)
            line = key_node.start_mark.line + 1
            if key == _MERGE and not key_node.style:
                merged.append(value)
            elif key is not None and key in seen:
                self._note(key_node, (*loc, key), f"stands twice; the first is in line {seen[key]}")
            elif key is not None:
                seen[key] = line
                yield key, line, value
        yield from self._merge_pairs(merged, seen, loc)

    def _merge_pairs(
        self, nodes: list[yaml.Node], seen: dict[str, int], loc: Loc
    ) -> Iterator[tuple[str, int, yaml.Node]]:
        for node in nodes:
            parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
            for part in parts:
                if not isinstance(part, yaml.MappingNode):
                    self._note(part, (*loc, _MERGE), "needs an alias of a mapping, such as *defaults")
                elif self._enter(part, loc):
                    fresh = [pair for pair in self._list_pairs(part, loc) if pair[0] not in seen]
                    seen.update((key, line) for key, line, _ in fresh)
                    yield from fresh
                    self._open.discard(id(part))

    def _read_key(self, node: yaml.Node, loc: Loc) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._note(node, loc, "a key must be a text; put a text that begins with [, { or * in quotes")
            return None
        advice = explain_secret(str(node.value))
        if advice:
            self._withhold(node, (*loc, "…"), advice)
        return None if advice else str(node.value)

    def find_stray_secrets(self, text: str) -> None:
        """Secrets that are in no node: in a comment, say."""
        known = {problem.line for problem in self.problems}
        for number, line in enumerate(text.split("\n"), start=1):
            advice = explain_secret(line) if number not in known else None
            if advice:
                self.problems.append(Problem(self.file, number, "", f"this line {advice}"))

    def _note(self, node: yaml.Node, loc: Loc, message: str) -> None:
        self.problems.append(Problem(self.file, node.start_mark.line + 1, format_path(loc), message))


def _parse_plain(text: str) -> object:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return DecimalNumber(text) if _DECIMAL.fullmatch(text) else text
