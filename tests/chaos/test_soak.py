"""
Under faults without end nothing grows: memory, descriptors, tasks, threads.

Told in cycles on the machine's own clock: some seconds of faults, then peace,
an audit, and a look at what the process holds. Run by hand; CHAOS_MINUTES says
for how long.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import median

import pytest
from attrs import asdict, frozen

from hh_exporter import BatchLimits, Event, Exporter, QueueLimits, RetryPolicy, Settlement, Spool
from hh_exporter._clock import SystemClock
from tests.chaos.accounts import Accounts
from tests.chaos.proxy import FaultProxy
from tests.chaos.story import NETWORKS, answer_from, spoil
from tests.scripted_server import Answer, Request, ScriptedServer
from tests.support import assert_balanced, model_event
from tests.updates import say

MINUTES = float(os.environ.get("CHAOS_MINUTES", "10"))
SEED = int(os.environ.get("CHAOS_SEED", "0"))

CYCLE = 8.0
"""Seconds of faults between two audits."""
SPELL = 2.0
"""Seconds of one network and one server."""
PAUSE = 0.05
"""Seconds between two groups of events."""
GROUP = 10
REQUEST_TIMEOUT = 0.5
DOUBTFUL = REQUEST_TIMEOUT / 2
"""Seconds after which a busy machine may be too late for an answer."""

OBJECTS_SLACK = 100
"""Sessions and the like that are remembered for a while; a leak has one an event."""

RSS_SLACK = 6 * 2**20
"""Bytes by which an allocator may differ from one hour to the next."""

FEW = 200
"""Events in memory, where there is a spool: an outage brings more, and they wait on disk."""

FAULTY = tuple(name for name in NETWORKS if name not in ("impostor", "plain text"))


@frozen(kw_only=True)
class Holdings:
    """
    What the process holds after a cycle.
    """

    rss: int
    descriptors: int
    tasks: int
    threads: int
    objects: int

    @classmethod
    def look(cls) -> Holdings:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            rss=pages * os.sysconf("SC_PAGE_SIZE"),
            descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
            tasks=len(asyncio.all_tasks()),
            threads=threading.active_count(),
            objects=len(gc.get_objects()),
        )


class Soak:
    """
    One exporter under load, and what is between it and its server.
    """

    def __init__(self, server: ScriptedServer, spool: Spool | None) -> None:
        self.spool = spool
        self.random = Random(SEED)
        self.clock = SystemClock()
        self.server = server
        self.network, self.weather = "calm", "well"
        self.accounts = Accounts(doubts_after=DOUBTFUL)
        self.pushed = 0
        server.default = self.answer
        self.proxy = FaultProxy(
            leads_to=int(server.url.rpartition(":")[2]),
            clock=self.clock,
            choose=lambda _: spoil(self.network, self.random),
        )

    def answer(self, request: Request) -> Answer:
        answer = answer_from(self.weather, self.random, request)
        self.accounts.note_answer(request, answer)
        return answer

    def make_exporter(self) -> Exporter:
        return Exporter(
            "hh_key",
            base_url=self.proxy.url,
            queue=QueueLimits() if self.spool is None else QueueLimits(max_events=FEW),
            batch=BatchLimits(max_events=50, linger=0.1),
            retry=RetryPolicy(base=0.05, max_delay=0.2, retry_after_cap=0.2),
            request_timeout=REQUEST_TIMEOUT,
            spool=self.spool,
            on_outcome=self.note_outcome,
        )

    def note_outcome(self, settlement: Settlement) -> None:
        self.accounts.note_outcome(settlement)

    async def suffer(self, exporter: Exporter) -> None:
        """
        Push steadily through one cycle of faults.
        """
        end = self.clock.now() + CYCLE
        while (now := self.clock.now()) < end:
            await self.change()
            while self.clock.now() < min(end, now + SPELL):
                for _ in range(GROUP):
                    self.push(exporter)
                if self.network == "restarting":
                    await self.proxy.restart()
                self.accounts.look(exporter, is_alone=False)
                await self.clock.sleep(PAUSE)

    async def change(self) -> None:
        self.network = self.random.choice(FAULTY)
        self.weather = self.random.choice(("well", "flaky", "503", "reset"))
        await (self.proxy.stop() if self.network == "gone" else self.proxy.restart())
        await (self.server.stop() if self.network == "server gone" else self.server.restart())

    def push(self, exporter: Exporter) -> None:
        self.pushed += 1
        event_id = f"event-{self.pushed}"
        is_bad = self.random.random() < 0.02
        self.accounts.note_push(event_id, is_bad=is_bad)
        name = "bad" if is_bad else "good"
        if self.pushed % 3:
            exporter.push(model_event(event_id=event_id, event_name=name))
        else:
            exporter.push(Event(event_type="tool", event_id=event_id, event_name=name))
            exporter.update(event_id, **say(self.accounts.note_update(event_id)))

    async def settle(self, exporter: Exporter) -> None:
        """
        Let all become well, audit the cycle, and forget it.
        """
        self.network, self.weather = "calm", "well"
        await self.proxy.restart()
        await self.server.restart()
        while exporter._queue.has_open_records:
            await exporter.flush(10.0)
        await self.proxy.restart()  # ends what hangs there
        assert not self.proxy.failures, self.proxy.failures
        self.accounts.audit(self.proxy.exchanges)
        self.accounts = Accounts(doubts_after=DOUBTFUL)
        self.proxy.exchanges.clear()
        self.server.requests.clear()
        self.server.created.clear()
        self.server.updated.clear()
        self.server._sent_ids.clear()


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["in memory", "memory first", "durable"])
async def test_nothing_grows(
    kind: str,
    server: ScriptedServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    The last quarter of a long run under faults holds what the first one held.
    """
    caplog.set_level(logging.CRITICAL)
    spool = None if kind == "in memory" else Spool(tmp_path / "spool", durable=kind == "durable")
    soak = Soak(server, spool)
    await soak.proxy.open()
    held: list[Holdings] = []
    async with soak.make_exporter() as exporter:
        end = soak.clock.now() + 60 * MINUTES
        while soak.clock.now() < end:
            await soak.suffer(exporter)
            await soak.settle(exporter)
            held.append(Holdings.look())
        stats = assert_balanced(exporter)
    await soak.proxy.close()

    first, last = quarters(held[1:])  # the first cycle fills caches and pools
    with capsys.disabled():
        print(f"\n{soak.pushed} events, {stats.requests} requests, {stats}")
        for name in asdict(held[0]):
            print(f"{name:12} first {first[name]:>12.0f}  last {last[name]:>12.0f}")
    assert last["rss"] < first["rss"] * 1.03 + RSS_SLACK
    assert last["objects"] < first["objects"] * 1.03 + OBJECTS_SLACK
    for name in ("descriptors", "tasks", "threads"):
        assert last[name] <= first[name] + 1, name


def quarters(held: Sequence[Holdings]) -> tuple[dict[str, float], dict[str, float]]:
    """
    Take the medians of the first and of the last quarter.
    """
    n = max(1, len(held) // 4)

    def middle(some: Sequence[Holdings]) -> dict[str, float]:
        return {name: median(getattr(one, name) for one in some) for name in asdict(some[0])}

    return middle(held[:n]), middle(held[-n:])
