"""The process behind ``SandboxServer``: a socket by number, the settings on the first line of the pipe.

It ends when the pipe is closed, so that it never outlives the process that started it, even one that was killed.
"""

from __future__ import annotations

import socket
import sys
import threading

from offline_capi.sandbox.server import SandboxSpec, serve


def main() -> None:
    spec = SandboxSpec.from_json(sys.stdin.readline())
    orphaned = threading.Event()
    threading.Thread(target=_watch_pipe, args=(orphaned,), daemon=True).start()
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        serve(listener, spec, until=orphaned)


def _watch_pipe(orphaned: threading.Event) -> None:
    sys.stdin.read()
    orphaned.set()


if __name__ == "__main__":
    main()
