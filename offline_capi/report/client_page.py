"""The client's report as one page: HTML without script or outside address, made for a desk, a telephone and A4."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from offline_capi.model import Fate, format_utc
from offline_capi.report.client_report import ClientReport, DayLine, MatchKeyLine, Money, Period
from offline_capi.report.client_words import FATE_WORDS
from offline_capi.report.pages import make_page_environment
from offline_capi.runtime.nouns import count_noun

__all__ = ["describe_balance", "describe_in_short", "format_money", "render_client_page"]

#: Below such a share of the events, a match key is worth a line at the top.
_FEW = 0.8
#: Match keys with advice that are printed.
_PRINTED_KEYS = 6
#: From here on all events carry a match key.
_ALL = 0.995
#: Days that are named one by one.
_NAMED_DAYS = 6


def render_client_page(report: ClientReport, *, head: str = "") -> str:
    """A complete page; every value is escaped. ``head`` is HTML for its head, from whoever puts it into a frame."""
    environment = make_page_environment(lstrip_blocks=True)
    environment.filters |= {
        "n": "{:,}".format,
        "share": format_share,
        "money": format_money,
        "day": format_day,
        "moment": format_utc,
    }
    return environment.get_template("client.html.j2").render(
        head=head,
        report=report,
        name=format_name(report.client),
        period=format_period(report.period),
        short=describe_in_short(report),
        balance=describe_balance(report),
        fates=[(Fate.SENT, report.sent), *report.not_sent.items()],
        fate_words=FATE_WORDS,
        short_fates=_BALANCE_WORDS,
        all_from=_ALL,
        charts=[*_make_charts(report)],
        unprinted_keys=_list_unprinted_keys(report),
        sources=list(dict.fromkeys(source for line in report.keys for source in line.sources)),
    )


# ---------------------------------------------------------------------------------------------- words


def format_name(client: str) -> str:
    """``nordic_outlet`` as ``Nordic Outlet``; a name that has capitals of its own keeps them."""
    words = client.replace("_", " ").strip()
    return words.title() if words == words.lower() else words


def format_day(day: date) -> str:
    return f"{day.day} {day:%b}"


def format_period(period: Period) -> str:
    """``1 to 28 November 2026``, ``30 October to 28 November 2026``."""
    first, last = period.first, period.last
    if first == last:
        return f"{last.day} {last:%B %Y}"
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {last.day} {last:%B %Y}"
    year = f" {first.year}" if first.year != last.year else ""
    return f"{first.day} {first:%B}{year} to {last.day} {last:%B %Y}"


def format_money(value: Money) -> str:
    """``EUR 3,448.77 and USD 12.00``; a dash where there is none."""
    return " and ".join(f"{currency} {amount:,.2f}" for currency, amount in value.items()) or "–"


def format_share(share: float) -> str:
    """In whole per cent; 100 % are all, and 0 % none."""
    percent = round(100 * share)
    percent = min(percent, 99) if share < 1 else percent
    return f"{max(percent, 1) if share > 0 else 0} %"


def describe_balance(report: ClientReport) -> str:
    """``1,260 records = 1,234 delivered + 12 waiting + 14 incomplete or faulty``."""
    fates = {Fate.SENT: report.sent, **report.not_sent}
    parts = [f"{n:,} {_BALANCE_WORDS[fate]}" for fate, n in fates.items()]
    return f"{count_noun(report.records, 'record')} = {' + '.join(parts)}"


_BALANCE_WORDS = {
    Fate.SENT: "delivered",
    Fate.REJECTED_BY_META: "refused by Meta",
    Fate.INVALID: "incomplete or faulty",
    Fate.DEFERRED: "waiting",
    Fate.UNCONFIRMED: "without confirmation",
    Fate.EXPIRED: "too old",
    Fate.SUPPRESSED: "left out on purpose",
}


def describe_in_short(report: ClientReport) -> list[str]:
    """What to know first, and what is asked of the reader; a few sentences."""
    if not report.records:
        return [
            "No sale or other event of these days reached us, so nothing was sent to Meta.",
            *_describe_gaps(report),
        ]
    share = f" ({format_share(report.sent / report.records)})" if report.sent else ""
    lines = [f"{report.sent:,} of {count_noun(report.records, 'record')} were delivered to Meta{share}."]
    lines += [f"Their value: {format_money(report.value)}."] if report.value else []
    for who, words in (("you", "needs something from you"), ("we", "is for us to settle")):
        rows = sum(line.rows for line in report.issues if line.who == who and not line.pixel)
        verb = words if rows == 1 else words.replace("needs", "need").replace("is for", "are for")
        lines += [f"{count_noun(rows, 'record')} {verb}: see “What was not delivered”."] if rows else []
    lost = sum(line.rows for line in report.issues if line.lost and not line.pixel)
    lines += [f"{count_noun(lost, 'event')} waited too long and can no longer be sent."] if lost else []
    lines += [
        f"Only {format_share(line.share)} of the events carry {_ARTICLES[line.key]}: more of them help Meta to match."
        if line.events
        else f"No event carries {_ARTICLES[line.key]} yet: with it, Meta can match more of them."
        for line in report.keys
        if line.key in _ARTICLES and line.share < _FEW
    ]
    late = report.freshness.share
    if late is not None and late < _FEW:
        lines.append(f"{format_share(1 - late)} of the events reached Meta more than a day after they happened.")
    return [*lines, *_describe_gaps(report)]


def _list_unprinted_keys(report: ClientReport) -> list[MatchKeyLine]:
    """Match keys whose advice paper leaves out, so that a page holds it: those that all events carry, and the last."""
    asked = [line for line in report.keys if line.share < _ALL][:_PRINTED_KEYS]
    return [line for line in report.keys if line not in asked]


_ARTICLES = {"em": "an email address", "ph": "a phone number"}


def _describe_gaps(report: ClientReport) -> list[str]:
    missed = report.missed_days
    if report.known_since:
        since = f"{report.known_since.day} {report.known_since:%B %Y}"
        before = [f"Our records for this period begin on {since}; what was sent before is not in this report."]
    else:
        before = []
    if not missed:
        return before
    named = ", ".join(map(format_day, missed[:_NAMED_DAYS]))
    more = f" and {len(missed) - _NAMED_DAYS} more" if len(missed) > _NAMED_DAYS else ""
    noun = "day was" if len(missed) == 1 else "days were"
    return [*before, f"{len(missed)} {noun} not processed ({named}{more}): a zero there says nothing about your sales."]


# ---------------------------------------------------------------------------------------------- pictures


class ChartFrame(NamedTuple):
    """The size of a picture, and the area of its bars; small, so that its words can be read on a telephone."""

    width: int = 360
    height: int = 178
    left: int = 46
    right: int = 354
    top: int = 12
    bottom: int = 142


class Bar(NamedTuple):
    """One part of a day's bar."""

    x: float
    y: float
    height: float
    kind: str
    words: str


class Tick(NamedTuple):
    y: float
    words: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars by day. ``gaps`` are the left edges of days that no run looked at."""

    title: str
    description: str
    bars: tuple[Bar, ...]
    gaps: tuple[float, ...]
    ticks: tuple[Tick, ...]
    labels: tuple[tuple[float, str, str], ...]
    slot: float
    frame: ChartFrame

    @property
    def bar_width(self) -> float:
        return round(self.slot * 0.72, 2)


def _make_charts(report: ClientReport) -> Iterator[Chart]:
    """One of the events, and one for each currency: amounts of two are never added."""
    if not report.records:
        return
    yield _draw(
        report.days,
        "Events by day",
        lambda line: (("sent", line.sent, "delivered"), ("unsent", line.not_sent, "not delivered")),
        "{:,.0f}".format,
        f"{report.sent:,} events were delivered in all.",
    )
    for currency, amount in report.value.items():
        yield _draw(
            report.days,
            f"Value by day in {currency}",
            lambda line, currency=currency: (("sent", line.value.get(currency, 0.0), currency),),  # type: ignore[misc]
            "{:,.2f}".format,
            f"{currency} {amount:,.2f} were delivered in all.",
        )


Parts = Sequence[tuple[str, float, str]]


def _draw(
    days: Sequence[DayLine], title: str, parts: Callable[[DayLine], Parts], written: Callable[[float], str], total: str
) -> Chart:
    frame = ChartFrame()
    sums = [sum(max(value, 0) for _, value, _ in parts(line)) for line in days]
    lows = [sum(min(value, 0) for _, value, _ in parts(line)) for line in days]
    low = -_round_up(-min(lows)) if min(lows) < 0 else 0.0
    top = _round_up(max(sums)) if max(sums) > 0 or not low else 0.0
    scale = (frame.bottom - frame.top) / (top - low)
    slot = (frame.right - frame.left) / len(days)

    def y(value: float) -> float:
        return round(frame.bottom - (value - low) * scale, 2)

    bars = []
    for place, line in enumerate(days):
        x, up, down = round(frame.left + (place + 0.14) * slot, 2), 0.0, 0.0
        for kind, value, words in parts(line):
            if value:
                begin, end = (up, up + value) if value > 0 else (down, down + value)
                up, down = (end, down) if value > 0 else (up, end)
                upper, height = y(max(begin, end)), round(abs(value) * scale, 2)
                bars.append(Bar(x, upper, max(height, 0.8), kind, f"{format_day(line.day)}: {written(value)} {words}"))
    gaps = [round(frame.left + place * slot, 2) for place, line in enumerate(days) if not line.covered]
    best = days[sums.index(max(sums))]
    description = (
        f"{title}, {format_day(days[0].day)} to {format_day(days[-1].day)}. {total} "
        f"The most were on {format_day(best.day)}. The figures are in the table below."
    )
    values = sorted({low, top / 2, top} | {0.0})
    ticks = [Tick(y(value), _shorten(value)) for value in values]
    middle = days[(len(days) - 1) // 2].day
    labels: list[tuple[float, str, str]] = [(frame.left, "start", format_day(days[0].day))]
    if len(days) > 2:
        labels.append((round(frame.left + ((len(days) - 1) // 2 + 0.5) * slot, 2), "middle", format_day(middle)))
    if len(days) > 1:
        labels.append((frame.right, "end", format_day(days[-1].day)))
    return Chart(title, description, tuple(bars), tuple(gaps), tuple(ticks), tuple(labels), round(slot, 2), frame)


def _round_up(value: float) -> float:
    """The next of 2, 4, 10, 20, 40, 100, …: their halves are whole numbers."""
    if value <= 0:
        return 2.0
    power = 10 ** math.floor(math.log10(value))
    return float(max(2, next(step * power for step in (1, 2, 4, 10) if step * power >= value)))


def _shorten(value: float) -> str:
    """``12k``, ``1.5M``: an axis has little room."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
