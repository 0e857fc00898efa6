"""
OpenAI Responses: a list of items, of which several are one message.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field

from hh_exporter._responses.chunks import Room, Text, members, settled
from hh_exporter._responses.completion import (
    Choice,
    Completion,
    Json,
    Message,
    detail,
    error_of,
    one_word,
    present,
    pruned,
)
from hh_exporter._values.legalize import legalize

__all__ = ["ResponsesChunks", "read", "usage_of"]

_KNOWN: Final = ("object", "output", "usage", "id", "model", "incomplete_details")

_PARAMETERS: Final = (
    *("background", "max_output_tokens", "max_tool_calls", "parallel_tool_calls"),
    *("reasoning", "store", "temperature", "text", "top_logprobs", "top_p", "truncation"),
)
"""What the response repeats of the request."""


def read(response: Json) -> Completion | None:
    """
    Read a response, if it is one of this API.
    """
    output = response.get("output")
    if response.get("object") != "response" or type(output) is not list:
        return None
    message = Message()
    for item in output:
        _add(message, item)
    incomplete = response.get("incomplete_details")
    reason = incomplete.get("reason") if type(incomplete) is dict else None
    if reason is None and response.get("status") == "completed":
        reason = "tool_calls" if message.has_calls else "stop"
    return Completion(
        choices=[Choice(message=message.build(), reason=one_word(reason))],
        usage=usage_of(response.get("usage")),
        id=response.get("id"),
        model=response.get("model"),
        error=error_of(response.get("error")),
        tools=_tools(response.get("tools")),
        tool_choice=response.get("tool_choice"),
        hyperparameters=pruned({name: response.get(name) for name in _PARAMETERS}) or None,
        others=present(response, *_KNOWN, *_PARAMETERS, "tools", "tool_choice"),
    )


def _tools(tools: Any) -> Any:
    """
    Copy the definitions of tools without what their client has added.
    """
    if type(tools) is not list:
        return None
    return [
        {name: value for name, value in tool.items() if value is not None}
        if type(tool) is dict
        else tool
        for tool in tools
    ] or None


def _add(message: Message, item: Any) -> None:
    match item:
        case {"type": "message", "content": [*parts]}:
            for part in parts:
                _add_part(message, part)
        case {"type": "reasoning"}:
            for part in (*(item.get("summary") or ()), *(item.get("content") or ())):
                if type(part) is dict and type(part.get("text")) is str:
                    message.add_thought(part["text"])
            if item.get("encrypted_content") is not None:
                message.add_to("reasoning_items", [present(item, "summary", "content")])
        case {"type": "function_call", "name": name, "arguments": arguments}:
            known = ("type", "name", "arguments", "call_id", "id", "status", "parsed_arguments")
            others = present({"item_id": item.get("id"), **present(item, *known)})
            message.add_call(item.get("call_id"), name, arguments, others)
        case _:
            message.add_part(item)


def _add_part(message: Message, part: Any) -> None:
    match part:
        case {"type": "output_text", "text": str(text)}:
            message.add_text(text)
            for name in ("annotations", "logprobs"):
                if type(part.get(name)) is list:
                    message.add_to(name, part[name])
        case _:
            message.add_part(present(part) if type(part) is dict else part)


def usage_of(usage: Any) -> Json | None:
    """
    Read token counts: those of details are inside the others.
    """
    if type(usage) is not dict:
        return None
    asked, answered = "input_tokens_details", "output_tokens_details"
    return present(
        {
            "prompt_tokens": usage.get("input_tokens"),
            "completion_tokens": usage.get("output_tokens"),
            "total_tokens": usage.get("total_tokens"),
            "cache_read_tokens": detail(usage, asked, "cached_tokens"),
            "cache_write_tokens": detail(usage, asked, "cache_write_tokens"),
            "reasoning_tokens": detail(usage, answered, "reasoning_tokens"),
            **pruned(present(usage, "input_tokens", "output_tokens", "total_tokens")),
        }
    )


_PLACES: Final = {
    "response.output_text.delta": ("content", "content_index", "output_text", "text"),
    "response.refusal.delta": ("content", "content_index", "refusal", "refusal"),
    "response.reasoning_text.delta": ("content", "content_index", "reasoning_text", "text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", "summary_text", "text"),
}
"""By type of event: the list of the item, the event's index into it, and the part that it is of."""

_LISTS: Final = ("content", "summary")

_TEXTS: Final = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
"""By type of event: the member of the item."""


@define(eq=False, repr=False)
class ResponsesChunks:
    """
    Events of this API: the last one has the whole response, those before it the items so far.
    """

    _start: Any = field(default=None, init=False)
    _whole: Any = field(default=None, init=False)
    _items: dict[Any, Any] = field(factory=dict, init=False)
    """By number; one that is done is the API's own."""
    _error: Any = field(default=None, init=False)

    @staticmethod
    def fits(held: Json) -> bool:
        kind = held.get("type")
        return type(kind) is str and kind.startswith("response.")

    def add(self, held: Json, room: Room) -> bool:
        kind, number = held.get("type"), held.get("output_index")
        match kind:
            case "response.created" | "response.queued" | "response.in_progress":
                self._start = held.get("response")
            case "response.completed" | "response.incomplete" | "response.failed":
                self._whole = held.get("response")
            case "response.output_item.added" if room.takes():
                item = dict(members(held.get("item")))
                self._items[number] = item
                return item.get("type") in ("function_call", "custom_tool_call")
            case "response.output_item.done" if number in self._items or room.takes():
                self._items[number] = held.get("item")
            case "error":
                self._error = {n: held.get(n) for n in ("code", "message")}
            case str() if kind.endswith(".delta"):
                return self._add(kind, held, room)
        return False

    def _add(self, kind: str, held: Json, room: Room) -> bool:
        item, text = self._items.get(held.get("output_index")), held.get("delta")
        if type(item) is not dict or type(text) is not str:
            return bool(text)
        if kind in _TEXTS:
            place, name = item, _TEXTS[kind]
        elif kind in _PLACES:
            parts, number, part, name = _PLACES[kind]
            if type(item.get(parts)) is not dict:
                item[parts] = {}
            if held.get(number) not in item[parts] and not room.takes():
                return True
            place = item[parts].setdefault(held.get(number), {"type": part})
        else:
            return True
        if type(place.get(name)) is not Text:
            place[name] = Text()
        place[name].add(text, room)
        return bool(text)

    def whole(self) -> Json | None:
        if self._whole is not None:
            plain = legalize(self._whole)
            return plain if type(plain) is dict else None
        if self._start is None:
            return None
        output = [_item(item) for item in self._items.values()]
        start = legalize(self._start)
        error = {} if self._error is None else {"error": legalize(self._error)}
        return {**(start if type(start) is dict else {}), "output": legalize(output), **error}


def _item(item: Any) -> Any:
    if type(item) is not dict:
        return item
    return settled(
        {
            name: [*value.values()] if name in _LISTS and type(value) is dict else value
            for name, value in item.items()
        }
    )
