"""Limited Data Use, row by row: one flag and one state become the three parameters that Meta takes.

MAPI:overview/data-processing-options: ``["LDU"]`` with country 1 and a state, or with 0 and 0, by which Meta finds out
where the person is; ``[]`` without limits. A row without a flag has none of the three: its client decides.
"""

from __future__ import annotations

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
import pycountry

from offline_capi.config.mapping import LimitedDataUse
from offline_capi.mapping.columns import SourceColumns
from offline_capi.mapping.fields import Reading, read_field
from offline_capi.meta.catalogue import DATA_PROCESSING_STATES

__all__ = ["read_data_use"]

_LIMITED, _FREE = '["LDU"]', "[]"
_USA, _ANYWHERE = 1, 0


def read_data_use(columns: SourceColumns, spec: LimitedDataUse, path: str) -> dict[str, Reading]:
    """By Meta's names; a flag that cannot be read, or a state that is none, is a fault and never "no limits"."""
    flag = read_field(columns, spec.when, path, "boolean")
    number, unknown = _state(columns, spec, path)
    country = pc.if_else(number.is_valid(), _USA, _ANYWHERE)
    limited = pc.if_else(flag.values, True, pa.scalar(None, pa.bool_()))
    options = pc.if_else(flag.values, _LIMITED, _FREE)
    return {
        "data_processing_options": Reading(options, flag.unreadable, flag.unknown),
        "data_processing_options_country": Reading(pc.if_else(limited, country, None)),
        "data_processing_options_state": Reading(
            pc.if_else(limited, pc.fill_null(number, 0), None), unknown=pc.and_(unknown, pc.fill_null(limited, False))
        ),
    }


def _state(columns: SourceColumns, spec: LimitedDataUse, path: str) -> tuple[pa.Int64Array, pa.BooleanArray]:
    """Meta's number of each row's state, null where it has none; and where a word is no state of the USA."""
    if spec.state is None:
        return pa.nulls(len(columns), pa.int64()), columns.repeated(False)
    words = read_field(columns, spec.state, f"{path}.state", "string").values
    words = pc.if_else(pc.equal(words, "0"), pa.scalar(None, pa.string()), words)  # as in a client's setting: not said
    names, numbers = _states()
    numbered = numbers.take(pc.index_in(pc.utf8_lower(words), value_set=names))
    return numbered, pc.and_(words.is_valid(), numbered.is_null())


@cache
def _states() -> tuple[pa.StringArray, pa.Int64Array]:
    """Codes, names and Meta's numbers → Meta's number: 0 for the states that have no rules of their own."""
    usa = [one for one in pycountry.subdivisions if one.country_code == "US"]
    states = {word.lower(): 0 for one in usa for word in (one.code.removeprefix("US-"), one.name)}
    for number, names in DATA_PROCESSING_STATES.items():
        states |= dict.fromkeys((str(number), *(name.lower() for name in names)), number)
    return pa.array(list(states), pa.string()), pa.array(list(states.values()), pa.int64())
