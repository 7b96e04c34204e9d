"""Standard error as JSON, one object a line, for what collects logs: ``timestamp``, ``level``, ``event`` and fields.

What the command line says goes through ``log_json``, with fields. Whatever else is written to standard error (a usage
error, Python's warnings) becomes a record a line. Characters that a terminal obeys, hides or reorders are escaped, as
JSON allows.
"""

from __future__ import annotations

import atexit
import io
import json
import sys
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Literal, TextIO

from offline_capi.runtime.border import escape_in_json

__all__ = ["JsonStream", "Level", "is_log_json", "log_json", "start_json_log"]

Level = Literal["info", "warning", "error"]


class JsonStream(io.TextIOBase):
    """Takes text and writes a record for each line of it that has a letter or digit: frames of tables have none."""

    def __init__(self, target: TextIO) -> None:
        self._target, self._line, self._lock = target, "", Lock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._line = f"{self._line}{text}".split("\n")
        for line in lines:
            self._write_line(line)
        return len(text)

    def end_line(self) -> None:
        """Write what came without a line end."""
        with self._lock:
            line, self._line = self._line, ""
        self._write_line(line)

    def write_record(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = {"timestamp": now, "level": level, "event": event, **fields}
        text = escape_in_json(json.dumps(record, ensure_ascii=False, default=str))
        with self._lock:
            self._target.write(f"{text}\n")
            self._target.flush()

    def flush(self) -> None:
        self._target.flush()

    def fileno(self) -> int:
        return self._target.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._target.encoding

    def writable(self) -> bool:
        return True

    def _write_line(self, line: str) -> None:
        words = line.strip(" │┃|╷╵")
        if any(map(str.isalnum, words)):
            self.write_record("warning", words, {})


_streams: list[JsonStream] = []


def start_json_log() -> None:
    """From now on, standard error of this process is JSON."""
    if not _streams:
        stream = JsonStream(sys.stderr)
        _streams.append(stream)
        sys.stderr = stream
        atexit.register(stream.end_line)


def is_log_json() -> bool:
    return bool(_streams)


def log_json(level: Level, event: str, **fields: Any) -> None:
    """One record; only after ``start_json_log``. Fields that are ``None`` are left out."""
    _streams[0].write_record(level, event, {name: value for name, value in fields.items() if value is not None})
