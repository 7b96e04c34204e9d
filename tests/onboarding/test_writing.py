"""The files as written: valid whatever columns are called, and as a person lays them out."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from offline_capi.audit.names import key_of
from offline_capi.config import load_config
from offline_capi.model import SourceRows
from offline_capi.onboarding import Answers, Origin, propose, read_project, save, write_up
from offline_capi.onboarding.sample import Sample
from tests.onboarding.test_proposals import NOW, ROWS, table

NAME = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=30)
ODD = st.one_of(
    st.sampled_from(
        [
            "NO",
            "yes",
            "2026-11-23",
            "1e5",
            "~",
            "a: b",
            "a #b",
            "it's",
            'say "a"',
            "{a}",
            "[a]",
            "USD",
            "&a",
            "*",
            "#",
            "? a",
        ]
    ),
    NAME.map(str.strip).filter(bool),
)


def written(columns: dict[str, object], folder: Path, **said: object) -> str:
    for kind in ("clients", "upload"):  # so that they need not be made
        (folder / "schema").mkdir(exist_ok=True)
        (folder / f"schema/{kind}.schema.json").touch()
    sample = Sample.collect([SourceRows(pa.RecordBatch.from_pydict(columns), "sales", 1)])
    origin = Origin("sales", "rows", {"path": "sales.csv"}, {}, sample)
    answers = Answers("acme", "1234567890", "Purchase", "physical_store", "UTC", **said)
    files = write_up("sales", propose(origin, answers, NOW), origin, answers, read_project(folder, {}))
    save({path: text for path, text in files.items() if path.suffix == ".yml"})
    return files[folder / "uploads/sales.yml"]


@settings(max_examples=25)
@example(["NO", "yes", "GE"])  # a currency in a column that is named as genders are
@example(["NO", "yes", "UA"])  # as user agents are, which may be any text
@example(["NO", "yes", "'"])
@given(
    st.lists(ODD.filter(lambda name: name not in table() and key_of(name) is None), unique=True, min_size=3, max_size=3)
)
def test_a_column_keeps_its_name_whatever_it_is(names: list[str]) -> None:
    """It is neither a boolean, a template, a currency nor another line of YAML."""
    mail, time, plain = names
    usual = table(email=None, sold_at=None, currency=None)
    columns = {mail: [f"p{at}@example.com" for at in range(ROWS)], time: ["2026-11-23 10:00:00"] * ROWS,
               plain: ["EUR"] * ROWS}  # fmt: skip

    with TemporaryDirectory() as folder:
        written({**usual, **columns}, Path(folder), time=time, keys={mail: "em"})
        upload = load_config(folder, environ={}).uploads["sales"]

    assert upload.user_data["em"][0].columns == (mail,)
    assert upload.window.column == time
    assert upload.custom_data.currency is not None
    assert upload.custom_data.currency.columns == (plain,)


def test_a_name_with_a_line_break_writes_no_line_of_its_own(tmp_path: Path) -> None:
    name = "total\nclient: somebody_else\n"
    text = written(table(amount=None, **{name: ["12,345"] * ROWS}), tmp_path)

    assert not any(line.startswith("client: somebody") for line in text.splitlines())


def test_comments_of_neighbours_stand_in_one_column(tmp_path: Path) -> None:
    text = written(table(first_name=["Zelda"] * ROWS, surname=["Sayre"] * ROWS), tmp_path)

    people = text.partition("user_data:")[2].partition("\n\n")[0].splitlines()[1:]
    assert len({line.index("#") for line in people}) == 1
    assert len(people) == 3
