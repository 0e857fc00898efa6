"""
What an app host that publishes shows of passwords and payloads while everything fails: nothing.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
import warnings
from contextvars import ContextVar
from typing import Any

import pytest

from hh_exporter import DeliveryError, Exporter, JetStream, SessionProperties
from hh_exporter._dialects.messages import Messages
from hh_exporter.testing import assert_balanced
from tests.chaos.test_secrets import CANARY, leaks, reachable
from tests.fake_nats import ACK, FakeNats, Reply, refusal
from tests.fleet.app import IDS, SOON, exporter_to, failed, relayed
from tests.support import FakeClock, model_event, push_all, until

PASSWORD = f"password of {CANARY}"
PAYLOAD = {"content": f"payload of {CANARY}"}

FAULTS = {
    "refused": Reply(stores=False, times=0, errs=b"-ERR 'Authorization Violation'\r\n"),
    "reset": Reply(stores=False, closes=True),
    "silent": Reply(stores=False, times=0),
    "too large": refusal(400, 10054, "message size exceeds maximum allowed"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_shows_a_secret(
    fake_nats: FakeNats, clock: FakeClock, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    No log, repr, exception, warning or local of a frame has a password or a payload.
    """
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    complaints: list[str] = []
    loop.set_exception_handler(lambda _, context: complaints.append(repr(context)))
    stream = JetStream(fake_nats.address, user="app", password=PASSWORD)
    fake_nats.info["auth_required"] = True
    fake_nats.choose = lambda _: FAULTS[fault]
    session = SessionProperties(session_name=f"session of {CANARY}")
    shown = set[str]()

    def look(*more: object) -> None:
        things = list(reachable(exporter, *more))
        shown.update(type(thing).__name__ for thing in things)
        assert not leaks(things)
        assert not leaks(asyncio.all_tasks())

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with exporter_to(fake_nats, clock, jetstream=stream) as exporter:
            for one in IDS:
                exporter.push(model_event(event_id=one, response=PAYLOAD), session=session)
            await until(lambda: fake_nats.published)
            look()
            await clock.advance(40.0)
            await failed(exporter, clock)
            look()
            single = model_event(response=PAYLOAD)
            call = asyncio.create_task(exporter.create_model_event(single, timeout=2.0))
            while not call.done():
                await asyncio.sleep(0.001)
                await clock.advance(0.25)
            error = call.exception()
            assert isinstance(error, DeliveryError)
            look(error)
            fake_nats.choose = lambda _: ACK
            await fake_nats.restart()
            stats = exporter.stats()
            await relayed(exporter, clock, stats.pushed - stats.dropped)
            look()

    told = "".join(traceback.format_exception(error))
    ours = [
        repr(value)
        for frame, _ in traceback.walk_tb(error.__traceback__)
        for value in frame.f_locals.values()
        if frame.f_globals.get("__name__", "").startswith("hh_exporter")
    ]
    said = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    assert not leaks([told, *ours, *said, *complaints, *warned])
    assert any(PASSWORD.encode() in line for line in fake_nats.heard)
    assert {"JetStreamTransport", "Connection", "CarefulClient", "Record"} <= shown
    assert not [one for one in caplog.records if one.name.startswith("nats")]
    assert not complaints


async def test_no_context_of_a_request_is_kept(fake_nats: FakeNats) -> None:
    """
    Neither by the connection that its first event opens, nor by one that is opened later.
    """

    class Request:
        """
        What a request has in its context.
        """

    current = ContextVar[Request]("current")
    seen: list[str] = []
    loop = asyncio.get_running_loop()

    def make_task(loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **options)
        context = options.get("context")
        if (current.get(None) if context is None else context.get(current)) is not None:
            seen.append(coro.__qualname__)
        return task

    async def handle() -> None:
        current.set(Request())
        push_all(exporter, f"e{len(fake_nats.published)}")
        await exporter.flush()

    async with Exporter(jetstream=fake_nats.address, batch=SOON) as exporter:
        await asyncio.Task(handle())
        loop.set_task_factory(make_task)
        try:
            await fake_nats.restart()
            await asyncio.Task(handle())
        finally:
            loop.set_task_factory(None)
        assert assert_balanced(exporter).relayed == 2
        await asyncio.sleep(0)  # the step under way has the request's
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, Request)]
    assert not seen


async def test_what_waits_for_acknowledgements_is_held_once(
    fake_nats: FakeNats, clock: FakeClock
) -> None:
    """
    The messages of a batch share the bytes of its records, which count towards the budget.
    """
    fake_nats.choose = lambda _: Reply(is_held=True)
    async with exporter_to(fake_nats, clock) as exporter:
        for one in IDS:
            exporter.push(model_event(event_id=one, response={"content": "x" * 10_000}))
        await until(lambda: len(fake_nats.published) == len(IDS))
        worker = exporter._life.worker
        assert worker is not None
        [delivery] = worker.slots.in_hand
        assert delivery.shipment is not None
        body = delivery.shipment.body
        assert isinstance(body, Messages)
        held = {id(message.data) for message in body.items}
        assert held == {id(record.data) for record in delivery.records}
        stats = exporter.stats()
        assert stats.in_flight_bytes >= len(body)
        assert exporter._queue._budget.bodies >= len(body)
        fake_nats.release()
        await relayed(exporter, clock, len(IDS))
