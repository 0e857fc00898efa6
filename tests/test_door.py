"""
What is raised to the program shows error reporters, which keep locals, neither key nor payload.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from hh_exporter import ConfigError, DeliveryError, Exporter, ExporterError
from tests.conftest import MakeExporter
from tests.scripted_server import ScriptedServer, hang, status
from tests.support import model_event

KEY, PROMPT = "hh_a_secret_key", "a secret prompt"
MESSAGES = [{"role": "user", "content": PROMPT}]


def chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def shown_by(exc: BaseException) -> str:
    """
    Show the locals of all frames of *exc*, and of what it came of, but those of this file.
    """
    return "\n".join(
        f"{name}={value!r}"
        for each in chain(exc)
        for frame, _ in traceback.walk_tb(each.__traceback__)
        if frame.f_code.co_filename != __file__
        for name, value in frame.f_locals.items()
        if name != "self"
    )


def assert_private(exc: BaseException) -> None:
    shown = shown_by(exc)
    assert KEY not in shown
    assert PROMPT not in shown


@pytest.mark.parametrize(
    "arguments",
    [
        {"api_key": KEY, "max_in_flight": 0},
        {"api_key": f"{KEY} with blanks"},
        {"base_url": f"https://user:{KEY}@localhost"},
        {"max_in_flight": 0},
    ],
    ids="-".join,
)
def test_a_wrong_setting_shows_no_key(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Neither as an argument nor from the environment.
    """
    if "api_key" not in arguments:
        monkeypatch.setenv("HH_API_KEY", KEY)

    with pytest.raises(ConfigError) as raised:
        Exporter(**arguments)

    assert_private(raised.value)


async def test_a_timeout_of_the_programs_own_shows_nothing(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    The cancellation behind it passed frames with headers and a body.
    """
    server.default = hang()
    exporter = await make_exporter(api_key=KEY)
    call = asyncio.create_task(exporter.create_model_event(model_event(messages=MESSAGES)))
    await server.requests_seen(1)
    call.cancel("no time")

    with pytest.raises(asyncio.CancelledError, match="no time") as raised:
        await call

    assert_private(raised.value)


async def test_a_rejection_shows_nothing(
    make_exporter: MakeExporter, server: ScriptedServer
) -> None:
    """
    The error has what the server said as an attribute alone.
    """
    server.default = status(422, PROMPT.encode())
    exporter = await make_exporter(api_key=KEY)

    with pytest.raises(DeliveryError) as raised:
        await exporter.create_model_event(model_event(messages=MESSAGES))

    assert_private(raised.value)


async def test_a_closed_exporter_shows_nothing(make_exporter: MakeExporter) -> None:
    """
    put raises with no frame but that of the door.
    """
    exporter = await make_exporter(api_key=KEY)
    await exporter.aclose()

    with pytest.raises(ExporterError) as raised:
        await exporter.put(model_event(messages=MESSAGES))

    assert_private(raised.value)
