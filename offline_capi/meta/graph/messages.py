"""The ``messages`` of a success, masked for a report: bounded, printable, without any value of a row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

__all__ = ["MAX_MESSAGES", "mask_messages"]

#: Messages kept of one response, and characters of each: a report is no log.
MAX_MESSAGES = 5
MAX_CHARACTERS = 300

#: Replaces a word that is not shown.
HIDDEN = "…"
#: Plain words and short numbers. Whatever else there is (addresses, digests, ids, phone numbers, other scripts) could
#: be a value, or move a terminal's cursor.
_WORD = re.compile(r"[A-Za-z]{1,24}(?:_[A-Za-z]{1,24}){0,5}|\d{1,4}")
#: Pieces of a text: what stands between blanks and punctuation.
_PIECE = re.compile(r"[^\s,;:!?()\[\]{}\"'<>|=/-]+")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
#: Fields of an event that say nothing about a person.
_IMPERSONAL = frozenset({"event_name", "action_source"})


def mask_messages(messages: object, sent: Sequence[bytes | memoryview] = ()) -> tuple[str, ...]:
    """Meta's messages as sentences of a report, each once.

    Meta does not document their text, and one could quote the request. So a word stays only where it looks like one and
    is no value of ``sent``, the request's body, from which Meta knows all that it knows of a row.
    """
    entries = messages if isinstance(messages, list) else [messages]
    texts = [one.get("message") if isinstance(one, dict) else one for one in entries]
    kept = [text[:MAX_CHARACTERS] for text in texts if isinstance(text, str) and text.strip()][:MAX_MESSAGES]
    if not kept:
        return ()
    values = frozenset(_split_values(_parse_json(sent)))
    return tuple(dict.fromkeys(f"Meta's answer says: {_mask(text, values)}" for text in kept))


def _mask(text: str, values: frozenset[str]) -> str:
    def mask_word(piece: re.Match[str]) -> str:
        word = piece[0].rstrip(".")
        shown = _WORD.fullmatch(word) and values.isdisjoint(_split_words(word))
        return (word if shown else HIDDEN) + "." * (len(piece[0]) - len(word))

    plain = _UNPRINTABLE.sub(HIDDEN, " ".join(text.split()))
    return re.sub(rf"(?:{HIDDEN}\s*)+{HIDDEN}", HIDDEN, _PIECE.sub(mask_word, plain))


def _parse_json(sent: Sequence[bytes | memoryview]) -> object:
    try:
        return json.loads(b"".join(sent)) if sent else None
    except (ValueError, RecursionError):
        return None


def _split_values(data: object) -> Iterator[str]:
    """Every word of every value, case folded."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from () if key in _IMPERSONAL else _split_values(value)
    elif isinstance(data, list):
        for value in data:
            yield from _split_values(value)
    elif data is not None:
        yield from _split_words(str(data))


def _split_words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
