"""
The attributes of langfuse's own spans: `langfuse.observation.*` and `langfuse.trace.*`.

Values are JSON text, or bare text where the value is one; those of metadata are always JSON.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import orjson

from hh_exporter._responses.completion import one_word, reason_of, response_of
from hh_exporter._responses.responses import read as read_response
from hh_exporter._spans.attributes import data_of
from hh_exporter._spans.counts import counts_of
from hh_exporter._spans.generations import asked_of, choices_of
from hh_exporter._spans.parts import Parts, joined, named, present
from hh_exporter._spans.providers import provider_of
from hh_exporter._spans.tools import tools_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hh_exporter._spans.attributes import Attributes, Json
    from hh_exporter._spans.span import Span

__all__ = ["MARK", "kind_of", "read"]

_OWN: Final = "langfuse.observation"
MARK: Final = f"{_OWN}.type"

_TYPES: Final = {"generation": "model", "chain": "chain", "agent": "chain", "span": "chain"}

_FLAGS: Final = ("langfuse.internal.is_app_root", "langfuse.internal.as_root")
"""Of its own server."""

_NAMED: Final = (
    ("prompt_name", f"{_OWN}.prompt.name"),
    ("prompt_version", f"{_OWN}.prompt.version"),
    ("trace_name", "langfuse.trace.name"),
    ("tags", "langfuse.trace.tags"),
    ("release", "langfuse.release"),
    ("version", "langfuse.version"),
)

_DEFAULTS: Final = {
    "temperature": 1,
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
}
"""Those that its client of OpenAI fills in, each time all of them."""
_CLIENT: Final = "openai"
_UNLIMITED: Final = "Infinity"

_JSON: Final = ('[{"', '{"')

_MILLION: Final = 1_000_000


def kind_of(attributes: Mapping[str, Any]) -> str:
    """
    Find the type of the event of a span of this family.
    """
    kind = attributes.get(MARK)
    return _TYPES.get(kind, "tool") if isinstance(kind, str) else "tool"


def read(attributes: Attributes, span: Span) -> Parts:
    """
    Read the attributes of a span of this family.
    """
    kind = kind_of(attributes.left)
    observed = attributes.take_text(MARK)
    attributes.drop(*_FLAGS)
    metadata = {**_metadata(attributes), **attributes.take_all(_NAMED)}
    if observed not in (None, "generation", kind):
        metadata["observation_type"] = observed
    repeated = _repeated(metadata)
    parts = _messages(attributes, is_call=kind == "model", metadata=metadata)
    parts = joined(joined(repeated, _request(attributes, metadata)), parts)
    usage = attributes.take_json("usage", f"{_OWN}.usage_details")
    costs = attributes.take_json("cost", f"{_OWN}.cost_details")
    if usage is not None and not isinstance(usage, dict):
        metadata["usage_details"] = usage
    first = _first_token(attributes, span)
    user = attributes.take("user.id")
    parts |= {
        "event_type": kind,
        "is_streamed": True if first is not None and span.is_error else None,
        "session_id": attributes.take_text("session.id"),
        "user_properties": None if user is None else {"user_id": user},
        "source": attributes.take_text("langfuse.environment"),
        "usage": counts_of(usage) if isinstance(usage, dict) else None,
        "metrics": None if first is None else {"time_to_first_token": first},
        "error": _error(attributes, metadata),
        "metadata": metadata,
    }
    _add_cost(parts, costs)
    return present(parts)


def _messages(attributes: Attributes, is_call: bool, metadata: Json) -> Parts:
    """
    Read input and output: of a call of a model, its messages and response.
    """
    names = (f"{_OWN}.input", f"{_OWN}.output")
    if not is_call:
        given, result = (data_of(attributes.take(name)) for name in names)
        return {"inputs": named("input", given), "outputs": named("result", result)}
    given, result = (attributes.take(name) for name in names)
    parts = asked_of(_read(attributes, "messages", given))
    _read(attributes, "response", result)
    choices = choices_of(result)
    parts["response"] = response_of(choices) if choices else None
    reason = one_word(metadata.get("finish_reason")) or (reason_of(choices) if choices else None)
    if reason == "stop" and choices and "tool_calls" in choices[0].message:
        reason = "tool_calls"
    if reason is not None:
        metadata["finish_reason"] = reason
    return parts


def _read(attributes: Attributes, part: str, value: Any) -> Any:
    """
    Read *value*, which may be bare text, unless it begins as only JSON does.
    """
    data = data_of(value)
    if data is value and isinstance(value, str) and value.startswith(_JSON):
        attributes.cut.append(part)
    return data


def _request(attributes: Attributes, metadata: Json) -> Parts:
    """
    Read the model and its parameters, without those that nobody asked for.
    """
    given = attributes.take_json("hyperparameters", f"{_OWN}.model.parameters")
    is_filled_in = isinstance(given, dict) and given.keys() >= _DEFAULTS.keys()
    claim = metadata.get("ls_provider", _CLIENT if is_filled_in else None)  # LangChain's
    parts: Parts = {
        "model": attributes.take_text(f"{_OWN}.model.name"),
        "provider": provider_of(claim if isinstance(claim, str) else None),
    }
    if isinstance(given, dict):
        parts["hyperparameters"] = {
            name: value
            for name, value in given.items()
            if value is not None
            and value != _UNLIMITED
            and not (is_filled_in and name in _DEFAULTS and value == _DEFAULTS[name])
            and name != "service_tier"
        } or None
        metadata |= present({"service_tier": given.get("service_tier")})
    elif given is not None:
        metadata["model_parameters"] = given
    return parts


def _metadata(attributes: Attributes) -> Json:
    """
    Read the metadata of the trace, and those of the observation, which count more.
    """
    found: Json = {}
    for own in ("langfuse.trace.metadata", f"{_OWN}.metadata"):
        start = f"{own}."
        for name in [name for name in attributes.left if name.startswith(start)]:
            found[name.removeprefix(start)] = _decoded(attributes.left.pop(name))
        whole = _decoded(attributes.take(own))
        if isinstance(whole, dict):
            found |= whole
        elif whole is not None:
            found["metadata"] = whole
    return found


def _repeated(metadata: Json) -> Parts:
    """
    Take from *metadata* the response of OpenAI Responses, which is there if it was streamed.
    """
    if metadata.get("object") != "response":
        return {}
    response = read_response({**metadata, "output": []})
    if response is None:
        return {}
    metadata.clear()
    metadata |= {name: value for name, value in response.others.items() if name != "instructions"}
    reason = response.choices[0].reason
    metadata |= present({"response_id": response.id, "finish_reason": reason})
    return present(
        {
            "tools": tools_of(response.tools),
            "tool_choice": response.tool_choice,
            "hyperparameters": response.hyperparameters,
        }
    )


def _decoded(value: Any) -> Any:
    """
    Read JSON text, which versions before 5 have of objects alone.
    """
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _first_token(attributes: Attributes, span: Span) -> float | None:
    """
    Compute how many milliseconds passed until the first token.
    """
    name = f"{_OWN}.completion_start_time"
    said = _decoded(attributes.left.get(name))
    if not isinstance(said, str):
        return None
    try:
        moment = datetime.fromisoformat(said)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    waited = moment.timestamp() * 1000 - span.start / _MILLION
    if not 0 <= waited <= (span.end - span.start) / _MILLION:
        return None
    attributes.drop(name)
    return round(waited, 3)


def _error(attributes: Attributes, metadata: Json) -> str | None:
    level = attributes.take_text(f"{_OWN}.level")
    message = attributes.take_text(f"{_OWN}.status_message")
    if level == "ERROR":
        return message or "error"
    metadata |= present({"level": None if level == "DEFAULT" else level, "status_message": message})
    return None


def _add_cost(parts: Parts, costs: Any) -> None:
    """
    Add the cost, unless it is zero because the usage is unknown.
    """
    if costs is None:
        return
    metadata = parts["metadata"]
    known = {
        name: cost
        for name, cost in (costs.items() if isinstance(costs, dict) else ())
        if type(cost) in (int, float) and isfinite(cost)
    }
    total = known.pop("total", None)
    if total is None and known:
        total = sum(known.values())
    if total is not None and (total or parts["usage"]):
        parts["cost"], metadata["cost_source"] = total, "span"
    if not isinstance(costs, dict) or any(known.values()) or costs.keys() - {*known, "total"}:
        metadata["cost_details"] = costs
