"""Traces and metrics by OpenTelemetry, where the standard ``OTEL_*`` variables ask for them.

Without them nothing of OpenTelemetry is imported. A provider that the process already has (Airflow's, an
instrumentation's) is used as it is; otherwise one is made for OTLP over HTTP or the console. No attribute ever comes
from a row: callers pass names from the configuration, counts, codes and Meta's trace ids.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version as installed_version
from typing import Any, Literal, TypeVar

__all__ = ["capture_context", "count_run", "trace_batches", "trace_span"]

T = TypeVar("T")
#: What a span is given while it is open: ``annotate(tries=2, code=100)``. Values that are ``None`` are left out.
Annotate = Callable[..., None]
SCOPE = "offline_capi"


def is_asked_for(signal: Literal["TRACES", "METRICS"], environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the variables name an exporter or an endpoint for this signal, and do not switch OpenTelemetry off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return exporter != "none" and bool(exporter or any(environ.get(name) for name in endpoints))


@contextmanager
def trace_span(name: str, *, parent: Any = None, kind: str = "INTERNAL", **attributes: Any) -> Iterator[Annotate]:
    """A span around a block, current within it; ``parent`` is a context of ``capture_context`` from another thread.

    An exception marks it as failed by the name of its type; its message stays out.
    """
    tracer = _load_tracer()
    if tracer is None:
        yield _ignore
        return
    from opentelemetry.trace import SpanKind, Status, StatusCode

    with tracer.start_as_current_span(
        name, context=parent, kind=SpanKind[kind], record_exception=False, set_status_on_exception=False
    ) as span:
        annotate = _annotate(span)
        annotate(**attributes)
        try:
            yield annotate
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise


def trace_batches(
    name: str, batches: Iterable[T], count: Callable[[T], int] | None = None, **attributes: Any
) -> Iterable[T]:
    """The same batches under one span, from the first to the last; ``busy_s`` is the time spent on making them.

    ``count`` says how many rows or events a batch has. Without traces the iterable itself is returned.
    """
    tracer = _load_tracer()
    return batches if tracer is None else _trace_batches(tracer, name, batches, count, attributes)


def _trace_batches(
    tracer: Any, name: str, batches: Iterable[T], count: Callable[[T], int] | None, attributes: Mapping[str, Any]
) -> Iterator[T]:
    span, made, rows, busy_s, iterator = tracer.start_span(name), 0, 0, 0.0, iter(batches)
    try:
        while True:
            began = time.monotonic()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            finally:
                busy_s += time.monotonic() - began
            made, rows = made + 1, rows + (count(batch) if count else 0)
            yield batch
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
        _annotate(span)(**attributes, batches=made, rows=rows if count else None, busy_s=busy_s)
        span.end()


def capture_context() -> Any:
    """The context of this thread, to be the ``parent`` of spans of another one; ``None`` without traces."""
    if _load_tracer() is None:
        return None
    from opentelemetry.context import get_current

    return get_current()


def count_run(
    upload: str, events: Mapping[tuple[str, str], int], *, requests: int, tries: int, duration_s: float
) -> None:
    """Count a run whose books are closed: ``events`` by client and fate, its requests, tries and duration."""
    instruments = _load_instruments()
    if instruments is None:
        return
    for (client, fate), number in events.items():
        instruments["events"].add(number, {"upload": upload, "client": client, "fate": fate})
    instruments["requests"].add(requests, {"upload": upload})
    instruments["tries"].add(tries, {"upload": upload})
    instruments["duration"].record(duration_s, {"upload": upload})


def _ignore(**_: Any) -> None:
    """Annotate nothing."""


def _annotate(span: Any) -> Annotate:
    def annotate(**attributes: Any) -> None:
        for name, value in attributes.items():
            if value is not None:
                span.set_attribute(f"{SCOPE}.{name}", value)

    return annotate


@cache
def _load_tracer() -> Any:
    """The tracer of this process, or ``None`` where traces are off or the extra ``otel`` is not installed."""
    if not is_asked_for("TRACES"):
        return None
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            if os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() == "console":
                exporter: Any = ConsoleSpanExporter()
            else:
                from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

                exporter = OTLPSpanExporter()
            provider = TracerProvider(resource=_make_resource())
            provider.add_span_processor(BatchSpanProcessor(exporter))
            trace.set_tracer_provider(provider)
    except ImportError:
        return None
    return trace.get_tracer(SCOPE)


@cache
def _load_instruments() -> dict[str, Any] | None:
    """The instruments of this process by their short names, or ``None`` as for traces."""
    if not is_asked_for("METRICS"):
        return None
    try:
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader

        if not isinstance(metrics.get_meter_provider(), MeterProvider):
            if os.environ.get("OTEL_METRICS_EXPORTER", "otlp").strip() == "console":
                exporter: Any = ConsoleMetricExporter()
            else:
                from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

                exporter = OTLPMetricExporter()
            reader = PeriodicExportingMetricReader(exporter)
            metrics.set_meter_provider(MeterProvider(resource=_make_resource(), metric_readers=[reader]))
    except ImportError:
        return None
    meter = metrics.get_meter(SCOPE)
    return {
        "events": meter.create_counter("offline_capi.events", "{event}", "Rows and copies of a run by their fate"),
        "requests": meter.create_counter("offline_capi.requests", "{request}", "Requests with events"),
        "tries": meter.create_counter("offline_capi.tries", "{try}", "Tries of these requests"),
        "duration": meter.create_histogram(
            "offline_capi.run.duration", "s", "From the beginning of a run to its report"
        ),
    }


def _make_resource() -> Any:
    """``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``, before ``offline-capi`` and its version."""
    from opentelemetry.sdk.resources import Resource

    stated = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {"service.name": "offline-capi", "service.version": installed_version("offline-capi")}
    if os.environ.get("OTEL_SERVICE_NAME"):
        del own["service.name"]
    return Resource.create({name: value for name, value in own.items() if f"{name}=" not in stated})
