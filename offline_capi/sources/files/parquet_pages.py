"""The page headers of a Parquet file, read without Arrow: what a column's pages are, whatever the footer says of them.

A footer can be forged by hand. Arrow believes it in part, and allocates what a page header claims before it reads the
page, so that sizes, counts and encodings have to be known before Arrow sees the file. Format: apache/parquet-format,
``PageHeader`` in Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Page", "read_pages"]

#: A header is some dozens of bytes; with statistics of long values it can be larger.
HEADER_BYTES, MAX_HEADER_BYTES = 1 << 10, 1 << 20
#: More pages than this in one column of one row group are no export: a usual page has 20,000 rows or 1 MiB.
MAX_PAGES = 20_000
MAX_DEPTH = 8

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3
#: Where the header of each kind of page lies in ``PageHeader``, and its encoding in that.
_HEADERS = {_DATA: (5, 2), _DICTIONARY: (7, 2), _DATA_V2: (8, 4)}


class Page(NamedTuple):
    """One page: sizes in bytes, values as its own header has them, the encoding by its number in the format."""

    is_dictionary: bool
    packed: int
    unpacked: int
    values: int
    encoding: int


def read_pages(file: Any, start: int, end: int) -> Iterator[Page]:
    """The pages between two offsets of a file; raises ``ValueError`` where no header is, or a size is negative."""
    for _ in range(MAX_PAGES):
        if start >= end:
            return
        header, length = _read_header(file, start)
        unpacked, packed = _number(header, 2), _number(header, 3)
        if _number(header, 1) in _HEADERS:
            where, encoding = _HEADERS[_number(header, 1)]
            of_kind = header.get(where)
            if not isinstance(of_kind, dict):
                raise ValueError("a page header lacks its part")
            is_dictionary = _number(header, 1) == _DICTIONARY
            yield Page(is_dictionary, packed, unpacked, _number(of_kind, 1), _number(of_kind, encoding))
        start += length + packed
    raise ValueError("too many pages")


def _number(fields: dict[int, Any], field: int) -> int:
    value = fields.get(field)
    if not isinstance(value, int) or value < 0:
        raise ValueError("a page header lacks a number")
    return value


def _read_header(file: Any, start: int) -> tuple[dict[int, Any], int]:
    size = HEADER_BYTES
    while True:
        file.seek(start)
        data = bytes(file.read(size))
        try:
            return _struct(data, 0, 0)
        except IndexError:
            if len(data) < size or size >= MAX_HEADER_BYTES:
                raise ValueError("a page header without an end") from None
            size *= 32


# ---------------------------------------------------------------------------------------------- Thrift, compact

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _STRUCT = (*range(1, 9), 12)


def _struct(data: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    """Fields by their number, and where the struct ends; raises ``IndexError`` where the data ends first."""
    if depth > MAX_DEPTH:
        raise ValueError("a page header is too deep")
    fields: dict[int, Any] = {}
    field = 0
    while (head := data[at]) != 0:
        at += 1
        if head >> 4:
            field += head >> 4
        else:
            field, at = _zigzag(data, at)
        fields[field], at = _value(data, at, head & 15, depth)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind in (_I16, _I32, _I64):
        return _zigzag(data, at)
    if kind == _BINARY:
        length, at = _varint(data, at)
        return None, _within(data, at + length)
    if kind in (_BYTE, _DOUBLE):
        return None, _within(data, at + (1 if kind == _BYTE else 8))
    if kind == _STRUCT:
        return _struct(data, at, depth + 1)
    raise ValueError("a page header has no list, set or map")


def _within(data: bytes, end: int) -> int:
    if end > len(data):
        raise IndexError
    return end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while shift < 70:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
    raise ValueError("a number of a page header has no end")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(data, at)
    return (number >> 1) ^ -(number & 1), at
