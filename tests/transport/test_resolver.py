"""
Host names are looked up in a thread of ours, one lookup at a time, and the last answer counts on.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from hh_exporter._helper import Helper
from hh_exporter._transport.resolver import Addresses, Resolver
from tests.support import PATIENCE, FakeClock, settle, until
from tests.test_helper import out_of_threads

HOST = "api.example.test"
FRESH = 10.0
HANGING = 1.8
DAY = 86_400.0
FAILURE = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class NameServer:
    """
    What `socket.getaddrinfo` asks here: answers, fails or hangs.
    """

    def __init__(self) -> None:
        self.asked = 0
        self.address = "192.0.2.1"
        self.failure: OSError | None = None
        self.answers = threading.Event()
        self.answers.set()

    def getaddrinfo(self, host: str, port: int, family: int, kind: int, *, flags: int) -> list[Any]:
        assert (host, family, flags) == (HOST, 0, socket.AI_ADDRCONFIG)
        self.asked += 1
        assert self.answers.wait(PATIENCE)
        if self.failure is not None:
            raise self.failure
        return [(socket.AF_INET, kind, 6, "", (self.address, port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    names = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    yield names
    names.answers.set()


@pytest.fixture
def resolver(clock: FakeClock) -> Iterator[Resolver]:
    helper = Helper("hh_exporter lookups")
    yield Resolver(helper, clock, Addresses())
    helper.close()


async def resolve(resolver: Resolver) -> str:
    [found] = await resolver.resolve(HOST, 443, socket.AF_UNSPEC)
    assert (found["hostname"], found["port"], found["family"]) == (HOST, 443, socket.AF_INET)
    return found["host"]


async def test_attempts_share_one_lookup(resolver: Resolver, names: NameServer) -> None:
    """
    Whoever asks while a lookup is under way waits for that one, as long as each likes.
    """
    names.answers.clear()
    first, second, third = (asyncio.create_task(resolve(resolver)) for _ in range(3))
    await until(lambda: names.asked == 1)

    first.cancel()
    await settle()
    names.answers.set()

    assert (await second, await third) == ("192.0.2.1", "192.0.2.1")
    assert first.cancelled()
    assert names.asked == 1


async def test_an_answer_is_fresh_for_a_while(
    resolver: Resolver, names: NameServer, clock: FakeClock
) -> None:
    """
    For ten seconds an answer needs no lookup; then the next one counts.
    """
    await resolve(resolver)
    names.address = "192.0.2.2"

    await clock.advance(FRESH - 0.1)
    assert await resolve(resolver) == "192.0.2.1"
    await clock.advance(0.1)
    assert await resolve(resolver) == "192.0.2.2"

    assert names.asked == 2


async def test_the_last_addresses_stand_in_for_a_lookup_that_hangs(
    resolver: Resolver, names: NameServer, clock: FakeClock
) -> None:
    """
    A lookup that hangs is waited for once; its answer counts when it comes after all.
    """
    await resolve(resolver)
    await clock.advance(FRESH)
    names.answers.clear()
    names.address = "192.0.2.2"

    hanging = asyncio.create_task(resolve(resolver))
    await settle()
    await clock.advance(HANGING - 0.1)
    assert not hanging.done()
    await clock.advance_to(FRESH + HANGING)
    assert await hanging == "192.0.2.1"
    assert await resolve(resolver) == "192.0.2.1"

    names.answers.set()
    await until(lambda: not resolver._lookups)
    assert await resolve(resolver) == "192.0.2.2"
    assert names.asked == 2


async def test_the_last_addresses_stand_in_for_a_lookup_that_fails(
    resolver: Resolver, names: NameServer, clock: FakeClock
) -> None:
    """
    For a day the last addresses are used where the system's resolver fails in passing.
    """
    await resolve(resolver)
    names.failure = FAILURE

    await clock.advance(DAY)
    assert await resolve(resolver) == "192.0.2.1"
    await clock.advance(1.0)
    with pytest.raises(socket.gaierror):
        await resolve(resolver)


async def test_a_name_that_is_gone_is_gone(
    resolver: Resolver, names: NameServer, clock: FakeClock
) -> None:
    """
    That a name does not exist is an answer: nothing is sent where it once led.
    """
    await resolve(resolver)
    await clock.advance(FRESH)
    names.failure = socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(socket.gaierror):
        await resolve(resolver)


async def test_a_failed_lookup_that_nobody_waits_for_is_not_reported(
    resolver: Resolver, names: NameServer
) -> None:
    """
    Its exception is read, so that asyncio does not log it.
    """
    names.answers.clear()
    names.failure = FAILURE
    waiting = asyncio.create_task(resolve(resolver))
    await until(lambda: names.asked == 1)
    waiting.cancel()

    names.answers.set()
    await until(lambda: not resolver._lookups)

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_last_addresses_need_no_thread(
    resolver: Resolver, names: NameServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where no thread can be started, as at the interpreter's exit, an address that is known counts.
    """
    with out_of_threads(monkeypatch), pytest.raises(OSError, match="no thread"):
        await resolve(resolver)
    await resolve(resolver)
    await clock.advance(FRESH)
    another = Resolver(Helper("hh_exporter lookups"), clock, resolver.known)

    with out_of_threads(monkeypatch):
        assert await resolve(another) == "192.0.2.1"


async def test_a_link_local_address_keeps_its_zone(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    An address that is one only on some link is given with that link, other ones as they are.
    """
    local = ("fe80::1", 443, 0, 1)
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", local),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 443, 0, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    results: list[ResolveResult] = await resolver.resolve(HOST, 443, socket.AF_UNSPEC)

    assert [result["host"] for result in results] == [
        f"fe80::1%{socket.if_indextoname(1)}",
        "2001:db8::1",
    ]
    assert [result["port"] for result in results] == [443, 443]
