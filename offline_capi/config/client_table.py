"""Clients as rows of a table: the same fields and the same messages as in ``clients.yml``, each naming its row.

The table is read by ``offline-capi clients pull``, which keeps its valid rows in a file next to ``clients.yml``; all
else reads that file, so that neither a DAG file at parse time nor a night depends on the table being reachable. A row
that is faulty leaves out its client alone: rows of that client are deferred until it is mended.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from offline_capi.config.client import Client, ClientTable
from offline_capi.config.connections import as_variable
from offline_capi.config.document import Loc, explain_secret, format_path
from offline_capi.config.paths import anchor_path, find_project_folder
from offline_capi.config.types import SecretRef
from offline_capi.config.wording import Finding, check_name, describe_errors
from offline_capi.errors import Problem
from offline_capi.storage.private_files import PRIVATE, FileAccess, replace_file

__all__ = [
    "ONE_PIXEL",
    "PulledClients",
    "find_shared_pixels",
    "is_table",
    "locate_pulled_file",
    "read_previous_pull",
    "read_pulled",
    "select_valid_rows",
    "write_pulled",
]

#: The file that holds what was pulled, and the variable that names another path for it.
PULLED_FILE, PULLED = "clients.pulled.json", "OFFLINE_CAPI_CLIENTS_PULLED"

Row = Mapping[str, Any]
Owners = Mapping[str, Sequence[str]]
_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class PulledClients:
    """What is good of a table: name → fields, as ``clients.yml`` would hold them.

    ``owners`` are the clients of each pixel: those that are good, and those of the pull before whose rows are still
    there, faulty as they may be. Nobody else gets such a pixel by claiming it.
    """

    clients: dict[str, dict[str, Any]]
    problems: tuple[Problem, ...]
    owners: dict[str, list[str]]


def is_table(section: object) -> bool:
    """Whether ``clients`` says where its table is, and is not the clients themselves."""
    return isinstance(section, dict) and any(isinstance(section.get(key), str) for key in ("connection", "sql"))


def select_valid_rows(
    rows: Iterable[Row], origin: str, table: ClientTable | None = None, before: PulledClients | None = None
) -> PulledClients:
    """The clients of the table, and every problem of every row. ``before`` is what the last pull kept.

    A column is a field; ``external_id__send`` stands for ``send`` within ``external_id``, and a text in brackets or
    braces is JSON. Empty values are fields that are not given. Of two rows with one name, or with one pixel and no word
    of sharing it, the one that was pulled before stays; where neither was, both are left out: which of the two is
    meant, a table without an order cannot say.
    """
    numbered = [(number, _read_fields(row)) for number, row in enumerate(rows, start=1)]
    clients = {number: fields for number, fields in numbered if isinstance(fields.get("name"), str)}
    found: list[tuple[int, Finding]] = [(n, (("name",), "is missing")) for n, _ in numbered if n not in clients]
    models = dict(_validate_rows(clients, found))
    prefixes = _Prefixes(table, {fields["name"] for fields in clients.values()})
    found += (
        (number, finding)
        for number, model in models.items()
        for finding in prefixes.find_foreign_secrets(model, model.name)
    )
    before = before or PulledClients({}, (), {})
    found += _find_rivals(clients, models, before)
    bad = {number for number, _ in found}
    return PulledClients(
        {fields["name"]: _remove_name(fields) for number, fields in clients.items() if number not in bad},
        tuple(_build_problem(origin, number, clients.get(number, {}), finding) for number, finding in sorted(found)),
        _update_owners(
            {number: model for number, model in models.items() if number not in bad}, clients, before.owners
        ),
    )


def _update_owners(good: Mapping[int, Client], clients: Mapping[int, Row], before: Owners) -> dict[str, list[str]]:
    there = {fields["name"] for fields in clients.values()}
    now = {pixel: [name for name in names if name in there] for pixel, names in before.items()}
    moved = {model.name: set(_list_pixels(model)) for model in good.values()}
    now = {pixel: [name for name in names if pixel in moved.get(name, {pixel})] for pixel, names in now.items()}
    for model in good.values():
        for pixel in _list_pixels(model):
            now[pixel] = sorted({*now.get(pixel, ()), model.name})
    return {pixel: names for pixel, names in now.items() if names}


class _Prefixes:
    """Which secrets a row may name: who can write rows must not reach secrets of others.

    A name belongs to the client with the longest prefix that it begins with: of ``acme`` and ``acme_2`` only the second
    may name ``CAPI_ACME_2_TOKEN``, and of ``acme-2`` and ``acme_2``, whose prefixes are equal, neither.
    """

    def __init__(self, table: ClientTable | None, clients: Collection[str]) -> None:
        self._prefix = (table.secret_prefix if table else None) or ""
        self._files = table is not None and table.secret_files
        self._owners: dict[str, list[str]] = {}
        for client in sorted(clients) if "{client}" in self._prefix else ():
            self._owners.setdefault(self._build_prefix(client), []).append(client)

    def _build_prefix(self, client: str) -> str:
        return self._prefix.replace("{client}", as_variable(client))

    def find_foreign_secrets(self, model: BaseModel, client: str, loc: Loc = ()) -> Iterator[Finding]:
        """References of a row to secrets that are not its client's."""
        if isinstance(model, SecretRef):
            yield from ((loc, why) for why in self._explain_refusal(model, client))
            return
        for key, value in model:
            for part in value if isinstance(value, tuple) else (value,):
                if isinstance(part, BaseModel):
                    yield from self.find_foreign_secrets(part, client, (*loc, key))

    def _explain_refusal(self, secret: SecretRef, client: str) -> Iterator[str]:
        name, prefix = secret.env or secret.connection or secret.store, self._build_prefix(client)
        if secret.file is not None and not self._files:
            yield "names a file, which rows may not (any file could be read so); clients.secret_files allows it"
        if name is None or not prefix:
            return
        if not name.startswith(prefix) or name == prefix:
            yield f'names a secret that does not begin with "{prefix}" (clients.secret_prefix)'
            return
        ends = (name[:length] for length in range(len(name), 0, -1))
        owners = next((self._owners[start] for start in ends if start in self._owners), [client])
        if owners != [client]:
            others = ", ".join(f'"{other}"' for other in owners if other != client)
            yield f"names a secret whose name belongs to client {others} as well (clients.secret_prefix)"


def _build_problem(origin: str, row: int, fields: Row, finding: Finding) -> Problem:
    loc, message = finding
    name = str(fields.get("name", ""))
    sayable = ("clients", name) if name and explain_secret(name) is None else ()
    return Problem(f"{origin}, row {row}", None, format_path((*sayable, *loc)), message)


def _remove_name(fields: Row) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != "name"}


def _read_fields(row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for column, value in row.items():
        outer, _, inner = column.partition("__")
        if value is None or value == "":
            continue
        if inner:
            fields.setdefault(outer, {})[inner] = _read_value(value)
        else:
            fields[outer] = _read_value(value)
    return fields


def _read_value(value: Any) -> Any:
    """JSON where a text is one; whole numbers that a database hands over as such stay numbers."""
    if not isinstance(value, str) or value[:1] not in "[{":
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _validate_rows(clients: Mapping[int, Row], found: list[tuple[int, Finding]]) -> Iterator[tuple[int, Client]]:
    for number, fields in clients.items():
        secrets = [*_find_secrets(fields)]
        found += ((number, secret) for secret in secrets)
        found += ((number, (("name",), message)) for message in check_name(fields["name"]))
        try:
            client = Client.model_validate(fields)
        except ValidationError as error:
            withheld = {loc[:1] for loc, _ in secrets}
            faults = describe_errors(error, Client, fields)
            found += ((number, fault) for fault in faults if fault[0][:1] not in withheld)
        else:
            yield number, client


def _find_secrets(value: Any, loc: tuple[str | int, ...] = ()) -> Iterator[Finding]:
    if isinstance(value, str):
        advice = explain_secret(value)
        if advice:
            yield loc, advice
    elif isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _find_secrets(part, (*loc, key))


def _find_rivals(
    clients: Mapping[int, Row], models: Mapping[int, Client], before: PulledClients
) -> Iterator[tuple[int, Finding]]:
    rows: dict[str, list[int]] = {}
    for number, fields in clients.items():
        rows.setdefault(fields["name"], []).append(number)
    alone: dict[int, Client] = {}
    for name, numbers in rows.items():
        same = [n for n in numbers if _serialise_fields(_remove_name(clients[n])) == before.clients.get(name)]
        kept = numbers[0] if len(numbers) == 1 else next(iter(same), None)
        stays = "; the one that was pulled before stays" if kept is not None else ""
        for number in numbers:
            if number != kept:
                yield number, (("name",), f"stands {len(numbers)} times; a client has one row{stays}")
            elif number in models:
                alone[number] = models[number]
    for one, other in find_shared_pixels(alone):
        for number, rival in ((one, other), (other, one)):
            name, shared = models[rival].name, {*_list_pixels(models[one])} & {*_list_pixels(models[other])}
            if not _is_owner(models[number].name, shared, before.owners) or _is_owner(name, shared, before.owners):
                yield number, (("pixel_id",), f'is also the pixel of client "{name}" (row {rival}); {ONE_PIXEL}')
    by_name = {model.name: model for model in alone.values()}
    faulty = rows.keys() - by_name.keys()
    for number, model in alone.items():
        if taken := _find_owner(model, by_name, faulty, before.owners):
            yield (
                number,
                (("pixel_id",), f'was the pixel of client "{taken}" at the last pull, and stays so; {ONE_PIXEL}'),
            )


def _list_pixels(model: Client) -> tuple[str, ...]:
    return tuple(pixel.id for pixel in model.pixel_ids)


def _is_owner(name: str, pixels: Collection[str], owners: Owners) -> bool:
    return any(name in owners.get(pixel, ()) for pixel in pixels)


def _serialise_fields(fields: Row) -> dict[str, Any]:
    """The fields as the file of a pull gives them back."""
    kept: dict[str, Any] = json.loads(json.dumps(fields, default=str))
    return kept


def _find_owner(model: Client, good: Mapping[str, Client], faulty: Collection[str], owners: Owners) -> str | None:
    """The client whose row is there and faulty, and that had one of the pixels at the last pull."""
    for pixel in _list_pixels(model):
        names = owners.get(pixel, ())
        is_new = model.name not in names and not any(name in good for name in names)
        if is_new and (found := next((name for name in names if name in faulty), None)):
            return found
    return None


ONE_PIXEL = "one pixel, one client, unless both say shares_pixel_with"


def find_shared_pixels(clients: Mapping[_Key, Client]) -> Iterator[tuple[_Key, _Key]]:
    """Pairs of clients with one pixel that do not both say so; each client with the first of each of its pixels."""
    first: dict[str, _Key] = {}
    for key, client in clients.items():
        for owner in dict.fromkeys(first.setdefault(pixel.id, key) for pixel in client.pixel_ids):
            rival = clients[owner]
            agreed = client.name in rival.shares_pixel_with and rival.name in client.shares_pixel_with
            if owner != key and not agreed:
                yield owner, key


# ---------------------------------------------------------------------------------------------- the file


def locate_pulled_file(folder: Path, environ: Mapping[str, str]) -> Path:
    named = environ.get(PULLED)
    return Path(anchor_path(named, find_project_folder(folder))) if named else folder / PULLED_FILE


def write_pulled(path: Path, pulled: PulledClients, at: datetime, access: FileAccess = PRIVATE) -> None:
    """Replace the file, whole or not at all."""
    content = {"pulled_at": at.isoformat(timespec="seconds"), "clients": pulled.clients, "owners": pulled.owners}
    with replace_file(path, access) as file:
        file.write(json.dumps(content, ensure_ascii=False, default=str).encode())


def read_previous_pull(path: Path) -> PulledClients:
    """What the last pull kept; nothing where there was none. Files of earlier versions do not name the owners."""
    owners: dict[str, list[str]] = {}
    try:
        pulled = json.loads(path.read_text(encoding="utf-8"))
        clients = dict(pulled["clients"])
        if "owners" in pulled:
            named = {str(pixel): list(map(str, names)) for pixel, names in pulled["owners"].items()}
            return PulledClients(clients, (), named)
        for name, fields in clients.items():
            for pixel in _list_pixels(Client.model_validate({**fields, "name": name})):
                owners.setdefault(pixel, []).append(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return PulledClients({}, (), {})
    return PulledClients(clients, (), owners)


def read_pulled(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """The clients that were pulled, or why there are none."""
    try:
        pulled = json.loads(path.read_text(encoding="utf-8"))
        return dict(pulled["clients"]), []
    except FileNotFoundError:
        why = "does not exist: clients.yml names a table; run `offline-capi clients pull` to read it"
    except (OSError, ValueError, KeyError, TypeError):
        why = "cannot be read: run `offline-capi clients pull` to write it anew"
    return {}, [Problem(str(path), None, "", why)]
