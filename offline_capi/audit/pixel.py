"""What a browser pixel sends as ``external_id``, out of any export people can save.

A CSV with the ids in a column, or with the addresses of pixel requests in one; JSON or JSON lines in any nesting: a
saved test-events export, the pixel's own parameters (``ud[external_id]``, or ``ud`` with ``external_id`` in it), an
HTTP archive of a browser (``queryString``, ``postData``), or plain addresses, one a line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pyarrow as pa

from offline_capi.errors import UsageError

__all__ = ["read_browser_ids"]

_ID_NAMES = frozenset(
    {"external_id", "ud[external_id]", "user_data[external_id]", "user_data.external_id", "ud.external_id"}
)
_ID_PARAMETERS = ("external_id=", "external_id]=", "external_id%5d=")  # inside lower-cased text


def read_browser_ids(path: Path) -> pa.Array:
    """Every distinct id in the file, as the browser sent it. Raises ``UsageError`` where there is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text; save it as CSV, JSON or text in UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    try:
        found = dict.fromkeys(one for one in _read_ids(text) if one.strip())
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV that can be read: {error}") from None
    if not found:
        raise UsageError(
            f"{path} holds no external_id; wanted: a CSV with a column external_id, JSON with external_id or "
            "ud[external_id] in it, or the addresses of pixel requests"
        )
    return pa.array(list(found), pa.string())


def _read_ids(text: str) -> Iterator[str]:
    documents = list(_parse_documents(text))
    if documents:
        for document in documents:
            yield from _find_in_json(document)
        return
    yield from _find_in_csv(text)


def _parse_documents(text: str) -> Iterator[Any]:
    """The JSON values in the text: one document, or one a line; nothing where it is no JSON."""
    if not text.lstrip().startswith(("{", "[")):
        return
    try:
        yield json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError:
        yield from _parse_lines(text)


def _parse_lines(text: str) -> Iterator[Any]:
    for line in filter(str.strip, text.splitlines()):
        try:
            yield json.loads(line, parse_int=str, parse_float=str)
        except json.JSONDecodeError as error:
            raise UsageError(f"the browser's file is neither JSON nor JSON lines: {error.msg}") from None


def _find_in_json(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if (
            isinstance(node.get("name"), str) and node["name"].lower() in _ID_NAMES
        ):  # HTTP archives: {"name": ..., "value": ...}
            yield from _list_texts(node.get("value"))
        for name, value in node.items():
            yield from _list_texts(value) if name.lower() in _ID_NAMES else _find_in_json(value)
    elif isinstance(node, list):
        for child in node:
            yield from _find_in_json(child)
    elif isinstance(node, str):
        yield from _find_in_address(node)


def _list_texts(value: Any) -> Iterator[str]:
    """An id or several: JSON lists, and lists written as text."""
    if isinstance(value, list):
        for one in value:
            yield from _list_texts(one)
    elif isinstance(value, str):
        listed = value.startswith("[") and value.endswith("]")
        yield from _parse_list(value) if listed else [value]


def _parse_list(text: str) -> Iterable[str]:
    try:
        return [str(one) for one in json.loads(text, parse_int=str, parse_float=str)]
    except json.JSONDecodeError:
        return [text]  # brackets that belong to the id


def _find_in_csv(text: str) -> Iterator[str]:
    head = text.partition("\n")[0]
    delimiter = max(",;\t|", key=head.count)
    rows = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    header = [name.strip().lower() for name in next(rows, [])]
    positions = [at for at, name in enumerate(header) if name in _ID_NAMES]
    yield from () if positions else _find_in_address(head)
    for row in rows:
        yield from (row[at] for at in positions if at < len(row))
        yield from () if positions else (one for cell in row for one in _find_in_address(cell))


def _find_in_address(text: str) -> Iterator[str]:
    """Ids in the query or the form of a pixel request."""
    if any(sign in text.lower() for sign in _ID_PARAMETERS):
        query = (text.partition("?")[2] or text).partition("#")[0]
        for name, value in parse_qsl(query.strip()):
            if name.lower() in _ID_NAMES:
                yield from _list_texts(value)
