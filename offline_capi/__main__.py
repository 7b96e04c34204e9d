"""``python -m offline_capi`` is ``offline-capi``."""

import os
import sys

# `python -m` puts the current folder first: a file there that is named as one of our imports would run.
if not sys.flags.safe_path and sys.path[0] == os.getcwd():  # noqa: PTH109  pathlib is not imported yet
    del sys.path[0]

from offline_capi.cli import main

main()
