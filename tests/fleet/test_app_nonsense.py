"""
An app host at a server that speaks nonsense, acknowledges too much or too little, or goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from itertools import pairwise

import pytest

from hh_exporter import (
    BatchLimits,
    DropReason,
    Exporter,
    Outcome,
    SessionProperties,
)
from hh_exporter._transport.jetstream import JetStreamTransport
from hh_exporter.testing import assert_balanced
from tests.fake_nats import ACK, FULL, NOBODY, FakeNats, Message, Reply, refusal
from tests.fleet.app import IDS, Told, exporter_to, failed, relayed
from tests.support import FakeClock, model_event, push_all, until


def _do(reply: Reply, _: Message) -> Reply:
    return reply


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
    fake_nats: FakeNats, clock: FakeClock, greeting: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Events wait, and are relayed once a server is there.
    """
    fake_nats.greeting = NONSENSE[greeting]
    told = Told()
    if not fake_nats.greeting:
        fake_nats.after_connect = b""
    async with exporter_to(fake_nats, clock, on_outcome=told) as exporter:
        push_all(exporter, *IDS)
        if not fake_nats.greeting:
            await until(lambda: fake_nats.connections)
            await fake_nats.restart()
        await failed(exporter, clock)
        assert assert_balanced(exporter).relayed == 0
        fake_nats.greeting = fake_nats.after_connect = None
        await fake_nats.restart()
        await relayed(exporter, clock, len(IDS))

    assert fake_nats.event_ids == IDS
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
    fake_nats: FakeNats, clock: FakeClock, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    At once, and without a word of nats-py's own: another connection is opened.
    """
    fake_nats.script.extend([ACK, Reply(says=b"x", is_held=True, errs=UNREADABLE[said])])
    async with exporter_to(fake_nats, clock) as exporter:
        push_all(exporter, *IDS)
        await relayed(exporter, clock, len(IDS))
        stats = exporter.stats()

    assert fake_nats.event_ids == IDS
    assert fake_nats.connections == 2
    assert stats.duplicates == sum(fake_nats.repeats.values()) > 0
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
    fake_nats: FakeNats, clock: FakeClock, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The event is published again.
    """
    fake_nats.choose = lambda _: Reply(stores=False, says=ODD[answer])
    async with exporter_to(fake_nats, clock) as exporter:
        push_all(exporter, *IDS)
        await until(lambda: exporter.stats().health == "retrying")
        assert assert_balanced(exporter).relayed == 0
        fake_nats.choose = lambda _: ACK
        await relayed(exporter, clock, len(IDS))

    assert fake_nats.event_ids == IDS
    assert fake_nats.connections == 1


async def test_acknowledgements_that_come_twice_count_once(
    fake_nats: FakeNats, clock: FakeClock
) -> None:
    """
    And none is taken for that of another message.
    """
    fake_nats.script.extend([Reply(times=len(IDS)), *[FULL] * (len(IDS) - 1)])
    async with exporter_to(fake_nats, clock) as exporter:
        push_all(exporter, *IDS)
        await until(lambda: exporter.stats().health == "retrying")
        assert assert_balanced(exporter).relayed == 1
        await relayed(exporter, clock, len(IDS))

    assert sorted(fake_nats.event_ids) == sorted(IDS)


async def test_acknowledgements_of_what_was_never_sent_are_ignored(
    fake_nats: FakeNats, clock: FakeClock
) -> None:
    """
    Whatever their subject has for a number.
    """
    fake_nats.script.append(Reply(is_held=True))
    async with exporter_to(fake_nats, clock) as exporter:
        push_all(exporter, "a")
        await until(lambda: fake_nats.published)
        prefix = fake_nats.published[0].reply.removesuffix("0.0")
        for number in ("7.0", "0.7", "0.x", "0.", "x", "0.0.0", "-1", "0.\u00b2"):
            subject = (prefix + number).encode()
            fake_nats.say(b'MSG %b 1 26\r\n{"stream":"E","seq":12345}\r\n' % subject)
        fake_nats.say(b"PING\r\n")
        await until(lambda: b"PONG\r\n" in fake_nats.heard)
        assert assert_balanced(exporter).relayed == 0
        fake_nats.release()
        await relayed(exporter, clock, 1)

    assert fake_nats.connections == 1


async def test_a_late_acknowledgement_makes_a_duplicate(
    fake_nats: FakeNats, clock: FakeClock
) -> None:
    """
    The stream had it; it is published again, and the books say so.
    """
    fake_nats.script.extend([ACK, Reply(is_held=True), ACK])
    told = Told()
    async with exporter_to(fake_nats, clock, on_outcome=told) as exporter:
        push_all(exporter, "a", "b", "c")
        await until(lambda: len(fake_nats.stored) == 3)
        await clock.advance(40.0)
        fake_nats.release()
        await relayed(exporter, clock, 3)
        assert exporter.stats().duplicates == 1

    assert fake_nats.event_ids == ["a", "b", "c"]
    assert set(told.outcomes.values()) == {1}
    assert fake_nats.connections == 1, "others were acknowledged on it"


async def test_a_connection_without_any_acknowledgement_is_left(
    fake_nats: FakeNats, clock: FakeClock
) -> None:
    """
    Even if one event of the body was too large to be sent at all.
    """
    fake_nats.info["max_payload"] = 5_000
    fake_nats.choose = lambda _: Reply(stores=False, is_held=True)
    async with exporter_to(fake_nats, clock) as exporter:
        exporter.push(model_event(event_id="large", response={"content": "x" * 10_000}))
        push_all(exporter, "a", "b")
        await until(lambda: len(fake_nats.published) == 2)
        fake_nats.choose = lambda _: ACK
        await clock.advance(40.0)
        await relayed(exporter, clock, 2)
        await until(lambda: exporter.stats().dropped)

    assert fake_nats.connections == 2
    assert exporter.stats().dropped_by_reason == {DropReason.TOO_LARGE: 1}


async def test_where_every_event_is_too_large_the_limits_are_named(
    fake_nats: FakeNats, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Those of the servers and of the stream, and five events are lost at most.
    """
    fake_nats.info["max_payload"] = 100
    async with exporter_to(fake_nats, clock) as exporter:
        push_all(exporter, *IDS)
        await until(lambda: exporter.stats().breaker == "suspended")
        assert exporter.stats().dropped <= 5
        fake_nats.info["max_payload"] = 2**20
        await fake_nats.restart()
        await relayed(exporter, clock, len(IDS) - exporter.stats().dropped)

    [said] = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert f"suspended: {fake_nats.address} answers larger than a message may be" in said
    assert "check max_payload of the servers and max_msg_size of the stream" in said
    assert "takes events again" in caplog.text


async def test_a_stream_that_is_full_is_one_warning(
    fake_nats: FakeNats, clock: FakeClock, caplog: pytest.LogCaptureFixture
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
        fake_nats.stored.clear()
        fake_nats.choose = partial(_do, reply)
        async with exporter_to(fake_nats, clock) as exporter:
            push_all(exporter, *IDS)
            await failed(exporter, clock, 5)
            await until(lambda: exporter.stats().breaker != "closed")
            fake_nats.choose = lambda _: ACK
            await relayed(exporter, clock, len(IDS))
        assert sorted(fake_nats.event_ids) == sorted(IDS)
        first, last = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        assert f"hh_exporter: {fake_nats.address} {words}" in first
        assert "events kept: 20, retrying" in first
        assert len(first) < 500
        assert last == f"hh_exporter: resumed: {fake_nats.address} takes events again"


async def test_what_a_server_does_not_permit_suspends(
    fake_nats: FakeNats, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Until it does; each attempt on a connection of its own, which may be permitted more.
    """
    errs = b"-ERR 'Permissions Violation for Publish to \"hh_exporter.events.legacy\"'\r\n"
    fake_nats.choose = lambda _: Reply(stores=False, is_held=True, errs=errs)
    async with exporter_to(fake_nats, clock) as exporter:
        push_all(exporter, *IDS)
        await until(lambda: exporter.stats().breaker == "suspended")
        fake_nats.choose = lambda _: ACK
        await relayed(exporter, clock, len(IDS))

    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(said) == 2
    assert "answers permissions violation for publish to" in said[0]
    assert "HH_EXPORTER_JETSTREAM_USER" in said[0]
    assert fake_nats.event_ids == IDS


async def test_events_of_any_id_are_published(fake_nats: FakeNats, clock: FakeClock) -> None:
    """
    None costs its neighbours anything.
    """
    odd = ["a b", " a", "a\r\nb", "\ud800", "\u00e9", "a/b", "%2F", "x" * 3_000]
    async with exporter_to(fake_nats, clock) as exporter:
        accepted = sum(exporter.push(model_event(event_id=one)) for one in [*odd, *IDS])
        await relayed(exporter, clock, accepted)
        assert assert_balanced(exporter).dropped_by_reason.keys() <= {DropReason.UNENCODABLE}

    assert set(IDS) <= set(fake_nats.event_ids)
    assert len(fake_nats.stored) == accepted


async def test_an_announcement_survives_a_lost_answer(
    fake_nats: FakeNats, clock: FakeClock
) -> None:
    """
    What says of a session what it is comes with each event until the stream has one of them.
    """
    session = SessionProperties(session_name="support chat")
    fake_nats.script.append(Reply(closes=True, stores=False))
    async with exporter_to(fake_nats, clock) as exporter:
        for one in IDS:
            exporter.push(model_event(event_id=one), session=session)
        await relayed(exporter, clock, len(IDS))
        exporter.push(model_event(event_id="later"), session=session)
        await relayed(exporter, clock, len(IDS) + 1)

    *first, later = fake_nats.stored.values()
    assert later.record.session is None
    for message in first:
        assert message.record.session is not None
        assert message.record.session.session_id == session.session_id
        assert b'"support chat"' in message.record.session.data


async def test_many_acknowledgements_at_once_do_not_hold_the_loop(fake_nats: FakeNats) -> None:
    """
    It turns after a hundred at most, and after two hundred messages that are published.
    """
    seen: list[tuple[int, int]] = []
    is_over = False

    def look() -> None:
        worker = exporter._life.worker
        if worker is not None and isinstance(worker.transport, JetStreamTransport):
            connection, attempts = worker.transport._connection, worker.transport._attempts.values()
            sent = 0 if connection is None else connection._client.stats["out_msgs"]
            seen.append((sent, sum(len(attempt.waiting) for attempt in attempts)))
        if not is_over:
            asyncio.get_running_loop().call_soon(look)

    fake_nats.choose = lambda _: Reply(is_held=True)
    async with Exporter(jetstream=fake_nats.address, batch=BatchLimits(linger=0.0)) as exporter:
        push_all(exporter, *(f"e{n}" for n in range(900)))
        look()
        await until(lambda: len(fake_nats.published) == 900)
        fake_nats.release()
        await exporter.flush()
        is_over = True
        assert assert_balanced(exporter).relayed == 900

    steps = list(pairwise(seen))
    assert 0 < max(after - before for (before, _), (after, _) in steps) <= 200
    answered = [before - after for (_, before), (_, after) in steps]
    assert 0 < max(answered) <= 100
