"""
The protocol that a dialect fulfils: all that differs between the wires we speak.

A dialect maps events to the wire's shape, wraps ready bytes into bodies, and
reads answers into verdicts. It decides nothing about retries and sends nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from attrs import field, frozen
from cattrs import Converter

from hh_exporter._outcomes import Outcome, Verdict
from hh_exporter._records import MAIN, UPDATES, Record, Session
from hh_exporter.events import AnyEvent, SessionProperties

__all__ = ["Answer", "Dialect", "method_of"]

_BLANK = b" \t\r\n\f\v\0\xef\xbb\xbf\xfe\xff"
"""White space, and the bytes of a byte order mark in any encoding."""


@frozen(kw_only=True)
class Answer:
    """
    What came back for one request, or that nothing did.
    """

    status: int | None
    """None when no status line arrived."""
    content_type: str = ""
    """Media type without parameters, in lower case."""
    retry_after: str = ""
    """The Retry-After field as it was sent."""
    location: str = field(default="", repr=False)
    """The Location field as it was sent; it can hold anything."""
    body: bytes = field(default=b"", repr=False)
    cut_short: bool = False
    """Whether the body ended, or was abandoned, before its end."""
    duplicates: int = 0
    """How many events of it the other side says that it had already; HTTP says nothing of that."""
    failure: str = ""
    """Why nothing came, in words fit for a log."""

    @property
    def is_page(self) -> bool:
        """
        Whether it is a web page, by its type or its first character: no answer of the API.
        """
        return self.content_type == "text/html" or self.body.lstrip(_BLANK).startswith(b"<")


def method_of(route: str) -> str:
    """
    Say how batches of records of *route* are sent, in every dialect.
    """
    return "PUT" if route == UPDATES else "POST"


class Dialect(Protocol):
    """
    One way in which the server speaks of events.
    """

    @property
    def name(self) -> str: ...

    @property
    def outcome(self) -> Outcome:
        """
        What it means for a record that the other side has it.
        """

    @property
    def event_route(self) -> str:
        """
        The route of each `Event`; that of a ModelEvent is `MAIN`.
        """

    def batch_path(self, route: str = MAIN, event_id: str = "") -> str:
        """
        Say where batches of records of *route* go: of updates, those of the event *event_id*.
        """

    def single_path(self, route: str = MAIN) -> str:
        """
        Say where a single record of *route* goes.
        """

    @property
    def converter(self) -> Converter:
        """
        Unstructures events, sessions and bodies to the wire's shape.

        Structures them too, strictly: bodies of answers as the wire has them,
        what is sent by the names of our fields.
        """

    @property
    def overhead(self) -> int:
        """
        Bytes of a batch body, of whichever route, beyond its records, commas and a session.
        """

    def unstructure(
        self,
        event: AnyEvent,
        event_id: str | None = None,
        session_id: str | None = None,
        now: float | None = None,
        project: str | None = None,
        source: str | None = None,
        parent_id: str | None = None,
    ) -> dict[str, Any]:
        """
        Map *event* to the wire's shape, without touching it.

        What the wire requires is filled in. The rest is filled in where the
        event leaves it open and the argument is given; *now*, in Unix
        milliseconds, makes up for missing times.

        Raises:
            TypeError: A payload that it looks into is not plain data; plain
                data of whatever shape never raises.
        """

    def describe(
        self,
        session: SessionProperties,
        now: float | None = None,
        source: str | None = None,
    ) -> Session:
        """
        Make the announcement of *session*: an event of its own, or a part of a body.

        What *session* leaves open is filled in as by `unstructure`.
        """

    def wrap(
        self, records: Sequence[Record], session: Session | None = None, route: str = MAIN
    ) -> Any:
        """
        Make the body of a batch request from *records* of *route*, which announces *session*.

        It is what the transport sends: bytes, or messages; `len` says how many bytes it has.

        Updates, all of one event, become one, merged as the server merges them.
        """

    def wrap_single(self, record: Record) -> Any:
        """
        Make the body of a request for one event.
        """

    def read(self, answer: Answer, event_ids: Collection[str], route: str = MAIN) -> Verdict:
        """
        Say what *answer* means for each of the records of *route* that were sent.
        """

    def read_single(self, answer: Answer, event_id: str) -> tuple[Verdict, str]:
        """
        Do the same for a request for one event.

        Returns:
            The verdict, and the server's id of the event: its own where the
            answer names one, else *event_id*.
        """
