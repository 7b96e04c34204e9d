"""A Purchase whose amount is empty, in the words that exports have for it: the report says what counts as empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_capi.pipeline import plan_upload
from tests.audit.project import Project


@pytest.mark.parametrize("empty", ["NaN", "nan", "NULL", "#N/A", "\\N", "", "  "])
def test_an_amount_that_an_export_calls_empty_is_named_as_that(tmp_path: Path, empty: str) -> None:
    rows = [{"mail": "a1@x.com", "total": "5.00"}, {"mail": "b2@x.com", "total": empty}]
    upload = {"custom_data": {"value": {"column": "total", "type": "number"}, "currency": "USD"}}

    with Project(tmp_path, {"em": "mail"}, rows, upload=upload).opened() as (one, window, services):
        (line,) = plan_upload(one, window, services, check_access=False).reasons()

    assert (line.reason, line.field, line.rows) == ("purchase_without_value", "custom_data.value", 1)
    assert "the value is empty" in line.what
    assert "NaN, NULL and the other entries of source.null_values count as empty" in line.fix


@pytest.mark.parametrize("word", ["Infinity", "-inf", "+NAN "])
def test_an_amount_that_is_no_number_and_no_word_for_empty_is_named_as_that(tmp_path: Path, word: str) -> None:
    rows = [{"mail": "a1@x.com", "total": "5.00"}, {"mail": "b2@x.com", "total": word}]
    upload = {"custom_data": {"value": {"column": "total"}, "currency": "USD"}}

    with Project(tmp_path, {"em": "mail"}, rows, upload=upload).opened() as (one, window, services):
        (line,) = plan_upload(one, window, services, check_access=False).reasons()

    assert (line.reason, line.rows) == ("not_finite", 1)
