"""Clients as rows of a table: the same fields and the same messages as in ``clients.yml``, each naming its row.

The table is read by ``offline-capi clients pull``, which keeps what is good of it in a file beside ``clients.yml``; all
else reads that file, so that neither a DAG file at parse time nor a night depends on the table being reachable. A row
that is faulty leaves out its client alone: rows of that client are held until it is mended.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from offline_capi.config.document import dotted, secret_advice
from offline_capi.config.paths import anchored, project_folder
from offline_capi.config.settings import Client
from offline_capi.config.wording import Finding, findings, misnamed
from offline_capi.errors import Problem
from offline_capi.private_files import PRIVATE, FileAccess, replace_file

__all__ = [
    "ONE_PIXEL",
    "Pulled",
    "good_rows",
    "is_table",
    "pulled_path",
    "read_pulled",
    "sharing_pixels",
    "write_pulled",
]

#: The file that holds what was pulled, and the variable that names another place for it.
PULLED_FILE, PULLED = "clients.pulled.json", "OFFLINE_CAPI_CLIENTS_PULLED"

Row = Mapping[str, Any]
_Key = TypeVar("_Key")


@dataclass(frozen=True, slots=True)
class Pulled:
    """What is good of a table: name → fields, as ``clients.yml`` would hold them."""

    clients: dict[str, dict[str, Any]]
    problems: tuple[Problem, ...]


def is_table(section: object) -> bool:
    """Whether ``clients`` says where its table is, and is not the clients themselves."""
    return isinstance(section, dict) and any(isinstance(section.get(key), str) for key in ("connection", "sql"))


def good_rows(rows: Iterable[Row], origin: str) -> Pulled:
    """The clients of the table, and every problem of every row.

    A column is a field; ``external_id__send`` stands for ``send`` within ``external_id``, and a text in brackets or
    braces is JSON. Empty values are fields that are not given. A client that stands twice, or shares its pixel without
    saying so, is left out with its rival: which of the two is meant, a table without an order cannot say.
    """
    numbered = [(number, _fields(row)) for number, row in enumerate(rows, start=1)]
    clients = {number: fields for number, fields in numbered if isinstance(fields.get("name"), str)}
    found: list[tuple[int, Finding]] = [(n, (("name",), "is missing")) for n, _ in numbered if n not in clients]
    models = dict(_models(clients, found))
    found += _rivals(clients, models)
    bad = {number for number, _ in found}
    return Pulled(
        {fields["name"]: _unnamed(fields) for number, fields in clients.items() if number not in bad},
        tuple(_problem(origin, number, clients.get(number, {}), finding) for number, finding in sorted(found)),
    )


def _problem(origin: str, row: int, fields: Row, finding: Finding) -> Problem:
    loc, message = finding
    name = str(fields.get("name", ""))
    sayable = ("clients", name) if name and secret_advice(name) is None else ()
    return Problem(f"{origin}, row {row}", None, dotted((*sayable, *loc)), message)


def _unnamed(fields: Row) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != "name"}


def _fields(row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for column, value in row.items():
        outer, _, inner = column.partition("__")
        if value is None or value == "":
            continue
        if inner:
            fields.setdefault(outer, {})[inner] = _value(value)
        else:
            fields[outer] = _value(value)
    return fields


def _value(value: Any) -> Any:
    """JSON where a text is one; whole numbers that a database hands over as such stay numbers."""
    if not isinstance(value, str) or value[:1] not in "[{":
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _models(clients: Mapping[int, Row], found: list[tuple[int, Finding]]) -> Iterator[tuple[int, Client]]:
    for number, fields in clients.items():
        secrets = [*_secrets(fields)]
        found += ((number, secret) for secret in secrets)
        found += ((number, (("name",), message)) for message in misnamed(fields["name"]))
        try:
            client = Client.model_validate(fields)
        except ValidationError as error:
            withheld = {loc[:1] for loc, _ in secrets}
            faults = findings(error, Client, fields)
            found += ((number, fault) for fault in faults if fault[0][:1] not in withheld)
        else:
            yield number, client


def _secrets(value: Any, loc: tuple[str | int, ...] = ()) -> Iterator[Finding]:
    if isinstance(value, str):
        advice = secret_advice(value)
        if advice:
            yield loc, advice
    elif isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _secrets(part, (*loc, key))


def _rivals(clients: Mapping[int, Row], models: Mapping[int, Client]) -> Iterator[tuple[int, Finding]]:
    names = Counter(fields["name"] for fields in clients.values())
    for number, fields in clients.items():
        if names[fields["name"]] > 1:
            yield number, (("name",), f"stands {names[fields['name']]} times; a client has one row")
    for one, other in sharing_pixels({number: model for number, model in models.items() if names[model.name] == 1}):
        for number, rival in ((one, other), (other, one)):
            name = models[rival].name
            yield number, (("pixel_id",), f'is also the pixel of client "{name}" (row {rival}); {ONE_PIXEL}')


ONE_PIXEL = "one pixel, one client, unless both say shares_pixel_with"


def sharing_pixels(clients: Mapping[_Key, Client]) -> Iterator[tuple[_Key, _Key]]:
    """Pairs of clients with one pixel that do not both say so; each client with the first of each of its pixels."""
    first: dict[str, _Key] = {}
    for key, client in clients.items():
        for owner in dict.fromkeys(first.setdefault(pixel.id, key) for pixel in client.pixel_ids):
            rival = clients[owner]
            agreed = client.name in rival.shares_pixel_with and rival.name in client.shares_pixel_with
            if owner != key and not agreed:
                yield owner, key


# ---------------------------------------------------------------------------------------------- the file


def pulled_path(folder: Path, environ: Mapping[str, str]) -> Path:
    named = environ.get(PULLED)
    return Path(anchored(named, project_folder(folder))) if named else folder / PULLED_FILE


def write_pulled(path: Path, clients: Mapping[str, Any], at: datetime, access: FileAccess = PRIVATE) -> None:
    """Replace the file, whole or not at all."""
    pulled = {"pulled_at": at.isoformat(timespec="seconds"), "clients": clients}
    with replace_file(path, access) as file:
        file.write(json.dumps(pulled, ensure_ascii=False, default=str).encode())


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
