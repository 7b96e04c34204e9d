"""Lines to write into a configuration file."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

__all__ = ["render_yaml_line"]


def render_yaml_line(node: Mapping[str, object]) -> str:
    """``node`` as one line of YAML: ``em: [email, {column: email_sha256, hashed: true}]``."""
    flow: str = yaml.dump(
        dict(node), Dumper=_OneLine, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False
    )
    return flow.strip()[1:-1]


class _OneLine(yaml.SafeDumper):
    """Escapes line breaks, which names of columns may hold: a line that is commented out has to stay one."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if len(f"{text}.".splitlines()) > 1 else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_OneLine.add_representer(str, _represent_text)
