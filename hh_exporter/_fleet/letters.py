"""
Dead letters, on their way to the stream that keeps them.

A dead letter is the message as it came, with headers that say why it died. The event itself is
acknowledged once that stream has acknowledged the letter, and not before: if that is full or
away, both wait. Pure: callers say what time it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import orjson
from attrs import Factory, define, field, frozen

from hh_exporter._fleet.hand import InHand
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._transport.nats import Message

__all__ = ["ANSWER", "OUTCOME", "REASON", "STATUS", "Fate", "Letters"]

OUTCOME: Final = "Hh-Outcome"
REASON: Final = "Hh-Reason"
STATUS: Final = "Hh-Status"
ANSWER: Final = "Hh-Answer"
"""The server's own words, quoted as in an address: a header has no line ends."""

_ID: Final = "Nats-Msg-Id"
_OURS: Final = "Hh-"
"""What the headers begin with that a message keeps; others speak to the stream."""

_MOST_WORDS: Final = 4096
"""Bytes of the server's words."""
_READABLE: Final = " !#$&'()*+,/:;=?@[]{}<>\"|^`"
_MOST_HEADERS: Final = 48_000
"""Bytes of headers that a stream certainly takes."""

_PATIENCE: Final = 5.0
"""Seconds after which a letter is published again that nobody acknowledged."""
_PAUSE: Final = 2.0
"""Seconds after which it is published again if it was refused."""


@frozen(kw_only=True)
class Fate:
    """
    Why a record died.
    """

    outcome: Outcome
    reason: DropReason | None
    status: int | None
    answer: str = field(repr=False)


@define(eq=False)
class _Letter:
    held: InHand
    fate: Fate
    due_at: float


@define(eq=False)
class Letters:
    """
    Those that the stream does not have yet, by the sequences of their messages.
    """

    fault: str = ""
    """Why the last one could not be stored; empty once one was."""
    sent: int = 0
    """How many the stream has."""
    _waiting: dict[int, _Letter] = Factory(dict)

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._waiting

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
            (each.held.sequence, each.held.data, _write(each.held, each.fate, max_payload))
            for each in due
        ]

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


def _write(held: InHand, fate: Fate, max_payload: int) -> dict[str, str]:
    name, _, check = held.headers.get(_ID, f"{held.record.event_id}/").rpartition("/")
    headers = {
        # The same whoever publishes it, and however often.
        _ID: f"{name}/dead.{held.sequence}.{check}",
        OUTCOME: fate.outcome.value,
        **{key: value for key, value in held.headers.items() if key.startswith(_OURS)},
    }
    if fate.reason is not None:
        headers[REASON] = fate.reason.value
    if fate.status is not None:
        headers[STATUS] = str(fate.status)
    if fate.answer:
        words = fate.answer.encode("utf-8", "replace")[:_MOST_WORDS]
        answer = quote(words.decode("utf-8", "ignore").strip(), safe=_READABLE)
        size = _size(headers) + len(answer) + len(ANSWER) + 4
        if size <= min(_MOST_HEADERS, max_payload - len(held.data)):
            headers[ANSWER] = answer
    return headers


def _size(headers: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items()) + 16


def _fault(message: Message) -> str:
    """
    Say why a letter was not stored; empty if it was.
    """
    if not message.data:
        return "no stream takes dead letters, or it has no leader"
    try:
        answer = orjson.loads(message.data)
    except orjson.JSONDecodeError:
        return "what answers is not JetStream"
    error = answer.get("error") if isinstance(answer, dict) else {}
    if error is None:
        return ""
    return f"{error.get('description', 'an error')} ({error.get('err_code', 0)})"
