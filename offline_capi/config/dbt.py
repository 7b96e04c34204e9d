"""How dbt names what it builds and reads: ``ref('model')`` and ``source('crm', 'orders')``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["DbtName", "parse_dbt_name"]

_TEXT = r"'[^'\"{}\\]+'|\"[^'\"{}\\]+\""
_CALL = re.compile(
    rf"(?:\{{\{{\s*)?(ref|source)\s*\(\s*({_TEXT})\s*(?:,\s*({_TEXT})\s*)?(?:,\s*(?:v|version)\s*=\s*"
    rf"({_TEXT}|\d+(?:\.\d+)?)\s*)?\)(?:\s*\}}\}})?"
)
_FORMS = "ref('model'), ref('package', 'model'), ref('model', v=2) or source('source', 'table')"


@dataclass(frozen=True, slots=True)
class DbtName:
    """``group`` is the source of a table, or the package of a model where it is given."""

    kind: Literal["ref", "source"]
    group: str | None
    name: str
    version: str | None = None

    def __str__(self) -> str:
        """The name as dbt's own files write it, always in the same spelling."""
        texts = [f"'{text}'" for text in (self.group, self.name) if text]
        return f"{self.kind}({', '.join([*texts, *([f'v={self.version}'] if self.version else [])])})"


def parse_dbt_name(text: str) -> DbtName:
    """Raises ``ValueError`` where the text is neither call."""
    match = _CALL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"needs {_FORMS}, in quotes as a whole where it stands between braces and has a comma")
    kind, *texts = match.groups()
    first, second, version = (one and one.strip("'\"") for one in texts)
    if kind == "source":
        if second is None or version is not None:
            raise ValueError("source(...) takes two names: source('crm', 'orders')")
        return DbtName("source", first, second)
    return DbtName("ref", first if second else None, second or first or "", version)
