"""
Dead letters, on their way to the stream that keeps them.

The event itself is acknowledged once that stream has acknowledged the letter, and not before: if
that is full or away, both wait. Pure: callers say what time it is.
"""

from __future__ import annotations

from typing import Final

from attrs import Factory, define

from hh_exporter._fleet.hand import InHand
from hh_exporter._fleet.letter import Fate, write_letter
from hh_exporter._transport.answers import is_acknowledged, read_object
from hh_exporter._transport.nats import Message

__all__ = ["Outbox"]

_PATIENCE: Final = 5.0
"""Seconds after which a letter is published again that nobody acknowledged."""
_PAUSE: Final = 2.0
"""Seconds after which it is published again if it was refused."""


@define(eq=False)
class _Letter:
    held: InHand
    fate: Fate
    due_at: float


@define(eq=False)
class Outbox:
    """
    The dead letters that the stream does not have yet, by the sequences of their messages.
    """

    relay: str
    """Which relay writes them."""
    fault: str = ""
    """Why the last one could not be stored; empty once one was."""
    sent: int = 0
    """How many the stream has."""
    _waiting: dict[int, _Letter] = Factory(dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, held: InHand, fate: Fate, now: float) -> None:
        self._waiting[held.sequence] = _Letter(held, fate, now)

    def pop(self, now: float, max_payload: int) -> list[tuple[int, bytes, dict[str, str]]]:
        """
        Take what is to be published now: sequence, data and headers.
        """
        due = [letter for letter in self._waiting.values() if letter.due_at <= now]
        for letter in due:
            letter.due_at = now + _PATIENCE
        return [
            (each.held.sequence, each.held.data, self._write(each, max_payload)) for each in due
        ]

    def _write(self, letter: _Letter, max_payload: int) -> dict[str, str]:
        held = letter.held
        return write_letter(
            held.headers,
            letter.fate,
            event_id=held.record.event_id,
            sequence=held.sequence,
            published_at=held.published_at,
            relay=self.relay,
            room=max_payload - len(held.data),
        )

    def look_at(self) -> float:
        """
        Say when to call `pop` again.
        """
        return min([letter.due_at for letter in self._waiting.values()], default=float("inf"))

    def note_answer(self, sequence: int, message: Message, now: float) -> InHand | None:
        """
        Note what came back for one.

        Returns:
            What may be acknowledged now, if the stream has it.
        """
        letter = self._waiting.get(sequence)
        if letter is None:
            return None
        self.fault = _fault(message)
        if self.fault:
            letter.due_at = now + _PAUSE
            return None
        del self._waiting[sequence]
        self.sent += 1
        return letter.held

    def repeat_all(self, now: float) -> None:
        """
        Have all published now: there is another connection.
        """
        for letter in self._waiting.values():
            letter.due_at = now

    def drain(self) -> list[InHand]:
        """
        Give up all that wait.
        """
        left = [letter.held for letter in self._waiting.values()]
        self._waiting.clear()
        return left


def _fault(message: Message) -> str:
    """
    Say why a letter was not stored; empty if it was.
    """
    if not message.data:
        return "no stream takes dead letters, or it has no leader"
    answer = read_object(message.data) or {}
    error = answer.get("error")
    if not isinstance(error, dict):
        return "" if is_acknowledged(answer) else "what answers is no stream"
    return f"{error.get('description', 'an error')} ({error.get('err_code', 0)})"
