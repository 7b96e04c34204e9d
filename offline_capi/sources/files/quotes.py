"""Where the rows of a CSV end: blocks of whole rows, with the lines whose quotes cannot be trusted made malformed.

RFC 4180 (sections 2.5 to 2.7): a quote opens a value only at its beginning and closes it only at its end; inside, a
quote is written twice. What breaks this, and what it costs:

- text after a closing quote costs its line;
- a quote that is still open where its value should have ended, or an odd number of quotes inside an unquoted value
  while the file quotes others, refuses the file: which of the following lines are rows cannot be told;
- a quoted value whose lines are rows of their own (as many columns as the header in a line between its first and last,
  or as many and more in both of these) has swallowed them: each of its lines is malformed. Two stray quotes far apart
  look like this, and are RFC 4180 to the letter. Addresses and notes with line breaks have no such lines.

Blocks without quotes cost one search. Blocks that quote every value are recognised by counts of byte patterns; all
others are checked at the positions of their quotes, and values with line breaks in their own rows alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Dialect", "RowBlocks", "UnclosedQuoteError"]

QUOTE, LINE_FEED, CARRIAGE_RETURN, BACKSLASH = b'"\n\r\\'
#: A longer row is taken for a quote that was never closed.
MAX_ROW_BYTES = 1 << 20
#: Searched at once: temporaries of this size stay in the processor's cache and need no new pages.
WINDOW_BYTES = 1 << 16

Positions = npt.NDArray[np.intp]
_UNCLOSED = "a quote is opened and not closed where its value ends"
_BARE_QUOTE = "a value that is not quoted holds a quote, in a file that quotes others"
_LINE_BREAK = re.compile(rb"[\r\n]")


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


@dataclass
class RowBlocks:
    """Cuts the bytes after a header into blocks of whole rows.

    ``width`` is the number of columns. ``count_quotes`` counts the quotes of the whole file, ``quotes_values`` says
    whether a value of the file begins with one: both read the file again, and are asked at most once. ``count_lines``
    counts the lines in so many bytes after the header, for the message of an error.
    """

    dialect: Dialect
    width: int
    count_quotes: Callable[[], int]
    quotes_values: Callable[[], bool]
    count_lines: Callable[[int], int]
    _done: int = 0
    _is_balanced: bool | None = None
    _has_quoted_values: bool | None = None
    _may_quote_all: bool = True

    def cut(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Blocks that end where a row does. Raises ``UnclosedQuoteError`` before a block that cannot be cut."""
        rest = b""
        for chunk in chunks:
            read = len(rest) + len(chunk)
            whole, rest = self._simple_rows(rest, chunk) or self._whole_rows(rest + chunk, final=False)
            if len(rest) > MAX_ROW_BYTES:
                raise self._unclosed(
                    whole, "a row is longer than 1 MB, usually because a quote is opened and not closed"
                )
            self._done += read - len(rest)
            if whole:
                yield whole
        if rest:
            yield self._whole_rows(rest, final=True)[0]

    def _simple_rows(self, rest: bytes, chunk: bytes) -> tuple[bytes, bytes] | None:
        """Where each line is a row for certain: the whole ones, copied once, and what follows; else ``None``."""
        cut = _last_line_end(chunk)
        if not cut:
            return None
        has_quotes = self.dialect.quoting != "none" and (b'"' in chunk or b'"' in rest)
        if has_quotes and self.dialect.has_escapes:
            return None
        if has_quotes and not self._may_quote_all:
            return None
        whole = b"".join((rest, memoryview(chunk)[:cut]))
        if has_quotes and not _is_fully_quoted(whole, self.dialect.delimiter[0]):
            self._may_quote_all = False  # a file is written in one way: not tried again
            return None
        return whole, chunk[cut:]

    def _whole_rows(self, data: bytes, *, final: bool) -> tuple[bytes, bytes]:
        if self.dialect.quoting == "none" or b'"' not in data:
            cut = len(data) if final else _last_line_end(data)
            return data[:cut], data[cut:]
        whole, cut = self._checked(data, final=final)
        return whole, data[cut:]

    # ------------------------------------------------------------------------------------------ by positions

    def _checked(self, data: bytes, *, final: bool) -> tuple[bytes, int]:
        codes = np.frombuffer(data, np.uint8)
        quotes = self._structural_quotes(data, codes)
        if not self._is_standard(codes, quotes):
            return self._line_by_line(data, final=final)
        ends = _line_ends(data, codes, final=final)
        is_inside = np.searchsorted(quotes, ends) % 2 == 1
        row_ends = ends[~is_inside]
        if final and len(quotes) % 2:
            raise self._unclosed(data[: int(quotes[-1])])
        cut = len(data) if final else int(row_ends[-1]) + 1 if len(row_ends) else 0
        inside = is_inside[ends < cut]
        if not inside.any():
            return data[:cut], cut
        self._check_balance()
        return self._without_swallowed_rows(data[:cut], ends[ends < cut], inside), cut

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
        lines = _Lines(rows, codes, self._structural_quotes(rows, codes), line_ends, inside)
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

    def _structural_quotes(self, data: bytes, codes: npt.NDArray[np.uint8]) -> Positions:
        quotes = _positions(codes, QUOTE)
        if not self.dialect.has_escapes or b'\\"' not in data:
            return quotes
        escaped = [match.end() - 1 for match in re.finditer(rb'(?<!\\)(?:\\\\)*\\"', data)]
        return np.setdiff1d(quotes, np.array(escaped, np.intp), assume_unique=True)

    def _is_standard(self, codes: npt.NDArray[np.uint8], quotes: Positions) -> bool:
        """Whether each quote stands where RFC 4180 lets it: they open and close by turns."""
        separates = np.zeros(256, np.bool_)
        separates[[self.dialect.delimiter[0], LINE_FEED, CARRIAGE_RETURN]] = True
        opens = separates.take(codes.take(quotes[0::2] - 1, mode="wrap"))
        closes = separates.take(codes.take(quotes[1::2] + 1, mode="clip"))
        if len(opens):
            opens[0] |= quotes[0] == 0
        if len(closes):
            closes[-1] |= quotes[2 * len(closes) - 1] == len(codes) - 1
        doubled = quotes[1::2][: len(quotes[2::2])] + 1 == quotes[2::2]
        opens[1:] |= doubled
        closes[: len(doubled)] |= doubled
        return bool(opens.all() and closes.all())

    def _check_balance(self) -> None:
        """Only a value with line breaks makes us count the file's quotes, once."""
        if self._is_balanced is None:
            is_counted = self.dialect.quoting == "standard" and not self.dialect.has_escapes
            self._is_balanced = not is_counted or self.count_quotes() % 2 == 0
        if not self._is_balanced:
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
        quotes = self._structural_quotes(row, codes)
        ends = _line_ends(row, codes, final=True)
        return self._without_swallowed_rows(row, ends, np.searchsorted(quotes, ends) % 2 == 1)

    def _quotes_any_value(self) -> bool:
        if self._has_quoted_values is None:
            self._has_quoted_values = self.quotes_values()
        return self._has_quoted_values


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
        return value.count(b'"') - (value.count(b'\\"') if self.has_escapes else 0)


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


def _is_fully_quoted(data: bytes, delimiter: int) -> bool:
    """Whether whole lines hold quoted values alone, none of them with a quote or a line break in it.

    So it is where they begin and end in a quote, and each other quote is one of the two in ``","`` or around a line
    end: such pairs close a value and open the next, and tile the text in one way only.
    """
    edge = b'"\r\n' if data.endswith(b"\r\n") else b'"\n'
    if not (data.startswith(b'"') and data.endswith(edge)) or (b"\r" in data) != (b"\r" in edge):
        return False
    codes = np.frombuffer(data, np.uint8)
    quotes, pairs, feeds = 0, 0, []
    for start in range(0, len(codes), WINDOW_BYTES):
        window = codes[start : start + WINDOW_BYTES + 4]
        is_quote = window == QUOTE
        is_pair = window[1:-1] == delimiter
        is_pair &= is_quote[:-2]
        is_pair &= is_quote[2:]
        if (is_pair[:-2] & is_pair[2:]).any():  # two pairs share a quote
            return False
        quotes += int(np.count_nonzero(is_quote[:WINDOW_BYTES]))
        pairs += int(np.count_nonzero(is_pair[:WINDOW_BYTES]))
        feeds.append(np.flatnonzero(window[:WINDOW_BYTES] == LINE_FEED) + start)
    ends, back = np.concatenate(feeds)[:-1], len(edge)
    if quotes != 2 * (pairs + len(ends)) + 2 or data.count(b"\r") not in (0, len(ends) + 1):
        return False
    pair = b'"%c"' % delimiter  # neither the first quote nor the last may be half of a pair
    if data.startswith((pair, edge)) or data.endswith((pair + edge[1:], b'"' + edge[1:] + edge)):
        return False

    def is_at(offset: int, code: int) -> npt.NDArray[np.bool_]:
        return np.asarray(codes.take(ends + offset, mode="clip") == code)

    surrounds = [is_at(1, QUOTE), *(is_at(at + 1 - back, code) for at, code in enumerate(edge[:-1]))]
    shares_quote = is_at(2, delimiter) & is_at(3, QUOTE) | is_at(-back, delimiter) & is_at(-back - 1, QUOTE)
    is_apart = bool((np.diff(ends) > back).all())  # two line ends may share a quote as well
    return all(one.all() for one in surrounds) and is_apart and not shares_quote.any()


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
