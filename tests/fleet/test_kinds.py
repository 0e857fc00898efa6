"""
What travels beside events: two dialects, updates, sessions, and what waits on an app's disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import Exporter, RetryPolicy, SessionProperties, Spool
from hh_exporter._cli._cluster import Cluster
from hh_exporter._fleet.plan import Names
from tests.fleet.relays import SOON, prepare
from tests.fleet.story import SMALL, Fleet
from tests.scripted_server import Request, Scripted, ScriptedServer, created, status
from tests.support import model_event, push_all, until

COUNT = 500


@pytest.fixture
async def fleet(nats_server: Cluster, server: ScriptedServer) -> AsyncIterator[Fleet]:
    async with Fleet(cluster=nats_server, api=server) as fleet:
        yield fleet


async def test_one_stream_serves_both_dialects(fleet: Fleet) -> None:
    """
    Each has a relay that takes its own events, and no other's.
    """
    names = Names(dialect="v1", consumer="relay-v1")
    await prepare(fleet.cluster, names)
    others = [f"other{n}" for n in range(COUNT)]
    async with (
        Exporter(jetstream=fleet.cluster.servers, dialect="v1", batch=SMALL) as other,
        fleet.relay() as legacy,
        fleet.relay(names=names, dialect="v1") as v1,
    ):
        fleet.push(COUNT)
        push_all(other, *others)
        await other.flush()
        await fleet.drained()
        assert (legacy.stats().delivered, v1.stats().delivered) == (COUNT, COUNT)
    paths = {event["event_id"]: r.path for r in fleet.api.requests for event in r.events}
    assert {paths[i] for i in others} == {"/v1/events/batch"}
    assert {paths[i] for i in fleet.relayed} == {"/events/model/batch"}
    assert fleet.twice == 0


async def test_updates_find_their_events(fleet: Fleet) -> None:
    """
    Two relays: an update that comes to one before its event has come to the API waits, and comes
    again; none is lost, and none sent more often than once after its event is there.
    """
    there: set[str] = set()

    def judge(request: Request) -> Scripted:
        if request.update is None:
            there.update(event["event_id"] for event in request.events)
        elif request.update["event_id"] not in there:
            return status(404)
        return created()

    fleet.api.default = judge
    ids = fleet.push(COUNT)
    for event_id in ids[::50]:
        fleet.exporter.update(event_id, feedback={"rating": 5})
    await fleet.published()
    async with fleet.relay() as first, fleet.relay() as second:
        await fleet.drained()
        stats = first.stats(), second.stats()
    assert sorted(update["event_id"] for update in fleet.api.updated) == sorted(ids[::50])
    assert sum(each.delivered for each in stats) == COUNT + len(ids[::50])
    assert sum(each.rejected for each in stats) == 0
    assert fleet.twice == 0


async def test_the_properties_of_a_session_travel(fleet: Fleet) -> None:
    """
    They come with events of their session, by whichever relay; as between any two relays, others
    may come before.
    """
    sessions = [SessionProperties(session_name=f"chat {n}") for n in range(5)]
    async with fleet.relay(), fleet.relay():
        for n in range(COUNT):
            session = sessions[n % len(sessions)]
            assert fleet.exporter.push(model_event(event_id=f"s{n}"), session=session)
        await fleet.drained()
    assert len(fleet.api.created_ids) == len(set(fleet.api.created_ids)) == COUNT
    told: dict[str, str] = {}
    for request in fleet.api.requests:
        if properties := request.json.get("session_properties"):
            told[properties["session_id"]] = properties["session_name"]
            assert {event["session_id"] for event in request.events} == {properties["session_id"]}
    assert told == {session.session_id: session.session_name for session in sessions}


async def test_what_waited_on_the_disk_of_an_app_is_relayed(
    nats_server: Cluster, server: ScriptedServer, tmp_path: Path
) -> None:
    """
    There is no stream at first: the app ends, and the next one publishes what it left.
    """
    settings: dict[str, Any] = {
        "jetstream": nats_server.servers,
        "spool": Spool(tmp_path / "spool"),
        "batch": SOON,
        "retry": RetryPolicy(base=0.05, max_delay=0.5),
    }
    before = Exporter(**settings)
    await before.start()
    push_all(before, *(f"left{n}" for n in range(50)))
    assert (await before.aclose(0.5)).left == 50
    assert before.stats().spooled == 50

    async with Fleet(cluster=nats_server, api=server, app=settings) as fleet:
        fleet.push(50)
        async with fleet.relay() as relay:
            await fleet.drained()
            await until(lambda: relay.stats().delivered == 100)
        stats = fleet.exporter.stats()
    assert (stats.recovered, stats.pushed, stats.relayed) == (50, 50, 100)
    assert len(server.created_ids) == len(set(server.created_ids)) == 100
