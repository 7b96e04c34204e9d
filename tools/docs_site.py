"""Put the pages of the documentation site together: docs/, the generated reference, and the files at the root.

    python tools/docs_site.py         # writes .site/pages; `make docs` then builds .site/html from it

The site generator gets plain Markdown, so that it can be another one tomorrow (DECISIONS.md, "Zensical").
"""

from __future__ import annotations

import posixpath
import re
import shutil
from pathlib import Path

from reference import PAGES

ROOT = Path(__file__).parents[1]
DOCS, OUT = ROOT / "docs", ROOT / ".site/pages"
#: File of the repository → page of the site.
ROOT_PAGES = {
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "DECISIONS.md": "project/decisions.md",
    "data_samples/README.md": "project/samples.md",
}
#: File of the repository → file that is downloaded from the site.
FILES = {"constraints.txt": "reference/constraints.txt"}
#: The README shows on one page what the home page links to.
_TARGETS = {**ROOT_PAGES, **FILES, "README.md": "README.md"}
_FENCE = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def assemble_pages() -> int:
    """Write every page; the number of pages."""
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.copytree(DOCS, OUT, ignore=shutil.ignore_patterns("*.md"))
    texts = {f"docs/{path.relative_to(DOCS).as_posix()}": path.read_text("utf-8") for path in DOCS.rglob("*.md")}
    texts |= {source: (ROOT / source).read_text("utf-8") for source in (*ROOT_PAGES, *FILES)}
    texts |= {f"docs/{page}": render() for page, render in PAGES.items()}
    for source, text in texts.items():
        page = OUT / page_of(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(lead_links(text, source), encoding="utf-8")
    return len(texts)


def page_of(source: str) -> str:
    """The page that shows a file of the repository."""
    return _TARGETS.get(source) or source.removeprefix("docs/")


def lead_links(markdown: str, source: str) -> str:
    """Links between files of the repository become links between pages of the site; code stays as it is."""
    here = posixpath.dirname(page_of(source)) or "."

    def lead(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[1]))
        return f"]({posixpath.relpath(page_of(target), here)}{link[2] or ''})"

    parts = _FENCE.split(markdown)
    return "".join(part if part.lstrip().startswith("```") else _LINK.sub(lead, part) for part in parts)


if __name__ == "__main__":
    print(f"{OUT.relative_to(ROOT)}: {assemble_pages()} pages")
