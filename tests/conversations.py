"""
Conversations of events, in a word for each part of a message, as the collector's page reads them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.browser import Browser

__all__ = ["IMAGE", "PNG", "read_conversation"]

_READ = """
return import("/page/js/shapes/event.js").then(({ readEvent }) => readEvent(arguments[0]));
"""
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmM"
    "IQAAAABJRU5ErkJggg=="
)
IMAGE = "image image/png 70 B"


async def read_conversation(page: Browser, **event: Any) -> list[str]:
    """
    Read an event; list its messages, each as its role and a word for each part.
    """
    found = await page.run(_READ, event)
    return [
        f"{message['role']}: {', '.join(map(_word, message['parts']))}"
        for message in [*found["messages"], *found["answer"]]
    ]


def _word(part: dict[str, Any]) -> str:
    match part:
        case {"kind": "text", "text": text}:
            return str(text)
        case {"kind": "thought", "isHidden": True}:
            return "thought hidden"
        case {"kind": "thought" | "refusal" as kind, "text": text}:
            return f"{kind} {text}"
        case {"kind": "code", "language": language, "text": text}:
            return f"{language} {text}"
        case {"kind": "media"}:
            size = "" if part["size"] is None else f"{part['size']} B"
            told = (part["type"], part["name"], part["format"], part["address"], size)
            return " ".join(filter(None, told))
        case {"kind": "call", "name": name, "id": identity, "input": arguments}:
            return f"{name}#{identity}({json.dumps(arguments)})"
        case {"kind": "result", "id": identity, "isError": is_error, "parts": parts}:
            sign = "!" if is_error else ""
            return f"{sign}{part['name']}#{identity} -> {' + '.join(map(_word, parts))}"
        case {"kind": "sources", "sources": sources}:
            return f"sources {[source['title'] for source in sources]}"
    return f"data {json.dumps(part['value'])}"
