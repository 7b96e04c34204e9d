"""Make the documentation's pictures from real runs: terminals as SVG, pages as PNG.

    python tools/pictures.py             # writes docs/pictures
    python tools/pictures.py --terminal  # without the pages: needs neither chromium nor Airflow

The project is that of docs/tutorials/first-event.md, against the sandbox. What differs from run to run (days, ids of
runs, seconds, ports) is replaced by words of the same length, so that a second run changes nothing.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs/pictures"
#: Its name stands in the pictures: the ledger's URL names it.
HOME = Path(tempfile.gettempdir()) / "first"
DAY, NEXT_DAY = "2026-11-23", "2026-11-24"
UPLOAD = "sales"
INIT = (
    f"init {UPLOAD}_{{day}}.csv --client acme --pixel 1234567890 --event Purchase --action-source physical_store "
    "--timezone America/New_York --country US --yes"
)
#: Picture → columns of the terminal, and the command.
TERMINALS: Mapping[str, tuple[int, str]] = {
    "init": (80, INIT),
    "upload": (80, f"upload {UPLOAD} --since {{day}}"),
    "upload-wide": (120, f"upload {UPLOAD} --since {{day}}"),
    "rejects": (80, "rejects last"),
}
#: Picture → pixels.
PAGES: Mapping[str, tuple[int, int]] = {"report": (960, 760), "airflow-runs": (1080, 310), "airflow-run": (960, 500)}
EXPORT = """order_id,email,phone,paid_at,total,currency
A-1001,mara@example.com,+1 415 555 2671,{day} 09:15:00,120.50,USD
A-1002,ken@example.org,,{day} 11:40:00,35.00,USD
A-1003,lia@example.net,+1 415 555 2672,{day} 17:05:00,,USD
"""
#: What is replaced: ids of runs, moments of this run, and how long something took.
RUN_ID, TOOK, AGE = r"\b\d{8}T\d{6}-[0-9a-f]{8}\b", r"\b\d+\.\d s\b", r"\b\d+ hours before"
SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
{styles}
</style>
<defs>{lines}</defs>
<rect fill="#0c1017" width="{width}" height="{height}" rx="8"/>
<g transform="translate({terminal_x}, 10)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def make_pictures(*, pages: bool) -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    OUT.mkdir(exist_ok=True)
    day = (datetime.now(UTC) - timedelta(days=1)).date()
    (HOME / f"{UPLOAD}_{day}.csv").write_text(EXPORT.format(day=day), encoding="utf-8")
    with run_sandbox() as url:
        own = {
            "OFFLINE_CAPI_GRAPH_URL": url,
            "OFFLINE_CAPI_LEDGER": "sqlite:///rehearsal.db",
            "ACME_TOKEN": "any",
            "PYTHONPATH": str(ROOT),
        }
        for name, (columns, command) in TERMINALS.items():
            if name == "upload-wide":
                (HOME / "rehearsal.db").unlink()
            words = shlex.split(command.format(day=day))
            said = run(*words, environment=own | {"COLUMNS": str(columns), "FORCE_COLOR": "1"})
            write(OUT / f"{name}.svg", draw_terminal(name, words, neutralise(said, day), columns).encode())
        if pages:
            run("report", "last", "--html", "report.html", environment=own)
            found = {"report": (HOME / "report.html").read_text(encoding="utf-8"), **fetch_airflow_pages(own, day)}
            for name, page in found.items():
                write(OUT / f"{name}.png", photograph(neutralise(page, day), *PAGES[name]))
    shutil.rmtree(HOME)


def run(*words: str, environment: Mapping[str, str]) -> str:
    """What a command prints; a partial run ends with 1."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OFFLINE_CAPI_", "AIRFLOW"))}
    command = [str(Path(sys.executable).parent / "offline-capi"), *words]
    done = subprocess.run(
        command, cwd=HOME, env={**kept, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{shlex.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def run_sandbox() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "offline_capi", "sandbox", "--port", port]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=HOME, env=environment, stdout=subprocess.DEVNULL)
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_sandbox/health")
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def neutralise(text: str, day: date) -> str:
    """Without what differs from run to run; no text gets longer, so that lines end where they did."""
    today = datetime.now(UTC).date().isoformat()
    text = re.sub(RUN_ID, "20261124T030000-5f3a9c1e", text)
    text = re.sub(rf"{today} \d\d:\d\d:\d\d", f"{NEXT_DAY} 03:00:00", text)
    text = re.sub(rf"{today} \d\d:\d\d", f"{NEXT_DAY} 03:00", text)
    text = text.replace(day.isoformat(), DAY).replace(today, NEXT_DAY)
    text = re.sub(rf"{DAY} \d\d:\d\d UTC", f"{DAY} 16:40 UTC", text)  # New York changes its clocks
    return re.sub(AGE, "10 hours before", re.sub(TOOK, "0.4 s", text))


# ---------------------------------------------------------------------------------------------- terminals


def draw_terminal(name: str, words: list[str], said: str, columns: int) -> str:
    """The prompt with the command, and what it printed."""
    paper = Console(record=True, width=columns, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    prompt = neutralise(shlex.join(["offline-capi", *words]), date.fromisoformat(words_day(words) or DAY))
    paper.print(Text(f"$ {prompt}", style="bold"))
    for line in said.strip("\n").split("\n"):
        paper.print(Text.from_ansi(line), soft_wrap=True)
    svg = paper.export_svg(title="", theme=MONOKAI, code_format=SVG, unique_id=name)
    # What rich leaves for a window around the text that is not there.
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


def words_day(words: list[str]) -> str | None:
    found = re.search(r"\d{4}-\d\d-\d\d", " ".join(words))
    return found[0] if found else None


# ---------------------------------------------------------------------------------------------- pages


def fetch_airflow_pages(own: Mapping[str, str], day: date) -> dict[str, str]:
    """The list of runs and the tab of one, as Airflow's API server gives them after a real run of the DAG."""
    sys.path.insert(0, str(ROOT))
    embedded = importlib.import_module("tests.airflow_provider.embedded")
    export, upload = HOME / f"{UPLOAD}_{day}.csv", HOME / f"dags/uploads/{UPLOAD}.yml"
    export.write_text(export.read_text(encoding="utf-8").replace(":00,,", ":00,18.90,"), encoding="utf-8")
    text = upload.read_text(encoding="utf-8")
    upload.write_text(text.replace(f'path: "{UPLOAD}', f'path: "{HOME}/{UPLOAD}'), encoding="utf-8")
    environment = {**own, "OFFLINE_CAPI_LEDGER": f"sqlite:///{HOME}/airflow.db", "OFFLINE_CAPI_STAGE": f"{HOME}/stage2"}
    airflow = embedded.EmbeddedAirflow(HOME / "airflow", HOME / "dags")
    try:
        done = airflow.run(UPLOAD, environment, since=day.isoformat(), retries=0)
        paths = ("/offline_capi/runs", f"/offline_capi/dags/offline_capi__{UPLOAD}/runs/{done.run_id}")
        (_, runs), (_, tab) = airflow.pages(environment, *(path.replace("+", "%2B") for path in paths))
    finally:
        airflow.close()
    dark = tab.replace('<html lang="en">', '<html lang="en" style="color-scheme: dark">')
    return {"airflow-runs": runs, "airflow-run": dark}


def photograph(page: str, width: int, height: int) -> bytes:
    """The page in a headless Chromium, from its top."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("pages need a browser: apt-get install chromium, or --terminal")
    file, picture = HOME / "page.html", HOME / "page.png"
    file.write_text(page, encoding="utf-8")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1")
    command = [browser, *flags, f"--user-data-dir={HOME / 'profile'}", f"--window-size={width},{height}"]
    subprocess.run([*command, f"--screenshot={picture}", file.as_uri()], capture_output=True, timeout=120, check=True)
    return picture.read_bytes()


def write(path: Path, data: bytes) -> None:
    """Only what has changed, so that the working tree stays clean."""
    if path.exists() and path.read_bytes() == data:
        print(f"as it was  {path.relative_to(ROOT)}")
        return
    path.write_bytes(data)
    print(f"written    {path.relative_to(ROOT)}  {len(data):,} bytes")


if __name__ == "__main__":
    make_pictures(pages="--terminal" not in sys.argv)
