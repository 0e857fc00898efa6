"""
Whatever is on a span, an event is made of it that can be sent.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hh_exporter import _spans
from hh_exporter._dialects.registry import DIALECTS
from hh_exporter._spans.mapping import event_of
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


def test_the_names_are_found() -> None:
    """
    Of each family.
    """
    known = {"gen_ai.input.messages", "llm.model_name", "pydantic_ai.all_messages"}

    assert known < set(NAMES)


@pytest.mark.parametrize("dialect", DIALECTS)
@given(
    attributes=attributes,
    operation=st.sampled_from(OPERATIONS) | data,
    scope=st.sampled_from(SCOPES),
    is_error=st.booleans(),
    exception=st.dictionaries(
        st.sampled_from(("exception.type", "exception.message")), leaves, max_size=2
    ),
)
def test_an_event_is_made_of_any_span(
    dialect: str,
    attributes: dict[str, Any],
    operation: Any,
    scope: str,
    is_error: bool,
    exception: dict[str, Any],
) -> None:
    """
    Nothing raises, the event can be sent, and what nobody knows is in it.
    """
    own = {"gen_ai.operation.name": operation, "app.own": [1, "a"]}
    event = event_of(
        span(attributes={**attributes, **own}, scope=scope, is_error=is_error, exception=exception)
    )

    record = make_codec(dialect=DIALECTS[dialect]()).encode(event, "e0")

    assert orjson.loads(record.data)["metadata"]["app.own"] == [1, "a"]
