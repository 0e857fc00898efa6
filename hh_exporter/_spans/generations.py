"""
Messages of langfuse's generations: whatever its user, or its wrapper of OpenAI's client, set.

Bare text is a message. In an answer, an object that is no message is text, too: JSON that the
model was asked for looks the same.
"""

from __future__ import annotations

from typing import Any, Final

from hh_exporter._responses.completion import Choice
from hh_exporter._responses.responses import read
from hh_exporter._spans import messages
from hh_exporter._spans.attributes import Json, data_of
from hh_exporter._spans.parts import Parts, present
from hh_exporter._spans.tools import tools_of

__all__ = ["asked_of", "choices_of"]

_REQUEST: Final = (
    *("messages", "input", "instructions", "tools", "functions"),
    *("tool_choice", "function_call", "parallel_tool_calls"),
)

_OF_MESSAGES: Final = ("role", "content", "tool_calls", "function_call")
"""One of these is in each message."""

_ITEMS: Final = ("message", "reasoning", "function_call")
"""Types of items of OpenAI Responses that are read."""


def asked_of(given: Any) -> Parts:
    """
    Read the input of a generation into `messages`, `tools` and so on, or else into `inputs`.
    """
    match given:
        case None:
            return {}
        case str() | [{}, *_]:
            return {"messages": _chat(given)}
        case {"messages": [*said]}:
            return _request(given, said)
        case {"input": str() | list()} | {"instructions": str()} if not given.keys() - _REQUEST:
            said = given.get("input", [])
            return _request(given, [said] if isinstance(said, str) else said)
    return {"inputs": given if isinstance(given, dict) else {"input": given}}


def choices_of(result: Any) -> list[Choice]:
    """
    Read the output of a generation.
    """
    data = data_of(result)
    if data is None or data == "":
        return []
    listed = data if isinstance(data, list) else [data]
    if listed and all(_is_item(one) for one in listed):
        whole = read({"object": "response", "status": "completed", "output": listed})
        return whole.choices if whole is not None else []
    if listed and all(_is_message(one) for one in listed):
        return messages.choices_of([_choice(one) for one in listed])
    return [Choice(message={"role": "assistant", "content": result})]


def _request(given: Json, said: list[Any]) -> Parts:
    instructions = given.get("instructions")
    chat = _chat(said)
    if instructions is not None:
        chat = [{"role": "system", "content": instructions}, *chat]
    parallel = given.get("parallel_tool_calls")
    choice = given.get("tool_choice", given.get("function_call"))
    others = {name: value for name, value in given.items() if name not in _REQUEST}
    return present(
        {
            "messages": chat or None,
            "tools": tools_of(given.get("tools", given.get("functions"))),
            "tool_choice": choice,
            "hyperparameters": None if parallel is None else {"parallel_tool_calls": parallel},
            "inputs": others or None,
        }
    )


def _chat(said: Any) -> list[Json]:
    listed = said if isinstance(said, list) else [said]
    return messages.chat_of([_renamed(one) for one in listed])


def _choice(message: Json) -> Json:
    return {"finish_reason": None, **_renamed(message)}


def _renamed(message: Any) -> Any:
    """
    Make a message of an item of OpenAI Responses, and call arguments of LangChain's as others do.
    """
    match message:
        case {"type": "function_call_output", "call_id": call_id}:
            return {"role": "tool", "tool_call_id": call_id, "content": message.get("output")}
        case {"type": "function_call" | "reasoning"}:
            whole = read({"object": "response", "output": [message]})
            return message if whole is None else whole.choices[0].message
        case {"tool_calls": [*calls]} if any(_is_langchain(call) for call in calls):
            return {**message, "tool_calls": [_call(call) for call in calls]}
    return message


def _call(call: Any) -> Any:
    if not _is_langchain(call):
        return call
    others = {name: value for name, value in call.items() if name not in ("args", "type")}
    return {**others, "arguments": call["args"]}


def _is_langchain(call: Any) -> bool:
    return isinstance(call, dict) and "args" in call and "name" in call


def _is_item(one: Any) -> bool:
    return isinstance(one, dict) and one.get("type") in _ITEMS and "tool_calls" not in one


def _is_message(one: Any) -> bool:
    return isinstance(one, dict) and any(name in one for name in _OF_MESSAGES)
