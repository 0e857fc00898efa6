"""
OpenAI Chat Completions, and what many other servers answer in the same form.

The messages of this API are the form that the others are brought to, so they stay as they
are, without what is empty.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field

from hh_exporter._responses.chunks import Room, members, merge, note, settled
from hh_exporter._responses.completion import (
    Choice,
    Completion,
    Json,
    detail,
    error_of,
    one_word,
    present,
    pruned,
)
from hh_exporter._values.legalize import legalize

__all__ = ["ChatChunks", "read", "usage_of"]


def read(response: Json) -> Completion | None:
    """
    Read a response, if it is one of this API.
    """
    choices = response.get("choices")
    if type(choices) is not list or not choices:
        return None
    read = [_choice(choice) for choice in choices]
    known = [choice for choice in read if choice is not None]
    if len(known) < len(read):
        return None
    return Completion(
        choices=known,
        usage=usage_of(response.get("usage")),
        id=response.get("id"),
        model=response.get("model"),
        error=error_of(response.get("error")),
        others=present(response, "choices", "usage", "id", "model", "object"),
    )


def _choice(choice: Any) -> Choice | None:
    if type(choice) is not dict:
        return None
    message, text = choice.get("message"), choice.get("text")
    if type(message) is dict:
        message = present(pruned(message), "parsed")  # the client's own reading of the content
        message.setdefault("role", "assistant")
    elif type(text) is str:
        message = {"role": "assistant", "content": text}
    else:
        return None
    return Choice(
        message=message,
        reason=one_word(choice.get("finish_reason")),
        others=present(choice, "message", "text", "index", "finish_reason"),
    )


def usage_of(usage: Any) -> Json | None:
    """
    Read token counts: those of details are inside the others.
    """
    if type(usage) is not dict:
        return None
    asked, answered = "prompt_tokens_details", "completion_tokens_details"
    found = {
        "cache_read_tokens": detail(usage, asked, "cached_tokens"),
        "cache_write_tokens": detail(usage, asked, "cache_write_tokens"),
        "reasoning_tokens": detail(usage, answered, "reasoning_tokens"),
    }
    return present({**found, **pruned(usage)})


@define(eq=False, repr=False)
class ChatChunks:
    """
    Chunks of this API: each has something more of one message or several.
    """

    _head: Json = field(factory=dict, init=False)
    _choices: dict[int, Json] = field(factory=dict, init=False)

    @staticmethod
    def fits(held: Json) -> bool:
        return type(held.get("choices")) is list or (
            held.get("type") == "chunk" and "chunk" in held  # of the client's helper
        )

    def add(self, held: Json, room: Room) -> bool:
        if held.get("type") == "chunk":
            held = members(held.get("chunk"))
        choices = held.get("choices")
        if type(choices) is not list:
            return False
        note(self._head, held, "choices")
        has_token = False
        for choice in choices:
            has_token |= self._add(members(choice), room)
        return has_token

    def _add(self, choice: Json, room: Room) -> bool:
        index = choice.get("index")
        if type(index) is not int:
            index = 0
        if index not in self._choices and not room.takes():
            return False
        whole = self._choices.setdefault(index, {"index": index, "message": {}})
        delta = members(choice.get("delta"))
        if type(text := choice.get("text")) is str:
            delta = {"content": text}
        merge(whole["message"], delta, room)
        for name, value in choice.items():
            match value:
                case None:
                    pass
                case _ if name in ("index", "delta", "text"):
                    pass
                case str():
                    whole[name] = value
                case _:
                    merge(whole, {name: value}, room)
        return any(value for name, value in delta.items() if name != "role")

    def whole(self) -> Json | None:
        if not self._choices:
            return None
        choices = [settled(choice) for _, choice in sorted(self._choices.items())]
        for choice in choices:
            for call in choice["message"].get("tool_calls") or ():
                if type(call) is dict:
                    call.pop("index", None)
        whole = {**self._head, "object": "chat.completion", "choices": choices}
        plain: Json = legalize(whole)
        return plain
