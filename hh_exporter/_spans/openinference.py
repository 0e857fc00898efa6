"""
The attributes of OpenInference: one attribute a field, `llm.*`, `input.value` and `output.value`.

The rule: the messages of a call of a model are read from `llm.input_messages` and
`llm.output_messages` alone. `input.value` and `output.value` repeat the whole request and
response, even in a tracer that is configured to hide messages, so only what they have beside the
messages is read. Where that leaves a call without messages, `left_out` in the metadata says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hh_exporter._responses.completion import one_word, response_of
from hh_exporter._spans.answers import details_of
from hh_exporter._spans.attributes import data_of
from hh_exporter._spans.invocation import invocation_of
from hh_exporter._spans.parts import Parts, joined, present
from hh_exporter._spans.providers import provider_of
from hh_exporter._spans.tools import tools_of
from hh_exporter._spans.turns import call_of, chat_of, choices_of
from hh_exporter._spans.usage import usage_of
from hh_exporter._spans.values import inputs_of, outputs_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hh_exporter._spans.attributes import Attributes, Json
    from hh_exporter._spans.span import Span

__all__ = ["MARK", "kind_of", "read"]

MARK: Final = "openinference.span.kind"

_TYPES: Final = {"LLM": "model", "CHAIN": "chain", "AGENT": "chain"}

_LISTS: Final = frozenset(
    (
        *("llm.input_messages", "llm.output_messages", "llm.tools", "llm.prompts", "llm.choices"),
        *("embedding.embeddings", "retrieval.documents", "output.images", "message.tool_calls"),
        *("reranker.input_documents", "reranker.output_documents"),
    )
)

_PROMPT: Final = "llm.token_count.prompt"
_COMPLETION: Final = "llm.token_count.completion"
_TOKENS: Final = (
    ("prompt_tokens", (_PROMPT,)),
    ("completion_tokens", (_COMPLETION,)),
    ("total_tokens", ("llm.token_count.total",)),
    ("cache_read_tokens", (f"{_PROMPT}_details.cache_read", f"{_PROMPT}_details.cache_input")),
    ("cache_write_tokens", (f"{_PROMPT}_details.cache_write",)),
    ("reasoning_tokens", (f"{_COMPLETION}_details.reasoning",)),
    ("prompt_audio_tokens", (f"{_PROMPT}_details.audio",)),
    ("completion_audio_tokens", (f"{_COMPLETION}_details.audio",)),
)

_NAMED: Final = (
    ("agent_name", "agent.name"),
    ("tags", "tag.tags"),
    ("tool_name", "tool.name"),
    ("tool_description", "tool.description"),
    ("tool_parameters", "tool.parameters"),
    ("tool_call_id", "tool.id"),
    ("function_call", "llm.function_call"),
    ("prompt_template_version", "llm.prompt_template.version"),
)

_MILLION: Final = 1_000_000

_HIDDEN: Final = "__REDACTED__"
_NOTHING: Final = (None, "", "{}", "null")


def kind_of(attributes: Mapping[str, Any]) -> str:
    """
    Find the type of the event of a span of this family.
    """
    kind = attributes.get(MARK)
    kind = _TYPES.get(kind, "tool") if isinstance(kind, str) else "tool"
    return "tool" if kind == "model" and _reads_stored(attributes) else kind


def read(attributes: Attributes, span: Span) -> Parts:
    """
    Read the attributes of a span of this family.
    """
    kind = kind_of(attributes.left)
    is_call = attributes.take(MARK) == "LLM"
    lists = attributes.take_lists(_LISTS)
    details = details_of(attributes.left.get("output.value")) if is_call else {}
    parts, result = _request(attributes, lists, details), _result(attributes, lists, details)
    metadata = parts["metadata"] | result["metadata"]
    parts |= result
    if is_call:
        attributes.drop("input.mime_type", "output.mime_type")
        left_out = [
            *_leave_out(attributes, "input.value", "messages" in parts),
            *_leave_out(attributes, "output.value", "response" in parts),
        ]
        if left_out:
            metadata["left_out"] = left_out
    else:
        given, came = inputs_of(attributes, lists), outputs_of(attributes, lists)
        parts |= present({"inputs": given, "outputs": came})
    if is_call and kind == "tool":  # the call that made the answer has these tokens
        stored = {"operation": "fetch_response", "stored_usage": parts.pop("usage", None)}
        metadata |= present(stored)
    metadata |= lists  # what such a step has not
    if span.name.endswith("Stream"):  # as Gemini's are called, whose parameters don't say it
        parts["is_streamed"] = True
    if span.first_token is not None and span.first_token >= span.start:
        parts["metrics"] = {"time_to_first_token": (span.first_token - span.start) / _MILLION}
        parts["is_streamed"] = True
    parts["event_type"], parts["metadata"] = kind, metadata
    return parts


def _reads_stored(attributes: Mapping[str, Any]) -> bool:
    """
    Whether the span reads a stored answer: all but the request is that of the call that made it.
    """
    return (
        attributes.get("llm.invocation_parameters") == "{}"
        and attributes.get("input.value") == "{}"
        and not any(name.startswith("llm.input_messages") for name in attributes)
    )


def _request(attributes: Attributes, lists: dict[str, list[Json]], details: Parts) -> Parts:
    """
    Read the request: model, provider, messages, tools and parameters.
    """
    take, text = attributes.take, attributes.take_text
    given, asked_for = invocation_of(attributes)
    asked_for = text("llm.request.model_name") or asked_for
    named = text("llm.model_name", "embedding.model_name", "reranker.model_name")
    # LangChain's spans of streams name the model that was asked for.
    answered = text("llm.response.model_name") or details.get("response_model") or named
    metadata = {name: data_of(value) for name, value in attributes.take_all(_NAMED).items()}
    if answered and asked_for and answered != asked_for:
        metadata["requested_model"] = asked_for
    if named not in (None, answered, asked_for):
        metadata["model_name"] = named
    user, top = take("user.id"), take("reranker.top_k")
    place = given.get("metadata", {}).get("base_url")
    parts: Parts = {
        "model": answered or asked_for,
        "provider": provider_of(text("llm.provider", "llm.system"), place),
        "session_id": text("session.id"),
        "user_properties": None if user is None else {"user_id": user},
        "hyperparameters": None if top is None else {"top_k": top},
        "messages": _chat(lists) or None,
        "tools": tools_of([_tool(fields) for fields in lists.pop("llm.tools", ())]),
        **_template(attributes),
        "metadata": {**_user_metadata(attributes), **metadata},
    }
    return joined(given, present(parts))


def _result(attributes: Attributes, lists: dict[str, list[Json]], details: Parts) -> Parts:
    """
    Read the response: its message, usage, cost and finish reason.
    """
    choices = choices_of(_answers(lists), details.get("is_one", False))
    response = response_of(choices) if choices else None
    usage = usage_of(attributes, _TOKENS)
    cost = attributes.take_number("llm.cost.total")
    # Of OpenAI Responses, openai-agents says "stop" of all, and others say nothing.
    reason = details.get("finish_reason") or one_word(attributes.left.get("llm.finish_reason"))
    attributes.drop("llm.finish_reason")
    if reason == "stop" and response is not None and "tool_calls" in response:
        reason = "tool_calls"
    calls = lists.pop("message.tool_calls", ())  # which Gemini's client made by itself
    kept = ("response_id", "service_tier", "system_fingerprint")
    metadata = {name: details.get(name) for name in kept}
    metadata["finish_reason"] = reason
    metadata["tool_calls"] = [call_of(call) for call in calls] or None
    parts: Parts = {"response": response, "usage": usage or None}
    if cost is not None and (usage or cost):
        parts["cost"], metadata["cost_source"] = cost, "span"
    return present({**parts, "metadata": present(metadata)})


def _chat(lists: dict[str, list[Json]]) -> list[Json]:
    """
    Make the messages of a chat, or of the prompts of a completion.
    """
    prompts = [_renamed(one, "prompt.text", "content") for one in lists.pop("llm.prompts", ())]
    return chat_of([*lists.pop("llm.input_messages", ()), *prompts])


def _answers(lists: dict[str, list[Json]]) -> list[Json]:
    """
    List the messages of an answer, the texts of a completion, and the images that were made.
    """
    answers = lists.pop("llm.output_messages", [])
    for one in lists.pop("llm.choices", ()):
        answers.append(_renamed(one, "completion.text", "content"))
    shown = {
        f"message.contents.{number}.message_content.image.{name}": value
        for number, image in enumerate(lists.pop("output.images", ()))
        for name, value in image.items()
    }
    return [*answers, shown] if shown else answers


def _renamed(fields: Json, old: str, new: str) -> Json:
    return {f"message.{new if name == old else name}": value for name, value in fields.items()}


def _tool(fields: Json) -> Any:
    """
    Read the definition of a tool; what else is said of it becomes members.
    """
    schema = data_of(fields.pop("tool.json_schema", None))
    others = {name.removeprefix("tool."): value for name, value in fields.items()}
    if isinstance(schema, dict):
        return {**others, **schema}
    return others | present({"json_schema": schema})


def _template(attributes: Attributes) -> Parts:
    """
    Read the template of a prompt, and the values for its placeholders.
    """
    template = data_of(attributes.take("llm.prompt_template.template"))
    parts: Parts = {}
    if template is not None:
        parts["template"] = template if isinstance(template, list) else [{"content": template}]
    name = "llm.prompt_template.variables"
    values = data_of(attributes.left.get(name))
    if isinstance(values, dict):
        attributes.drop(name)
        parts["template_inputs"] = values
    return parts


def _user_metadata(attributes: Attributes) -> Json:
    data = data_of(attributes.left.get("metadata"))
    if not isinstance(data, dict):
        return {}
    attributes.drop("metadata")
    return data


def _leave_out(attributes: Attributes, name: str, is_repeated: bool) -> list[str]:
    """
    Drop what repeats a request or a response; return its name if nothing else has that.
    """
    value = attributes.left.get(name)
    if value == _HIDDEN:
        return []  # it stays, and says so itself
    attributes.drop(name)
    return [] if is_repeated or value in _NOTHING else [name]
