"""
The public API as a type checker sees it; never run.

Each `type: ignore` is a wrong use that must be an error: mypy and basedpyright
report those that are not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from ssl import create_default_context
from typing import Any, assert_type

from opentelemetry.sdk.trace import TracerProvider
from tenacity import wait_fixed

from hh_exporter import (
    BatchLimits,
    ConfigError,
    DeliveryError,
    DropReason,
    Event,
    Exporter,
    ExporterError,
    FlushResult,
    JetStream,
    ModelCall,
    ModelEvent,
    Outcome,
    QueueLimits,
    RetryPolicy,
    SessionProperties,
    Settlement,
    Spool,
    Stats,
    ThreadedExporter,
    __version__,
)
from hh_exporter.integrations.genai import Layer, ModelEvents, Tracing, instrument


def make() -> None:
    Exporter()
    Exporter("hh_key")
    Exporter(
        "hh_key",
        base_url="https://api.honeyhive.ai",
        project="support-bot",
        source="production",
        queue=QueueLimits(max_events=1, max_bytes=1, overflow="drop_newest"),
        batch=BatchLimits(max_events=1, max_bytes=1, linger=0),
        retry=RetryPolicy(base=1, factor=2, max_delay=3, max_elapsed=4, retry_after_cap=5),
        max_in_flight=1,
        request_timeout=1,
        close_timeout=1.5,
        compression="gzip",
        before_send=redact,
        hide_inputs=True,
        hide_outputs=False,
        sample_rate=0.5,
        on_outcome=lambda settlement: print(settlement.outcome),
        on_ambiguous="resend",
        also="http://127.0.0.1:8765",
        disabled=False,
    )
    Exporter.in_thread()
    Exporter.in_thread("hh_key", project="support-bot", retry=RetryPolicy(), disabled=True)
    Exporter(jetstream="nats://n1,nats://n2", spool="/var/lib/my-app/events")
    Exporter(jetstream=["nats://n1", "nats://n2"], spool=Spool(Path("/var/lib/my-app/events")))
    Exporter.in_thread(jetstream=JetStream(["tls://n1"], credentials=Path("/app.creds")))
    JetStream("tls://n1", subject="llm", user="app", password="p", max_event_bytes=1)
    JetStream("tls://n1", credentials="/app.creds", ssl_context=create_default_context())
    RetryPolicy(wait=wait_fixed(1))
    QueueLimits(overflow="drop_oldest")

    Exporter("hh_key", "https://api.honeyhive.ai")  # type: ignore[call-arg]
    Exporter(max_in_flight="4")  # type: ignore[arg-type]
    Exporter(on_ambiguous="ignore")  # type: ignore[arg-type]
    Exporter(on_outcome=print_name)  # type: ignore[arg-type]
    Exporter(before_send=True)  # type: ignore[arg-type]
    Exporter(before_send=make)  # type: ignore[arg-type]
    Exporter(dialect="v2")  # type: ignore[arg-type]
    Exporter(compression="br")  # type: ignore[arg-type]
    Exporter(hide_inputs="messages")  # type: ignore[arg-type]
    Exporter(queue={"max_events": 1})  # type: ignore[arg-type]
    Exporter(jetstream=4222)  # type: ignore[arg-type]
    JetStream("nats://n1", "llm")  # type: ignore[call-arg]
    JetStream("nats://n1", password=1)  # type: ignore[arg-type]
    JetStream("nats://n1", ssl_context="/ca.pem")  # type: ignore[arg-type]
    JetStream("nats://n1").subject = "llm"  # type: ignore[misc]
    Exporter.in_thread("hh_key", "https://api.honeyhive.ai")  # type: ignore[call-arg]
    Exporter.in_thread(max_in_flight="4")  # type: ignore[arg-type]
    Exporter.in_thread(dialect="v2")  # type: ignore[arg-type]
    Exporter.in_thread(projekt="support-bot")  # type: ignore[call-arg]
    QueueLimits(overflow="block")  # type: ignore[arg-type]
    QueueLimits(1)  # type: ignore[call-arg]
    BatchLimits().linger = 2.0  # type: ignore[misc]
    RetryPolicy(wait=3.0)  # type: ignore[arg-type]


async def count() -> AsyncIterator[int]:
    yield 1


def redact(item: ModelEvent | SessionProperties) -> ModelEvent | SessionProperties | None:
    assert_type(item.map_text(str.upper), ModelEvent | SessionProperties)
    item.map_text(len)  # type: ignore[arg-type]
    return None if item.source == "test" else item


def print_name(name: str) -> None:
    print(name)


async def use(exporter: Exporter, event: ModelEvent) -> None:
    session = SessionProperties(session_name="chat")
    assert_type(exporter.push(event), bool)
    assert_type(exporter.push(event, session), bool)
    assert_type(await exporter.put(event, session=session), bool)
    assert_type(await exporter.create_model_event(event, timeout=1.0), str)
    assert_type(await exporter.flush(), FlushResult)
    assert_type(await exporter.flush(1), FlushResult)
    assert_type(await exporter.aclose(timeout=None), FlushResult)
    assert_type(exporter.stats(), Stats)
    await exporter.start()
    async with exporter as same:
        assert_type(same, Exporter)
    with exporter.record(model="gpt-4o", provider="openai", session=session) as recorded:
        assert_type(recorded, ModelCall)
        assert_type(recorded.event_id, str)
        recorded.response = {"content": "Hi"}
        for text in recorded.stream(["Hi"]):
            assert_type(text, str)
        async for number in recorded.stream(count()):
            assert_type(number, int)
        recorded.stream(5)  # type: ignore[call-overload]
    async with exporter.record(model="gpt-4o") as recorded:
        assert_type(recorded, ModelCall)
    with exporter.trace("answer", event_type="tool", inputs={"q": 1}) as step:
        plain: Event = step
        exporter.push(plain)
        assert_type(step.event_id, str)
        assert_type(step.session_id, str)
        step.outputs = {"hits": []}
        exporter.update(step.event_id, feedback={"rating": 5})
    async with exporter.trace(session=session, metadata={"a": 1}) as step:
        exporter.push(step)
    with exporter.session("chat", user_properties={"plan": "pro"}) as same_session:
        assert_type(same_session.session_id, str)
        exporter.push(event, session=same_session)
    async with exporter.session(session) as same_session:
        session = same_session
    with exporter.session(session_id="s"):
        pass

    exporter.push({"model": "gpt-4o"})  # type: ignore[arg-type]
    exporter.push([event])  # type: ignore[arg-type]
    exporter.push(event, "session")  # type: ignore[arg-type]
    exporter.put(event)  # type: ignore[unused-coroutine]
    exporter.flush()  # type: ignore[unused-coroutine]
    await exporter.push(event)  # type: ignore[misc]
    await exporter.flush("1")  # type: ignore[arg-type]
    with exporter:  # type: ignore[attr-defined]
        pass
    exporter.record()  # type: ignore[call-arg]
    exporter.record(model="gpt-4o", mesages=[])  # type: ignore[call-arg]
    exporter.record(model=None)  # type: ignore[arg-type]
    exporter.record(model="gpt-4o", session="chat")  # type: ignore[arg-type]
    exporter.record(model="gpt-4o", cost="much")  # type: ignore[arg-type]
    exporter.trace("answer", output={})  # type: ignore[call-overload]
    exporter.trace("answer", messages=[])  # type: ignore[call-overload]
    exporter.session("chat", user={})  # type: ignore[call-overload]
    exporter.session(session, source="test")  # type: ignore[call-overload]
    exporter.session({"session_name": "chat"})  # type: ignore[call-overload]


def decorate(exporter: Exporter) -> None:
    @exporter.trace
    def bare(q: str, limit: int = 1) -> list[str]:
        return [q] * limit

    @exporter.trace("named", event_type="tool", capture_inputs=False, capture_outputs=False)
    async def coroutine(q: str) -> int:
        return len(q)

    @exporter.trace()
    async def stream(q: str) -> AsyncIterator[str]:
        yield q

    @exporter.record(model="gpt-4o", capture_outputs=False)
    def complete(messages: list[str]) -> str:
        return messages[0]

    class Agent:
        @exporter.trace
        def method(self, q: str) -> str:
            return q

        @classmethod
        @exporter.trace
        def of_class(cls, q: str) -> str:
            return q

        @exporter.trace
        @staticmethod
        def static(q: str) -> str:
            return q

    async def use() -> None:
        assert_type(bare("a", limit=2), list[str])
        assert_type(await coroutine("a"), int)
        async for item in stream("a"):
            assert_type(item, str)
        assert_type(complete(["a"]), str)
        assert_type(Agent().method("a"), str)
        assert_type(Agent.of_class("a"), str)
        assert_type(Agent.static("a"), str)
        bare(1)  # type: ignore[arg-type]
        bare("a", limits=2)  # type: ignore[call-arg]
        complete("a")  # type: ignore[arg-type]
        Agent().method(1)  # type: ignore[arg-type]

    print(use)
    exporter.trace(5)  # type: ignore[call-overload]
    exporter.record(model="gpt-4o")(5)  # type: ignore[type-var]


def use_without_a_loop(event: ModelEvent, any_exporter: Exporter) -> None:
    exporter = Exporter.in_thread()
    assert_type(exporter, ThreadedExporter)
    any_exporter = exporter if event.model else any_exporter
    assert_type(any_exporter.push(event), bool)
    with exporter as same:
        assert_type(same, ThreadedExporter)
        assert_type(same.flush_sync(), FlushResult)
        assert_type(same.flush_sync(timeout=1), FlushResult)
    assert_type(exporter.close(), FlushResult)
    assert_type(exporter.close(0.5), FlushResult)

    exporter.flush()  # type: ignore[unused-coroutine]
    exporter.flush_sync("1")  # type: ignore[arg-type]
    any_exporter.close()  # type: ignore[attr-defined]


def fill(message: Any) -> None:
    event = ModelEvent(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Hello"}],
        response=message,
        duration=1,
        extra={"children_ids": []},
    )
    event.cost = 0.5
    assert_type(event.model, str)
    assert_type(event.error, str | None)
    assert_type(event.duration, float | timedelta | None)
    assert_type(event.event_id, str | None)
    session = SessionProperties(session_name="chat", user_properties={"id": 1})
    assert_type(session.session_id, str | None)
    assert_type(event.map_text(str.strip), ModelEvent)
    assert_type(session.map_text(lambda text: text[:100]), SessionProperties)

    ModelEvent()  # type: ignore[call-arg]
    ModelEvent("gpt-4o")  # type: ignore[call-arg]
    ModelEvent(model="gpt-4o", mesages=[])  # type: ignore[call-arg]
    ModelEvent(model=None)  # type: ignore[arg-type]
    event.duration = "1"  # type: ignore[assignment]
    event.extra = ["children_ids"]  # type: ignore[assignment]
    event.respones = {}  # type: ignore[attr-defined]


def look(settlement: Settlement, result: FlushResult, stats: Stats) -> None:
    assert_type(settlement.outcome, Outcome)
    assert_type(settlement.outcome.is_loss, bool)
    assert_type(settlement.reason, DropReason | None)
    assert_type(settlement.event_ids, tuple[str, ...])
    assert_type(settlement.status, int | None)
    assert_type(result.delivered + result.rejected + result.dropped + result.left, int)
    assert_type(result.relayed + stats.relayed + stats.settled + stats.duplicates, int)
    assert_type(stats.dropped_by_reason[DropReason.QUEUE_FULL], int)
    assert_type(stats.oldest_age, float)
    assert_type(stats.health, str)
    print_name(Outcome.DELIVERED)
    print_name(__version__)
    on_outcome: Callable[[Settlement], None] = print
    on_outcome(settlement)

    settlement.outcome = Outcome.DELIVERED  # type: ignore[misc]
    stats.pushed = 0  # type: ignore[misc]
    print(stats.lost)  # type: ignore[attr-defined]


def capture(exporter: Exporter, provider: TracerProvider) -> None:
    provider.add_span_processor(ModelEvents(exporter))
    provider.add_span_processor(ModelEvents(exporter, only="model"))
    with instrument(exporter, only="model") as tracing:
        assert_type(tracing, Tracing)
        assert_type(tracing.layers, tuple[Layer, ...])
        assert_type(tracing.layers[0].client, str)
        print_name(str(tracing))
    tracing.close()

    ModelEvents()  # type: ignore[call-arg]
    ModelEvents(exporter, only="tool")  # type: ignore[arg-type]
    instrument(exporter, "model")  # type: ignore[call-arg]
    tracing.layer  # type: ignore[attr-defined]  # noqa: B018


def handle(error: ExporterError) -> None:
    match error:
        case DeliveryError():
            assert_type(error.status, int | None)
            assert_type(error.body, str)
            assert_type(error.reason, DropReason | None)
        case ConfigError():
            value_error: ValueError = error
            print(value_error)
