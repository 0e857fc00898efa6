"""
Acknowledgements, until the server confirms them.

An acknowledgement is a request, which an empty message answers. One that is not answered is
repeated after a while, or at once on another connection, but never while another one is under
way: of two at a time the server answers one. Even then no answer proves nothing, so what is
acknowledged stays remembered: when it comes again, it is acknowledged again, and never sent.
Pure: callers say what time it is.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from math import inf
from typing import Final

from attrs import Factory, define

__all__ = ["Acks"]

_PATIENCE: Final = 5.0
"""Seconds after which an acknowledgement is repeated: elections take as long."""
_AGAIN: Final = 1.0
"""Seconds after which it is repeated where nobody was there to confirm it."""

_REMEMBERED: Final = 10_000


@define(eq=False)
class Acks:
    """
    The acknowledgements of one relay, by the sequences of messages.
    """

    repeated: int = 0
    """How often one had to be repeated."""
    _replies: dict[int, str] = Factory(dict)
    """Subjects of those that are not confirmed."""
    _due: deque[int] = Factory(deque)
    """Those that are to be sent now."""
    _sent: OrderedDict[int, float] = Factory(OrderedDict)
    """Those under way, and when they are to be repeated, the first one first."""
    _confirmed: OrderedDict[int, float] = Factory(OrderedDict)
    """The latest ones that are confirmed, and when those messages were published."""

    @property
    def unconfirmed(self) -> int:
        return len(self._replies)

    def add(self, sequence: int, reply: str) -> None:
        """
        Have a message acknowledged.
        """
        if sequence not in self._replies:
            self._due.append(sequence)
        self._replies[sequence] = reply

    def add_again(self, sequence: int, reply: str) -> bool:
        """
        Have a message that came again acknowledged again, if it was before.

        Returns:
            Whether it was.
        """
        if sequence not in self._replies and sequence not in self._confirmed:
            return False
        self._confirmed.pop(sequence, None)
        self.add(sequence, reply)
        return True

    def pop(self, now: float) -> list[tuple[int, str]]:
        """
        Take those that are to be sent now: sequence and subject.
        """
        while self._sent:
            sequence, at = next(iter(self._sent.items()))
            if at > now:
                break
            self._repeat(sequence)
        taken = [sequence for sequence in self._due if sequence in self._replies]
        self._due.clear()
        self._sent.update(dict.fromkeys(taken, now + _PATIENCE))
        return [(sequence, self._replies[sequence]) for sequence in taken]

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._replies

    def look_at(self) -> float:
        """
        Say when to call `pop` again; -inf for now.
        """
        return -inf if self._due else next(iter(self._sent.values()), inf)

    def published_at(self, sequence: int) -> float | None:
        """
        Say when a message was published, in Unix time, that is acknowledged and confirmed.
        """
        return self._confirmed.get(sequence)

    def confirm(self, sequence: int, published_at: float) -> None:
        """
        Note that the server confirmed one.
        """
        if self._replies.pop(sequence, None) is not None:
            self._sent.pop(sequence, None)
            self._confirmed[sequence] = published_at
            while len(self._confirmed) > _REMEMBERED:
                self._confirmed.popitem(last=False)

    def miss(self, sequence: int, now: float) -> None:
        """
        Note that nobody was there to confirm one.
        """
        if sequence in self._sent:
            self._sent[sequence] = now + _AGAIN
            self._sent.move_to_end(sequence, last=False)

    def repeat_all(self) -> None:
        """
        Have all repeated now: there is another connection.
        """
        for sequence in tuple(self._sent):
            self._repeat(sequence)

    def clear(self) -> None:
        """
        Forget all: their stream is gone.
        """
        for each in (self._replies, self._due, self._sent, self._confirmed):
            each.clear()

    def _repeat(self, sequence: int) -> None:
        del self._sent[sequence]
        self._due.append(sequence)
        self.repeated += 1
