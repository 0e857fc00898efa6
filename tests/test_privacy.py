"""
Keys and payloads reach no log, repr or exception, whatever goes wrong.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import attrs
import pytest

from hh_exporter import (
    BatchLimits,
    DeliveryError,
    Event,
    Exporter,
    ModelEvent,
    Outcome,
    SessionProperties,
    Settlement,
)
from hh_exporter._delivery.parts import Delivery, Part
from hh_exporter._delivery.shipment import Shipment
from hh_exporter._dialects.dialect import Answer, Dialect
from hh_exporter._dialects.legacy import LegacyDialect
from hh_exporter._encoding.codec import Codec
from hh_exporter._environment import read_settings
from hh_exporter._records import Batch, Session
from hh_exporter._transport.http import HttpTransport
from hh_exporter.events import CreateModelEventBatchResponseBody
from tests.builders import dialects
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


ANSWERS: dict[str, Scripted] = {
    "success": created(),
    "partial": partly(lambda event: event["event_id"] == "e1"),
    "failed with an echo": echo_as_error(),
    "ambiguous": foreign_ids(),
    "400 with an echo": echo(400),
    "413 with an echo": echo(413),
    "401 with an echo": echo(401),
    "503 with an echo": echo(503),
    "page": html(200),
    "503": unavailable(),
    "reset": reset_before_storing(),
    "cut in the headers": truncated_headers(),
    "timeout": hang(),
}
TALKS = [("legacy", name) for name in ANSWERS]
TALKS += [
    ("v1", name) for name in ("success", "partial", "failed with an echo", "400 with an echo")
]


@pytest.mark.parametrize(("dialect", "answer"), TALKS)
async def test_no_answer_makes_us_talk(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    clock: FakeClock,
    words: Callable[[], str],
    dialect: str,
    answer: str,
) -> None:
    """
    Whatever the server answers, no log, repr or exception shows the key or a payload.
    """
    listen(asyncio.get_running_loop())
    server.default = ANSWERS[answer]
    settlements: list[Settlement] = []
    exporter = await make_exporter(
        api_key=KEY, dialect=dialect, request_timeout=0.2, on_outcome=settlements.append
    )
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
    for thing in shown:
        assert_private(f"{thing} {thing!r}")


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


@dialects
async def test_a_hook_that_raises_is_not_quoted(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    words: Callable[[], str],
    dialect: Dialect,
) -> None:
    """
    Of what before_send raises only the type is told, of events and sessions, by every way in.
    """
    listen(asyncio.get_running_loop())

    def hook(draft: ModelEvent | SessionProperties) -> NoReturn:
        try:
            raise LookupError(draft)
        except LookupError as exc:
            raise ValueError(CANARY, draft) from exc

    settlements: list[Settlement] = []
    exporter = await make_exporter(
        api_key=KEY, dialect=dialect.name, before_send=hook, on_outcome=settlements.append
    )
    assert not exporter.push(canary_event())
    assert not exporter.push(canary_event(), SessionProperties(inputs={CANARY: CANARY}))
    assert not await exporter.put(canary_event())
    shown = await call(exporter)

    assert "before_send raised ValueError for a SessionProperties" in words()
    assert len(shown) > 1
    assert len(settlements) == 4
    assert not server.requests
    assert_private(words())
    assert_private("\n".join(f"{thing} {thing!r}" for thing in [*shown, *settlements, exporter]))


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


# What is never sent

INPUTS = {"messages", "template", "template_inputs", "tools", "inputs"}
OUTPUTS = {"response", "outputs"}
EITHER = {"metadata", "extra"}
HIDDEN: list[tuple[dict[str, bool], set[str]]] = [
    ({}, set()),
    ({"hide_inputs": True}, INPUTS | EITHER),
    ({"hide_outputs": True}, OUTPUTS | EITHER),
    ({"hide_inputs": True, "hide_outputs": True}, INPUTS | OUTPUTS | EITHER),
]
hidings = pytest.mark.parametrize(
    ("rules", "hidden"), HIDDEN, ids=["nothing", "inputs", "outputs", "both"]
)
hooks = pytest.mark.parametrize("is_put_back", [False, True], ids=["", "put back by a hook"])


def marked(cls: type[Any]) -> dict[str, Any]:
    """
    Make fields of which each holds a text that names it.
    """
    fields: dict[str, Any] = {}
    for a in attrs.fields(cls):
        mark = f"<{a.name} {CANARY}>"
        is_scalar = "str" in str(a.type) and a.name != "extra"
        fields[a.name] = mark if is_scalar else {"mark": [mark]}
        if "float" in str(a.type):
            fields[a.name] = 1.0
    return fields


def marks_in(body: bytes, cls: type[Any]) -> set[str]:
    return {a.name for a in attrs.fields(cls) if f"<{a.name} {CANARY}>".encode() in body}


def textual(cls: type[Any]) -> set[str]:
    return {a.name for a in attrs.fields(cls) if "float" not in str(a.type)}


@dialects
@hidings
@hooks
async def test_what_is_hidden_never_leaves(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    dialect: Dialect,
    rules: dict[str, bool],
    hidden: set[str],
    is_put_back: bool,
) -> None:
    """
    Exactly the documented fields stay behind, wherever a dialect has them, and all else goes.
    """

    def put_back(draft: Any) -> Any:
        return type(draft)(**marked(type(draft)))

    hook = put_back if is_put_back else None
    exporter = await make_exporter(dialect=dialect.name, before_send=hook, **rules)
    event = ModelEvent(**{"model": "m"} if is_put_back else marked(ModelEvent))
    assert exporter.push(event)
    assert (await exporter.flush()).delivered == 1
    await exporter.create_model_event(event)

    nowhere = {"project"} if dialect.name == "v1" else set()
    for request in server.requests:
        left = textual(ModelEvent) - marks_in(request.body, ModelEvent)
        assert left - {"event_id"} == (hidden | nowhere)


@attrs.define
class Parameters:
    temperature: float
    prompt: str


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 0.5, "prompt": CANARY, "stop": [CANARY], "user": CANARY},
        Parameters(0.5, CANARY),
        [CANARY],
        CANARY,
    ],
)
@dialects
async def test_hyperparameters_that_repeat_inputs_are_hidden(
    make_exporter: MakeExporter, server: ScriptedServer, dialect: Dialect, given: Any
) -> None:
    """
    By their names; what has none is hidden as a whole.
    """
    exporter = await make_exporter(dialect=dialect.name, hide_inputs=True)
    assert exporter.push(ModelEvent(model="m", hyperparameters=given))
    assert (await exporter.flush()).delivered == 1

    [request] = server.requests
    assert CANARY.encode() not in request.body
    assert (b"temperature" in request.body) == isinstance(given, dict | Parameters)


@dialects
@pytest.mark.parametrize("cls", [ModelEvent, Event])
async def test_inputs_in_a_config_are_hidden(
    make_exporter: MakeExporter, server: ScriptedServer, dialect: Dialect, cls: Any
) -> None:
    """
    An event that has no field for them, such as that of a captured tool, has them there.
    """
    exporter = await make_exporter(dialect=dialect.name, hide_inputs=True)
    kind = {"model": "m"} if cls is ModelEvent else {"event_type": "tool"}
    config = {
        "tools": [CANARY],
        "template": CANARY,
        "hyperparameters": {"stop_sequences": [CANARY], "temperature": 0.5},
        "version": "seven",
    }
    assert exporter.push(cls(**kind, config=config))
    assert exporter.push(cls(**kind, config=CANARY))
    assert (await exporter.flush()).delivered == 2

    bodies = b"".join(request.body for request in server.requests)
    assert CANARY.encode() not in bodies
    assert b"temperature" in bodies
    assert b"seven" in bodies


@dialects
@hidings
@hooks
async def test_what_is_hidden_of_a_session_never_leaves(
    make_exporter: MakeExporter,
    server: ScriptedServer,
    dialect: Dialect,
    rules: dict[str, bool],
    hidden: set[str],
    is_put_back: bool,
) -> None:
    """
    Its fields of the same names stay behind too.
    """

    def put_back(draft: Any) -> Any:
        if isinstance(draft, ModelEvent):
            return draft
        return SessionProperties(**marked(SessionProperties))

    hook = put_back if is_put_back else None
    exporter = await make_exporter(dialect=dialect.name, before_send=hook, **rules)
    session = SessionProperties(**marked(SessionProperties))
    assert exporter.push(ModelEvent(model="m"), session)
    assert (await exporter.flush()).delivered == 1 + (dialect.name == "v1")

    [request] = server.requests
    left = textual(SessionProperties) - marks_in(request.body, SessionProperties)
    assert left == hidden & textual(SessionProperties)


def give_back(_: object, given: Any) -> Any:
    """
    Return *given*; what is bound to the first place shows in the repr of a partial.
    """
    return given


def test_no_object_shows_what_it_holds() -> None:
    """
    The repr of everything that holds a key, a payload or an answer leaves it out.
    """
    event = canary_event()
    dialect = LegacyDialect()
    clock = FakeClock()
    record = Codec(dialect=dialect, clock=clock, max_bytes=10**6).encode(event, "e0")
    record.session = Session("s1", CANARY.encode())
    batch = Batch((record,), record.session)
    answer = Answer(status=400, body=dialect.wrap(batch.records))
    properties: dict[str, Any] = {
        a.name: NUMBER if "float" in str(a.type) else {CANARY: CANARY}
        for a in attrs.fields(SessionProperties)
        if not a.repr
    }
    assert CANARY.encode() in record.data
    bound = partial(give_back, CANARY)
    exporter = Exporter(
        KEY, base_url="http://127.0.0.1:1", before_send=bound, on_outcome=bound, hide_inputs=True
    )
    assert exporter.push(event, SessionProperties(**properties | {"error": CANARY}))
    delivery = Delivery.of(batch, is_probe=False)
    part = Part(batch.records, announced=record.session)
    shipment = Shipment(path="/", wrap=lambda: record.data, read=lambda a: dialect.read(a, {"e0"}))
    shipment.compressed = record.data
    shipment.verdict = shipment.read(answer)
    delivery.shipment = shipment
    delivery.last.append(part)
    shown = [
        exporter,
        exporter.record(model="m", error=CANARY, inputs={CANARY: CANARY}),
        exporter._intake,
        exporter._intake.privacy,
        exporter._intake.codec,
        exporter._intake.sessions,
        exporter._settler,
        exporter._settings,
        exporter._queue,
        exporter._life,
        part,
        shipment,
        record.session,
        event,
        SessionProperties(**properties),
        record,
        batch,
        delivery,
        answer,
        dialect.read(answer, {"e0"}),
        dialect.read_single(answer, "e0"),
        CreateModelEventBatchResponseBody(event_ids=["e0"], errors=[CANARY]),
        DeliveryError("it was rejected", status=400, body=CANARY),
        read_settings({"api_key": KEY}, {}),
        HttpTransport(base_url="http://127.0.0.1", api_key=KEY, timeout=1.0, clock=clock),
        Settlement(outcome=Outcome.DELIVERED, reason=None, event_ids=("e0",), status=200),
    ]

    for thing in shown:
        assert_private(f"{thing} {thing!r}")
