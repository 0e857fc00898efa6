"""
The attributes `gen_ai.*` of the OpenTelemetry GenAI semantic conventions, and their older names.

OpenTelemetry's own instrumentations, OpenLLMetry, pydantic-ai, LiteLLM and the anthropic client
write them, each in its own way. What only one of them writes is noted where it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hh_exporter._responses.completion import one_word, reason_of, response_of
from hh_exporter._spans import litellm, steps
from hh_exporter._spans.attributes import data_of
from hh_exporter._spans.messages import chat_of, choices_of
from hh_exporter._spans.parts import Parts, present
from hh_exporter._spans.providers import provider_of
from hh_exporter._spans.tools import tools_of
from hh_exporter._spans.usage import usage_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hh_exporter._responses.completion import Choice
    from hh_exporter._spans.attributes import Attributes
    from hh_exporter._spans.span import Span

__all__ = ["MARKS", "PREFIXES", "kind_of", "read"]

_OPERATION: Final = "gen_ai.operation.name"
_CALL: Final = "gen_ai.is_streaming"
"""OpenLLMetry has this on calls of models, also where it leaves the operation out."""

MARKS: Final = (_OPERATION, "llm.request.type", "traceloop.span.kind", _CALL)
"""One of these is on each span of a step."""
PREFIXES: Final = (
    *("gen_ai.", "llm.", "traceloop.", "session.id", "user.id"),
    *("operation.cost", "pydantic_ai."),
)

_TYPES: Final = {
    **dict.fromkeys(("chat", "text_completion", "generate_content"), "model"),
    **dict.fromkeys(("invoke_agent", "create_agent", "invoke_workflow", "execute_task"), "chain"),
    **dict.fromkeys(("execute_tool", "embeddings", "retrieval", "fetch_response"), "tool"),
    # LiteLLM's own words for what it was asked to do
    **dict.fromkeys(
        ("completion", "acompletion", "atext_completion", "agenerate_content"), "model"
    ),
    **dict.fromkeys(("responses", "aresponses", "anthropic_messages"), "model"),
}
"""By `gen_ai.operation.name`. What reads a stored answer, or embeds, is no call of a model."""

_OLDER_TYPES: Final = {"chat": "model", "completion": "model", "embedding": "tool"}
"""By `llm.request.type`, of OpenLLMetry as npm honeyhive 1.0.42 has it."""

_KINDS: Final = {"workflow": "chain", "task": "chain", "agent": "chain", "tool": "tool"}
"""By `traceloop.span.kind`."""

_OPENLLMETRY_OPENAI: Final = "opentelemetry.instrumentation.openai.v1"
"""The scope of spans of which some read a stored answer of OpenAI Responses."""

_PYDANTIC_AI: Final = "pydantic-ai"
_REQUEST, _OUTPUT = "model_request_parameters", '"output_object":{'
"""Where it has the schema of the answer, and what is in there if there is one."""

_APART: Final = ("gen_ai.prompt.", "gen_ai.completion.", "llm.request.functions.")
"""Where older instrumentations have one attribute a value."""

_PARAMETERS: Final = (
    *(
        (name, f"gen_ai.request.{name}")
        for name in (
            *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "seed"),
            *("stop_sequences", "frequency_penalty", "presence_penalty", "repetition_penalty"),
            *("n", "stream", "reasoning_effort", "reasoning_summary"),
        )
    ),
    ("n", "gen_ai.request.choice.count"),
    ("reasoning_effort", "gen_ai.request.reasoning.level"),
    *((name, f"llm.{name}") for name in ("top_k", "frequency_penalty", "presence_penalty")),
    ("stop_sequences", "llm.chat.stop_sequences"),
)

_THINKING: Final = (
    ("type", "anthropic.thinking.type"),
    ("budget_tokens", "anthropic.thinking.budget_tokens"),
)

_TOKENS: Final = (
    ("prompt_tokens", ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")),
    ("completion_tokens", ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")),
    ("total_tokens", ("gen_ai.usage.total_tokens", "llm.usage.total_tokens")),
    (
        "cache_read_tokens",
        (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.details.cache_read_tokens",
            "gen_ai.usage.details.cache_read_input_tokens",
            "gen_ai.usage.details.cached_content_tokens",
        ),
    ),
    (
        "cache_write_tokens",
        (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.details.cache_write_tokens",
            "gen_ai.usage.details.cache_creation_input_tokens",
        ),
    ),
    (
        "reasoning_tokens",
        (
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.details.reasoning_tokens",
            "gen_ai.usage.details.thoughts_tokens",
            "llm.usage.reasoning_tokens",
        ),
    ),
)

_STREAM: Final = ("gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming")

_FIRST_CHUNK: Final = (
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.client.operation.time_to_first_chunk",
)

_TEXTS: Final = (
    ("operation", (_OPERATION,)),
    ("request_type", ("llm.request.type",)),
    ("span_kind", ("traceloop.span.kind",)),
    ("requested", ("gen_ai.request.model", "model_name")),
    ("answered", ("gen_ai.response.model",)),
    ("provider", ("gen_ai.provider.name", "gen_ai.system")),
    ("output_type", ("gen_ai.output.type",)),
    (
        "session",
        (
            *("gen_ai.conversation.id", "session.id"),
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.thread_id",
        ),
    ),
    (
        "user",
        (
            *("gen_ai.user", "llm.user", "user.id"),
            "traceloop.association.properties.user_id",
        ),
    ),
    ("response_id", ("gen_ai.response.id",)),
    ("tool_name", ("gen_ai.tool.name",)),
    ("tool_call_id", ("gen_ai.tool.call.id",)),
    ("agent_name", ("gen_ai.agent.name", "agent_name")),
    ("workflow_name", ("gen_ai.workflow.name", "traceloop.workflow.name")),
    ("task_name", ("gen_ai.task.name", "traceloop.entity.name")),
)
_NAMED: Final = (
    *("response_id", "tool_name", "tool_call_id"),
    *("agent_name", "workflow_name", "task_name"),
)
"""Texts that are members of the metadata, by these names."""

_STEP_NAMES: Final = ("tool_name", "task_name", "agent_name", "workflow_name")

_REASONS: Final = (
    *("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason"),
    *("anthropic.message.stop_reason", "gen_ai.response.stop_reason"),
    *("llm.response.finish_reason", "llm.response.stop_reason"),
)


def kind_of(attributes: Mapping[str, Any]) -> str | None:
    """
    Find the type of the event of a span; None if these conventions don't say.
    """
    for mark, kinds in zip(MARKS, (_TYPES, _OLDER_TYPES, _KINDS), strict=False):
        said = attributes.get(mark)
        if isinstance(said, str) and (kind := kinds.get(said)) is not None:
            return kind
    return "model" if _CALL in attributes and _OPERATION not in attributes else None


def read(attributes: Attributes, span: Span) -> Parts:
    """
    Read the attributes of these conventions.
    """
    kind = kind_of(attributes.left)
    texts = attributes.take_texts(_TEXTS)
    requested, answered = texts.get("requested"), texts.get("answered")
    if kind == "model" and requested is None and answered and span.scope == _OPENLLMETRY_OPENAI:
        kind = "tool"  # it reads a stored answer, whose usage the call has reported
    billed = litellm.read(attributes)
    usage = billed.pop("usage", {}) | usage_of(attributes, _TOKENS)
    first = attributes.take_number(*_FIRST_CHUNK)
    is_streamed = _is_stream(attributes) or first is not None
    parts: Parts = {
        "event_type": kind,
        "is_streamed": is_streamed,
        "session_id": texts.get("session"),
        "model": answered or requested,
        "provider": _provider(attributes, texts.get("provider"), billed.get("api_base")),
        "hyperparameters": _hyperparameters(attributes, is_streamed) or None,
        "response_format": _response_format(attributes, texts.get("output_type")),
        "usage": usage or None,
        "metrics": None if first is None else {"time_to_first_token": first * 1000},
        "user_properties": _one("user_id", texts.get("user")),
    }
    if kind != "model":
        parts |= steps.read(attributes)
        parts["event_name"] = _step_name(texts, span.name)
    choices = _take_messages(attributes, parts, is_step=kind != "model")
    cost = attributes.take_number("operation.cost", "gen_ai.cost.total_cost")
    if usage or cost:  # tracers write 0.0 if there is no usage
        parts["cost"] = cost
    metadata: Parts = {
        "operation": texts.get("operation") or texts.get("request_type") or texts.get("span_kind"),
        "requested_model": None if requested == parts["model"] else requested,
        "finish_reason": _finish_reason(attributes, choices),
        "cost_source": None if parts.get("cost") is None else "span",
    }
    named = {name: texts[name] for name in _NAMED if name in texts}
    parts["metadata"] = present(metadata) | named
    if span.scope == _PYDANTIC_AI:
        attributes.drop("logfire.json_schema", "logfire.msg")
    return present(parts)


def _is_stream(attributes: Attributes) -> bool:
    is_stream = False
    for name in _STREAM:
        if name in attributes.left:
            is_stream |= attributes.take(name) in (True, "True")
    return is_stream


def _provider(attributes: Attributes, claim: str | None, api_base: object) -> str | None:
    left = attributes.left
    return provider_of(
        claim, left.get("server.address"), left.get("gen_ai.openai.api_base"), api_base
    )


def _hyperparameters(attributes: Attributes, is_streamed: bool) -> Parts:
    found = attributes.take_all(_PARAMETERS)
    if thinking := attributes.take_all(_THINKING):
        found["thinking"] = thinking
    if is_streamed:
        found["stream"] = True
    return found


def _response_format(attributes: Attributes, kind: str | None) -> Parts | None:
    """
    Read the form that the answer should have; only OpenLLMetry and pydantic-ai have the schema.
    """
    schema = attributes.take_json("response_format", "gen_ai.request.structured_output_schema")
    if schema is not None:
        return {"type": "json_schema", "json_schema": {"schema": schema}}
    text = attributes.left.get(_REQUEST)
    if isinstance(text, str) and _OUTPUT in text:
        match data_of(text):
            case {"output_object": {"json_schema": schema} as output}:
                named = {"name": output.get("name"), "strict": output.get("strict")}
                return {"type": "json_schema", "json_schema": present({**named, "schema": schema})}
    return _one("type", kind)


def _step_name(texts: dict[str, str], span_name: str) -> str | None:
    """
    Name a step as its program does, if the span is called after it: "execute_tool NAME" or
    "NAME.tool".
    """
    for key in _STEP_NAMES:
        name = texts.get(key)
        if name is not None and (span_name.endswith(name) or span_name.startswith(f"{name}.")):
            return name
    return None


def _take_messages(attributes: Attributes, parts: Parts, is_step: bool) -> list[Choice]:
    """
    Add messages, response and tools to *parts*, and return the choices that the response is of.
    """
    asked = attributes.take_json("messages", "gen_ai.input.messages")
    answered = attributes.take_json("response", "gen_ai.output.messages")
    tools = attributes.take_json("tools", "gen_ai.tool.definitions")
    if attributes.has_below(_APART):
        older, answers = attributes.take_numbered("gen_ai.prompt"), _completions(attributes)
        functions = attributes.take_numbered("llm.request.functions")
        asked = older if asked is None else asked
        answered = answers if answered is None else litellm.with_calls(answered, answers)
        tools = functions if tools is None else tools
    if is_step and asked is None and answered is None:
        asked, answered = steps.conversation(attributes)
    instructions = attributes.take_json("messages", "gen_ai.system_instructions")
    choices = choices_of(answered)
    parts["messages"] = chat_of(asked, instructions) or None
    parts["response"] = response_of(choices) if choices else None
    parts["tools"] = tools_of(tools)
    return choices


def _completions(attributes: Attributes) -> list[Any] | None:
    """
    Read the older form of an answer, in which each number is a choice.
    """
    answers = attributes.take_numbered("gen_ai.completion")
    if answers is None:
        return None
    return [
        {"finish_reason": None, **answer} if isinstance(answer, dict) else answer
        for answer in answers
    ]


def _finish_reason(attributes: Attributes, choices: list[Choice]) -> Any:
    """
    Read why the answer ended: one word, or several of several choices.
    """
    said = data_of(attributes.take(*_REASONS))  # JSON text, as LiteLLM has it
    if not said:
        return reason_of(choices) if choices else None
    reasons = list(said) if isinstance(said, list | tuple) else [said]
    words = [one_word(reason) for reason in reasons]
    if words in (["stop"], ["completed"]):  # of OpenAI Responses and Gemini, which have no other
        return "tool_calls" if choices and "tool_calls" in choices[0].message else "stop"
    return words[0] if words.count(words[0]) == len(words) else words


def _one(name: str, value: Any) -> Parts | None:
    return None if value is None else {name: value}
