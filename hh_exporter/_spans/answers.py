"""
What the JSON of a whole response has beside the messages of the answer: ids, models, reasons.

The messages in it are never read: they are there even if the tracer is configured to hide them.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from hh_exporter._responses.completion import one_word
from hh_exporter._spans.attributes import Json
from hh_exporter._spans.parts import Parts, present

__all__ = ["details_of"]

_MAX_PARSED: Final = 1024 * 1024
"""Characters of a response that is parsed, in about a millisecond."""

_HEAD: Final = re.compile(r'\{\s*"id"\s*:\s*"([^"\\]{1,200})"')
"""How the clients' own JSON of OpenAI's and Anthropic's responses begins."""
_ITEMS_ID: Final = "resp_"

_MARKS: Final = frozenset(("choices", "object", "stop_reason", "candidates", "usage_metadata"))
"""One of these is in each response of OpenAI, Anthropic and Gemini."""

_KEPT: Final = ("service_tier", "system_fingerprint")


def details_of(response: object) -> Parts:
    """
    Read the JSON text of a response of whichever API, or of LangChain's result.

    Returns:
        `response_id`, `service_tier` and `system_fingerprint`, as far as it has them; from
        LangChain also `response_model`; from OpenAI Responses `finish_reason` and `is_one`,
        since its items are one message, unless LangChain joined them.
    """
    if not isinstance(response, str) or response[:1] != "{":
        return {}
    if len(response) > _MAX_PARSED:
        return _details_of_head(response)
    try:
        data = orjson.loads(response)
    except orjson.JSONDecodeError:  # cut short by a limit of the tracer
        return _details_of_head(response)
    generations = data.get("generations")
    if isinstance(generations, list):
        return _details_of_langchain(generations)
    if _MARKS.isdisjoint(data):  # JSON that the model was asked for
        return {}
    found: Parts = {
        "response_id": _text(data.get("id")) or _text(data.get("response_id")),
        **{name: _text(data.get(name)) for name in _KEPT},
    }
    if data.get("object") == "response":
        found |= {"is_one": True, "finish_reason": _reason(data)}
    return present(found)


def _details_of_head(response: str) -> Parts:
    head = _HEAD.match(response)
    if head is None:
        return {}
    is_one = {"is_one": True} if head[1].startswith(_ITEMS_ID) else {}
    return {"response_id": head[1], **is_one}


def _details_of_langchain(generations: list[Any]) -> Parts:
    """
    Read a result of LangChain's: it has a list of answers for each prompt.
    """
    first: Any = generations
    for _ in range(2):
        first = first[0] if isinstance(first, list) and first else None
    info = _object(_object(first).get("generation_info"))
    message = _object(_object(_object(first).get("message")).get("kwargs"))
    found = {**info, **_object(message.get("response_metadata"))}
    model = _text(found.get("model_name")) or _text(found.get("model"))
    return present(
        {
            "response_id": _text(found.get("id")),
            "response_model": model,
            "finish_reason": _reason(found),
            **{name: _text(found.get(name)) for name in _KEPT},
        }
    )


def _reason(data: Json) -> Any:
    reason = _object(data.get("incomplete_details")).get("reason")
    if reason is None and data.get("status") == "completed":
        return "stop"  # or for its calls of tools, which the answer shows
    return one_word(reason) if isinstance(reason, str) else None


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
