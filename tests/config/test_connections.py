"""Every connection that Airflow's form makes becomes the URL that SQLAlchemy wants, or says what to write instead."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from offline_capi.config import EnvironmentSecrets
from offline_capi.config.connections import convert_connection_to_url, explain_install
from offline_capi.errors import ConfigError

LOGIN = {"login": "u", "password": "p@ss/w:rd", "host": "h"}
SAFE = "u:p%40ss%2Fw%3Ard@h"


def url_of(conn_type: str, extra: dict[str, object] | None = None, **fields: object) -> str | None:
    return convert_connection_to_url(json.dumps({"conn_type": conn_type, **fields, "extra": extra or {}}), "warehouse")


@pytest.mark.parametrize(
    ("conn_type", "fields", "extra", "url"),
    [
        (
            "postgres",
            {**LOGIN, "port": 5432, "schema": "db"},
            {
                "sslmode": "prefer",
                "cursor": "dictcursor",
                "iam": False,
                "enable_log_db_messages": True,
                "client_encoding": "utf8",
            },
            f"postgresql+psycopg://{SAFE}:5432/db?sslmode=prefer&client_encoding=utf8",
        ),
        (
            "mysql",
            {**LOGIN, "schema": "db"},
            {"charset": "utf8mb4", "cursor": "sscursor", "iam": False, "client": "mysqlclient"},
            f"mysql+pymysql://{SAFE}/db?charset=utf8mb4",
        ),
        (
            "mysql",
            {**LOGIN, "schema": "db"},
            {"ssl": {"ca": "/ca.pem", "cert": "/c.pem"}, "ssl_mode": "REQUIRED"},
            f"mysql+pymysql://{SAFE}/db?ssl_ca=%2Fca.pem&ssl_cert=%2Fc.pem",
        ),
        (
            "mysql",
            {**LOGIN, "schema": "db"},
            {"ssl": json.dumps({"ssl-ca": "/ca.pem"})},
            f"mysql+pymysql://{SAFE}/db?ssl_ca=%2Fca.pem",
        ),
        ("mariadb", {**LOGIN, "schema": "db"}, {}, f"mysql+pymysql://{SAFE}/db"),
        ("sqlite", {"host": "/tmp/a.db"}, {}, "sqlite:////tmp/a.db"),
        ("duckdb", {"host": "/tmp/a.duckdb"}, {}, "duckdb:////tmp/a.duckdb"),
        ("mssql", {**LOGIN, "port": 1433, "schema": "db"}, {}, f"mssql+pymssql://{SAFE}:1433/db"),
        (
            "mssql",
            {**LOGIN, "schema": "db"},
            {"sqlalchemy_scheme": "mssql+pyodbc", "Encrypt": "yes"},
            f"mssql+pyodbc://{SAFE}/db?driver=ODBC+Driver+18+for+SQL+Server&Encrypt=yes",
        ),
        (
            "snowflake",
            {"login": "u", "password": "p", "schema": "PUBLIC"},
            {
                "account": "ab12345",
                "region": "eu-central-1",
                "database": "SALES",
                "warehouse": "WH",
                "role": "R",
                "insecure_mode": False,
            },
            "snowflake://u:p@ab12345.eu-central-1/SALES/PUBLIC?warehouse=WH&role=R",
        ),
        (
            "snowflake",
            {"login": "u", "password": "p", "schema": "PUBLIC", "host": "ab12345.snowflakecomputing.com"},
            {"extra__snowflake__database": "SALES", "extra__snowflake__warehouse": "WH"},
            "snowflake://u:p@ab12345/SALES/PUBLIC?warehouse=WH",
        ),
        (
            "snowflake",
            {"login": "u", "password": "phrase"},
            {"account": "a-b", "database": "S", "private_key_file": "/k.p8"},
            "snowflake://u@a-b/S?private_key_file=%2Fk.p8&private_key_file_pwd=phrase",
        ),
        (
            "gcpbigquery",
            {},
            {"project": "shop-1", "key_path": "/k.json", "scope": "x", "num_retries": 5, "location": "EU"},
            "bigquery://shop-1?credentials_path=%2Fk.json&location=EU",
        ),
        (
            "google_cloud_platform",
            {"schema": "sales"},
            {"extra__google_cloud_platform__project": "shop-1"},
            "bigquery://shop-1/sales",
        ),
        (
            "google_cloud_platform",
            {},
            {"project": "shop-1", "keyfile_dict": {"a": 1}},
            "bigquery://shop-1?credentials_base64=" + quote(base64.b64encode(b'{"a": 1}').decode(), safe=""),
        ),
        (
            "redshift",
            {**LOGIN, "port": 5439, "schema": "dev"},
            {"iam": False, "cluster_identifier": "c"},
            f"redshift+redshift_connector://{SAFE}:5439/dev",
        ),
        (
            "databricks",
            {"host": "https://adb-1.azuredatabricks.net/", "login": "token", "password": "dapi1", "schema": "sales"},
            {"http_path": "/sql/1.0/warehouses/a", "catalog": "main"},
            "databricks://token:dapi1@adb-1.azuredatabricks.net?http_path=%2Fsql%2F1.0%2Fwarehouses%2Fa&catalog=main&schema=sales",
        ),
        (
            "databricks",
            {"host": "adb"},
            {"token": "dapi1", "http_path": "/x"},
            "databricks://token:dapi1@adb?http_path=%2Fx",
        ),
        (
            "trino",
            {**LOGIN, "port": 443, "schema": "sales"},
            {"catalog": "iceberg", "protocol": "https", "verify": "false"},
            f"trino://{SAFE}:443/iceberg/sales?verify=false",
        ),
        ("trino", {"login": "u", "host": "h"}, {}, "trino://u@h/hive"),
        ("clickhouse", {**LOGIN, "port": 9000, "schema": "db"}, {}, f"clickhouse+native://{SAFE}:9000/db"),
        (
            "clickhouse",
            {**LOGIN, "port": 8443, "schema": "db"},
            {"secure": "true"},
            f"clickhousedb://{SAFE}:8443/db?secure=true",
        ),
        ("exasol", {**LOGIN, "schema": "db"}, {"option": "x"}, f"exasol://{SAFE}/db?option=x"),
    ],
)
def test_a_connection_of_airflows_form_becomes_sqlalchemys_url(conn_type, fields, extra, url) -> None:
    assert url_of(conn_type, extra, **fields) == url
    assert url_of(conn_type.replace("_", "-"), json.dumps(extra), **fields) == url  # type: ignore[arg-type]
    assert sa.make_url(str(url)).password in (None, "p@ss/w:rd", "p", "dapi1")


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        (
            "postgres://u:p@h/db?cursor=dictcursor&sslmode=require&iam=false",
            "postgresql+psycopg://u:p@h/db?sslmode=require",
        ),
        ("mysql://u:p%40@h:3306/db?charset=utf8", "mysql+pymysql://u:p%40@h:3306/db?charset=utf8"),
        (
            "snowflake://u:p@/PUBLIC?account=ab1&database=SALES&warehouse=WH",
            "snowflake://u:p@ab1/SALES/PUBLIC?warehouse=WH",
        ),
        ("snowflake://u:p@ab1/SALES/PUBLIC?warehouse=WH", "snowflake://u:p@ab1/SALES/PUBLIC?warehouse=WH"),
        (
            "snowflake://u:p@/PUBLIC?__extra__=" + quote('{"account": "ab1", "database": "SALES"}'),
            "snowflake://u:p@ab1/SALES/PUBLIC",
        ),
        ("google-cloud-platform://?extra__google_cloud_platform__project=shop-1", "bigquery://shop-1"),
        ("gcpbigquery:///?project=shop-1", "bigquery://shop-1"),
        ("bigquery://shop-1/sales", "bigquery://shop-1/sales"),
        (
            "databricks://token:dapi1@adb?http_path=%2Fx&schema=s",
            "databricks://token:dapi1@adb?http_path=%2Fx&schema=s",
        ),
        ("trino://u@h:443/sales?catalog=iceberg", "trino://u@h:443/iceberg/sales"),
        ("trino://u@h:443/iceberg/sales", "trino://u@h:443/iceberg/sales"),
        ("mysql+mysqldb://u:p@h/db", "mysql+mysqldb://u:p@h/db"),
        ("duckdb://%2Ftmp%2Fa.duckdb", "duckdb:////tmp/a.duckdb"),
    ],
)
def test_a_uri_of_airflow_becomes_sqlalchemys_url(uri: str, url: str) -> None:
    assert convert_connection_to_url(uri, "warehouse") == url


def test_a_url_in_our_own_variable_is_sqlalchemys_already() -> None:
    secrets = EnvironmentSecrets(
        {"OFFLINE_CAPI_CONN_WAREHOUSE": "trino://u@h/sales?catalog=x", "AIRFLOW_CONN_LAKE": ""}
    )

    assert secrets.connection_url("warehouse").reveal() == "trino://u@h/sales?catalog=x"
    assert secrets.has_own("warehouse")
    assert not secrets.has_own("lake")


@pytest.mark.parametrize(
    ("conn_type", "fields", "extra", "said"),
    [
        ("postgres", LOGIN, {"iam": True}, "temporary credentials of AWS"),
        ("redshift", LOGIN, {"iam": "true"}, "temporary credentials of AWS"),
        ("mysql", LOGIN, {"iam": True}, "temporary credentials of AWS"),
        ("postgres", LOGIN, {"azure_conn_id": "az"}, "a token of Azure"),
        ("mysql", LOGIN, {"ssl_mode": "VERIFY_CA"}, "ssl_mode VERIFY_CA"),
        ("snowflake", LOGIN, {"account": "a", "private_key_content": "canary"}, "a private key in its extras"),
        ("snowflake", {**LOGIN, "schema": "PUBLIC"}, {"account": "a"}, "a schema without a database"),
        ("gcpbigquery", {}, {"key_secret_name": "canary"}, "the login key_secret_name"),
        ("databricks", LOGIN, {"http_path": "/x"}, "another login than a token"),
        ("databricks", {"password": "dapi", "host": "h"}, {}, "no http_path"),
        ("trino", LOGIN, {"auth": "kerberos"}, "the login kerberos"),
    ],
)
def test_what_only_a_hook_of_airflow_can_use_says_what_to_write(conn_type, fields, extra, said) -> None:
    with pytest.raises(ConfigError) as caught:
        url_of(conn_type, extra, **fields)

    assert f'connection "warehouse": it has {said}' in str(caught.value)
    assert "Write SQLAlchemy's URL into OFFLINE_CAPI_CONN_WAREHOUSE, such as " in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("canary", "p@ss", "dapi1"))


@pytest.mark.parametrize(
    "uri", ["postgresql://u:s3cr3t@canaryPW@host:5432/db?sslmode=require", "mysql://u:s3cr3t@canaryPW@host/db"]
)
def test_a_password_with_an_unescaped_at_sign_is_the_password(uri: str) -> None:
    url = sa.make_url(str(convert_connection_to_url(uri)))

    assert (url.username, url.password, url.host, url.database) == ("u", "s3cr3t@canaryPW", "host", "db")


def test_an_unknown_database_is_told_to_bring_its_dialect() -> None:
    assert explain_install("exasol").startswith("Install the SQLAlchemy dialect of this database")
    assert explain_install("mysql.mysqldb") == "Install it: pip install mysqlclient."
    assert explain_install("mysql") != explain_install("psycopg")
