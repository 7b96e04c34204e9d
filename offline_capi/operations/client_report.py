"""The report for a client, counted from the ledger's runs: each record once, and nothing of other clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from offline_capi.config import Deployment, Upload
from offline_capi.errors import UsageError
from offline_capi.ledger import RunRecord, load_read_back
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.meta.limits import MAX_EVENT_AGE
from offline_capi.model import Count, Fate, SentEvents, Tally, ValueCell, Window
from offline_capi.model.recipients import get_client_name
from offline_capi.pipeline import Services
from offline_capi.pipeline.open_days import find_max_age
from offline_capi.report import client_report as page
from offline_capi.report.client_report import ClientReport, Period
from offline_capi.report.client_words import MATCH_KEYS, describe_issue, describe_meta_count
from offline_capi.report.quality import LEAST_SCORE, Quality, QualityLine, compare

__all__ = ["PERIOD_DAYS", "make_client_report"]

#: Days of a report that names no month, today not among them.
PERIOD_DAYS = 30
#: Keys that a client is told of even if no event carries them: most sources could have them (D:best-practices).
_WORTH_ADDING = ("em", "ph", "external_id", "fn", "ln", "zp", "ct", "country")
#: What a replay may have corrected, in the order in which it is taken off what its run had left.
_REPLAYED = (Fate.INVALID, Fate.REJECTED_BY_META, Fate.DEFERRED, Fate.UNCONFIRMED)
#: Fates of records that were not sent, in the order in which a client is told of them.
_NOT_SENT = (Fate.REJECTED_BY_META, Fate.INVALID, Fate.DEFERRED, Fate.UNCONFIRMED, Fate.EXPIRED, Fate.SUPPRESSED)
_NEVER_ASKED = "Meta's own figures have not been read for this period."
_SHARED_PIXEL = (
    "Meta counts by pixel, and yours also receives events that are not of this report: its figures cannot be set "
    "beside ours."
)
Span = tuple[datetime, datetime]


def make_client_report(
    client: str, services: Services, *, month: str | None = None, uploads: Collection[str] | None = None
) -> ClientReport:
    """What was sent for a client in a month, or in the last 30 days, and what became of the rest.

    Each record is counted once: if it was sent, in the run that sent it, else as the latest run that read it found it.
    Rows without a day, or of a day outside the range that their run read, are those of the newest run over that range.
    ``uploads`` narrows it to these, for somebody who may not see the others. Raises ``UsageError`` for an unknown
    client, or a month that is none or has not begun.
    """
    deployment, now = services.deployment, services.clock()
    if client not in deployment.clients:
        raise UsageError(f'no client "{client}" in {deployment.folder / "clients.yml"}')
    zone = _find_zone(client, deployment, uploads)
    period = _make_period(month, now.astimezone(ZoneInfo(zone)).date(), zone)
    # An event is never sent before it happens; a day more, for the zones of other uploads.
    begin = datetime.combine(period.first, datetime.min.time(), UTC) - timedelta(days=1)
    books = _ClientBooks(client, period, now, deployment)
    for record in services.ledger.runs.iterate_closed(begin, uploads):
        books.add(record)
    first_known = books.find_first_day(services.ledger.runs.find_first_start(uploads))
    quality = _load_quality(books, services)
    return ClientReport(
        client=client,
        pixel=deployment.clients[client].pixel_id,
        period=period,
        made_at=now,
        sent=books.count_sent(client),
        not_sent=books.count_not_sent(client),
        value=books.sum_values(),
        days=tuple(books.list_days()),
        undated=sum(n for count, n in books.list_not_sent() if count.client == client and count.day is None),
        events=tuple(books.list_events()),
        issues=tuple(books.list_issues()),
        keys=tuple(books.list_keys(quality)),
        keys_of=books.sendable,
        pixels=tuple(books.list_pixels()),
        meta=_describe_quality(quality, books),
        freshness=books.freshness,
        known_since=first_known if first_known and first_known > period.first else None,
    )


def _find_zone(client: str, deployment: Deployment, uploads: Collection[str] | None) -> str:
    """The zone of the client's days: that of its first upload, else its own."""
    own = (one for one in deployment.uploads.values() if uploads is None or one.name in uploads)
    zones = [one.window.timezone for one in own if _may_hold(one, client)]
    return zones[0] if zones else deployment.clients[client].timezone


def _may_hold(upload: Upload, client: str) -> bool:
    """Whether rows of the upload may be the client's."""
    spec = upload.client
    if spec.constant is None and spec.map is None:
        return True
    return client in {str(name) for name in (spec.constant, spec.default, *(spec.map or {}).values())}


def _make_period(month: str | None, today: date, zone: str) -> Period:
    yesterday = today - timedelta(days=1)
    if month is None:
        return Period(yesterday - timedelta(days=PERIOD_DAYS - 1), yesterday, zone)
    try:
        first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        raise UsageError(f'--month "{month}" is no month: write it as 2026-11') from None
    if first > yesterday:
        raise UsageError(
            f"--month {month}: no day of it is over yet; without --month it is the last {PERIOD_DAYS} days"
        )
    return Period(first, min((first + timedelta(days=31)).replace(day=1) - timedelta(days=1), yesterday), zone)


# ---------------------------------------------------------------------------------------------- counting


@dataclass(slots=True)
class _Piece:
    """What a run left unsent of one day that it read; ``spans`` are what no later run has read again."""

    spans: list[Span]
    counts: Counter[Count]

    def take_out(self, span: Span) -> None:
        left = []
        for since, until in self.spans:
            left += [(since, min(until, span[0])), (max(since, span[1]), until)]
        self.spans = [one for one in left if one[0] < one[1]]


@dataclass(slots=True)
class _ClientBooks:
    """The runs of a period, one after the other, as far as they are about one client."""

    client: str
    period: Period
    now: datetime
    deployment: Deployment
    sent: Counter[tuple[str, date]] = field(default_factory=Counter)
    cells: dict[ValueCell, tuple[int, float]] = field(default_factory=dict)
    pieces: dict[str, list[_Piece]] = field(default_factory=dict)
    covered: dict[str, set[date]] = field(default_factory=dict)
    own_uploads: set[str] = field(default_factory=set)
    sent_events: list[tuple[datetime, Mapping[SentEvents, int]]] = field(default_factory=list)
    sendable: int = 0
    keys: Counter[str] = field(default_factory=Counter)
    freshness: page.Freshness = field(default_factory=page.Freshness)
    shares_pixel: bool = False

    def __post_init__(self) -> None:
        self.shares_pixel = bool(self.deployment.clients[self.client].shares_pixel_with)

    def add(self, record: RunRecord) -> None:
        """A run, later than all before it."""
        whole = Tally.from_json((record.report or {})["tally"])
        tally = whole.select_client(self.client)
        pixels = {pixel.id for pixel in self.deployment.clients[self.client].pixel_ids}
        pixels |= {sent.pixel for sent in tally.sent_events}
        self.shares_pixel |= any(
            sent.pixel in pixels and get_client_name(sent.client) != self.client for sent in whole.sent_events
        )
        if tally.read:
            self.own_uploads.add(record.upload)
        self._add_sent(tally, record)
        if record.trigger == "replay":
            self._take_off_replayed(tally, record)
        elif tally.read or not whole.narrowed:
            self._add_look(tally, record)

    def _add_sent(self, tally: Tally, record: RunRecord) -> None:
        ended = record.ended_at or record.started_at
        own = Counter(
            {count: n for count, n in tally.fates.items() if count.fate is Fate.SENT and count.day in self.period}
        )
        self.sent_events.append((ended, dict(tally.sent_events)))
        for count, n in own.items():
            self.sent[count.client or "", count.day or self.period.first] += n
        for cell, (events, value) in (tally.sent_cells or _guess_cells(tally)).items():
            if cell.day in self.period and cell.client == self.client:
                before = self.cells.get(cell, (0, 0.0))
                self.cells[cell] = (before[0] + events, before[1] + value)
        first = {count: n for count, n in own.items() if count.client == self.client}
        if first:
            today = ended.astimezone(record.window.since.tzinfo).date()
            newest = [datetime.fromtimestamp(at, UTC) for at in tally.newest_sent.values()]
            self.freshness = page.Freshness(
                max(filter(None, (self.freshness.newest_event, *newest)), default=None),
                ended,
                self.freshness.sent + sum(first.values()),
                self.freshness.next_day
                + sum(n for count, n in first.items() if count.day and today - count.day <= timedelta(days=1)),
            )

    def _add_look(self, tally: Tally, record: RunRecord) -> None:
        """A run that read all of the client's rows in its range: what earlier ones said of that range is over."""
        span = record.covered or self._extend_back(record)
        for piece in self.pieces.get(record.upload, ()):
            piece.take_out((span.since.astimezone(UTC), span.until.astimezone(UTC)))
        days = _split_into_days(span)
        if any(day in self.period for day in days):
            self.covered.setdefault(record.upload, set()).update(days)
            self.sendable += tally.sendable
            self.keys.update(tally.keys)
        unsent = Counter({count: n for count, n in tally.fates.items() if count.fate in _NOT_SENT})
        kept = [_Piece([part], _of_days(unsent, {day})) for day, part in days.items()]
        elsewhere = Counter({count: n for count, n in unsent.items() if count.day not in days})
        kept.append(_Piece([list(days.values())[-1]], elsewhere))
        self._keep(record.upload, kept)

    def _take_off_replayed(self, tally: Tally, record: RunRecord) -> None:
        """What a replay read is no longer as its run had left it."""
        for count, n in tally.fates.items():
            for fate in _REPLAYED:
                for day in (count.day, None):
                    n -= self._take_off(record.upload, fate, count.client, day, n)
        span = (record.window.since.astimezone(UTC), record.window.until.astimezone(UTC))
        self._keep(
            record.upload, [_Piece([span], Counter({c: n for c, n in tally.fates.items() if c.fate in _NOT_SENT}))]
        )

    def _take_off(self, upload: str, fate: Fate, client: str | None, day: date | None, rows: int) -> int:
        taken = 0
        for piece in self.pieces.get(upload, ()):
            for count in [one for one in piece.counts if (one.fate, one.client, one.day) == (fate, client, day)]:
                part = min(piece.counts[count], rows - taken) if piece.spans else 0
                piece.counts[count] -= part
                taken += part
        return taken

    def _keep(self, upload: str, pieces: list[_Piece]) -> None:
        kept = [piece for piece in self.pieces.get(upload, ()) if piece.spans]
        self.pieces[upload] = [*kept, *(piece for piece in pieces if piece.counts)]

    def _extend_back(self, record: RunRecord) -> Window:
        upload = self.deployment.uploads.get(record.upload)
        return record.window.extend_back(upload.window.lookback) if upload else record.window

    # ------------------------------------------------------------------------------------------ lines

    def list_not_sent(self) -> Iterator[tuple[Count, int]]:
        for pieces in self.pieces.values():
            for piece in pieces:
                begins = piece.spans[0][0].astimezone(ZoneInfo(self.period.zone)).date() if piece.spans else None
                for count, n in piece.counts.items():
                    if begins and n and (count.day or begins) in self.period:
                        yield count, n

    def count_sent(self, recipient: str) -> int:
        return sum(n for (name, _), n in self.sent.items() if name == recipient)

    def count_not_sent(self, recipient: str) -> dict[Fate, int]:
        fates: Counter[Fate] = Counter()
        for count, n in self.list_not_sent():
            if count.client == recipient:
                fates[count.fate] += n
        return {fate: fates[fate] for fate in _NOT_SENT if fates[fate]}

    def sum_values(self, event_name: str | None = None, day: date | None = None) -> dict[str, float]:
        sums: dict[str, float] = {}
        for cell, (_, value) in self.cells.items():
            if cell.currency and event_name in (None, cell.event_name) and day in (None, cell.day):
                sums[cell.currency] = sums.get(cell.currency, 0.0) + value
        return {currency: round(value, 2) for currency, value in sorted(sums.items())}

    def list_days(self) -> Iterator[page.DayLine]:
        uploads = self.deployment.uploads.items()
        names = self.own_uploads | {name for name, upload in uploads if upload.client.constant == self.client}
        names = names or {name for name, upload in uploads if _may_hold(upload, self.client)}
        covered = {day for name in names for day in self.covered.get(name, ())}
        unsent: Counter[date | None] = Counter()
        for count, n in self.list_not_sent():
            if count.client == self.client:
                unsent[count.day] += n
        for day in self.period.list_days():
            sent = self.sent[self.client, day]
            known = day in covered or bool(sent or unsent[day])
            yield page.DayLine(day, sent, unsent[day], self.sum_values(day=day), known)

    def list_events(self) -> list[page.EventLine]:
        events: Counter[str] = Counter()
        for cell, (n, _) in self.cells.items():
            events[cell.event_name] += n
        ordered = sorted(events.items(), key=lambda item: (-item[1], item[0]))
        return [page.EventLine(name, n, self.sum_values(name)) for name, n in ordered]

    def list_issues(self) -> list[page.IssueLine]:
        """One line for each sentence and pixel; what somebody has to do comes first, then by number."""
        rows: Counter[tuple[str, Fate, str, bool]] = Counter()
        for upload, pieces in self.pieces.items():
            narrowed = _ClientBooks(self.client, self.period, self.now, self.deployment, pieces={upload: pieces})
            for count, n in narrowed.list_not_sent():
                lost = count.fate is Fate.DEFERRED and self._is_too_old(upload, count.day)
                rows[count.client or "", count.fate, count.reason or "", lost] += n
        lines: dict[tuple[str, Fate, str], page.IssueLine] = {}
        for (recipient, fate, reason, lost), n in rows.most_common():
            words = describe_issue(fate, reason, lost=lost)
            pixel = recipient.partition("@")[2]
            before = lines.get((pixel, fate, words.what))
            number = n + (before.rows if before else 0)
            reason = before.reason if before else reason
            lines[pixel, fate, words.what] = page.IssueLine(fate, reason, number, *words, lost=lost, pixel=pixel)
        urgency = {"you": 0, "we": 1, "nobody": 2}
        return sorted(lines.values(), key=lambda line: (line.pixel, urgency[line.who], -line.rows, line.what))

    def _is_too_old(self, upload: str, day: date | None) -> bool:
        if day is None:
            return False
        known = self.deployment.uploads.get(upload)
        longest = find_max_age(known, self.deployment) if known else MAX_EVENT_AGE
        zone = known.window.timezone if known else self.period.zone
        return datetime.combine(day + timedelta(days=1), datetime.min.time(), ZoneInfo(zone)) + longest <= self.now

    def find_first_day(self, oldest_run: datetime | None) -> date | None:
        """The first day that is known: one that a run covered, or the day before the oldest run that is known."""
        days = [day for covered in self.covered.values() for day in covered]
        if oldest_run is not None:
            days.append(oldest_run.astimezone(ZoneInfo(self.period.zone)).date() - timedelta(days=1))
        return min(days, default=None)

    def list_keys(self, quality: Quality) -> Iterator[page.MatchKeyLine]:
        """The keys that events carry, and those that most sources could have; in the order of ``MATCH_KEYS``."""
        gains: dict[str, float] = {}
        for score in quality.scores if not self.shares_pixel else ():
            for key, gain in score.gains.items():
                gains[key] = max(gain or 0.0, gains.get(key, 0.0))
        order = [*MATCH_KEYS, *(key for key in USER_DATA_KEYS if key not in MATCH_KEYS)]
        for key in order if self.sendable else ():
            if key in self.keys or key in _WORTH_ADDING:
                words = MATCH_KEYS.get(key)
                name = words.name if words else USER_DATA_KEYS[key].meaning.capitalize()
                told = (words.how, words.effect, words.sources) if words else ("", "", ())
                events = self.keys[key]
                yield page.MatchKeyLine(key, name, events, events / self.sendable, *told, gain=gains.get(key) or None)

    def list_pixels(self) -> list[page.PixelLine]:
        """All pixels, the first one first; none where there is one only."""
        further = {name for name, _ in self.sent} | {count.client or "" for count, _ in self.list_not_sent()}
        names = sorted(name for name in further if name.startswith(f"{self.client}@"))
        first = self.deployment.clients[self.client].pixel_id
        return [
            page.PixelLine(
                name.partition("@")[2] or first, self.count_sent(name), sum(self.count_not_sent(name).values())
            )
            for name in ([self.client, *names] if names else [])
        ]


def _split_into_days(span: Window) -> dict[date, Span]:
    """The days of a range, in its zone, each with the part of it that lies in the range."""
    days: dict[date, Span] = {}
    since, until = span.since.astimezone(UTC), span.until.astimezone(UTC)
    at = span.since
    while at.astimezone(UTC) < until:
        day = Window.of_day_at(at)
        begins, ends = day.since.astimezone(UTC), day.until.astimezone(UTC)
        days[day.since.date()] = (max(begins, since), min(ends, until))
        at = day.until
    return days


def _of_days(counts: Counter[Count], days: Collection[date]) -> Counter[Count]:
    return Counter({count: n for count, n in counts.items() if count.day in days})


def _guess_cells(tally: Tally) -> dict[ValueCell, tuple[int, float]]:
    """For books without them: by day if all events sent have one name, else by their day in UTC and without a value."""
    names = {sent.event_name for sent in tally.sent_events}
    cells: dict[ValueCell, tuple[int, float]] = {}
    if len(names) != 1:
        for sent, n in tally.sent_events.items():
            cells[ValueCell(sent.client, sent.event_name, "", sent.day)] = (n, 0.0)
        return cells
    (name,) = names
    by_day = {(c.client or "", c.day): n for c, n in tally.fates.items() if c.fate is Fate.SENT and c.day}
    for (recipient, day), n in by_day.items():
        if day:
            cells[ValueCell(recipient, name, "", day)] = (n, 0.0)
    for (client, currency), amount in tally.sent_value.items():
        days = [day for recipient, day in by_day if recipient == client and day]
        if days:
            cells[ValueCell(client, name, currency, max(days))] = (0, amount)
    return cells


# ---------------------------------------------------------------------------------------------- Meta's figures


def _load_quality(books: _ClientBooks, services: Services) -> Quality:
    """What Meta told of the client's pixels on the days of the period, beside what runs sent until it was asked."""
    names = [name for name in services.deployment.recipients if get_client_name(name) == books.client]
    told = load_read_back(
        services.ledger, since=books.period.first, until=books.period.last + timedelta(days=1), clients=names
    )
    return compare(books.sent_events, told)


def _describe_quality(quality: Quality, books: _ClientBooks) -> page.MetaFigures:
    client = books.deployment.clients[books.client]
    if books.shares_pixel:
        return page.MetaFigures(why_not=_SHARED_PIXEL)
    if not quality:
        return page.MetaFigures(why_not=_NEVER_ASKED)
    lines: dict[str, list[QualityLine]] = {}
    for line in quality.lines:
        if (line.sent or line.received) and line.day in books.period:
            name = line.event_name if line.pixel == client.pixel_id else f"{line.event_name} (pixel {line.pixel})"
            lines.setdefault(name, []).append(line)
    days = [line.day for of_name in lines.values() for line in of_name]
    scores = [
        page.MetaScore(one.event_name, one.kind, one.score, LEAST_SCORE[one.kind])
        for one in quality.scores
        if one.score is not None
    ]
    return page.MetaFigures(
        quality.read_at,
        min(days, default=None),
        max(days, default=None),
        tuple(_count_for_client(name, of_name) for name, of_name in sorted(lines.items())),
        tuple(scores),
        tuple(dict.fromkeys(one.title or one.key.replace("_", " ") for one in quality.checks)),
    )


def _count_for_client(name: str, lines: list[QualityLine]) -> page.MetaCount:
    sent, fresh = sum(line.sent for line in lines), sum(line.fresh for line in lines)
    received, twice = sum(line.received for line in lines), sum(line.deduplicated or 0 for line in lines)
    received -= min(twice, max(received - sent, 0))  # what came twice, Meta itself counts once
    return page.MetaCount(name, sent, received, describe_meta_count(sent, received, fresh))
