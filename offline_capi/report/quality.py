"""What we sent beside what Meta says it got: by event name and day in UTC, and what to look at where they differ."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from offline_capi.model import ReadBack, SentEvents

__all__ = ["CheckLine", "Quality", "QualityLine", "ScoreLine", "UploadLine", "compare"]

#: A difference is told from so many events and so much of what was sent on.
LEAST_EVENTS, LEAST_SHARE = 5, 0.05
#: Events are seen within about so long (D:using-the-api).
SEEN_WITHIN = timedelta(minutes=20)
#: Below it events match badly (meta-capi.md 9: EMQ, aim); offline events unlock omnichannel ads from 8.5 on.
LEAST_SCORE = {"web": 6.0, "offline": 8.5}

#: Words in Meta's processing results and what they mean, as far as their spelling says it: no page lists them [?].
_PROCESSED = re.compile(r"(?<![a-z])(?<!not[ _])(processed|success|valid|accepted)")
_DEDUPLICATED = re.compile(r"dedup|duplicate")


@dataclass(frozen=True, slots=True)
class QualityLine:
    """One event name on one day; ``None`` where Meta did not tell. ``fresh`` of ``sent`` may not be visible yet.

    Meta counts by pixel: of two clients with one pixel, each line has what both sent.
    ``results`` are Meta's own words for what it did with the events.
    """

    client: str
    pixel: str
    event_name: str
    day: date
    sent: int
    fresh: int
    received: int
    processed: int | None = None
    deduplicated: int | None = None
    results: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "day": self.day.isoformat()}


@dataclass(frozen=True, slots=True)
class UploadLine:
    """An upload tag on one day, as Meta's list of offline uploads has it."""

    client: str
    upload_tag: str
    day: date
    valid: int
    matched: int
    duplicate: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "day": self.day.isoformat()}


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """How well Meta matches an event name, of 10; ``kind`` is web or offline, ``keys`` the per cent that carry each.

    ``gains`` are Meta's estimates of what more of a key would bring, in per cent; it gives them for web events alone.
    """

    client: str
    kind: str
    event_name: str
    score: float | None
    keys: Mapping[str, float | None]
    gains: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def low(self) -> bool:
        return self.score is not None and self.score < LEAST_SCORE[self.kind]

    def shares(self) -> list[tuple[str, float]]:
        """The keys of which Meta told a share, in its order."""
        return [(key, share) for key, share in self.keys.items() if share is not None]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CheckLine:
    """A check of the pixel's setup that was not passed, by Meta's name."""

    client: str
    key: str
    title: str
    result: str
    action_uri: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Quality:
    """All that Meta told, beside our own counts; ``remarks`` are sentences for who looks after a client."""

    lines: tuple[QualityLine, ...] = ()
    uploads: tuple[UploadLine, ...] = ()
    scores: tuple[ScoreLine, ...] = ()
    checks: tuple[CheckLine, ...] = ()
    remarks: tuple[str, ...] = ()
    read_at: datetime | None = None

    def __bool__(self) -> bool:
        return self.read_at is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "read_at": self.read_at.isoformat() if self.read_at else None,
            "remarks": list(self.remarks),
            **{
                part: [line.to_json() for line in getattr(self, part)]
                for part in ("lines", "uploads", "scores", "checks")
            },
        }


def compare(
    sent: Iterable[tuple[datetime, Mapping[SentEvents, int]]],
    told: Iterable[ReadBack],
    *,
    about: Collection[SentEvents] | None = None,
) -> Quality:
    """What runs sent until Meta was asked, with the moment at which each ended, beside what Meta told.

    Only days and pixels are compared that Meta told of: what was not asked is not taken for lost. ``about`` narrows it
    to the clients, names and days of one run, still with what all runs sent of them.
    """
    told = [one for one in told if about is None or any(key.client == one.client for key in about)]
    if not told:
        return Quality()
    lines = tuple(line for line in _lines(list(sent), told) if about is None or _key_of(line) in about)
    scores = tuple(_scores(told))
    remarks = (*_differences(lines), *map(_of_score, filter(_is_low, scores)))
    newest = max(one.read_at for one in told)
    return Quality(lines, tuple(_uploads(told)), scores, tuple(_checks(told)), remarks, newest)


# ---------------------------------------------------------------------------------------------- counts


def _key_of(line: QualityLine) -> SentEvents:
    return SentEvents(line.client, line.pixel, line.event_name, line.day)


def _lines(sent: list[tuple[datetime, Mapping[SentEvents, int]]], told: list[ReadBack]) -> Iterator[QualityLine]:
    counted = {(one.client, one.pixel, one.day): one for one in told if one.kind == "received"}
    results = {(one.client, one.pixel, one.day): one.figures for one in told if one.kind == "results"}
    ours = _by_pixel(sent, {(one.pixel, one.day): one.read_at for one in counted.values()})
    for (client, pixel, day), one in sorted(counted.items(), key=lambda item: item[0]):
        names = {*one.figures, *(name for on, name, of_day in ours if (on, of_day) == (pixel, day))}
        for name in sorted(names):
            total, fresh = ours.get((pixel, name, day), (0, 0))
            words = results.get((client, pixel, day), {}).get(name, {})
            yield _line(SentEvents(client, pixel, name, day), total, fresh, one.figures.get(name, 0), words)


def _by_pixel(
    sent: list[tuple[datetime, Mapping[SentEvents, int]]], read_at: Mapping[tuple[str, date], datetime]
) -> dict[tuple[str, str, date], tuple[int, int]]:
    """Pixel, name, day → what was sent before Meta was asked, and how much of it shortly before."""
    totals: Counter[tuple[str, str, date]] = Counter()
    fresh: Counter[tuple[str, str, date]] = Counter()
    for ended, events in sent:
        for (_, pixel, name, day), count in events.items():
            asked = read_at.get((pixel, day))
            if asked is not None and ended <= asked:
                totals[pixel, name, day] += count
                fresh[pixel, name, day] += count if asked - ended < SEEN_WITHIN else 0
    return {key: (count, fresh[key]) for key, count in totals.items()}


def _line(key: SentEvents, sent: int, fresh: int, received: int, results: Mapping[str, int]) -> QualityLine:
    processed, deduplicated = (_sum_of(results, words) for words in (_PROCESSED, _DEDUPLICATED))
    return QualityLine(*key, sent, fresh, received, processed, deduplicated, dict(results))


def _sum_of(results: Mapping[str, int], words: re.Pattern[str]) -> int | None:
    """What Meta's words say of it; ``None`` where it told no results at all."""
    return sum(n for told, n in results.items() if words.search(told.lower())) if results else None


# ---------------------------------------------------------------------------------------------- what to look at


def _differences(lines: Iterable[QualityLine]) -> Iterator[str]:
    """One sentence for each event name of a pixel, over all its days."""
    groups: defaultdict[tuple[str, str, str], list[QualityLine]] = defaultdict(list)
    for line in lines:
        groups[line.client, line.pixel, line.event_name].append(line)
    for (client, pixel, name), of_name in groups.items():
        sent, fresh = sum(line.sent for line in of_name), sum(line.fresh for line in of_name)
        twice = sum(line.deduplicated or 0 for line in of_name)
        received = sum(line.received for line in of_name)
        received -= min(twice, max(received - sent, 0))  # what came twice, Meta itself counts once
        missing = sent - received
        if sent and abs(missing) >= max(LEAST_EVENTS, LEAST_SHARE * sent):
            what = f"{client}: Meta counts {received:,} of {sent:,} {name} events sent to pixel {pixel}"
            yield f"{what} for {_days(of_name)}: {_advice(missing, fresh, sent)}"


def _days(lines: list[QualityLine]) -> str:
    days = sorted({line.day for line in lines if line.sent or line.received})
    return f"{days[0]} (UTC)" if len(days) == 1 else f"{days[0]} to {days[-1]} (UTC)"


def _advice(missing: int, fresh: int, sent: int) -> str:
    share = f"{abs(missing):,} ({abs(missing) / sent:.0%})"
    if missing < 0:
        return (
            f"{share} more. Look whether another server sends them too, and whether a run ended without a report "
            "(offline-capi status)"
        )
    if fresh >= missing:
        return f"{share} fewer. {fresh:,} were sent less than 20 minutes before: read back again later"
    return (
        f"{share} fewer. Look at the pixel's Diagnostics and restrictions in Events Manager; events that the browser "
        "pixel had sent before are deduplicated"
    )


def _is_low(line: ScoreLine) -> bool:
    return line.low


def _of_score(line: ScoreLine) -> str:
    key, share = min(line.shares(), key=lambda one: one[1], default=("", 0.0))
    weak = f"; {key} is carried by {share:.0f}% of them" if key and share < 100 else ""
    return (
        f"{line.client}: {line.event_name} matches at {line.score:.1f} of 10 ({line.kind}; aim at "
        f"{LEAST_SCORE[line.kind]:g}){weak}: map more keys, see offline-capi coverage"
    )


# ---------------------------------------------------------------------------------------------- the rest, newest only


def _newest(told: Iterable[ReadBack], kind: str) -> Iterator[ReadBack]:
    """Of scores and checks, kept day by day, the last of each pixel."""
    last = {(one.client, one.pixel): one for one in sorted(told, key=lambda one: one.day) if one.kind == kind}
    yield from (last[key] for key in sorted(last))


def _scores(told: list[ReadBack]) -> Iterator[ScoreLine]:
    for kind in LEAST_SCORE:
        for one in _newest(told, kind):
            for name, scores in sorted(one.figures.items()):
                yield ScoreLine(one.client, kind, name, scores["score"], scores["keys"], scores.get("gains", {}))


def _checks(told: list[ReadBack]) -> Iterator[CheckLine]:
    for one in _newest(told, "checks"):
        for key, words in sorted(one.figures.items()):
            if words["result"].lower() not in _PASSED:
                yield CheckLine(one.client, key, words["title"], words["result"], words["action_uri"])


#: Results of checks that ask for nothing; SDK DACheck names none, so that all others are shown.
_PASSED = frozenset({"passed", "pass", "ok", "success"})


def _uploads(told: list[ReadBack]) -> Iterator[UploadLine]:
    for one in told:
        for tag, counts in sorted(one.figures.items()) if one.kind == "uploads" else ():
            yield UploadLine(
                one.client, tag, one.day, *(counts.get(name, 0) for name in ("valid", "matched", "duplicate"))
            )
