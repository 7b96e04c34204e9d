"""A proposal → the files of a deployment, as a person would write them, with the reason at the end of each line."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

import yaml

from offline_capi.audit.yaml_lines import render_yaml_line
from offline_capi.config import USER_DATA_KEYS, Platform, generate_json_schema
from offline_capi.errors import UsageError
from offline_capi.onboarding.folder import CLIENTS, ProjectState
from offline_capi.onboarding.lines import Answers, Confidence, Line
from offline_capi.onboarding.origins import Origin
from offline_capi.onboarding.proposal import Proposal
from offline_capi.onboarding.questions import EXTERNAL_ID_POLICIES
from offline_capi.runtime.border import visible

__all__ = ["PIXEL", "name_token_variable", "write_up"]

MAX_LINE_CHARS = 118
_MAX_COMMENT_COLUMN = 44  # longer lines do not move the comments of their neighbours

DAG_FILE = """# Airflow DAGs of offline_capi: one for each file in uploads/. To change a DAG, change its YAML.
from pathlib import Path

from offline_capi.airflow_provider import upload_dags

globals().update(upload_dags(Path(__file__).parent))
"""


def write_up(name: str, proposal: Proposal, origin: Origin, answers: Answers, known: ProjectState) -> dict[Path, str]:
    """Every file of the deployment that the upload needs and that is not there: path → text.

    An existing ``clients.yml`` that does not name the client gets it; nothing else in it is changed.
    """
    folder = known.folder
    files = {folder / CLIENTS: _write_clients(answers, known, origin.platform)}
    if origin.query is not None:
        files[known.queries / "extract" / f"{name}.sql"] = origin.query(name, proposal.lines)
    files[folder / "uploads" / f"{name}.yml"] = _write_upload(name, proposal, origin)
    if not known.has_dags:
        files[folder / "offline_capi_dags.py"] = DAG_FILE
    return {**files, **_write_schemas(folder / "schema")}


def _write_schemas(folder: Path) -> dict[Path, str]:
    """What the first comment of the files points an editor to, where it is not there."""
    missing = {kind: path for kind in ("clients", "upload") if not (path := folder / f"{kind}.schema.json").exists()}
    schemas = generate_json_schema() if missing else {}
    return {path: f"{json.dumps(schemas[kind], indent=2, ensure_ascii=False)}\n" for kind, path in missing.items()}


# ---------------------------------------------------------------------------------------------- lines with comments


class _CommentedLine(NamedTuple):
    """A line of YAML and its comment."""

    text: str
    comment: str = ""


def _format_node(key: str, node: object) -> str:
    """``key: node`` in one line; a key without a value where it is unknown."""
    line = render_yaml_line({key: node})
    doubled = re.sub(r"'([^'\"\\]*)'", r'"\1"', line)  # as our samples quote
    line = doubled if _is_read_as(doubled, {key: node}) else line
    return re.sub(r": null(?=[,}])", ": ", re.sub(r": null$", ":", line))


def _is_read_as(line: str, wanted: dict[str, object]) -> bool:
    try:
        return bool(yaml.safe_load(f"{{{line}}}") == wanted)
    except yaml.YAMLError:
        return False


def _align_comments(lines: Sequence[_CommentedLine]) -> Iterator[str]:
    """The comments of neighbours stand in one column; what is too long for that has its comment above."""
    column = max((len(text) for text, comment in lines if comment and len(text) <= _MAX_COMMENT_COLUMN), default=0) + 2
    for text, words in lines:
        comment = " ".join(words.split())  # names of columns may hold line breaks, which would end the comment
        line = f"{text:<{column}}# {comment}" if len(text) < column else f"{text}  # {comment}"
        if comment and len(line) > MAX_LINE_CHARS:
            indent = text[: len(text) - len(text.lstrip())]
            yield from (f"{indent}# {part}" for part in wrap(comment, MAX_LINE_CHARS - len(indent) - 2))
            yield text
        else:
            yield line if comment else text


# ---------------------------------------------------------------------------------------------- uploads/NAME.yml


def _write_upload(name: str, proposal: Proposal, origin: Origin) -> str:
    rows = "rows" if origin.sample.whole else "first rows"
    looked = f"{len(origin.sample):,} {rows} of {visible(origin.described)}"
    parts = [
        ["# yaml-language-server: $schema=../schema/upload.schema.json",
         f"# Proposed by `offline-capi init` from {looked}.",
         "# Review every line; its comment is what was counted. TODO: `offline-capi check` fails until you answer."],
        _write_section("client", proposal),
        _write_source(name, origin),
        _write_schedule(proposal),
        *(_write_section(section, proposal) for section in ("event", "user_data", "custom_data", "filter", "consent")),
        list(_align_comments([_LIMITS])),
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


_LIMITS = _CommentedLine(
    "limits: {max_invalid: 5%}", "up to so many invalid rows a run is complete, and names them; without it none may be"
)


def _write_source(name: str, origin: Origin) -> list[str]:
    node = {**origin.node, **({"sql": f"extract/{name}.sql"} if origin.query else {})}
    lines = [_CommentedLine(f"  {_format_node(key, value)}", origin.notes.get(key, "")) for key, value in node.items()]
    return ["source:", *_align_comments(lines)]


def _write_schedule(proposal: Proposal) -> list[str]:
    hint = _CommentedLine('# schedule: "0 3 * * *"', "daily at 3 in the window's zone; without it, by hand only")
    return [*_align_comments([hint]), *_write_section("window", proposal)]


def _write_section(section: str, proposal: Proposal) -> list[str]:
    lines = list(_merge_lines(proposal.list_section(section)))
    if not lines or lines[0].key == "":
        return list(_align_comments([_comment_line(line, section, "") for line in lines]))
    empty = all(line.confidence is Confidence.UNSURE for line in lines)
    heading = f"{'# ' if empty else ''}{section}:"
    if section == "user_data":
        active = {line.key for line in lines if line.confidence is not Confidence.UNSURE}
        comment = f"a bare name is a column; {_describe_hashing(active)}"
        head = [line.rstrip() for line in _align_comments([_CommentedLine(f"{heading:<18}", comment)])]
        return [*head, *_align_comments([_comment_line(line, line.key, "  ") for line in lines])]
    return [heading, *_align_comments([_comment_line(line, line.key, "  ") for line in lines])]


def _describe_hashing(keys: Collection[str]) -> str:
    """Which of the keys are hashed before they are sent, and which Meta wants as they are."""
    raw = [key for key in USER_DATA_KEYS if key in keys and USER_DATA_KEYS[key].hashing == "never"]
    policy = ["external_id as its client says"] if "external_id" in keys else []
    others = [*([f"{', '.join(raw)} not hashed, as Meta wants"] if raw else []), *policy]
    return "values are hashed before they are sent" + (f", but {', '.join(others)}" if others else "")


def _comment_line(line: Line, key: str, indent: str) -> _CommentedLine:
    unsure = line.confidence is Confidence.UNSURE
    return _CommentedLine(
        f"{indent}{'# ' if unsure else ''}{_format_node(key, line.node)}", f"{'unsure: ' * unsure}{line.because}"
    )


def _merge_lines(lines: Sequence[Line]) -> Iterator[Line]:
    """Several columns of one key are one line, where the first of them stands."""
    for line in lines:
        same = [other for other in lines if (other.key, other.confidence) == (line.key, Confidence.TAKEN)]
        if line.confidence is not Confidence.TAKEN or len(same) == 1 or line.section != "user_data":
            yield line
        elif line is same[0]:
            because = "; ".join(f"{other.columns[0]}: {other.because}" for other in same)
            columns = tuple(column for other in same for column in other.columns)
            yield Line(line.section, line.key, [other.node for other in same], because, Confidence.TAKEN, columns)


# ---------------------------------------------------------------------------------------------- clients.yml


def name_token_variable(client: str) -> str:
    """The environment variable in which a client's token is stored: ``acme-bank`` → ``ACME_BANK_TOKEN``."""
    word = re.sub(r"[^A-Z0-9]+", "_", client.upper()).strip("_")
    return f"{'_' if word[:1].isdigit() else ''}{word or 'CLIENT'}_TOKEN"


def _write_clients(answers: Answers, known: ProjectState, platform: Mapping[str, object]) -> str:
    if known.clients_text is None:
        return _write_new_clients(answers, platform)
    if answers.client in known.clients:
        return known.clients_text
    return _add_client(known, list(_write_client(answers)))


def _write_new_clients(answers: Answers, needed: Mapping[str, object]) -> str:
    platform = [
        _CommentedLine(f"  {_format_node('graph_version', Platform().graph_version)}"),
        _CommentedLine("  # partner_agent: NAME", "as agreed with Meta, where you send for others"),
        *(_CommentedLine(f"  {_format_node(key, node)}") for key, node in needed.items()),
    ]
    head = [
        "# yaml-language-server: $schema=schema/clients.schema.json",
        "# Who sends, and for whom. Secrets are named here, never written: {env: …}, {file: …} or {connection: …}.",
        "",
        "platform:",
        *_align_comments(platform),
        "",
        "clients:",
    ]
    return "\n".join([*head, *_write_client(answers)]) + "\n"


def _write_client(answers: Answers) -> list[str]:
    name = answers.client
    pixel = _CommentedLine(f"    {_format_node('pixel_id', answers.pixel)}", "" if answers.pixel else PIXEL)
    country = _CommentedLine(
        f"    {_format_node('country', answers.country)}", "completes phone numbers where a row has no country"
    )
    lines = [
        pixel,
        _CommentedLine(f"    token: {{env: {name_token_variable(name)}}}", "where the token is, never the token"),
        country if answers.country else _CommentedLine("    # country: US", country.comment),
        _CommentedLine(f"    {_format_node('timezone', answers.timezone)}")
        if answers.timezone
        else _CommentedLine("    # timezone: UTC"),
        _write_external_id(answers),
    ]
    return [f"  {_format_node(name, None)}", *_align_comments(lines)]


def _write_external_id(answers: Answers) -> _CommentedLine:
    if answers.external_id is None:
        return _CommentedLine(
            "    # external_id: {send: raw}", "hashed without it; must equal what the browser's pixel sends"
        )
    policy = dict(EXTERNAL_ID_POLICIES[answers.external_id])
    return _CommentedLine(f"    {_format_node('external_id', policy)}", "as the browser's pixel sends it, as you said")


PIXEL = "TODO: the pixel or dataset, 5 to 20 digits, as Events Manager shows it"


def _add_client(known: ProjectState, entry: Sequence[str]) -> str:
    """The text with one more client, first under ``clients:``; all else stays as it is, or nothing is done."""
    before = known.clients_text or ""
    after = _CLIENTS_HEADING.sub(lambda heading: "\n".join([heading[0], *entry, ""]), before, count=1)
    if known.from_table or not _is_only_addition(before, after):
        raise UsageError(
            f"{known.folder / CLIENTS} holds its clients in another way than one block a client, so that one cannot be "
            "added by rule. Add it by hand (a table: with `offline-capi clients pull`), and run init again. Nothing "
            "was written\n" + "\n".join(entry)
        )
    return after


_CLIENTS_HEADING = re.compile(r"(?m)^clients:[ \t]*(?:#.*)?$")


def _is_only_addition(before: str, after: str) -> bool:
    try:
        old, new = yaml.safe_load(before), yaml.safe_load(after)
    except yaml.YAMLError:  # other indents than ours
        return False
    added = set(new["clients"]) - set(old["clients"])
    rest = {name: client for name, client in new["clients"].items() if name not in added}
    return len(added) == 1 and {**new, "clients": rest} == old
