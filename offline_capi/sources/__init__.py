"""Rows in: from files (CSV, JSON lines, Parquet, Excel; local or object storage) and from SQL.

``open_source(settings, access).read(window)`` streams a window of an upload's source as Arrow batches, in bounded
memory and in an order that is the same on every run. Whatever the source is, columns come in seven kinds only:
``string``, ``int64``, ``float64``, decimals, ``bool``, ``date32`` and ``timestamp[us]`` (with zone UTC where the
source's values are aware). All else (UUIDs, bytes, nested values) becomes text without loss. Numbers stay numbers: a
decimal mark that an upload declares applies to text alone.

Nothing here knows what a column means; nothing here writes.
"""

from offline_capi.sources.base import BATCH_ROWS, FilePart, RowSpan, Source, SourceAccess, open_source

__all__ = ["BATCH_ROWS", "FilePart", "RowSpan", "Source", "SourceAccess", "open_source"]
