"""The validator's errors in plain English: a table from pydantic's kinds of error to sentences.

pydantic's own texts name Python types and quote the input; ours say what is allowed and what was probably meant.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from offline_capi.config.document import Loc
from offline_capi.runtime.nearest import did_you_mean

__all__ = ["Finding", "check_name", "describe_errors", "locate"]

Finding = tuple[Loc, str]

_SENTENCES: Mapping[str, str] = {
    "missing": "is missing",
    "value_error": "{error}",
    "union_tag_not_found": "needs connection and sql (a query), path (files), delta, iceberg, table or dbt (a table)",
    "string_type": "needs a text; if it is one, put it in quotes",
    "int_type": "needs a whole number",
    "int_parsing": "needs a whole number",
    "int_from_float": "needs a whole number",
    "float_type": "needs a number",
    "float_parsing": "needs a number",
    "finite_number": "needs a finite number",
    "bool_type": "needs true or false",
    "bool_parsing": "needs true or false",
    "dict_type": "needs a mapping, one key: value a line",
    "tuple_type": "needs a list",
    "path_type": "needs the path of a file",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "is empty",
    "string_too_long": "must have at most {max_length} character(s)",
}
MISSING_MESSAGE = _SENTENCES["missing"]
_NO_VALUE = "has no value; give one, or remove the key"
_UNFORESEEN = "cannot be used here; see `offline-capi schema` for what is allowed"

_PATTERNS: Mapping[str, str] = {
    r"^[1-9][0-9]{4,19}$": "is not a pixel id: 5 to 20 digits without a zero before them, as Events Manager shows it",
    r"^v\d+\.\d+$": "is not a Graph version such as v27.0",
    r"^[0-9]{5,20}$": "is not one of Meta's ids: 5 to 20 digits",
    r"^[A-Za-z0-9_]{1,40}$": "is not a test code: letters and digits, such as TEST12345, from Events Manager",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "is not the name of an environment variable such as ACME_BANK_TOKEN",
}
_MODELS: Mapping[str, str] = {
    "EventName": "needs the name of an event, or a mapping such as {column: name, map: {word: Purchase}}",
    "FieldSpec": "needs the name of a column, or a mapping such as {column: name, type: number}",
    "Pixel": "needs the number of a pixel, or a mapping such as {id: number, token: {env: NAME}}",
    "TextStep": "needs a step: trim, lower, upper, or a mapping such as {replace: {'-': ''}}",
    "Condition": "needs a condition, such as {column: Status, equals: [paid, captured]}",
    "UploadTest": "needs a mapping with row and expect",
    "SecretRef": "needs a reference: {env: NAME}, {file: /path}, {connection: id} or {store: NAME}",
}
#: Keys that users will try, and why they do not exist.
_NEVER: Mapping[str, str] = {
    "test_event_code": "belongs to one run that somebody starts by hand, never to a configuration: events sent with it "
    "count at Meta all the same. Remove it, and use `offline-capi upload UPLOAD --test-event-code CODE`",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")  # what Airflow allows in the id of a DAG
_SCALARS = {"str", "int", "float", "bool"}


def describe_errors(error: ValidationError, model: type[BaseModel], data: object) -> list[Finding]:
    """Each error once, at its position in ``data`` as the author wrote it."""
    details = error.errors(include_url=False)
    return list(dict.fromkeys((_locate_error(detail, data), _describe_error(detail, model)) for detail in details))


def check_name(name: str) -> Iterator[str]:
    """What is wrong with the name of an upload or a client."""
    if not _NAME.fullmatch(name):
        yield "needs a name of letters, digits, _ . and - (at most 100)"


def locate(loc: Loc, data: object) -> Loc:
    """``loc`` without the steps that the author did not write: short spellings and the names of union members."""
    return tuple(_keep_written_steps(loc, data))


def _keep_written_steps(loc: Loc, node: Any) -> Iterator[str | int]:
    for part in loc:
        within = part in node if isinstance(node, dict) else isinstance(part, int) and isinstance(node, list)
        if within:
            node = node[part]
            yield part


def _locate_error(detail: ErrorDetails, data: object) -> Loc:
    place = locate(detail["loc"], data)
    if (empty := _find_empty_key(detail)) is not None:
        return (*place, empty)
    return (*place, detail["loc"][-1]) if detail["type"] == "missing" else place


def _find_empty_key(detail: ErrorDetails) -> str | None:
    """The key without a value of a mapping that does not fit together: what is missing there is most likely this."""
    given = detail["input"] if detail["type"] == "value_error" else None
    return next((key for key, value in given.items() if value is None), None) if isinstance(given, dict) else None


def _describe_error(detail: ErrorDetails, model: type[BaseModel]) -> str:
    special = _SPECIAL.get(detail["type"])
    if _find_empty_key(detail) is not None:
        return _NO_VALUE
    if detail["loc"] and detail["loc"][-1] in _SCALARS and detail["type"].endswith("_type"):
        return "needs one text, one number, or true or false"
    if detail["input"] is None and detail["type"] not in ("missing", "value_error", "extra_forbidden"):
        return _NO_VALUE
    if special:
        return special(detail, model)
    return _SENTENCES.get(detail["type"], _UNFORESEEN).format(**detail.get("ctx", {}))


def _describe_unknown_key(detail: ErrorDetails, model: type[BaseModel]) -> str:
    if detail["loc"][-1] in _NEVER:
        return _NEVER[str(detail["loc"][-1])]
    allowed = sorted(_find_keys(model, detail["loc"][:-1]))
    guess = did_you_mean(str(detail["loc"][-1]), allowed)
    return f"is not a key here{guess or ';'} {_list_allowed(allowed)}"


def _describe_unknown_word(detail: ErrorDetails, _: type[BaseModel]) -> str:
    allowed = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
    word = str(detail["input"])
    return f'"{word}" is unknown{did_you_mean(word, allowed) or ";"} {_list_allowed(allowed)}'


def _list_allowed(allowed: list[str]) -> str:
    return f"one of: {', '.join(allowed)}"


def _describe_wrong_shape(detail: ErrorDetails, _: type[BaseModel]) -> str:
    return _MODELS.get(str(detail["ctx"]["class_name"]), _SENTENCES["dict_type"])


def _describe_wrong_pattern(detail: ErrorDetails, _: type[BaseModel]) -> str:
    return _PATTERNS.get(str(detail["ctx"]["pattern"]), _UNFORESEEN)


_SPECIAL: Mapping[str, Callable[[ErrorDetails, type[BaseModel]], str]] = {
    "extra_forbidden": _describe_unknown_key,
    "literal_error": _describe_unknown_word,
    "model_type": _describe_wrong_shape,
    "string_pattern_mismatch": _describe_wrong_pattern,
}


# ---------------------------------------------------------------------------------------------- which keys are allowed


def _find_keys(model: type[BaseModel], loc: Loc) -> set[str]:
    """The keys that the grammar allows at ``loc``; the name of the whole is given by its file or key."""
    here: list[Any] = [model]
    for part in loc:
        here = [deeper for annotation in here for deeper in _descend(annotation, part)]
    keys = {key for annotation in here if _is_model(annotation) for key in _map_spellings(annotation)}
    return keys - {"name"} if here and here[0] is model else keys


def _descend(annotation: Any, part: str | int) -> Iterator[Any]:
    if _is_model(annotation):
        field = _map_spellings(annotation).get(str(part))
        # The name of a union's member is a step of pydantic's that leads nowhere.
        yield from _expand_union(field.annotation) if field else [annotation] if annotation.__name__ == part else []
    elif get_origin(annotation) is dict:
        yield from _expand_union(get_args(annotation)[1])
    elif get_origin(annotation) is tuple:
        yield from _expand_union(get_args(annotation)[0])


def _map_spellings(model: Any) -> dict[str, Any]:
    """The fields of a model by the key that an author writes."""
    spellings = ((field.validation_alias, name, field) for name, field in model.model_fields.items())
    return {
        str(alias.choices[0]) if isinstance(alias, AliasChoices) else name: field for alias, name, field in spellings
    }


def _expand_union(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation, each without its decoration."""
    if get_origin(annotation) is Annotated:
        yield from _expand_union(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _expand_union(member)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
