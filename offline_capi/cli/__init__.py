"""The command line: parse, call, print, exit code. Everything it does can be called from Python as well.

Exit codes: 0 all well, 1 partial loss or failure, 2 usage or configuration. A module a subject; each registers its
commands with ``app``, in the order in which ``--help`` lists them.
"""

from offline_capi.cli import init, imports, uploads, audit, lineage, dbt, runs, trace  # isort: skip  # noqa: F401  the order of --help
from offline_capi.cli import clients, quality, ledger, erase, tools, agents, versions  # isort: skip  # noqa: F401  the same
from offline_capi.cli.app import app, main

__all__ = ["app", "main"]
