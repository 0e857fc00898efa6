"""
Keys and payloads reach no log, repr or exception, whatever goes wrong.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from hh_exporter import (
    BatchLimits,
    DeliveryError,
    Exporter,
    ModelEvent,
    Outcome,
    SessionProperties,
    Settlement,
)
from hh_exporter._codec import Codec
from hh_exporter._dialect import Answer
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._environment import read_settings
from hh_exporter._parts import Delivery
from hh_exporter._records import Batch
from hh_exporter._transport import Transport
from hh_exporter.events import CreateModelEventBatchResponseBody
from tests.conftest import MakeExporter
from tests.scripted_server import (
    Scripted,
    ScriptedServer,
    created,
    foreign_ids,
    hang,
    html,
    partly,
    reset_before_storing,
    status,
    truncated_headers,
    unavailable,
)
from tests.support import FakeClock, settle

CANARY = "canary-7d1f"
KEY = f"hh_{CANARY}"
NUMBER = 86753090125.5
"""A canary for the fields that hold a number."""


def canary_event(**fields: Any) -> ModelEvent:
    """
    Make an event with a canary in each of its payload fields.
    """
    payload: dict[str, Any] = {}
    for a in attrs.fields(ModelEvent):
        if not a.repr:
            payload[a.name] = NUMBER if "float" in str(a.type) else CANARY
    payload |= {
        "messages": [{"role": "user", "content": CANARY}],
        "response": {"content": CANARY, CANARY: 1},
        "tools": [{"name": CANARY}],
        "extra": {CANARY: CANARY},
    }
    return ModelEvent(**{"model": "gpt-4o"} | payload | fields)


class HostileEvent(ModelEvent):
    """
    An event that quotes itself wherever it is looked at.
    """

    def __getattribute__(self, name: str) -> Any:
        if name == "provider":
            raise RuntimeError(CANARY)
        return super().__getattribute__(name)

    def __repr__(self) -> str:
        return CANARY


def echo(code: int) -> Scripted:
    """
    Answer *code* with the body of the request, as careless servers do.
    """
    return lambda request: status(code, request.body)


def echo_as_error() -> Scripted:
    """
    Answer as a server does that could create nothing, and quotes why.
    """
    return status(500, b'{"event_ids": [], "errors": ["%s"]}' % CANARY.encode())


@pytest.fixture
def words(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """
    Log all that any logger can say; returns what was said so far, arguments included.
    """
    caplog.set_level(logging.DEBUG)
    return lambda: "\n".join(f"{r.getMessage()} {vars(r)}" for r in caplog.records)


def assert_private(text: str) -> None:
    assert CANARY not in text
    assert str(NUMBER) not in text
    assert repr(CANARY.encode()) not in text


async def call(exporter: Exporter) -> list[object]:
    """
    Send one event by itself; list the exception, as a traceback shows it too.
    """
    try:
        await exporter.create_model_event(canary_event(), timeout=0.4)
    except DeliveryError as error:
        chain = traceback.format_exception(error)
        return [error, str(error), error.args, *chain]
    return []


def listen(loop: asyncio.AbstractEventLoop) -> None:
    """
    Have asyncio log every step of every task, by its repr.
    """
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(created(), id="success"),
        pytest.param(partly(lambda event: event["event_id"] == "e1"), id="partial"),
        pytest.param(echo_as_error(), id="failed with an echo"),
        pytest.param(foreign_ids(), id="ambiguous"),
        pytest.param(echo(400), id="400 with an echo"),
        pytest.param(echo(413), id="413 with an echo"),
        pytest.param(echo(401), id="401 with an echo"),
        pytest.param(echo(503), id="503 with an echo"),
        pytest.param(html(200), id="page"),
        pytest.param(unavailable(), id="503"),
        pytest.param(reset_before_storing(), id="reset"),
        pytest.param(truncated_headers(), id="cut in the headers"),
        pytest.param(hang(), id="timeout"),
    ],
)
async def test_no_answer_makes_us_talk(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    words: Callable[[], str],
    answer: Scripted,
) -> None:
    """
    Whatever the server answers, no log, repr or exception shows the key or a payload.
    """
    listen(asyncio.get_running_loop())
    server.default = answer
    settlements: list[Settlement] = []
    exporter = await make_exporter(api_key=KEY, request_timeout=0.2, on_outcome=settlements.append)
    for i in range(3):
        assert exporter.push(canary_event(event_id=f"e{i}"))
    flush = asyncio.create_task(exporter.flush(0.4))
    sending = asyncio.create_task(call(exporter))
    await server.requests_seen(2)
    tasks = [repr(task) for task in asyncio.all_tasks()]
    while not (flush.done() and sending.done()):
        await settle()
        await clock.advance(0.1)

    shown = [await flush, *await sending, await exporter.aclose(0.0), *settlements]
    shown += [exporter, exporter.stats(), *tasks]
    assert all(CANARY.encode() in request.body for request in server.requests)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "hh_exporter" in words()
    assert "Executing <" in words(), "asyncio tells what it runs"
    assert_private(words())
    assert_private("\n".join(f"{thing} {thing!r}" for thing in shown))


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(canary_event(cost=CANARY), id="wrong type"),
        pytest.param(canary_event(model=[CANARY]), id="no model"),
        pytest.param(canary_event(extra={"model": CANARY}), id="wrong extra"),
        pytest.param(canary_event(extra=[CANARY]), id="no extra"),
        pytest.param(HostileEvent(model=CANARY), id="hostile"),
        pytest.param(canary_event(error=CANARY * 500_000), id="too large"),
        pytest.param({"messages": CANARY}, id="no event"),
        pytest.param(CANARY, id="text"),
    ],
)
async def test_an_event_that_can_not_be_sent_is_not_quoted(
    make_exporter: MakeExporter, words: Callable[[], str], event: Any
) -> None:
    """
    What is wrong with an event is said by field and type, never by value.
    """
    exporter = await make_exporter(api_key=KEY)

    assert not exporter.push(event)
    with pytest.raises(DeliveryError) as caught:
        await exporter.create_model_event(event)

    assert "1 event dropped" in words()
    assert_private(words())
    assert_private("".join(traceback.format_exception(caught.value)) + repr(caught.value.args))


async def test_a_fault_of_our_own_quotes_nothing(
    make_exporter: MakeExporter, server: ScriptedServer, words: Callable[[], str]
) -> None:
    """
    The traceback of a bug shows code, not the values that it failed of.
    """
    listen(asyncio.get_running_loop())
    server.default = unavailable()

    def jitter() -> float:
        raise LookupError(KEY, canary_event(), CANARY)

    exporter = await make_exporter(api_key=KEY, _random=jitter)
    exporter.push(canary_event())

    assert (await exporter.flush()).dropped == 1
    assert "LookupError" in words()
    assert_private(words())


async def test_a_callback_that_raises_is_not_quoted(
    make_exporter: MakeExporter, server: ScriptedServer, words: Callable[[], str]
) -> None:
    """
    Of what on_outcome raises only the type is logged.
    """

    def broken(_: Settlement) -> None:
        raise LookupError(CANARY)

    exporter = await make_exporter(api_key=KEY, on_outcome=broken)
    exporter.push(canary_event())

    assert (await exporter.flush()).delivered == 1
    assert "LookupError" in words()
    assert_private(words())


async def test_what_is_lost_at_a_close_is_not_quoted(
    make_exporter: MakeExporter, server: ScriptedServer, words: Callable[[], str]
) -> None:
    """
    Losses are told in numbers.
    """
    server.default = hang()
    exporter = await make_exporter(api_key=KEY, batch=BatchLimits(max_events=1))
    exporter.push(canary_event())
    await server.requests_seen(1)

    await exporter.aclose(0.0)
    exporter.push(canary_event())

    assert "dropped (closed)" in words()
    assert_private(words())


def test_no_object_shows_what_it_holds() -> None:
    """
    The repr of everything that holds a key, a payload or an answer leaves it out.
    """
    event = canary_event()
    dialect = LegacyDialect()
    clock = FakeClock()
    record = Codec(dialect=dialect, clock=clock, max_bytes=10**6).encode(event, "e0")
    batch = Batch((record,))
    answer = Answer(status=400, body=dialect.wrap(batch.records))
    properties: dict[str, Any] = {
        a.name: NUMBER if "float" in str(a.type) else {CANARY: CANARY}
        for a in attrs.fields(SessionProperties)
        if not a.repr
    }
    assert CANARY.encode() in record.data
    shown = [
        event,
        SessionProperties(**properties),
        record,
        batch,
        Delivery.of(batch, is_probe=False),
        answer,
        dialect.read(answer, {"e0"}),
        dialect.read_single(answer, "e0"),
        CreateModelEventBatchResponseBody(event_ids=["e0"], errors=[CANARY]),
        DeliveryError("it was rejected", status=400, body=CANARY),
        read_settings({"api_key": KEY}, {}),
        Transport(base_url="http://127.0.0.1", api_key=KEY, timeout=1.0, clock=clock),
        Settlement(outcome=Outcome.DELIVERED, reason=None, event_ids=("e0",), status=200),
    ]

    assert_private("\n".join(f"{thing} {thing!r}" for thing in shown))
