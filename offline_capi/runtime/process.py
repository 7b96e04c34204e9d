"""Set up a process that streams millions of rows: small, and busy with rows rather than with itself.

Imports nothing heavy: it has to run before Arrow and polars are imported, for they look at their settings then.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import TypeVar

__all__ = [
    "ALLOCATOR_SETTINGS",
    "PYTHON",
    "block_imports",
    "freeze_objects",
    "run_in_thread",
    "set_up_process",
    "set_up_reader",
    "set_up_worker",
]

T = TypeVar("T")

#: How this package starts another Python. Without -P it would import from the current folder first: a file of a
#: landing folder that is named as a module of the standard library would run.
PYTHON = (sys.executable, "-P")

# glibc malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
#: Bytes from which on memory goes back to the system when it is freed: more than a block of a CSV or a request takes,
#: whose next ones find it. glibc raises its own limit with what it has seen, up to 32 MiB: then holes in the heap stay
#: that the next array does not fit into.
_RETURNED_BYTES = 4 << 20
#: Free bytes at the end of the heap that stay there. Fixing the limit above fixes this one at 128 KiB: each batch would
#: give its scratch memory back and fault it in again, page by page, which is a quarter of reading a CSV.
_KEPT_FREE_BYTES = 8 << 20
#: The same for a process that only reads: what a batch took is there for the next one. Larger than any column of one.
_KEPT_BY_READER_BYTES = 64 << 20

#: Environment variables that Arrow, polars and numpy read when they are imported.
ALLOCATOR_SETTINGS = {
    # Arrow's default keeps what it freed, some 100 MiB more in a night.
    "ARROW_DEFAULT_MEMORY_POOL": "jemalloc",
    # Freed pages go back after five seconds, so that the next batch finds them: to fault a page in anew takes 0.7 µs on
    # a virtual machine. Columns of bodies (16 MiB) lie with all else, since jemalloc gives the pages of its separate
    # arena for large blocks back at once.
    "JE_ARROW_MALLOC_CONF": "dirty_decay_ms:5000,muzzy_decay_ms:0,oversize_threshold:0",
    # Stages run beside each other already; handing each small kernel to other threads costs a third more.
    "POLARS_MAX_THREADS": "1",
    # numpy's library for matrices, of which there is none here: its threads wait for work in a loop for a while.
    "OPENBLAS_NUM_THREADS": "1",
}


def set_up_process() -> None:
    """Settings of Arrow, polars and glibc for one process, unless the environment has its own."""
    for name, value in ALLOCATOR_SETTINGS.items():
        os.environ.setdefault(name, value)
    _set_malloc(
        {
            _M_ARENA_MAX: 1,  # one pool for all threads instead of one for each
            _M_MMAP_THRESHOLD: _RETURNED_BYTES,
            _M_TRIM_THRESHOLD: _KEPT_FREE_BYTES,
        }
    )


def set_up_reader() -> None:
    """For a process that reads a database and sends columns through a pipe: it keeps the memory of a batch."""
    _set_malloc({_M_MMAP_THRESHOLD: _KEPT_BY_READER_BYTES, _M_TRIM_THRESHOLD: _KEPT_BY_READER_BYTES})


def _set_malloc(options: Mapping[int, int]) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for option, value in options.items():
            libc.mallopt(option, value)


def set_up_worker() -> None:
    """The same for a process that somebody else has started, with Arrow imported already: a worker of Spark.

    Others may use it after us, so pandas stays.
    """
    set_up_process()
    import pyarrow as pa

    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())
        pa.jemalloc_set_decay_ms(100)


def run_in_thread(work: Callable[[], T]) -> T:
    """``work()``, on a thread of its own: for what makes large columns in a process where nothing else does.

    The main thread has jemalloc's first arena, which 5.3.0 sets up before it reads ``oversize_threshold``: pages go
    back at once wherever 8 MiB of them lie together. A sixth of normalising and building is to fault them in again.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@contextmanager
def freeze_objects() -> Iterator[None]:
    """Collections of garbage inside look only at what is made inside.

    The modules of a run are more than 100,000 objects: to walk through them takes 70 ms, which the first rows cause.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def block_imports(*names: str) -> None:
    """Keep optional libraries out of this process, which cannot have them later then.

    Arrow imports pandas, where there is one, as soon as it looks at a list: 35 MiB and a fifth of a second, for nothing
    where no transform hook asks for it. ADBC's drivers import polars in the same way: 20 MiB and a tenth of a second.
    """
    sys.meta_path.insert(0, _Blocked(frozenset(names)))


class _Blocked:
    """To be found and not to be had: who looks whether a library is there takes no offence when it is not used."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        return ModuleSpec(name, self) if name in self._names else None  # type: ignore[arg-type]  # a loader by methods

    def create_module(self, spec: ModuleSpec) -> None:
        raise ImportError(spec.name)

    def exec_module(self, module: object) -> None:
        """Never reached."""
