"""SHA-256 of columns: compiled or not, by the processor's instructions or portable, the bytes are hashlib's."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_capi.runtime import sha256
from offline_capi.runtime.sha256 import hash_to_hex, hash_to_keys

ROOT = Path(__file__).parents[2]
TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=200)), max_size=40)
#: A block of SHA-256 is 64 bytes, and its padding takes at least nine.
AROUND_BLOCKS = [0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129, 5_000]


@pytest.fixture(params=["chosen", "portable", "polars-hash"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each way in turn. Where there is no compiler, ``test_the_kernel_is_built_where_a_compiler_is`` says so."""
    if request.param == "polars-hash":
        monkeypatch.setattr(sha256, "_sha256", None)
    elif sha256._sha256 is not None:
        sha256._sha256.choose_kernel(request.param == "portable")
    yield request.param
    if sha256._sha256 is not None:
        sha256._sha256.choose_kernel(False)


def expect_hex(values: list[str | None]) -> list[str | None]:
    return [None if one is None else hashlib.sha256(one.encode()).hexdigest() for one in values]


def expect_keys(values: list[str | None]) -> list[bytes | None]:
    return [None if one is None else hashlib.sha256(one.encode()).digest()[:16] for one in values]


@pytest.mark.parametrize("size", AROUND_BLOCKS)
def test_every_length_around_a_block(kernel: str, size: int) -> None:
    values = ["x" * size, None, "é" * size, "", "x" * size]

    assert hash_to_hex(pa.array(values)).to_pylist() == expect_hex(values)
    assert hash_to_keys(pa.array(values)).to_pylist() == expect_keys(values)


def test_what_stands_around_a_value_does_not_count(kernel: str) -> None:
    """Short values are read as whole blocks, and so are bytes of their neighbours: not behind the last one."""
    values = [chr(0xFF) * (size % 3) + "~" * size for size in range(130)]

    for column in (values, [*values, "z" * 64], [one for value in values for one in (value, "\x00" * 9)]):
        assert hash_to_hex(pa.array(column)).to_pylist() == expect_hex([*column])
        assert hash_to_keys(pa.array(column)).to_pylist() == expect_keys([*column])


AT_THE_END_OF_MEMORY = """
import ctypes, mmap, sys
import pyarrow as pa
from offline_capi.runtime.sha256 import hash_to_hex

memory, page = mmap.mmap(-1, 2 * mmap.PAGESIZE), mmap.PAGESIZE
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + page), page, 0) == 0  # whoever reads there is killed
for size in range(70):
    memory[page - 2 * size : page] = b"x" * 2 * size
    data = pa.foreign_buffer(start + page - 2 * size, 2 * size, memory)
    ends = pa.array([0, size, 2 * size], pa.int32()).buffers()[1]
    sys.stdout.write(hash_to_hex(pa.StringArray.from_buffers(2, ends, data))[1].as_py() + "\\n")
"""


def test_nothing_is_read_behind_a_column() -> None:
    done = subprocess.run([sys.executable, "-c", AT_THE_END_OF_MEMORY], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.split()) == (0, expect_hex(["x" * size for size in range(70)])), done.stderr


@given(values=TEXTS, start=st.integers(0, 40), length=st.integers(0, 40))
def test_the_digests_are_hashlibs_for_any_slice(values: list[str | None], start: int, length: int) -> None:
    column = pa.array(values, pa.string()).slice(start, length)

    for way in [sha256._sha256, None] if sha256._sha256 is not None else [None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sha256, "_sha256", way)
            assert hash_to_hex(column).to_pylist() == expect_hex(values[start : start + length])
            assert hash_to_keys(column).to_pylist() == expect_keys(values[start : start + length])


@pytest.mark.parametrize("column", [pa.array([], pa.string()), pa.nulls(3, pa.string()), pa.array([""])])
def test_columns_without_bytes(kernel: str, column: pa.StringArray) -> None:
    assert hash_to_hex(column).to_pylist() == expect_hex(column.to_pylist())
    assert hash_to_keys(column).to_pylist() == expect_keys(column.to_pylist())


def test_buffers_that_do_not_fit_are_refused() -> None:
    if sha256._sha256 is None:
        return
    good = pa.array(["abc", "d"])
    _, offsets, data = good.buffers()
    out, ends = bytearray(128), bytearray(12)

    for arguments in (
        (offsets, data, b"", 0, 3, bytearray(16), bytearray(192)),  # more values than offsets
        (offsets, b"ab", b"", 0, 2, ends, out),  # offsets beyond the data
        (offsets, data, b"", 0, 2, ends, bytearray(127)),
        (offsets, data, b"", -1, 2, ends, out),
        (bytes(reversed(offsets.to_pybytes()[:12])), data, b"", 0, 2, ends, out),  # offsets that fall
    ):
        with pytest.raises(ValueError, match=r"shorter|outside|too short"):
            sha256._sha256.hash_to_hex(*arguments)


def test_the_kernel_is_built_where_a_compiler_is() -> None:
    """``pip install`` built it unless there is no compiler; an environment variable switches it off."""
    script = "from offline_capi.runtime.sha256 import KERNEL; print(KERNEL)"

    def run(**more: str) -> str:
        command, env = [sys.executable, "-c", script], {**os.environ, **more}
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=env).stdout.strip()

    assert run(OFFLINE_CAPI_KERNEL="off") == "polars-hash"
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    if (shutil.which("gcc") or shutil.which("cc")) and headers.exists():
        assert run() in {"sha-ni", "armv8", "portable"}
