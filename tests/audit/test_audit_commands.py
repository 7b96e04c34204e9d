"""The commands that look at people's data, as a user calls them: counts on the terminal, and never a value."""

from __future__ import annotations

import csv
import re
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.night import Night, Said
from tests.support.sandbox_server import Sandbox

SAMPLES = Path(__file__).parents[2] / "data_samples"
WIDE = {"COLUMNS": "200"}


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    return Night(tmp_path, sandbox).fill()


def _sample(file: str, column: str) -> list[str]:
    with (SAMPLES / file).open(encoding="utf-8") as rows:
        return [row[column] for row in csv.DictReader(rows) if row[column]]


def _values() -> set[str]:
    """Whatever could tell who somebody is in the samples."""
    columns = {
        "credit_approvals.csv": ("email", "phone", "customer_id", "birth_date"),
        "store_purchases_till.csv": ("email", "phone", "customer_no"),
    }
    found = {
        value.strip().lower() for file, names in columns.items() for name in names for value in _sample(file, name)
    }
    return {value for value in found if len(value) > 5}


def _leaks(said: Said) -> list[str]:
    return [value for value in _values() if value in f"{said.out}{said.err}".lower()]


def test_coverage_says_the_same_to_people_and_to_machines(night: Night) -> None:
    plain = night.run("coverage", "credit_approvals", env=WIDE)
    data = night.run("coverage", "credit_approvals", "--json")

    by_column = {one["column"]: one for one in data.json["columns"]}
    email = [by_column["email"][name] for name in ("filled", "usable", "distinct")]
    assert (plain.code, data.code, plain.err, data.err) == (0, 0, "", "")
    assert re.search(r"em +email +{} .* {} .* {} .*not an email".format(*email), plain.out)
    assert all(one["filled"] == one["usable"] + sum(one["dropped"].values()) for one in by_column.values())
    best = [key for key in ("em", "ph", "external_id", "fbc", "fbp") if key in data.json["unmapped"]]
    assert f"not mapped, and most worth it where the source has them: {best[0]}" in " ".join(plain.out.split())
    assert (_leaks(plain), _leaks(data)) == ([], [])


def test_coverage_finds_what_a_mapping_forgot(night: Night) -> None:
    """Taken out of the YAML, the columns of the samples are found again."""
    night.edit(
        "dags/uploads/credit_approvals.yml",
        ("  em: [email, secondary_email]             # both are sent\n", "  em: email\n"),
        ("  ph: {column: phone, country: country}\n", ""),
        ("  zp: zip\n", ""),
        ('  db: {column: birth_date, format: ["%Y-%m-%d", "%m/%d/%Y"]}\n', ""),
    )

    said = night.run("coverage", "credit_approvals", env=WIDE)

    assert said.code == 0
    for line in ("em: [email, secondary_email]", "ph: {column: phone, country: country}", "zp: zip", "db: birth_date"):
        assert line in said.out
    assert _leaks(said) == []


def test_profile_diff_counts_and_exits_with_zero(night: Night) -> None:
    plain = night.run("profile", "diff", "store_purchases", "--to", "sdk", env=WIDE)
    data = night.run("profile", "diff", "store_purchases", "--to", "sdk", "--json")

    country = next(one for one in data.json["columns"] if one["key"] == "country")
    assert (plain.code, data.code) == (0, 0)
    assert (data.json["profile"], data.json["other_profile"]) == (["meta"], "sdk")
    assert country["only_now"] > 0  # "United Kingdom": the SDK raises
    assert re.search(
        rf"country +country +{country['filled']} +{country['usable_now']} +{country['usable_then']}", plain.out
    )
    assert (_leaks(plain), _leaks(data)) == ([], [])


def test_external_ids_are_checked_against_what_the_browser_sends(night: Night) -> None:
    """The sample bank sends its ids raw. For a pixel that hashes them it says what to write; then they agree."""
    ids = _sample("credit_approvals.csv", "customer_id")[:80]
    night.write("raw.csv", "\n".join(["external_id", *ids]))
    night.write("hashed.csv", "\n".join(["external_id", *(sha256(one.encode()).hexdigest() for one in ids)]))

    equal = night.run("external-id", "check", "acme_bank", "--browser", "raw.csv", "--json")
    different = night.run("external-id", "check", "acme_bank", "--browser", "hashed.csv", env=WIDE)
    night.edit("dags/clients.yml", ("external_id: {send: raw}", "external_id: {send: sha256}"))
    mended = night.run("external-id", "check", "acme_bank", "--browser", "hashed.csv", env=WIDE)

    assert (equal.code, equal.json["agrees"], equal.json["uploads"]) == (0, True, ["credit_approvals"])
    assert different.code == 1
    assert "✗ ids are not equal" in different.out
    assert "write into clients.yml:  acme_bank: {external_id: {send: sha256}}" in different.out
    assert (mended.code, "✓ ids are equal" in mended.out) == (0, True)
    assert [_leaks(one) for one in (equal, different, mended)] == [[], [], []]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["profile", "diff", "credit_approvals", "--to", "skd"], "one of: meta, sdk, param_builder"),
        (["external-id", "check", "acme_bnk", "--browser", "raw.csv"], 'did you mean "acme_bank"?'),
        (
            ["external-id", "check", "acme_bank", "--browser", "x", "--upload", "store_purchases"],
            "maps external_id for acme",
        ),
    ],
)
def test_what_cannot_be_carried_out_ends_with_two(night: Night, arguments: list[str], word: str) -> None:
    said = night.run(*arguments)

    assert (said.code, said.out) == (2, "")
    assert word in said.err.replace("\n", " ")
    assert "Traceback" not in said.err
