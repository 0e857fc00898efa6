"""
Previews: the beginning of the question and of the answer, for lists.

Only as much of an event is visited as fills a preview, so that an event of megabytes costs
no more than a short one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final, TypeAlias

from attrs import frozen

__all__ = ["Preview", "preview"]

Json: TypeAlias = Mapping[str, Any]

_LENGTH: Final = 200
_LOOKED_AT: Final = 500
"""Characters of a text, most of which may be white space."""
_MAX_DEPTH: Final = 8
_MAX_ITEMS: Final = 20
"""Of a list or an object that are looked at; of messages, as many from the end."""

_MESSAGES: Final = ("messages", "chat_history", "contents", "input")
_QUESTIONS: Final = ("input", "prompt", "query", "question", "text", "contents")
_TEXTS: Final = (
    *("text", "content", "parts", "message", "choices", "candidates"),
    *("output", "output_text", "completion", "generation", "response", "answer"),
)
"""The keys below which providers keep text, the innermost first."""
_USERS: Final = ("user", "human")
_ASIDE: Final = (
    *("reasoning", "thinking", "redacted_thinking"),
    *("tool_result", "function_call_output"),
)
"""Types of parts that are neither question nor answer."""
_CALLS: Final = ("tool_use", "tool_call", "function_call")
_FUNCTIONS: Final = ("function", "functionCall", "function_call", "toolUse")


@frozen
class Preview:
    """
    One line of each, at most 200 characters; None where there is no text.
    """

    input: str | None
    """The last text of the user; of an event without messages, what went in."""
    output: str | None
    """The text of the answer, or the tools that it calls; else what came out."""


def preview(event: Json) -> Preview:
    """
    Read the preview of *event*, in either dialect.
    """
    inputs, outputs = _object(event.get("inputs")), event.get("outputs")
    answer = event.get("response")
    if answer is None:
        answer = outputs
    return Preview(
        _question(event) or _question(inputs) or _line(_named(inputs)),
        _line(_texts(answer)) or _line(_calls(answer)) or _line(_named(_object(outputs))),
    )


def _question(inputs: Json) -> str | None:
    for name in _MESSAGES:
        messages = inputs.get(name)
        if type(messages) is list and (text := _last_of_user(messages)):
            return text
    for name in _QUESTIONS:
        if name in inputs and (text := _line(_texts(inputs[name]))):
            return text
    return None


def _last_of_user(messages: Sequence[object]) -> str | None:
    for message in messages[: -_MAX_ITEMS - 1 : -1]:
        is_theirs = type(message) is dict and message.get("role") in _USERS
        if is_theirs and (text := _line(_texts(message))):
            return text
    return None


def _texts(value: object, depth: int = 0) -> Iterable[str]:
    """
    Find the texts in a message, an answer, or a part of one.
    """
    if type(value) is str:
        return (value,)
    if type(value) is dict and "type" not in value and type(value.get("content")) is str:
        return (value["content"],)  # as most have it
    if type(value) is list:
        return chain.from_iterable(_texts(item, depth + 1) for item in _inside(value, depth))
    found = ([*_texts(inner, depth + 1)] for inner in _inside(value, depth))
    return next(filter(None, found), ())


def _calls(value: object, depth: int = 0) -> Iterator[str]:
    """
    Find the names of the tools that an answer calls.
    """
    call = _object(value)
    for name in _FUNCTIONS:
        called = _object(call.get(name)).get("name")
        if type(called) is str:
            yield f"{called}(…)"
            return
    if call.get("type") in _CALLS and type(call.get("name")) is str:
        yield f"{call['name']}(…)"
    for inner in (*_inside(value, depth), *_items(call.get("tool_calls"))):
        yield from _calls(inner, depth + 1)


def _inside(value: object, depth: int) -> Iterator[object]:
    """
    List where text may be within *value*, what is most likely first.
    """
    if depth == _MAX_DEPTH:
        return
    yield from _items(value)
    part = _object(value)
    if part.get("type") not in _ASIDE and part.get("thought") is not True:
        yield from (part[name] for name in _TEXTS if part.get(name))


def _items(value: object) -> Iterator[object]:
    return islice(value, _MAX_ITEMS) if type(value) is list else iter(())


def _named(values: Json) -> Iterator[str]:
    """
    List the simple ones of some named values.
    """
    for name, value in islice(values.items(), _MAX_ITEMS):
        if type(value) is str or type(value) is int or type(value) is float:
            yield f"{name}: {value[:_LOOKED_AT] if type(value) is str else value}"


def _line(texts: Iterable[str]) -> str | None:
    """
    Make one line of the first of these *texts*.
    """
    line = ""
    for text in texts:
        words = " ".join(text[:_LOOKED_AT].split())
        line = f"{line} {words}" if line and words else line or words
        if len(line) >= _LENGTH:
            return f"{line[: _LENGTH - 1]}…" if len(line) > _LENGTH else line
    return line or None


def _object(value: object) -> Json:
    return value if type(value) is dict else {}
