"""Another tool's mapping → a first upload of ours. What has no equal here becomes a ``# TODO``, never a guess.

Formats, as their tools keep them:

- **drt**: a sync in YAML whose destination is ``meta_conversions`` (drt-hub/drt, docs/connectors/meta-conversions.md);
- **Segment**: a subscription of "Facebook Conversions API (Actions)" in JSON, as presets and the Public API have it:
  ``partnerAction`` or ``actionSlug``, ``subscribe`` or ``trigger``, and the mapping in directives (``@path``,
  ``@template``, ``@if``, …; segmentio/action-destinations, destinations/facebook-conversions-api);
- **Hightouch**: a sync in YAML as Git Sync writes it, with ``config.mappings`` (``from``, ``to``, ``type``). What
  Hightouch keeps beside the mappings is not documented; names that are not known here are listed as to be done.

No value of a secret is read: tokens are withheld as in our own files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from offline_capi.audit.yaml_lines import yaml_line
from offline_capi.config.document import explain_secret, read_document
from offline_capi.config.mapping import CustomData
from offline_capi.errors import UsageError
from offline_capi.meta.catalogue import USER_DATA_KEYS
from offline_capi.onboarding.lines import refer_to_column

__all__ = ["TOOLS", "ImportedUpload", "import_mapping"]

SECTIONS = ("client", "source", "window", "event", "user_data", "custom_data", "filter")

# The names that the tools have for Meta's keys of user_data (Segment's in camel case, drt's before _field).
_PERSON = {
    "email": "em", "phone": "ph", "gender": "ge", "date_of_birth": "db", "birthday": "db", "last_name": "ln",
    "first_name": "fn", "city": "ct", "state": "st", "zip": "zp", "zip_code": "zp", "postal_code": "zp",
    "subscription_id": "subscription_id", "lead_id": "lead_id", "fb_login_id": "fb_login_id", "mad_id": "madid",
    "ip_address": "client_ip_address", "user_agent": "client_user_agent", "click_id": "fbc", "browser_id": "fbp",
    **{key: key for key in USER_DATA_KEYS},
}  # fmt: skip
_EVENT = {
    "event_name": "name", "event_time": "time", "timestamp": "time", "event_timestamp": "time", "event_id": "id",
    "action_source": "action_source", "event_source_url": "source_url", "referrer_url": "referrer_url",
    "opt_out": "opt_out",
}  # fmt: skip
_AMOUNTS = ("value", "predicted_ltv", "net_revenue")

# Segment's actions; their second versions end in 2.
_ACTIONS = {
    "purchase": "Purchase", "addToCart": "AddToCart", "initiateCheckout": "InitiateCheckout", "pageView": "PageView",
    "search": "Search", "viewContent": "ViewContent",
}  # fmt: skip


class _ImportedNode(NamedTuple):
    node: Any
    todo: str = ""


@dataclass(slots=True)
class ImportedUpload:
    """The upload so far: ``lines`` by section and key, and what is to be done that has no line of its own."""

    tool: str
    file: str
    lines: dict[str, dict[str, _ImportedNode]] = field(default_factory=lambda: {name: {} for name in SECTIONS})
    notes: list[str] = field(default_factory=list)
    pixel: str | None = None

    def put(self, section: str, key: str, node: Any, todo: str = "") -> None:
        self.lines[section][key] = _ImportedNode(node, todo)

    @property
    def todos(self) -> list[str]:
        """What is left to do, in the order of the file."""
        written = [line.todo for lines in self.lines.values() for line in lines.values() if line.todo]
        return [*written, *self.notes]

    def render(self) -> str:
        """The file as YAML, with a TODO at the end of each line that needs one."""
        blocks = [
            [
                "# yaml-language-server: $schema=../schema/upload.schema.json",
                f"# Imported from {self.tool} ({self.file}). Look at every line, and run `offline-capi check`.",
                *(f"# TODO: {note}" for note in self.notes),
            ]
        ]
        blocks += [list(_write_section(name, lines)) for name, lines in self.lines.items() if lines]
        return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _write_section(name: str, lines: Mapping[str, _ImportedNode]) -> Iterator[str]:
    if "" in lines:
        yield _write_line(name, lines[""], "")
        return
    yield f"{name}:"
    for key, written in lines.items():
        yield _write_line(key, written, "  ")


def _write_line(key: str, written: _ImportedNode, indent: str) -> str:
    text = indent + re.sub(r": null$", ":", yaml_line({key: written.node}))
    todo = " ".join(written.todo.split())
    return f"{text}  # TODO: {todo}" if todo else text


def import_mapping(tool: str, path: Path, client: str | None) -> ImportedUpload:
    """What a file of ``tool`` says, as an upload. Raises ``UsageError`` where it is none of that tool's."""
    data = _read(path, tool)
    upload = ImportedUpload(tool, path.name)
    TOOLS[tool](data, upload)
    name = client or "CLIENT"
    upload.put("client", "", name, "" if client else "the client of clients.yml whose rows these are")
    _complete(upload)
    return upload


def _complete(upload: ImportedUpload) -> None:
    """What every upload needs, and no tool says."""
    event, source = upload.lines["event"], upload.lines["source"]
    if "name" not in event:
        upload.put("event", "name", None, "the name of the event, such as Purchase")
    if "id" not in event:
        upload.put("event", "id", None, "a business key: a column, or a template such as order-{order_id}")
    if "action_source" not in event:
        upload.put("event", "action_source", None, "where it happened: website, physical_store, system_generated, …")
    if not upload.lines["window"]:
        time = event.get("time", _ImportedNode(None)).node
        column = time.get("column") if isinstance(time, dict) else time
        todo = "the zone of times that carry none" if column else "the column that says when the event happened"
        upload.put("window", "column", column, "" if column else todo)
        upload.put("window", "timezone", "UTC", "the zone of times that carry none, and of days")
    if not source:
        upload.put("source", "path", "data/*.csv", "where the rows are: a path, or connection and sql")
    if not upload.lines["user_data"]:
        upload.put("user_data", "em", None, "a column that holds an e-mail address, or another key")


def _read(path: Path, tool: str) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if raw.lstrip()[:1] in (b"{", b"["):
        try:
            data = json.loads(raw)
        except ValueError as error:
            raise UsageError(f"{path} is not valid JSON: {error}") from None
    else:
        document = read_document(raw, str(path))
        if document.data is None:
            raise UsageError(str(document.problems[0]))
        data = document.data
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        kinds = f"a list of {len(data)}; give a file with one of them" if isinstance(data, list) else "no mapping"
        raise UsageError(f"{path} is {kinds}: `offline-capi import {tool}` reads one mapping")
    return data


def _convert_constant(value: Any) -> Any:
    """A value of the other tool as ours; nothing of a secret."""
    return None if isinstance(value, str) and explain_secret(value) else {"constant": value}


def _convert_to_snake_case(name: str) -> str:
    """``dateOfBirth`` → ``date_of_birth``, ``leadID`` → ``lead_id``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name)).lower().replace(" ", "_").replace("-", "_")


def _put_field(upload: ImportedUpload, name: str, node: Any, todo: str = "") -> bool:
    """Put a field under our key, found by the other tool's name of it; false where we have no such key."""
    plain = _convert_to_snake_case(name.rpartition(".")[2])
    if plain in _EVENT and not name.startswith("custom_data."):
        upload.put(
            "event", _EVENT[plain], _name_column(node) if plain in ("event_name", "action_source") else node, todo
        )
    elif plain in _PERSON and not name.startswith("custom_data."):
        upload.put("user_data", _PERSON[plain], node, todo)
    elif plain in CustomData.model_fields and plain not in ("properties", "store_data", "contents"):
        typed = {**(node if isinstance(node, dict) else {"column": node}), "type": "number"}
        upload.put("custom_data", plain, typed if plain in _AMOUNTS and _is_column(node) else node, todo)
    else:
        return False
    return True


def _name_column(node: Any) -> Any:
    """A column where a bare text would be a constant."""
    if isinstance(node, dict) and set(node) == {"constant"}:
        return node["constant"]
    return {"column": node} if isinstance(node, str) else node


def _is_column(node: Any) -> bool:
    return isinstance(node, str) or (isinstance(node, dict) and bool({"column", "coalesce", "template"} & set(node)))


# ---------------------------------------------------------------------------------------------- drt

_DRT_KNOWN = {
    "type", "pixel_id", "access_token", "access_token_env", "api_version", "action_source", "event_name", "currency",
    "retry", "rate_limit",
}  # fmt: skip


def _import_drt(data: dict[str, Any], upload: ImportedUpload) -> None:
    destination = data.get("destination")
    if not isinstance(destination, dict) or destination.get("type") != "meta_conversions":
        raise UsageError("this is no drt sync to Meta: it needs destination.type: meta_conversions")
    upload.pixel = str(destination["pixel_id"]) if destination.get("pixel_id") else None
    upload.put("event", "action_source", str(destination.get("action_source") or "website"))
    if destination.get("event_name"):
        upload.put("event", "name", destination["event_name"])
    for key, value in destination.items():
        name = key.removesuffix("_field")
        if key.endswith("_field"):
            node = {"column": value, "unit": "s"} if name == "event_time" else refer_to_column(str(value))
            if not _put_field(upload, name, node):
                upload.notes.append(f"drt's {key} has no equal here")
        elif key not in _DRT_KNOWN:
            upload.notes.append(f"drt's destination.{key} has no equal here")
    if "value" in upload.lines["custom_data"]:
        upload.put("custom_data", "currency", str(destination.get("currency") or "USD"))
    if "event_time_field" not in destination:
        upload.put("event", "time", None, "drt took the time of sending; here the event's own time is needed")
    _import_drt_source(data, destination, upload)


def _import_drt_source(data: dict[str, Any], destination: dict[str, Any], upload: ImportedUpload) -> None:
    sync = data.get("sync") if isinstance(data.get("sync"), dict) else {}
    column = str((sync or {}).get("cursor_field") or destination.get("event_time_field") or "")
    model = str(data.get("model") or "").strip().rstrip(";")
    named = re.fullmatch(r"ref\(\s*['\"]([\w.]+)['\"]\s*\)", model)
    rows = named[1] if named else f"({model}) AS model" if model else None
    upload.put("source", "connection", "warehouse", "the connection of drt's profile: an Airflow connection, or a name")
    if rows and column:
        # Names and a query of the author's own, written for the author to read.
        sql = f"SELECT * FROM {rows} WHERE {column} >= :since AND {column} < :until ORDER BY {column}"  # noqa: S608
        seconds = column == destination.get("event_time_field")
        todo = f"{column} is Unix seconds in drt: compare the time that it means" if seconds else ""
        upload.put("source", "sql", sql, todo or ":since_utc and :until_utc where the column has a zone")
    else:
        upload.put("source", "sql", None, "the query, with :since and :until; drt's model has no column of time")
    if column:
        upload.put("window", "column", column)
        upload.put("window", "timezone", "UTC", "the zone of times that carry none, and of days")


# ---------------------------------------------------------------------------------------------- Segment


def _import_segment(data: dict[str, Any], upload: ImportedUpload) -> None:
    mapping = next((data[key] for key in ("mapping", "mappings", "settings", "inputs") if data.get(key)), None)
    if not isinstance(mapping, dict) or "user_data" not in mapping:
        raise UsageError("this is no mapping of Segment's Facebook Conversions API: it needs mapping.user_data")
    action = re.sub(r"2$", "", str(data.get("partnerAction") or data.get("actionSlug") or ""))
    if action in _ACTIONS:
        upload.put("event", "name", _ACTIONS[action])
    for name, directive in mapping.items():
        if name == "user_data" and isinstance(directive, dict):
            for key, part in directive.items():
                _put_directive(upload, f"user_data.{key}", part)
        elif name == "custom_data" and isinstance(directive, dict) and not _is_directive(directive):
            _put_properties(upload, directive)
        elif name == "contents":
            _put_contents(upload, directive)
        elif name not in _SEGMENT_SETTINGS:
            _put_directive(upload, name, directive)
    if mapping.get("data_processing_options"):
        upload.notes.append(
            "Segment sends limited data use: see event.limited_data_use, or limited_data_use of a client"
        )
    upload.put("source", "path", "data/segment/*.jsonl", "where Segment's events are kept, as JSON lines")
    _put_trigger(upload, str(data.get("subscribe") or data.get("trigger") or ""))


_SEGMENT_SETTINGS = frozenset({
    "data_processing_options", "data_processing_options_country", "data_processing_options_state", "enable_batching",
    "batch_size", "batch_keys", "is_append_event", "append_event_details", "app_data_field", "test_event_code",
})  # fmt: skip


def _is_directive(node: Any) -> bool:
    return isinstance(node, dict) and any(str(key).startswith("@") for key in node)


def _put_directive(upload: ImportedUpload, name: str, directive: Any) -> None:
    if directive in (None, "", [], {}):
        return
    node, todo = _convert_directive(directive)
    if not _put_field(upload, name, node, todo):
        upload.notes.append(f"Segment's {name} has no equal here")


def _put_properties(upload: ImportedUpload, properties: dict[str, Any]) -> None:
    found = {key: _convert_directive(part) for key, part in properties.items() if part not in (None, "")}
    standard = {key: pair for key, pair in found.items() if _put_field(upload, f"custom_data.{key}", *pair)}
    rest = {key: pair for key, pair in found.items() if key not in standard}
    if rest:
        todo = "; ".join(pair[1] for pair in rest.values() if pair[1])
        upload.put("custom_data", "properties", {key: pair[0] for key, pair in rest.items()}, todo)


def _put_contents(upload: ImportedUpload, directive: Any) -> None:
    path = directive.get("@arrayPath") if isinstance(directive, dict) else None
    if not (isinstance(path, list) and path):
        upload.notes.append("Segment's contents: give custom_data.contents.json_column, or id and quantity")
        return
    column = _parse_path(path[0] if isinstance(path[0], str) else path[0].get("@path", ""))
    items = path[1] if len(path) > 1 and isinstance(path[1], dict) else {}
    names = {key: _parse_path(part.get("@path", "")) for key, part in items.items() if isinstance(part, dict)}
    other = ", ".join(f"{ours} from {theirs}" for ours, theirs in names.items() if ours != theirs)
    todo = f"the members of the items are taken as {other}: write them so in the source" if other else ""
    upload.put("custom_data", "contents", {"json_column": column}, todo)


def _convert_directive(directive: Any) -> tuple[Any, str]:
    """A directive of Segment's as a field, and what is to be done where it is more than a field can say."""
    if not isinstance(directive, dict):
        return _convert_list(directive) if isinstance(directive, list) else (_convert_constant(directive), "")
    for name, convert in _DIRECTIVES.items():
        if name in directive:
            found: tuple[Any, str] = convert(directive[name])
            return found
    names = ", ".join(key for key in directive if str(key).startswith("@")) or "an object"
    return None, f"Segment's {names} has no equal here"


def _convert_list(parts: list[Any]) -> tuple[Any, str]:
    found = [_convert_directive(part) for part in parts]
    return [node for node, _ in found], "; ".join(todo for _, todo in found if todo)


def _convert_path(path: Any) -> tuple[Any, str]:
    column = _parse_path(str(path))
    if re.search(r"[\[\]*?]", column):
        return None, f"Segment's path {path} is of one item of a list: give a column of its own"
    return refer_to_column(str(column)), ""


def _parse_path(path: str) -> str:
    """``$.properties.revenue`` and ``$.context['ip']`` → the dotted name by which JSON is read here."""
    dotted = re.sub(r"\[['\"]([^'\"]+)['\"]\]", r".\1", path)
    return dotted.removeprefix("$").lstrip(".")


def _convert_template(template: Any) -> tuple[Any, str]:
    text = re.sub(r"\{\{\s*([\w.$]+)\s*\}\}", lambda match: f"{{{_parse_path(match[1])}}}", str(template))
    if re.search(r"\{\{|\}\}", text):
        return None, "Segment's template has more than names in it"
    return ({"template": text} if "{" in text else _convert_constant(text)), ""


def _convert_if(condition: Any) -> tuple[Any, str]:
    """``exists A then A else B`` is the first of the two that is not empty; anything else is a decision of its own."""
    tested = condition.get("exists", condition.get("blank")) if isinstance(condition, dict) else None
    if tested is None:
        return None, "Segment's @if has no equal here"
    first, second = condition.get("then"), condition.get("else")
    if "blank" in condition and "exists" not in condition:
        first, second = second, first
    if first != tested:
        return None, "Segment's @if takes another value than the one that it tests"
    parts = [_convert_directive(part) for part in (first, second) if part is not None]
    todo = "; ".join(todo for _, todo in parts if todo)
    nodes = [node for node, _ in parts if node is not None]
    return ({"coalesce": nodes} if len(nodes) > 1 else nodes[0] if nodes else None), todo


def _convert_case(case: Any) -> tuple[Any, str]:
    return _convert_step(case, str(case.get("operator", "")), ("lower", "upper"))


def _convert_replace(change: Any) -> tuple[Any, str]:
    step = {"replace": {str(change.get("pattern", "")): str(change.get("replacement", ""))}}
    return _convert_step(change, step, ())


def _convert_step(directive: Any, step: Any, known: tuple[str, ...]) -> tuple[Any, str]:
    node, todo = _convert_directive(directive.get("value"))
    if node is None or (known and step not in known):
        return node, todo or "Segment's change of the text has no equal here"
    return {**(node if isinstance(node, dict) else {"column": node}), "text": [step]}, todo


_DIRECTIVES: Mapping[str, Callable[[Any], tuple[Any, str]]] = {
    "@path": _convert_path,
    "@template": _convert_template,
    "@if": _convert_if,
    "@case": _convert_case,
    "@replace": _convert_replace,
    "@literal": lambda value: (_convert_constant(value), ""),
}


def _put_trigger(upload: ImportedUpload, trigger: str) -> None:
    """``type = "track" and event = "Order Completed"`` → the same as a filter."""
    parts = re.split(r"\s+and\s+", trigger.strip()) if trigger.strip() else []
    matches = [re.fullmatch(r"\(?\s*([\w.]+)\s*=\s*\"([^\"]*)\"\s*\)?", part) for part in parts]
    if parts and all(matches):
        for match in matches:
            if match:
                upload.put("filter", match[1], match[2])
    elif parts:
        upload.notes.append("Segment's trigger is more than equals joined by and: write it as filter")


# ---------------------------------------------------------------------------------------------- Hightouch

_HIGHTOUCH_KNOWN = frozenset({"mappings", "object", "mode", "type", "configVersion", "externalIdMapping"})


def _import_hightouch(data: dict[str, Any], upload: ImportedUpload) -> None:
    config = data.get("config")
    mappings = [
        one
        for key in ("mappings", "customMappings", "userDataMappings", "customDataMappings")
        for one in ((config or {}).get(key) or [])
        if isinstance(one, dict)
    ]
    if not isinstance(config, dict) or not mappings:
        raise UsageError("this is no sync of Hightouch's Git Sync: it needs config.mappings")
    for one in mappings:
        _put_mapping(upload, one)
    for key, value in config.items():
        if key in _HIGHTOUCH_KNOWN or key.lower().endswith("mappings") or value in (None, "", [], {}):
            continue
        node = refer_to_column(str(value["from"])) if isinstance(value, dict) and "from" in value else None
        node = _convert_constant(value) if isinstance(value, str) else node
        if node is None or not _put_field(upload, _convert_to_snake_case(key), node):
            upload.notes.append(f"Hightouch's config.{key} is not known here")
    upload.put("source", "connection", "warehouse", "the source of Hightouch's model: an Airflow connection, or a name")
    upload.put("source", "sql", None, "the query of Hightouch's model, with :since and :until")


def _put_mapping(upload: ImportedUpload, one: dict[str, Any]) -> None:
    name, kind = str(one.get("to", "")), str(one.get("type") or "standard")
    node, todo = None, ""
    if kind == "standard":
        node = refer_to_column(str(one.get("from", "")))
    elif kind == "static":
        node = _convert_constant(one.get("value"))
    elif kind == "template":
        node = _convert_liquid(str(one.get("template", "")))
        todo = "" if node else "Hightouch's template has more than names of columns in it"
    else:
        todo = f"Hightouch's {kind} has no equal here"
    if not _put_field(upload, name, node, todo):
        properties = upload.lines["custom_data"].get("properties", _ImportedNode({})).node
        if node is None:
            upload.notes.append(f"Hightouch's mapping to {name}: {todo}")
        else:
            upload.put("custom_data", "properties", {**properties, name.rpartition(".")[2]: node})


def _convert_liquid(template: str) -> Any:
    text = re.sub(r"\{\{\s*row(?:\.(\w+)|\[['\"]([^'\"]+)['\"]\])\s*\}\}", r"{\1\2}", template)
    return None if re.search(r"\{\{|\{%|\}\}", text) else {"template": text} if "{" in text else _convert_constant(text)


TOOLS: Mapping[str, Callable[[dict[str, Any], ImportedUpload], None]] = {
    "drt": _import_drt,
    "segment": _import_segment,
    "hightouch": _import_hightouch,
}
