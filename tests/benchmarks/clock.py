"""How long something takes in this process, on a machine that does other things too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def best(work: Callable[[], Any], tries: int = 5) -> float:
    """Seconds of the quickest of several runs."""
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
