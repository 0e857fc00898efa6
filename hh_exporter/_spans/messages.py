"""
Chat messages of the OpenTelemetry GenAI semantic conventions, as the API's examples have them.

A part of an unknown kind stays as it is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeAlias

import orjson

__all__ = ["answer_of", "chat_of"]

Json: TypeAlias = dict[str, Any]


def chat_of(messages: object, instructions: object = None) -> list[Json]:
    """
    Make chat messages of `gen_ai.input.messages` and `gen_ai.system_instructions`.
    """
    chat: list[Json] = []
    if instructions:
        chat += _split({"role": "system", "parts": instructions})
    for message in messages if isinstance(messages, list) else [messages] if messages else []:
        chat += _split(message)
    return chat


def answer_of(messages: object) -> Json:
    """
    Make the answer of `gen_ai.output.messages`: the first message, and all if there are several.
    """
    said = chat_of(messages)
    if not said:
        return {}
    choices = {"choices": [{"message": message} for message in said]} if len(said) > 1 else {}
    return said[0] | choices


def _split(message: object) -> list[Json]:
    """
    Make of one message the messages that it is: each result of a tool is one of its own.
    """
    if not isinstance(message, dict):
        return [{"role": "user", "content": message}]
    role = {"model": "assistant"}.get(message.get("role", "user"), message.get("role", "user"))
    if "parts" not in message:
        return [{**message, "role": role}]
    parts = message["parts"] if isinstance(message["parts"], list) else [message["parts"]]
    content: list[Any] = []
    calls: list[Json] = []
    thoughts: list[str] = []
    results: list[Json] = []
    for part in parts:
        match part:
            case str(text) | {"type": "text", "content": str(text)}:
                content.append(text)
            case {"type": "reasoning" | "thinking", "content": str(text)}:
                thoughts.append(text)
            case {"type": "tool_call", "name": name}:
                calls.append(_call(part, name))
            case {"type": "tool_call_response"}:
                results.append(_result(part))
            case _:
                content.append(part)
    whole: Json = {"role": role}
    if content or not (calls or results):
        whole["content"] = _content(content)
    if thoughts:
        whole["reasoning_content"] = "\n".join(thoughts)
    if calls:
        whole["tool_calls"] = calls
    return results + ([whole] if len(whole) > 1 else [])


def _content(content: list[Any]) -> Any:
    match content:
        case []:
            return ""
        case [str(text)]:
            return text
        case _:
            return [_as_part(one) for one in content]


def _as_part(one: object) -> object:
    return {"type": "text", "text": one} if isinstance(one, str) else one


def _call(part: Json, name: object) -> Json:
    arguments = part.get("arguments", {})
    if not isinstance(arguments, str):
        with suppress(orjson.JSONEncodeError):  # deeper than orjson writes: they stay an object
            arguments = orjson.dumps(arguments).decode()
    return {
        "id": part.get("id"),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _result(part: Json) -> Json:
    result = part.get("response", part.get("result"))
    return {"role": "tool", "tool_call_id": part.get("id"), "content": result}
