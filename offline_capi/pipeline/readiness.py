"""Whether the source of an upload holds a window's data already, for whoever waits for it."""

from __future__ import annotations

from collections.abc import Iterator

from offline_capi.config.schedule import DataSchedule
from offline_capi.config.upload import Upload
from offline_capi.model import Window
from offline_capi.pipeline.services import Services
from offline_capi.pipeline.stages import make_source_access
from offline_capi.sources import open_source

__all__ = ["list_missing_data"]


def list_missing_data(upload: Upload, window: Window, services: Services) -> list[tuple[str, bool]]:
    """What ``schedule.after`` names of the source and is not there yet, and whether the upload may go without it.

    No row is read. Raises ``SourceError`` where the source cannot be looked at.
    """
    schedule = upload.schedule
    return [*_list_missing(upload, schedule, window, services)] if isinstance(schedule, DataSchedule) else []


def _list_missing(
    upload: Upload, schedule: DataSchedule, window: Window, services: Services
) -> Iterator[tuple[str, bool]]:
    source = open_source(upload.source, make_source_access(upload, services.deployment, services.secrets))
    for awaited in schedule.after:
        if awaited.files:
            for file in source.find_absent_files(window):
                yield f"no file for {file.day or 'the window'} ({file.pattern})", file.optional
        if awaited.snapshot and not source.was_written_since(window.until):
            yield f"no row was written into its table since {window.until:%Y-%m-%d %H:%M}, the window's end", False
