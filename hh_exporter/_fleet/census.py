"""
Which relays are alive: all are asked at once, and those that answer in time are.

What they answer comes over the network: it is checked here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from hh_exporter._fleet.books import BOOKS
from hh_exporter._transport.answers import read_object
from hh_exporter._transport.nats import Connection, Message

__all__ = ["RelayAnswer", "ask_relays"]

_TEXTS = ("id", "host", "version", "dialect", "health", "health_reason")
_LONGEST = 200
"""Characters of a text."""


@frozen(kw_only=True)
class RelayAnswer:
    """
    What one relay says of itself.
    """

    id: str
    host: str
    pid: int
    version: str
    dialect: str
    since: float
    """Unix time of its start."""
    prefetch: int
    """How many messages it holds at most; 0 if it does not say."""
    health: str
    health_reason: str
    books: Mapping[str, int] = field(factory=dict)


async def ask_relays(
    connection: Connection, subject: str, seconds: float = 1.0
) -> list[RelayAnswer]:
    """
    Ask all relays who they are, and wait so long for their answers; the oldest first.

    Raises:
        Lost: The connection is.
    """
    answers: dict[str, RelayAnswer] = {}

    def note(_: str, message: Message) -> None:
        answer = _read(message.data)
        if answer is not None:
            answers[answer.id] = answer

    box = await connection.listen(note)
    try:
        await connection.publish(subject, reply=f"{box.prefix}relays")
        await connection.clock.sleep(seconds)
    finally:
        await box.end()
    return sorted(answers.values(), key=lambda answer: (answer.since, answer.id))


def _read(data: bytes) -> RelayAnswer | None:
    """
    Read an answer; None if it is none, such as that nobody is there.
    """
    said = read_object(data)
    if said is None or not isinstance(said.get("id"), str):
        return None
    books = said.get("books")
    numbers = books if isinstance(books, dict) else {}
    since = said.get("since")
    return RelayAnswer(
        **{name: str(said.get(name, ""))[:_LONGEST] for name in _TEXTS},
        pid=_whole(said.get("pid")),
        since=float(since) if isinstance(since, int | float) else 0.0,
        prefetch=_whole(said.get("prefetch")),
        books={name: _whole(numbers.get(name)) for name in BOOKS},
    )


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
