"""Texts with the names of a run in braces: ``{upload}-{since:%Y-%m-%d}`` for ``upload_tag`` and ``partner_agent``.

A fixed set of names and nothing else: no attribute, no index, no conversion. Only dates take a format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from offline_capi.runtime.nearest import did_you_mean

__all__ = ["AGENT_NAMES", "MAX_TAG_CHARS", "TAG_NAMES", "fill_in", "find_template_problem"]

#: What ``upload_tag`` may name: the window's ends are in the upload's zone.
TAG_NAMES = ("upload", "client", "since", "until", "run", "environment")
#: What ``partner_agent`` may name: it is agreed with Meta, and stands in requests that belong to no run.
AGENT_NAMES = ("client", "environment")
#: Ours: an event must fit into a request together with it. Meta documents no limit (D:offline-events).
MAX_TAG_CHARS = 100

_DATES = ("since", "until")
_DATE_FORMAT = "%Y-%m-%d"
_NAME = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_DIRECTIVES = re.compile(r"(?:%[YymdjHMBbUVGu%]|[^%])*")


def find_template_problem(text: str, names: tuple[str, ...]) -> str | None:
    """What is wrong with the braces of a text; ``None`` where nothing is."""
    for name, form in _NAME.findall(text):
        if name not in names:
            guess = did_you_mean(name, names) or ";"
            return f'"{{{name}}}" is no name that can stand here{guess} one of: {", ".join(names)}'
        if form and name not in _DATES:
            return f'"{{{name}}}" takes no format; only since and until are dates'
        if form and not _DIRECTIVES.fullmatch(form):
            return f'the format "{form}" has a directive that is none of %Y %m %d %j %H %M and the like'
    if re.search(r"[{}]", _NAME.sub("", text)):
        return "has a brace without its partner"
    return None


def fill_in(text: str, names: Mapping[str, str], dates: Mapping[str, datetime] = MappingProxyType({})) -> str:
    """The text with the names filled in."""

    def fill(match: re.Match[str]) -> str:
        moment = dates.get(match[1])
        return moment.strftime(match[2] or _DATE_FORMAT) if moment else names[match[1]]

    return _NAME.sub(fill, text)
