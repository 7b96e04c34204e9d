"""What a process that streams rows sets up before it imports anything large."""

from __future__ import annotations

import gc
import subprocess
import sys

from offline_capi.runtime.process import freeze_objects


def test_a_blocked_library_is_as_one_that_is_not_installed() -> None:
    program = """
from offline_capi.runtime.process import block_imports
block_imports("pandas", "polars")
import pyarrow
assert pyarrow.array([1]).to_pylist() == [1]
for name in ("pandas", "polars", "polars.series"):
    try:
        __import__(name)
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["pandas", "polars", "polars"]


def test_objects_are_spared_by_collections_only_inside() -> None:
    with freeze_objects():
        assert gc.get_freeze_count() > 10_000

    assert gc.get_freeze_count() == 0
