"""Where the rows of a CSV end: blocks of whole rows, with the lines whose quotes cannot be trusted made malformed.

RFC 4180 (sections 2.5 to 2.7): a quote opens a value only at its beginning and closes it only at its end; inside, a
quote is written twice. What breaks this, and what it costs:

- text after a closing quote costs its line;
- a quote that is still open where its value should have ended, or an odd number of quotes inside an unquoted value
  while the file quotes others, refuses the file: which of the following lines are rows cannot be told;
- a quoted value whose lines are rows of their own (as many columns as the header in a line between its first and last,
  or as many and more in both of these) has swallowed them: each of its lines is malformed. Two stray quotes far apart
  look like this, and are RFC 4180 to the letter. Addresses and notes with line breaks have no such lines.

Blocks without quotes cost one search. All others are checked with a bit for each byte, 64 of them at once, and values
with line breaks in their own rows alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from offline_capi.runtime.compiled import load_compiled

__all__ = ["MAX_ROW_BYTES", "QUOTE", "Dialect", "RowBlocks", "UnclosedQuoteError"]

_quotes = load_compiled("_quotes")

QUOTE, LINE_FEED, CARRIAGE_RETURN, BACKSLASH = b'"\n\r\\'
#: A longer row is taken for a quote that was never closed.
MAX_ROW_BYTES = 1 << 20
#: Searched at once: temporaries of this size stay in the processor's cache and need no new pages.
WINDOW_BYTES = 1 << 16

Positions = npt.NDArray[np.intp]
#: A bit for each byte of a block, that of the first byte lowest, and at least one more behind the last.
Bits = npt.NDArray[np.uint64]
_UNCLOSED = "a quote is opened and not closed where its value ends"
_BARE_QUOTE = "a value that is not quoted holds a quote, in a file that quotes others"
_LINE_BREAK = re.compile(rb"[\r\n]")
#: An odd number of backslashes before it: two are one backslash, and escape nothing.
_ESCAPED_QUOTE = re.compile(rb'(?<!\\)(?:\\\\)*\\"')


class UnclosedQuoteError(Exception):
    """Rows cannot be told apart from here on. ``line`` counts from the first line after the header, from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line, self.what = line, what


class Dialect(NamedTuple):
    """How values are separated and quoted. ``quoting`` is the setting: ``standard``, ``loose`` or ``none``."""

    delimiter: bytes
    quoting: str
    has_escapes: bool


class _Look(NamedTuple):
    """Whether quotes stand as RFC 4180 has them, where the last one is, and whether it is open at the end of a block.

    ``lines``: where its lines end, and which of them inside a value; ``None``: none of them.
    """

    is_standard: bool
    is_open: bool
    last_quote: int
    lines: tuple[Positions, npt.NDArray[np.bool_]] | None


@dataclass
class RowBlocks:
    """Cuts the bytes after a header into blocks of whole rows.

    ``width`` is the number of columns. ``count_quotes`` counts the quotes of the whole file, ``quotes_values`` says
    whether a value of the file begins with one: both read the file again, and are asked at most once, and not where
    ``is_balanced`` and ``has_quoted_values`` say what they said before. ``count_lines`` counts the lines in so many
    bytes after the header, for the message of an error. ``rest`` has come, and is in no block yet. ``max_row_bytes`` is
    none where all rows have been cut before.
    """

    dialect: Dialect
    width: int
    count_quotes: Callable[[], int]
    quotes_values: Callable[[], bool]
    count_lines: Callable[[int], int]
    max_row_bytes: int | None = MAX_ROW_BYTES
    is_balanced: bool | None = None
    has_quoted_values: bool | None = None
    rest: bytes = b""
    _done: int = 0

    def cut(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Blocks that end where a row does. Raises ``UnclosedQuoteError`` before a block that cannot be cut."""
        for chunk in chunks:
            rest = self.rest
            whole, self.rest = self._simple_rows(rest, chunk) or self._whole_rows(rest + chunk, final=False)
            if self.max_row_bytes and len(self.rest) > self.max_row_bytes:
                raise self._unclosed(
                    whole, "a row is longer than 1 MB, usually because a quote is opened and not closed"
                )
            self._done += len(rest) + len(chunk) - len(self.rest)
            if whole:
                yield whole
        if self.rest:
            yield self._whole_rows(self.rest, final=True)[0]

    def _simple_rows(self, rest: bytes, chunk: bytes) -> tuple[bytes, bytes] | None:
        """Where each line is a row for certain: the whole ones, copied once, and what follows; else ``None``."""
        cut = _last_line_end(chunk)
        if not cut:
            return None
        if self.dialect.quoting != "none" and (b'"' in chunk or b'"' in rest):
            return None
        whole = b"".join((rest, memoryview(chunk)[:cut]))
        return whole, chunk[cut:]

    def _whole_rows(self, data: bytes, *, final: bool) -> tuple[bytes, bytes]:
        if self.dialect.quoting == "none" or b'"' not in data:
            cut = len(data) if final else _last_line_end(data)
            return data[:cut], data[cut:]
        whole, cut = self._checked(data, final=final)
        return whole, data[cut:]

    # ------------------------------------------------------------------------------------------ by their bits

    def _checked(self, data: bytes, *, final: bool) -> tuple[bytes, int]:
        look = self._scan(data, final=final)
        if not look.is_standard:
            return self._line_by_line(data, final=final)
        if final and look.is_open:
            raise self._unclosed(data[: look.last_quote])
        if look.lines is None:
            cut = len(data) if final else data.rfind(b"\n") + 1
            return data[:cut], cut
        ends, is_inside = look.lines
        row_ends = ends[~is_inside]
        cut = len(data) if final else int(row_ends[-1]) + 1 if len(row_ends) else 0
        is_inside = is_inside[ends < cut]
        if not is_inside.any():
            return data[:cut], cut
        self._check_balance()
        return self._without_swallowed_rows(data[:cut], ends[ends < cut], is_inside), cut

    def _scan(self, data: bytes, *, final: bool) -> _Look:
        """What the compiled module finds in one pass; what numpy finds where it is not there, and in rarer dialects."""
        if _quotes is not None and not (self.dialect.has_escapes and b'\\"' in data):
            ends, is_inside = np.empty(feeds := data.count(b"\n"), np.int32), np.empty(feeds, np.bool_)
            found = _quotes.scan(data, self.dialect.delimiter[0], ends, is_inside)
            is_standard, is_open, has_lone_returns, feeds_inside = map(bool, found)
            if not has_lone_returns:
                lines = (ends.astype(np.intp), is_inside) if feeds_inside else None
                return _Look(is_standard, is_open, data.rfind(b'"'), lines)
        codes = np.frombuffer(data, np.uint8)
        is_quote = self._structural_quotes(data, codes)
        quotes, last = _pack(is_quote), len(data) - int(is_quote[::-1].argmax()) - 1
        inside = _fill_between(quotes)
        is_standard, is_open = self._is_standard(data, codes, quotes, inside), bool(inside[-1] >> 63)
        if not is_standard or not (_has_lone_returns(data) or (_pack(codes == LINE_FEED) & inside).any()):
            return _Look(is_standard, is_open, last, None)
        at = _line_ends(data, codes, final=final)
        bits = (inside.view(np.uint8).take(at >> 3) >> (at & 7).astype(np.uint8)) & 1
        return _Look(is_standard, is_open, last, (at, bits.astype(np.bool_)))

    def _without_swallowed_rows(self, data: bytes, ends: Positions, is_inside: npt.NDArray[np.bool_]) -> bytes:
        """Whole rows, with the lines of doubtful ones malformed. Only rows of several lines are looked into."""
        starts, stops = np.concatenate(([0], ends + 1)), np.append(ends + 1, len(data))
        goes_on = np.append(is_inside, False)
        is_spanning = goes_on | np.concatenate(([False], is_inside))
        is_spanning &= starts < len(data)  # nothing follows the last line end
        chosen = zip(starts[is_spanning].tolist(), stops[is_spanning].tolist(), strict=True)
        rows = b"".join([data[start:stop] for start, stop in chosen])
        codes = np.frombuffer(rows, np.uint8)
        last_is_open = bool(is_spanning[-1])  # the file's last line, without a line end
        line_ends = (np.cumsum((stops - starts)[is_spanning]) - 1)[: -1 if last_is_open else None]
        inside = goes_on[is_spanning][: len(line_ends)]
        quotes = np.flatnonzero(self._structural_quotes(rows, codes))
        lines = _Lines(rows, codes, quotes, line_ends, inside)
        found = lines.doubtful(self.dialect.delimiter, self.width, trusted=self.dialect.quoting == "loose")
        if not found.any():
            return data
        doubtful = np.zeros(len(starts), np.bool_)
        doubtful[is_spanning] = found
        line = self._malformed_line()
        return b"".join(
            line if bad else data[start:stop]
            for start, stop, bad in zip(starts.tolist(), stops.tolist(), doubtful.tolist(), strict=True)
        )

    def _structural_quotes(self, data: bytes, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """Of each byte whether it is a quote, and not an escaped one."""
        is_quote = codes == QUOTE
        if self.dialect.has_escapes and b'\\"' in data:
            is_quote[[match.end() - 1 for match in _ESCAPED_QUOTE.finditer(data)]] = False
        return np.asarray(is_quote)

    def _is_standard(self, data: bytes, codes: npt.NDArray[np.uint8], quotes: Bits, inside: Bits) -> bool:
        """Whether each quote stands where RFC 4180 lets it: they open and close by turns.

        Before an opening one is a separator, the block's beginning or, where it is doubled, another quote; so it is
        after a closing one.
        """
        separates = codes == self.dialect.delimiter[0]
        separates |= codes == LINE_FEED
        if b"\r" in data:
            separates |= codes == CARRIAGE_RETURN
        allowed = _pack(separates) | quotes
        allowed[len(data) >> 6] |= np.uint64(1 << (len(data) & 63))  # the end
        before, after = allowed << 1, allowed >> 1
        before[0] |= np.uint64(1)
        before[1:] |= allowed[:-1] >> 63
        after[:-1] |= allowed[1:] << 63
        return not (quotes & ~(inside & before | ~inside & after)).any()

    def _check_balance(self) -> None:
        """Only a value with line breaks makes us count the file's quotes, once."""
        if self.is_balanced is None:
            is_counted = self.dialect.quoting == "standard" and not self.dialect.has_escapes
            self.is_balanced = not is_counted or self.count_quotes() % 2 == 0
        if not self.is_balanced:
            raise self._unclosed(
                b"", "a quote is opened and not closed: their number is odd, and values have line breaks"
            )

    def _malformed_line(self) -> bytes:
        """A line that the parser refuses for its number of columns."""
        return b"x\n" if self.width > 1 else self.dialect.delimiter + b"\n"

    def _unclosed(self, before: bytes, what: str = _UNCLOSED) -> UnclosedQuoteError:
        return UnclosedQuoteError(self.count_lines(self._done) + before.count(b"\n") + 1, what)

    # ------------------------------------------------------------------------------------------ line by line

    def _line_by_line(self, data: bytes, *, final: bool) -> tuple[bytes, int]:
        """The same for a block that breaks the rules somewhere."""
        if self.dialect.quoting == "standard" and not self._quotes_any_value():
            cut = len(data) if final else _last_line_end(data)
            return data[:cut], cut
        shapes = _Shapes.of(self.dialect)
        whole: list[bytes] = []
        at, end = 0, len(data) if final else _last_line_end(data)
        while at < end:
            stop = _next_line_end(data, at)
            line = data[at:stop]
            if b'"' in line:
                line, stop = self._row(data, at, stop, shapes, final=final)
                if stop > end:  # a value that goes on in the next block
                    break
            whole.append(line)
            at = stop
        return b"".join(whole), at

    def _row(self, data: bytes, at: int, stop: int, shapes: _Shapes, *, final: bool) -> tuple[bytes, int]:
        """The row that begins at ``at``, and where it ends: beyond ``data`` where it is not whole yet."""
        position, width, bare = at, 1, 0
        while True:
            if data[position : position + 1] == b'"':
                closed = shapes.quoted.match(data, position)
                if closed is None:
                    if final:
                        raise self._unclosed(data[:at])
                    return b"", len(data) + 1
                position = closed.end()
                if position > stop:
                    stop = _next_line_end(data, position)
                if shapes.end_of_unquoted(data, position) > position:
                    if _LINE_BREAK.search(data, at, position):
                        raise self._unclosed(data[:at])
                    return self._malformed_line(), _next_line_end(data, position)
            else:
                until = shapes.end_of_unquoted(data, position)
                bare += shapes.bare_quotes(data[position:until])
                position = until
                stop = max(stop, _next_line_end(data, position))
            if data[position : position + 1] != self.dialect.delimiter:
                break
            position, width = position + 1, width + 1
        row = data[at:stop]
        if bare % 2 and self.dialect.quoting == "standard":
            raise self._unclosed(data[:at], _BARE_QUOTE)
        return (self._spanning(row, width, bare) if _LINE_BREAK.search(row.rstrip(b"\r\n")) else row), stop

    def _spanning(self, row: bytes, width: int, bare: int) -> bytes:
        """A row of several lines, or as many malformed lines."""
        self._check_balance()
        if bare:  # the positions of quotes say nothing here
            is_trusted = width == self.width and self.dialect.quoting == "loose"
            return row if is_trusted else self._malformed_line() * len(row.splitlines())
        codes = np.frombuffer(row, np.uint8)
        quotes = np.flatnonzero(self._structural_quotes(row, codes))
        ends = _line_ends(row, codes, final=True)
        return self._without_swallowed_rows(row, ends, np.searchsorted(quotes, ends) % 2 == 1)

    def _quotes_any_value(self) -> bool:
        if self.has_quoted_values is None:
            self.has_quoted_values = self.quotes_values()
        return self.has_quoted_values


class _Shapes(NamedTuple):
    """What a value may look like, quoted or not."""

    quoted: re.Pattern[bytes]
    unquoted: re.Pattern[bytes]
    has_escapes: bool

    @classmethod
    def of(cls, dialect: Dialect) -> _Shapes:
        delimiter = re.escape(dialect.delimiter)
        if dialect.has_escapes:
            quoted, unquoted = rb'"(?:[^"\\]|\\.|"")*+"', rb"(?:[^%b\r\n\\]|\\.)*+" % delimiter
        else:
            quoted, unquoted = rb'"(?:[^"]|"")*+"', rb"[^%b\r\n]*+" % delimiter
        return cls(re.compile(quoted, re.DOTALL), re.compile(unquoted, re.DOTALL), dialect.has_escapes)

    def end_of_unquoted(self, data: bytes, start: int) -> int:
        match = self.unquoted.match(data, start)
        return match.end() if match else start

    def bare_quotes(self, value: bytes) -> int:
        return value.count(b'"') - (len(_ESCAPED_QUOTE.findall(value)) if self.has_escapes else 0)


class _Lines(NamedTuple):
    """The lines of whole rows, of which some end inside a quoted value."""

    data: bytes
    codes: npt.NDArray[np.uint8]
    quotes: Positions
    ends: Positions
    is_inside: npt.NDArray[np.bool_]

    def doubtful(self, delimiter: bytes, width: int, *, trusted: bool) -> npt.NDArray[np.bool_]:
        """Of each line whether its row has swallowed others, or has not ``width`` columns over several lines."""
        count = len(self.ends) + (not len(self.ends) or int(self.ends[-1]) + 1 < len(self.data))
        row_of_line = np.concatenate(([0], np.cumsum(~self.is_inside)))[:count]
        first, last = self._values()
        spans = last > first
        delimiters = _positions(self.codes, delimiter[0])
        toggles = np.zeros(len(self.codes), np.uint8)
        toggles[self.quotes] = 1
        quoted = np.bitwise_xor.accumulate(toggles).take(delimiters).astype(np.bool_)
        bounds = np.searchsorted(delimiters, np.concatenate(([0], self.ends, [len(self.codes)])))[: count + 1]
        rows = int(row_of_line[-1]) + 1
        widths = np.bincount(row_of_line, _sums(~quoted, bounds), minlength=rows) + 1
        is_spanning = np.bincount(row_of_line, minlength=rows) > 1
        doubtful = is_spanning & (widths != width)
        if width > 1 and not trusted:
            is_counted = ~quoted
            value = np.searchsorted(self._starts(), delimiters[quoted], side="right") - 1
            is_counted[quoted] = spans[value]
            literal = _sums(is_counted, bounds) + 1
            until = np.concatenate(([0], np.cumsum(literal == width)))
            first, last = first[spans], last[spans]
            swallows = (literal[first] >= width) & (literal[last] >= width) | (until[last] > until[first + 1])
            doubtful[row_of_line[first[swallows]]] = True
        return np.asarray(doubtful[row_of_line])

    def _starts(self) -> Positions:
        """Where quoted values begin: a doubled quote closes and opens the same value."""
        opens, closes = self.quotes[0::2], self.quotes[1::2]
        return opens[np.concatenate(([True], closes[:-1] + 1 != opens[1:]))]

    def _values(self) -> tuple[Positions, Positions]:
        """The first and the last line of each quoted value."""
        opens, closes = self.quotes[0::2], self.quotes[1::2]
        stops = closes[np.concatenate((closes[:-1] + 1 != opens[1:], [True]))]
        return np.searchsorted(self.ends, self._starts()), np.searchsorted(self.ends, stops)


def _sums(flags: npt.NDArray[np.bool_], bounds: Positions) -> Positions:
    """How many flags are set between each bound and the next."""
    until = np.concatenate(([0], np.cumsum(flags)))
    return np.asarray(np.diff(until[bounds]), np.intp)


def _pack(where: npt.NDArray[np.bool_]) -> Bits:
    bits: Bits = np.zeros(len(where) // 64 + 1, "<u8")
    packed = np.packbits(where, bitorder="little")
    bits.view(np.uint8)[: len(packed)] = packed
    return bits


def _fill_between(quotes: Bits) -> Bits:
    """A bit for each byte from an opening quote on until its closing one: whether the quotes up to it are odd."""
    filled = quotes.copy()
    for width in (1, 2, 4, 8, 16, 32):
        filled ^= filled << width
    is_odd = np.bitwise_xor.accumulate(filled >> 63)
    filled[1:] ^= np.negative(is_odd[:-1])
    return filled


def _positions(codes: npt.NDArray[np.uint8], code: int) -> Positions:
    """Where a byte stands."""
    windows = range(0, len(codes), WINDOW_BYTES)
    found = [(codes[start : start + WINDOW_BYTES] == code).nonzero()[0] + start for start in windows]
    return np.concatenate(found) if found else np.zeros(0, np.intp)


def _has_lone_returns(data: bytes) -> bool:
    return b"\r" in data and data.count(b"\r") != data.count(b"\r\n")


def _line_ends(data: bytes, codes: npt.NDArray[np.uint8], *, final: bool) -> Positions:
    """Positions of the last byte of each line end; old Macs end lines with a carriage return alone."""
    if not _has_lone_returns(data):
        return _positions(codes, LINE_FEED)
    followed = np.append(codes[1:] == LINE_FEED, not final)
    return np.flatnonzero((codes == LINE_FEED) | ((codes == CARRIAGE_RETURN) & ~followed))


def _last_line_end(data: bytes) -> int:
    """After the last line end; of a carriage return that is the last byte nobody knows yet what follows."""
    feed = data.rfind(b"\n") + 1
    if feed or b"\r" not in data:
        return feed
    return data.rfind(b"\r", 0, len(data) - 1) + 1


def _next_line_end(data: bytes, at: int) -> int:
    feed, lone = data.find(b"\n", at), data.find(b"\r", at)
    if lone >= 0 and (feed < 0 or lone < feed):
        return lone + (2 if data[lone + 1 : lone + 2] == b"\n" else 1)
    return feed + 1 if feed >= 0 else len(data)
