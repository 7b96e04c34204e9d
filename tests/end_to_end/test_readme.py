"""README and the page that explains an upload say what is true. Commands and links are checked in test_docs."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from offline_capi.config import load_config

README = Path("README.md").read_text(encoding="utf-8")
UPLOAD_PAGE = Path("docs/how-to/write-an-upload.md").read_text(encoding="utf-8")


def test_every_make_target_that_is_named_exists():
    makefile = Path("Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"make ([a-z]+)", README))

    assert {"demo", "test", "docs"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_balance_shown_is_that_of_the_golden_events():
    golden = Path("data_samples/golden/credit_approvals.jsonl").read_text(encoding="utf-8").splitlines()
    shown = re.search(r"(\d+) read = (\d+) sent \+ (\d+) invalid \+ (\d+) suppressed", README)
    assert shown is not None
    read, sent, invalid, suppressed = map(int, shown.groups())

    assert read == sent + invalid + suppressed
    assert sent == len(golden) - 1  # one event of the golden file repeats the id of another


def test_the_example_is_part_of_the_real_upload():
    """Each key of the example stands in the file it claims to be, so that a reader finds what was promised."""
    example = yaml.safe_load(UPLOAD_PAGE.split("```yaml")[1].split("```")[0])
    real = yaml.safe_load(Path("dags/uploads/credit_approvals.yml").read_text(encoding="utf-8"))

    assert set(example) <= set(real)
    assert set(example["user_data"]) <= set(real["user_data"])
    assert example["event"] == real["event"]
    assert example["window"] == real["window"]


def test_the_example_is_a_valid_upload(tmp_path: Path):
    (tmp_path / "uploads").mkdir()
    (tmp_path / "sql" / "extract").mkdir(parents=True)
    query = Path("sql/extract/credit_approvals.sql").read_text(encoding="utf-8")
    (tmp_path / "sql" / "extract" / "credit_approvals.sql").write_text(query, encoding="utf-8")
    (tmp_path / "clients.yml").write_text(Path("dags/clients.yml").read_text(encoding="utf-8"), encoding="utf-8")
    example = UPLOAD_PAGE.split("```yaml")[1].split("```")[0]
    (tmp_path / "uploads" / "credit_approvals.yml").write_text(example, encoding="utf-8")

    assert load_config(tmp_path, environ={}).uploads["credit_approvals"].event.action_source.constant
