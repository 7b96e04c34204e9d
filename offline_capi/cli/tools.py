"""Commands that need no configuration: explanations, schemas, the sandbox, the demonstration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from offline_capi.cli.app import app
from offline_capi.cli.shell import JsonOption, out, print_indented, print_json, print_plain_json
from offline_capi.errors import UsageError

if TYPE_CHECKING:
    from offline_capi.meta.graph.error_table import Entry
    from offline_capi.model import ReasonText


@app.command(context_settings={"ignore_unknown_options": True})  # Meta has negative codes
def explain(
    code: Annotated[
        list[str],
        typer.Argument(
            help="A code as reports print it, such as 100/2804003; or 100 2804003, or 2804003.", metavar="CODE"
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Say what one of Meta's error codes means, and what to do."""
    said = " ".join(code)
    entry, ours = find_explanation(said)
    if ours:
        if as_json:
            print_json({"reason": said, "means": ours.what, "do": ours.fix})
        else:
            out.print(f"[bold]{said}[/]  {ours.what}", highlight=False)
            print_indented(ours.fix, mark="  what to do: ")
        return
    if entry is None:
        raise UsageError(
            f'explain: "{said}" is no code of Meta and no reason of a report; write it as one does: 100/2804003, 190'
        )
    if as_json:
        print_json(entry._asdict())
    else:
        number = "/".join(str(part) for part in (entry.code, entry.subcode) if part is not None)
        out.print(f"[bold]{number}[/]  {entry.means}", highlight=False)
        print_indented(entry.do, mark="  what to do: ")
        print_indented(f"{entry.action} (at fault: the {entry.scope})", mark="  what offline-capi does: ")
        print_indented(entry.source, mark="  source: ", style="dim")


def find_explanation(said: str) -> tuple[Entry | None, ReasonText | None]:
    """What is known of one of Meta's codes, or of a reason of ours; neither where it is none of them."""
    from offline_capi.meta.graph.error_table import explain as entry_of
    from offline_capi.meta.graph.error_table import parse_code
    from offline_capi.model import REASONS, WARNING_TEXTS

    numbers = parse_code(said)
    if numbers is not None:
        return entry_of(*numbers), None
    return None, {**WARNING_TEXTS, **{reason.value: text for reason, text in REASONS.items()}}.get(said)


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="Port on this machine; 0 for a free one.", min=0, max=65535)] = 8420,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    name: Annotated[
        list[str] | None, typer.Option(help="A name under which others reach this machine; may be repeated.")
    ] = None,
) -> None:
    """Run a local Graph API that validates as Meta does and shows what it was sent."""
    from offline_capi.sandbox import SandboxSpec, run_sandbox

    def announce_address(bound: int) -> None:
        url = f"http://{host}:{bound}"
        print_indented(f"sandbox: {url} (page), graph_url for uploads; every token may write; Ctrl-C stops it", mark="")

    run_sandbox(host=host, port=port, spec=SandboxSpec(hosts=name or ()), on_listening=announce_address)


@app.command()
def schema(
    which: Annotated[str, typer.Argument(help="upload or clients.")] = "upload",
) -> None:
    """Print the JSON Schema of the YAML files, for editors."""
    from offline_capi.config import generate_json_schema

    schemas = generate_json_schema()
    if which not in schemas:
        raise UsageError(f'schema: "{which}" is unknown; one of: {", ".join(schemas)}')
    print_plain_json(schemas[which])


@app.command()
def ddl() -> None:
    """Print the SQL of the ledger, for those who create tables by hand."""
    from offline_capi.ledger import ddl as ledger_ddl

    typer.echo(ledger_ddl(), nl=False)


@app.command()
def demo(
    home: Annotated[Path, typer.Option(help="Folder for the warehouse, ledger and Airflow's database.")] = Path(
        ".demo"
    ),
) -> None:
    """Run a whole night on data_samples/ against the sandbox, through the real Airflow DAGs."""
    from offline_capi.demo.night import run_demo

    sys.exit(run_demo(home, out))
