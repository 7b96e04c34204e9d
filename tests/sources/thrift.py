"""Thrift's compact protocol, read and written with every type kept: for footers that are forged by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["BINARY", "I32", "I64", "LIST", "STRUCT", "Field", "decode", "encode"]

BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, STRUCT = 3, 4, 5, 6, 7, 8, 9, 12


class Field(NamedTuple):
    """A field's type and value; a list is a ``(type of its items, items)``, a struct a dict of fields."""

    kind: int
    value: Any


def decode(data: bytes, at: int = 0) -> tuple[dict[int, Field], int]:
    """The fields of a struct by their numbers, and where it ends."""
    fields: dict[int, Field] = {}
    number = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        value, at = _decode(data, at, head & 15)
        fields[number] = Field(head & 15, value)
    return fields, at + 1


def _decode(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return None, at
    if kind in (BYTE, DOUBLE):
        size = 1 if kind == BYTE else 8
        return data[at : at + size], at + size
    if kind in (I16, I32, I64):
        return _zigzag(data, at)
    if kind == BINARY:
        size, at = _varint(data, at)
        return data[at : at + size], at + size
    if kind == LIST:
        count, of, at = data[at] >> 4, data[at] & 15, at + 1
        if count == 15:
            count, at = _varint(data, at)
        items = []
        for _ in range(count):
            item, at = _decode(data, at, of)
            items.append(item)
        return (of, items), at
    return decode(data, at)


def encode(fields: dict[int, Field]) -> bytes:
    done, last = bytearray(), 0
    for number, (kind, value) in sorted(fields.items()):
        done += bytes([(number - last) << 4 | kind]) if number - last < 16 else bytes([kind]) + _signed(number)
        last = number
        done += _encode(kind, value)
    return bytes(done) + b"\0"


def _encode(kind: int, value: Any) -> bytes:
    if kind in (1, 2):
        return b""
    if kind in (BYTE, DOUBLE):
        return bytes(value)
    if kind in (I16, I32, I64):
        return _signed(value)
    if kind == BINARY:
        return _unsigned(len(value)) + value
    if kind == LIST:
        of, items = value
        head = bytes([len(items) << 4 | of]) if len(items) < 15 else bytes([0xF0 | of]) + _unsigned(len(items))
        return head + b"".join(_encode(of, item) for item in items)
    return encode(value)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number, at, shift = number | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return number, at


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(data, at)
    return (number >> 1) ^ -(number & 1), at


def _unsigned(number: int) -> bytes:
    done = bytearray()
    while number > 127:
        done.append(number & 127 | 128)
        number >>= 7
    return bytes([*done, number])


def _signed(number: int) -> bytes:
    return _unsigned(number << 1 if number >= 0 else (-number << 1) - 1)
