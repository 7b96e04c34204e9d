"""``manifest.json`` of a dbt project: which relation a name stands for, and what its contract promises.

The file is written by dbt and read as untrusted: the name of a relation goes into a query only where it is a chain of
identifiers. Of columns without a type, ``catalog.json`` next to it is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from offline_capi.config.dbt import DbtName
from offline_capi.config.paths import anchor_path
from offline_capi.errors import SourceError
from offline_capi.model.contract import ContractColumn, DataContract, classify_sql_type
from offline_capi.runtime.border import names_among, shown
from offline_capi.runtime.nearest import did_you_mean
from offline_capi.sources.files.locate import with_variables
from offline_capi.storage.filesystem import explain_store_errors, hide_credentials, open_filesystem

__all__ = ["DbtColumn", "DbtManifest", "DbtRelation", "read_manifest"]

SETTING = "platform.dbt.manifest"
#: Manifest schemas that dbt 1.5 to 1.11 write; a newer one is read as well, and `check` says that it was not tried.
OLDEST_SCHEMA, NEWEST_SCHEMA = 9, 12
MAX_MANIFEST_MIB = 1_024
_NOTHING = "Nothing was sent; repeating is safe."

#: Texts of a manifest that nobody here reads, and most of its size.
_HEAVY = frozenset({
    "raw_code", "compiled_code", "raw_sql", "compiled_sql", "macro_sql", "block_contents", "extra_ctes",
    "unrendered_config", "refs", "depends_on", "docs", "doc_blocks",
})  # fmt: skip
_KEPT_SECTIONS = ("metadata", "nodes", "sources", "disabled")
_BUILT = ("model", "seed", "snapshot")

#: An identifier as adapters quote it. A quote inside of one, a line end or a comment is not one.
_QUOTED = r"\"[^\"\\\x00-\x1f]+\"|`[^`\\\x00-\x1f]+`|\[[^\]\[\\\x00-\x1f]+\]"
_BARE = r"[A-Za-z_][\w$]*(?:-[\w$]+)*"
_RELATION = re.compile(rf"(?:{_QUOTED}|{_BARE})(?:\.(?:{_QUOTED}|{_BARE})){{0,3}}")


@dataclass(frozen=True, slots=True)
class DbtColumn:
    """What the project says of a column besides its type. ``is_quoted``: its name counts in its own case."""

    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    is_quoted: bool = False


@dataclass(frozen=True, slots=True)
class DbtRelation:
    """A table or view of the database: ``name`` as SQL writes it, ``dotted`` without its quotes.

    ``enforced`` are the columns that the database itself keeps filled. ``order`` are columns that tell rows apart.
    """

    reference: DbtName
    name: str
    dotted: str
    adapter: str
    contract: DataContract
    columns: Mapping[str, DbtColumn]
    description: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    enforced: frozenset[str] = frozenset()
    order: tuple[str, ...] = ()


def read_manifest(path: str, environ: Mapping[str, str], project: Any) -> DbtManifest:
    """The manifest at ``path``, as the configuration writes it. Raises ``SourceError`` where it cannot be used."""
    place = anchor_path(with_variables(path, environ, SETTING), project)
    files, on_files = open_filesystem(place, SETTING, SourceError, shown=path)
    with explain_store_errors(path, SETTING, SourceError):
        try:
            facts = files.info(on_files)
        except FileNotFoundError:
            raise SourceError(
                f"{SETTING}: there is no {hide_credentials(path)}.\n"
                f"Run `dbt compile` (or build) for the target that is meant, or correct the path. {_NOTHING}"
            ) from None
        if facts["size"] > MAX_MANIFEST_MIB << 20:
            raise SourceError(f"{SETTING}: {hide_credentials(path)} is larger than {MAX_MANIFEST_MIB} MiB. {_NOTHING}")
        state = str(facts.get("mtime") or facts.get("LastModified") or facts.get("ETag") or facts.get("etag") or "")
        return _load_manifest(files, on_files, hide_credentials(path), state)


@lru_cache(maxsize=1)  # `check` asks for every upload
def _load_manifest(files: Any, on_files: str, written: str, state: str) -> DbtManifest:  # noqa: ARG001  a newer file is read again
    data = _read_json(files, on_files, written)
    kept = {section: _as_map(data.get(section)) for section in _KEPT_SECTIONS}
    schema = re.search(r"manifest/v(\d+)", str(kept["metadata"].get("dbt_schema_version")))
    if schema is None:
        raise SourceError(f"{SETTING}: {written} is no manifest.json of dbt. Correct the path. {_NOTHING}")
    if int(schema[1]) < OLDEST_SCHEMA:
        raise SourceError(
            f"{SETTING}: {written} has the schema v{schema[1]}, and v{OLDEST_SCHEMA} (dbt 1.5) is the oldest that is "
            f"read.\nUpdate dbt, and run `dbt compile`. {_NOTHING}"
        )

    def read_catalog() -> Mapping[str, Any]:
        beside = f"{on_files.rpartition('/')[0]}/catalog.json"
        return _read_json(files, beside, "catalog.json") if files.exists(beside) else {}

    return DbtManifest(kept, int(schema[1]), read_catalog)


def _read_json(files: Any, path: str, written: str) -> dict[str, Any]:
    try:
        with files.open(path, "rb") as stream:
            data = json.loads(stream.read(), object_hook=_drop_heavy)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise SourceError(f"{SETTING}: {written} is not JSON as dbt writes it. Run `dbt compile` again. {_NOTHING}")
    return data


def _drop_heavy(node: dict[str, Any]) -> dict[str, Any]:
    for key in _HEAVY & node.keys():
        del node[key]
    return node


def _as_map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


@dataclass(eq=False)
class DbtManifest:
    """Relations by the names that dbt has for them."""

    sections: Mapping[str, Mapping[str, Any]]
    schema: int
    read_catalog: Callable[[], Mapping[str, Any]]

    @property
    def adapter(self) -> str:
        return str(self.sections["metadata"].get("adapter_type") or "")

    @property
    def dbt_version(self) -> tuple[int, ...]:
        found = re.match(r"(\d+)\.(\d+)", str(self.sections["metadata"].get("dbt_version")))
        return tuple(map(int, found.groups())) if found else ()

    def find_relation(self, name: DbtName) -> DbtRelation:
        """The relation. Raises ``SourceError`` where there is none of that name, or none in the database."""
        unique_id, node = self._find_node(name)
        text = str(node.get("relation_name") or "")
        if not text:
            raise SourceError(
                f"source.dbt: {name} is {_describe_materialization(node)}, so the database has no table of it.\n"
                f"Name a model that is built as a table or view. {_NOTHING}"
            )
        if not _RELATION.fullmatch(text):
            raise SourceError(
                f"source.dbt: the manifest gives {name} a relation that is no name of a table or view.\n"
                f"Only names are read; select from files or functions in a model of its own. {_NOTHING}"
            )
        return self._make_relation(name, unique_id, node, text)

    def list_tables(self) -> Iterator[tuple[DbtName, str]]:
        """Every table and view by its name in dbt and its dotted name in the database, in lower case."""
        for node in self._list_built():
            if _RELATION.fullmatch(text := str(node.get("relation_name") or "")):
                package = str(node.get("package_name"))
                version = None if node.get("version") is None else str(node["version"])
                group = None if package == self._project else package
                yield DbtName("ref", group, str(node["name"]), version), _strip_quotes(text).lower()
        for node in self.sections["sources"].values():
            if _RELATION.fullmatch(text := str(node.get("relation_name") or "")):
                found = DbtName("source", str(node["source_name"]), str(node["name"]))
                yield found, _strip_quotes(text).lower()

    @property
    def _project(self) -> str:
        return str(self.sections["metadata"].get("project_name") or "")

    def _list_built(self) -> Iterator[Mapping[str, Any]]:
        return (node for node in self.sections["nodes"].values() if node.get("resource_type") in _BUILT)

    def _find_node(self, name: DbtName) -> tuple[str, Mapping[str, Any]]:
        if name.kind == "source":
            known = {f"{one['source_name']}.{one['name']}": one for one in self.sections["sources"].values()}
            near: Sequence[str] = [*known]
            asked = f"{name.group}.{name.name}"
            found = [one for key, one in known.items() if key == asked]
        else:
            built = [one for one in self._list_built() if name.group in (None, one.get("package_name"))]
            near, asked = [str(one["name"]) for one in built], name.name
            found = [one for one in built if one["name"] == name.name]
            versions = [str(one["version"]) for one in found if one.get("version") is not None]
            if versions:
                wanted = name.version or str(found[0].get("latest_version"))
                found = [one for one in found if str(one.get("version")) == wanted]
                near, asked = ([f"v={version}" for version in versions], f"v={wanted}") if not found else (near, asked)
            own = [one for one in found if one.get("package_name") == self._project]
            found = own or found
        if len(found) == 1:
            return str(found[0]["unique_id"]), found[0]
        if found:
            packages = ", ".join(names_among(str(one.get("package_name")) for one in found))
            why = f"is in several packages ({packages}); name one: ref('package', '{name.name}')"
        elif any(one.get("name") == name.name for nodes in self.sections["disabled"].values() for one in nodes):
            why = "is disabled in dbt"
        else:
            why = f"is not in the manifest{did_you_mean(asked, names_among(near))}"
        raise SourceError(f"source.dbt: {name} {why}\nCorrect the name, or run `dbt compile` again. {_NOTHING}")

    def _make_relation(self, name: DbtName, unique_id: str, node: Mapping[str, Any], text: str) -> DbtRelation:
        columns = {str(key): _read_column(str(key), one) for key, one in (node.get("columns") or {}).items()}
        is_enforced = bool((node.get("contract") or {}).get("enforced"))
        types = {key: str(one.get("data_type") or "") for key, one in (node.get("columns") or {}).items()}
        if not is_enforced or "" in types.values():
            looked_up = dict(self._list_catalog_types(unique_id))
            folded = {key.casefold(): kind for key, kind in looked_up.items()}
            types = {key: kind or folded.get(key.casefold(), "") for key, kind in types.items()}
            known = {key.casefold() for key in types}
            types |= (
                {} if is_enforced else {key: kind for key, kind in looked_up.items() if key.casefold() not in known}
            )
        tested = list(self._list_tests(unique_id))
        constraints = [*_list_constraints(node)]
        keys = [key for kind, key in constraints if kind in ("primary_key", "unique")]
        keys += [tuple(node.get("primary_key") or ())] + [(column,) for test, column in tested if test == "unique"]
        keys = [key for key in dict.fromkeys(keys) if key]
        filled = {one for kind, key in constraints if kind in ("not_null", "primary_key") for one in key}
        required = filled | {column for test, column in tested if test == "not_null"}
        promised = {
            key: ContractColumn(
                key, classify_sql_type(kind, self.adapter), shown(kind), key in required, (key,) in keys
            )
            for key, kind in types.items()
        }
        what = "contract" if is_enforced else "documentation"
        return DbtRelation(
            name,
            text,
            _strip_quotes(text),
            self.adapter,
            DataContract(f"the {what} of dbt's {name}", promised, is_enforced, tuple(keys)),
            columns,
            str(node.get("description") or ""),
            _read_meta(node),
            frozenset(filled if is_enforced else ()),
            keys[0] if keys else (),
        )

    def _list_catalog_types(self, unique_id: str) -> Iterator[tuple[str, str]]:
        """Types as the database had them when `dbt docs generate` looked."""
        catalog = self.read_catalog()
        node = {**(catalog.get("nodes") or {}), **(catalog.get("sources") or {})}.get(unique_id) or {}
        for key, column in (node.get("columns") or {}).items():
            yield str(key), str(column.get("type") or "")

    def _list_tests(self, unique_id: str) -> Iterator[tuple[str, str]]:
        """Of the tests ``unique`` and ``not_null`` of a relation, the name and the column."""
        for node in self.sections["nodes"].values():
            test = _as_map(node.get("test_metadata"))
            if node.get("resource_type") == "test" and node.get("attached_node") == unique_id:
                column = node.get("column_name") or (test.get("kwargs") or {}).get("column_name")
                if test.get("name") in ("unique", "not_null") and column:
                    yield str(test["name"]), str(column)


def _strip_quotes(relation: str) -> str:
    return ".".join(part.strip('"`[]') for part in re.findall(rf"{_QUOTED}|{_BARE}", relation))


def _read_column(name: str, node: Mapping[str, Any]) -> DbtColumn:
    config = node.get("config") or {}
    tags = tuple(dict.fromkeys(str(tag) for tag in (*(config.get("tags") or ()), *(node.get("tags") or ()))))
    return DbtColumn(name, str(node.get("description") or ""), tags, _read_meta(node), bool(node.get("quote")))


def _read_meta(node: Mapping[str, Any]) -> dict[str, Any]:
    """``meta`` of a node; since dbt 1.10 it belongs to its config."""
    return {**(node.get("meta") or {}), **((node.get("config") or {}).get("meta") or {})}


def _list_constraints(node: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Constraints of the relation and of its columns: the kind, and the columns that it is about."""
    for one in node.get("constraints") or ():
        yield str(one.get("type")), tuple(map(str, one.get("columns") or ()))
    for name, column in (node.get("columns") or {}).items():
        yield from ((str(one.get("type")), (str(name),)) for one in column.get("constraints") or ())


def _describe_materialization(node: Mapping[str, Any]) -> str:
    return "ephemeral" if (node.get("config") or {}).get("materialized") == "ephemeral" else "not built in a database"
