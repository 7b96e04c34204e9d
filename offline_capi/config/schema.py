"""The grammar as JSON Schema, for editors and for ``offline-capi schema``; short spellings included.

Written anew with ``python -m offline_capi.config.schema FOLDER``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from offline_capi.config.client import Client, ClientTable
from offline_capi.config.deployment import Environment
from offline_capi.config.platform import Platform
from offline_capi.config.upload import Upload
from offline_capi.meta.catalogue import USER_DATA_KEYS, UserDataKey

__all__ = ["generate_json_schema", "write_schemas"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SHORT_FIELD = {
    "type": "string",
    "description": 'short for {column: …}; with braces, such as "order-{id}", for {template: …}; a constant where '
    "the words are ours or Meta's (client, event name, action_source, currency in capitals)",
}
_HASHING = {
    "always": "hashed before it is sent",
    "by_policy": "raw or hashed by the client's external_id policy",
    "never": "sent as it is",
}


class _ClientsFile(BaseModel):
    """clients.yml: who sends, and for whom."""

    model_config = ConfigDict(extra="forbid", title="offline-capi clients")

    platform: Platform = Platform()
    clients: ClientTable | Annotated[dict[str, Client], Field(min_length=1)] = Field(
        description="name → client, or the table that holds them"
    )
    environments: dict[str, Environment] = Field({}, description="name → what is different in that environment")


def generate_json_schema() -> dict[str, dict[str, Any]]:
    """The schemas of the two kinds of file: ``upload`` and ``clients``."""
    return {"upload": _generate_upload_schema(), "clients": _generate_schema(_ClientsFile)}


def write_schemas(folder: Path) -> None:
    """Write each schema to ``folder`` as ``KIND.schema.json``."""
    for kind, schema in generate_json_schema().items():
        (folder / f"{kind}.schema.json").write_text(as_json_text(schema), encoding="utf-8")


def as_json_text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _generate_upload_schema() -> dict[str, Any]:
    schema = _generate_schema(Upload)
    schema["title"] = "offline-capi upload"
    columns = schema["properties"]["user_data"]["additionalProperties"]
    schema["properties"]["user_data"] = {
        "type": "object",
        "description": "customer information, by Meta's keys",
        "properties": {key: {"description": _describe_key(facts), **columns} for key, facts in USER_DATA_KEYS.items()},
        "additionalProperties": False,
        "minProperties": 1,
    }
    return schema


def _describe_key(facts: UserDataKey) -> str:
    return f"{facts.meaning}; {_HASHING[facts.hashing]}; {'one column or several' if facts.several else 'one column'}"


def _generate_schema(model: type[BaseModel]) -> dict[str, Any]:
    _, tree = models_json_schema([(model, "validation")])
    definitions = tree["$defs"]
    for definition in definitions.values():
        _remove_name(definition)
    for field in {"FieldSpec", "EventName"} & set(definitions):
        definitions[field] = {"anyOf": [_SHORT_FIELD, definitions[field]]}
    if "Pixel" in definitions:
        definitions["Pixel"] = {"anyOf": [{"type": ["string", "integer"]}, definitions["Pixel"]]}
    for name in {"Condition", "Expectation"} & set(definitions):
        properties = definitions[name]["properties"]
        properties |= {"in": properties["equals"], "not_in": properties["not_equals"]}
    if "Expectation" in definitions:
        properties = definitions["Expectation"]["properties"]
        del properties["first_of"]
        properties |= {"accepted": properties["equals"], "not_null": {"const": True, "description": "is: filled"}}
    for client in (definitions[name] for name in ("Client", "EnvironmentClient") if name in definitions):
        _accept_either_id(client)
    for name, (key, former) in _FORMER_KEYS.items():
        if name in definitions:
            definitions[name]["properties"][former] = definitions[name]["properties"][key]
    return {"$schema": _DIALECT, **definitions.pop(model.__name__), "$defs": definitions}


#: Keys that are accepted under their former name too: model → (key, former name).
_FORMER_KEYS = {"LossLimits": ("max_invalid", "max_rejected"), "Gates": ("invalid", "rejected")}


def _remove_name(definition: dict[str, Any]) -> None:
    """The name of an upload or client is not written in it: it is the file's name, or its key."""
    definition.get("properties", {}).pop("name", None) if definition.get("title") in ("Upload", "Client") else None


def _accept_either_id(client: dict[str, Any]) -> None:
    client["properties"]["dataset_id"] = client["properties"]["pixel_id"]
    client["required"] = [key for key in client["required"] if key != "pixel_id"]
    client["oneOf"] = [{"required": ["pixel_id"]}, {"required": ["dataset_id"]}]


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
