"""
Which proxy the environment asks for, and what passes through it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import given
from hypothesis import strategies as st
from trustme import CA

from hh_exporter import ConfigError
from hh_exporter._dialects.dialect import Answer
from hh_exporter._transport.http import HttpTransport
from hh_exporter._transport.proxies import Proxy, find_proxy
from tests import proxies
from tests.conftest import KEY
from tests.proxies import listening, tls_before
from tests.scripted_server import ScriptedServer
from tests.support import FakeClock, until

Through: TypeAlias = Callable[..., AbstractAsyncContextManager[HttpTransport]]

PATH = "/events/model/batch"
BODY = b'{"model_events":[{"event_id":"e0"}]}'
HOST = "api.example.test"
PLAIN = f"http://{HOST}"
SECURE = f"https://{HOST}"
P = "http://proxy:3128"


@pytest.mark.parametrize(
    ("base_url", "environ", "url"),
    [
        (SECURE, {}, None),
        (SECURE, {"HTTPS_PROXY": P}, P),
        (SECURE, {"https_proxy": P}, P),
        (SECURE, {"https_proxy": P, "HTTPS_PROXY": "http://other"}, P),
        (SECURE, {"https_proxy": "", "HTTPS_PROXY": P}, None),
        (SECURE, {"HTTPS_PROXY": " "}, None),
        (SECURE, {"HTTP_PROXY": P}, None),
        (PLAIN, {"HTTPS_PROXY": P}, None),
        (PLAIN, {"HTTP_PROXY": P}, P),
        (PLAIN, {"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, None),
        (PLAIN, {"http_proxy": P, "REQUEST_METHOD": "GET"}, P),
        (SECURE, {"HTTPS_PROXY": P, "REQUEST_METHOD": "GET"}, P),
        (SECURE, {"ALL_PROXY": P}, P),
        (PLAIN, {"all_proxy": P}, P),
        (SECURE, {"ALL_PROXY": "socks5://other", "HTTPS_PROXY": P}, P),
        (SECURE, {"HTTPS_PROXY": "proxy:3128"}, P),
        (SECURE, {"HTTPS_PROXY": f" {P}/ "}, P),
        (SECURE, {"HTTPS_PROXY": "HTTPS://proxy"}, "https://proxy"),
        (SECURE, {"HTTPS_PROXY": "http://[::1]:3128"}, "http://[::1]:3128"),
        ("http://localhost:3000", {"ALL_PROXY": P}, None),
        ("http://api.localhost", {"ALL_PROXY": P}, None),
        ("http://127.1.2.3", {"ALL_PROXY": P}, None),
        ("https://[::1]:8443", {"ALL_PROXY": P}, None),
        ("http://localhost.example.test", {"ALL_PROXY": P}, P),
    ],
)
def test_the_environment_names_a_proxy(
    base_url: str, environ: dict[str, str], url: str | None
) -> None:
    """
    Lower case before upper, the scheme's own before ALL_PROXY, this machine never.
    """
    assert find_proxy(base_url, environ) == (url and Proxy(url))


@pytest.mark.parametrize(
    ("no_proxy", "base_url", "is_direct"),
    [
        ("*", SECURE, True),
        ("other, *", SECURE, True),
        (HOST, SECURE, True),
        ("API.Example.Test", SECURE, True),
        (HOST, f"{SECURE}.", True),
        (f"{HOST}.", SECURE, True),
        ("other,example.test", SECURE, True),
        ("other example.test", SECURE, True),
        (".example.test", SECURE, True),
        ("*.example.test", SECURE, True),
        ("ample.test", SECURE, False),
        ("v1.api.example.test", SECURE, False),
        (f"{HOST}:443", SECURE, True),
        (f"{HOST}:80", PLAIN, True),
        (f"{HOST}:443", PLAIN, False),
        (f"{HOST}:8443", f"{SECURE}:8443", True),
        (f"{HOST}:8443", SECURE, False),
        (HOST, f"{SECURE}:8443", True),
        ("", SECURE, False),
        (" , ,.,*., ", SECURE, False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://10.1.2.3:8443", True),
        ("10.1.0.0/8", "https://10.1.2.3", True),
        ("11.0.0.0/8", "https://10.1.2.3", False),
        ("2.3", "https://10.1.2.3", False),
        ("10.1.2.3:8443", "https://10.1.2.3:8443", True),
        ("fd00::/8", "https://[fd00::1]", True),
        ("[fd00::1]:443", "https://[fd00::1]", True),
        ("fd00::1", "https://[fd00::1]", True),
        ("::/0", "https://10.1.2.3", False),
        (f"{HOST}:99999999999999999999", SECURE, False),
    ],
)
def test_no_proxy_names_what_is_reached_directly(
    no_proxy: str, base_url: str, is_direct: bool
) -> None:
    """
    Domains hold their subdomains and networks their addresses, with a port only there.
    """
    environ = {"ALL_PROXY": P, "NO_PROXY": no_proxy}

    assert (find_proxy(base_url, environ) is None) == is_direct


@pytest.mark.parametrize(
    ("user", "authorization"),
    [
        ("user:password", "Basic dXNlcjpwYXNzd29yZA=="),
        ("us%65r:p%40ss%3Aw%2Frd", "Basic dXNlcjpwQHNzOncvcmQ="),
        ("user", "Basic dXNlcjo="),
        ("user:p@ss", "Basic dXNlcjpwQHNz"),
        ("jürgen:%C3%BC", "Basic asO8cmdlbjrDvA=="),
    ],
)
def test_a_password_leaves_the_url(user: str, authorization: str) -> None:
    """
    User and password become one field, percent-decoded, that no repr shows.
    """
    proxy = find_proxy(SECURE, {"HTTPS_PROXY": f"http://{user}@proxy:3128"})

    assert proxy == Proxy(P, authorization)
    assert repr(proxy) == f"Proxy(url={P!r})"


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("ALL_PROXY", "socks5://u:secret@proxy", ": only http:// and https:// proxies are "),
        ("https_proxy", "ftp://u:secret@proxy", ": only http:// and https:// proxies are "),
        ("HTTPS_PROXY", "http://u:secret@", " must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://", " must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://u:secret@proxy:0", " must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://u:secret@proxy:123456", " must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://u:secret@proxy:port", " must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://u:secret@[proxy", " must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://u:1/secret@proxy", " must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://u:1?secret@proxy", " must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://u:1#secret@proxy", " must be the URL of a proxy"),
        ("HTTPS_PROXY", "http://u:secret@pro xy", " must be the URL of a proxy"),
    ],
)
def test_what_names_no_proxy_is_an_error(variable: str, value: str, problem: str) -> None:
    """
    The error names the variable and never its value.
    """
    with pytest.raises(ConfigError) as caught:
        find_proxy(SECURE, {variable: value})

    assert str(caught.value).startswith(variable + problem)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(
    proxy=st.text() | st.from_regex(r"(https?://)?[^/]*@?[^/]*:[0-9]*"),
    no_proxy=st.text() | st.text(alphabet="[].:*/,01af "),
    host=st.sampled_from([HOST, "10.1.2.3", "[fd00::1]"]),
)
def test_any_environment_has_a_meaning(proxy: str, no_proxy: str, host: str) -> None:
    """
    Whatever the variables hold, there is a proxy, or none, or a ConfigError.
    """
    with suppress(ConfigError):
        found = find_proxy(f"https://{host}", {"HTTPS_PROXY": proxy, "NO_PROXY": no_proxy})
        assert found is None or "@" not in found.url


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA()


@pytest.fixture(scope="module")
def trusted(ca: CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def serving(ca: CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


def port_of(server: ScriptedServer) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.fixture
async def http_proxy(server: ScriptedServer) -> AsyncIterator[proxies.Proxy]:
    """
    A proxy that leads to `server`.
    """
    async with proxies.Proxy(leads_to=port_of(server)).running() as proxy:
        yield proxy


@pytest.fixture
async def https_proxy(server: ScriptedServer, ca: CA) -> AsyncIterator[proxies.Proxy]:
    """
    A proxy that leads to `server` behind TLS.
    """
    async with (
        tls_before(server.url, serving(ca, HOST)) as port,
        proxies.Proxy(leads_to=port).running() as proxy,
    ):
        yield proxy


@pytest.fixture
def through(clock: FakeClock, trusted: ssl.SSLContext) -> Through:
    """
    Make a transport for a server that only a proxy knows how to reach.
    """

    @asynccontextmanager
    async def make(
        base_url: str, proxy: str, api_key: str | None = KEY, **environ: str
    ) -> AsyncIterator[HttpTransport]:
        async with HttpTransport(
            base_url=base_url,
            api_key=api_key,
            timeout=10.0,
            clock=clock,
            ssl_context=trusted,
            environ={"ALL_PROXY": proxy, **environ},
        ) as transport:
            yield transport

    return make


async def test_plain_requests_are_handed_to_the_proxy(
    http_proxy: proxies.Proxy, server: ScriptedServer, through: Through
) -> None:
    """
    Without TLS the proxy is given each request, and the password in a field of its own.
    """
    address = f"http://user:password@127.0.0.1:{http_proxy.port}"
    async with through(PLAIN, address) as transport:
        answer = await transport.send("POST", PATH, BODY)

    (head,) = http_proxy.heads
    assert (head.method, head.target) == ("POST", PLAIN + PATH)
    assert head.headers["proxy-authorization"] == "Basic dXNlcjpwYXNzd29yZA=="
    assert answer.status == 200
    assert server.requests[0].body == BODY


@pytest.mark.parametrize(
    ("user", "authorization"), [("", None), ("user:password@", "Basic dXNlcjpwYXNzd29yZA==")]
)
async def test_a_tunnel_hides_the_key(
    https_proxy: proxies.Proxy,
    server: ScriptedServer,
    through: Through,
    user: str,
    authorization: str | None,
) -> None:
    """
    With TLS the proxy sees its own password and not the key, the server the opposite.
    """
    async with through(SECURE, f"http://{user}127.0.0.1:{https_proxy.port}") as transport:
        answers = [await transport.send("POST", PATH, BODY) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
    (head,) = https_proxy.heads
    assert (head.method, head.target) == ("CONNECT", f"{HOST}:443")
    assert head.headers.get("proxy-authorization") == authorization
    assert not {"authorization", "hh-client-package"} & head.headers.keys()
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "proxy-authorization" not in server.requests[0].headers
    assert server.connections == 1


async def test_the_server_behind_a_tunnel_is_verified(
    server: ScriptedServer, ca: CA, through: Through
) -> None:
    """
    A certificate is good for the name of the server, wherever the tunnel comes from.
    """
    async with (
        tls_before(server.url, serving(ca, "127.0.0.1")) as port,
        proxies.Proxy(leads_to=port).running() as proxy,
        through(SECURE, f"127.0.0.1:{proxy.port}") as transport,
    ):
        answer = await transport.send("POST", PATH, BODY)

    assert answer.status is None
    assert f"certificate is not valid for '{HOST}'" in answer.failure
    assert not server.requests


async def test_a_proxy_may_speak_tls_itself(
    server: ScriptedServer, ca: CA, through: Through
) -> None:
    """
    An https:// proxy is verified too, and the tunnel runs within its TLS.
    """
    async with (
        tls_before(server.url, serving(ca, HOST)) as port,
        proxies.Proxy(leads_to=port).running(serving(ca, "127.0.0.1")) as proxy,
        through(SECURE, f"https://127.0.0.1:{proxy.port}") as transport,
    ):
        answer = await transport.send("POST", PATH, BODY)

    assert answer.status == 200
    assert [head.method for head in proxy.heads] == ["CONNECT"]


@pytest.mark.parametrize("status", [302, 403, 407, 502])
async def test_a_tunnel_that_is_refused_is_no_answer(
    https_proxy: proxies.Proxy, server: ScriptedServer, through: Through, status: int
) -> None:
    """
    What a proxy says to CONNECT is its own verdict and not the server's.
    """
    https_proxy.refuses = status
    address = f"http://user:password@127.0.0.1:{https_proxy.port}"
    async with through(SECURE, address) as transport:
        answer = await transport.send("POST", PATH, BODY)

    assert answer == Answer(status=None, failure=f"the proxy answered HTTP {status}")
    assert not server.requests


@pytest.mark.parametrize("base_url", [PLAIN, SECURE])
async def test_a_proxy_that_is_gone_is_no_answer(through: Through, base_url: str) -> None:
    """
    Where no proxy listens, the failure says that it is the proxy that is missing.
    """
    async with proxies.Proxy(leads_to=1).running() as proxy:
        address = f"http://user:password@127.0.0.1:{proxy.port}"
    async with through(base_url, address) as transport:
        answer = await transport.send("POST", PATH, BODY)

    failure = "the proxy can't be reached (connection refused)"
    assert answer == Answer(status=None, failure=failure)


async def test_an_unsupported_proxy_is_not_gone_around(
    server: ScriptedServer, clock: FakeClock
) -> None:
    """
    Nothing is sent past a proxy that we can't speak to, and the failure names the variable.
    """
    environ = {"http_proxy": "socks5://user:password@127.0.0.1:1"}
    # Not named by its loopback address, which needs no proxy; any other reaches it.
    base_url = server.url.replace("127.0.0.1", "0.0.0.0")
    async with HttpTransport(
        base_url=base_url, api_key=KEY, timeout=10.0, clock=clock, environ=environ
    ) as transport:
        answer = await transport.send("POST", PATH, BODY)

    failure = "http_proxy: only http:// and https:// proxies are supported"
    assert answer == Answer(status=None, failure=failure)
    assert not server.connections
    assert "password" not in repr(transport)


async def test_no_proxy_goes_straight_to_the_server(
    http_proxy: proxies.Proxy, server: ScriptedServer, through: Through
) -> None:
    """
    What NO_PROXY names is reached past the proxy that all else goes through.
    """
    base_url = server.url.replace("127.0.0.1", "0.0.0.0")
    address = f"127.0.0.1:{http_proxy.port}"
    async with through(base_url, address) as transport:
        await transport.send("POST", PATH, BODY)
    async with through(base_url, address, NO_PROXY="0.0.0.0") as transport:
        await transport.send("POST", PATH, BODY)

    assert len(http_proxy.heads) == 1
    assert len(server.requests) == 2


async def test_the_process_environment_is_read_by_default(
    http_proxy: proxies.Proxy,
    server: ScriptedServer,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A transport that is given no variables reads those of the process as its session starts.
    """
    transport = HttpTransport(base_url=PLAIN, api_key=KEY, timeout=10.0, clock=clock)
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{http_proxy.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    async with transport:
        answer = await transport.send("POST", PATH, BODY)

    assert answer.status == 200


@pytest.mark.parametrize("base_url", [PLAIN, SECURE])
async def test_netrc_is_not_read(
    http_proxy: proxies.Proxy,
    https_proxy: proxies.Proxy,
    server: ScriptedServer,
    through: Through,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    base_url: str,
) -> None:
    """
    Passwords that a file keeps for the server or for the proxy are sent to neither.
    """
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password hh_netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    proxy = http_proxy if base_url == PLAIN else https_proxy

    async with through(base_url, f"127.0.0.1:{proxy.port}", api_key=None) as transport:
        await transport.send("POST", PATH, BODY)

    (request,) = server.requests
    (head,) = proxy.heads
    assert not {"authorization", "proxy-authorization"} & {*request.headers, *head.headers}


async def test_a_proxy_does_not_block_the_loop(
    https_proxy: proxies.Proxy, clock: FakeClock, trusted: ssl.SSLContext
) -> None:
    """
    Finding the proxy, the tunnel and TLS make no call that blocks.
    """
    with blockbuster_ctx():
        async with HttpTransport(
            base_url=SECURE,
            api_key=KEY,
            timeout=10.0,
            clock=clock,
            ssl_context=trusted,
            environ={"HTTPS_PROXY": f"127.0.0.1:{https_proxy.port}"},
        ) as transport:
            answer = await transport.send("POST", PATH, BODY)

    assert answer.status == 200


async def test_a_cancelled_tunnel_leaves_no_connection(through: Through) -> None:
    """
    An attempt that is cancelled while the proxy is silent raises CancelledError and hangs up.
    """
    asked, hung_up = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        hung_up.set()

    async with listening(serve) as port, through(SECURE, f"127.0.0.1:{port}") as transport:
        post = asyncio.create_task(transport.send("POST", PATH, BODY))
        await until(asked.is_set)
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await post
        await until(hung_up.is_set)
