"""Told once: which faults began and which ended since somebody was told of them last."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ["changed", "subject_of"]


def changed(before: Collection[str], now: Iterable[str]) -> tuple[list[str], list[str]]:
    """The keys of the faults that began, and of those that ended.

    A fault that became another of its subject, as a token's end came nearer, has begun, and the one before has not
    ended.
    """
    present = list(dict.fromkeys(now))
    subjects = {subject_of(key) for key in present}
    began = [key for key in present if key not in before]
    return began, [key for key in before if key not in present and subject_of(key) not in subjects]


def subject_of(key: str) -> str:
    """What a fault is about: the words before the colon of its key."""
    return key.partition(":")[0]
