"""``source: {delta: …}`` and ``{iceberg: …}``, catalogs of the platform and Hive folders, as an author meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from offline_capi.config import EnvironmentSecrets, load_config
from offline_capi.config.secrets import resolve_catalog
from offline_capi.config.source import DeltaLookup, DeltaSource, IcebergLookup, IcebergSource
from offline_capi.errors import ConfigError
from tests.config.good_folder import CLIENTS, UPLOAD

CATALOGS = """
platform:
  partner_agent: datapartner
  iceberg_catalogs:
    lake:
      uri: https://catalog.example
      warehouse: main
      credential: {env: LAKE_CREDENTIAL}
      s3.secret-access-key: {env: LAKE_KEY}
    local: {type: sql, uri: "sqlite:///lake/catalog.db"}
"""
CLIENTS_WITH_CATALOGS = CATALOGS + CLIENTS.partition("\n")[2].partition("\n")[2]


def with_source(source: str, more: str = "") -> str:
    return UPLOAD.replace("{path: approvals.csv}", source) + more


def problems(folder: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(folder, environ={})
    return str(raised.value)


def test_tables_are_sources_and_lookups(write_folder) -> None:
    lookups = """
lookups:
  shops: {delta: shops, key: id, by: shop}
  people: {iceberg: {catalog: local, table: crm.people}, key: id, by: person}
custom_data: {properties: {city: shops.city, tier: people.tier}}
"""
    folder = write_folder(
        CLIENTS_WITH_CATALOGS,
        a=with_source("{delta: 's3://bucket/${TEAM}/sales', version: 7}", lookups),
        b=with_source("{iceberg: {catalog: lake, table: shop.sales}, as_of: 2026-11-23}"),
    )

    uploads = load_config(folder, environ={}).uploads

    assert isinstance(uploads["a"].source, DeltaSource)
    assert isinstance(uploads["b"].source, IcebergSource)
    assert list(map(type, uploads["a"].lookups.values())) == [DeltaLookup, IcebergLookup]
    assert uploads["a"].source.describe() == "Delta table s3://bucket/${TEAM}/sales"
    assert uploads["b"].source.describe() == "Iceberg table shop.sales of catalog lake"
    assert not uploads["a"].source.selects_rows_itself


def test_secrets_of_a_catalog_are_resolved_and_its_file_lies_in_the_project(write_folder) -> None:
    deployment = load_config(write_folder(CLIENTS_WITH_CATALOGS), environ={})
    secrets = EnvironmentSecrets({"LAKE_CREDENTIAL": "id:hidden-word", "LAKE_KEY": "hidden-key"})
    catalogs = deployment.platform.iceberg_catalogs

    assert resolve_catalog(catalogs["lake"], secrets, deployment.project) == {
        "uri": "https://catalog.example",
        "warehouse": "main",
        "credential": "id:hidden-word",
        "s3.secret-access-key": "hidden-key",
    }
    assert resolve_catalog(catalogs["local"], secrets, Path("/p"))["uri"] == "sqlite:////p/lake/catalog.db"
    with pytest.raises(ConfigError, match="set the environment variable LAKE_CREDENTIAL"):
        resolve_catalog(catalogs["lake"], EnvironmentSecrets({}), deployment.project)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{delta: a, version: 7, as_of: 2026-11-23}", "give either version or as_of"),
        ("{delta: a, as_of: soon}", "is neither a number nor a date"),
        ("{delta: a, as_of: 7}", "as_of  "),
        ("{delta: a, versions: 7}", 'did you mean "version"?'),
        ("{delta: 'a/{date}'}", "is one table: braces have a meaning in ${NAME} only"),
        ("{iceberg: {catalog: lake, table: sales}}", "needs the namespace as well, such as shop.sales"),
        ("{iceberg: {catalog: lkae, table: shop.sales}}", 'under platform.iceberg_catalogs; did you mean "lake"?'),
        ("{iceberg: shop.sales}", "source.iceberg  needs a mapping"),
        ("{iceberg: {catalog: lake, table: a.b}, snapshot: 1, ref: main}", "give one of snapshot, ref and as_of"),
        ("{delta: a, incremental: snapshot, version: 7}", "leave out the state that is named here"),
        ("{iceberg: {catalog: lake, table: a.b}, incremental: snapshot, ref: main}", "leave out the state"),
        ("{delta: a, incremental: daily}", '"daily" is unknown; one of: snapshot'),
        ("{path: a, incremental: snapshot}", "incremental  is not a key here"),
        ("{path: a, partitioning: hive, optional: maybe}", "needs true or false"),
        ("{path: 'a/{date}', partitioning: hive}", "no *, no {date}"),
        ("{path: 'a/*', partitioning: hive}", "no *, no {date}"),
        ("{tabel: a}", "needs connection and sql (a query), path (files), delta, iceberg, table or dbt (a table)"),
        ("{dbt: fct_sales}", "needs ref('model'), ref('package', 'model')"),
        ("{dbt: \"ref('a{b}')\"}", "needs ref('model'), ref('package', 'model')"),
        ("{dbt: \"source('crm')\"}", "source(...) takes two names"),
        ("{dbt: ref('fct_sales')}", "needs the connection in which dbt builds: write platform.dbt.connection"),
        ("{dbt: ref('fct_sales'), sql: a}", "source.sql  is not a key here"),
    ],
)
def test_what_a_source_cannot_be_is_named(write_folder, source: str, told: str) -> None:
    assert told in problems(write_folder(CLIENTS_WITH_CATALOGS, a=with_source(source)))


def test_late_rows_need_events_of_the_windows_time_and_a_table_that_is_no_lookup(write_folder) -> None:
    late = "{delta: a, incremental: snapshot}"
    joined = "\nlookups: {shops: {delta: b, key: id, by: shop, incremental: snapshot}}\n"
    joined += "custom_data: {properties: {city: shops.city}}\n"
    elsewhere = with_source(late).replace("event: {", "event: {time: created_at, ")

    found = problems(write_folder(CLIENTS_WITH_CATALOGS, a=with_source(late, joined), b=elsewhere))

    assert "lookups.shops.incremental  is for the source of an upload: a table to join is read whole" in found
    assert "source.incremental  needs an event whose time is window.column" in found


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ("{uri: a, s3.secret-access-key: hidden-word}", "s3.secret-access-key is a secret"),
        ("{uri: a, token: hidden-word}", "holds a secret"),
        ("{uri: a, adls.account-key: hidden-word}", "adls.account-key is a secret"),
        ("{uri: a, adls.sas-token.shop: hidden-word}", "adls.sas-token.shop is a secret"),
        ("{uri: a, gcs.oauth2.token: hidden-word}", "gcs.oauth2.token is a secret"),
        ("{uri: 'postgresql://me:hidden-word@db/lake'}", "holds a URL with a password"),
        ("{warehouse: a}", "needs type (rest, sql, glue, hive, …) or uri"),
        ("{uri: a, py-catalog-impl: own.Catalog}", "a catalog may not name code that is imported"),
        ("{uri: a, credential: {enf: A}}", 'did you mean "env"?'),
    ],
)
def test_what_a_catalog_cannot_be_is_named_without_its_secret(write_folder, properties: str, told: str) -> None:
    clients = (
        f"platform: {{iceberg_catalogs: {{lake: {properties}}}}}\n" + CLIENTS.partition("\n")[2].partition("\n")[2]
    )

    found = problems(write_folder(clients))

    assert told in found
    assert "hidden-word" not in found


@pytest.mark.parametrize(
    "name", ["s3.access-key-id", "token-url", "s3.signer", "oauth2-server-uri", "rest.authorization-url"]
)
def test_what_is_no_secret_is_text(write_folder, name: str) -> None:
    clients = f"platform: {{iceberg_catalogs: {{lake: {{uri: a, {name}: b}}}}}}\n"

    deployment = load_config(write_folder(clients + CLIENTS.partition("\n")[2].partition("\n")[2]), environ={})

    assert deployment.platform.iceberg_catalogs["lake"][name] == "b"
