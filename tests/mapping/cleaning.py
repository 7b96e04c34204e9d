"""Hooks as a user would write them, good and bad."""

from __future__ import annotations

import pandas as pd


def add_total(df: pd.DataFrame) -> pd.DataFrame:
    return df.assign(total=df["price"] * df["n"])


def sort_and_drop_tests(df: pd.DataFrame) -> pd.DataFrame:
    return df[df["id"] != "test"].sort_values("id", ascending=False)


def merge_names(df: pd.DataFrame) -> pd.DataFrame:
    names = pd.DataFrame({"id": ["a", "b"], "name": ["Ann", "Bob"]})
    return df.reset_index().merge(names, on="id", how="left")


def merge_and_forget(df: pd.DataFrame) -> pd.DataFrame:
    return df.merge(pd.DataFrame({"id": ["a"]}), on="id")


def twice(df: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([df, df])


def renumber(df: pd.DataFrame) -> pd.DataFrame:
    return df.set_axis(df.index + 1000)


def relabel(df: pd.DataFrame) -> pd.DataFrame:
    return df.rename_axis("source_row").set_axis([f"row {n}" for n in df.index]).rename_axis("source_row")


def nothing(df: pd.DataFrame) -> None:
    return None


def quote_a_row(df: pd.DataFrame) -> pd.DataFrame:
    raise ValueError(f"cannot understand {df['email'].iloc[0]}")


def mix_types(df: pd.DataFrame) -> pd.DataFrame:
    return df.assign(id=pd.Series(["a", 1], index=df.index, dtype=object))


def lose_a_column(df: pd.DataFrame) -> pd.DataFrame:
    return df.drop(columns="email")


NO_FUNCTION = 7


def exits(df: pd.DataFrame) -> pd.DataFrame:
    raise SystemExit(f"bad row {df.iloc[0].tolist()}")


class _OfNobody(BaseException):
    """An error that is no ``Exception``."""


def raises_what_nobody_expects(df: pd.DataFrame) -> pd.DataFrame:
    raise _OfNobody(df.iloc[0].tolist())


def is_stopped_by_hand(df: pd.DataFrame) -> pd.DataFrame:
    raise KeyboardInterrupt


def _with_column(df: pd.DataFrame, value: object) -> pd.DataFrame:
    return df.assign(**{str(df["id"].iloc[0]): pd.Series([value] * len(df), index=df.index, dtype=object)})


def too_large(df: pd.DataFrame) -> pd.DataFrame:
    return _with_column(df, 10**40)


def half_a_character(df: pd.DataFrame) -> pd.DataFrame:
    return _with_column(df, "\ud800")


def imaginary(df: pd.DataFrame) -> pd.DataFrame:
    return _with_column(df, complex(1, 2))


def an_hour_later(df: pd.DataFrame) -> pd.DataFrame:
    return df.assign(at="2026-11-20T11:00:00Z")
