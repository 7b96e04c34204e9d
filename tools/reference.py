"""Write the reference pages from what exists: commands, YAML, fates, reasons, error codes, metrics.

    python tools/reference.py          # writes docs/reference/commands.md; a test says when that is due

The other pages are made when the site is built (tools/docs_site.py) and are not committed: `PAGES` names them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from offline_capi.cli import app
from offline_capi.meta.graph.error_table import ERROR_TABLE, Action, Scope, explain
from offline_capi.model import REASONS, WARNING_TEXTS, Fate, Reason

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "docs/reference/commands.md"
COMMAND: Any = typer.main.get_command(app)


def render_commands() -> str:
    """The table of all commands, one line each."""
    rows = [[f"`{name}`", one.help.split("\n\n")[0].replace("\n", " ")] for name, one in walk_commands(COMMAND)]
    return f"""<!-- Written by tools/reference.py from the command line. -->
# Commands

Every command that reads configuration takes `--config DIR` (default `dags/`), and most take `--json`. Relative
paths begin at the [project folder](settings.md#where-relative-paths-begin), not at the shell's folder. `--help` after a
command prints its options.

{render_table(("command", "does"), rows)}

## Exit codes

{render_table(("code", "meaning"), EXIT_CODES)}

The [table of outcomes](outcomes.md) has every case.
"""


EXIT_CODES = (
    ("0", "all well"),
    ("1", "something was lost, failed or is still open"),
    ("2", "usage or configuration"),
    ("130", "interrupted with Ctrl-C"),
)


def walk_commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command that does something, in the order of the help, subcommands under their full name."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from walk_commands(one, f"{before}{name} ")
        elif not one.hidden:
            yield f"{before}{name}", one


def render_options() -> str:
    """Every command with its arguments and options."""
    return "# Commands with their options\n\n" + "\n".join(
        _render_command(name, command) for name, command in walk_commands(COMMAND)
    )


def _render_command(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    usage = " ".join(f"{one.name.upper()}" if one.required else f"[{one.name.upper()}]" for one in arguments)
    rows = [
        [
            ", ".join(f"`{part}`" for part in (*one.opts, *one.secondary_opts))
            if one.param_type_name == "option"
            else f"`{one.name.upper()}`",
            " ".join(filter(None, (one.help, *_describe_use(one)))),
        ]
        for one in command.params
        if one.name != "help"
    ]
    table = f"\n{render_table(('', 'meaning'), rows)}\n" if rows else ""
    return f"## {name}\n\n{command.help}\n\n```\n{f'offline-capi {name} {usage}'.strip()} [OPTIONS]\n```\n{table}"


def _describe_use(parameter: Any) -> Iterator[str]:
    if parameter.required:
        yield "**Required.**"
    if parameter.default not in (None, False, ()) and not callable(parameter.default):
        yield f"Default: `{parameter.default}`."


def render_fates() -> str:
    """Fates, reasons and warnings, each under a heading of its own, so that a search for the word finds it."""
    reasons = "\n".join(_render_reason(reason.value, *REASONS[reason]) for reason in Reason)
    warnings = "\n".join(_render_reason(code, *text) for code, text in WARNING_TEXTS.items())
    return f"""# Fates, reasons and warnings

{render_table(("fate", "printed as"), [[f"`{fate}`", fate.words] for fate in Fate])}

[What each fate means](../explanation/fates.md). Run statuses and exit codes: [outcomes](outcomes.md).

## Reasons

Why a row could not become an event, or why an event waits. The report, `offline-capi rejects` and
`offline-capi explain` use these words.

{reasons}

## Warnings

These events are sent, and count or match badly.

{warnings}
"""


def _render_reason(code: str, what: str, fix: str) -> str:
    return f"### {code}\n\n{_sentence(what)}\n\n**What to do:** {_sentence(fix)}\n"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def render_error_codes() -> str:
    """Meta's error codes as `explain` gives them, one heading each."""
    entries = sorted(ERROR_TABLE, key=lambda entry: (entry.code, entry.subcode or 0))
    return "# Error codes of Meta\n\n`offline-capi explain CODE` prints the same.\n\n" + "\n".join(
        _render_error(entry.code, entry.subcode) for entry in entries
    )


_DONE = {
    Action.RETRY: "repeats the request by itself, with growing pauses",
    Action.WAIT: "waits, then repeats the request",
    Action.ISOLATE: "finds the event that is at fault and sends the others",
    Action.STOP: "stops whatever is at fault and defers its events",
}
_AT_FAULT = {
    Scope.EVENT: "one event",
    Scope.REQUEST: "the request",
    Scope.TOKEN: "the token, for every client that uses it",
    Scope.CLIENT: "the client's pixel, token or permission",
    Scope.APP: "the app",
}


def _render_error(code: int, subcode: int | None) -> str:
    entry = explain(code, subcode)
    number = f"{code}" if subcode is None else f"{code}/{subcode}"
    lines = (
        ("At fault", _AT_FAULT[Scope(entry.scope)]),
        ("What offline_capi does", _DONE[Action(entry.action)]),
        ("What you do", entry.do),
        ("Source", entry.source),
    )
    return f"## {number}\n\n{_sentence(entry.means)}\n\n" + "".join(f"- **{what}:** {text}\n" for what, text in lines)


def render_metrics() -> str:
    """The metrics, by the calls that send them."""
    rows = []
    for name, kind in sorted(list_metric_calls()):
        if name == "offline_capi.events.":
            rows += [[f"`{name}{fate}`", kind, METRICS[name]] for fate in Fate]
        else:
            rows.append([f"`{name}`", kind, METRICS[name]])
    return f"""# Metrics

Sent through Airflow's own metrics (StatsD or OpenTelemetry). Where the back end has tags, `upload` and `client` are
among them; plain StatsD gets sums over all uploads.

{render_table(("metric", "kind", "counts"), rows)}

Log lines carry `upload_run_id`, `client` and `request_id`. Runs emit OpenLineage events: tables or files in,
`meta-capi://host/pixel` out.
"""


#: What each metric counts. A call with a name that is not here ends the build.
METRICS = {
    "offline_capi.events.": "rows and copies of a run that ended in this fate, each once",
    "offline_capi.requests": "requests of a task that sends",
    "offline_capi.tries": "tries of these requests",
    "offline_capi.send.duration": "what one task that sends took",
    "offline_capi.run.duration": "from the beginning of a run to its report",
}


def list_metric_calls() -> set[tuple[str, str]]:
    tree = ast.parse((ROOT / "offline_capi/airflow_provider/observability/metrics.py").read_text("utf-8"))
    kinds = {"incr": "counter", "timing": "timer", "gauge": "gauge"}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in kinds:
            name = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            assert isinstance(name, ast.Constant)
            found.add((str(name.value), kinds[node.func.attr]))
    return found


def render_schema(name: str, title: str, about: str) -> str:
    """A YAML file by its JSON Schema: one table a node, under the node's name."""
    schema = json.loads((ROOT / f"dags/schema/{name}.schema.json").read_text("utf-8"))
    nodes = {"The file": schema, **{_name_of(key): _object_of(one) for key, one in schema["$defs"].items()}}
    parts = [f"# {title}\n\n{about}\n"]
    for heading, node in nodes.items():
        parts += _render_node(heading, node)
    return "\n".join(parts)


def _render_node(heading: str, node: Mapping[str, Any]) -> Iterator[str]:
    """Its keys, then the objects that are written out inside of it."""
    required = node.get("required", ())
    properties: Mapping[str, Any] = node.get("properties", {})
    rows = [
        [
            f"`{key}`",
            f"[{key}](#{key})" if value.get("properties") else _type_of(value),
            _default_of(value, key in required),
            _plain(value.get("description", "")),
        ]
        for key, value in properties.items()
    ]
    if rows:
        table = render_table(("key", "value", "default", "meaning"), rows)
        yield f"## {heading}\n\n{_sentence(_plain(node.get('description', '')))}\n\n{table}\n"
    for key, value in properties.items():
        if value.get("properties"):
            yield from _render_node(key, value)


def _object_of(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object among the ways to write a node: a field may be a word as well."""
    return next((one for one in node.get("anyOf", ()) if one.get("properties")), node)


def _name_of(definition: str) -> str:
    """``RateGate`` → ``rate gate``, ``FieldSpec`` → ``field``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", re.sub(r"(Spec|Settings)$", "", definition)).lower()


def _default_of(value: Mapping[str, Any], required: bool) -> str:
    default = value.get("default")
    if required:
        return "**required**"
    shown = "" if default in (None, {}, []) else f"`{json.dumps(default)}`"
    return "" if len(shown) > LONGEST_DEFAULT_CHARS else shown


#: Longer ones are nodes of their own, whose tables have the defaults.
LONGEST_DEFAULT_CHARS = 40


def _plain(text: str) -> str:
    return text.replace("``", "`").replace("\n", " ")


def _type_of(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        name = _name_of(value["$ref"].rsplit("/", 1)[1])
        return f"[{name}](#{name.replace(' ', '-')})"
    if options := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(dict.fromkeys(_type_of(one) for one in options if one.get("type") != "null"))
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    kind = value.get("type", "any value")
    if kind == "array":
        return f"list of {_type_of(value.get('items', {}))}"
    if kind == "object" and isinstance(value.get("additionalProperties"), dict):
        return f"name → {_type_of(value['additionalProperties'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; bars and angle brackets in cells are text."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    plain = re.sub(r"<(?=[\w/])", "&lt;", text) if "`" not in text else text
    return plain.replace("|", "\\|")


#: Page of the site → what makes it.
PAGES: Mapping[str, Callable[[], str]] = {
    "reference/options.md": render_options,
    "reference/upload-yaml.md": lambda: render_schema(
        "upload",
        "An upload in YAML",
        "Every key of `uploads/NAME.yml`, from the JSON Schema that `offline-capi schema upload` prints. "
        "[Write an upload](../how-to/write-an-upload.md) explains how they work together.",
    ),
    "reference/clients-yaml.md": lambda: render_schema(
        "clients",
        "clients.yml",
        "Every key of `clients.yml`, from the JSON Schema that `offline-capi schema clients` prints.",
    ),
    "reference/fates.md": render_fates,
    "reference/error-codes.md": render_error_codes,
    "reference/metrics.md": render_metrics,
}

if __name__ == "__main__":
    COMMITTED.write_text(render_commands(), encoding="utf-8")
    print(f"{COMMITTED.relative_to(ROOT)}: {len(list(walk_commands(COMMAND)))} commands")
