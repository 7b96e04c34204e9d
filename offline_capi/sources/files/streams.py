"""The bytes of a file: recognised, opened, decompressed, and as UTF-8, always as a stream."""

from __future__ import annotations

import codecs
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from encodings import normalize_encoding
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from offline_capi.config.source import FileSource
from offline_capi.errors import SourceError
from offline_capi.sources.files.locate import COMPRESSIONS, FORMAT_BY_SUFFIX, FORMAT_FACTS, FileLocation
from offline_capi.storage.filesystem import HOW_TO_REACH, UNUSABLE, is_fault_of_store

__all__ = [
    "CHUNK_BYTES",
    "SCAN_BYTES",
    "check_unpacked",
    "check_utf8",
    "estimate_lines",
    "explain_file_errors",
    "explaining",
    "find_encoding",
    "find_measure",
    "open_bytes",
    "open_span",
    "open_text",
    "recognise_format",
    "seekable",
    "seekable_file",
]

T = TypeVar("T")

CHUNK_BYTES = 4 << 20
#: Looked through at once. It stays in the processor's cache, and below the size (``runtime/process.py``) from which
#: memory goes back to the system each time, to be faulted in again page by page: half of the time that 4 MiB take.
SCAN_BYTES = 1 << 18
#: Unpacked before the ratio counts: a short file of one repeated row packs as well as a bomb does.
FREE_BYTES = 64 << 20
MAX_PACKED_WORKBOOK_BYTES = 128 << 20
# Longest first: the mark of UTF-32 begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def seekable(location: FileLocation) -> Any:
    """The file as it lies, for formats that jump about in it."""
    return (
        pa.OSFile(location.path) if location.local else pa.PythonFile(location.fs.open(location.path, "rb"), mode="r")
    )


def open_bytes(location: FileLocation) -> Any:
    """The file's content, decompressed. A compressed file that ends too early raises ``OSError``."""
    if not location.compression:
        return seekable(location)
    stream, packed = seekable(location), location.fs.size(location.path)
    for codec in location.compression.split("+"):
        unpacked = _only_member(location) if codec == "zip" else pa.CompressedInputStream(stream, codec)
        stream = pa.PythonFile(_Unpacked(unpacked, location, packed), mode="r")
    return stream


class _Unpacked:
    """What a layer of compression holds, read up to the bounds of its source: a small file can stand for terabytes."""

    closed = False

    def __init__(self, stream: Any, location: FileLocation, packed: int) -> None:
        self._stream, self._location, self._packed, self._read = stream, location, packed, 0

    def read(self, size: int) -> bytes:
        chunk = bytes(self._stream.read(size))
        self._read += len(chunk)
        check_unpacked(self._read, self._packed, self._location)
        return chunk

    def close(self) -> None:
        self._stream.close()
        self.closed = True


def check_unpacked(unpacked: int, packed: int, location: FileLocation) -> None:
    """Raise ``SourceError`` where a file of ``packed`` bytes is more than its source allows once it is unpacked."""
    if unpacked > max(FREE_BYTES, packed * location.max_ratio):
        what, setting = f"over {location.max_ratio} times its size", "max_ratio"
    elif unpacked > location.max_unpacked_gib << 30:
        what, setting = f"over {location.max_unpacked_gib} GiB", "max_unpacked_gib"
    else:
        return
    raise SourceError(
        f"file {location.origin}: it has {what} unpacked, as a file does that is made to fill a disk.\nUnpack it"
        f" and look, or raise source.{setting}. Nothing was sent from it after that point; repeating is safe."
    )


def seekable_file(location: FileLocation) -> Any:
    """The file's content as a Python file that jumps about, for libraries that want one."""
    if not location.compression:
        return location.fs.open(location.path, "rb")
    with open_bytes(location) as stream:
        content = BytesIO()
        while chunk := stream.read(CHUNK_BYTES):
            content.write(chunk)
            if content.tell() > MAX_PACKED_WORKBOOK_BYTES:
                raise SourceError(
                    f"file {location.origin}: it is a zip archive of over {MAX_PACKED_WORKBOOK_BYTES >> 20} MiB inside"
                    " another file.\nUnpack it. Nothing was sent; repeating is safe."
                )
    content.seek(0)
    return content


def _only_member(location: FileLocation) -> Any:
    archive = zipfile.ZipFile(location.fs.open(location.path, "rb"))
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir() and not member.filename.startswith(("__MACOSX/", "."))
    ]
    if len(members) != 1:
        raise SourceError(
            f"file {location.origin}: it is a zip archive of {len(members)} files, and one is read.\nUnpack it, or pack"
            " each file alone. Nothing was sent; repeating is safe."
        )
    # Python unpacks the other kinds without a bound.
    if members[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError
    if members[0].flag_bits & 1:
        raise SourceError(
            f"file {location.origin}: it is a zip archive with a password.\nUnpack it where it arrives. Nothing was"
            " sent; repeating is safe."
        )
    return archive.open(members[0])


def open_text(location: FileLocation, encodings: Sequence[str]) -> Any:
    """The file's content in UTF-8, without byte-order mark.

    Latin-1 is read as Windows-1252, which is what is meant (WHATWG Encoding Standard, section 4.2): the two differ in
    the bytes 80 to 9F alone, which are control characters in Latin-1 and never occur in text.
    """
    encoding, mark = find_encoding(location, encodings)
    stream = open_bytes(location)
    if codecs.lookup(encoding).name != "utf-8":
        return pa.transcoding_input_stream(stream, encoding, "utf-8")
    stream.read(len(mark))
    return stream


def open_span(location: FileLocation, encoding: str, start: int, end: int | None) -> Any:
    """Some bytes of a file that is not compressed, in UTF-8. ``start`` is where a character begins."""
    whole = seekable(location)
    stream = whole.get_stream(start, (whole.size() if end is None else end) - start)
    return stream if codecs.lookup(encoding).name == "utf-8" else pa.transcoding_input_stream(stream, encoding, "utf-8")


def find_measure(encoding: str) -> Callable[[bytes], int] | None:
    """How many bytes of a file some UTF-8 was; ``None`` where a byte in this encoding is not always a character."""
    name = codecs.lookup(encoding).name
    if name in {"utf-8", "ascii"}:
        return len
    module = sys.modules.get(f"encodings.{normalize_encoding(name)}")  # the look-up has imported it
    return _count_characters if hasattr(module, "decoding_table") else None


def _count_characters(text: bytes) -> int:
    """Of UTF-8: all bytes but those that go on with a character."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) & 0xC0 != 0x80))


def _meant(encoding: str) -> str:
    return "cp1252" if codecs.lookup(encoding).name == "iso8859-1" else encoding


# ---------------------------------------------------------------------------------------------- first bytes

_MAGIC = (
    (re.compile(rb"\x1f\x8b"), "gzip"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstd"),
    (re.compile(rb"BZh[1-9]1AY&SY"), "bz2"),
    (re.compile(rb"\x04\x22\x4d\x18"), "lz4"),
    (re.compile(rb"PK(?:\x03\x04|\x05\x06)"), "zip"),
)
_JSON = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[\s*(?:\{|\])|\{\s*(?:\"|\}))")
MAX_LAYERS = 3
HEAD_BYTES = 4096


def recognise_format(location: FileLocation, declared: str) -> FileLocation:
    """The location as its first bytes say: they decide over the name, and over nothing that is declared.

    Raises ``SourceError`` where neither tells the format, and where a declared one is certainly another.
    """
    layers: list[str] = []
    name, head = location.path, b""
    for _ in range(MAX_LAYERS + 1):
        with open_bytes(replace(location, compression="+".join(layers) or None)) as stream:
            head = bytes(stream.read(HEAD_BYTES))
        layer = next((codec for magic, codec in _MAGIC if magic.match(head)), None)
        if layer is None or (layer == "zip" and _is_workbook(location, layers)):
            break
        if layer == "zip" and layers:
            raise SourceError(
                f"file {location.origin}: it is a zip archive inside another file.\nUnpack it. Nothing was sent;"
                " repeating is safe."
            )
        if layer == "zip":
            name = str(_only_member(location).name)
        layers.append(layer)
    if location.compression and not layers and not head.startswith((b"PK", *FORMAT_FACTS["excel"].first_bytes)):
        raise SourceError(
            f"file {location.origin}: it is not compressed as its name says, or is damaged.\nRename it, or copy it"
            " again. Nothing was sent from it; repeating is safe."
        )
    found = _format_of(head, layers, location)
    by_name = location.format if location.format != "auto" else _format_of_name(name)
    file_format = _agreed(location, found, by_name, declared)
    return replace(location, format=file_format, compression="+".join(layers) or None)


def _is_workbook(location: FileLocation, layers: list[str]) -> bool:
    with seekable_file(replace(location, compression="+".join(layers) or None)) as stream:
        return any(name.startswith("xl/") for name in zipfile.ZipFile(stream).namelist())


def _format_of(head: bytes, layers: list[str], location: FileLocation) -> str | None:
    found = next((name for name, facts in FORMAT_FACTS.items() if head.startswith(facts.first_bytes)), None)
    if found == "parquet" and layers:
        raise SourceError(
            f"file {location.origin}: it is a Parquet file inside an archive, which cannot be read.\nUnpack it, and"
            " compress its columns instead. Nothing was sent; repeating is safe."
        )
    return found or ("jsonl" if _JSON.match(head.replace(b"\0", b"")) else None)


def _format_of_name(name: str) -> str | None:
    pure = PurePosixPath(name)
    while pure.suffix.lower() in COMPRESSIONS:
        pure = pure.with_suffix("")
    return FORMAT_BY_SUFFIX.get(pure.suffix.lower())


def _agreed(location: FileLocation, found: str | None, by_name: str | None, declared: str) -> str:
    if declared == "auto":
        if found or by_name:
            return found or str(by_name)
        *others, last = FORMAT_FACTS
        raise SourceError(
            f"file {location.origin}: neither its name nor its first bytes tell its format. Known names:"
            f" {', '.join(FORMAT_BY_SUFFIX)}, each also with {', '.join(COMPRESSIONS)}.\nSet source.format to"
            f" {', '.join(others)} or {last}, or name the files with a pattern such as *.csv. Nothing was sent;"
            " repeating is safe."
        )
    if found and found != declared and FORMAT_FACTS[found].first_bytes:
        raise SourceError(
            f"file {location.origin}: it is {FORMAT_FACTS[found].called}, and source.format says {declared}.\nSet"
            f" source.format to {found} or leave it out. Nothing was sent; repeating is safe."
        )
    return declared


def estimate_lines(location: FileLocation) -> int | None:
    """How many lines a text has, judged by its size and its beginning; ``None`` where it is compressed."""
    if location.compression:
        return None
    with open_bytes(location) as stream:
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


def find_encoding(location: FileLocation, encodings: Sequence[str]) -> tuple[str, bytes]:
    """In which ``open_text`` reads the file, and its byte-order mark.

    The mark decides; else the first encoding in which the whole file can be decoded.
    """
    _check_known(encodings)
    encodings = tuple(map(_meant, encodings))
    with open_bytes(location) as stream:
        head = bytes(stream.read(HEAD_BYTES))
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return encoding, mark
    if wide := _wide_encoding(head):
        return wide, b""
    # The last one is not tried beforehand: nothing would follow, and reading raises where it does not fit.
    fitting = (encoding for encoding in encodings[:-1] if _decodes(location, encoding))
    return next(fitting, encodings[-1]), b""


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of its commas and digits is zero, which no text of bytes holds."""
    high, low = head[0::2].count(0), head[1::2].count(0)
    if max(high, low) * 20 < len(head) or min(high, low) * 4 > max(high, low):
        return None
    return "utf-16-le" if low > high else "utf-16-be"


def _decodes(location: FileLocation, encoding: str) -> bool:
    with open_bytes(location) as stream:
        chunks = iter(lambda: stream.read(SCAN_BYTES), b"")
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


def check_utf8(text: bytes | memoryview) -> None:
    """Raises ``ArrowInvalid`` where whole lines are not UTF-8. By Arrow, ten times as fast as Python."""
    ends = pa.py_buffer(np.array([0, len(text)], np.int64))
    pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(text)]).validate(full=True)


def _is_utf8(chunks: Iterator[bytes]) -> bool:
    """By Arrow, ten times as fast as Python. Cut before the last character, which may go on in the next chunk."""
    rest = b""
    try:
        for chunk in chunks:
            text = rest + chunk
            last = max((at for at in range(max(len(text) - 4, 0), len(text)) if text[at] & 0xC0 != 0x80), default=0)
            check_utf8(memoryview(text)[:last])
            rest = text[last:]
        check_utf8(rest)
    except pa.ArrowInvalid:
        return False
    return True


# ---------------------------------------------------------------------------------------------- what went wrong


@contextmanager
def explain_file_errors(location: FileLocation, encodings: Sequence[str] = ()) -> Iterator[None]:
    """Turn what the libraries raise into what the owner of the file can act on.

    Their own words are never passed on, and their errors not chained: they quote the line.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, EXPECTED) and not is_fault_of_store(error):
            raise
        what, fix = _cause(error, encodings)
        raise SourceError(
            f"file {location.origin}: {what}.\n{fix} Nothing was sent from it after that point; repeating is safe."
        ) from None


def explaining(
    read: Callable[..., Iterator[T]], location: FileLocation, source: FileSource, columns: Any
) -> Iterator[T]:
    """``read`` in a process of its own, out of which errors have to come explained, but for too little memory."""
    with explain_file_errors(location, source.encoding):
        try:
            yield from read(location, source, columns)
        except MemoryError:  # Arrow's is one of its own errors as well
            raise MemoryError from None


#: What the libraries raise over a damaged file.
EXPECTED = (OSError, EOFError, pa.ArrowException, UnicodeError, zipfile.BadZipFile, zlib.error, NotImplementedError)

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
    (
        lambda e, _: isinstance(e, (zipfile.BadZipFile, zlib.error, NotImplementedError)),
        "it is a damaged zip archive, or packed in a way that cannot be read",
        "Copy it again, or unpack it.",
    ),
    (lambda e, _: isinstance(e, EOFError), "it ends in the middle", "Copy it again: the transfer was cut short."),
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
