"""
Simulated failures, to see how a client behaves when the server fails.

Only the routes that take events have faults, before their body is read. A request
with a fault is not stored, except for half of it at a partial success.
"""

from __future__ import annotations

import socket
import struct
from asyncio import Event
from collections import deque
from contextlib import suppress
from math import ceil, fsum, inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aiohttp import web
from attrs import asdict, define, field, frozen

from hh_exporter._collector.answers import error_answer, json_answer
from hh_exporter._collector.ingest.validation import FAULTS
from hh_exporter.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from attrs import Attribute

    from hh_exporter._clock import Clock
    from hh_exporter._collector.ingest.bodies import Bodies

__all__ = ["MAX_HANGING", "PARTIAL", "FaultInjector", "Faults"]

PARTIAL = "partial"
"""The fault that fails no request: only every second event of a batch is stored."""

MAX_HANGING = 100
"""Requests that hang at once; one more ends the first of them."""
_MAX_HANG = 600.0
_MAX_LATENCY = 60.0
_MIN_RATE = 1e-9
_ROUNDING = 1e-9
_KINDS = frozenset({*map(str, range(400, 600)), PARTIAL, "reset", "hang"})
_MAX_FAULTS_BYTES = 2**16
_EXCUSE = "a fault that the collector was asked for"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def _check_latency(_: Faults, __: Attribute[float], latency: float) -> None:
    if not 0 <= latency <= _MAX_LATENCY:
        raise ConfigError(f"latency must be from 0 to {_MAX_LATENCY:.0f} seconds, not {latency!r}")


def _check_rate(_: Faults, __: Attribute[float | None], rate: float | None) -> None:
    if rate is not None and not _MIN_RATE <= rate < inf:
        raise ConfigError(
            f"rate_limit must be requests per second, at least {_MIN_RATE}, not {rate!r}"
        )


def _check_faults(
    _: Faults, __: Attribute[Mapping[str, float]], faults: Mapping[str, float]
) -> None:
    for kind, share in faults.items():
        if kind not in _KINDS:
            raise ConfigError(
                "a fault must be a status from 400 to 599, partial, reset or hang, "
                f"not {kind[:40]!r}"
            )
        if type(share) not in (int, float) or not 0 <= share <= 1:
            raise ConfigError(f"the share of {kind} must be from 0 to 1, not {share!r:.40}")
    if fsum(faults.values()) > 1 + _ROUNDING:
        raise ConfigError("the shares of all faults must be no more than 1 together")


def _frozen_copy(faults: Mapping[str, float]) -> Mapping[str, float]:
    return MappingProxyType(dict(faults))


@frozen(kw_only=True)
class Faults:
    """
    What is to go wrong, and how often.
    """

    latency: float = field(default=0.0, validator=_check_latency)
    """Seconds that each request waits."""
    rate_limit: float | None = field(default=None, validator=_check_rate)
    """Requests per second, of which a second's worth may come at once; beyond it, 429."""
    faults: Mapping[str, float] = field(
        factory=dict, converter=_frozen_copy, validator=_check_faults
    )
    """
    The share of requests with each fault: a status, "partial", "reset" or "hang".

    A request with fewer than two events is not affected by "partial".
    """


@define(eq=False)
class FaultInjector:
    """
    Decides which requests get the faults that are set, and fails them.
    """

    clock: Clock
    random: Callable[[], float]
    """Makes a number from 0 to 1, which decides the fault of a request."""
    faults: Faults
    script: Callable[[], str | None] = lambda: None
    """Says the fault of the next request; None leaves it to chance."""
    _tokens: float = field(init=False)
    _counted_at: float = field(init=False)
    _hanging: deque[Event] = field(factory=deque, init=False)

    def __attrs_post_init__(self) -> None:
        self.replace(self.faults)

    def replace(self, faults: Faults) -> None:
        """
        Replace the faults that are set.
        """
        self.faults = faults
        self._tokens = self._burst
        self._counted_at = self.clock.now()

    async def due(self) -> str | None:
        """
        Wait for the latency, and say the fault of the next request; None if it has none.

        Raises aiohttp's 429 beyond the rate.
        """
        if self.faults.latency:
            await self.clock.sleep(self.faults.latency)
        if (kind := self.script()) is not None:
            return kind
        if (delay := self._overrun()) > 0:
            raise web.HTTPTooManyRequests(
                text="more requests than the collector was asked to take",
                headers={"Retry-After": str(ceil(delay))},
            )
        draw = self.random()
        for kind, share in self.faults.faults.items():
            draw -= share
            if draw < 0:
                return kind
        return None

    async def fail(self, request: web.Request, kind: str) -> web.Response:
        """
        Answer *request* as the fault *kind* does.
        """
        if kind == "hang":
            await self._hang()
        if kind in ("hang", "reset"):
            return _reset(request)
        return error_answer(int(kind), _EXCUSE, "injected_fault")

    @property
    def _burst(self) -> float:
        return max(1.0, self.faults.rate_limit or 0.0)

    def _overrun(self) -> float:
        """
        Take one request's worth of the rate; or say in how many seconds there will be one.
        """
        rate = self.faults.rate_limit
        if rate is None:
            return 0.0
        now = self.clock.now()
        self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * rate)
        self._counted_at = now
        if self._tokens < 1:
            return (1 - self._tokens) / rate
        self._tokens -= 1
        return 0.0

    async def _hang(self) -> None:
        if len(self._hanging) == MAX_HANGING:
            self._hanging.popleft().set()
        over = Event()
        self._hanging.append(over)
        try:
            with suppress(TimeoutError):
                async with self.clock.timeout_at(self.clock.now() + _MAX_HANG):
                    await over.wait()
        finally:
            with suppress(ValueError):  # one that came later has ended it
                self._hanging.remove(over)


@frozen
class FaultRoutes:
    """
    The handlers by which faults are read and set while the collector runs.
    """

    injector: FaultInjector
    bodies: Bodies

    def add_to(self, app: web.Application) -> None:
        """
        Let *app* serve them.
        """
        app.router.add_get("/api/faults", self.tell, allow_head=False)
        app.router.add_put("/api/faults", self.replace)

    async def tell(self, _: web.Request) -> web.Response:
        """
        Say what is set.
        """
        return json_answer(_to_json(self.injector.faults))

    async def replace(self, request: web.Request) -> web.Response:
        """
        Set what the body says, and nothing else; say what is set.
        """
        async with self.bodies.read(request, FAULTS, _MAX_FAULTS_BYTES) as body:
            try:
                faults = Faults(**body)
            except ConfigError as exc:
                raise web.HTTPBadRequest(text=f"body: {exc}") from None
        self.injector.replace(faults)
        return json_answer(_to_json(faults))


def _to_json(faults: Faults) -> dict[str, Any]:
    return {**asdict(faults), "faults": dict(faults.faults)}


def _reset(request: web.Request) -> web.Response:
    """
    Cut the connection of *request*; what is answered then reaches nobody.
    """
    if (transport := request.transport) is not None:
        if (connection := transport.get_extra_info("socket")) is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()
