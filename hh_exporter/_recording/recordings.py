"""
What `Exporter.record` and `Exporter.trace` return: a context manager that is a decorator, too.

Each entry, and each call of a decorated function, is a block of its own with an event of
its own. A wrong name among the fields is an error where it is written, not where it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FrameType, TracebackType
from typing import Any, Generic, TypeVar

from attrs import define, field

from hh_exporter._outside import let_through
from hh_exporter._recording.blocks import Block, Blocks
from hh_exporter._recording.capture import Yielded, as_object, list_all, make_binder
from hh_exporter._recording.entries import Entries
from hh_exporter._recording.fields import Step, build
from hh_exporter._recording.scopes import Resumed, frame_of_generator
from hh_exporter._recording.unentered import explain
from hh_exporter._recording.wrapping import Begin, name_of, wrap
from hh_exporter._responses.call import ModelCall
from hh_exporter.events import ModelEvent, SessionProperties

__all__ = ["FunctionT", "Recording"]

EventT = TypeVar("EventT", ModelCall, Step)
FunctionT = TypeVar("FunctionT", bound="Callable[..., Any] | classmethod[Any, ..., Any]")


@define(eq=False, kw_only=True)
class Recording(Generic[EventT]):
    """
    A recipe for blocks: a context manager that yields the event, or a decorator.
    """

    _blocks: Blocks
    _push: Callable[[Any, SessionProperties | None], object]
    _cls: type[EventT]
    """The class of the event."""
    _call: str
    """What the user called, for errors."""
    _fields: dict[str, Any] = field(repr=False)
    """The fields of the event that were given."""
    _session: SessionProperties | None
    _captures_inputs: bool
    _captures_outputs: bool
    _first: list[EventT] = field(init=False)
    """An event that is made at once, which checks the names of the fields, for the first entry."""
    _entries: Entries[Block] = field(factory=Entries, init=False)

    def __attrs_post_init__(self) -> None:
        self._first = [build(self._cls, self._call, self._fields)]

    @property
    def _encloses(self) -> bool:
        """
        Whether what runs inside belongs to it: to a step, and not to a model call.
        """
        return self._cls is Step

    # A block.

    def __enter__(self) -> EventT:
        return self._enter(sys._getframe(1))

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entries.take().end(exc)

    async def __aenter__(self) -> EventT:
        return self._enter(sys._getframe(1))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entries.take().end(exc)

    def _enter(self, frame: FrameType) -> EventT:
        event = self._first.pop() if self._first else self._cls(**self._fields)
        encloses = self._encloses
        step_of = frame_of_generator(frame) if encloses else 0
        block = Block(event, self._session, self._blocks, self._push, encloses, step_of)
        self._entries.add(block)
        return event

    # A decorator.

    def __call__(self, function: FunctionT) -> FunctionT:
        """
        Record each call of *function*.
        """
        decorated: FunctionT = wrap(function, self._make_begin)
        return decorated

    def _make_begin(self, function: Callable[..., Any], is_generator: bool) -> Begin:
        session, blocks, push = self._session, self._blocks, self._push
        cls, encloses = self._cls, self._encloses
        fields = {"event_name": name_of(function), **self._fields}
        bind = make_binder(function) if self._captures_inputs else None
        output = ("outputs" if encloses else "response") if self._captures_outputs else ""

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
            event: Any = cls(**fields)
            if bind is not None:
                try:
                    inputs = bind(*args, **kwargs)
                except BaseException as exc:  # they don't fit, as the function itself will say
                    let_through(exc)
                    inputs = list_all(*args, **kwargs)
                if not encloses and type(inputs.get("messages")) is list:
                    _take_messages(event, inputs)
                if event.inputs is None:
                    event.inputs = inputs
            yielded = _expect_items(event, output) if is_generator else None
            call = _Call(event, session, blocks, push, encloses, 0, is_generator)
            call._output, call._yielded = output, yielded
            return call

        return begin


explain(Recording, ModelCall, Step)


class _Call(Block):
    """
    One call of a decorated function.
    """

    __slots__ = ("_output", "_yielded")
    _output: str
    """The field of the event that takes the result; empty if none does."""
    _yielded: Yielded | None
    """What it has yielded, if that is the result."""

    def resumed(self) -> AbstractContextManager[None]:
        return Resumed(self) if self.is_open else nullcontext()

    def note(self, item: object) -> None:
        if self._yielded is not None:
            self._yielded.add(item)

    def end_with(self, result: object) -> None:
        event, output = self.event, self._output
        if output == "outputs":
            if event.outputs is None:
                event.outputs = result if type(result) is dict else as_object(result)
        elif output and event.response is None:
            event.response = result
        self.end()


def _expect_items(event: Any, output: str) -> Yielded | None:
    """
    Have *event* hold what a generator yields, so far as it came at each moment.
    """
    if not output or getattr(event, output) is not None:
        return None
    yielded = Yielded()
    setattr(event, output, {"result": yielded.items} if output == "outputs" else yielded.items)
    return yielded


def _take_messages(event: ModelEvent, inputs: dict[str, Any]) -> None:
    messages = inputs.pop("messages")
    if event.messages is None:
        event.messages = messages
