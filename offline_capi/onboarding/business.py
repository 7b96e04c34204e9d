"""Which columns tell what happened: the event's id, its value and currency, consent, and whose row it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from offline_capi.config.fields import FieldSpec
from offline_capi.events.standard import STANDARD_EVENTS, StandardEvent, currencies
from offline_capi.mapping.casts import truths
from offline_capi.mapping.numerals import read_integers, read_money, read_numbers
from offline_capi.onboarding.lines import Answers, Line, Standing, of_values, percent, reference
from offline_capi.onboarding.sample import Column, Sample, vocabulary

__all__ = ["client_lines", "consent_lines", "content_lines", "id_lines", "money_lines"]

Words = frozenset[str]


def _by_words(sample: Sample, wanted: Words, other: Words, taken: frozenset[str]) -> list[Column]:
    found = (column for name, column in sample.columns.items() if name not in taken and column.filled)
    return [column for column in found if column.words & wanted and not column.words & other]


# ---------------------------------------------------------------------------------------------- event.id

_ID = vocabulary("id no nr num number key code ref reference uuid guid nummer numero numéro beleg belegnr bon")
_BUSINESS = vocabulary(
    "order receipt invoice transaction application contract booking sale purchase payment event beleg rechnung "
    "bestellung auftrag pedido commande lead deal opportunity policy loan lease ticket bon"
)
_PLACE = vocabulary("line item position pos row index batch export load file seq sequence")
_PIECES = 6
_FILLED, _NEAR = 0.98, 0.9
_DIGITS_LOST = r"^\d[.,]\d+[eE]\+\d+$"
_WITH_FRACTION = r"^\d+\.0+$"


def id_lines(sample: Sample, answers: Answers, taken: frozenset[str]) -> list[Line]:
    """``event.id``: a column, or two together, whose values are never missing and all different but for rows that were
    exported twice; else a TODO, with the nearest as a comment."""
    if answers.id is not None:
        return [Line("event", "id", answers.id, answers.because("id"), columns=_columns_of(answers.id, sample))]
    named = _by_words(sample, _ID | _BUSINESS, frozenset(), taken)
    whole = [column for column in named if column.filled >= _FILLED * len(sample) and _is_id(column)]
    whole.sort(key=lambda column: (not column.words & _BUSINESS, not column.words & _ID))
    candidates = [*_alone(whole), *_in_pairs(whole)]
    events = _different_rows(sample)
    found = next((one for one in candidates if one.distinct >= events - one.missing), None)
    if found is not None:
        return [_id_line(found, len(sample), events), *_order_lines(found)]
    todo = Line("event", "id", None, _no_id(named), Standing.OPEN)
    nearest = max(candidates, key=lambda one: one.distinct, default=None)
    if nearest is None or nearest.distinct < _NEAR * events:
        return [todo]
    return [_near_line(nearest, len(sample)), todo, *_order_lines(nearest)]


class _Key(NamedTuple):
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
        pieces = "-".join(map(_piece, self.columns))
        return reference(self.names[0]) if pieces == f"{{{self.names[0]}}}" else pieces


def _columns_of(template: str, sample: Sample) -> tuple[str, ...]:
    return tuple(name for name in FieldSpec.model_validate(template).columns if name in sample.columns)


def _is_id(column: Column) -> bool:
    kind = column.values.type
    if kinds.is_floating(kind):
        return bool(pc.all(pc.equal(column.values, pc.trunc(column.values))).as_py())
    return bool(kinds.is_string(kind) or kinds.is_integer(kind)) and not column.matching(_DIGITS_LOST)


def _different_rows(sample: Sample) -> int:
    return len(pl.DataFrame({name: column.text for name, column in sample.columns.items()}).unique())


def _alone(whole: Sequence[Column]) -> Iterator[_Key]:
    ids = (column for column in whole if not column.words & _PLACE)
    yield from (_Key((column,), int(pc.count_distinct(_as_read(column)).as_py())) for column in ids)


def _in_pairs(whole: Sequence[Column]) -> Iterator[_Key]:
    for first, second in permutations(whole[:_PIECES], 2):
        if first.words & _BUSINESS and not first.words & _PLACE and not re.search(r"[{}:!]", first.name + second.name):
            together = pc.binary_join_element_wise(_as_read(first), _as_read(second), "\0")
            yield _Key((first, second), int(pc.count_distinct(together).as_py()))


def _id_line(found: _Key, rows: int, events: int) -> Line:
    twice = f" but {rows - events:,} that are there twice in full" if events < rows else ""
    without = f"; missing in {found.missing:,}, which would be invalid" if found.missing else ""
    said = f"{'together ' if len(found.columns) > 1 else ''}different in all {rows:,} rows{twice}{without}"
    return Line("event", "id", found.node, said, columns=found.names)


def _near_line(near: _Key, rows: int) -> Line:
    said = f"different in {percent(near.distinct, rows)} of {rows:,} rows; of the others only the first would be sent"
    return Line("event", "id", near.node, said, Standing.UNSURE, near.names)


def _piece(column: Column) -> str:
    """A whole number that an export wrote as ``1234567.0`` is the number."""
    return f"{{{column.name}:integer}}" if _holds_floats(column) else f"{{{column.name}}}"


def _holds_floats(column: Column) -> bool:
    return bool(kinds.is_floating(column.values.type) or column.matching(_WITH_FRACTION))


def _as_read(column: Column) -> pa.StringArray:
    """The values as an event's id holds them: ``1234567.0`` and ``1234567`` are one."""
    return pc.cast(read_integers(column.text, "."), pa.string()) if _holds_floats(column) else column.text


def _no_id(named: Sequence[Column]) -> str:
    if any(column.matching(_DIGITS_LOST) for column in named):
        return "TODO: ids were exported as 1.2E+11, their digits are gone; export them as text, then name the column"
    return "TODO: no column or pair of columns tells every row apart; name the business key"


def _order_lines(key: _Key) -> Iterator[Line]:
    """What Meta tells offline events apart by, beside the time (D:offline-events)."""
    if key.columns[0].words & _BUSINESS:
        for (name, said), column in zip(_ORDER.items(), key.names, strict=False):
            yield Line("custom_data", name, reference(column), said, columns=(column,))


_ORDER = {
    "order_id": "with it Meta tells offline events apart",
    "item_number": "with it Meta tells the lines of an order apart",
}


# ---------------------------------------------------------------------------------------------- value and currency

_MONEY = vocabulary(
    "amount value total price revenue sum sales turnover gross betrag umsatz preis summe gesamt montant prix importe "
    "valor kwota bedrag belopp importo totale credit"
)
_NO_MONEY = vocabulary(
    "tax vat mwst shipping discount unit quantity qty count items currency waehrung währung score date at name type id "
    "no points status balance code"
)
_CURRENCY = vocabulary("currency waehrung währung devise moneda valuta curr ccy")
_READ = 0.95
_COMMA_ENDS, _POINT_ENDS = r"\d,\d{1,2}\D{0,5}$", r"\d\.\d{1,2}\D{0,5}$"
_EITHER = r"^\d{1,3}[.,]\d{3}$"


def money_lines(sample: Sample, answers: Answers, taken: frozenset[str]) -> list[Line]:
    """``value`` and ``currency``; a TODO where the event needs them and the rows do not show them."""
    needed = "value" in STANDARD_EVENTS.get(answers.event or "", StandardEvent()).required
    values = list(_values(sample, answers, taken))
    if needed and not any(line.standing is Standing.TAKEN for line in values):
        because = f"TODO: {answers.event} needs a value, and no column is clearly one; name it"
        values.append(Line("custom_data", "value", {"column": None, "type": "number"}, because, Standing.OPEN))
    return [*values, *_currency(sample, answers, taken, needed=bool(values) or needed)]


def _values(sample: Sample, answers: Answers, taken: frozenset[str]) -> Iterator[Line]:
    if answers.value is not None:
        yield _value(sample.columns[answers.value]).as_(Standing.TAKEN)
        return
    named = [_value(column) for column in _by_words(sample, _MONEY, _NO_MONEY, taken)]
    sure = [line for line in named if line.standing is Standing.TAKEN]
    several = f"; which of {', '.join(line.columns[0] for line in sure)}?"
    for line in named:
        doubtful = line in sure and len(sure) > 1
        yield replace(line, because=line.because + several, standing=Standing.UNSURE) if doubtful else line


def _value(column: Column) -> Line:
    mark = _decimal(column)
    numbers = read_numbers(column.values if _is_number(column) else column.given, mark or ".")
    read = len(numbers) - numbers.null_count
    kind, what = "number", "numbers"
    if read < column.filled and not _is_number(column):
        money = read_money(column.given, mark or ".")
        if len(money) - money.null_count > read:
            kind, what, numbers, read = "money", "amounts of money", money, len(money) - money.null_count
    few = int(pc.sum(pc.less_equal(numbers, 0)).as_py() or 0)
    node = {"column": column.name, "type": kind, **({"decimal": ","} if mark == "," else {})}
    because = f"{of_values(read, column.filled)} are {what}{_MARKS[mark]}"
    because += f"; {percent(few, read)} are zero or less: no sales?" if few else ""
    standing = Standing.TAKEN if read >= _READ * column.filled and mark else Standing.UNSURE
    return Line("custom_data", "value", node, because, standing, (column.name,))


_MARKS: Mapping[str | None, str] = {
    ".": "",
    ",": " with a decimal comma",
    None: ", and whether a comma or a point is the decimal mark cannot be told",
}


def _is_number(column: Column) -> bool:
    return not kinds.is_string(column.values.type)


def _decimal(column: Column) -> str | None:
    """The decimal mark, where the values show it; ``None`` where they could be read either way."""
    if _is_number(column):
        return "."
    commas, points = column.matching(_COMMA_ENDS), column.matching(_POINT_ENDS)
    if (commas and points) or (column.matching(_EITHER) and not commas and not points):
        return None
    return "," if commas else "."


def _currency(sample: Sample, answers: Answers, taken: frozenset[str], *, needed: bool) -> Iterator[Line]:
    if answers.currency is not None:
        yield Line("custom_data", "currency", answers.currency, "as you said, for every row")
        return
    by_values = [line for column in _texts(sample, taken) if (line := _currency_column(column))]
    if by_values:
        yield by_values[0]
        yield from (line.as_(Standing.UNSURE) for line in by_values[1:])
    elif needed:
        yield _open_currency(next(iter(_by_words(sample, _CURRENCY, frozenset(), taken)), None))


def _texts(sample: Sample, taken: frozenset[str]) -> Iterator[Column]:
    for name, column in sample.columns.items():
        if name not in taken and column.filled and kinds.is_string(column.values.type):
            yield column


def _currency_column(column: Column) -> Line | None:
    known = pa.array(sorted(currencies()))
    codes = int(pc.sum(pc.is_in(pc.utf8_upper(column.given), known)).as_py() or 0)
    if codes < _READ * column.filled:
        return None
    because = f"{of_values(codes, column.filled)} are ISO 4217 codes"
    return Line("custom_data", "currency", reference(column.name), because, columns=(column.name,))


def _open_currency(named: Column | None) -> Line:
    if named is None:
        because = "TODO: no column holds ISO 4217 codes; write one for all rows, such as USD, or name a column"
        return Line("custom_data", "currency", {"column": None}, because, Standing.OPEN)
    because = (
        f"TODO: {named.name} holds words, not ISO 4217 codes; write {{column: {named.name}, map: {{WORD: USD, …}}}}"
    )
    return Line("custom_data", "currency", {"column": None}, because, Standing.OPEN, (named.name,))


# ---------------------------------------------------------------------------------------------- contents

_ITEMS = r'^\s*\[\s*\{.*"id".*"quantity"|^\s*\[\s*\{.*"quantity".*"id"'


def content_lines(sample: Sample, taken: frozenset[str]) -> list[Line]:
    """A column that holds Meta's ``contents`` as JSON."""
    holding = [(column, column.matching(_ITEMS)) for column in _texts(sample, taken)]
    return [
        Line("custom_data", "contents", {"json_column": column.name},
             f"{of_values(items, column.filled)} are lists of items with id and quantity", columns=(column.name,))
        for column, items in holding if items >= _READ * column.filled
    ][:1]  # fmt: skip


# ---------------------------------------------------------------------------------------------- consent, client

_CONSENT = vocabulary("consent optin permission einwilligung gdpr dsgvo consentimiento consentement")
_CLIENT = vocabulary("client brand advertiser merchant tenant mandant marke vendor franchise")
_MOST_CLIENTS = 1_000


def consent_lines(sample: Sample, taken: frozenset[str]) -> list[Line]:
    """The first column of consent; what it says must not be overlooked, so words we do not know are a TODO."""
    named = [column for name, column in sample.columns.items() if name not in taken and _is_consent(column)]
    lines = [_consent(column) for column in named if column.filled]
    return [*lines[:1], *(line.as_(Standing.UNSURE) for line in lines[1:])]


def _is_consent(column: Column) -> bool:
    return bool(column.words & _CONSENT) or column.words >= {"opt", "in"}


def _consent(column: Column) -> Line:
    values = truths(column.values if kinds.is_boolean(column.values.type) else column.given)
    yes = int(pc.sum(values).as_py() or 0)
    if len(values.drop_null()) == column.filled:
        because = f"{of_values(yes, column.filled)} mean yes; rows of all others are never sent"
        return Line("consent", "", {"column": column.name, "equals": True}, because, columns=(column.name,))
    because = f"TODO: {column.name} holds words that are neither yes nor no; write those that mean consent"
    return Line("consent", "", {"column": column.name, "equals": None}, because, Standing.OPEN, (column.name,))


def client_lines(sample: Sample, client: str, taken: frozenset[str]) -> list[Line]:
    """Whose rows these are: the client that a person named, and the column that may tell several apart."""
    one = Line("client", "", client, "every row is of this client")
    named = _by_words(sample, _CLIENT, vocabulary("id email mail phone name first last ip agent user"), taken)
    several = (column for column in named if 1 < column.distinct <= min(_MOST_CLIENTS, len(sample) // 2))
    return [one, *(_client_column(column) for column in several)]


def _client_column(column: Column) -> Line:
    because = f"{column.distinct:,} different values: rows of several clients? Then map each to its client"
    return Line("client", "", {"column": column.name, "map": {}}, because, Standing.UNSURE, (column.name,))
