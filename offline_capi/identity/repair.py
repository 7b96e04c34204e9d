"""What spreadsheets, shops and encodings leave around or inside a text, undone where only one reading is possible.

- Decoration that keeps a spreadsheet from reading a text as a number: ``="02134"``, ``'02134``, a unit separator in
  front (\\x1F), quotes around the whole.
- HTML entities (``O&#039;Brien``), escaped once or twice.
- UTF-8 that was read as Windows-1252 or Latin-1 (``MÃ¼ller``): undone where the whole text goes back to valid UTF-8.

A text that lost letters (U+FFFD), or holds control characters that no name has (U+0080 to U+009F: Windows-1252 read as
Latin-1, but Mac Roman and code page 850 look the same), stays undecided: ``broken``.
"""

from __future__ import annotations

import html

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.identity.text import find_matches, replace_matches
from offline_capi.runtime.column_bytes import holds, where_begins, where_not_ascii, where_only

__all__ = ["is_broken", "repair_encoding", "strip_decoration", "strip_id_decoration"]

_FORMULA = r'^\s*="(.*)"\s*$'
_QUOTED = r'^\s*"(.*)"\s*$'
_MARKS = b"='\"\x1f \t"


def strip_decoration(text: pa.Array) -> pa.Array:
    """The text without a spreadsheet's decoration."""
    where = where_begins(text, _MARKS)
    return text if where is None else where_only(text, where, _strip_marks)


def _strip_marks(text: pa.Array) -> pa.Array:
    if not holds(text, "=", "'", '"', "\x1f"):  # they begin with a blank
        return text
    bare = replace_matches(replace_matches(text, r"^[\s\x1f]*\x1f[\s\x1f]*", ""), _FORMULA, "$1")
    return replace_matches(replace_matches(bare, _QUOTED, "$1"), r"^\s*'(.*?)'?\s*$", "$1")


def strip_id_decoration(text: pa.Array) -> pa.Array:
    """The same for ids that go out byte by byte: an apostrophe goes only from the front of a number."""
    where = where_begins(text, _MARKS)
    return text if where is None else where_only(text, where, _strip_id_marks)


def _strip_id_marks(text: pa.Array) -> pa.Array:
    if not holds(text, "=", "'", "\x1f"):
        return text
    bare = replace_matches(replace_matches(text, r"^\x1f+", ""), _FORMULA, "$1")
    return replace_matches(bare, r"^\s*'([0-9]+)\s*$", "$1")


_ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});"
# The first byte of a character of several (C2 to F4), as Windows-1252 and Latin-1 show it, and a second one (80 to BF).
_LEAD = r"[\u{C2}-\u{F4}]"
_FOLLOWS = r"[\u{80}-\u{BF}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
_MOJIBAKE = _LEAD + _FOLLOWS
_BROKEN = r"[\u{80}-\u{84}\u{86}-\u{9F}\u{FFFD}]|[ÂÃ]" + _FOLLOWS


def repair_encoding(text: pa.Array) -> pa.Array:
    """Entities as what they stand for, and UTF-8 that was read as something else as UTF-8; all else as it is."""
    if holds(text, "&"):
        text = _repair_matches(text, _ENTITY, lambda one: html.unescape(html.unescape(one)))
    odd = where_not_ascii(text)
    return text if odd is None else where_only(text, odd, lambda few: _repair_matches(few, _MOJIBAKE, _as_utf8))


def is_broken(text: pa.Array) -> pa.BooleanArray | None:
    """Where letters were lost or belong to another encoding; ``None``: nowhere."""
    odd = where_not_ascii(text)
    if odd is None:
        return None
    broken = find_matches(text.filter(odd), _BROKEN)
    return pc.replace_with_mask(odd, odd, broken) if pc.any(broken).as_py() else None


def _repair_matches(text: pa.Array, pattern: str, repair: object) -> pa.Array:
    odd = pc.fill_null(find_matches(text, pattern), False)
    if not pc.any(odd).as_py():
        return text
    return pc.replace_with_mask(text, odd, pa.array([repair(one) for one in text.filter(odd).to_pylist()], pa.string()))  # type: ignore[operator]


def _as_utf8(text: str) -> str:
    """Twice at most: exports go wrong on their way in and on their way out."""
    for _ in range(2):
        try:
            text = b"".join(map(_encode_byte, text)).decode()
        except (UnicodeDecodeError, UnicodeEncodeError):
            break
    return text


def _encode_byte(letter: str) -> bytes:
    """The byte that Windows-1252 shows as ``letter``; the five that it does not define, as Latin-1 shows them."""
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")
