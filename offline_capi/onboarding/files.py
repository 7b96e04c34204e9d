"""A look at a file: its format, its encoding, what stands between its columns, and the day in its name."""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

from offline_capi.audit.suggestions import SHAPES
from offline_capi.config.paths import project_folder
from offline_capi.config.settings import FileSource
from offline_capi.errors import UsageError
from offline_capi.model import Window
from offline_capi.onboarding.origins import Origin, filled, name_from
from offline_capi.onboarding.sample import Sample
from offline_capi.sources import read_batches
from offline_capi.sources.places import FORMATS, Place, files_of
from offline_capi.sources.streams import CHUNK_BYTES, MARKS, explained, open_bytes

__all__ = ["dated_path", "look_at_file", "seen_from"]

_HEAD = 1 << 16
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_WORDS = {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet"}
#: Tried where a file is not UTF-8: what Windows programs write, which nearly always fits, and what always does.
_FALLBACKS = ("cp1252", "latin-1")
_ROW_AND_NO_HEADER = (SHAPES["em"], SHAPES["ph"], r"^-?\d+([.,]\d+)?$", r"^\d{4}-\d\d-\d\d")


def look_at_file(path: str, environ: Mapping[str, str]) -> Origin:
    """A file, a folder of files or a pattern. Raises ``UsageError`` or ``SourceError`` where rows cannot be read."""
    settings = _settings(path, environ)
    source = FileSource.model_validate({"path": path, **settings})
    sample = Sample.of(
        read_batches(source, _any_day(), zone="UTC", connection_url=str, sql_folder=Path(), environ=environ)
    )
    written, day = dated_path(path)
    return Origin(
        name=name_from(_without_day(PurePosixPath(path).name)),
        described=_described(source, _place(path, environ, settings)),
        node={"path": written, **settings},
        notes=_notes(written, settings),
        sample=filled(sample, path),
        day=day,
    )


def seen_from(config: Path, origin: Origin) -> Origin:
    """The source as the configuration in ``config`` has to name it: typed from the shell's folder, read from the
    project's."""
    path, project = origin.node.get("path"), project_folder(config)
    if not isinstance(path, str) or "://" in path or path.startswith(("/", "~", "$")) or project == Path.cwd():
        return origin
    here = os.path.relpath(path, project)
    return replace(origin, node={**origin.node, "path": str(Path.cwd() / path) if here.startswith("..") else here})


def _described(source: FileSource, place: Place) -> str:
    if place.format != "csv":
        return _WORDS[place.format]
    encoding = f", {source.encoding[-1]}" if "encoding" in source.model_fields_set else ""
    return f"CSV{encoding}, {_DELIMITERS[source.delimiter]} between columns"


def _notes(written: str, settings: Mapping[str, object]) -> dict[str, str]:
    notes = {"encoding": "it is not UTF-8; tried in this order, file by file", "delimiter": "between columns"}
    local = "://" not in written and not written.startswith(("/", "${"))
    where = "from the folder of the command; for Airflow write it in full, or ${NAME}/…" if local else ""
    each = (
        "{date…} is the day of the night"
        if "{date" in written
        else "every night reads it all, and takes its day's rows"
    )
    return {"path": "; ".join(filter(None, (each, where))), **{key: notes[key] for key in settings if key in notes}}


def _any_day() -> Window:
    return Window.of_day(datetime.now(UTC).date(), "UTC")


def _place(path: str, environ: Mapping[str, str], settings: Mapping[str, Any]) -> Place:
    """The first of the files. One whose name tells no format is read as ``settings`` say."""
    source = FileSource.model_validate({"path": path, "format": settings.get("format", "auto")})
    places = files_of(source, _any_day(), "UTC", environ)
    if not places:
        raise UsageError(
            f"there is no file to read at {path}; name a CSV, JSON lines or Parquet file. Nothing was written"
        )
    return places[0]


# ---------------------------------------------------------------------------------------------- format


def _settings(path: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """What YAML has to say of a file beside its path: nothing that goes without saying."""
    settings: dict[str, Any] = {} if _tells_its_format(path) else {"format": "csv"}
    place = _place(path, environ, settings)
    with explained(place):
        head = _head(place)
        if not head:
            raise UsageError(f"{path} is empty, without even a header; name a file that has rows. Nothing was written")
        if not _tells_its_format(path):
            settings = {"format": _format_of(head, path)}
        if (settings.get("format") or place.format) != "csv":
            return settings
        encoding = _encoding(place, head)
    delimiter = _delimiter(head.decode(encoding, "ignore"), path)
    if encoding in _FALLBACKS:
        settings["encoding"] = ["utf-8", encoding]
    return {**settings, **({"delimiter": delimiter} if delimiter != "," else {})}


def _tells_its_format(path: str) -> bool:
    """A folder or a pattern may hold files of several formats, each of which tells its own."""
    suffixes = {suffix.lower() for suffix in PurePosixPath(path).suffixes[-2:]}
    return bool(suffixes & set(FORMATS)) or Path(path).is_dir() or path.endswith("*")


def _head(place: Place) -> bytes:
    with open_bytes(place) as stream:
        return bytes(stream.read(_HEAD))


def _format_of(head: bytes, path: str) -> str:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        raise UsageError(f"{path} is a workbook or a zip archive; save it as CSV (UTF-8) first. Nothing was written")
    return "jsonl" if head.lstrip().startswith(b"{") else "csv"


# ---------------------------------------------------------------------------------------------- text


def _encoding(place: Place, head: bytes) -> str:
    """By its mark, else the first in which the whole file can be decoded."""
    marked = next((encoding for mark, encoding in MARKS if head.startswith(mark)), None)
    tried = ("utf-8", *_FALLBACKS)
    return marked or next(encoding for encoding in tried if _decodes(place, encoding))


def _decodes(place: Place, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with open_bytes(place) as stream:
        try:
            for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _delimiter(head: str, path: str) -> str:
    """What cuts most lines into as many columns as the header has."""
    lines = head.removeprefix("\ufeff").splitlines(keepends=True)
    text = "".join(lines[:-1] if len(head) >= _HEAD // 2 else lines)
    best = max(_DELIMITERS, key=lambda delimiter: _evenness(text, delimiter))
    header = next(csv.reader(StringIO(text), delimiter=best), [])
    if any(re.search(shape, cell.strip()) for cell in header for shape in _ROW_AND_NO_HEADER):
        raise UsageError(
            f"the first line of {path} looks like a row, not like the names of columns; export it with a header. "
            "Nothing was written"
        )
    return best


def _evenness(text: str, delimiter: str) -> tuple[float, int]:
    widths = list(_widths(text, delimiter))
    if not widths or widths[0] == 1:
        return 0.0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _widths(text: str, delimiter: str) -> Iterator[int]:
    """How many columns each line has; a text that the reader of Python gives up on ends there."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    while True:
        try:
            row = next(reader)
        except (StopIteration, csv.Error):
            return
        if row:
            yield len(row)


# ---------------------------------------------------------------------------------------------- the day in a name

_DAY = re.compile(
    r"(?<!\d)(20\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)(?:[-_T]?(?:\d{4}|\d{6})(?!\d))?"
)


def dated_path(path: str) -> tuple[str, date | None]:
    """``sales_20261123_0430.csv`` → ``sales_{date:%Y%m%d}*.csv`` and the day; the path itself where it names none."""
    days = [day for match in _DAY.finditer(path) if (day := _day_of(match))]
    if not days:
        return path, None
    return _DAY.sub(lambda match: _placeholder(match) if _day_of(match) == days[-1] else match[0], path), days[-1]


def _day_of(match: re.Match[str]) -> date | None:
    try:
        return date(int(match[1]), int(match[3]), int(match[4]))
    except ValueError:  # the 31st of a month that has none
        return None


def _placeholder(match: re.Match[str]) -> str:
    """With a star for the hour that some exports add: it is another one every night."""
    clock = "*" if match.end() > match.end(4) else ""
    return ("{date}" if match[2] == "-" else f"{{date:%Y{match[2]}%m{match[2]}%d}}") + clock


def _without_day(name: str) -> str:
    stem = name.split(".")[0] if _DAY.search(name) is None else _DAY.sub("", name).split(".")[0]
    return re.sub(r"[*?\[\]]", "", stem)
