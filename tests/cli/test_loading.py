"""Commands that only look at what has been load nothing that prepares rows: a second of processor time each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.night import Night
from tests.support.sandbox_server import Sandbox

CODE = """
import sys
from offline_capi.cli import main
sys.argv = ["offline-capi", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    print(end.code, *sorted({"polars", "pandas", "offline_capi.mapping", "offline_capi.events.build"} & {*sys.modules}))
"""


@pytest.mark.parametrize("command", ["status", "status --days credit_approvals", "log", "clients list"])
def test_what_only_looks_at_the_ledger_loads_nothing_that_prepares_rows(
    tmp_path: Path, sandbox: Sandbox, command: str
) -> None:
    said = Night(tmp_path, sandbox).script(CODE, *command.split(), new_interpreter=True)

    assert said.out.splitlines()[-1] == "0", said
