"""
What is asked, and how it goes: the same for every client, in the words of none.

Messages, tools and schemas are written as Chat Completions has them; each client translates.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, TypeAlias

from attrs import evolve, field, frozen

from tests.genai.apis import Answer, Call, Failure

__all__ = ["BEGUN", "MODELS", "PIXEL", "SCENARIOS", "SCHEMA", "TOOL", "Ending", "Scenario"]

Json: TypeAlias = dict[str, Any]

MODELS: Final = {
    "chat": "gpt-4o-mini",
    "responses": "gpt-4o-mini",
    "messages": "claude-sonnet-4-6",
    "gemini": "gemini-2.5-flash",
}
"""The model that is asked for, by API."""

BEGUN: Final = "The "
"""The first word of what is streamed."""

TEMPERATURE: Final = 0.5
MAX_TOKENS: Final = 2000

TOOL: Final[Json] = {
    "name": "get_weather",
    "description": "Tell the weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}

SCHEMA: Final[Json] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}

PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A PNG image of one pixel, in Base64."""


class Ending(Enum):
    """
    What becomes of a call.
    """

    READ = "all of the answer is read"
    ABANDONED = "the program stops reading, and the stream is collected as garbage"
    CLOSED = "the program stops reading, and closes the stream"
    CANCELLED = "the task is cancelled"
    FAILED = "the client raises"


@frozen(kw_only=True)
class Scenario:
    """
    One call of a model.
    """

    messages: tuple[Json, ...]
    answers: tuple[Answer | Failure, ...] = (Answer(),)
    """What the server answers, one a request; the last one is what the client gets."""
    streams: bool = False
    is_async: bool = False
    has_tools: bool = False
    has_schema: bool = False
    thinks: bool = False
    """Whether the model is asked to show its thoughts."""
    ending: Ending = Ending.READ
    wants_usage: bool = True
    """Whether a stream of Chat Completions is asked for its tokens."""
    apis: frozenset[str] = field(default=frozenset(MODELS))
    """Those in which this can be."""

    @property
    def answer(self) -> Answer | Failure:
        return self.answers[-1]


def _user(content: Any) -> Json:
    return {"role": "user", "content": content}


def _call(identity: str, city: str) -> Json:
    function = {"name": TOOL["name"], "arguments": f'{{"city":"{city}"}}'}
    return {"id": identity, "type": "function", "function": function}


PARIS: Final = Call("call_1", "get_weather", {"city": "Paris"})
ROME: Final = Call("call_2", "get_weather", {"city": "Rome"})

_SYSTEM: Final[Json] = {"role": "system", "content": "Be brief."}
_ASKED: Final = (_SYSTEM, _user("What is the capital of France?"))
_WEATHER: Final = (_SYSTEM, _user("How is the weather in Paris?"))

WHOLE: Final = Scenario(messages=_ASKED)
STREAMED: Final = evolve(WHOLE, streams=True)
TOOLS: Final = Scenario(
    messages=_WEATHER, has_tools=True, answers=(Answer(text=None, calls=(PARIS,)),)
)
PARALLEL: Final = Scenario(
    messages=(_SYSTEM, _user("How is the weather in Paris and in Rome?")),
    has_tools=True,
    answers=(Answer(text=None, calls=(PARIS, ROME)),),
)
RESULT: Final = Scenario(
    messages=(
        *_WEATHER,
        {"role": "assistant", "tool_calls": [_call("call_1", "Paris")]},
        {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
    ),
    has_tools=True,
    answers=(Answer(text="It is warm."),),
)


def _pictured(base64: str) -> Scenario:
    url = {"url": f"data:image/png;base64,{base64}"}
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": url},
    ]
    return Scenario(messages=(_SYSTEM, _user(parts)), answers=(Answer(text="A pixel."),))


_THOUGHTFUL: Final = frozenset({"responses", "messages", "gemini"})

SCENARIOS: Final[dict[str, Scenario]] = {
    "whole": WHOLE,
    "streamed": STREAMED,
    "whole, async": evolve(WHOLE, is_async=True),
    "streamed, async": evolve(STREAMED, is_async=True),
    "streamed without usage": evolve(
        STREAMED,
        wants_usage=False,
        answers=(Answer(has_usage=False),),
        apis=frozenset({"chat"}),
    ),
    "tools": TOOLS,
    "tools, streamed": evolve(TOOLS, streams=True),
    "parallel tools": PARALLEL,
    "parallel tools, streamed": evolve(PARALLEL, streams=True),
    "tool result": RESULT,
    "image": _pictured(PIXEL),
    "large image": _pictured(PIXEL.rstrip("=") * 400),
    "structured output": Scenario(
        messages=_ASKED, has_schema=True, answers=(Answer(text='{"city":"Paris"}'),)
    ),
    "reasoning": Scenario(
        messages=_ASKED,
        thinks=True,
        answers=(Answer(reasoning="France is in Europe."),),
        apis=_THOUGHTFUL,
    ),
    "reasoning, streamed": Scenario(
        messages=_ASKED,
        thinks=True,
        streams=True,
        answers=(Answer(reasoning="France is in Europe."),),
        apis=_THOUGHTFUL,
    ),
    "retried": evolve(
        WHOLE, answers=(Failure(429, "slow down"), Failure(429, "slow down"), Answer())
    ),
    "failed": evolve(
        WHOLE, answers=(Failure(400, "there is no such parameter"),), ending=Ending.FAILED
    ),
    "failed, streamed": evolve(
        STREAMED, answers=(Failure(400, "there is no such parameter"),), ending=Ending.FAILED
    ),
    "died": evolve(STREAMED, answers=(Answer(dies_after=1),), ending=Ending.FAILED),
    "closed early": evolve(STREAMED, answers=(Answer(stops_after=1),), ending=Ending.CLOSED),
    "abandoned": evolve(STREAMED, answers=(Answer(stops_after=1),), ending=Ending.ABANDONED),
    "cancelled": evolve(
        STREAMED, is_async=True, answers=(Answer(stops_after=1),), ending=Ending.CANCELLED
    ),
    "cancelled while waiting": evolve(
        WHOLE, is_async=True, answers=(Answer(stops_after=0),), ending=Ending.CANCELLED
    ),
}
