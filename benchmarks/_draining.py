"""
Relays that take what is in a stream, one or several.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice

from attrs import frozen

from benchmarks._conduct import Conduct
from benchmarks._distant import Acknowledged, running_distant
from benchmarks._fleet import Fleet, running_fleet, running_relays
from benchmarks._rounds import interleave
from hh_exporter import Exporter, ModelEvent

__all__ = ["ALONE", "API", "MOST", "RELAYS", "Drained", "drain_all"]

API = Conduct(delay=0.5)
MOST = 0.9
"""Which part of the events counts: the last of a backlog wait for their batches to fill."""
ALONE = "1 relay"
RELAYS = {ALONE: 1, "2 relays": 2, "3 relays": 3}


@frozen(kw_only=True)
class Drained:
    """
    What relays made of the events in a stream.
    """

    seconds: float
    """From the start of the relays until the API had acknowledged `MOST` of the events."""
    shares: Sequence[int]
    """How many events each of them has delivered."""


async def drain_all(
    made: Sequence[ModelEvent], count: int, rounds: int
) -> dict[str, list[Drained]]:
    """
    Have each number of relays deliver *count* events, once a round.

    Raises:
        RuntimeError: An event did not arrive, or came twice.
    """
    events = list(islice(cycle(made), count))
    async with running_fleet() as fleet:
        ways = {name: partial(_drain, fleet, events, relays) for name, relays in RELAYS.items()}
        return await interleave(ways, rounds=rounds, warm_up=0)


async def _drain(fleet: Fleet, events: Sequence[ModelEvent], relays: int) -> Drained:
    with running_distant(API) as server, running_relays(relays, fleet.servers, server.url) as ours:
        async with Exporter(jetstream=fleet.servers) as exporter:
            for event in events:
                await exporter.put(event)
            await exporter.flush()
        began = asyncio.get_running_loop().time()
        ours.start()
        await fleet.drained()
        shares = await asyncio.to_thread(ours.stop)
        noted = await asyncio.to_thread(server.collect)
    if not len(events) == noted.events == noted.distinct == sum(shares):
        raise RuntimeError(f"{len(events)} events should have been delivered once: {noted.events}")
    return Drained(seconds=_find_time(noted.acknowledged, len(events)) - began, shares=shares)


def _find_time(acknowledged: Sequence[Acknowledged], events: int) -> float:
    """
    Say when `MOST` of so many *events* had been acknowledged.
    """
    left = MOST * events
    for each in sorted(acknowledged, key=lambda each: each.at):
        left -= len(each.ids)
        if left <= 0:
            return each.at
    raise RuntimeError(f"{left:.0f} more events should have been acknowledged")
