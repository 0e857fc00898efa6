"""
What a client must offer to be measured beside the exporter.

One rule: it starts with the events as they are wherever models are called, dicts
of their fields, and is done when the last of them is acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeAlias

from attrs import frozen

from benchmarks._workload import Fields

__all__ = [
    "Emitter",
    "Open",
    "Peer",
    "Send",
    "Start",
    "Trace",
    "Tracing",
    "find_missing",
    "in_one_go",
]

Send: TypeAlias = Callable[[], Awaitable[None]]
"""Sends all events once; how many arrived is for the sink to say."""

Start: TypeAlias = Callable[[str, Sequence[Fields]], AbstractAsyncContextManager[Send]]
"""Starts a client of the server at the URL that is to send the events."""


@frozen
class Emitter:
    """
    A client that takes one event at a time and sends it in the background.
    """

    emit: Callable[[Any], object]
    """
    Takes the fields of an event, or what the client's own event is; any thread. Those of peers
    return what the server knows it by: a UUID, or the number of a span.
    """
    drain: Callable[[], Awaitable[object]]
    """Waits until all that was emitted is acknowledged."""


Open: TypeAlias = Callable[[str, int], AbstractAsyncContextManager[Emitter]]
"""Starts an emitter to the server at the URL, with room for so many events."""


@frozen
class Tracing:
    """
    A client that records the calls of functions.
    """

    decorate: Callable[[Any], Any]
    """Has each call of a function recorded, with its arguments and its result."""
    drain: Callable[[], Awaitable[object]]
    """Waits until all that was recorded is acknowledged."""


Trace: TypeAlias = Callable[[str], AbstractAsyncContextManager[Tracing]]
"""Starts a tracer that sends to the server at the URL."""


def in_one_go(open_: Open, make: Callable[..., Any] | None = None) -> Start:
    """
    Send a burst through an emitter.

    Args:
        make: Makes of fields what is emitted, before the burst.
    """

    @asynccontextmanager
    async def start(url: str, events: Sequence[Fields]) -> AsyncIterator[Send]:
        items = events if make is None else [make(**fields) for fields in events]

        async def send() -> None:
            for number, item in enumerate(items, 1):
                client.emit(item)
                if number % _TURN == 0:
                    await asyncio.sleep(0)  # the events of an app come from many tasks
            await client.drain()

        async with open_(url, len(events)) as client:
            yield send

    return start


_TURN = 500
"""Events of a burst after which the event loop turns, as the limit's does between two bodies."""


@frozen(kw_only=True)
class Peer:
    """
    A client that others would use instead, set up as its manual says.
    """

    name: str
    setting: str
    """How it is set up."""
    start: Start
    open: Open | None = None
    """Starts it as an emitter, if it can be one."""
    trace: Trace | None = None
    """Starts it as a tracer, if it can be one."""
    trace_setting: str = ""
    """How that is set up."""
    needs: Sequence[str] = ()
    """The distributions to install."""

    @property
    def missing(self) -> Sequence[str]:
        """
        Name the distributions that are not installed.
        """
        return find_missing(self.needs)

    @property
    def description(self) -> str:
        """
        Say how it is set up, or why it is not there.
        """
        return self._absence or self.setting

    @property
    def trace_description(self) -> str:
        """
        Say how it is set up as a tracer, or why it is not there.
        """
        return self._absence or self.trace_setting

    @property
    def _absence(self) -> str:
        missing = ", ".join(self.missing)
        return f"not installed: {missing}; pip install '.[bench]'" if missing else ""


def find_missing(distributions: Sequence[str]) -> Sequence[str]:
    """
    Name those of *distributions* that are not installed.
    """
    return [name for name in distributions if not _is_installed(name)]


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
