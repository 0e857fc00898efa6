"""
A relay's memory is flat, however many events it delivers.

A day's worth of small events from one app through one relay, each in a process of its own, to an
API that counts them. Run by hand; CHAOS_EVENTS says how many.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import orjson
import pytest
from aiohttp import web

from hh_exporter._cli._cluster import Cluster
from tests.fleet.relays import prepare
from tests.nats import connected
from tests.programs import running, started

pytestmark = pytest.mark.soak

EVENTS = int(os.environ.get("CHAOS_EVENTS", "1000000"))
SLACK = 8 * 2**20
"""Bytes by which an allocator may differ from one hour to the next."""

APP = """
async def main():
    async with exporter:
        for n in range(int(os.environ["EVENTS"])):
            await exporter.put(ModelEvent(model="m", event_id=f"e{n}"))
        await exporter.flush()
        say(exporter.stats().relayed)

asyncio.run(main())
"""


@asynccontextmanager
async def counting(seen: bytearray) -> AsyncIterator[str]:
    """
    Run an API that counts in *seen* how often it was given each event.
    """

    async def take(request: web.Request) -> web.Response:
        ids = [event["event_id"] for event in orjson.loads(await request.read())["model_events"]]
        for event_id in ids:
            seen[int(event_id[1:])] += 1
        body = orjson.dumps({"success": True, "event_ids": ids})
        return web.Response(body=body, content_type="application/json")

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/events/model/batch", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def rss_of(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(7200)
async def test_a_relay_delivers_a_day_in_flat_memory(nats_server: Cluster) -> None:
    """
    Once it has warmed up it takes no more, and each event arrives once.
    """
    await prepare(nats_server)
    seen = bytearray(EVENTS)
    environ = {
        "HH_EXPORTER_JETSTREAM_SERVERS": nats_server.servers,
        "HH_API_KEY": "hh_key",
        "EVENTS": str(EVENTS),
    }
    series: list[int] = []
    async with counting(seen) as url, connected(nats_server) as client:
        at_relay = environ | {"HH_API_URL": url}
        with (
            started("-m", "hh_exporter", "relay", environ=at_relay) as relay,
            running(APP, url, **environ) as app,
        ):
            pushing = asyncio.create_task(app.line())
            while not pushing.done() or await client.messages("HH_EVENTS"):
                await asyncio.sleep(1.0)
                series.append(rss_of(relay.process.pid))
                print(f"{len(seen) - seen.count(0):,} {series[-1] / 2**20:.1f} MiB", flush=True)
            assert await pushing == str(EVENTS)
    assert seen.count(1) == EVENTS
    assert len(series) >= 8, "too few events to tell"
    quarter = len(series) // 4
    assert median(series[-quarter:]) <= median(series[quarter : 2 * quarter]) + SLACK, series
