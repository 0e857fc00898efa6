"""
An app host: what an exporter publishes, and what its books say.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hh_exporter import (
    BatchLimits,
    DropReason,
    Exporter,
    Outcome,
    SessionProperties,
    Settlement,
)
from hh_exporter._cli._cluster import Cluster
from hh_exporter._dialects.messages import read_message
from hh_exporter._records import UPDATES, Record
from hh_exporter.testing import assert_balanced
from tests.conftest import in_both_dialects
from tests.nats import Client, connected
from tests.support import model_event, push_all, until

STREAM = "EVENTS"
SOON = BatchLimits(linger=0.01)


@pytest.fixture
async def client(nats_server: Cluster) -> AsyncIterator[Client]:
    async with connected(nats_server) as client:
        await client.make_stream(STREAM, "hh_exporter.events.>")
        yield client


async def records_in(client: Client) -> list[Record]:
    """
    Read what the stream has, as a relay does.
    """
    found: list[Record] = []
    state = (await client.call(f"STREAM.INFO.{STREAM}"))["state"]
    for seq in range(state["first_seq"], state["last_seq"] + 1):
        message = (await client.call(f"STREAM.MSG.GET.{STREAM}", seq=seq))["message"]
        found.append(read(message))
    return found


def read(message: dict[str, Any]) -> Record:
    from base64 import b64decode
    from email.parser import HeaderParser

    head = b64decode(message["hdrs"]).decode().partition("\r\n")[2]
    record = read_message(b64decode(message["data"]), dict(HeaderParser().parsestr(head)), 0.0)
    assert record is not None
    return record


@in_both_dialects
async def test_what_is_pushed_is_in_the_stream(
    nats_server: Cluster, client: Client, dialect: Any
) -> None:
    """
    As it would be sent; the books call it relayed.
    """
    told: list[Settlement] = []
    exporter = Exporter(
        jetstream=nats_server.servers, dialect=dialect, batch=SOON, on_outcome=told.append
    )
    async with exporter:
        push_all(exporter, "a", "b", "c")
        result = await exporter.flush()
        stats = exporter.stats()

    assert (result.relayed, result.delivered, result.left) == (3, 0, 0)
    assert (stats.relayed, stats.delivered, stats.health) == (3, 0, "ok")
    assert_balanced(exporter)
    assert [each.outcome for each in told] == [Outcome.RELAYED]
    assert [record.event_id for record in await records_in(client)] == ["a", "b", "c"]
    state = await client.call(f"STREAM.INFO.{STREAM}", subjects_filter=">")
    assert state["state"]["subjects"] == {f"hh_exporter.events.{dialect}": 3}


async def test_sessions_and_updates_travel(nats_server: Cluster, client: Client) -> None:
    """
    Each event of the first batch says what its session is; updates come behind their event.
    """
    exporter = Exporter(jetstream=nats_server.servers, batch=SOON)
    session = SessionProperties(session_name="support chat")
    async with exporter:
        exporter.push(model_event(event_id="a"), session=session)
        exporter.push(model_event(event_id="b"), session=session)
        await exporter.flush()
        exporter.update("a", feedback={"rating": 1})
        exporter.update("a", feedback={"rating": 2})
        await exporter.flush()
        stats = exporter.stats()

    first, second, update = await records_in(client)
    assert stats.relayed == 4
    for record in (first, second):
        assert record.session is not None
        assert record.session.session_id == session.session_id
        assert b"support chat" in record.session.data
    assert (update.event_id, update.route) == ("a", UPDATES)
    assert json.loads(update.data)["feedback"] == {"rating": 2}


async def test_a_session_that_is_an_event_travels_as_one(
    nats_server: Cluster, client: Client
) -> None:
    """
    As in the dialect v1.
    """
    exporter = Exporter(jetstream=nats_server.servers, dialect="v1", batch=SOON)
    session = SessionProperties(session_name="support chat")
    async with exporter:
        exporter.push(model_event(event_id="a"), session=session)

    records = await records_in(client)
    assert [record.event_id for record in records] == [session.session_id, "a"]


async def test_a_single_event_is_published_at_once(nats_server: Cluster, client: Client) -> None:
    """
    It has the id that it was given; that of the server is not known yet.
    """
    async with Exporter(jetstream=nats_server.servers) as exporter:
        assert await exporter.create_model_event(model_event(event_id="a")) == "a"
        assert exporter.stats().relayed == 1

    assert await client.messages(STREAM) == 1


async def test_an_event_that_no_message_holds_harms_no_other(
    nats_server: Cluster, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is dropped on the way, where the stream takes less than the setting says.
    """
    await client.call(
        f"STREAM.UPDATE.{STREAM}",
        name=STREAM,
        subjects=["hh_exporter.events.>"],
        retention="workqueue",
        discard="new",
        max_msg_size=5_000,
    )
    long = {"content": "x" * 10_000}
    with caplog.at_level(logging.WARNING):
        async with Exporter(jetstream=nats_server.servers, batch=SOON) as exporter:
            for event_id, response in (("a", {}), ("large", long), ("b", {}), ("c", {})):
                assert exporter.push(model_event(event_id=event_id, response=response))
            result = await exporter.flush()

    assert (result.relayed, result.dropped) == (3, 1)
    assert exporter.stats().dropped_by_reason == {DropReason.TOO_LARGE: 1}
    assert sorted(record.event_id for record in await records_in(client)) == ["a", "b", "c"]


async def test_events_wait_while_no_stream_takes_them(
    nats_server: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """
    As they do while a server is down; the stream may be created later.
    """
    exporter = Exporter(jetstream=nats_server.servers, batch=SOON)
    with caplog.at_level(logging.WARNING):
        async with exporter, connected(nats_server) as client:
            push_all(exporter, "a", "b")
            await until(lambda: exporter.stats().health == "retrying")
            assert exporter.stats().queued + exporter.stats().in_flight == 2
            await client.make_stream(STREAM, "hh_exporter.events.>")
            result = await exporter.flush()
            assert (result.relayed, result.left) == (2, 0)
            assert await client.messages(STREAM) == 2
