"""
A dead letter as a message of the stream that keeps them: relays write it, operators read it.

It holds what the event's message held, and its headers; more of them say why it died. What a
server said is percent-quoted in one of them, since a header has no line ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from attrs import field, frozen

from hh_exporter._dialects.messages import ID, MOST_HEADERS, read_message
from hh_exporter._outcomes import DropReason, Outcome
from hh_exporter._records import MAIN

__all__ = ["DeadLetter", "Fate", "read_letter", "revive_letter", "write_letter"]

_OURS: Final = "Hh-"
"""What the headers begin with that an event keeps; others speak to the stream."""

_OUTCOME: Final = "Hh-Outcome"
_REASON: Final = "Hh-Reason"
_STATUS: Final = "Hh-Status"
_ANSWER: Final = "Hh-Answer"
_RELAY: Final = "Hh-Relay"
_PUBLISHED: Final = "Hh-Published"
_ADDED: Final = frozenset({_OUTCOME, _REASON, _STATUS, _ANSWER, _RELAY, _PUBLISHED})

_MOST_WORDS: Final = 4096
"""Bytes of the server's words."""
_READABLE: Final = " !#$&'()*+,/:;=?@[]{}<>\"|^`"
"""What is not quoted of them, beside letters and digits."""


@frozen(kw_only=True)
class Fate:
    """
    Why a record died.
    """

    outcome: Outcome
    reason: DropReason | None
    status: int | None
    answer: str = field(repr=False)


@frozen(kw_only=True)
class DeadLetter:
    """
    A dead letter as its stream has it.
    """

    sequence: int
    """Its place in the stream."""
    dialect: str
    event_id: str
    data: bytes = field(repr=False)
    """The record's bytes; all that the message holds, where it is none of ours."""
    route: str
    session_id: str | None
    """The session that it was to announce."""
    session: bytes | None = field(repr=False)
    published_at: float | None
    """Unix time at which the event came to the stream of events; None if that is not known."""
    died_at: float
    """Unix time at which the letter came to its stream."""
    outcome: str
    reason: str
    """Why it was dropped; empty if it was rejected."""
    status: int | None
    """The HTTP status that decided it."""
    answer: str = field(repr=False)
    """The server's own words, which can echo a prompt."""
    relay: str
    """Which relay had it; empty if it did not say."""

    @property
    def pushed_at(self) -> float:
        """
        Unix time that counts as its event's: when that came to the stream, else when it died.
        """
        return self.died_at if self.published_at is None else self.published_at


def write_letter(
    headers: Mapping[str, str],
    fate: Fate,
    *,
    event_id: str,
    sequence: int,
    published_at: float,
    relay: str,
    room: int = MOST_HEADERS,
) -> dict[str, str]:
    """
    Make the headers of a letter; it holds what the event's message held.

    Args:
        headers: Those of the event's message.
        fate: Why it died.
        event_id: Stands in the letter's id where the message has none.
        sequence: Of the message, so that whoever publishes the letter, and however often, it is
            stored once; and once more where the event is published again and dies again.
        published_at: Unix time at which the stream of events stored the message.
        relay: Which relay writes.
        room: Bytes that headers may take; the server's words are left out rather than more.
    """
    name, _, check = headers.get(ID, f"{quote(event_id, '')}/").rpartition("/")
    written = {
        **{key: value for key, value in headers.items() if key.startswith(_OURS)},
        ID: f"{name}/dead.{sequence}.{check.rpartition('.')[2]}",
        _OUTCOME: fate.outcome.value,
        _PUBLISHED: f"{published_at:.3f}",
        _RELAY: quote(relay, ""),
    }
    if fate.reason is not None:
        written[_REASON] = fate.reason.value
    if fate.status is not None:
        written[_STATUS] = str(fate.status)
    if fate.answer:
        words = fate.answer.encode("utf-8", "replace")[:_MOST_WORDS].decode("utf-8", "ignore")
        answer = quote(words.strip(), safe=_READABLE)
        if _size(written) + len(_ANSWER) + len(answer) + 4 <= min(room, MOST_HEADERS):
            written[_ANSWER] = answer
    return written


def read_letter(
    data: bytes, headers: Mapping[str, str], *, subject: str, sequence: int, died_at: float
) -> DeadLetter:
    """
    Read a letter, or whatever else somebody has put into the stream.

    Args:
        data: What the message holds.
        headers: Its headers.
        subject: Its subject.
        sequence: Its place in the stream.
        died_at: Unix time at which it was stored.
    """
    record = read_message(data, headers, 0.0)
    session = None if record is None else record.session
    return DeadLetter(
        sequence=sequence,
        dialect=subject.rpartition(".")[2],
        event_id="" if record is None else record.event_id,
        data=data if record is None else record.data,
        route=MAIN if record is None else record.route,
        session_id=None if session is None else session.session_id,
        session=None if session is None else session.data,
        published_at=_read_time(headers.get(_PUBLISHED, "")),
        died_at=died_at,
        outcome=headers.get(_OUTCOME, "unknown"),
        reason=headers.get(_REASON, ""),
        status=int(status) if _is_number(status := headers.get(_STATUS, "")) else None,
        answer=unquote(headers.get(_ANSWER, "")),
        relay=unquote(headers.get(_RELAY, "")),
    )


def revive_letter(headers: Mapping[str, str], *, sequence: int, died_at: float) -> dict[str, str]:
    """
    Make the headers with which the event of a letter is published again.

    Its id is new, since the stream may remember the event's; and the same each time, so that the
    same letter published twice, within the stream's window, is stored once.
    """
    name, _, check = headers.get(ID, "").rpartition("/")
    kept = {
        key: value for key, value in headers.items() if key.startswith(_OURS) and key not in _ADDED
    }
    moment = round(died_at * 1000)
    return {**kept, ID: f"{name}/again.{sequence}.{moment}.{check.rpartition('.')[2]}"}


def _size(headers: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items()) + 16


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) == 3


def _read_time(text: str) -> float | None:
    try:
        moment = float(text)
    except ValueError:
        return None
    return moment if 0 < moment < 1e11 else None
