"""
One attempt: POST bytes, and say what came back.

Whatever happens on the network becomes an `Answer`; nothing is raised but
cancellation, and nothing is retried here. Redirects are not followed, so the
key goes to no other address. aiohttp's errors hold the request's headers, so
only their type leaves this file.
"""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from attrs import define, evolve, field

from hh_exporter._clock import Clock
from hh_exporter._dialect import Answer
from hh_exporter._version import __version__

__all__ = ["Transport"]

_ANSWER_LIMIT = 2**24
"""
Beyond what a server says of our largest body, even where it echoes it. A longer
answer is abandoned, and its status alone counts: half a JSON text says nothing.
"""

_PIECEMEAL_ABOVE = 2**20
"""aiohttp warns of larger bodies given as bytes: it would write them in one go."""

_PIECE = 2**18


@define(eq=False, kw_only=True)
class Transport:
    """
    The connections to one server, for one event loop; an async context manager.
    """

    base_url: str
    api_key: str | None = field(repr=False)
    timeout: float
    """Seconds for one attempt, from the connection to the end of the answer."""
    clock: Clock
    _session: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)

    async def __aenter__(self) -> Transport:
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": f"hh_exporter/{__version__}",
            # What the vendor's own clients say of themselves.
            "hh-client-package": "hh_exporter",
            "hh-client-version": __version__,
            "hh-client-language": "python",
        }
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            # The worker limits what is in flight.
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, path: str, body: bytes) -> Answer:
        """
        Send *body* once.

        Returns:
            The answer, cut short where it did not arrive whole; an answer
            without a status where none arrived within `timeout`.
        """
        assert self._session is not None  # noqa: S101
        data: Any = body if len(body) <= _PIECEMEAL_ABOVE else _Pieces(body)
        answer = Answer(status=None, failure="no answer in time")
        try:
            async with (
                self.clock.timeout_at(self.clock.now() + self.timeout),
                self._session.post(
                    self.base_url + path, data=data, allow_redirects=False
                ) as response,
            ):
                answer = Answer(
                    status=response.status,
                    content_type=response.content_type,
                    retry_after=response.headers.get("Retry-After", ""),
                    cut_short=True,
                )
                return await _read_body(response, answer)
        except TimeoutError:
            return answer
        except (aiohttp.ClientError, OSError, RuntimeError, ValueError) as exc:
            # A status that arrived counts, whatever became of the body behind it.
            return evolve(answer, failure=f"connection failed ({type(exc).__name__})")


class _Pieces(aiohttp.payload.Payload):
    """
    A large body, written piece by piece and copied nowhere.

    BytesIO, which aiohttp suggests, is copied whole and then again by the piece.
    """

    _value: bytes

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        view = memoryview(self._value)
        for start in range(0, len(view), _PIECE):
            await writer.write(view[start : start + _PIECE])

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        await self.write(writer)


async def _read_body(response: aiohttp.ClientResponse, answer: Answer) -> Answer:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _ANSWER_LIMIT:
            return evolve(answer, cut_short=False)
    return evolve(answer, body=bytes(body), cut_short=False)
