"""
Messages that OpenInference takes apart into one attribute a field, put together as chat messages.

A field that is not known stays in its message, or in its part, under its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from hh_exporter._responses.completion import Choice, Message
from hh_exporter._spans.attributes import Attributes, Json, data_of
from hh_exporter._spans.messages import ROLES
from hh_exporter._spans.parts import present

__all__ = ["call_of", "chat_of", "choices_of"]

_PARTS: Final = "message.contents"
_CALLS: Final = "message.tool_calls"
_LISTS: Final = frozenset((_PARTS, _CALLS))
_ID: Final = "tool_call.id"

_FUNCTION: Final = {
    "name": "message.function_call_name",
    "arguments": "message.function_call_arguments_json",
}

_SILENCE: Final = {"role": "assistant", "content": ""}

_URLS: Final = {
    "message_content.image.image.url": "image_url",
    "message_content.audio.audio.url": "audio_url",
    "message_content.video.video.url": "video_url",
    "message_content.document.document.url": "document_url",
}
"""By field: the type of the part that it makes, and its member there."""


def chat_of(messages: Iterable[Json]) -> list[Json]:
    """
    Make chat messages: each is given as its fields, by their names in the message.
    """
    return [_message(fields, "user") for fields in messages]


def choices_of(messages: list[Json], is_one: bool) -> list[Choice]:
    """
    Make the choices of an answer, without those that say nothing.

    Args:
        messages: As for `chat_of`.
        is_one: Whether all of them are items of one message, as OpenAI Responses has it.
    """
    said = [_joined(messages)] if is_one else [_message(one, "assistant") for one in messages]
    return [Choice(message=one) for one in said if one != _SILENCE]


def call_of(fields: Json) -> Json:
    """
    Make a call of a tool; arguments that are not there are none.
    """
    message = Message()
    _add_call(message, dict(fields))
    [call] = message.build()["tool_calls"]
    return dict(call)


def _message(fields: Json, default: str) -> Json:
    role = _take_role(fields, default)
    if len(fields) == 1 and type(text := fields.get("message.content")) is str:
        return {"role": role, "content": text}  # most are no more than that
    message = Message(role)
    others = _fill(message, fields)
    return message.build() | others


def _joined(items: list[Json]) -> Json:
    """
    Make one message of the *items* of an answer.
    """
    message = Message()
    others: Json = {}
    for fields in items:
        role = _take_role(fields, "assistant")
        if role == "assistant":
            others |= _fill(message, fields)
        else:  # what a tool of the provider's own found
            message.add_part({"type": role, **_others(fields)})
    return message.build() | others


def _fill(message: Message, fields: Json) -> Json:
    """
    Add to *message* what its *fields* say, and return what else is said.
    """
    held = Attributes(fields)
    lists = held.take_lists(_LISTS)
    calls = lists.get(_CALLS, [])
    if _PARTS in lists:
        _add_content(message, lists[_PARTS], held.left.pop("message.content", None), calls)
    elif (content := held.left.pop("message.content", None)) is not None:
        message.add_part(content)
    for call in calls:
        _add_call(message, call)
    return _others(held.left)


def _add_content(message: Message, parts: list[Json], content: Any, calls: list[Json]) -> None:
    """
    Add the parts of a message; its *content* is the same in one text, if there is any.
    """
    ids = [call.get(_ID) for call in calls]
    found = [_read_part(message, part) for part in parts if part.get(_ID, message) not in ids]
    texts = [one for one in found if isinstance(one, str)]
    if content is not None and content not in ("\n".join(texts), "".join(texts)):
        message.add_part(content)
    for one in found:
        if one is not None:
            message.add_part(one)


def _read_part(message: Message, part: Json) -> Any:
    """
    Make what *part* is in the content of *message*; None if it has another place, where it is put.
    """
    kind = part.pop("message_content.type", None)
    text = part.pop("message_content.text", None)
    if kind == "reasoning":
        _add_thought(message, part, text)
        return None
    if "tool_call.function.name" in part:  # Anthropic's are among the calls, too
        _add_call(message, part)
        return None
    if kind in ("text", None) and isinstance(text, str):
        signature = part.pop("message_content.signature", None)
        message.add_to("thought_signatures", [] if signature is None else [signature])
        return {"type": "text", "text": text, **_rest(part)} if part else text
    for name, type_ in _URLS.items():
        if (url := part.pop(name, None)) is not None:
            return {"type": type_, type_: {"url": url}, **present({"text": text}), **_rest(part)}
    block = data_of(text)
    if not part and isinstance(block, dict) and block.get("type") == kind:
        return block  # of a kind of its own, as JSON text
    return present({"type": kind, "text": text, **_rest(part)})


def _add_thought(message: Message, part: Json, text: object) -> None:
    if isinstance(text, str):
        message.add_thought(text)
    held = _rest(part)
    if "encrypted_content" in held:
        message.add_to("reasoning_items", [{"type": "reasoning", **held}])
    elif "data" in held:
        message.add_to("thinking_blocks", [{"type": "redacted_thinking", **held}])
    elif held.keys() - {"id"}:
        message.add_to("thinking_blocks", [{"type": "thinking", **held}])


def _add_call(message: Message, fields: Json) -> None:
    pop = fields.pop
    call_id, name = pop(_ID, None), pop("tool_call.function.name", None)
    arguments = pop("tool_call.function.arguments", None)
    if (signature := pop("tool_call.reasoning_signature", None)) is not None:
        message.add_to("thought_signatures", [signature])
    message.add_call(call_id, name, arguments, _rest(fields) if fields else {})


def _take_role(fields: Json, default: str) -> str:
    role = fields.pop("message.role", None)
    if isinstance(role, str) and role:
        return ROLES.get(role, role)
    if role:
        fields["odd_role"] = role
    return default


def _others(fields: Json) -> Json:
    """
    Read the fields of a message that are no lists.
    """
    called = {member: fields.pop(name) for member, name in _FUNCTION.items() if name in fields}
    return ({"function_call": called} if called else {}) | {
        name.removeprefix("message."): value for name, value in fields.items() if value is not None
    }


def _rest(part: Json) -> Json:
    return {
        name.removeprefix("message_content."): value
        for name, value in part.items()
        if value is not None
    }
