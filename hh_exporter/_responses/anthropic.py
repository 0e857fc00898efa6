"""
Anthropic Messages: a list of content blocks, and input tokens without those of the cache.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import orjson
from attrs import define, field

from hh_exporter._responses.chunks import Room, Text, members, settled
from hh_exporter._responses.completion import (
    Choice,
    Completion,
    Json,
    Message,
    add_up,
    detail,
    error_of,
    one_word,
    present,
    pruned,
)
from hh_exporter._values.legalize import legalize

__all__ = ["AnthropicChunks", "read", "usage_of"]

_KNOWN: Final = ("type", "role", "content", "stop_reason", "usage", "id", "model")
_READ, _WRITTEN = "cache_read_input_tokens", "cache_creation_input_tokens"


def read(response: Json) -> Completion | None:
    """
    Read a response, if it is one of this API.
    """
    if response.get("type") != "message" or "stop_reason" not in response:
        return None
    content = response.get("content")
    if type(content) is not list:
        return None
    message = Message()
    for block in content:
        _add(message, block)
    reason = one_word(response["stop_reason"])
    return Completion(
        choices=[Choice(message=message.build(), reason=reason)],
        usage=usage_of(response.get("usage")),
        id=response.get("id"),
        model=response.get("model"),
        error=error_of(response.get("error")),
        others=present(response, *_KNOWN),
    )


def _add(message: Message, block: Any) -> None:
    match block:
        case {"type": "text", "text": str(text)} if not block.get("citations"):
            message.add_text(text)
        case {"type": "thinking", "thinking": str(text)}:
            message.add_thought(text)
            if block.get("signature"):
                message.add_to("thinking_blocks", [present(block, "thinking")])
        case {"type": "redacted_thinking"}:
            message.add_to("thinking_blocks", [block])
        case {"type": "tool_use", "name": name, "input": arguments}:
            others = present(block, "type", "id", "name", "input")
            message.add_call(block.get("id"), name, arguments, others)
        case _:
            message.add_part(present(block) if type(block) is dict else block)


def usage_of(usage: Any) -> Json | None:
    """
    Read token counts: this API counts cached tokens apart from its input tokens.
    """
    if type(usage) is not dict:
        return None
    asked = add_up(usage.get("input_tokens"), usage.get(_READ), usage.get(_WRITTEN))
    answered = usage.get("output_tokens")
    return present(
        {
            "prompt_tokens": asked,
            "completion_tokens": answered,
            "total_tokens": None if answered is None else add_up(asked, answered),
            "cache_read_tokens": usage.get(_READ),
            "cache_write_tokens": usage.get(_WRITTEN),
            "reasoning_tokens": detail(usage, "output_tokens_details", "thinking_tokens"),
            **pruned(present(usage, "input_tokens", "output_tokens", _READ, _WRITTEN)),
        }
    )


_EVENTS: Final = (
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
    *("message_delta", "message_stop"),
)
_DELTAS: Final = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "input"),
}
"""By type: the member that has the text, and the member of the block that it belongs to."""


@define(eq=False, repr=False)
class AnthropicChunks:
    """
    Events of this API: a message without content, then its blocks, then how it ended.
    """

    _start: Any = field(default=None, init=False)
    _blocks: dict[Any, Json] = field(factory=dict, init=False)
    _end: Json = field(factory=dict, init=False)
    _usage: Json = field(factory=dict, init=False)

    @staticmethod
    def fits(held: Json) -> bool:
        return held.get("type") in _EVENTS

    def add(self, held: Json, room: Room) -> bool:
        match held.get("type"):
            case "message_start":
                self._start = legalize(held.get("message"))  # helpers fill it in later
            case "content_block_start" if room.takes():
                block = dict(members(held.get("content_block")))
                for name in ("text", "thinking"):
                    if type(text := block.get(name)) is str:
                        block[name] = Text()
                        block[name].add(text, room)
                self._blocks[held.get("index")] = block
                return block.get("type") == "tool_use"
            case "content_block_delta":
                return self._add(members(held.get("delta")), held.get("index"), room)
            case "message_delta":
                self._end |= present(members(held.get("delta")))
                self._usage |= present(members(held.get("usage")))
            case "error":
                self._end["error"] = held.get("error")
        return False

    def _add(self, delta: Json, index: Any, room: Room) -> bool:
        block = self._blocks.get(index)
        if block is None:
            return False
        kind = delta.get("type")
        if kind == "citations_delta" and room.takes():
            block["citations"] = [*(block.get("citations") or ()), delta.get("citation")]
        if kind not in _DELTAS:
            return False
        source, target = _DELTAS[kind]
        text = delta.get(source)
        if type(text) is not str:
            return False
        if type(block.get(target)) is not Text:
            block[target] = Text()
        block[target].add(text, room)
        return bool(text) and kind != "signature_delta"

    def whole(self) -> Json | None:
        if self._start is None:
            return None
        plain: Json = legalize(
            {
                **(self._start if type(self._start) is dict else {}),
                "type": "message",
                "role": "assistant",
                "stop_reason": None,
                **self._end,
                "content": [_block(settled(block)) for block in self._blocks.values()],
            }
        )
        usage = plain.get("usage")
        if type(usage) is dict:
            if not self._usage:  # it never came to its end: these are of its beginning
                usage.pop("output_tokens", None)
            plain["usage"] = usage | legalize(self._usage)
        return plain


def _block(block: Json) -> Json:
    """
    Read the input of a tool, which came as pieces of JSON; one that was cut short stays text.
    """
    if type(text := block.get("input")) is str:
        with suppress(orjson.JSONDecodeError):
            block["input"] = orjson.loads(text or "{}")
    return block
