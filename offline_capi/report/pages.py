"""The environment in which pages are rendered: every value is escaped and passes the border for words."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from offline_capi.runtime.border import visible

__all__ = ["make_page_environment"]


def make_page_environment(*, lstrip_blocks: bool = False) -> Environment:
    """The templates of this room; a name that a template does not have is an error."""
    return Environment(
        finalize=lambda value: visible(value, keep="\n\t") if type(value) is str else value,
        loader=PackageLoader("offline_capi.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=lstrip_blocks,
    )
