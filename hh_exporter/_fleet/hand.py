"""
The messages that the consumer has given us, until they are done with.

The server is told of each, three times within ack_wait, that we still have it. One that it has
heard nothing of for longer, as over a cut network, has lapsed: it may be another relay's by now,
and must neither be sent from here, nor taken from that one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from math import inf
from typing import Final, TypeAlias

from attrs import Factory, define, field

from hh_exporter._records import Record

__all__ = ["Hand", "InHand", "Out", "Prefixes"]

Out: TypeAlias = tuple[str, bytes, str, dict[str, str] | None]
"""What is to be published: subject, data, reply and headers."""

_TIMES: Final = 3
"""How often within ack_wait the server is told that we have a message."""


@define
class Prefixes:
    """
    What the subjects begin with on which answers arrive, over one connection.
    """

    pulls: str
    acks: str
    letters: str


@define(eq=False)
class InHand:
    """
    A message in hand.
    """

    sequence: int
    reply: str
    """The subject on which its last delivery is acknowledged."""
    published_at: float
    """Unix time."""
    record: Record
    data: bytes = field(repr=False)
    """As it came."""
    headers: Mapping[str, str] = field(repr=False)
    touched_at: float
    """When the server was told last that it is in hand: then ack_wait begins anew."""
    has_lapsed: bool = False
    """Whether it may be another relay's; until it comes again."""


@define(eq=False)
class Hand:
    """
    All messages in hand.
    """

    ack_wait: float = 60.0
    """Seconds after which the server gives a message to another relay if it hears nothing."""
    _all: dict[int, InHand] = Factory(dict)
    """By sequence."""
    _open: dict[Record, InHand] = Factory(dict)
    """Those without an outcome."""
    _touches: OrderedDict[int, float] = Factory(OrderedDict)
    """When the server is told again that we have them, the first one first."""
    _lapsed: set[InHand] = Factory(set)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def open(self) -> int:
        """
        How many have no outcome.
        """
        return len(self._open)

    def find(self, sequence: int) -> InHand | None:
        return self._all.get(sequence)

    def of(self, record: Record) -> InHand | None:
        """
        Find the message of a record without an outcome.
        """
        return self._open.get(record)

    def add(self, held: InHand, *, is_open: bool) -> None:
        """
        Have another one in hand.

        Args:
            is_open: Whether it has no outcome yet.
        """
        self._all[held.sequence] = held
        self._plan(held)
        if is_open:
            self._open[held.record] = held

    def close(self, record: Record) -> InHand | None:
        """
        Note that a record has its outcome; its message stays in hand until `remove`.
        """
        return self._open.pop(record, None)

    def remove(self, sequence: int) -> None:
        """
        Note that a message is done with, or given back.
        """
        self._touches.pop(sequence, None)
        if (held := self._all.pop(sequence, None)) is not None:
            self._open.pop(held.record, None)
            self._lapsed.discard(held)

    def clear(self) -> None:
        """
        Forget all: their stream is gone.
        """
        for each in (self._all, self._open, self._touches, self._lapsed):
            each.clear()

    def come_again(self, held: InHand, reply: str, now: float) -> None:
        """
        Note that the server has given us a message once more.
        """
        held.reply, held.touched_at, held.has_lapsed = reply, now, False
        self._lapsed.discard(held)
        self._plan(held)

    def lapse(self, now: float) -> list[InHand]:
        """
        Find those without an outcome that have lapsed.
        """
        while self.lapses_at() <= now:  # those behind were touched later
            sequence = next(iter(self._touches))
            held = self._all[sequence]
            held.has_lapsed = True
            self._lapsed.add(held)
            del self._touches[sequence]
        return [held for held in self._lapsed if held.record in self._open]

    def lapses_at(self) -> float:
        """
        Say when the next one lapses if nothing is heard of it.
        """
        first = next(iter(self._touches), None)
        return inf if first is None else self._all[first].touched_at + self.ack_wait

    def touch(self, now: float) -> list[InHand]:
        """
        Take those that the server is to be told of now.
        """
        self.lapse(now)
        due: list[InHand] = []
        for sequence, at in self._touches.items():
            if at > now:
                break
            due.append(self._all[sequence])
        for held in due:
            held.touched_at = now
            self._plan(held)
        return due

    def touch_all(self) -> None:
        """
        Have the server told of all now.
        """
        self._touches.update(dict.fromkeys(self._touches, -inf))

    def _plan(self, held: InHand) -> None:
        self._touches[held.sequence] = held.touched_at + self.ack_wait / _TIMES
        self._touches.move_to_end(held.sequence)

    def look_at(self) -> float:
        """
        Say when to call `touch` again.
        """
        return next(iter(self._touches.values()), inf)
