"""Phone numbers in their common shapes (digits, separators, ``+``), by automata made of the library's metadata.

An automaton only ever accepts: where it does not, or where more of the library's rules would be needed, the library
decides (``phones.read_phone``). What both decide they decide alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import PhoneMetadata, PhoneNumberDesc

from offline_capi.identity import placeholders
from offline_capi.identity.text import keep_ascii, list_codes, strip_zero_fraction, trim_text
from offline_capi.runtime.automaton import DEAD, START, Rewriter, compile_expressions
from offline_capi.runtime.column_bytes import holds
from offline_capi.runtime.join import remove_bytes

__all__ = ["KINDS", "list_lengths", "load_regions", "recognise_phones"]

KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip
_SEPARATORS = b" ().-/"
_DIGITS = b"0123456789"


def recognise_phones(text: pa.StringArray, country: pa.StringArray) -> pa.StringArray:
    """Normal forms of the common shapes; null where the library has to decide.

    ``country`` is where each is read, alpha-2 in lower case.
    """
    if holds(text, ".0"):
        text = strip_zero_fraction(trim_text(text))
    found = _rewrite_each(text, country)
    rest = pc.and_(pc.is_valid(text), pc.is_null(found))
    if not pc.any(rest).as_py():
        return found
    compact = remove_bytes(keep_ascii(text.filter(rest)), _SEPARATORS)
    international = _add_plus(compact, country.filter(rest))
    if not pc.any(pc.starts_with(international, "+")).as_py():
        return found
    return pc.replace_with_mask(found, rest, _rewrite_each(international, _find_main_countries(international)))


def _rewrite_each(text: pa.StringArray, country: pa.StringArray) -> pa.StringArray:
    """Each as it is read in its country; null where there is none."""
    countries = list_codes(country)
    if len(countries) == 1:
        return _rewrite(text, countries[0])
    found = pa.nulls(len(text), pa.string())
    for one in filter(None, countries):
        where = pc.fill_null(pc.equal(country, one), False)
        found = pc.replace_with_mask(found, where, _rewrite(text.filter(where), one))
    return found


def _rewrite(text: pa.StringArray, country: str | None) -> pa.StringArray:
    rewriter = _load_rewriter(country) if country else None
    return pa.nulls(len(text), pa.string()) if rewriter is None else rewriter.rewrite(text)


def _add_plus(compact: pa.Array, country: pa.Array) -> pa.Array:
    """``+44…`` for ``0044…`` or ``01144…``, in countries where no national number begins like that."""
    zero = pc.fill_null(pc.starts_with(compact, "0"), False)
    if not pc.any(zero).as_py():
        return compact
    return pc.replace_with_mask(compact, zero, _exit_code_as_plus(compact.filter(zero), country.filter(zero)))


def _exit_code_as_plus(compact: pa.Array, country: pa.Array) -> pa.Array:
    codes: dict[str | None, list[str]] = {}
    for one in filter(None, list_codes(country)):
        codes.setdefault(_exit_codes(one), []).append(one)
    for code, countries in codes.items():
        if code is not None:
            plus = pc.replace_substring_regex(compact, f"^(?:{code})([1-9])", r"+\1")
            there = pc.fill_null(pc.is_in(country, value_set=pa.array(countries, pa.string())), False)
            compact = pc.if_else(there, plus, compact)
    return compact


@cache
def _exit_codes(country: str) -> str | None:
    """What stands for ``+`` beyond doubt: the country's own ``00``; in North America, where no number has a zero in
    front, what others write as well."""
    home = PhoneMetadata.metadata_for_region(country.upper())
    if home is None:
        return None
    if home.country_code == 1:
        return "0011|011|00"
    return "00" if home.international_prefix == "00" else None


def _find_main_countries(compact: pa.Array) -> pa.Array:
    """``gb`` for ``+442079460958``; null where no calling code stands."""
    words = pc.utf8_slice_codeunits(compact, 0, 4).dictionary_encode()
    countries = pa.array([_find_main_country(head) for head in words.dictionary.to_pylist()], pa.string())
    return countries.take(words.indices)


@cache
def _find_main_country(head: str) -> str | None:
    known = (head[1:end] for end in (2, 3, 4) if head.startswith("+"))
    return next(
        (load_regions()[int(code)][0].lower() for code in known if code.isdecimal() and int(code) in load_regions()),
        None,
    )


@cache
def load_regions() -> dict[int, tuple[str, ...]]:
    """The countries of each calling code, the main one first."""
    return dict(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)


# ---------------------------------------------------------------------------------------------- numberings


class _Numbering(NamedTuple):
    """How numbers are written in a country.

    ``main``: what stands behind ``+`` and the calling code is read in this country. ``prefix``: an expression, where
    more than the trunk prefix may stand in front.
    """

    code: str
    main: bool
    trunk: str
    prefix: str | None
    exit_code: str | None
    kinds: str
    general: str
    lengths: frozenset[int]


@cache
def _load_numbering(country: str) -> _Numbering | None:
    """The library's metadata of a country as expressions; ``None`` where it has none."""
    region = country.upper()
    home = PhoneMetadata.metadata_for_region(region)
    if home is None:
        return None
    prefix = home.national_prefix_for_parsing or ""
    trunk = home.national_prefix or "" if prefix else ""
    return _Numbering(
        code=str(home.country_code),
        main=load_regions()[int(home.country_code or 0)][0] == region,
        trunk=trunk,
        prefix=None if prefix == trunk else prefix,
        exit_code=None if home.country_code == 1 else home.international_prefix,
        kinds="|".join(_list_patterns(home, KINDS)),
        # In North America every kind lies inside the general pattern; elsewhere (Germany's 49…) the library needs both.
        general="" if home.country_code == 1 else "|".join(_list_patterns(home, ("general_desc",))),
        lengths=frozenset(list_lengths(home)),
    )


def _list_patterns(home: PhoneMetadata, kinds: tuple[str, ...]) -> Iterator[str]:
    """Of every country that shares the calling code, unless leading digits pick it: the library tries them in turn.

    Kinds with lengths that home or the main country does not have (Canada's 310-1234) are left out: whether a prefix
    is cut off those, only the library knows.
    """
    regions = load_regions().get(home.country_code or 0, ())
    lengths = list_lengths(home) & list_lengths(PhoneMetadata.metadata_for_region(regions[0]) if regions else None)
    for region in regions:
        shared = PhoneMetadata.metadata_for_region(region)
        if shared is None or (shared.leading_digits and region != home.id):
            continue
        described: Iterator[PhoneNumberDesc | None] = (getattr(shared, kind) for kind in kinds)
        yield from (
            kind.national_number_pattern
            for kind in described
            if kind and kind.national_number_pattern and set(kind.possible_length) <= lengths
        )


def list_lengths(home: PhoneMetadata | None) -> set[int]:
    """How many digits the numbers of a country may have."""
    return set(home.general_desc.possible_length) if home and home.general_desc else set()


# ---------------------------------------------------------------------------------------------- as automata


class _State(NamedTuple):
    """What is known behind some characters of a number.

    ``codes`` and ``trunk`` are what is missing of a calling code and of the trunk prefix that may stand here.
    ``national`` is a state of the country's numbers, and ``front`` one of what must not stand in front of them.
    """

    codes: tuple[str, ...]
    trunk: str
    national: int
    front: int
    is_changed: bool


@cache
def _load_rewriter(country: str) -> Rewriter | None:
    """Accepts numbers with the country's calling code, its trunk prefix, both or none; writes code and number."""
    numbering = _load_numbering(country)
    if numbering is None or not numbering.kinds:
        return None
    try:
        steps = _Steps(numbering)
    except ValueError:  # a newer library may have expressions that automata do not know
        return None
    numbers: dict[_State | None, int] = {None: DEAD, steps.start: START}
    found, moves = list(numbers), []
    for state in found:  # grows
        row = [DEAD] * 256
        for byte in _SEPARATORS:
            row[byte] = numbers[state]
        for byte in b"+" + _DIGITS:
            reached = None if state is None else steps.read(state, byte)
            if reached not in numbers:
                numbers[reached] = len(found)
                found.append(reached)
            row[byte] = numbers[reached]
        moves.append(row)
    return Rewriter(
        moves=np.ascontiguousarray(np.array(moves, np.uint16).T),
        accepts=np.array([state is not None and steps.is_number(state) for state in found]),
        # Code and prefix are cut off: no state but the one behind them is one in which no digit of a number was read.
        cuts=np.array([state is not None and state != steps.start and state.national == START for state in found]),
        written_as=bytes(byte if byte in _DIGITS else 0 for byte in range(256)),
        before=numbering.code.encode(),
    )


class _Steps:
    """How a number of a country is read, character by character."""

    def __init__(self, numbering: _Numbering) -> None:
        nobodys = sorted(one for one in placeholders.DIGITS if len(one) in numbering.lengths)
        self._national = compile_expressions(
            {"kind": numbering.kinds, "general": numbering.general or "[0-9]*", "nobody's": "|".join(nobodys)}
        )
        # "([2-9]\\d{6})$|1": a number without its area code, to which the library adds it, or the prefix.
        whole, _, prefix = (numbering.prefix or "").rpartition("$")
        unwanted = {"exit code": numbering.exit_code, "prefix": prefix.removeprefix("|"), "whole": whole}
        self._front = compile_expressions({label: one for label, one in unwanted.items() if one})
        self._national_moves, self._front_moves = (
            {byte: one.moves[byte].tolist() for byte in b"+" + _DIGITS} for one in (self._national, self._front)
        )
        codes = [f"+{numbering.code}"] if numbering.main else []
        codes += [numbering.code] if numbering.code != numbering.trunk else []  # North America's 1 is the trunk prefix
        # Where the prefix may be empty, the library may change a number that has none.
        is_changed = "prefix" in self._front.labels[START]
        self._behind_code = _State((), numbering.trunk, START, START, is_changed)
        self.start = self._behind_code._replace(codes=tuple(codes))

    def read(self, state: _State, byte: int) -> _State | None:
        """The state behind one more character, ``None`` where only the library knows how to go on."""
        character = chr(byte)
        codes = tuple(one[1:] for one in state.codes if one[0] == character) if state.codes else ()
        if "" in codes:
            return self._behind_code
        front = self._front_moves[byte][state.front]
        unwanted = self._front.labels[front] - {"whole"}
        if state.trunk == character:
            return None if "exit code" in unwanted else _State((), "", START, front, is_changed=False)
        trunk = state.trunk[1:] if state.trunk[:1] == character else ""
        national = self._national_moves[byte][state.national]
        if unwanted or (national == DEAD and not codes and not trunk):
            return None
        return _State(codes, trunk, national, front, state.is_changed)

    def is_number(self, state: _State) -> bool:
        """Whether what was read is a number that needs no more of the library's rules."""
        is_changed = state.is_changed or "whole" in self._front.labels[state.front]
        return self._national.labels[state.national] == {"kind", "general"} and not is_changed
