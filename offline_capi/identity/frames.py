"""For pandas users who want the hashing alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from offline_capi.config.client import ExternalIdPolicy
from offline_capi.errors import UsageError
from offline_capi.identity.columns import (
    HashingContext,
    RowsAlike,
    get_rule,
    hash_columns,
    list_dropped,
    resolve_countries,
)
from offline_capi.identity.stage import get_today
from offline_capi.model import IdentityColumn

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["hash_frame"]


def hash_frame(
    df: pd.DataFrame,
    columns: Mapping[str, str],
    *,
    country: str | None = None,
    profile: str = "meta",
    formats: Mapping[str, Sequence[str]] | None = None,
    hashed: Collection[str] = (),
    external_id: ExternalIdPolicy | None = None,
) -> pd.DataFrame:
    """A copy of ``df`` in which the columns named in ``columns`` are replaced by what Meta takes for their key.

    A column takes the name of its key (``email`` → ``em``), a second one for the same key ``em_2``; second values of
    cells that hold several follow behind all columns. Other columns and the index stay. ``country`` is a column of
    ``df`` or one country; ``formats`` holds strptime formats by column;
    ``hashed`` names columns that are SHA-256 already. ``result.attrs["dropped"]`` counts the values that were unusable.
    """
    _check(df, columns, profile)
    resolved = _read_country(df, country)
    declared = formats or {}
    identity: dict[str, list[IdentityColumn]] = {}
    for name, key in columns.items():
        column = IdentityColumn(_as_arrow(df[name]), name, name in hashed or None, None, tuple(declared.get(name, ())))
        identity.setdefault(key, []).append(column)
    alike = [RowsAlike(None, profile, external_id or ExternalIdPolicy())]
    values, results = hash_columns(identity, HashingContext(resolved, resolved, alike, get_today()))
    result = _replace_columns(df, columns, values)
    result.attrs["dropped"] = list_dropped(results)
    return result


def _check(df: pd.DataFrame, columns: Mapping[str, str], profile: str) -> None:
    missing = [name for name in columns if name not in df.columns]
    if missing:
        raise UsageError(f"the frame has no column {', '.join(missing)}; it has: {', '.join(map(str, df.columns))}")
    for key in columns.values():
        get_rule(key, profile)


def _read_country(df: pd.DataFrame, country: str | None) -> pa.Array:
    unknown = pa.nulls(len(df), pa.string())
    if country is None:
        return unknown
    return resolve_countries(_as_arrow(df[country]) if country in df.columns else pa.repeat(country, len(df)), unknown)


def _as_arrow(series: pd.Series) -> pa.Array:
    try:
        return pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # numbers and text in one column: each value as it prints
        return pa.array(series.map(str, na_action="ignore"), pa.string(), from_pandas=True)


def _replace_columns(
    df: pd.DataFrame, columns: Mapping[str, str], values: Mapping[str, Sequence[pa.Array]]
) -> pd.DataFrame:
    """Key columns replace their source columns; a single-valued key stands at its first."""
    waiting = {key: list(arrays) for key, arrays in values.items()}
    parts: dict[str, pd.Series] = {}
    for name in df.columns:
        key = columns.get(name)
        if key is None:
            parts[name] = df[name]
        elif waiting[key]:
            position = len(values[key]) - len(waiting[key]) + 1
            label = key if position == 1 else f"{key}_{position}"
            parts[label] = waiting[key].pop(0).to_pandas().set_axis(df.index).rename(label)
    for key, arrays in waiting.items():
        for position, array in enumerate(arrays, len(values[key]) - len(arrays) + 1):
            parts[f"{key}_{position}"] = array.to_pandas().set_axis(df.index).rename(f"{key}_{position}")
    return type(df)(parts, index=df.index)
