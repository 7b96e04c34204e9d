"""P12 in a bounded form; ``make bench`` runs the large one and fails when the bound is broken."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.__main__ import MAX_MIB, UPLOADS, measured
from tests.benchmarks.data import scale
from tests.benchmarks.night import NIGHT
from tests.benchmarks.sink import Sink

#: Rows of a small and of a large night. In both, every buffer fills: with fewer rows the query's reader is done before
#: the first events are sent.
FEW_ROWS, MANY_ROWS = 200_000, 500_000
#: How much more a night of 2.5 times the rows may take: what is kept of each event, and the allocator's own slack.
MAX_GROWTH = 1.25


def test_p12_memory_stays_below_its_bound_and_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks: dict[str, list[float]] = {upload: [] for upload in UPLOADS}
    with Sink() as sink:
        for rows in (FEW_ROWS, MANY_ROWS):
            home = tmp_path / str(rows)
            scale(home, rows, NIGHT)
            for upload in UPLOADS:
                night = measured("night", "night", upload, str(home), sink.url)
                assert night["rows"] == rows
                peaks[upload].append(night["peak_mib"])

    assert {upload: peak for upload, peak in peaks.items() if max(peak) > MAX_MIB} == {}
    assert {upload: peak for upload, peak in peaks.items() if peak[1] > MAX_GROWTH * peak[0]} == {}
