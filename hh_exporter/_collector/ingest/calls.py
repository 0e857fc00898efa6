"""
Handle requests to the routes that accept data, with the faults that are switched on.

A fault applies before the body is read, and what it refuses is not stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

from aiohttp import web
from attrs import field, frozen

from hh_exporter._collector.ingest.faults import PARTIAL

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from aiohttp.typedefs import Handler

    from hh_exporter._collector.ingest.bodies import Bodies
    from hh_exporter._collector.ingest.faults import FaultInjector
    from hh_exporter._collector.ingest.validation import Schema

__all__ = ["Call", "Calls", "is_uuid", "uuid_in_path"]

B = TypeVar("B")


@frozen
class Call(Generic[B]):
    """
    A request that is to be answered, in part if the fault `partial` is due.
    """

    request: web.Request
    body: B = field(repr=False)
    is_partial: bool

    @property
    def route(self) -> str:
        """
        The path, without what varies in it.
        """
        resource = self.request.match_info.route.resource
        assert resource is not None  # noqa: S101 - it has been routed
        return resource.canonical


@frozen
class Calls:
    """
    Makes handlers of functions that answer calls.
    """

    bodies: Bodies
    faults: FaultInjector

    def taking(
        self,
        schema: Schema,
        handle: Callable[[Call[dict[str, Any]]], Awaitable[web.StreamResponse]],
    ) -> Handler:
        """
        Make a handler of requests whose body is an object that *schema* allows.
        """
        return self.reading(lambda request: self.bodies.read(request, schema), handle)

    def reading(
        self,
        read: Callable[[web.Request], AbstractAsyncContextManager[B]],
        handle: Callable[[Call[B]], Awaitable[web.StreamResponse]],
    ) -> Handler:
        """
        Make a handler of requests whose body is what *read* makes of it.
        """

        async def take(request: web.Request) -> web.StreamResponse:
            fault = await self.faults.due()
            if fault not in (None, PARTIAL):
                return await self.faults.fail(request, fault)
            async with read(request) as body:
                return await handle(Call(request, body, fault == PARTIAL))

        return take


def uuid_in_path(request: web.Request, name: str) -> str:
    """
    Return what the path of *request* has for *name*; raises aiohttp's 400 if that is no UUID.
    """
    text = request.match_info[name]
    if not is_uuid(text):
        raise web.HTTPBadRequest(text=f"path: {name}: must be a UUID")
    return text


def is_uuid(text: str) -> bool:
    """
    Say whether *text* is a UUID as the API writes it, in upper or lower case.
    """
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
