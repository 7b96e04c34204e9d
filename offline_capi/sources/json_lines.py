"""JSON lines: every value as text, numbers as written by their shortest form, nested values as JSON text.

``null`` and a missing key are null, nothing else is. A line that is no JSON object becomes a row of nulls with a fault.
Asked for no certain columns, a block of lines has the keys that occur in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from typing import Any

import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError

from offline_capi.config.settings import FileSource
from offline_capi.errors import SourceError
from offline_capi.sources.columns import check_names, plain
from offline_capi.sources.pieces import Piece
from offline_capi.sources.places import Place
from offline_capi.sources.streams import CHUNK_BYTES, open_text

__all__ = ["jsonl_columns", "read_jsonl"]

PROBE_LINES = 100
MOST_MALFORMED = 1000


def read_jsonl(place: Place, source: FileSource, columns: Sequence[str] | None) -> Iterator[Piece]:
    with open_text(place, source.encoding) as stream:
        for number, block in enumerate(_whole_lines(stream)):
            piece = _piece(block, columns, place)
            if number == 0:
                _check_keys(block, piece.batch, place)
            yield piece


def _check_keys(block: bytes, batch: pa.RecordBatch, place: Place) -> None:
    """Refuse a column that no line has. In a short file it may only be empty that day: writers leave nulls out."""
    empty = [
        name for name, column in zip(batch.schema.names, batch.columns, strict=True) if column.null_count == len(column)
    ]
    if empty and batch.num_rows >= PROBE_LINES:
        found = _keys(block.splitlines())
        check_names(found, [name for name in empty if name not in found], f"file {place.origin}")


def jsonl_columns(place: Place, source: FileSource) -> list[tuple[str, str]]:
    with open_text(place, source.encoding) as stream:
        lines = stream.read(1 << 20).splitlines()
    return [(name, "string") for name in _keys(islice(lines, PROBE_LINES))]


def _whole_lines(stream: Any) -> Iterator[bytes]:
    """Blocks that end where a line ends; a line longer than a block makes its block longer."""
    kept: list[bytes] = []
    while chunk := stream.read(CHUNK_BYTES):
        end = chunk.rfind(b"\n") + 1
        if kept and end:
            yield b"".join([*kept, chunk[:end]])
            kept = [chunk[end:]]
        else:
            kept.append(chunk)
    yield b"".join(kept)


def _piece(block: bytes, columns: Sequence[str] | None, place: Place) -> Piece:
    block.decode("utf-8")  # raises where a declared encoding does not fit; the JSON reader would blame the line
    names = columns if columns is not None else _keys(block.splitlines())
    schema = dict.fromkeys(names, pl.String())
    try:
        return Piece(_batch(block, schema))
    except PolarsError:
        return _line_by_line(block, schema, place)


def _batch(block: bytes, schema: dict[str, Any]) -> pa.RecordBatch:
    if not block.strip() or not schema:
        return pa.RecordBatch.from_pylist([], pa.schema([(name, pa.string()) for name in schema]))
    table = pl.read_ndjson(BytesIO(block), schema=schema).to_arrow().combine_chunks()
    return pa.RecordBatch.from_arrays([plain(column.combine_chunks()) for column in table.columns], table.column_names)


def _line_by_line(block: bytes, schema: dict[str, Any], place: Place) -> Piece:
    """The block without its malformed lines, and rows of nulls in their places."""
    lines = [line for line in block.split(b"\n") if line.strip()]
    malformed = [number for number, line in enumerate(lines) if not _is_object(line)]
    if len(malformed) > MOST_MALFORMED:
        raise SourceError(
            f"file {place.origin}: it does not hold JSON lines: over {MOST_MALFORMED:,} lines are no JSON object.\n"
            "Export it with one object a line, or set source.format. Nothing was sent from it after that point;"
            " repeating is safe."
        )
    bad = set(malformed)
    good = b"\n".join(line for number, line in enumerate(lines) if number not in bad)
    return Piece.with_gaps(_batch(good, schema), malformed)


def _is_object(line: bytes) -> bool:
    try:
        pl.read_ndjson(line, schema={"_": pl.String()})
    except PolarsError:
        return False
    return True


def _keys(lines: Iterable[bytes]) -> list[str]:
    """Every key of the lines, in the order of first appearance."""
    return list(dict.fromkeys(key for line in lines for key in _object(line)))


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:  # counted as malformed where the rows are read
        return {}
    return found if isinstance(found, dict) else {}
