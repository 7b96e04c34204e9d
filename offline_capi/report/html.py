"""The report as one HTML file without external assets, for a browser, a mail or Airflow's run tab."""

from __future__ import annotations

import re
from datetime import UTC

from markupsafe import Markup, escape

from offline_capi.model import FATE_TEXTS, Fate
from offline_capi.report.pages import make_page_environment
from offline_capi.report.quality import Quality
from offline_capi.report.run_report import RunReport
from offline_capi.runtime.border import visible

__all__ = ["render_html"]


def render_html(report: RunReport, *, head: str = "", quality: Quality | None = None) -> str:
    """A complete page; every value is escaped. ``head`` is HTML for its head, from whoever puts it into a frame.

    ``quality`` is what Meta counts of the run's events.
    """
    environment = make_page_environment()
    environment.filters["code"] = _mark_commands
    environment.filters["words"] = lambda text: str(text).replace("_", " ")
    environment.filters["moment"] = lambda moment: f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    environment.filters["n"] = lambda number: f"{number:,}"
    return environment.get_template("report.html.j2").render(
        head=head,
        quality=quality,
        report=report,
        tally=report.tally,
        fates=[fate for fate in Fate if report.tally.count(fate)],
        fate_texts=FATE_TEXTS,
    )


def _mark_commands(text: str) -> Markup:
    """What stands between backticks, a command or a setting, in the type of code; all else is escaped text."""
    parts = (visible(part, keep="\n\t") for part in re.split(r"`([^`\n]+)`", text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)
    )
