from typing import Any

# Buffers are anything that has the buffer protocol, as in _sha256.pyi.
def join(
    pieces: tuple[tuple[Any, Any, Any, Any, Any, int, int], ...],
    rows: int,
    chosen: Any,
    out_offsets: Any,
    out: Any,
    /,
) -> int: ...
def take(offsets: Any, data: Any, first: int, count: int, indices: Any, out_offsets: Any, out: Any, /) -> int: ...
def write_integers(values: Any, out_offsets: Any, out: Any, /) -> int: ...
def keep_bytes(
    offsets: Any, data: Any, validity: Any, first: int, count: int, kept: Any, out_offsets: Any, out: Any, /
) -> int: ...
