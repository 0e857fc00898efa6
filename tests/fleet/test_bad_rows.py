"""
Many events in a row that the API refuses, in a stream that gives first what was given back.
"""

from __future__ import annotations

import asyncio

import pytest

from hh_exporter import BatchLimits, Exporter, JetStream
from hh_exporter.testing import FakeClock
from tests.fleet.fake_stream import FakeStream
from tests.fleet.relays import balanced, make_relay
from tests.scripted_server import ScriptedServer, refuse_if
from tests.support import model_event, settle

SOON = BatchLimits(linger=0.1)


@pytest.mark.parametrize("count", [2, 30])
async def test_bad_events_do_not_hold_up_those_behind_them(
    clock: FakeClock, server: ScriptedServer, count: int
) -> None:
    """
    Beyond five in a row a relay is suspended. Each of its probes is another event then, so it
    comes to a good one, however many bad ones were given back; none of those is lost.
    """
    server.default = refuse_if(lambda event: str(event["event_id"]).startswith("bad"))
    async with FakeStream(clock=clock) as stream:

        async def wait(seconds: float) -> None:
            for _ in range(round(seconds)):
                await clock.advance(1.0)
                for _ in range(12):
                    await settle()
                    stream.look()

        app = Exporter(jetstream=JetStream(stream.address), batch=SOON, _clock=clock)
        await app.start()
        for n in range(count):
            app.push(model_event(event_id=f"bad{n}"))
        for n in range(10):
            app.push(model_event(event_id=f"good{n}"))
        await wait(5)
        assert len(stream.messages) == count + 10

        relay = make_relay(stream.address, server, clock=clock, prefetch=12)
        starting = asyncio.create_task(relay.start())
        for _ in range(60):
            await wait(60)
            if balanced(relay).delivered == 10:
                break
        await starting
        stats = balanced(relay)
        assert (stats.delivered, stats.health) == (10, "ok")
        assert min(count, 5) <= stats.rejected == len(stream.dead)
        assert len(stream.dead) + len(stream.messages) == count
        assert len(server.created_ids) == 10

        ending = asyncio.gather(relay.aclose(), app.aclose())
        while not ending.done():
            await wait(1)
