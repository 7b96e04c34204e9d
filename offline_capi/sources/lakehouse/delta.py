"""Delta Lake: which files hold the rows of a window, by the table's log; read with ``deltalake``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from offline_capi.config.paths import anchor_path
from offline_capi.config.source import DeltaSource
from offline_capi.errors import SourceError
from offline_capi.model import SourceMark, TableChanges, TableRead, TableState, Window
from offline_capi.runtime.border import shown, without_userinfo
from offline_capi.sources.base import SourceAccess
from offline_capi.sources.files.locate import with_variables
from offline_capi.sources.lakehouse.changes import Commit, CommitKind, collect_changes, read_all_again
from offline_capi.sources.lakehouse.tables import Table, TableFile, parse_as_of
from offline_capi.sources.pruning import Bounds, find_bounds, holds_constants
from offline_capi.storage.filesystem import HOW_TO_REACH, open_filesystem

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["DeltaLocation", "find_delta_changes", "locate_delta", "open_delta", "was_delta_written_since"]

SETTING = "source.delta"
#: The key of a field's metadata under which its files have it, where columns were renamed or dropped.
PHYSICAL_NAME = b"delta.columnMapping.physicalName"
_NOTHING = "Nothing was sent; repeating is safe."


class DeltaLocation(NamedTuple):
    """Where a table is: ``path`` for libraries, ``written`` for people, ``uri`` for lineage."""

    path: str
    written: str
    uri: str


def locate_delta(source: DeltaSource, access: SourceAccess) -> DeltaLocation:
    """The table's place with its variables filled in; in messages it is as the configuration writes it."""
    path = anchor_path(with_variables(source.delta, access.environ), access.folder)
    if "://" in path:
        return DeltaLocation(path, without_userinfo(source.delta), without_userinfo(path).replace("***@", ""))
    local = Path(path).expanduser().resolve()
    return DeltaLocation(str(local), source.delta, local.as_uri())


def open_delta(source: DeltaSource, access: SourceAccess, window: Window) -> Table:
    """The state of the table that is configured, and the files of the window. No row is read yet."""
    location = locate_delta(source, access)
    described = f"Delta table {location.written}"
    _require_package()
    with _explained(described, source):
        table = _load(location, source, access)
        _check_features(described, table)
        schema = pa.schema(table.schema())
        actions = pa.table(table.get_add_actions(flatten=True))
    changes = access.changes
    windows = {one: find_bounds(access.placement, one or window, schema) for one in _list_windows(changes, window)}
    physical = {field.name: _get_physical_name(field) for field in schema}
    partitions = table.metadata().partition_columns
    deleted = cache(partial(_read_deleted, table, described, source))
    has_deletes = "deletionVectors" in (table.protocol().reader_features or ())
    files = []
    for action in actions.to_pylist():
        constants = {name: pa.scalar(action[f"partition.{name}"], schema.field(name).type) for name in partitions}
        chosen = changes.choose_window(action["path"], window) if changes else None
        bounds = windows[chosen]
        if not holds_constants(access.placement, chosen or window, constants) or not _may_hold(
            action, bounds, physical
        ):
            continue
        uri = _build_uri(table.table_uri, action["path"])
        kept = partial(_get_kept, deleted, uri) if has_deletes else (lambda: None)
        opened = partial(_open_file, unquote(uri), source)
        files.append(TableFile(action["path"], action["num_records"], opened, bounds, chosen, constants, kept))
    name = shown(location.written.rstrip("/").rpartition("/")[2])
    order = [*windows]
    return Table(described, name, schema, sorted(files, key=lambda file: (order.index(file.window), file.path)), _match)


def _list_windows(changes: TableChanges | None, window: Window) -> list[Window | None]:
    return changes.list_windows(window) if changes else [None]


# ---------------------------------------------------------------------------------------------- what came since

_RESTORE = "RESTORE"


def find_delta_changes(
    source: DeltaSource, access: SourceAccess, mark: SourceMark | None, oldest: datetime
) -> TableChanges:
    """The files that were added since the mark, by the commits in the table's log."""
    location = locate_delta(source, access)
    described = f"Delta table {location.written}"
    _require_package()
    with _explained(described, source):
        table = _load(location, source, access)
        _check_features(described, table)
        newest, own = table.version(), str(table.metadata().id)
        until = TableState(own, "version", newest, _digest(_read_commit(table, newest, source)))
        if mark is None:
            return TableChanges(TableRead(None, until), oldest)
        since = mark.complete
        if since.table != own:
            why = "it is another table than the one that was read last (its id is another)"
            return read_all_again(mark, until, oldest, described, why)
        if newest < mark.seen.number:
            why = f"it is at {until}, before the {mark.seen} that was read last: it was restored from an older copy"
            return read_all_again(mark, until, oldest, described, why)
        if since.digest and _digest(_read_commit(table, since.number, source)) not in ("", since.digest):
            why = f"its {since} is not the one that was read: its log was written anew"
            return read_all_again(mark, until, oldest, described, why)
        commits = []
        for version in range(since.number + 1, newest + 1):
            content = _read_commit(table, version, source)
            if content is None:
                why = f"its log no longer says what version {version} changed (it was cleaned up)"
                return read_all_again(mark, until, oldest, described, why)
            commits.append(_make_commit(_list_actions(content), version, is_new=version > mark.seen.number))
    return collect_changes(commits, mark, until, oldest, described)


def was_delta_written_since(source: DeltaSource, access: SourceAccess, moment: datetime) -> bool:
    """Whether a commit after ``moment`` added rows: one that only puts files together does not."""
    location = locate_delta(source, access)
    _require_package()
    with _explained(f"Delta table {location.written}", source):
        table = _load(location, source, access)
        for version in range(table.version(), -1, -1):
            content = _read_commit(table, version, source)
            actions = _list_actions(content or b"")
            if content is None or _read_commit_time(actions) < moment.timestamp() * 1_000:
                return False
            commit = _make_commit(actions, version, is_new=True)
            if commit.added and commit.kind is not CommitKind.COMPACTION:
                return True
    return False


def _list_actions(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines() if line.strip()]


def _read_commit_time(actions: Sequence[Mapping[str, Any]]) -> float:
    """In milliseconds, as the writer's clock had it; where it names none, its files were written last."""
    info: dict[str, Any] = next((one["commitInfo"] for one in actions if "commitInfo" in one), {})
    files = [one["add"].get("modificationTime", 0) for one in actions if "add" in one]
    return float(info.get("inCommitTimestamp") or info.get("timestamp") or max(files, default=0))


def _read_commit(table: DeltaTable, version: int, source: DeltaSource) -> bytes | None:
    """``None`` where the log has it no longer."""
    try:
        uri = f"{table.table_uri.rstrip('/')}/_delta_log/{version:020}.json"
        with closing(_open_file(unquote(uri), source)) as file:
            return bytes(file.read())
    except FileNotFoundError:
        return None


def _digest(content: bytes | None) -> str:
    return hashlib.sha256(content).hexdigest() if content is not None else ""


def _make_commit(actions: Sequence[Mapping[str, Any]], version: int, *, is_new: bool) -> Commit:
    added, removed = ([one[kind] for one in actions if kind in one] for kind in ("add", "remove"))
    operation = next((str(one["commitInfo"].get("operation", "")) for one in actions if "commitInfo" in one), "")
    kind = CommitKind.APPEND
    if operation == _RESTORE:
        kind = CommitKind.RESTORE
    elif any(one.get("dataChange", True) for one in removed):
        kind = CommitKind.REWRITE
    elif removed or (added and not any(one.get("dataChange", True) for one in added)):
        kind = CommitKind.COMPACTION
    name = f"version {version} ({shown(operation)})" if operation else f"version {version}"
    paths = (frozenset(str(one.get("path")) for one in some) for some in (added, removed))
    return Commit(name, kind, is_new, *paths)


def _require_package() -> None:
    try:
        import deltalake  # noqa: F401
    except ImportError:
        raise SourceError(
            f"{SETTING}: Delta tables need a package that is not installed.\n"
            f"Install it: pip install 'offline-capi[delta]'. {_NOTHING}"
        ) from None


def _load(location: DeltaLocation, source: DeltaSource, access: SourceAccess) -> DeltaTable:
    from deltalake import DeltaTable

    version = access.changes.read.until.number if access.changes else source.version
    table = DeltaTable(location.path, version=version, storage_options=_list_storage_options(access.environ))
    if source.as_of is not None:
        at = parse_as_of(source.as_of, access.zone)
        began = {one["version"]: one.get("timestamp") for one in table.history()}  # loaded, it numbers them wrongly
        table.load_as_version(at)  # before the first version, this is the first
        if (began.get(table.version()) or 0) > at.timestamp() * 1_000:
            raise SourceError(f"Delta table {location.written}: {_GONE[0]}.\n{_GONE[1]} {_NOTHING}")
    return table


def _list_storage_options(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables by which file systems find their stores; an endpoint without TLS has to be allowed there."""
    options = {name: value for name, value in environ.items() if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))}
    endpoint = options.get("AWS_ENDPOINT_URL_S3") or options.get("AWS_ENDPOINT_URL")
    if endpoint:
        options |= {"AWS_ENDPOINT_URL": endpoint}
        options |= {"AWS_ALLOW_HTTP": "true"} if endpoint.startswith("http:") else {}
    return options


def _build_uri(table: str, path: str) -> str:
    """A file's address, encoded as the log has its path: relative to the table, or (of a clone) of another table."""
    if "://" in path:
        return path
    return f"file://{path}" if path.startswith("/") else f"{table.rstrip('/')}/{path}"


def _open_file(uri: str, source: DeltaSource) -> Any:
    if uri.startswith("file://"):
        return pa.OSFile(uri.removeprefix("file://"))
    fs, path = open_filesystem(uri, SETTING, SourceError, shown=source.delta)
    return pa.PythonFile(fs.open(path, "rb"), mode="r")


# ---------------------------------------------------------------------------------------------- which files


def _get_physical_name(field: pa.Field) -> str:
    metadata: Mapping[bytes, bytes] = field.metadata or {}
    name = metadata.get(PHYSICAL_NAME)
    return str(field.name) if name is None else name.decode()


def _match(field: pa.Field, theirs: Sequence[pa.Field]) -> pa.Field | None:
    name = _get_physical_name(field)
    return next((one for one in theirs if one.name == name), None)


def _may_hold(action: Mapping[str, Any], bounds: Bounds | None, physical: Mapping[str, str]) -> bool:
    if bounds is None:
        return True
    name = physical[bounds.column]
    lowest, highest, nulls = (action.get(f"{kind}.{name}") for kind in ("min", "max", "null_count"))
    return lowest is None or highest is None or nulls != 0 or bounds.may_hold(lowest, highest)


# ---------------------------------------------------------------------------------------------- deleted rows


def _read_deleted(table: DeltaTable, described: str, source: DeltaSource) -> dict[str, np.ndarray[Any, Any]]:
    """By file, which of its rows are still there, as far as the mask goes."""
    with _explained(described, source):
        found = pa.table(table.deletion_vectors().read_all())
    masks = (mask.values.to_numpy(zero_copy_only=False) for mask in found.column("selection_vector"))
    return dict(zip(found.column("filepath").to_pylist(), masks, strict=True))


def _get_kept(deleted: Any, uri: str) -> np.ndarray[Any, Any] | None:
    kept: np.ndarray[Any, Any] | None = deleted().get(uri)
    return kept


# ---------------------------------------------------------------------------------------------- faults

_MISSING = (
    "there is no table",
    "Correct the path (a relative one begins at the project folder); a Delta table is a folder with _delta_log.",
)
_GONE = (
    "the state that is asked for is not there, or no longer",
    "Versions that vacuum or the log's retention removed are gone: name a later one, or none for the newest.",
)
_DAMAGED = ("its log is damaged", "Restore _delta_log, or the table from a copy.")
#: Features of Delta's protocol that change what a file's bytes mean, and that are read here.
_READ_FEATURES = frozenset(
    {"appendOnly", "columnMapping", "deletionVectors", "timestampNtz", "typeWidening", "typeWidening-preview",
     "v2Checkpoint", "vacuumProtocolCheck"}
)  # fmt: skip


def _check_features(described: str, table: DeltaTable) -> None:
    unknown = sorted(set(table.protocol().reader_features or ()) - _READ_FEATURES)
    if unknown:
        raise SourceError(
            f"{described}: it uses {', '.join(map(shown, unknown))} of Delta's protocol, which cannot be read here.\n"
            f"Read it through a query of your warehouse (source.connection and source.sql), or drop the feature from "
            f"the table. {_NOTHING}"
        )


@contextmanager
def _explained(described: str, source: DeltaSource) -> Iterator[None]:
    """What deltalake raises, as what the table's owner can act on; its words quote paths and URLs."""
    from deltalake.exceptions import DeltaError, DeltaProtocolError, TableNotFoundError

    try:
        yield
    except SourceError:
        raise
    except TableNotFoundError:
        what, fix = _GONE if source.version is not None else _MISSING
    except DeltaProtocolError:
        what = "it needs a newer reader than this one"
        fix = "Upgrade: pip install --upgrade deltalake; or read it through a query of your warehouse."
    except (DeltaError, OSError, ValueError, pa.ArrowException) as error:
        what, fix = _find_cause(error, source)
    else:
        return
    raise SourceError(f"{described}: {what}.\n{fix} {_NOTHING}")


def _find_cause(error: Exception, source: DeltaSource) -> tuple[str, str]:
    text = str(error).lower()
    if isinstance(error, OSError):
        return f"its log cannot be read ({type(error).__name__})", HOW_TO_REACH
    if any(words in text for words in ("log segment", "logsegment", "no files in log", "found in delta log")):
        return _DAMAGED if source.version is None and source.as_of is None else _GONE
    if any(words in text for words in ("unsupported", "not supported")):
        return "it uses a feature that cannot be read here", "Read it through a query of your warehouse."
    if any(words in text for words in ("json", "parse", "malformed", "corrupt", "checkpoint", "deserial", "arrow")):
        return _DAMAGED
    return f"its log cannot be read ({type(error).__name__})", HOW_TO_REACH
