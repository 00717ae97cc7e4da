"""Spans of OpenTelemetry: one for each item, and below it one for each stage and each transfer.

They are made when the answer is there, from the events that came with it, whose times are on this machine's clock.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from multiedge.errors import MissingDependencyError
from multiedge.executors.flow.answers import Answer
from multiedge.measurements import Event

try:
    from opentelemetry import trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError:
    raise MissingDependencyError("opentelemetry", extra="otel") from None

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

SCOPE = "multiedge"
FLUSH_S = 1.0
"""How long closing waits for spans to be exported."""


class Spans:
    """An observer that makes spans with the provider of the application; without one, they go to OTLP, as the variables
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME and others of OpenTelemetry say.

    Args:
        provider: Makes tracers; None is that of the application.
    """

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._own: TracerProvider | None = None
        chosen = provider or trace.get_tracer_provider()
        if isinstance(chosen, trace.ProxyTracerProvider):  # the application has set none
            chosen = self._own = _otlp_provider()
        self._tracer = chosen.get_tracer(SCOPE)
        self._zero_ns = time.time_ns() - time.monotonic_ns()
        """UNIX time of the zero of CLOCK_MONOTONIC."""

    def answered(self, answer: Answer) -> None:
        attributes = {"multiedge.item": answer.item, "multiedge.attempts": answer.attempts}
        whole = self._tracer.start_span("item", None, SpanKind.CLIENT, attributes, start_time=self._unix_ns(answer.issued_s))
        below = trace.set_span_in_context(whole)
        for event in answer.events:
            name, inside = _described(event)
            part = self._tracer.start_span(name, below, attributes=inside, start_time=self._unix_ns(event.start_s))
            part.end(self._unix_ns(event.stop_s))
        if answer.error:
            whole.set_status(Status(StatusCode.ERROR, answer.error))
        whole.end(self._unix_ns(answer.done_s))

    def close(self) -> None:
        """Exports what is left, if the provider is not that of the application; waits up to FLUSH_S."""
        if self._own is not None:
            flush = threading.Thread(target=self._own.shutdown, name="spans", daemon=True)
            flush.start()
            flush.join(FLUSH_S)
            self._own = None

    def _unix_ns(self, monotonic_s: float) -> int:
        return self._zero_ns + round(monotonic_s * 1e9)


def _described(event: Event) -> tuple[str, dict[str, str | int]]:
    """Name and attributes of the span of an event; names are few, as the conventions of OpenTelemetry ask."""
    if event.kind == "compute":
        return f"stage {event.stage + 1}", {"multiedge.stage": event.stage, "multiedge.device": event.device}
    attributes: dict[str, str | int] = {"multiedge.device": event.device, "multiedge.stage": event.stage}
    if event.peer:
        attributes |= {"multiedge.peer": event.peer, "multiedge.bytes": event.nbytes}
    return event.kind, attributes


def _otlp_provider() -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise MissingDependencyError("opentelemetry-sdk", extra="otel") from None
    provider = TracerProvider(resource=Resource.create(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
