"""
The attributes `gen_ai.*` of the OpenTelemetry GenAI semantic conventions, and their older names.

Several instrumentations write them, each in its own way: OpenTelemetry's own, OpenLLMetry,
pydantic-ai, LiteLLM and the anthropic client. Behaviour of each is noted where it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hh_exporter._spans.attributes import data_of
from hh_exporter._spans.messages import answer_of, chat_of
from hh_exporter._spans.parts import Parts, present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hh_exporter._spans.attributes import Attributes

__all__ = ["MARKS", "PREFIXES", "kind_of", "read"]

MARKS: Final = ("gen_ai.operation.name", "llm.request.type", "traceloop.span.kind")
"""One of these is on each span of a step."""
PREFIXES: Final = ("gen_ai.", "llm.", "traceloop.", "session.id", "operation.cost")

_TYPES: Final = {
    "chat": "model",
    "text_completion": "model",
    "generate_content": "model",
    "invoke_agent": "chain",
    "create_agent": "chain",
    "invoke_workflow": "chain",
    "execute_task": "chain",
    "execute_tool": "tool",
    "embeddings": "tool",
    "retrieval": "tool",
    "fetch_response": "tool",
}
"""By `gen_ai.operation.name`. What reads a stored answer, or embeds, is no call of a model."""

_OLDER_TYPES: Final = {"chat": "model", "completion": "model", "embedding": "tool"}
"""By `llm.request.type`, of OpenLLMetry as npm honeyhive 1.0.42 has it."""

_PARAMETERS: Final = tuple(
    (name, f"gen_ai.request.{name}")
    for name in (
        *("temperature", "top_p", "top_k", "max_tokens", "seed", "stop_sequences"),
        *("frequency_penalty", "presence_penalty", "choice.count"),
    )
)

_TOKENS: Final = {
    "prompt_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "completion_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "total_tokens": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens"),
    "cache_read_tokens": ("gen_ai.usage.cache_read.input_tokens",),
    "cache_write_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
    ),
}

_NAMED: Final = (
    ("response_id", "gen_ai.response.id"),
    ("tool_name", "gen_ai.tool.name"),
    ("tool_call_id", "gen_ai.tool.call.id"),
    ("agent_name", "gen_ai.agent.name"),
)


def kind_of(attributes: Mapping[str, Any]) -> str | None:
    """
    Say of which type the event of a span is; None if these conventions don't say.
    """
    operation, older = attributes.get("gen_ai.operation.name"), attributes.get("llm.request.type")
    kind = _TYPES.get(operation) if isinstance(operation, str) else None
    if kind is None and isinstance(older, str):
        kind = _OLDER_TYPES.get(older)
    return kind


def read(attributes: Attributes) -> Parts:
    """
    Read the attributes of these conventions.
    """
    kind = kind_of(attributes.left)
    operation = attributes.take("gen_ai.operation.name")
    attributes.take("llm.request.type")
    session = attributes.take("gen_ai.conversation.id", "session.id")
    requested = attributes.take("gen_ai.request.model")
    answered = attributes.take("gen_ai.response.model")
    usage = _usage(attributes)
    cost = attributes.take("operation.cost", "gen_ai.cost.total_cost")
    parts: Parts = {
        "event_type": kind,
        "session_id": session if isinstance(session, str) and session else None,
        "model": requested if answered is None else answered,
        "provider": attributes.take("gen_ai.provider.name", "gen_ai.system"),
        "messages": _messages(attributes) or None,
        "response": _response(attributes) or None,
        "inputs": _one("arguments", data_of(attributes.take("gen_ai.tool.call.arguments"))),
        "outputs": _one("result", data_of(attributes.take("gen_ai.tool.call.result"))),
        "hyperparameters": attributes.take_all(_PARAMETERS) or None,
        "tools": data_of(attributes.take("gen_ai.tool.definitions")),
        "usage": usage or None,
        "cost": cost if usage or cost else None,  # tracers write 0.0 if there is no usage
        "metadata": _metadata(attributes, operation, None if answered is None else requested),
    }
    return present(parts)


def _messages(attributes: Attributes) -> Any:
    instructions = data_of(attributes.take("gen_ai.system_instructions"))
    messages = data_of(attributes.take("gen_ai.input.messages"))
    older = _in_order(attributes.take_below("gen_ai.prompt"))
    return chat_of(messages if messages is not None else older, instructions)


def _response(attributes: Attributes) -> Any:
    messages = data_of(attributes.take("gen_ai.output.messages"))
    older = _in_order(attributes.take_below("gen_ai.completion"))
    return answer_of(messages if messages is not None else older)


def _usage(attributes: Attributes) -> Parts:
    tokens = present({key: attributes.take(*names) for key, names in _TOKENS.items()})
    if tokens and "total_tokens" not in tokens:
        both = (tokens.get("prompt_tokens"), tokens.get("completion_tokens"))
        if all(type(one) is int for one in both):
            tokens["total_tokens"] = sum(both)
    return tokens


def _metadata(attributes: Attributes, operation: object, requested: object) -> Parts:
    reasons = data_of(attributes.take("gen_ai.response.finish_reasons"))
    if isinstance(reasons, list | tuple) and len(reasons) == 1:
        [reasons] = reasons
    return present(
        {
            "operation": operation,
            **attributes.take_all(_NAMED),
            "requested_model": requested,
            "finish_reason": reasons,
        }
    )


def _one(name: str, value: Any) -> Parts | None:
    return None if value is None else {name: value}


def _in_order(messages: Any) -> Any:
    """
    Make a list of messages by number, where one of the numbers is missing.
    """
    if isinstance(messages, dict) and all(number.isdecimal() for number in messages):
        return [messages[number] for number in sorted(messages, key=lambda text: (len(text), text))]
    return messages
