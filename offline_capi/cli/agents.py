"""A server for agents and editors, by the Model Context Protocol over standard input and output: it only reads.

Every tool answers with counts, names of the configuration and sentences: never a value of a row, its digest or a
secret. What the command line shows of rows, such as codes that a map lacks, is left out here, for an agent passes on
what it reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from offline_capi import __version__
from offline_capi.cli.app import app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ConfigOption,
    environment_secrets,
    find,
    find_clients,
    load,
    window_of,
)
from offline_capi.cli.tools import find_explanation
from offline_capi.errors import ConfigError, OfflineCapiError, UsageError
from offline_capi.model import Fate
from offline_capi.runtime.border import is_name
from offline_capi.runtime.bugs import as_internal

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from offline_capi.config import Deployment
    from offline_capi.pipeline import Services
    from offline_capi.report import ReasonLine, RunReport

__all__ = ["make_server"]

_INSTRUCTIONS = (
    "offline_capi sends conversions that happened offline to Meta's Conversions API. These tools only read: they send "
    "nothing, change nothing and show no rows. Begin with `status`. Every row has one fate: sent, already_sent, "
    "invalid, rejected_by_meta, deferred (waits), unconfirmed (no answer), expired or suppressed (no consent)."
)
#: Longest error that a tool answers with.
_MAX_ERROR_CHARS = 600

Answer = dict[str, Any]
Tool = TypeVar("Tool", bound=Callable[..., Answer])


@app.command()
def mcp(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Serve agents and editors over standard input and output (Model Context Protocol); read-only."""
    make_server(config).run("stdio")


def make_server(config: Path) -> MCPServer:
    """The server for a configuration folder, which is read anew for every answer."""
    try:
        from mcp.server import MCPServer
    except ImportError:
        raise UsageError("mcp: the extra is not installed; pip install 'offline-capi[mcp]'") from None
    from mcp_types import ToolAnnotations

    server = MCPServer("offline-capi", instructions=_INSTRUCTIONS, version=__version__, log_level="CRITICAL")
    for tool in _make_tools(config):
        marks = ToolAnnotations(
            read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
        )
        server.tool(annotations=marks)(_contain(tool))
    return server


def _contain(tool: Tool) -> Tool:
    """The same; whatever goes wrong in it is answered with one sentence that holds no value of a row."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(tool)
    def contained(*arguments: Any, **named: Any) -> Answer:
        try:
            return tool(*arguments, **named)
        except Exception as error:  # noqa: BLE001  an agent gets a sentence of whatever it was
            message = _describe(as_internal(error))
        raise ToolError(message)

    return contained  # type: ignore[return-value]


def _describe(error: OfflineCapiError) -> str:
    if isinstance(error, ConfigError) and error.problems:
        first, more = error.problems[0], len(error.problems) - 1
        others = f"; and {more} more" if more else ""
        text = f"the configuration has faults: {first}{others}. `offline-capi check` lists all"
    else:
        text = " ".join(str(error).split())
    return text if len(text) <= _MAX_ERROR_CHARS else f"{text[: _MAX_ERROR_CHARS - 1]}…"


# ---------------------------------------------------------------------------------------------- tools


def _make_tools(config: Path) -> Iterator[Callable[..., Answer]]:
    """The tools, in the order in which they are listed: an agent sees their names, parameters and docstrings."""

    def status(limit: int = 10) -> Answer:
        """The uploads and clients that are configured, and the last runs: when, over which days, how they ended."""
        with _open(config) as services:
            runs = services.ledger.runs.list_newest(max(1, min(limit, 100)))
            deployment = services.deployment
        return {
            "uploads": sorted(deployment.uploads),
            "clients": sorted(deployment.clients),
            "runs": [
                {
                    "run": run.id,
                    "upload": run.upload,
                    "window": run.window.to_json(),
                    "trigger": run.trigger,
                    "started_at": run.started_at.isoformat(),
                    "status": run.status,
                    "balance": run.balance,
                    "problem": run.problem,
                }
                for run in runs
            ],
        }

    def open_days(upload: str | None = None) -> Answer:
        """The days of an upload, or of all, for which something is still owed (open) or was lost (closed), and why."""
        from offline_capi.pipeline.open_days import read_calendar

        with _open(config) as services:
            deployment, now = services.deployment, services.clock()
            chosen = [find(deployment, upload)] if upload else list(deployment.uploads.values())
            calendars = [read_calendar(one, deployment, services.ledger, now) for one in chosen]
        return {
            "uploads": [
                {
                    "upload": calendar.upload,
                    "first": calendar.first.isoformat(),
                    "last": calendar.last.isoformat(),
                    "remark": calendar.remark,
                    "complete": len(calendar.days) - len(calendar.list_owed()),
                    "owed": [
                        {"day": day.day.isoformat(), "state": day.state.value, "why": day.why, "rows": day.rows}
                        for day in calendar.list_owed()
                    ],
                }
                for calendar in calendars
            ]
        }

    def plan(upload: str, since: str | None = None, until: str | None = None, client: str | None = None) -> Answer:
        """What a run over these days would do now; nothing is sent. Days are written as 2026-11-23 or yesterday."""
        from offline_capi.pipeline import plan_upload

        with _open(config) as services:
            one = find(services.deployment, upload)
            clients = find_clients(services.deployment, [client] if client else None)
            found = plan_upload(one, window_of(one, since, until), services, clients=clients)
            return _describe_report(found, services.deployment)

    def report(run: str = "last", client: str | None = None) -> Answer:
        """What happened in a run: rows by fate, why rows were not sent, what to do, money, keys; also of one client."""
        from offline_capi.pipeline import find_report

        with _open(config) as services:
            found = find_report(run, services)
            found = found.of_client(client) if client else found
            return _describe_report(found, services.deployment)

    def client_report(client: str, month: str | None = None) -> Answer:
        """A client's last 30 days, or a month such as 2026-11: what was sent, what not and why, keys, Meta's counts."""
        from offline_capi.operations.client_report import make_client_report

        with _open(config) as services:
            find_clients(services.deployment, [client])
            return make_client_report(client, services, month=month).to_json()

    def rejects(run: str = "last") -> Answer:
        """How many rows of a run were not sent, by cause, and what to do about each; never the rows."""
        from offline_capi.report import reject_reasons

        with _open(config) as services:
            run_id = services.ledger.runs.get(run).id
            table, _ = services.stage.read_unsent(run_id)
        return {"run": run_id, "reasons": _list_reasons(reject_reasons(table))}

    def explain(code: str) -> Answer:
        """What an error code of Meta (190, 100/2804003) or a reason of a report (too_old) means, and what to do."""
        entry, ours = find_explanation(code)
        if ours:
            return {"means": ours.what, "do": ours.fix}
        if entry is None:
            raise UsageError("explain: this is no code of Meta and no reason of a report; write it as one does: 190")
        return entry._asdict()

    def coverage(upload: str, since: str | None = None, until: str | None = None, client: str | None = None) -> Answer:
        """Which match keys the rows of these days fill, how many values are usable, what is lost and why; counts."""
        from offline_capi.audit import measure_coverage

        with _open(config) as services:
            one = find(services.deployment, upload)
            clients = find_clients(services.deployment, [client] if client else None)
            found = measure_coverage(one, window_of(one, since, until), services, clients=clients)
        whole = found.to_json()
        suggestions = [one.to_json() for one in found.suggestions if is_name(one.column)]
        kept = {name: whole[name] for name in ("upload", "window", "rows", "columns", "unmapped")}
        return {**kept, "suggestions": suggestions, "values_shared_by_many": len(found.frequent)}

    def trace(event_id: str, client: str | None = None) -> Answer:
        """What became of one event by its id: requests, answers, Meta's trace id, its fate where it was not sent."""
        from offline_capi.operations.tracing import trace_event

        with _open(config) as services:
            clients = find_clients(services.deployment, [client] if client else None)
            whole = trace_event(event_id, services, clients=clients).to_json()
        hidden = ("key", "origin", "row", "file", "field", "client")
        own = [{name: value for name, value in one.items() if name != "key"} for one in whole["deliveries"]]
        rows = [{name: value for name, value in one.items() if name not in hidden} for one in whole["rows"]]
        return {"known": whole["known"], "deliveries": own, "not_sent": rows}

    yield from (status, open_days, plan, report, client_report, rejects, explain, coverage, trace)


@contextmanager
def _open(config: Path) -> Iterator[Services]:
    """Unlike other commands it keeps pandas: the process lives on, and a later upload may have a hook."""
    from offline_capi.pipeline import open_services

    with open_services(load(config), environment_secrets()) as services:
        yield services


# ---------------------------------------------------------------------------------------------- what is told


def _describe_report(report: RunReport, deployment: Deployment) -> Answer:
    """A report without what rows name: clients that are not configured are one number."""
    whole = report.to_json()
    told = ("run", "upload", "window", "trigger", "planned", "started_at", "ended_at", "status", "balance", "rows")
    clients: dict[str, Counter[str]] = {}
    for name, fates in whole["clients"].items():
        known = name if name in deployment.recipients else "(not configured)"
        clients.setdefault(known, Counter()).update(fates)
    return {
        **{name: whole[name] for name in told},
        "problems": [" ".join(problem.split()) for problem in report.problems],
        "gates": [finding.sentence for finding in report.gates],
        "value": whole["value_sent"],
        "newest_event": whole["newest_sent"],
        "reasons": _list_reasons(report.reasons()),
        "keys": whole["keys"],
        "clients": clients,
        "days": whole["days"],
    }


def _list_reasons(lines: Iterable[ReasonLine]) -> list[Answer]:
    """Without the word of a row that a field may name: ``custom_data.currency with "Euro"``."""
    from offline_capi.report.run_report import explain_reason

    rows: Counter[tuple[Fate, str, str]] = Counter()
    for line in lines:
        rows[line.fate, line.reason, line.field.partition(" with ")[0]] += line.rows
    told = [(key, n, explain_reason(key[1], key[2])) for key, n in rows.most_common()]
    return [
        {"fate": fate.value, "reason": reason, "field": field, "rows": n, "what": words[0], "do": words[1]}
        for (fate, reason, field), n, words in told
    ]
