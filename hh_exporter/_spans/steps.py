"""
Inputs and outputs of steps other than calls of a model: tools, agents, workflows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hh_exporter._spans.attributes import data_of
from hh_exporter._spans.parts import Parts, named

if TYPE_CHECKING:
    from hh_exporter._spans.attributes import Attributes

__all__ = ["conversation", "read"]

_ARGUMENTS: Final = ("gen_ai.tool.call.arguments", "tool_arguments")
_RESULTS: Final = ("gen_ai.tool.call.result", "tool_response")
_INPUTS: Final = ("traceloop.entity.input", "gen_ai.task.input")
_OUTPUTS: Final = ("traceloop.entity.output", "gen_ai.task.output")
_QUERY: Final = "gen_ai.retrieval.query.text"
_DOCUMENTS: Final = "gen_ai.retrieval.documents"
_ALL_MESSAGES: Final = "pydantic_ai.all_messages"
_ALL: Final = frozenset(
    (*_ARGUMENTS, *_RESULTS, *_INPUTS, *_OUTPUTS, _QUERY, _DOCUMENTS, _ALL_MESSAGES)
)


def read(attributes: Attributes) -> Parts:
    """
    Read inputs and outputs, if there are any.
    """
    if _ALL.isdisjoint(attributes.left):  # as on each call of a model
        return {}
    inputs = named("input", attributes.take_json("inputs", *_INPUTS)) or {}
    outputs = named("output", attributes.take_json("outputs", *_OUTPUTS)) or {}
    _put(inputs, "arguments", attributes.take_json("inputs", *_ARGUMENTS))
    _put(inputs, "query", attributes.take(_QUERY))
    _put(outputs, "result", data_of(attributes.take(*_RESULTS)))
    _put(outputs, "documents", attributes.take_json("outputs", _DOCUMENTS))
    if _ALL_MESSAGES in attributes.left:
        _put(outputs, "result", data_of(attributes.take("final_result")))
    return {"inputs": inputs or None, "outputs": outputs or None}


def conversation(attributes: Attributes) -> tuple[Any, Any]:
    """
    Take the messages of a run of pydantic-ai apart: those before the last answer, and that.
    """
    messages = attributes.take_json("messages", _ALL_MESSAGES)
    match messages:
        case [*before, {"role": "assistant"} as last]:
            return before, [last]
    return messages, None


def _put(into: Parts, name: str, value: Any) -> None:
    if value is not None:
        into[name] = value
