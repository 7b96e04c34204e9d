"""The tests written in an upload: rows that its author made up, through the real stages, against what they expect.

Nothing is read, sent or recorded. Each row is a batch of its own; a lookup is not read either: its columns stand in the
row as ``NAME.COLUMN``. The run is taken to be when the event happened, so that a test does not expire.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from offline_capi.config import Deployment, Upload, list_columns_used
from offline_capi.config.upload import UploadTest
from offline_capi.errors import ConfigError, OfflineCapiError
from offline_capi.model import BuiltEvents, Fate, HashedRows, Reason, SourceRows
from offline_capi.pipeline import Recipe
from offline_capi.runtime.nearest import did_you_mean

__all__ = ["RowTestResult", "run_tests"]

PRESENT, ABSENT, SHA256 = "present", "absent", "sha256"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RowTestResult:
    """How one test ended: ``differences`` is empty where it passed. ``place`` is the test's file and line."""

    upload: str
    name: str
    place: str
    differences: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "differences": list(self.differences), "passed": self.passed}


def run_tests(upload: Upload, deployment: Deployment) -> Iterator[RowTestResult]:
    """Every test of the upload, in order. A test whose row cannot be worked on at all fails with the reason."""
    for index, test in enumerate(upload.tests):
        place = deployment.locate(upload, f"tests[{index}]")
        try:
            _check_reason(test.expect.get("reason"))
            differences = tuple(_compare_outcome(test.expect, _compute_outcome(test, upload, deployment)))
        except OfflineCapiError as error:
            differences = (str(error).splitlines()[0],)
        yield RowTestResult(upload.name, test.name or f"test {index + 1}", place, differences)


def _check_reason(reason: object) -> None:
    known = [one.value for one in Reason]
    if reason is not None and reason not in known:
        raise ConfigError(f'expect.reason: "{reason}" is no reason{did_you_mean(str(reason), known)}')


def _compute_outcome(test: UploadTest, upload: Upload, deployment: Deployment) -> dict[str, Any]:
    """What the row becomes: its event, or its fate with reason and field."""
    given = upload.model_copy(update={"lookups": {}})
    names = {} if upload.transform else dict.fromkeys(list_columns_used(given))
    row = {**names, **test.row}
    batch = pa.record_batch([pa.array([_as_plain(value)]) for value in row.values()], list(row))
    recipe = Recipe.of_upload(given, None, deployment)
    rows = recipe.hash_batch(SourceRows(batch, "test", 1))
    if rows.filtered:
        return {"fate": "filtered"}
    return _read_built(recipe.build_batch(rows, _run_time(test, upload, rows)))


def _as_plain(value: Any) -> Any:
    """A number of the YAML without the text that it keeps."""
    return float(value) if isinstance(value, float) else value


def _run_time(test: UploadTest, upload: Upload, rows: HashedRows) -> datetime:
    if test.run_at is not None:
        moment = datetime.fromisoformat(test.run_at)
        return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(upload.window.timezone))
    seconds = rows.event["event_time"][0].as_py()
    return datetime.now(UTC) if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _read_built(built: BuiltEvents) -> dict[str, Any]:
    if len(built.events):
        event: dict[str, Any] = json.loads(built.events.table.column("body")[0].as_py())
        return event
    if built.suppressed:
        return {"fate": Fate.SUPPRESSED.value}
    lost = built.unsent.table.select(["fate", "reason", "field"]).to_pylist()[0]
    return {key: str(value) for key, value in lost.items() if value}


# ---------------------------------------------------------------------------------------------- expected and found


def _compare_outcome(expected: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """One line a difference."""
    if ("fate" in expected) == ("fate" in found):
        yield from _compare_members(expected, found, "")
    elif "fate" in found:
        yield f"expected an event, and the row is {_describe(found)}"
    else:
        yield f"expected {_describe(expected)}, and the row is an event"


def _describe(fate: dict[str, Any]) -> str:
    field = f" ({fate['field']})" if fate.get("field") else ""
    return f"{fate['fate'].replace('_', ' ')}{': ' + fate['reason'] if fate.get('reason') else ''}{field}"


def _compare_members(expected: dict[str, Any], found: Any, path: str) -> Iterator[str]:
    for key, wanted in expected.items():
        got = found.get(key) if isinstance(found, dict) else None
        yield from _compare(wanted, got, f"{path}.{key}".lstrip("."))


def _compare(wanted: Any, got: Any, path: str) -> Iterator[str]:
    if isinstance(wanted, dict) and set(wanted) == {SHA256}:
        wanted = hashlib.sha256(str(wanted[SHA256]).encode()).hexdigest()
    if isinstance(wanted, dict):
        yield from _compare_members(wanted, got, path)
    elif wanted == PRESENT:
        yield from [] if got is not None else [f"{path}: expected a value, got none"]
    elif wanted is None or wanted == ABSENT:
        yield from [] if got is None else [f"{path}: expected no value, got {_show(got, path)}"]
    elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        for index, (one, other) in enumerate(zip(wanted, got, strict=True)):
            yield from _compare(one, other, f"{path}[{index}]")
    elif not _is_same(_as_sent(wanted, path), got):
        hint = "; it goes out as SHA-256: write {sha256: text}" if _is_digest(got) and not _is_digest(wanted) else ""
        yield f"{path}: expected {_show(wanted, path)}, got {_show(got, path)}{hint}"


def _as_sent(wanted: Any, path: str) -> Any:
    """Times are written in ISO 8601 as well."""
    if path.endswith("event_time") and isinstance(wanted, str):
        try:
            moment = datetime.fromisoformat(wanted)
        except ValueError:
            raise ConfigError(f'{path}: "{wanted}" is no time in ISO 8601') from None
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    return wanted


def _is_same(wanted: Any, got: Any) -> bool:
    if isinstance(got, list) and not isinstance(wanted, list):
        return len(got) == 1 and _is_same(wanted, got[0])
    return isinstance(wanted, bool) is isinstance(got, bool) and wanted == got


def _is_digest(value: Any) -> bool:
    one = value[0] if isinstance(value, list) and value else value
    return isinstance(one, str) and _DIGEST.fullmatch(one) is not None


def _show(value: Any, path: str) -> str:
    """Of a person nothing but digests: a test's output ends in the logs of a CI."""
    if value is None:
        return "none"
    if path.startswith("user_data") and not _is_digest(value):
        return "a readable value"
    return json.dumps(value, ensure_ascii=False)
