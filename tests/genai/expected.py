"""
The event that a scenario becomes, whichever instrumentation captured it.

An event is looked at in ASPECTS: each is a fact that an instrumentation knows or doesn't.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from hh_exporter._spans.attributes import data_of
from tests.genai.apis import ANSWERED, Answer, Failure
from tests.genai.scenarios import BEGUN, MODELS, SCHEMA, TOOL, Ending, Scenario

__all__ = ["ASPECTS", "differences", "expected"]

Json: TypeAlias = dict[str, Any]

PROVIDERS: Final = {
    "chat": "openai",
    "responses": "openai",
    "messages": "anthropic",
    "gemini": "google",
}

TOKENS: Final[dict[str, Json]] = {
    "chat": {"tokens": (1000, 300, 1300), "cached tokens": (800, None), "reasoning tokens": 200},
    "messages": {"tokens": (950, 30, 980), "cached tokens": (800, 50), "reasoning tokens": None},
    "gemini": {"tokens": (100, 70, 170), "cached tokens": (80, None), "reasoning tokens": 50},
}
"""Tokens of input, with those of the cache, of output, with those of reasoning, and of both."""
TOKENS["responses"] = TOKENS["chat"]


def _metadata(name: str) -> Callable[[Json], Any]:
    return lambda event: event["metadata"].get(name)


def _config(name: str) -> Callable[[Json], Any]:
    return lambda event: event.get("config", {}).get(name)


def _said(name: str) -> Callable[[Json], Any]:
    return lambda event: event.get("outputs", {}).get(name) or None


def _tools_of(event: Json) -> Any:
    """
    Find the definitions of tools, but for `strict`, which some clients add.
    """
    tools = event.get("config", {}).get("tools")
    if isinstance(tools, list) and all("function" in tool for tool in tools):
        return [
            {**tool, "function": {k: v for k, v in tool["function"].items() if k != "strict"}}
            for tool in tools
        ]
    return tools


def _schema_of(event: Json) -> Any:
    """
    Find the schema of the answer, in whatever an API wraps it.
    """
    form = event.get("config", {}).get("response_format")
    while isinstance(form, dict) and form.get("type") != "object":
        form = form.get("json_schema") or form.get("schema") or form.get("format")
    # LangChain wants a title.
    return {k: v for k, v in form.items() if k != "title"} if isinstance(form, dict) else form


ASPECTS: Final[dict[str, Callable[[Json], Any]]] = {
    "model": _config("model"),
    "model asked for": _metadata("requested_model"),
    "provider": _config("provider"),
    "messages": lambda event: [_plain(m) for m in event["inputs"].get("chat_history", [])],
    "text": _said("content"),
    "tool calls": lambda event: _calls(event.get("outputs", {})),
    "reasoning": _said("reasoning_content"),
    "tools": _tools_of,
    "structured output": _schema_of,
    "tokens": lambda event: tuple(
        event["metadata"].get(f"{kind}_tokens") for kind in ("prompt", "completion", "total")
    ),
    "cached tokens": lambda event: (
        event["metadata"].get("cache_read_tokens") or None,
        event["metadata"].get("cache_write_tokens") or None,
    ),
    "reasoning tokens": lambda event: event["metadata"].get("reasoning_tokens") or None,
    "finish reason": _metadata("finish_reason"),
    "error": lambda event: event.get("error"),
    "response id": lambda event: "response_id" in event["metadata"],
}
"""How to see each in an event of the v1 dialect."""


def differences(event: Json, api: str, scenario: Scenario) -> Json:
    """
    Say what *event* has in each aspect that is not as expected.
    """
    assert event["event_type"] == "model"
    facts = expected(api, scenario)
    found = {name: ASPECTS[name](event) for name in facts}
    if facts.get("error") and facts["error"] in (found["error"] or ""):
        found["error"] = facts["error"]  # clients write more around it
    return {name: found[name] for name in facts if found[name] != facts[name]}


def expected(api: str, scenario: Scenario) -> Json:
    """
    Say how an event looks in the aspects that *scenario* decides.
    """
    answer = scenario.answer
    is_answered = isinstance(answer, Answer) and answer.stops_after != 0
    model = MODELS[api] + (ANSWERED[api] if is_answered else "")
    facts: Json = {
        "model": model,
        "provider": PROVIDERS[api],
        "messages": [_plain(message) for message in scenario.messages],
        "tools": [_TOOL] if scenario.has_tools else None,
        "structured output": SCHEMA if scenario.has_schema else None,
    }
    if model != MODELS[api]:
        facts["model asked for"] = MODELS[api]
    if isinstance(answer, Failure):
        return facts | {"error": answer.message, "text": None}
    if answer.stops_after == 0:
        return facts | {"text": None}
    facts |= {"response id": True, "text": answer.text}
    if scenario.ending is not Ending.READ:
        return facts | {"text": BEGUN, "tool calls": [], "reasoning": None}
    return (
        facts
        | {
            "tool calls": [(call.id, call.name, call.arguments) for call in answer.calls],
            "reasoning": None if api == "chat" else answer.reasoning,
            "finish reason": "tool_calls" if answer.calls else "stop",
            "error": None,
        }
        | (TOKENS[api] if answer.has_usage else dict.fromkeys(TOKENS[api]))
        | ({} if answer.has_usage else {"tokens": (None, None, None), "cached tokens": (None,) * 2})
    )


_TOOL: Final = {"type": "function", "function": TOOL}


def _plain(message: Json) -> Json:
    """
    Write calls as they mean; leave out what is empty, and what the call has already.
    """
    apart = ("name", "tool_calls")
    plain = {key: value for key, value in message.items() if value and key not in apart}
    if message.get("tool_calls"):
        plain["tool_calls"] = _calls(message)
    return plain


def _calls(message: Json) -> list[tuple[str | None, str, Any]]:
    return [
        (call.get("id"), call["function"]["name"], data_of(call["function"]["arguments"]))
        for call in message.get("tool_calls") or ()
    ]
