"""
The updates that a story makes, and what the server takes of them.

Each has a number, in the order of the calls, and says it in each way in which updates are
merged: by a key of its own, by a key that all have, as a whole, and as a plain value. So a
body tells which ones it was made of.

By design no order is promised beyond this: what outlives its process comes back from disk in
the order that it has there; among several processes, and of events that another process
pushed, there is none. An update whose answer nobody could read is sent again, and so may come
behind later ones that the server had from the same body.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import Factory, define, frozen

from tests.scripted_server import Event

__all__ = ["Update", "Updates", "mark_of", "marks_of", "merge", "numbers_in", "say", "update_of"]

_WHOLE = ("outputs",)
"""What the server replaces, where it merges all other objects key by key."""


def update_of(event_id: str) -> str:
    """
    Name what is counted of the updates of an event, all together.
    """
    return f"update of {event_id}"


def say(number: int, mark: str = "good", padding: str = "") -> dict[str, Any]:
    """
    Make the fields of an update.
    """
    return {
        "feedback": {f"{mark}-{number}": number, "last": number},
        "outputs": {"last": number},
        "metadata": {"last": number, "padding": padding},
        "duration": number,
    }


def numbers_in(body: Event) -> list[int]:
    """
    List the updates that a body was made of.
    """
    return [number for key, number in body["feedback"].items() if key != "last"]


def marks_of(body: Event) -> set[str]:
    return {key.partition("-")[0] for key in body["feedback"] if key != "last"}


def mark_of(feedback: Any) -> str:
    mark: str = next(iter(feedback)).partition("-")[0]
    return mark


def merge(bodies: Iterable[Event]) -> Event:
    """
    Say what an event has after *bodies*, one after the other.
    """
    merged: Event = {}
    for body in bodies:
        for name, said in body.items():
            is_merged = isinstance(said, dict) and name not in _WHOLE
            merged[name] = {**merged.get(name, {}), **said} if is_merged else said
    return merged


@frozen
class Update:
    """
    One of them.

    Attributes:
        said: What the server may see of it.
        due: How many outcomes its event had to have before: as often was it pushed by then.
    """

    number: int
    event_id: str
    said: Event
    due: int


@define(eq=False)
class Updates:
    """
    All that one exporter was given.
    """

    made: dict[int, Update] = Factory(dict)
    taken: defaultdict[str, list[Event]] = Factory(lambda: defaultdict(list))
    """What the server has of each event's updates, in order of arrival."""
    unsure: set[int] = Factory(set)
    """Those whose answer may not have been read: they may be sent again."""
    repeated: set[str] = Factory(set)
    """Events that had some of these."""

    def note(self, event_id: str, said: Event, due: int) -> None:
        """
        Note the next one, before the call.
        """
        number = len(self.made) + 1
        self.made[number] = Update(number, event_id, {"event_id": event_id, **said}, due)

    def complain(self, body: Event, ended: Callable[[str], int]) -> Iterator[str]:
        """
        List what is wrong with a body that arrives.

        Args:
            ended: Counts the outcomes of an event so far.
        """
        numbers, event_id = numbers_in(body), body["event_id"]
        for number in numbers:
            if ended(event_id) < self.made[number].due:
                yield f"update {number} overtakes {event_id}"
        if body != merge(self.made[number].said for number in sorted(numbers)):
            yield f"not as it was said: {body}"
        had = {number for one in self.taken[event_id] for number in numbers_in(one)}
        later = {n for n in had - self.unsure if n > min(numbers)}.difference(numbers)
        if later:
            yield f"updates {numbers} of {event_id} come behind {later}"

    def take(self, body: Event, *, is_sure: bool) -> None:
        """
        Note what the server has from now on; it *is_sure* if the exporter will learn that.
        """
        self.taken[body["event_id"]].append(body)
        if is_sure:
            self.unsure.difference_update(numbers_in(body))
        else:
            self.doubt(numbers_in(body))

    def doubt(self, numbers: Iterable[int]) -> None:
        """
        Note that it may never be known whether the server has these.
        """
        self.unsure.update(numbers)
        self.repeated.update(self.made[number].event_id for number in numbers)

    def check(self) -> None:
        """
        Check that what the server has is what the calls say, one after the other.
        """
        for event_id, bodies in self.taken.items():
            numbers = sorted({number for body in bodies for number in numbers_in(body)})
            said = merge(self.made[number].said for number in numbers)
            if event_id not in self.repeated:
                assert merge(bodies) == said, f"{event_id}: {bodies}"
