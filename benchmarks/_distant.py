"""
A server that is far away, slow or strict, in a process of its own.

It understands what the sink does, and notes of each answer when it was written and
which events it acknowledges. Its conduct is for requests that bring events: others
are answered at once. Run as a module it prints its port, and ends when its standard
input does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import cattrs.preconf.orjson
from attrs import Factory, define, frozen

from benchmarks._conduct import Conduct, Manners
from benchmarks._connection import Connection, asks_for
from benchmarks._server import ask, running, serve
from benchmarks._wires import Answer, read

__all__ = ["Acknowledged", "Distant", "Noted", "running_distant"]

_NOTES = "/notes"
_converter = cattrs.preconf.orjson.make_converter()


@frozen
class Acknowledged:
    """
    One answer that reached its client.
    """

    at: float
    """A reading of the monotonic clock, which all processes share."""
    ids: Sequence[str]
    """Of the events; each byte of an id is a character, of Latin-1."""


@define(kw_only=True)
class Noted:
    """
    What a server saw.
    """

    requests: int = 0
    """Those that brought events."""
    refused: int = 0
    events: int = 0
    """Those that were stored, each as often as it was."""
    distinct: int = 0
    most: int = 0
    """Requests under way at once."""
    acknowledged: list[Acknowledged] = Factory(list)


@frozen
class Distant:
    """
    The server as its clients see it.
    """

    url: str

    def collect(self) -> Noted:
        """
        Say what it saw since it started.
        """
        return _converter.loads(ask(self.url + _NOTES), Noted)


@contextmanager
def running_distant(conduct: Conduct) -> Iterator[Distant]:
    """
    Run a server of such *conduct*.
    """
    with running(__name__, _converter.dumps(conduct).decode()) as url:
        yield Distant(url)


@define(eq=False)
class _Server:
    manners: Manners
    noted: Noted = Factory(Noted)
    ids: set[bytes] = Factory(set)
    under_way: int = 0

    def respond(self, connection: Connection, head: bytes, body: memoryview) -> None:
        if asks_for(_NOTES, head):
            self.noted.distinct = len(self.ids)
            connection.write(Answer(content=_converter.dumps(self.noted)))
            return
        answer = read(head, body)
        if not answer.ids:
            connection.write(answer)
            return
        loop = asyncio.get_running_loop()
        reply = self.manners.answer(loop.time(), events=len(answer.ids), size=len(body))
        self.noted.requests += 1
        self.under_way += 1
        self.noted.most = max(self.noted.most, self.under_way)
        if reply.is_refused:
            self.noted.refused += 1
            answer = _refuse(self.manners.conduct.retry_after)
        else:
            self.noted.events += len(answer.ids)
            self.ids.update(answer.ids)
        loop.call_at(reply.at, self._write, connection, answer)

    def _write(self, connection: Connection, answer: Answer) -> None:
        self.under_way -= 1
        if not connection.is_open:
            return
        connection.write(answer)
        if answer.ids:
            ids = [each.decode("latin-1") for each in answer.ids]
            now = asyncio.get_running_loop().time()
            self.noted.acknowledged.append(Acknowledged(now, ids))


def _refuse(retry_after: int | None) -> Answer:
    headers = b"" if retry_after is None else b"Retry-After: %d\r\n" % retry_after
    return Answer(status=b"429 Too Many Requests", content=b'{"error":"too many"}', headers=headers)


if __name__ == "__main__":
    server = _Server(Manners(_converter.loads(sys.argv[1], Conduct)))
    asyncio.run(serve(partial(Connection, server.respond)))
