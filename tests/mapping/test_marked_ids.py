"""Letters that Meta's Lead Ads export puts before ids, phones and postal codes, and ids that a spreadsheet rounded."""

from __future__ import annotations

import pyarrow as pa
import pytest

from offline_capi.mapping.ids import count_rounded_to_15, strip_decoration
from tests.mapping.mapped import mapped, source


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("l:1180000000000101", "1180000000000101"),
        ("ag:120208000000000001", "120208000000000001"),
        ("as:120208000000000001", "120208000000000001"),
        ("c:120208000000000001", "120208000000000001"),
        ("f:710000000000001", "710000000000001"),
        ("p:+4930901820", "+4930901820"),
        ("p:6175550101", "6175550101"),
        ("z:02134", "02134"),
        ("z:SW1A 1AA", "SW1A 1AA"),
        ("p:<test lead: dummy data for phone_number>", "<test lead: dummy data for phone_number>"),
        ("l:<test lead: dummy data for id>", "<test lead: dummy data for id>"),
        ("z:<test lead: dummy data for zip_code>", "<test lead: dummy data for zip_code>"),
        # What only looks like it.
        ("9:30", "9:30"),
        ("p:x", "p:x"),
        ("l:12", "l:12"),
        ("L:1180000000000101", "L:1180000000000101"),
        ("x:1180000000000101", "x:1180000000000101"),
        ("z:", "z:"),
        ("::", "::"),
        (":", ":"),
        ("", ""),
    ],
)
def test_marks_of_metas_export_are_undone_where_that_is_certain(text: str, bare: str) -> None:
    column = pa.array(["first", text, None, "last"])

    assert strip_decoration(column).to_pylist() == ["first", bare, None, "last"]
    assert strip_decoration(column.slice(1, 2)).to_pylist() == [bare, None]
    assert strip_decoration(pa.array([text])).to_pylist() == [bare]


def test_ids_and_people_of_metas_export_are_mapped_without_marks() -> None:
    rows = mapped(
        source(id=["l:1180000000000101"], phone=["p:+4930901820"], ad=["ag:120208000000000001"]),
        event={"name": "Lead", "id": "lead-{id}", "action_source": "system_generated"},
        user_data={"lead_id": "id", "ph": "phone"},
        custom_data={"properties": {"ad": "ad"}},
    )

    assert rows.event["event_id"].to_pylist() == ["lead-1180000000000101"]
    assert [column.values.to_pylist() for key in ("lead_id", "ph") for column in rows.identity[key]] == [
        ["1180000000000101"],
        ["+4930901820"],
    ]
    assert rows.custom["ad"].to_pylist() == ["120208000000000001"]


@pytest.mark.parametrize(
    ("ids", "count"),
    [
        ([str(10**15 + 10 * at) for at in range(6)], 6),  # one zero each, of six
        ([str(10**15 + 10 * at) for at in range(5)], 0),  # chance: one in a hundred thousand
        ([str(10**17 + 1_000 * at) for at in range(2)], 2),  # three zeros each, of two
        (["118000000000010000000"], 1),  # six zeros of one
        ([str(10**15 + 10 * at) for at in range(6)] + ["42", "", "n/a"], 6),  # the short ones keep their digits
        ([str(10**15 + 10 * at) for at in range(6)] + [str(10**15 + 7)], 0),
        (["1000000000000010"] * 50, 0),  # one id in fifty rows is one zero
        ([], 0),
        ([None], 0),
    ],
)
def test_a_column_that_was_rounded_to_15_digits_is_told_from_chance(ids: list[str | None], count: int) -> None:
    assert count_rounded_to_15(pa.array(ids, pa.string())) == count
