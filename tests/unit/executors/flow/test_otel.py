from __future__ import annotations

import time

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from multiedge.executors.flow.answers import Answer
from multiedge.executors.flow.otel import Spans
from multiedge.measurements import Event


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Spans:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Spans(provider)


def test_an_item_has_a_span_for_each_stage_and_each_transfer(spans: Spans, exporter: InMemorySpanExporter) -> None:
    now = time.monotonic()
    events = (
        Event("transfer", 7, -1, "caller", now - 0.10, now - 0.09, 400, "a"),
        Event("compute", 7, 0, "a", now - 0.09, now - 0.05),
        Event("transfer", 7, 0, "a", now - 0.05, now - 0.04, 900, "b"),
        Event("compute", 7, 1, "b", now - 0.04, now - 0.01),
    )
    spans.answered(Answer(7, now - 0.1, now, "", 2, events))
    *parts, whole = exporter.get_finished_spans()
    assert [part.name for part in parts] == ["transfer", "stage 1", "transfer", "stage 2"]
    assert {part.parent.span_id for part in parts} == {whole.context.span_id}
    assert dict(whole.attributes) == {"multiedge.item": 7, "multiedge.attempts": 2}
    assert dict(parts[2].attributes) == {
        "multiedge.device": "a",
        "multiedge.stage": 0,
        "multiedge.peer": "b",
        "multiedge.bytes": 900,
    }
    assert (parts[1].end_time - parts[1].start_time) / 1e9 == pytest.approx(0.04, abs=1e-6)
    assert abs(whole.end_time - time.time_ns()) < 60e9


def test_an_item_that_failed_has_a_span_with_its_error(spans: Spans, exporter: InMemorySpanExporter) -> None:
    spans.answered(Answer(1, 10.0, 11.0, "stage 1 on 'b' failed"))
    (whole,) = exporter.get_finished_spans()
    assert (whole.status.status_code, whole.status.description) == (StatusCode.ERROR, "stage 1 on 'b' failed")
