"""
One connection to a NATS server, until it is lost.

Of nats-py only the core is used: connect, publish, subscribe. A connection that is lost stays
lost, and its owner opens another one: the client's own way back buffers what it can't send,
and never returns where a server refuses us for good. What nats-py starts runs in an empty
context.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from contextvars import Context
from functools import partial
from itertools import count
from typing import Any, Protocol, TypeVar

from attrs import Factory, define
from nats import errors
from nats.aio.subscription import Subscription

from hh_exporter._clock import Clock, Deadline, within
from hh_exporter._dialects.messages import OutMessage
from hh_exporter._transport.client import CarefulClient, abort
from hh_exporter._transport.refusals import NoConnection, explain

__all__ = [
    "Box",
    "Connection",
    "Lost",
    "Message",
    "apart",
    "obeying",
]

T = TypeVar("T")

_LAST = 0.5
"""Seconds that a close gives the server to read what was written."""

_LONGEST_FLUSH = 3600
"""Seconds for nats-py, where the deadline is ours."""


class Message(Protocol):
    """
    A message that arrived.
    """

    subject: str
    reply: str
    data: bytes

    @property
    def headers(self) -> Mapping[str, str] | None: ...


class Lost(Exception):  # noqa: N818 - as above
    """
    The connection is lost; its `fault` says why.
    """


@define(eq=False)
class Connection:
    """
    One connection.
    """

    _client: CarefulClient
    inbox: str
    """What the subjects of all its boxes begin with."""
    clock: Clock
    is_open: bool = False
    fault: str = ""
    """Why it is lost, or what the server does not permit; in words fit for a log."""
    is_refused: bool = False
    """Whether the server refuses the user, or something that the user needs."""
    on_fault: set[Callable[[], None]] = Factory(set)
    """Called when it is lost, or refused something."""
    error: Exception | None = None
    """What nats-py reported last."""
    _requests: Box | None = None
    _replies: dict[str, asyncio.Future[Message]] = Factory(dict)
    _numbers: count[int] = Factory(count)
    _boxes: set[Box] = Factory(set)

    @property
    def problem(self) -> str:
        """
        Its `fault`, and what to do where the user is refused.
        """
        return NoConnection(self.fault, is_refused=self.is_refused).problem

    @property
    def max_payload(self) -> int:
        """
        Bytes that the server takes in one message, its headers included.
        """
        return self._client.max_payload

    async def publish(
        self,
        subject: str,
        data: bytes = b"",
        *,
        reply: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        """
        Write one message; it neither waits, nor says that the server has it.

        Raises:
            Lost: The connection is.
        """
        if not self.is_open:
            raise Lost
        try:
            await self._client.publish(subject, data, reply, headers)
        except Exception:  # of all kinds, where it is being closed
            self.lose("connection lost")
            raise Lost from None

    async def publish_all(
        self, subject: str, reply: str, messages: Iterable[tuple[int, OutMessage]]
    ) -> None:
        """
        Write several messages at once, as `publish` does one.

        Args:
            reply: Where they are answered, with the number of each behind it.
            messages: Each with its number.

        Raises:
            Lost: The connection is.
        """
        if not self.is_open:
            raise Lost
        try:
            await self._client.publish_all(subject, reply, messages)
        except Exception:  # as above
            self.lose("connection lost")
            raise Lost from None

    async def listen(self, receive: Callable[[str, Message], None]) -> Box:
        """
        Make a box: *receive* is called with what its messages' subjects have behind `prefix`.

        Raises:
            Lost: The connection is.
        """
        prefix = f"{self._client.new_inbox()}."
        return await self.subscribe(f"{prefix}>", receive, prefix)

    async def collect(self, receive: Callable[[str, bytes], None]) -> Box:
        """
        Make a box as `listen` does, where of messages only their contents count.

        Raises:
            Lost: The connection is.
        """
        box = await self.listen(lambda rest, message: receive(rest, message.data))
        start = len(box.prefix)
        self._client.hand_over(
            box.subscription, lambda subject, data: receive(subject[start:].decode(), data)
        )
        return box

    async def subscribe(
        self, subject: str, receive: Callable[[str, Message], None], prefix: str = ""
    ) -> Box:
        """
        Have *receive* called with the messages of *subject*, as by `listen`.

        Raises:
            Lost: The connection is.
        """

        async def take(message: Message) -> None:
            receive(message.subject[len(prefix) :], message)

        if not self.is_open:
            raise Lost
        try:
            # Without a limit of bytes: what arrives was asked for.
            subscription = await apart(
                self._client.subscribe(subject, cb=take, pending_bytes_limit=0)
            )
        except Exception:
            self.lose("connection lost")
            raise Lost from None
        box = Box(prefix, subscription, self._boxes, self.clock)
        self._boxes.add(box)
        if (reading := subscription._wait_for_msgs_task) is not None:
            reading.add_done_callback(
                lambda _: self.lose("connection lost") if box in self._boxes else None
            )
        return box

    async def request(self, subject: str, data: bytes, deadline: Deadline) -> Message:
        """
        Publish *data*, and wait for the first answer.

        Raises:
            Lost: The connection is, or the server does not permit it.
            TimeoutError: No answer came by *deadline*.
        """
        if self._requests is None:
            self._requests = await self.listen(self._take_reply)
        key = str(next(self._numbers))
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._replies[key] = future
        give_up = partial(_fail, future)
        self.on_fault.add(give_up)
        try:
            await self.publish(subject, data, reply=self._requests.prefix + key)
            async with within(self.clock, deadline):
                return await future
        finally:
            self.on_fault.discard(give_up)
            del self._replies[key]

    async def flush(self, deadline: Deadline) -> None:
        """
        Wait until the server has read all that was written.

        Raises:
            Lost: The connection is.
            TimeoutError: It did not by *deadline*.
        """
        if not self.is_open:
            raise Lost
        try:
            async with within(self.clock, deadline):
                await obeying(self._client.flush(timeout=_LONGEST_FLUSH))
        except TimeoutError:
            raise
        except Exception:
            self.lose("connection lost")
            raise Lost from None

    def lose(self, why: str) -> None:
        """
        Note that it is lost.
        """
        if self.is_open:
            self.is_open = False
            self.fault = self.fault or why
            self._tell()

    async def close(self) -> None:
        """
        Close it; what was written last has half a second to leave.
        """
        was_open, self.is_open = self.is_open, False
        if was_open:
            with suppress(Exception):
                await obeying(self._client.flush(timeout=_LAST))  # type: ignore[arg-type] # as above
            self._tell()
        for box in tuple(self._boxes):
            await box.end()
        # Without what it could not write, for which its own close waits.
        abort(self._client)
        with suppress(Exception):
            await self._client.close()

    def cut(self) -> None:
        """
        Close it at once; what was written last may be lost.
        """
        self.lose("connection lost")
        abort(self._client)

    def begin(self) -> None:
        """
        Note that it is open.

        Raises:
            NoConnection: What answered is no server that we can use.
        """
        self._client.watch(lambda: self.lose("connection lost"))
        self.is_open = True

    # For nats-py.

    async def note_error(self, error: Exception) -> None:
        self.error = error
        if not self.is_open or isinstance(error, errors.SlowConsumerError):
            return
        problem = explain(error, None)
        if problem.is_refused:
            self.fault, self.is_refused = problem.reason, True
            self._tell()
        else:
            self.lose("connection lost" if isinstance(error, OSError) else problem.reason)

    async def note_closed(self) -> None:
        error = self._client.last_error
        if error is not None:
            await self.note_error(error)
        self.lose("connection lost")

    def _take_reply(self, key: str, message: Message) -> None:
        future = self._replies.get(key)
        if future is not None and not future.done():
            future.set_result(message)

    def _tell(self) -> None:
        for tell in tuple(self.on_fault):
            tell()


@define(eq=False)
class Box:
    """
    A subscription, for as long as it is open.
    """

    prefix: str
    """What is answered to a subject that begins with it arrives here."""
    subscription: Subscription
    _open: set[Box]
    _clock: Clock

    async def drain(self, deadline: Deadline) -> None:
        """
        Take the messages that are under way, and no more.

        Raises:
            Lost: The connection is.
            TimeoutError: They had not come by *deadline*.
        """
        self._open.discard(self)
        try:
            async with within(self._clock, deadline):
                await obeying(self.subscription.drain())  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise
        except Exception:
            raise Lost from None

    async def end(self) -> None:
        """
        Take no more messages; those that are under way are lost.
        """
        self._open.discard(self)
        with suppress(Exception):
            await self.subscription.unsubscribe()


async def apart(work: Coroutine[Any, Any, T], drop: Callable[[T], None] = lambda _: None) -> T:
    """
    Await *work* in a task of an empty context: what it starts must not keep the caller's.

    Args:
        drop: Called with what it made, if the caller was cancelled just then and can't take it.
    """
    task = asyncio.Task(work, context=Context())
    try:
        return await task
    except asyncio.CancelledError:
        if task.done() and not task.cancelled() and task.exception() is None:
            drop(task.result())
        raise


async def obeying(work: Coroutine[Any, Any, T]) -> T:
    """
    Await *work*, and be cancelled also where it goes on instead.

    On Python 3.11, `asyncio.wait_for`, which nats-py uses, returns what has just come instead of
    being cancelled, and what waits with a deadline of its own would not end by it.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101
    before = task.cancelling()
    result = await work
    if task.cancelling() > before:
        raise asyncio.CancelledError
    return result


def _fail(future: asyncio.Future[Message]) -> None:
    if not future.done():
        future.set_exception(Lost())
