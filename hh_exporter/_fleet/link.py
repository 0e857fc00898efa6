"""
A relay's connection to the cluster: another one is opened when it is lost.

It owns the connection and its inboxes, and publishes what the feed and the relay have to say. What
is in hand outlives each connection; what was asked for over it does not.
"""

from __future__ import annotations

import asyncio
import traceback
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from attrs import Factory, define, field

from hh_exporter._bell import Bell
from hh_exporter._clock import Clock, Deadline, within
from hh_exporter._fleet.feed import Feed
from hh_exporter._fleet.hand import Out, Prefixes
from hh_exporter._log import get_log
from hh_exporter._transport.cluster import Connector
from hh_exporter._transport.nats import Box, Connection, Lost, Message
from hh_exporter._transport.refusals import NoConnection
from hh_exporter.exceptions import ConfigError

__all__ = ["Link"]

log = get_log(__name__)

_CONNECT: Final = 10.0
"""Seconds for all servers together to take us."""
_FIRST_PAUSE, _WIDEST_PAUSE = 0.25, 5.0
"""Seconds between two attempts to connect, before jitter."""
_LEAVE: Final = 2.0
"""Seconds that the server has to end what was asked of it."""


@define(eq=False, kw_only=True)
class Link:
    """
    The connection of one relay.
    """

    connector: Connector
    feed: Feed
    clock: Clock
    random: Callable[[], float]
    on_open: Callable[[Connection], Awaitable[None]]
    """Awaited with each new connection before anything is asked for; what it raises ends `run`."""
    watch: Callable[[Connection], Awaitable[None]]
    """Runs beside, until the connection is lost."""
    listeners: dict[str, Callable[[str, Message], None]] = Factory(dict)
    """What is called with the messages of other subjects."""
    fault: str = "no connection yet"
    """Why there is no connection, or what the server does not permit; empty if all is well."""
    out: list[Out] = Factory(list)
    """What else is to be published."""
    _bell: Bell = field(init=False)
    _connection: Connection | None = field(default=None, init=False)
    _is_asking: bool = field(default=True, init=False)
    """Whether more is to be asked for."""
    _asks_no_more: asyncio.Event = Factory(asyncio.Event)
    _is_ending: bool = field(default=False, init=False)
    _said: bool = field(default=False, init=False)
    _is_idle: asyncio.Event = Factory(asyncio.Event)
    """Set while there is nothing in hand, and when the connection is lost."""

    def __attrs_post_init__(self) -> None:
        self._bell = Bell(self.clock)
        self.feed.wake = self._bell.ring

    async def run(self) -> None:
        """
        Keep a connection, until `end`.
        """
        pause = _FIRST_PAUSE
        self.connector.start()
        try:
            while not self._is_ending:
                began = self.clock.now()
                try:
                    await self._connect_and_serve()
                except NoConnection as exc:
                    self._note_fault(exc.problem)
                except Lost:
                    pass
                except ConfigError:
                    raise
                except Exception as exc:
                    self._note_failure(exc)
                if not self._is_asking:
                    self._asks_no_more.set()
                if self.clock.now() - began > _WIDEST_PAUSE:
                    pause = _FIRST_PAUSE
                if not self._is_ending:
                    # Half of it jitter: a fleet that was cut off together comes back apart.
                    await self._pause(pause * (1 + self.random()) / 2)
                pause = min(2 * pause, _WIDEST_PAUSE)
        finally:
            self._asks_no_more.set()
            self.connector.close()

    def ring(self) -> None:
        """
        Look again at what is to be said.
        """
        self._bell.ring()

    def publish(self, out: Out) -> None:
        """
        Publish something else, if there is a connection.
        """
        self.out.append(out)
        self._bell.ring()

    async def ask_no_more(self, deadline: Deadline) -> None:
        """
        Have the server end what was asked of it, and take what came until then, or *deadline*.
        """
        self._is_asking = False
        if self._connection is None:
            self._asks_no_more.set()
        self._bell.ring()
        with suppress(TimeoutError):
            async with within(self.clock, deadline):
                await self._asks_no_more.wait()

    async def settle(self, deadline: float) -> None:
        """
        Wait until the server has confirmed all that was acknowledged, or *deadline*.
        """
        self._is_idle.clear()
        self._bell.ring()
        if self._connection is not None:
            with suppress(TimeoutError):
                async with within(self.clock, Deadline(deadline, self.clock.now())):
                    await self._is_idle.wait()

    def end(self) -> None:
        """
        Close the connection, and have `run` return.
        """
        self._is_ending = True
        self._bell.ring()

    async def _pause(self, delay: float) -> None:
        until = self.clock.now() + delay
        while not self._is_ending and self.clock.now() < until:
            self._bell.clear()
            await self._bell.wait(until)

    async def _connect_and_serve(self) -> None:
        connection = await self.connector.open(Deadline.after(self.clock, _CONNECT))
        connection.on_fault.add(self._bell.ring)
        try:
            await self.on_open(connection)
            prefixes = Prefixes(
                pulls="",
                acks=(await connection.listen(self.feed.note_ack)).prefix,
                letters=(await connection.listen(self.feed.note_letter)).prefix,
            )
            for subject, receive in self.listeners.items():
                await connection.subscribe(subject, receive)
            self._connection = connection
            self._note_connected()
            async with TaskGroup() as group:
                watching = group.create_task(self._watch(connection))
                with suppress(Lost):
                    await self._serve(connection, prefixes)
                watching.cancel()
        finally:
            self._connection = None
            self._is_idle.set()
            self.feed.end()
            self.out.clear()
            if not self._is_ending and connection.fault:
                self._note_fault(connection.problem)
            await connection.close()

    async def _watch(self, connection: Connection) -> None:
        with suppress(Lost):
            await self.watch(connection)

    async def _serve(self, connection: Connection, prefixes: Prefixes) -> None:
        box: Box | None = None
        self.feed.begin(prefixes, connection.max_payload)
        while connection.is_open:
            self._bell.clear()
            if box is not None and (self.feed.asks_too_much or not self._is_asking):
                await self._leave(box)
                box = None
            if not self._is_asking:
                self._asks_no_more.set()
            elif box is None and self.feed.target > 0:
                box = await connection.listen(self.feed.receive)
                prefixes.pulls = box.prefix
            if connection.is_refused:
                return  # another one may be permitted more
            out, look = self.feed.look(self.clock.now(), asks=box is not None)
            out += self.out
            self.out.clear()
            for subject, data, reply, headers in out:
                await connection.publish(subject, data, reply=reply, headers=headers)
            if not self.feed.hand:
                self._is_idle.set()
            if self._is_ending:
                return
            await self._bell.wait(look)

    async def _leave(self, box: Box) -> None:
        """
        End what was asked for with its inbox, and take what is under way.
        """
        with suppress(TimeoutError):
            await box.drain(Deadline.after(self.clock, _LEAVE))
        self.feed.pulls.reset()
        self.feed.admit()

    def _note_fault(self, reason: str) -> None:
        self.fault = reason
        if not self._said:
            self._said = True
            log.warning(
                "hh_exporter: no connection to %s: %s; events in hand: %d, retrying",
                self.connector.access.address,
                reason,
                len(self.feed.hand),
            )

    def _note_failure(self, exc: Exception) -> None:
        while isinstance(exc, ExceptionGroup):
            exc = exc.exceptions[0]
        self.fault = type(exc).__name__
        # Without its text, which may quote a payload.
        log.error(
            "hh_exporter: a relay's connection failed with %s, is opened again. Please report:\n%s",
            self.fault,
            "".join(traceback.format_tb(exc.__traceback__)),
        )

    def _note_connected(self) -> None:
        self.fault = ""
        if self._said:
            self._said = False
            log.warning("hh_exporter: connected to %s again", self.connector.access.address)
