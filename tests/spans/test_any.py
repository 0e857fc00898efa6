"""
Whatever is on a span, it becomes one event, which can be sent, and nothing that it says is lost.

Names are drawn from the modules that read them, so a name that is added there is tried here.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hh_exporter import _spans
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._spans.mapping import MARKS, event_of, kind_of
from tests.builders import make_codec
from tests.spans.test_mapping import span


def names_in_source() -> list[str]:
    """
    List what the families' modules may take for the name of an attribute.
    """
    return sorted(
        node.value
        for path in Path(_spans.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"[a-z_]+([._][a-z0-9_]+)+", node.value)
    )


NAMES: Final = names_in_source()
APART: Final = (
    *("gen_ai.prompt.0.role", "gen_ai.prompt.0.content", "gen_ai.prompt.3.tool_calls.0.name"),
    *("gen_ai.completion.0.function_call.name", "gen_ai.completion.0", "gen_ai.completion.1.role"),
    *("llm.request.functions.0.name", "llm.input_messages.1.message.role", "gen_ai.prompt"),
    *("llm.output_messages.0.message.contents.0.message_content.type", "honeyhive_inputs.a.0"),
)
OPERATIONS: Final = ("chat", "generate_content", "execute_tool", "invoke_agent", "embeddings")
SCOPES: Final = ("", "pydantic-ai", "litellm", "opentelemetry.instrumentation.genai.openai")
MEMBERS: Final = (
    *("type", "role", "parts", "content", "text", "name", "id", "arguments", "response"),
    *("result", "finish_reason", "tool_calls", "function", "function_call", "mime_type", "uri"),
    *("modality", "input_schema", "function_declarations", "output_object", "json_schema"),
)
WORDS: Final = (
    *("text", "reasoning", "thinking", "tool_call", "tool_call_response", "blob", "uri"),
    *("refusal", "function", "image", "image/png", "user", "model", "assistant", "stop", ""),
)

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=5),
)
data = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(MEMBERS) | st.text(max_size=3), inner, max_size=5),
    ),
    max_leaves=12,
)
texts = st.one_of(
    data.map(lambda value: orjson.dumps(value).decode()),
    data.map(lambda value: orjson.dumps(value).decode()[:-1]),
    data.map(repr),
)
attributes = st.dictionaries(st.sampled_from((*NAMES, *APART)), data | texts, max_size=8)


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
def marked(draw: st.DrawFn, family: str) -> tuple[dict[str, Any], dict[str, str]]:
    """
    Make attributes of a span of *family*, and the tokens that are in their values, by name.
    """
    mark, kinds, names = FAMILIES[family]
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


FAMILIES: Final[dict[str, tuple[str, tuple[Any, ...], st.SearchStrategy[str]]]] = {
    "openinference": (
        "openinference.span.kind",
        ("LLM", "TOOL", "AGENT", "EMBEDDING", "RETRIEVER", "odd", 7),
        st.one_of(st.sampled_from(OPENINFERENCE), message_names(), LISTED),
    ),
    "langfuse": (
        "langfuse.observation.type",
        ("generation", "span", "tool", "embedding", "odd", 7),
        st.sampled_from(LANGFUSE),
    ),
}
"""By name: the attribute that each span of the family has, what it says, and names of others."""


def test_the_names_are_found() -> None:
    """
    Of each family.
    """
    known = {"gen_ai.input.messages", "llm.model_name", "pydantic_ai.all_messages"}

    assert known < set(NAMES)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(
    attributes=attributes,
    mark=st.sampled_from(MARKS),
    kind=st.sampled_from(OPERATIONS) | data,
    scope=st.sampled_from(SCOPES),
    is_error=st.booleans(),
    exception=st.dictionaries(
        st.sampled_from(("exception.type", "exception.message")), leaves, max_size=2
    ),
)
def test_an_event_is_made_of_any_span(
    dialect: str,
    attributes: dict[str, Any],
    mark: str,
    kind: Any,
    scope: str,
    is_error: bool,
    exception: dict[str, Any],
) -> None:
    """
    Nothing raises, the event can be sent, and what nobody knows is in it.
    """
    own = {mark: kind, "app.own": [1, "a"]}
    event = event_of(
        span(attributes={**attributes, **own}, scope=scope, is_error=is_error, exception=exception)
    )

    record = make_codec(dialect=DIALECTS[dialect]()).encode(event, "e0")

    assert orjson.loads(record.data)["metadata"]["app.own"] == [1, "a"]


@pytest.mark.parametrize("family", FAMILIES)
@given(drawn=st.data())
@settings(max_examples=100)
def test_no_text_of_a_span_is_lost(family: str, drawn: st.DataObject) -> None:
    """
    Each is in the event, whichever attribute has it, and the event has the type that was foreseen.
    """
    attributes, tokens = drawn.draw(marked(family))

    event = event_of(span(attributes=attributes))

    for dialect in DIALECTS.values():
        text = make_codec(dialect=dialect()).encode(event, "e0").data.decode()
        assert [name for name, token in tokens.items() if token not in text] == []
    assert getattr(event, "event_type", "model") == kind_of(attributes)
