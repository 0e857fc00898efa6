"""
The parameters of a request in OpenInference: JSON text of nearly all arguments of the client.

What an event has a field for goes there; what is no parameter goes to the metadata or is left
out: openai-agents puts its whole response there, and headers may hold keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hh_exporter._spans.parts import Parts, present

if TYPE_CHECKING:
    from hh_exporter._spans.attributes import Attributes, Json

__all__ = ["invocation_of"]

_NAMES: Final = ("llm.invocation_parameters", "embedding.invocation_parameters")

_APART: Final = ("tool_choice", "response_format")
_MODELS: Final = ("model", "model_name")
_REPEATED: Final = ("messages", "input", "instructions", "contents", "system", "tools")
"""These have attributes of their own, unless they are hidden."""
_RESPONSE: Final = (
    *("id", "object", "created_at", "completed_at", "status", "output", "usage", "error"),
    *("incomplete_details", "access_programs"),
)
"""Of a response of OpenAI Responses."""
_OTHERS: Final = ("_type", "metadata", "user", "base_url", "extra_headers")

_NO_PARAMETERS: Final = frozenset((*_APART, *_MODELS, *_REPEATED, *_RESPONSE, *_OTHERS))

_UNSET: Final[tuple[object, ...]] = (None, {}, [])


def _format_of(given: Json) -> Any:
    """
    Take the format of the answer away: each API has another place for it.
    """
    for name in ("text", "output_config"):  # of OpenAI Responses and Anthropic
        inner = given.get(name)
        if not isinstance(inner, dict):
            continue
        form = inner.get("format")
        if isinstance(form, dict) and form.get("type") != "text":
            given[name] = {key: value for key, value in inner.items() if key != "format"}
            return form
    for name in ("response_json_schema", "response_schema"):  # of Gemini
        if isinstance(schema := given.get(name), dict):
            del given[name]
            return {"type": "json_schema", "json_schema": {"schema": schema}}
    return None


def invocation_of(attributes: Attributes) -> tuple[Parts, str | None]:
    """
    Read the parameters of a request: parts of an event, and the model that was asked for.
    """
    given: Json = {}
    for name in _NAMES:
        value = attributes.left.get(name)
        if isinstance(value, str) and value[:1] == "{":
            given = attributes.take_json("hyperparameters", name)
            break
    if not given:
        return {}, None
    own, user = given.get("metadata"), given.get("user")
    is_response = "created_at" in given
    metadata = {**own} if isinstance(own, dict) else present({"request_metadata": own})
    if "base_url" in given:
        metadata["base_url"] = given["base_url"]
    if is_response:
        metadata |= present({"response_id": given.get("id"), "status": given.get("status")})
    given.setdefault("response_format", _format_of(given))
    parts: Parts = {
        "hyperparameters": {
            name: value
            for name, value in given.items()
            if name not in _NO_PARAMETERS and value not in _UNSET
        }
        or None,
        **{name: given.get(name) for name in _APART},
        "user_properties": None if user is None else {"user_id": user},
        "is_streamed": True if given.get("stream") is True else None,
        "metadata": metadata,
    }
    models = [given[name] for name in _MODELS if isinstance(given.get(name), str)]
    return present(parts), models[0] if models and not is_response else None
