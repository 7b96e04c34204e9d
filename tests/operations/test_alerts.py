"""Alerts: who has to do something is told once when a fault begins, and once when it is over."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.errors import OfflineCapiError, SourceError
from offline_capi.model import Fate, Window
from offline_capi.operations.alerts import Alert, raise_alerts, raise_failure
from offline_capi.pipeline import run_upload
from offline_capi.report import RunReport, Status
from tests.support.night import NOBODY, Night, yesterday
from tests.support.sales import OUTLET, SHOP, ZONE, sale, sales_night, write
from tests.support.sandbox_server import Sandbox

SHOP_TOKEN = SAMPLE_TOKENS["CORNER_SHOP_TOKEN"]
#: The program that a test is told by: it keeps what it gets, one line a message.
PROGRAM = """
import json, sys
with open("told.jsonl", "a") as file:
    file.write(json.dumps(json.load(sys.stdin)) + "\\n")
"""


@pytest.fixture
def night(tmp_path: Path, sandbox: Sandbox) -> Night:
    night = sales_night(tmp_path, sandbox)
    night.env["OFFLINE_CAPI_DATA"] = str(tmp_path)
    write(night, [sale("s-1"), sale("s-2"), sale("s-3", "Outlet")])
    return night


def upload(
    night: Night, *more: Alert, narrowed: bool = False, day: date | None = None, **options: Any
) -> tuple[RunReport, list[Alert]]:
    """One run, and what was told after it."""
    heard: list[Alert] = []
    with night.services() as services:
        one = services.deployment.uploads["sales"]
        clients = ["corner_shop"] if narrowed else []
        window = Window.of_day(day or yesterday(ZONE), ZONE)
        report = run_upload(one, window, services, clients=clients, **options)
        told = raise_alerts(report, services, notify=heard.append, more=more)
    assert told == heard
    return report, heard


def shown(alerts: list[Alert]) -> list[tuple[str, str]]:
    return [(alert.change, alert.key) for alert in alerts]


def test_a_night_that_delivers_everything_tells_nobody(night: Night):
    report, told = upload(night)

    assert (report.status, told) == (Status.COMPLETE, [])


def test_p20_a_loss_is_told_once_with_balance_reason_and_advice_and_its_end_once(night: Night):
    graph, night.env["OFFLINE_CAPI_GRAPH_URL"] = night.env["OFFLINE_CAPI_GRAPH_URL"], NOBODY
    told = [upload(night)[1] for _ in range(3)]
    night.env["OFFLINE_CAPI_GRAPH_URL"] = graph
    told += [upload(night)[1] for _ in range(2)]

    assert [shown(alerts) for alerts in told] == [
        [("began", "loss")],
        [],
        [],
        [("ended", "loss: deferred unreachable")],
        [],
    ]
    (began,), (ended,) = told[0], told[3]
    assert began.balance == "3 read = 3 deferred"
    assert began.balance in began.text
    assert "the endpoint could not be reached. What now: check the network and graph_url; run again" in began.text
    assert began.title.startswith("sales, 20")
    assert ended.balance == "3 read = 3 sent"
    assert began.title in ended.text


def test_another_cause_is_told_though_the_upload_is_red_already_and_one_that_stays_is_not_over(night: Night):
    night.sandbox.fault("refuse_events", event_ids=["s-1"], code=100, subcode=2804003)
    first = upload(night)[1]
    write(night, [sale("s-1"), sale("s-4"), sale("s-5")])
    night.sandbox.fault("refuse_events", event_ids=["s-4"], code=100, subcode=2804019)
    second, again = upload(night)[1], upload(night)[1]

    assert shown(first) == shown(second) == [("began", "loss")]
    assert {*second[0].causes} > {*first[0].causes}
    assert again == []


def test_p07_a_client_that_meta_refuses_is_told_once_with_its_code_whatever_upload_meets_it(night: Night):
    night.edit("dags/clients.yml", ("    country: GB\n", "    country: GB\n    contacts: owner@shop.example\n"))
    night.write("dags/uploads/sales_too.yml", (night.home / "dags/uploads/sales.yml").read_text())
    night.sandbox.revoke(SHOP_TOKEN)
    report, told = upload(night)
    with night.services() as services:
        two = services.deployment.uploads["sales_too"]
        other = raise_alerts(
            run_upload(two, report.window, services), services, notify=lambda alert: pytest.fail(alert.title)
        )

    (alert,) = told
    assert report.status is Status.PARTIAL
    assert (alert.key, alert.client, alert.contacts) == ("run: refused", "corner_shop", ("owner@shop.example",))
    assert alert.text.startswith("Meta answered 190")
    assert "2 events of sales wait" in alert.text
    assert alert.balance == "2 read = 2 deferred"
    assert other == []


def test_a_refused_client_is_sent_for_again_and_that_is_told_once(night: Night):
    night.sandbox.revoke(SHOP_TOKEN)
    upload(night)
    night.sandbox.grant(SHOP_TOKEN, [SHOP])
    (report, told), (_, silence) = upload(night), upload(night)

    assert report.tally.count(Fate.SENT) == 2
    assert [(alert.change, alert.title) for alert in told] == [("ended", "corner_shop: is sent for again")]
    assert silence == []


def test_what_a_health_check_told_no_run_tells_again_and_what_a_run_told_no_check(night: Night, sandbox: Sandbox):
    tell_by_program(night)
    sandbox.revoke(SHOP_TOKEN)
    night.run("clients", "health")
    night.run("upload", "sales")
    by_check = told_to(night)
    sandbox.grant(SHOP_TOKEN, [SHOP])
    night.run("clients", "health")
    over = told_to(night)
    sandbox.revoke(SHOP_TOKEN)
    write(night, [sale("s-8"), sale("s-9")])
    night.run("upload", "sales")
    by_run = told_to(night)
    night.run("clients", "health")
    silence = told_to(night)
    sandbox.grant(SHOP_TOKEN, [SHOP])
    night.run("clients", "health")
    over_again = told_to(night)

    assert [(alert["client"], alert["change"]) for alert in by_check] == [("corner_shop", "began")]
    assert [(alert["client"], alert["change"]) for alert in over] == [("corner_shop", "ended")]
    # The rows that the first run deferred are not in the file any more: that is told as well.
    assert [(alert["key"], alert["change"]) for alert in by_run] == [("run: refused", "began"), ("loss", "began")]
    assert silence == []
    assert [alert["change"] for alert in over_again] == ["ended"]


def test_a_run_of_some_clients_and_a_replay_begin_faults_and_end_none(night: Night):
    night.sandbox.refuse("s-3")
    upload(night)
    (_, some), (_, replay) = upload(night, narrowed=True), upload(night, trigger="replay")

    assert some == replay == []
    write(night, [sale("s-1")])
    assert shown(upload(night)[1])[0][0] == "ended"


def test_an_earlier_day_that_is_delivered_does_not_end_the_fault_of_a_later_one(night: Night):
    night.sandbox.refuse("s-3")
    upload(night)
    before, _ = upload(night, day=yesterday(ZONE) - timedelta(days=1)), write(night, [sale("s-1")])

    assert before[0].status is Status.COMPLETE
    assert before[1] == []
    assert [alert.change for alert in upload(night)[1]] == ["ended"]


def test_plans_and_test_events_tell_nothing(night: Night):
    night.sandbox.refuse("s-1")

    report, told = upload(night, test_event_code="TEST1")

    assert report.status is Status.PARTIAL
    assert told == []


def test_open_days_are_told_with_the_run_each_once_and_their_end(night: Night):
    days = [Alert("open days: 2026-11-25", "sales: 2026-11-25 is open", "since a token was refused")]

    told = [shown(upload(night, *more)[1]) for more in (days, days, [])]

    key = "open days: 2026-11-25"
    assert told == [[("began", key)], [], [("ended", key)]]


def test_a_version_that_ends_soon_is_told_once_for_all_uploads_and_when_it_has_ended(night: Night):
    night.edit("dags/clients.yml", ("graph_version: v27.0", "graph_version: v27.0\n  graph_versions: {events: v25.0}"))
    found, (report, _) = [], upload(night)
    for now in ("2027-01-01", "2028-05-01", "2028-05-02", "2028-07-30", "2028-08-01"):
        heard: list[Alert] = []
        with night.services() as services:
            later = replace(services, clock=lambda now=now: datetime.fromisoformat(now).replace(tzinfo=UTC))
            raise_alerts(report, later, notify=heard.append)
        found.append([alert.text.partition(",")[0] for alert in heard if alert.key.startswith("version")])

    ends = "Graph version v25.0 (events) ends on 2028-07-29"
    assert found == [[], [ends], [], ["Graph version v25.0 (events) ended on 2028-07-29: Meta refuses it"], []]


def test_a_run_that_fails_before_it_has_a_report_is_told_once_and_its_end_is(night: Night):
    heard: list[Alert] = []
    with night.services() as services:
        for _ in range(2):
            raise_failure("sales", SourceError("the warehouse does not answer"), services, notify=heard.append)
    over = upload(night)[1]

    assert [(alert.title, alert.text) for alert in heard] == [
        ("sales: the run failed", "the warehouse does not answer"),
    ]
    assert shown(over) == [("ended", "failed: SourceError")]


def test_p09_an_error_that_is_not_ours_is_not_quoted(night: Night):
    heard: list[Alert] = []
    with night.services() as services:
        raise_failure("sales", KeyError("somebody@example.com"), services, notify=heard.append)

    assert "somebody" not in json.dumps([alert.to_json() for alert in heard])


def test_who_could_not_be_told_is_told_with_the_next_run_and_the_others_at_once(night: Night):
    night.sandbox.revoke(SHOP_TOKEN)
    night.sandbox.refuse("s-3")
    heard: list[Alert] = []

    def tell(alert: Alert) -> None:
        if alert.client:
            raise OSError("no route")
        heard.append(alert)

    with night.services() as services:
        report = run_upload(services.deployment.uploads["sales"], Window.of_day(yesterday(ZONE), ZONE), services)
        with pytest.raises(OfflineCapiError, match="1 messages could not be delivered"):
            raise_alerts(report, services, notify=tell)
        later = raise_alerts(report, services, notify=heard.append)

    assert [alert.key for alert in heard] == ["loss", "run: refused"]
    assert later == heard[1:]


def test_where_nobody_is_named_nothing_is_remembered(night: Night):
    night.sandbox.refuse("s-1")
    with night.services() as services:
        report = run_upload(services.deployment.uploads["sales"], Window.of_day(yesterday(ZONE), ZONE), services)
        assert raise_alerts(report, services) == []
        assert not (Path(services.deployment.platform.stage) / "alerts").exists()


# ---------------------------------------------------------------------------------------------- platform.notify


def tell_by_program(night: Night, program: str = PROGRAM) -> None:
    night.write("tell.py", program)
    name(night, "{command: [python, tell.py]}")


def name(night: Night, targets: str) -> None:
    night.edit("dags/clients.yml", ("platform:\n", f"platform:\n  notify: {targets}\n"))


def told_to(night: Night) -> list[dict[str, Any]]:
    """What the program was told since somebody looked."""
    path = night.home / "told.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [json.loads(line) for line in lines]


def test_the_command_line_tells_by_a_program_of_the_platforms(night: Night):
    tell_by_program(night)
    night.sandbox.refuse("s-1")

    first, second = night.run("upload", "sales"), night.run("upload", "sales")

    (alert,) = told_to(night)
    assert (first.code, second.code) == (1, 1)
    assert (alert["upload"], alert["change"], alert["balance"]) == (
        "sales",
        "began",
        "3 read = 2 sent + 1 rejected by Meta",
    )
    assert alert["text"].startswith(alert["title"])
    assert "example.com" not in json.dumps(alert)


def test_a_source_that_cannot_be_read_is_told_by_the_command_line_too(night: Night):
    tell_by_program(night)
    (night.home / "sales" / "sales.csv").write_bytes(b"\xff\xfe\x00\xd8")

    said = night.run("upload", "sales")

    (alert,) = told_to(night)
    assert (said.code, "\nSourceError: " in said.err) == (1, True)
    assert alert["title"] == "sales: the run failed"
    assert alert["reason"] in said.err


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ('{command: [python, -c, "raise SystemExit(3)"]}', "platform.notify.command: python ended with 3"),
        ("{command: [no-such-program]}", "platform.notify.command: no-such-program cannot be started: No such file"),
        ("{webhook: {env: ALERTS}}", "platform.notify.webhook: no connection, or no answer"),
    ],
)
def test_what_cannot_tell_is_said_and_changes_nothing_of_the_run(night: Night, targets: str, words: str):
    name(night, targets)
    night.sandbox.refuse("s-1")

    said = night.run("upload", "sales", env={"ALERTS": f"{NOBODY}/services/canary"})

    assert said.code == 1
    assert words in said.err
    assert "canary" not in said.out + said.err
    assert "2 sent + 1 rejected by Meta" in said.out


class Hook(HTTPServer):
    """An incoming webhook that keeps what it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.status = 200


class _Post(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_webhook_gets_json_whose_text_is_the_whole_message_and_its_address_stays_a_secret(night: Night, hook: Hook):
    name(night, "{webhook: {env: ALERTS}}")
    night.sandbox.revoke(SHOP_TOKEN)
    address = {"ALERTS": f"http://127.0.0.1:{hook.server_port}/services/canary?key=secret"}

    hook.status = 500
    failed = night.run("upload", "sales", env=address)
    hook.status = 200
    night.run("upload", "sales", env=address)
    night.run("upload", "sales", env=address)

    (_, _), (path, alert) = hook.got
    assert "platform.notify.webhook: answered 500" in failed.err
    assert "canary" not in failed.out + failed.err
    assert path == "/services/canary?key=secret"
    assert alert["text"].startswith("corner_shop: Meta refused its token or pixel\nMeta answered 190")
    assert len(night.sandbox.ids_of(OUTLET)) == 1
