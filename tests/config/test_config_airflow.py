"""``airflow:`` in an upload, and ``platform.airflow`` for what uploads do not say."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import jsonschema
import pytest

from offline_capi.config import generate_json_schema, load_config
from offline_capi.config.airflow import AirflowDefaults, AirflowSettings
from offline_capi.errors import ConfigError
from tests.config.good_folder import CLIENTS, UPLOAD

DEFAULTS = """
platform:
  python: acme
  airflow:
    owner: marketing data
    retries: 5
    tags: nightly
    pools: {prepare: warehouse}
    schedule: "30 1 * * *"
    notify: {failure: "acme.alerts:page"}
clients:
  acme_bank: {pixel_id: "1200000000000001", token: {env: ACME_BANK_TOKEN}}
"""


def test_an_upload_says_what_is_its_own_and_the_folder_the_rest(write_folder) -> None:
    own = "airflow: {retries: 0, tags: [lending], pools: {upload: meta}, notify: {success: ['acme.chat:tell']}}\n"
    deployment = load_config(write_folder(DEFAULTS, approvals=UPLOAD + own), environ={})

    settings = deployment.resolve_airflow(deployment.uploads["approvals"])

    assert (settings.owner, settings.retries, settings.retry_delay) == ("marketing data", 0, timedelta(minutes=5))
    assert settings.tags == ("nightly", "lending")
    assert (settings.pools.prepare, settings.pools.upload) == ("warehouse", "meta")
    assert [notifier.call for notifier in settings.notify.failure] == ["acme.alerts:page"]
    assert [notifier.call for notifier in settings.notify.success] == ["acme.chat:tell"]


@pytest.mark.parametrize(
    ("clients", "schedule", "runs"),
    [
        (DEFAULTS, "", "30 1 * * *"),
        (DEFAULTS, 'schedule: "0 3 * * *"\n', "0 3 * * *"),
        (DEFAULTS, "schedule: none\n", None),
        (CLIENTS, "", None),
        (CLIENTS, "schedule: none\n", None),
    ],
)
def test_an_upload_runs_by_its_own_schedule_else_by_the_folders(write_folder, clients, schedule, runs) -> None:
    deployment = load_config(write_folder(clients, approvals=UPLOAD + schedule), environ={})

    assert deployment.resolve_schedule(deployment.uploads["approvals"]) == runs


def test_settings_over_themselves_or_over_nothing_are_the_same() -> None:
    settings = AirflowSettings.model_validate({"owner": "me", "tags": ["a"], "notify": {"deadline": "a.b:c"}})

    assert settings.merge_over(settings) == settings
    assert settings.merge_over(AirflowSettings()) == settings
    assert AirflowSettings().merge_over(settings) == settings


def platform(settings: str) -> str:
    return CLIENTS.replace("partner_agent: datapartner", settings)


#: A notifier that ``clients.yml`` has to name, and one that it need not.
OURS, AIRFLOWS = "acme.chat:tell", "airflow.providers.slack.notifications.slack:SlackNotifier"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("transform: 'acme.cleaning:fix'", "transform"),
        ("transform: 'os:system'", "transform"),
        ("airflow: {notify: {failure: {call: 'subprocess:Popen', arguments: {args: id}}}}", "airflow.notify.failure"),
        (f"airflow: {{notify: {{alert: ['{AIRFLOWS}', '{OURS}']}}}}", "airflow.notify.alert[1]"),
        ("airflow: {notify: {success: 'acme.notifications.x:y'}}", "airflow.notify.success"),
        ("airflow: {notify: {deadline: 'airflow.providers.standard.operators.bash:BashOperator'}}", "airflow.notify"),
        ("airflow: {notify: {deadline: 'evil.airflow.providers.slack.notifications.slack:S'}}", "airflow.notify"),
        ("airflow: {notify: {deadline: 'acmes.chat:tell'}}", "airflow.notify.deadline"),
    ],
)
@pytest.mark.parametrize("python", ["[]", "[acm, acme.chatter, acme.clean]"])
def test_code_is_imported_only_from_modules_that_the_platform_names(write_folder, python, text, path) -> None:
    """Until 0.1 any module was: ``call: subprocess:Popen`` with arguments started any program (S4)."""
    with pytest.raises(ConfigError) as raised:
        load_config(write_folder(platform(f"python: {python}"), approvals=f"{UPLOAD}{text}\n"), environ={})

    (problem,) = raised.value.problems
    assert problem.path.startswith(path)
    assert problem.line == len(UPLOAD.splitlines()) + 1
    assert re.search(r"may not be imported: clients\.yml does not name it.* platform: python: \[", problem.message)


@pytest.mark.parametrize("section", ["notify: {failure: 'evil.x:y'}", "health: {notify: 'evil.x:y'}"])
def test_so_it_is_for_those_whom_the_platform_tells(write_folder, section) -> None:
    clients = platform(f"airflow: {{{section}}}")

    with pytest.raises(ConfigError, match=r'clients\.yml:2  platform\.airflow.*"evil\.x" may not be .*\[evil\]'):
        load_config(write_folder(clients), environ={})


@pytest.mark.parametrize("python", ["acme", "[acme.cleaning, acme.chat]", "[other, acme]"])
def test_the_line_that_the_message_gives_is_enough(write_folder, python) -> None:
    own = f"transform: 'acme.cleaning:fix'\nairflow: {{notify: {{alert: ['{AIRFLOWS}', '{OURS}']}}}}\n"

    folder = write_folder(platform(f"python: {python}"), approvals=UPLOAD + own)
    deployment = load_config(folder, environ={})

    assert deployment.uploads["approvals"].transform == "acme.cleaning:fix"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("retires: 3", r'airflow\.retires  is not a key here; did you mean "retries"'),
        ("pools: {send: meta}", r"airflow\.pools\.send  is not a key here; one of: prepare, upload"),
        ("notify: {failure: acme.alerts.page}", r'airflow\.notify\.failure.*  is not "module:function"'),
        ("deadline: 4", r"airflow\.deadline  is not a duration"),
        ("retries: -1", r"airflow\.retries  must be at least 0"),
        ("clients_at_once: 0", r"airflow\.clients_at_once  must be at least 1"),
    ],
)
def test_a_fault_is_told_at_its_place(write_folder, settings, told) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(write_folder(approvals=f"{UPLOAD}airflow: {{{settings}}}\n"), environ={})


def test_the_schema_for_editors_takes_the_short_spellings() -> None:
    schema = generate_json_schema()["upload"]
    text = json.dumps({"$defs": schema["$defs"], "$ref": "#/$defs/AirflowSettings"})
    short = {"tags": "lending", "deadline": "4h", "notify": {"failure": "acme.alerts:page"}}
    long = {"notify": {"failure": [{"call": "acme.alerts:Page", "arguments": {"to": ["a", "b"], "level": 2}}]}}

    for example in (short, long):
        jsonschema.validate(example, json.loads(text))
        AirflowDefaults.model_validate(example)
