"""Pages in a real browser, inside frames as Airflow's UI puts them."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import IO, Any

__all__ = [
    "choose_and_go_back",
    "find_accessibility_faults",
    "find_browser",
    "look_at",
    "print_page",
    "requested",
]

#: Airflow's UI as far as a page sees it: its theme is a class of the outermost element, and the page a frame in it.
_AIRFLOW = """<!doctype html><html class="{theme}"><body>{frames}
<pre id="seen"></pre>
<script>
const look = (frame) => {{
  const page = frame.contentDocument, styles = frame.contentWindow.getComputedStyle(page.body);
  return {{
    paper: styles.backgroundColor,
    ink: styles.color,
    cut: [...page.querySelectorAll(".wide, .tiles dd")].filter((part) => !part.closest("details"))
      .filter((part) => part.scrollWidth > part.clientWidth + 1)
      .map((part) => part.getAttribute("aria-label") ?? part.textContent),
    too_wide: page.documentElement.scrollWidth > page.documentElement.clientWidth,
    plots: [...page.querySelectorAll("svg")].map((plot) => plot.getBoundingClientRect().width),
    outside: [...page.querySelectorAll("svg text")].filter((text) => {{
      const box = text.getBoundingClientRect(), plot = text.closest("svg").getBoundingClientRect();
      return box.left < plot.left - 1 || box.right > plot.right + 1 || box.bottom > plot.bottom + 1;
    }}).map((text) => text.textContent),
    loaded: frame.contentWindow.performance.getEntriesByType("resource").map((one) => one.name),
  }};
}};
window.onload = () => {{
  const seen = [...document.querySelectorAll("iframe")].map((frame) => [frame.name, look(frame)]);
  document.getElementById("seen").textContent = JSON.stringify(Object.fromEntries(seen));
}};
</script></body></html>"""
_FRAME = (
    '<iframe name="{name}" src="{name}.html" style="width: {width}px; height: 900px; border: 0"'
    ' sandbox="allow-scripts allow-same-origin allow-forms"></iframe>'
)


def find_browser() -> str | None:
    """A browser that runs without a screen, or none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def look_at(pages: Mapping[str, str], folder: Path, *, theme: str, width: int) -> dict[str, dict[str, Any]]:
    """How pages, by name, look in Airflow under a theme: colours, what does not fit, what they load from elsewhere."""
    browser = find_browser()
    assert browser is not None
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    frames = "".join(_FRAME.format(name=name, width=width) for name in pages)
    (folder / "airflow.html").write_text(_AIRFLOW.format(theme=theme, frames=frames), encoding="utf-8")
    with _served(folder) as (url, _):
        shown = _open(browser, folder, f"{url}/airflow.html")
    seen = re.search(r'<pre id="seen">(.+?)</pre>', shown)
    assert seen is not None, shown[-500:]
    return dict(json.loads(unescape(seen.group(1))))


def requested(pages: Mapping[str, str], folder: Path) -> list[str]:
    """What a browser asks the server of the pages for when it shows them in Airflow, the pages themselves included."""
    browser = find_browser()
    assert browser is not None
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    frames = "".join(_FRAME.format(name=name, width=1280) for name in pages)
    (folder / "airflow.html").write_text(_AIRFLOW.format(theme="light", frames=frames), encoding="utf-8")
    with _served(folder) as (url, asked):
        _open(browser, folder, f"{url}/airflow.html")
    return asked


_BACK = """<script>window.onload = async () => {{
  const frame = document.querySelector("iframe"), field = () => frame.contentDocument.querySelector("[name={field}]");
  const loaded = (go) => new Promise((done) => {{ frame.addEventListener("load", done, {{ once: true }}); go(); }});
  field().value = {value};
  field().dispatchEvent(new Event("change", {{ bubbles: true }}));  // else no browser remembers it
  await loaded(() => field().form.requestSubmit());
  const asked = frame.contentWindow.location.search;
  await loaded(() => history.back());
  await new Promise((done) => setTimeout(done, 100));  // what a browser remembers, it fills in after that
  document.getElementById("seen").textContent = JSON.stringify([asked, field().value]);
}};</script>"""


def choose_and_go_back(page: str, folder: Path, *, field: str, value: str) -> str:
    """What a field of the page's form shows after somebody chose a value, sent the form and went back."""
    browser = find_browser()
    assert browser is not None
    action = re.search(r'<form [^>]*action="([^"]+)"', page)
    assert action is not None
    for name in ("page.html", action[1]):
        (folder / name).write_text(page, encoding="utf-8")
    frame = _FRAME.format(name="page", width=1216)
    script = _BACK.format(field=field, value=json.dumps(value))
    (folder / "airflow.html").write_text(f'<!doctype html>{frame}<pre id="seen"></pre>{script}', encoding="utf-8")
    with _served(folder) as (url, _):
        shown = _open(browser, folder, f"{url}/airflow.html")
    seen = re.search(r'<pre id="seen">(.+?)</pre>', shown)
    assert seen is not None, shown[-500:]
    asked, found = json.loads(unescape(seen.group(1)))
    assert f"{field}={value}" in asked
    return str(found)


#: Of axe's findings those that keep people from reading a page.
_SERIOUS = ("serious", "critical")
#: Pages one after the other, each in a frame: only there does a page of Airflow's follow its theme.
_AXE_OF_FRAMES = """<script>window.onload = async () => {{
  const found = {{}};
  for (const frame of document.querySelectorAll("iframe")) {{
    const {{ violations }} = await frame.contentWindow.axe.run();
    found[frame.name] = violations.filter((one) => {serious}.includes(one.impact))
      .map((one) => `${{one.id}}: ${{one.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}}`);
  }}
  document.getElementById("seen").textContent = JSON.stringify(found);
}};</script>"""
#: A policy that a page has for itself would keep axe out.
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_BROKEN = "<!doctype html><html lang='en'><head><title>x</title></head><body><img src=x></body></html>"


def find_accessibility_faults(pages: Mapping[str, str], folder: Path, *, theme: str) -> dict[str, list[str]]:
    """What axe finds serious or critical in each page, with the rule and the elements: in a frame, as Airflow puts it,
    with Airflow's theme and in a browser that prefers the same.

    A page with a fault goes along each time, as proof that axe looked.
    """
    import axe_core_python

    browser = find_browser()
    assert browser is not None
    shutil.copy(Path(axe_core_python.__file__).parent / "axe.min.js", folder / "axe.js")
    pages = {**pages, "broken": _BROKEN}
    for name, page in pages.items():
        head, mark, rest = _POLICY.sub("", page).partition("</head>")
        (folder / f"{name}.html").write_text(f'{head}<script src="/axe.js"></script>{mark}{rest}', encoding="utf-8")
    frames = "".join(_FRAME.format(name=name, width=1280) for name in pages)
    airflow = (
        f'<!doctype html><html class="{theme}"><body style="background: {_PAPERS[theme]}">{frames}<pre id="seen"></pre>'
    )
    (folder / "airflow.html").write_text(
        f"{airflow}{_AXE_OF_FRAMES.format(serious=json.dumps(_SERIOUS))}</body></html>"
    )
    preferred = ["--blink-settings=preferredColorScheme=0"] * (theme == "dark")
    with _served(folder) as (url, _):
        shown = _open(browser, folder, f"{url}/airflow.html", *preferred)
    seen = re.search(r'<pre id="seen">(.+?)</pre>', shown, re.DOTALL)
    assert seen is not None, shown[-500:]
    found = dict(json.loads(unescape(seen.group(1))))
    assert found.keys() == pages.keys()
    assert found.pop("broken") != []
    return found


#: What Airflow's UI has behind a page.
_PAPERS = {"light": "#fff", "dark": "#161d2b"}


def _open(browser: str, folder: Path, url: str, *more: str) -> str:
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom", *more)
    command = [browser, *flags, f"--user-data-dir={folder / 'profile'}", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@contextmanager
def _served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The folder's address, and the paths that are asked for."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Recording, asked, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


class _Recording(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, "": "text/html"}  # noqa: RUF012  as it is there

    def __init__(self, asked: list[str], *arguments: Any, **named: Any) -> None:
        self._asked = asked
        super().__init__(*arguments, **named)

    def do_GET(self) -> None:
        self._asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def print_page(page: Path, folder: Path) -> bytes:
    """The PDF of a page as a person prints it: without the option "background graphics"."""
    browser = find_browser()
    assert browser is not None
    (to_browser, write), (read, from_browser) = os.pipe(), os.pipe()
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe")
    wrapped = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    command = ["bash", "-c", wrapped, "bash", browser, *flags, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    process = subprocess.Popen(command, pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL)
    os.close(to_browser)
    os.close(from_browser)
    with open(write, "wb", buffering=0) as commands, open(read, "rb") as answers:  # noqa: PTH123  file descriptors
        try:
            target = _command(commands, answers, "Target.createTarget", url=page.as_uri())["targetId"]
            session = _command(commands, answers, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            _command(commands, answers, "Page.enable", session)
            state = {"expression": "location.protocol + document.readyState"}
            while (
                _command(commands, answers, "Runtime.evaluate", session, **state)["result"]["value"] != "file:complete"
            ):
                time.sleep(0.1)
            printed = _command(commands, answers, "Page.printToPDF", session, printBackground=False)
        finally:
            process.terminate()
            process.wait(timeout=30)
    return base64.b64decode(printed["data"])


_numbers = count(1)


def _command(commands: IO[bytes], answers: IO[bytes], method: str, session: str | None = None, **params: Any) -> Any:
    """One command of the DevTools protocol, and its result."""
    number = next(_numbers)
    message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
    commands.write(json.dumps(message).encode() + b"\0")
    while True:
        text = b"".join(iter(lambda: answers.read(1), b"\0"))
        answer = json.loads(text)
        if answer.get("id") == number:
            assert "error" not in answer, answer
            return answer["result"]
