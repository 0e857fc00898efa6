"""
Records as messages of a stream, and back.

One message has one record: its bytes as they are, and behind a line end, which JSON has none
of, what announces its session. Everything else is in headers. The id by which the stream knows
a message again is made of the event's id and a checksum of the bytes, so that the same event
pushed again with other contents is no duplicate; that of updates also of who made them and in
which order, since the same update may well be meant twice.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import quote, unquote

from attrs import define, field, frozen

from hh_exporter._dialects.dialect import Answer
from hh_exporter._packing import crc32
from hh_exporter._records import MAIN, UPDATES, Record, Session

__all__ = [
    "ID",
    "MOST_HEADERS",
    "ROUTE",
    "Messages",
    "OutMessage",
    "Receipt",
    "read_message",
    "write_message",
]

ID: Final = "Nats-Msg-Id"
"""The header by which a stream knows a message again."""
MOST_HEADERS: Final = 48_000
"""Bytes of headers that a stream certainly takes; they count towards the size of a message."""
ROUTE: Final = "Hh-Route"
"""The header with the route of a record, where that is not `MAIN`."""
_SESSION: Final = "Hh-Session"
"""The header with the id of the session that the message announces."""

_PLAIN = re.compile(r"[\w.:-]+", re.ASCII)
"""What nobody changes in a header, in which spaces at the ends and line ends are not kept."""


@define(eq=False)
class OutMessage:
    """
    A message to be published.
    """

    event_id: str
    """Of the record, as answers are read."""
    head: bytes = field(repr=False)
    """Its headers as they are written, the first line and the empty one included."""
    data: bytes = field(repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """
        Its headers by name, as who reads the message has them.
        """
        lines = self.head.decode("ascii").split("\r\n")[1:-2]
        return dict(line.split(": ", 1) for line in lines)


@define(eq=False)
class Messages:
    """
    What is published as one body.
    """

    items: Sequence[OutMessage]
    _size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._size = sum([len(message.data) for message in self.items])

    def __len__(self) -> int:
        """
        Bytes of what they hold.
        """
        return self._size


@frozen(kw_only=True)
class Receipt(Answer):
    """
    What a stream acknowledged of one body.
    """

    stored: Collection[str] = ()
    """Ids of the records that the stream has now."""
    too_large: Collection[str] = ()
    """Ids of those that no message may hold."""
    hint: str = ""
    """The setting to check, if the cluster refuses us; else empty."""


def write_message(
    records: Sequence[Record], data: bytes, session: Session | None, maker: str
) -> OutMessage:
    """
    Make the message of *records*: of one, or of updates that are merged.

    Args:
        records: In order of admission.
        data: Their bytes.
        session: What is announced beside.
        maker: Tells the updates of one exporter from those of others.
    """
    first = records[0]
    event_id, route = first.event_id, first.route
    name = event_id if _PLAIN.fullmatch(event_id) else quote(event_id, "")
    order = f"{maker}.{first.seq}.{records[-1].seq}." if route == UPDATES else ""
    rest = "" if route == MAIN else f"{ROUTE}: {quote(route)}\r\n"
    check = crc32(data)
    if session is not None:
        rest += f"{_SESSION}: {quote(session.session_id, '')}\r\n"
        data = b"%b\n%b" % (data, session.data)
    head = f"NATS/1.0\r\n{ID}: {name}/{order}{check:08x}\r\n{rest}\r\n"
    return OutMessage(event_id, head.encode(), data)


def read_message(data: bytes, headers: Mapping[str, str] | None, now: float) -> Record | None:
    """
    Make the record of a message, or None if it is none of ours.

    Args:
        data: What the message holds.
        headers: Its headers.
        now: What time it is, on the monotonic clock.
    """
    headers = headers or {}
    name, slash, _ = headers.get(ID, "").rpartition("/")
    if not (slash and name and data):
        return None
    session = None
    if (session_id := headers.get(_SESSION)) is not None:
        data, _, announcement = data.partition(b"\n")
        session = Session(unquote(session_id), announcement)
    return Record(unquote(name), data, now, session, headers.get(ROUTE, MAIN))
