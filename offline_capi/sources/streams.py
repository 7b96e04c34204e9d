"""The bytes of a file: opened, decompressed, and as UTF-8, always as a stream."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from offline_capi.errors import SourceError
from offline_capi.sources.places import Place
from offline_capi.storage import HOW_TO_REACH, UNUSABLE, is_fault_of_store

__all__ = ["CHUNK_BYTES", "explained", "lines_about", "open_bytes", "open_text", "seekable"]

CHUNK_BYTES = 4 << 20
# Longest first: the mark of UTF-32 begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def seekable(place: Place) -> Any:
    """The file as it lies, for formats that jump about in it."""
    return pa.OSFile(place.path) if place.local else pa.PythonFile(place.fs.open(place.path, "rb"), mode="r")


def open_bytes(place: Place) -> Any:
    """The file's content, decompressed as its name says. A compressed file that ends too early raises ``OSError``."""
    raw = seekable(place)
    return pa.CompressedInputStream(raw, place.compression) if place.compression else raw


def open_text(place: Place, encodings: Sequence[str]) -> Any:
    """The file's content in UTF-8, without byte-order mark."""
    _check_known(encodings)
    encoding, mark = _encoding_of(place, encodings)
    stream = open_bytes(place)
    if codecs.lookup(encoding).name != "utf-8":
        return pa.transcoding_input_stream(stream, encoding, "utf-8")
    stream.read(len(mark))
    return stream


def lines_about(place: Place) -> int | None:
    """How many lines a text has, judged by its size and its beginning; ``None`` where it is compressed."""
    if place.compression:
        return None
    with open_bytes(place) as stream:
        size, head = stream.size(), stream.read(CHUNK_BYTES)
    return round(head.count(b"\n") * size / len(head)) if head else 0


def _check_known(encodings: Sequence[str]) -> None:
    for encoding in encodings:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise SourceError(
                f'source.encoding: "{encoding}" is unknown. Use a name that Python knows, such as utf-8, latin-1 or'
                " cp1252. Nothing was sent; repeating is safe."
            ) from None


def _encoding_of(place: Place, encodings: Sequence[str]) -> tuple[str, bytes]:
    """A byte-order mark decides; else the first encoding in which the whole file can be decoded."""
    with open_bytes(place) as stream:
        head = stream.read(4)
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding, mark
    # The last one is not tried beforehand: nothing would follow, and reading raises where it does not fit.
    fitting = (encoding for encoding in encodings[:-1] if _decodes(place, encoding))
    return next(fitting, encodings[-1]), b""


def _decodes(place: Place, encoding: str) -> bool:
    with open_bytes(place) as stream:
        chunks = iter(lambda: stream.read(CHUNK_BYTES), b"")
        return _is_utf8(chunks) if codecs.lookup(encoding).name == "utf-8" else _is_encoded(chunks, encoding)


def _is_encoded(chunks: Iterator[bytes], encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for chunk in chunks:
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8(chunks: Iterator[bytes]) -> bool:
    """By Arrow, ten times as fast as Python. Cut at line ends, where no character can be cut in two."""
    rest = b""
    try:
        for chunk in chunks:
            whole, end, rest = (rest + chunk).rpartition(b"\n")
            pa.array([whole + end], pa.large_binary()).cast(pa.large_string())
        pa.array([rest], pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


# ---------------------------------------------------------------------------------------------- what went wrong


@contextmanager
def explained(place: Place, encodings: Sequence[str] = ()) -> Iterator[None]:
    """Turn what the libraries raise into what the owner of the file can act on.

    Their own words are never passed on, and their errors not chained: they quote the line.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, (OSError, pa.ArrowException, UnicodeDecodeError)) and not is_fault_of_store(error):
            raise
        what, fix = _cause(error, encodings)
        raise SourceError(
            f"file {place.origin}: {what}.\n{fix} Nothing was sent from it after that point; repeating is safe."
        ) from None


Cause = tuple[Callable[[Exception, str], bool], str, str]

_BAD_ENCODING = "it is not written in {encodings}"
CAUSES: tuple[Cause, ...] = (
    (lambda e, _: is_fault_of_store(e), UNUSABLE, HOW_TO_REACH),
    (lambda e, _: isinstance(e, FileNotFoundError), "it is gone", "Look whether the export replaces files."),
    (lambda e, _: isinstance(e, PermissionError), "it may not be read", "Grant read access to whoever runs the job."),
    (lambda e, _: isinstance(e, IsADirectoryError), "it is a folder", "Name the files, or the folder above."),
    (
        lambda e, text: isinstance(e, UnicodeDecodeError) or "invalid utf8" in text,
        _BAD_ENCODING,
        "Add its encoding under source.encoding, for instance [utf-8, cp1252].",
    ),
    (lambda _, text: "truncated" in text, "it ends in the middle", "Copy it again: the transfer was cut short."),
    (lambda _, text: "empty csv file" in text, "it is empty, without even a header", "An export without rows has one."),
    (
        lambda _, text: "straddling" in text or "block" in text,
        "a row is longer than 1 MB, usually because a quote is opened and never closed",
        "Look for an odd quote.",
    ),
    (
        lambda _, text: "parquet" in text or "thrift" in text,
        "it is not a whole Parquet file",
        "Copy or export it again.",
    ),
    (
        lambda _, text: "inflate" in text or "decompress" in text or "zstd" in text,
        "it is not compressed as its name says, or is damaged",
        "Rename it, or copy it again.",
    ),
)


def _cause(error: Exception, encodings: Sequence[str]) -> tuple[str, str]:
    text = str(error).lower()
    for applies, what, fix in CAUSES:
        if applies(error, text):
            return what.format(encodings=" or ".join(encodings) or "utf-8"), fix
    return f"it cannot be read ({type(error).__name__})", "Look at the file, and export it again."
