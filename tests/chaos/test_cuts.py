"""
What a connection that ends at a certain byte makes of an event, byte for byte.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hh_exporter import Outcome, Settlement
from tests.chaos.proxy import Certificates, Fault, FaultProxy, Greeting, Kind
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import ScriptedServer
from tests.support import FakeClock, flushed, model_event, pass_time


@pytest.fixture
async def proxy(server: ScriptedServer, clock: FakeClock) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(leads_to=int(server.url.rpartition(":")[2]), clock=clock)
    await proxy.open()
    yield proxy
    await proxy.close()
    assert not proxy.failures, proxy.failures


@pytest.mark.parametrize("kind", [Kind.RESET_ANSWER, Kind.CLOSE_ANSWER])
async def test_an_answer_counts_from_its_last_header_on(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    proxy: FaultProxy,
    clock: FakeClock,
    kind: Kind,
) -> None:
    """
    Cut anywhere before, an answer is none, and the event is sent again; cut later, it counts.
    """
    exporter = await make_exporter(base_url=proxy.url)
    at, length = 0, 1
    while at < length:
        # The first exchange of each round is spoilt, and the next one, if any, is not.
        first = len(proxy.exchanges)
        proxy.choose = lambda n, at=at, first=first: (  # type: ignore[misc]
            Fault(kind=kind, at=at) if n == first else Fault()
        )
        event_id = f"event-{at:03}"
        exporter.push(model_event(event_id=event_id))
        assert (await flushed(exporter, clock)).delivered == 1

        spoilt = proxy.exchanges[first]
        is_head_whole = at >= spoilt.answer.index(b"\r\n\r\n") + 4
        assert (spoilt.passed, spoilt.status) == (at, 200 if is_head_whole else None)
        assert server.created_ids.count(event_id) == (1 if is_head_whole else 2), at
        at, length = at + 1, spoilt.length
    assert length > 100


async def test_a_request_that_is_cut_anywhere_is_sent_again(
    make_exporter: MakeExporter, server: ScriptedServer, proxy: FaultProxy, clock: FakeClock
) -> None:
    """
    The server has each event once, whichever byte of the first request was the last.
    """
    exporter = await make_exporter(base_url=proxy.url)
    cuts = range(0, 600, 7)
    for at in cuts:
        first = len(proxy.exchanges)
        proxy.choose = lambda n, at=at, first=first: (  # type: ignore[misc]
            Fault(kind=Kind.RESET_REQUEST, at=at) if n == first else Fault()
        )
        exporter.push(model_event(event_id=f"event-{at:03}"))
        assert (await flushed(exporter, clock)).delivered == 1

    assert server.created_ids == [f"event-{at:03}" for at in cuts]


@pytest.mark.parametrize("greeting", [Greeting.IMPOSTOR, Greeting.PLAIN])
async def test_a_tls_failure_is_an_outage(
    build_exporter: BuildExporter,
    server: ScriptedServer,
    proxy: FaultProxy,
    clock: FakeClock,
    certificates: Certificates,
    trusted: object,
    greeting: Greeting,
) -> None:
    """
    Nothing reaches who can't prove who it is, and nothing is lost once the right one is back.
    """
    settlements: list[Settlement] = []
    proxy.certificates = certificates
    proxy.greet = lambda _: greeting
    exporter = build_exporter(
        base_url=proxy.url, ssl_context=trusted, on_outcome=settlements.append
    )
    await exporter.start()
    exporter.push(model_event(event_id="e0"))
    await pass_time(exporter, server, clock, 600.0)
    assert (exporter.stats().health, proxy.exchanges) == ("retrying", [])

    proxy.greet = lambda _: Greeting.PROPER
    assert (await flushed(exporter, clock)).delivered == 1
    assert [s.outcome for s in settlements] == [Outcome.DELIVERED]
    assert server.created_ids == ["e0"]


async def test_a_host_name_that_means_nothing_is_an_outage(
    make_exporter: MakeExporter, clock: FakeClock
) -> None:
    """
    Where no name is resolved, events wait, and a close says what it could not deliver.
    """
    settlements: list[Settlement] = []
    exporter = await make_exporter(base_url="http://name.invalid", on_outcome=settlements.append)
    exporter.push(model_event(event_id="e0"))
    flush = asyncio.create_task(exporter.flush(30.0))
    while not flush.done():
        await asyncio.sleep(0.0)
        if not exporter._life.worker.shipper.on_wire:  # type: ignore[union-attr]
            await clock.advance(1.0)

    assert flush.result().left == 1
    assert exporter.stats().health == "retrying"
    assert (await exporter.aclose(0.0)).dropped == 1
    assert [s.reason for s in settlements] == ["closed"]
