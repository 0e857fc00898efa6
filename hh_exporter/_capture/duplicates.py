"""
One call, one event: spans of the same call of a model are joined.

A framework and its client, or a client and its instrumentation, may make a span each. They end
within moments of each other, the inner one first. So a call is held for a second, and longer
while a call around it has not ended. Calls are joined if they have the provider's response id in
common, or if one encloses the other. The richest one counts; the others fill in what it lacks. A
span that ends once the call was sent adds nothing.

The rule: calls that enclose each other have the event id of the outermost one from the beginning,
so what is inside any of them has a parent, whichever is sent.

Pure: callers say what time it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import inf
from typing import Final

from attrs import Factory, define, field, fields

from hh_exporter._recording.scopes import Scope
from hh_exporter.events import ModelEvent

__all__ = ["HOLD", "LONGEST", "Call", "Duplicates", "Reported"]

HOLD: Final = 1.0
"""Seconds for which a call waits for another span of it, and is known after it was sent."""
LONGEST: Final = 60.0
"""Seconds for which it waits while a call around it has not ended: that may never end."""
_MAX_HELD: Final = 1_000
"""Calls that wait; the oldest is sent if there are more."""
_MAX_SENT: Final = 10_000
"""Calls that were sent and are known; the oldest are forgotten."""

_PLACE: Final = ("event_id", "session_id", "parent_id")
_FILLED: Final = tuple(
    each.name for each in fields(ModelEvent) if each.name not in (*_PLACE, "event_name")
)


@define(eq=False, repr=False)
class Call:
    """
    A call of a model that has ended.
    """

    span_id: int
    event: ModelEvent
    scope: Scope | None = None
    """The session or step of the exporter that encloses it, if any."""
    around: int | None = None
    """The span of the call around it."""
    response_id: str | None = None
    own_place: tuple[str | None, str | None] = field(kw_only=True)
    """The ids of its event and of its parent, if no call is around it after all."""
    due: float = field(default=inf, init=False)
    joined: list[int] = field(factory=list, init=False)
    """The other spans of the same call."""

    @own_place.default
    def _place_now(self) -> tuple[str | None, str | None]:
        return self.event.event_id, self.event.parent_id

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


@define(eq=False, repr=False)
class Reported:
    """
    Spans, and the event that reports them.
    """

    event_id: str
    span_ids: list[int]


@define(eq=False, repr=False)
class _Known:
    """
    A call that was sent.
    """

    event_id: str
    until: float


@define(eq=False, repr=False)
class Duplicates:
    """
    Calls that wait for another span of the same call.
    """

    is_parent: Callable[[str], bool] = lambda _: False
    """Whether another event named that one as its parent."""
    _held: dict[int, Call] = Factory(dict)
    """By the span of each, the oldest first."""
    _by_span: dict[int, Call] = Factory(dict)
    """Those that are held, by all spans that they report."""
    _inside: dict[int, list[Call]] = Factory(dict)
    """Those that are held, by the call around them."""
    _by_response: dict[str, Call] = Factory(dict)
    """Those that are held, by response id."""
    _sent: OrderedDict[str | int, _Known] = Factory(OrderedDict)
    """By response id, known for a moment, and by the span ids that were reported or were around."""

    def __len__(self) -> int:
        return len(self._held)

    def add(self, call: Call, now: float) -> Reported:
        """
        Hold *call*, joined with what is held of the same call, unless that was sent already.

        Returns:
            The event that reports it, and the spans that this one reports from now on.
        """
        known = self._find_sent(call, now)
        if known is not None:
            self._note(call.span_id, known.event_id)  # for calls inside that end later still
            return Reported(known.event_id, [call.span_id])
        call.due = now + (HOLD if call.around is None else LONGEST)
        same = self._inside.get(call.span_id, []).copy()
        around = self._by_span.get(call.around or 0)
        for other in (around, self._by_response.get(call.response_id or "")):
            if other is not None and other not in same:
                same.append(other)
        for other in same:
            self._drop(other)
            named = [each for each in map(_id_of, (call, other)) if self.is_parent(each)]
            call = _join(call, other)
            if len(named) == 1:  # who named it finds it
                [call.event.event_id] = named
        self._keep(call)
        return Reported(_id_of(call), [call.span_id, *call.joined])

    def leave(self, span_id: int, now: float) -> list[Reported]:
        """
        Note that a span is no call, so calls inside it no longer wait for it.

        Returns:
            The events that report these from now on.
        """
        reported: list[Reported] = []
        for call in self._inside.pop(span_id, ()):
            call.around, call.due = None, now + HOLD
            call.event.event_id, call.event.parent_id = call.own_place
            reported.append(Reported(_id_of(call), [call.span_id, *call.joined]))
        return reported

    def give_up(self, span_id: int, now: float) -> None:
        """
        Note that a span never ends: the calls that wait for it take its place.
        """
        for call in self._inside.get(span_id, ()):
            call.due = now

    def due(self) -> float | None:
        """
        When the next call is to be sent; None if none waits.
        """
        return min((call.due for call in self._held.values()), default=None)

    def take(self, now: float, *, all_of_them: bool = False) -> Iterator[Call]:
        """
        Take those that are due, or all.
        """
        for call in tuple(self._held.values()):
            if not (all_of_them or call.due <= now or len(self._held) > _MAX_HELD):
                continue
            if call.span_id not in self._held:
                continue  # taken by who interrupted this
            self._drop(call)
            self._note_sent(call, now)
            yield call

    def _keep(self, call: Call) -> None:
        self._held[call.span_id] = call
        self._by_span.update(dict.fromkeys((call.span_id, *call.joined), call))
        if call.around is not None:
            self._inside.setdefault(call.around, []).append(call)
        if call.response_id is not None:
            self._by_response[call.response_id] = call

    def _drop(self, call: Call) -> None:
        self._held.pop(call.span_id, None)
        for span_id in (call.span_id, *call.joined):
            self._by_span.pop(span_id, None)
        if self._by_response.get(call.response_id or "") is call:
            del self._by_response[call.response_id or ""]
        if call.around is not None and call in (beside := self._inside.get(call.around, [])):
            beside.remove(call)
            if not beside:
                del self._inside[call.around]

    def _find_sent(self, call: Call, now: float) -> _Known | None:
        for key in (call.span_id, call.around, call.response_id):
            known = None if key is None else self._sent.get(key)
            if known is not None and known.until > now:
                return known
        return None

    def _note_sent(self, call: Call, now: float) -> None:
        event_id = _id_of(call)
        for span_id in (call.span_id, call.around, *call.joined):
            if span_id is not None:
                self._note(span_id, event_id)
        if call.response_id is not None:
            self._note(call.response_id, event_id, now + HOLD)

    def _note(self, key: str | int, event_id: str, until: float = inf) -> None:
        self._sent[key] = _Known(event_id, until)
        if len(self._sent) > _MAX_SENT:
            self._sent.popitem(last=False)  # unlike next and del, as fast however often


def _id_of(call: Call) -> str:
    assert call.event.event_id is not None  # noqa: S101 - each event of a span has one
    return call.event.event_id


def _join(new: Call, held: Call) -> Call:
    """
    Make one call of two: what the richer one says, in the place of the outer one.

    Of two that don't enclose each other, as in the two traces of LangChain and its client, the one
    that has a parent counts as the outer one.
    """
    is_inside = new.around in (held.span_id, *held.joined)
    outer, inner = (held, new) if is_inside or _place(held) > _place(new) else (new, held)
    if held.around == new.span_id:
        outer, inner = new, held
    if _went_well(outer.event) and not inner.event.response:
        inner.event.error = None  # of a try, after which another one was answered
    rich, poor = (outer, inner) if outer.richness >= inner.richness else (inner, outer)
    place = [getattr(outer.event, name) for name in _PLACE]
    _fill(rich.event, poor.event)
    for name, value in zip(_PLACE, place, strict=True):
        setattr(rich.event, name, value)
    outer.event = rich.event
    outer.scope = outer.scope or inner.scope
    outer.response_id = outer.response_id or inner.response_id
    outer.joined += [inner.span_id, *inner.joined]
    outer.due = outer.due if outer.around is not None else min(outer.due, inner.due)
    return outer


def _place(call: Call) -> tuple[bool, bool]:
    """
    How much is known of where a call belongs.
    """
    return call.around is not None, call.event.parent_id is not None


def _fill(rich: ModelEvent, poor: ModelEvent) -> None:
    """
    Add to *rich* what it leaves open, and *poor* says; objects of the two are joined.
    """
    for name in _FILLED:
        own, other = getattr(rich, name), getattr(poor, name)
        if own is None:
            setattr(rich, name, other)
        elif isinstance(own, dict) and isinstance(other, dict) and name != "response":
            setattr(rich, name, {**other, **own})


def _went_well(event: ModelEvent) -> bool:
    return bool(event.response) and event.error is None
