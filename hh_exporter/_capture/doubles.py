"""
One call, one event: spans that tell of the same call of a model are joined.

Two instrumentations, of a framework and of the client that it uses, or the client's own, make
a span each. They end within moments, the inner one first. So a call waits here for a second,
and longer while a call around it has not ended. Joined are those that have one response id of
the provider, and those of which one encloses the other. The one that says the most counts;
what it leaves open, the others say.

Pure: callers say what time it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Final

from attrs import Factory, define, field, fields

from hh_exporter._recording.scopes import Scope
from hh_exporter.events import ModelEvent

__all__ = ["HOLD", "Call", "Doubles"]

HOLD: Final = 1.0
"""Seconds for which a call waits for another span of it, and is known after it was sent."""
_MAX_HELD: Final = 1_000
"""Calls that wait; the oldest is sent if there are more."""

_PLACE: Final = ("event_id", "session_id", "parent_id")
_FILLED: Final = tuple(
    each.name for each in fields(ModelEvent) if each.name not in (*_PLACE, "event_name")
)


@define(eq=False)
class Call:
    """
    A call of a model that has ended.
    """

    span_id: int
    event: ModelEvent
    scope: Scope | None = None
    """The session or step of the exporter that encloses it."""
    around: int | None = None
    """The span of the call around it, which has not ended."""
    response_id: str | None = None
    due: float = field(default=inf, init=False)
    joined: list[int] = field(factory=list, init=False)
    """Other spans that it was told in, too."""

    @property
    def richness(self) -> tuple[int, int, int]:
        """
        How much it says: messages and answer first, then the counts.
        """
        event = self.event
        return (
            sum(map(bool, (event.messages, event.response))),
            len(event.usage or ()),
            sum(map(bool, (event.tools, event.hyperparameters, event.metrics, event.error))),
        )


@define(eq=False)
class Doubles:
    """
    Calls that wait for another span of the same call.
    """

    _held: dict[int, Call] = Factory(dict)
    """By the span of each, the oldest first."""
    _inside: dict[int, list[Call]] = Factory(dict)
    """Those that are held, by the call around them."""
    _by_response: dict[str, Call] = Factory(dict)
    """Those that are held, by response id."""
    _sent: dict[str, float] = Factory(dict)
    """Response ids of calls that were sent, and until when they are known."""

    def __len__(self) -> int:
        return len(self._held)

    def add(self, call: Call, now: float) -> Call | None:
        """
        Hold *call*, joined with what is held of the same call.

        Returns:
            What is held now; None if the call was sent a moment ago.
        """
        self._forget(now)
        response_id = call.response_id
        if response_id is not None and self._sent.get(response_id, -inf) > now:
            return None
        call.due = inf if call.around is not None else now + HOLD
        same = self._inside.pop(call.span_id, [])
        if response_id is not None and (held := self._by_response.get(response_id)) is not None:
            same = [*same, held] if held not in same else same
        for other in same:
            self._drop(other)
            call = _join(call, other)
        self._held[call.span_id] = call
        if call.around is not None:
            self._inside.setdefault(call.around, []).append(call)
        if call.response_id is not None:
            self._by_response[call.response_id] = call
        return call

    def leave(self, span_id: int, now: float) -> None:
        """
        Note that a span is no call that others wait for: it was something else, or never ends.
        """
        for call in self._inside.pop(span_id, ()):
            call.around, call.due = None, now + HOLD

    def due(self) -> float | None:
        """
        When the next call is to be sent; None if none waits for a time.
        """
        return min((call.due for call in self._held.values() if call.due < inf), default=None)

    def take(self, now: float, *, all_of_them: bool = False) -> Iterator[Call]:
        """
        Take those that have waited for long enough, or all.
        """
        for call in tuple(self._held.values()):
            if all_of_them or call.due <= now or len(self._held) > _MAX_HELD:
                if call.span_id not in self._held:
                    continue  # taken by who interrupted this
                self._drop(call)
                if call.response_id is not None:
                    self._sent[call.response_id] = now + HOLD
                yield call

    def _drop(self, call: Call) -> None:
        self._held.pop(call.span_id, None)
        if self._by_response.get(call.response_id or "") is call:
            del self._by_response[call.response_id or ""]
        if call.around is not None and call in (beside := self._inside.get(call.around, [])):
            beside.remove(call)
            if not beside:
                del self._inside[call.around]

    def _forget(self, now: float) -> None:
        while self._sent:
            response_id = next(iter(self._sent))
            if self._sent[response_id] > now:
                return
            del self._sent[response_id]


def _join(new: Call, held: Call) -> Call:
    """
    Make one call of two: what the richer one says, in the place of the outer one.

    Of two that don't enclose each other, as in the two traces of LangChain and its client, the one
    that has a parent counts as the outer one.
    """
    outer, inner = new, held
    if new.around == held.span_id or (held.around != new.span_id and new.event.parent_id is None):
        outer, inner = held, new
    if _went_well(outer.event) and not inner.event.response:
        inner.event.error = None  # of a try, after which another one was answered
    rich, poor = (outer, inner) if outer.richness >= inner.richness else (inner, outer)
    for name in _FILLED:
        if getattr(rich.event, name) is None:
            setattr(rich.event, name, getattr(poor.event, name))
    for name in _PLACE:
        setattr(rich.event, name, getattr(outer.event, name))
    outer.event = rich.event
    outer.scope = outer.scope or inner.scope
    outer.response_id = outer.response_id or inner.response_id
    outer.joined += [inner.span_id, *inner.joined]
    outer.due = inf if outer.around is not None else min(outer.due, inner.due)
    return outer


def _went_well(event: ModelEvent) -> bool:
    return bool(event.response) and event.error is None
