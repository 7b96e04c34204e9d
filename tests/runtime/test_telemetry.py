"""Traces and metrics of a real upload: in the SDK's memory, over OTLP to a real listener, and nothing when off."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import offline_capi
from offline_capi.model import Fate
from offline_capi.runtime.telemetry import _make_resource, is_asked_for
from tests.support.sandbox_server import Sandbox

DAY = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
SALES = f"""order_id,email,paid_at,total,currency
A-1001,mara@example.com,{DAY} 09:15:00,120.50,USD
A-1002,ken@example.org,{DAY} 11:40:00,35.00,USD
A-1003,lia@example.net,{DAY} 17:05:00,19.90,USD
"""
PIXEL = "1234567890"
#: Runs the command line with the SDK's in-memory exporters in this process, and prints what they hold as JSON.
IN_MEMORY = """
import json, sys
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, reader, provider = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
from offline_capi.cli import main
code = 0
try:
    main()
except SystemExit as end:
    code = end.code
found = reader.get_metrics_data()
print("\\n===", json.dumps({
    "code": code,
    "spans": [json.loads(span.to_json()) for span in spans.get_finished_spans()],
    "metrics": json.loads(found.to_json()) if found else {},
}))
"""
IS_IMPORTED = """
import sys
from offline_capi.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the upload ``sales``, as ``init`` makes it."""
    folder = tmp_path_factory.mktemp("telemetry")
    (folder / f"sales_{DAY}.csv").write_text(SALES)
    client = ["--client", "acme", "--pixel", PIXEL, "--country", "US", "--timezone", "UTC"]
    event = ["--event", "Purchase", "--action-source", "physical_store", "--yes"]
    command = [sys.executable, "-m", "offline_capi", "init", f"sales_{DAY}.csv", *client, *event]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def upload(program: str, home: Path, ledger: Path, sandbox: Sandbox, **settings: str) -> str:
    sandbox.grant("any", [PIXEL])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OFFLINE_CAPI_"))}
    own = {
        "OFFLINE_CAPI_GRAPH_URL": sandbox.url,
        "OFFLINE_CAPI_LEDGER": f"sqlite:///{ledger}/ledger.db",
        "OFFLINE_CAPI_STAGE": str(ledger / "stage"),
        "ACME_TOKEN": "any",
    }
    command = [sys.executable, "-c", program, "upload", "sales", "--since", DAY]
    done = subprocess.run(
        command, cwd=home, env={**kept, **own, **settings}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read_telemetry(printed: str) -> dict[str, Any]:
    return dict(json.loads(printed.rpartition("\n=== ")[2]))


ON = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp"}


def test_a_run_is_one_trace_with_reading_preparing_and_each_request(home: Path, tmp_path: Path, sandbox: Sandbox):
    found = read_telemetry(upload(IN_MEMORY, home, tmp_path, sandbox, **ON))

    spans = {span["name"]: span for span in found["spans"]}
    (run,) = (span for span in found["spans"] if span["name"] == "offline_capi.run")
    assert found["code"] == 0
    assert {*spans} == {"offline_capi.run", "read", "prepare", "request"}
    assert run["attributes"]["offline_capi.upload"] == "sales"
    for name in ("read", "prepare", "request"):
        assert spans[name]["parent_id"] == run["context"]["span_id"], name
    assert spans["read"]["attributes"]["offline_capi.rows"] == 3
    assert spans["prepare"]["attributes"]["offline_capi.rows"] == 3
    request = spans["request"]["attributes"]
    assert spans["request"]["kind"] == "SpanKind.CLIENT"
    assert request["offline_capi.client"] == "acme"
    assert request["offline_capi.pixel"] == PIXEL
    assert (request["offline_capi.events"], request["offline_capi.tries"]) == (3, 1)
    assert (request["offline_capi.accepted"], request["offline_capi.status"]) == (True, 200)
    assert request["offline_capi.meta_trace"]


def test_metrics_count_each_event_by_its_fate(home: Path, tmp_path: Path, sandbox: Sandbox):
    sandbox.refuse("A-1002")

    found = read_telemetry(upload(IN_MEMORY, home, tmp_path, sandbox, **ON))

    (scope,) = found["metrics"]["resource_metrics"][0]["scope_metrics"]
    metrics = {one["name"]: one["data"]["data_points"] for one in scope["metrics"]}
    assert {*metrics} == {
        "offline_capi.events",
        "offline_capi.requests",
        "offline_capi.tries",
        "offline_capi.run.duration",
    }
    by_fate = {point["attributes"]["fate"]: point["value"] for point in metrics["offline_capi.events"]}
    assert {fate: number for fate, number in by_fate.items() if number} == {"sent": 2, "rejected_by_meta": 1}
    assert {*by_fate} == {*Fate}, "a counter that begins with its first loss is no increase for Prometheus"
    assert {point["attributes"]["client"] for point in metrics["offline_capi.events"]} == {"acme"}
    requests = [span for span in found["spans"] if span["name"] == "request"]
    assert metrics["offline_capi.requests"][0]["value"] == len(requests) > 1
    assert any(span["attributes"].get("offline_capi.code") for span in requests), "the code of Meta's refusal"


def test_p09_no_value_of_a_row_is_in_a_trace_or_metric(home: Path, tmp_path: Path, sandbox: Sandbox):
    """Readable or hashed, also where Meta refuses an event by name."""
    sandbox.refuse("A-1003")

    found = json.dumps(read_telemetry(upload(IN_MEMORY, home, tmp_path, sandbox, **ON)))

    digests = [hashlib.sha256(email.encode()).hexdigest() for email in ("mara@example.com", "lia@example.net")]
    for value in ("mara", "lia@", "A-1001", "A-1003", "120.5", *digests):
        assert value not in found, value


def test_off_is_off_nothing_of_opentelemetry_is_imported(home: Path, tmp_path: Path, sandbox: Sandbox):
    off = upload(IS_IMPORTED, home, tmp_path, sandbox)
    switched_off = upload(IS_IMPORTED, home, tmp_path, sandbox, **ON, OTEL_SDK_DISABLED="true")

    assert off.splitlines()[-1] == switched_off.splitlines()[-1] == "[]"


@pytest.fixture
def collector() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A listener for OTLP over HTTP: its address, and the body by path of what it was sent."""
    received: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_an_endpoint_alone_sends_traces_and_metrics_there(
    home: Path, tmp_path: Path, sandbox: Sandbox, collector: tuple[str, dict[str, bytes]]
):
    address, received = collector

    upload(
        "from offline_capi.cli import main\nmain()",
        home,
        tmp_path,
        sandbox,
        OTEL_EXPORTER_OTLP_ENDPOINT=address,
        OTEL_EXPORTER_OTLP_COMPRESSION="none",
        OTEL_SERVICE_NAME="nightly",
    )

    assert {*received} == {"/v1/traces", "/v1/metrics"}
    assert b"offline_capi.run" in received["/v1/traces"]
    assert b"nightly" in received["/v1/traces"]
    assert b"offline_capi.events" in received["/v1/metrics"]
    for sent in received.values():
        assert b"service.version" in sent
        assert offline_capi.__version__.encode() in sent


@pytest.mark.parametrize(
    ("environ", "name", "version"),
    [
        ({}, "offline-capi", offline_capi.__version__),
        ({"OTEL_SERVICE_NAME": "nightly"}, "nightly", offline_capi.__version__),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team=growth,service.version=7"}, "offline-capi", "7"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=nightly,service.version=7"}, "nightly", "7"),
    ],
)
def test_the_resource_names_the_service_and_its_version(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], name: str, version: str
):
    for variable in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)

    found = _make_resource().attributes

    assert (found["service.name"], found["service.version"]) == (name, version)


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://h:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, False),
    ],
)
def test_the_standard_variables_decide(environ: dict[str, str], asked: bool):
    assert is_asked_for("TRACES", environ) is asked
