"""A local Graph API: refuses what Meta refuses, counts as Meta counts, and misbehaves on demand.

It is our second opinion: nothing here imports the rooms that build and send events. Needs the extra ``sandbox``.

- ``run_sandbox(host, port, spec)`` serves in the foreground.
- ``SandboxServer(spec)`` is a sandbox in a process of its own, for as long as its ``with`` block.
- ``create_app(state)`` is the bare application.
- ``Fault`` is one instruction to misbehave; ``KINDS`` are the ways to.
"""

from __future__ import annotations

from offline_capi.sandbox.app import create_app
from offline_capi.sandbox.faults import KINDS, Fault
from offline_capi.sandbox.server import GrantSpec, SandboxServer, SandboxSpec, run_sandbox
from offline_capi.sandbox.state import SandboxState

__all__ = [
    "KINDS",
    "Fault",
    "GrantSpec",
    "SandboxServer",
    "SandboxSpec",
    "SandboxState",
    "create_app",
    "run_sandbox",
]
