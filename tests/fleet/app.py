"""
What tests of app hosts share: exporters that publish, and the time until they have.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from hh_exporter import BatchLimits, Exporter, Outcome, Settlement
from hh_exporter.testing import assert_balanced
from tests.fake_nats import FakeNats
from tests.support import PATIENCE, FakeClock

__all__ = ["IDS", "SOON", "Told", "exporter_to", "failed", "relayed"]

SOON = BatchLimits(linger=0.0)
IDS = [f"e{n}" for n in range(20)]

_LOOKS = 40
"""Moments of real time in which nothing happens, after which it is time that must pass."""


class Told:
    """
    Counts the outcomes of each event.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, Outcome]] = Counter()

    def __call__(self, settlement: Settlement) -> None:
        self.outcomes.update((one, settlement.outcome) for one in settlement.event_ids)


def exporter_to(server: FakeNats | str, clock: FakeClock, **settings: Any) -> Exporter:
    address = server if isinstance(server, str) else server.address
    defaults: dict[str, Any] = {"jetstream": address, "batch": SOON}
    return Exporter(**defaults | settings, _clock=clock)


async def failed(exporter: Exporter, clock: FakeClock, times: int = 1) -> None:
    """
    Wait until so many attempts have been made, and the last one failed.
    """
    while exporter.stats().requests < times or exporter.stats().health == "ok":
        await asyncio.sleep(0)
        if exporter.stats().health == "retrying":
            await clock.advance(0.5)


async def relayed(exporter: Exporter, clock: FakeClock, count: int) -> None:
    """
    Wait until *count* events in all are relayed, while time passes.
    """
    looks = 0
    async with asyncio.timeout(PATIENCE):
        while assert_balanced(exporter).relayed != count:
            looks += 1
            if looks % _LOOKS:
                await asyncio.sleep(0.001)
            else:
                await clock.advance(1.0)
