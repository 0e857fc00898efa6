"""
What the app's instrumentation sees of the exporter: nothing.

With the real instrumentors, which patch what every session and every database of the
process is made by.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hh_exporter import Spool
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import ScriptedServer
from tests.support import assert_balanced, model_event, push_all


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracers(spans: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """
    The app's tracing, of all its requests and its databases.
    """
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    instrumentors = (AioHttpClientInstrumentor(), SQLite3Instrumentor())
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=tracers)
    yield tracers
    for instrumentor in instrumentors:
        instrumentor.uninstrument()
    tracers.shutdown()


async def test_requests_are_not_traced(
    tracers: TracerProvider,
    spans: InMemorySpanExporter,
    make_exporter: MakeExporter,
    server: ScriptedServer,
) -> None:
    """
    Neither a batch nor a single event leaves a span or carries the trace that it is pushed in.
    """
    exporter = await make_exporter()
    with tracers.get_tracer("app").start_as_current_span("a request of the app"):
        push_all(exporter, "a")
        await exporter.flush()
        await exporter.create_model_event(model_event())

    assert [span.name for span in spans.get_finished_spans()] == ["a request of the app"]
    assert len(server.requests) == 2
    assert not any("traceparent" in request.headers for request in server.requests)


async def test_what_the_app_requests_is_traced_as_before(
    tracers: TracerProvider,
    spans: InMemorySpanExporter,
    make_exporter: MakeExporter,
    server: ScriptedServer,
) -> None:
    """
    The app's own sessions keep their instrumentation beside ours.
    """
    await make_exporter()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/events/model", json={"model_event": {}}) as response,
    ):
        await response.read()

    assert [span.name for span in spans.get_finished_spans()] == ["POST"]
    assert "traceparent" in server.requests[0].headers


async def test_a_spool_is_not_traced(
    tracers: TracerProvider,
    spans: InMemorySpanExporter,
    build_exporter: BuildExporter,
    tmp_path: Path,
) -> None:
    """
    No statement of the exporter's own database leaves a span.
    """
    async with build_exporter(spool=Spool(tmp_path / "spool", durable=True)) as exporter:
        with tracers.get_tracer("app").start_as_current_span("a request of the app"):
            assert await exporter.put(model_event())

    assert assert_balanced(exporter).delivered == 1
    assert [span.name for span in spans.get_finished_spans()] == ["a request of the app"]


def test_the_apps_databases_are_traced_as_before(
    tracers: TracerProvider, spans: InMemorySpanExporter
) -> None:
    """
    The instrumentation that a spool gets past is at work.
    """
    connection = sqlite3.connect(":memory:")
    with closing(connection), closing(connection.cursor()) as cursor:
        cursor.execute("SELECT 1")

    assert [span.name for span in spans.get_finished_spans()] == ["SELECT"]
