"""
The event of a block that makes a model call, and the stream that is read in it.

What the block sets itself is never replaced.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from attrs import fields

from hh_exporter._clock import Clock
from hh_exporter._responses.completion import Json
from hh_exporter._responses.filling import fill, fill_from, with_members
from hh_exporter._responses.reading import Reading
from hh_exporter._responses.streams import AsyncChunks, Chunks, pass_on
from hh_exporter.events import ModelEvent

__all__ = ["CANCELLED", "ModelCall", "begin", "conclude", "give_back"]

T = TypeVar("T")

CANCELLED: Final = "cancelled"
"""The error of a block that was cancelled, and the end of a stream that was."""


class ModelCall(ModelEvent):
    """
    The `ModelEvent` of a call that is being made, as `Exporter.record` yields it.

    It has the same fields; it is equal to a `ModelEvent` that has the same in them.
    """

    __slots__ = ("_began", "_clock", "_given", "_reading")
    _clock: Clock
    _began: float
    """When the block began, by `_clock`."""
    _reading: Reading | None
    """Of the stream that was given last, until the block ends."""
    _given: Any
    """The response of the block itself, while the event has what was read of it."""
    if TYPE_CHECKING:
        event_id: str
        """Set on entry."""

    @overload
    def stream(self, chunks: AsyncIterable[T]) -> AsyncChunks[T]: ...
    @overload
    def stream(self, chunks: Iterable[T]) -> Chunks[T]: ...
    def stream(self, chunks: Any) -> Any:
        """
        Pass on the chunks of a stream, unchanged, and note in the event how it went.

        At the end of the block, `metrics["time_to_first_token"]` has the milliseconds from the
        block's beginning to the first token. If the stream was not read to its end,
        `metadata["stream"]` says why: "stopped" by its reader, "cancelled" with the task that
        read it, or "failed" with an exception, which the reader gets. Being stopped or
        cancelled is not an error of the call. Of several streams, the last one counts.

        If `response` is not set, it is put together from the chunks of OpenAI Chat Completions
        and Responses, Anthropic Messages, Gemini, or text: up to 800,000 characters, and
        `metadata["stream_cut"]` is true if there were more.

        Args:
            chunks: An asynchronous or synchronous iterable, such as a client's stream.

        Returns:
            An iterator of the same kind, to be read inside the block. Leaving it early leaves
            *chunks* as it is; its `aclose()`, or `close()`, closes *chunks*, too.

        Raises:
            TypeError: *chunks* can't be iterated over.
        """
        reading = Reading(getattr(self, "_clock", None))
        passed_on = pass_on(chunks, reading)
        self._reading = reading
        return passed_on

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ModelEvent):
            return NotImplemented
        return all(getattr(self, a.name) == getattr(other, a.name) for a in fields(ModelEvent))

    __hash__ = None


def begin(call: ModelCall, clock: Clock, now: float) -> None:
    """
    Have *call* time its stream from *now* on, a reading of *clock*.
    """
    call._clock, call._began = clock, now


def conclude(call: ModelCall, error: str | None) -> str | None:
    """
    Fill in *call* from its response and its stream, at the end of its block.

    Once it is pushed, `give_back` returns the response to the block.

    Args:
        call: The event.
        error: The error of the block; *call* may have one of its own.

    Returns:
        The error of the call: none if a stream was cancelled.
    """
    reading: Reading | None = getattr(call, "_reading", None)
    given = call.response
    fill(call)
    if call.response is not given:
        call._given = given
    if reading is None:
        return error
    call._reading = None
    if (whole := reading.whole()) is not None:
        fill_from(call, whole)
    metrics: Json = {}
    metadata: Json = {}
    if reading.first is not None:
        metrics["time_to_first_token"] = (reading.first - call._began) * 1000
    if reading.is_cut:
        metadata["stream_cut"] = True
    if reading.end != "complete":
        metadata["stream"] = reading.end or "stopped"
        if error == CANCELLED:
            metadata["stream"], error = CANCELLED, None
    call.metrics = with_members(call.metrics, metrics)
    call.metadata = with_members(call.metadata, metadata)
    return error


def give_back(call: ModelCall) -> None:
    """
    Have *call* hold the client's response again: the block, or its caller, may go on with it.
    """
    if (given := getattr(call, "_given", None)) is not None:
        call.response, call._given = given, None
