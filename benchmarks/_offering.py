"""
A client in a process of its own that is offered events at a fixed rate.

Events are offered when they are due, whatever became of those before. When each
was acknowledged is for the server to say, so that nothing is measured in the
client's process but what it takes.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, islice
from multiprocessing.connection import Connection
from typing import Any

from attrs import Factory, define, frozen

from benchmarks._peers import PEERS, Emitter, secluded
from benchmarks._process import read_resident
from benchmarks._workload import Fields
from hh_exporter import BatchLimits, Exporter, ModelEvent
from hh_exporter._delivery.limiter import Limiter

__all__ = ["Client", "Load", "Offered", "Sample", "offer"]

_TICK = 0.005
"""Seconds between two groups of events: an app's come in groups too."""
_LOOK = 0.1
"""Seconds between two samples."""


@frozen(kw_only=True)
class Client:
    """
    One of the clients to compare: an exporter, or the peer that is named.
    """

    peer: str | None = None
    batch: BatchLimits | None = None
    """None for the exporter's default."""
    in_flight: int | None = None
    """Requests that may be in flight at any time; None for what the exporter finds by trying."""


class _Pinned(Limiter):
    """
    A limiter that knows only its ceiling.
    """

    def __attrs_post_init__(self) -> None:
        self.limit = self.first = self.ceiling

    def note(
        self, change: int, status: int | None, seconds: float, size: int, *, is_known: bool = False
    ) -> None:
        pass


@frozen(kw_only=True)
class Load:
    """
    What a client is offered.
    """

    events: Sequence[Fields]
    """They are repeated to make up the number."""
    rate: int
    """Events a second."""
    seconds: float
    patience: float
    """Seconds that a client has for the rest once all are offered."""


@frozen(kw_only=True)
class Sample:
    """
    The exporter at one instant.
    """

    at: float
    """Seconds since the first event was offered."""
    queued: int
    in_flight: int
    """Events."""
    limit: int
    """How many requests may be under way."""
    reason: str
    """Why no more may be."""


@define(kw_only=True)
class Offered:
    """
    What the client saw, and what it took.
    """

    pushed: Mapping[str, float] = Factory(dict)
    """When each event was offered, on the monotonic clock, by what the server knows it by."""
    began: float = 0.0
    ended: float = 0.0
    """When the first and the last event were offered."""
    closed: float = 0.0
    """When the client said that it is done; if it did not, when its patience ended."""
    is_done: bool = False
    cpu: float = 0.0
    """Seconds of processor time until then."""
    resident: int = 0
    """Bytes by which the process grew at most."""
    delivered: int | None = None
    """Events that it says were acknowledged, if it says so."""
    samples: list[Sample] = Factory(list)


def offer(client: Client, url: str, load: Load) -> Offered:
    """
    Offer *load* to a *client* of the server at *url*, where nothing was done before.

    Raises:
        RuntimeError: The client failed.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, client, url, load))
    process.start()
    theirs.close()
    try:
        found: Offered = ours.recv()
    except EOFError:
        raise RuntimeError(f"{client} failed") from None
    finally:
        process.kill()  # what it still wants to send is of no interest
        process.join()
        ours.close()
    return found


def _run(results: Connection, client: Client, url: str, load: Load) -> None:
    logging.disable()  # of the losses that are to be counted
    with secluded():
        asyncio.run(_Offering(results).run(client, url, load))


@define(eq=False)
class _Offering:
    results: Connection
    found: Offered = Factory(Offered)
    _ids: list[object] = Factory(list)
    _times: list[float] = Factory(list)
    _lock: threading.Lock = Factory(threading.Lock)
    _cpu: float = 0.0
    _resident: int = 0

    async def run(self, client: Client, url: str, load: Load) -> None:
        async with _opening(client, url) as (emitter, look):
            gc.collect()
            self._resident, self._cpu = read_resident(), time.process_time()
            self.found.began = time.monotonic()
            sampling = asyncio.create_task(self._sample(look))
            await self._offer(emitter.emit, load)
            self.found.ended = time.monotonic()
            patience = threading.Timer(load.patience, self._tell)
            patience.daemon = True
            patience.start()
            delivered = await emitter.drain()
            sampling.cancel()
            self.found.delivered = delivered if isinstance(delivered, int) else None
            self._tell(is_done=True)

    async def _offer(self, emit: Callable[[Any], object], load: Load) -> None:
        count = round(load.rate * load.seconds)
        events = islice(cycle(load.events), count)
        began, offered = self.found.began, 0
        while offered < count:
            now = time.monotonic()
            due = min(count, round((now - began + _TICK) * load.rate)) - offered
            self._ids += map(emit, islice(events, due))
            self._times += [now] * due
            offered += due
            await asyncio.sleep(max(0.0, now + _TICK - time.monotonic()))

    async def _sample(self, look: Callable[[float], Sample | None]) -> None:
        while True:
            grown = read_resident() - self._resident
            self.found.resident = max(self.found.resident, grown)
            if sample := look(time.monotonic() - self.found.began):
                self.found.samples.append(sample)
            await asyncio.sleep(_LOOK)

    def _tell(self, *, is_done: bool = False) -> None:
        """
        Send what was found; the first call counts.
        """
        with self._lock:
            if self.found.closed:
                return
            self.found.closed = time.monotonic()
            self.found.is_done = is_done
            self.found.cpu = time.process_time() - self._cpu
            names = map(_name, self._ids)
            self.found.pushed = dict(zip(names, self._times, strict=True))
            self.results.send(self.found)


def _name(id_: object) -> str:
    """
    Write an id as the server notes it.
    """
    if isinstance(id_, int):
        return id_.to_bytes(8, "big").decode("latin-1")
    return str(id_)


@asynccontextmanager
async def _opening(
    client: Client, url: str
) -> AsyncIterator[tuple[Emitter, Callable[[float], Sample | None]]]:
    """
    Start *client*, with its default settings but for what it names.
    """
    if client.peer is None:
        exporter = Exporter(base_url=url, batch=client.batch, max_in_flight=client.in_flight)
        if client.in_flight is not None:
            exporter._life.make_worker.make_limiter = _Pinned  # type: ignore[attr-defined]
        await exporter.start()
        yield _emit_to(exporter), lambda at: _look(exporter, at)
        return
    [peer] = (peer for peer in PEERS if peer.name == client.peer)
    assert peer.open is not None
    async with peer.open(url, 0) as emitter:
        yield emitter, lambda _: None


def _emit_to(exporter: Exporter) -> Emitter:
    def emit(fields: Fields) -> str:
        event_id = str(uuid.uuid4())
        exporter.push(ModelEvent(**fields, event_id=event_id))
        return event_id

    async def drain() -> int:
        await exporter.aclose()
        stats = exporter.stats()
        if stats.pushed != stats.settled:
            raise RuntimeError(f"the books don't balance: {stats}")
        return stats.delivered

    return Emitter(emit, drain)


def _look(exporter: Exporter, at: float) -> Sample:
    stats = exporter.stats()
    return Sample(
        at=at,
        queued=stats.queued,
        in_flight=stats.in_flight,
        limit=stats.in_flight_limit,
        reason=stats.in_flight_reason,
    )
