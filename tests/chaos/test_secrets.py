"""
A whole story of faults is told, and no key or payload in it.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import ssl
import traceback
import types
import warnings
from collections import deque
from collections.abc import Iterable, Iterator

import pytest

from hh_exporter import Exporter
from tests.chaos.proxy import Certificates
from tests.chaos.story import Story

CANARY = "canary-7d1f"
KEY = f"hh_{CANARY}"
SEED = 72
"""Of a story with impostors, TLS that is none, resets, and a port where nobody listens."""

CONTAINERS = (
    *(dict, list, tuple, set, frozenset, deque, functools.partial),
    *(types.MethodType, types.CellType, types.GeneratorType, types.CoroutineType, BaseException),
)
"""What is walked through on the way from one object of ours to the next."""


def reachable(*roots: object) -> Iterator[object]:
    """
    Find the objects of the package that can be reached from *roots*, and exceptions.
    """
    seen, left = set[int](), list[object](roots)
    while left:
        one = left.pop()
        if id(one) in seen or isinstance(one, (type, types.ModuleType)):
            continue
        seen.add(id(one))
        is_ours = type(one).__module__.startswith("hh_exporter")
        if is_ours or isinstance(one, BaseException):
            yield one
        if isinstance(one, types.FunctionType):
            left += one.__closure__ or ()  # its other referents are all of its module
        elif is_ours or isinstance(one, CONTAINERS):
            left += gc.get_referents(one)


def leaks(things: Iterable[object]) -> list[str]:
    """
    Name the types of what shows a secret.
    """
    return [
        type(thing).__name__ for thing in things if CANARY in repr(thing) or CANARY in str(thing)
    ]


async def test_a_story_of_faults_shows_no_secret(
    caplog: pytest.LogCaptureFixture,
    certificates: Certificates,
    trusted: ssl.SSLContext,
) -> None:
    """
    No log, repr, exception or warning has key or payload, while TLS, network and server fail.
    """
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    complaints: list[str] = []
    loop.set_exception_handler(lambda _, context: complaints.append(repr(context)))
    shown = set[str]()

    def look() -> None:
        now = story.clock.now()
        if now % 8 == 0 or (now % 2 == 0 and story.exporter.stats().in_flight):
            things = list(reachable(story.exporter, story.accounts.settlements, story.errors))
            shown.update(type(thing).__name__ for thing in things)
            assert not leaks(things)
            assert not leaks(asyncio.all_tasks())

    story = Story(
        seed=SEED,
        dialect="v1",
        make=Exporter,
        certificates=certificates,
        settings={"api_key": KEY, "ssl_context": trusted},
        secret=CANARY,
        on_step=look,
    )
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        await story.tell()

    said = [f"{record.getMessage()} {vars(record)}" for record in caplog.records]
    told = ["".join(traceback.format_exception(error)) for error in story.errors]
    assert not leaks([*said, *told, *complaints, *warned])
    sent = [one for one in story.proxy.exchanges if CANARY.encode() in one.request]
    assert any(KEY.encode() in one.request for one in sent)
    assert any("TLS failed" in line for line in said)
    assert story.errors
    assert {"Worker", "HttpTransport", "Record", "Delivery", "Shipment", "Verdict"} <= shown
    assert {"Exporter", "Settings", "Settler", "Settlement", "DeliveryError"} <= shown
