"""
Dead letters as commands print them, whatever keeps them.

Only `show` prints the event and the server's answer: both can hold what a user wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

import attrs
import click
import orjson
from attrs import frozen

from hh_exporter._cli._report import printable
from hh_exporter._cli._spools import tell_time
from hh_exporter._outcomes import DropReason
from hh_exporter._records import UPDATES
from hh_exporter.events import EVENT_TYPES

__all__ = ["COLUMNS", "Row", "read_age", "show"]

COLUMNS = ("id", "died", "kind", "why", "bytes", "event_id")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class _Letter(Protocol):
    """
    A dead letter, of a spool or of a fleet.
    """

    @property
    def event_id(self) -> str: ...

    @property
    def data(self) -> bytes: ...

    @property
    def route(self) -> str: ...

    @property
    def pushed_at(self) -> float: ...

    @property
    def died_at(self) -> float: ...

    @property
    def outcome(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def status(self) -> int | None: ...

    @property
    def answer(self) -> str: ...


@frozen(kw_only=True)
class Row:
    """
    What is listed of a dead letter: nothing that a user wrote.
    """

    id: str
    """What the command line calls it."""
    event_id: str
    kind: str
    """"model", "tool", "chain", "session" or "update"; "unknown" if it is damaged."""
    outcome: str
    reason: str
    status: int | None
    pushed_at: float
    died_at: float
    bytes: int

    @classmethod
    def of(cls, letter: _Letter, id_: str) -> Row:
        return cls(
            id=id_,
            event_id=letter.event_id,
            kind=_kind_of(letter),
            outcome=letter.outcome,
            reason=letter.reason,
            status=letter.status,
            pushed_at=letter.pushed_at,
            died_at=letter.died_at,
            bytes=len(letter.data),
        )

    @property
    def why(self) -> str:
        """
        Say its outcome, and what decided it.
        """
        status = "" if self.status is None else f"HTTP {self.status}"
        return ", ".join(filter(None, (self.outcome, self.reason, status)))

    def lines(self) -> Iterator[tuple[str, str]]:
        """
        Write it as names and values.
        """
        yield "id", self.id
        yield "event_id", self.event_id
        yield "kind", self.kind
        yield "why", self.why
        yield "pushed", tell_time(self.pushed_at)
        yield "died", tell_time(self.died_at)
        yield "bytes", f"{self.bytes:,}"

    def cells(self) -> tuple[str, ...]:
        """
        Write it under `COLUMNS`.
        """
        died, size = tell_time(self.died_at), f"{self.bytes:,}"
        return self.id, died, self.kind, self.why, size, self.event_id


def show(
    row: Row, letter: _Letter, more: Mapping[str, str] | None = None, *, as_json: bool
) -> None:
    """
    Print a letter in full, and what *more* is known of it.
    """
    more = more or {}
    event = _parse(letter.data)
    if as_json:
        shown = {**attrs.asdict(row), **more, "answer": letter.answer, "event": event}
        click.echo(printable(orjson.dumps(shown).decode()))
        return
    for name, value in chain(row.lines(), more.items()):
        click.echo(f"{name:<9} {printable(value)}")
    if letter.answer:
        speaker = "what is damaged" if letter.reason == DropReason.DAMAGED else "the server said"
        click.echo(f"\n{speaker}:\n{printable(letter.answer)}")
    text = orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()
    what = "update" if row.kind == "update" else "event"
    click.echo(f"\nthe {what}:\n{printable(text)}")


def read_age(text: str) -> float:
    """
    Read seconds, or a number of another unit.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip(), re.ASCII)
    if found is None:
        raise click.BadParameter(f"{text!r} is no age such as 90s, 30m, 12h or 7d")
    number, unit = found.groups()
    return float(number) * _UNITS[unit]


def _kind_of(letter: _Letter) -> str:
    if letter.route == UPDATES:
        return "update"
    event = _parse(letter.data)
    if not isinstance(event, dict):
        return "unknown"
    kind = event.get("event_type", "model")  # which legacy model events don't say
    return kind if type(kind) is str and kind in EVENT_TYPES else "unknown"


def _parse(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.decode(errors="replace")
