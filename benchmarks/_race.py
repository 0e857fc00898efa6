"""
Clients that send the same burst in turn, and what an event costs with each.

One rule: no cost counts unless the sink has got each event of the burst once.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import cycle, islice

from attrs import frozen

from benchmarks._peers import Send, Start
from benchmarks._rounds import interleave
from benchmarks._sink import Sink
from benchmarks._workload import Fields

__all__ = ["Cost", "race"]


@frozen
class Cost:
    """
    What one event cost until it was acknowledged, in seconds.
    """

    wall: float
    cpu: float
    """Of this process alone, with all its threads."""
    sink_cpu: float
    """Of the sink, which works beside this process: it bounds what `wall` can be."""


async def race(
    variants: Mapping[str, Start],
    events: Sequence[Fields],
    sink: Sink,
    *,
    burst: int,
    rounds: int,
    warm_up: int,
) -> dict[str, list[Cost]]:
    """
    Send a burst with each of *variants*, once a round.

    Args:
        burst: How many events; *events* are repeated to make up the number.

    Returns:
        What one event cost, by variant and round.

    Raises:
        RuntimeError: An event did not arrive at *sink*, or came twice.
    """
    workload = list(islice(cycle(events), burst))
    async with AsyncExitStack() as stack:
        sends = {
            name: await stack.enter_async_context(start(sink.url, workload))
            for name, start in variants.items()
        }
        return await interleave(
            {name: partial(_time, send, sink, burst) for name, send in sends.items()},
            rounds=rounds,
            warm_up=warm_up,
        )


async def _time(send: Send, sink: Sink, burst: int) -> Cost:
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await send()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    received = sink.expect(burst)
    return Cost(wall / burst, cpu / burst, received.cpu / burst)
