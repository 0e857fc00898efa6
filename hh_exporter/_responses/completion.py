"""
A response in the form that all APIs are brought to.

Readers are given plain data. A member that has another type than they expect is treated as one
that they don't know, and stays where it is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, TypeAlias

import orjson
from attrs import define, field

__all__ = [
    "Choice",
    "Completion",
    "Json",
    "Message",
    "add_up",
    "detail",
    "error_of",
    "one_word",
    "present",
    "pruned",
    "reason_of",
    "response_of",
]

Json: TypeAlias = dict[str, Any]

_LEAVES: Final = (str, int, float, bool)

_CONTAINERS: Final = (dict, list)

_REASONS: Final = {
    **dict.fromkeys(("tool_call", "tool_calls", "tool_use"), "tool_calls"),
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "STOP"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "MAX_TOKENS"), "length"),
}


@define(kw_only=True, repr=False)
class Choice:
    """
    One message of a completion.
    """

    message: Json
    reason: Any = None
    """Why it ended, in `one_word`."""
    others: Json = field(factory=dict)
    """What else is said of it."""

    def listed(self, number: int) -> Json:
        """
        Describe it as the list `choices` of a response does.
        """
        said = {"index": number, "message": self.message, "finish_reason": self.reason}
        return present({**said, **self.others})


def response_of(choices: list[Choice]) -> Json:
    """
    Make one response of *choices*: the first message, and the list of all if there are several.
    """
    message = choices[0].message
    if len(choices) == 1:
        return message
    return {**message, "choices": [choice.listed(n) for n, choice in enumerate(choices)]}


def reason_of(choices: list[Choice]) -> Any:
    """
    Say why *choices* ended: one reason if they have one, else a list.
    """
    reasons = [choice.reason for choice in choices]
    return reasons[0] if reasons.count(reasons[0]) == len(reasons) else reasons


@define(kw_only=True, repr=False)
class Completion:
    """
    A whole response.
    """

    choices: list[Choice]
    usage: Json | None = None
    id: Any = None
    model: Any = None
    error: str | None = None
    tools: Any = None
    """As the request had it, which the response repeats."""
    tool_choice: Any = None
    hyperparameters: Json | None = None
    others: Json = field(factory=dict)
    """What else it says, by the API's names."""


@define(repr=False)
class Message:
    """
    A message that is put together from the parts that APIs split it into.

    Texts of an assistant are one; those of others, who may say several things, stay parts.
    """

    _role: str = "assistant"
    _content: list[Any] = field(factory=list, init=False)
    _thoughts: list[str] = field(factory=list, init=False)
    _calls: list[Json] = field(factory=list, init=False)
    _others: Json = field(factory=dict, init=False)

    @property
    def has_calls(self) -> bool:
        return bool(self._calls)

    @property
    def is_empty(self) -> bool:
        return not (self._content or self._thoughts or self._calls or self._others)

    def add_text(self, text: str) -> None:
        self._content.append(text)

    def add_thought(self, text: str) -> None:
        self._thoughts.append(text)

    def add_call(self, call_id: Any, name: Any, arguments: Any, others: Json) -> None:
        """
        Add a call of a function; arguments that are not text become their JSON text.
        """
        if not isinstance(arguments, str):
            with suppress(orjson.JSONEncodeError):  # deeper than orjson writes: they stay
                arguments = orjson.dumps({} if arguments is None else arguments).decode()
        function = {"name": name, "arguments": arguments or "{}"}
        call = {"type": "function", "function": function, **others}
        self._calls.append(call if call_id is None else {"id": call_id, **call})

    def add_part(self, part: object) -> None:
        """
        Add a part of another kind, as it is.
        """
        self._content.append(part)

    def add_to(self, name: str, items: list[Any]) -> None:
        """
        Add to a list that the message has beside its content.
        """
        if items:
            self._others.setdefault(name, []).extend(items)

    def build(self) -> Json:
        message: Json = {"role": self._role}
        if self._content or not self._calls:
            is_one = self._role == "assistant" or len(self._content) < 2
            message["content"] = _joined(self._content, is_one)
        if self._thoughts:
            message["reasoning_content"] = "\n".join(self._thoughts)
        if self._calls:
            message["tool_calls"] = self._calls
        return message | self._others


def _joined(content: list[Any], is_one: bool) -> Any:
    if is_one and all(isinstance(one, str) for one in content):
        return "".join(content)
    return [{"type": "text", "text": one} if isinstance(one, str) else one for one in content]


def pruned(value: Any) -> Any:
    """
    Copy *value* without members that are None, at any depth, which clients' objects have.
    """
    if type(value) is dict:
        return {
            name: pruned(inner) if type(inner) in _CONTAINERS else inner
            for name, inner in value.items()
            if inner is not None
        }
    return [pruned(inner) for inner in value] if type(value) is list else value


def detail(counts: Json, name: str, member: str) -> Any:
    """
    Read one of the counts that a total is made of.
    """
    details = counts.get(name)
    return details.get(member) if type(details) is dict else None


def present(members: Json, *known: str) -> Json:
    """
    Copy the members, except None, empty containers and those *known* already.
    """
    return {
        name: value
        for name, value in members.items()
        if (value or type(value) in _LEAVES) and name not in known
    }


def error_of(error: Any) -> str | None:
    """
    Write the error that an API reports in one line.
    """
    if type(error) is not dict:
        return error if isinstance(error, str) and error else None
    texts = (error.get("code"), error.get("type"), error.get("message"))
    return ": ".join(text for text in texts if isinstance(text, str) and text) or None


def one_word(reason: object) -> Any:
    """
    Translate a finish reason to OpenAI's word for it, if there is one.
    """
    return _REASONS.get(reason, reason) if isinstance(reason, str) else reason


def add_up(*counts: object) -> int | None:
    """
    Add token counts; None if there is none.
    """
    known = [count for count in counts if type(count) is int]
    return sum(known) if known else None
