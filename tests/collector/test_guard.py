"""
Who may ask the collector what: addresses, websites, keys and logins, over real sockets.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientResponse, ClientSession

from hh_exporter import Exporter
from hh_exporter._collector import Collector, Faults
from tests.collector_client import EXPORT, MANY, ONE, SESSIONS, V1_MANY, V1_ONE, model_event
from tests.support import FakeClock, until
from tests.support import model_event as pushed_event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "hh_collector_käy"
LOGIN = "/api/login"
FAULTS = "/api/faults"
LIST = "/api/events"
ENTRY = {"model_event": model_event()}
DATA = [
    ("POST", ONE),
    ("POST", MANY),
    ("POST", V1_ONE),
    ("POST", V1_MANY),
    ("POST", "/events"),
    ("POST", "/events/batch"),
    ("POST", "/session/start"),
    ("POST", "/v1/sessions"),
    ("POST", "/v1/sessions/caf77ace-3417-4da4-944d-f4a0688f3c23/events/batch"),
    ("GET", EXPORT),
    ("GET", SESSIONS),
    ("GET", FAULTS),
    ("GET", "/%61pi/faults"),
    ("GET", "/api/none"),
    ("PUT", FAULTS),
    ("DELETE", FAULTS),
    ("DELETE", LIST),
    ("HEAD", EXPORT),
]
"""All that takes or gives data, known or not."""
PROTECTION = {
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


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


@pytest.fixture
async def locked(clock: FakeClock) -> AsyncIterator[Collector]:
    async with Collector(api_key=KEY, clock=clock) as collector:
        yield collector


async def ask(
    collector: Collector, method: str, path: str, json: Any = None, **headers: str
) -> ClientResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        ClientSession(collector.url) as client,
        client.request(method, path, json=json, headers=named) as response,
    ):
        await response.read()
        return response


def bearer(key: str = KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class TestHost:
    """
    The Host header: a website may have a name that leads here.
    """

    @pytest.mark.parametrize(
        "host",
        [
            *("127.0.0.1:{}", "localhost:{}", "LocalHost:{}", "127.0.0.2:{}", "[::1]:{}"),
            *("127.0.0.1:1", "localhost:9000", "localhost"),
        ],
    )
    async def test_loopback_is_served(self, collector: Collector, host: str) -> None:
        """
        With the collector's port, or with another that is forwarded to it.
        """
        port = urlsplit(collector.url).port

        response = await ask(collector, "POST", ONE, ENTRY, Host=host.format(port))

        assert response.status == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example:{}",
            "localhost.evil.example:{}",
            "127.0.0.1.evil.example:{}",
            "evil@127.0.0.1:{}",
            "127.0.0.1:{}@evil",
            "127.0.0.1:{},evil",
            "0.0.0.0:{}",
            "[::2]:{}",
            "[:{}",
            "2130706433:{}",
            "localhost.:{}",
            ":{}",
            "",
        ],
    )
    async def test_no_other_name_is(self, collector: Collector, host: str) -> None:
        """
        What is asked of anybody else is 421, or 400 where it can't be read, and not done.
        """
        port = urlsplit(collector.url).port

        for method, path in (("POST", ONE), ("GET", EXPORT), ("GET", "/")):
            response = await ask(collector, method, path, ENTRY, Host=host.format(port))

            assert response.status in ({400, 421} if host in ("", "[:{}") else {421})
        assert await collector.count() == 0

    async def test_a_request_without_a_host_is_refused(self, collector: Collector) -> None:
        """
        Nor is one with two served.
        """
        address = urlsplit(collector.url)
        own = f"Host: {address.netloc}\r\n"
        for heads in ("", own + own, own + "Host: evil.example\r\n"):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(f"GET {EXPORT} HTTP/1.1\r\n{heads}Connection: close\r\n\r\n".encode())
            status = int((await reader.readline()).split()[1])
            writer.close()
            await writer.wait_closed()
            assert status in (400, 421)

    @pytest.mark.parametrize("target", ["http://evil.example{}", "http://127.0.0.1:22{}"])
    async def test_it_is_no_proxy(self, collector: Collector, target: str) -> None:
        """
        What names a host before its path is asked of that, whatever the header says.
        """
        address = urlsplit(collector.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        line = f"GET {target.format(EXPORT)} HTTP/1.1"
        writer.write(f"{line}\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
        status = int((await reader.readline()).split()[1])
        writer.close()
        await writer.wait_closed()

        assert status == 421

    async def test_the_name_that_it_listens_on_is_served(self) -> None:
        """
        Where it listens on all addresses, a request may name that at which it arrived.

        Then it is asked for the key.
        """
        async with Collector(host="0.0.0.0", api_key=KEY) as collector:
            port = urlsplit(collector.url).port
            answers = {
                host: (await ask(collector, "GET", FAULTS, Host=f"{host}:{port}")).status
                for host in ("0.0.0.0", "127.0.0.1", "localhost", "192.0.2.1", "evil.example")
            }

        assert answers == {
            "0.0.0.0": 401,
            "127.0.0.1": 401,
            "localhost": 401,
            "192.0.2.1": 421,
            "evil.example": 421,
        }


class TestWebsites:
    """
    Origin and Sec-Fetch-Site: what a browser says of the page that asks.
    """

    @pytest.mark.parametrize("site", ["same-origin", "none"])
    async def test_its_own_page_is_served(self, collector: Collector, site: str) -> None:
        """
        The page of the collector may read and write.
        """
        for method, path in (("PUT", FAULTS), ("GET", EXPORT)):
            response = await ask(
                collector, method, path, {}, Origin=collector.url, Sec_Fetch_Site=site
            )
            assert response.status == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": ""},
            {"Origin": "http://127.0.0.1"},
            {"Origin": "http://localhost:{}"},
            {"Origin": "https://127.0.0.1:{}"},
            {"Origin": "http://127.0.0.1:{}.evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "x"},
            {"Origin": "http://127.0.0.1:{}", "Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        ],
        ids=str,
    )
    async def test_no_other_page_is(self, collector: Collector, headers: dict[str, str]) -> None:
        """
        What another website asks is 403, and nothing tells its browser to let it read that.
        """
        port = urlsplit(collector.url).port
        sent = {name: value.format(port) for name, value in headers.items()}

        for method, path in (
            *(("POST", ONE), ("GET", EXPORT), ("PUT", FAULTS)),
            *(("POST", LOGIN), ("OPTIONS", ONE), ("DELETE", LIST)),
        ):
            response = await ask(collector, method, path, ENTRY, **sent)

            assert response.status == 403
            assert not [name for name in response.headers if name.startswith("Access-Control")]
        assert await collector.count() == 0

    async def test_a_link_leads_to_the_page_alone(self, collector: Collector) -> None:
        """
        Another website may link to the page, which holds no data; not frame it, nor link to data.
        """
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}

        document = await ask(collector, "GET", "/", **link, Sec_Fetch_Dest="document")
        frame = await ask(collector, "GET", "/", **link, Sec_Fetch_Dest="iframe")
        data = await ask(collector, "GET", EXPORT, **link, Sec_Fetch_Dest="document")
        form = await ask(collector, "POST", "/", **link, Sec_Fetch_Dest="document")

        assert document.status != 403
        assert (frame.status, data.status, form.status) == (403, 403, 403)


class TestKey:
    """
    A collector with a key.
    """

    @pytest.mark.parametrize(
        "headers",
        [{}, bearer(KEY[:-1]), bearer(KEY + "x"), bearer(""), {"Authorization": KEY}],
        ids=["none", "shorter", "longer", "empty", "bare"],
    )
    async def test_it_is_needed(self, locked: Collector, headers: dict[str, str]) -> None:
        """
        Without it all that takes or gives data is 401, and says which scheme to use.
        """
        for method, path in DATA:
            response = await ask(locked, method, path, ENTRY, **headers)

            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
        assert await locked.count() == 0

    async def test_with_it_all_is_served(self, locked: Collector) -> None:
        """
        The scheme is written as one likes.
        """
        for scheme in ("Bearer", "bearer"):
            headers = {"Authorization": f"{scheme} {KEY}"}
            assert (await ask(locked, "POST", ONE, ENTRY, **headers)).status == 200
            assert (await ask(locked, "GET", EXPORT, **headers)).status == 200

    async def test_with_it_any_name_is_served(self, locked: Collector) -> None:
        """
        An app in a container knows this machine by another name; a page does not know the key.
        """
        host = "host.docker.internal:8765"
        for authorization, expected in ((f"Bearer {KEY}", 200), ("Bearer x", 421)):
            async with ClientSession(locked.url) as client:
                headers = {"Host": host, "Authorization": authorization}
                async with client.post(ONE, json=ENTRY, headers=headers) as response:
                    assert response.status == expected

    async def test_what_is_static_needs_none(self, locked: Collector) -> None:
        """
        A page holds no data; without one, there is none.
        """
        assert (await ask(locked, "GET", "/")).status != 401

    async def test_an_exporter_with_the_key_delivers(self) -> None:
        """
        It is the exporter's api_key.
        """
        async with Collector(api_key="hh_key") as collector:
            for api_key, delivered in (("hh_key", 1), ("hh_other", 0)):
                exporter = Exporter(base_url=collector.url, api_key=api_key, close_timeout=0.5)
                await exporter.start()
                exporter.push(pushed_event())
                assert (await exporter.aclose()).delivered == delivered

    def test_no_repr_shows_it(self) -> None:
        """
        Not even by accident in a log.
        """
        assert KEY not in repr(Collector(api_key=KEY))


class TestLogin:
    """
    POST /api/login, for the browser.
    """

    async def test_the_key_gives_a_cookie_that_is_as_good(self, locked: Collector) -> None:
        """
        Scripts can't read it, other websites not use it, and it holds no key.
        """
        response = await ask(locked, "POST", LOGIN, {"key": KEY})

        [cookie] = response.cookies.values()
        assert response.status == 204
        assert cookie.key == f"hh_collector_{urlsplit(locked.url).port}"
        assert cookie["httponly"] is True
        assert (cookie["samesite"], cookie["path"]) == ("Strict", "/")
        assert len(cookie.value) >= 32
        sent = {"Cookie": f"other=1; {cookie.key}={cookie.value}"}
        assert (await ask(locked, "GET", EXPORT, **sent)).status == 200
        for wrong in (cookie.value[:-1], "", KEY):
            sent = {"Cookie": f"{cookie.key}={wrong}"}
            assert (await ask(locked, "GET", EXPORT, **sent)).status == 401

    async def test_a_forwarded_port_has_a_cookie_of_its_own(self, locked: Collector) -> None:
        """
        Two collectors behind two ports of one machine don't take each other's place.
        """
        response = await ask(locked, "POST", LOGIN, {"key": KEY}, Host="localhost:9000")

        assert [cookie.key for cookie in response.cookies.values()] == ["hh_collector_9000"]

    async def test_a_wrong_key_is_answered_late(self, locked: Collector, clock: FakeClock) -> None:
        """
        A guess costs a second, and gives no cookie.
        """
        guess = asyncio.create_task(ask(locked, "POST", LOGIN, {"key": "guess"}))
        await until(lambda: clock.delays == [1.0])
        assert not guess.done()
        await clock.advance(1.0)

        response = await guess
        assert response.status == 401
        assert not response.cookies

    @pytest.mark.parametrize(
        ("body", "status"),
        [({}, 400), ([], 400), ({"key": 1}, 400), ({"key": "x" * 5000}, 413)],
        ids=["empty", "list", "number", "large"],
    )
    async def test_what_is_no_login_is_refused(
        self, locked: Collector, body: Any, status: int
    ) -> None:
        """
        Before anything is known of who asks, little is read.
        """
        assert (await ask(locked, "POST", LOGIN, body)).status == status

    async def test_only_so_many_are_remembered(self, locked: Collector) -> None:
        """
        The 101st login ends the first.
        """
        cookies = []
        for _ in range(101):
            [cookie] = (await ask(locked, "POST", LOGIN, {"key": KEY})).cookies.values()
            cookies.append(f"{cookie.key}={cookie.value}")

        statuses = [(await ask(locked, "GET", FAULTS, Cookie=sent)).status for sent in cookies]

        assert statuses == [401, *[200] * 100]

    async def test_it_ends_with_the_collector(self) -> None:
        """
        A cookie is worth nothing to the next one.
        """
        collector = Collector(api_key=KEY)
        async with collector:
            [cookie] = (await ask(collector, "POST", LOGIN, {"key": KEY})).cookies.values()
        async with collector:
            sent = f"hh_collector_{urlsplit(collector.url).port}={cookie.value}"

            assert (await ask(collector, "GET", FAULTS, Cookie=sent)).status == 401


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", EXPORT, bearer(), 200),
        ("GET", FAULTS, bearer(), 200),
        ("POST", "/v1/sessions", bearer(), 503),
        ("POST", LOGIN, {}, 400),
        ("GET", "/none", {}, 404),
        ("DELETE", FAULTS, bearer(), 405),
        ("GET", EXPORT, {}, 401),
        ("GET", EXPORT, {"Host": "evil"}, 421),
        ("GET", EXPORT, {"Origin": "http://evil"}, 403),
        ("PUT", FAULTS, {**bearer(), "Content-Encoding": "br"}, 415),
        ("PUT", FAULTS, {**bearer(), "Expect": "x"}, 417),
    ],
)
async def test_each_answer_is_protected(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """
    Data, streams, faults and errors have the headers that keep a browser from using them.
    """
    async with Collector(api_key=KEY, faults=Faults(faults={"503": 1.0})) as collector:
        body: Any = {} if method in ("POST", "PUT") else None
        response = await ask(collector, method, path, body, **headers)

    assert response.status == status
    assert {name: response.headers.get(name) for name in PROTECTION} == PROTECTION
