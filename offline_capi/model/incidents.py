"""One alert per incident: which faults began and which ended since the last alert."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["find_changes", "get_subject"]


def find_changes(before: Collection[str], now: Iterable[str]) -> tuple[list[str], list[str]]:
    """The keys of the faults that began, and of those that ended.

    A fault that became another of its subject, as a token's end came nearer, has begun, and the one before has not
    ended.
    """
    present = list(dict.fromkeys(now))
    subjects = {get_subject(key) for key in present}
    began = [key for key in present if key not in before]
    return began, [key for key in before if key not in present and get_subject(key) not in subjects]


def get_subject(key: str) -> str:
    """What a fault is about: the text before the colon of its key."""
    return key.partition(":")[0]
