"""Where the fields of events come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from offline_capi.cli.app import app
from offline_capi.cli.shell import (
    DEFAULT_CONFIG,
    ConfigOption,
    UploadArgument,
    environment_secrets,
    find,
    load,
    opened,
    out,
    print_plain_json,
    print_warnings,
)
from offline_capi.errors import UsageError

if TYPE_CHECKING:
    from offline_capi.audit.lineage import Dataset, FieldInput, UploadLineage

#: Clients named one by one.
MAX_CLIENTS_NAMED = 5


@app.command()
def lineage(
    upload: UploadArgument,
    run: Annotated[
        str | None, typer.Option(help="With what this run counted: its id, or 'last' for any upload.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="Print an event of OpenLineage.")] = False,
) -> None:
    """Tell which columns become which fields of which pixel, and what decides about rows; reads and sends nothing."""
    from offline_capi.audit.lineage import trace_upload

    if run is not None:
        from offline_capi.pipeline import find_report

        if not as_json:
            raise UsageError("lineage: --run adds a run's counts to the event of OpenLineage: add --json")
        with opened(config, upload) as services:
            one, report = find(services.deployment, upload), find_report(run, services)
            if report.upload != one.name:
                raise UsageError(f"run {report.run_id} is of upload {report.upload}, not of {one.name}")
            traced = trace_upload(one, services.deployment, services.secrets)
        print_plain_json(traced.make_run_event(report, one))
        return
    deployment = load(config, upload)
    traced = trace_upload(find(deployment, upload), deployment, environment_secrets())
    if as_json:
        print_plain_json(traced.make_job_event(datetime.now(UTC)))
    else:
        print_lineage(traced)


def print_lineage(traced: UploadLineage) -> None:
    """Data sets, pixels by what they get, and the columns that decide about rows."""
    from offline_capi.report import plain_table, shown_tables

    numbers = {dataset: str(number) for number, dataset in enumerate(traced.inputs, 1)}
    if len(numbers) == 1:
        tables = [plain_table(("reads", "in"), ((one.name, one.namespace) for one in traced.inputs))]
    else:
        read = ((numbers[one], one.name, one.namespace) for one in traced.inputs)
        tables = [plain_table(("", "reads", "in"), read)]
    alike: dict[tuple[tuple[str, tuple[FieldInput, ...]], ...], list[tuple[str, Dataset]]] = defaultdict(list)
    for output in traced.outputs:
        alike[tuple(output.fields.items())].append((output.client, output.dataset))
    for fields, pixels in alike.items():
        named = [(client, dataset.name, dataset.namespace) for client, dataset in pixels[:MAX_CLIENTS_NAMED]]
        more = len(pixels) - len(named)
        named += [(f"{more:,} more", "", "")] if more else []
        tables.append(plain_table(("sends to", "pixel", "in"), named))
        rows = ((name, *_describe(inputs, numbers)) for name, inputs in fields)
        tables.append(plain_table(("field", "from", "how"), rows))
    deciding = ((_name_column(one, numbers), one.use.lower().replace("_", " ")) for one in traced.rows)
    tables.append(plain_table(("rows depend on", "as"), deciding))
    out.print(f"Lineage of {traced.upload}", highlight=False, markup=False)
    for table in shown_tables(*tables):
        out.print(table)
    if any("?query=" in one.name for one in traced.inputs) and find_spec("sqlglot") is None:
        out.print()
        print_warnings(["tables and columns of queries are not named: pip install 'offline-capi[lineage]'"])


def _describe(inputs: Iterable[FieldInput], numbers: dict[Dataset, str]) -> tuple[str, str]:
    found = list(inputs)
    if not found:
        return "", "constant"
    if any(one.masked for one in found):
        how = "hashed"
    else:
        uses = {one.use for one in found}
        how = "as it is" if uses == {"IDENTITY"} else "aggregated" if "AGGREGATION" in uses else "transformed"
    return ", ".join(_name_column(one, numbers) for one in found), how


def _name_column(one: FieldInput, numbers: dict[Dataset, str]) -> str:
    """The column; of several data sets, with the number of its own."""
    return one.column if len(numbers) == 1 else f"{numbers.get(one.dataset, '?')}:{one.column}"
