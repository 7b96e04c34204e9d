"""Write docs/reference/json: the shapes that ``--json`` prints, inferred from what the commands print in a project.

``python -m tools.json_schemas`` writes them anew after a shape was changed on purpose; the test compares every output
with the files (tests/cli/test_json.py). A key that some output lacks is optional, an empty list says nothing of items.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "infer_schema", "merge_schemas", "name_file", "write_schemas"]

FOLDER = Path(__file__).parents[1] / "docs" / "reference" / "json"
#: Objects whose keys are names or values: of clients, days, reasons, keys of user_data.
_MAPS = re.compile(
    r"^(rows|clients|days|value|keys|external_ids|uploads|warnings|fates|dropped|junk|carried|traffic|read_of|"
    r"copies|failed|files|results|shapes|authorization|detail|forgotten|unexplained\w*|tally|node|columns|events|known|noted)$"
)


def infer_schema(value: Any, name: str = "") -> dict[str, Any]:
    """A JSON Schema that ``value`` fits."""
    if isinstance(value, Mapping):
        if _MAPS.match(name):
            return {"type": "object"}
        properties = {key: infer_schema(part, key) for key, part in value.items()}
        return {"type": "object", "properties": properties, "required": sorted(properties)}
    if isinstance(value, list):
        items: dict[str, Any] = {}
        for part in value:
            items = merge_schemas(items, infer_schema(part, name if _MAPS.match(name) else ""))
        return {"type": "array", **({"items": items} if items else {})}
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return {"type": kinds[type(value)]}


def merge_schemas(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """A schema that fits what either fits."""
    if not one or not other:
        return one or other
    kinds = sorted({*_list_types(one), *_list_types(other)})
    if {"integer", "number"} <= set(kinds):
        kinds.remove("integer")
    merged: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds}
    if "properties" in one or "properties" in other:
        ours, theirs = one.get("properties", {}), other.get("properties", {})
        merged["properties"] = {
            key: merge_schemas(ours.get(key, {}), theirs.get(key, {})) for key in dict.fromkeys((*ours, *theirs))
        }
        required = [set(schema["required"]) for schema in (one, other) if "required" in schema]
        merged["required"] = sorted(set.intersection(*required))
    items = merge_schemas(one.get("items", {}), other.get("items", {}))
    return merged | ({"items": items} if items else {})


def _list_types(schema: Mapping[str, Any]) -> list[str]:
    return schema["type"] if isinstance(schema["type"], list) else [schema["type"]]


def name_file(command: str) -> str:
    """``clients list`` → ``clients-list.schema.json``, ``report --for client`` → ``report-for-client.schema.json``."""
    return f"{command.replace('--', '').replace(' ', '-')}.schema.json"


def write_schemas(schemas: Mapping[str, Mapping[str, Any]]) -> None:
    """One file a command."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for command, schema in schemas.items():
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"offline-capi {command} --json"}
        text = json.dumps({**head, **schema}, indent=2, ensure_ascii=False)
        (FOLDER / name_file(command)).write_text(f"{text}\n", encoding="utf-8")
