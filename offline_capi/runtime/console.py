"""A terminal that shows text and obeys none of it.

File names, ids of events and what a database or Meta says may hold terminal escapes, line ends or marks that reorder a
line. They become visible here, where everything passes, whatever it was put together from: ``rich`` lets most of them
through. Line ends within a cell are made visible by ``report.tables``.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from offline_capi.runtime.border import visible

__all__ = ["Console"]

#: What our own texts hold, and a table's layout is made of.
_LAYOUT = "\n\t"


class Console(RichConsole):
    """``rich``'s console, of whose text every control and format character is made visible."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of ``renderable``; those that steer the terminal are ``rich``'s own and stay."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text, keep=_LAYOUT), segment.style)
