"""Columns that an upload reads, the JSON Schema that editors read, and the keys that Meta reads."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from offline_capi.config import USER_DATA_KEYS, generate_json_schema, list_columns_used, load_config
from offline_capi.config.document import read_document
from offline_capi.config.fields import FieldSpec
from offline_capi.config.schema import as_json_text

DAGS = Path(__file__).parents[2] / "dags"

CREDIT_APPLICATION = {
    "application_id", "customer_id", "first_name", "last_name", "email", "secondary_email", "phone", "country", "state",
    "city", "zip", "birth_date", "gender", "credit_limit", "currency_name", "product", "approved_at",
    "marketing_consent", "ltv",
}  # fmt: skip
STORE_FILE = {
    "receipt_no", "line_no", "store_brand", "purchased_at", "email", "phone", "country", "first_name", "last_name",
    "zip", "city", "customer_no", "amount", "currency", "items", "loyalty", "consent",
}  # fmt: skip


@pytest.mark.parametrize(
    ("upload", "columns"), [("credit_approvals", CREDIT_APPLICATION), ("store_purchases", STORE_FILE)]
)
def test_the_sample_uploads_read_every_column_of_their_sources(upload: str, columns: set[str]) -> None:
    assert set(list_columns_used(load_config(DAGS).uploads[upload])) == columns


def test_every_use_of_a_column_has_a_path_and_a_line() -> None:
    deployment = load_config(DAGS)
    upload = deployment.uploads["store_purchases"]

    paths = list_columns_used(upload)["country"]

    assert paths == ("user_data.ph.country", "user_data.country")
    lines = (DAGS / "uploads" / "store_purchases.yml").read_text(encoding="utf-8").splitlines()
    for path in paths:
        file, _, line = deployment.locate(upload, path).rpartition(":")
        assert file == str(DAGS / "uploads" / "store_purchases.yml")
        assert "country" in lines[int(line) - 1]


def test_columns_are_found_in_every_form_of_a_field(write_folder) -> None:
    upload = """
client: {column: a}
source: {path: x.csv}
window: {column: b}
event: {name: Purchase, id: "{c}-{d}", action_source: other, opt_out: e}
user_data: {em: [f, g], ph: {coalesce: [h, {template: "+{i}{j}"}], country: k}}
custom_data:
  contents: {id: l, quantity: {constant: 1}}
  properties: {p: {column: m, map: {x: y}}}
consent: {column: n, equals: yes}
"""

    used = list_columns_used(load_config(write_folder(x=upload)).uploads["x"])

    assert used == {
        "a": ("client",), "b": ("window.column",), "c": ("event.id",), "d": ("event.id",), "e": ("event.opt_out",),
        "f": ("user_data.em[0]",), "g": ("user_data.em[1]",), "h": ("user_data.ph.coalesce[0]",),
        "i": ("user_data.ph.coalesce[1]",), "j": ("user_data.ph.coalesce[1]",), "k": ("user_data.ph.country",),
        "l": ("custom_data.contents.id",), "m": ("custom_data.properties.p",), "n": ("consent.column",),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("template", "columns"),
    [
        ("order-{id}", ("id",)),
        ("{a}{b}-{a}", ("a", "b")),
        ("{order no}", ("order no",)),
        ("approval-{id:integer}", ("id",)),
        ("visit-{day:date}", ("day",)),
    ],
)
def test_a_template_names_its_columns(template: str, columns: tuple[str, ...]) -> None:
    assert FieldSpec.model_validate(template).columns == columns


@pytest.mark.parametrize("template", ["{", "{}", "{a", "a}{b}", "{{a}}", "{ a }", "{a:05d}", "{a!r}", "no columns"])
def test_a_template_of_another_shape_is_refused(template: str) -> None:
    with pytest.raises(ValidationError):
        FieldSpec.model_validate({"template": template})


@pytest.mark.parametrize("kind", ["upload", "clients"])
def test_the_schemas_for_editors_are_those_of_the_grammar(kind: str) -> None:
    """Differ? ``python -m offline_capi.config.schema dags/schema`` writes them anew."""
    written = (DAGS / "schema" / f"{kind}.schema.json").read_text(encoding="utf-8")

    assert written == as_json_text(generate_json_schema()[kind])


def test_the_schema_knows_the_short_spellings_and_every_key() -> None:
    schema = generate_json_schema()["upload"]

    assert schema["$defs"]["FieldSpec"]["anyOf"][0]["type"] == "string"
    assert set(schema["properties"]["user_data"]["properties"]) == set(USER_DATA_KEYS)
    assert {"type": "array"}.items() <= schema["properties"]["user_data"]["properties"]["em"]["anyOf"][1].items()
    assert "name" not in schema["properties"]
    assert json.loads(as_json_text(schema)) == schema


def test_the_sample_files_tell_editors_their_schema() -> None:
    for path in (DAGS / "clients.yml", *(DAGS / "uploads").glob("*.yml")):
        comment, _, schema = path.read_text(encoding="utf-8").splitlines()[0].partition("$schema=")

        assert comment == "# yaml-language-server: "
        assert (path.parent / schema).is_file()


def test_the_keys_are_those_of_meta() -> None:
    """D:parameters/customer-information-parameters: eleven hashed or hashable keys may be lists, all others not."""
    several = {key for key, facts in USER_DATA_KEYS.items() if facts.several}

    assert several == {"em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country", "external_id"}
    assert not USER_DATA_KEYS["fbc"].hashable
    assert USER_DATA_KEYS["dobd"].hashable


@pytest.mark.parametrize("path", ["clients.yml", "uploads/credit_approvals.yml", "uploads/store_purchases.yml"])
def test_the_sample_files_keep_to_their_schema(path: str) -> None:
    schema = generate_json_schema()["clients" if path == "clients.yml" else "upload"]
    jsonschema.Draft202012Validator.check_schema(schema)

    faults = list(jsonschema.Draft202012Validator(schema).iter_errors(_data(DAGS / path)))

    assert faults == []


@pytest.mark.parametrize("typo", ["scheduel: x", "custom_data: {valeu: x}", "user_data: {email: x}", "max_age: 7"])
def test_the_schema_refuses_what_the_loader_refuses(typo: str) -> None:
    good = _data(DAGS / "uploads" / "credit_approvals.yml")
    faulty = {**good, **read_document(typo.encode(), "typo.yml").data}

    assert list(jsonschema.Draft202012Validator(generate_json_schema()["upload"]).iter_errors(faulty))


def _data(path: Path) -> dict[str, object]:
    return read_document(path.read_bytes(), str(path)).data
