"""The package's compiled modules, each of which another way can do without: ``pip install`` builds them if there is a C
compiler, and goes on without them if there is none.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

__all__ = ["load_compiled"]


def load_compiled(name: str) -> Any:
    """The module, or ``None`` where it was not built or ``OFFLINE_CAPI_KERNEL`` is ``off``."""
    if os.environ.get("OFFLINE_CAPI_KERNEL") == "off":
        return None
    try:
        return import_module(f"offline_capi.runtime.{name}")
    except ImportError:
        return None
