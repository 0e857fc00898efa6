"""
An app host at a server that speaks nonsense, acknowledges too much or too little, or goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from hh_exporter import (
    BatchLimits,
    DropReason,
    Exporter,
    Outcome,
    RetryPolicy,
    SessionProperties,
    Settlement,
)
from hh_exporter.testing import assert_balanced
from tests.fake_nats import ACK, FULL, NOBODY, FakeNats, Message, Reply, refusal
from tests.support import FakeClock, model_event, push_all, until

SOON = BatchLimits(linger=0.0)
IDS = [f"e{n}" for n in range(20)]


@pytest.fixture
async def server() -> AsyncIterator[FakeNats]:
    async with FakeNats() as server:
        yield server


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
    defaults: dict[str, Any] = {"jetstream": address, "batch": SOON, "retry": RetryPolicy()}
    return Exporter(**defaults | settings, _clock=clock)


def _do(reply: Reply, _: Message) -> Reply:
    return reply


async def failed(exporter: Exporter, clock: FakeClock, times: int = 1) -> None:
    """
    Wait until so many attempts in a row have failed.
    """
    while exporter.stats().requests < times or exporter.stats().health == "ok":
        await asyncio.sleep(0)
        if exporter.stats().health == "retrying":
            await clock.advance(0.5)


async def relayed(exporter: Exporter, clock: FakeClock, count: int) -> None:
    """
    Wait until *count* events are relayed, while time passes.
    """

    async def is_idle() -> bool:
        for _ in range(40):
            if exporter.stats().relayed == count:
                return True
            await asyncio.sleep(0.001)
        return False

    async with asyncio.timeout(20):
        while assert_balanced(exporter).relayed != count and not await is_idle():
            await clock.advance(1.0)


NONSENSE = {
    "closes at once": b"",
    "an HTTP server": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no JSON": b"INFO {nonsense\r\n",
    "no object": b"INFO []\r\n",
    "a limit that is none": b'INFO {"max_payload": "much", "headers": true}\r\n',
    "endless": b"INFO " + b"x" * 200_000 + b"\r\n",
}


@pytest.mark.parametrize("greeting", NONSENSE)
async def test_what_is_no_nats_server_is_said_so(
    server: FakeNats, clock: FakeClock, greeting: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Events wait, and are relayed once a server is there.
    """
    server.greeting = NONSENSE[greeting]
    told = Told()
    if not server.greeting:
        server.after_connect = b""
    async with exporter_to(server, clock, on_outcome=told) as exporter:
        push_all(exporter, *IDS)
        if not server.greeting:
            await until(lambda: server.connections)
            await server.restart()
        await failed(exporter, clock)
        assert assert_balanced(exporter).relayed == 0
        server.greeting = server.after_connect = None
        await server.restart()
        await relayed(exporter, clock, len(IDS))

    assert server.event_ids == IDS
    assert told.outcomes == Counter({(one, Outcome.RELAYED): 1 for one in IDS})
    assert not [record for record in caplog.records if record.name.startswith("nats")]


UNREADABLE = {
    "an unknown verb": b"WHAT EVER\r\n",
    "an error without words": b"-ERR \r\n",
    "an INFO without JSON": b"INFO {nonsense\r\n",
    "headers of no bytes": b"HMSG _INBOX.x 1 1 1\r\nx\r\n",
    "a size that is none": b"MSG _INBOX.x 1 many\r\n",
}


@pytest.mark.parametrize("said", UNREADABLE)
async def test_what_it_cannot_read_ends_a_connection(
    server: FakeNats, clock: FakeClock, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    At once, and without a word of nats-py's own: another connection is opened.
    """
    server.script.extend([ACK, Reply(says=b"x", is_held=True, errs=UNREADABLE[said])])
    async with exporter_to(server, clock) as exporter:
        push_all(exporter, *IDS)
        await relayed(exporter, clock, len(IDS))
        stats = exporter.stats()

    assert server.event_ids == IDS
    assert server.connections == 2
    assert stats.duplicates == sum(server.repeats.values()) > 0
    assert not [record for record in caplog.records if record.name.startswith("nats")]


ODD = {
    "no JSON": b"+ACK",
    "no object": b'["EVENTS", 1]',
    "of no stream": b'{"seq": 1}',
    "of no number": b'{"stream": "EVENTS"}',
    "an error of no form": b'{"error": "no"}',
    "half": b'{"stream": "EVENTS", "se',
}


@pytest.mark.parametrize("answer", ODD)
async def test_an_answer_that_is_no_acknowledgement_is_not_taken_for_one(
    server: FakeNats, clock: FakeClock, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The event is published again.
    """
    server.choose = lambda _: Reply(stores=False, says=ODD[answer])
    async with exporter_to(server, clock) as exporter:
        push_all(exporter, *IDS)
        await until(lambda: exporter.stats().health == "retrying")
        assert assert_balanced(exporter).relayed == 0
        server.choose = lambda _: ACK
        await relayed(exporter, clock, len(IDS))

    assert server.event_ids == IDS
    assert server.connections == 1


async def test_acknowledgements_that_come_twice_count_once(
    server: FakeNats, clock: FakeClock
) -> None:
    """
    And none is taken for that of another message.
    """
    server.script.extend([Reply(times=len(IDS)), *[FULL] * (len(IDS) - 1)])
    async with exporter_to(server, clock) as exporter:
        push_all(exporter, *IDS)
        await until(lambda: exporter.stats().health == "retrying")
        assert assert_balanced(exporter).relayed == 1
        await relayed(exporter, clock, len(IDS))

    assert sorted(server.event_ids) == sorted(IDS)


async def test_acknowledgements_of_what_was_never_sent_are_ignored(
    server: FakeNats, clock: FakeClock
) -> None:
    """
    Whatever their subject has for a number.
    """
    server.script.append(Reply(is_held=True))
    async with exporter_to(server, clock) as exporter:
        push_all(exporter, "a")
        await until(lambda: server.published)
        prefix = server.published[0].reply.removesuffix("0.0")
        for number in ("7.0", "0.7", "0.x", "0.", "x", "0.0.0", "-1", "0.\u00b2"):
            subject = (prefix + number).encode()
            server.say(b'MSG %b 1 26\r\n{"stream":"E","seq":12345}\r\n' % subject)
        server.say(b"PING\r\n")
        await until(lambda: b"PONG\r\n" in server.heard)
        assert assert_balanced(exporter).relayed == 0
        server.release()
        await relayed(exporter, clock, 1)

    assert server.connections == 1


async def test_a_late_acknowledgement_makes_a_duplicate(server: FakeNats, clock: FakeClock) -> None:
    """
    The stream had it; it is published again, and the books say so.
    """
    server.script.extend([ACK, Reply(is_held=True), ACK])
    told = Told()
    async with exporter_to(server, clock, on_outcome=told) as exporter:
        push_all(exporter, "a", "b", "c")
        await until(lambda: len(server.stored) == 3)
        await clock.advance(40.0)
        server.release()
        await relayed(exporter, clock, 3)
        assert exporter.stats().duplicates == 1

    assert server.event_ids == ["a", "b", "c"]
    assert set(told.outcomes.values()) == {1}
    assert server.connections == 1, "others were acknowledged on it"


async def test_a_connection_without_any_acknowledgement_is_left(
    server: FakeNats, clock: FakeClock
) -> None:
    """
    Even if one event of the body was too large to be sent at all.
    """
    server.info["max_payload"] = 5_000
    server.choose = lambda _: Reply(stores=False, is_held=True)
    async with exporter_to(server, clock) as exporter:
        exporter.push(model_event(event_id="large", response={"content": "x" * 10_000}))
        push_all(exporter, "a", "b")
        await until(lambda: len(server.published) == 2)
        server.choose = lambda _: ACK
        await clock.advance(40.0)
        await relayed(exporter, clock, 2)
        await until(lambda: exporter.stats().dropped)

    assert server.connections == 2
    assert exporter.stats().dropped_by_reason == {DropReason.TOO_LARGE: 1}


async def test_where_every_event_is_too_large_the_limits_are_named(
    server: FakeNats, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Those of the servers and of the stream, and five events are lost at most.
    """
    server.info["max_payload"] = 100
    async with exporter_to(server, clock) as exporter:
        push_all(exporter, *IDS)
        await until(lambda: exporter.stats().breaker == "suspended")
        assert exporter.stats().dropped <= 5
        server.info["max_payload"] = 2**20
        await server.restart()
        await relayed(exporter, clock, len(IDS) - exporter.stats().dropped)

    [said] = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert f"suspended: {server.address} answers larger than a message may be" in said
    assert "check max_payload of the servers and max_msg_size of the stream" in said
    assert "takes events again" in caplog.text


async def test_a_stream_that_is_full_is_one_warning(
    server: FakeNats, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    As is one that has no leader for a while; events wait.
    """
    for reply, words in (
        (FULL, "fails: maximum messages exceeded (10077)"),
        (NOBODY, "fails: no stream has that subject, or no leader"),
        (refusal(500, 10012, "odd \x1b[31m\n" + "x" * 9_999), "fails: odd ?[31m?xxx"),
    ):
        caplog.clear()
        server.stored.clear()
        server.choose = partial(_do, reply)
        async with exporter_to(server, clock) as exporter:
            push_all(exporter, *IDS)
            await failed(exporter, clock, 5)
            await until(lambda: exporter.stats().breaker != "closed")
            server.choose = lambda _: ACK
            await relayed(exporter, clock, len(IDS))
        assert sorted(server.event_ids) == sorted(IDS)
        first, last = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        assert f"hh_exporter: {server.address} {words}" in first
        assert "events kept: 20, retrying" in first
        assert len(first) < 500
        assert last == f"hh_exporter: resumed: {server.address} takes events again"


async def test_what_a_server_does_not_permit_suspends(
    server: FakeNats, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Until it does; each attempt on a connection of its own, which may be permitted more.
    """
    errs = b"-ERR 'Permissions Violation for Publish to \"hh_exporter.events.legacy\"'\r\n"
    server.choose = lambda _: Reply(stores=False, is_held=True, errs=errs)
    async with exporter_to(server, clock) as exporter:
        push_all(exporter, *IDS)
        await until(lambda: exporter.stats().breaker == "suspended")
        server.choose = lambda _: ACK
        await relayed(exporter, clock, len(IDS))

    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(said) == 2
    assert "answers permissions violation for publish to" in said[0]
    assert "HH_EXPORTER_JETSTREAM_USER" in said[0]
    assert server.event_ids == IDS


async def test_events_of_any_id_are_published(server: FakeNats, clock: FakeClock) -> None:
    """
    None costs its neighbours anything.
    """
    odd = ["a b", " a", "a\r\nb", "\ud800", "\u00e9", "a/b", "%2F", "x" * 3_000]
    async with exporter_to(server, clock) as exporter:
        accepted = sum(exporter.push(model_event(event_id=one)) for one in [*odd, *IDS])
        await relayed(exporter, clock, accepted)
        assert assert_balanced(exporter).dropped_by_reason.keys() <= {DropReason.UNENCODABLE}

    assert set(IDS) <= set(server.event_ids)
    assert len(server.stored) == accepted


async def test_an_announcement_survives_a_lost_answer(server: FakeNats, clock: FakeClock) -> None:
    """
    What says of a session what it is comes with each event until the stream has one of them.
    """
    session = SessionProperties(session_name="support chat")
    server.script.append(Reply(closes=True, stores=False))
    async with exporter_to(server, clock) as exporter:
        for one in IDS:
            exporter.push(model_event(event_id=one), session=session)
        await relayed(exporter, clock, len(IDS))
        exporter.push(model_event(event_id="later"), session=session)
        await relayed(exporter, clock, len(IDS) + 1)

    *first, later = server.stored.values()
    assert later.record.session is None
    for message in first:
        assert message.record.session is not None
        assert message.record.session.session_id == session.session_id
        assert b'"support chat"' in message.record.session.data
