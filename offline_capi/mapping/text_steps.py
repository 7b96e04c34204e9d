"""The steps of ``text`` in a field: changes of a value as text, a column at a time.

What a step cannot do (``extract`` finds no match, ``split`` has no such part) leaves no value where the source has one:
the value counts as unreadable, as any other that the declared reading does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.fields import Split, TextStep
from offline_capi.config.patterns import name_group
from offline_capi.mapping.text import UnfitSettingError, plain

__all__ = ["change_text", "find_pattern", "pattern_fault"]

_GROUP = "kept"


def change_text(text: pa.StringArray, steps: Iterable[TextStep]) -> tuple[pa.StringArray, pa.BooleanArray | None]:
    """The text after all steps, null where blank; and where a step could not be done on a value that is there."""
    lost: pa.BooleanArray | None = None
    for step in steps:
        before = text.is_valid()
        text = _changed(text, step)
        gone = pc.and_(before, text.is_null())
        lost = gone if lost is None else pc.or_(lost, gone)
    return plain(text), lost if lost is not None and pc.any(lost).as_py() else None


def _changed(text: pa.StringArray, step: TextStep) -> pa.StringArray:
    name, how = next((name, how) for name, how in step if how is not None)
    return _STEPS[name](text, how)


def find_pattern(text: pa.StringArray, pattern: str) -> pa.BooleanArray:
    """Where the pattern is found; null where the text is."""
    return _by_re2(partial(pc.match_substring_regex, text, pattern))


def pattern_fault(pattern: str) -> str | None:
    """Why RE2 cannot use a pattern; ``None`` where it can."""
    try:
        find_pattern(pa.array([""]), pattern)  # of no text Arrow does not compile it
    except UnfitSettingError as wrong:
        return str(wrong)
    return None


def _by_re2(search: Callable[[], Any]) -> Any:
    try:
        return search()
    except pa.ArrowInvalid as error:
        # After Arrow's own words come RE2's about the pattern, which stands in the YAML.
        raise UnfitSettingError(f"the pattern is none of RE2's: {str(error).partition(': ')[2]}") from None


def _trim(text: pa.StringArray, characters: str | bool) -> pa.StringArray:
    return pc.utf8_trim_whitespace(text) if characters is True else pc.utf8_trim(text, characters)


def _replace(text: pa.StringArray, changes: dict[str, str]) -> pa.StringArray:
    for old, new in changes.items():
        text = pc.replace_substring(text, old, new)
    return text


def _extract(text: pa.StringArray, pattern: str) -> pa.StringArray:
    found = _by_re2(partial(pc.extract_regex, text, name_group(pattern, _GROUP)))
    return pc.if_else(found.is_valid(), pc.struct_field(found, _GROUP), pa.scalar(None, pa.string()))


def _split(text: pa.StringArray, split: Split) -> pa.StringArray:
    parts = pc.split_pattern(text, split.by)
    offsets = parts.offsets.to_numpy()
    starts, ends = offsets[:-1].astype(np.int64), offsets[1:].astype(np.int64)
    at = starts + split.part - 1 if split.part > 0 else ends + split.part
    there = (at >= starts) & (at < ends) & parts.is_valid().to_numpy(zero_copy_only=False)
    return parts.values.take(pa.array(at, mask=~there))


_STEPS: dict[str, Callable[[pa.StringArray, Any], pa.StringArray]] = {
    "trim": _trim,
    "lower": lambda text, _: pc.utf8_lower(text),
    "upper": lambda text, _: pc.utf8_upper(text),
    "replace": _replace,
    "extract": _extract,
    "split": _split,
    "pad": lambda text, pad: (pc.utf8_lpad if pad.side == "left" else pc.utf8_rpad)(text, pad.width, pad.with_),
}
