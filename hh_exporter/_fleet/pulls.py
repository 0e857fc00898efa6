"""
What is asked of the consumer, and has not come.

Messages carry the subject under which they were published, so none says which request it
answers: only the sum is known. A request that ends before it is filled says how many messages
are missing (Nats-Pending-Messages); one that nobody reads is known by its number. If there is no
word at all, not even the idle heartbeat that is asked for, everything is asked anew.
Pure: callers say what time it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from math import inf
from typing import Final

import orjson
from attrs import Factory, define, frozen

from hh_exporter._fleet.plan import NANOSECONDS

__all__ = ["HEARTBEAT", "Pull", "Pulls"]

HEARTBEAT: Final = 5
"""Seconds between two signs of life of an idle request."""
_EXPIRES: Final = 30
"""Seconds after which a request ends, filled or not."""

_SILENCE: Final = 2.0 * HEARTBEAT
_AGAIN: Final = 0.25
"""Seconds after which it is asked again where nobody could answer, as in an election."""

_NO_RESPONDERS = "503"
_NO_MORE, _EXPIRED, _ALIVE = "404", "408", "100"
_COMPLETED = "batch completed"
"""What one ends with, in lower case, that is filled and has room for more bytes (409)."""
_LARGE = "exceeds maxbytes"
"""What a request ends with, in lower case, whose next message is larger than what is left of it."""


@frozen
class Pull:
    """
    One request.
    """

    number: str
    """The end of the subject on which it is answered."""
    body: bytes


@define(eq=False)
class Pulls:
    """
    The requests of one inbox.
    """

    asked: int = 0
    """Messages that may still come."""
    silent_since: float = inf
    """When the consumer said something last; inf while nothing is asked."""
    fault: str = ""
    """Why the last request got nothing; empty once one is answered."""
    _again_at: float = -inf
    _is_next_large: bool = False
    """Whether the next message may be larger than a request takes."""
    _sizes: dict[str, int] = Factory(dict)
    """Messages of the requests that may not have ended."""
    _numbers: count[int] = Factory(count)

    def ask(self, room: int, least: int, max_bytes: int, now: float) -> Pull | None:
        """
        Make the next request; None if it is not time.

        Args:
            room: How many messages there is room for, those that may still come included.
            least: For how many it is worth a request.
            max_bytes: Bytes of one request's messages, at most, unless one has more.
            now: What time it is.
        """
        if self.asked and now >= self.silent_since + _SILENCE:
            self.reset()
            self.fault = "the consumer does not answer"
        messages = room - self.asked
        if now < self._again_at or messages < max(1, least):
            return None
        body: dict[str, int] = {
            "batch": messages,
            "expires": _EXPIRES * NANOSECONDS,
            "idle_heartbeat": HEARTBEAT * NANOSECONDS,
        }
        if self._is_next_large:
            messages = body["batch"] = 1
        else:
            body["max_bytes"] = max_bytes
        self._is_next_large = False
        number = str(next(self._numbers))
        self._sizes[number] = messages
        if not self.asked:
            self.silent_since = now
        self.asked += messages
        return Pull(number, orjson.dumps(body))

    def look_at(self, now: float) -> float:
        """
        Say when to call `ask` again, if nothing happens before.
        """
        silence = self.silent_since + _SILENCE if self.asked else inf
        return min(silence, self._again_at if self._again_at > now else inf)

    def note_message(self, now: float) -> None:
        """
        Note that a message came.
        """
        self._take(1)
        self.silent_since, self.fault = now, ""

    def note_status(self, number: str, headers: Mapping[str, str], now: float) -> None:
        """
        Note what the server says of the request with that *number*: it is alive, or over.
        """
        status, text = headers.get("Status", ""), headers.get("Description", "").lower()
        self.silent_since = now
        if status == _ALIVE:
            self.fault = ""
            return
        missing = self._sizes.pop(number, 0)
        if status == _NO_RESPONDERS:  # then all of it is missing
            text = "the consumer has no leader, or is gone"
        else:
            missing = int(headers.get("Nats-Pending-Messages", missing))
        self._take(missing)
        self._is_next_large = _LARGE in text
        if status in (_NO_MORE, _EXPIRED) or self._is_next_large or text == _COMPLETED:
            self.fault = ""
        else:
            self.fault = f"{text} ({status})"
            self._again_at = now + _AGAIN

    def reset(self) -> None:
        """
        Forget all requests: their inbox is gone.
        """
        self.asked = 0
        self.silent_since = inf
        self._sizes.clear()

    def _take(self, messages: int) -> None:
        self.asked = max(0, self.asked - messages)
        if not self.asked:
            self._sizes.clear()
