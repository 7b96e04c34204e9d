"""A page as PDF, printed by a browser of this machine; there is no other program that prints as browsers show."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from offline_capi.errors import UsageError

__all__ = ["find_browser", "print_to_pdf"]

#: What browsers that print without a screen are called.
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
_TIMEOUT_S = 120


def find_browser() -> str | None:
    """The program, or none."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


def print_to_pdf(page: str, paper: str = "a4") -> bytes:
    """The PDF of a page that needs nothing from elsewhere; the browser is kept off the network.

    ``paper`` is a size of CSS, said here and not by the page: who prints that has paper of their own.

    Raises ``UsageError`` where there is no browser, or it prints nothing.
    """
    browser = find_browser()
    if browser is None:
        raise UsageError(
            "no PDF was made: there is no browser here that prints (Chromium, Chrome or Edge). Write the page with "
            "--html FILE, open it in any browser and print it"
        )
    with TemporaryDirectory(prefix="offline_capi-") as folder:
        source, target = Path(folder) / "page.html", Path(folder) / "page.pdf"
        size = f"<style>@page {{ size: {paper}; }}</style></head>"
        source.write_text(page.replace("</head>", size, 1), encoding="utf-8")
        flags = ["--headless", "--disable-gpu", "--no-pdf-header-footer", "--disable-background-networking"]
        flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder}/profile"]
        flags += ["--no-sandbox"] if os.geteuid() == 0 else []  # its sandbox does not start as root; the page is ours
        command = [browser, *flags, f"--print-to-pdf={target}", source.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603  no shell
        except (OSError, subprocess.TimeoutExpired):
            done = None
        if done is None or done.returncode or not target.exists():
            raise UsageError(
                f"no PDF was made: {browser} did not print the page. Write it with --html FILE and print it from a "
                "browser; nothing else is affected"
            )
        return target.read_bytes()
