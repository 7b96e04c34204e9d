"""A proposal → the files of a deployment, as a person would write them: the reasons beside the lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import yaml

from offline_capi.audit.yaml_lines import yaml_line
from offline_capi.config import Platform, json_schema
from offline_capi.errors import UsageError
from offline_capi.onboarding.folder import CLIENTS, Known
from offline_capi.onboarding.lines import Answers, Line, Standing
from offline_capi.onboarding.origins import Origin
from offline_capi.onboarding.proposal import Proposal
from offline_capi.onboarding.questions import EXTERNAL_ID_POLICIES
from offline_capi.runtime.border import visible

__all__ = ["PIXEL", "token_variable", "write_up"]

WIDTH = 118
_BESIDE = 44  # longer lines do not move the comments of their neighbours

DAG_FILE = """# Airflow DAGs of offline_capi: one for each file in uploads/. To change a DAG, change its YAML.
from pathlib import Path

from offline_capi.airflow_provider import upload_dags

globals().update(upload_dags(Path(__file__).parent))
"""


def write_up(
    name: str, proposal: Proposal, origin: Origin, answers: Answers, known: Known, *, force: bool = False
) -> dict[Path, str]:
    """Every file of the deployment that the upload needs and that is not there: path → text.

    An existing ``clients.yml`` that does not name the client gets it only with ``force``; nothing in it is changed.
    """
    folder = known.folder
    files = {folder / CLIENTS: _clients(answers, known, force=force)}
    if origin.query is not None:
        files[known.queries / "extract" / f"{name}.sql"] = origin.query(name, proposal.lines)
    files[folder / "uploads" / f"{name}.yml"] = _upload(name, proposal, origin)
    if not known.has_dags:
        files[folder / "offline_capi_dags.py"] = DAG_FILE
    return {**files, **_schemas(folder / "schema")}


def _schemas(folder: Path) -> dict[Path, str]:
    """What the first comment of the files points an editor to, where it is not there."""
    missing = {kind: path for kind in ("clients", "upload") if not (path := folder / f"{kind}.schema.json").exists()}
    schemas = json_schema() if missing else {}
    return {path: f"{json.dumps(schemas[kind], indent=2, ensure_ascii=False)}\n" for kind, path in missing.items()}


# ---------------------------------------------------------------------------------------------- lines with comments


class _Written(NamedTuple):
    """A line of YAML and what stands beside it."""

    text: str
    comment: str = ""


def _node(key: str, node: object) -> str:
    """``key: node`` in one line; a key without a value where nobody knows it yet."""
    line = yaml_line({key: node})
    doubled = re.sub(r"'([^'\"\\]*)'", r'"\1"', line)  # as our samples quote
    line = doubled if _reads_as(doubled, {key: node}) else line
    return re.sub(r": null(?=[,}])", ": ", re.sub(r": null$", ":", line))


def _reads_as(line: str, wanted: dict[str, object]) -> bool:
    try:
        return bool(yaml.safe_load(f"{{{line}}}") == wanted)
    except yaml.YAMLError:
        return False


def _laid_out(lines: Sequence[_Written]) -> Iterator[str]:
    """The comments of neighbours stand in one column; what is too long for that has its comment above."""
    column = max((len(line.text) for line in lines if line.comment and len(line.text) <= _BESIDE), default=0) + 2
    for text, words in lines:
        comment = " ".join(words.split())  # names of columns may hold line breaks, which would end the comment
        beside = f"{text:<{column}}# {comment}" if len(text) < column else f"{text}  # {comment}"
        if comment and len(beside) > WIDTH:
            indent = text[: len(text) - len(text.lstrip())]
            yield from (f"{indent}# {part}" for part in wrap(comment, WIDTH - len(indent) - 2))
            yield text
        else:
            yield beside if comment else text


# ---------------------------------------------------------------------------------------------- uploads/NAME.yml


def _upload(name: str, proposal: Proposal, origin: Origin) -> str:
    rows = "rows" if origin.sample.whole else "first rows"
    looked = f"{len(origin.sample):,} {rows} of {visible(origin.described)}"
    parts = [
        ["# yaml-language-server: $schema=../schema/upload.schema.json",
         f"# Proposed by `offline-capi init` from {looked}.",
         "# Look at every line; beside it stands what was counted. TODO: `offline-capi check` waits for your word."],
        _section("client", proposal),
        _source(name, origin),
        _schedule(proposal),
        *(_section(section, proposal) for section in ("event", "user_data", "custom_data", "filter", "consent")),
        list(_laid_out([_LIMITS])),
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


_LIMITS = _Written("# limits: {max_invalid: 2%}", "without it, one invalid row makes a night partial")


def _source(name: str, origin: Origin) -> list[str]:
    node = {**origin.node, **({"sql": f"extract/{name}.sql"} if origin.query else {})}
    lines = [_Written(f"  {_node(key, value)}", origin.notes.get(key, "")) for key, value in node.items()]
    return ["source:", *_laid_out(lines)]


def _schedule(proposal: Proposal) -> list[str]:
    hint = _Written('# schedule: "0 3 * * *"', "nightly at 3 in the window's zone; without it, by hand only")
    return [*_laid_out([hint]), *_section("window", proposal)]


def _section(section: str, proposal: Proposal) -> list[str]:
    lines = list(_merged(proposal.in_section(section)))
    if not lines or lines[0].key == "":
        return list(_laid_out([_written(line, section, "") for line in lines]))
    empty = all(line.standing is Standing.UNSURE for line in lines)
    heading = f"{'# ' if empty else ''}{section}:"
    if section == "user_data":
        heading = f"{heading:<20}# a bare word is a column; everything here is hashed before it is sent"
    return [heading, *_laid_out([_written(line, line.key, "  ") for line in lines])]


def _written(line: Line, key: str, indent: str) -> _Written:
    unsure = line.standing is Standing.UNSURE
    return _Written(f"{indent}{'# ' if unsure else ''}{_node(key, line.node)}", f"{'unsure: ' * unsure}{line.because}")


def _merged(lines: Sequence[Line]) -> Iterator[Line]:
    """Several columns of one key are one line, where the first of them stands."""
    for line in lines:
        same = [other for other in lines if (other.key, other.standing) == (line.key, Standing.TAKEN)]
        if line.standing is not Standing.TAKEN or len(same) == 1 or line.section != "user_data":
            yield line
        elif line is same[0]:
            because = "; ".join(f"{other.columns[0]}: {other.because}" for other in same)
            columns = tuple(column for other in same for column in other.columns)
            yield Line(line.section, line.key, [other.node for other in same], because, Standing.TAKEN, columns)


# ---------------------------------------------------------------------------------------------- clients.yml


def token_variable(client: str) -> str:
    """The environment variable in which a client's token is looked for: ``acme-bank`` → ``ACME_BANK_TOKEN``."""
    word = re.sub(r"[^A-Z0-9]+", "_", client.upper()).strip("_")
    return f"{'_' if word[:1].isdigit() else ''}{word or 'CLIENT'}_TOKEN"


def _clients(answers: Answers, known: Known, *, force: bool) -> str:
    if known.clients_text is None:
        return _new_clients(answers)
    if answers.client in known.clients:
        return known.clients_text
    entry = list(_client(answers))
    if not force:
        raise UsageError(
            f"{known.folder / CLIENTS} has no client {answers.client}, and is not touched. Add these lines under "
            "clients:, or let --force add them, and run init again. Nothing was written\n" + "\n".join(entry)
        )
    return _with_client(known, entry)


def _new_clients(answers: Answers) -> str:
    platform = [
        _Written(f"  {_node('graph_version', Platform().graph_version)}"),
        _Written("  # partner_agent: NAME", "as agreed with Meta, where you send for others"),
    ]
    head = [
        "# yaml-language-server: $schema=schema/clients.schema.json",
        "# Who sends, and for whom. Secrets are named here, never written: {env: …}, {file: …} or {connection: …}.",
        "",
        "platform:",
        *_laid_out(platform),
        "",
        "clients:",
    ]
    return "\n".join([*head, *_client(answers)]) + "\n"


def _client(answers: Answers) -> list[str]:
    name = answers.client
    pixel = _Written(f"    {_node('pixel_id', answers.pixel)}", "" if answers.pixel else PIXEL)
    country = _Written(f"    {_node('country', answers.country)}", "completes phone numbers where a row has no country")
    lines = [
        pixel,
        _Written(f"    token: {{env: {token_variable(name)}}}", "where the token is, never the token"),
        country if answers.country else _Written("    # country: US", country.comment),
        _Written(f"    {_node('timezone', answers.timezone)}") if answers.timezone else _Written("    # timezone: UTC"),
        _external_id(answers),
    ]
    return [f"  {_node(name, None)}", *_laid_out(lines)]


def _external_id(answers: Answers) -> _Written:
    if answers.external_id is None:
        return _Written(
            "    # external_id: {send: raw}", "hashed without it; must equal what the browser's pixel sends"
        )
    policy = dict(EXTERNAL_ID_POLICIES[answers.external_id])
    return _Written(f"    {_node('external_id', policy)}", "as the browser's pixel sends it, as you said")


PIXEL = "TODO: the pixel or dataset, 5 to 20 digits, as Events Manager shows it"


def _with_client(known: Known, entry: Sequence[str]) -> str:
    """The text with one more client, first under ``clients:``; all else stays as it is, or nothing is done."""
    before = known.clients_text or ""
    after = _CLIENTS_HEADING.sub(lambda heading: "\n".join([heading[0], *entry, ""]), before, count=1)
    if known.from_table or not _only_adds(before, after):
        raise UsageError(
            f"{known.folder / CLIENTS} holds its clients in another way than one block a client, so that one cannot be "
            "added by rule. Add it by hand (a table: with `offline-capi clients pull`), and run init again. Nothing "
            "was written\n" + "\n".join(entry)
        )
    return after


_CLIENTS_HEADING = re.compile(r"(?m)^clients:[ \t]*(?:#.*)?$")


def _only_adds(before: str, after: str) -> bool:
    try:
        old, new = yaml.safe_load(before), yaml.safe_load(after)
    except yaml.YAMLError:  # other indents than ours
        return False
    added = set(new["clients"]) - set(old["clients"])
    rest = {name: client for name, client in new["clients"].items() if name not in added}
    return len(added) == 1 and {**new, "clients": rest} == old
