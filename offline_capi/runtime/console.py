"""A terminal that shows text and obeys none of it.

File names, ids of events and what a database or Meta says may hold terminal escapes, line ends or marks that reorder a
line. They become visible here, where everything passes, whatever it was put together from: ``rich`` lets most of them
through. Line ends within a cell are made visible by ``report.tables``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from offline_capi.runtime.border import visible

__all__ = ["Console"]

#: What our own texts hold, and a table's layout is made of.
_LAYOUT = "\n\t"


#: The level that a line has in a log, by the colour that it has on a terminal.
_LEVELS = {"red": "error", "yellow": "warning"}
#: So wide that no line of a log is folded.
_LOG_WIDTH = 100_000


class Console(RichConsole):
    """``rich``'s console, of whose text every control and format character is made visible.

    With ``logs_json`` each text that is printed is one JSON object a line: ``time``, ``level``, ``message``.
    """

    logs_json = False

    @property
    def is_terminal(self) -> bool:
        """A log shows no bars and no colours."""
        return not self.logs_json and super().is_terminal

    def print(self, *objects: Any, style: Any = None, **options: Any) -> None:
        if not self.logs_json:
            super().print(*objects, style=style, **options)
            return
        text = io.StringIO()
        Console(file=text, width=_LOG_WIDTH, color_system=None, force_terminal=False).print(*objects, **options)
        if message := "\n".join(line.rstrip() for line in text.getvalue().splitlines()).strip():
            self.log_line(_LEVELS.get(str(style or ""), "info"), message)

    def log_line(self, level: str, message: str, **more: str) -> None:
        """Write one line of the log."""
        line = {"time": datetime.now(UTC).isoformat(), "level": level, **more, "message": message}
        self.file.write(f"{json.dumps(line)}\n")
        self.file.flush()

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of ``renderable``; those that steer the terminal are ``rich``'s own and stay."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(visible(segment.text, keep=_LAYOUT), segment.style)
