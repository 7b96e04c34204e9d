"""Connections as people and Airflow write them → SQLAlchemy's URLs, with the driver that is installed.

Airflow's form keeps more in a connection than a URL of the database: options of its hooks, and ways to log in that
only a hook knows. The first are left out. The second raise ``ConfigError``: a URL without them would fail later and say
less.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from offline_capi.errors import ConfigError

__all__ = [
    "add_driver",
    "as_variable",
    "convert_connection_to_url",
    "explain_install",
    "get_own_variable",
    "parse_extras",
    "parse_json_object",
]


def get_own_variable(name: str) -> str:
    """Our environment variable for the connection ``name``."""
    return f"OFFLINE_CAPI_CONN_{as_variable(name)}"


def as_variable(name: str) -> str:
    """A name as a part of an environment variable's: ``acme-bank`` → ``ACME_BANK``."""
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


# ---------------------------------------------------------------------------------------------- drivers

# By SQLAlchemy's dialect: its drivers as (module, name in a URL), the best first. The first that is installed is taken.
# SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3 and 2.0 for psycopg2; a bare mysql:// wants MySQLdb.
_DRIVERS: Mapping[str, Sequence[tuple[str, str]]] = {
    "postgresql": (("psycopg", "psycopg"),),
    "mysql": (
        ("pymysql", "pymysql"),
        ("MySQLdb", "mysqldb"),
        ("mysql.connector", "mysqlconnector"),
        ("mariadb", "mariadbconnector"),
    ),
    "mssql": (("pymssql", "pymssql"), ("pyodbc", "pyodbc")),
    "redshift": (("redshift_connector", "redshift_connector"), ("psycopg2", "psycopg2")),
}
_DIALECTS: Mapping[str, str] = {
    "postgres": "postgresql",
    "mariadb": "mysql",
    "gcpbigquery": "bigquery",
    "google_cloud_platform": "bigquery",
}
_PACKAGES: Mapping[str, str] = {
    "psycopg": "'offline-capi[warehouses]'",
    "psycopg2": "psycopg2-binary",
    "pg8000": "pg8000",
    "pymysql": "'offline-capi[mysql]'",
    "mysqldb": "mysqlclient",
    "mysql": "mysql-connector-python",
    "mysqlconnector": "mysql-connector-python",
    "mariadb": "mariadb",
    "mariadbconnector": "mariadb",
    "pyodbc": "pyodbc",
    "pymssql": "'offline-capi[mssql]'",
    "snowflake": "'offline-capi[snowflake]'",
    "bigquery": "'offline-capi[bigquery]'",
    "redshift": "'offline-capi[redshift]'",
    "redshift_connector": "'offline-capi[redshift]'",
    "databricks": "'offline-capi[databricks]'",
    "trino": "'offline-capi[trino]'",
    "clickhouse": "clickhouse-sqlalchemy",
    "clickhousedb": "'offline-capi[clickhouse]'",
    "duckdb": "'offline-capi[duckdb]'",
    "oracledb": "oracledb",
    "cx_oracle": "cx_Oracle",
}


def explain_install(missing: str) -> str:
    """The command that brings the module or dialect ``missing``, as a sentence."""
    parts = re.split(r"[.+]", missing.lower())
    package = next((_PACKAGES[part] for part in reversed(parts) if part in _PACKAGES), None)
    if package is None:
        return "Install the SQLAlchemy dialect of this database, or correct the URL in OFFLINE_CAPI_CONN_<NAME>."
    return f"Install it: pip install {package}."


def _choose_scheme(dialect: str) -> str:
    """``dialect+driver`` with the driver that is installed; the first where none is."""
    drivers = _DRIVERS.get(dialect, ())
    found = next((driver for module, driver in drivers if _is_installed(module)), None)
    return f"{dialect}+{found or drivers[0][1]}" if drivers else dialect


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:  # the package above it is not there
        return False


# ---------------------------------------------------------------------------------------------- text → URL


def convert_connection_to_url(text: str, name: str = "NAME", *, is_ours: bool = False) -> str | None:
    """Airflow's URI or JSON of the connection ``name`` → SQLAlchemy's URL; ``None`` where it is neither.

    ``is_ours``: the text stands in our own variable, where a URL is SQLAlchemy's already. Raises ``ConfigError`` where
    the connection needs Airflow's hook.
    """
    if text.startswith("{"):
        fields = parse_json_object(text)
        return _build_url(fields, name) if fields and fields.get("conn_type") else None
    if not re.match(r"[A-Za-z][\w+.-]*://", text):
        return None
    fields = {} if is_ours else _parse_fields(text)
    return _build_url(fields, name) if fields else add_driver(_decode_path(text), name)


def add_driver(url: str, name: str = "NAME") -> str:
    """SQLAlchemy's URL with a driver, without what only Airflow's hooks take, and with a readable password."""
    scheme, separator, rest = url.partition("://")
    dialect = scheme.lower().replace("-", "_")
    base, mark, query = rest.partition("?")
    if hooks_only := mark and any(_is_of_hook(key) for key, _ in parse_qsl(query)):
        pairs = parse_qsl(query)
        _check_login(dict(pairs), name)
        query = urlencode([(key, value) for key, value in pairs if not _is_of_hook(key)])
    options = mark + query if query or not hooks_only else ""
    known = _DIALECTS.get(dialect, dialect)
    if "+" not in scheme and known in _DRIVERS:
        scheme = _choose_scheme(known)
    return f"{scheme}{separator}{_quote_password(base)}{options}"


def _quote_password(base: str) -> str:
    """A password may hold an unescaped @: the last one before the path ends it."""
    authority, slash, path = base.partition("/")
    login, at, host = authority.rpartition("@")
    return f"{login.replace('@', '%40')}{at}{host}{slash}{path}"


def _decode_path(uri: str) -> str:
    """Airflow writes the path of an SQLite file as an encoded host: ``sqlite://%2Ftmp%2Fa.db``."""
    match = re.fullmatch(r"(sqlite|duckdb)://(%2[Ff][^/?]*)(/?\?.*)?", uri)
    return f"{match[1]}:///{unquote(match[2])}{match[3] or ''}" if match else uri


def _parse_fields(uri: str) -> dict[str, Any]:
    """A URI as Airflow reads it; empty where SQLAlchemy's reading is right, or both are the same."""
    scheme, _, rest = uri.partition("://")
    kind = scheme.lower().replace("-", "_")
    parts = urlsplit(f"//{_quote_password(rest.partition('?')[0])}?{rest.partition('?')[2]}")
    extra = dict(parse_qsl(parts.query))
    extra |= parse_json_object(extra.pop("__extra__", "")) or {}
    # These write a database of their own into the path, which Airflow keeps among the extras.
    needed = {"snowflake": "account", "trino": "catalog", "databricks": "http_path"}
    if kind not in _URL_BUILDERS or (
        kind in needed and not {needed[kind], _expand_key(kind, needed[kind])} & extra.keys()
    ):
        return {}
    fields = {"login": parts.username, "password": parts.password, "host": parts.hostname, "schema": parts.path[1:]}
    decoded = {key: unquote(value) for key, value in fields.items() if value}
    return {"conn_type": kind, "port": parts.port, "extra": extra, **decoded}


# ---------------------------------------------------------------------------------------------- fields → URL


@dataclass(frozen=True, slots=True)
class _ConnectionFields:
    """What Airflow's form knows of the connection ``name``."""

    name: str
    kind: str
    host: str
    port: str
    login: str
    password: str
    schema: str
    extra: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, fields: Mapping[str, Any]) -> _ConnectionFields:
        kind = str(fields["conn_type"]).lower().replace("-", "_")
        # Airflow's form once wrote extra__snowflake__account for account.
        prefix = re.compile(rf"extra__(?:{kind}|google_cloud_platform)__")
        extra = {prefix.sub("", key): value for key, value in parse_extras(fields).items() if value is not None}
        texts = {key: str(fields.get(key) or "") for key in ("host", "port", "login", "password", "schema")}
        return cls(name, kind, extra=extra, **texts)

    @property
    def credentials(self) -> str:
        user, password = _encode_part(self.login), _encode_part(self.password)
        return f"{user}{':' + password if password else ''}@" if user or password else ""

    @property
    def address(self) -> str:
        return f"{self.credentials}{self.host}{':' + self.port if self.port else ''}"

    def drop_extras(self, *extras: str, **added: Any) -> dict[str, Any]:
        return {key: value for key, value in self.extra.items() if key not in extras} | added


def _build_url(fields: Mapping[str, Any], name: str) -> str:
    connection = _ConnectionFields.of(name, fields)
    _check_login(connection.extra, name)
    return _URL_BUILDERS.get(connection.kind, _build_usual_url)(connection)


def _build_usual_url(connection: _ConnectionFields) -> str:
    return _format_url(connection, _choose_scheme(_DIALECTS.get(connection.kind, connection.kind)), connection.extra)


def _format_url(connection: _ConnectionFields, scheme: str, options: Mapping[str, Any]) -> str:
    scheme = str(connection.extra.get("sqlalchemy_scheme") or scheme)
    return f"{scheme}://{connection.address}/{_encode_part(connection.schema)}{_encode_options(options)}"


def _build_file_url(connection: _ConnectionFields) -> str:
    return f"{connection.kind}:///{connection.host or connection.schema}"


def _build_mysql_url(connection: _ConnectionFields) -> str:
    ssl = connection.extra.get("ssl")
    ssl = ssl if isinstance(ssl, dict) else parse_json_object(str(ssl or "")) or {}
    certificates = {f"ssl_{re.sub('^ssl[-_]', '', str(key))}": value for key, value in ssl.items()}
    url = _format_url(connection, _choose_scheme("mysql"), connection.drop_extras("ssl", "ssl_mode", **certificates))
    mode = str(connection.extra.get("ssl_mode") or "").upper()
    if mode in ("", "DISABLED", "PREFERRED") or certificates:
        return url
    if url.startswith("mysql+mysqldb"):
        return f"{url}{'&' if '?' in url else '?'}ssl_mode={mode}"
    right = "mysql+pymysql://user:password@host/database?ssl_ca=/path/to/ca.pem"
    raise _refuse_hook_login(connection.name, f"ssl_mode {mode}", right)


def _build_mssql_url(connection: _ConnectionFields) -> str:
    scheme = str(connection.extra.get("sqlalchemy_scheme") or _choose_scheme("mssql"))
    odbc = {"driver": "ODBC Driver 18 for SQL Server"} if scheme.endswith("pyodbc") else {}
    return _format_url(connection, scheme, {**odbc, **connection.extra})


def _build_snowflake_url(connection: _ConnectionFields) -> str:
    """The account stands where others have a host; the schema behind the database."""
    extra = connection.extra
    if extra.get("private_key_content") or str(extra.get("authenticator", "")).lower() == "oauth":
        right = "snowflake://user@account/database/schema?private_key_file=/path/to/key.p8"
        raise _refuse_hook_login(connection.name, "a private key in its extras, or OAuth", right)
    database, schema = str(extra.get("database") or ""), connection.schema or str(extra.get("schema") or "")
    if schema and not database:
        right = "snowflake://user:password@account/database/schema"
        raise _refuse_hook_login(connection.name, "a schema without a database", right)
    account = str(extra.get("account") or connection.host.partition(".snowflakecomputing.com")[0])
    region = f".{extra['region']}" if extra.get("region") and "." not in account else ""
    path = "/".join(_encode_part(part) for part in (database, schema) if part)
    options = connection.drop_extras("account", "region", "database", "schema")
    if extra.get("private_key_file") and connection.password:  # Airflow keeps the key's passphrase as the password
        options["private_key_file_pwd"] = connection.password
        connection = replace(connection, password="")
    return f"snowflake://{connection.credentials}{account}{region}/{path}{_encode_options(options)}"


def _build_bigquery_url(connection: _ConnectionFields) -> str:
    extra = connection.extra
    hooks_only = ("key_secret_name", "credential_config_file", "impersonation_chain", "is_anonymous")
    if other := next((key for key in hooks_only if extra.get(key)), None):
        right = "bigquery://project/dataset?credentials_path=/path/to/key.json"
        raise _refuse_hook_login(connection.name, f"the login {other}", right)
    options = {"credentials_path": extra.get("key_path"), "location": extra.get("location")}
    if key := extra.get("keyfile_dict"):
        text = key if isinstance(key, str) else json.dumps(key)
        options["credentials_base64"] = base64.b64encode(text.encode()).decode()
    dataset = connection.schema or extra.get("dataset")
    path = f"/{_encode_part(dataset)}" if dataset else ""
    return f"bigquery://{_encode_part(extra.get('project') or extra.get('project_id'))}{path}{_encode_options(options)}"


def _build_databricks_url(connection: _ConnectionFields) -> str:
    extra = connection.extra
    token = extra.get("token") or (connection.password if connection.login in ("", "token") else "")
    if not token or not extra.get("http_path"):
        right = "databricks://token:dapi...@host?http_path=/sql/1.0/warehouses/...&catalog=main&schema=default"
        raise _refuse_hook_login(connection.name, "another login than a token" if not token else "no http_path", right)
    options = {key: extra.get(key) for key in ("http_path", "catalog")}
    options["schema"] = connection.schema or extra.get("schema")
    host = connection.host.removeprefix("https://").rstrip("/")
    return f"databricks://token:{_encode_part(token)}@{host}{_encode_options(options)}"


def _build_trino_url(connection: _ConnectionFields) -> str:
    extra = connection.extra
    if extra.get("auth"):
        right = "trino://user@host:443/catalog/schema?access_token=..."
        raise _refuse_hook_login(connection.name, f"the login {extra['auth']}", right)
    path = "/".join(_encode_part(part) for part in (extra.get("catalog") or "hive", connection.schema) if part)
    options = connection.drop_extras("catalog", "protocol", "timezone")
    return f"trino://{connection.address}/{path}{_encode_options(options)}"


def _build_clickhouse_url(connection: _ConnectionFields) -> str:
    """Ports 9000 and 9440 speak the native protocol, the others HTTP."""
    is_native = connection.port in ("", "9000", "9440")
    return _format_url(connection, "clickhouse+native" if is_native else "clickhousedb", connection.extra)


_URL_BUILDERS: Mapping[str, Callable[[_ConnectionFields], str]] = {
    "sqlite": _build_file_url,
    "duckdb": _build_file_url,
    "mysql": _build_mysql_url,
    "mariadb": _build_mysql_url,
    "mssql": _build_mssql_url,
    "snowflake": _build_snowflake_url,
    "gcpbigquery": _build_bigquery_url,
    "google_cloud_platform": _build_bigquery_url,
    "databricks": _build_databricks_url,
    "trino": _build_trino_url,
    "clickhouse": _build_clickhouse_url,
}


# ---------------------------------------------------------------------------------------------- parts of a URL

# Read by Airflow's hooks and unknown to drivers (airflow.providers.*.hooks, October 2026). Anything else is passed on:
# a driver refuses what it does not know, and a mistyped sslmode must not be lost.
_OF_HOOKS = re.compile(
    r"__extra__|extra__.*|access_token|cursor|iam|aws_conn_id|region_name|cluster[-_]identifier|workgroup[-_]name"
    r"|redshift(?:-serverless)?|azure_conn_id|azure_oauth_scope|sqlalchemy_scheme|sqlalchemy_query|log_sql"
    r"|enable_log_db_messages|dialect|client|local_infile|dejson.*|refresh_token|client_request_mfa_token"
    r"|client_store_temporary_credential|insecure_mode|num_retries|scopes?|use_legacy_sql|allow_insecure"
)
_BY_HOOK = {"iam": "temporary credentials of AWS", "azure_conn_id": "a token of Azure"}


def _is_of_hook(key: str) -> bool:
    return bool(_OF_HOOKS.fullmatch(key))


def _check_login(extra: Mapping[str, Any], name: str) -> None:
    for key, what in _BY_HOOK.items():
        if str(extra.get(key) or "").lower() not in ("", "false", "0", "no"):
            raise _refuse_hook_login(name, what, "postgresql+psycopg://user:password@host/database")


def _refuse_hook_login(name: str, what: str, url: str) -> ConfigError:
    return ConfigError(
        f'connection "{name}": it has {what}, which only Airflow\'s own hook can use.\n'
        f"Write SQLAlchemy's URL into {get_own_variable(name)}, such as {url}"
    )


def _encode_part(value: object) -> str:
    return quote(str(value or ""), safe="")


def _encode_options(extra: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in extra.items() if isinstance(value, (str, int)) and value != ""}
    options = urlencode({key: value for key, value in kept.items() if not _is_of_hook(key)})
    return f"?{options}" if options else ""


def _expand_key(kind: str, key: str) -> str:
    return f"extra__{kind}__{key}"


def parse_extras(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Airflow writes extras as an object or as the text of one."""
    extra = fields.get("extra") or {}
    return extra if isinstance(extra, dict) else parse_json_object(str(extra)) or {}


def parse_json_object(text: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(text)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
