"""
The attributes `gen_ai.*` of the OpenTelemetry GenAI semantic conventions, and their older names.

They go where the API's examples have them: messages to `inputs.chat_history`, the
answer to `outputs`, model and provider to `config`, token counts to `metadata`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hh_exporter._spans.attributes import data_of
from hh_exporter._spans.messages import answer_of, chat_of

if TYPE_CHECKING:
    from hh_exporter._spans.attributes import Attributes

__all__ = ["read"]

Json: TypeAlias = dict[str, Any]

_TYPES: Final = {
    "chat": "model",
    "text_completion": "model",
    "generate_content": "model",
    "embeddings": "model",
    "invoke_agent": "chain",
    "create_agent": "chain",
    "invoke_workflow": "chain",
    "execute_tool": "tool",
    "retrieval": "tool",
}
"""By `gen_ai.operation.name`; PyPI honeyhive 1.7.0 has this table and says that the API does."""

_OLDER_TYPES: Final = {"chat": "model", "completion": "model", "embedding": "model"}
"""By `llm.request.type`, of OpenLLMetry as npm honeyhive 1.0.42 has it."""

_PARAMETERS: Final = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "seed",
    "stop_sequences",
    "frequency_penalty",
    "presence_penalty",
    "choice.count",
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

_NAMED: Final = {
    "response_id": "gen_ai.response.id",
    "tool_name": "gen_ai.tool.name",
    "tool_call_id": "gen_ai.tool.call.id",
    "agent_name": "gen_ai.agent.name",
}


def read(attributes: Attributes) -> Json:
    """
    Read the attributes of these conventions; {} for a span that doesn't follow them.
    """
    operation = attributes.take("gen_ai.operation.name")
    older = attributes.take("llm.request.type")
    kind = _TYPES.get(operation) if isinstance(operation, str) else None
    if kind is None and isinstance(older, str):
        kind = _OLDER_TYPES.get(older)
    session = attributes.take("gen_ai.conversation.id", "session.id")
    event = {
        "event_type": kind,
        "session_id": session if isinstance(session, str) and session else None,
        "inputs": _inputs(attributes),
        "outputs": _outputs(attributes),
        "config": _config(attributes),
        "metadata": _metadata(attributes, operation),
    }
    return {key: value for key, value in event.items() if value}


def _inputs(attributes: Attributes) -> Json:
    instructions = data_of(attributes.take("gen_ai.system_instructions"))
    messages = data_of(attributes.take("gen_ai.input.messages"))
    older = _in_order(attributes.take_below("gen_ai.prompt"))
    chat = chat_of(messages if messages is not None else older, instructions)
    arguments = data_of(attributes.take("gen_ai.tool.call.arguments"))
    return _present({"chat_history": chat or None, "arguments": arguments})


def _outputs(attributes: Attributes) -> Json:
    messages = data_of(attributes.take("gen_ai.output.messages"))
    older = _in_order(attributes.take_below("gen_ai.completion"))
    result = data_of(attributes.take("gen_ai.tool.call.result"))
    return answer_of(messages if messages is not None else older) | _present({"result": result})


def _config(attributes: Attributes) -> Json:
    requested = attributes.take("gen_ai.request.model")
    answered = attributes.take("gen_ai.response.model")
    parameters = {name: attributes.take(f"gen_ai.request.{name}") for name in _PARAMETERS}
    config = {
        "model": requested if answered is None else answered,
        "provider": attributes.take("gen_ai.provider.name", "gen_ai.system"),
        "hyperparameters": _present(parameters) or None,
        "tools": data_of(attributes.take("gen_ai.tool.definitions")),
    }
    if answered is not None and requested not in (None, answered):
        config["requested_model"] = requested
    return _present(config)


def _metadata(attributes: Attributes, operation: object) -> Json:
    tokens = {key: attributes.take(*names) for key, names in _TOKENS.items()}
    if tokens["total_tokens"] is None:
        both = (tokens["prompt_tokens"], tokens["completion_tokens"])
        if all(type(one) is int for one in both):
            tokens["total_tokens"] = sum(both)
    reasons = data_of(attributes.take("gen_ai.response.finish_reasons"))
    if isinstance(reasons, list) and len(reasons) == 1:
        [reasons] = reasons
    named = {key: attributes.take(name) for key, name in _NAMED.items()}
    cost = attributes.take("operation.cost", "gen_ai.cost.total_cost")
    has_tokens = any(tokens.values())
    return _present(
        {
            "operation": operation,
            **named,
            **tokens,
            "cost": cost if has_tokens or cost else None,  # tracers write 0.0 if there is no usage
            "finish_reason": reasons,
        }
    )


def _in_order(messages: Any) -> Any:
    """
    Make a list of messages by number, where one of the numbers is missing.
    """
    if isinstance(messages, dict) and all(number.isdecimal() for number in messages):
        return [messages[number] for number in sorted(messages, key=lambda text: (len(text), text))]
    return messages


def _present(values: Json) -> Json:
    return {key: value for key, value in values.items() if value is not None}
