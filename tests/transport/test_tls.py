"""
Who is trusted, and what is said of those who are not.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from trustme import CA, LeafCert

from hh_exporter._dialects.dialect import Answer
from hh_exporter._environment import read_settings
from hh_exporter._transport.http import HttpTransport
from tests.conftest import KEY
from tests.proxies import listening, tls_before
from tests.scripted_server import ScriptedServer
from tests.support import FakeClock, until

PATH = "/events/model/batch"
BODY = b'{"model_events":[{"event_id":"e0"}]}'


@pytest.fixture(scope="module")
def ca() -> CA:
    return CA()


def serving(cert: LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)
    return context


def trusting(ca: CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


@asynccontextmanager
async def connected(
    port: int, clock: FakeClock, trusted: ssl.SSLContext | None
) -> AsyncIterator[HttpTransport]:
    async with HttpTransport(
        base_url=f"https://127.0.0.1:{port}",
        api_key=KEY,
        timeout=10.0,
        clock=clock,
        ssl_context=trusted,
    ) as transport:
        yield transport


async def test_events_reach_a_server_of_a_private_authority(
    server: ScriptedServer, clock: FakeClock, ca: CA
) -> None:
    """
    A server whose authority is in `ssl_context` is trusted, and its connection is kept.
    """
    tls = serving(ca.issue_cert("127.0.0.1"))
    async with (
        tls_before(server.url, tls) as port,
        connected(port, clock, trusting(ca)) as transport,
    ):
        answers = [await transport.send("POST", PATH, BODY) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
    assert server.connections == 1


async def test_the_environment_names_authorities(
    server: ScriptedServer,
    clock: FakeClock,
    ca: CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    OpenSSL's variables count as they are when the settings are read, long after aiohttp's import.
    """
    file = tmp_path / "authority.pem"
    ca.cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    settings = read_settings({"api_key": KEY, "base_url": "https://127.0.0.1"}, os.environ)

    tls = serving(ca.issue_cert("127.0.0.1"))
    async with (
        tls_before(server.url, tls) as port,
        connected(port, clock, settings.ssl_context) as transport,
    ):
        assert (await transport.send("POST", PATH, BODY)).status == 200


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize(
    ("url", "given", "loads"),
    [
        ("https://api.example.test", {}, True),
        ("https://api.example.test", {"disabled": True}, False),
        ("https://api.example.test", {"api_key": None}, False),
        ("http://api.example.test", {}, False),
    ],
)
def test_authorities_are_loaded_only_where_they_matter(
    url: str, given: dict[str, Any], loads: bool, variable: str
) -> None:
    """
    An exporter that never speaks TLS loads no authorities.
    """
    settings = read_settings({"api_key": KEY, "base_url": url} | given, {variable: "/dev/null"})

    assert (settings.ssl_context is not None) is loads
    assert read_settings({"api_key": KEY, "base_url": url} | given, {}).ssl_context is None


def expired(ca: CA) -> LeafCert:
    return ca.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1))


@pytest.mark.parametrize(
    ("issue", "trusted", "reason"),
    [
        pytest.param(
            lambda ca: ca.issue_cert("127.0.0.1"),
            lambda _: None,
            "unable to get local issuer certificate",
            id="by default",
        ),
        pytest.param(
            lambda ca: ca.issue_cert("127.0.0.1"),
            lambda _: trusting(CA()),
            "unable to get local issuer certificate",
            id="another authority",
        ),
        pytest.param(
            lambda ca: ca.issue_cert("api.example.test"),
            trusting,
            "IP address mismatch, certificate is not valid for '127.0.0.1'",
            id="another name",
        ),
        pytest.param(expired, trusting, "certificate has expired", id="expired"),
    ],
)
async def test_who_is_not_trusted_gets_nothing(
    server: ScriptedServer,
    clock: FakeClock,
    ca: CA,
    issue: Callable[[CA], LeafCert],
    trusted: Callable[[CA], ssl.SSLContext | None],
    reason: str,
) -> None:
    """
    Without a good certificate no request leaves, and the answer names the certificate's fault.
    """
    async with (
        tls_before(server.url, serving(issue(ca))) as port,
        connected(port, clock, trusted(ca)) as transport,
    ):
        answer = await transport.send("POST", PATH, BODY)

    failure = f"TLS failed (certificate verify failed: {reason})"
    assert answer == Answer(status=None, failure=failure)
    assert not server.requests


async def test_what_ends_tls_after_the_handshake_is_named(clock: FakeClock, ca: CA) -> None:
    """
    An alert of a server, such as one that demands a client's certificate, is the reason given.
    """
    tls = serving(ca.issue_cert("127.0.0.1"))
    tls.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # By hand: asyncio hangs up without the alert.
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        side = tls.wrap_bio(received, sent, server_side=True)
        error: ssl.SSLError | None = None
        while error is None or isinstance(error, ssl.SSLWantReadError):
            received.write(await reader.read(2**16))
            try:
                side.do_handshake()
            except ssl.SSLError as caught:
                error = caught
            writer.write(sent.read())
        await reader.read()

    async with listening(serve) as port, connected(port, clock, trusting(ca)) as transport:
        answer = await transport.send("POST", PATH, BODY)

    assert answer == Answer(status=None, failure="TLS failed (tlsv13 alert certificate required)")


ASK = """
import asyncio, os
from hh_exporter._clock import SystemClock
from hh_exporter._transport.http import HttpTransport

async def main():
    async with HttpTransport(
        base_url=os.environ["URL"], api_key=None, timeout=10.0, clock=SystemClock()
    ) as transport:
        answer = await transport.send("POST", "/events/model/batch", b'{"model_events":[]}')
        print(answer.status, answer.failure)

asyncio.run(main())
"""

SWITCHES = {
    "PYTHONHTTPSVERIFY": "0",
    "SSL_NO_VERIFY": "1",
    "SSL_VERIFY": "0",
    "CURL_CA_BUNDLE": "",
    "REQUESTS_CA_BUNDLE": "",
    "NODE_TLS_REJECT_UNAUTHORIZED": "0",
    "GIT_SSL_NO_VERIFY": "1",
    "HH_VERIFY": "0",
}
"""What switches verification off in one program or another."""


async def test_the_environment_adds_trust_and_takes_no_check_away(
    server: ScriptedServer, ca: CA, tmp_path: Path
) -> None:
    """
    OpenSSL's own SSL_CERT_FILE names whom to trust; no variable makes us trust everyone.
    """
    bundle = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))

    async def ask(**environ: str) -> str:
        command = [sys.executable, "-c", ASK]
        done = await asyncio.to_thread(
            subprocess.run, command, env=environ, stdout=subprocess.PIPE, check=True, timeout=30
        )
        return done.stdout.decode().strip()

    async with tls_before(server.url, serving(ca.issue_cert("127.0.0.1"))) as port:
        own = {"PYTHONPATH": str(Path(__file__).parents[2]), "URL": f"https://127.0.0.1:{port}"}
        trusted = await ask(**own, SSL_CERT_FILE=str(bundle))
        refused = await ask(**own, **SWITCHES)

    assert trusted == "200"
    assert refused.startswith("None TLS failed (certificate verify failed: ")


async def test_a_cancelled_handshake_leaves_no_connection(clock: FakeClock) -> None:
    """
    An attempt that is cancelled before TLS stands raises CancelledError and hangs up.
    """
    hung_up = asyncio.Event()
    said = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        said.set()
        while await reader.read(2**16):
            pass
        hung_up.set()

    async with listening(serve) as port, connected(port, clock, None) as transport:
        post = asyncio.create_task(transport.send("POST", PATH, BODY))
        await until(said.is_set)
        post.cancel()
        with pytest.raises(asyncio.CancelledError):
            await post
        await until(hung_up.is_set)
