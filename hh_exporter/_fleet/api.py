"""
The API of JetStream: one request, one answer.

What passes by itself, such as an election, is asked again until the deadline; so a call must do
no harm where it is made twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from attrs import frozen

from hh_exporter._clock import Deadline
from hh_exporter._transport.answers import read_object
from hh_exporter._transport.nats import Connection, Lost, Message

__all__ = ["Api", "ApiError"]

_PREFIX = "$JS.API."
_TRY = 2.0
"""Seconds for one answer: a request to a server that has died is never answered."""
_PAUSE = 0.25
"""Seconds before it is asked again, where the answer was that it can't answer now."""

_NO_STREAM = 10059
_NO_CONSUMER = 10014
_OFF = {10039, 10076}
"""JetStream is not enabled: also a 503, which no time cures."""

_HINTS = {
    10002: "give a smaller --max-bytes, or raise the limits of the account",
    10005: "--replicas needs as many servers with JetStream that run and have room for --max-bytes",
    10008: "most of the servers must run and reach each other, and some may be starting",
    10023: "give a smaller --max-bytes, or raise max_file_store of the servers",
    10027: "raise the number of streams that the account may have",
    10039: "enable JetStream for the account of this user",
    10047: "give a smaller --max-bytes, or raise max_file_store of the server",
    10065: "give another --subject, or remove the stream that has it",
    10074: "a server that is in no cluster keeps one replica: --replicas 1",
    10076: "enable JetStream in the server's configuration",
    10099: "another consumer takes all events of the stream: remove it, or use it",
    10100: "another consumer takes the events of that dialect: remove it, or use it",
}
"""What to do, by the server's error code."""


class ApiError(Exception):
    """
    JetStream refused a call, or gave no answer.

    Args:
        problem: What happened and what to do, in words fit for a log.
        code: The server's error code (`err_code`); 0 without an answer.
        description: The server's own words.
    """

    def __init__(self, problem: str, code: int = 0, description: str = "") -> None:
        super().__init__(problem)
        self.problem, self.code, self.description = problem, code, description

    @property
    def is_missing(self) -> bool:
        """
        Whether there is no such stream or consumer.
        """
        return self.code in (_NO_STREAM, _NO_CONSUMER)


@frozen
class Api:
    """
    What calls the API, over one connection.
    """

    connection: Connection

    async def call(
        self, name: str, body: Mapping[str, Any] | None = None, *, deadline: Deadline
    ) -> dict[str, Any]:
        """
        Call `$JS.API.` *name*.

        Raises:
            ApiError: The server refuses, the user lacks a permission, or no answer came by
                *deadline*.
        """
        clock = self.connection.clock
        data = b"" if body is None else orjson.dumps(body)
        problem = self.silence(name)
        while not deadline.is_over(now := clock.now()):
            try:
                soon = Deadline(min(now + _TRY, deadline.at), now)
                message = await self.connection.request(_PREFIX + name, data, soon)
            except TimeoutError:
                problem = self.silence(name)
                continue
            except Lost:
                raise self.silence(name) from None
            if not message.data:  # "no responders", which only the server itself sends
                problem = ApiError("no server has JetStream enabled, or none is ready")
            else:
                answer = _read(message)
                if (refusal := _refusal(answer)) is None:
                    return answer
                problem = refusal
                if answer["error"].get("code") != 503 or refusal.code in _OFF:
                    break
            await clock.sleep(_PAUSE)
        raise problem

    def silence(self, name: str) -> ApiError:
        """
        Say what may be wrong where there is no answer to `$JS.API.` *name*.
        """
        connection = self.connection
        if not connection.is_open:
            return ApiError(connection.fault or "connection lost")
        hint = f"does the user have permission for it, and for {connection.inbox}.>?"
        fault = f" ({connection.fault})" if connection.is_refused else ""
        return ApiError(f"no answer to {_PREFIX}{name}: {hint}{fault}")


def _read(message: Message) -> dict[str, Any]:
    answer = read_object(message.data)
    if answer is None:
        raise ApiError("what answers is not JetStream")
    return answer


def _refusal(answer: Mapping[str, Any]) -> ApiError | None:
    """
    Put what the server refuses into words; None if it does not.
    """
    error = answer.get("error")
    if not isinstance(error, dict):
        return None
    code, text = int(error.get("err_code", 0)), str(error.get("description", "refused"))
    hint = f": {_HINTS[code]}" if code in _HINTS else ""
    return ApiError(f"{text} ({code}){hint}", code, text)
