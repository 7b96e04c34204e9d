"""What the author of a faulty folder reads: everything at once, each with its line, what is allowed, what was meant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from offline_capi.config import load_config
from offline_capi.errors import ConfigError
from offline_capi.meta.catalogue import USER_DATA_KEYS
from tests.config.good_folder import UPLOAD

BROKEN = Path(__file__).parent / "broken"
CASES = sorted(folder.name for folder in BROKEN.iterdir())


@pytest.mark.parametrize("case", CASES)
def test_a_broken_folder_is_described_word_for_word(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts are files: read them aloud when they change. Only the keys of ``user_data`` are filled in."""
    monkeypatch.chdir(BROKEN / case)

    with pytest.raises(ConfigError) as caught:
        load_config(".", environ={})

    expected = Path("expected.txt").read_text(encoding="utf-8")
    assert f"{caught.value}\n" == expected.replace("{keys of user_data}", ", ".join(USER_DATA_KEYS))


@pytest.mark.parametrize("case", CASES)
def test_no_text_of_the_validator_reaches_the_author(case: str) -> None:
    """pydantic's words for Python's types mean nothing in a YAML file."""
    text = (BROKEN / case / "expected.txt").read_text(encoding="utf-8")

    assert not re.search(r"Input should|valid (dictionary|string|tuple)|pydantic|\[type=|FieldSpec|SqlSource", text)
    assert "see `offline-capi schema`" not in text


def test_each_problem_says_file_line_and_path(write_folder) -> None:
    folder = write_folder(approvals="client: acme_bank\nsource: {path: a.csv}\nwindow:\n  colum: approved_at\n")

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    typo = next(problem for problem in caught.value.problems if problem.path == "window.colum")
    assert (typo.file, typo.line) == (str(folder / "uploads" / "approvals.yml"), 4)
    assert 'did you mean "column"?' in typo.message


def test_a_key_without_a_value_is_named_where_it_stands(write_folder) -> None:
    """Not the whole of ``window``: what is to be done there stands beside the key."""
    said = "window:\n  column:  # TODO: which says when it happened?\n  timezone: UTC\n"
    folder = write_folder(approvals=f"client: acme_bank\nsource: {{path: a.csv}}\n{said}")

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    (empty,) = (problem for problem in caught.value.problems if problem.path.startswith("window"))
    assert (empty.path, empty.line) == ("window.column", 4)
    assert empty.message.endswith("has no value; give one, or remove the key. TODO: which says when it happened?")


def test_a_folder_without_clients_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"clients\.yml  does not exist; a configuration folder holds"):
        load_config(tmp_path / "nowhere")


def test_a_missing_clients_file_is_one_problem_not_one_a_file(write_folder) -> None:
    folder = write_folder(clients=None)

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    assert [Path(problem.file).name for problem in caught.value.problems] == ["clients.yml"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("email", "em"), ("Phone", "ph"), ("first_name", "fn"), ("date-of-birth", "db"), ("zip", "zp"),
        ("postal_code", "zp"), ("state", "st"), ("city", "ct"), ("extern_id", "external_id"), ("fbcc", "fbc"),
        ("client_ip_adress", "client_ip_address"),
    ],
)  # fmt: skip
def test_a_long_name_of_a_key_is_told_metas_short_one(write_folder, written: str, meant: str) -> None:
    folder = write_folder(approvals=UPLOAD_WITH_KEY.format(key=written))

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    (problem,) = caught.value.problems
    assert problem.path == f"user_data.{written}"
    assert f'did you mean "{meant}"' in problem.message


UPLOAD_WITH_KEY = """
client: acme_bank
source: {{path: approvals.csv}}
window: {{column: approved_at}}
event: {{name: CreditApproval, id: application_id, action_source: system_generated}}
user_data: {{em: email, {key}: some_column}}
"""


@pytest.mark.parametrize(
    "query", ["SELECT 1", "SELECT 1 -- :since :until", "SELECT ':since :until'", "SELECT a::since"]
)
def test_a_query_that_ignores_its_window_is_refused(write_folder, query: str) -> None:
    folder = write_folder(approvals=UPLOAD_WITH_QUERY.format(query=query.replace("'", "''")))

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    ends = [problem.message.removeprefix("the query never uses ")[:6] for problem in caught.value.problems]
    assert ends == [":since", ":until"]


def test_a_query_that_cannot_be_read_for_certain_is_refused_with_its_line(write_folder) -> None:
    folder = write_folder(approvals=UPLOAD_WITH_QUERY.format(query="sales.sql"))
    (folder / "sql").mkdir()
    (folder / "sql" / "sales.sql").write_text("SELECT * FROM t\n\n  WHERE at >= :sinse AND at < :until")

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    (problem,) = caught.value.problems
    assert problem.path == "source.sql"
    assert problem.message.startswith('line 3: it uses :sinse, which is not given; did you mean "since"?')


def test_a_query_file_that_is_no_utf8_is_refused(write_folder) -> None:
    folder = write_folder(approvals=UPLOAD_WITH_QUERY.format(query="sales.sql"))
    (folder / "sql").mkdir()
    (folder / "sql" / "sales.sql").write_bytes(b"SELECT 'Gr\xf6\xdfe' WHERE at >= :since AND at < :until")

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    (problem,) = caught.value.problems
    assert problem.path == "source.sql"
    assert problem.message == f'the file "sales.sql" in {folder / "sql"} cannot be read as UTF-8 text'


@pytest.mark.parametrize("path", ["sales_{date.csv", "sales_date}.csv", "sales_{date:%Y{%m}}.csv"])
def test_a_brace_without_its_partner_is_refused(write_folder, path: str) -> None:
    folder = write_folder(approvals=UPLOAD.replace("path: approvals.csv", f'path: "{path}"'))

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    assert [problem.message for problem in caught.value.problems] == [
        "has a brace without its partner; write {date}, {date:%Y%m%d} or ${NAME}"
    ]


@pytest.mark.parametrize(
    ("spec", "option", "said"),
    [
        ("{column: x, type: number, unit: ms}", "unit", "has no meaning for type number, only for timestamp"),
        ("{column: x, type: number, timezone: UTC}", "timezone", "has no meaning for type number, only for timestamp"),
        (
            '{column: x, type: timestamp, decimal: ","}',
            "decimal",
            "has no meaning for type timestamp, only for number, integer and money",
        ),
        (
            '{column: x, type: integer, format: "%Y"}',
            "format",
            "has no meaning for type integer, only for timestamp and date",
        ),
        (
            "{coalesce: [{column: x, type: boolean, unit: s}, y]}",
            "unit",
            "has no meaning for type boolean, only for timestamp",
        ),
    ],
)
@pytest.mark.parametrize("key", ["em", "external_id"])
def test_an_option_that_has_no_meaning_for_its_type_is_refused_for_keys_as_well(
    write_folder, key: str, spec: str, option: str, said: str
) -> None:
    folder = write_folder(approvals=UPLOAD.replace("{em: email}", f"{{{key}: {spec}}}"))

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    (problem,) = caught.value.problems
    assert problem.path.startswith(f"user_data.{key}")
    assert problem.path.endswith(option)
    assert problem.message == said


def test_a_finding_under_client_names_its_place(write_folder) -> None:
    folder = write_folder(
        approvals=UPLOAD.replace("client: acme_bank", "client: {column: shop, map: {a: acme_bank, b: acme_bonk}}")
    )

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    (problem,) = caught.value.problems
    assert problem.path == "client.map.b"
    assert problem.message.startswith('client "acme_bonk" is not in clients.yml; did you mean "acme_bank"?')


@pytest.mark.parametrize("key", ["em", "ph", "external_id", "db", "ge", "fn", "ln", "ct", "st", "zp", "country"])
def test_a_key_that_is_hashed_already_may_be_declared_so(write_folder, key: str) -> None:
    folder = write_folder(approvals=UPLOAD.replace("{em: email}", f"{{{key}: {{column: digest, hashed: true}}}}"))

    (spec,) = load_config(folder).uploads["approvals"].user_data[key]

    assert spec.hashed


@pytest.mark.parametrize("key", ["fbc", "fbp", "client_ip_address", "client_user_agent"])
def test_a_key_that_meta_wants_as_it_is_may_not(write_folder, key: str) -> None:
    folder = write_folder(approvals=UPLOAD.replace("{em: email}", f"{{em: email, {key}: {{column: x, hashed: true}}}}"))

    with pytest.raises(ConfigError, match="Meta wants this key as it is, never hashed"):
        load_config(folder)


def test_a_query_may_use_either_form_of_its_window(write_folder) -> None:
    query = "SELECT * FROM t WHERE at >= :since AND seen < :until_utc"

    deployment = load_config(write_folder(approvals=UPLOAD_WITH_QUERY.format(query=query)))

    assert not deployment.uploads["approvals"].source.is_file


UPLOAD_WITH_QUERY = """
client: acme_bank
source: {{connection: warehouse, sql: '{query}'}}
window: {{column: approved_at}}
event: {{name: CreditApproval, id: application_id, action_source: system_generated}}
user_data: {{em: email}}
"""


@pytest.mark.parametrize(
    ("old", "new", "path", "said"),
    [
        ("client: acme_bank", "client: {column: c, map: {A: acme_bnak}}", "client.map.A", 'did you mean "acme_bank"'),
        ("client: acme_bank", "client: {column: brand, hashed: true}", "client.hashed", "belongs to user_data only"),
        ("client: acme_bank", "client: {column: brand, type: string, unit: ms}", "client.unit", "only for timestamp"),
        ("em: email", "em: {column: email, type: number, unit: ms}", "user_data.em.unit", "only for timestamp"),
        ("em: email", "em: {coalesce: [email, {column: b, type: date, decimal: ','}]}",
         "user_data.em.coalesce[1].decimal", "only for number"),
    ],
)  # fmt: skip
def test_an_option_in_a_place_where_it_means_nothing_is_named_by_its_path(
    write_folder, old: str, new: str, path: str, said: str
) -> None:
    folder = write_folder(approvals=UPLOAD.replace(old, new))

    with pytest.raises(ConfigError) as caught:
        load_config(folder)

    (problem,) = caught.value.problems
    assert (problem.path, said in problem.message) == (path, True)


def test_a_key_that_may_be_hashed_may_say_so(write_folder) -> None:
    deployment = load_config(write_folder(approvals=UPLOAD.replace("em: email", "em: {column: digest, hashed: true}")))

    assert deployment.uploads["approvals"].user_data["em"][0].hashed


@pytest.mark.parametrize(
    ("id_", "order", "user_data", "path"),
    [
        ('"o-{email}"', "key", "{em: email}", "event.id"),
        ("{column: mail}", "key", "{em: [email, {coalesce: [mail, email]}]}", "event.id"),
        ('"{last}-{born}-{zip}"', "key", "{ln: last, em: email}", "event.id"),
        ('"{born}"', "key", '{em: email, db: {column: born, format: "%d.%m.%Y"}}', "event.id"),
        ('"{key}"', "phone", "{ph: {column: phone, country: land}, em: email}", "custom_data.order_id"),
    ],
)
def test_p09_an_id_is_not_made_of_a_column_that_is_readable_identity(write_folder, id_, order, user_data, path) -> None:
    """Was: no problem, and `Jones-1977-07-07-94999` went to Meta and into the staged files."""
    text = UPLOAD.replace('"approval-{application_id}"', id_).replace("{em: email}", user_data)

    with pytest.raises(ConfigError) as caught:
        load_config(write_folder(approvals=f"{text}custom_data: {{order_id: {order}}}\n"))

    (problem,) = caught.value.problems
    assert (problem.path, "ids are never hashed" in problem.message, problem.line is not None) == (path, True, True)


@pytest.mark.parametrize(
    "user_data", ["{em: {column: key, hashed: true}}", "{em: email, country: key, external_id: key}"]
)
def test_an_id_may_be_made_of_what_is_hashed_or_finds_nobody(write_folder, user_data: str) -> None:
    text = UPLOAD.replace("{application_id}", "{key}").replace("user_data: {em: email}", f"user_data: {user_data}")

    assert load_config(write_folder(approvals=text)).uploads["approvals"]
