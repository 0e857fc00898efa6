"""
Whatever a span says: it becomes one event, which can be sent, and nothing of it is lost.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from hh_exporter._clock import SystemClock
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._dialects.v1 import V1Dialect
from hh_exporter._encoding.codec import Codec
from hh_exporter._spans.mapping import event_of, kind_of
from tests.spans.test_mapping import span

NUMBERS: Final = ("0", "1", "7", "10", "01", "٣")

MESSAGE: Final = (
    *("role", "content", "name", "tool_call_id", "function_call_name", "odd", "contents"),
    "function_call_arguments_json",
)
PART: Final = (
    *("type", "text", "id", "signature", "data", "encrypted_content", "image.image.url", "odd"),
    "audio.audio.url",
)
CALL: Final = ("id", "function.name", "function.arguments", "reasoning_signature", "odd")

OPENINFERENCE: Final = (
    *("llm.model_name", "llm.request.model_name", "llm.response.model_name"),
    *("llm.provider", "llm.system", "llm.finish_reason", "llm.invocation_parameters"),
    *("llm.token_count.prompt", "llm.token_count.completion", "llm.token_count.total"),
    *("llm.token_count.prompt_details.cache_read", "llm.token_count.odd", "llm.cost.total"),
    *("llm.prompt_template.template", "llm.prompt_template.variables", "llm.function_call"),
    *("llm.prompt_template.version", "llm.odd", "metadata", "tag.tags", "session.id", "user.id"),
    *("tool.name", "tool.description", "tool.parameters", "tool.id", "agent.name", "graph.node.id"),
    *("embedding.model_name", "embedding.invocation_parameters", "reranker.query"),
    *("reranker.model_name", "reranker.top_k", "error.type", "llm.input_messages", "odd"),
)
LANGFUSE: Final = (
    *(f"langfuse.observation.{name}" for name in ("input", "output", "level", "metadata")),
    *(f"langfuse.observation.{name}" for name in ("status_message", "completion_start_time")),
    *(f"langfuse.observation.model.{name}" for name in ("name", "parameters")),
    *(f"langfuse.observation.{name}" for name in ("usage_details", "cost_details", "odd")),
    *(f"langfuse.observation.prompt.{name}" for name in ("name", "version")),
    *("langfuse.observation.metadata.a", "langfuse.trace.metadata.b", "langfuse.trace.name"),
    *("langfuse.trace.tags", "langfuse.trace.public", "langfuse.environment", "langfuse.release"),
    *("langfuse.version", "langfuse.experiment.id", "session.id", "user.id"),
)


@st.composite
def message_names(draw: st.DrawFn) -> str:
    number = st.sampled_from(NUMBERS)
    place = draw(st.sampled_from(("llm.input_messages", "llm.output_messages")))
    member = draw(
        st.one_of(
            st.sampled_from(MESSAGE).map(lambda name: f"message.{name}"),
            st.tuples(number, st.sampled_from(PART)).map(
                lambda two: f"message.contents.{two[0]}.message_content.{two[1]}"
            ),
            st.tuples(number, st.sampled_from(CALL)).map(
                lambda two: f"message.tool_calls.{two[0]}.tool_call.{two[1]}"
            ),
        )
    )
    return f"{place}.{draw(number)}.{member}"


LISTED: Final = st.tuples(
    st.sampled_from(
        (
            *("llm.tools.{}.tool.json_schema", "llm.tools.{}.tool.name"),
            *("llm.prompts.{}.prompt.text", "llm.choices.{}.completion.text"),
            *("embedding.embeddings.{}.embedding.text", "embedding.embeddings.{}.odd"),
            *("retrieval.documents.{}.document.content", "retrieval.documents.{}.odd"),
            *("reranker.input_documents.{}.document.id", "output.images.{}.image.url"),
            *("message.tool_calls.{}.tool_call.function.name", "llm.tools.{}.odd"),
        )
    ),
    st.sampled_from(NUMBERS),
).map(lambda two: two[0].format(two[1]))


FORMS: Final[dict[str, Callable[[str], Any]]] = {
    "text": lambda token: token,
    "object": lambda token: json.dumps({token: {"a": [1]}}),
    "list": lambda token: json.dumps([token, {"role": token}]),
    "messages": lambda token: json.dumps([{"role": "user", "content": token}]),
    "message": lambda token: json.dumps({"role": "assistant", "content": token}),
    "request": lambda token: json.dumps({"messages": [token], "tools": [token]}),
    "call": lambda token: json.dumps({"tool_calls": [{"name": token, "args": 1}]}),
    "item": lambda token: json.dumps([{"type": "reasoning", "summary": [{"text": token}]}]),
    "cut": lambda token: json.dumps([{"role": "user", "content": token}])[:-3],
    "quoted": json.dumps,
    "texts": lambda token: [token, token],
    "members": lambda token: {token: [1]},
}
_MERGED: Final = ("invocation_parameters", "metadata", "usage_details")
"""What becomes members of an object that has others."""

ODD: Final[st.SearchStrategy[Any]] = st.sampled_from(
    (None, "", 0, 7, -1.5, True, 2**70, float("inf"), [], {}, "null", "{", "[]", "{}", [None], b"x")
)
"""What says nothing that could be lost, of whichever type."""


@st.composite
def attributes_of(draw: st.DrawFn, mark: str, kinds: tuple[Any, ...], names: Any) -> Any:
    """
    Make attributes, and the tokens that are in their values, by name.
    """
    attributes: dict[str, Any] = {mark: draw(st.sampled_from(kinds))}
    tokens: dict[str, str] = {}
    for number, name in enumerate(draw(st.lists(names, max_size=12, unique=True))):
        form = draw(st.one_of(st.sampled_from(sorted(FORMS)), ODD.map(lambda value: [value])))
        if name.endswith(_MERGED) and not isinstance(form, list):
            form = "object"  # whose member nothing else has
        if isinstance(form, list):
            [attributes[name]] = form
        else:
            tokens[name] = f"token-{number}-"
            attributes[name] = FORMS[form](tokens[name])
    return attributes, tokens


def check(attributes: dict[str, Any], tokens: dict[str, str]) -> None:
    event = event_of(span(attributes=attributes))
    for dialect in (V1Dialect(), LegacyDialect()):
        codec = Codec(dialect=dialect, clock=SystemClock(), max_bytes=2**20)
        text = codec.encode(event, "id").data.decode()
        lost = [name for name, token in tokens.items() if token not in text]
        assert not lost, (lost, text)
    kind = getattr(event, "event_type", "model")
    assert kind == kind_of(attributes)


@given(
    attributes_of(
        "openinference.span.kind",
        ("LLM", "TOOL", "AGENT", "EMBEDDING", "RETRIEVER", "odd", 7),
        st.one_of(st.sampled_from(OPENINFERENCE), message_names(), LISTED),
    )
)
@settings(max_examples=100)
def test_a_span_of_openinference_is_one_event(made: Any) -> None:
    """
    Whatever is in its attributes.
    """
    check(*made)


@given(
    attributes_of(
        "langfuse.observation.type",
        ("generation", "span", "tool", "embedding", "odd", 7),
        st.sampled_from(LANGFUSE),
    )
)
@settings(max_examples=100)
def test_a_span_of_langfuse_is_one_event(made: Any) -> None:
    """
    Whatever is in its attributes.
    """
    check(*made)
