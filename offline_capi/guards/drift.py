"""Type drift: does each column of the source come in a shape that earlier runs have seen?

``DriftWatch`` reads the first ``SAMPLE_ROWS`` rows of a run before its first event is released, counts in which
shape the values of each mapped column come (``mapping.shapes``) and compares with what the ledger knows of the upload
and client. A column has drifted where a shape is new *and* would be read differently, or is known to go with damage:

- ids: ``3`` now comes as ``3.0``, integers as numbers with a fraction, digits with an exponent, a prefix where there
  was none or the reverse, lost leading zeros, digests mixed with plain values, texts where the source had numbers;
- numbers: a decimal comma where there were points or the reverse, texts where the source had numbers;
- times: another order of day and month, another unit of numeric times, instants that lost or gained their zone;
- identity: digests where there was plain text, and the reverse;
- booleans and consent: texts of another kind;
- the source as a whole: more or fewer columns (counted, not compared by name; not of JSON).

Shapes that a column had in any earlier run are known, so that one that varies is reported once. Blanks have no shape.
What a run has seen becomes known when it had events to send and nothing stopped it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.config.upload import Upload
from offline_capi.ledger import ColumnShapes
from offline_capi.mapping import ColumnUse, Role, count_shapes, list_column_uses
from offline_capi.mapping.columns import SourceColumns
from offline_capi.model import GateFinding, MappedRows, SourceRows

__all__ = ["SAMPLE_ROWS", "DriftWatch", "has_drifted"]

#: Rows of a run whose values are sampled: the first ones of its window.
SAMPLE_ROWS = 5_000
#: Rarer than this is a slip of the pen, and no other way of writing. Not so for ids.
MIN_SHARE = 0.01
#: Of identity: placeholders such as "N/A" among digests are not plain values.
MIN_IDENTITY_SHARE = 0.05
#: Known values from which an id has a structure: of digits alone, of a prefix, and before it counts as lost.
MIN_KNOWN, MIN_KNOWN_STRUCTURE = 3, 20
#: Clients that one finding names.
MAX_CLIENTS_NAMED = 3

Counts = Mapping[str, int]
#: Under this name, which no column has, the number of columns is kept.
ALL_COLUMNS = ""


class Change(NamedTuple):
    """The shapes that are new in a column, and those that were known."""

    new: tuple[str, ...]
    known: tuple[str, ...]


# ---------------------------------------------------------------------------------------------- one column


def has_drifted(role: Role, known: Counts, found: Counts, *, typed: bool = False) -> Change | None:
    """What of ``found`` is drift compared with ``known``: values by shape, of a column in one role; ``None`` for none.

    ``typed`` says that the source gives each column one type (SQL, Parquet): there, texts instead of numbers are drift.
    """
    if not known or not found:
        return None
    new = _DRIFT_RULES[role](Counter(known), Counter(found), typed)
    return Change(tuple(sorted(new)), tuple(sorted(known))) if new else None


def _strip_length(shape: str) -> str:
    """A shape without its length."""
    return shape.split("/")[0] if shape.split("/")[0] in _SHAPES_WITH_LENGTH else shape


_SHAPES_WITH_LENGTH = {"digits", "padded", "int", "float", "epoch"}


def _count_by_kind(counts: Counts, names: Mapping[str, str] | None = None) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for shape, n in counts.items():
        kind = _strip_length(shape)
        kinds[(names or {}).get(kind, kind)] += n
    return kinds


def _get_length(shape: str) -> int:
    return int(shape.split("/")[1])


def _select_shapes(counts: Counts, kinds: Collection[str]) -> set[str]:
    return {shape for shape in counts if _strip_length(shape) in kinds}


_NUMBER_SHAPES = {"int", "float", "fraction"}
_DIGIT_SHAPES = {"digits", "padded", "int"}
_FRACTION_SHAPES = {"whole.0", "float"}


def _find_new_in_ids(known: Counter[str], found: Counter[str], typed: bool) -> set[str]:
    before, now = _count_by_kind(known), _count_by_kind(found)
    damaged = _FRACTION_SHAPES | {"fraction", "exponent"}
    if before.keys() & (_DIGIT_SHAPES | _FRACTION_SHAPES) and (odd := (now.keys() & damaged) - before.keys()):
        # 3.0 of a text and of a float are one shape.
        odd -= _FRACTION_SHAPES if before.keys() & _FRACTION_SHAPES else set()
        if odd:
            return _select_shapes(found, odd)
    share = now["digest"] / now.total()
    if ("digest" in before) != ("digest" in now) and len(before) == 1 and "digest" in before:
        return set(found) if share < 1 - MIN_IDENTITY_SHARE else set()
    if "digest" in now and "digest" not in before:
        return {"digest"} if share >= MIN_IDENTITY_SHARE else set()
    if typed and before.keys() <= _NUMBER_SHAPES and not now.keys() & _NUMBER_SHAPES:
        return set(found)
    return _find_new_structure(known, found)


def _find_new_structure(known: Counter[str], found: Counter[str]) -> set[str]:
    """Prefixes, suffixes and leading zeros: another structure in most values, where there was one."""
    alike = {"int": "digits", "float": "digits", "whole.0": "digits", "fraction": "digits", "exponent": "digits"}
    before, now = _count_by_kind(known, alike), _count_by_kind(found, alike)
    if "text" in before:
        return set()
    new = now.keys() - before.keys()
    if _is_padding_alone(known, found, new):
        new -= {"padded", "digits"}
    needed = MIN_KNOWN_STRUCTURE if new == {"text"} and not before.keys() <= {"digits"} else MIN_KNOWN
    if before.total() < needed or 2 * sum(now[kind] for kind in new) <= now.total():
        return set()
    return {shape for shape in found if alike.get(_strip_length(shape), _strip_length(shape)) in new}


def _is_padding_alone(known: Counts, found: Counts, new: Collection[str]) -> bool:
    """Whether zeros before digits, or their absence, are those of numbers with a fixed width."""
    digits = {_get_length(shape) for shape in _select_shapes(known, {"digits", "int"})}
    padded = {_get_length(shape) for shape in _select_shapes(known, {"padded"})}
    if "padded" in new:
        return {_get_length(shape) for shape in _select_shapes(found, {"padded"})} <= digits
    shorter = {_get_length(shape) for shape in _select_shapes(found, {"digits", "int"})}
    return "digits" in new and bool(padded) and min(shorter) >= min(padded)


def _find_new_numbers(known: Counter[str], found: Counter[str], typed: bool) -> set[str]:
    total = sum(found.values())
    new = {mark for mark in ("dot", "comma") if mark not in known and found[mark] >= MIN_SHARE * total and found[mark]}
    marks_known = known.keys() & {"dot", "comma"}
    written = found.keys() & {"whole", "dot", "comma", "open"}
    if typed and known.keys() == {"number"} and written and "number" not in found:
        # A database whose columns have no types (SQLite) mixes 10 and 10.5 into texts.
        return {"comma"} & found.keys() if {"whole", "dot"} <= written else written
    if "number" in known and not marks_known:
        return new - {"dot"}
    return new if marks_known else set()


def _find_new_times(known: Counter[str], found: Counter[str], _: bool) -> set[str]:
    before, total = set(map(_get_time_kind, known)), sum(found.values())
    new = set()
    for shape, n in found.items():
        kind = _get_time_kind(shape)
        is_order = kind in ("dmy", "mdy", "day or month")
        orders = before & {"dmy", "mdy", "day or month"}
        is_known = kind in before or (
            is_order and bool(orders) and (kind == "day or month" or orders == {"day or month"})
        )
        if kind != "other" and not is_known and n >= MIN_SHARE * total:
            new.add(shape)
    return new if before - {"other"} else set()


def _get_time_kind(shape: str) -> str:
    if _strip_length(shape) != "epoch":
        return shape
    length = _get_length(shape)
    return {8: "20261120", 14: "20261120103000"}.get(length) or next(
        (unit for unit, lengths in _EPOCH_DIGITS.items() if length in lengths), "other"
    )


_EPOCH_DIGITS = {"seconds": (9, 10), "milliseconds": (12, 13), "microseconds": (15, 16), "nanoseconds": (18, 19)}


def _find_new_identity(known: Counter[str], found: Counter[str], _: bool) -> set[str]:
    total = sum(found.values())
    return {shape for shape, n in found.items() if shape not in known and n >= MIN_IDENTITY_SHARE * total}


def _find_new_booleans(known: Counter[str], found: Counter[str], _: bool) -> set[str]:
    """Spellings of true and false are one kind; other texts are another."""
    before, total = {shape == "words" for shape in known}, sum(found.values())
    new = {shape for shape in found if (shape == "words") not in before}
    return new if 2 * sum(found[shape] for shape in new) > total else set()


_DRIFT_RULES: Mapping[Role, Callable[[Counter[str], Counter[str], bool], set[str]]] = {
    Role.ID: _find_new_in_ids,
    Role.NUMBER: _find_new_numbers,
    Role.TIME: _find_new_times,
    Role.IDENTITY: _find_new_identity,
    Role.BOOLEAN: _find_new_booleans,
}


# ---------------------------------------------------------------------------------------------- in words

_SHAPE_TEXTS: Mapping[str, str] = {
    "digits": "digits like 123",
    "padded": "digits with leading zeros like 00123",
    "whole.0": "whole numbers with a fraction like 123.0",
    "int": "integers",
    "float": "numbers of a column with fractions (float)",
    "fraction": "numbers with a fraction like 123.5",
    "exponent": "numbers with an exponent like 1.23E+15",
    "digest": "digests of 64 hex digits",
    "text": "other text",
    "time": "dates or times",
    "boolean": "booleans",
    "other": "values of another type",
    "number": "numbers",
    "whole": "text of digits like 123",
    "dot": "text with a decimal point like 12.50",
    "comma": "text with a decimal comma like 12,50",
    "open": "text like 1,234 or 1.234",
    "words": "words",
    "iso": "times without a zone like 2026-11-20",
    "zoned": "instants with a zone like 2026-11-20T10:00:00Z",
    "dmy": "day before month like 20/11/2026",
    "mdy": "month before day like 11/20/2026",
    "ymd": "year first like 2026/11/20",
    "day or month": "dates like 05/06/2026",
    "plain": "readable values",
}


def _describe_shapes(role: Role, shapes: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(_describe_shape(role, shape) for shape in shapes))


def _describe_shape(role: Role, shape: str) -> str:
    kind = _strip_length(shape)
    if kind == "epoch":
        return (
            f"numbers of {_get_time_kind(shape)}"
            if _get_time_kind(shape) in _EPOCH_DIGITS
            else f"digits like {_get_time_kind(shape)}"
        )
    if role is Role.BOOLEAN and "/" in shape:
        return shape
    # A pattern of ids: letters as X, digits as 123.
    return _SHAPE_TEXTS.get(kind) or f"ids like {shape.replace('a', 'X').replace('9', '123')}"


# ---------------------------------------------------------------------------------------------- one run


@dataclass(slots=True)
class DriftWatch:
    """Samples the first rows of a run of ``upload`` and reports drift; see ``hold_until_sampled``.

    ``known`` is what the ledger has of the upload, by client and column; ``clients`` are those that are configured: of
    others nothing is kept. ``run_id`` is the sampling run: shapes it recorded itself are ignored. ``force``
    lets pass what would stop. A watch that is not ``active`` finds nothing.
    """

    upload: Upload
    clients: Collection[str]
    known: Mapping[str, Mapping[str, ColumnShapes]]
    run_id: str | None = None
    force: bool = False
    active: bool = True
    found: dict[str, dict[str, ColumnShapes]] = field(default_factory=dict)
    _uses: dict[str, ColumnUse] = field(init=False)
    _rows: int = 0
    _findings: tuple[GateFinding, ...] | None = None

    def __post_init__(self) -> None:
        self._uses = list_column_uses(self.upload)

    def observe(self, rows: SourceRows, mapped: MappedRows) -> None:
        """Count the shapes of a batch, up to ``SAMPLE_ROWS`` of the run; ``mapped`` are its rows in the window."""
        missing = SAMPLE_ROWS - self._rows
        if not self.active or missing <= 0 or not len(mapped):
            return
        positions = pc.index_in(mapped.row.slice(0, missing), value_set=rows.row_numbers)
        names = [name for name in self._uses if name in rows.batch.schema.names]
        whole = len(positions) and positions[-1].as_py() - positions[0].as_py() + 1 == len(positions)
        batch = rows.batch.select(names)
        sample = batch.slice(positions[0].as_py(), len(positions)) if whole else batch.take(positions)
        columns = SourceColumns(sample, rows.origin, self.upload.window.timezone)
        owners = mapped.client.slice(0, missing).cast(pa.string())
        owners = pc.if_else(pc.is_in(owners, value_set=pa.array(self.clients, pa.string())), owners, None)
        if rows.width:
            for client in pc.unique(owners).drop_null().to_pylist():
                seen = self.found.setdefault(client, {}).setdefault(ALL_COLUMNS, ColumnShapes(""))
                seen.counts[f"columns/{rows.width}"] += 1
        for name in names:
            use = self._uses[name]
            for role in use.roles:
                for client, counts in count_shapes(columns, name, role, owners).items():
                    seen = self.found.setdefault(client, {}).setdefault(name, ColumnShapes(use.reading))
                    seen.counts.update({f"{role}:{shape}": n for shape, n in counts.items()})
        self._rows += len(positions)  # last: rows are read ahead in a thread, and are judged once enough were counted

    @property
    def is_sampling(self) -> bool:
        """Whether more rows are to be sampled."""
        return self.active and self._rows < SAMPLE_ROWS

    def hold_until_sampled(self, events: Iterable[Any]) -> Iterator[Any]:
        """The same batches of events, the first of them once enough rows, or all of the run, were sampled."""
        waiting: list[Any] = []
        for batch in events:
            waiting.append(batch)
            if self._findings is None and self.active and self._rows < SAMPLE_ROWS:
                continue
            self.findings  # noqa: B018  judged here, before anything leaves
            yield from waiting
            waiting.clear()
        self.findings  # noqa: B018
        yield from waiting

    @property
    def stops(self) -> bool:
        return any(finding.stops for finding in self.findings)

    @property
    def findings(self) -> tuple[GateFinding, ...]:
        """What has drifted, one finding a column; judged when it is first asked for."""
        if self._findings is None:
            self._findings = tuple(self._judge())
        return self._findings

    def _judge(self) -> Iterator[GateFinding]:
        changes: dict[str, list[tuple[str, Role, Change, int, int]]] = {}
        for client, columns in sorted(self.found.items()):
            for name, seen in columns.items():
                for role, change, new, total in self._list_changes(client, name, seen):
                    changes.setdefault(name, []).append((client, role, change, new, total))
        yield from self._find_new_or_lost_columns()
        for name, found in changes.items():
            action = self.upload.drift.choose_action(name, in_event_id=self._uses[name].in_event_id)
            if action != "accept":
                _, role, change, _, _ = found[0]
                clients = list(dict.fromkeys(client for client, *_ in found))
                new = max(n for *_, n, _ in found if n)
                total = max(n for *_, n in found)
                yield GateFinding(
                    f"drift {name}",
                    "forced" if action == "stop" and self.force else action,
                    new / total,
                    None,
                    self._describe_change(name, role, change, (new, total), clients),
                )

    def _list_changes(self, client: str, name: str, seen: ColumnShapes) -> Iterator[tuple[Role, Change, int, int]]:
        before = self.known.get(client, {}).get(name)
        if name == ALL_COLUMNS or before is None or before.reading != seen.reading:
            return
        known = before.without(self.run_id)
        for role in self._uses[name].roles:
            old, new = _select_role(known, role), _select_role(seen.counts, role)
            if change := has_drifted(role, old, new, typed=self.upload.source.has_declared_types):
                yield role, change, sum(new[shape] for shape in change.new), sum(new.values())

    def _find_new_or_lost_columns(self) -> Iterator[GateFinding]:
        """The source as a whole has a number of columns that no earlier run of one of its clients has seen."""
        action = self.upload.drift.choose_action(ALL_COLUMNS, in_event_id=False)
        for client, columns in sorted(self.found.items()) if action != "accept" else ():
            before = self.known.get(client, {}).get(ALL_COLUMNS)
            known = {_get_length(shape) for shape in before.without(self.run_id)} if before else set()
            now = {_get_length(shape) for shape in columns[ALL_COLUMNS].counts} if ALL_COLUMNS in columns else set()
            if known and (new := now - known):
                usual, width = max(known), max(new)
                change = f"{width - usual} new" if width > usual else f"{usual - width} fewer"
                yield GateFinding(
                    "drift columns",
                    "forced" if action == "stop" and self.force else action,
                    width,
                    usual,
                    f"drift columns: the source has {width} columns, known so far: "
                    f"{', '.join(map(str, sorted(known)))} ({change}); all that the upload reads are there",
                )
                return

    def _describe_change(
        self, name: str, role: Role, change: Change, share: tuple[int, int], clients: Collection[str]
    ) -> str:
        more = len(clients) - MAX_CLIENTS_NAMED
        named = ", ".join([*clients][:MAX_CLIENTS_NAMED]) + (f" and {more} more" if more > 0 else "")
        whose = f" of {named}" if self.upload.client.constant is None else ""
        return (
            f"drift {name}: {_describe_shapes(role, change.new)} in {share[0]:,} of {share[1]:,} values sampled{whose};"
            f" known so far: {_describe_shapes(role, change.known)}. It is read by {', '.join(self._uses[name].paths)}"
        )


def _select_role(counts: Counts, role: Role) -> Counter[str]:
    prefix = f"{role}:"
    return Counter({shape.removeprefix(prefix): n for shape, n in counts.items() if shape.startswith(prefix)})
