"""What ``--help`` says besides options: examples of each command, environment variables and exit codes."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EXAMPLES", "ROOT_EPILOG", "write_epilog"]

#: Command → how it is typed. A test runs each of them against a project (tests/cli/test_hints.py).
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "init": (
        "offline-capi init sales.csv --client acme --event Purchase --action-source physical_store",
        "offline-capi init --connection warehouse --table orders",
    ),
    "check": ("offline-capi check", "offline-capi check sales --connect"),
    "plan": ("offline-capi plan sales", "offline-capi plan sales --since 2026-11-23 --client acme"),
    "preview": ("offline-capi preview sales --limit 1",),
    "test": ("offline-capi test sales",),
    "upload": (
        "offline-capi upload sales",
        "offline-capi upload sales --since -7d --until today",
        "offline-capi upload sales --dry-run",
    ),
    "coverage": ("offline-capi coverage sales --since yesterday",),
    "lineage": ("offline-capi lineage sales", "offline-capi lineage sales --json"),
    "dbt exposures": ("offline-capi dbt exposures --output models/offline_capi.yml",),
    "settle": ("offline-capi settle sales",),
    "status": ("offline-capi status", "offline-capi status --days sales"),
    "report": (
        "offline-capi report last",
        "offline-capi report last --html report.html",
        "offline-capi report --client acme --for client --month 2026-11",
    ),
    "rejects": ("offline-capi rejects last --limit 50",),
    "replay": ("offline-capi replay last",),
    "trace": ("offline-capi trace A-1001",),
    "log": ("offline-capi log --action replay",),
    "erase": ("offline-capi erase --em - --event-id A-1001",),
    "explain": ("offline-capi explain 100/2804003", "offline-capi explain too_old"),
    "mcp": ("offline-capi mcp --config dags",),
    "sandbox": ("offline-capi sandbox --port 8420",),
    "clients list": ("offline-capi clients list",),
    "clients test": ("offline-capi clients test acme --probe",),
    "clients health": ("offline-capi clients health",),
    "ledger export": ("offline-capi ledger export events.parquet",),
}

_VARIABLES: Mapping[str, str] = {
    "OFFLINE_CAPI_LEDGER": "URL of the ledger, in place of platform.ledger",
    "OFFLINE_CAPI_STAGE": "folder or URL of the stage, in place of platform.stage",
    "OFFLINE_CAPI_GRAPH_URL": "where Meta's API is, such as the sandbox",
    "OFFLINE_CAPI_CONN_NAME": "URL of the database connection NAME",
    "OFFLINE_CAPI_ENVIRONMENT": "one of environments in clients.yml",
    "OFFLINE_CAPI_LOG_FORMAT": "json: standard error as JSON, as with --log-format json",
    "OFFLINE_CAPI_TRACEBACK": "1 prints whole tracebacks, which may show values of rows",
}
_CODES: Mapping[str, str] = {
    "0": "all well",
    "1": "a partial loss, or a failure; what was sent is recorded",
    "2": "usage or configuration; nothing was sent",
    "130": "stopped by Ctrl-C; repeating is safe",
}


def write_epilog(command: str) -> str | None:
    """The examples of a command, one a line; ``None`` where it has none."""
    lines = EXAMPLES.get(command, ())
    return "\n".join(("Examples:", *(f"  {line}" for line in lines))) if lines else None


ROOT_EPILOG = "\n".join(
    (
        "Environment:",
        *(f"  {name:<24}  {meaning}" for name, meaning in _VARIABLES.items()),
        "Exit codes:",
        *(f"  {code:<3}  {meaning}" for code, meaning in _CODES.items()),
    )
)
