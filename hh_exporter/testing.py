"""
For tests of programs that use the exporter.

A collector and exporters that send to it, on this machine only. What a test sees is what
crossed a socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import Any, Literal, Self, TypeAlias, TypeVar, get_args

from attrs import evolve

from hh_exporter import BatchLimits, ConfigError, Exporter, ExporterError, RetryPolicy, Stats
from hh_exporter._clock import Clock, SystemClock
from hh_exporter._collector import Collector, Faults
from hh_exporter._environment import Settings
from hh_exporter._fake_clock import FakeClock, settle

__all__ = ["FakeClock", "Kit", "assert_balanced"]

T = TypeVar("T")

Kind: TypeAlias = Literal["model", "tool", "chain", "session"]

_PATIENCE = 20.0
"""Real seconds after which a wait for the collector is given up."""

_KEY = "hh_test_key"
_LOOK = 0.001
_REAL = SystemClock()


class Kit:
    """
    A collector, and exporters that send to it; a context manager.

    The collector runs in its own thread, so a test may be a plain function or a coroutine,
    and exporters may run in any event loop.
    """

    def __init__(self) -> None:
        self.clock: FakeClock = FakeClock()
        """For `make_exporter`; `advance` moves it."""
        self._updates: list[dict[str, Any]] = []
        self._collector = Collector(script=self._next_fault, note_update=self._updates.append)
        self._exporters: list[Exporter] = []
        self._own_settings: dict[Exporter, Settings] = {}
        """The settings that adopted exporters get back."""
        self._script = deque[str]()
        self._outage: str | None = None
        self._met = {"hang": 0, "reset": 0}
        self._is_open = False
        self._loop: asyncio.AbstractEventLoop
        self._over: asyncio.Event
        self._thread: Thread

    def __enter__(self) -> Self:
        ready = Future[None]()
        serve = self._serve(ready)
        self._thread = Thread(
            target=asyncio.run, args=(serve,), name="hh_exporter testing", daemon=True
        )
        self._thread.start()
        ready.result()
        self._is_open = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        """
        Close the exporters that are open still, and check that the books of all balance.
        """
        try:
            for exporter in self._exporters:
                self._run(exporter.aclose(0.0))
                assert_balanced(exporter)
        finally:
            for exporter, settings in self._own_settings.items():
                _build_anew(exporter, settings)
            self._own_settings.clear()  # a kit may be opened again, and adopt them again
            self._exporters.clear()
            self._updates.clear()
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()
            self._is_open = False

    async def _serve(self, ready: Future[None]) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._collector.start()
        except BaseException as exc:
            ready.set_exception(exc)
            return
        ready.set_result(None)
        await self._over.wait()
        await self._collector.aclose()

    # Exporters.

    @property
    def url(self) -> str:
        """
        The address of the collector, for exporters that are not made here.
        """
        return self._collector.url

    def make_exporter(self, *, clock: Clock | None = None, **arguments: Any) -> Exporter:
        """
        Make an exporter that talks to the collector, and is closed when the kit is.

        By default it sends immediately, and retries after some milliseconds.

        Args:
            clock: Its source of time, such as the kit's `clock`; it then has the ordinary
                limits and no jitter. Default: the real time.
            **arguments: Those of `Exporter`.
        """
        given: dict[str, Any] = {"api_key": _KEY, "base_url": self.url, "also": self.url}
        if clock is None:
            given["batch"] = BatchLimits(linger=0.0)
            given["retry"] = RetryPolicy(base=0.01, max_delay=0.1)
        else:
            given |= {"_clock": clock, "_random": lambda: 1.0}
        exporter = Exporter(**given | arguments)
        self._exporters.append(exporter)
        return exporter

    def adopt(self, exporter: Exporter) -> None:
        """
        Have an exporter of the program talk to the collector until the kit ends.

        It is closed and starts again with counters at zero; the same happens at the end. Its
        settings stay, except for address and key; it has no spool, and is not disabled.
        """
        if exporter in self._own_settings:
            return
        self._run(exporter.aclose(0.0))
        self._own_settings[exporter] = settings = exporter._settings
        changed = evolve(
            settings,
            base_url=self.url,
            api_key=_KEY,
            spool=None,
            jetstream=None,
            also=None,
            disabled=False,
        )
        _build_anew(exporter, changed)
        self._exporters.append(exporter)

    # What arrived.

    def events(self, kind: Kind | None = None) -> list[dict[str, Any]]:
        """
        List the events that the collector has, as they were sent, in order of arrival.

        What updates say of an event since is part of it.

        Args:
            kind: Only those of this `event_type`; the model events of the legacy dialect
                have none on the wire, and count as "model". Default: all.

        Raises:
            ConfigError: There is no such kind.
        """
        if kind is not None and kind not in get_args(Kind):
            raise ConfigError(f"kind must be one of {', '.join(get_args(Kind))}, not {kind!r}")
        stored = [one.event for one in self._run(_all_of(self._collector.events()))]
        return [e for e in stored if kind is None or e.get("event_type", "model") == kind]

    def updates(self) -> list[dict[str, Any]]:
        """
        List the updates of events and sessions that the collector made, in order of arrival.

        Each is what was sent, with the `event_id`, also where that was in the path.
        """
        return self._run(_copy(self._updates))

    def sessions(self) -> dict[str, dict[str, Any]]:
        """
        List the properties of each session that the collector received, by session_id.
        """
        stored = self._run(_all_of(self._collector.sessions()))
        return {session.session_id: session.properties for session in stored}

    # What goes wrong.

    def fail(self, *faults: int | str) -> None:
        """
        Have the next requests fail with *faults*, one each, in this order.

        Args:
            *faults: A status from 400 to 599; "partial" (every other event of a batch is
                stored), "reset" (the connection is cut) or "hang" (there is no answer).

        Raises:
            ConfigError: There is no such fault.
        """
        self._script += [_checked(fault) for fault in faults]  # all or none

    @contextmanager
    def failing(self, fault: int | str) -> Iterator[None]:
        """
        Have every request in the block fail with *fault*, unless `fail` has another for it.
        """
        before, self._outage = self._outage, _checked(fault)
        try:
            yield
        finally:
            self._outage = before

    def _next_fault(self) -> str | None:
        fault = self._script.popleft() if self._script else self._outage
        if fault in self._met:
            self._met[fault] += 1
        return fault

    # Time.

    async def advance(self, seconds: float) -> None:
        """
        Let time pass on `clock`, and wait at each step for the answers that are due.

        Await it in the event loop of the exporters that use this clock. Work of a spool
        takes real time, and is not waited for.
        """
        end = self.clock.now() + seconds
        await self._quiet()
        while self.clock.now() < end:
            await self.clock.advance_to(min(self.clock.next_timer(), end))
            await self._quiet()

    async def _quiet(self) -> None:
        """
        Wait until no answer is on its way.
        """
        async with _REAL.timeout_at(_REAL.now() + _PATIENCE):
            is_quiet = False
            while not is_quiet:
                await settle()
                while self._is_on_wire():
                    await _REAL.sleep(_LOOK)
                await settle()  # what came last may have set no timer yet, or be followed by more
                is_quiet = not self._is_on_wire()

    def _is_on_wire(self) -> bool:
        workers = [exporter._life.worker for exporter in self._exporters]
        under_way = sum(worker.shipper.on_wire for worker in workers if worker is not None)
        unanswered = sum(e.stats().requests_by_status.get(None, 0) for e in self._exporters)
        # A hang ends as a request without an answer, as a reset does.
        return under_way > self._met["hang"] - max(0, unanswered - self._met["reset"])

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._is_open:
            work.close()  # or its never being awaited would be a warning
            raise ExporterError("the kit is not open: use it within its block")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)


def assert_balanced(exporter: Exporter) -> Stats:
    """
    Check that every event is in exactly one place.

    Returns:
        The books, to check more of them.

    Raises:
        AssertionError: They do not balance.
    """
    stats = exporter.stats()
    kept = stats.queued + stats.in_flight + stats.spooled
    if stats.pushed + stats.recovered != stats.settled + kept:
        came = f"{stats.pushed} + {stats.recovered}"
        raise AssertionError(f"{came} != {stats.settled} + {kept}: {stats}")
    if stats.dropped != sum(stats.dropped_by_reason.values()):
        raise AssertionError(f"{stats.dropped} dropped, and not as many with a reason: {stats}")
    return stats


def _build_anew(exporter: Exporter, settings: Settings) -> None:
    exporter._settings, exporter._disabled = settings, settings.disabled_reason
    exporter._build()


def _checked(fault: int | str) -> str:
    kind = str(fault)
    Faults(faults={kind: 1.0})
    return kind


async def _copy(found: list[T]) -> list[T]:
    return list(found)


async def _all_of(found: AsyncIterator[T]) -> list[T]:
    return [one async for one in found]
