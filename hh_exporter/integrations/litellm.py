"""
LiteLLM: a logger that records each call, with what it cost.

Takes named fields of what LiteLLM prepared for loggers, and nothing else: the caller's API key
and headers are next to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER

from hh_exporter import Exporter, ModelEvent
from hh_exporter._log import Log, get_log
from hh_exporter.integrations._reported import claim, register

__all__ = ["ExporterLogger"]

log: Log = get_log(__name__)

_METADATA = ("call_type", "cache_hit", "end_user", "litellm_call_id", "model_group", "request_tags")
"""What of a call goes to metadata."""

_SETTINGS = frozenset(
    {
        *("audio", "background", "best_of", "chunking_strategy", "dimensions", "echo"),
        *("encoding_format", "frequency_penalty", "function_call", "include", "inference_geo"),
        *("language", "logprobs", "max_chunks_per_doc", "max_completion_tokens"),
        *("max_output_tokens", "max_tokens", "max_tokens_per_doc", "max_tokens_per_query"),
        *("max_tool_calls", "modalities", "n", "parallel_tool_calls", "presence_penalty"),
        *("prompt_cache_retention", "reasoning", "reasoning_effort", "return_documents", "seed"),
        *("service_tier", "speed", "store", "stream", "stream_options", "temperature"),
        *("thinking", "timestamp_granularities", "top_k", "top_logprobs", "top_n", "top_p"),
        *("truncate_prompt_tokens", "truncation", "truncation_side", "verbosity"),
    }
)
"""Parameters that say how to ask; all others may say what is asked, or who asks."""

_CREDENTIALS = ("authorization", "authorization_token", "headers")
"""Where tools and servers of MCP hold credentials of their caller."""

_TELLERS = ("Logging.", "_client_async_logging_helper")
"""How the names of the tasks begin in which LiteLLM reports to its loggers."""

_SHORTEST_KEY = 8
"""Characters; a shorter text in the key's place is a dummy, and may be a common word."""


class ExporterLogger(CustomLogger):
    """
    Push an event for each call that LiteLLM reports.

    As an async context manager it is the first of `litellm.callbacks` within the block: enter it
    after the exporter. LiteLLM reports async calls in the background; at the end of the block it
    waits for these, for the exporter's `close_timeout` at most, since another logger may hold
    LiteLLM up. Or add it to `litellm.callbacks` yourself. Beside a `ModelEvents` of the same
    exporter each call is one event: that leaves LiteLLM's own spans to this logger.

    Args:
        exporter: Where the events go.
    """

    def __init__(self, exporter: Exporter) -> None:
        super().__init__()
        self._exporter = exporter
        self.exporter_id: int = id(exporter)
        """LiteLLM takes two loggers whose public numbers and strings are equal for the same one."""
        self.library: str = "litellm"
        register(exporter, self)

    def is_active(self) -> bool:
        """
        Whether LiteLLM reports to it at the moment.
        """
        return any(each is self for each in litellm.logging_callback_manager.get_all_callbacks())

    async def __aenter__(self) -> None:
        litellm.callbacks.insert(0, self)  # before those that may hang

    async def __aexit__(self, *exc_info: object) -> None:
        clock, seconds = self._exporter._clock, self._exporter._settings.close_timeout
        try:
            async with clock.timeout_at(clock.now() + seconds):
                await _all_told()
        except TimeoutError:
            log.warning(
                "hh_exporter: LiteLLM has not reported all calls within %g s, perhaps because "
                "another of its loggers hangs: those calls may be missing",
                seconds,
            )
        lists = litellm.logging_callback_manager
        lists.remove_callback_from_all_lists(self)
        remove: Any = lists.remove_callback_from_list_by_object  # untyped
        remove(litellm.input_callback, self, require_self=False)

    # LiteLLM passes these arguments by name.

    def log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        self._push(_event(kwargs, start_time, end_time), response_obj)

    async def async_log_success_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        self._push(_event(kwargs, start_time, end_time), response_obj)

    def log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        self._push(_event(kwargs, start_time, end_time, has_failed=True), None)

    async def async_log_failure_event(
        self, kwargs: Mapping[str, Any], response_obj: Any, start_time: datetime, end_time: datetime
    ) -> None:
        self._push(_event(kwargs, start_time, end_time, has_failed=True), None)

    def _push(self, event: ModelEvent, response: object) -> None:
        response_id = getattr(response, "id", None)
        if not isinstance(response_id, str) or claim(self._exporter, response_id, self.library):
            self._exporter.push(event)


async def _all_told() -> None:
    """
    Wait until LiteLLM has reported to its loggers all calls that have ended.
    """
    # Streams are reported by tasks of their own, everything else by a worker that tasks feed.
    if tasks := [task for task in asyncio.all_tasks() if _tells(task)]:
        await asyncio.wait(tasks)
    await GLOBAL_LOGGING_WORKER.flush()


def _tells(task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "__qualname__", "").startswith(_TELLERS)


def _event(
    kwargs: Mapping[str, Any], start_time: datetime, end_time: datetime, *, has_failed: bool = False
) -> ModelEvent:
    call: Mapping[str, Any] = kwargs.get("standard_logging_object") or {}
    asked: Mapping[str, Any] = kwargs.get("litellm_params") or {}
    parameters = dict(call.get("model_parameters") or {})
    response = None if has_failed else call.get("response")
    event = ModelEvent(
        model=call.get("model") or kwargs.get("model") or "unknown",
        provider=call.get("custom_llm_provider"),
        response=response,
        cost=None if has_failed else call.get("response_cost"),
        error=_error(kwargs, call, asked) if has_failed else None,
        session_id=str(asked.get("litellm_session_id") or "") or None,
        start_time=start_time.timestamp() * 1000,
        end_time=end_time.timestamp() * 1000,
        tools=_without_credentials(parameters.pop("tools", None)),
        tool_choice=parameters.pop("tool_choice", None),
        response_format=parameters.pop("response_format", None),
        hyperparameters={n: v for n, v in parameters.items() if n in _SETTINGS},
        metadata={name: call[name] for name in _METADATA if call.get(name)},
    )
    inputs = {n: _without_credentials(v) for n, v in parameters.items() if n not in _SETTINGS}
    messages = call.get("messages")
    if isinstance(messages, list) and all(isinstance(message, Mapping) for message in messages):
        event.messages = messages
    elif messages is not None:  # of an embedding, a transcription …
        inputs["input"] = messages
    event.inputs = inputs or None
    match response:
        case {"choices": [{"message": message}], **rest}:
            event.response, event.usage = message, rest.get("usage")
        case {"usage": usage}:
            event.usage = usage
    return event


def _without_credentials(items: Any) -> Any:
    """
    Copy a list of tools or servers without credentials.
    """
    if not isinstance(items, list):
        return items
    return [
        {n: v for n, v in item.items() if n not in _CREDENTIALS}
        if isinstance(item, Mapping)
        else item
        for item in items
    ]


def _error(kwargs: Mapping[str, Any], call: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    text = str(call.get("error_str") or kwargs.get("exception"))
    for key in (kwargs.get("api_key"), asked.get("api_key")):
        if isinstance(key, str) and len(key) >= _SHORTEST_KEY:
            text = text.replace(key, "[key]")  # some servers repeat it
    return text
