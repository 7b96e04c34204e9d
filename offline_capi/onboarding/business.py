"""Columns of the event: its id, value and currency, consent, and the client of the row."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.config.fields import FieldSpec
from offline_capi.events.standard import STANDARD_EVENTS, StandardEvent, list_currencies
from offline_capi.mapping.casts import read_booleans
from offline_capi.mapping.numerals import find_money_signs, read_currencies, read_integers, read_money, read_numbers
from offline_capi.onboarding.lines import Answers, Confidence, Line, describe_share, format_percent, refer_to_column
from offline_capi.onboarding.sample import Column, Sample, build_vocabulary, split_words
from offline_capi.runtime.border import is_code
from offline_capi.runtime.currency_words import find_currency_code

__all__ = [
    "find_outcome_columns",
    "propose_client",
    "propose_consent",
    "propose_contents",
    "propose_id",
    "propose_money",
    "propose_outcome_filter",
]

Words = frozenset[str]


def _find_by_words(sample: Sample, wanted: Words, other: Words, taken: frozenset[str]) -> list[Column]:
    found = (column for name, column in sample.columns.items() if name not in taken and column.filled)
    return [column for column in found if column.words & wanted and not column.words & other]


# ---------------------------------------------------------------------------------------------- event.id

_ID = build_vocabulary("id no nr num number key code ref reference uuid guid nummer numero numéro beleg belegnr bon")
_BUSINESS = build_vocabulary(
    "order receipt invoice transaction application contract booking sale purchase payment event beleg rechnung "
    "bestellung bestell auftrag buchung verkauf vertrag kauf pedido commande lead deal opportunity policy loan lease "
    "ticket bon"
)
_PLACE = build_vocabulary("line item position pos row index batch export load file seq sequence")
_NO_ID = build_vocabulary(
    "size worth cost fee quantity qty count score age at on time timestamp date datetime datum zeit uhrzeit"
)
_MAX_ID_COLUMNS = 6
_FILLED, _NEAR = 0.98, 0.9
_DIGITS_LOST = r"^\d[.,]\d+[eE]\+\d+$"
_WITH_FRACTION = r"^\d+\.0+$"


def propose_id(
    sample: Sample, answers: Answers, taken: frozenset[str], *, also: Sequence[str] = (), times: Sequence[str] = ()
) -> list[Line]:
    """``event.id``: a column, or two together, whose values are never missing and all different but for rows that were
    exported twice; else a TODO, with the nearest as a comment.

    Where no other will do: a column of ``also``, ids that identify people, alone or with one of ``times``.
    """
    if answers.id is not None:
        return [
            Line("event", "id", answers.id, answers.explain_source("id"), columns=_list_columns(answers.id, sample))
        ]
    named = _find_by_words(sample, _ID | _BUSINESS, frozenset(), taken)
    named = [column for column in named if column.words & _ID or not _is_measured(column)]
    whole = [column for column in named if column.filled >= _FILLED * len(sample) and _is_id(column)]
    whole.sort(key=lambda column: (not column.words & _BUSINESS, not column.words & _ID))
    candidates = [*_try_single_columns(whole), *_try_pairs(whole)]
    events = _count_different_rows(sample)
    candidates += _try_people(sample, also, times) if events else []
    found = next((one for one in candidates if one.distinct >= events - one.missing), None)
    if found is not None:
        return [_build_id_line(found, len(sample), events), *_propose_order_lines(found)]
    todo = Line("event", "id", None, _describe_missing_id(named, also, times), Confidence.OPEN)
    nearest = max(candidates, key=lambda one: one.distinct, default=None)
    if nearest is None or nearest.distinct < _NEAR * events:
        return [todo]
    return [_build_near_line(nearest, len(sample)), todo, *_propose_order_lines(nearest)]


class _CandidateId(NamedTuple):
    """A candidate: one column, or two, and how many different values they have."""

    columns: tuple[Column, ...]
    distinct: int

    @property
    def missing(self) -> int:
        return max(len(column.text) - column.filled for column in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def node(self) -> object:
        pieces = "-".join(map(_write_template_part, self.columns))
        return refer_to_column(self.names[0]) if pieces == f"{{{self.names[0]}}}" else pieces


def _list_columns(template: str, sample: Sample) -> tuple[str, ...]:
    return tuple(name for name in FieldSpec.model_validate(template).columns if name in sample.columns)


def _is_id(column: Column) -> bool:
    kind = column.values.type
    if kinds.is_floating(kind):
        return bool(pc.all(pc.equal(column.values, pc.trunc(column.values))).as_py())
    return bool(kinds.is_string(kind) or kinds.is_integer(kind)) and not column.count_matching(_DIGITS_LOST)


def _is_measured(column: Column) -> bool:
    """``Deal Size``, ``Sale Amount`` and ``Order Date`` say something about an event; that all differ is chance."""
    return bool(column.words & (_MONEY | _CENTS | _NO_ID)) or _has_money_signs(column)


def _count_different_rows(sample: Sample) -> int:
    return len(pl.DataFrame({name: column.text for name, column in sample.columns.items()}).unique())


def _try_single_columns(whole: Sequence[Column]) -> Iterator[_CandidateId]:
    ids = (column for column in whole if not column.words & _PLACE)
    yield from (_CandidateId((column,), int(pc.count_distinct(_read_as_id(column)).as_py())) for column in ids)


def _try_pairs(whole: Sequence[Column]) -> Iterator[_CandidateId]:
    for first, second in permutations(whole[:_MAX_ID_COLUMNS], 2):
        if first.words & _BUSINESS and not first.words & _PLACE and not re.search(r"[{}:!]", first.name + second.name):
            together = pc.binary_join_element_wise(_read_as_id(first), _read_as_id(second), "\0")
            yield _CandidateId((first, second), int(pc.count_distinct(together).as_py()))


def _try_people(sample: Sample, also: Sequence[str], times: Sequence[str]) -> Iterator[_CandidateId]:
    """A lead's own id; and a person who occurs several times, with the time at which it happened."""
    columns = [sample.columns[name] for name in also if sample.columns[name].filled >= _FILLED * len(sample)]
    columns = [column for column in columns if _is_id(column) and not re.search(r"[{}:!]", column.name)]
    for column in columns:
        if "lead" in column.words:
            yield _CandidateId((column,), int(pc.count_distinct(_read_as_id(column)).as_py()))
    for column in columns:
        for time in (sample.columns[name] for name in times if not re.search(r"[{}:!]", name)):
            if column.distinct < column.filled:
                together = pc.binary_join_element_wise(_read_as_id(column), _read_as_id(time), "\0")
                yield _CandidateId((column, time), int(pc.count_distinct(together).as_py()))


def _build_id_line(found: _CandidateId, rows: int, events: int) -> Line:
    twice = f" but {rows - events:,} that are there twice in full" if events < rows else ""
    without = f"; missing in {found.missing:,}, which would be invalid" if found.missing else ""
    said = f"{'together ' if len(found.columns) > 1 else ''}different in all {rows:,} rows{twice}{without}"
    return Line("event", "id", found.node, said, columns=found.names)


def _build_near_line(near: _CandidateId, rows: int) -> Line:
    share = format_percent(near.distinct, rows)
    said = f"different in {share} of {rows:,} rows; of the others only the first would be sent"
    return Line("event", "id", near.node, said, Confidence.UNSURE, near.names)


def _write_template_part(column: Column) -> str:
    """A whole number that an export wrote as ``1234567.0`` is the number."""
    return f"{{{column.name}:integer}}" if _holds_floats(column) else f"{{{column.name}}}"


def _holds_floats(column: Column) -> bool:
    return bool(kinds.is_floating(column.values.type) or column.count_matching(_WITH_FRACTION))


def _read_as_id(column: Column) -> pa.StringArray:
    """The values as an event's id holds them: ``1234567.0`` and ``1234567`` are one."""
    return pc.cast(read_integers(column.text, "."), pa.string()) if _holds_floats(column) else column.text


def _describe_missing_id(named: Sequence[Column], people: Sequence[str], times: Sequence[str]) -> str:
    if any(column.count_matching(_DIGITS_LOST) for column in named):
        return "TODO: ids were exported as 1.2E+11, their digits are gone; export them as text, then name the column"
    pair = f'; if a person has one event at a time, --id "{{{people[0]}}}-{{{times[0]}}}"' if people and times else ""
    return (
        f"TODO: no column or pair of columns that is named as an id differs in every row; name the business key{pair}"
    )


def _propose_order_lines(key: _CandidateId) -> Iterator[Line]:
    """The keys by which Meta distinguishes offline events, besides the time (D:offline-events)."""
    if key.columns[0].words & _BUSINESS:
        for (name, said), column in zip(_ORDER_KEYS.items(), key.names, strict=False):
            yield Line("custom_data", name, refer_to_column(column), said, columns=(column,))


_ORDER_KEYS = {
    "order_id": "Meta distinguishes offline events by it",
    "item_number": "Meta distinguishes the lines of an order by it",
}


# ---------------------------------------------------------------------------------------------- value and currency

_MONEY = build_vocabulary(
    "amount value total price revenue sum sales turnover gross betrag umsatz preis summe wert gesamt montant prix "
    "importe valor kwota bedrag belopp importo totale credit rent premium miete prämie brutto netto"
)
_CENTS = build_vocabulary("cents cent minor pence penny ore øre öre grosz kopecks centavos centimes")
_NO_MONEY = build_vocabulary(
    "tax vat mwst shipping discount unit quantity qty count items currency waehrung währung score date at name type id "
    "no points status balance code steuer versand liefer rabatt anzahl menge nr nummer datum"
)
_CURRENCY = build_vocabulary("currency waehrung währung devise moneda valuta curr ccy")
_MIN_READ_SHARE = 0.95
_COMMA_ENDS, _POINT_ENDS = r"\d,\d{1,2}\D{0,5}$", r"\d\.\d{1,2}\D{0,5}$"
_PRICE, _PRINTED_PRICE = r"^\d[\d.,]*[.,]\d\d$", r"^\d+\.\d{1,2}$"
_AMBIGUOUS_NUMBER = r"^\d{1,3}[.,]\d{3}$"


def propose_money(sample: Sample, answers: Answers, taken: frozenset[str]) -> list[Line]:
    """``value`` and ``currency``; a TODO where the event needs them and the rows do not show them."""
    needed = "value" in STANDARD_EVENTS.get(answers.event or "", StandardEvent()).required
    values = list(_propose_values(sample, answers, taken, needed=needed))
    if needed and not any(line.confidence is Confidence.TAKEN for line in values):
        because = f"TODO: {answers.event} needs a value, and no column is clearly one; name it"
        values.append(Line("custom_data", "value", {"column": None, "type": "number"}, because, Confidence.OPEN))
    amounts = [sample.columns[line.columns[0]] for line in values if line.confidence is Confidence.TAKEN]
    return [*values, *_propose_currency(sample, answers, taken, amounts, needed=bool(values) or needed)]


def _propose_values(sample: Sample, answers: Answers, taken: frozenset[str], *, needed: bool) -> Iterator[Line]:
    if answers.value is not None:
        yield _propose_value(sample.columns[answers.value]).mark(Confidence.TAKEN)
        return
    named = [_propose_value(column) for column in _find_by_words(sample, _MONEY, _NO_MONEY, taken)]
    if not named:
        yield from _propose_values_by_look(sample, taken, needed=needed)
    sure = [line for line in named if line.confidence is Confidence.TAKEN]
    several = f"; which of {', '.join(line.columns[0] for line in sure)}?"
    for line in named:
        doubtful = line in sure and len(sure) > 1
        yield replace(line, because=line.because + several, confidence=Confidence.UNSURE) if doubtful else line


def _propose_values_by_look(sample: Sample, taken: frozenset[str], *, needed: bool) -> Iterator[Line]:
    """Columns of any name whose amounts have the sign of a currency, or where a value is needed two decimal places:
    which of them is the value, a person knows.
    """
    for name, column in sample.columns.items():
        if name in taken or not column.filled or column.words & _NO_MONEY:
            continue
        if _has_money_signs(column) or (needed and _count_prices(column) >= _MIN_READ_SHARE * column.filled):
            line = _propose_value(column)
            if line.confidence is Confidence.TAKEN:
                yield replace(
                    line, because=f"{line.because}; is it what the event is worth?", confidence=Confidence.UNSURE
                )


def _has_money_signs(column: Column) -> bool:
    if _is_number(column) or not column.filled:
        return False
    signs = find_money_signs(column.given)
    return bool(len(signs) - signs.null_count >= _MIN_READ_SHARE * column.filled)


def _count_prices(column: Column) -> int:
    """How many values are written with two decimal places; binary numbers as they are printed, ``12.5`` as well."""
    return column.count_matching(_PRICE if not _is_number(column) else _PRINTED_PRICE)


def _propose_value(column: Column) -> Line:
    mark = _find_decimal_mark(column)
    numbers = read_numbers(column.values if _is_number(column) else column.given, mark or ".")
    read = len(numbers) - numbers.null_count
    kind, what = "number", "numbers"
    if read < column.filled and not _is_number(column):
        money = read_money(column.given, mark or ".")
        if len(money) - money.null_count > read:
            kind, what, numbers, read = "money", "amounts of money", money, len(money) - money.null_count
    few = int(pc.sum(pc.less_equal(numbers, 0)).as_py() or 0)
    node: dict[str, Any] = {"column": column.name, "type": kind, **({"decimal": ","} if mark == "," else {})}
    because = f"{describe_share(read, column.filled)} are {what}{_MARK_NOTES[mark]}"
    if column.words & _CENTS and read and not pc.any(pc.not_equal(numbers, pc.round(numbers))).as_py():
        node["divide"] = 100
        because += f"; whole numbers, and the name says {next(iter(column.words & _CENTS))}: divided by 100"
    because += f"; {format_percent(few, read)} are zero or less: no sales?" if few else ""
    confidence = Confidence.TAKEN if read >= _MIN_READ_SHARE * column.filled and mark else Confidence.UNSURE
    return Line("custom_data", "value", node, because, confidence, (column.name,))


_MARK_NOTES: Mapping[str | None, str] = {
    ".": "",
    ",": " with a decimal comma",
    None: ", and whether a comma or a point is the decimal mark is unclear",
}


def _is_number(column: Column) -> bool:
    return not kinds.is_string(column.values.type)


def _find_decimal_mark(column: Column) -> str | None:
    """The decimal mark, where the values show it; ``None`` where they could be read either way."""
    if _is_number(column):
        return "."
    commas, points = column.count_matching(_COMMA_ENDS), column.count_matching(_POINT_ENDS)
    if (commas and points) or (column.count_matching(_AMBIGUOUS_NUMBER) and not commas and not points):
        return None
    return "," if commas else "."


def _propose_currency(
    sample: Sample, answers: Answers, taken: frozenset[str], amounts: Sequence[Column], *, needed: bool
) -> Iterator[Line]:
    if answers.currency is not None:
        yield Line("custom_data", "currency", answers.currency, "as you said, for every row")
        return
    by_values = [line for column in _list_texts(sample, taken) if (line := _propose_currency_column(column))]
    if by_values:
        yield by_values[0]
        yield from (line.mark(Confidence.UNSURE) for line in by_values[1:])
    elif by_amounts := list(filter(None, map(_propose_currency_of_amounts, amounts))):
        yield by_amounts[0]
    elif needed:
        yield _ask_for_currency(next(iter(_find_by_words(sample, _CURRENCY, frozenset(), taken)), None))


def _list_texts(sample: Sample, taken: frozenset[str]) -> Iterator[Column]:
    for name, column in sample.columns.items():
        if name not in taken and column.filled and kinds.is_string(column.values.type):
            yield column


def _propose_currency_of_amounts(amounts: Column) -> Line | None:
    """The one currency that amounts say themselves; those of another are invalid then, as ``other_currency``."""
    if _is_number(amounts):
        return None
    codes = read_currencies(amounts.given)
    said = sorted(codes.drop_null().unique().to_pylist())
    if len(said) != 1 or len(codes) - codes.null_count < _MIN_READ_SHARE * amounts.filled:
        return None
    share = describe_share(len(codes) - codes.null_count, amounts.filled)
    return Line(
        "custom_data", "currency", said[0], f"{share} of {amounts.name} say so themselves", columns=(amounts.name,)
    )


def _propose_currency_column(column: Column) -> Line | None:
    known = pa.array(sorted(list_currencies()))
    listed = pc.is_in(pc.utf8_upper(column.given), known)
    codes, words = int(pc.sum(listed).as_py() or 0), sorted(set(column.given.filter(pc.invert(listed)).to_pylist()))
    is_named = bool(column.words & _CURRENCY)
    if not is_named and codes < _MIN_READ_SHARE * column.filled:
        return None
    only = pc.utf8_upper(column.given.filter(listed)).unique().to_pylist()
    meant = {word: find_currency_code(word, among=only) for word in words[:_MAX_CURRENCY_WORDS]}
    if words and len(words) <= _MAX_CURRENCY_WORDS and all(meant.values()):
        said = ", ".join(f"{word} as {code}" for word, code in meant.items())
        because = f"words or signs of currencies: {said}"
        if codes:
            because = f"{describe_share(codes, column.filled)} are ISO 4217 codes, which stay as they are; {said}"
        node = {"column": column.name, "map": meant}
        return Line("custom_data", "currency", node, because, columns=(column.name,))
    if codes < _MIN_READ_SHARE * column.filled:
        return None
    because = f"{describe_share(codes, column.filled)} are ISO 4217 codes"
    return Line("custom_data", "currency", refer_to_column(column.name), because, columns=(column.name,))


_MAX_CURRENCY_WORDS = 12


def _ask_for_currency(named: Column | None) -> Line:
    if named is None:
        because = "TODO: no column holds ISO 4217 codes; write one for all rows, such as USD, or name a column"
        return Line("custom_data", "currency", {"column": None}, because, Confidence.OPEN)
    because = (
        f"TODO: {named.name} holds words, not ISO 4217 codes; write {{column: {named.name}, map: {{WORD: USD, …}}}}"
    )
    return Line("custom_data", "currency", {"column": None}, because, Confidence.OPEN, (named.name,))


# ---------------------------------------------------------------------------------------------- contents

_CONTENTS_JSON = r'^\s*\[\s*\{.*"id".*"quantity"|^\s*\[\s*\{.*"quantity".*"id"'


def propose_contents(sample: Sample, taken: frozenset[str]) -> list[Line]:
    """A column that holds Meta's ``contents`` as JSON."""
    holding = [(column, column.count_matching(_CONTENTS_JSON)) for column in _list_texts(sample, taken)]
    return [
        Line("custom_data", "contents", {"json_column": column.name},
             f"{describe_share(items, column.filled)} are lists of items with id and quantity", columns=(column.name,))
        for column, items in holding if items >= _MIN_READ_SHARE * column.filled
    ][:1]  # fmt: skip


# ---------------------------------------------------------------------------------------------- consent, client

_CONSENT = build_vocabulary(
    "consent optin permission einwilligung zustimmung werbeeinwilligung gdpr dsgvo consentimiento consentement "
    "marketing"
)
_NO_CONSENT = build_vocabulary("optout unsubscribed unsubscribe abgemeldet")
_NO_CONSENT_TOGETHER = (build_vocabulary("opt out"), build_vocabulary("do not"))
_NEWSLETTER = build_vocabulary("newsletter subscribed subscriber")
#: How other languages say yes and no.
_YES = build_vocabulary("ja j oui sí si sim tak ano da kyllä igen evet")
_NO = build_vocabulary("nein n non no não nao nie ne nee nej ei nem hayır")
_OTHERS_NEVER = "; rows of all others are never sent"
_CLIENT = build_vocabulary("client brand advertiser merchant tenant mandant marke vendor franchise")
_MAX_CLIENTS = 1_000


def propose_consent(sample: Sample, taken: frozenset[str], mail: Collection[str] = ()) -> list[Line]:
    """The first column of consent; values that are neither yes nor no become a TODO, for consent must not be missed.

    A column that tells who subscribed to mail is asked about: by its name, or because it is one of ``mail``, of which
    the program that wrote the export says so.
    """
    named = [column for name, column in sample.columns.items() if name not in taken and _is_consent(column)]
    lines = [_propose_consent(column) for column in named if column.filled]
    lines = [
        replace(
            line.mark(Confidence.UNSURE),
            because=f"{line.because.removeprefix('TODO: ').removesuffix(_OTHERS_NEVER)}; is it consent to mail alone, "
            "or to ads too? As a comment it holds no row back",
        )
        if line.columns[0] in mail or split_words(line.columns[0]) & _NEWSLETTER
        else line
        for line in lines
    ]
    sure = [line for line in lines if line.confidence is not Confidence.UNSURE]
    return [*sure[:1], *(line.mark(Confidence.UNSURE) for line in lines if line not in sure[:1])]


def _is_consent(column: Column) -> bool:
    """``marketing`` says so only of a column of yes and no: a marketing channel is something else."""
    words = column.words
    if words & _CONSENT == {"marketing"} and not words & {"ok", "opt"}:
        return column.distinct <= 2 and (_read_yes_and_no(column) is not None)
    return bool(words & (_CONSENT | _NEWSLETTER)) or words >= {"opt", "in"} or _is_refusal(column)


def _is_refusal(column: Column) -> bool:
    """Whether a yes in it means no: ``Email Opt Out``, ``do_not_contact``."""
    return bool(column.words & _NO_CONSENT) or any(column.words >= words for words in _NO_CONSENT_TOGETHER)


class _YesAndNo(NamedTuple):
    """How many values say yes and how many no, and what ``equals`` has for either; an empty list for what none says."""

    yes: int
    no: int
    equals_yes: object
    equals_no: object


def _read_yes_and_no(column: Column) -> _YesAndNo | None:
    """``None`` where some values say neither."""
    values = read_booleans(column.values if kinds.is_boolean(column.values.type) else column.given)
    yes = int(pc.sum(values).as_py() or 0)
    if len(values.drop_null()) == column.filled:
        return _YesAndNo(yes, column.filled - yes, True, False)
    counts = {str(one["values"]): one["counts"] for one in pc.value_counts(column.given).to_pylist()}
    agreeing, refusing = ([word for word in sorted(counts) if word.casefold() in side] for side in (_YES, _NO))
    if len(agreeing) + len(refusing) < len(counts):
        return None
    yes, no = (sum(counts[word] for word in side) for side in (agreeing, refusing))
    return _YesAndNo(yes, no, *(side[0] if len(side) == 1 else side for side in (agreeing, refusing)))


def _propose_consent(column: Column) -> Line:
    read, refusal = _read_yes_and_no(column), _is_refusal(column)
    gaps = refusal and column.filled < len(column.text)  # an empty cell is no consent, and here it may well be one
    equals = read and (read.equals_no if refusal else read.equals_yes)
    if read is None or gaps or equals == []:
        words = "is empty in some rows, and a yes in it means no" if gaps else "holds words that are neither yes nor no"
        because = f"TODO: {column.name} {words}; write those that mean consent"
        return Line("consent", "", {"column": column.name, "equals": None}, because, Confidence.OPEN, (column.name,))
    share = describe_share(read.no if refusal else read.yes, column.filled)
    because = f"{share} mean {'that nothing is refused' if refusal else 'yes'}{_OTHERS_NEVER}"
    return Line("consent", "", {"column": column.name, "equals": equals}, because, columns=(column.name,))


# ---------------------------------------------------------------------------------------------- is it a conversion?

_OUTCOME = build_vocabulary("status stage state outcome result disposition phase")
#: Words by which a row says in a column of any name that nothing was sold or won, or no longer.
_NO_CONVERSION_ANYWHERE = build_vocabulary(
    "refunded cancelled canceled voided disqualified unqualified chargeback noshow storniert erstattet abgelehnt "
    "annulé cancelado"
)
#: The same of a column that is named as a status.
_NO_CONVERSION = _NO_CONVERSION_ANYWHERE | build_vocabulary(
    "refund returned return cancel void rejected declined failed lost closedlost expired reversed test spam duplicate "
    "unpaid abandoned draft"
)
_MAX_OUTCOMES = 12


def _count_outcomes(column: Column) -> dict[str, int]:
    """Each word of a column of few words and how often it is there; empty for one of other values."""
    if not 1 < column.distinct <= _MAX_OUTCOMES or not kinds.is_string(column.values.type):
        return {}
    counts = {str(one["values"]): one["counts"] for one in pc.value_counts(column.given).to_pylist()}
    return counts if all(all(map(is_code, re.split(r"[ _-]", word))) for word in counts) else {}


def _select_no_conversions(column: Column, counts: Mapping[str, int]) -> list[str]:
    known = _NO_CONVERSION if column.words & _OUTCOME else _NO_CONVERSION_ANYWHERE
    return [word for word in _sort_outcomes(counts) if re.sub(r"[ _-]", "", word.casefold()) in known]


def _sort_outcomes(counts: Mapping[str, int]) -> list[str]:
    return sorted(counts, key=lambda word: (-counts[word], word))


def find_outcome_columns(sample: Sample) -> frozenset[str]:
    """Columns that say of rows that they are no conversions, whatever else their name could mean: ``state``."""
    columns = sample.columns.items()
    return frozenset(name for name, column in columns if _select_no_conversions(column, _count_outcomes(column)))


def propose_outcome_filter(
    sample: Sample, taken: frozenset[str], no_conversions: Sequence[str] | None = None
) -> list[Line]:
    """Rows that say themselves that they are no conversions are left out; a stage or status without such words is
    shown, for whoever knows which rows count. ``no_conversions`` is the user's own list.
    """
    lines: list[Line] = []
    for name, column in sample.columns.items():
        counts = _count_outcomes(column) if name not in taken else {}
        bad = _select_no_conversions(column, counts)
        if not counts or not (bad or column.words & _OUTCOME):
            continue
        if no_conversions is not None and not lines:
            named = {word.casefold() for word in no_conversions}
            bad = [word for word in _sort_outcomes(counts) if word.casefold() in named]
            if not bad:
                continue
        listed = ", ".join(f"{word} {counts[word]:,}" for word in _sort_outcomes(counts))
        if bad:
            share = format_percent(sum(counts[word] for word in bad), len(sample))
            said = f"it holds {listed}; {share} of rows are no conversions and are left out, counted: is that all?"
            node: dict[str, Any] = {"column": name, "not_equals": bad if len(bad) > 1 else bad[0]}
            lines.append(Line("filter", "", node, said, columns=(name,)))
        elif column.words & {"status", "stage", "outcome"}:
            said = f"it holds {listed}: keep those that are conversions"
            node = {"column": name, "equals": _sort_outcomes(counts)}
            lines.append(Line("filter", "", node, said, Confidence.UNSURE, (name,)))
    sure = [line for line in lines if line.confidence is Confidence.TAKEN][:1]
    return [*sure, *(line.mark(Confidence.UNSURE) for line in lines if line not in sure)]


def propose_client(sample: Sample, client: str, taken: frozenset[str]) -> list[Line]:
    """The client of the rows: the one that the user named, and the column that may hold several."""
    one = Line("client", "", client, "every row is of this client")
    named = _find_by_words(
        sample, _CLIENT, build_vocabulary("id email mail phone name first last ip agent user"), taken
    )
    several = (column for column in named if 1 < column.distinct <= min(_MAX_CLIENTS, len(sample) // 2))
    return [one, *(_propose_client_column(column) for column in several)]


def _propose_client_column(column: Column) -> Line:
    because = f"{column.distinct:,} different values: rows of several clients? Then map each to its client"
    return Line("client", "", {"column": column.name, "map": {}}, because, Confidence.UNSURE, (column.name,))
