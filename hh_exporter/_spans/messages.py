"""
Chat messages of the OpenTelemetry GenAI semantic conventions, in the form of OpenAI's.

Instrumentations write the same parts in different ways, so each message is taken apart and put
together again by the builder that reads clients' responses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from hh_exporter._responses.completion import Choice, Message, one_word
from hh_exporter._spans.content import part_of, result_of, thought_of

__all__ = ["ROLES", "chat_of", "choices_of"]

Json: TypeAlias = dict[str, Any]

ROLES: Final = {
    **dict.fromkeys(("model", "ai", "unknown"), "assistant"),
    "human": "user",
}
"""Other words for roles: of Gemini, LangChain, and of OpenLLMetry where it knows none."""

_KNOWN: Final = frozenset(
    ("role", "parts", "content", "finish_reason", "tool_calls", "function_call")
)
"""Members of a message that are read; others are copied, unless they are null."""

_OF_CALL: Final = ("id", "type", "name", "arguments")
"""Members of a call that is flat."""


def chat_of(messages: Any, instructions: Any = None) -> list[Json]:
    """
    Make chat messages of `gen_ai.input.messages` and `gen_ai.system_instructions`.
    """
    chat: list[Json] = []
    if instructions:
        for message in _instructions(instructions):
            _add(chat, message, "system")
    for message in messages if isinstance(messages, list) else [messages] if messages else []:
        _add(chat, message, "user")
    return chat


def choices_of(messages: Any) -> list[Choice]:
    """
    Make the choices of `gen_ai.output.messages`.

    Each has a finish reason. Messages that have none are items of one answer, as LiteLLM
    has those of OpenAI Responses.
    """
    choices: list[Choice] = []
    items: list[Any] = []
    for message in messages if isinstance(messages, list) else [messages] if messages else []:
        items.append(message)
        if isinstance(message, dict) and "finish_reason" in message:
            choices.append(_choice(items, message["finish_reason"]))
            items = []
    if items:
        choices.append(_choice(items, None))
    return choices


def _choice(items: list[Any], reason: Any) -> Choice:
    whole = _joined(items) if len(items) > 1 else items[0]
    said: list[Json] = []
    _add(said, whole, "assistant")
    *results, message = said  # results of the provider's own tools, if any
    others = {"results": results} if results else {}
    return Choice(message=message, reason=one_word(reason) or None, others=others)


def _joined(items: list[Any]) -> Json:
    """
    Make one message of several *items*.
    """
    whole: Json = {"role": "assistant", "parts": []}
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("parts"), list):
            whole = {**whole, **item, "parts": whole["parts"] + item["parts"]}
        else:
            whole["parts"].append(item)
    return whole


def _instructions(instructions: Any) -> list[Any]:
    """
    Make messages of *instructions*: text, parts, or messages, as LiteLLM has them.
    """
    if isinstance(instructions, list):
        if all(isinstance(one, dict) and "parts" in one for one in instructions):
            return instructions
        return [{"role": "system", "parts": instructions}]
    if isinstance(instructions, dict) and instructions.keys() == {"content"}:
        return [instructions]  # cut short
    return [{"role": "system", "parts": [instructions]}]


def _add(chat: list[Json], message: Any, role: str) -> None:
    """
    Add the messages that *message* is: each result of a tool is one of its own.
    """
    if not isinstance(message, dict):
        chat.append({"role": role, "content": message})
        return
    said = message.get("role")
    if isinstance(said, str):
        role = ROLES.get(said, said)
    parts = message["parts"] if "parts" in message else message.get("content")
    is_cut = type(parts) is str and message.keys() == {"content"}
    if is_cut or (parts is None and said is None and message.keys().isdisjoint(_KNOWN)):
        chat.append(message)
        return
    before = len(chat)
    text = _sole_text(parts)
    if text is None or "tool_calls" in message or "function_call" in message:
        whole = _put_together(chat, message, parts, role)
    else:
        whole = {"role": role, "content": text}
    if whole:
        chat.append(whole)
    for name, value in message.items():
        if value is not None and name not in _KNOWN:
            for each in [whole] if whole else chat[before:]:
                each.setdefault(name, value)


def _sole_text(parts: Any) -> str | None:
    """
    Return the text of *parts*, if they are one text, as most are.
    """
    # By hand: a pattern takes several times as long, and each message pays for it.
    if type(parts) is not list or len(parts) != 1 or type(part := parts[0]) is not dict:
        return None
    text = part.get("content") if len(part) == 2 and part.get("type") == "text" else None
    return text if isinstance(text, str) else None


def _put_together(chat: list[Json], message: Json, parts: Any, role: str) -> Json:
    """
    Make the message of its *parts*, and add results of tools among them to *chat*; {} if
    there is nothing else.
    """
    builder = Message(role)
    has_results = False
    for part in parts if isinstance(parts, list) else () if parts is None else (parts,):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "tool_call_response":
            has_results = True
            chat.append(_result(part, chat))
        elif isinstance(part, str):
            builder.add_text(part)
        else:
            reader = _READERS.get(kind) if isinstance(kind, str) else None
            if reader is None or not reader(builder, part):
                builder.add_part(part_of(part))
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else [calls] if calls else []:
        _add_call(builder, call)
    if (call := message.get("function_call")) is not None:
        _add_call(builder, call)
    return {} if has_results and builder.is_empty else builder.build()


def _result(part: Json, chat: list[Json]) -> Json:
    """
    Make the message of a tool; its name is on the call, unless *chat* doesn't have that.
    """
    result = part["response"] if "response" in part else part.get("result")
    message: Json = {"role": "tool", "tool_call_id": part.get("id"), "content": result_of(result)}
    if part.get("name") is not None and not _has_call(chat, part.get("id")):
        message["name"] = part["name"]
    return message


def _has_call(chat: list[Json], identity: Any) -> bool:
    return any(
        call.get("id") == identity
        for message in reversed(chat)
        for call in message.get("tool_calls") or ()
    )


def _add_call(builder: Message, call: Any) -> None:
    """
    Add a call as a message's own member has it: in OpenAI's form, or flat.
    """
    match call:
        case {"function": {"name": name, **function}} if call.get("type", "function") == "function":
            others = _others(call, "id", "type", "function")
            builder.add_call(call.get("id"), name, function.get("arguments"), others)
        case {"name": name}:
            others = _others(call, *_OF_CALL)
            builder.add_call(call.get("id"), name, call.get("arguments"), others)
        case _:
            builder.add_part(call)


def _others(part: Json, *known: str) -> Json:
    return {name: value for name, value in part.items() if name not in known and value is not None}


def _text(builder: Message, part: Json) -> bool:
    """
    Add a text alone; one of which more is said stays a part.
    """
    text = part["content"] if "content" in part else part.get("text")
    if len(part) > 2 or not isinstance(text, str):
        return False
    builder.add_text(text)
    return True


def _thought(builder: Message, part: Json) -> bool:
    text = thought_of(part.get("content"))
    if text is None:
        return False
    builder.add_thought(text)
    if len(part) > 2:  # what signs it, such as Anthropic's own blocks have
        builder.add_to("thinking_blocks", [_others(part, "content")])
    return True


def _call(builder: Message, part: Json) -> bool:
    if "name" not in part:
        return False
    others = _others(part, *_OF_CALL) if len(part) > len(_OF_CALL) else {}
    builder.add_call(part.get("id") or None, part["name"], part.get("arguments"), others)
    return True


_READERS: Final[dict[str, Callable[[Message, Json], bool]]] = {
    "text": _text,
    "reasoning": _thought,
    "thinking": _thought,
    "tool_call": _call,
}
"""By type of part: they return whether they could read it."""
