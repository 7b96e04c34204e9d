"""The compiled modules touch no memory but what they were given: their tests again, built with gcc's sanitizers.

AddressSanitizer sees a read or a write one byte beside a buffer, and of memory that was given back; the sanitizer of
undefined behaviour sees shifts, overflows and addresses that C leaves open. Both end the process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import offline_capi.runtime

SOURCES = sorted(Path(offline_capi.runtime.__file__).parent.glob("_*.c"))
TESTS = [
    str(Path(__file__).with_name(f"test_{name}.py"))
    for name in ("automaton", "sha256", "join", "lookup", "keys", "quotes", "column_bytes")
]
FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g", "-fPIC", "-shared")
#: Puts the modules of a folder before those that were installed.
PLUGIN = """
import os, offline_capi.runtime
offline_capi.runtime.__path__.insert(0, os.environ["SANITIZED"])
"""
#: The control: a fence that counts more keys than it has, and the line that keeps the search from looking for them.
GUARD = "if (stop > number) continue;"
OVERFLOW = """
import numpy as np, sanitized_modules
from offline_capi.runtime import _keys
starts, rests, high = np.array([0, 0, 3], np.uint32), np.ones(2, np.uint16), np.array([-1]).astype(np.uint64)
_keys.search(starts, rests, 0, high, np.zeros(1, np.int32), np.zeros(1, np.int32))
"""
#: The exit status of a process that a sanitizer ends.
ENDED_BY_SANITIZER = 99


def build(source: Path, folder: Path, include: Path | None = None) -> None:
    """A module with sanitizers in the folder."""
    headers = [f"-I{one}" for one in (include or source.parent, sysconfig.get_path("include"))]
    target = folder / f"{source.stem}.abi3.so"
    subprocess.run(["gcc", *FLAGS, *headers, source, "-o", target], check=True)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the modules are those with sanitizers. Without a compiler there are no modules."""
    if shutil.which("gcc") is None or not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        pytest.skip("needs gcc and Python's headers (Debian: gcc, python3-dev)")
    folder = tmp_path_factory.mktemp("sanitized")
    for source in SOURCES:
        build(source, folder)
    (folder / "sanitized_modules.py").write_text(PLUGIN, encoding="utf-8")
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    return {
        **os.environ,
        "SANITIZED": str(folder),
        "PYTHONPATH": str(folder),
        "LD_PRELOAD": library.stdout.strip(),
        "ASAN_OPTIONS": f"detect_leaks=0:exitcode={ENDED_BY_SANITIZER}",
        "UBSAN_OPTIONS": f"print_stacktrace=1:exitcode={ENDED_BY_SANITIZER}",
        "PYTHONMALLOC": "malloc",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }


def test_no_memory_beside_what_was_given_is_touched(sanitized: dict[str, str]) -> None:
    options = ["-q", "-p", "sanitized_modules", "-p", "no:cacheprovider", "-n", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *TESTS], env=sanitized, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_a_read_behind_a_buffer_would_be_seen(sanitized: dict[str, str], tmp_path: Path) -> None:
    source = next(one for one in SOURCES if one.stem == "_keys")
    text = source.read_text(encoding="utf-8")
    assert GUARD in text
    changed = tmp_path / source.name
    changed.write_text(text.replace(GUARD, ""), encoding="utf-8")

    build(changed, tmp_path, source.parent)

    for folder, status in ((sanitized["SANITIZED"], 0), (str(tmp_path), ENDED_BY_SANITIZER)):
        done = subprocess.run(
            [sys.executable, "-c", OVERFLOW],
            env={**sanitized, "SANITIZED": folder},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr[-3000:]
    assert "heap-buffer-overflow" in done.stderr
