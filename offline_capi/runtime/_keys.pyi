from typing import Any

# Buffers are anything that has the buffer protocol, as in _sha256.pyi.
def add(
    slots: Any, high: Any, low: Any, used: int, new_high: Any, new_low: Any, out_places: Any, out_rows: Any, /
) -> int: ...
def search(starts: Any, rests: Any, skipped_bits: int, high: Any, out_rows: Any, out_places: Any, /) -> int: ...
