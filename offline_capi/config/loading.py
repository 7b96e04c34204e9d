"""The configuration folder → one validated ``Deployment``, or every problem of every file at once."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from offline_capi.config.checks import ValidationScope, check_imports, check_sections
from offline_capi.config.client import Client, ClientTable
from offline_capi.config.client_table import ONE_PIXEL, find_shared_pixels, is_table, locate_pulled_file, read_pulled
from offline_capi.config.deployment import Deployment
from offline_capi.config.document import Document, Places, format_path, read_document
from offline_capi.config.environments import Overlaid, overlay_environment
from offline_capi.config.paths import anchor_path, find_project_folder
from offline_capi.config.platform import LEDGER_MARGIN, Platform
from offline_capi.config.queries import find_sql_folder
from offline_capi.config.run_texts import fill_in
from offline_capi.config.types import check_partner_agent
from offline_capi.config.upload import Upload
from offline_capi.config.wording import MISSING_MESSAGE, Finding, check_name, describe_errors, locate
from offline_capi.errors import ConfigError, Problem, UsageError
from offline_capi.runtime.nearest import did_you_mean

__all__ = ["SharedEnvironment", "load_clients", "load_config", "load_each", "load_one"]

CLIENTS_FILE = "clients.yml"
_SECTIONS = ("platform", "clients", "environments")

# Environment variable → setting of the platform that it overrides.
_OVERRIDES: Mapping[str, str] = {
    "OFFLINE_CAPI_GRAPH_URL": "graph_url",
    "OFFLINE_CAPI_GRAPH_VERSION": "graph_version",
    "OFFLINE_CAPI_LEDGER": "ledger",
    "OFFLINE_CAPI_STAGE": "stage",
}

_BY_VARIABLE = "graph_url_variable"


class SharedEnvironment(Mapping[str, str]):
    """An environment of which some names come from where others than the operator may write, as Airflow variables."""

    @abstractmethod
    def is_shared(self, name: str) -> bool:
        """Whether the value of ``name`` comes from there."""


# Valid sections instead of faulty ones, so that the rest of a file is still checked.
_STAND_INS: Mapping[str, Any] = {
    "client": "any",
    "window": {"column": "any"},
    "source": {"path": "any"},
    "event": {"name": "any", "id": "any", "action_source": "other"},
    "user_data": {"em": "any"},
}


def load_config(folder: str | Path, *, environ: Mapping[str, str] = os.environ) -> Deployment:
    """The configuration in ``folder``, complete and valid.

    Otherwise one ``ConfigError`` whose ``problems`` are all there are, over ``clients.yml`` and ``uploads/``. Nothing
    is resolved that a run may need only later: tokens, connections, ``${NAME}`` in paths.
    """
    clients, uploads = _load(Path(folder), environ)
    problems = [*clients.problems, *(problem for draft in uploads for problem in draft.problems)]
    if problems:
        raise _build_config_error(problems, Path(folder))
    return _build_deployment(Path(folder), clients, uploads, environ)


def load_each(
    folder: str | Path, *, environ: Mapping[str, str] = os.environ, only: str | None = None
) -> tuple[Deployment, dict[str, ConfigError]]:
    """What of the configuration is good, and for each broken upload its error, by name; for clients, ``clients.yml``.

    An upload whose own file is good but whose client or platform settings are broken counts as broken, too. With
    ``only``, other uploads are not read.
    """
    clients, uploads = _load(Path(folder), environ, only)
    errors = {CLIENTS_FILE: clients.problems} if clients.problems else {}
    for draft in uploads:
        problems = [*draft.problems, *_find_inherited_problems(draft, clients)]
        if problems:
            errors[draft.name] = [*errors.get(draft.name, []), *problems]
    good = [draft for draft in uploads if draft.name not in errors]
    return (
        _build_deployment(Path(folder), clients, good, environ),
        {name: _build_config_error(problems, Path(folder)) for name, problems in errors.items()},
    )


def load_one(folder: str | Path, upload: str, *, environ: Mapping[str, str] = os.environ) -> Deployment:
    """The configuration as one upload needs it: what is wrong with other uploads and their clients does not matter."""
    names = sorted({path.stem for path in _list_upload_files(Path(folder))})
    if upload not in names:
        guess = did_you_mean(upload, names, otherwise=f"; one of: {', '.join(names) or 'none yet'}")
        raise UsageError(f'no upload "{upload}" in {Path(folder) / "uploads"}{guess}')
    deployment, errors = load_each(folder, environ=environ, only=upload)
    if upload in errors:
        raise errors[upload]
    return deployment


def load_clients(folder: str | Path, *, environ: Mapping[str, str] = os.environ) -> Deployment:
    """The platform and its clients, without any upload; raises ``ConfigError`` where ``clients.yml`` is faulty."""
    deployment, errors = load_each(folder, environ=environ, only="")  # no upload has this name
    for error in errors.values():
        raise error
    return deployment


# ---------------------------------------------------------------------------------------------- drafts


@dataclass(frozen=True)
class _LoadedClients:
    """``clients.yml`` as far as it is good; ``platform`` is ``None`` where it is not."""

    places: Places
    platform: Platform | None
    clients: dict[str, Client]
    named: Collection[str]
    problems: list[Problem]
    table: ClientTable | None = None
    environment: str = ""
    connections: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _UploadDraft:
    name: str
    places: Places
    upload: Upload | None
    problems: list[Problem]


def _load(
    folder: Path, environ: Mapping[str, str], only: str | None = None
) -> tuple[_LoadedClients, list[_UploadDraft]]:
    clients = _load_clients(folder / CLIENTS_FILE, environ)
    python = clients.platform.python if clients.platform else None
    catalogs = clients.platform.iceberg_catalogs if clients.platform else None
    connects = clients.platform is None or clients.platform.dbt.connection is not None
    assets = clients.platform.airflow.assets if clients.platform else None
    scope = ValidationScope(
        find_sql_folder(folder), clients.named, clients.environment, python, catalogs, connects, assets
    )
    files = [path for path in _list_upload_files(folder) if only in (None, path.stem)]
    # A row of a table may be faulty and its client left out: its rows are deferred, and nothing else fails for it.
    check_client = bool(clients.named) and clients.table is None
    drafts = [_load_upload(path, scope, check_client=check_client) for path in files]
    return clients, [*_refuse_duplicates(drafts)]


def _build_deployment(
    folder: Path, clients: _LoadedClients, uploads: Sequence[_UploadDraft], environ: Mapping[str, str]
) -> Deployment:
    deployment = Deployment(
        folder=folder,
        platform=_anchor_stage(clients.platform or Platform(), folder),
        clients=clients.clients,
        clients_from=clients.table,
        environment=clients.environment,
        connections=dict(clients.connections),
        uploads={draft.name: draft.upload for draft in uploads if draft.upload is not None},
    )
    deployment._places.update({draft.name: draft.places for draft in uploads})
    deployment._environ = environ
    return deployment


def _anchor_stage(platform: Platform, folder: Path) -> Platform:
    """With the stage's path as seen from the project folder, wherever it was named."""
    return platform.model_copy(update={"stage": anchor_path(platform.stage, find_project_folder(folder))})


def _read(path: Path) -> Document:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        advice = "does not exist; a configuration folder holds clients.yml and uploads/*.yml"
        return Document(None, Places(str(path)), (Problem(str(path), None, "", advice),))
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        return Document(None, Places(str(path)), (Problem(str(path), None, "", message),))
    document = read_document(raw, str(path))
    if document.data is None or isinstance(document.data, dict):
        return document
    shape = Problem(str(path), 1, "", "needs a mapping, one key: value a line")
    return Document(None, document.places, (*document.problems, shape))


def _locate_problems(document: Document, found: Iterable[Finding]) -> Iterator[Problem]:
    """Findings at their lines, without those about a value that was withheld as a secret."""
    for loc, message in found:
        if not document.is_withheld(loc):
            place = locate(loc, document.data)
            # What is missing stands nowhere; the line of the node that should hold it is the nearest.
            line = document.places.find_line(place) if place else None
            path = loc if message.startswith(MISSING_MESSAGE) else place
            todo = document.places.todos.get(line or 0)
            yield Problem(document.places.file, line, format_path(path), f"{message}. {todo}" if todo else message)


# ---------------------------------------------------------------------------------------------- clients.yml


def _load_clients(path: Path, environ: Mapping[str, str]) -> _LoadedClients:
    document = _read(path)
    data: dict[str, Any] = document.data if isinstance(document.data, dict) else {}
    found: list[Finding] = []
    if document.data is not None:
        found += _find_unknown_sections(data)
    clients = _read_section(data, "clients", found)
    table = _read_table(clients, found)
    clients, pulled = read_pulled(locate_pulled_file(path.parent, environ)) if is_table(clients) else (clients, [])
    project = find_project_folder(path.parent)
    environments, platform_data = (_read_section(data, key, found) for key in ("environments", "platform"))
    chosen, unknown = overlay_environment(environments, platform_data, clients, environ, found)
    good = dict(_validate_clients(chosen.clients, found, project))
    platform, overridden = _build_platform(chosen, environ, found, project)
    good = _fill_in_agents(good, platform, chosen.name, found)
    found += _report_shared_pixels(good, document)
    found += _check_ledger_period(platform, good)
    found += _check_platform_imports(platform)
    problems = [*document.problems, *pulled, *unknown, *overridden, *_locate_problems(document, found)]
    usable = {name: _add_app_secret(one, platform) for name, one in good.items() if not _is_affected(name, problems)}
    sound = document.data is not None and all(problem.path.startswith("clients.") for problem in problems)
    return _LoadedClients(
        document.places,
        platform if sound else None,
        usable,
        list(clients),
        problems,
        table,
        chosen.name,
        chosen.connections,
    )


def _read_table(clients: Mapping[str, Any], found: list[Finding]) -> ClientTable | None:
    """Where the clients' table is, if ``clients`` names one."""
    if not is_table(clients):
        return None
    try:
        return ClientTable.model_validate(clients)
    except ValidationError as error:
        found += ((("clients", *loc), message) for loc, message in describe_errors(error, ClientTable, clients))
    return None


def _add_app_secret(client: Client, platform: Platform | None) -> Client:
    """With the platform's own app secret, where the token is one of its app: then every request carries the proof."""
    app = platform.app if platform else None
    if app is None or client.app_secret is not None or client.authorized_by in (None, "token"):
        return client
    return client.model_copy(update={"app_secret": app.secret})


def _fill_in_agents(
    clients: Mapping[str, Client], platform: Platform | None, environment: str, found: list[Finding]
) -> dict[str, Client]:
    """Clients with the names in ``partner_agent`` filled in, their own or the platform's."""
    filled = dict(clients)
    for name, client in clients.items():
        template = client.partner_agent or (platform.partner_agent if platform else None)
        if template is None or "{" not in template:
            continue
        here = ("clients", name, "partner_agent") if client.partner_agent else ("platform", "partner_agent")
        agent = fill_in(template, {"client": name, "environment": environment})
        try:
            filled[name] = client.model_copy(update={"partner_agent": check_partner_agent(agent)})
        except ValueError as error:
            found.append((here, f'is "{agent}" for client "{name}", which {error}'))
    return filled


def _is_affected(client: str, problems: Iterable[Problem]) -> bool:
    return any(f"{problem.path}.".startswith(f"clients.{client}.") for problem in problems)


def _find_unknown_sections(data: Mapping[str, Any]) -> Iterator[Finding]:
    for key in data:
        if key not in _SECTIONS:
            guess = did_you_mean(key, _SECTIONS) or ";"
            yield (key,), f"is not a key here{guess} one of: {', '.join(_SECTIONS)}"
    if not data.get("clients"):
        yield ("clients",), "is missing; name at least one client with pixel_id and token"


def _read_section(data: Mapping[str, Any], key: str, found: list[Finding]) -> dict[str, Any]:
    section = data.get(key)
    if isinstance(section, dict):
        return section
    if section is not None:
        found.append(((key,), "needs a mapping, one key: value a line"))
    return {}


def _validate_clients(clients: Mapping[str, Any], found: list[Finding], project: Path) -> Iterator[tuple[str, Client]]:
    for name, data in clients.items():
        loc = ("clients", name)
        found += ((loc, message) for message in check_name(name))
        client, faults = _validate_node(Client, data, name, project)
        found += (((*loc, *inner), message) for inner, message in faults)
        if isinstance(client, Client):
            yield name, client


def _validate_node(
    model: type[BaseModel], data: object, name: str, project: Path | None = None
) -> tuple[BaseModel | None, list[Finding]]:
    """The node as a model, if it is valid, and what is wrong with it; its paths as seen from the project folder."""
    foreign = dict(_find_foreign_keys(data))
    named = {**data, "name": name} if isinstance(data, dict) else data
    try:
        return model.model_validate(named, context=project), [*foreign.items()]
    except ValidationError as error:
        faults = describe_errors(error, model, data)
    return None, [*foreign.items(), *(fault for fault in faults if fault[0] not in foreign)]


def _find_foreign_keys(data: object) -> Iterator[Finding]:
    """Keys that a model would take although the author may not write them."""
    if isinstance(data, dict) and "name" in data:
        yield ("name",), "is not a key here: the name of a client is its key, that of an upload its file's name"
    if isinstance(data, dict) and {"pixel_id", "dataset_id"} <= set(data):
        yield ("dataset_id",), "is the same as pixel_id; keep one of the two"


def _report_shared_pixels(clients: Mapping[str, Client], document: Document) -> Iterator[Finding]:
    for owner, name in find_shared_pixels(clients):
        line = document.places.find_line(("clients", owner, "pixel_id"))
        yield ("clients", name, "pixel_id"), f'is also the pixel of client "{owner}" (line {line}); {ONE_PIXEL}'


def _check_ledger_period(platform: Platform | None, clients: Mapping[str, Client]) -> Iterator[Finding]:
    """An explicit retention of the ledger that is shorter than a client's longer window needs."""
    if platform is None or "ledger" not in platform.retention.model_fields_set or not clients:
        return
    name, longest = max(((name, one.physical_store_max_age) for name, one in clients.items()), key=lambda one: one[1])
    if platform.retention.ledger < longest + LEDGER_MARGIN:
        yield (
            ("platform", "retention", "ledger"),
            f'is too short for client "{name}", whose physical_store_max_age is {longest.days} days: an event that the '
            f"ledger has forgotten by then would be sent and counted again; {(longest + LEDGER_MARGIN).days}d or more",
        )


def _check_platform_imports(platform: Platform | None) -> Iterator[Finding]:
    """Notifiers of the platform whose module ``platform.python`` does not name."""
    if platform is not None:
        here = ("platform", "airflow")
        yield from check_imports(platform.airflow, here, platform.python)
        yield from check_imports(platform.airflow.health, (*here, "health"), platform.python)


def _build_platform(
    chosen: Overlaid, environ: Mapping[str, str], found: list[Finding], project: Path
) -> tuple[Platform | None, list[Problem]]:
    """The platform's settings under those of variables, whose faults are the variables', not the file's.

    Ledger and stage of a chosen environment are its own: they are made of the variables, or come before them.
    """
    data = chosen.platform
    ours = ("ledger", "stage") if chosen.name else ()
    variables = {key: name for name, key in _OVERRIDES.items() if environ.get(name) and key not in ours}
    overrides = {key: _read_override(name, environ[name]) for key, name in variables.items()}
    name = variables.get("graph_url", "")
    if name and isinstance(environ, SharedEnvironment) and environ.is_shared(name) and not data.get(_BY_VARIABLE):
        message = (
            "is an Airflow variable: who edits variables could redirect every token. Set it in the"
            " environment of the workers, or platform.graph_url in clients.yml, and delete the variable; or allow it"
            f" there with platform: {_BY_VARIABLE}: true"
        )
        return None, [Problem("Airflow", None, name, message)]
    try:
        return Platform.model_validate({**data, **overrides}, context=project), []
    except ValidationError as error:
        faults = describe_errors(error, Platform, {**data, **overrides})
    found += ((("platform", *loc), message) for loc, message in faults if loc[0] not in variables)
    return None, [
        Problem("environment", None, variables[str(loc[0])], message) for loc, message in faults if loc[0] in variables
    ]


def _read_override(name: str, value: str) -> str | dict[str, str]:
    """The value of a variable; of a URL that may hold a password, only where it is found."""
    secret = name == "OFFLINE_CAPI_LEDGER" and re.search(r"@|password", value)
    return {"env": name} if secret else value


# ---------------------------------------------------------------------------------------------- uploads/*.yml


def _list_upload_files(folder: Path) -> list[Path]:
    """Upload files by name; editors' and systems' hidden files are none."""
    found = (path for suffix in ("*.yml", "*.yaml") for path in (folder / "uploads").glob(suffix))
    return sorted(path for path in found if not path.name.startswith("."))


def _refuse_duplicates(drafts: Iterable[_UploadDraft]) -> Iterator[_UploadDraft]:
    """Drafts, the second of one name (``x.yml`` and ``x.yaml``) with a problem and without its upload."""
    first: dict[str, str] = {}
    for draft in drafts:
        owner = first.setdefault(draft.name, draft.places.file)
        if owner == draft.places.file:
            yield draft
        else:
            clash = Problem(draft.places.file, None, "", f"is an upload of the same name as {owner}; rename one")
            yield _UploadDraft(draft.name, draft.places, None, [*draft.problems, clash])


def _load_upload(path: Path, scope: ValidationScope, *, check_client: bool) -> _UploadDraft:
    document = _read(path)
    problems = [*document.problems, *(Problem(str(path), None, "", text) for text in check_name(path.stem))]
    if not isinstance(document.data, dict):
        return _UploadDraft(path.stem, document.places, None, problems)
    upload, found = _validate_node(Upload, document.data, path.stem)
    sound, stand_in = (set(Upload.model_fields), upload) if upload else _patch_sections(document.data, found)
    if isinstance(stand_in, Upload):
        # Without a readable clients.yml, every client would be unknown: one problem there, not one a file here.
        sections = sound if check_client else sound - {"client"}
        found += check_sections(stand_in, sections, scope)
    problems += _locate_problems(document, found)
    good = upload if isinstance(upload, Upload) and not problems else None
    return _UploadDraft(path.stem, document.places, good, problems)


def _patch_sections(data: Mapping[str, Any], found: Sequence[Finding]) -> tuple[set[str], BaseModel | None]:
    """The names of the sound sections, and an upload made of them and of stand-ins."""
    faulty = {str(loc[0]) for loc, _ in found if loc}
    sound = {key: value for key, value in data.items() if key not in faulty}
    keys = data.get("user_data")
    if "user_data" in faulty and isinstance(keys, dict):
        bad = {loc[1] for loc, _ in found if loc[:1] == ("user_data",) and len(loc) > 1}
        sound["user_data"] = {key: value for key, value in keys.items() if key not in bad} or _STAND_INS["user_data"]
    patched, _ = _validate_node(Upload, {**_STAND_INS, **sound}, "any")
    return set(sound), patched


def _find_inherited_problems(draft: _UploadDraft, clients: _LoadedClients) -> Iterator[Problem]:
    """Why an upload cannot run although its own file is good."""
    if clients.platform is None:
        yield Problem(draft.places.file, None, "", f"cannot run: see the problems of {clients.places.file}")
        yield from (problem for problem in clients.problems if problem.file != clients.places.file)  # the environment's
    name = draft.upload.client.constant if draft.upload else None
    if name is not None and name in clients.named and name not in clients.clients:
        line = draft.places.find_line(("client",))
        yield Problem(
            draft.places.file, line, "client", f'client "{name}" has problems of its own in {clients.places.file}'
        )


# ---------------------------------------------------------------------------------------------- the error


def _build_config_error(problems: Sequence[Problem], folder: Path) -> ConfigError:
    ordered = sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line or 0, problem.path))
    files = sorted({problem.file for problem in ordered})
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    place = files[0] if len(files) == 1 else f"{len(files)} files of {folder}"
    return ConfigError(f"{count} in {place}", ordered)
