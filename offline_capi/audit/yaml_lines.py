"""Lines to write into a configuration file."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

__all__ = ["yaml_line"]


def yaml_line(node: Mapping[str, object]) -> str:
    """``node`` as one line of YAML: ``em: [email, {column: email_sha256, hashed: true}]``."""
    flow: str = yaml.safe_dump(dict(node), default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return flow.strip()[1:-1]
