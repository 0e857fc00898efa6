"""
Updates of events: what is added after the fact, and never overtakes what it is about.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import pytest

from hh_exporter import (
    BatchLimits,
    DropReason,
    Event,
    EventUpdate,
    Exporter,
    Outcome,
    QueueLimits,
    SessionProperties,
    Settlement,
    Spool,
)
from hh_exporter._collector import Collector
from hh_exporter._dialects.vendor import to_session_uuid
from tests.collector_client import known_sessions, stored
from tests.conftest import BuildExporter, MakeExporter
from tests.scripted_server import (
    Request,
    Scripted,
    ScriptedServer,
    created,
    hang,
    refuse_if,
    status,
    unavailable,
)
from tests.support import (
    PATIENCE,
    FakeClock,
    assert_balanced,
    delivered,
    flushed,
    model_event,
    until,
)

both = pytest.mark.parametrize("dialect", ["legacy", "v1"])


def updates(server: ScriptedServer) -> list[tuple[str, dict[str, Any]]]:
    """
    What each PUT said, and of which event.
    """
    found = []
    for request in server.requests:
        if request.method == "PUT":
            said = dict(request.json)
            event_id = said.pop("event_id")
            if request.path != "/events":
                assert unquote(request.path) == f"/v1/events/{event_id}"
            found.append((event_id, said))
    return found


def order(server: ScriptedServer) -> list[str]:
    """
    The ids of the events, and of those that were updated, in the order of the requests.
    """
    told = []
    for request in server.requests:
        told += [event["event_id"] for event in request.events]
        if request.method == "PUT":
            told.append(f"update of {request.json['event_id']}")
    return told


def refuse_updates(code: int) -> Scripted:
    def answer(request: Request) -> Scripted:
        return status(code) if request.method == "PUT" else created()

    return answer


@both
async def test_an_update_follows_its_event(
    exporter: Exporter, server: ScriptedServer, dialect: str
) -> None:
    """
    By PUT, once the event is there, with what it says and nothing else.
    """
    exporter.push(model_event(event_id="e1"))
    assert exporter.update("e1", feedback={"rating": 5}, duration=timedelta(seconds=2))
    await exporter.flush()

    assert order(server) == ["e1", "update of e1"]
    assert updates(server) == [("e1", {"feedback": {"rating": 5}, "duration": 2000.0})]
    stats = assert_balanced(exporter)
    assert (stats.pushed, stats.delivered) == (2, 2)


@both
async def test_an_event_of_another_process_may_be_updated(
    exporter: Exporter, server: ScriptedServer, dialect: str
) -> None:
    """
    What is not known here is taken to be there.
    """
    exporter.update("long/ago", metrics={"score": 0.5})
    await exporter.flush()

    assert updates(server) == [("long/ago", {"metrics": {"score": 0.5}})]


async def test_what_waits_is_merged(exporter: Exporter, server: ScriptedServer) -> None:
    """
    As the server merges: objects key by key, the later one wins; outputs are replaced.
    """
    exporter.update("e1", feedback={"rating": 1, "note": "a"}, outputs={"x": 1})
    exporter.update("e2", feedback={"rating": 9})
    exporter.update("e1", feedback={"rating": 5}, outputs={"y": 2}, duration=3)
    await exporter.flush()

    assert updates(server) == [
        ("e1", {"feedback": {"rating": 5, "note": "a"}, "outputs": {"y": 2}, "duration": 3}),
        ("e2", {"feedback": {"rating": 9}}),
    ]
    assert assert_balanced(exporter).delivered == 3


async def test_updates_linger_as_events_do(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Without a flush they leave when the first of them has waited for `linger`.
    """
    exporter.update("e1", feedback={"rating": 1})
    await clock.advance(0.9)
    exporter.update("e1", metadata={"a": 1})
    assert not server.requests
    await clock.advance(0.2)
    await delivered(exporter, 2)

    assert updates(server) == [("e1", {"feedback": {"rating": 1}, "metadata": {"a": 1}})]


async def test_none_overtakes_an_event_that_is_in_flight(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Not while it is answered, nor while it backs off.
    """
    server.script(unavailable(), unavailable())
    exporter.push(model_event(event_id="e1"))
    flush = asyncio.create_task(flushed(exporter, clock))
    await server.requests_seen(1)
    exporter.update("e1", feedback={"rating": 5})
    await flush
    await flushed(exporter, clock)

    assert order(server) == ["e1", "e1", "e1", "update of e1"]


async def test_none_overtakes_an_earlier_update(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    The later one waits until the earlier one has its outcome, since outputs are replaced.
    """
    exporter = await make_exporter(batch=BatchLimits(linger=0.0))
    server.script(hang())
    exporter.update("e1", outputs={"n": 1})
    await server.requests_seen(1)
    exporter.update("e1", outputs={"n": 2})
    exporter.update("e2", outputs={"n": 3})
    await server.requests_seen(2)
    server.release()
    await flushed(exporter, clock)

    said = updates(server)
    assert said[1] == ("e2", {"outputs": {"n": 3}})
    assert said[-1] == ("e1", {"outputs": {"n": 2}})


async def test_none_overtakes_what_an_outage_put_back(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Through probes and all, each event is there before what is said of it.
    """
    exporter = await make_exporter(batch=BatchLimits(max_events=3, linger=0.1))
    server.default = unavailable()
    for n in range(20):
        exporter.push(model_event(event_id=f"e{n}"))
        exporter.update(f"e{n}", feedback={"n": n})
        exporter.update(f"e{n}", outputs={"n": n})
        await clock.advance(0.3)
    await until(lambda: exporter.stats().breaker != "closed")
    await clock.advance(30.0)
    server.requests.clear()
    server.default = created()
    await clock.advance(60.0)
    await flushed(exporter, clock)

    told = order(server)
    for n in range(20):
        assert told.index(f"e{n}") < told.index(f"update of e{n}")
    assert assert_balanced(exporter).delivered == 60


@pytest.mark.parametrize("durable", [False, True])
@both
async def test_none_overtakes_what_waits_on_disk(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    tmp_path: Path,
    durable: bool,
    dialect: str,
) -> None:
    """
    An event that memory has no room for comes back before its updates.
    """
    exporter = await make_exporter(
        spool=Spool(tmp_path, durable=durable),
        queue=QueueLimits(max_events=4),
        batch=BatchLimits(max_events=2, linger=0.1),
    )
    server.default = unavailable()
    for n in range(12):
        exporter.push(Event(event_type="tool", event_id=f"e{n}"))
        exporter.update(f"e{n}", feedback={"n": n})
    await until(lambda: exporter.stats().spooled)
    server.requests.clear()
    server.default = created()
    async with asyncio.timeout(PATIENCE):  # the disk is no part of that clock
        while exporter.stats().delivered < 24:
            await clock.advance(0.5)

    told = order(server)
    for n in range(12):
        assert told.index(f"e{n}") < told.index(f"update of e{n}"), told


@both
async def test_the_next_process_sends_what_is_left(
    build_exporter: BuildExporter, server: ScriptedServer, tmp_path: Path, dialect: str
) -> None:
    """
    The event and its update, in this order, from the spool.
    """
    server.default = unavailable()
    async with build_exporter(spool=tmp_path) as first:
        first.push(model_event(event_id="e1"))
        first.update("e1", feedback={"rating": 5})
        await first.aclose(0.0)
    server.default = created()
    server.requests.clear()
    async with build_exporter(spool=tmp_path) as second:
        await delivered(second, 2)

    assert order(server) == ["e1", "update of e1"]


async def test_what_is_put_back_keeps_its_order(
    build_exporter: BuildExporter, server: ScriptedServer, clock: FakeClock, tmp_path: Path
) -> None:
    """
    Also what an earlier process left: an outage puts it back as often as it likes.
    """
    server.default = unavailable()
    async with build_exporter(spool=tmp_path) as first:
        for n in range(6):
            first.update("e1", outputs={"n": n})
        await first.aclose(0.0)
    async with build_exporter(spool=tmp_path, batch=BatchLimits(max_events=2)) as second:
        async with asyncio.timeout(PATIENCE):  # the disk is no part of that clock
            while second.stats().breaker == "closed":
                await clock.advance(0.5)
            server.default = created()
            while second.stats().delivered < 6:
                await clock.advance(0.5)

    accepted = [update["outputs"]["n"] for update in server.updated]
    assert accepted == [1, 3, 5]


async def test_the_next_process_puts_them_in_order(
    build_exporter: BuildExporter, server: ScriptedServer, clock: FakeClock, tmp_path: Path
) -> None:
    """
    Though an update was on disk before its event, which was in memory until the close.
    """
    server.default = unavailable()
    async with build_exporter(spool=tmp_path, queue=QueueLimits(max_events=4)) as first:
        for n in range(5):
            first.push(model_event(event_id=f"e{n}"))
        for n in range(5):
            first.update(f"e{n}", outputs={"n": n})
        assert first.stats().spooled == 6
        await first.aclose(0.0)
    server.default = created()
    server.requests.clear()
    async with build_exporter(spool=tmp_path, batch=BatchLimits(max_events=1)) as second:
        async with asyncio.timeout(PATIENCE):  # the disk is no part of that clock
            while second.stats().delivered < 10:
                await clock.advance(0.5)

    told = order(server)
    for n in range(5):
        assert told.index(f"e{n}") < told.index(f"update of e{n}"), told


async def test_an_update_waits_in_memory_where_the_disk_has_no_room(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, tmp_path: Path
) -> None:
    """
    Until its event came back, for which nothing else needs to be sent; and half of memory stays
    free for that.
    """
    exporter = await make_exporter(
        spool=Spool(tmp_path, max_bytes=3_000), queue=QueueLimits(max_events=4)
    )
    server.default = unavailable()
    for n in range(10):
        exporter.push(model_event(event_id=f"e{n}", metadata={"padding": "x" * 500}))
    assert assert_balanced(exporter).spooled == 3
    is_accepted = [exporter.update(f"e{n}", metadata={"padding": "x" * 1_000}) for n in range(3)]
    assert is_accepted == [True, True, False]
    assert assert_balanced(exporter).queued == 4
    server.default = created()
    async with asyncio.timeout(PATIENCE):  # the disk is no part of that clock
        while exporter._queue.has_open_records:
            await clock.advance(0.5)

    told = order(server)
    assert told.index("e0") < told.index("update of e0"), told
    assert told.index("e1") < told.index("update of e1"), told


async def test_what_a_firewall_dislikes_holds_up_nothing_on_disk(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, tmp_path: Path
) -> None:
    """
    Updates that wait behind one that probes in vain step aside with it.
    """
    exporter = await make_exporter(
        spool=Spool(tmp_path),
        queue=QueueLimits(max_events=4),
        batch=BatchLimits(max_events=2, linger=0.1),
    )

    def answer(request: Request) -> Scripted:
        is_disliked = request.update is not None and request.update["event_id"] == "e1"
        return status(500) if is_disliked else created()

    server.default = answer
    for n in range(10):
        exporter.update("e1" if n < 4 else "e2", outputs={"n": n})
    async with asyncio.timeout(PATIENCE):
        while exporter.stats().delivered < 6:
            await clock.advance(5.0)

    assert {update["event_id"] for update in server.updated} == {"e2"}


# Whose event is lost.


@pytest.mark.parametrize("why", ["rejected", "filtered", "sampled", "invalid"])
async def test_an_update_of_a_lost_event_is_dropped(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock, why: str
) -> None:
    """
    With a reason of its own, and no request: the server would not know the event.
    """
    settlements: list[Settlement] = []

    def hook(draft: Any) -> Any:
        is_filtered = why == "filtered" and isinstance(draft, Event)
        return None if is_filtered else draft

    exporter = await make_exporter(
        on_outcome=settlements.append,
        before_send=hook if why == "filtered" else None,
        sample_rate=0.0 if why == "sampled" else 1.0,
    )
    if why == "rejected":
        server.default = refuse_if(lambda _: True)
    exporter.push(Event(event_type="tool", event_id="e1", error=1 if why == "invalid" else None))  # type: ignore[arg-type]
    exporter.push(Event(event_type="tool", event_id="e2"))
    exporter.update("e1", feedback={"rating": 5})
    await flushed(exporter, clock)

    assert updates(server) == []
    stats = assert_balanced(exporter)
    assert stats.dropped_by_reason[DropReason.EVENT_LOST] == 1
    [lost] = [s for s in settlements if s.reason is DropReason.EVENT_LOST]
    assert (lost.event_ids, lost.is_update) == (("e1",), True)


async def test_an_update_of_what_was_left_out_on_purpose_is_no_warning(
    make_exporter: MakeExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A loss of nothing: with `sample_rate` most feedback would be one.
    """
    exporter = await make_exporter(sample_rate=0.0)
    exporter.push(Event(event_type="tool", event_id="e1"))
    exporter.update("e1", feedback={"rating": 5})
    await exporter.flush()

    assert exporter.stats().dropped_by_reason[DropReason.EVENT_LOST] == 1
    assert caplog.messages == []


async def test_an_update_of_a_sampled_session_is_left_out(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    As the session was: the server does not have it.
    """
    exporter = await make_exporter(sample_rate=0.0)
    with exporter.session("chat") as session:
        exporter.push(Event(event_type="tool"))
    exporter.update(session.session_id, outputs={"resolved": True})
    await flushed(exporter, clock)

    assert server.requests == []
    assert assert_balanced(exporter).dropped_by_reason == {
        DropReason.SAMPLED: 1,
        DropReason.EVENT_LOST: 1,
    }
    assert caplog.records == []


async def test_an_event_that_is_pushed_again_may_be_updated(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    It counts what became of it last.
    """
    exporter.push(Event(event_type="tool", event_id="e1", error=1))  # type: ignore[arg-type]
    exporter.push(Event(event_type="tool", event_id="e1"))
    exporter.update("e1", feedback={"rating": 5})
    await flushed(exporter, clock)

    assert order(server) == ["e1", "update of e1"]


# What the server says.


@pytest.mark.parametrize("code", [400, 404, 405, 422])
async def test_a_refused_update_harms_nothing_else(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    """
    A server that does not know the event, or has no such route, refuses the update alone.
    """
    settlements: list[Settlement] = []
    exporter = await make_exporter(on_outcome=settlements.append)
    server.default = refuse_updates(code)
    for n in range(10):
        exporter.push(model_event(event_id=f"e{n}"))
        exporter.update(f"u{n}", feedback={"n": n})
        await flushed(exporter, clock)

    stats = assert_balanced(exporter)
    assert (stats.delivered, stats.rejected) == (10, 10)
    assert stats.health == "ok"
    refused = [s for s in settlements if s.outcome is Outcome.REJECTED]
    assert all(s.is_update for s in refused)
    says_why = "1 update rejected: HTTP 404: the server has no event with that id" in caplog.text
    assert says_why == (code == 404)


@pytest.mark.parametrize("code", [500, 503, 429])
async def test_a_failing_server_gets_it_again(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, code: int
) -> None:
    """
    As an event.
    """
    server.script(status(code))
    exporter.update("e1", feedback={"rating": 5})
    await flushed(exporter, clock)

    assert updates(server) == [("e1", {"feedback": {"rating": 5}})] * 2
    assert assert_balanced(exporter).delivered == 1


async def test_a_bad_one_of_several_is_found(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Those that were merged are told apart when the server refuses them together.
    """

    def answer(request: Request) -> Any:
        return status(400) if "bad" in request.json.get("metadata", {}) else created()

    server.default = answer
    for n in range(6):
        exporter.update("e1", metadata={"bad" if n == 3 else f"n{n}": n})
        exporter.push(model_event())
    await flushed(exporter, clock)

    stats = assert_balanced(exporter)
    assert (stats.delivered, stats.rejected) == (11, 1)


@pytest.mark.parametrize("bad", range(5))
@pytest.mark.parametrize("answer", ["refused", "failed", "too large"])
async def test_a_bad_one_changes_no_order(
    exporter: Exporter, server: ScriptedServer, clock: FakeClock, answer: str, bad: int
) -> None:
    """
    What is said last is what counts, also where the updates must be told apart.
    """
    failure = b'{"event_ids": [], "errors": ["bad"]}'
    refusal = {"refused": status(400), "failed": status(500, failure), "too large": status(413)}

    def find(request: Request) -> Scripted:
        is_bad = request.method == "PUT" and f"n{bad}" in request.json["metadata"]
        return refusal[answer] if is_bad else created()

    server.default = find
    for n in range(5):
        exporter.update("e1", metadata={f"n{n}": n}, outputs={"n": n})
        exporter.push(model_event())
    await flushed(exporter, clock)

    accepted = [update["outputs"]["n"] for update in server.updated]
    assert accepted == sorted(accepted)
    assert accepted[-1] == (3 if bad == 4 else 4)
    assert assert_balanced(exporter).delivered == 9


# Sessions.


@both
async def test_a_session_is_updated_once_it_is_there(dialect: str) -> None:
    """
    By the id that the program knows; never before the event that announces it.
    """
    session = SessionProperties(session_name="chat", session_id="chat 1")
    async with Collector() as collector:
        async with Exporter(base_url=collector.url, dialect=dialect) as exporter:  # type: ignore[arg-type]
            exporter.push(model_event(event_id="e1"), session=session)
            exporter.push(Event(event_type="tool", event_id="e2"), session=session)
            exporter.update("chat 1", feedback={"rating": 5}, user_properties={"plan": "pro"})
            result = await exporter.flush()
            assert (result.rejected, result.dropped, result.left) == (0, 0, 0)
        sessions = {s.session_id: s.properties for s in await known_sessions(collector)}

    properties = sessions[to_session_uuid("chat 1")]
    assert properties["feedback"] == {"rating": 5}
    assert properties["user_properties"] == {"plan": "pro"}


@both
async def test_a_session_that_is_pushed_as_an_event_is_updated_by_its_id(
    exporter: Exporter, server: ScriptedServer, dialect: str
) -> None:
    """
    The id under which the event went is the UUID that the server knows.
    """
    exporter.push(Event(event_type="session", session_id="chat 1"))
    exporter.update("chat 1", feedback={"rating": 5})
    await exporter.flush()

    chat = to_session_uuid("chat 1")
    assert order(server) == [chat, f"update of {chat}"]


@both
async def test_a_session_of_another_program_is_updated_inside_its_block(
    exporter: Exporter, server: ScriptedServer, dialect: str
) -> None:
    """
    By the id that both know; elsewhere it might be that of an event.
    """
    with exporter.session(session_id="chat 1") as session:
        assert session.session_id
        exporter.update(session.session_id, feedback={"rating": 5})
    exporter.update("chat 1", feedback={"rating": 4})
    await exporter.flush()

    assert [event_id for event_id, _ in updates(server)] == [to_session_uuid("chat 1"), "chat 1"]


@both
async def test_the_collector_has_it(dialect: str) -> None:
    """
    Beside what the event said.
    """
    async with Collector() as collector:
        async with Exporter(base_url=collector.url, dialect=dialect) as exporter:  # type: ignore[arg-type]
            exporter.push(model_event(event_id="e1", metadata={"a": 1}))
            exporter.update("e1", metadata={"b": 2}, outputs={"c": 3})
            await exporter.flush()
        [event] = [event.event for event in await stored(collector)]

    assert event["metadata"].items() >= {"a": 1, "b": 2}.items()
    assert event["outputs"] == {"c": 3}


# What is checked and hidden.


async def test_before_send_sees_updates(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    As plain data; it may change or filter them.
    """
    seen: list[object] = []

    def hook(draft: Any) -> Any:
        seen.append(draft)
        return None if draft.event_id == "e2" else draft.map_text(str.upper)

    exporter = await make_exporter(before_send=hook)
    exporter.update("e1", feedback={"note": "good"})
    exporter.update("e2", feedback={"note": "bad"})
    await exporter.flush()

    assert all(type(draft) is EventUpdate for draft in seen)
    assert updates(server) == [("e1", {"feedback": {"note": "GOOD"}})]
    assert assert_balanced(exporter).dropped_by_reason == {DropReason.FILTERED: 1}


async def test_outputs_are_hidden(make_exporter: MakeExporter, server: ScriptedServer) -> None:
    """
    Outputs and metadata, as of an event; feedback is sent.
    """
    exporter = await make_exporter(hide_outputs=True)
    exporter.update("e1", outputs={"a": 1}, metadata={"a": 1}, feedback={"rating": 1})
    await exporter.flush()

    assert updates(server) == [("e1", {"feedback": {"rating": 1}})]


@pytest.mark.parametrize(
    ("event_id", "fields", "said"),
    [
        ("e1", {}, "must say something"),
        ("", {"feedback": {"a": 1}}, "event_id: must name an event"),
        ("..", {"feedback": {"a": 1}}, "event_id: must name an event"),
        (5, {"feedback": {"a": 1}}, "event_id: must be a string"),
        ("e1", {"duration": "long"}, "duration: must be a number"),
    ],
)
async def test_a_wrong_update_is_dropped_with_a_word(
    exporter: Exporter,
    caplog: pytest.LogCaptureFixture,
    event_id: Any,
    fields: dict[str, Any],
    said: str,
) -> None:
    """
    It is counted as invalid, and the message says what is wrong.
    """
    with caplog.at_level(logging.WARNING):
        assert not exporter.update(event_id, **fields)

    assert assert_balanced(exporter).dropped_by_reason == {DropReason.INVALID: 1}
    assert said in caplog.text


def test_a_wrong_name_is_an_error(build_exporter: BuildExporter) -> None:
    """
    Where it is written; it names what may be meant.
    """
    with pytest.raises(TypeError, match="'feedbak': did you mean 'feedback'"):
        build_exporter().update("e1", feedbak={"a": 1})  # type: ignore[call-arg]


async def test_odd_values_are_legalised(exporter: Exporter, server: ScriptedServer) -> None:
    """
    As an event's are; what is no object is kept in metadata.
    """
    exporter.update("e1", feedback={"when": {1, 2}}, metrics=0.5, outputs="text")
    await exporter.flush()

    [(_, said)] = updates(server)
    assert said["feedback"] == {"when": [1, 2]}
    assert said["metadata"] == {"metrics": 0.5, "outputs": "text"}


async def test_a_closed_or_disabled_exporter_counts_it(build_exporter: BuildExporter) -> None:
    """
    With the reason that an event would have.
    """
    closed, disabled = build_exporter(), build_exporter(disabled=True)
    await closed.aclose()
    for exporter in (closed, disabled):
        assert not exporter.update("e1", feedback={"a": 1})

    assert closed.stats().dropped_by_reason == {DropReason.CLOSED: 1}
    assert disabled.stats().dropped_by_reason == {DropReason.DISABLED: 1}


async def test_a_full_queue_drops_the_oldest(
    make_exporter: MakeExporter, server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Updates take room as events do, and outcomes say which were lost.
    """
    settlements: list[Settlement] = []
    exporter = await make_exporter(
        queue=QueueLimits(max_events=4),
        on_outcome=settlements.append,
        batch=BatchLimits(max_events=2),
    )
    server.default = hang()
    for n in range(4):
        exporter.push(model_event(event_id=f"e{n}"))
    await server.requests_seen(2)
    for n in range(6):
        exporter.update(f"u{n}", feedback={"n": n})

    dropped = exporter.stats().dropped_by_reason[DropReason.QUEUE_FULL]
    lost = [i for s in settlements if s.is_update for i in s.event_ids]
    assert dropped == len(lost) == 6
    server.default = created()
    server.release()
    await flushed(exporter, clock)
    assert orjson.dumps(assert_balanced(exporter).delivered) == b"4"
