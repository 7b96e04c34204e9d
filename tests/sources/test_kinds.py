"""Adding a format or a kind of source is a row here and there; these tests name the table that still lacks it."""

from __future__ import annotations

from typing import get_args

import pytest

from offline_capi.config.source import FileSource, SourceSettings
from offline_capi.sources.base import READERS
from offline_capi.sources.files import FORMATS
from offline_capi.sources.files.locate import FORMAT_FACTS

FORMATS_OF_SETTINGS = [name for name in get_args(FileSource.model_fields["format"].annotation) if name != "auto"]
KINDS = [get_args(tagged)[0] for tagged in get_args(get_args(SourceSettings)[0])]
FACTS = ("selects_rows_itself", "keeps_row_numbers", "has_declared_names", "has_declared_types", "describe")


@pytest.mark.parametrize("name", sorted({*FORMATS_OF_SETTINGS, *FORMATS, *FORMAT_FACTS}))
def test_every_format_is_in_every_table(name: str) -> None:
    assert name in FORMATS_OF_SETTINGS, f"config/source.py: FileSource.format lacks {name}"
    assert name in FORMATS, f"sources/files/__init__.py: FORMATS does not say how {name} is read"
    assert name in FORMAT_FACTS, f"sources/files/locate.py: FORMAT_FACTS does not say how {name} is recognised"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_has_a_reader_and_its_facts(kind: type) -> None:
    assert kind in READERS, f"sources/base.py: READERS has no reader for {kind.__name__}"
    lacking = [fact for fact in FACTS if not hasattr(kind, fact)]
    assert not lacking, f"config/source.py: {kind.__name__} does not say {', '.join(lacking)}"
