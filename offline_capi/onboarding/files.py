"""Inspection of a file: format, encoding, delimiters, header and day."""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

from offline_capi.audit.suggestions import KEY_PATTERNS
from offline_capi.config.paths import find_project_folder
from offline_capi.config.source import FileSource
from offline_capi.errors import SourceError, UsageError
from offline_capi.model import Window
from offline_capi.onboarding.origins import Origin, derive_name, require_rows
from offline_capi.onboarding.sample import Sample
from offline_capi.sources import SourceAccess, open_source
from offline_capi.sources.files.csv import header_line
from offline_capi.sources.files.locate import FORMAT_FACTS, FileLocation, list_files
from offline_capi.sources.files.streams import explain_file_errors, open_text, recognise_format

__all__ = ["build_any_window", "generalise_path", "inspect_file", "rebase_source"]

_HEAD_BYTES = 1 << 16
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
#: Tried where a file is not UTF-8: what Windows programs write.
_FALLBACK_ENCODING = "cp1252"
_ROW_AND_NO_HEADER = (KEY_PATTERNS["em"], KEY_PATTERNS["ph"], r"^-?\d+([.,]\d+)?$", r"^\d{4}-\d\d-\d\d")


def inspect_file(path: str, environ: Mapping[str, str]) -> Origin:
    """A file, a folder of files or a pattern. Raises ``UsageError`` or ``SourceError`` where rows cannot be read."""
    settings = _detect_settings(path, environ)
    if any("=" in folder for folder in PurePosixPath(_locate_first_file(path, environ).origin).parts[:-1]):
        settings["partitioning"] = "hive"
    source = FileSource.model_validate({"path": path, **settings})
    sample = Sample.collect(open_source(source, SourceAccess("UTC", str, environ=environ)).read(build_any_window()))
    written, day = generalise_path(path)
    return Origin(
        name=derive_name(_remove_day(PurePosixPath(path).name)),
        described=_describe_source(source, _locate_first_file(path, environ)),
        node={"path": written, **settings},
        notes=_write_notes(written, settings),
        sample=require_rows(sample, path),
        day=day,
    )


def rebase_source(config: Path, origin: Origin) -> Origin:
    """The source as the configuration in ``config`` has to name it: typed from the shell's folder, read from the
    project's."""
    key = "delta" if "delta" in origin.node else "path"
    path, project = origin.node.get(key), find_project_folder(config)
    if not isinstance(path, str) or "://" in path or path.startswith(("/", "~", "$")) or project == Path.cwd():
        return origin
    here = os.path.relpath(path, project)
    return replace(origin, node={**origin.node, key: str(Path.cwd() / path) if here.startswith("..") else here})


def _describe_source(source: FileSource, location: FileLocation) -> str:
    if location.format not in ("auto", "csv"):
        return FORMAT_FACTS[location.format].called
    encoding = f", {source.encoding[-1]}" if "encoding" in source.model_fields_set else ""
    return f"CSV{encoding}, {_DELIMITERS.get(source.delimiter, source.delimiter)} between columns"


def _write_notes(written: str, settings: Mapping[str, object]) -> dict[str, str]:
    notes = {"encoding": "it is not UTF-8; tried in this order, file by file", "delimiter": "between columns"}
    notes |= {
        "header_row": "the line with the names of the columns; those before it are no rows",
        "trailing_delimiter": "rows end in a delimiter, and the header does not",
        "partitioning": "folders called COLUMN=VALUE are columns too",
        "escape": 'quotes inside values are written as \\"',
    }
    local = "://" not in written and not written.startswith(("/", "${"))
    where = "relative to the project's folder, the one above dags/; or ${NAME}/…" if local else ""
    each = (
        "{date…} is the day of the run's window"
        if "{date" in written
        else "every run reads it all, and takes the rows of its window"
    )
    return {"path": "; ".join(filter(None, (each, where))), **{key: notes[key] for key in settings if key in notes}}


def build_any_window() -> Window:
    return Window.of_day(datetime.now(UTC).date(), "UTC")


def _locate_first_file(path: str, environ: Mapping[str, str]) -> FileLocation:
    """The first of the files, as its bytes say; ``auto`` where neither they nor its name tell its format."""
    locations = list_files(FileSource(path=path), build_any_window(), "UTC", environ)
    if not locations:
        raise UsageError(
            f"there is no file to read at {path}; name a CSV, JSON, Parquet or Excel file. Nothing was written"
        )
    with explain_file_errors(locations[0]):
        try:
            return recognise_format(locations[0], "auto")
        except SourceError:
            if locations[0].format != "auto":
                raise
            return replace(recognise_format(locations[0], "csv"), format="auto")


# ---------------------------------------------------------------------------------------------- format


def _detect_settings(path: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a file besides its path, without those that are defaults."""
    location = _locate_first_file(path, environ)
    settings: dict[str, Any] = {"format": "csv"} if location.format == "auto" else {}
    if location.format not in ("auto", "csv"):
        with explain_file_errors(location):
            _check_filled(_read_head(location, ("latin-1",)) if location.format == "jsonl" else " ", path)
        return settings
    with explain_file_errors(location):
        encoding = _detect_encoding(location, path)
        head = _read_head(location, (encoding,))
        _check_filled(head, path)
    if encoding == _FALLBACK_ENCODING:
        settings["encoding"] = ["utf-8", encoding]
    return {**settings, **_detect_layout(head, path)}


def _check_filled(head: str, path: str) -> None:
    if not head:
        raise UsageError(f"{path} is empty, without even a header; name a file that has rows. Nothing was written")


def _read_head(location: FileLocation, encodings: tuple[str, ...]) -> str:
    with open_text(location, encodings) as stream:
        return bytes(stream.read(_HEAD_BYTES)).decode("utf-8", "ignore")


# ---------------------------------------------------------------------------------------------- text


def _detect_encoding(location: FileLocation, path: str) -> str:
    """The first in which the whole file can be decoded; a mark, or the zeros of UTF-16, decide by themselves."""
    for encoding in ("utf-8", _FALLBACK_ENCODING):
        try:
            with open_text(location, (encoding,)) as stream:
                decoder = codecs.getincrementaldecoder("utf-8")()
                while chunk := stream.read(_HEAD_BYTES * 64):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return encoding
    raise UsageError(f"{path} is neither UTF-8 nor Windows-1252; save it as CSV (UTF-8) first. Nothing was written")


def _detect_layout(head: str, path: str) -> dict[str, Any]:
    """What stands between columns, before the header and after each row."""
    lines = head.splitlines(keepends=True)
    text = "".join(lines[:-1] if len(head) >= _HEAD_BYTES // 2 else lines)
    named = header_line(text, ",", None)  # a line such as sep=; is obeyed by itself
    text = "".join(text.splitlines(keepends=True)[named:])
    settings: dict[str, Any] = {"escape": "backslash"} if _QUOTE_AFTER_BACKSLASH.search(text) else {}
    escape = "\\" if settings else None
    best = max(_DELIMITERS, key=lambda delimiter: _measure_evenness(text, delimiter, escape))
    rows = list(_split_rows(text, best, escape))
    usual = _find_usual_width(rows)
    at = next((number for number, (_, row) in enumerate(rows) if len(row) >= usual - 1), 0)
    line, header = rows[at] if rows else (1, [])
    follows = [row for _, row in rows[at + 1 :]]
    if len(header) == usual - 1 and follows and all(row[-1] == "" for row in follows if len(row) == usual):
        settings["trailing_delimiter"] = True
    elif len(header) < usual:
        line, header = next((found for found in rows if len(found[1]) == usual), (line, header))
    if any(re.search(shape, cell.strip()) for cell in header for shape in _ROW_AND_NO_HEADER):
        raise UsageError(
            f"the first line of {path} looks like a row, not like the names of columns; export it with a header. "
            "Nothing was written"
        )
    if line > 1:
        settings["header_row"] = line + named
    if not named and best != ",":
        settings["delimiter"] = best
    return settings


_QUOTE_AFTER_BACKSLASH = re.compile(r'[^"\\,;|\t]\\"[^\s,;|\t]|[^"\\,;|\t]\\" ')


def _find_usual_width(rows: list[tuple[int, list[str]]]) -> int:
    widths = Counter(len(row) for _, row in rows)
    return max(widths, key=lambda width: (widths[width], width), default=0)


def _measure_evenness(text: str, delimiter: str, escape: str | None) -> tuple[float, int]:
    rows = list(_split_rows(text, delimiter, escape))
    usual = _find_usual_width(rows)
    if usual <= 1:
        return 0.0, 0
    return sum(len(row) == usual for _, row in rows) / len(rows), usual


def _split_rows(text: str, delimiter: str, escape: str | None) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of its first line; a text that the reader of Python gives up on ends there."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, escapechar=escape)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except (StopIteration, csv.Error):
            return
        if row:
            yield line, row


# ---------------------------------------------------------------------------------------------- the day in a name

#: The year first, or as ``29.11.2026``: with points the day stands before the month, everywhere.
_DAY = re.compile(
    r"(?<!\d)(?:(?P<year>20\d\d)(?P<mark>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=mark)(?P<day>0[1-9]|[12]\d|3[01])"
    r"|(?P<day_first>0[1-9]|[12]\d|3[01])\.(?P<month_second>0[1-9]|1[0-2])\.(?P<year_last>20\d\d))"
    r"(?!\d)(?P<clock>[-_T]?(?:\d{4}|\d{6})(?!\d))?"
)


def generalise_path(path: str) -> tuple[str, date | None]:
    """``sales_20261123_0430.csv`` → ``sales_{date:%Y%m%d}*.csv`` and the day; the path itself where it names none."""
    days = [day for match in _DAY.finditer(path) if (day := _read_day(match))]
    if not days:
        return path, None
    return _DAY.sub(lambda match: _write_placeholder(match) if _read_day(match) == days[-1] else match[0], path), days[
        -1
    ]


def _read_day(match: re.Match[str]) -> date | None:
    try:
        return date(
            int(match["year"] or match["year_last"]),
            int(match["month"] or match["month_second"]),
            int(match["day"] or match["day_first"]),
        )
    except ValueError:  # the 31st of a month that has none
        return None


def _write_placeholder(match: re.Match[str]) -> str:
    """With a star for the hour that some exports add: it differs every day."""
    mark, clock = match["mark"], "*" if match["clock"] else ""
    if match["year"] is None:
        return "{date:%d.%m.%Y}" + clock
    return ("{date}" if mark == "-" else f"{{date:%Y{mark}%m{mark}%d}}") + clock


def _remove_day(name: str) -> str:
    stem = name.split(".")[0] if _DAY.search(name) is None else _DAY.sub("", name).split(".")[0]
    return re.sub(r"[*?\[\]]", "", stem)
