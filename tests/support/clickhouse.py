"""A stand-in for ClickHouse's HTTP server, for its real driver.

It answers what the real engine once did (chdb, 530 MB, thus no dependency of the tests). With chdb installed,
``RECORD_CLICKHOUSE=1 pytest tests/sources/test_clickhouse.py`` asks the engine and keeps its answers.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

RECORDED = Path(__file__).parents[1] / "sources" / "recorded" / "clickhouse.json.gz"
#: What the driver asks first; of 1,500 settings it looks at few.
SETTINGS = "FROM system.settings"
FEW_SETTINGS = "FROM system.settings WHERE name IN ('max_block_size', 'readonly')"
#: How a request with the setting begins here: it goes to a session of the engine that has it.
READ_ONLY = "/* readonly={} */ "


class Answer(NamedTuple):
    status: int
    body: bytes


Ask = Callable[[str], Answer]


@contextmanager
def running_stand_in(ask: Ask) -> Iterator[str]:
    """URL of a server that answers each query by ``ask``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            sent = parse_qs(urlsplit(self.path).query)
            mode = READ_ONLY.format(sent["readonly"][0]) if "readonly" in sent else ""
            answer = ask(f"{mode}{query or sent['query'][0]}")
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("X-ClickHouse-Timezone", "UTC")
            if answer.status != 200:
                code = re.match(rb"Code: (\d+)", answer.body)
                self.send_header("X-ClickHouse-Exception-Code", code[1].decode() if code else "0")
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"clickhousedb://default@127.0.0.1:{server.server_port}/default"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def answers() -> Iterator[Ask]:
    """What was recorded, or the engine's own while it is being recorded."""
    if os.environ.get("RECORD_CLICKHOUSE") != "1":
        recorded = json.loads(gzip.decompress(RECORDED.read_bytes()))
        yield lambda query: Answer(recorded[query][0], base64.b64decode(recorded[query][1]))
        return
    ask, found = ask_engine(), {}

    def ask_and_keep(query: str) -> Answer:
        answer = ask(query)
        found[query] = (answer.status, base64.b64encode(answer.body).decode())
        return answer

    yield ask_and_keep
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_bytes(gzip.compress(json.dumps(found, indent=0, sort_keys=True).encode(), mtime=0))


def ask_engine() -> Ask:
    import chdb

    sessions = {mode: chdb.connect(":memory:") for mode in ("", READ_ONLY.format(1), READ_ONLY.format(2))}
    for mode, session in sessions.items():
        session.query("SET session_timezone = 'UTC', max_threads = 1")
        if mode:
            session.query(f"SET {mode.strip('/* ')}")

    def ask(query: str) -> Answer:
        connection = next(sessions[mode] for mode in reversed(sessions) if query.startswith(mode))
        text, _, form = query.replace(SETTINGS, FEW_SETTINGS).rpartition("FORMAT ")
        try:
            return Answer(200, connection.query(text or form, form if text else "TabSeparated").bytes())
        except RuntimeError as error:
            return Answer(500, str(error).encode())

    return ask
