"""
The kit for tests of programs that use the exporter.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

from hh_exporter import (
    BatchLimits,
    ConfigError,
    DropReason,
    Event,
    Exporter,
    ExporterError,
    RetryPolicy,
    SessionProperties,
)
from hh_exporter.testing import FakeClock, Kit, assert_balanced
from tests.support import model_event, push_all

ROOT = Path(__file__).parent.parent


@pytest.fixture
def kit() -> Iterator[Kit]:
    with Kit() as kit:
        yield kit


# What arrived.


async def test_what_is_pushed_arrives(kit: Kit) -> None:
    """
    After a flush, the collector has the events in their order.
    """
    exporter = kit.make_exporter()
    push_all(exporter, "a", "b")
    await exporter.flush()

    assert [event["event_id"] for event in kit.events()] == ["a", "b"]


async def test_sessions_are_there_to_look_at(kit: Kit) -> None:
    """
    What an event says of its session is what the collector was told.
    """
    session = SessionProperties(session_name="support chat")
    exporter = kit.make_exporter()
    exporter.push(model_event(), session=session)
    await exporter.flush()

    [(session_id, properties)] = kit.sessions().items()
    assert session_id == session.session_id
    assert properties["session_name"] == "support chat"


@pytest.mark.parametrize("dialect", ["legacy", "v1"])
async def test_events_are_told_apart_by_kind(kit: Kit, dialect: str) -> None:
    """
    A model event is one in either dialect; what later updates said is part of each.
    """
    exporter = kit.make_exporter(dialect=dialect)
    push_all(exporter, "a")
    await exporter.flush()
    exporter.push(Event(event_type="tool", event_id="b"))
    exporter.update("b", feedback={"rating": 5})
    exporter.update("unknown", feedback={"rating": 1})
    assert (await exporter.flush()).rejected == 1

    assert [event["event_id"] for event in kit.events()] == ["a", "b"]
    assert [event["event_id"] for event in kit.events("model")] == ["a"]
    [tool] = kit.events(kind="tool")
    assert (tool["event_id"], tool["feedback"]) == ("b", {"rating": 5})
    assert kit.updates() == [{"event_id": "b", "feedback": {"rating": 5}}]


def test_a_kind_that_is_none_is_refused(kit: Kit) -> None:
    """
    Else a test that looks for what can't be would pass.
    """
    with pytest.raises(ConfigError, match="model, tool, chain, session"):
        kit.events("tools")  # type: ignore[arg-type]


def test_no_event_loop_is_needed(kit: Kit) -> None:
    """
    A test may be a plain function, and the exporter live in a loop that is gone by then.
    """

    async def main() -> None:
        async with kit.make_exporter() as exporter:
            exporter.push(model_event(model="gpt-4o-mini"))

    asyncio.run(main())

    assert [event["model"] for event in kit.events()] == ["gpt-4o-mini"]


async def test_both_dialects_are_taken(kit: Kit) -> None:
    """
    An exporter may speak either.
    """
    async with kit.make_exporter(dialect="v1") as exporter:
        push_all(exporter, "a")

    assert [event["event_id"] for event in kit.events()] == ["a"]


# A program's own exporter.


async def test_an_exporter_of_the_program_is_adopted(kit: Kit) -> None:
    """
    One that was made for production, without a key here, delivers to the collector.
    """

    def before_send(event: Any) -> Any:
        event.source = "hook"
        return event

    exporter = Exporter(base_url="https://nowhere.invalid", before_send=before_send)
    kit.adopt(exporter)
    async with exporter:
        push_all(exporter, "a")

    assert [event["source"] for event in kit.events()] == ["hook"]


async def test_a_stream_gets_nothing_of_a_test(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    An exporter that publishes in production delivers to the collector, however it is told to.
    """
    monkeypatch.setenv("HH_EXPORTER_JETSTREAM_SERVERS", "nats://nowhere.invalid")
    for exporter in (Exporter(), Exporter(jetstream="nats://nowhere.invalid")):
        kit.adopt(exporter)
        async with exporter:
            push_all(exporter, "a")
    async with kit.make_exporter() as exporter:
        push_all(exporter, "a")

    assert [event["event_id"] for event in kit.events()] == ["a"] * 3


def test_a_program_without_asyncio_is_tested_by_a_plain_function(kit: Kit) -> None:
    """
    Its exporter keeps its thread when it is adopted.
    """
    exporter = Exporter.in_thread("hh_key", base_url="https://nowhere.invalid")
    kit.adopt(exporter)
    push_all(exporter, "a")

    assert exporter.flush_sync().delivered == 1
    assert [event["event_id"] for event in kit.events()] == ["a"]


async def test_what_was_adopted_is_as_new_in_the_end() -> None:
    """
    It has its own address again, is open, and knows nothing of the test.
    """
    exporter = Exporter("hh_key", base_url="https://nowhere.invalid", batch=BatchLimits(linger=9.0))
    with Kit() as kit:
        kit.adopt(exporter)
        kit.adopt(exporter)
        push_all(exporter, "a")

    assert exporter.stats().pushed == 0
    assert repr(exporter) == "<Exporter https://nowhere.invalid starting>"


async def test_an_adopted_exporter_writes_no_file(kit: Kit, tmp_path: Path) -> None:
    """
    The spool of production is not the test's.
    """
    exporter = Exporter("hh_key", spool=tmp_path / "spool")
    kit.adopt(exporter)
    async with exporter:
        push_all(exporter, "a")

    assert not (tmp_path / "spool").exists()
    assert len(kit.events()) == 1


# What goes wrong.


async def test_scripted_faults_come_in_their_order(kit: Kit) -> None:
    """
    Each of the next requests meets with one, and those after with none.
    """
    kit.fail(503, "reset", 429)
    exporter = kit.make_exporter()
    push_all(exporter, "a")
    await exporter.flush()

    assert exporter.stats().requests_by_status == {503: 1, None: 1, 429: 1, 200: 1}
    assert len(kit.events()) == 1


async def test_a_partial_success_is_one_fault(kit: Kit) -> None:
    """
    Half of a batch is stored, and the rest arrives with what the exporter sends then.
    """
    kit.fail("partial")
    exporter = kit.make_exporter()
    push_all(exporter, "a", "b", "c")
    await exporter.flush()

    assert sorted(event["event_id"] for event in kit.events()) == ["a", "b", "c"]
    assert 500 in exporter.stats().requests_by_status


async def test_an_outage_ends_with_its_block(kit: Kit) -> None:
    """
    All requests in the block fail, and none after it.
    """
    exporter = kit.make_exporter()
    with kit.failing(401):
        push_all(exporter, "a")
        assert (await exporter.flush()).left == 1
    await exporter.flush(5.0)

    assert assert_balanced(exporter).delivered == 1


async def test_a_server_that_hangs_holds_up_no_close(kit: Kit) -> None:
    """
    A close takes no longer than it may, and says what it had to give up.
    """
    kit.fail("hang")
    exporter = kit.make_exporter(close_timeout=0.05)
    push_all(exporter, "a")
    await exporter.aclose()

    assert assert_balanced(exporter).dropped_by_reason == {DropReason.CLOSED: 1}


@pytest.mark.parametrize("fault", [200, "503 ", "nothing"])
def test_a_fault_that_is_none_is_refused(kit: Kit, fault: int | str) -> None:
    """
    A typo shows at once, not as a test that passes for want of a fault.
    """
    with pytest.raises(ConfigError, match="status from 400 to 599"):
        kit.fail(503, fault)

    exporter = kit.make_exporter()
    push_all(exporter, "a")
    asyncio.run(exporter.flush())
    assert exporter.stats().retries == 0


# Time.


async def test_time_passes_at_once(kit: Kit) -> None:
    """
    An hour of failures is over in no time, and in each step the server had its say.
    """
    exporter = kit.make_exporter(clock=kit.clock)
    with kit.failing(503):
        push_all(exporter, "a")
        await kit.advance(3600.0)
        during = assert_balanced(exporter)
    await kit.advance(60.0)

    assert during.health == "retrying"
    assert during.requests_by_status == {503: during.requests}
    assert during.requests > 100
    assert assert_balanced(exporter).delivered == 1


async def test_patience_ends_on_the_fake_clock(kit: Kit) -> None:
    """
    What takes minutes to be given up is given up in no time.
    """
    exporter = kit.make_exporter(
        clock=kit.clock, retry=RetryPolicy(max_elapsed=3.0), batch=BatchLimits(linger=0.0)
    )
    kit.fail(*[503] * 4)
    push_all(exporter, "a")
    await kit.advance(60.0)

    assert assert_balanced(exporter).dropped_by_reason == {DropReason.RETRIES_EXHAUSTED: 1}


async def test_a_request_that_hangs_holds_up_no_time(kit: Kit) -> None:
    """
    It is waited for as long as the exporter waits, on its clock.
    """
    kit.fail("reset", "hang")
    exporter = kit.make_exporter(clock=kit.clock, request_timeout=10.0)
    push_all(exporter, "a")
    await kit.advance(60.0)

    stats = assert_balanced(exporter)
    assert stats.requests_by_status == {None: 2, 200: 1}
    assert 10.0 <= stats.request_seconds < 11.0


async def test_a_clock_says_when_it_is_due_next(kit: Kit) -> None:
    """
    A clock of the test's own can be taken from moment to moment.
    """
    clock = FakeClock()
    sleeper = asyncio.create_task(clock.sleep(5.0))
    await clock.advance(0.0)

    assert clock.next_timer() == 5.0
    await clock.advance_to(5.0)
    assert sleeper.done()


# The end.


def test_exporters_that_are_open_are_closed() -> None:
    """
    What a test leaves open ends with the kit, and so does all that it started.
    """
    threads = threading.active_count()
    with Kit() as kit:
        exporter = kit.make_exporter()
        push_all(exporter, "a")

    assert exporter.stats().health == "closed"
    assert threading.active_count() == threads


async def test_a_kit_ends_within_the_loop_of_its_exporters() -> None:
    """
    Entered in a coroutine it does not wait for the loop that it keeps from running.
    """
    with Kit() as kit:
        exporter = kit.make_exporter()
        push_all(exporter, "a")
        await exporter.flush()

    assert exporter.stats().health == "closed"


@pytest.mark.parametrize("was_open", [True, False])
def test_a_kit_that_is_not_open_says_so(was_open: bool) -> None:
    """
    Who looks at what arrived after the block, or without one, hears where it is to be had.
    """
    kit = Kit()
    if was_open:
        with kit:
            pass

    with pytest.raises(ExporterError, match="within its block"):
        kit.events()
    with pytest.raises(ExporterError, match="within its block"):
        kit.adopt(Exporter(disabled=True))


def test_a_kit_that_is_opened_again_adopts_again() -> None:
    """
    What was adopted before goes to the new collector, and to no server of its own.
    """
    kit = Kit()
    exporter = Exporter(disabled=True)
    for _ in range(2):
        with kit:
            kit.adopt(exporter)
            push_all(exporter, "a")
            asyncio.run(exporter.flush())

            assert [event["event_id"] for event in kit.events()] == ["a"]
    assert exporter.stats().health == "closed"


async def test_books_that_do_not_balance_are_told(kit: Kit) -> None:
    """
    The check fails where an event is lost, with the books in its text.
    """
    exporter = kit.make_exporter(disabled=True)
    exporter.push(model_event())
    assert assert_balanced(exporter).dropped == 1
    ledger = exporter._queue.ledger
    ledger.pushed += 1

    with pytest.raises(AssertionError, match=r"pushed=2"):
        assert_balanced(exporter)
    ledger.pushed -= 1


# The plugin.


def test_the_plugin_costs_nothing_to_who_does_not_use_it() -> None:
    """
    That pytest imports it does not import the package: not its time, nor its coverage.
    """
    code = "import pytest_hh_exporter, sys; print('hh_exporter' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"


def test_pytest_finds_the_plugin_where_the_package_is_installed() -> None:
    """
    The entry point names the module, and the module is packed.
    """
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")

    name = "pytest_hh_exporter"
    assert config["options.entry_points"]["pytest11"].split() == [name, "=", name]
    assert config["options"]["py_modules"] == name
    assert (ROOT / f"{name}.py").exists()
