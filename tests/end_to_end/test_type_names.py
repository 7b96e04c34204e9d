"""A type name means one thing, wherever in the package one meets it."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "offline_capi"


def test_no_two_public_types_share_a_name() -> None:
    homes = defaultdict(list)
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(file.relative_to(PACKAGE)))

    assert len(homes) > 300
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
