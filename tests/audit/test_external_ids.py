"""``external-id check``: whether the server's ids equal the browser's, and what would make them equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
import yaml

from offline_capi.audit import ExternalIdCheck, check_external_ids, read_browser_ids
from offline_capi.errors import UsageError
from tests.audit.project import CANARY, Project

COUNT = 60


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _project(home: Path, server: Callable[[int], str], policy: dict[str, Any], **spec: Any) -> Project:
    rows = [{"customer": server(at)} for at in range(COUNT)]
    return Project(home, {"external_id": {"column": "customer", **spec}}, rows, client={"external_id": policy})


def _checked(project: Project, browser: list[str]) -> ExternalIdCheck:
    with project.opened() as (upload, window, services):
        return check_external_ids("acme", pa.array(browser), [(upload, window)], services)


class Case(NamedTuple):
    """How the server holds an id, its policy, what the browser makes of it, and what has to be written or changed."""

    server: Callable[[int], str]
    policy: dict[str, Any]
    browser: Callable[[int], str]
    write: dict[str, Any]
    remedy: str = ""


def _number(at: int) -> str:
    return str(4_711 + 7 * at)


RAW, HASHED = {"send": "raw"}, {"send": "sha256"}
CASES = {
    "raw, not hashed": Case(lambda at: f"User_{at}", HASHED, lambda at: f"User_{at}", {"policy": RAW}),
    "hashed, not raw": Case(lambda at: f"User_{at}", RAW, lambda at: _sha(f"User_{at}"), {"policy": HASHED}),
    "lower-case": Case(
        lambda at: f"User_{at}", HASHED, lambda at: _sha(f"user_{at}"), {"policy": {"lower": True}}
    ),
    "lower-case, raw": Case(
        lambda at: f"User_{at}", HASHED, lambda at: f"user_{at}", {"policy": {"send": "raw", "lower": True}}
    ),
    "trimmed": Case(
        lambda at: f" User_{at} ", {"trim": False}, lambda at: _sha(f"User_{at}"), {"policy": HASHED}
    ),
    "with blanks": Case(
        lambda at: f" User_{at} ", {}, lambda at: _sha(f" User_{at} "), {"policy": {"trim": False}}
    ),
    "capitals": Case(lambda at: f"User_{at}", HASHED, lambda at: _sha(f"USER_{at}"), {}, "upper("),
    "zeros stripped": Case(
        lambda at: f"00{_number(at)}", HASHED, _number,
        {"policy": RAW, "external_id": {"column": "customer", "type": "integer"}},
    ),
    "zeros stripped, hashed": Case(
        lambda at: f"00{_number(at)}", HASHED, lambda at: _sha(_number(at)),
        {"external_id": {"column": "customer", "type": "integer"}},
    ),
    "padded": Case(_number, RAW, lambda at: _number(at).zfill(10), {}, "lpad(..., 10"),
    "padded, hashed": Case(_number, HASHED, lambda at: _sha(_number(at).zfill(12)), {}, "lpad(..., 12"),
    "prefix": Case(
        _number, HASHED, lambda at: f"C-{_number(at)}", {"policy": RAW, "external_id": "C-{customer}"}
    ),
    "prefix taken off": Case(
        lambda at: f"C-{_number(at)}", HASHED, lambda at: _sha(_number(at)), {}, 'in the source: take "C-" off'
    ),
    "another prefix and padding": Case(
        lambda at: f"C-{_number(at)}", RAW, lambda at: f"web_{_number(at).zfill(8)}", {}, 'put "web_" in front'
    ),
    "float in the browser": Case(
        _number, HASHED, lambda at: _sha(f"{_number(at)}.0"), {}, "whole number in the browser"
    ),
    "uuid without dashes": Case(
        lambda at: f"{at:08X}-0000-4000-8000-{at:012X}", HASHED, lambda at: f"{at:08x}000040008000{at:012x}",
        {"policy": RAW}, "without dashes",
    ),
    "MD5": Case(lambda at: f"User_{at}", HASHED, lambda at: _md5(f"User_{at}"), {}, "no other digest"),
    "twice": Case(lambda at: f"User_{at}", HASHED, lambda at: _sha(_sha(f"User_{at}")), {}, "hash once"),
    "digest in capitals": Case(
        lambda at: f"User_{at}", HASHED, lambda at: _sha(f"User_{at}").upper(), {}, "lower case in the browser"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_the_browser_does_is_told_with_what_to_write(tmp_path: Path, name: str) -> None:
    """A third of the browser's ids are of people that the server does not know; the rest is found in one form."""
    case = CASES[name]
    browser = [case.browser(at) for at in range(COUNT // 2)] + [case.browser(at) for at in range(5_000, 5_015)]

    found = _checked(_project(tmp_path, case.server, case.policy), browser)

    (one,) = found.found
    written = {
        "policy": yaml.safe_load(one.write.get("clients.yml", "acme: {}"))["acme"].get("external_id"),
        "external_id": yaml.safe_load(one.write.get("uploads/sales.yml", "{}")).get("external_id"),
    }
    assert not found.agrees
    assert (one.ids, one.now) == (COUNT // 2, False)
    assert {key: value for key, value in written.items() if value} == case.write
    assert case.remedy in one.remedy
    assert bool(case.remedy) == bool(one.remedy)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.remedy])
def test_ids_are_equal_once_it_is_written(tmp_path: Path, name: str) -> None:
    """Where the YAML can do it: the lines, taken over, give ids that agree as they are sent."""
    case = CASES[name]
    browser = [case.browser(at) for at in range(COUNT)]
    project = _project(tmp_path, case.server, case.policy)

    (one,) = _checked(project, browser).found
    project.client |= yaml.safe_load(one.write.get("clients.yml", "acme: {}"))["acme"]
    project.user_data |= yaml.safe_load(one.write.get("uploads/sales.yml", "{}"))
    again = _checked(project, browser)

    assert again.agrees
    assert (again.found[0].ids, again.browser_ids, again.server_ids) == (COUNT, COUNT, COUNT)


@pytest.mark.parametrize(
    ("policy", "sent"), [(RAW, str), (HASHED, _sha), ({"lower": True}, lambda one: _sha(one.lower()))]
)
def test_equal_ids_agree(tmp_path: Path, policy: dict[str, Any], sent: Callable[[str], str]) -> None:
    browser = [sent(f"User_{at}") for at in range(0, COUNT, 2)]

    found = _checked(_project(tmp_path, lambda at: f"User_{at}", policy), browser)

    assert found.agrees
    assert (found.found[0].ids, found.found[0].write, found.found[0].remedy) == (COUNT // 2, {}, "")


def test_a_browser_of_two_minds_does_not_agree(tmp_path: Path) -> None:
    """Half of its pages hash and half do not: both are told, with their numbers."""
    browser = [f"User_{at}" if at % 3 else _sha(f"User_{at}") for at in range(COUNT)]

    found = _checked(_project(tmp_path, lambda at: f"User_{at}", RAW), browser)

    assert not found.agrees
    assert found.browser_kinds == {"raw": 40, "sha256": 20}
    assert [(one.now, one.ids) for one in found.found] == [(True, 40), (False, 20)]


def test_strangers_have_nothing_in_common(tmp_path: Path) -> None:
    found = _checked(_project(tmp_path, lambda at: f"User_{at}", RAW), [f"visitor-{at}" for at in range(900, 950)])

    assert (found.agrees, found.found) == (False, ())


def test_a_column_of_digests_is_compared_with_the_hash_of_raw_ids(tmp_path: Path) -> None:
    project = _project(tmp_path, lambda at: _sha(f"User_{at}"), HASHED, hashed=True)

    (one,) = _checked(project, [f"User_{at}" for at in range(COUNT)]).found

    assert one.ids == COUNT
    assert "hash the id in the browser" in one.remedy


def test_a_profile_that_heeds_no_policy_is_part_of_the_answer(tmp_path: Path) -> None:
    """The SDK's way sends ids raw whatever the policy says: hashing needs profile ``meta``."""
    project = _project(tmp_path, lambda at: f"User_{at}", HASHED)
    project.client["profile"] = "sdk"
    browser = [_sha(f"User_{at}") for at in range(COUNT)]

    (one,) = _checked(project, browser).found
    project.client |= yaml.safe_load(one.write["clients.yml"])["acme"]

    assert not one.now
    assert _checked(project, browser).agrees


def test_rows_of_other_clients_are_left_alone(tmp_path: Path) -> None:
    """One table, two clients: only the client's own ids are compared."""
    rows = [{"customer": f"User_{at}", "shop": "acme" if at % 2 else "other"} for at in range(COUNT)]
    project = Project(
        tmp_path, {"external_id": "customer"}, rows, upload={"client": {"column": "shop"}}, client={"external_id": RAW}
    )

    found = _checked(project, [f"User_{at}" for at in range(COUNT)])

    assert (found.server_ids, found.found[0].ids) == (COUNT // 2, COUNT // 2)


def test_without_ids_on_the_server_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="acme has no external_id in these windows"):
        _checked(_project(tmp_path, lambda _: "n/a", RAW), ["User_1"])


@pytest.mark.parametrize("name", CASES)
def test_p09_no_id_is_in_the_answer(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    server = [case.server(at) for at in range(COUNT)]
    browser = [case.browser(at) for at in range(COUNT)]

    found = _checked(_project(tmp_path, case.server, case.policy), browser)

    said = f"{found!r}{json.dumps(found.to_json())}"
    assert [one for one in {*server, *browser} if one in said] == []


# ---------------------------------------------------------------------------------------------- the browser's file

IDS = ["User_1", "User 2", "3"]
URL = "https://www.facebook.com/tr/?id=1&ev=PageView&ud[external_id]=User_1&noscript=1"
FILES = {
    "a CSV": ("ids.csv", "external_id\nUser_1\nUser 2\n3\n"),
    "a CSV with more in it": ("ids.csv", "time;ud[external_id];x\n1;User_1;\n2;User 2;\n3;3;\n"),
    "a CSV from a spreadsheet": ("ids.csv", "\ufeffExternal_ID,x\r\n\"User_1\",1\r\n\"User 2\",2\r\n3,\r\n"),
    "a CSV of request addresses": ("ids.csv", f"url\n{URL}\nhttps://f.co/tr?ud%5Bexternal_id%5D=User%202\n/tr?external_id=3\n"),
    "addresses alone": ("ids.txt", f"{URL}\nhttps://f.co/tr?ud%5Bexternal_id%5D=User+2\nhttps://f.co/tr?ud[external_id]=3\n"),
    "test events": (
        "e.json",
        json.dumps({"data": [
            {"event_name": "PageView", "user_data": {"external_id": ["User_1"], "em": [f"{CANARY}@example.com"]}},
            {"event_name": "Lead", "user_data": {"external_id": "User 2"}},
            {"advanced_matching": {"ud[external_id]": 3}},
        ]}),
    ),
    "JSON lines": ("e.jsonl", '{"external_id": "User_1"}\n{"ud": {"external_id": "User 2"}}\n\n{"external_id": 3}\n'),
    "an HTTP archive": (
        "e.har",
        json.dumps({"log": {"entries": [
            {"request": {"url": URL}},
            {"request": {"queryString": [{"name": "ud[external_id]", "value": "User 2"}]}},
            {"request": {"postData": {"text": "id=1&ud%5Bexternal_id%5D=3&ev=Lead"}}},
        ]}}),
    ),
    "lists written as text": ("e.json", json.dumps([{"external_id": '["User_1", "User 2", 3]'}])),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_ids_are_found_in_whatever_the_browser_side_can_save(tmp_path: Path, name: str) -> None:
    file, text = FILES[name]
    path = tmp_path / file
    path.write_text(text, encoding="utf-8", newline="")

    assert read_browser_ids(path).to_pylist() == IDS


def test_long_numbers_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    path.write_text('[{"external_id": 12345678901234567890}, {"external_id": 1.50}]', encoding="utf-8")

    assert read_browser_ids(path).to_pylist() == ["12345678901234567890", "1.50"]


@pytest.mark.parametrize("text", ["", "email\ncanary@example.com\n", '{"em": "canary"}', "{canary", "external_id\n\n"])
def test_p09_a_file_without_ids_is_refused_without_quoting_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ids.csv"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(UsageError) as refused:
        read_browser_ids(path)

    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("e.json", '[{"name": ["external_id"]}, {"name": {}}, "https://[/?external_id=User_1", {"external_id": {}}]'),
        ("e.csv", "url\nhttps://[/tr?x=1&external_id=User_1#external_id=2\n"),
        ("e.csv", "external_id,x\n\nUser_1\n"),
    ],
)
def test_odd_files_give_the_ids_that_are_in_them(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8")

    assert read_browser_ids(tmp_path / file).to_pylist() == ["User_1"]


def test_a_file_with_an_endless_cell_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("external_id\n" + CANARY * 50_000, encoding="utf-8")

    with pytest.raises(UsageError, match="no CSV that can be read") as refused:
        read_browser_ids(tmp_path / "e.csv")

    assert CANARY not in str(refused.value)


def test_p09_the_front_of_a_few_ids_is_no_prefix(tmp_path: Path) -> None:
    """Names with numbers behind them: what few ids share could be a person's, and is never shown."""
    server = [f"{CANARY if at < 9 else 'u' * (at % 7 + 1)}{at}" for at in range(COUNT)]
    browser = [f"web-{at}" for at in range(COUNT)]

    found = _checked(_project(tmp_path, lambda at: server[at], RAW), browser)

    assert CANARY not in f"{found!r}{json.dumps(found.to_json())}"


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"external_id\n\xff\xfe")

    for name, problem in (("x.csv", "not UTF-8"), ("missing.csv", "cannot be read")):
        with pytest.raises(UsageError, match=problem):
            read_browser_ids(tmp_path / name)


def test_an_id_that_went_through_a_column_of_floats_agrees_by_itself(tmp_path: Path) -> None:
    """pandas writes whole numbers beside nulls as 1001.0: the fraction is none of the id's."""
    browser = [_sha(_number(at)) for at in range(COUNT)]

    found = _checked(_project(tmp_path, lambda at: f"{_number(at)}.0", HASHED), browser)

    assert found.agrees
