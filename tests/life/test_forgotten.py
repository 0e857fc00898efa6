"""
An exporter that nobody holds any more: it sends what is there, and nothing of it stays.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import BatchLimits, Exporter, Settlement
from tests.conftest import KEY
from tests.programs import run_program
from tests.scripted_server import ScriptedServer, created, hang, status, unavailable
from tests.support import model_event, push_all, until

LINGERS = BatchLimits(linger=3600.0)


class Tenant:
    """
    An owner of an exporter, to which the exporter's callback refers.
    """

    def __init__(self, url: str, **arguments: Any) -> None:
        self.heard: list[tuple[str, ...]] = []
        self.exporter = Exporter(KEY, base_url=url, on_outcome=self.hear, **arguments)

    def hear(self, settlement: Settlement) -> None:
        self.heard.append(settlement.event_ids)


def workers() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "hh_exporter worker"]


def spool_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "hh_exporter spool"]


@pytest.fixture(autouse=True)
async def complaints() -> AsyncIterator[list[str]]:
    """
    What the event loop complains of, such as a pending task that is collected: nothing.
    """
    heard: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: heard.append(context["message"]))
    yield heard
    await until(lambda: not workers())
    gc.collect()
    assert heard == []


async def gone(exporter: weakref.ref[Exporter]) -> None:
    """
    Wait until nothing of *exporter* is left.
    """
    gc.collect()
    assert exporter() is None
    await until(lambda: not workers() and not spool_threads())


async def test_it_sends_what_lingers_and_ends(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Its worker ends, once it has sent at once what was to wait for more, and there is no word.
    """
    exporter = Exporter(KEY, base_url=server.url, batch=LINGERS)
    await exporter.start()
    push_all(exporter, "e0", "e1")
    ref = weakref.ref(exporter)
    del exporter

    await gone(ref)

    assert server.created_ids == ["e0", "e1"]
    assert caplog.messages == []


@pytest.mark.parametrize("is_idle", [True, False])
async def test_it_is_collected_though_its_callback_holds_it(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, *, is_idle: bool
) -> None:
    """
    A callback of its owner keeps neither of them, and hears of every event.
    """
    tenant = Tenant(server.url, batch=LINGERS)
    heard, ref = tenant.heard, weakref.ref(tenant.exporter)
    push_all(tenant.exporter, "e0")
    await tenant.exporter.flush()
    if not is_idle:
        push_all(tenant.exporter, "e1")
    del tenant

    await gone(ref)

    assert heard == [(event_id,) for event_id in server.created_ids]
    assert len(heard) == 2 - is_idle
    assert caplog.messages == []


async def test_it_takes_no_longer_than_a_close(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What a server that hangs does not take within close_timeout is dropped, with one warning.
    """
    server.default = hang()
    outcomes: list[Settlement] = []
    exporter = Exporter(
        KEY, base_url=server.url, batch=LINGERS, close_timeout=0.05, on_outcome=outcomes.append
    )
    await exporter.start()
    push_all(exporter, "e0", "e1")
    ref = weakref.ref(exporter)
    del exporter

    await gone(ref)

    assert [s.event_ids for s in outcomes] == [("e0", "e1")]
    [said] = caplog.messages
    assert "2 events dropped (closed)" in said


@pytest.mark.parametrize("is_up", [True, False])
async def test_its_spool_is_closed(
    server: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_up: bool
) -> None:
    """
    Its thread ends, and of its files there is only what waits: the next exporter has that.
    """
    server.default = created() if is_up else unavailable()
    arguments: dict[str, Any] = {"base_url": server.url, "spool": tmp_path / "spool"}
    exporter = Exporter(KEY, **arguments, close_timeout=0.05)
    await exporter.start()
    push_all(exporter, "e0", "e1")
    ref = weakref.ref(exporter)
    del exporter

    await gone(ref)

    assert caplog.messages == []
    assert bool(list((tmp_path / "spool").iterdir())) is not is_up
    server.default = created()
    async with Exporter(KEY, **arguments) as following:
        await following.flush()
        assert following.stats().recovered == (0 if is_up else 2)
    assert server.created_ids == ["e0", "e1"]


async def test_it_may_be_forgotten_in_another_thread(server: ScriptedServer) -> None:
    """
    Whichever thread held it last, its own loop sends what is there.
    """
    exporter = Exporter(KEY, base_url=server.url, batch=LINGERS)
    await exporter.start()
    held = [exporter]
    ref = weakref.ref(exporter)
    del exporter

    def push_and_forget() -> None:
        push_all(held[0], "e0")
        held.clear()

    await asyncio.to_thread(push_and_forget)

    await gone(ref)
    assert server.created_ids == ["e0"]


async def test_it_may_be_closed_before(server: ScriptedServer) -> None:
    """
    After a close there is nothing left to do, nor to say.
    """
    exporter = Exporter(KEY, base_url=server.url)
    async with exporter:
        push_all(exporter, "e0")
    ref = weakref.ref(exporter)
    del exporter

    await gone(ref)
    assert server.created_ids == ["e0"]


async def test_it_may_be_forgotten_as_its_loop_ends(server: ScriptedServer, tmp_path: Path) -> None:
    """
    The local variable of a main function delivers; what it can't is on disk when the process ends.
    """
    source = """
        async def main():
            exporter = Exporter()
            exporter.push(ModelEvent(model="m", event_id="e0"))
        asyncio.run(main())
    """
    environ = {"HH_EXPORTER_SPOOL_DIRECTORY": str(tmp_path / "spool")}

    done = await run_program(source, server.url)
    assert (done.status, done.stderr) == (0, "")
    assert server.created_ids == ["e0"]

    server.default = status(403)
    done = await run_program(source, server.url, **environ)
    assert "dropped" not in done.stderr
    server.default = created()
    async with Exporter(base_url=server.url, spool=tmp_path / "spool") as following:
        assert following.stats().recovered == 1
        await following.flush()


async def test_a_parents_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A forked child that collects an exporter before it has one of its own says nothing of it.
    """
    exporter = Exporter(KEY, base_url="http://127.0.0.1:9")
    life = exporter._life
    await asyncio.to_thread(exporter.push, model_event())
    monkeypatch.setattr(os, "getpid", lambda: -1)
    del exporter
    gc.collect()

    assert not life.queue.closed
    monkeypatch.undo()
    life.save_all()
    assert len(caplog.messages) == 1


def test_what_could_not_be_made_is_collected() -> None:
    """
    An exporter whose settings are refused ends without a sound.
    """
    with pytest.raises(ValueError, match="close_timeout"):
        Exporter(close_timeout=-1.0)
    gc.collect()
