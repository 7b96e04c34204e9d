"""What Airflow's own metrics say of a run, heard by a StatsD server on a real socket."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from offline_capi.demo.samples import SAMPLE_TOKENS
from offline_capi.model import Fate
from tests.airflow_provider.conftest import SampleNight

UPLOAD = "store_purchases"
_LINE = re.compile(r"airflow\.offline_capi\.(?P<name>[\w.]+),(?P<tags>[^:]+):(?P<value>[\d.]+)\|(?P<kind>c|ms)")


class StatsD:
    """Listens; ``heard`` are our counters since, and how many timings of each name came."""

    def __init__(self, listener: socket.socket) -> None:
        self._socket = listener

    @property
    def settings(self) -> dict[str, str]:
        host, port = self._socket.getsockname()
        settings = {"ON": "True", "HOST": host, "PORT": str(port), "INFLUXDB_ENABLED": "True"}
        return {f"AIRFLOW__METRICS__STATSD_{name}": value for name, value in settings.items()}

    def heard(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for line in self.lines():
            match = _LINE.fullmatch(line)
            if match:
                found[match["name"], match["tags"]] += int(match["value"]) if match["kind"] == "c" else 1
        return found

    def lines(self) -> Iterator[str]:
        """Everything that has arrived: the sender is on this machine, and has ended."""
        while True:
            try:
                yield from self._socket.recv(65_536).decode().splitlines()
            except BlockingIOError:
                return


@pytest.fixture
def statsd() -> Iterator[StatsD]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        yield StatsD(listener)


def run(night: SampleNight, statsd: StatsD, upload: str = UPLOAD) -> str:
    return night.airflow.run(upload, {**night.environment, **statsd.settings}, **night.window, retries=0).run_id


def by_fate(heard: Counter[tuple[str, str]]) -> dict[str, int]:
    events: Counter[str] = Counter()
    for (name, _), number in heard.items():
        if name.startswith("events."):
            events[name.removeprefix("events.")] += number
    return dict(events)


def test_events_by_fate_and_what_sending_took_are_counted_by_upload_and_client(night: SampleNight, statsd: StatsD):
    run(night, statsd)

    heard, (report,) = statsd.heard(), night.reports()
    tags = {client: f"upload=store_purchases,client={client}" for client in ("corner_shop", "nordic_outlet")}
    clients = report.by_client()
    assert {tag: heard["events.sent", tag] for tag in tags.values()} == {
        tag: clients[client][Fate.SENT] for client, tag in tags.items()
    }
    assert by_fate(heard) == {fate.value: rows for fate, rows in report.tally.count_by_fate().items() if rows}
    assert sum(heard["requests", tag] for tag in tags.values()) == len(night.sandbox.requests) == report.tally.requests
    assert sum(heard["tries", tag] for tag in tags.values()) == report.tally.tries
    assert [heard["send.duration", tag] for tag in tags.values()] == [1, 1]
    assert heard["run.duration", "upload=store_purchases"] == 1


def test_an_event_is_counted_once_however_often_its_run_is_cleared(night: SampleNight, statsd: StatsD):
    """First deferred, then sent: those that were sent at once are not counted again."""
    night.sandbox.revoke(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"])
    environment = {**night.environment, **statsd.settings}
    first = run(night, statsd)
    night.sandbox.grant(SAMPLE_TOKENS["NORDIC_OUTLET_TOKEN"], [night.pixel("nordic_outlet")])
    for _ in range(2):
        night.airflow.clear(UPLOAD, environment, first, "upload", "reconcile", "purge")

    heard, of_nordic = statsd.heard(), "upload=store_purchases,client=nordic_outlet"
    assert by_fate(heard)["sent"] == len(night.sandbox.accepted_ids)
    arrived = len(night.sandbox.ids_of(night.pixel("nordic_outlet")))
    assert heard["events.deferred", of_nordic] == heard["events.sent", of_nordic] == arrived > 0


def test_what_a_row_says_in_place_of_a_known_client_is_no_tag(night: SampleNight, statsd: StatsD):
    run(night, statsd)

    clients = {tags.partition(",client=")[2] for _, tags in statsd.heard()} - {""}
    assert clients == {"corner_shop", "nordic_outlet", "unknown"}


def test_the_operator_counts_the_same(night: SampleNight, statsd: StatsD):
    run(night, statsd, "own")

    heard, (report,) = statsd.heard(), night.reports()
    assert heard["events.sent", "upload=credit_approvals,client=acme_bank"] == report.tally.count(Fate.SENT) > 100
    assert heard["requests", "upload=credit_approvals"] == report.tally.requests
