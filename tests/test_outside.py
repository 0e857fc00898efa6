"""
What others' code raises stays with it; what comes from outside goes on its way.
"""

from __future__ import annotations

import io
import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tenacity import RetryCallState

from hh_exporter import Exporter, ModelEvent, RetryPolicy, Settlement
from hh_exporter._delivery.retry import next_delay
from hh_exporter._log import get_log
from hh_exporter._outside import comes_from_outside
from hh_exporter._values.legalize import MAX_DEPTH
from tests.conftest import MakeExporter
from tests.crowds import handled
from tests.scripted_server import ScriptedServer, unavailable
from tests.support import FakeClock, assert_balanced, flushed, model_event


class Failed(BaseException):
    """
    No Exception, as what pytest.fail raises is none.
    """


def fail(*_: object) -> Any:
    raise Failed


def raise_(kind: type[BaseException]) -> Any:
    raise kind


def interrupt(*_: object) -> Any:
    """
    Run for as long as it takes a signal handler to raise in here.
    """
    signal.raise_signal(signal.SIGUSR1)


class Odd(Mapping[str, object]):
    """
    A payload whose members take code of its own to find.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        self.look = look

    def __getitem__(self, key: str) -> object:
        return self.look()

    def __iter__(self) -> Iterator[str]:
        return iter(["key"])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("kind", [Failed, ValueError, SystemExit, RecursionError])
def test_what_code_raises_is_its_own(kind: type[BaseException]) -> None:
    """
    Also if it is no Exception.
    """

    def work() -> None:
        raise kind

    with pytest.raises(kind) as raised:
        work()

    assert not comes_from_outside(raised.value)


@pytest.mark.parametrize("kind", [Failed, ValueError, SystemExit])
def test_what_a_signal_handler_raises_comes_from_outside(kind: type[BaseException]) -> None:
    """
    Whatever its parameters are called, and whoever it calls.
    """

    def throw() -> None:
        raise kind

    with handled(throw), pytest.raises(kind) as raised:
        interrupt()

    assert comes_from_outside(raised.value)


@pytest.mark.parametrize("where", ["payload", "before_send", "on_outcome", "log"])
async def test_a_signal_handler_raises_through_push(
    where: str, make_exporter: MakeExporter
) -> None:
    """
    In whose code it may hit: the program sees its exception, and the books balance.
    """
    exporter = await make_exporter(
        before_send=interrupt if where == "before_send" else None,
        on_outcome=interrupt if where == "on_outcome" else None,
    )
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(interrupt)
    logger = logging.getLogger("hh_exporter")
    if where == "log":
        logger.addHandler(handler)
    content = Odd(interrupt) if where == "payload" else "hi"
    model: Any = "m" if where in ("payload", "before_send") else 3

    with handled(fail), pytest.raises(Failed):
        exporter.push(ModelEvent(model=model, messages=[{"content": content}]))
    logger.removeHandler(handler)

    assert_balanced(exporter)


@pytest.mark.parametrize("kind", [LookupError, Failed, SystemExit])
async def test_a_log_filter_that_raises_ends_nothing(
    kind: type[BaseException],
    exporter: Exporter,
    server: ScriptedServer,
    clock: FakeClock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    push returns, the worker goes on after an outage that it logged, and stderr has the name.
    """

    def add_id(_: logging.LogRecord) -> bool:
        raise kind("secret")

    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(add_id)
    logger = logging.getLogger("hh_exporter")
    logger.addHandler(handler)
    get_log(f"hh_exporter.{kind.__name__}").warning("told before")
    try:
        assert not exporter.push(ModelEvent(model=3))  # type: ignore[arg-type]
        server.script(*[unavailable()] * 5)
        exporter.push(model_event())
        await flushed(exporter, clock)
    finally:
        logger.removeHandler(handler)

    assert exporter.stats().delivered == 1
    assert exporter.stats().health == "ok"
    assert_balanced(exporter)
    err = capsys.readouterr().err
    assert err.count(kind.__name__) <= 1
    assert "secret" not in err


@pytest.mark.parametrize("kind", [LookupError, Failed, SystemExit])
def test_a_log_filter_that_raises_loses_no_event(kind: type[BaseException]) -> None:
    """
    What is logged while an event is encoded costs no event, whatever a filter raises.
    """
    exporter = Exporter(base_url="http://127.0.0.1:9")
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(lambda _: raise_(kind))
    logger = logging.getLogger("hh_exporter")
    logger.addHandler(handler)
    deep: Any = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    try:
        assert exporter.push(ModelEvent(model="m", start_time=1.0, metadata={"deep": deep}))
    finally:
        logger.removeHandler(handler)

    assert assert_balanced(exporter).queued == 1


@pytest.mark.parametrize("kind", [Failed, SystemExit, GeneratorExit])
async def test_an_on_outcome_that_raises_ends_nothing(
    kind: type[BaseException], make_exporter: MakeExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whatever it raises, on the caller's thread and in the worker, has one line, by name.
    """

    def on_outcome(_: Settlement) -> None:
        raise kind("secret")

    exporter = await make_exporter(on_outcome=on_outcome)
    for _ in range(3):
        exporter.push(model_event())
        assert (await exporter.flush()).delivered == 1
        assert not exporter.push(ModelEvent(model=3))  # type: ignore[arg-type]

    assert exporter.stats().health == "ok"
    assert caplog.text.count(f"on_outcome raised {kind.__name__}; logged once") == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize("wait", [fail, lambda _: "soon", lambda _: -1.0])
def test_a_wait_that_fails_is_none(
    wait: Callable[[RetryCallState], float], caplog: pytest.LogCaptureFixture
) -> None:
    """
    Delays are then as without it, and the log has one line of it.
    """
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]
    policy = RetryPolicy(base=4.0, wait=wait)

    delays = [next_delay(policy, state, lambda: 0.5) for _ in range(2)]

    assert delays == [2.0, 2.0]
    assert caplog.text.count("RetryPolicy.wait") <= 1
