"""JSON: one object a line, or an array of objects, or objects over several lines.

The answer of an API, one object whose ``data`` (``records``, ``results``, ``value``) is an array of objects, is read as
that array: Meta's Graph API, Stripe, Salesforce, HubSpot and OData answer so.

Values come as text, numbers by their shortest form, nested values as JSON text. Numbers with a fraction come as
``float64`` where a column holds nothing else: a decimal mark that an upload declares speaks of text alone. A column
with a dot in its name (``customer.email``) is the member of a nested object, unless there is a key of that name.

``null`` and a missing key are null, nothing else is. A line that is no JSON object becomes a row of nulls with a fault.
Asked for no certain columns, a block of lines has the keys that occur in it.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from io import BytesIO
from itertools import chain, islice, pairwise, takewhile
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from polars.exceptions import PolarsError

from offline_capi.config.source import FileSource
from offline_capi.errors import SourceError
from offline_capi.sources.columns import check_names, plain
from offline_capi.sources.files.locate import FileLocation
from offline_capi.sources.files.read_batches import ReadBatch
from offline_capi.sources.files.streams import CHUNK_BYTES, open_text

__all__ = ["jsonl_columns", "read_jsonl"]

PROBE_LINES = 100
MOST_MALFORMED = 1000
LONG_LINE_BYTES = 1 << 20
#: Opening brackets and commas of a block with a long line: some 90 bytes each while it is read.
MAX_MARKS = 2_000_000
#: Keys of a block, and rows times keys: each is a column, and each row has a cell there, of 16 bytes when it is empty.
MAX_KEYS, MAX_CELLS = 20_000, 16_000_000
EXACT_FLOAT = float(2**53)
_FRACTION = rb"\s*:\s*-?\d+(?:\.\d|[eE])"
_TEXT = rb'\s*:\s*"'


def read_jsonl(location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> Iterator[ReadBatch]:
    with open_text(location, source.encoding) as stream:
        for number, block in enumerate(_lines(stream, location, source, columns)):
            _check_density(block, location)
            piece = _piece(block, columns, location)
            if number == 0:
                _check_keys(block, piece.batch, location)
            yield from _typed(piece, block)


def _check_keys(block: bytes, batch: pa.RecordBatch, location: FileLocation) -> None:
    """Refuse a column that no line has. In a short file it may only be empty that day: writers leave nulls out."""
    empty = [
        name for name, column in zip(batch.schema.names, batch.columns, strict=True) if column.null_count == len(column)
    ]
    if empty and batch.num_rows >= PROBE_LINES:
        found = _paths(block.splitlines())
        known = any(name in found for name in batch.schema.names)
        check_names(found, [name for name in empty if name not in found], f"file {location.origin}", is_schema=known)


def jsonl_columns(location: FileLocation, source: FileSource, _: Sequence[str] | None) -> list[tuple[str, str]]:
    """The keys of the first lines, and after them the members of nested objects by their dotted names."""
    with open_text(location, source.encoding) as stream:
        lines = next(_lines(stream, location, source, None), b"").splitlines()
    return [(name, "string") for name in _paths(islice(lines, PROBE_LINES))]


def _lines(stream: Any, location: FileLocation, source: FileSource, columns: Sequence[str] | None) -> Iterator[bytes]:
    """Blocks of whole lines, one value a line, whatever the layout of the file."""
    most = source.max_line_mib << 20
    first = bytes(stream.read(CHUNK_BYTES))
    chunks = takewhile(len, iter(lambda: bytes(stream.read(CHUNK_BYTES)), None))
    lead, line = first.lstrip()[:1], first.lstrip().split(b"\n", 1)[0].rstrip()
    if (envelope := _ENVELOPE.match(first)) and not _is_row(first, columns):
        return _one_a_line(first, chunks, location, most, skip=envelope.end(), envelope=True)
    if (lead == b"[" and not _is_value(line)) or line == b"{" or (lead == b"[" and line.startswith(b"[{")):
        return _one_a_line(first, chunks, location, most, skip=first.index(b"[") + 1 if lead == b"[" else 0)
    return _whole_lines(first, chunks, location, most)


def _too_long(location: FileLocation, most: int) -> SourceError:
    return SourceError(
        f"file {location.origin}: a line, or an object, is longer than {most >> 20} MiB.\nExport it with one object a"
        " line, or raise source.max_line_mib. Nothing was sent from it after that point; repeating is safe."
    )


def _check_density(block: bytes | str, location: FileLocation) -> None:
    """Refuse a long line that is nearly all structure: ``{},{},…`` takes 60 times its size while it is read."""
    if len(block) <= CHUNK_BYTES + LONG_LINE_BYTES:  # every line of it is shorter than LONG_LINE_BYTES
        return
    marks = map(block.count, "{[," if isinstance(block, str) else (b"{", b"[", b","))  # type: ignore[arg-type]
    if sum(marks) > MAX_MARKS:
        raise SourceError(
            f"file {location.origin}: a line, or an object, of several MiB has over {MAX_MARKS:,} members.\nExport it"
            " with one object a line. Nothing was sent from it after that point; repeating is safe."
        )


#: Up to the first object of the array. What may stand before it says no more than what kind of answer this is.
_ENVELOPE = re.compile(
    rb'\s*\{(?:\s*"(?:object|url|has_more|totalSize|total|done|@odata\.context)"\s*:\s*(?:"[^"]*"|[0-9]+|true|false)\s*,)*'
    rb'\s*"(?:data|records|results|value)"\s*:\s*\[(?=\s*[{\]])'
)


def _is_row(first: bytes, columns: Sequence[str] | None) -> bool:
    """Whether what looks like an API's answer is a row: others follow it, or it has a column that is asked for."""
    line, _, rest = first.strip().partition(b"\n")
    row = _object(line)
    return bool(row) and (bool(rest.strip()) or any(name in row for name in columns or ()))


def _is_value(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _one_a_line(
    first: bytes, chunks: Iterator[bytes], location: FileLocation, most: int, *, skip: int, envelope: bool = False
) -> Iterator[bytes]:
    """The members of an array that begins after ``skip`` bytes, or values that follow each other, one a line.

    An array in an ``envelope`` has the rest of an object after it.
    """
    is_array = skip > 0
    decode, scan = codecs.getincrementaldecoder("utf-8")(), json.JSONDecoder().raw_decode
    text, done, count = decode.decode(first[skip:]).lstrip(), False, 0
    while not done:
        chunk = next(chunks, b"")
        done = not chunk
        text += decode.decode(chunk, final=done)
        _check_density(text, location)
        found, at = [], 0
        while (at := _after_blanks(text, at, is_array)) < len(text) and text[at] != "]":
            try:
                _, end = scan(text, at)
            except (ValueError, RecursionError):
                break
            if end == len(text) and not done:
                break
            found.append(text[at:end].replace("\n", " ").replace("\r", " "))
            at = end
        count += len(found)
        if found:
            yield "\n".join(found).encode() + b"\n"
        text = text[at:]
        if len(text) > most:
            raise _too_long(location, most)
        closing = "]" if is_array else ""
        if done and not (_is_value(f'{{"_":[{text}'.encode()) if envelope else text.strip() == closing):
            raise SourceError(
                f"file {location.origin}: it is {'an array of objects' if is_array else 'JSON'}, and what follows"
                f" object {count:,} is no JSON, or is not whole.\nMend it, or export it with one object a line: then"
                " one bad line costs one row. Nothing was sent from it after that point; repeating is safe."
            )


def _after_blanks(text: str, at: int, is_array: bool) -> int:
    match = (_BLANKS_AND_COMMA if is_array else _BLANKS).match(text, at)
    return match.end() if match else at


_BLANKS, _BLANKS_AND_COMMA = re.compile(r"[ \t\r\n]*"), re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")


def _whole_lines(first: bytes, chunks: Iterator[bytes], location: FileLocation, most: int) -> Iterator[bytes]:
    """Blocks that end where a line ends; a line longer than a block makes its block longer."""
    kept: list[bytes] = []
    for chunk in chain([first] if first else [], chunks):
        end = chunk.rfind(b"\n") + 1
        if kept and end:
            yield b"".join([*kept, chunk[:end]])
            kept = [chunk[end:]]
        else:
            kept.append(chunk)
        if sum(map(len, kept)) > most + CHUNK_BYTES:  # what ends in the first chunk counts too
            raise _too_long(location, most)
    yield b"".join(kept)


def _piece(block: bytes, columns: Sequence[str] | None, location: FileLocation) -> ReadBatch:
    block.decode("utf-8")  # raises where a declared encoding does not fit; the JSON reader would blame the line
    names = columns if columns is not None else _keys(block.splitlines())
    if columns is None and (len(names) > MAX_KEYS or len(names) * block.count(b"\n") > MAX_CELLS):
        raise SourceError(
            f"file {location.origin}: its objects have {len(names):,} different keys, so that they are no"
            " columns.\nExport the same keys in each object. Nothing was sent from it after that point; repeating is"
            " safe."
        )
    schema = dict.fromkeys(names, pl.String())
    try:
        return ReadBatch(_batch(block, schema))
    except PolarsError:
        return _line_by_line(block, schema, location)


def _batch(block: bytes, schema: dict[str, Any]) -> pa.RecordBatch:
    if not block.strip() or not schema:
        return pa.RecordBatch.from_pylist([], pa.schema([(name, pa.string()) for name in schema]))
    nested = {name: _parents(name) for name in schema if "." in name}
    parents = {parent: pl.String() for each in nested.values() for parent, _ in each}
    frame = pl.read_ndjson(BytesIO(block), schema=parents | schema)
    for name, each in nested.items():
        found = [_member(frame[parent], path) for parent, path in each]
        frame = frame.with_columns(reduce(lambda first, then: first.fill_null(then), [frame[name], *found]).alias(name))
    table = frame.select(list(schema)).to_arrow().combine_chunks()
    return pa.RecordBatch.from_arrays([plain(column.combine_chunks()) for column in table.columns], table.column_names)


def _parents(name: str) -> list[tuple[str, list[str]]]:
    """``a.b.c`` is ``b.c`` of ``a``; a key of the file may hold a dot itself, so it is ``c`` of ``a.b`` as well."""
    parts = name.split(".")
    return [(".".join(parts[:cut]), parts[cut:]) for cut in range(1, len(parts))]


def _member(texts: pl.Series, path: list[str]) -> pl.Series:
    """The member of nested objects that are JSON text; numbers by their shortest form, nested values as JSON."""
    if texts.null_count() == len(texts):
        return texts
    return pl.Series(texts.name, [_of_object(text, path) for text in texts.to_list()], dtype=pl.String)


def _of_object(text: str | None, path: list[str]) -> str | None:
    value = _object(text.encode()) if text is not None and text.startswith("{") else None
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT_FLOAT:
        value = int(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# ---------------------------------------------------------------------------------------------- numbers


def _typed(piece: ReadBatch, block: bytes) -> Iterator[ReadBatch]:
    """``piece`` in parts of which each column is numbers or text: a number with a fraction has a point, always."""
    numbers = {}
    for position, name in enumerate(piece.batch.schema.names):
        is_number = _fractions(name, piece.batch.column(position), block)
        if is_number is not None:
            numbers[position] = is_number
    if not numbers or not piece.batch.num_rows:
        yield piece
        return
    state = np.stack(list(numbers.values()))
    cuts = [0, *(np.flatnonzero((state[:, 1:] != state[:, :-1]).any(axis=0)) + 1).tolist(), piece.batch.num_rows]
    for start, stop in pairwise(cuts):
        part = piece.batch.slice(start, stop - start)
        for position, is_number in numbers.items():
            if is_number[start]:
                floats = pc.cast(part.column(position), pa.float64())
                part = part.set_column(position, part.schema.names[position], floats)
        yield ReadBatch(part, tuple(gap - start for gap in piece.malformed if start <= gap < stop))


def _fractions(name: str, column: pa.Array, block: bytes) -> Any:
    """At which rows the column is to be numbers: where it is one with a fraction, and beside it where it may be.

    ``None`` where it is text everywhere, as it is where no number with a fraction stands in the block.
    """
    if not pc.any(pc.match_substring_regex(column, r"^-?\d+(?:\.\d|[eE])")).as_py():
        return None
    key = name.rpartition(".")[2]
    keys = {re.escape(json.dumps(key, ensure_ascii=ascii_only).encode()) for ascii_only in (True, False)}
    written = b"(?:" + b"|".join(keys) + b")"
    if not re.search(written + _FRACTION, block):
        return None
    texts = pl.Series(pl.from_arrow(column))
    if not re.search(written + _TEXT, block):
        floats = texts.cast(pl.Float64, strict=False)
        if floats.null_count() == texts.null_count() and not bool((floats.abs() >= EXACT_FLOAT).any()):
            return np.ones(len(column), dtype=bool)
    values = [value for line in block.split(b"\n") if line.strip() for value in [_value(line, name)]]
    if len(values) != len(column):
        values = [None] * len(column)
    kinds = [True if isinstance(value, float) else None if value is None else False for value in values]
    filled, last = [], False
    for kind in kinds:
        last = last if kind is None else kind
        filled.append(last)
    return np.array(filled)


def _value(line: bytes, name: str) -> Any:
    row: Any = _object(line)
    if name in row:
        return row[name]
    for key in name.split("."):
        row = row.get(key) if isinstance(row, dict) else None
    return row


def _line_by_line(block: bytes, schema: dict[str, Any], location: FileLocation) -> ReadBatch:
    """The block without its malformed lines, and rows of nulls in their places."""
    lines = [line for line in block.split(b"\n") if line.strip()]
    malformed = [number for number, line in enumerate(lines) if not _is_object(line)]
    if len(malformed) > MOST_MALFORMED:
        raise SourceError(
            f"file {location.origin}: it does not hold JSON lines: over {MOST_MALFORMED:,} lines are no JSON object.\n"
            "Export it with one object a line, or set source.format. Nothing was sent from it after that point;"
            " repeating is safe."
        )
    bad = set(malformed)
    good = b"\n".join(line for number, line in enumerate(lines) if number not in bad)
    return ReadBatch.with_gaps(_batch(good, schema), malformed)


def _is_object(line: bytes) -> bool:
    try:
        pl.read_ndjson(line, schema={"_": pl.String()})
    except PolarsError:
        return False
    return True


def _keys(lines: Iterable[bytes]) -> list[str]:
    """Every key of the lines, in the order of first appearance."""
    return list(dict.fromkeys(key for line in lines for key in _object(line)))


def _paths(lines: Iterable[bytes]) -> list[str]:
    """Every key of the lines, then the members of nested objects by their dotted names."""
    objects = [_object(line) for line in lines]
    own = dict.fromkeys(key for found in objects for key in found)
    return list(own | dict.fromkeys(path for found in objects for path in _dotted(found)))


def _dotted(found: dict[str, Any]) -> Iterator[str]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from (f"{key}.{member}" for member in value)
            yield from (f"{key}.{path}" for path in _dotted(value))


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # counted as malformed where the rows are read
        return {}
    return found if isinstance(found, dict) else {}
