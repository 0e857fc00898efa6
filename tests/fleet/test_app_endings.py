"""
How an app host that publishes ends: in time, and with everything told.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import DeliveryError, DropReason, Exporter, Spool
from hh_exporter.testing import assert_balanced
from tests.command import Finished
from tests.conftest import KEY
from tests.fake_nats import ACK, FULL, FakeNats, Reply
from tests.fleet.app import IDS, SOON, exporter_to, relayed
from tests.life.test_forks import forked
from tests.programs import run_program, running
from tests.scripted_server import ScriptedServer
from tests.support import FakeClock, in_thread, model_event, push_all, until

SILENT = Reply(stores=False, is_held=True)


@pytest.fixture(params=["frozen", "mute", "endless", "absent"])
async def unwilling(request: pytest.FixtureRequest, fake_nats: FakeNats) -> FakeNats:
    """
    A server that says nothing once it has a message, before, or at all; or none.
    """
    match request.param:
        case "frozen":
            fake_nats.choose = lambda _: SILENT
        case "mute":
            fake_nats.after_connect = b""
        case "endless":
            fake_nats.greeting = b"INFO "
        case "absent":
            await fake_nats.stop()
    return fake_nats


async def test_a_close_ends_in_time(
    unwilling: FakeNats, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whatever the server does: what is left is dropped, and told.
    """
    before = asyncio.all_tasks()
    exporter = exporter_to(unwilling, clock)
    push_all(exporter, *IDS)
    await until(lambda: exporter.stats().requests)
    closing = asyncio.create_task(exporter.aclose(timeout=3.0))
    for _ in range(6):
        await asyncio.sleep(0.01)
        await clock.advance(0.5)
    result = await asyncio.wait_for(closing, 20)

    assert clock.now() <= 3.0
    assert (result.dropped, result.relayed) == (len(IDS), 0)
    assert assert_balanced(exporter).dropped == len(IDS)
    assert f"hh_exporter: {len(IDS)} events dropped (closed)" in caplog.text
    await until(lambda: asyncio.all_tasks() == before)


async def test_a_flush_ends_in_time(unwilling: FakeNats, clock: FakeClock) -> None:
    """
    It says how many are left.
    """
    exporter = exporter_to(unwilling, clock)
    push_all(exporter, *IDS)
    await until(lambda: exporter.stats().requests)
    flushing = asyncio.create_task(exporter.flush(timeout=3.0))
    for _ in range(6):
        await asyncio.sleep(0.01)
        await clock.advance(0.5)
    result = await asyncio.wait_for(flushing, 20)

    assert (result.left, result.relayed) == (len(IDS), 0)
    assert_balanced(exporter)
    await exporter.aclose(timeout=0)


async def program(source: str, server: FakeNats, **environ: str) -> Finished:
    return await run_program(
        source, "http://127.0.0.1:9", HH_EXPORTER_JETSTREAM_SERVERS=server.address, **environ
    )


async def test_a_loop_that_ends_takes_what_is_queued_with_it(fake_nats: FakeNats) -> None:
    """
    asyncio.run cancels everything, and nats-py's tasks too: what is queued is published anew.
    """
    finished = await program(
        """
        async def main(name):
            push(f"{name}0")
            await exporter.flush()
            push(f"{name}1")

        asyncio.run(main("a"))
        asyncio.run(main("b"))
        say(exporter.stats().relayed, threading.active_count())
        """,
        fake_nats,
        PYTHONWARNINGS="error::ResourceWarning",
        PYTHONASYNCIODEBUG="1",
    )

    assert finished.stderr == ""
    assert finished.stdout == "4 1\n"
    assert fake_nats.event_ids == ["a0", "a1", "b0", "b1"]
    assert not fake_nats.repeats.total()


async def test_an_exit_without_a_close_says_how_many_are_lost(fake_nats: FakeNats) -> None:
    """
    Where the server takes them no more; and nothing hangs.
    """
    fake_nats.choose = lambda message: ACK if message.record.event_id == "a" else FULL
    finished = await program(
        """
        async def main():
            push("a")
            await exporter.flush()
            push("b", "c")
            await asyncio.sleep(0.05)

        import uvloop
        uvloop.run(main())
        """,
        fake_nats,
    )

    assert (finished.status, finished.stdout) == (0, "")
    said = finished.stderr.splitlines()
    assert all(line.startswith("hh_exporter: ") for line in said), said
    assert said[-1] == (
        f"hh_exporter: the event loop ended with 2 events queued; {fake_nats.address}:"
        " maximum messages exceeded (10077): await aclose() before it ends"
    )


async def test_a_program_without_asyncio_is_flushed_at_its_end(fake_nats: FakeNats) -> None:
    """
    As where it sends to the API.
    """
    finished = await program(
        """
        exporter = Exporter.in_thread()
        push("a")
        say(exporter.flush_sync().relayed)
        push("b", "c")
        """,
        fake_nats,
    )

    assert finished == Finished(0, "1\n", "")
    assert fake_nats.event_ids == ["a", "b", "c"]


async def test_a_signal_flushes_first(fake_nats: FakeNats) -> None:
    """
    With `install_signal_handlers`.
    """
    source = """
        exporter.install_signal_handlers()

        async def main():
            push("a")
            say("pushed")
            await asyncio.sleep(60)

        asyncio.run(main())
    """
    address = {"HH_EXPORTER_JETSTREAM_SERVERS": fake_nats.address, "HH_EXPORTER_BATCH_LINGER": "9"}
    with running(source, "http://127.0.0.1:9", **address) as one:
        await one.said("pushed")
        one.send(signal.SIGTERM)
        finished = await one.ended()

    assert finished.status == -signal.SIGTERM
    assert fake_nats.event_ids == ["a"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_forked_child_publishes_its_own(fake_nats: FakeNats, clock: FakeClock) -> None:
    """
    On a connection of its own; that of its parent goes on.
    """
    async with Exporter(jetstream=fake_nats.address, batch=SOON) as exporter:
        push_all(exporter, "p0")
        assert (await exporter.flush()).relayed == 1
        push_all(exporter, "p1")

        def child() -> Any:
            async def main() -> int:
                push_all(exporter, "c0", "c1")
                return (await exporter.aclose()).relayed

            return asyncio.run(main()), assert_balanced(exporter).pushed

        assert await forked(child) == [2, 2]
        await exporter.flush()
        assert assert_balanced(exporter).relayed == 2

    assert sorted(fake_nats.event_ids) == ["c0", "c1", "p0", "p1"]
    assert fake_nats.connections == 2
    assert not fake_nats.repeats.total()


async def test_another_loop_goes_on(fake_nats: FakeNats) -> None:
    """
    In a thread of its own, after the first loop has closed its connection.
    """
    exporter = Exporter(jetstream=fake_nats.address, batch=SOON)

    async def main(*event_ids: str) -> None:
        push_all(exporter, *event_ids)
        await exporter.flush()

    await in_thread(lambda: main("a"))
    await in_thread(lambda: main("b"))
    await main("c")
    await exporter.aclose()

    assert assert_balanced(exporter).relayed == 3
    assert fake_nats.event_ids == ["a", "b", "c"]


PUTS = """
    async def main():
        for number in range(30):
            assert await exporter.put(ModelEvent(model="m", event_id=f"e{number}"))
        say("put")
        await asyncio.sleep(60)

    asyncio.run(main())
"""


@pytest.mark.parametrize("fault", ["loses acknowledgements", "absent"])
async def test_what_put_acknowledged_survives_kill_9(
    fake_nats: FakeNats, tmp_path: Path, fault: str
) -> None:
    """
    The next process to use the spool publishes it; the stream knows what it had.
    """
    match fault:
        case "loses acknowledgements":
            fake_nats.choose = lambda _: Reply(is_held=True)
        case "absent":
            await fake_nats.stop()
    environ = {
        "HH_EXPORTER_JETSTREAM_SERVERS": fake_nats.address,
        "HH_EXPORTER_SPOOL_DIRECTORY": str(tmp_path / "spool"),
        "HH_EXPORTER_SPOOL_DURABLE": "1",
    }
    with running(PUTS, "http://127.0.0.1:9", **environ) as one:
        await one.said("put")
        if fault == "loses acknowledgements":
            await until(lambda: len(fake_nats.stored) == 30)
        one.send(signal.SIGKILL)
        await one.ended()
    fake_nats.choose = lambda _: ACK
    await fake_nats.restart()
    repeats = fake_nats.repeats.total()
    spool = Spool(tmp_path / "spool", durable=True)
    async with Exporter(jetstream=fake_nats.address, spool=spool, batch=SOON) as exporter:
        await until(lambda: assert_balanced(exporter).recovered == 30)
        await exporter.flush()
        stats = assert_balanced(exporter)

    assert (stats.relayed, stats.spooled) == (30, 0)
    assert stats.duplicates == fake_nats.repeats.total() - repeats
    assert Counter(fake_nats.event_ids) == Counter(f"e{number}" for number in range(30))


async def test_the_spool_of_a_stream_is_not_that_of_the_api(
    fake_nats: FakeNats, server: ScriptedServer, tmp_path: Path
) -> None:
    """
    Neither takes over what the other left.
    """
    spool = Spool(tmp_path / "spool")
    fake_nats.choose = lambda _: FULL
    exporter = Exporter(jetstream=fake_nats.address, spool=spool, batch=SOON)
    push_all(exporter, "to the stream")
    await exporter.aclose(timeout=0.2)
    assert assert_balanced(exporter).spooled == 1

    async with Exporter(KEY, base_url=server.url, spool=spool, batch=SOON) as other:
        push_all(other, "to the API")
        await other.flush()
        await asyncio.sleep(0.1)
        assert assert_balanced(other).recovered == 0
    assert server.created_ids == ["to the API"]

    fake_nats.choose = lambda _: ACK
    async with Exporter(jetstream=fake_nats.address, spool=spool, batch=SOON) as again:
        await until(lambda: assert_balanced(again).relayed == 1)
    assert fake_nats.event_ids == ["to the stream"]


async def test_a_single_event_is_told_of_what_is_wrong(
    fake_nats: FakeNats, clock: FakeClock
) -> None:
    """
    While no stream takes it, and once one does.
    """
    fake_nats.choose = lambda _: FULL
    async with exporter_to(fake_nats, clock) as exporter:
        call = asyncio.create_task(exporter.create_model_event(model_event(event_id="a"), 5.0))
        while not call.done():
            await asyncio.sleep(0.001)
            await clock.advance(0.25)
        error = call.exception()
        assert isinstance(error, DeliveryError)
        assert error.reason is DropReason.SEND_FAILED
        assert "maximum messages exceeded (10077)" in str(error)
        assert assert_balanced(exporter).dropped == 1
        fake_nats.choose = lambda _: ACK
        assert await exporter.create_model_event(model_event(event_id="b")) == "b"
        push_all(exporter, "c")
        await relayed(exporter, clock, 2)
    assert fake_nats.event_ids == ["b", "c"]


async def test_a_copy_goes_to_another_server_too(
    fake_nats: FakeNats, server: ScriptedServer
) -> None:
    """
    With `also`: of each event, whatever the stream does.
    """
    async with Exporter(jetstream=fake_nats.address, also=server.url, batch=SOON) as exporter:
        push_all(exporter, *IDS)
        await exporter.flush()
        await until(lambda: len(server.created_ids) == len(IDS))
    assert sorted(server.created_ids) == sorted(IDS)
    assert fake_nats.event_ids == IDS
    assert assert_balanced(exporter).relayed == len(IDS)
