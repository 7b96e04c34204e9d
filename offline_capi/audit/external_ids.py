"""Whether the server's ``external_id`` equals the browser's for the same people, and what would make it so.

Meta joins the two by this id alone, and silently does not where one side hashes, trims, pads or lower-cases and the
other does not (meta-capi.md 2.5, D:parameters/external-id). The browser's ids are searched among the server's in
every form that people are known to give them; only how many were found leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from offline_capi.audit.forms import Form, Remedy, count_kinds, list_forms
from offline_capi.audit.reading import hash_audited_columns, list_clients, list_profiles, read_audited_rows
from offline_capi.audit.yaml_lines import render_yaml_line
from offline_capi.config import Upload
from offline_capi.config.client import Client, ExternalIdPolicy
from offline_capi.errors import UsageError
from offline_capi.identity import digest
from offline_capi.mapping import select_clients
from offline_capi.model import Window
from offline_capi.pipeline import Services

__all__ = ["ExternalIdCheck", "Found", "check_external_ids", "describe_policy", "list_uploads_with_ids"]

_MIN_SHARE = 0.01  # of the browser's ids: fewer may fit some form by chance
_SUFFICIENT_SHARE = 0.95
_MAX_FORMS = 3


@dataclass(frozen=True, slots=True)
class Found:
    """How many of the browser's ids are the server's in one form. ``write`` is file → YAML line, ``remedy`` is what no
    YAML can do; both are empty for what is sent already."""

    form: str
    ids: int
    write: Mapping[str, str]
    remedy: str = ""
    now: bool = False


@dataclass(frozen=True, slots=True)
class ExternalIdCheck:
    """What was found, the form of most ids first; ``browser_kinds`` counts the browser's ids by kind."""

    client: str
    uploads: tuple[str, ...]
    browser_ids: int
    browser_kinds: Mapping[str, int]
    server_ids: int
    found: tuple[Found, ...]

    @property
    def agrees(self) -> bool:
        """Ids of the same people are equal as they are sent now, and in no other form."""
        return len(self.found) == 1 and self.found[0].now

    def to_json(self) -> dict[str, Any]:
        return {
            "client": self.client,
            "uploads": list(self.uploads),
            "agrees": self.agrees,
            "browser": {"ids": self.browser_ids, "look_like": dict(self.browser_kinds)},
            "server": {"ids": self.server_ids},
            "found": [
                {
                    "form": one.form,
                    "sent_now": one.now,
                    "ids": one.ids,
                    "share_of_browser": one.ids / self.browser_ids,
                    "share_of_server": one.ids / self.server_ids,
                    "write": dict(one.write),
                    "remedy": one.remedy,
                }
                for one in self.found
            ],
        }


def describe_policy(policy: ExternalIdPolicy, profile: str) -> str:
    """How a client's ids go out, and which of Meta's tools would send the same (meta-capi.md 2.5 and 12)."""
    name = profile.partition("@")[0]
    if name == "sdk" or (name == "meta" and policy.send == "raw" and not policy.lower):
        written = "as written" if name == "sdk" or not policy.trim else "as written, without outer blanks"
        return f"raw, {written}: equals a pixel that is given the id raw, and the official SDK"
    if name == "param_builder" or (policy.send == "sha256" and policy.lower):
        exact = "" if name == "param_builder" else ", for ids without blanks inside"
        return f"hashed, in lower case: equals Meta's parameter builder{exact}"
    if policy.send == "sha256":
        return "hashed, as written: equals a pixel that is given this hash; the parameter builder lower-cases ids first"
    return "raw, in lower case: equals none of Meta's tools; only a site that lower-cases its ids itself"


def list_uploads_with_ids(client: str, services: Services) -> list[Upload]:
    """The uploads that send ids of a client."""
    deployment = services.deployment
    mapped = (one for one in deployment.uploads.values() if "external_id" in one.user_data)
    return [one for one in mapped if client in list_clients(one, deployment)]


def check_external_ids(
    client: str, browser: pa.Array, uploads: Sequence[tuple[Upload, Window]], services: Services
) -> ExternalIdCheck:
    """Search the browser's ids among those of the client's rows in these uploads and windows.

    Raises ``UsageError`` where there is nothing to compare with.
    """
    browser, settings = browser.unique(), services.deployment.clients[client]
    server = _read_server_ids(client, uploads, services)
    if not len(server.sent):
        raise UsageError(f"{client} has no external_id in these windows; name others with --since and --until")
    now = Form("as sent now", server.sent, Remedy())
    forms = _list_all_forms(now, server, browser, settings)
    return ExternalIdCheck(
        client=client,
        uploads=tuple(upload.name for upload, _ in uploads),
        browser_ids=len(browser),
        browser_kinds=count_kinds(browser),
        server_ids=len(server.sent),
        found=tuple(
            _describe_match(form, ids, client, uploads, services) for form, ids in _match_forms(forms, browser)
        ),
    )


# ---------------------------------------------------------------------------------------------- the server's ids


class _ServerIds(NamedTuple):
    """Distinct ids of a client: as its rows hold them (where those are readable), and as they are sent."""

    readable: pa.Array
    sent: pa.Array


def _read_server_ids(client: str, uploads: Sequence[tuple[Upload, Window]], services: Services) -> _ServerIds:
    readable, sent = [pa.array([], pa.string())], [pa.array([], pa.string())]
    for upload, window in uploads:
        for batch in read_audited_rows(upload, window, services):
            rows = select_clients(batch.mapped, [client])
            columns = rows.identity.get("external_id", ())
            rows = replace(rows, identity={"external_id": columns})
            readable += [column.values.unique() for column in columns if not column.hashed]
            sent += [column.values.unique() for column in hash_audited_columns(rows, upload, services.deployment)]
    return _ServerIds(_collect_distinct(readable), _collect_distinct(sent))


def _collect_distinct(arrays: Iterable[pa.Array]) -> pa.Array:
    return pa.chunked_array(list(arrays)).unique().drop_null()


# ---------------------------------------------------------------------------------------------- comparing


def _list_all_forms(now: Form, server: _ServerIds, browser: pa.Array, settings: Client) -> Iterator[Form]:
    yield now
    yield from list_forms(server.readable, browser, settings.external_id)
    hashed_here = browser.filter(pc.is_in(digest(pc.utf8_trim_whitespace(browser)), server.sent))
    yield Form("raw, where the server sends its hash", hashed_here, Remedy(description=_HASH_IN_BROWSER_ADVICE))


_HASH_IN_BROWSER_ADVICE = (
    "hash the id in the browser as well, or map a column that holds it readable and write send: raw"
)


def _match_forms(forms: Iterator[Form], browser: pa.Array) -> Iterator[tuple[Form, int]]:
    """The form of most ids, then the form of most that are left, while these are too many for chance."""
    hits: list[tuple[Form, pa.BooleanArray]] = []
    for form in forms:
        hits.append((form._replace(values=None), pc.is_in(browser, value_set=form.values)))
        if _count(hits[-1][1]) >= _SUFFICIENT_SHARE * len(browser):
            break
    left = pa.repeat(pa.scalar(value=True), len(browser))
    for _ in range(_MAX_FORMS):
        form, hit = max(hits, key=lambda one: _count(pc.and_(one[1], left)))
        count = _count(pc.and_(hit, left))
        if count < max(1, _MIN_SHARE * len(browser)):
            return
        yield form, count
        left = pc.and_not(left, hit)


def _count(mask: pa.BooleanArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


# ---------------------------------------------------------------------------------------------- what to do


def _describe_match(
    form: Form, ids: int, client: str, uploads: Sequence[tuple[Upload, Window]], services: Services
) -> Found:
    if form.description == "as sent now":
        return Found(form.description, ids, {}, now=True)
    write = dict(_render_yaml_lines(form.remedy, client, uploads, services))
    return Found(form.description, ids, write, form.remedy.description)


def _render_yaml_lines(
    remedy: Remedy, client: str, uploads: Sequence[tuple[Upload, Window]], services: Services
) -> Iterator[tuple[str, str]]:
    settings = services.deployment.clients[client]
    wanted: dict[str, object] = {}
    if remedy.policy is not None and remedy.policy != settings.external_id:
        wanted["external_id"] = remedy.policy.model_dump(exclude_defaults=True) or {"send": remedy.policy.send}
    if any(
        {one.partition("@")[0] for one in list_profiles(upload, services.deployment)} != {"meta"}
        for upload, _ in uploads
    ):
        wanted["profile"] = "meta"  # no other profile heeds a policy
    if wanted and remedy.policy is not None:
        yield "clients.yml", render_yaml_line({client: wanted})
    for upload, _ in uploads:
        columns = [spec.column for spec in upload.user_data["external_id"] if spec.column]
        if remedy.field and columns:
            yield f"uploads/{upload.name}.yml", render_yaml_line({"external_id": remedy.field(columns[0])})
