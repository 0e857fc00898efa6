"""
Host names to addresses, without the app's thread pool.

`getaddrinfo` can't be cancelled, and may take as long as the system's resolver allows. So there
is one lookup of a name at a time, in a thread of ours, and all attempts wait for it, each within
its own deadline. The last addresses are remembered, and used if a lookup fails in passing or
takes too long (RFC 8767).
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from math import inf
from typing import TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from attrs import define, field, frozen

from hh_exporter._clock import Clock
from hh_exporter._helper import Helper
from hh_exporter._log import get_log

__all__ = ["Addresses", "Resolver"]

log = get_log(__name__)

_FRESH = 10.0
"""Seconds for which an answer is used without another lookup, as in aiohttp's own cache."""

_HANGING = 1.8
"""Seconds after which addresses that are known beat waiting for a lookup (RFC 8767 §5)."""

_STALE = 86_400.0
"""Seconds for which addresses may stand in for a lookup that fails (RFC 8767 §5)."""

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_Question: TypeAlias = tuple[str, int, socket.AddressFamily]


@frozen
class _Answer:
    """
    What the last lookup that succeeded found.
    """

    results: list[ResolveResult]
    found_at: float


@frozen
class _Lookup:
    """
    A lookup that is under way.
    """

    future: asyncio.Future[list[ResolveResult]]
    began_at: float


@define(eq=False)
class Addresses:
    """
    The addresses that one exporter remembers, from one event loop to the next.
    """

    answers: dict[_Question, _Answer] = field(factory=dict, init=False)


@define(eq=False)
class Resolver(AbstractResolver):
    """
    aiohttp's way to addresses, for one event loop.
    """

    helper: Helper
    clock: Clock
    known: Addresses
    _lookups: dict[_Question, _Lookup] = field(factory=dict, init=False)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """
        Find the addresses of *host*.

        Raises:
            OSError: It has none, the lookup failed (`socket.gaierror`), or no
                thread can be started for it.
        """
        question = host, port, family
        known = self.known.answers.get(question)
        age = inf if known is None else self.clock.now() - known.found_at
        if known is not None and age < _FRESH:
            return known.results
        if known is None or age > _STALE:
            return await asyncio.shield(self._look_up(question).future)
        try:
            lookup = self._look_up(question)
            async with self.clock.timeout_at(lookup.began_at + _HANGING):
                return await asyncio.shield(lookup.future)
        except OSError as exc:  # a TimeoutError, too
            if isinstance(exc, socket.gaierror) and exc.errno == socket.EAI_NONAME:
                raise  # an answer: there is no such host any more
            log.debug("the lookup of %s fails: its last addresses are used", host)
            return known.results

    async def close(self) -> None:
        """
        Do nothing: the owner of the helper closes it.
        """

    def _look_up(self, question: _Question) -> _Lookup:
        lookup = self._lookups.get(question)
        if lookup is None:
            future = self.helper.submit(partial(_find, *question))
            lookup = self._lookups[question] = _Lookup(future, self.clock.now())
            future.add_done_callback(partial(self._note, question))
        return lookup

    def _note(self, question: _Question, future: asyncio.Future[list[ResolveResult]]) -> None:
        del self._lookups[question]
        if future.exception() is None:
            self.known.answers[question] = _Answer(future.result(), self.clock.now())


def _find(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """
    Ask the system's resolver, as aiohttp does, and block until it answers.
    """
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    results = []
    for kind, _, proto, _, address in found:
        host_number, its_port = address[0], address[1]
        if kind == socket.AF_INET6 and address[3:] > (0,):
            # A link-local address is one only with its zone, which `getnameinfo` appends.
            host_number, service = socket.getnameinfo(
                address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
            )
            its_port = int(service)
        results.append(
            ResolveResult(
                hostname=host,
                host=str(host_number),
                port=int(its_port),
                family=kind,
                proto=proto,
                flags=_NUMERIC,
            )
        )
    return results
