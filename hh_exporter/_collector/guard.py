"""
Who may send requests: the collector's own page and programs, and no other website.

A browser lets any page send requests to this machine, also under a host name of that
page's own that resolves to it. So the Host of a request must be an address of the
collector or a loopback address, which no website can have, unless it has the key,
which no website knows. And if a page sent it, that must be one of the collector's.
"""

from __future__ import annotations

import re
from collections import deque
from hmac import compare_digest
from ipaddress import ip_address
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from aiohttp import web
from attrs import define, field

from hh_exporter._collector.ingest.validation import LOGIN

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from hh_exporter._clock import Clock
    from hh_exporter._collector.ingest.bodies import Bodies

__all__ = ["Guard"]

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[0-9a-z_.-]+)(?::([0-9]{1,5}))?")
_LOGIN = "/api/login"
_MAX_LOGINS = 100
"""One more ends the first of them."""
_MAX_LOGIN_BYTES = 4096
_GUESS_DELAY = 1.0


@define(eq=False)
class Guard:
    """
    Decides for each request whether it is handled.

    With a key, all that is not static needs it, or the cookie that a login gives.
    """

    host: str
    """The address that the collector was asked to listen on."""
    api_key: str | None = field(repr=False)
    clock: Clock
    bodies: Bodies
    _logins: deque[str] = field(factory=lambda: deque(maxlen=_MAX_LOGINS), init=False, repr=False)

    def add_to(self, app: web.Application) -> None:
        """
        Let *app* serve the login, and set security headers on all its answers.
        """
        app.router.add_post(_LOGIN, self.login)
        app.on_response_prepare.append(self._protect)

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """
        Handle *request* if it is allowed; answer 401, 403 or 421 otherwise.
        """
        shows_key = self._shows_key(request)
        if not (shows_key or _is_here(request, self.host)):
            raise web.HTTPMisdirectedRequest(
                text="Host: is none of the collector's; use an address that it listens on"
            )
        if not _is_ours(request):
            raise web.HTTPForbidden(text="Origin: other websites may not use the collector")
        if not (shows_key or self._is_known(request)):
            raise web.HTTPUnauthorized(
                text="Authorization: must be Bearer and the collector's key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return await handler(request)

    async def login(self, request: web.Request) -> web.Response:
        """
        Exchange the key for a cookie that is as good, until the collector ends.
        """
        async with self.bodies.read(request, LOGIN, _MAX_LOGIN_BYTES) as body:
            key = body["key"]
        if self.api_key is not None and not _is_same(key, self.api_key):
            await self.clock.sleep(_GUESS_DELAY)
            raise web.HTTPUnauthorized(text="key: is not the collector's")
        token = token_urlsafe(32)
        self._logins.append(token)
        response = web.Response(status=204)
        response.set_cookie(_cookie(request), token, httponly=True, samesite="Strict")
        return response

    async def _protect(self, _: web.Request, response: web.StreamResponse) -> None:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)

    def _shows_key(self, request: web.Request) -> bool:
        if self.api_key is None:
            return False
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and _is_same(key.strip(), self.api_key)

    def _is_known(self, request: web.Request) -> bool:
        if self.api_key is None or not _needs_key(request):
            return True
        token = request.cookies.get(_cookie(request), "")
        return any(_is_same(token, login) for login in self._logins)


def _is_here(request: web.Request, listens_on: str) -> bool:
    """
    Say whether *request* names as its host the address at which it arrived, or loopback.

    A forwarded port (`ssh -L`, a container's) is another one than the collector's.
    """
    authority = _authority(request)
    is_for_proxy = not request.raw_path.startswith(("/", "*"))  # RFC 9112 §3.2.2: its host counts
    if authority is None or is_for_proxy or request.transport is None:
        return False
    address, port = request.transport.get_extra_info("sockname")[:2]
    host = authority[1].strip("[]")
    if _is_loopback(host):
        return True
    is_its_port = int(authority[2] or 80) == port
    return is_its_port and (host == listens_on.lower() or _is_same_address(host, address))


def _authority(request: web.Request) -> re.Match[str] | None:
    named = request.headers.getall("Host", [])
    return _AUTHORITY.fullmatch(named[0].lower()) if len(named) == 1 else None


def _is_ours(request: web.Request) -> bool:
    """
    Say whether no page, or one of the collector's, sent *request*.

    Following a link is no matter: it shows the page, which holds no data.
    """
    headers = request.headers
    origins = headers.getall("Origin", [])
    if any(origin.lower() != f"http://{headers.get('Host')}".lower() for origin in origins):
        return False
    follows_link = (
        request.method == "GET"
        and not _needs_key(request)
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
    )
    site = headers.get("Sec-Fetch-Site", "none")
    return site in ("same-origin", "none") or follows_link


def _needs_key(request: web.Request) -> bool:
    is_static = request.method in ("GET", "HEAD") and not request.path.startswith("/api/")
    return not is_static and request.path != _LOGIN


def _is_same(one: str, other: str) -> bool:
    return compare_digest(one.encode(errors="surrogateescape"), other.encode())


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_same_address(host: str, address: str) -> bool:
    try:
        return ip_address(host) == ip_address(address.partition("%")[0])
    except ValueError:
        return False


def _cookie(request: web.Request) -> str:
    # Cookies know no port: another collector, here or behind a forwarded port, has its own.
    authority = _authority(request)
    return f"hh_collector_{(authority and authority[2]) or 80}"
