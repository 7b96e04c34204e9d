"""YAML's traps: what an author writes is what we read."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.config import load_config
from offline_capi.config.document import Places, read_document
from tests.config.good_folder import CLIENTS, UPLOAD


def read(text: str) -> object:
    document = read_document(text.encode(), "x.yml")
    assert not document.problems
    return document.data


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("NO", "NO"), ("no", "no"), ("yes", "yes"), ("on", "on"), ("Y", "Y"),  # Norway, and its friends
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("'true'", "true"),
        ("00501", "00501"), ("0x1F", "0x1F"), ("0o17", "0o17"), ("1_000", "1_000"), ("+49", "+49"),
        ("12:30:45", "12:30:45"), ("2026-11-24", "2026-11-24"), ("2026-11-24 10:00:00", "2026-11-24 10:00:00"),
        ("1e5", "1e5"), (".5", ".5"), (".inf", ".inf"), (".nan", ".nan"), ("-", ["-"]),
        ("7", 7), ("-7", -7), ("0", 0), ("2.5", 2.5), ("-0.50", -0.5), ("'7'", "7"), ("!!str 7", "7"),
        ("1234567890123456789012345", "1234567890123456789012345"),
    ],
)  # fmt: skip
def test_a_scalar_means_what_its_author_meant(written: str, meant: object) -> None:
    data = read(f"key: {written}" if written != "-" else "key: ['-']")

    assert data == {"key": meant}


def test_keys_are_texts() -> None:
    assert read("{1: a, yes: b, 2026-01-01: c, 007: d, 1.50: e}") == {
        "1": "a", "yes": "b", "2026-01-01": "c", "007": "d", "1.50": "e",
    }  # fmt: skip


def test_a_decimal_keeps_its_text_where_a_text_is_wanted(write_folder) -> None:
    upload = UPLOAD + "custom_data: {properties: {rate: {constant: 1.50}}, order_id: {column: 1.10}}\n"

    custom = load_config(write_folder(approvals=upload)).uploads["approvals"].custom_data

    assert custom.properties["rate"].constant == 1.5
    assert custom.order_id.column == "1.10"


def test_yes_and_no_are_booleans_where_one_is_wanted(write_folder) -> None:
    clients = CLIENTS.replace("{pixel_id", "{active: no, country: NO, pixel_id")

    client = load_config(write_folder(clients)).clients["acme_bank"]

    assert (client.active, client.country) == (False, "NO")


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert read_document(b"\xef\xbb\xbfkey: 1", "x.yml").data == {"key": 1}


def test_nested_aliases_cannot_fill_the_memory() -> None:
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )  # fmt: skip

    document = read_document(bomb.encode(), "x.yml")

    assert "an alias (*name)" in document.problems[0].message


@pytest.mark.parametrize("opened", ["[", "[x, [", "{a: ", "- "])
@pytest.mark.parametrize("times", [900, 200_000])
def test_no_depth_ends_the_process(opened: str, times: int) -> None:
    document = read_document((opened * times).encode(), "x.yml")

    assert document.data is None
    assert len(document.problems) == 1


def test_a_place_is_found_from_the_path_of_any_spelling() -> None:
    document = read_document(b"user_data:\n  em:\n    - email\n    - {column: other}\n  ph: phone\n", "x.yml")

    assert document.places.format_position("user_data.em[1].column") == "x.yml:4"
    assert document.places.format_position("user_data.em[0]") == "x.yml:3"
    assert document.places.format_position("user_data.ph[0].column") == "x.yml:5"
    assert document.places.format_position("nowhere") == "x.yml:1"
    assert Places("y.yml").format_position("a.b") == "y.yml:1"


# The dumper writes Unicode line ends as they are, where the reader must fold them.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029")
LEAVES = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text(CHARACTERS, max_size=8)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
)


@given(st.dictionaries(st.text("abc", min_size=1), TREES, max_size=3))
def test_what_another_library_writes_is_read_back(tree: dict[str, object]) -> None:
    """The safe dumper quotes every text that YAML could take for something else."""
    raw = yaml.safe_dump(tree, allow_unicode=True).encode()

    assert read_document(raw, "x.yml").data == tree


@given(st.binary(max_size=60) | st.text("{}[]&*!|>'\"#%@,:-? \n\tab", max_size=30).map(str.encode))
def test_no_bytes_whatever_raise(raw: bytes) -> None:
    document = read_document(raw, "x.yml")

    assert document.data is not None or document.problems or not raw.strip() or yaml.compose(raw) is not None
