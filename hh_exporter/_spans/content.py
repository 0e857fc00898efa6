"""
Parts of a message in the form of OpenAI Chat Completions.

What is no part that this module knows stays as it is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, TypeAlias

import orjson

from hh_exporter._spans.attributes import data_of

__all__ = ["part_of", "result_of", "thought_of"]

Json: TypeAlias = dict[str, Any]

_AUDIO: Final = {
    **dict.fromkeys(("audio/wav", "audio/x-wav", "audio/wave"), "wav"),
    **dict.fromkeys(("audio/mpeg", "audio/mp3"), "mp3"),
}
"""What OpenAI takes as `input_audio`, by media type."""


def part_of(part: Any) -> Any:
    """
    Make of *part* what OpenAI has for it: a text, an image or audio.

    The conventions have `blob` and `uri`; pydantic-ai's older versions `binary` and
    `image-url`; OpenLLMetry calls what a refusal says its content.
    """
    match part:
        case {"type": "text", "content": str(text), **others}:
            return {"type": "text", "text": text, **others}
        case {"type": "blob" | "binary", "content": str(data)}:
            media = part.get("mime_type", part.get("media_type"))
            return _inline(media, data) or part if isinstance(media, str) else part
        case {"type": "uri", "uri": str(place), "modality": "image"}:
            return {"type": "image_url", "image_url": {"url": place}}
        case {"type": "image-url", "url": str(place)}:
            return {"type": "image_url", "image_url": {"url": place}}
        case {"type": "refusal", "content": str(text)}:
            return {"type": "refusal", "refusal": text}
    return part


def _inline(media: str, data: str) -> Json | None:
    if media.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"data:{media};base64,{data}"}}
    if kind := _AUDIO.get(media):
        return {"type": "input_audio", "input_audio": {"data": data, "format": kind}}
    return None


def result_of(result: Any) -> Any:
    """
    Make the content of a tool's message: text, or parts if it has any other than text.

    The anthropic client has a list of parts, even of one text; pydantic-ai has the object
    that the tool returned, of which a model gets JSON text.
    """
    if isinstance(result, str):
        return result
    if result is None:
        return ""
    if isinstance(result, list) and result and all(_is_part(one) for one in result):
        parts = [part_of(one) for one in result]
        match parts:
            case [{"type": "text", "text": str(text)}]:
                return text
        return parts
    with suppress(orjson.JSONEncodeError):  # deeper than orjson writes: it stays
        return orjson.dumps(result).decode()
    return result


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def thought_of(content: Any) -> str | None:
    """
    Read the text of a reasoning part, which OpenLLMetry has as JSON text of the API's own parts.
    """
    said = data_of(content) if isinstance(content, str) and content.startswith("[{") else content
    if isinstance(said, list) and said and all(_is_part(one) for one in said):
        texts = [one.get("text") for one in said]
        if all(isinstance(text, str) for text in texts):
            return "\n".join(texts)
    return content if isinstance(content, str) else None
