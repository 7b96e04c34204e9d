"""Finite automata over bytes: which values of a column match expressions, and those values rewritten as they are read.

For the many values of a column that are written plainly: one call for a column, and one step a byte whatever the
expressions are. The compiled module ``_automaton`` does it where it could be built, numpy otherwise; both give the same
values, but numpy accepts none of more than ``MAX_NUMPY_BYTES``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from offline_capi.runtime.column_bytes import bytes_of, describe_column
from offline_capi.runtime.compiled import load_compiled
from offline_capi.runtime.join import join_columns

__all__ = ["DEAD", "START", "Automaton", "Rewriter", "compile_expressions", "is_compiled", "make_rewriter"]

_automaton = load_compiled("_automaton")


def is_compiled() -> bool:
    """Whether the compiled module is there: numpy takes several times as long as polars' expressions."""
    return _automaton is not None


#: The state from which nothing is accepted any more, and the one before the first byte.
DEAD, START = 0, 1
BYTES = 256
MAX_STATES = 2**16 - 1
MAX_BYTES = 2**31 - 1
#: Without the compiled module: rows looked at together, and the longest of their values.
NUMPY_ROWS, MAX_NUMPY_BYTES = 8_192, 64
DIGITS = frozenset(b"0123456789")


@dataclass(frozen=True, slots=True, eq=False)
class Automaton:
    """``moves[byte, state]`` is the next state, ``labels[state]`` names the expressions that match what was read."""

    moves: NDArray[np.uint16]
    labels: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Rewriter:
    """How accepted values are written: ``before``, and then for each byte what ``written_as`` has for it, 0: nothing.

    In a state of ``cuts``, what was written of the value up to there is dropped. All that is written is ASCII.
    """

    moves: NDArray[np.uint16]
    accepts: NDArray[np.bool_]
    cuts: NDArray[np.bool_]
    written_as: bytes
    before: bytes = b""

    def rewrite(self, text: pa.StringArray) -> pa.StringArray:
        """Each value as it is written, null where it is not accepted.

        Raises ``ValueError`` where that might be more than 2 GiB.
        """
        if _automaton is None:
            return self._rewrite_with_numpy(text)
        rows = len(text)
        size = len(bytes_of(text)[1]) + rows * len(self.before) + 1
        if size > MAX_BYTES:
            raise ValueError("a column of more than 2 GiB")
        offsets, validity = np.empty(rows + 1, np.int32), np.empty((rows + 7) // 8, np.uint8)
        out = pa.allocate_buffer(size, resizable=True)
        tables = (self.moves, self.accepts, self.cuts, self.written_as, self.before)
        accepted = _automaton.rewrite(describe_column(text), tables, offsets, validity, out)
        out.resize(int(offsets[-1]))
        valid = None if accepted == rows else pa.py_buffer(validity)
        return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), out, valid, rows - accepted)

    def _rewrite_with_numpy(self, text: pa.StringArray) -> pa.StringArray:
        """All values at once, byte by byte; one of more than ``MAX_NUMPY_BYTES`` is not accepted."""
        parts = [self._rewrite_rows(text.slice(start, NUMPY_ROWS)) for start in range(0, len(text), NUMPY_ROWS)]
        rewritten = pa.concat_arrays(parts) if parts else pa.array([], pa.string())
        return join_columns(self.before.decode(), rewritten) if self.before and parts else rewritten

    def _rewrite_rows(self, text: pa.StringArray) -> pa.StringArray:
        offsets, content = bytes_of(text)
        lengths = np.diff(offsets) if len(offsets) > len(text) else np.zeros(len(text), np.int32)
        width, states = int(lengths.max(initial=0, where=lengths <= MAX_NUMPY_BYTES)), self.moves.shape[1]
        places = np.arange(width)
        # A column for each value: its bytes, and behind them a code that changes no state and writes nothing.
        codes = content.astype(np.intp).take(places[:, np.newaxis] + (offsets[:-1] - offsets[0]), mode="clip")
        codes[places[:, np.newaxis] >= lengths] = BYTES
        # Indices as numpy wants them, and results where it has room: each step would be converted and buffered.
        moves = np.concatenate([self.moves.reshape(-1), np.arange(states)]).astype(np.intp)
        state, cut_up_to = np.full(len(text), START), np.zeros(len(text), np.intp)
        is_cut, at = np.zeros(len(text), np.bool_), np.empty(len(text), np.intp)
        for place, steps in enumerate(codes * states):
            moves.take(np.add(steps, state, out=at), out=state, mode="clip")
            if self.cuts.take(state, out=is_cut, mode="clip").any():
                cut_up_to[is_cut] = place + 1
        accepted = self.accepts[state] & (lengths <= MAX_NUMPY_BYTES)
        if text.null_count:
            accepted &= text.is_valid().to_numpy(zero_copy_only=False)
        written = np.frombuffer(self.written_as + b"\0", np.uint8)[codes.T]
        kept = (written != 0) & accepted[:, np.newaxis] & (places >= cut_up_to[:, np.newaxis])
        ends = np.concatenate([[0], kept.sum(axis=1).cumsum()]).astype(np.int32)
        valid = pa.array(accepted).buffers()[1]
        return pa.StringArray.from_buffers(len(text), pa.py_buffer(ends), pa.py_buffer(written[kept]), valid)


def make_rewriter(automaton: Automaton, labels: Collection[str], written_as: Mapping[int, int]) -> Rewriter:
    """Values that match all of ``labels`` and no other expression; bytes that ``written_as`` lacks are dropped."""
    accepts = np.array([own == set(labels) for own in automaton.labels])
    return Rewriter(
        automaton.moves, accepts, np.zeros(len(accepts), bool), bytes(written_as.get(byte, 0) for byte in range(BYTES))
    )


# ---------------------------------------------------------------------------------------------- from expressions


def compile_expressions(expressions: Mapping[str, str]) -> Automaton:
    """One automaton for all expressions, each by its label; a whole value matches or does not.

    Expressions as Python's ``re`` writes them, of characters in ASCII: ``\\d``, ``[a-z_]``, groups without meaning of
    their own, ``|``, ``?``, ``*``, ``+``, ``{2,3}``. Raises ``ValueError`` for all else, and where more than 65,534
    states would be needed.
    """
    steps = _Steps()
    start, labels = steps.add_state(), {}
    for label, expression in expressions.items():
        own = steps.add_state()
        steps.free[start].append(own)
        labels[steps.add(_Reader(expression).read_all(), own)] = label
    return _determinize(steps, start, labels)


class _Text(NamedTuple):
    """One of these bytes."""

    bytes_: frozenset[int]


class _Sequence(NamedTuple):
    parts: list[_Node]


class _Choice(NamedTuple):
    parts: list[_Node]


class _Repeat(NamedTuple):
    part: _Node
    least: int
    most: int | None


_Node = _Text | _Sequence | _Choice | _Repeat


class _Reader:
    """An expression read from left to right."""

    def __init__(self, expression: str) -> None:
        self._expression, self._at = expression, 0

    def read_all(self) -> _Node:
        node = self._read_choice()
        if self._at < len(self._expression):
            raise self._refuse()
        return node

    def _refuse(self) -> ValueError:
        return ValueError(f"not understood at character {self._at} of the expression {self._expression!r}")

    def _take(self, wanted: str) -> bool:
        found = self._expression.startswith(wanted, self._at)
        self._at += len(wanted) if found else 0
        return found

    def _next(self) -> str:
        if self._at >= len(self._expression):
            raise self._refuse()
        self._at += 1
        return self._expression[self._at - 1]

    def _read_choice(self) -> _Node:
        parts = [self._read_sequence()]
        while self._take("|"):
            parts.append(self._read_sequence())
        return parts[0] if len(parts) == 1 else _Choice(parts)

    def _read_sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._at < len(self._expression) and self._expression[self._at] not in "|)":
            parts.append(self._read_repeated(self._read_part()))
        return _Sequence(parts)

    def _read_part(self) -> _Node:
        if self._take("(?:") or self._take("("):
            node = self._read_choice()
            if not self._take(")"):
                raise self._refuse()
            return node
        if self._take("["):
            return self._read_set()
        if self._expression[self._at] in "^$.?*+{":
            raise self._refuse()
        return _Text(self._read_character())

    def _read_set(self) -> _Node:
        if self._expression.startswith("^", self._at):
            raise self._refuse()
        found: frozenset[int] = frozenset()
        while not self._take("]"):
            first = self._read_character()
            if self._expression.startswith("-", self._at) and not self._expression.startswith("-]", self._at):
                self._at += 1
                found |= frozenset(range(min(first), max(self._read_character()) + 1))
            else:
                found |= first
        return _Text(found)

    def _read_character(self) -> frozenset[int]:
        one = self._next()
        if one == "\\":
            one = self._next()
            if one == "d":
                return DIGITS
            if one.isalnum():
                raise self._refuse()
        if not one.isascii():
            raise self._refuse()
        return frozenset(one.encode())

    def _read_repeated(self, node: _Node) -> _Node:
        for mark, least, most in (("?", 0, 1), ("*", 0, None), ("+", 1, None)):
            if self._take(mark):
                return _Repeat(node, least, most)
        if not self._take("{"):
            return node
        written, closed, _ = self._expression[self._at :].partition("}")
        first, comma, last = written.partition(",")
        if not (closed and first.isdecimal() and (not last or last.isdecimal())):
            raise self._refuse()
        self._at += len(written) + 1
        return _Repeat(node, int(first), int(last) if last else None if comma else int(first))


class _Steps:
    """States with steps that read a byte, and free ones that read nothing."""

    def __init__(self) -> None:
        self.free: list[list[int]] = []
        self.reading: list[tuple[frozenset[int], int] | None] = []

    def add_state(self) -> int:
        self.free.append([])
        self.reading.append(None)
        return len(self.free) - 1

    def add(self, node: _Node, start: int) -> int:
        """The steps of a node from ``start`` on, from which nothing leads yet; the state in which it was read."""
        if isinstance(node, _Text):
            end = self.add_state()
            self.reading[start] = (node.bytes_, end)
            return end
        if isinstance(node, _Sequence):
            for part in node.parts:
                start = self._add_behind(part, start)
            return start
        end = self.add_state()
        if isinstance(node, _Choice):
            for part in node.parts:
                self.free[self._add_behind(part, start)].append(end)
            return end
        for _ in range(node.least):
            start = self._add_behind(node.part, start)
        self.free[start].append(end)
        if node.most is None:
            self.free[self._add_behind(node.part, start)].append(start)
        for _ in range(node.least, node.most or 0):
            start = self._add_behind(node.part, start)
            self.free[start].append(end)
        return end

    def _add_behind(self, node: _Node, state: int) -> int:
        own = self.add_state()
        self.free[state].append(own)
        return self.add(node, own)

    def follow_free(self, state: int) -> frozenset[int]:
        """The state, and all that free steps lead to."""
        found, left = {state}, [state]
        while left:
            new = [one for one in self.free[left.pop()] if one not in found]
            found.update(new)
            left += new
        return frozenset(found)


def _determinize(steps: _Steps, start: int, labels: Mapping[int, str]) -> Automaton:
    """The subset construction: a state for each set of states that bytes may lead to."""
    classes, classes_of = _find_classes(steps)

    @cache
    def follow(state: int) -> frozenset[int]:
        """Where one can be behind ``state``: of those from which nothing is read, only the labelled ones matter."""
        return frozenset(one for one in steps.follow_free(state) if steps.reading[one] or one in labels)

    found = [frozenset[int](), follow(start)]
    numbers = {found[START]: START, found[DEAD]: DEAD}  # without any expression they are the same
    moves: list[list[int]] = []
    for states in found:  # grows
        reached: list[set[int]] = [set() for _ in range(int(classes.max()) + 1)]
        for state in states:
            if (step := steps.reading[state]) is not None:
                for one in classes_of[step[0]]:
                    reached[one] |= follow(step[1])
        row = []
        for behind in map(frozenset, reached):
            if behind not in numbers:
                numbers[behind] = len(found)
                found.append(behind)
            row.append(numbers[behind])
        moves.append(row)
        if len(found) > MAX_STATES:
            raise ValueError("expressions of more than 65,534 states")
    named = tuple(frozenset(labels[state] for state in states if state in labels) for states in found)
    return Automaton(np.array(moves, np.uint16).T.take(classes, axis=0), named)


def _find_classes(steps: _Steps) -> tuple[NDArray[np.intp], dict[frozenset[int], list[int]]]:
    """The class of each byte, of bytes that no step tells apart, and the classes of each set of bytes."""
    sets = {step[0] for step in steps.reading if step is not None}
    kinds: dict[tuple[bool, ...], int] = {}
    classes = [kinds.setdefault(tuple(byte in one for one in sets), len(kinds)) for byte in range(BYTES)]
    return np.array(classes, np.intp), {one: sorted({classes[byte] for byte in one}) for one in sets}
