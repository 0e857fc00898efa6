"""
One attempt: POST bytes, and say what came back.

Whatever happens on the network becomes an `Answer`; only cancellation is raised,
and nothing is retried here. Redirects are not followed, so the key goes to no
other address; a proxy sees it only if the server is reached without TLS.
aiohttp's errors hold the request's headers, so their texts never leave this file.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from attrs import define, evolve, field

from hh_exporter._clock import Clock, Deadline, turn, within
from hh_exporter._dialects.dialect import Answer
from hh_exporter._helper import Helper
from hh_exporter._settings.secret import Secret, hidden
from hh_exporter._transport.addresses import parse_address
from hh_exporter._transport.compression import READABLE, compress, decompress
from hh_exporter._transport.proxies import find_proxy
from hh_exporter._transport.resolver import Addresses, Resolver
from hh_exporter._version import __version__
from hh_exporter.exceptions import ConfigError

__all__ = ["HttpTransport"]

_ANSWER_LIMIT = 2**20
_ECHOES = 4
"""
An answer may have this many bytes, and this many times those of the request: more than a server
says about a body, even if it echoes it. Of a longer one only the status counts: half of a JSON
text says nothing, and parsing a hostile one takes thirty times its bytes.
"""

_BEGINNING = 2**12
"""Bytes that are kept of such an answer, to show what it is."""

_HEAD_LIMIT = 2**16
"""Bytes of one field of an answer's head: proxies send more than the 8 KB of aiohttp's limit."""

_PIECE = 2**18
"""Bytes of a body that are written in one go: half a millisecond, in which the loop is held."""


@define(eq=False, kw_only=True)
class HttpTransport:
    """
    The connections to one server, for one event loop; an async context manager.
    """

    base_url: str
    api_key: Secret | None = field(converter=hidden)
    timeout: float
    """Seconds for one attempt, from the connection to the end of the answer."""
    clock: Clock
    ssl_context: ssl.SSLContext | None = None
    """What to trust; None: what OpenSSL finds on this machine."""
    environ: Mapping[str, str] = field(default=os.environ, repr=False)
    """Where the proxy is looked up, once for each event loop."""
    addresses: Addresses = field(factory=Addresses, repr=False)
    """The addresses that lookups have found."""
    _lookups: Helper = field(factory=lambda: Helper("hh_exporter lookups"), init=False)
    _gzips: Helper = field(factory=lambda: Helper("hh_exporter gzip"), init=False)
    """A thread of its own, since lookups may hang."""
    _session: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)
    _headers: dict[str, str] = field(factory=dict, init=False, repr=False)
    _route: dict[str, Any] = field(factory=dict, init=False, repr=False)
    """Arguments about the proxy for each request of aiohttp."""
    _fault: str = field(default="", init=False)
    """Why no request can be sent at all."""

    async def __aenter__(self) -> HttpTransport:
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": READABLE,
            "User-Agent": f"hh_exporter/{__version__}",
            # What the vendor's own clients say of themselves.
            "hh-client-package": "hh_exporter",
            "hh-client-version": __version__,
            "hh-client-language": "python",
        }
        self._find_route()
        host = urlsplit(self._route.get("proxy", self.base_url)).hostname or ""
        if parse_address(host) is None:
            with suppress(OSError):  # tried again with each lookup
                self._lookups.start()  # now: the first request may be one of the interpreter's exit
        # No headers of the session's own: aiohttp sends those to a proxy too, the key as
        # Proxy-Authorization. And no trust_env: it takes passwords from ~/.netrc.
        self._session = aiohttp.ClientSession(
            connector=_Connector(
                limit=0,  # the worker limits what is in flight
                ssl=self.ssl_context or True,
                resolver=Resolver(self._lookups, self.clock, self.addresses),
                use_dns_cache=False,  # the resolver has its own
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            # It knows no answer in a coding that it lacks, or that only claims to be in one.
            auto_decompress=False,
            max_line_size=_HEAD_LIMIT,
            max_field_size=_HEAD_LIMIT,
        )
        # Instrumentation puts itself into each new session, to trace it and tell its server the
        # trace. Our requests are none of the app's. The list may be shared: not to be cleared.
        self._session._trace_configs = []
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end_threads()
        if self._session is not None:
            await self._session.close()

    @property
    def address(self) -> str:
        return self.base_url

    def end_threads(self) -> None:
        """
        Let the threads end after their current calls. Any thread.
        """
        self._lookups.close()
        self._gzips.close()

    async def compress(self, body: bytes) -> bytes | None:
        """
        Compress *body* by gzip; None if that would block the event loop.
        """
        return await compress(body, self._gzips)

    def _find_route(self) -> None:
        """
        Find the proxy, and put its credentials where it reads them.
        """
        try:
            proxy = find_proxy(self.base_url, self.environ)
        except ConfigError as exc:
            self._fault = str(exc)
            return
        if proxy is None:
            return
        self._route = {"proxy": proxy.url}
        if proxy.authorization is None:
            return
        # Not in the URL, which aiohttp shows when it warns of an unclosed connection.
        admission = {"Proxy-Authorization": proxy.authorization}
        if self.base_url.lower().startswith("https:"):
            self._route["proxy_headers"] = admission  # with the CONNECT, and not beyond it
        else:
            self._headers |= admission

    async def send(
        self,
        method: str,
        path: str,
        body: bytes,
        *,
        encoding: str = "",
        deadline: Deadline | None = None,
    ) -> Answer:
        """
        Send *body* once.

        Args:
            method: "POST" or "PUT".
            encoding: The Content-Encoding that *body* has already; "" for none.
            deadline: When to end; default: `timeout` seconds from now.

        Returns:
            The answer, `cut_short` if it did not arrive completely; an answer
            without a status if none arrived in time.
        """
        assert self._session is not None  # noqa: S101
        if self._fault:
            return Answer(status=None, failure=self._fault)
        headers = self._headers | ({"Content-Encoding": encoding} if encoding else {})
        data: Any = body if len(body) <= _PIECE else _Pieces(body)
        answer = Answer(status=None, failure="no answer in time")
        arrived, coding, limit = bytearray(), "", _ANSWER_LIMIT + _ECHOES * len(body)
        try:
            async with (
                within(self.clock, deadline or Deadline.after(self.clock, self.timeout)),
                self._session.request(
                    method,
                    self.base_url + path,
                    data=data,
                    headers=headers | self._authorization(),
                    allow_redirects=False,
                    **self._route,
                ) as response,
            ):
                answer = Answer(
                    status=response.status,
                    # Not aiohttp's: it raises at parameters that it can't parse.
                    content_type=_media_type(response.headers.get("Content-Type", "")),
                    retry_after=response.headers.get("Retry-After", ""),
                    location=response.headers.get("Location", ""),
                    cut_short=True,
                )
                coding = response.headers.get("Content-Encoding", "")
                await _read_body(response, arrived, limit)
                answer = evolve(answer, cut_short=False)
        except TimeoutError:
            pass
        except Exception as exc:  # aiohttp's parsers are its own, and it loads more of them
            # A status that arrived counts, whatever became of the body behind it.
            answer = evolve(answer, failure=_explain(exc))
        return evolve(answer, body=decompress(bytes(arrived), coding, limit))

    def _authorization(self) -> dict[str, str]:
        key = self.api_key
        return {} if key is None else {"Authorization": f"Bearer {key.reveal()}"}


class _Connector(aiohttp.TCPConnector):
    """
    Connections that are used again unless the server has sent something on them while idle.

    What a server sends on an idle connection, such as a 408 before it closes it,
    would be read as the answer to the next request, or as the beginning of it.
    So idle connections are not read, and one with something to read is closed.
    """

    # There is no public way to look at a connection between two requests.

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        super()._release(key, protocol, should_close=should_close)
        if protocol.is_connected():
            protocol.transport.pause_reading()

    async def _get(self, *args: Any) -> Any:
        while (connection := await super()._get(*args)) is not None:
            transport = connection.transport
            if transport is not None and not _has_news(transport):
                transport.resume_reading()
                break
            connection.close()
        return connection


def _has_news(transport: asyncio.Transport) -> bool:
    """
    Whether a connection has unread bytes, or was closed by the other side.
    """
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(poll.poll(0))


class _Pieces(aiohttp.payload.Payload):
    """
    A large body, written piece by piece and copied nowhere; the loop turns after each.

    aiohttp writes bytes in one go, and warns of those above 1 MiB. BytesIO, which it suggests,
    is copied whole and then again by the piece.
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
            await turn()

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        await self.write(writer)


async def _read_body(response: aiohttp.ClientResponse, arrived: bytearray, limit: int) -> None:
    """
    Read all of the body into *arrived*, or its beginning if it has more than *limit* bytes.
    """
    async for chunk in response.content.iter_any():
        arrived += chunk
        if len(arrived) > limit:
            del arrived[_BEGINNING:]
            return


def _media_type(field: str) -> str:
    return field.partition(";")[0].strip().lower()


def _explain(exc: Exception) -> str:
    """
    Say what went wrong on the network, in words that help to fix it.
    """
    match exc:
        case aiohttp.ClientHttpProxyError(status=status):
            return f"the proxy answered HTTP {status}"
        case aiohttp.ClientConnectorDNSError(host=host, os_error=OSError(errno=errno.EAGAIN)):
            return f"connection failed (no thread can be started to resolve the host name {host})"
        case aiohttp.ClientConnectorDNSError(host=host):
            return f"connection failed (the host name {host} can't be resolved)"
        case aiohttp.ClientResponseError():
            return "connection failed (what answers there speaks no HTTP)"
        case aiohttp.ClientPayloadError():
            return "connection failed (the answer is broken)"
        case aiohttp.ServerDisconnectedError():
            return "connection failed (the other side closed it)"
    # What aiohttp wraps, it chains; its own errno for a TLS error means something else.
    match error := exc.__cause__ or exc:
        case ssl.SSLCertVerificationError(verify_message=message):
            return f"TLS failed (certificate verify failed: {message.rstrip('.')})"
        case ssl.SSLError(reason=str(reason)):
            return f"TLS failed ({reason.lower().replace('_', ' ')})"
        case OSError(errno=int(number)):
            reason = os.strerror(number).lower()
        case _:
            reason = type(error).__name__
    if isinstance(exc, aiohttp.ClientProxyConnectionError):
        return f"the proxy can't be reached ({reason})"
    return f"connection failed ({reason})"
