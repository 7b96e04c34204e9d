"""What the field writes and what goes out: the table of ``spellings.py``, row by row and all rows of a key at once."""

from __future__ import annotations

from collections import defaultdict
from datetime import date

import pyarrow as pa
import pytest
from spellings import SPELLINGS, Spelling

from offline_capi.identity import Readable, Usable, get_default_rule


def _read(*rows: Spelling) -> Usable:
    written, countries = ([getattr(row, name) for row in rows] for name in ("written", "country"))
    readable = Readable(
        pa.array(written, pa.string()), pa.array(countries, pa.string()), today=date(2026, 11, 29), zone="Europe/Berlin"
    )
    return get_default_rule(rows[0].key, "meta@2026-11")(readable)


def _outcomes(usable: Usable) -> list[str]:
    causes = [None] * len(usable.text) if usable.cause is None else usable.cause.to_pylist()
    return [f"!{why}" if text is None else text for text, why in zip(usable.text.to_pylist(), causes, strict=True)]


def _name(row: Spelling) -> str:
    return f"{row.key}-{row.country}-{row.written}"


def test_there_are_enough_spellings() -> None:
    assert len({row[:3] for row in SPELLINGS}) >= 300


@pytest.mark.parametrize("row", SPELLINGS, ids=_name)
def test_p22_a_value_arrives_as_it_was_meant_or_is_dropped_by_name(row: Spelling) -> None:
    assert _outcomes(_read(row)) == [row.out]


def test_p22_neighbours_change_nothing() -> None:
    """All rows of a key in one column give what each gives alone."""
    by_key: dict[str, list[Spelling]] = defaultdict(list)
    for row in SPELLINGS:
        by_key[row.key].append(row)

    for rows in by_key.values():
        assert _outcomes(_read(*rows)) == [row.out for row in rows]
