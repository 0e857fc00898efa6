"""
A fleet under random faults loses nothing, and sends nothing twice that it has not counted.

Three servers, three relays in processes of their own, one app and one API, each behind a network
of its own. What happens comes from a seed; when, from the machine. Run by hand: CHAOS_MINUTES
says for how long, CHAOS_SEED what.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import pytest
from attrs import define, field

from hh_exporter import JetStream
from hh_exporter._cli._cluster import Cluster
from hh_exporter._clock import SystemClock
from tests.fleet.story import Fleet, Solo
from tests.nats import Network, cabled
from tests.scripted_server import (
    Request,
    Scripted,
    ScriptedServer,
    created,
    hang_after_storing,
    partly,
    reset_after_storing,
    reset_before_storing,
    too_many,
    unavailable,
)

pytestmark = pytest.mark.soak

MINUTES = float(os.environ.get("CHAOS_MINUTES", "10"))
SEED = int(os.environ.get("CHAOS_SEED", "0"))

ACK_WAIT = 10.0
RELAYS = 3
RATE = 150
"""Events a second."""

Heal = Callable[[], Coroutine[Any, Any, None]]


@define(eq=False, kw_only=True)
class Slot:
    """
    A place for a relay, and the one that is there.
    """

    fleet: Fleet
    network: Network
    relay: Solo = field(init=False)
    _stack: AsyncExitStack = field(init=False, factory=AsyncExitStack)

    async def fill(self) -> None:
        await self._stack.aclose()
        self._stack = AsyncExitStack()
        running = self.fleet.solo(self.network.servers, prefetch=300)
        self.relay = await self._stack.enter_async_context(running)

    async def clear(self) -> None:
        await self._stack.aclose()


@define(eq=False, kw_only=True)
class Chaos:
    """
    What happens to the fleet. Each fault gives what heals it.
    """

    fleet: Fleet
    slots: list[Slot]
    app: Network
    random: Random
    told: list[str] = field(init=False, factory=list)

    async def kill_leader(self) -> Heal:
        leader = await self.fleet.cluster.leader_of(self.fleet.names.stream)
        await self.fleet.cluster.kill(leader)
        return self.fleet.cluster.start

    async def kill_consumer_leader(self) -> Heal:
        names = self.fleet.names
        leader = await self.fleet.cluster.leader_of(names.stream, names.consumer)
        await self.fleet.cluster.kill(leader)
        return self.fleet.cluster.start

    async def kill_server(self) -> Heal:
        await self.fleet.cluster.kill(self.random.choice((1, 2, 3)))
        return self.fleet.cluster.start

    async def stop_server(self) -> Heal:
        await self.fleet.cluster.stop(self.random.choice((1, 2, 3)))
        return self.fleet.cluster.start

    async def kill_all_servers(self) -> Heal:
        await self.fleet.cluster.kill_all()
        return self.fleet.cluster.start

    async def freeze_server(self) -> Heal:
        number = self.random.choice((1, 2, 3))
        await self.fleet.cluster.freeze(number)

        async def thaw() -> None:
            self.fleet.cluster.thaw(number)

        return thaw

    async def kill_relay(self) -> Heal:
        slot = self.random.choice(self.slots)
        slot.relay.kill()
        # What it had counted since it told its books is not known.
        self.fleet.unknown += slot.relay.prefetch
        return slot.fill

    async def stop_relay(self) -> Heal:
        slot = self.random.choice(self.slots)

        async def replace() -> None:
            self.fleet.note(await stopping)
            await slot.fill()

        stopping = asyncio.create_task(slot.relay.stop())
        return replace

    async def freeze_relay(self) -> Heal:
        relay = self.random.choice(self.slots).relay
        relay.freeze()

        async def thaw() -> None:
            relay.thaw()

        return thaw

    async def cut_relay(self) -> Heal:
        return await self._cut(self.random.choice(self.slots).network)

    async def cut_app(self) -> Heal:
        return await self._cut(self.app)

    async def spoil_api(self) -> Heal:
        answer = self.random.choice((self._away, self._limited, self._partly, self._reset))
        self.fleet.api.default = answer

        async def mend() -> None:
            self.fleet.api.default = hang_after_storing()

        return mend

    async def _cut(self, network: Network) -> Heal:
        if self.random.random() < 0.5:
            await network.cut()
        else:
            network.freeze()

        async def restore() -> None:
            network.restore()

        return restore

    def _away(self, _: Request) -> Scripted:
        return unavailable()

    def _limited(self, _: Request) -> Scripted:
        return too_many(1) if self.random.random() < 0.5 else created()

    def _partly(self, _: Request) -> Scripted:
        if self.random.random() < 0.5:
            return created()
        return partly(lambda _: self.random.random() < 0.2, errors=False)

    def _reset(self, request: Request) -> Scripted:
        chosen = self.random.random()
        if chosen < 0.2:
            return reset_before_storing()
        if chosen < 0.3:
            self.fleet.unknown += len(request.events)  # as by any exporter
            return reset_after_storing()
        return created()

    @property
    def faults(self) -> list[Callable[[], Awaitable[Heal]]]:
        servers = [
            *(self.kill_leader, self.kill_consumer_leader, self.kill_server),
            *(self.stop_server, self.kill_all_servers, self.freeze_server),
        ]
        relays = [self.kill_relay, self.stop_relay, self.freeze_relay, self.cut_relay]
        others = [self.cut_app, self.spoil_api]
        choose = self.random.choice
        kinds = self.random.sample((servers, relays, others), choose((1, 1, 2)))
        return [choose(kind) for kind in kinds]

    async def live(self, seconds: float) -> None:
        """
        Let it happen for so long.
        """
        clock = SystemClock()
        end = clock.now() + seconds
        while clock.now() < end:
            faults = self.faults
            names = " and ".join(fault.__name__ for fault in faults)
            lasts = self.random.choice((0.5, 3.0, 6.0, 1.5 * ACK_WAIT))
            self.told.append(f"{names}, {lasts} s")
            heals = [await fault() for fault in faults]
            await self._let_pass(lasts)
            healing = asyncio.gather(*(heal() for heal in heals))
            while not healing.done():
                await self._let_pass(0.1)
            await healing
            await self._let_pass(self.random.choice((0.2, 2.0, 4.0)))
            self.fleet.save_memory()
            fleet = self.fleet
            print(
                f"{end - clock.now():.0f} s left: {self.told[-1]}: pushed {len(fleet.relayed):,}, "
                f"twice {fleet.twice}, redelivered {fleet.redelivered}, unknown {fleet.unknown}",
                flush=True,
            )

    async def _let_pass(self, seconds: float) -> None:
        clock = SystemClock()
        end = clock.now() + seconds
        while clock.now() < end:
            self.fleet.push(RATE // 10)
            self.fleet.look()
            if self.random.random() < 0.2:
                self.fleet.api.release()
            await clock.sleep(0.1)


@pytest.mark.timeout(60 * MINUTES + 300)
async def test_a_fleet_under_random_faults_loses_nothing(
    hurt_cluster: Cluster, server: ScriptedServer
) -> None:
    """
    Whatever happens, in whichever order, and for however long.
    """
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(cabled(hurt_cluster))
        settings: dict[str, Any] = {"jetstream": JetStream(app.servers)}
        fleet = Fleet(
            cluster=hurt_cluster, api=server, ack_wait=ACK_WAIT, app=settings, patience=180.0
        )
        await stack.enter_async_context(fleet)
        slots = []
        # Answers take their time, so that there is always something under way.
        server.default = hang_after_storing()
        for _ in range(RELAYS):
            network = await stack.enter_async_context(cabled(hurt_cluster))
            slots.append(slot := Slot(fleet=fleet, network=network))
            await slot.fill()
            stack.push_async_callback(slot.clear)
        chaos = Chaos(fleet=fleet, slots=slots, app=app, random=Random(SEED))
        try:
            await chaos.live(60 * MINUTES)
            server.default = created()
            server.release()
            await fleet.audit()
        except BaseException as error:
            error.add_note("\n".join(chaos.told[-5:]))
            raise
        print(
            f"{len(fleet.relayed):,} events, {len(chaos.told)} faults: {fleet.twice} twice, "
            f"{fleet.redelivered} redelivered, {await fleet.stored_twice()} stored twice, "
            f"{fleet.unknown} perhaps counted by nobody"
        )
