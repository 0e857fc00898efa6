"""
The pictures of the collector's page in README and docs/: `python -m tests.screenshots`.

They show what `hh-exporter demo` sends, told as an hour of work: the slowest calls of a
filter with one conversation, and the session of the agent, which comes last. Nothing else
has a part in them but the clock.
"""

from __future__ import annotations

import asyncio
import struct
import sys
import zlib
from pathlib import Path
from random import Random

import attrs

from hh_exporter import Exporter
from hh_exporter._cli._sample import sample
from hh_exporter._cli._trace import agent_trace
from hh_exporter._clock import SystemClock
from hh_exporter._collector import Collector
from tests.browser import Browser, find_chromium, started_browser
from tests.collector_client import get

DOCS = Path(__file__).parents[1] / "docs"
SIZE = (1440, 900)
HOUR = 3600.0
VIEWS = {
    "light": "&filter=model:claude* latency>1s&sort=-latency",
    "dark": "&by=model&tab=session",
}
"""What is shown beside the range and the event, by colour scheme."""
OPEN = {"light": "code/review", "dark": "agent/reply"}
"""The name of the event that is open, the latest of it."""
LAST = 219
"""The last event of the sample to be sent: it answers in a chat with tools."""
APART = 4_000
"""Milliseconds between the ends of events that are sent together."""
DRAWN = "return document.querySelectorAll('.chart canvas').length === 5"


class PastClock(SystemClock):
    """
    The real clock, some seconds ago.
    """

    ago = HOUR

    def wall(self) -> float:
        return super().wall() - self.ago


async def fill(collector: Collector, clock: PastClock) -> None:
    """
    Send the sample, spread over the last hour: now and then a burst, the rest one by one.
    """
    rng = Random(7)
    events = sample()
    events = [
        attrs.evolve(event, session_id=event.session_id and f"{event.session_id[:-1]}{day}")
        for day in range(3)
        for event in events[LAST:] + events[:LAST]
    ]
    async with Exporter(base_url=collector.url) as exporter:
        at = 0
        while at < len(events):
            burst = rng.choice((1, 1, 2, 3, 5, 9))
            clock.ago = max(1.0, 0.95 * HOUR * (1 - at / len(events)))
            for place, event in enumerate(events[at : at + burst]):
                end = clock.wall() * 1000 - (burst - place) * APART
                took = event.duration
                start = end - (took if isinstance(took, float) else 0)
                exporter.push(attrs.evolve(event, event_id=None, start_time=start, end_time=end))
            await exporter.flush()
            at += burst
    clock.ago = 0.0
    async with Exporter(base_url=collector.url, dialect="v1") as exporter:
        for step in agent_trace(clock.wall() * 1000):
            exporter.push(step)


async def latest(collector: Collector, name: str) -> int:
    """
    Find the row of the latest event with that name.
    """
    found = await get(collector, "events", filter=f'name:"{name}"', limit=1)
    return int(found["events"][0]["id"])


async def take(browser: Browser, url: str, scheme: str, event: int) -> bytes:
    """
    Take a picture of the page with an event open.
    """
    await browser.reset()
    await browser.resize(*SIZE)
    await browser.prefer(scheme)
    await browser.open(f"{url}/#range=1h&event={event}{VIEWS[scheme]}")
    await browser.until(DRAWN)
    await browser.find(".detail-content > *")
    return await browser.screenshot()


def squeezed(png: bytes) -> bytes:
    """
    Pack the pixels of a PNG tighter than the browser did (PNG, 3rd edition, §5 and §10).
    """
    at, kept, pixels = 8, [], b""
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        data = png[at + 8 : at + 8 + length]
        at += length + 12
        if kind == b"IDAT":
            pixels += data
        else:
            kept.append((kind, data))
    kept.insert(-1, (b"IDAT", zlib.compress(zlib.decompress(pixels), 9)))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in kept
    )
    return png[:8] + b"".join(chunks)


async def main() -> None:
    found = find_chromium()
    if found is None:
        sys.exit("needs Chromium and its driver: apt-get install chromium chromium-driver")
    clock = PastClock()
    async with Collector(clock=clock) as collector:
        await fill(collector, clock)
        with started_browser(*found) as browser:
            for scheme in VIEWS:
                event = await latest(collector, OPEN[scheme])
                picture = await take(browser, collector.url, scheme, event)
                (DOCS / f"collector-{scheme}.png").write_bytes(squeezed(picture))


if __name__ == "__main__":
    asyncio.run(main())
