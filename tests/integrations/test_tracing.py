"""
What `instrument` turns on and off, with made-up clients and instrumentations.

`tests/genai` has the real ones.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from hh_exporter.integrations._switches import CONTENT, IMAGE_LENGTH
from hh_exporter.integrations._tracing import Tracing
from tests.integrations.packages import Packages, installing


class Spans(SpanProcessor):
    """
    Collects what ended.
    """

    def __init__(self) -> None:
        self.ended: list[ReadableSpan] = []
        self.shutdowns = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)

    def shutdown(self) -> None:
        self.shutdowns += 1

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.ended]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    with installing(tmp_path, monkeypatch) as packages:
        yield packages


@pytest.fixture
def spans() -> Spans:
    return Spans()


def ask(module: str) -> None:
    assert import_module(module).ask("hi") == "HI"


def instrumentor(client: str, name: str, space: str = "opentelemetry.instrumentation.genai") -> Any:
    return getattr(import_module(f"{space}.{client}"), name)()


def states(tracing: Tracing) -> dict[str, str]:
    return {layer.client: layer.state for layer in tracing.layers if layer.version == "1.2"}


def lines(tracing: Tracing) -> list[str]:
    """
    List what it says of the made-up clients.
    """
    return [line for line in str(tracing).splitlines() if " 1.2: " in line]


def test_calls_are_captured_until_the_end_of_the_block(packages: Packages, spans: Spans) -> None:
    """
    The client is as it was afterwards, and what was captured is handed over once.
    """
    packages.client("openai")
    packages.semconv("openai", "OpenAIInstrumentor")

    with Tracing(spans) as tracing:
        ask("openai")
    ask("openai")
    tracing.close()

    assert spans.names == ["openai"]
    assert spans.shutdowns == 1
    assert lines(tracing) == [
        "openai 1.2: on, by opentelemetry-instrumentation-genai-openai 1.2",
    ]


async def test_it_may_be_the_lifespan_of_an_app(packages: Packages, spans: Spans) -> None:
    """
    `async with` does the same.
    """
    packages.client("openai")
    packages.semconv("openai", "OpenAIInstrumentor")

    async with Tracing(spans):
        ask("openai")
    ask("openai")

    assert spans.names == ["openai"]


@pytest.mark.parametrize(
    ("said", "switch"),
    [
        (None, "SPAN_ONLY"),
        ("", "SPAN_ONLY"),
        ("true", "SPAN_ONLY"),
        ("EVENT_ONLY", "SPAN_ONLY"),
        ("NO_CONTENT", "NO_CONTENT"),
        ("False", "NO_CONTENT"),
    ],
)
def test_messages_are_captured_unless_they_were_switched_off(
    packages: Packages,
    spans: Spans,
    monkeypatch: pytest.MonkeyPatch,
    said: str | None,
    switch: str,
) -> None:
    """
    The switch is set only while the instrumentation reads it, which is once.
    """
    packages.client("openai")
    packages.semconv("openai", "OpenAIInstrumentor")
    if said is not None:
        monkeypatch.setenv(CONTENT, said)

    with Tracing(spans):
        assert os.environ.get(CONTENT) == said
        assert instrumentor("openai", "OpenAIInstrumentor").switch == switch


def test_the_apps_own_instrumentation_is_left_alone(packages: Packages, spans: Spans) -> None:
    """
    It goes on with its own tracer provider, also after the end.
    """
    packages.client("openai")
    packages.client("anthropic")
    packages.semconv("openai", "OpenAIInstrumentor")
    packages.semconv("anthropic", "AnthropicInstrumentor")
    provider, theirs = TracerProvider(shutdown_on_exit=False), Spans()
    provider.add_span_processor(theirs)
    own = instrumentor("openai", "OpenAIInstrumentor")
    own.instrument(tracer_provider=provider)

    with Tracing(spans) as tracing:
        ask("openai")
        ask("anthropic")
    ask("openai")

    assert (spans.names, theirs.names) == (["anthropic"], ["openai", "openai"])
    assert lines(tracing) == [
        (
            "openai 1.2: left alone, opentelemetry-instrumentation-genai-openai 1.2 is on already, "
            "by the app or an earlier instrument()"
        ),
        "anthropic 1.2: on, by opentelemetry-instrumentation-genai-anthropic 1.2",
    ]
    own.uninstrument()


def test_the_first_of_two_captures(packages: Packages, spans: Spans) -> None:
    """
    The second leaves its layers alone, and takes nothing away when it is closed.
    """
    packages.client("openai")
    packages.semconv("openai", "OpenAIInstrumentor")

    with Tracing(spans):
        with Tracing(Spans()) as second:
            assert states(second) == {"openai": "left alone"}
        ask("openai")

    assert spans.names == ["openai"]


def test_what_the_app_turned_off_meanwhile_stays_off(
    packages: Packages, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Its instrumentation is not turned off a second time, which would be worth a warning.
    """
    packages.client("openai")
    packages.semconv("openai", "OpenAIInstrumentor")

    with Tracing(spans):
        instrumentor("openai", "OpenAIInstrumentor").uninstrument()
        ask("openai")

    assert spans.names == []
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("extra", "needs", "problem"),
    [
        ("import httpx_of_old\n", "openai", "No module named 'httpx_of_old'"),
        ("OpenAIInstrumentor._instrument = None\n", "openai", "'NoneType' object is not callable"),
        ("", "openai < 1", "openai < 1"),
        ("", "openai-of-old", "openai-of-old"),
    ],
)
def test_an_instrumentation_that_fails_breaks_nothing(
    packages: Packages,
    spans: Spans,
    caplog: pytest.LogCaptureFixture,
    extra: str,
    needs: str,
    problem: str,
) -> None:
    """
    One warning says so, and the others are turned on.
    """
    packages.client("openai")
    packages.client("anthropic")
    packages.semconv("openai", "OpenAIInstrumentor", needs, extra)
    packages.semconv("anthropic", "AnthropicInstrumentor")

    with Tracing(spans) as tracing:
        ask("openai")
        ask("anthropic")

    assert spans.names == ["anthropic"]
    assert states(tracing) == {"openai": "off", "anthropic": "on"}
    [message] = caplog.messages
    assert message.startswith(
        "hh_exporter: calls of openai are not captured: "
        "opentelemetry-instrumentation-genai-openai 1.2 raised "
    )
    assert problem in message
    assert message.endswith(tracing.layers[0].reason)


def test_an_instrumentation_that_does_nothing_is_not_called_on(
    packages: Packages, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Older ones log that they take no such client, and raise nothing.
    """
    packages.client("openai")
    mute = "OpenAIInstrumentor.instrument = lambda self, **options: None\n"
    packages.semconv("openai", "OpenAIInstrumentor", extra=mute)

    with Tracing(spans) as tracing:
        pass

    assert states(tracing) == {"openai": "off"}
    assert "RuntimeError: it did nothing" in caplog.messages[0]


def test_what_cannot_be_turned_off_does_not_keep_the_others_on(
    packages: Packages, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Closing raises nothing.
    """
    packages.client("openai")
    packages.client("anthropic")
    packages.semconv("openai", "OpenAIInstrumentor")
    packages.semconv(
        "anthropic",
        "AnthropicInstrumentor",
        extra="AnthropicInstrumentor._uninstrument = lambda self: 1 / 0\n",
    )

    with Tracing(spans):
        pass
    ask("openai")

    assert spans.names == []
    assert spans.shutdowns == 1
    assert caplog.messages == [
        (
            "hh_exporter: an instrumentation could not be turned off: "
            "ZeroDivisionError: division by zero"
        )
    ]


def test_openinference_captures_what_opentelemetry_can_not(
    packages: Packages, spans: Spans
) -> None:
    """
    It is the second choice, and the only one for Gemini; images are longer there than by default.
    """
    packages.client("openai")
    packages.client("google-genai", "google.genai")
    packages.client("anthropic")
    packages.semconv("openai", "OpenAIInstrumentor")
    packages.openinference("openai", "OpenAIInstrumentor")
    packages.semconv("anthropic", "AnthropicInstrumentor", "anthropic >= 2")
    packages.openinference("anthropic", "AnthropicInstrumentor")
    packages.openinference("google-genai", "GoogleGenAIInstrumentor")

    with Tracing(spans) as tracing:
        for module in ("openai", "anthropic", "google.genai"):
            ask(module)
        space = "openinference.instrumentation"
        options = instrumentor("google_genai", "GoogleGenAIInstrumentor", space).options

    assert spans.names == ["openai", "anthropic", "google.genai"]
    assert lines(tracing) == [
        "openai 1.2: on, by opentelemetry-instrumentation-genai-openai 1.2",
        "anthropic 1.2: on, by openinference-instrumentation-anthropic 1.2",
        "google-genai 1.2: on, by openinference-instrumentation-google-genai 1.2",
    ]
    assert options["config"].length == 1_000_000


def test_the_users_own_limit_for_images_counts(
    packages: Packages, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    OpenInference reads it where it is not given another.
    """
    monkeypatch.setenv(IMAGE_LENGTH, "5")
    packages.client("google-genai", "google.genai")
    packages.openinference("google-genai", "GoogleGenAIInstrumentor")

    with Tracing(spans):
        space = "openinference.instrumentation"
        options = instrumentor("google_genai", "GoogleGenAIInstrumentor", space).options

    assert options["config"].length is None


@pytest.mark.parametrize("other", [None, "openai", "google-genai"])
def test_openinference_tells_of_langchain_only_what_no_client_tells(
    packages: Packages, spans: Spans, other: str | None
) -> None:
    """
    Its spans and those of a client have nothing in common by which duplicates can be found.
    """
    packages.client("langchain-core", "langchain_core")
    packages.openinference("langchain", "LangChainInstrumentor")
    if other == "openai":
        packages.client("openai")
        packages.semconv("openai", "OpenAIInstrumentor")
    elif other:
        packages.client(other, "google.genai")
        packages.openinference(other, "GoogleGenAIInstrumentor")

    with Tracing(spans) as tracing:
        ask("langchain_core")

    assert spans.names == ([] if other else ["langchain_core"])
    assert lines(tracing)[-1] == (
        f"langchain-core 1.2: left alone, since it would capture the calls of {other} twice; for "
        "steps, pip install langchain opentelemetry-instrumentation-genai-langchain"
        if other
        else "langchain-core 1.2: on, by openinference-instrumentation-langchain 1.2"
    )


@pytest.mark.parametrize("has_langchain", [True, False])
def test_opentelemetrys_langchain_needs_the_whole_of_it(
    packages: Packages, spans: Spans, *, has_langchain: bool
) -> None:
    """
    Without the package langchain it would do nothing.
    """
    packages.client("langchain-core", "langchain_core")
    packages.semconv("langchain", "LangChainInstrumentor")
    if has_langchain:
        packages.install("langchain", "langchain")

    with Tracing(spans) as tracing:
        pass

    assert states(tracing) == {"langchain-core": "on" if has_langchain else "off"}


def test_a_client_without_instrumentation_says_what_to_install(
    packages: Packages, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A program in which nothing is captured gets one warning.
    """
    packages.client("openai")
    packages.client("langchain-core", "langchain_core")

    with Tracing(spans) as tracing:
        ask("openai")

    assert lines(tracing) == [
        "openai 1.2: off, pip install opentelemetry-instrumentation-genai-openai",
        (
            "langchain-core 1.2: off, pip install langchain "
            "opentelemetry-instrumentation-genai-langchain"
        ),
    ]
    assert caplog.messages == [
        "hh_exporter: no calls are captured: print what instrument() returns for why"
    ]


def test_a_folder_of_the_apps_own_is_no_client(packages: Packages, spans: Spans) -> None:
    """
    Many apps have a module named agents.
    """
    packages.client("my-app", "agents")
    packages.semconv("openai-agents", "OpenAIAgentsInstrumentor")

    with Tracing(spans) as tracing:
        pass

    assert states(tracing) == {}


PYDANTIC_AI = """
class InstrumentationSettings:
    def __init__(self, tracer_provider, meter_provider):
        self.tracer_provider = tracer_provider

class Agent:
    _instrument_default = False

    @staticmethod
    def instrument_all(instrument=True):
        Agent._instrument_default = instrument
"""


def test_pydantic_ai_tells_of_its_agents_itself(packages: Packages, spans: Spans) -> None:
    """
    Unless the app has given settings of its own, which stay.
    """
    packages.install("pydantic-ai-slim", "pydantic_ai", PYDANTIC_AI)
    agent = import_module("pydantic_ai").Agent

    with Tracing(spans) as tracing:
        assert agent._instrument_default.tracer_provider is tracing.provider
    assert agent._instrument_default is False
    assert lines(tracing) == ["pydantic-ai-slim 1.2: on, by itself"]

    agent.instrument_all(True)
    with Tracing(spans) as tracing:
        assert agent._instrument_default is True
    assert agent._instrument_default is True
    assert states(tracing) == {"pydantic-ai-slim": "left alone"}


def test_nothing_is_captured_where_opentelemetry_is_disabled(
    packages: Packages,
    spans: Spans,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    OTEL_SDK_DISABLED is for the whole process.
    """
    monkeypatch.setenv("OTEL_SDK_DISABLED", " True")
    packages.client("openai")
    packages.semconv("openai", "OpenAIInstrumentor")

    with Tracing(spans) as tracing:
        ask("openai")

    assert (spans.names, tracing.layers) == ([], ())
    assert caplog.messages == [
        "hh_exporter: no calls are captured, since OTEL_SDK_DISABLED is true"
    ]


def test_no_variable_limits_a_span(
    packages: Packages, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A long chat keeps its beginning, and a long text its end.
    """
    for limit in ("ATTRIBUTE_COUNT", "ATTRIBUTE_VALUE_LENGTH", "EVENT_COUNT", "LINK_COUNT"):
        monkeypatch.setenv(f"OTEL_SPAN_{limit}_LIMIT", "3")
    for limit in ("ATTRIBUTE_COUNT", "ATTRIBUTE_VALUE_LENGTH", "EVENT_ATTRIBUTE_COUNT"):
        monkeypatch.setenv(f"OTEL_{limit}_LIMIT", "2")

    with Tracing(spans) as tracing:
        tracer = tracing.provider.get_tracer("t")
        with tracer.start_as_current_span(
            "s", attributes={str(n): "x" * 99 for n in range(999)}
        ) as span:
            for _ in range(999):
                span.add_event("e", dict.fromkeys("abcdef", "y" * 99))

    [ended] = spans.ended
    assert ended.attributes == {str(n): "x" * 99 for n in range(999)}
    assert len(ended.events) == 999
    assert ended.events[0].attributes == dict.fromkeys("abcdef", "y" * 99)


@pytest.mark.parametrize("is_sampled", [True, False])
def test_every_span_is_kept_whether_its_trace_is_sampled_or_not(
    packages: Packages,
    spans: Spans,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_sampled: bool,
) -> None:
    """
    The app's own provider, which goes by that, samples the spans below as it would without.
    """
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    sampler = ALWAYS_ON if is_sampled else ALWAYS_OFF
    own = TracerProvider(sampler, shutdown_on_exit=False).get_tracer("app")

    with Tracing(spans) as tracing:
        tracer = tracing.provider.get_tracer("t")
        with own.start_as_current_span("request"), tracer.start_as_current_span("chat"):
            below = own.start_span("http")
        with tracer.start_as_current_span("alone"):
            pass

    assert spans.names == ["chat", "alone"]
    assert below.get_span_context().trace_flags.sampled == is_sampled
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_seed_repeats_no_id(packages: Packages, spans: Spans) -> None:
    """
    Programs with models seed `random`, some before each call.
    """
    state = random.getstate()
    with Tracing(spans) as tracing:
        tracer = tracing.provider.get_tracer("t")
        for _ in range(3):
            random.seed(1)
            tracer.start_span("s").end()
    random.setstate(state)

    ids = [(span.context.trace_id, span.context.span_id) for span in spans.ended if span.context]
    assert len({trace_id for trace_id, _ in ids}) == len({span_id for _, span_id in ids}) == 3
