"""
What the streams and the consumer of a fleet are called, and what they must be.

Pure data, in the words of the API's requests. What is not in the table of docs/fleet.md is
left to the server's defaults.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import field, frozen

from hh_exporter._settings.kinds import Kind, seconds, whole
from hh_exporter.exceptions import ConfigError

__all__ = ["NANOSECONDS", "PREFETCH", "Names", "Plan"]

NANOSECONDS = 1_000_000_000
"""The API's durations are whole numbers of them."""

PREFETCH = 800
"""Messages that a relay has in hand at most, unless it is told otherwise; the consumer's
max_ack_pending bounds those of all relays."""

_WINDOW = 600
_DEAD_AGE = 30 * 86_400
"""Seconds."""

_MAX_ACK_PENDING = 10_000
_MAX_WAITING = 512
_HEADER_ROOM = 100_000
"""Bytes of a message beyond its event: headers, and how the store frames it."""

_name: Kind[str] = Kind(
    "a name of letters, digits, - and _",
    lambda v: isinstance(v, str) and bool(re.fullmatch(r"[\w-]{1,255}", v, re.ASCII)),
    str,
)


@frozen(kw_only=True)
class Names:
    """
    What the parts of a fleet are called.
    """

    subject: str = "hh_exporter.events"
    dialect: str = "legacy"
    stream: str = field(default="HH_EVENTS", validator=_name)
    consumer: str = field(default="relay", validator=_name)
    dead_stream: str = field(default="HH_DEAD", validator=_name)

    def __attrs_post_init__(self) -> None:
        if self.subject in ("dead", f"{self._parent}dead"):
            raise ConfigError("subject can't end in dead: that is where dead letters go")
        if self.stream == self.dead_stream:
            raise ConfigError("events and dead letters need a stream each")

    @property
    def _parent(self) -> str:
        head, dot, _ = self.subject.rpartition(".")
        return head + dot

    @property
    def events(self) -> str:
        """
        The subject of events that a relay of this dialect delivers.
        """
        return f"{self.subject}.{self.dialect}"

    @property
    def dead(self) -> str:
        """
        The subject of their dead letters, beside that of events.
        """
        return f"{self._parent}dead.{self.dialect}"

    @property
    def relays(self) -> str:
        """
        The subject on which relays answer who they are, which no stream has.
        """
        return f"{self._parent}relays"

    @property
    def all_events(self) -> str:
        """
        What the stream of events takes: every dialect.
        """
        return f"{self.subject}.>"

    @property
    def all_dead(self) -> str:
        return f"{self._parent}dead.>"


@frozen(kw_only=True)
class Plan:
    """
    What is to be set up.
    """

    max_bytes: int = field(validator=whole(1, unit="bytes"))
    """Bytes of the stream of events, which each replica keeps on disk."""
    dead_max_bytes: int = field(validator=whole(1, unit="bytes"))
    replicas: int | None = None
    """1, 3 or 5; None for 3 where there are as many servers, else 1."""
    max_event_bytes: int = 1_000_000
    ack_wait: float = field(default=60.0, validator=seconds())
    """
    Seconds after which what a relay has goes to another, if it says no more that it has it: well
    above the few that an election takes.
    """
    names: Names = Names()

    def events(self, replicas: int) -> dict[str, Any]:
        """
        Configure the stream of events: what is acknowledged is removed, and nothing else ever is.
        """
        return {
            "name": self.names.stream,
            "subjects": [self.names.all_events],
            "retention": "workqueue",
            "storage": "file",
            "num_replicas": replicas,
            "discard": "new",
            "max_bytes": self.max_bytes,
            "max_age": 0,
            "max_msgs": -1,
            "max_msg_size": self.max_event_bytes + _HEADER_ROOM,
            "duplicate_window": _WINDOW * NANOSECONDS,
        }

    def dead(self, replicas: int) -> dict[str, Any]:
        """
        Configure the stream of dead letters, of any size: nothing may refuse one.
        """
        return {
            "name": self.names.dead_stream,
            "subjects": [self.names.all_dead],
            "retention": "limits",
            "storage": "file",
            "num_replicas": replicas,
            "discard": "new",
            "max_bytes": self.dead_max_bytes,
            "max_age": _DEAD_AGE * NANOSECONDS,
            "max_msgs": -1,
            "allow_direct": True,
            "duplicate_window": _WINDOW * NANOSECONDS,
        }

    def making_consumer(self) -> dict[str, Any]:
        """
        Ask for the consumer, and for a refusal where there is another one of its name.
        """
        # Without an action, the server would change that one to this, and say nothing.
        config = self.consumer()
        return {"stream_name": self.names.stream, "config": config, "action": "create"}

    def consumer(self) -> dict[str, Any]:
        """
        Configure the consumer that the relays of one dialect share.
        """
        return {
            "durable_name": self.names.consumer,
            "ack_policy": "explicit",
            "ack_wait": int(self.ack_wait * NANOSECONDS),
            "deliver_policy": "all",
            "filter_subject": self.names.events,
            "max_deliver": -1,
            "max_ack_pending": _MAX_ACK_PENDING,
            "max_waiting": _MAX_WAITING,
        }
