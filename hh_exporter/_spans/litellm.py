"""
What LiteLLM's `otel` callback writes beside the conventions.

It has texts of Python objects, calls of functions apart from the messages, and an empty text for
each thing that it doesn't know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from hh_exporter._responses.chat import usage_of as usage_of_chat
from hh_exporter._responses.responses import usage_of as usage_of_responses
from hh_exporter._spans.attributes import data_of
from hh_exporter._spans.parts import Parts

if TYPE_CHECKING:
    from hh_exporter._spans.attributes import Attributes

__all__ = ["read", "with_calls"]

_USAGE: Final = "metadata.usage_object"
_PARAMS: Final = "hidden_params"

_AS_JSON: Final = (("'", '"'), ("None", "null"), ("True", "true"), ("False", "false"))


def read(attributes: Attributes) -> Parts:
    """
    Read the usage, and `api_base`: where the call went; {} of spans of others.
    """
    left = attributes.left
    parts: Parts = {}
    if _USAGE in left:
        usage = _usage(left[_USAGE])
        if usage is not None:
            parts["usage"] = usage
            attributes.drop(_USAGE)
        for name in [name for name, value in left.items() if value == "" or value is None]:
            if name.startswith("metadata."):
                attributes.drop(name)
    if _PARAMS in left:
        hidden = data_of(left[_PARAMS])
        if isinstance(hidden, dict):
            parts["api_base"] = hidden.get("api_base")
    return parts


def with_calls(messages: Any, answers: list[Any] | None) -> Any:
    """
    Add to the first of *messages* the calls of functions, each of which is an attribute of its
    own, unless there are calls among the parts, as of OpenAI Responses.
    """
    calls = [
        answer["function_call"]
        for answer in answers or ()
        if isinstance(answer, dict) and "function_call" in answer
    ]
    match messages:
        case [{"parts": _} as first, *others] if calls and not _has_call(messages):
            return [{"tool_calls": calls, **first}, *others]
    return messages


def _has_call(messages: list[Any]) -> bool:
    return any(
        isinstance(part, dict) and part.get("type") == "tool_call"
        for message in messages
        if isinstance(message, dict) and isinstance(parts := message.get("parts"), list)
        for part in parts
    )


def _usage(text: object) -> Parts | None:
    """
    Read the text of a dict of numbers, which is JSON but for a few words.
    """
    if not isinstance(text, str):
        return None
    for python, json in _AS_JSON:
        text = text.replace(python, json)
    try:
        counts = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(counts, dict):
        return None
    counts.pop("cost", None)  # an attribute has it
    read = usage_of_responses if "input_tokens" in counts else usage_of_chat
    return read(counts) or {}
