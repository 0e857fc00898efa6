"""
Gemini: candidates of parts, in the names of its clients or of its REST API.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import define, field

from hh_exporter._responses.chunks import Room, Text, members, note, settled
from hh_exporter._responses.completion import (
    Choice,
    Completion,
    Json,
    Message,
    add_up,
    one_word,
    present,
    pruned,
)
from hh_exporter._values.legalize import legalize

__all__ = ["GeminiChunks", "read", "usage_of"]

_UNKEPT: Final = ("candidates", "sdk_http_response", "automatic_function_calling_history", "parsed")
"""The last three are made by the client, of what was sent and what else is here."""

_KNOWN: Final = (*_UNKEPT, "usage_metadata", "response_id", "model_version")

_UPPER: Final = re.compile("[A-Z]")

_TEXT: Final = ("text", "thought", "thought_signature")


def read(response: Json) -> Completion | None:
    """
    Read a response, if it is one of this API.
    """
    response = snake(response)
    candidates, feedback = response.get("candidates"), response.get("prompt_feedback")
    if type(candidates) is list and candidates and all(type(c) is dict for c in candidates):
        choices = [_choice(snake(candidate)) for candidate in candidates]
    elif not candidates and type(feedback) is dict:  # the prompt was refused
        reason = snake(feedback).get("block_reason")
        choices = [Choice(message=Message().build(), reason=reason)]
    else:
        return None
    return Completion(
        choices=choices,
        usage=usage_of(response.get("usage_metadata")),
        id=response.get("response_id"),
        model=response.get("model_version"),
        others=present(response, *_KNOWN),
    )


def snake(members: Json) -> Json:
    """
    Rename the members from camelCase, as the REST API has them, to the Python client's names.
    """
    return {n if n.islower() else _UPPER.sub(_lowered, n): v for n, v in members.items()}


def _lowered(letter: re.Match[str]) -> str:
    return f"_{letter[0].lower()}"


def _choice(candidate: Json) -> Choice:
    message = Message()
    content = candidate.get("content")
    parts = content.get("parts") if type(content) is dict else None
    for part in parts if type(parts) is list else ():
        _add(message, snake(part) if type(part) is dict else part)
    reason = one_word(candidate.get("finish_reason"))
    if reason == "stop" and message.has_calls:
        reason = "tool_calls"
    others = present(candidate, "content", "finish_reason", "index")
    return Choice(message=message.build(), reason=reason, others=others)


def _add(message: Message, part: Any) -> None:
    signature = part.get("thought_signature") if type(part) is dict else None
    if type(signature) is str and not signature.startswith("<"):  # else bytes, which are marked
        message.add_to("thought_signatures", [signature])
    match part:
        case {"text": str(text)} if not present(part, *_TEXT):
            if part.get("thought"):
                message.add_thought(text)
            elif text:
                message.add_text(text)
        case {"function_call": dict(call)} if "name" in call:
            others = present(call, "id", "name", "args")
            message.add_call(call.get("id"), call["name"], call.get("args"), others)
        case _:
            known = type(part) is dict
            message.add_part(present(part, "thought_signature") if known else part)


def usage_of(usage: Any) -> Json | None:
    """
    Read token counts: this API's candidates are without thoughts, its prompt without tools' use.
    """
    if type(usage) is not dict:
        return None
    usage = snake(usage)
    asked = add_up(usage.get("prompt_token_count"), usage.get("tool_use_prompt_token_count"))
    thought = usage.get("thoughts_token_count")
    known = ("prompt_token_count", "candidates_token_count", "total_token_count")
    cached = "cached_content_token_count"
    return present(
        {
            "prompt_tokens": asked,
            "completion_tokens": add_up(usage.get("candidates_token_count"), thought),
            "total_tokens": usage.get("total_token_count"),
            "cache_read_tokens": usage.get(cached),
            "reasoning_tokens": thought,
            **pruned(present(usage, *known, "thoughts_token_count", cached)),
        }
    )


@define(eq=False, repr=False)
class GeminiChunks:
    """
    Chunks of this API: each is a response that has more parts.
    """

    _head: Json = field(factory=dict, init=False)
    _candidates: dict[int, Json] = field(factory=dict, init=False)
    _parts: dict[int, list[Any]] = field(factory=dict, init=False)

    @staticmethod
    def fits(held: Json) -> bool:
        return any(n in held for n in ("candidates", "usageMetadata", "usage_metadata"))

    def add(self, held: Json, room: Room) -> bool:
        held = snake(held)
        note(self._head, held, *_UNKEPT)
        candidates = held.get("candidates")
        if type(candidates) is not list:
            return False
        has_token = False
        for candidate in candidates:
            has_token |= self._add(snake(members(candidate)), room)
        return has_token

    def _add(self, candidate: Json, room: Room) -> bool:
        index = candidate.get("index") or 0
        if index not in self._parts and not room.takes():
            return False
        whole = self._candidates.setdefault(index, {})
        whole |= present(candidate, "content")
        known = self._parts.setdefault(index, [])
        parts = members(candidate.get("content")).get("parts")
        has_token = False
        for part in parts if type(parts) is list else ():
            added = snake(present(members(part)))
            has_token |= any(value for name, value in added.items() if name != "thought")
            if type(added.get("text")) is str:
                _add_text(known, added, room)
            elif added and room.takes():
                known.append(legalize(added))
        return has_token

    def whole(self) -> Json | None:
        if not self._head and not self._candidates:
            return None
        candidates = [
            {**self._candidates[index], "content": {"role": "model", "parts": settled(parts)}}
            for index, parts in sorted(self._parts.items())
        ]
        plain: Json = legalize({**self._head, "candidates": candidates})
        return plain


def _add_text(parts: list[Any], added: Json, room: Room) -> None:
    """
    Add to the last part if that is text of the same kind, else as one more.
    """
    last = parts[-1] if parts else {}
    if type(last.get("text")) is not Text or last.get("thought") != added.get("thought"):
        if not room.takes():
            return
        parts.append(last := {"text": Text()})
    last["text"].add(added["text"], room)
    last.update(present(added, "text"))
