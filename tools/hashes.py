"""Write ``constraints-hashed.txt``: what ``constraints.txt`` pins, with the SHA-256 of the files that pip would take.

    python tools/hashes.py            # asks the package index that pip is set up with; writes the file
    pip install --require-hashes --no-deps -r constraints-hashed.txt

The hashes are those of the wheels for CPython 3.11 on Linux x86-64, where CI runs. No address is written.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLAIN, HASHED = Path("constraints.txt"), Path("constraints-hashed.txt")
HEAD = """# Written by tools/hashes.py from constraints.txt: wheels for CPython 3.11 on Linux x86-64.
# To verify: pip install --require-hashes --no-deps -r constraints-hashed.txt
"""


def report() -> Mapping[str, Any]:
    """What pip would install of every pin, and from files with which hash; nothing is installed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        options = ["--dry-run", "--ignore-installed", "--no-deps", "--quiet", "--report", str(path)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, "-r", str(PLAIN)], check=True)
        return dict(json.loads(path.read_text()))


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """``name==version --hash=…``, sorted, without the addresses of the report."""
    pins = {
        one["metadata"]["name"].lower(): (one["metadata"]["version"], one["download_info"]["archive_info"]["hashes"])
        for one in found["install"]
    }
    return [f"{name}=={pins[name][0]} --hash=sha256:{pins[name][1]['sha256']}" for name in sorted(pins)]


if __name__ == "__main__":
    written = lines_of(json.loads(Path(sys.argv[1]).read_text()) if sys.argv[1:] else report())
    HASHED.write_text(HEAD + "\n".join(written) + "\n")
    print(f"{HASHED}: {len(written)} pins")
