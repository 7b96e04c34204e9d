"""A user's own step before the mapping: ``transform: "module:function"``, DataFrame in, DataFrame out.

The frame is Arrow-backed (``pd.ArrowDtype``), so that an integer column with a null stays integer. Its index is named
``source_row`` and holds the row numbers: it must come back, as index or as column, for every row read keeps its fate.

- The hook may change and add columns, and sort: rows are put back into the source's order.
- A row it leaves out is suppressed: read, counted, never sent.
- A row it returns twice, or one that it made up, is refused: two events would share one source row.
- An error inside the hook, ``sys.exit`` included, stops the run with the hook's name, the type of the error and the
  line; never with its message, which may quote a row. What it prints is withheld, too: see ``hook_output``.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import TracebackType

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.errors import ConfigError
from offline_capi.mapping.hook_output import withhold_output
from offline_capi.runtime.border import is_name
from offline_capi.runtime.bugs import is_meant_to_end_us

__all__ = ["ROW_COLUMN", "Hook", "apply_hook", "load_hook"]

ROW_COLUMN = "source_row"

Hook = Callable[[pd.DataFrame], pd.DataFrame]


@cache
def load_hook(name: str) -> Hook:
    """The function that ``"module:function"`` names."""
    module, _, function = name.partition(":")
    failure = ""
    try:
        hook: Hook = getattr(import_module(module), function)
    except BaseException as error:
        if is_meant_to_end_us(error):
            raise
        failure = type(error).__name__
    if failure:
        raise ConfigError(
            f'transform: "{name}" cannot be imported ({failure}); '
            "is the module installed, or in the DAG folder, and does it define the function?"
        )
    if not callable(hook):
        raise ConfigError(f'transform: "{name}" is no function')
    return hook


def apply_hook(batch: pa.RecordBatch, numbers: pa.Int64Array, name: str) -> tuple[pa.RecordBatch, pa.BooleanArray]:
    """The batch as the hook returned it, in the order of ``numbers``, and where the hook left a row out.

    Rows left out are rows of nulls here.
    """
    frame = _call_hook(load_hook(name), _make_frame(batch, numbers), name)
    positions = _find_positions(frame, numbers, name)
    columns = {str(column): _read_column(frame, index, name) for index, column in enumerate(frame.columns)}
    return pa.record_batch([values.take(positions) for values in columns.values()], list(columns)), positions.is_null()


def _make_frame(batch: pa.RecordBatch, numbers: pa.Int64Array) -> pd.DataFrame:
    frame: pd.DataFrame = batch.to_pandas(types_mapper=pd.ArrowDtype)
    frame.index = pd.Index(numbers.to_pandas(), name=ROW_COLUMN)
    return frame


def _call_hook(hook: Hook, frame: pd.DataFrame, name: str) -> pd.DataFrame:
    failure = ""
    try:
        with withhold_output(name):
            result = hook(frame)
    except BaseException as error:  # a hook is anyone's code and may raise anything
        if is_meant_to_end_us(error):
            raise
        failure = f"{type(error).__name__} at {_find_line(error.__traceback__)}"
    # Raised outside the handler: the hook's own error may quote a row and must not ride along as context.
    if failure:
        raise ConfigError(
            f'transform: "{name}" raised {failure}; its message is withheld, for it may hold personal data. '
            "Correct the hook and run again; nothing of this batch was sent."
        )
    if not isinstance(result, pd.DataFrame):
        raise ConfigError(f'transform: "{name}" returned {type(result).__name__}, not a DataFrame')
    if ROW_COLUMN not in result.index.names:
        return pd.DataFrame(result)
    if ROW_COLUMN in result.columns:
        raise ConfigError(f'transform: "{name}" returned "{ROW_COLUMN}" as index and as column; return one of them')
    return pd.DataFrame(result.reset_index(ROW_COLUMN))


def _find_line(trace: TracebackType | None) -> str:
    """Where the hook was: the last line of the user's own file, not of a library that it called."""
    frames = traceback.extract_tb(trace)[1:]
    own = [frame for frame in frames if frames and frame.filename == frames[0].filename]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "its call"


def _find_positions(frame: pd.DataFrame, numbers: pa.Int64Array, name: str) -> pa.Int32Array:
    """For each source row, where the hook put it; null where it left it out."""
    if ROW_COLUMN not in frame.columns:
        raise ConfigError(
            f'transform: "{name}" lost the index "{ROW_COLUMN}", which says which source row each row is. '
            "After merge or groupby put it back: df.reset_index() before, .set_index(...) after."
        )
    returned = _read_row_numbers(frame, name)
    if pc.count_distinct(returned, mode="all").as_py() != len(returned):
        raise ConfigError(f'transform: "{name}" returned a source row more than once; one row is one event')
    positions = pc.index_in(numbers, value_set=returned)
    if len(returned) != len(positions) - positions.null_count:
        raise ConfigError(f'transform: "{name}" returned rows that are not in the source; it may only change or drop')
    return positions


def _read_row_numbers(frame: pd.DataFrame, name: str) -> pa.Int64Array:
    try:
        return pa.array(frame.pop(ROW_COLUMN), pa.int64(), from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise ConfigError(
            f'transform: "{name}" changed "{ROW_COLUMN}"; it must hold the row numbers it came with'
        ) from None


def _read_column(frame: pd.DataFrame, index: int, name: str) -> pa.Array:
    try:
        values = pa.array(frame.iloc[:, index], from_pandas=True)
        values.validate(full=True)
    # OverflowError: 10**40; UnicodeEncodeError, which is a ValueError: half of a surrogate pair; TypeError: complex
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        column = str(frame.columns[index])
        which = f'column "{column}"' if is_name(column) else f"column {index + 1}"
        raise ConfigError(
            f'transform: "{name}" returned {which} with values of several types, or that no column can hold. '
            "Correct the hook and run again; nothing of this batch was sent."
        ) from None
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
