"""Values that automata accept, and how they are written: compiled or by numpy, what Python's expressions find."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.runtime import automaton
from offline_capi.runtime.automaton import Rewriter, compile_expressions, make_rewriter

#: Of few characters, so that what they match is met often.
ATOMS = st.sampled_from(["a", "b", r"\d", "[ab]", "[a-c1]", "[b-]", r"\.", "1"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["?", "*", "+", "{2}", "{0,2}", "{1,3}", "{2,}"])).map(
            lambda one: f"(?:{one[0]}){one[1]}"
        ),
    ),
    max_leaves=6,
)
TEXTS = st.lists(st.one_of(st.none(), st.text("abc1.-é", max_size=7)), max_size=12)
WRITTEN = {ord("a"): ord("A"), ord("b"): ord("b"), ord("1"): ord("1")}


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr(automaton, "_automaton", None)


@given(expression=EXPRESSIONS, other=EXPRESSIONS, texts=TEXTS, start=st.integers(0, 3))
def test_values_are_accepted_as_pythons_expressions_match_them(
    expression: str, other: str, texts: list[str | None], start: int
) -> None:
    compiled = compile_expressions({"one": expression, "other": other})

    written = make_rewriter(compiled, {"one"}, WRITTEN).rewrite(pa.array(texts, pa.string()).slice(start))

    def expect(text: str | None) -> str | None:
        if text is None or not re.fullmatch(expression, text, re.ASCII) or re.fullmatch(other, text, re.ASCII):
            return None
        return text.translate({code: WRITTEN.get(code) for code in range(128)})

    written.validate(full=True)
    assert written.to_pylist() == [expect(text) for text in texts[start:]]


def test_what_was_written_before_a_cut_is_dropped() -> None:
    """States: dead, start, behind "+", behind "+4", behind digits. "+4" is cut off, again where more blanks follow."""
    moves = np.zeros((256, 5), np.uint16)
    moves[ord("+"), 1] = 2
    moves[ord("4"), 2] = 3
    moves[ord(" "), 1:] = np.arange(1, 5)
    for digit in b"0123456789":
        moves[digit, [1, 3, 4]] = 4
    accepts, cuts = np.array([0, 0, 0, 0, 1], bool), np.array([0, 0, 0, 1, 0], bool)
    written_as = bytes(byte if byte in b"0123456789" else 0 for byte in range(256))
    rewriter = Rewriter(moves, accepts, cuts, written_as, b"<")

    written = rewriter.rewrite(pa.array(["+4 56", "+456", "456", "+4", "", None, " 4 5", "+5", "9" * 60]))

    assert written.to_pylist() == ["<56", "<56", "<456", None, None, None, "<45", None, "<" + "9" * 60]
    assert rewriter.rewrite(pa.array([], pa.string())).to_pylist() == []
    assert rewriter.rewrite(pa.nulls(3, pa.string())).to_pylist() == [None] * 3


@pytest.mark.parametrize(
    "expression", ["^a", "a$", ".", "[^a]", r"\w", r"\b", "(a", "a)", "a{", "a{x}", "é", "*", "[a", "\\"]
)
def test_an_expression_that_is_not_known_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="not understood at character"):
        compile_expressions({"one": expression})


def test_no_expression_matches_nothing() -> None:
    empty = compile_expressions({})

    assert make_rewriter(empty, {"one"}, WRITTEN).rewrite(pa.array(["", "a"])).to_pylist() == [None, None]


def test_buffers_that_do_not_fit_are_refused() -> None:
    if automaton._automaton is None:
        return
    _, offsets, data = pa.array(["ab", "a"]).buffers()
    column = (offsets, data, b"", 0, 2)
    moves = np.zeros((256, 3), np.uint16)
    moves[ord("a"), 1:], moves[ord("b"), 2] = 2, 2
    tables = (moves, bytes([0, 0, 1]), bytes(3), bytes(range(256)), b"<")
    out = (np.zeros(3, np.int32), bytearray(1), bytearray(6))
    assert automaton._automaton.rewrite(column, tables, *out) == 2
    assert (out[0].tolist(), bytes(out[1]), bytes(out[2][:5])) == ([0, 3, 5], b"\x03", b"<ab<a")

    wrong = moves.copy()
    wrong[0, 0] = 3
    for some, of, room in (
        ((offsets, data, b"", 1, 2), tables, out),
        ((offsets, b"ab", b"", 0, 2), tables, out),
        (column, (wrong, *tables[1:]), out),
        (column, (moves[:255].copy(), *tables[1:]), out),
        (column, (moves, bytes(2), *tables[2:]), out),
        (column, (*tables[:2], bytes(2), *tables[3:]), out),
        (column, (*tables[:3], bytes(255), b"<"), out),
        (column, (np.zeros((256, 1), np.uint16), bytes(1), bytes(1), *tables[3:]), out),  # no start
        (column, tables, (np.zeros(2, np.int32), *out[1:])),
        (column, tables, (out[0], bytearray(0), out[2])),
        (column, tables, (*out[:2], bytearray(5))),
    ):
        with pytest.raises(ValueError, match=r"shorter|outside|automaton|too short"):
            automaton._automaton.rewrite(some, of, *room)
